"""Work of the shell on all that is stored, such as a purge: it takes the way of every change, so that the journal has it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from decnet_tui.actions.changes import Change, Outcome
from decnet_tui.model.access import Session
from decnet_tui.model.feed import Feed
from decnet_tui.model.journal import End

PURGE, BACKFILL = "purge", "rule.backfill"
"""Kinds in the journal; neither has a way back."""


@dataclass
class Upkeep(Change):
    """One such job. ``says`` is what it does, ``job`` does it and gives what came of it, in words."""

    job_kind: str
    about: str
    says: str
    asked: dict[str, Any]
    job: Callable[[], Awaitable[str]]
    done: str = ""

    @property
    def kind(self) -> str:  # type: ignore[override]
        """What kind of job it is."""
        return self.job_kind

    @property
    def target(self) -> str:  # type: ignore[override]
        """What it is about."""
        return self.about

    @property
    def what(self) -> str:
        """What it does."""
        return self.says

    def after(self) -> dict[str, Any]:
        """What was asked for."""
        return self.asked

    async def send(self, session: Session) -> None:
        """Does it, to its end. Raises what the job raises."""
        self.done = await self.job()

    def reported(self, feed: Feed, sent_at: float) -> Outcome | None:
        """Its own report."""
        return Outcome(End.VERIFIED, self.done)
