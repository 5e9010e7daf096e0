"""Long sessions come in several events: their parts wait in the database until all are there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from decnet.behave import thresholds as t
from decnet.behave.extract import ending_of
from decnet.db.rows.behave import PartOfSession
from decnet.events.session import SessionEnded

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository

_LISTS = ("commands", "downloads", "uploads", "forwards", "inputs", "exploits", "extras")


async def whole_session(part: SessionEnded, repo: BaseRepository) -> SessionEnded | None:
    """A session with everything in it, or None while parts are missing."""
    if part.parts == 1:
        return part
    ending = ending_of(part, part.parts)
    row = PartOfSession(
        session_id=part.session_id, generation=ending, part=part.part, parts=part.parts, body=part.build()
    )
    await repo.add_session_parts([row])
    stored = await repo.session_parts(part.session_id, ending)
    if len(stored) < part.parts:
        return None
    return joined([SessionEnded.parse(row["body"]) for row in stored])


def joined(parts: Sequence[SessionEnded]) -> SessionEnded:
    """One session of all parts: lists put together (bounded), the rest of the last one."""
    lists = {}
    for name in _LISTS:
        items: list[Any] = []
        for part in parts:
            items += getattr(part, name) if len(items) < 4 * t.MAX_COMMANDS else ()
        lists[name] = items
    return msgspec.structs.replace(parts[-1], **lists)
