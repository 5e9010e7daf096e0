"""What a session tells about each of its commands, for rules: the session's script, read with what the sensor saw come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from decnet.bounds import bit
from decnet.events.session import Command, Download, SessionEnded
from decnet.shell.script import Script
from decnet.shell.told import Facts, Transfer
from decnet.ttp.facts import name_of
from decnet.ttp.kinds import CONTEXT

SCRIPT_CAPPED = "script_capped"
"""The name in health of the bounds of a script: files and simple commands that nothing is known of."""
Context = Mapping[str, Facts]
"""Text of a simple command → what the session tells about it."""


def session_context(session: SessionEnded) -> dict[str, Context]:
    """Id of a command, of one line or of several, → what the session tells about it; nothing for most.

    Lines that the shell saw as one command are read as that one.
    """
    script = Script(_transfers(session))
    whole = {item.lines[0]: item for item in session.joined if item.lines and item.id and item.command_text}
    within = {line for item in whole.values() for line in item.lines}
    read: dict[str, Context] = {}
    for ident, command in _in_order(session):
        if (item := whole.get(ident)) is not None:
            read[item.id] = script.line(item.command_text, command.ts)
        elif ident not in within:
            read[ident] = script.line(command.command_text, command.ts)
    bit(SCRIPT_CAPPED, script.capped + script.files.dropped)
    # Later lines add to what is known of earlier ones: only now it is whole.
    return {ident: said for ident, found in read.items() if (said := _said(found))}


def _in_order(session: SessionEnded) -> list[tuple[str, Command]]:
    """The commands as time had them, which is how they are stored."""
    return sorted(session.command_ids(), key=lambda item: -1.0 if item[1].ts is None else float(item[1].ts))


def reason_of(payload: Mapping[str, Any], text: str, field: str) -> str | None:
    """The line of the session that a fact about a command rests on; the text may be another view of the command."""
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
