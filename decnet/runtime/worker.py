"""What a worker is: a name, topics, ``handle`` and a few optional extras. The rest is the runtime's.

A worker writes no reconnect loop, heartbeat or control listener of its own. Its ``handle`` gets a
batch and a transaction; what it publishes there goes out after the commit, through the outbox.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from decnet.bus.base import BaseBus, Event, matches
from decnet.runtime.received import Received
from decnet.telemetry import inject

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository


@dataclass(frozen=True, slots=True)
class Job:
    """Something a worker does every ``interval_s`` seconds.

    With a ``lease`` only one engine on a database runs it at a time. ``by_data`` marks jobs that
    also run once when an engine works until idle. ``due`` asks whether there is anything to do, before the lease
    is taken: taking and giving it back are two commits. Where ``due`` says no, or ``run`` returns False, there is
    nothing to do until a row is written: the job is not run before that.
    """

    name: str
    interval_s: float
    run: Callable[[BaseRepository, BaseBus], Awaitable[bool | None]]
    lease: str | None = None
    by_data: bool = False
    due: Callable[[BaseRepository], Awaitable[object]] | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that a handler gives up for good."""

    event: Event
    reason: str


class TxBus:
    """The publishing half of a bus inside a transaction: events wait in the outbox for the commit."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def publish(
        self,
        topic: str,
        payload: dict[str, Any],
        *,
        event_type: str = "",
        event_id: str | None = None,
        ts: float | None = None,
    ) -> None:
        """Adds one event to the outbox of this transaction; ``ts`` is epoch seconds."""
        moment = time.time() if ts is None else ts
        event = Event(topic, payload, event_type, event_id or uuid4().hex, moment, headers=inject())
        self.events.append(event)


@dataclass(slots=True)
class Transaction:
    """One batch's transaction: its repository, its outbox, its dead letters."""

    repo: BaseRepository
    bus: TxBus = field(default_factory=TxBus)
    dead: list[DeadLetter] = field(default_factory=list)
    deferred: set[str] = field(default_factory=set)

    def defer(self, event: Event) -> None:
        """Asks for ``event`` again later, because what it needs is not there yet; this is no failure."""
        self.deferred.add(event.id)

    def dead_letter(self, event: Event, reason: str) -> None:
        """Gives ``event`` up; the row is written with the batch."""
        self.dead.append(DeadLetter(event, reason))


@asynccontextmanager
async def transaction(repo: BaseRepository) -> AsyncIterator[Transaction]:
    """A transaction outside a batch, for jobs; what is published in it goes out after the commit."""
    async with repo.transaction() as bound:
        tx = Transaction(bound)
        yield tx
        await bound.outbox_add_many(tx.bus.events)


class Worker(ABC):
    """One unit of work over durable topics; see the module docstring."""

    name: str
    topics: tuple[str, ...] = ()
    keeps: tuple[str, ...] | None = None
    """Topics about whose unreadable events this worker speaks; None for all of its own.

    Several workers read one topic: each counts what it could not read, one writes the dead letters.
    """
    jobs: tuple[Job, ...] = ()
    without_bus: str = "idle until bus returns"
    """What it does while the bus is away, as the log says it."""
    brings_work = False
    """Whether the others live on what it brings in: then it starts when they have, for a while at most."""

    async def start(self, repo: BaseRepository, bus: BaseBus) -> None:  # noqa: B027
        """Runs once before the first batch; may raise, then the supervisor tries again later."""

    @abstractmethod
    async def handle(self, batch: Sequence[Received], tx: Transaction) -> None:
        """The whole effect of a batch of distinct events in stream order; raising fails the batch."""

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """Named tasks that run for ever under supervision, restarted with back-off when they end."""
        return {}

    def waiting_for(self) -> str:
        """What it lacks to judge anything, as one word for the state (``rules``); no batch is taken until then."""
        return ""

    def health(self) -> dict[str, Any]:
        """Extra health fields; a non-empty ``degraded`` names why this worker is not green."""
        return {}

    def urgent(self) -> object:
        """What is told as soon as it changes, not with the next heartbeat; looked at often, so it costs little. None: nothing."""
        return None

    def unfinished(self) -> str:
        """Work of its own beside the topics that an engine waits for when it works until idle."""
        return ""

    async def owed(self, repo: BaseRepository) -> str:
        """The same of rows that wait for a job of this worker, which may not have looked at them yet."""
        return ""

    async def stop(self) -> None:  # noqa: B027
        """Runs once after the last batch."""


def keeps(worker: Worker, topic: str) -> bool:
    """Whether it is this worker that speaks about what cannot be read of a topic."""
    return worker.keeps is None or any(matches(pattern, topic) for pattern in worker.keeps)
