"""Views on the bus: who listens to the pieces of something that is published as a whole gets them from the whole."""

from __future__ import annotations

from collections.abc import Iterator

from decnet.bus.base import Event, matches
from decnet.errors import MalformedEvent
from decnet.events.views import VIEWS, View
from decnet.logs import get_logger

log = get_logger(__name__)


class Through:
    """What a reader of one pattern sees of the events that come."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._views = tuple(view for view in VIEWS if _overlap(pattern, view.pattern))
        sources = (view.source for view in self._views)
        self.also = tuple(source for source in sources if not matches(pattern, source))
        """Topics that have to be listened to beside the pattern."""

    def wants(self, topic: str) -> bool:
        """Whether an event of this topic is, or carries, something for the reader."""
        return topic in self.also or matches(self.pattern, topic)

    def seen(self, event: Event) -> Iterator[Event]:
        """The event itself, where the reader asked for it, and then its pieces that he asked for."""
        if event.topic not in self.also:
            yield event
        for view in self._views:
            if view.source == event.topic:
                yield from self._pieces(view, event)

    def _pieces(self, view: View, event: Event) -> Iterator[Event]:
        try:
            for piece in view.pieces(event.payload):
                if matches(self.pattern, piece.topic):
                    ts = event.ts if piece.ts is None else piece.ts
                    yield Event(piece.topic, piece.payload, piece.type, piece.id, ts, headers=event.headers)
        except (MalformedEvent, ValueError) as error:
            log.debug("no pieces in a malformed event", topic=event.topic, reason=str(error))


def _overlap(one: str, other: str) -> bool:
    """Whether some topic matches both patterns."""
    mine, theirs = one.split("."), other.split(".")
    for a, b in zip(mine, theirs, strict=False):
        if ">" in (a, b):
            return True
        if a != b and "*" not in (a, b):
            return False
    return len(mine) == len(theirs)
