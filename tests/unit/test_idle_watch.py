"""``--until-idle``: what counts as work left, how long idle has to last, when waiting is given up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from decnet.bus.base import ConsumerInfo
from decnet.errors import BusUnavailable
from decnet.runtime.health import WorkerStats
from decnet.runtime.idle import IdleWatch
from tests.clockkit import in_skipped_time, now


class World:
    """One supervisor with one worker, all of it plain values."""

    def __init__(self) -> None:
        self.rows = self.retries = 0
        self.own = self.waits = ""
        self.at_the_end = True
        self.behind = 0
        self.backlog: ConsumerInfo | Exception = ConsumerInfo(0, 0, 0, 0)
        self.asked: list[str] = []
        worker = SimpleNamespace(name="ttp", topics=("a.>",), unfinished=lambda: self.own, owed=self.owed)
        consumer = SimpleNamespace(info=self.info)
        self.runner = SimpleNamespace(worker=worker, consumer=consumer, state="ok", stats=WorkerStats())
        self.supervisor: Any = SimpleNamespace(runners={"ttp": self.runner}, repo=self)
        self.then: dict[float, Any] = {}

    async def info(self) -> ConsumerInfo:
        if isinstance(self.backlog, Exception):
            raise self.backlog
        return self.backlog

    async def owed(self, repo: object) -> str:
        assert repo is self
        return self.waits

    async def failures_waiting(self, worker: str) -> int:
        self.asked.append(worker)
        return self.retries

    async def outbox_count(self) -> int:
        return self.rows

    def at_end(self) -> bool:
        return self.at_the_end

    def health(self) -> dict[str, Any]:
        return {"bytes_behind": self.behind}

    def clock(self) -> float:
        """The loop's seconds; what the test planned for a second happens when it has come."""
        for second in sorted(self.then):
            if second <= now() - 1000:
                self.then.pop(second)()
        return now()

    async def wait(self, seconds: float) -> tuple[str | None, float]:
        """The watch's answer and how long it took."""
        began = now()
        watch = IdleWatch(self.supervisor, self, self.clock)
        return await watch.wait(seconds), now() - began


@in_skipped_time
async def test_idle_has_to_last_without_a_break() -> None:
    world = World()
    assert await world.wait(5.0) == (None, 5.0)
    assert await world.wait(0.0) == (None, 0.0)
    world.then = {8.0: lambda: setattr(world, "rows", 1), 9.0: lambda: setattr(world, "rows", 0)}
    stuck, took = await world.wait(5.0)
    assert stuck is None
    assert took == 9.25, "five seconds after the last work, which the clock saw at the ninth second"


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({"at_the_end": False}, {"sensors": "not at the end of their files, or not all of it is stored by the broker"}),
        ({"own": "3 deckies wait"}, {"ttp": "3 deckies wait"}),
        ({"backlog": ConsumerInfo(1, 0, 0, 0)}, {"ttp": "1 pending, 0 unacknowledged"}),
        ({"backlog": ConsumerInfo(0, 1, 0, 0)}, {"ttp": "0 pending, 1 unacknowledged"}),
        ({"backlog": BusUnavailable("gone")}, {"ttp": "gone"}),
        ({"retries": 1}, {"ttp": "1 waiting for a retry"}),
        ({"rows": 1}, {"outbox": "1 rows not relayed"}),
        ({}, {}),
    ],
)  # fmt: skip
@in_skipped_time
async def test_everything_that_is_left_counts_as_work(change: dict[str, Any], left: dict[str, str]) -> None:
    world = World()
    for name, value in change.items():
        setattr(world, name, value)
    assert await IdleWatch(world.supervisor, world).work_left() == left


@in_skipped_time
async def test_while_logs_are_read_nobody_else_is_asked() -> None:
    world = World()
    world.at_the_end, world.retries, world.rows = False, 1, 1
    watch = IdleWatch(world.supervisor, world)
    assert list(await watch.work_left()) == ["sensors"]
    assert world.asked == []
    world.at_the_end = True
    assert list(await watch.work_left()) == ["ttp"], "its news are not all there yet"
    assert world.asked == ["ttp"]


@in_skipped_time
async def test_a_worker_without_a_consumer_yet_is_not_idle_but_one_without_topics_is() -> None:
    world = World()
    world.runner.consumer = None
    watch = IdleWatch(world.supervisor, None)
    assert await watch.work_left() == {"ttp": "no consumer yet (ok)"}
    world.runner.worker.topics = ()
    assert await watch.work_left() == {}
    world.own = "busy"
    assert await watch.work_left() == {"ttp": "busy"}, "its own work counts all the same"
    world.own, world.waits = "", "2 rows"
    assert await watch.work_left() == {"ttp": "2 rows"}, "and rows that a job has not looked at yet"


@in_skipped_time
async def test_a_minute_without_progress_is_given_up_with_what_is_stuck() -> None:
    world = World()
    world.retries = 2
    assert await world.wait(5.0) == ("ttp: 2 waiting for a retry", 60.25)


@pytest.mark.parametrize(
    "progress",
    [
        lambda world: setattr(world.runner.stats, "processed", 1),
        lambda world: setattr(world.runner.stats, "dead_lettered", 1),
        lambda world: setattr(world, "behind", 5),
        lambda world: setattr(world, "retries", 1),
    ],
)
@in_skipped_time
async def test_any_progress_begins_the_minute_anew(progress: Any) -> None:
    world = World()
    world.retries = 2
    world.then = {50.0: lambda: progress(world)}
    stuck, took = await world.wait(5.0)
    assert stuck is not None
    assert 110.0 <= took <= 110.5


@pytest.mark.parametrize(("started_after_s", "took"), [(100.0, 160.25), (299.0, 359.25), (None, 360.0)])
@in_skipped_time
async def test_a_worker_on_its_way_is_waited_for_five_minutes(
    started_after_s: float | None, took: float
) -> None:
    world = World()
    world.retries, world.runner.state = 2, "starting"
    if started_after_s is not None:
        world.then = {started_after_s: lambda: setattr(world.runner, "state", "ok")}
    stuck, needed = await world.wait(5.0)
    assert stuck == "ttp: 2 waiting for a retry"
    assert needed == pytest.approx(took, abs=0.5)


@in_skipped_time
async def test_idle_is_never_stuck() -> None:
    world = World()
    assert await world.wait(200.0) == (None, 200.0)
