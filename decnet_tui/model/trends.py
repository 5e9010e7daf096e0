"""Rates over the last day by the hour, from what is stored: the same after every start. Knows no terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from decnet_tui.model.words import count_short

HOURS = 24
"""Hours of a strip, the one that is under way included."""
KINDS = {"events": "events", "sessions": "sessions", "sources": "new sources", "refused": "lines refused"}
"""The rates that matter, by the names that the store has for them, and what they are called."""


class Trend(NamedTuple):
    """One rate: its counts of :data:`HOURS` hours, oldest first."""

    name: str
    counts: Sequence[int]

    @property
    def label(self) -> str:
        """What it is called."""
        return KINDS[self.name]

    @property
    def text(self) -> str:
        """This hour beside what an hour of this day had on the average, and all of the day."""
        before = self.counts[:-1]
        usual = sum(before) / len(before) if before else 0.0
        return f"{count_short(self.counts[-1])}/h (usual {count_short(usual)})  24h {count_short(sum(self.counts))}"


def trends_of(hourly: Mapping[str, Sequence[int]]) -> tuple[Trend, ...]:
    """The rates in their order; what the store does not know of is left out."""
    return tuple(Trend(name, tuple(hourly[name])) for name in KINDS if name in hourly)


def bars(counts: Sequence[int], spark: str, peak: int = 0) -> str:
    """One character of ``spark`` (blank to full) for each count; any at all gives a bar. ``peak`` may lie outside."""
    top = max(peak, max(counts, default=0), 1)
    return "".join(spark[-(-n * (len(spark) - 1) // top)] for n in counts)
