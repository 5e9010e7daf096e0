"""The mutator worker: lanes that serve what is ready, and a look at what really runs.

A lane takes one change after the other; the first serves operators only, so that it is free when the
clock has a hundred deckies due. Lanes look when a bell rings: at a word on the bus, when rows were written, when the
clock strikes. What a change is, is left to :mod:`decnet.mutator.service`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from decnet.bus.base import BaseBus
from decnet.bus.null import AbsentBus
from decnet.config import Settings, load_settings
from decnet.events.decky import MutateRequest
from decnet.logs import get_logger
from decnet.mutator.context import Outcome
from decnet.mutator.observe import counts, free_dead, tend
from decnet.mutator.queue import request_rotation
from decnet.mutator.service import MutationService
from decnet.mutator.setback import count_anew
from decnet.runtime.received import Received
from decnet.runtime.relay import OutboxRelay
from decnet.runtime.worker import Transaction, Worker

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository

T = TypeVar("T")
log = get_logger(__name__)
FLOOR_S = 1.0
"""The clock strikes no more often than this, in seconds."""
_AFTER_COMMIT_S = 0.1
GIVE_WAY_S = 0.3
"""Seconds for which the clock's lanes begin nothing new after an operator asked: the database has one writer."""


class MutatorWorker(Worker):
    """Serves requests, operations and the schedule."""

    name = "mutator"
    topics = ("decky.*.mutate_request", "topology.*.mutation.enqueued")

    def __init__(
        self,
        settings: Settings | None = None,
        make_service: Callable[[BaseRepository, Settings], MutationService] | None = None,
    ) -> None:
        self._settings = settings or load_settings()
        self._make_service = make_service or MutationService
        self.service: MutationService
        self._bells = [asyncio.Event() for _ in range(self._settings.mutator.lanes)]
        self._counts: dict[str, Any] = {}
        self._deployed: bool | None = None
        self._asked_at = float("-inf")

    async def start(self, repo: BaseRepository, bus: BaseBus) -> None:
        """Makes the service and frees what a dead engine of this host held. Raises ConfigError, DatabaseError."""
        self.service = self._make_service(repo, self._settings)
        await free_dead(self.service)
        self._note_deployment(bool(await repo.topologies()))
        log.info("mutator worker started", lanes=len(self._bells), poll_interval_secs=self._settings.mutator.poll_interval_s)  # fmt: skip

    async def handle(self, batch: Sequence[Received], tx: Transaction) -> None:
        """Requests become rows; operations are rows already and only ring the bell."""
        for one in batch:
            if isinstance(one.record, MutateRequest):
                await self._request(tx, one.event.topic.split(".")[1], one.event.id, one.record)
        self._asked_at = time.monotonic()
        # The rows can be seen once this batch is committed, so the bell rings a little later as well.
        self.ring()
        asyncio.get_running_loop().call_later(_AFTER_COMMIT_S, self.ring)

    async def _request(self, tx: Transaction, name: str, ident: str, wish: MutateRequest) -> None:
        await request_rotation(
            tx.repo,
            name,
            requested_by=wish.requested_by,
            reason=wish.reason or "",
            request_id=wish.request_id or ident,
        )

    def ring(self, bells: Sequence[asyncio.Event] | None = None) -> None:
        """There may be work, for all lanes unless some are named."""
        for bell in self._bells if bells is None else bells:
            bell.set()

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """The lanes, what rings their bells, and the look at what really runs."""
        lanes = {f"lane-{number}": self._lane(number) for number in range(len(self._bells))}
        return {**lanes, "rows": self._follow_rows, "clock": self._strike, "tend": self._tend}

    def _lane(self, number: int) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            while True:
                self._bells[number].clear()
                changed = False
                while await self._one(number):
                    self.ring()
                    changed = True
                if changed:  # health does not wait for the next look at everything
                    self._counts = counts(await self.service.repo.deckies())
                if number == 0 and await self.service.anything_pending():
                    self.ring(self._bells[1:])
                await self._rest(number)

        return run

    async def _one(self, number: int) -> bool:
        """One change of a lane; False when there is none."""
        if number and (left := self._asked_at + GIVE_WAY_S - time.monotonic()) > 0:
            await asyncio.sleep(left)
        return await _whole(self.service.serve_one(operators_only=number == 0), f"mutator:change-{number}")

    async def _rest(self, number: int) -> None:
        """Until the bell; an operator's wish that has to wait for somebody else is tried again soon."""
        tries_again = number == 0 and await self.service.anything_waiting()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._tail_s if tries_again else None):
                await self._bells[number].wait()

    @property
    def _tail_s(self) -> float:
        return max(self._settings.runtime.tail_db_s, 0.05)

    async def _follow_rows(self) -> None:
        """Rings for operators' wishes that were written without a word on the bus, by this process or another."""
        written = self.service.repo.written
        mark = written.mark
        while True:
            mark = await written.after(mark, self._tail_s)
            self.ring(self._bells[:1])
            await asyncio.sleep(self._tail_s)

    async def _strike(self) -> None:
        """Rings when a decky is due or tried again; leases that ran out are found by the longest pause."""
        while True:
            mark = self.service.repo.written.mark
            if await self.service.anything_ready():
                self.ring(self._bells[1:])
            await asyncio.sleep(await self._pause())
            await self._fleet_since(mark)

    async def _fleet_since(self, mark: int) -> None:
        """Returns once there may be a fleet; none comes without a row."""
        if self._deployed is False and not self._counts.get("deckies", 0):
            await self.service.repo.written.after(mark, self._tail_s)

    async def _pause(self) -> float:
        """Seconds to the next moment of the schedule, or the longest pause."""
        due = await self.service.seconds_to_next()
        poll = self._settings.mutator.poll_interval_s
        return max(min(poll if due is None else due, poll), min(FLOOR_S, poll))

    async def _tend(self) -> None:
        while True:
            mark = self.service.repo.written.mark
            self._counts = await _whole(tend(self.service), "mutator:look")
            await _whole(count_anew(self.service), "mutator:clock")
            self._note_deployment(bool(await self.service.repo.topologies()))
            if self._counts["pending"]:
                self.ring()
            await asyncio.sleep(self._settings.mutator.observe_s)
            await self._fleet_since(mark)

    def _note_deployment(self, present: bool) -> None:
        """Told on the change only: having no fleet is no fault."""
        if present != self._deployed:
            self._deployed = present
            log.info(
                "fleet found" if present else "no deployment: the mutator is idle until a fleet is applied"
            )

    def health(self) -> dict[str, Any]:
        """Counts of the fleet; degraded while deckies fail."""
        counts = {key: self._counts.get(key, 0) for key in ("deckies", "pending", "failing")}
        failing, reason = counts["failing"], self._counts.get("reason", "")
        service = getattr(self, "service", None)
        return {
            **counts,
            "rotations": service.rotations if service else 0,
            "failed_changes": service.failures if service else 0,
            "degraded": f"{failing} deckies fail, {reason}" if failing else "",
        }


