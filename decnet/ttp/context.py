"""What a session tells about each of its commands, for rules: the session's script, read with what the sensor saw come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from decnet.bounds import bit
from decnet.events.session import Command, Download, SessionEnded
from decnet.shell.accounts import Accounts
from decnet.shell.script import Script
from decnet.shell.told import Facts, Transfer
from decnet.ttp.facts import name_of
from decnet.ttp.kinds import CONTEXT, LOGIN, LOGIN_REASONS

SCRIPT_CAPPED = "script_capped"
"""The name in health of the bounds of a script: files and simple commands that nothing is known of."""
DEFAULT_PAIR, NEW_USER = "default_pair", "new_user"
_BY_DEFAULT_PAIR = {DEFAULT_PAIR: "got in with a user and password that devices are delivered with"}
Context = Mapping[str, Facts]
"""Text of a simple command → what the session tells about it."""


class Told(NamedTuple):
    """What a session tells about one command: facts, and how the line comes to be run, with the reason of each."""

    context: Context
    logins: Mapping[str, str]

    def said(self) -> dict[str, Any]:
        """The keys of a command's payload."""
        facts: dict[str, Any] = {CONTEXT: self.context} if self.context else {}
        return facts | ({LOGIN: list(self.logins), LOGIN_REASONS: self.logins} if self.logins else {})


def session_context(session: SessionEnded) -> dict[str, Told]:
    """Id of a command, of one line or of several, → what the session tells about it; nothing for most.

    Lines that the shell saw as one command are read as that one.
    """
    script, accounts = Script(_transfers(session)), Accounts()
    logins: dict[str, Mapping[str, str]] = {}
    by = login_of(session)
    read: dict[str, Context] = {}
    for number, (ident, text, ts) in enumerate(_as_read(session), start=1):
        read[ident] = script.line(text, ts)
        made = accounts.line(text, number)
        logins[ident] = by if made is None else {**by, NEW_USER: made}
    bit(SCRIPT_CAPPED, script.capped + script.files.dropped + accounts.dropped)
    # Later lines add to what is known of earlier ones: only now it is whole.
    told = {ident: Told(_said(found), logins[ident]) for ident, found in read.items()}
    return {ident: one for ident, one in told.items() if one.context or one.logins}


def login_of(session: SessionEnded) -> Mapping[str, str]:
    """How a session got in, as far as the sensor tells, with the reason in words."""
    return _BY_DEFAULT_PAIR if session.auth is not None and session.auth.default_pair is True else {}


def _as_read(session: SessionEnded) -> Iterator[tuple[str, str, float | None]]:
    """Id, text and time of each command as the shell saw it: of several lines one."""
    whole = {item.lines[0]: item for item in session.joined if item.lines and item.id and item.command_text}
    within = {line for item in whole.values() for line in item.lines}
    for ident, command in _in_order(session):
        if (item := whole.get(ident)) is not None:
            yield item.id, item.command_text, command.ts
        elif ident not in within:
            yield ident, command.command_text, command.ts


def _in_order(session: SessionEnded) -> list[tuple[str, Command]]:
    """The commands as time had them, which is how they are stored."""
    return sorted(session.command_ids(), key=lambda item: -1.0 if item[1].ts is None else float(item[1].ts))


def reason_of(payload: Mapping[str, Any], text: str, field: str, matched: str = "") -> str | None:
    """The line of the session that a fact about a command rests on; the text may be another view of the command."""
    if field == LOGIN:
        reasons: Mapping[str, str] = payload.get(LOGIN_REASONS) or {}
        return reasons.get(matched) or "; ".join(reasons.values()) or None
    context: Context = payload.get(CONTEXT) or {}
    own = context.get(text)
    several = (own,) if own is not None and field in own.because else context.values()
    return next((facts.because[field] for facts in several if field in facts.because), None)


def _said(found: Context) -> Context:
    return {text: facts for text, facts in found.items() if facts.values}


def _transfers(session: SessionEnded) -> Iterator[Transfer]:
    for sent in session.uploads:
        if name := sent.filename or sent.destfile:
            yield Transfer("uploaded", name, "", sent.sha256 or "", sent.ts)
    for item in session.downloads:
        if name := _name(item):
            yield Transfer("fetched", name, item.url, item.sha256 or "", item.ts)


def _name(item: Download) -> str:
    """The name that a fetched file has here; empty for what was not fetched."""
    if item.failed or "://" not in item.url:
        return ""
    return item.destfile or name_of(item.url)
