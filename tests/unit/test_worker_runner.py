"""One worker's life: states, control words, pauses and their growth, jobs under leases, beats that tell the truth."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from decnet.bus.base import ConsumerInfo
from decnet.config import RuntimeSettings, Settings
from decnet.errors import BusUnavailable, DatabaseError, DiskFull
from decnet.runtime import runner
from decnet.runtime.leases import OWNER
from decnet.runtime.received import Received
from decnet.runtime.runner import FIRST_EVENTS, HALT_S, WorkerRunner
from decnet.runtime.worker import Job, Transaction, Worker
from tests.clockkit import in_skipped_time, now, unwritten

Job_ = Callable[..., Awaitable[None]]


class FakeRepo:
    """Leases that are free or not, and heartbeats by the time of their writing."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, float]] = []
        self.released: list[tuple[str, str]] = []
        self.answers: list[bool] = []
        self.beats: list[tuple[float, dict[str, Any]]] = []
        self.error: Exception | None = None
        self.written = unwritten()

    async def lease_acquire(self, name: str, owner: str, ttl_s: float) -> bool:
        self.asked.append((name, owner, ttl_s))
        return self.answers.pop(0) if self.answers else True

    async def lease_release(self, name: str, owner: str) -> None:
        self.released.append((name, owner))

    async def heartbeats_write(self, payloads: dict[str, dict[str, Any]]) -> None:
        if self.error is not None:
            raise self.error
        self.beats += [(now(), payload) for payload in payloads.values()]

    async def blocked_by(self) -> str:
        return ""

    async def outbox_count(self) -> int:
        return 0


class FakeConsumer:
    """Gives what it was told to; an empty fetch takes its whole time."""

    def __init__(self) -> None:
        self.results: list[list[Any] | Exception] = []
        self.fetches: list[tuple[float, int, float]] = []
        self.closed = 0
        self.backlog: ConsumerInfo | Exception = ConsumerInfo(0, 0, 0, 0)

    async def fetch(self, max_events: int, timeout: float) -> list[Any]:
        self.fetches.append((now(), max_events, timeout))
        result: list[Any] | Exception = self.results.pop(0) if self.results else []
        if isinstance(result, Exception):
            raise result
        if not result:
            await asyncio.sleep(timeout)
        return result

    async def info(self) -> ConsumerInfo:
        if isinstance(self.backlog, Exception):
            raise self.backlog
        return self.backlog

    async def close(self) -> None:
        self.closed += 1
        raise BusUnavailable("already gone")


class FakeBus:
    """Hands out one consumer, or says no."""

    def __init__(self) -> None:
        self.connected = True
        self.consumer = FakeConsumer()
        self.consumed: list[tuple[float, str, tuple[str, ...]]] = []
        self.errors: list[Exception] = []
        self.published: list[tuple[str, dict[str, Any]]] = []

    async def consume(self, name: str, patterns: Sequence[str]) -> FakeConsumer:
        self.consumed.append((now(), name, tuple(patterns)))
        if self.errors:
            raise self.errors.pop(0)
        return self.consumer

    async def publish(self, topic: str, payload: dict[str, Any], *, event_type: str = "") -> None:
        self.published.append((topic, payload))


