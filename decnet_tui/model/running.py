"""What each session of the ring has done so far, as one line tells it. Knows no terminal.

A session is told of for as long as the ring holds an event of it: what is kept is bounded by the ring.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from decnet.hostile import visible
from decnet.keyed import login_label
from decnet_tui.model.event_text import dicts
from decnet_tui.model.words import counted, span

NAME_LIMIT = 128
"""Characters of a session's id."""
TEXT_LIMIT = 160
"""Characters of what it did last."""
TECHNIQUES = 50
"""Techniques that are remembered of one session."""
GOODBYES = frozenset({"exit", "logout", "quit"})
"""Commands that tell nothing about a session that has others."""
OWN = ("attacker.session.", "attacker.observed", "credential.captured")
"""What somebody did: these events have the time of it, or say it."""
_MOST = 10**9
_LOGIN, _REASON, _FACT, _COMMAND = 1, 2, 3, 4
"""What tells most: a command that was typed, else what came or went, else why it was judged so, else how it got in."""


class Running(NamedTuple):
    """One session so far. All text is visible; times are epoch seconds."""

    session_id: str
    began: float
    source: str
    attacker_uuid: str = ""
    attacker_ip: str = ""
    where: str = ""
    """The decoy and its service."""
    events: int = 0
    commands: int = 0
    text: str = ""
    """What it did last."""
    rank: int = 0
    """How much the text tells, of the kinds above."""
    techniques: tuple[str, ...] = ()
    severity: str = ""
    reason: str = ""
    """Why it is judged so."""
    seen: bool = False
    """Whether an event of its own was seen, its beginning, what it did or its end: else nobody knows what it did."""
    ended: bool = False
    took: str = ""
    last: float | None = None
    """The newest time of what was done in it, whenever others came to say something about it."""

    @property
    def state(self) -> str:
        """``open``; once it ended how severe it was, or ``ended`` before that was judged."""
        return (self.severity or "ended") if self.ended or self.severity else "open"

    @property
    def did(self) -> str:
        """How many commands, and what came last."""
        many = counted(self.commands, "cmd") if self.commands else ""
        nothing = "no command" if self.ended else "no command yet"
        nothing = nothing if self.seen else "began before these events"
        return f"{many}: {self.text}" if many and self.text else many or self.text or nothing

    @property
    def tagged(self) -> str:
        """The technique that came last, and how many others there are."""
        more = f" +{len(self.techniques) - 1}" if len(self.techniques) > 1 else ""
        return f"{self.techniques[-1]}{more}" if self.techniques else ""


class RunningSessions:
    """The sessions by their visible ids."""

    def __init__(self) -> None:
        self.told: dict[str, Running] = {}
        self._held: Counter[str] = Counter()

    def take(self, topic: str, payload: Mapping[str, Any], source: str, ts: float) -> str:
        """Takes an event in that the ring is about to hold; the session it is of, empty for none."""
        name = session_name(payload)
        if not name:
            return ""
        old = self.told.get(name) or Running(name, ts, source)
        news = _news(topic, payload, old)
        seen = old.seen or topic.startswith("attacker.session.")
        last = max(ts, old.last or ts) if topic.startswith(OWN) and math.isfinite(ts) else old.last
        self.told[name] = old._replace(**_whose(payload, source, old), **news, seen=seen, last=last)
        self._held[name] += 1
        return name

    def leaves(self, name: str) -> None:
        """The ring lets go of an event of a session."""
        if not name:
            return
        self._held[name] -= 1
        if self._held[name] <= 0:
            del self._held[name]
            self.told.pop(name, None)


def session_name(payload: Mapping[str, Any]) -> str:
    """The visible id of the session that an event is of, empty for none."""
    raw = payload.get("session_id")
    return visible(raw, NAME_LIMIT) if isinstance(raw, str) else ""


def _whose(payload: Mapping[str, Any], source: str, old: Running) -> dict[str, Any]:
    """Who and where, as far as this event says so."""
    found: dict[str, Any] = {"events": old.events + 1}
    for key in ("attacker_uuid", "attacker_ip"):
        if isinstance(value := payload.get(key), str) and value:
            found[key] = visible(value, 45)
    if "attacker_ip" in found or not old.attacker_ip:
        found["source"] = source
    place = [str(payload[key]) for key in ("decky_id", "service") if payload.get(key)]
    if len(place) == 2 or (place and not old.where):
        found["where"] = visible(" ".join(place), 60)
    return found


def _news(topic: str, payload: Mapping[str, Any], old: Running) -> dict[str, Any]:
    if topic == "attacker.session.progress":
        return _progress(payload, old)
    if topic == "attacker.session.ended":
        return _ended(payload, old)
    if topic == "credential.captured":
        label = login_label(
            str(payload.get("username") or "")[:80], _text(payload.get("secret_hmac")) or None
        )
        return _said(f"login {label} {'accepted' if payload.get('success') else 'refused'}", _LOGIN, old)
    if topic == "ttp.tagged":
        return {"techniques": _techniques(payload.get("techniques_added"), old)}
    if topic == "ttp.session.judged":
        why = _text(payload.get("severity_reason"))
        severity = {"severity": visible(payload.get("severity") or "", 8), "reason": visible(why, TEXT_LIMIT)}
        return {**severity, "ended": True, **_said(why, _REASON, old)}
    return {}


def _progress(payload: Mapping[str, Any], old: Running) -> dict[str, Any]:
    commands, facts = dicts(payload.get("commands")), dicts(payload.get("facts"))
    found: dict[str, Any] = {}
    if facts:
        found |= _said(f"{_text(facts[-1].get('kind'))} {_text(facts[-1].get('what'))}", _FACT, old)
    if commands:
        first = payload.get("from")
        count = (first if isinstance(first, int) else 0) + len(commands)
        found |= {"commands": min(max(count, old.commands), _MOST)}
        found |= _said(_last(commands), _COMMAND, old)
    return found


def _ended(payload: Mapping[str, Any], old: Running) -> dict[str, Any]:
    """A part of an end: the last has the totals."""
    commands = dicts(payload.get("commands"))
    total = payload.get("command_count")
    count = total if isinstance(total, int) else len(commands)
    found: dict[str, Any] = {"commands": min(max(count, old.commands), _MOST), "ended": True}
    took = payload.get("duration_s")
    if isinstance(took, (int, float)) and abs(took) < _MOST:
        found["took"] = span(took)
    for kind in ("downloads", "uploads"):
        if items := dicts(payload.get(kind)):
            what = items[-1].get("filename") or items[-1].get("url") or items[-1].get("sha256")
            found |= _said(f"{kind.removesuffix('s')} {_text(what)}", _FACT, old)
    if commands:
        found |= _said(_last(commands), _COMMAND, old)
    return found


def _last(commands: list[Mapping[str, Any]]) -> str:
    """The last command that is more than a goodbye; empty when all are, so that what came before stays."""
    texts = (_text(one.get("command_text")) for one in reversed(commands))
    return next((text for text in texts if text.strip() not in GOODBYES), "")


def _said(text: str, rank: int, old: Running) -> dict[str, Any]:
    return {"text": visible(text, TEXT_LIMIT), "rank": rank} if text and rank >= old.rank else {}


def _techniques(added: object, old: Running) -> tuple[str, ...]:
    names = [visible(one, 16) for one in added if isinstance(one, str)] if isinstance(added, list) else []
    fresh = [name for name in dict.fromkeys(names) if name not in old.techniques]
    return (*old.techniques, *fresh)[:TECHNIQUES]


def _text(value: object) -> str:
    return value[:TEXT_LIMIT] if isinstance(value, str) else ""
