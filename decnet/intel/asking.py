"""Asks what waits in the database, for all engines on it one at a time, and tells what services answered.

Budgets and answers stand in the database: whoever gets the lease takes them over from whoever had it. An answer goes
out through the outbox in the transaction that takes its question back, so that a crash loses none and tells none twice.
What may be asked is left to :mod:`decnet.intel.services`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from decnet.bus import topics
from decnet.config import Settings
from decnet.db.rows.intel import DueQuestion, ServiceState, StoredAnswer
from decnet.events.attacker import IntelEnriched
from decnet.ids import event_id
from decnet.intel.services.base import OF_THE_VALUE, REASONS, Answer, Kind, Value
from decnet.intel.services.catalogue import SERVICES
from decnet.intel.services.desk import Desk, Outcome
from decnet.intel.services.governor import CacheRow, Row, Rows
from decnet.intel.services.values import NOT_ASKED
from decnet.logs import get_logger
from decnet.runtime.leases import OWNER
from decnet.runtime.worker import Transaction, transaction

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository

log = get_logger(__name__)
LEASE: Final = "intel.ask"
AT_A_TIME: Final = 20
"""Questions to one service between two looks at the database."""
RUN_S: Final = 10.0
"""Seconds after which a run begins nothing new: somebody else may want the lease."""
MAX_DUE: Final = 20_000
"""Questions that wait for one service; beyond, those that would be asked last are dropped."""
MAX_TRIES: Final = 3
"""Times that something is asked about whose answer cannot be believed."""
FIRST_WAIT_S: Final = 60.0
"""First pause of a question that failed; doubles with each try, up to the next. Others get their turn meanwhile."""
MAX_WAIT_S: Final = 6 * 3600.0
PATIENCE_S: Final = 60.0
"""Seconds that a person who asks waits for an engine that is asking."""
_LOOK_S = 0.2
ENRICHED: Final = topics.attacker(topics.ATTACKER_INTEL_ENRICHED)
Question = tuple[str, str, str]
T = TypeVar("T")


class LeaseLost(Exception):
    """Another one asks now: this one was away for too long."""


class Asker:
    """Asks on behalf of one process; close it in the end."""

    def __init__(
        self,
        settings: Settings,
        repo: BaseRepository,
        *,
        owner: str = OWNER,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._repo, self._owner, self._clock = repo, owner, clock
        self._lease_s = settings.runtime.lease_s
        self.desk = Desk(settings, self._keep, clock=clock)
        self.waiting: dict[str, int] = {}
        """Questions that wait, by service."""
        self.ready = 0
        """Those among them that can be asked now, as far as was looked."""
        self.told = self.given_up = self.dropped = 0

    async def close(self) -> None:
        """Gives up what is under way."""
        await self.desk.close()

    async def run(self) -> int:
        """Asks what can be asked now; how many questions came to an end, none while another process asks."""
        await self.look()
        if not self.ready or not await self._repo.lease_acquire(LEASE, self._owner, self._lease_s):
            return 0
        try:
            ended = await self._holding(self._all())
        finally:
            await self._repo.lease_release(LEASE, self._owner)
        await self.look()
        return ended

    async def ask_now(self, kind: Kind, text: str, attacker: str | None) -> list[Outcome]:
        """What all services that are on say of one thing, for a person; told to others when it is about an attacker.

        Raises TimeoutError when an engine goes on asking, and DatabaseError.
        """
        async with asyncio.timeout(PATIENCE_S):
            await self._patiently()
        try:
            return await self._holding(self._for_a_person(kind, text, attacker))
        finally:
            await self._repo.lease_release(LEASE, self._owner)

    async def _patiently(self) -> None:
        while True:
            if await self._repo.lease_acquire(LEASE, self._owner, self._lease_s):
                return
            await asyncio.sleep(_LOOK_S)

    async def look(self) -> None:
        """Takes over budgets as they are now, and counts what waits."""
        self.desk.take(Rows(tuple(_row(state) for state in await self._repo.intel_services()), ()))
        counts = await self._repo.intel_due_counts(self.desk.names, self._clock())
        self.waiting = {count["service"]: count["waiting"] for count in counts}
        self.ready = sum(count["ready"] for count in counts if self.desk.until(count["service"]) is None)

    async def _holding(self, work: Coroutine[Any, Any, T]) -> T:
        """Does some work while the lease is kept. Raises LeaseLost when it cannot be, and what the work raises."""
        try:
            async with _together() as start:
                keeper = start(self._keep_lease())
                doing = start(work)
                await asyncio.wait({keeper, doing}, return_when=asyncio.FIRST_COMPLETED)
                if keeper.done():
                    keeper.result()
                return cast("T", doing.result())
        finally:  # nothing goes out without the lease
            await self.desk.give_up()

    async def _keep_lease(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            if not await self._repo.lease_acquire(LEASE, self._owner, self._lease_s):
                raise LeaseLost(f"{LEASE}: another process asks")

    async def _all(self) -> int:
        """All services at the same time: one that is slow holds up no other."""
        await self.look()  # as whoever had the lease before left it
        async with _together() as start:
            tasks = [start(self._one(name)) for name in self.waiting]
            if tasks:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            return sum(task.result() for task in tasks if task.done())

    async def _one(self, name: str) -> int:
        """What waits for one service."""
        if dropped := await self._repo.intel_due_trim(name, MAX_DUE):
            self.dropped += dropped
            log.warning("questions dropped: too many wait", service=name, dropped=dropped, most=MAX_DUE)
        began, ended, nobody = time.monotonic(), 0, Outcome(name, None, None, "no_value")
        while self.desk.until(name) is None and time.monotonic() - began < RUN_S:
            due = await self._repo.intel_due_take(name, self._clock(), AT_A_TIME)
            if not due:
                break
            await self._take_answers(due)
            asked = [self.desk.ask(cast("Kind", one["kind"]), one["value"], name) for one in due]
            async with _together() as start:
                tasks = [start(question) for question in asked]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
                # Of a question that this version asks nobody there is no outcome: it is taken back.
                outcomes = [(task.result() or [nobody])[0] for task in tasks if task.done()]
            ended += await self._settle(due, outcomes)
        return ended

    async def _take_answers(self, due: Sequence[DueQuestion]) -> None:
        """What is known already, whoever asked, is not asked again."""
        await self._take_stored(
            _cache_key(one["service"], cast("Kind", one["kind"]), one["value"]) for one in due
        )

    async def _take_stored(self, keys: Iterable[Question]) -> None:
        """Answers that others got; of what is known here nothing is read, lists are large."""
        lacking = {key for key in keys if not self.desk.knows(key[0], _value(key))}
        if lacking:
            stored = await self._repo.intel_stored(sorted(lacking))
            self.desk.take(Rows((), tuple(map(_cached, stored))))

    async def _settle(self, due: Sequence[DueQuestion], outcomes: Sequence[Outcome]) -> int:
        """Answers are told and their questions taken back, in one transaction; how many came to an end."""
        now = self._clock()
        ended: dict[Question, tuple[DueQuestion, Outcome]] = {}
        later: list[tuple[Question, int, float]] = []
        for question, outcome in zip(due, outcomes, strict=True):
            tries = question["tries"] + 1
            if outcome.answer is not None or outcome.why in NOT_ASKED or _hopeless(outcome, tries):
                ended[_key(question)] = (question, outcome)
            elif outcome.why in REASONS:
                later.append((_key(question), tries, now + _wait(tries)))
        async with transaction(self._repo) as tx:
            await tx.repo.intel_due_later(later)
            mine = [ended[key] for key in sorted(await tx.repo.intel_due_done(ended))]
            told = [await _tell(tx, question["attacker_uuid"], question["value"], o) for question, o in mine]
        self.told += sum(told)
        for question, outcome in mine:
            if outcome.why in REASONS:
                self.given_up += 1
                log.warning("question given up", service=question["service"], reason=outcome.why)
        return len(mine)

    async def _for_a_person(self, kind: Kind, text: str, attacker: str | None) -> list[Outcome]:
        await self.look()
        await self._take_stored(_cache_key(name, kind, text) for name in self.desk.names)
        outcomes = await self.desk.ask(kind, text)
        async with transaction(self._repo) as tx:
            for outcome in outcomes:
                self.told += await _tell(tx, attacker, text, outcome)
        return outcomes

    async def _keep(self, rows: Rows) -> None:
        services = [cast("ServiceState", row._asdict()) for row in rows.services]
        await self._repo.intel_keep(services, [_stored(row) for row in rows.answers])


async def _tell(tx: Transaction, attacker: str | None, address: str, outcome: Outcome) -> bool:
    """``attacker.intel.enriched`` of one answer about an address; False when there is nothing to tell of anybody."""
    if outcome.answer is None or outcome.at is None or attacker is None:
        return False
    raw = {**outcome.answer.said, "attacker_uuid": attacker, "attacker_ip": address}
    record = IntelEnriched.parse(raw, [], Counter())  # a kept answer may be that of another version
    # One answer has one id, whoever tells it and however often: its time is kept with it.
    ident = event_id("intel", f"{attacker}|{outcome.service}", f"{outcome.at:.6f}")
    await tx.bus.publish(ENRICHED, record.build(), event_type="intel", event_id=ident, ts=outcome.at)
    return True


def _hopeless(outcome: Outcome, tries: int) -> bool:
    return outcome.why in OF_THE_VALUE and tries >= MAX_TRIES


def _wait(tries: int) -> float:
    return float(min(FIRST_WAIT_S * 2 ** min(tries - 1, 16), MAX_WAIT_S))


def _key(question: DueQuestion) -> Question:
    return question["service"], question["kind"], question["value"]


def _cache_key(service: str, kind: Kind, text: str) -> Question:
    """Under what an answer is kept: where a list is fetched as a whole, under that of the list."""
    value = SERVICES[service].asks(Value(kind, text))
    return service, value.kind, value.text


def _value(key: Question) -> Value:
    return Value(cast("Kind", key[1]), key[2])


def _row(state: ServiceState) -> Row:
    return Row(**state)


def _cached(stored: StoredAnswer) -> CacheRow:
    value = Value(cast("Kind", stored["kind"]), stored["value"])
    return CacheRow(stored["service"], value, stored["at"], Answer(stored["known"], stored["said"] or {}))


def _stored(row: CacheRow) -> StoredAnswer:
    return StoredAnswer(
        service=row.service,
        kind=row.value.kind,
        value=row.value.text,
        at=row.at,
        known=row.answer.known,
        said=row.answer.said,
    )


def said_of(stored: Iterable[StoredAnswer], value: Value) -> list[tuple[str, float, Answer]]:
    """What each service said of a value, when (epoch seconds): its own answers, and what its lists say."""
    found: list[tuple[str, float, Answer]] = []
    for row in map(_cached, stored):
        service = SERVICES.get(row.service)
        if service is not None and value.kind in service.kinds and service.asks(value) == row.value:
            found.append((row.service, row.at, service.pick(row.answer, value)))
    return sorted(found, key=lambda one: one[0])


@asynccontextmanager
async def _together() -> AsyncIterator[Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]]:
    """Starts tasks none of which outlives the block."""
    tasks: list[asyncio.Task[Any]] = []

    def start(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        tasks.append(asyncio.create_task(work))
        return tasks[-1]

    try:
        yield start
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