class FakeProcessor:
    """Batches, or what befalls them."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.errors: list[Exception] = []
        self.takes_s = 0.0

    async def process(self, deliveries: list[Any]) -> None:
        if self.errors:
            raise self.errors.pop(0)
        await asyncio.sleep(self.takes_s)
        self.batches.append(deliveries)


class Lively(Worker):
    """Notes when it starts and stops; starts fail as often as told."""

    name = "ttp"
    topics = ("attacker.>",)
    without_bus = "poll-only"

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.starts: list[float] = []
        self.stops: list[float] = []
        self.tasks: dict[str, Callable[[], Awaitable[None]]] = {}
        self.own: dict[str, Any] | Exception = {}
        self.lacks = ""

    def waiting_for(self) -> str:
        return self.lacks

    async def start(self, repo: Any, bus: Any) -> None:
        self.starts.append(now() - 1000)
        if len(self.starts) <= self.failures:
            raise RuntimeError("not yet")

    async def handle(self, batch: Sequence[Received], tx: Transaction) -> None:
        """Never called: the processor is a fake."""

    async def stop(self) -> None:
        self.stops.append(now() - 1000)

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return self.tasks

    def health(self) -> dict[str, Any]:
        if isinstance(self.own, Exception):
            raise self.own
        return dict(self.own)


class World:
    """A runner and everything around it as fakes."""

    def __init__(self, worker: Lively | None = None, **runtime: Any) -> None:
        self.worker = worker or Lively()
        self.repo, self.bus, self.processor = FakeRepo(), FakeBus(), FakeProcessor()
        self.settings = Settings(runtime=RuntimeSettings(**{"batch_wait_s": 0.25, **runtime}))
        self.runner = WorkerRunner(self.worker, self.repo, self.bus, self.settings, lambda: None)  # type: ignore[arg-type]
        self.runner.processor = self.processor  # type: ignore[assignment]
        self.life: asyncio.Task[None] | None = None

    async def until(self, second: float) -> None:
        """Lives on until that second after the start; what is due then has happened."""
        if self.life is None:
            self.life = asyncio.create_task(self.runner.run())
        await asyncio.sleep(max(1000 + second - now(), 0))
        await settle()

    async def end(self) -> None:
        self.runner.end()
        assert self.life is not None
        await self.life
        assert self.runner.state == "stopped"
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def shown(self) -> dict[str, Any]:
        """The payload of a beat now."""
        await self.runner.beat()
        return self.repo.beats[-1][1]


async def settle() -> None:
    """Lets everything happen that needs no time."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    with capture_logs() as entries:
        yield entries


# --- lives


@in_skipped_time
async def test_a_failing_worker_is_started_again_after_twice_the_time_up_to_a_minute() -> None:
    world = World(Lively(failures=100))
    await world.until(200)
    assert world.worker.starts == [0, 1, 3, 7, 15, 31, 63, 123, 183]
    assert world.runner.stats.restarts == 9
    assert world.runner.state == "failed"
    assert (await world.shown())["restarts"] == 9
    assert world.worker.stops == [], "what never started is not stopped"
    await world.end()
    assert now() == 1200, "an end does not wait for the pause"


@in_skipped_time
async def test_after_a_good_life_the_pause_begins_anew() -> None:
    world = World(Lively(failures=3))
    await world.until(10)
    assert world.worker.starts == [0, 1, 3, 7]
    world.worker.failures = 5
    world.runner.control("restart")
    await world.until(12)
    assert world.worker.starts == [0, 1, 3, 7, 10.25, 11.25], "the fetch of the good life ends first"
    await world.end()


@in_skipped_time
async def test_a_life_that_breaks_leaves_nothing_running() -> None:
    world = World()
    ended: list[float] = []

    async def watch() -> None:
        try:
            await asyncio.sleep(10_000)
        finally:
            ended.append(now() - 1000)

    world.worker.tasks = {"watch": watch}
    world.bus.consumer.results = [[], ["delivery"]]
    world.processor.errors = [KeyError("a fault of our own")]
    await world.until(0.5)
    assert world.runner.state == "failed"
    assert (ended, world.worker.stops, world.bus.consumer.closed) == ([0.25], [0.25], 1)
    assert world.runner.consumer is None
    await world.until(1.25)
    assert world.runner.state == "ok"
    assert world.worker.starts == [0, 1.25]
    assert len(world.bus.consumed) == 2, "a consumer of its own for each life"
    await world.end()


@in_skipped_time
async def test_a_life_that_is_cut_ends_as_stopped() -> None:
    world = World()
    await world.until(1)
    assert world.runner.state == "ok"
    assert world.life is not None
    world.life.cancel()
    await asyncio.gather(world.life, return_exceptions=True)
    assert world.runner.state == "stopped"
    assert world.worker.stops == [1]


# --- control


