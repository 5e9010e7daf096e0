"""A table of a format, checked and compiled: how the lines of one program's log become facts; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from decnet.events.fields import epoch, number
from decnet.sensors.formats.emits import Emit
from decnet.sensors.formats.values import MAX_TEXT, Scope, Value, plain
from decnet.sensors.values import Data

Shape = Literal["json", "csv", "text", "zeek"]
SCALES: Mapping[str, float] = {"unix": 1.0, "unix_ms": 1e3, "unix_us": 1e6, "unix_ns": 1e9}
"""How a time is written that is a count: so many to a second."""
_ZONED = re.compile(r"(?:Z|UTC|GMT|[+-]\d\d:?\d\d)\s*\Z", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Clock:
    """How the time of a line is read: the first of its values that is one."""

    values: tuple[Value, ...]
    scale: float | None = None
    """So many to a second, of a time that is a count; None for one that is written out (ISO 8601 and what is near)."""
    offset: timedelta = timedelta(0)
    """What a time without a zone is ahead of UTC."""

    def read(self, scope: Scope) -> float | None:
        """Epoch seconds; None where no value is a time."""
        found = (self._moment(value.read(scope)) for value in self.values)
        return next((ts for ts in found if ts is not None), None)

    def _moment(self, given: Any) -> float | None:
        if self.scale is not None:
            counted = number(given)
            return None if counted is None else epoch(counted / self.scale)
        ts = epoch(given)
        local = ts is not None and self.offset and isinstance(given, str) and not _ZONED.search(given)
        return epoch(ts - self.offset.total_seconds()) if ts is not None and local else ts


@dataclass(frozen=True, slots=True)
class Condition:
    """Whether something stands in a line: any of some values, something that a pattern is found in, or anything."""

    value: Value
    among: frozenset[str] = frozenset()
    regex: Any = None
    there: bool = True
    """Without values and pattern: whether anything is to stand there."""
    negated: bool = False
    """Whether all that is not to be."""

    def holds(self, scope: Scope) -> bool:
        """Whether it holds of a line, or of an element in it."""
        return self._holds(scope) is not self.negated

    def _holds(self, scope: Scope) -> bool:
        found = self.value.read(scope)
        if self.among:
            return _word(found) in self.among
        text = plain(found, MAX_TEXT) if self.regex is not None else None
        if self.regex is not None:
            return text is not None and self.regex.search(text) is not None
        return (found is not None and found != "") is self.there


def _word(value: Any) -> str | None:
    """A value as the word that a table writes for it."""
    return str(value).lower() if isinstance(value, bool) else plain(value, MAX_TEXT)


@dataclass(frozen=True, slots=True)
class Hallmark:
    """What tells the lines of a program from others': all of these hold, or (as ``Tests``) those of one of several."""

    conditions: tuple[Condition, ...]

    def holds(self, line: Mapping[str, Any]) -> bool:
        """Whether a decoded line fits."""
        scope = Scope(line if isinstance(line, dict) else dict(line))
        return all(condition.holds(scope) for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class Beside:
    """A log of the same program that is left alone, and why."""

    mark: Hallmark
    why: str


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that lines give: when, of what, out of which values."""

    called: str
    """The word behind its ``emit:``."""
    emit: Emit
    when: tuple[Condition, ...]
    values: Mapping[str, Value]
    words: Mapping[str, str]
    each: str | None = None
    """Where a list stands of which every element gives one."""
    kinds: frozenset[str] | None = None
    """The kinds of line that it is for; None for all."""
    anonymous: bool = False
    """Whether its lines may name no address: their session does."""

    @property
    def paths(self) -> frozenset[str]:
        """The fields of a line that have their home in it; what tells kinds of line apart says nothing else."""
        read = frozenset().union(*(value.paths for value in self.values.values()))
        asked = frozenset().union(
            *(one.value.paths for one in self.when if one.among and len(one.among) == 1)
        )
        return read | asked | (frozenset({self.each}) if self.each else frozenset())


@dataclass(frozen=True, slots=True)
class Expected:
    """What the lines of a table's sample give: events in order, and how many lines gave none, by reason."""

    events: tuple[Data, ...] = ()
    refused: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    not_derived: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """One format."""

    name: str
    title: str
    source: str
    """Where the format is described."""
    file: str
    shape: Shape
    detect: tuple[Hallmark, ...]
    clock: Clock
    peer: Value
    session: tuple[Value, ...]
    """What names a session; the values of one line that belong to one have the same."""
    service: Value
    rows: tuple[Row, ...]
    decky: Value | None = None
    kind: Value | None = None
    per_s: float = 0.0
    """Seconds of a span (from the epoch on) in which the same names mean the same session; 0: for ever."""
    idle_s: float | None = None
    """Seconds of log time without a line after which a session is over; None: as the settings say."""
    leave: Mapping[str, str] = field(default_factory=dict)
    """Kinds of line that are left out, and why."""
    beside: tuple[Beside, ...] = ()
    rest: bool = True
    """Whether what no row takes is kept with the session."""
    without: frozenset[str] = frozenset()
    """Fields that are not kept with it."""
    columns: tuple[str, ...] = ()
    delimiter: str = ","
    pattern: Any = None
    sample: str = ""
    expected: Expected = Expected()
    homes: frozenset[str] = frozenset()
    """Fields of every line that have their home in the table itself."""

    def is_one(self, line: Mapping[str, Any]) -> bool:
        """Whether a decoded line claims to be one of this format."""
        return any(mark.holds(line) for mark in self.detect)

    def left_alone(self, line: Mapping[str, Any]) -> str:
        """Why a line's file is left alone; empty when it is not."""
        return next((one.why for one in self.beside if one.mark.holds(line)), "")

    def rows_of(self, kind: str | None) -> list[Row]:
        """The rows that are for a kind of line."""
        return [row for row in self.rows if row.kinds is None or kind in row.kinds]
