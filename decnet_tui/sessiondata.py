"""One stored session with its commands, tags and recording; plain data for the views that show it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from decnet_tui.changes import need_store
from decnet_tui.session import Session

Tag = Mapping[str, Any]


@dataclass(frozen=True)
class SessionData:
    """``payload`` as ``attacker.session.ended`` has it; ``recording`` is None when there is none (yet)."""

    payload: Mapping[str, Any]
    tags: Sequence[Tag]
    recording: bytes | None = None

    def commands(self) -> list[dict[str, Any]]:
        """Commands in order, each with its ``tags``."""
        by_command: dict[str, list[Tag]] = defaultdict(list)
        for tag in self.tags:
            by_command[str(tag["source_id"])].append(tag)
        return [{**c, "tags": by_command.get(str(c["id"]), [])} for c in self.payload.get("commands", ())]

    def own_tags(self) -> list[Tag]:
        """Tags of the session itself: log-ins, downloads, what several commands show together."""
        known = {str(c["id"]) for c in self.payload.get("commands", ())}
        return [tag for tag in self.tags if str(tag["source_id"]) not in known]

    def tagged_at(self) -> list[float]:
        """Times (epoch seconds) of the commands that have a tag."""
        return [float(c["ts"]) for c in self.commands() if c["tags"] and c["ts"]]


async def read_session(session: Session, session_id: str) -> SessionData:
    """One session from the store, by its id, its beginning or the honeypot's own. Raises what the store raises."""
    repo = need_store(session)
    session_id = await repo.session_named(session_id) or session_id
    payload = await repo.session_payload(session_id) or {}
    tags = await repo.list_tags(session=session_id, limit=0, ignored=True)
    key = payload.get("keystrokes_ref")
    return SessionData(payload, tags, await repo.recording(str(key)) if key else None)
