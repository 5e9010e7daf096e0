"""Events as a handler gets them: with the record that the runtime has parsed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from decnet.bus.base import Event
from decnet.bus.views import Through
from decnet.errors import MalformedEvent
from decnet.runtime.received import Received, received
from decnet.ttp.base import TaggerEvent
from decnet.ttp.events import tagger_events


def taken(events: Iterable[Event]) -> list[Received]:
    """What a handler gets of events that are none of them malformed."""
    return [received(event) for event in events]


def parsed(events: Iterable[Event]) -> tuple[list[Received], list[str]]:
    """What a handler gets of any events, and why it does not get the others."""
    found, refused = list[Received](), list[str]()
    for event in events:
        try:
            found.append(received(event))
        except MalformedEvent as error:
            refused.append(str(error))
    return found, refused


def pieces(events: Iterable[Event], pattern: str) -> list[Event]:
    """What a subscriber of a pattern sees of events."""
    through = Through(pattern)
    return [seen for event in events if through.wants(event.topic) for seen in through.seen(event)]


def judged(event: Event) -> list[TaggerEvent]:
    """What the taggers get of one event."""
    return tagger_events(received(event))


def payloads(batch: Iterable[Received]) -> list[dict[str, Any]]:
    """The payloads of a batch."""
    return [one.event.payload for one in batch]
