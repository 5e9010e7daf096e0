"""The supervisor: a stop in two stages, services kept alive, control words, credentials that are refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import pytest
from structlog.testing import capture_logs

from decnet.bus.base import Event
from decnet.bus.memory import Broker, MemoryBus
from decnet.config import BusSettings, RuntimeSettings, Settings
from decnet.errors import BusAuthError, BusUnavailable
from decnet.runtime.received import Received
from decnet.runtime.runner import URGENT_LOOK_S
from decnet.runtime.supervisor import DEADLINE_S, OTHERS_S, Supervisor, run_until
from decnet.runtime.worker import Transaction, Worker
from tests.clockkit import in_skipped_time, now, unwritten


class FakeRepo:
    """Keeps heartbeats, refuses some."""

    def __init__(self) -> None:
        self.beats: list[dict[str, Any]] = []
        self.error: Exception | None = None
        self.written = unwritten()

    async def heartbeats_write(self, payloads: dict[str, dict[str, Any]]) -> None:
        if self.error is not None:
            raise self.error
        self.beats += payloads.values()

    async def blocked_by(self) -> str:
        return ""

    async def outbox_count(self) -> int:
        return 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Self]:
        yield self

    async def outbox_add_many(self, events: Sequence[Event]) -> None:
        """Nothing is published."""

    async def failure_clear(self, worker: str, seqs: Sequence[int]) -> None:
        """Nothing failed."""


class Slow(Worker):
    """A worker whose batches take their time."""

    name = "ttp"
    topics = ("attacker.>",)

    def __init__(self, name: str = "ttp", batch_s: float = 0.0) -> None:
        self.name, self.batch_s = name, batch_s
        self.ended: list[str] = []

    async def handle(self, batch: Sequence[Received], tx: Transaction) -> None:
        try:
            await asyncio.sleep(self.batch_s)
            self.ended.append("whole")
        except asyncio.CancelledError:
            self.ended.append("cut")
            raise


class Bus(MemoryBus):
    """A memory bus of its own whose connection fails as told."""

    def __init__(self) -> None:
        super().__init__(settings=BusSettings(type="memory"), broker=Broker(BusSettings(type="memory")))
        self.errors: list[Exception] = []
        self.connects: list[float] = []

    async def connect(self) -> None:
        self.connects.append(now() - 1000)
        if self.errors:
            raise self.errors.pop(0)
        await super().connect()


def make(*workers: Worker, **runtime: Any) -> tuple[Supervisor, Bus, FakeRepo]:
    bus, repo = Bus(), FakeRepo()
    settings = Settings(runtime=RuntimeSettings(**runtime))
    return Supervisor(workers or [Slow()], repo, bus, settings), bus, repo  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    with capture_logs() as entries:
        yield entries


async def start(supervisor: Supervisor, bus: Bus) -> None:
    """The supervisor for a second; each worker has a batch in hand from the start."""
    await bus.connect()
    await bus.publish("attacker.tested", {"n": 1})
    await supervisor.start()
    await asyncio.sleep(1)


def alone() -> bool:
    """Whether no task is left but the test's."""
    return asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize(
    ("left_s", "grace_s", "took_s", "ended"),
    [(5.0, None, 5.0, "whole"), (9.9, None, 9.9, "whole"), (10.1, None, 10.0, "cut"), (5.0, 2.0, 2.0, "cut"),
     (5.0, 0.0, 0.0, "cut")],
)  # fmt: skip
@in_skipped_time
async def test_a_stop_waits_for_the_grace_and_then_cuts(
    left_s: float, grace_s: float | None, took_s: float, ended: str
) -> None:
    worker = Slow(batch_s=left_s + 1)
    supervisor, bus, repo = make(worker, grace_s=10.0)
    await start(supervisor, bus)
    began = now()
    await supervisor.stop(grace_s)
    assert now() - began == pytest.approx(took_s)
    assert worker.ended == [ended]
    assert repo.beats[-1]["state"] == "stopped", "the last beat says it in both cases"
    assert alone()