@pytest.mark.parametrize(
    ("action", "back", "state"), [("pause", "resume", "paused"), ("stop", "start", "stopped")]
)
@in_skipped_time
async def test_a_running_batch_ends_before_a_stop_and_a_new_life_begins_after_it(
    action: str, back: str, state: str
) -> None:
    world = World()
    world.processor.takes_s = 5.0
    world.bus.consumer.results = [["delivery"]]
    await world.until(1)
    assert world.runner.control(action)
    await world.until(4)
    assert world.runner.state == "ok"
    assert world.worker.stops == []
    await world.until(60)
    assert world.runner.state == state
    assert (world.processor.batches, world.worker.stops) == ([["delivery"]], [5])
    assert len(world.bus.consumer.fetches) == 1, "nothing more is fetched"
    assert world.runner.control(back)
    await world.until(61)
    assert world.runner.state == "ok"
    assert world.worker.starts == [0, 60]
    await world.end()


@in_skipped_time
async def test_restart_is_a_new_life_at_once_also_in_the_pause_after_a_failure() -> None:
    world = World(Lively(failures=4))
    await world.until(8)
    assert world.runner.state == "failed"
    assert world.runner.control("restart")
    await world.until(8)
    assert world.runner.state == "ok"
    assert world.runner.control("restart")
    await world.until(9)
    assert world.worker.starts == [0, 1, 3, 7, 8, 8.25]
    assert world.runner.state == "ok"
    await world.end()


@in_skipped_time
async def test_restart_and_start_also_wake_a_worker_that_is_paused() -> None:
    for action in ("restart", "start", "resume"):
        world = World()
        await world.until(1)
        world.runner.control("pause")
        await world.until(2)
        assert world.runner.state == "paused"
        world.runner.control(action)
        await settle()
        assert world.runner.state == "ok"
        await world.end()
        asyncio.get_running_loop().now = 1000.0  # type: ignore[attr-defined]


@in_skipped_time
async def test_a_paused_worker_ends_at_once_whatever_was_said_just_before() -> None:
    for word in ("pause", "resume", "restart"):
        world = World()
        await world.until(1)
        world.runner.control("pause")
        await world.until(2)
        world.runner.control(word)
        await world.end()
        assert now() == 1002
        assert world.worker.starts == [0]
        asyncio.get_running_loop().now = 1000.0  # type: ignore[attr-defined]


@in_skipped_time
async def test_a_pause_right_after_a_resume_holds() -> None:
    world = World()
    await world.until(1)
    world.runner.control("pause")
    await world.until(2)
    world.runner.control("resume")
    world.runner.control("pause")
    await world.until(5)
    assert world.runner.state == "paused"
    assert world.worker.starts == [0]
    await world.end()


@in_skipped_time
async def test_other_words_are_refused_and_change_nothing(logged: list[Any]) -> None:
    world = World()
    await world.until(1)
    logged.clear()
    assert [world.runner.control(word) for word in ("", "None", "STOP", "kill", "end")] == [False] * 5
    await world.until(2)
    assert world.runner.state == "ok"
    assert logged == []
    await world.end()


@in_skipped_time
async def test_no_word_brings_back_a_worker_that_was_ended() -> None:
    world = World()
    world.processor.takes_s = 5.0
    world.bus.consumer.results = [["delivery"]]
    await world.until(1)
    world.runner.end()
    for action in ("start", "restart", "resume", "pause", "stop"):
        assert world.runner.control(action), "a known word all the same"
    await world.until(6)
    assert world.life is not None
    assert world.life.done()
    assert world.runner.state == "stopped"
    assert world.worker.starts == [0]


# --- bus and database


