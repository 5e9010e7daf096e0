"""Ignoring a source (``X``) and taking that back."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from decnet.errors import DecnetError
from decnet_tui.changes import Change, need_store
from decnet_tui.forms import Field, Form, parse_duration
from decnet_tui.session import Session

if TYPE_CHECKING:
    from decnet.db.rows.ignored import AddedEntry, IgnoredEntry

KIND = "source.ignore"
DURATIONS = ("forever", "1h", "24h", "7d")


@dataclass
class IgnoreSource(Change):
    """Ignores a network, address or login name. ``expires_at`` is epoch seconds or None for good."""

    source: str
    expires_at: float | None = None
    reason: str | None = None
    entry: AddedEntry | None = None
    """The entry as it was written; ``marked`` is the number of sessions that it marked."""
    kind = KIND

    @property
    def target(self) -> str:  # type: ignore[override]
        """The source."""
        return self.source

    @property
    def what(self) -> str:
        """What it does."""
        return f"ignore {self.source}"

    async def before(self, session: Session) -> dict[str, Any] | None:
        """Whether it was ignored, and how."""
        return await _state(session, self.source)

    def after(self) -> dict[str, Any]:
        """Ignored."""
        return {"ignored": True, "expires_at": self.expires_at, "reason": self.reason}

    async def send(self, session: Session) -> None:
        """Writes the entry and marks what is stored. Raises DecnetError for what is no source."""
        ends = None if self.expires_at is None else datetime.fromtimestamp(self.expires_at, UTC)
        try:
            self.entry = await need_store(session).ignore_add(
                self.source, reason=self.reason, set_by=session.operator, expires_at=ends
            )
        except ValueError as error:
            raise DecnetError(str(error)) from error

    async def held(self, session: Session) -> str:
        """Empty when the entry is there."""
        return "" if await _entry(session, self.source) else "the store does not have it"


@dataclass
class NoticeSource(Change):
    """Ignores a source no longer."""

    source: str
    undoes: int | None = None
    kind = KIND

    @property
    def target(self) -> str:  # type: ignore[override]
        """The source."""
        return self.source

    @property
    def what(self) -> str:
        """What it does."""
        return f"ignore {self.source} no longer"

    async def before(self, session: Session) -> dict[str, Any] | None:
        """Whether it was ignored, and how."""
        return await _state(session, self.source)

    def after(self) -> dict[str, Any]:
        """Not ignored."""
        return {"ignored": False}

    async def send(self, session: Session) -> None:
        """Takes the entry away. Raises what the store raises."""
        entry = await _entry(session, self.source)
        if entry is not None:
            await need_store(session).ignore_remove(entry["ignore_id"])

    async def held(self, session: Session) -> str:
        """Empty when the entry is gone."""
        return "the store still has it" if await _entry(session, self.source) else ""


async def _entry(session: Session, source: str) -> IgnoredEntry | None:
    """The entry of a source in any of its spellings: a network is stored in its shortest."""
    from decnet.db.repository.ignored import (
        parse_source,  # here: the console starts without the database library
    )

    try:
        wanted = parse_source(source)
    except ValueError:
        return None
    rows = await need_store(session).ignored_sources()
    return next((row for row in rows if (row["kind"], row["value"]) == wanted), None)


async def _state(session: Session, source: str) -> dict[str, Any]:
    entry = await _entry(session, source)
    if entry is None:
        return {"ignored": False}
    ends = entry["expires_at"]
    return {"ignored": True, "expires_at": ends.timestamp() if ends else None, "reason": entry["reason"]}


def undo(entry: Mapping[str, Any]) -> Change:
    """Back to what it was: not ignored, or ignored in the former way."""
    before = entry["before"]
    if not before.get("ignored"):
        return NoticeSource(str(entry["target"]), undoes=entry["id"])
    change = IgnoreSource(str(entry["target"]), before.get("expires_at"), before.get("reason"))
    change.undoes = entry["id"]
    return change


class IgnoreForm(Form):
    """For how long and why a source is ignored."""

    def __init__(self, source: str) -> None:
        super().__init__(
            [
                Field("source", source, free=True),
                Field("for", DURATIONS[0], choices=DURATIONS),
                Field("reason", free=True),
            ]
        )
        self.title = f"IGNORE {source}"

    def effect(self) -> list[str]:
        """What that means."""
        return [
            "its events are still stored and tagged,",
            "but left out of counts, lists, alerts and exports",
        ]

    def question(self) -> str:
        """What ``y`` does."""
        return f"ignore {self.value('source').strip()}"

    def change(self, now: float) -> IgnoreSource:
        """What would be sent at ``now``. Raises ValueError that says what is wrong."""
        source = self.value("source").strip()
        if not source:
            raise ValueError("which source? an address, a network such as 192.0.2.0/24, or a login name")
        seconds = parse_duration(self.value("for"))
        expires = None if seconds is None else (now or time.time()) + seconds
        return IgnoreSource(source, expires, self.value("reason").strip() or None)
