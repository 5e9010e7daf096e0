"""One batch: one transaction with effects, outbox and dead letters; commit, then ack.

A failing batch is cut in halves until the failing event stands alone. Only failures of the
handler count; a delivery that ended in a crash is no failure. Every event is parsed once, here: one that
is malformed reaches no handler, and what of one could not be read is left out and dead-lettered by the
worker that keeps its topic.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence, Set
from contextlib import asynccontextmanager, suppress

from decnet.bus import topics
from decnet.bus.base import Delivery, Event
from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.db.rows.runtime import NewDeadLetter
from decnet.errors import BusError, DatabaseError, MalformedEvent
from decnet.events.system import DeadLettered
from decnet.ids import event_id
from decnet.logs import get_logger
from decnet.runtime.health import WorkerStats
from decnet.runtime.letters import Letter, letters_of, whole
from decnet.runtime.received import PARSING, Received
from decnet.runtime.worker import Transaction, Worker, keeps
from decnet.turns import in_turns

log = get_logger(__name__)
DEFER_S, MAX_DEFER_S = 1.0, 30.0
"""Seconds until a deferred event comes again: doubled each time, to the second."""
MAX_RETRY_S = 30.0
"""Longest pause, in seconds, until an event that failed is tried again."""
_NAMES_SAID = 10


class BatchProcessor:
    """Carries deliveries through a worker's handler, exactly once in effect."""

    def __init__(
        self,
        worker: Worker,
        repo: BaseRepository,
        settings: Settings,
        stats: WorkerStats,
        committed: Callable[[], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``committed`` is called after each commit; ``sleep`` waits so many seconds between two keep-alives."""
        self.worker = worker
        self.repo = repo
        self.settings = settings
        self.stats = stats
        self.committed = committed
        self._sleep = sleep
        self._held: dict[int, Delivery] = {}
        self._received: dict[int, Received] = {}

    async def process(self, deliveries: Sequence[Delivery]) -> None:
        """Works off one fetch.

        Raises DatabaseError or BusError when nothing can be worked off now; then the rest stays
        unacknowledged and the server delivers it again.
        """
        self._held = {id(delivery): delivery for delivery in deliveries}
        self._received = {}
        try:
            async with self._kept_alive():
                errors = await in_turns(self._read, deliveries)
                pairs = list(zip(deliveries, errors, strict=True))
                await self._refuse_malformed([(d, error) for d, error in pairs if error is not None])
                await self._halves([d for d, error in pairs if error is None])
        finally:  # a worker waits long for its next batch: it holds nothing of the last one meanwhile
            self._held, self._received = {}, {}

    def _read(self, delivery: Delivery) -> MalformedEvent | None:
        """Parses an event; the error when it is none."""
        if delivery.event is None:
            return delivery.malformed or MalformedEvent("no event")
        try:
            self._received[id(delivery.event)], strange = PARSING.received(delivery.event)
        except MalformedEvent as error:
            return error.bare()
        if strange and keeps(self.worker, delivery.topic):
            self._note_unknown(delivery.topic, strange)
        return None

    def _note_unknown(self, topic: str, strange: Counter[tuple[str, str]]) -> None:
        """Counted at each event, said at the first one of a kind."""
        if self.stats.add_unknown(topic, strange.total()):
            names = sorted(key for _, key in strange)[:_NAMES_SAID]
            log.info("keys that nobody knows are left out", worker=self.worker.name, topic=topic, keys=names)

    @asynccontextmanager
    async def _kept_alive(self) -> AsyncIterator[None]:
        """Tells the server that a long batch goes on, so that it is not delivered twice."""
        task = asyncio.create_task(self._keep_alive(), name=f"{self.worker.name}:in-progress")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep_alive(self) -> None:
        """For what is still held only: the server would restart the clock of one that waits for its next try."""
        while True:
            await self._sleep(self.settings.bus.ack_wait_s / 3)
            for delivery in list(self._held.values()):
                with suppress(BusError):  # the next one may get through, and the batch itself sees the outage
                    await delivery.in_progress()

    async def _ack(self, delivery: Delivery) -> None:
        self._held.pop(id(delivery), None)
        await delivery.ack()

    async def _nak(self, delivery: Delivery, delay_s: float) -> None:
        self._held.pop(id(delivery), None)
        await delivery.nak(delay_s)

    async def _refuse_malformed(self, refused: Sequence[tuple[Delivery, MalformedEvent]]) -> None:
        """Dead letters of the worker that keeps the topic; every other one only counts."""
        kept = []
        for delivery, error in refused:
            self.stats.add_malformed(str(error))
            if keeps(self.worker, delivery.topic):
                kept.append((delivery, f"malformed: {error}"))
            else:
                await self._ack(delivery)
        if kept:
            await self._bury_together(kept)

    async def _bury_together(self, kept: Sequence[tuple[Delivery, str]]) -> None:
        """In one transaction, since a producer may send nothing else: one by one they would hold up what is good."""
        try:
            await self._bury(kept)
        except Exception as error:
            if _is_outage(error) or len(kept) == 1:
                raise
            log.warning("dead letters written one by one", worker=self.worker.name, exc_info=True)
            for one in kept:
                await self._bury([one])

    async def _halves(self, deliveries: Sequence[Delivery]) -> None:
        """Depth-first over ever smaller parts, so that one bad event costs the others nothing."""
        stack = [list(deliveries)] if deliveries else []
        while stack:
            part = stack.pop()
            error = await self._attempt(part)
            if error is None:
                continue
            if len(part) == 1:
                await self._failed(part[0], error)
            else:
                middle = len(part) // 2
                stack += [part[middle:], part[:middle]]

    async def _attempt(self, part: list[Delivery]) -> Exception | None:
        """The handler's error, or None when the part is committed and acknowledged."""
        events = _distinct(part)
        try:
            async with self.repo.transaction() as bound:
                tx = Transaction(bound)
                await self.worker.handle([self._received[id(event)] for event in events], tx)
                await self._write_news(bound, tx, part)
                faulty = await self._write_faults(bound, tx, part)
                await self._forget_failures(bound, tx, part)
        except Exception as error:
            if _is_outage(error):
                raise
            log.error("batch failed", worker=self.worker.name, events=len(part), exc_info=True)
            self.stats.failed += 1
            return error
        self.stats.dead_lettered += len(tx.dead)
        self._count_faults(faulty)
        await self._done(part, [event for event in events if event.id not in tx.deferred], tx.deferred)
        return None

    async def _forget_failures(
        self, bound: BaseRepository, tx: Transaction, part: Sequence[Delivery]
    ) -> None:
        """What is handled after all waits for no other try."""
        handled = [d.seq for d in part if d.event is not None and d.event.id not in tx.deferred]
        await bound.failure_clear(self.worker.name, handled)

    async def _write_news(self, bound: BaseRepository, tx: Transaction, part: Sequence[Delivery]) -> None:
        seqs: dict[object, Delivery] = {d.event.id: d for d in part if d.event is not None}
        seqs |= {(d.topic, d.event.id): d for d in part if d.event is not None}
        dead = []
        for one in tx.dead:
            found = seqs.get((one.event.topic, one.event.id)) or seqs[one.event.id]
            dead.append((found, whole(one.reason, found.body)))
        await self._write_letters(bound, dead)
        await bound.outbox_add_many(tx.bus.events)

    async def _write_faults(
        self, bound: BaseRepository, tx: Transaction, part: Sequence[Delivery]
    ) -> list[tuple[str, int, int]]:
        """Dead letters of the elements that are missing from what was handled: (topic, elements, letters)."""
        gone = tx.deferred | {dead.event.id for dead in tx.dead}
        found = []
        for delivery in part:
            event = delivery.event
            faults = self._received[id(event)].faults if event is not None and event.id not in gone else ()
            if faults and keeps(self.worker, delivery.topic):
                letters = letters_of(faults)
                await self._write_letters(bound, [(delivery, letter) for letter in letters])
                found.append((delivery.topic, len(faults), len(letters)))
        return found

    def _count_faults(self, faulty: Sequence[tuple[str, int, int]]) -> None:
        for topic, elements, letters in faulty:
            self.stats.add_faults(topic, elements)
            self.stats.dead_lettered += letters
            log.warning(
                "elements of an event dead-lettered", worker=self.worker.name, topic=topic, elements=elements
            )

    async def _done(self, part: Sequence[Delivery], events: Sequence[Event], deferred: Set[str]) -> None:
        self.committed()
        self.stats.processed += len(events)
        self.stats.last_event_ts = max([self.stats.last_event_ts, *(e.ts for e in events)])
        for delivery in part:
            if delivery.event is not None and delivery.event.id in deferred:
                delay_s = min(DEFER_S * 2 ** min(delivery.num_delivered - 1, 5), MAX_DEFER_S)
                await self._nak(delivery, delay_s)
            else:
                await self._ack(delivery)

    async def _failed(self, delivery: Delivery, error: Exception) -> None:
        failures = await self.repo.failure_count_add(self.worker.name, delivery.seq)
        if failures >= self.settings.runtime.max_failures:
            await self._bury([(delivery, f"{type(error).__name__}: {error}")])
        else:
            delay_s = self.settings.runtime.restart_backoff_s * 2 ** min(failures - 1, 30)
            await self._nak(delivery, min(delay_s, MAX_RETRY_S))

    async def _bury(self, buried: Sequence[tuple[Delivery, str]]) -> None:
        """Dead letters, each with its reason: rows, news and acknowledgement."""
        async with self.repo.transaction() as bound:
            await self._write_letters(bound, [(d, whole(reason, d.body)) for d, reason in buried])
            await bound.failure_clear(self.worker.name, [delivery.seq for delivery, _ in buried])
        self.stats.dead_lettered += len(buried)
        self.committed()
        (first, why), more = buried[0], len(buried) - 1
        log.warning(
            "event dead-lettered",
            worker=self.worker.name,
            topic=first.topic,
            seq=first.seq,
            reason=why,
            **({"and_more": more} if more else {}),
        )
        for delivery, _ in buried:
            await self._ack(delivery)

    async def _write_letters(self, bound: BaseRepository, letters: Sequence[tuple[Delivery, Letter]]) -> None:
        """The rows, each one however often its event comes, and their news.

        All in one go: a producer may send nothing but what is malformed.
        """
        if not letters:
            return
        name = self.worker.name
        new = [letter.row(name, delivery) for delivery, letter in letters]
        rows = await bound.dead_letters_add(name, new)
        await bound.outbox_add_many([_news(name, row, one) for row, one in zip(rows, new, strict=True)])


def _news(worker: str, row: int, letter: NewDeadLetter) -> Event:
    """What tells of a dead letter."""
    said = DeadLettered(
        dead_letter_id=row, topic=letter.topic, reason=letter.reason, path=letter.path, value=letter.value
    )
    ident = event_id(worker, f"deadletter|{letter.key}")
    return Event(topics.system_deadletter(worker), said.build(), "deadletter", ident)


def _is_outage(error: Exception) -> bool:
    """Whether the error is about bus or database as a whole, and no event's fault."""
    return isinstance(error, (DatabaseError, BusError)) and not isinstance(error, MalformedEvent)


def _distinct(part: Sequence[Delivery]) -> list[Event]:
    """Events of a part in stream order, each once: the same id with the same payload, said by the same one."""
    by_id: dict[str, list[Event]] = {}
    for delivery in sorted(part, key=lambda d: d.seq):
        if delivery.event is not None:
            same = by_id.setdefault(delivery.event.id, [])
            if all((one.topic, one.payload) != (delivery.topic, delivery.event.payload) for one in same):
                same.append(delivery.event)
    return [event for same in by_id.values() for event in same]