@in_skipped_time
async def test_a_bus_that_is_away_is_asked_every_pause_and_told_once(
    logged: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "LONGEST_FETCH_S", 0.25)
    world = World(restart_backoff_s=2.0)
    world.bus.errors = [BusUnavailable("no route")] * 3
    await world.until(5)
    assert world.runner.state == "waiting_for_bus"
    assert [at - 1000 for at, *_ in world.bus.consumed] == [0, 2, 4]
    await world.until(6)
    assert world.bus.consumed[-1][1:] == ("ttp", ("attacker.>",))
    await world.until(7)
    assert world.runner.state == "ok"
    said = [(e["log_level"], e["event"]) for e in logged if "bus" in e["event"]]
    assert said == [("warning", "bus lost, poll-only"), ("info", "bus is back")]
    assert world.runner.stats.restarts == 0
    world.bus.consumer.results = [BusUnavailable("lost again")]
    await world.until(7.5)
    assert world.runner.state == "waiting_for_bus"
    await world.until(10)
    assert len(world.bus.consumed) == 4, "the same consumer goes on"
    assert sum(e["event"] == "bus lost, poll-only" for e in logged) == 2, "once each time"
    await world.end()


@in_skipped_time
async def test_who_waits_for_events_halts_within_a_moment_and_takes_what_is_on_its_way() -> None:
    assert HALT_S == 0.25
    world = World(batch_wait_s=30.0)
    await world.until(1)
    world.runner.control("pause")
    await world.until(1 + HALT_S)
    assert (world.runner.state, world.bus.consumer.closed) == ("paused", 1)
    world.runner.control("resume")
    await world.until(2)
    late = asyncio.Event()

    async def fetch(max_events: int, timeout: float) -> list[Any]:
        await late.wait()
        await asyncio.sleep(HALT_S - 0.05)
        return ["delivery"]

    world.bus.consumer.fetch = fetch  # type: ignore[method-assign]
    world.runner.control("restart")
    await world.until(3)
    late.set()
    world.runner.control("pause")
    await world.until(4)
    assert world.processor.batches == [["delivery"]]
    assert world.runner.state == "paused"
    await world.end()


@in_skipped_time
async def test_a_life_begins_with_small_batches_and_doubles_full_ones_up_to_the_setting() -> None:
    assert FIRST_EVENTS == 32
    world = World(batch_events=100)
    consumer = world.bus.consumer
    consumer.results = [[0] * 32, [0] * 63, [0] * 64, [0] * 100]
    await world.until(0.3)
    assert [most for _, most, _ in consumer.fetches] == [32, 64, 64, 100, 100, 100]
    world.runner.control("restart")
    await world.until(0.7)
    assert consumer.fetches[-1][1] == 32
    await world.end()


@in_skipped_time
async def test_a_worker_waits_twice_as_long_each_time_that_nothing_came() -> None:
    world = World(batch_wait_s=2.0)
    await world.until(100)
    assert [wait for _, _, wait in world.bus.consumer.fetches] == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert runner.LONGEST_FETCH_S == 30.0
    world.bus.consumer.results = [["one"]]
    await world.until(125)
    assert [wait for at, _, wait in world.bus.consumer.fetches if at >= 1120] == [30.0, 2.0, 4.0]
    await world.until(170)
    world.bus.consumer.results = [BusUnavailable("gone")]
    await world.until(230)
    waits = [wait for at, _, wait in world.bus.consumer.fetches if at >= 1180]
    assert waits[:3] == [30.0, 2.0, 4.0], "that it is back shows soon"
    world.worker.lacks = "rules"
    await world.until(300)
    world.worker.lacks = ""
    world.bus.consumer.fetches.clear()
    await world.until(301)
    assert [wait for _, _, wait in world.bus.consumer.fetches][:1] == [2.0]
    await world.end()
    world = World(batch_wait_s=45.0)
    await world.until(now() - 1000 + 100)
    assert [wait for _, _, wait in world.bus.consumer.fetches] == [45.0] * 3, (
        "what the settings say is the least"
    )
    await world.end()


@in_skipped_time
async def test_the_whole_fetch_is_bounded_by_the_settings() -> None:
    world = World(batch_events=7, batch_wait_s=0.5)
    await world.until(1)
    assert world.bus.consumer.fetches[0] == (1000.0, 7, 0.5)
    await world.end()


