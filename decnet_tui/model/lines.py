"""The lines of a list of events: each event, or of each session its newest one; a line of its own where a day begins.

Rows lie in the order in which they came. A session's line moves to the end when there is news of it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from operator import attrgetter

from decnet_tui.model.feed import EventRow
from decnet_tui.model.words import clock

DAY_TOPIC = "(day)"
_DAY_S = 86_400.0
_seq = attrgetter("seq")


class Lines:
    """What stands in the list; ``folded``: one line a session."""

    def __init__(self, folded: bool, rows: Sequence[EventRow] = ()) -> None:
        self.folded = folded
        self.rows: list[EventRow] = []
        self._newest: dict[str, int] = {}
        self.extend(rows)

    def extend(self, fresh: Sequence[EventRow]) -> None:
        """News, oldest first."""
        self._push(self._moved(fresh) if self.folded else fresh)

    def prepend(self, older: Sequence[EventRow]) -> int:
        """Older events than all that are here, oldest first; how many lines that makes in front."""
        if self.folded:
            kept: list[EventRow] = []
            for row in reversed(older):
                if not row.session or row.session not in self._newest:
                    self._note(row)
                    kept.append(row)
            older = kept[::-1]
        if not older:
            return 0
        before, rest = len(self.rows), self.rows
        if rest and rest[0].topic == DAY_TOPIC:
            del rest[0]
        self.rows = []
        self._push(older)
        if rest and _day(rest[0]) != _day(self.rows[-1]):
            self.rows.append(day_line(rest[0]))
        self.rows += rest
        return len(self.rows) - before

    def trim(self, first: int) -> int:
        """Lets go of events before a number; how many lines that takes away."""
        gone = bisect_left(self.rows, first, key=_seq)
        for row in self.rows[:gone]:
            self._newest.pop(row.session, None)
        del self.rows[:gone]
        return gone

    def place_of(self, row: EventRow) -> int:
        """Where an event stands, or the line of its session; of one that is not shown the next after it."""
        seq = self._newest.get(row.session, row.seq)
        at = bisect_left(self.rows, seq, key=_seq)
        return at + 1 if at < len(self.rows) and self.rows[at].topic == DAY_TOPIC else at

    def _note(self, row: EventRow) -> None:
        if self.folded and row.session:
            self._newest[row.session] = row.seq

    def _moved(self, fresh: Iterable[EventRow]) -> list[EventRow]:
        """News with one line a session; lines of theirs that stood somewhere are taken out there."""
        newest = {row.session: row.seq for row in fresh if row.session}
        kept = [row for row in fresh if not row.session or newest[row.session] == row.seq]
        moved = {self._newest[name] for name in newest.keys() & self._newest.keys()}
        self._newest |= newest
        if not moved:
            return kept
        at = bisect_left(self.rows, min(moved), key=_seq)
        rest = [row for row in self.rows[at:] if row.topic != DAY_TOPIC and row.seq not in moved]
        del self.rows[at:]
        return rest + kept

    def _push(self, rows: Iterable[EventRow]) -> None:
        before = self.rows[-1] if self.rows else None
        for row in rows:
            if before is not None and _day(before) != _day(row):
                self.rows.append(day_line(row))
            self._note(row)
            self.rows.append(row)
            before = row


def day_line(row: EventRow) -> EventRow:
    """The line in front of the first event of a day."""
    return row._replace(topic=DAY_TOPIC, source="", summary=clock(row.ts, "date")[:10], raw=b"{}", session="")


def _day(row: EventRow) -> float:
    """Days since the epoch; a time that is none is of no other day."""
    day = row.ts // _DAY_S
    return day if day == day else 0.0  # noqa: PLR0124 - not a number