@in_skipped_time
async def test_a_worker_that_does_not_end_even_when_cut_holds_up_nobody(logged: list[Any]) -> None:
    class Stubborn(Slow):
        async def stop(self) -> None:
            await asyncio.sleep(1000)

    supervisor, bus, repo = make(Stubborn(batch_s=100.0), Slow("recorder"), grace_s=10.0)
    await start(supervisor, bus)
    await supervisor.stop()
    assert now() == 1001 + 10 + DEADLINE_S
    assert [e["task"] for e in logged if "does not end" in e["event"]] == ["ttp:life"]
    assert [beat["worker"] for beat in repo.beats[-2:]] == ["ttp", "recorder"]


@in_skipped_time
async def test_a_second_demand_cuts_at_once() -> None:
    worker = Slow(batch_s=9.0)
    supervisor, bus, _ = make(worker)
    await start(supervisor, bus)
    stopping = asyncio.create_task(supervisor.stop())
    await asyncio.sleep(2)
    await supervisor.cut()
    await stopping
    assert (now(), worker.ended) == (1003.0, ["cut"])
    assert alone()


@in_skipped_time
async def test_the_workers_end_side_by_side_and_the_services_after_the_last_beat() -> None:
    first, second = Slow("ttp", 4.0), Slow("recorder", 6.0)
    supervisor, bus, repo = make(first, second)
    async with bus.subscribe("system.*.health") as beats:
        await start(supervisor, bus)
        await supervisor.stop()
        assert now() == 1006.0
        assert [b["worker"] for b in repo.beats[-2:]] == ["ttp", "recorder"]
        assert [b["state"] for b in repo.beats[-2:]] == ["stopped"] * 2
        told = [await anext(aiter(beats)) for _ in repo.beats]
        assert [event.payload for event in told] == repo.beats
    assert alone()


class Watched(Slow):
    """A worker that finds something wrong between two heartbeats."""

    found: object = None

    def urgent(self) -> object:
        return self.found


@in_skipped_time
async def test_what_is_urgent_is_told_within_two_seconds_and_without_it_nobody_looks() -> None:
    for nothing, told in ((("ok",), 1), (None, 0)):
        worker = Watched()
        worker.found = nothing
        supervisor, bus, repo = make(worker)
        await start(supervisor, bus)
        await asyncio.sleep(41 - now() % 10)
        before = len(repo.beats)
        worker.found = ("missing",)
        await asyncio.sleep(URGENT_LOOK_S)
        assert len(repo.beats) - before == told
        await asyncio.sleep(URGENT_LOOK_S)
        assert len(repo.beats) - before == told, "it is told once"
        await supervisor.stop()
    assert URGENT_LOOK_S < 5.0


@in_skipped_time
async def test_a_last_beat_that_breaks_leaves_no_service_behind() -> None:
    supervisor, _, repo = make()
    await supervisor.start()
    await asyncio.sleep(1)
    repo.error = RuntimeError("a fault of our own")
    with pytest.raises(RuntimeError):
        await supervisor.stop()
    assert alone()


@in_skipped_time
async def test_a_life_that_ended_badly_is_said(logged: list[Any]) -> None:
    supervisor, *_ = make()

    async def bad() -> None:
        raise RuntimeError("bad")

    supervisor._lives.append(asyncio.create_task(bad()))
    await supervisor.stop()
    assert [e["event"] for e in logged if e["log_level"] == "error"] == ["task ended badly"]


@in_skipped_time
async def test_a_service_that_fails_is_started_again_after_the_pause_and_one_that_ends_is_not(
    logged: list[Any],
) -> None:
    supervisor, *_ = make(restart_backoff_s=2.0)
    began: list[float] = []

    async def service() -> None:
        began.append(now() - 1000)
        if len(began) < 4:
            raise (BusUnavailable("gone") if len(began) == 1 else RuntimeError("broke"))

    supervisor.serve("some", service)
    await asyncio.sleep(30)
    assert began == [0, 2, 4, 6]
    assert [(e["log_level"], e["event"]) for e in logged] == [
        ("debug", "service waits for the bus"),
        ("error", "service failed"),
        ("error", "service failed"),
    ]
    await supervisor.stop()