@pytest.mark.parametrize(
    ("error", "note"),
    [(DiskFull("no room"), "disk full: nothing is acknowledged"), (DatabaseError("not there"), "not there")],
)
@in_skipped_time
async def test_trouble_with_the_database_shows_until_a_batch_was_worked_off(
    error: Exception, note: str
) -> None:
    world = World(restart_backoff_s=3.0)
    world.bus.consumer.results = [["kept"]]
    world.bus.consumer.backlog = ConsumerInfo(pending=0, unacked=1, ack_floor=0, delivered=1)
    world.processor.errors = [error]
    await world.until(1)
    shown = await world.shown()
    assert (shown["state"], shown["note"], shown["lag"]) == ("degraded", note, 1)
    assert len(world.bus.consumer.fetches) == 1, "the next try waits"
    await world.until(4)
    assert [at - 1000 for at, *_ in world.bus.consumer.fetches[:3]] == [0, 3, 3.25]
    assert (await world.shown())["note"] == note, "a fetch without events proves nothing"
    world.bus.consumer.results = [["kept"]]
    await world.until(5)
    assert world.processor.batches == [["kept"]]
    assert (await world.shown())["state"] == "ok"
    assert world.runner.stats.restarts == 0
    await world.end()


@in_skipped_time
async def test_trouble_is_over_when_somebody_else_worked_it_off() -> None:
    world = World()
    world.bus.consumer.results = [["kept"]]
    world.processor.errors = [DatabaseError("not there")]
    await world.until(0.5)
    assert (await world.shown())["state"] == "ok", "nothing waits any more"
    await world.end()


@in_skipped_time
async def test_a_worker_without_topics_consumes_nothing() -> None:
    world = World()
    world.worker.topics = ()
    await world.until(5)
    assert world.runner.state == "ok"
    assert world.bus.consumed == []
    await world.end()


# --- background tasks and jobs


@in_skipped_time
async def test_a_background_task_that_ends_is_started_again_and_shows_meanwhile(logged: list[Any]) -> None:
    world = World()
    began: list[float] = []

    async def watch() -> None:
        began.append(now() - 1000)
        if len(began) % 2:
            raise OSError("watch broke")

    world.worker.tasks = {"watch": watch}
    await world.until(0.5)
    shown = await world.shown()
    assert (shown["state"], shown["note"]) == ("degraded", "watch restarts")
    await world.until(200)
    assert began == [0, 1, 3, 7, 15, 31, 63, 123, 183]
    assert [e["event"] for e in logged if e.get("task") == "watch"][:2] == [
        "background task failed",
        "background task ended",
    ]
    assert (await world.shown())["note"] == "watch restarts", "a fetch does not hide it"
    assert len(world.worker.starts) == 1, "the worker itself goes on"

    async def healthy() -> None:
        await asyncio.sleep(10_000)

    world.worker.tasks = {"watch": healthy}
    world.runner.control("restart")
    await world.until(201)
    assert (await world.shown())["state"] == "ok", "a new life starts without the trouble of the old one"
    await world.end()


@in_skipped_time
async def test_a_background_task_that_recovered_is_no_trouble() -> None:
    world = World()
    tries: list[int] = []

    async def watch() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("once")
        await asyncio.sleep(10_000)

    world.worker.tasks = {"watch": watch}
    await world.until(1.5)
    assert (await world.shown())["state"] == "ok"
    await world.end()


def job(world: World, run: Job_, **more: Any) -> Job:
    made = Job("tick", run=run, **more)
    world.worker.jobs = (made,)
    return made


@in_skipped_time
async def test_a_job_runs_every_interval_under_its_lease() -> None:
    world, ran = World(), []

    async def run(repo: Any, bus: Any) -> None:
        assert (repo, bus) == (world.repo, world.bus)
        ran.append(now() - 1000)

    job(world, run, interval_s=60.0, lease="tick")
    world.repo.answers = [True, False, True]
    await world.until(181)
    assert ran == [60, 180], "not while another engine holds it"
    assert world.repo.asked == [("tick", OWNER, 120.0)] * 3
    assert world.repo.released == [], "kept: the next run is this engine's again"
    await world.end()


