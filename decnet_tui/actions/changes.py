"""The one way a change takes: plan, confirm, send, verify, journal.

A form (:mod:`decnet_tui.actions.forms`) plans and asks; :func:`perform` writes the journal, sends, reads back,
waits for the news and says which of four ends it had. Nothing else in the console changes anything, and
the commands of the shell come the same way (:mod:`decnet_tui.cli.changing`).
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from decnet.hostile import visible
from decnet.logs import get_logger
from decnet_tui.model.access import Session, need_store, store_errors
from decnet_tui.model.feed import Feed
from decnet_tui.model.journal import End

NEWS_WAIT_S = 5.0
_POLL_S = 0.05
log = get_logger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of a change. ``text`` is the sentence for the operator."""

    end: End
    detail: str = ""
    error: Exception | None = None
    """What store or bus raised, when that is why."""

    def text(self, what: str) -> str:
        """The message line."""
        return f"{what}: {self.end.value}" + (f" ({self.detail})" if self.detail else "")


class Change(ABC):
    """One change that an operator has confirmed."""

    kind = ""
    """For the journal and for undo: ``rule.state``, ``worker.control`` …"""
    target = ""
    """The rule, worker, letter it is about."""
    reason: str | None = None
    undoes: int | None = None
    """The journal row that it reverses."""
    replaces: Mapping[str, Any] | None = None
    """The state that this row left; where another one holds now, somebody changed it since, and nothing is sent."""
    wait_s = NEWS_WAIT_S
    """Seconds that the news may take."""

    @property
    @abstractmethod
    def what(self) -> str:
        """What it does, as the message line says it: ``R0012 disabled``."""

    async def before(self, session: Session) -> dict[str, Any] | None:
        """The state that it replaces, as JSON values; None when there is none to come back to."""
        return None

    def after(self) -> dict[str, Any] | None:
        """The state that it asks for, as JSON values."""
        return None

    @abstractmethod
    async def send(self, session: Session) -> None:
        """Sends it. Raises what store or bus raise."""

    async def held(self, session: Session) -> str:
        """Reads back: empty when the store holds just this, else what it holds instead."""
        return ""

    def reported(self, feed: Feed, sent_at: float) -> Outcome | None:
        """The end that news since ``sent_at`` (epoch seconds) tell of; None while they tell nothing."""
        return Outcome(End.VERIFIED)

    def silence(self) -> Outcome:
        """The end when no news came in time."""
        return Outcome(End.SAVED)


async def perform(session: Session, feed: Feed, change: Change) -> Outcome:
    """Sends a confirmed change and finds out what became of it; never raises for store or bus."""
    try:
        entry, why = await _begin(session, change)
    except store_errors() as error:
        return Outcome(End.REFUTED, f"the journal cannot be written: {error}", error)
    outcome = Outcome(End.REFUTED, why) if why else await _sent(session, feed, change)
    try:
        if entry is not None and session.repo is not None:
            await session.repo.journal_end(entry, outcome.end.value, outcome.detail or None)
    except store_errors() as error:
        log.warning("journal not completed", entry=entry, error=str(error))
    return outcome


async def _begin(session: Session, change: Change) -> tuple[int | None, str]:
    """The journal's row, written before anything is sent, and why nothing may be sent.

    The row is None for an attachment that has no journal at all.
    """
    if session.repo is None and not session.opening:
        return None, ""
    store = need_store(session)
    before = await change.before(session)
    row = await store.journal_add(
        operator=session.operator,
        kind=change.kind,
        target=change.target,
        what=change.what,
        before=before,
        after=change.after(),
        reason=change.reason,
        undoes=change.undoes,
    )
    return row, "" if change.replaces is None else changed_since(change.replaces, before)


async def _sent(session: Session, feed: Feed, change: Change) -> Outcome:
    sent_at = time.time()
    try:
        await change.send(session)
        instead = await change.held(session)
    except store_errors() as error:
        log.info("change failed", change=change.what, error=str(error))
        return Outcome(End.REFUTED, str(error), error)
    if instead:
        return Outcome(End.REFUTED, instead)
    deadline = time.monotonic() + change.wait_s
    while (outcome := change.reported(feed, sent_at)) is None:
        if time.monotonic() >= deadline:
            return change.silence()
        await asyncio.sleep(_POLL_S)
    return outcome


def changed_since(left: Mapping[str, Any], now: Mapping[str, Any] | None) -> str:
    """What another one made of a state since it was ``left``; empty when it holds still, or ended by itself."""
    if now is None:
        return "it is gone"
    ends = left.get("expires_at")
    if isinstance(ends, (int, float)) and ends <= time.time():
        return "" if now.get("state", "enabled") == "enabled" and not now.get("ignored") else _changed(now)
    same = all(_alike(value, now.get(name)) for name, value in left.items() if name != "reason")
    return "" if same else _changed(now)


def _changed(now: Mapping[str, Any]) -> str:
    said = ", ".join(f"{k} {v}" for k, v in now.items() if v is not None and k != "reason")
    return f"it was changed since: now {visible(said, 120)}"


def _alike(one: Any, other: Any) -> bool:
    """Stores round times and shares; nobody sets two states that are nearer than this."""
    numbers = [v for v in (one, other) if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if len(numbers) == 2:
        return float(abs(one - other)) <= (1.0 if abs(one) > 1e6 else 1e-6)
    return bool(one == other)


def cannot_undo(entry: Mapping[str, Any]) -> str:
    """Why a journal row cannot be undone whatever its kind; empty when it can."""
    if entry.get("outcome") in (End.REFUTED.value,):
        return "it was not applied"
    if not entry.get("before"):
        return "what was there before is not known, or it has no way back"
    return ""
