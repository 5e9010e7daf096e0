"""What running sessions do, for whoever watches: live news, at most once a second a session.

Nothing here is evidence: it may be lost, it is kept nowhere, and the end of the session says all of it again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from decnet.events.session import SessionProgress
from decnet.sensors.session import Session

Data = dict[str, Any]
PAUSE_S = 1.0
"""Seconds between two news of one session at least."""
AT_ONCE = 100
"""Sessions told of in one turn; the others wait for the next."""
SHOWN = 20
"""Newest commands, and newest other things, of one piece of news."""
CHARS = 1_000
"""Characters of a command that are shown."""
_NAMES = {
    "downloads": ("url", "destfile"),
    "uploads": ("filename",),
    "forwards": ("host",),
    "exploits": ("cve", "name"),
}


@dataclass(slots=True)
class _Told:
    """How far a session was told of: commands, other things, when (seconds of a steady clock), how often."""

    commands: int = 0
    others: int = 0
    at: float = float("-inf")
    seq: int = 0


class Progress:
    """What was told of the sessions that are open."""

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}
        self._waiting: dict[str, tuple[Data, Session]] = {}

    def news(self, moved: Iterable[tuple[Data, Session]], now: float, *, watched: bool = True) -> list[Data]:
        """Payloads for sessions that are due; ``moved`` got lines or ended since the last time, each with who it is of.

        Nothing is told of what is long past: not ``watched``, the sessions wait.
        """
        for head, session in moved:
            if session.ended is None:
                self._waiting[session.session_id] = (head, session)
            else:
                self._waiting.pop(session.session_id, None)
                self._told.pop(session.session_id, None)
        if not watched:
            return []
        due = [ident for ident in self._waiting if now >= self._of(ident).at + PAUSE_S][:AT_ONCE]
        found = (self._tell(*self._waiting.pop(ident), now) for ident in due)
        return [payload for payload in found if payload is not None]

    def _of(self, session_id: str) -> _Told:
        return self._told.setdefault(session_id, _Told())

    def _tell(self, head: Data, session: Session, now: float) -> Data | None:
        told, others = self._of(session.session_id), _others(session)
        first = max(told.commands, len(session.commands) - SHOWN)
        commands = [{**c, "command_text": c["command_text"][:CHARS]} for c in session.commands[first:]]
        facts = others[max(told.others, len(others) - SHOWN) :]
        if not commands and not facts:
            return None
        told.commands, told.others, told.at, told.seq = len(session.commands), len(others), now, told.seq + 1
        said = {**head, "seq": told.seq, "from": first, "commands": commands, "facts": facts}
        return SessionProgress.parse(said).build()


def _others(session: Session) -> list[Data]:
    found = [
        {"kind": name.removesuffix("s"), "what": _named(item, keys)[:CHARS], "ts": item.get("ts")}
        for name, keys in _NAMES.items()
        for item in getattr(session, name)
    ]
    return sorted(found, key=lambda item: item["ts"] or 0.0)


def _named(item: Data, keys: tuple[str, ...]) -> str:
    return str(next((item[key] for key in keys if item.get(key)), ""))
