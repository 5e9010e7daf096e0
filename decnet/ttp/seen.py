"""When the attacker did what a tag is about: event time, never the time of tagging. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from decnet.bus.base import Event
from decnet.db.types import as_utc
from decnet.events.fields import LATEST, epoch
from decnet.ttp.base import TaggerEvent, TTPTag

Judged = tuple[TaggerEvent, float]
"""What was judged, and the moment (epoch seconds) that counts where it names none of its own."""
_NAMES = ("window_start", "ts", "started_at", "first_seen")
"""An aggregate is about the minutes that it counts, a command about its own time, a session about its start."""


def moment_of(event: Event) -> float:
    """Epoch seconds of what a bus event tells: of its first own time, else of the event."""
    found = _own(event.payload)
    return event.ts if found is None else found


def stamp(tags: Iterable[TTPTag], judged: Iterable[Judged]) -> None:
    """Gives each tag the time of what it is about."""
    by_source: dict[tuple[str, str], list[TTPTag]] = {}
    for tag in tags:
        by_source.setdefault((tag.source_kind, tag.source_id), []).append(tag)
    for event, otherwise in judged if by_source else ():
        for tag in by_source.get((event.source_kind, event.source_id), ()):
            found = _own(event.payload)
            stamp_one(tag, otherwise if found is None else found)


def stamp_one(tag: TTPTag, ts: float) -> None:
    """``ts`` is epoch seconds; a time that no calendar has leaves the tag as it was."""
    if 0 <= ts <= LATEST:
        tag.seen_at = as_utc(ts)


def _own(payload: Mapping[str, Any]) -> float | None:
    return next((ts for name in _NAMES if (ts := epoch(payload.get(name))) is not None), None)
