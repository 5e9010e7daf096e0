"""Which of the sessions that share one id of a honeypot's something belongs to; pure.

Ids come again (``TT8`` of telnet after a restart), files are read in any order, and a part of a session may be
known without its beginning. A session is told from another one by the start that the log itself gives. Both the
sensors (line by line) and the database (piece by piece) ask here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SAME_S = 1e-3
"""Seconds within which two times of a connection are one: databases keep microseconds."""
JITTER_S = 2.0
"""Seconds by which lines of one session may stand before its connection, or a start told by a duration be off."""
CLOSED_KEPT_S = 30.0
"""Log seconds for which a closed session still takes lines: Cowrie closes tty logs after it at times."""


@dataclass(slots=True)
class Life:
    """One session of an id, as far as it is known; times are epoch seconds of the log."""

    name: str
    first: float
    """Its earliest line, or the start that the duration in its close line tells."""
    start: float | None = None
    """When it connected; None while that line is unknown."""
    closed: float | None = None
    told: bool = False
    """Whether ``first`` is what a duration tells."""
    ended: bool = False
    """Whether an end of it was published."""
    ip: str | None = None
    """Address of its attacker."""
    service: str | None = None
    """What it was a session of."""

    @property
    def began(self) -> float:
        """When it began, as far as known."""
        return self.first if self.start is None else self.start

    def takes(self, ts: float) -> bool:
        """Whether a line at ``ts`` comes while it lives."""
        return self.closed is None and (self.first if self.start is None else self.start) <= ts

    def over(self, ts: float) -> bool:
        """Whether a line at ``ts`` comes too late to be one of it."""
        return self.closed is not None and ts > self.closed + CLOSED_KEPT_S


def connected_at(lives: Sequence[Life], ts: float) -> Life | None:
    """The life that connected at a moment: the known one, or one of which only later lines are known."""
    for life in lives:
        if life.start is not None and abs(life.start - ts) < SAME_S:
            return life
    starts = [life.start for life in lives if life.start is not None]
    torn = [life for life in lives if life.start is None and _may_begin(life, ts)]
    torn = [life for life in torn if not any(ts < start <= life.first for start in starts)]
    return min(torn, key=lambda life: life.first, default=None)


def _may_begin(life: Life, ts: float) -> bool:
    return abs(life.first - ts) <= JITTER_S if life.told else life.first >= ts - JITTER_S


def line_of(
    lives: Sequence[Life], ts: float, *, trailing: bool = False, ip: str | None = None
) -> Life | None:
    """The life that a line at a moment belongs to; None when it is of one that is not known.

    ``trailing`` lines (remarks, files) may come long after a session's close. A line of another address (``ip``)
    than the life's is none from before its beginning.
    """
    before = max((life for life in lives if life.began <= ts), key=lambda life: life.began, default=None)
    if before is not None and (trailing or not before.over(ts)):
        return before
    after = min((life for life in lives if life.began > ts), key=lambda life: life.began, default=None)
    if after is None or (ip is not None and after.ip not in (None, ip)):
        return None
    # Without a close nothing speaks against a clock that was set back within the session.
    near = after.start is None or after.closed is None or after.began - ts <= JITTER_S
    return after if near else None


def command_mark(ts: float, text: str) -> str:
    """What names a command that has no place of its own: its time (to the microsecond) and what it says."""
    said = f"{round(ts * 1e6)}|{text}".encode("utf-8", "replace")
    return "@" + hashlib.blake2b(said, digest_size=8).hexdigest()


def home_of(piece: Life, lives: Iterable[Life]) -> Life | None:
    """The stored life that a piece of a session (its own name aside) is a part of; None when there is none."""
    known = list(lives)
    if piece.start is not None:
        return connected_at(known, piece.start)
    return line_of(known, piece.first, ip=piece.ip)
