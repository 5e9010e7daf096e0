"""A database that somebody locks: every worker says so on the bus at once, and no heartbeat waits for its row."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from decnet.config import RuntimeSettings, Settings
from decnet.errors import DatabaseError
from decnet.runtime.beats import STORE_S, StoredBeats, to_next
from decnet.runtime.dbwatch import LOOK_S, DatabaseWatch
from decnet.runtime.runner import WorkerRunner
from tests.clockkit import in_skipped_time, now
from tests.unit.test_worker_runner import FakeBus, FakeRepo, Lively

WHO = "process 7 (sqlite3)"
SAID = f"the database is locked by {WHO}"


class Locked(FakeRepo):
    """A repository whose rows may hang, and that knows who locks it."""

    def __init__(self) -> None:
        super().__init__()
        self.by: str | DatabaseError = ""
        self.looks = 0
        self.free = asyncio.Event()
        self.free.set()

    async def blocked_by(self) -> str:
        self.looks += 1
        if isinstance(self.by, DatabaseError):
            raise self.by
        return self.by

    async def heartbeats_write(self, payloads: dict[str, dict[str, Any]]) -> None:
        await self.free.wait()
        await super().heartbeats_write(payloads)


async def test_trouble_has_its_first_moment_and_is_told_once() -> None:
    repo, moments, told = Locked(), [3600.0], []
    watch = DatabaseWatch(repo, clock=lambda: moments[-1])
    watch.listen(lambda: told.append(watch.trouble))
    with capture_logs() as logged:
        for who, at in (("", 0.0), (WHO, 3661.0), (WHO, 3662.0), ("", 3663.0), ("", 3664.0), (WHO, 3665.0)):
            repo.by = who
            moments.append(at)
            await watch.look()
    assert told == [f"{SAID}, since 01:01:01Z", "", f"{SAID}, since 01:01:05Z"]
    assert watch.times_blocked == 2
    assert [e["event"] for e in logged] == [
        "database cannot be written", "database can be written again", "database cannot be written",
    ]  # fmt: skip


async def test_a_server_that_cannot_be_asked_is_trouble_too() -> None:
    repo = Locked()
    repo.by = DatabaseError("the database cannot be reached: OSError")
    watch = DatabaseWatch(repo, clock=lambda: 0.0)
    await watch.look()
    assert watch.trouble == "the database cannot be reached: OSError, since 00:00:00Z"


@in_skipped_time
async def test_it_looks_once_a_second() -> None:
    repo = Locked()
    task = asyncio.create_task(DatabaseWatch(repo).run())
    await asyncio.sleep(3 * LOOK_S + 0.1)
    task.cancel()
    assert repo.looks == 4


class Fixture:
    """A worker's runner whose beats go out every ten seconds."""

    def __init__(self) -> None:
        self.repo, self.bus = Locked(), FakeBus()
        self.watch = DatabaseWatch(self.repo, clock=lambda: 0.0)
        self.beats = StoredBeats(self.repo, self.watch)  # type: ignore[arg-type]
        settings = Settings(runtime=RuntimeSettings(heartbeat_s=10.0))
        self.runner = WorkerRunner(
            Lively(), self.repo, self.bus, settings, lambda: None, self.watch, self.beats  # type: ignore[arg-type]
        )  # fmt: skip
        self.runner._state = "ok"

    @property
    def said(self) -> list[tuple[str, str]]:
        return [(payload["state"], payload["note"]) for _, payload in self.bus.published]


@in_skipped_time
async def test_a_lock_is_in_the_next_beat_and_the_next_beat_comes_at_once() -> None:
    made = Fixture()
    task = asyncio.create_task(made.runner.heartbeats())
    await asyncio.sleep(35)
    before, made.repo.by = len(made.said), WHO
    await made.watch.look()
    await asyncio.sleep(0.01)
    made.repo.by = ""
    await asyncio.sleep(1.0)
    await made.watch.look()
    await asyncio.sleep(0.01)
    task.cancel()
    assert made.said[before:] == [("waiting_for_database", f"{SAID}, since 00:00:00Z"), ("ok", "")]


