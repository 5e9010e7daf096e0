"""What a handler gets: an event with the record in it, parsed once for whoever reads it."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from decnet.bus.base import Event
from decnet.errors import MalformedEvent
from decnet.events.record import Fault, Record
from decnet.events.topics import record_of
from decnet.logs import get_logger

log = get_logger(__name__)
PARSED_KEPT = 1024
"""Events that are kept with their records, for the other workers that are given them."""


@dataclass(frozen=True, slots=True)
class Received:
    """One event and its record; None for topics that have none (probes' own).

    ``faults`` are the elements that are missing from the record because they could not be read.
    """

    event: Event
    record: Record | None
    faults: tuple[Fault, ...] = field(default=(), compare=False)

    def said(self) -> dict[str, Any]:
        """The payload as it was sent, as far as it could be read."""
        return self.event.payload if self.record is None else self.record.said(self.event.payload)


class Parsing:
    """Parses each event once, however many workers of the process are given the same object."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, tuple[Received, Counter[tuple[str, str]]]] = OrderedDict()

    def received(self, event: Event) -> tuple[Received, Counter[tuple[str, str]]]:
        """``event`` with its record, and the keys that the record does not know. Raises MalformedEvent."""
        known = self._known.get(id(event))
        if known is not None and known[0].event is event:
            return known
        strange: Counter[tuple[str, str]] = Counter()
        found = self._known[id(event)] = (received(event, strange), strange)
        if len(self._known) > PARSED_KEPT:
            self._known.popitem(last=False)
        return found


PARSING = Parsing()


def received(event: Event, strange: Counter[tuple[str, str]] | None = None) -> Received:
    """``event`` with its record. Raises MalformedEvent, with the JSON path, when its body is none.

    ``strange`` counts keys that the record does not know.
    """
    kind = record_of(event.topic)
    if kind is None:
        return Received(event, None)
    faults: list[Fault] = []
    record = kind.parse(_with_type(kind, event), faults, strange)
    return Received(event, record, tuple(faults))


def _with_type(kind: type[Record], event: Event) -> Mapping[str, Any]:
    """The payload, with the envelope's ``type`` where the record needs one and the payload has none."""
    payload = event.payload
    if kind.TYPE_KEY and event.type and not payload.get(kind.TYPE_KEY):
        return {**payload, kind.TYPE_KEY: event.type}
    return payload


def all_received(events: Iterable[Event]) -> list[Received]:
    """Events of the past (stored rows, the stream) with their records; what cannot be read is said and left out."""
    found: list[Received] = []
    for event in events:
        try:
            found.append(received(event))
        except MalformedEvent as error:
            log.warning("stored event cannot be read", topic=event.topic, reason=str(error))
    if faults := [fault for one in found for fault in one.faults]:
        log.warning("stored elements cannot be read", elements=len(faults), first=str(faults[0]))
    return found
