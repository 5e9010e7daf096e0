"""Long sessions come in several events: their parts wait in the database until all are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from decnet.behave import thresholds as t
from decnet.behave.evidence import attacker_of
from decnet.behave.extract import ending_of
from decnet.bus.base import Event
from decnet.db.rows import JsonObject
from decnet.db.rows.behave import PartOfSession

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository

Row = dict[str, Any]
MAX_PARTS = 100_000
_LISTS = ("commands", "downloads", "uploads", "forwards", "inputs", "exploits", "extras")


class NotASession(ValueError):
    """An event that cannot be read as the end of a session."""


@dataclass(frozen=True, slots=True)
class Place:
    """Whose end an event tells, and which of how many parts it is."""

    session_id: str
    attacker_uuid: str
    ending: str
    part: int
    parts: int


def place_of(event: Event) -> Place:
    """The place of an event. Raises NotASession."""
    payload = event.payload
    session, attacker, ended = payload.get("session_id"), attacker_of(payload), payload.get("ended_at")
    if not isinstance(session, str) or not session or attacker is None:
        raise NotASession("session_id or attacker is missing or no text")
    if isinstance(ended, bool) or not isinstance(ended, (int, float)) or not 0 <= ended < 1e11:
        raise NotASession("ended_at is missing or no time in epoch seconds")
    part, parts = _whole(payload.get("part", 1)), _whole(payload.get("parts", 1))
    if not 1 <= part <= parts <= MAX_PARTS:
        raise NotASession(f"part {part} of {parts}")
    return Place(session, attacker, ending_of(payload, float(ended), parts), part, parts)


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


async def whole_session(event: Event, place: Place, repo: BaseRepository) -> Row | None:
    """A payload with everything in it, or None while parts are missing."""
    if place.parts == 1:
        return event.payload
    part = PartOfSession(
        session_id=place.session_id,
        generation=place.ending,
        part=place.part,
        parts=place.parts,
        body=event.payload,
    )
    await repo.add_session_parts([part])
    stored = await repo.session_parts(place.session_id, place.ending)
    return joined([part["body"] for part in stored]) if len(stored) == place.parts else None


def joined(bodies: Sequence[JsonObject]) -> Row:
    """One payload of all parts: lists put together (bounded), the rest of the last one."""
    out = dict(bodies[-1])
    for name in _LISTS:
        items: list[Any] = []
        for body in bodies:
            value = body.get(name)
            items += value if isinstance(value, list) and len(items) < 4 * t.MAX_COMMANDS else []
        out[name] = items
    return out
