"""Dead letters: what is kept of an event, or of an element of one, that could not be worked off.

A letter's key is the same however often its event comes: of a whole event it holds the place in the stream
and the bytes (a stream that was made anew counts from one again), of an element the bytes and the path.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from decnet.bus.base import Delivery
from decnet.db.rows.runtime import NewDeadLetter
from decnet.events.record import Fault
from decnet.ids import letter_key

MAX_REASON = 500
"""Characters of a dead letter's reason; it may quote an attacker, and its news has to fit into an event."""
MAX_ELEMENTS = 100
"""Letters about elements of one event; the last one stands for all others."""
MAX_PATH, MAX_BODY = 200, 65_536
OTHERS = "(others)"


class Letter(NamedTuple):
    """One letter; ``path`` and ``value`` are those of an element, ``body`` is all that is left of it."""

    reason: str
    body: bytes
    path: str | None = None
    value: str | None = None

    def row(self, worker: str, delivery: Delivery) -> NewDeadLetter:
        """What is stored of it."""
        place = delivery.seq if self.path is None else self.path
        key = letter_key(worker, place, delivery.body)
        return NewDeadLetter(delivery.topic, self.reason, delivery.seq, self.body, key, self.path, self.value)


def whole(reason: str, body: bytes) -> Letter:
    """A letter about a whole event."""
    return Letter(reason[:MAX_REASON], body)


def letters_of(faults: Sequence[Fault]) -> list[Letter]:
    """A letter for each element, up to a limit; what is beyond is in the last one, with its number."""
    if len(faults) <= MAX_ELEMENTS:
        return [_letter(fault) for fault in faults]
    single, rest = faults[: MAX_ELEMENTS - 1], faults[MAX_ELEMENTS - 1 :]
    said = f"{len(rest)} more elements could not be read, the first one {rest[0]}"
    items = _body([fault.item for fault in rest])
    return [*(_letter(fault) for fault in single), Letter(said[:MAX_REASON], items, OTHERS, rest[0].value)]


def _letter(fault: Fault) -> Letter:
    return Letter(
        f"malformed: {fault}"[:MAX_REASON], _body(fault.item), fault.path[:MAX_PATH] or OTHERS, fault.value
    )


def _body(item: object) -> bytes:
    """The element as JSON, cut; text that says so for one that cannot be written out."""
    try:
        return json.dumps(item, ensure_ascii=True, default=repr).encode()[:MAX_BODY]
    except (RecursionError, ValueError):
        return b'"(nested too deeply to be written out)"'
