"""What heartbeats say of events and refused lines, as counts of hours.

The sensors' events are counted by a process from 0 on; their refused lines by a checkpoint, which outlives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from decnet.db.repository.runtime.hours import EVENTS, REFUSED

SENSORS = "sensors"
MAX_NAME = 500
"""Characters of the name of a counter: what is known of a sensor is its path."""
MAX_SENSORS = 200
"""Sensors whose refused lines are counted by hours."""


class Hours:
    """The figures of one process; what was not stored is counted with the next beat."""

    def __init__(self) -> None:
        self._events = 0
        self._levels: dict[str, int] = {}

    def grown(self, beats: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, int], dict[str, int]]:
        """How many more events there were, and where counters stand that moved, by name; both may be empty."""
        payload = beats.get(SENSORS, {})
        published = payload.get("events_published")
        more = published - self._events if isinstance(published, int) else 0
        levels = {name: count for name, count in _levels(payload) if count != self._levels.get(name, 0)}
        return ({EVENTS: more} if more > 0 else {}), levels

    def stored(self, more: Mapping[str, int], levels: Mapping[str, int]) -> None:
        """What :meth:`grown` gave is in the database."""
        self._events += more.get(EVENTS, 0)
        self._levels.update(levels)


def _levels(payload: Mapping[str, Any]) -> list[tuple[str, int]]:
    rows = payload.get("sensors")
    known = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
    return [
        (f"{REFUSED}|{row.get('kind')}|{row.get('path')}"[:MAX_NAME], row["refused"])
        for row in known[:MAX_SENSORS]
        if isinstance(row.get("refused"), int) and row["refused"] > 0
    ]