async def _whole(work: Coroutine[Any, Any, T], name: str) -> T:
    """Does a piece of work that the first cancellation lets end and the second cuts.

    A stop thus waits, within its grace, for the change under way instead of leaving a decoy and its rows
    apart and a transaction open; who is cut all the same is taken over at the next start.
    """
    task = asyncio.create_task(work, name=name)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def run_watch_loop(
    repo: BaseRepository,
    *,
    poll_interval_secs: float = 10.0,
    bus: BaseBus | None = None,
    shutdown: asyncio.Event | None = None,
    settings: Settings | None = None,
) -> None:
    """Runs the worker alone until ``shutdown`` is set; ends clean when cancelled. Raises ConfigError."""
    from decnet.runtime.supervisor import Supervisor, run_until

    settings = settings or load_settings()
    mutator = settings.mutator.model_copy(update={"poll_interval_s": poll_interval_secs})
    settings = settings.model_copy(update={"mutator": mutator})
    worker = MutatorWorker(settings)
    await run_until(
        Supervisor([worker], repo, bus or AbsentBus("mutator"), settings), shutdown or asyncio.Event()
    )


async def mutate_decky(
    name: str,
    repo: BaseRepository,
    bus: BaseBus | None = None,
    trigger: str = "operator",
    *,
    settings: Settings | None = None,
    service: MutationService | None = None,
) -> Outcome:
    """Rotates one decky now and says what became of it. Raises DatabaseError or ConfigError.

    The events wait in the outbox; with a connected ``bus`` they go out before this returns.
    """
    settings = settings or load_settings()
    service = service or MutationService(repo, settings)
    outcome = await service.serve_request(await request_rotation(repo, name, trigger=trigger))
    await _relay_outbox(repo, bus, settings)
    return outcome


async def mutate_all(
    repo: BaseRepository,
    force: bool = False,
    bus: BaseBus | None = None,
    only: set[str] | None = None,
    *,
    settings: Settings | None = None,
    service: MutationService | None = None,
) -> float | None:
    """One pass: the deckies in ``only`` on request, and every other one that is due; with ``force`` all of them.

    Returns the seconds until the next one is due, None when none ever is. Raises DatabaseError or ConfigError.
    """
    settings = settings or load_settings()
    service = service or MutationService(repo, settings)
    await free_dead(service)
    names = set(only or ())
    if force and only is None:
        names = {row["name"] for row in await repo.deckies() if row["wanted"]}
    for name in sorted(names):
        await request_rotation(repo, name)
    lanes = (_drain(service) for _ in range(settings.mutator.lanes))
    await asyncio.gather(*lanes)
    await _relay_outbox(repo, bus, settings)
    return await service.seconds_to_next()


async def _drain(service: MutationService) -> None:
    while await service.serve_one():
        pass


async def _relay_outbox(repo: BaseRepository, bus: BaseBus | None, settings: Settings) -> None:
    """Relays the outbox, unless another engine does."""
    if bus is not None:
        relay = OutboxRelay(repo, bus, settings)
        while await relay.relay_once():
            pass