@in_skipped_time
async def test_refused_credentials_are_said_once_and_told_to_who_waits(logged: list[Any]) -> None:
    supervisor, bus, _ = make(restart_backoff_s=2.0)
    bus.errors = [BusUnavailable("no route"), BusAuthError("no"), BusAuthError("no")]
    await supervisor.start()
    await asyncio.sleep(1)
    assert not supervisor.refused.is_set(), "a bus that is away is waited for"
    await asyncio.sleep(2)
    assert supervisor.refused.is_set()
    await asyncio.sleep(10)
    assert bus.connects == [0, 2, 4, 6]
    assert [e["event"] for e in logged if e["log_level"] == "error"] == ["bus refuses the credentials"]
    await supervisor.stop()


@in_skipped_time
async def test_a_control_word_acts_on_its_worker_only_and_an_unknown_one_on_none(logged: list[Any]) -> None:
    supervisor, bus, _ = make(Slow("ttp"), Slow("recorder"))
    await supervisor.start()
    await asyncio.sleep(1)

    async def say(worker: str, payload: dict[str, Any]) -> list[str]:
        await bus.publish(f"system.{worker}.control", payload)
        await asyncio.sleep(1)
        return [runner.state for runner in supervisor.runners.values()]

    assert await say("ttp", {"action": "explode"}) == ["ok", "ok"]
    assert await say("ttp", {}) == ["ok", "ok"]
    assert [e["action"] for e in logged if e["event"] == "unknown control action"] == ["explode", "None"]
    logged.clear()
    assert await say("stranger", {"action": "stop"}) == ["ok", "ok"]
    assert logged == [], "another engine's worker is none of ours"
    assert await say("recorder", {"action": "pause"}) == ["ok", "paused"]
    assert await say("recorder", {"action": "resume"}) == ["ok", "ok"]
    await supervisor.stop()


@in_skipped_time
async def test_run_until_ends_clean_when_asked_and_when_cancelled() -> None:
    for cancelled in (False, True):
        shutdown = asyncio.Event()
        supervisor, *_ = make()
        running = asyncio.create_task(run_until(supervisor, shutdown))
        await asyncio.sleep(1)
        assert not running.done()
        if cancelled:
            running.cancel()
        else:
            shutdown.set()
        await asyncio.gather(running, return_exceptions=True)
        assert running.cancelled() == cancelled
        assert supervisor.runners["ttp"].state == "stopped"
        assert alone()


class Starting(Slow):
    """A worker that takes its time to start, or fails to."""

    def __init__(self, name: str, start_s: float, error: Exception | None = None) -> None:
        super().__init__(name)
        self.start_s, self.error, self.began = start_s, error, 0.0

    async def start(self, repo: Any, bus: Any) -> None:
        self.began = now()
        await asyncio.sleep(self.start_s)
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(
    ("other", "waited"),
    [
        (Starting("ttp", 3.0), 3.0),
        (Starting("ttp", 4.0, RuntimeError("no")), 4.0),
        (Starting("ttp", OTHERS_S - 0.1), OTHERS_S - 0.1),
        (Starting("ttp", OTHERS_S + 5), OTHERS_S),
    ],
)
@in_skipped_time
async def test_a_worker_that_brings_work_starts_after_the_others(other: Starting, waited: float) -> None:
    bringing = Starting("sensors", 0.0)
    bringing.brings_work = True
    supervisor, *_ = make(bringing, other)
    await supervisor.start()
    await asyncio.sleep(OTHERS_S + 20)
    assert (bringing.began - 1000, other.began >= 1000) == (pytest.approx(waited), True)
    await supervisor.stop()


@in_skipped_time
async def test_a_stop_does_not_wait_for_a_worker_that_was_still_waiting() -> None:
    bringing = Starting("sensors", 0.0)
    bringing.brings_work = True
    supervisor, *_ = make(bringing, Starting("ttp", 2.0))
    await supervisor.start()
    await asyncio.sleep(1)
    await supervisor.stop()
    assert (now(), bringing.began) == (1002.0, 0.0)
    assert alone()
