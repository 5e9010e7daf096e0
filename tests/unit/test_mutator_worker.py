"""The mutator's loop without waiting: who serves what, when it looks again, what a stop lets end, what health says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from decnet.bus.base import Event
from decnet.bus.null import AbsentBus
from decnet.db.repository import BaseRepository
from decnet.db.written import Written
from decnet.errors import BusUnavailable
from decnet.mutator import mutate_all, mutate_decky
from decnet.mutator import worker as worker_module
from decnet.mutator.service import MutationService, Outcome
from decnet.mutator.worker import FLOOR_S, GIVE_WAY_S, MutatorWorker, _whole
from tests.clockkit import in_skipped_time, now, unwritten
from tests.mutatorkit import LAB_UP, START, Clock, World, calm, engine, lab_repo, news
from tests.wirekit import taken

Row = dict[str, Any]


class Stub:
    """Takes the place of the service: says what it is told to say."""

    def __init__(self) -> None:
        self.repo = SimpleNamespace(deckies=self.deckies, topologies=self.deckies, written=unwritten())
        self.rows: list[Row] = []
        self.answers: list[bool] = []
        self.asked: list[bool] = []
        self.next: float | None = None
        self.pending = self.ready = self.waiting = False
        self.rotations, self.failures = 3, 2

    async def deckies(self) -> list[Row]:
        return self.rows

    async def serve_one(self, *, operators_only: bool = False) -> bool:
        self.asked.append(operators_only)
        return self.answers.pop(0) if self.answers else False

    async def seconds_to_next(self) -> float | None:
        return self.next

    async def anything_pending(self) -> bool:
        return self.pending

    async def anything_ready(self) -> bool:
        return self.ready

    async def anything_waiting(self) -> bool:
        return self.waiting


def made(tmp_path: Path, stub: Stub | None = None, **mutator: Any) -> tuple[MutatorWorker, Stub]:
    stub = stub or Stub()
    worker = MutatorWorker(calm(tmp_path, **mutator))
    worker.service = cast("MutationService", stub)
    return worker, stub


@pytest.mark.parametrize(
    ("poll", "due", "pause"),
    [
        (10.0, None, 10.0), (10.0, 99.0, 10.0), (10.0, 10.0, 10.0), (10.0, 4.0, 4.0), (10.0, 1.0, 1.0), (10.0, 0.4, 1.0), (10.0, 0.0, 1.0),
        (0.2, None, 0.2), (0.2, 0.0, 0.2), (0.2, 9.0, 0.2),
    ],
)  # fmt: skip
async def test_the_clock_strikes_when_the_next_is_due_or_at_the_poll_with_a_floor(
    tmp_path: Path, poll: float, due: float | None, pause: float
) -> None:
    worker, stub = made(tmp_path, poll_interval_s=poll)
    stub.next = due
    assert await worker._pause() == pause
    assert FLOOR_S == 1.0


@in_skipped_time
async def test_the_clock_rings_for_its_lanes_while_something_is_ready(tmp_path: Path) -> None:
    worker, stub = made(tmp_path, lanes=3, poll_interval_s=10.0)
    task, rung = asyncio.create_task(worker._strike()), list[list[bool]]()
    for ready, due, seconds in ((False, 99.0, 9.0), (True, 4.0, 2.0), (True, None, 4.0), (False, None, 30.0)):
        stub.ready, stub.next = ready, due
        await asyncio.sleep(seconds)
        rung.append([bell.is_set() for bell in worker._bells])
        for bell in worker._bells:
            bell.clear()
    task.cancel()
    assert rung == [[False] * 3, [False, True, True], [False, True, True], [False] * 3]


@in_skipped_time
async def test_the_operators_lane_looks_when_rows_are_written_once_a_tail_at_most(tmp_path: Path) -> None:
    worker, stub = made(tmp_path)
    written: Written = stub.repo.written
    task, rung = asyncio.create_task(worker._follow_rows()), list[float]()

    async def listen() -> None:
        while True:
            await worker._bells[0].wait()
            worker._bells[0].clear()
            rung.append(now() - 1000)

    listener = asyncio.create_task(listen())
    await asyncio.sleep(50)
    assert rung == []
    for _ in range(8):
        written.note()
        await asyncio.sleep(0.25)
    await asyncio.sleep(50)
    assert rung == [50.0, 51.0, 52.0], "what is written while it pauses is not missed"
    assert not any(bell.is_set() for bell in worker._bells[1:])
    for each in (task, listener):
        each.cancel()
    settings = worker._settings
    worker._settings = settings.model_copy(
        update={"runtime": settings.runtime.model_copy(update={"tail_db_s": 0.001})}
    )
    assert worker._tail_s == 0.05, "but never without a pause"


@in_skipped_time
async def test_a_bell_ends_the_rest_and_a_wish_that_waits_is_tried_again(tmp_path: Path) -> None:
    worker, stub = made(tmp_path)
    worker.ring()
    await worker._rest(1)
    worker._bells[0].clear()
    stub.waiting = True
    await worker._rest(0)
    assert now() == 1001.0, "its end is no error"
    for number, waiting in ((0, False), (1, True)):
        stub.waiting = waiting
        worker._bells[number].clear()
        rest = asyncio.create_task(worker._rest(number))
        await asyncio.sleep(500)
        assert not rest.done(), "nothing to do, nothing to look at"
        rest.cancel()


@in_skipped_time
async def test_without_a_fleet_nothing_is_looked_at_until_a_row_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, stub = made(tmp_path, observe_s=7.0)
    looks: list[float] = []

    async def tend(_: object) -> Row:
        looks.append(now() - 1000)
        return {"deckies": len(stub.rows), "pending": 0, "failing": 0, "reason": ""}

    counted: list[float] = []

    async def count_anew(_: object) -> None:
        counted.append(now() - 1000)

    monkeypatch.setattr(worker_module, "tend", tend)
    monkeypatch.setattr(worker_module, "count_anew", count_anew)
    task = asyncio.create_task(worker._tend())
    await asyncio.sleep(100)
    stub.rows = [{"name": "web"}]
    stub.repo.written.note()
    await asyncio.sleep(15)
    task.cancel()
    assert looks == [0.0, 100.0, 107.0, 114.0]
    assert counted == [100.0, 107.0, 114.0], "without a fleet there is no schedule"


async def test_the_first_lane_serves_operators_only_and_the_others_give_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, stub = made(tmp_path)
    pauses: list[float] = []
    now = 1000.0

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(worker_module.time, "monotonic", lambda: now)
    monkeypatch.setattr(worker_module.asyncio, "sleep", sleep)
    worker._asked_at = now - 0.1
    await worker._one(0)
    assert (stub.asked, pauses) == ([True], [])
    await worker._one(1)
    assert stub.asked == [True, False]
    assert pauses == [pytest.approx(GIVE_WAY_S - 0.1)]
    worker._asked_at = now - GIVE_WAY_S
    await worker._one(3)
    assert len(pauses) == 1, "and not for longer"
    assert GIVE_WAY_S == 0.3


async def test_a_lane_works_until_nothing_is_left_and_calls_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, stub = made(tmp_path, lanes=3)
    stub.answers, stub.pending = [True, True], True
    stub.rows = [{"name": "web", "failures": 1, "pending": True, "reason": "port taken"}]
    rung: list[list[bool]] = []

    async def rest(_: int) -> None:
        rung.append([bell.is_set() for bell in worker._bells])
        for bell in worker._bells:
            bell.clear()
        if len(rung) == 2:
            raise asyncio.CancelledError

    monkeypatch.setattr(worker, "_rest", rest)
    with pytest.raises(asyncio.CancelledError):
        await worker._lane(0)()
    assert stub.asked == [True, True, True, True]
    assert rung == [[True, True, True], [False, True, True]], "work done rings for all, wishes for the others"
    assert worker.health()["degraded"] == "1 deckies fail, web: port taken", (
        "health does not wait for the next look"
    )
    rung.clear()
    worker._counts, stub.asked, stub.pending = {}, [], True
    with pytest.raises(asyncio.CancelledError):
        await worker._lane(1)()
    assert rung[0] == [False, False, False], "only the first lane looks for wishes of other processes"
    assert worker._counts == {}, "nothing was done, so nothing is counted"


def test_health_by_value(tmp_path: Path) -> None:
    worker, _ = made(tmp_path)
    worker._counts = {"deckies": 5, "pending": 2, "failing": 1, "reason": "web: port taken"}
    assert worker.health() == {
        "deckies": 5, "pending": 2, "failing": 1, "rotations": 3, "failed_changes": 2, "degraded": "1 deckies fail, web: port taken",
    }  # fmt: skip
    fresh = MutatorWorker(calm(tmp_path))
    assert fresh.health() == {
        "deckies": 0,
        "pending": 0,
        "failing": 0,
        "rotations": 0,
        "failed_changes": 0,
        "degraded": "",
    }


async def test_every_lane_and_the_look_run_in_the_background(tmp_path: Path) -> None:
    worker, _ = made(tmp_path, lanes=5)
    assert sorted(worker.background()) == [
        "clock", "lane-0", "lane-1", "lane-2", "lane-3", "lane-4", "rows", "tend",
    ]  # fmt: skip
    assert len(worker._bells) == 5
    assert worker.topics == ("decky.*.mutate_request", "topology.*.mutation.enqueued")


async def test_the_first_cancellation_lets_a_change_end_and_the_second_cuts_it() -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    ended: list[str] = []

    async def change() -> bool:
        begun.set()
        try:
            await go.wait()
        except asyncio.CancelledError:
            ended.append("cut")
            raise
        ended.append("whole")
        return True

    task = asyncio.create_task(_whole(change(), "x"))
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert ended == []
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["whole"]
    begun.clear()
    go.clear()
    task = asyncio.create_task(_whole(change(), "x"))
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["whole", "cut"]
    go.set()
    assert await _whole(change(), "x") is True


async def test_a_change_that_raises_is_told_as_it_is() -> None:
    async def broken() -> None:
        raise ValueError("odd")

    with pytest.raises(ValueError, match="odd"):
        await _whole(broken(), "x")


# --- on a database -------------------------------------------------------------------------------------------------


@pytest.fixture
async def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BaseRepository]:
    clock = Clock(monkeypatch)
    async with lab_repo(tmp_path) as opened:
        clock.now = START + 100
        yield opened


def world() -> World:
    up = World()
    up.up = {name: list(services) for name, services in LAB_UP.items()}
    return up


def request(topic: str, payload: Any, key: str = "e1") -> Event:
    return Event(topic, payload, "t", key, START)


async def test_requests_on_the_bus_become_rows_and_operations_ring_only(
    repo: BaseRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, _ = made(tmp_path)
    before = worker._asked_at
    batch = [
        request("decky.web.mutate_request", {"request_id": "r", "requested_by": "ann", "reason": "drill"}),
        request("decky.web.mutate_request", {"request_id": "r"}, "e2"),
        request("decky.db.mutate_request", {"request_id": 5, "requested_by": ["x"], "reason": None}, "e3"),
        request("decky.db.mutate_request", {"request_id": ""}, "e3"),
        request("topology.lab.mutation.enqueued", {"mutation_id": "m", "op": "add_network"}, "e4"),
    ]
    async with repo.transaction() as tx:
        await worker.handle(taken(batch), cast("Any", SimpleNamespace(repo=tx)))
    rows = await repo.mutations(states=("enqueued",), newest_first=False)
    assert [(r["target"], r["payload"], r["requested_by"], r["reason"], r["trigger"]) for r in rows] == [
        ("web", {"request_id": "r"}, "ann", "drill", "operator"), ("db", {"request_id": "e3"}, "", "", "operator"),
    ]  # fmt: skip
    assert all(bell.is_set() for bell in worker._bells)
    assert worker._asked_at > before
    for bell in worker._bells:
        bell.clear()
    async with asyncio.timeout(5):
        await worker._bells[0].wait()
    assert all(bell.is_set() for bell in worker._bells), "and once more when the batch is committed"


async def test_a_start_frees_what_a_dead_engine_of_this_host_held(
    repo: BaseRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    assert await repo.decky_claim("web", f"{socket.gethostname()}:{2**22 + 7}:gone", 1e6, "s")
    settings = calm(tmp_path)
    worker = MutatorWorker(settings, lambda repo, settings: engine(repo, settings, world()))
    await worker.start(repo, cast("Any", None))
    assert await repo.lease_owners() == set()
    assert worker._deployed is True


async def test_one_pass_serves_what_is_due_and_what_is_asked_for(
    repo: BaseRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = calm(tmp_path)
    up = world()
    service = engine(repo, settings, up)
    assert await mutate_all(repo, settings=settings, service=service) == pytest.approx(3500)
    assert up.calls == [], "nobody is due"
    await repo.decky_update("web", None, next_due=START)
    assert await mutate_all(repo, only={"db"}, settings=settings, service=service) == pytest.approx(3600)
    assert sorted(up.calls) == [("apply", "db"), ("apply", "web")]
    await repo.decky_update("db", None, wanted=False, pending=False)
    up.calls.clear()
    await mutate_all(repo, force=True, settings=settings, service=service)
    assert up.calls == [("apply", "web")], "one on its way out is not forced"
    up.calls.clear()
    await mutate_all(repo, force=True, only=set(), settings=settings, service=service)
    assert up.calls == [], "no name, no decky"


async def test_one_decky_on_request_and_the_trigger_that_is_told(
    repo: BaseRepository, tmp_path: Path
) -> None:
    settings = calm(tmp_path)
    service = engine(repo, settings, world())
    assert await mutate_decky(
        "web", repo, trigger="scheduled", settings=settings, service=service
    ) == Outcome(True, ["http", "ftp"], ["http", "ssh"])
    (payload,) = [p for topic, p in await news(repo) if topic == "decky.web.mutation"]
    assert payload["trigger"] == "scheduled"
    outcome = await mutate_decky("nobody", repo, settings=settings, service=service)
    assert outcome == Outcome(False, [], [], "no decky 'nobody' in the fleet")


async def test_without_a_bus_nothing_that_waits_is_lost() -> None:
    bus = AbsentBus("mutator")
    await bus.connect()
    assert not bus.connected
    with pytest.raises(BusUnavailable):
        await bus.publish_events([])
    with pytest.raises(BusUnavailable):
        await bus.consume("x", ["y"])


async def test_the_presence_of_a_fleet_is_told_on_the_change_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, _ = made(tmp_path)
    told: list[str] = []
    # The module's name, not the logger's method: what is put back there would outlive the test.
    monkeypatch.setattr(worker_module, "log", SimpleNamespace(info=lambda text, **_: told.append(text)))
    for present in (False, False, True, True, False):
        worker._note_deployment(present)
    assert told == [
        "no deployment: the mutator is idle until a fleet is applied", "fleet found", "no deployment: the mutator is idle until a fleet is applied",
    ]  # fmt: skip


async def test_a_look_at_everything_rings_while_something_is_to_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, _ = made(tmp_path, observe_s=7.0)
    found = [
        {"deckies": 2, "pending": 0, "failing": 0, "reason": ""},
        {"deckies": 2, "pending": 1, "failing": 1, "reason": "web: x"},
    ]
    rung: list[bool] = []
    pauses: list[float] = []

    async def tend(_: object) -> Row:
        return found[len(pauses)]

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        rung.append(worker._bells[0].is_set())
        if len(pauses) == 2:
            raise asyncio.CancelledError

    monkeypatch.setattr(worker_module, "tend", tend)
    monkeypatch.setattr(worker_module.asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await worker._tend()
    assert (rung, pauses) == ([False, True], [7.0, 7.0])
    assert worker.health()["degraded"] == "1 deckies fail, web: x"