@pytest.mark.parametrize(
    ("interval_s", "by_data", "ttl"), [(7.0, False, 15.0), (7.6, False, 15.2), (1000.0, True, 15.0)]
)
@in_skipped_time
async def test_a_lease_lives_for_two_intervals_but_of_a_job_by_data_for_one_run(
    interval_s: float, by_data: bool, ttl: float
) -> None:
    world = World(lease_s=15.0)

    async def run(repo: Any, bus: Any) -> None:
        assert world.repo.released == []

    await world.runner.run_job(job(world, run, interval_s=interval_s, lease="tick", by_data=by_data))
    assert world.repo.asked == [("tick", OWNER, ttl)]
    assert world.repo.released == ([("tick", OWNER)] if by_data else [])


@pytest.mark.parametrize("patient", [False, True])
@in_skipped_time
async def test_without_anything_to_do_no_lease_is_taken(patient: bool) -> None:
    world, ran, found = World(), [], list[int]()

    async def run(repo: Any, bus: Any) -> None:
        ran.append(1)

    async def due(repo: Any) -> list[int]:
        assert repo is world.repo
        return found

    made = job(world, run, interval_s=1.0, lease="tick", by_data=True, due=due)
    await world.runner.run_job(made, patient=patient)
    assert (ran, world.repo.asked) == ([], [])
    found.append(1)
    await world.runner.run_job(made, patient=patient)
    assert (ran, len(world.repo.asked), len(world.repo.released)) == ([1], 1, 1)


@in_skipped_time
async def test_a_job_with_nothing_to_do_is_left_alone_until_a_row_is_written() -> None:
    world, asked, ran = World(), list[float](), list[float]()
    found: list[int] = []

    async def run(repo: Any, bus: Any) -> None:
        ran.append(now() - 1000)

    async def due(repo: Any) -> list[int]:
        asked.append(now() - 1000)
        return found

    job(world, run, interval_s=2.0, due=due)
    await world.until(100.5)
    assert (asked, ran) == ([2], [])
    found.append(1)
    world.repo.written.note()
    await world.until(105)
    assert ran == [100.5, 102.5, 104.5], "at once, and as long as there is something"
    found.clear()
    await world.until(200)
    assert asked[-1] == 106.5
    await world.end()


@pytest.mark.parametrize(("says", "runs"), [(False, [2, 7, 9]), (None, [2, 4, 6, 8]), (True, [2, 4, 6, 8])])
@in_skipped_time
async def test_a_run_that_says_that_nothing_is_left_is_the_last_one_before_a_row(
    says: bool | None, runs: list[int]
) -> None:
    world, ran = World(), list[float]()

    async def run(repo: Any, bus: Any) -> bool | None:
        ran.append(now() - 1000)
        if ran[-1] == 7:
            world.repo.written.note()  # what is written while it runs, it may have missed
        return says

    job(world, run, interval_s=2.0)
    await world.until(7)
    if says is False:
        world.repo.written.note()
    await world.until(9.5)
    assert ran == runs
    await world.end()


@in_skipped_time
async def test_a_job_whose_lease_another_engine_holds_is_tried_again_without_a_row() -> None:
    world, ran = World(), list[float]()

    async def run(repo: Any, bus: Any) -> bool:
        ran.append(now() - 1000)
        return False

    async def due(repo: Any) -> bool:
        return True

    job(world, run, interval_s=2.0, lease="tick", due=due)
    world.repo.answers = [False] * 9
    await world.until(25)
    assert ran == [20], "whoever held it may be gone"
    await world.end()


@in_skipped_time
async def test_a_job_by_data_gives_its_lease_back_also_when_it_fails() -> None:
    world = World()

    async def run(repo: Any, bus: Any) -> None:
        raise RuntimeError("failed")

    with pytest.raises(RuntimeError):
        await world.runner.run_job(job(world, run, interval_s=1.0, lease="tick", by_data=True))
    assert world.repo.released == [("tick", OWNER)]