@in_skipped_time
async def test_a_row_that_hangs_silences_no_beat() -> None:
    made = Fixture()
    made.repo.free.clear()
    task = asyncio.create_task(made.runner.heartbeats())
    await asyncio.sleep(100)
    assert len(made.bus.published) >= 8
    assert made.beats.not_stored == len(made.bus.published) - 2, "one hangs, and the newest waits behind it"
    assert made.repo.beats == []
    made.repo.free.set()
    await asyncio.sleep(15)
    task.cancel()
    assert [p["state"] for _, p in made.repo.beats] == ["ok"] * len(made.repo.beats)
    assert len(made.repo.beats) >= 2, "the row that hung, and those after it"
    await made.beats.close()


@in_skipped_time
async def test_a_row_has_one_second_and_goes_on_behind() -> None:
    made = Fixture()
    made.repo.free.clear()
    began = now()
    await made.beats.store("ttp", {"n": 1})
    assert now() - began == pytest.approx(STORE_S)
    assert made.beats.not_stored == 0, "it may still get there"
    await asyncio.gather(made.beats.store("recorder", {"n": 2}), made.beats.store("ttp", {"n": 3}))
    assert now() - began == pytest.approx(2 * STORE_S)
    assert made.beats.not_stored == 0, "what came behind it may still get there, too"
    await made.beats.store("ttp", {"n": 4})
    assert made.beats.not_stored == 1, "one beat of a worker waits, the newest"
    made.repo.free.set()
    await asyncio.sleep(0.01)
    assert [payload["n"] for _, payload in made.repo.beats] == [1, 2, 4]
    await made.beats.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@in_skipped_time
async def test_a_busy_database_writes_the_beats_of_all_workers_late_and_not_never() -> None:
    """Who beats first has its row on the way; what it takes longer than a beat waits must not cost the others theirs."""
    made = Fixture()
    write = made.repo.heartbeats_write

    async def slowly(payloads: dict[str, dict[str, Any]]) -> None:
        await asyncio.sleep(3 * STORE_S)
        await write(payloads)

    made.repo.heartbeats_write = slowly  # type: ignore[method-assign]

    async def beats(name: str, after: float) -> None:
        await asyncio.sleep(after)
        for number in range(3):
            await made.beats.store(name, {"worker": name, "n": number})
            await asyncio.sleep(10.0 - STORE_S)

    await asyncio.gather(beats("intel", 0.0), beats("ttp", 0.1), beats("recorder", 0.2))
    written = [(payload["worker"], payload["n"]) for _, payload in made.repo.beats]
    assert sorted(written) == [(name, number) for name in ("intel", "recorder", "ttp") for number in range(3)]
    assert made.beats.not_stored == 0
    await made.beats.close()


async def test_nothing_is_tried_while_the_database_is_locked() -> None:
    made = Fixture()
    made.repo.by = WHO
    await made.watch.look()
    await made.beats.store("ttp", {})
    assert (made.repo.beats, made.beats.not_stored) == ([], 1)


async def test_a_database_that_refuses_is_counted_and_any_other_error_is_the_callers() -> None:
    made = Fixture()
    made.repo.error = DatabaseError("full")
    with capture_logs() as logged:
        await made.beats.store("ttp", {})
    assert made.beats.not_stored == 1
    assert [(e["event"], e["reason"]) for e in logged] == [("heartbeats not stored", "full")]
    made.repo.error = RuntimeError("a fault")
    with pytest.raises(RuntimeError, match="a fault"):
        await made.beats.store("ttp", {})


async def test_beats_that_come_together_are_one_transaction() -> None:
    made, written = Fixture(), list[list[str]]()
    write = made.repo.heartbeats_write

    async def slowly(payloads: dict[str, dict[str, Any]]) -> None:
        written.append(sorted(payloads))
        await asyncio.sleep(0)
        await write(payloads)

    made.repo.heartbeats_write = slowly  # type: ignore[method-assign]
    names = ("ttp", "recorder", "bus", "sensors")
    await asyncio.gather(*(made.beats.store(name, {"worker": name}) for name in names))
    await made.beats.store("ttp", {"worker": "ttp"})
    assert written == [sorted(names), ["ttp"]]
    assert made.beats.not_stored == 0


@in_skipped_time
async def test_all_of_an_engine_beat_at_the_same_moments() -> None:
    assert to_next(10.0) == 10.0
    await asyncio.sleep(3.25)
    assert to_next(10.0) == 6.75
    await asyncio.sleep(6.5)
    assert to_next(10.0) == 10.25, "nobody beats twice for one moment"
    assert to_next(0.2) == pytest.approx(0.05)
