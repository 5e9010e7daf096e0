"""What a batch processor promises; whatever replaces the present one has to pass all of it.

:func:`make` is the only place that names an implementation. The database is a real SQLite file whose commits
and writes fail on demand; deliveries and sleep are fakes that note what was asked of them, in order.
"""

from __future__ import annotations

import asyncio
import gc
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, Self

import pytest
from sqlalchemy import event as events
from sqlalchemy import select
from structlog.testing import capture_logs

from decnet.bus.base import Event
from decnet.config import BusSettings, RuntimeSettings, Settings
from decnet.db import engine
from decnet.db.repository import BaseRepository
from decnet.db.schema.columns import table_of
from decnet.db.schema.runtime import FailureCount
from decnet.errors import BusFull, BusUnavailable, DatabaseError, DiskFull, MalformedEvent
from decnet.runtime.batch import BatchProcessor
from decnet.runtime.health import WorkerStats
from decnet.runtime.received import Received
from decnet.runtime.worker import Transaction, Worker

TOPIC = "attacker.tested"
"""A topic without a record: what a handler does with an event is not a matter of its fields."""
OUTAGES = [BusUnavailable("gone"), BusFull("full"), DatabaseError("gone"), DiskFull("full")]
FAILURES = table_of(FailureCount)


class Processor(Protocol):
    """The contract: one fetch's deliveries in, acknowledged, put off or kept."""

    async def process(self, deliveries: Sequence[Any]) -> None: ...


def make(
    worker: Worker,
    repo: BaseRepository,
    settings: Settings,
    stats: WorkerStats,
    committed: Callable[[], None],
    sleep: Callable[[float], Awaitable[None]],
) -> Processor:
    """The implementation under test."""
    return BatchProcessor(worker, repo, settings, stats, committed, sleep)


# --- the fakes


class Delivery:
    """Notes ack, nak with its delay, and in_progress in the order of the whole bench."""

    def __init__(self, log: list[tuple[Any, ...]], seq: int, event: Event | None, times: int = 1) -> None:
        self.log, self.seq, self.event, self.num_delivered = log, seq, event, times
        self.malformed = None if event else MalformedEvent("payload is not an object")
        self.topic, self.body = TOPIC, event.to_bytes() if event else b"[]"
        self.ack_error: Exception | None = None
        self.progress_error: Exception | None = None

    async def ack(self) -> None:
        self.log.append(("ack", self.seq))
        if self.ack_error is not None:
            raise self.ack_error

    async def nak(self, delay: float = 0.0) -> None:
        self.log.append(("nak", self.seq, delay))

    async def in_progress(self) -> None:
        self.log.append(("in_progress", self.seq))
        if self.progress_error is not None:
            raise self.progress_error


class Repository(BaseRepository):
    """A real repository; the next commits and outbox writes fail when told to."""

    log: list[tuple[Any, ...]]
    commit_errors: list[Exception | None]
    write_errors: list[Exception]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Self]:
        async with super().transaction() as bound:
            bound.write_errors = self.write_errors
            yield bound
            if self.commit_errors and (error := self.commit_errors.pop(0)) is not None:
                raise error
        self.log.append(("commit",))

    async def outbox_add_many(self, events: Sequence[Event]) -> None:
        if self.write_errors:
            raise self.write_errors.pop(0)
        await super().outbox_add_many(events)


class Handler(Worker):
    """Does what the events' payloads say; each event has an effect (a checkpoint) and a piece of news."""

    name = "ttp"
    topics = ("attacker.>",)

    def __init__(self) -> None:
        self.attempts: list[list[int]] = []
        self.handled: list[int] = []
        self.during: Callable[[], Awaitable[None]] | None = None

    async def handle(self, batch: Sequence[Received], tx: Transaction) -> None:
        events = [one.event for one in batch]
        self.attempts.append([e.payload["n"] for e in events])
        for event in events:
            await tx.repo.checkpoint_save(f"effect {event.payload['n']}", {"done": True})
            await tx.bus.publish("ttp.tagged", {"n": event.payload["n"]})
            if "dead" in event.payload:
                tx.dead_letter(event, event.payload["dead"])
            if "defer" in event.payload:
                tx.defer(event)
        if self.during is not None:
            await self.during()
        for event in events:
            if isinstance(error := ERRORS.get(event.payload.get("raises", "")), BaseException):
                raise error
        self.handled += self.attempts[-1]