@in_skipped_time
async def test_a_job_whose_lease_is_taken_is_left_out_or_waited_for() -> None:
    world, ran = World(), []

    async def run(repo: Any, bus: Any) -> None:
        ran.append(now() - 1000)

    made = job(world, run, interval_s=1.0, lease="tick", by_data=True)
    world.repo.answers = [False]
    await world.runner.run_job(made)
    assert (ran, world.repo.released) == ([], []), "another's lease is not released"
    world.repo.answers = [False, False, True]
    await world.runner.run_job(made, patient=True)
    assert ran == [pytest.approx(0.4)]
    assert len(world.repo.asked) == 4


@pytest.mark.parametrize("lease", ["tick", None])
@in_skipped_time
async def test_a_job_that_runs_is_waited_for_by_its_own_engine_too(lease: str | None) -> None:
    world, said = World(), list[str]()

    async def run(repo: Any, bus: Any) -> None:
        said.append("begins")
        await asyncio.sleep(0.5)
        said.append("ends")

    made = job(world, run, interval_s=60.0, lease=lease, by_data=True)
    await asyncio.gather(world.runner.run_job(made), world.runner.run_job(made, patient=True))
    assert said == ["begins", "ends"] * 2
    assert world.repo.released == [("tick", OWNER)] * (2 if lease else 0)


@in_skipped_time
async def test_a_job_without_a_lease_asks_for_none() -> None:
    world, ran = World(), []

    async def run(repo: Any, bus: Any) -> None:
        ran.append(now())

    await world.runner.run_job(job(world, run, interval_s=1.0, by_data=True))
    assert (len(ran), world.repo.asked, world.repo.released) == (1, [], [])


@in_skipped_time
async def test_a_job_that_fails_runs_again() -> None:
    world, ran = World(), []

    async def run(repo: Any, bus: Any) -> None:
        ran.append(now() - 1000)
        raise RuntimeError("failed")

    job(world, run, interval_s=10.0)
    await world.until(33)
    assert ran == [10, 21, 33], "interval and pause"
    assert "job-tick restarts" in (await world.shown())["note"]
    await world.end()


# --- beats


@in_skipped_time
async def test_beats_come_sooner_at_first_and_then_every_interval() -> None:
    world = World(heartbeat_s=10.0)
    beats = asyncio.create_task(world.runner.heartbeats())
    await asyncio.sleep(36)
    assert [at - 1000 for at, _ in world.repo.beats] == [0, 1, 3, 7, 10, 20, 30]
    world.runner._become("ok")
    await settle()
    assert world.repo.beats[-1][0] == 1036, "and at once when the state changes"
    assert world.repo.beats[-1][1]["state"] == "ok"
    world.runner._become("ok")
    await asyncio.sleep(3.5)
    assert world.repo.beats[-1][0] == 1036, "the same state is no change"
    beats.cancel()


@in_skipped_time
async def test_each_state_of_a_failing_start_is_told_at_once() -> None:
    world = World(Lively(failures=2))
    beats = asyncio.create_task(world.runner.heartbeats())
    await world.until(3.5)
    told = [(at - 1000, beat["state"]) for at, beat in world.repo.beats]
    assert [beat for beat in told if beat[1] != "starting"] == [(0, "failed"), (1, "failed"), (3, "ok")]
    beats.cancel()
    await asyncio.gather(beats, return_exceptions=True)
    await world.end()


@in_skipped_time
async def test_trouble_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "LONGEST_FETCH_S", 0.25)
    world = World()
    tries: list[int] = []

    async def watch() -> None:
        await asyncio.sleep(20 if not tries else 10_000)
        tries.append(1)

    world.worker.tasks = {"watch": watch}
    world.bus.consumer.backlog = ConsumerInfo(pending=1, unacked=0, ack_floor=0, delivered=0)
    beats = asyncio.create_task(world.runner.heartbeats())
    await world.until(16)
    assert world.repo.beats[-1][1]["state"] == "ok"
    await world.until(20)
    assert world.repo.beats[-1][0] == 1020
    assert world.repo.beats[-1][1]["note"] == "watch restarts"
    world.bus.consumer.results, world.processor.errors = [["kept"]], [DiskFull("no room")]
    await world.until(22)
    assert world.repo.beats[-1][1]["note"].startswith("disk full")
    beats.cancel()
    await asyncio.gather(beats, return_exceptions=True)
    await world.end()


