"""A message to another system, and what a channel to one has to do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import NAMESPACE_URL, uuid5

from decnet.bus.base import Event
from decnet.hostile import storable

SCHEMA = 1
_NAMESPACE = uuid5(NAMESPACE_URL, "decnet:publish:v1")
_SECRET = "secret"


class NotDelivered(Exception):
    """A target did not take messages. ``taken`` of them it did; a ``final`` one will not be taken later either.

    ``wait_s`` is how long the target asks to be left alone.
    """

    def __init__(
        self, reason: str, *, taken: int = 0, final: bool = False, wait_s: float | None = None
    ) -> None:
        super().__init__(reason)
        self.taken, self.final, self.wait_s = taken, final, wait_s


@dataclass(frozen=True, slots=True)
class Message:
    """``ident`` is the same however often it is sent; ``body`` is one line of ASCII JSON without its end."""

    ident: str
    topic: str
    ts: float
    body: str

    @classmethod
    def of(cls, topic: str, payload: Mapping[str, Any], ts: float, ident: str, kind: str = "") -> Message:
        """The envelope of the bus. What an attacker typed as a secret stays here, also where it is kept in the clear."""
        said = storable({name: value for name, value in payload.items() if name != _SECRET})
        whole = {"v": SCHEMA, "id": ident, "topic": topic, "type": kind, "ts": ts, "payload": said}
        return cls(ident, topic, ts, json.dumps(whole, ensure_ascii=True, separators=(",", ":"), default=str))

    @classmethod
    def of_event(cls, event: Event) -> Message:
        """An event of the bus as it is."""
        return cls.of(event.topic, event.payload, event.ts, event.id, event.type)

    @classmethod
    def of_notice(cls, notice: Mapping[str, Any], event: Event) -> Message:
        """Something worth telling that an event brought; its id is made of the event's and of what it says."""
        kind = str(notice["kind"])
        what = json.dumps(storable(dict(notice)), sort_keys=True, default=str)
        ident = uuid5(_NAMESPACE, f"{event.id}|{what}").hex
        return cls.of(f"notice.{kind}", notice, event.ts, ident, kind)


class Channel(Protocol):
    """The way to one target."""

    async def send(self, messages: Sequence[Message]) -> None:
        """Sends messages in order; returns when all are taken. Raises NotDelivered."""

    async def close(self) -> None:
        """Ends what is open."""