ERRORS: dict[str, BaseException] = {
    "poison": RuntimeError("poisoned"),
    "long": RuntimeError("x" * 5000),
    "malformed": MalformedEvent("a part of it is no event"),
    "cancelled": asyncio.CancelledError(),
    **{type(error).__name__: error for error in OUTAGES},
}


class Ticks:
    """A sleep that ends when the test says so."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self._gate: asyncio.Queue[None] = asyncio.Queue()

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        await self._gate.get()

    async def tick(self) -> None:
        self._gate.put_nowait(None)
        for _ in range(5):
            await asyncio.sleep(0)


class Bench:
    """One worker over one database; every :meth:`process` is a processor of its own, as after a restart."""

    def __init__(self, repo: Repository) -> None:
        self.repo, self.log, self.ticks = repo, repo.log, Ticks()
        self.worker, self.stats = Handler(), WorkerStats()
        self.settings = self.with_limits()

    def with_limits(self, **runtime: Any) -> Settings:
        self.settings = Settings(runtime=RuntimeSettings(**runtime), bus=BusSettings(ack_wait_s=30.0))
        return self.settings

    def delivery(self, n: int, *, times: int = 1, id: str = "", **payload: Any) -> Delivery:
        event = Event(TOPIC, {"n": n, **payload}, id=id or f"e{n}", ts=1000.0 + n)
        return Delivery(self.log, n, event, times)

    async def process(self, *deliveries: Delivery, worker: Worker | None = None) -> None:
        done = make(
            worker or self.worker,
            self.repo,
            self.settings,
            self.stats,
            lambda: self.log.append(("committed",)),
            self.ticks.sleep,
        )
        await done.process(deliveries)

    def answers(self) -> list[tuple[Any, ...]]:
        """What the server was told, without the transactions."""
        return [entry for entry in self.log if entry[0] in ("ack", "nak", "in_progress")]

    async def effects(self, *numbers: int) -> list[int]:
        return [n for n in numbers if await self.repo.checkpoint_load(f"effect {n}")]

    async def news(self) -> list[Event]:
        return [event.opened() for _, event in await self.repo.outbox_take(1000)]

    async def statements(self, *malformed: int) -> int:
        """How many statements it takes to refuse so many deliveries."""
        made: list[object] = []
        writer = self.repo.db._writer
        assert writer is not None

        def hear(*said: Any) -> None:
            made.append(said)

        events.listen(writer.sync_engine, "before_cursor_execute", hear)
        try:
            await self.process(*(Delivery(self.log, n, None) for n in malformed))
        finally:
            events.remove(writer.sync_engine, "before_cursor_execute", hear)
        return len(made)

    async def failures(self) -> dict[int, int]:
        async with self.repo.db.read() as session:
            rows = await session.execute(select(FAILURES.c.seq, FAILURES.c.count))
            return dict(rows.tuples().all())

    async def left_nothing(self, *numbers: int) -> bool:
        """Neither effects nor news nor dead letters nor failures."""
        left = await self.effects(*numbers), await self.news(), await self.repo.dead_letters()
        return not any(left) and not await self.failures()


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    """What was logged; to render every traceback would take longer than all the rest."""
    with capture_logs() as entries:
        yield entries


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with the schema, made once."""
    path = tmp_path_factory.mktemp("schema") / "empty.sqlite"

    async def create() -> None:
        await (await BaseRepository.open(f"sqlite:///{path}")).close()

    asyncio.run(create())
    return path