@in_skipped_time
async def test_a_short_interval_is_kept_from_the_start() -> None:
    world = World(heartbeat_s=0.25)
    beats = asyncio.create_task(world.runner.heartbeats())
    await asyncio.sleep(0.6)
    assert [at - 1000 for at, _ in world.repo.beats] == [0, 0.25, 0.5]
    beats.cancel()


@in_skipped_time
async def test_a_beat_goes_to_bus_and_database_with_the_lag_measured() -> None:
    world = World()
    await world.until(1)
    world.bus.consumer.backlog = ConsumerInfo(pending=40, unacked=2, ack_floor=0, delivered=0)
    shown = await world.shown()
    assert shown["lag"] == 42
    assert world.bus.published[-1] == ("system.ttp.health", shown)
    world.bus.consumer.backlog = BusUnavailable("gone")
    assert (await world.shown())["lag"] == 42, "the last that is known"
    await world.end()


@in_skipped_time
async def test_without_a_bus_the_beat_is_in_the_database_and_never_green() -> None:
    world = World()
    await world.until(1)
    world.bus.connected = False
    world.bus.consumer.backlog = ConsumerInfo(5, 5, 0, 0)
    told = len(world.bus.published)
    shown = await world.shown()
    assert (shown["state"], shown["lag"]) == ("waiting_for_bus", 0)
    assert len(world.bus.published) == told
    world.runner.control("pause")
    await world.until(2)
    assert (await world.shown())["state"] == "paused", "what was asked for is said as it is"
    await world.end()


@in_skipped_time
async def test_a_worker_without_what_it_judges_by_takes_no_batch_and_says_what_it_waits_for(
    logged: list[Any],
) -> None:
    world = World()
    world.worker.lacks = "rules"
    world.bus.consumer.results = [["delivery"]]
    await world.until(5)
    assert world.bus.consumed, "the stream keeps what this consumer has not read"
    assert world.bus.consumer.fetches == []
    assert world.runner.state == "waiting_for_rules"
    assert (await world.shown())["state"] == "waiting_for_rules"
    assert sum(e.get("waiting_for") == "rules" for e in logged) == 1, "told once"
    world.bus.connected = False
    assert (await world.shown())["state"] == "waiting_for_rules", (
        "the bus may come back: the rules are what lacks"
    )
    world.bus.connected = True
    world.worker.lacks = ""
    await world.until(5.5)
    assert world.processor.batches == [["delivery"]]
    assert (await world.shown())["state"] == "ok"
    world.worker.lacks = "rules"
    assert (await world.shown())["state"] == "waiting_for_rules", "at once, not at the next fetch"
    world.runner.control("pause")
    await world.until(6.5)
    assert (await world.shown())["state"] == "paused"
    await world.end()


@in_skipped_time
async def test_a_beat_that_cannot_be_stored_is_told_on_the_bus_all_the_same(logged: list[Any]) -> None:
    world = World()
    world.repo.error = DatabaseError("not there")
    await world.runner.beat()
    assert [topic for topic, _ in world.bus.published] == ["system.ttp.health"]
    assert [e["event"] for e in logged] == ["heartbeats not stored"]


@in_skipped_time
async def test_the_workers_own_fields_are_in_the_beat_and_a_fault_in_them_is_seen() -> None:
    world = World()
    await world.until(1)
    world.worker.own = {"rules_loaded": 7}
    assert (await world.shown())["rules_loaded"] == 7
    world.worker.own = {"degraded": "no rules loaded"}
    shown = await world.shown()
    assert (shown["state"], shown["note"], "degraded" in shown) == ("degraded", "no rules loaded", False)
    world.worker.own = RuntimeError("broken")
    shown = await world.shown()
    assert (shown["state"], shown["note"]) == ("degraded", "its health cannot be read")
    await world.end()