@pytest.fixture
async def bench(migrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(
        engine, "_pragmas", lambda read_only: []
    )  # no fsync: nothing here outlives a power cut
    path = tmp_path / "test.sqlite"
    shutil.copyfile(migrated, path)
    repo = await Repository.open(f"sqlite:///{path}")
    repo.log, repo.commit_errors, repo.write_errors = [], [], []
    yield Bench(repo)
    await repo.close()


# --- commit, then acknowledge


async def test_everything_is_acknowledged_after_the_commit_and_in_order(bench: Bench) -> None:
    await bench.process(*(bench.delivery(n) for n in (1, 2, 3)))
    assert bench.log == [("commit",), ("committed",), ("ack", 1), ("ack", 2), ("ack", 3)]
    assert await bench.effects(1, 2, 3) == [1, 2, 3]
    assert [event.payload for event in await bench.news()] == [{"n": 1}, {"n": 2}, {"n": 3}]


async def test_an_empty_fetch_does_nothing(bench: Bench) -> None:
    await bench.process()
    assert bench.log == []
    assert bench.worker.attempts == []


@pytest.mark.parametrize("error", OUTAGES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["at the commit", "at the write"])
async def test_a_commit_that_fails_leaves_all_unacknowledged_and_undone(
    bench: Bench, error: Exception, where: str
) -> None:
    (bench.repo.commit_errors if where == "at the commit" else bench.repo.write_errors).append(error)
    with pytest.raises(type(error)):
        await bench.process(bench.delivery(1), bench.delivery(2, dead="hopeless"), bench.delivery(3))
    assert bench.log == []
    assert bench.worker.attempts == [[1, 2, 3]], "an outage is nobody's fault: no halves are tried"
    assert await bench.left_nothing(1, 2, 3)
    assert bench.stats == WorkerStats()


@pytest.mark.parametrize("where", ["at the commit", "at the write"])
async def test_any_other_error_of_the_commit_is_the_events_failure(bench: Bench, where: str) -> None:
    (bench.repo.commit_errors if where == "at the commit" else bench.repo.write_errors).append(
        ValueError("no such value")
    )
    await bench.process(bench.delivery(1))
    assert bench.log == [("nak", 1, 1.0)]
    assert await bench.effects(1) == []
    assert await bench.news() == []
    assert await bench.failures() == {1: 1}
    assert (bench.stats.processed, bench.stats.failed) == (0, 1)


@pytest.mark.parametrize("error", OUTAGES, ids=lambda error: type(error).__name__)
async def test_an_outage_in_the_handler_counts_nothing_and_keeps_the_rest(
    bench: Bench, error: Exception
) -> None:
    name = type(error).__name__
    with pytest.raises(type(error)):
        await bench.process(bench.delivery(1), bench.delivery(2, raises=name), bench.delivery(3))
    assert bench.log == []
    assert bench.worker.attempts == [[1, 2, 3]]
    assert await bench.left_nothing(1, 2, 3)
    assert bench.stats == WorkerStats()


async def test_an_outage_between_halves_keeps_only_what_is_not_done_yet(bench: Bench) -> None:
    part = [bench.delivery(1, raises="poison"), bench.delivery(2), bench.delivery(3), bench.delivery(4)]
    bench.repo.commit_errors += [None, BusUnavailable("gone")]  # the commits of [2] and of [3, 4]
    with pytest.raises(BusUnavailable):
        await bench.process(*part)
    assert bench.worker.attempts == [[1, 2, 3, 4], [1, 2], [1], [2], [3, 4]]
    assert bench.answers() == [("nak", 1, 1.0), ("ack", 2)]
    assert await bench.effects(1, 2, 3, 4) == [2]
    assert await bench.failures() == {1: 1}


async def test_an_acknowledgement_that_is_lost_undoes_nothing_and_is_no_failure(bench: Bench) -> None:
    first, second = bench.delivery(1), bench.delivery(2)
    first.ack_error = BusUnavailable("gone")
    with pytest.raises(BusUnavailable):
        await bench.process(first, second)
    assert bench.answers() == [("ack", 1)]
    assert await bench.effects(1, 2) == [1, 2]
    assert await bench.failures() == {}


async def test_a_batch_that_is_cut_is_kept_and_no_failure(bench: Bench) -> None:
    with pytest.raises(asyncio.CancelledError):
        await bench.process(bench.delivery(1, raises="cancelled"), bench.delivery(2))
    assert bench.log == []
    assert await bench.left_nothing(1, 2)
    assert bench.stats == WorkerStats()
    assert await no_keep_alive_left(bench)


# --- failures


@pytest.mark.parametrize("limit", [1, 3])
async def test_an_event_is_given_up_at_exactly_the_last_allowed_failure(bench: Bench, limit: int) -> None:
    bench.with_limits(max_failures=limit)
    for failure in range(1, limit):
        await bench.process(bench.delivery(7, raises="poison", times=failure))
        assert await bench.failures() == {7: failure}
        assert await bench.repo.dead_letters() == []
    assert ("ack", 7) not in bench.log
    bench.log.clear()
    await bench.process(bench.delivery(7, raises="poison", times=limit))
    assert bench.log == [("commit",), ("committed",), ("ack", 7)]
    assert await bench.failures() == {}
    (row,) = await bench.repo.dead_letters()
    assert (row["worker"], row["topic"], row["seq"]) == ("ttp", TOPIC, 7)
    assert row["reason"] == "RuntimeError: poisoned"
    letter = await bench.repo.dead_letter_get(row["id"])
    assert letter is not None
    assert letter["body"] == bench.delivery(7, raises="poison").body
    (event,) = await bench.news()
    assert (event.topic, event.type) == ("system.deadletter.ttp", "deadletter")
    assert event.payload == {"dead_letter_id": row["id"], "topic": TOPIC, "reason": "RuntimeError: poisoned"}
    assert (bench.stats.failed, bench.stats.dead_lettered, bench.stats.processed) == (limit, 1, 0)


async def test_what_is_buried_twice_is_one_dead_letter_and_one_piece_of_news(bench: Bench) -> None:
    bench.with_limits(max_failures=1)
    for _ in range(2):  # the first acknowledgement was lost
        await bench.process(bench.delivery(7, raises="poison"))
    await bench.process(bench.delivery(8, raises="poison"))
    assert [row["seq"] for row in await bench.repo.dead_letters()] == [8, 7]
    ids = [event.id for event in await bench.news()]
    assert len(ids) == 3
    assert ids[0] == ids[1] != ids[2]


async def test_a_failure_is_logged_as_an_error_with_its_traceback(bench: Bench, logged: list[Any]) -> None:
    await bench.process(bench.delivery(1, raises="poison"))
    (entry,) = [entry for entry in logged if entry["log_level"] == "error"]
    assert (entry["worker"], entry["events"], entry["exc_info"]) == ("ttp", 1, True)


async def test_a_crash_is_no_failure_however_often_it_was_delivered(bench: Bench) -> None:
    bench.with_limits(max_failures=2)
    await bench.process(bench.delivery(7, raises="poison", times=50))
    assert bench.answers() == [("nak", 7, 1.0)]
    assert await bench.repo.dead_letters() == []


async def test_failures_are_counted_for_each_worker_and_event(bench: Bench) -> None:
    class Other(Handler):
        name = "recorder"

    bench.with_limits(max_failures=2)
    await bench.process(bench.delivery(7, raises="poison"))
    await bench.process(bench.delivery(8, raises="poison"))
    await bench.process(bench.delivery(7, raises="poison"), worker=Other())
    assert bench.answers() == [("nak", 7, 1.0), ("nak", 8, 1.0), ("nak", 7, 1.0)]
    assert await bench.repo.failures_waiting("ttp") == 2
    assert await bench.repo.failures_waiting("recorder") == 1


@pytest.mark.parametrize(
    ("first", "delays"),
    [(1.0, [1, 2, 4, 8, 16, 30, 30, 30]), (0.5, [0.5, 1, 2, 4, 8, 16, 30, 30]), (40.0, [30, 30])],
)
async def test_a_failed_event_comes_again_after_twice_the_time_up_to_half_a_minute(
    bench: Bench, first: float, delays: list[float]
) -> None:
    bench.with_limits(max_failures=100, restart_backoff_s=first)
    for _ in delays:
        await bench.process(bench.delivery(7, raises="poison"))
    assert bench.answers() == [("nak", 7, delay) for delay in delays]


async def test_a_later_success_forgets_the_failures(bench: Bench) -> None:
    await bench.process(bench.delivery(7, raises="poison"))
    await bench.process(bench.delivery(8, raises="poison"))
    await bench.process(bench.delivery(7, times=2))
    assert await bench.failures() == {8: 1}
    await bench.process(bench.delivery(8, times=2, defer=True))
    assert await bench.failures() == {8: 1}, "what is put off is not handled yet"
    bench.repo.commit_errors.append(DatabaseError("gone"))
    with pytest.raises(DatabaseError):
        await bench.process(bench.delivery(8, times=3))
    assert await bench.failures() == {8: 1}, "forgotten with the commit only"


async def test_an_event_that_carries_another_malformed_one_is_a_failure_no_outage(bench: Bench) -> None:
    await bench.process(bench.delivery(1, raises="malformed"))
    assert bench.answers() == [("nak", 1, 1.0)]
    assert await bench.failures() == {1: 1}


async def test_a_burial_that_cannot_be_written_is_not_acknowledged_nor_counted(bench: Bench) -> None:
    bench.with_limits(max_failures=1)
    for errors in (bench.repo.commit_errors, bench.repo.write_errors):
        errors.append(DiskFull("full"))
        with pytest.raises(DiskFull):
            await bench.process(bench.delivery(7, raises="poison"))
        assert bench.log == []
        assert await bench.repo.dead_letters() == []
        assert await bench.news() == []
        assert bench.stats.dead_lettered == 0
    assert await bench.failures() == {7: 2}
    await bench.process(bench.delivery(7, raises="poison"))
    assert [row["seq"] for row in await bench.repo.dead_letters()] == [7]
    assert bench.stats.dead_lettered == 1


@pytest.mark.parametrize(
    ("payload", "start"), [({"raises": "long"}, "RuntimeError: xx"), ({"dead": "y" * 5000}, "yy")]
)
async def test_a_reason_is_cut_at_five_hundred_characters(
    bench: Bench, payload: dict[str, Any], start: str
) -> None:
    bench.with_limits(max_failures=1)
    await bench.process(bench.delivery(7, **payload))
    (row,) = await bench.repo.dead_letters()
    assert len(row["reason"]) == 500
    assert row["reason"].startswith(start)
    assert (await bench.news())[0].payload["reason"] == row["reason"]


# --- given up, put off, malformed


async def test_what_a_handler_gives_up_is_buried_with_its_batch(bench: Bench) -> None:
    await bench.process(bench.delivery(2, raises="poison"))
    bench.log.clear()
    await bench.process(bench.delivery(1), bench.delivery(2, dead="hopeless", times=2))
    assert bench.log == [("commit",), ("committed",), ("ack", 1), ("ack", 2)], "one transaction for all"
    (row,) = await bench.repo.dead_letters()
    assert (row["worker"], row["seq"], row["reason"]) == ("ttp", 2, "hopeless")
    assert [event.topic for event in await bench.news()] == [
        "system.deadletter.ttp",
        "ttp.tagged",
        "ttp.tagged",
    ]
    assert await bench.failures() == {}
    assert (bench.stats.dead_lettered, bench.stats.processed) == (1, 2)


async def test_one_id_of_two_senders_is_two_events_and_a_letter_is_about_its_own(bench: Bench) -> None:
    """Two sensors that read one log give the same event; what becomes of the one is not done to the other."""
    same = [
        Delivery(bench.log, n, Event(f"sensor.{who}.x", {"n": 1}, id="e")) for n, who in ((1, "a"), (2, "b"))
    ]
    dead = Delivery(bench.log, 3, Event("sensor.a.x", {"n": 3, "dead": "hopeless"}, id="f"))
    fine = Delivery(bench.log, 4, Event("sensor.b.x", {"n": 4}, id="f"))
    for delivery in (*same, dead, fine):
        assert delivery.event is not None
        delivery.topic = delivery.event.topic
    await bench.process(*same, dead, fine)
    assert bench.worker.handled == [1, 1, 3, 4]
    (row,) = await bench.repo.dead_letters()
    assert (row["topic"], row["seq"]) == ("sensor.a.x", 3)


async def test_what_is_put_off_comes_again_after_1_2_4_to_30_seconds_and_is_no_failure(bench: Bench) -> None:
    for times in (1, 2, 3, 4, 5, 6, 7, 1000):
        await bench.process(bench.delivery(7, defer=True, times=times))
    assert bench.answers() == [("nak", 7, delay) for delay in (1, 2, 4, 8, 16, 30, 30, 30)]
    assert await bench.failures() == {}
    assert await bench.repo.dead_letters() == []
    assert bench.stats == WorkerStats(), "neither processed nor seen"


async def test_only_what_is_put_off_is_not_acknowledged(bench: Bench) -> None:
    await bench.process(
        bench.delivery(1),
        bench.delivery(2, defer=True),
        bench.delivery(3, id="e2", defer=True),
        bench.delivery(4),
    )
    assert bench.answers() == [("ack", 1), ("nak", 2, 1.0), ("nak", 3, 1.0), ("ack", 4)]
    assert (bench.stats.processed, bench.stats.last_event_ts) == (2, 1004.0)


async def test_a_malformed_delivery_is_buried_with_its_reason_and_the_others_handled(bench: Bench) -> None:
    bench.with_limits(max_failures=3)
    await bench.process(bench.delivery(1), Delivery(bench.log, 2, None), bench.delivery(3))
    (row,) = await bench.repo.dead_letters()
    assert (row["seq"], row["topic"], row["reason"]) == (2, TOPIC, "malformed: payload is not an object")
    letter = await bench.repo.dead_letter_get(row["id"])
    assert letter is not None
    assert letter["body"] == b"[]"
    assert sorted(bench.answers()) == [("ack", 1), ("ack", 2), ("ack", 3)]
    assert bench.worker.handled == [1, 3]
    assert await bench.failures() == {}
    assert (bench.stats.dead_lettered, bench.stats.failed, bench.stats.processed) == (1, 0, 2)
    assert [event.topic for event in await bench.news()].count("system.deadletter.ttp") == 1


async def test_what_was_malformed_is_freed_at_once(bench: Bench) -> None:
    """With their tracebacks errors hold the batch and the batch them, until the collector looks."""
    there = {id(one) for one in gc.get_objects() if isinstance(one, MalformedEvent)}
    gc.disable()
    try:
        await bench.process(
            *(Delivery(bench.log, n, Event("attacker.session.ended", {"n": n})) for n in (1, 2))
        )
        left = [one for one in gc.get_objects() if isinstance(one, MalformedEvent) and id(one) not in there]
    finally:
        gc.enable()
    assert (left, bench.stats.dead_lettered) == ([], 2)


async def test_malformed_deliveries_are_buried_together(bench: Bench) -> None:
    await bench.process(*(Delivery(bench.log, n, None) for n in range(1, 6)))
    assert [entry for entry in bench.log if entry[0] in ("commit", "ack")] == [
        ("commit",),
        *(("ack", n) for n in range(1, 6)),
    ]
    assert sorted(row["seq"] for row in await bench.repo.dead_letters()) == [1, 2, 3, 4, 5]
    assert (bench.stats.dead_lettered, bench.stats.malformed_reasons) == (5, {"payload is not an object": 5})
    assert [event.topic for event in await bench.news()].count("system.deadletter.ttp") == 5


async def test_many_letters_are_as_many_statements_as_few(bench: Bench) -> None:
    assert await bench.statements(1, 2, 3) == await bench.statements(*range(4, 50)) > 0
    assert len(await bench.repo.dead_letters()) == len(await bench.news()) == 49


async def test_a_letter_that_cannot_be_written_costs_no_other_one(bench: Bench) -> None:
    bench.repo.commit_errors = [RuntimeError("one of them is no row")]
    await bench.process(*(Delivery(bench.log, n, None) for n in range(1, 4)))
    assert bench.log.count(("commit",)) == 3
    assert sorted(bench.answers()) == [("ack", 1), ("ack", 2), ("ack", 3)]
    assert sorted(row["seq"] for row in await bench.repo.dead_letters()) == [1, 2, 3]
    assert bench.stats.dead_lettered == 3


async def test_an_outage_while_letters_are_written_leaves_them_all_unacknowledged(bench: Bench) -> None:
    bench.repo.commit_errors = [DatabaseError("gone")]
    with pytest.raises(DatabaseError):
        await bench.process(*(Delivery(bench.log, n, None) for n in range(1, 4)))
    assert (bench.answers(), await bench.repo.dead_letters(), bench.stats.dead_lettered) == ([], [], 0)


async def test_events_of_one_id_are_handled_once_and_all_acknowledged(bench: Bench) -> None:
    again = Delivery(bench.log, 2, Event(TOPIC, {"n": 1}, id="same", ts=1002.0), 1)
    await bench.process(again, bench.delivery(1, id="same"), bench.delivery(3))
    assert bench.worker.attempts == [[1, 3]], "order is the stream's"
    assert sorted(bench.answers()) == [("ack", 1), ("ack", 2), ("ack", 3)]
    assert bench.stats.processed == 2


async def test_two_things_under_one_id_are_both_handled(bench: Bench) -> None:
    await bench.process(bench.delivery(2, id="same"), bench.delivery(1, id="same"), bench.delivery(3))
    assert bench.worker.attempts == [[1, 2, 3]]
    assert sorted(bench.answers()) == [("ack", 1), ("ack", 2), ("ack", 3)]
    assert bench.stats.processed == 3


# --- halves


@pytest.mark.parametrize("bad", [1, 33, 64])
async def test_one_bad_event_of_64_costs_only_itself(bench: Bench, bad: int) -> None:
    numbers = range(1, 65)
    await bench.process(*(bench.delivery(n, **({"raises": "poison"} if n == bad else {})) for n in numbers))
    others = [n for n in numbers if n != bad]
    assert bench.worker.handled == others, "each once, in stream order"
    assert len(bench.worker.attempts) <= 13, "twice the depth and one"
    assert sorted(bench.answers()) == sorted([("nak", bad, 1.0), *(("ack", n) for n in others)])
    assert [entry[1] for entry in bench.answers()] == list(numbers), "answered in order as well"
    assert await bench.effects(*numbers) == others
    assert await bench.failures() == {bad: 1}
    assert (bench.stats.processed, bench.stats.failed) == (63, 7)


async def test_when_all_are_bad_each_is_tried_alone_once(bench: Bench) -> None:
    await bench.process(*(bench.delivery(n, raises="poison") for n in range(1, 6)))
    assert [a for a in bench.worker.attempts if len(a) == 1] == [[1], [2], [3], [4], [5]]
    assert len(bench.worker.attempts) == 9
    assert await bench.failures() == dict.fromkeys(range(1, 6), 1)


# --- keep-alive


async def test_a_long_batch_says_every_third_of_the_ack_wait_that_it_goes_on(bench: Bench) -> None:
    async def twice() -> None:
        await bench.ticks.tick()
        assert bench.ticks.asked == [10.0] * len(bench.ticks.asked)
        await bench.ticks.tick()

    bench.worker.during = twice
    await bench.process(bench.delivery(1), bench.delivery(2))
    beat = [("in_progress", 1), ("in_progress", 2)]
    assert bench.log == [*beat, *beat, ("commit",), ("committed",), ("ack", 1), ("ack", 2)]
    assert set(bench.ticks.asked) == {10.0}
    assert await no_keep_alive_left(bench)


async def test_a_keep_alive_that_is_lost_is_no_end_of_it(bench: Bench) -> None:
    async def twice() -> None:
        await bench.ticks.tick()
        await bench.ticks.tick()

    bench.worker.during = twice
    first, second = bench.delivery(1), bench.delivery(2)
    first.progress_error = BusUnavailable("gone")
    await bench.process(first, second)
    assert bench.answers()[:4] == [("in_progress", 1), ("in_progress", 2)] * 2
    assert bench.stats.processed == 2


async def test_only_what_is_still_held_is_kept_alive(bench: Bench) -> None:
    """A keep-alive of an event that was put off would undo its delay."""

    async def tick_at_the_last() -> None:
        if bench.worker.attempts[-1] == [3, 4]:
            await bench.ticks.tick()

    bench.worker.during = tick_at_the_last
    good = [bench.delivery(n) for n in (3, 4)]
    await bench.process(
        Delivery(bench.log, 9, None), bench.delivery(1, defer=True), bench.delivery(2, raises="poison"), *good
    )
    assert bench.answers() == [
        ("ack", 9), ("nak", 1, 1.0), ("nak", 2, 1.0), ("in_progress", 3), ("in_progress", 4), ("ack", 3), ("ack", 4)
    ]  # fmt: skip


async def test_keep_alive_ends_with_a_batch_that_fails(bench: Bench) -> None:
    with pytest.raises(BusUnavailable):
        await bench.process(bench.delivery(1, raises="BusUnavailable"))
    assert await no_keep_alive_left(bench)


async def no_keep_alive_left(bench: Bench) -> bool:
    """Whether no task is left but the test's, and nothing more is said."""
    before, tasks = len(bench.log), asyncio.all_tasks()
    await bench.ticks.tick()
    return len(bench.log) == before and tasks == {asyncio.current_task()}


# --- figures


async def test_the_figures_of_a_worker(bench: Bench) -> None:
    await bench.process(bench.delivery(5), bench.delivery(3), bench.delivery(4, raises="poison"))
    assert (bench.stats.processed, bench.stats.last_event_ts) == (2, 1005.0)
    await bench.process(bench.delivery(1))
    assert (bench.stats.processed, bench.stats.last_event_ts) == (3, 1005.0), (
        "an older event changes no newest"
    )
    assert bench.stats.dead_lettered == 0
