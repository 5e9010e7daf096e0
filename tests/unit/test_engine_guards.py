"""The engine as a whole: what a start refuses and undoes, its own beats and leases, working until idle, the end."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from decnet import engine as engine_module
from decnet.bus.connection import Connection, read_connection, write_connection
from decnet.bus.publish import publish_failures
from decnet.config import NotifySettings, Settings, load_settings
from decnet.db.repository import BaseRepository
from decnet.engine import Engine
from decnet.errors import ConfigError, DatabaseError, EngineError
from decnet.runtime.health import status_of
from decnet.runtime.leases import OWNER
from decnet.runtime.notify import Notifier
from decnet.runtime.parts import PartsHealth
from decnet.runtime.worker import Job
from tests.clockkit import in_skipped_time, now


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Neither logs nor a collector that other tests would notice."""
    publish_failures.clear()
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr(gc, "set_threshold", lambda *_: None)
    with capture_logs():
        yield


def settings(folder: Path, **more: Any) -> Settings:
    return Settings(data_dir=folder, bus_type="memory", **{"workers": ("recorder",), **more})


# --- the start


async def test_a_start_that_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    made = Engine(settings(tmp_path / "data", workers=("recorder", "nonsense")))
    with pytest.raises(ConfigError, match="unknown worker 'nonsense'; this version runs: sensors, recorder"):
        await made.start()
    assert not made.bus.connected
    with pytest.raises(DatabaseError, match="not open"):
        await made.repo.heartbeats()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_bus_and_database_are_well_from_the_first_look_whatever_an_earlier_run_left(
    tmp_path: Path,
) -> None:
    """A run that was killed leaves beats of a process that is gone; a console that starts now would show them."""
    folder = tmp_path / "data"
    folder.mkdir()
    left = Settings(data_dir=folder)
    repo = await BaseRepository.open(left.db_url)
    gone = {"state": "ok", "pid": 2**22 + 1, "host": socket.gethostname(), "ts": time.time() - 3600}
    await repo.heartbeats_write({name: {**gone, "worker": name} for name in ("bus", "database")})
    await repo.close()
    made = Engine(settings(folder))
    await made.start()
    try:
        beats = {row["worker"]: dict(row["payload"] or {}) for row in await made.repo.heartbeats()}
        states = {name: status_of(beats[name], time.time(), 10.0) for name in ("bus", "database")}
        assert states["database"] == "ok"
        assert states["bus"] in ("starting", "ok"), "not being reached yet is no fault"
    finally:
        await made.stop()


async def test_an_engine_that_runs_has_a_collector_again(tmp_path: Path) -> None:
    made = Engine(settings(tmp_path / "data"))
    gc.disable()
    try:
        await made.start()
        assert gc.isenabled()
        await made.stop(0.0)
    finally:
        gc.enable()


async def test_a_rule_directory_that_is_none_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    for workers in ((), ("ttp",), ("recorder", "ttp")):
        with pytest.raises(ConfigError, match="no directory"):
            await Engine(settings(tmp_path / "data", rules=tmp_path / "typo", workers=workers)).start()
    assert not (tmp_path / "data").exists()
    made = Engine(settings(tmp_path / "data", rules=tmp_path / "typo"))
    await made.start()
    await made.stop(0)


async def test_a_data_directory_is_ours_alone_and_of_one_engine(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "data"
    made = Engine(settings(folder))
    made._claim_data_dir(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    made._claim_data_dir(folder)
    write_connection(folder, Connection("nats://127.0.0.1:1", "sqlite:///x"))
    with pytest.raises(EngineError, match=rf"already runs on .* \(pid {os.getpid()}\)"):
        await made.start()
    assert read_connection(folder) is not None, "the other engine's file stays"
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match="cannot be made"):
        made._claim_data_dir(tmp_path / "file" / "data")


async def test_workers_run_in_the_order_of_the_house_whatever_order_was_asked_for(tmp_path: Path) -> None:
    made = Engine(settings(tmp_path, workers=("attribution", "recorder", "sensors")))
    assert [worker.name for worker in made._workers()] == ["sensors", "recorder", "attribution"]


async def test_the_end_says_stopped_and_closes_everything_even_when_a_last_word_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Engine(settings(tmp_path))
    await made.start()
    assert not (tmp_path / "connection.json").exists(), "a memory bus cannot be attached to"
    said: list[str] = []
    write = made.repo.heartbeats_write

    async def heartbeats_write(payloads: dict[str, dict[str, Any]]) -> None:
        await write(payloads)
        said.extend(f"{worker} {payload['state']}" for worker, payload in payloads.items())
        if "bus stopped" in said:
            raise DatabaseError("full")

    monkeypatch.setattr(made.repo, "heartbeats_write", heartbeats_write)
    await made.stop()
    assert said[-3:] == ["recorder stopped", "bus stopped", "database stopped"]
    assert not made.bus.connected
    with pytest.raises(DatabaseError, match="not open"):
        await made.repo.heartbeats()
    assert asyncio.all_tasks() == {asyncio.current_task()}


# --- its own services, over fakes


class Fakes:
    """Bus, repository and supervisor of an engine that was never started."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.connected, self.mine = True, True
        self.beats: list[tuple[float, dict[str, Any]]] = []
        self.published: list[tuple[str, dict[str, Any]]] = []
        self.asked: list[tuple[str, str, float]] = []
        self.engine = Engine(settings(folder, **more))
        self.engine.bus = self.engine.repo = self  # type: ignore[assignment]
        self.database, self.filled = SimpleNamespace(trouble="", times_blocked=6), 0.5
        self.engine.supervisor = SimpleNamespace(  # type: ignore[assignment]
            relay=SimpleNamespace(backlog=4, refused=7), runners={}, database=self.database,
            beats=SimpleNamespace(store=self.store, not_stored=8),
        )  # fmt: skip
        self.parts = PartsHealth(
            self.engine.bus, self.engine.supervisor, self.engine.settings, self.engine._own_figures
        )

    def counters(self) -> dict[str, int]:
        return {"reconnects": 9}

    async def fill(self) -> float:
        return self.filled

    def of(self, worker: str) -> list[tuple[float, dict[str, Any]]]:
        """When a part said what."""
        return [(at, beat) for at, beat in self.beats if beat["worker"] == worker]

    async def store(self, worker: str, payload: dict[str, Any]) -> None:
        assert worker == payload["worker"]
        self.beats.append((now() - 1000, payload))

    async def publish(self, topic: str, payload: dict[str, Any], *, event_type: str = "") -> None:
        self.published.append((topic, payload))

    async def lease_acquire(self, name: str, owner: str, ttl_s: float) -> bool:
        self.asked.append((name, owner, ttl_s))
        return self.mine

    async def run(self, body: Any, seconds: float) -> None:
        task = asyncio.create_task(body)
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@in_skipped_time
async def test_the_bus_beats_every_interval_and_half_a_second_after_it_came_or_went(tmp_path: Path) -> None:
    fakes = Fakes(tmp_path, runtime={"heartbeat_s": 10.0})
    asyncio.get_running_loop().call_later(13.0, setattr, fakes, "connected", False)
    asyncio.get_running_loop().call_later(14.8, setattr, fakes, "connected", True)
    await fakes.run(fakes.parts.run(), 20)
    assert [(at, beat["state"]) for at, beat in fakes.of("bus")] == [
        (0, "ok"), (10, "ok"), (pytest.approx(13.25, abs=0.26), "failed"), (pytest.approx(15.0, abs=0.3), "ok")
    ]  # fmt: skip
    told = [(f"system.{beat['worker']}.health", beat) for _, beat in fakes.beats]
    assert fakes.published == told


@in_skipped_time
async def test_a_database_that_somebody_locks_beats_half_a_second_after_it_is_known(tmp_path: Path) -> None:
    fakes = Fakes(tmp_path, runtime={"heartbeat_s": 10.0})
    said = "the database is locked by process 7 (x), since 00:00:00Z"
    asyncio.get_running_loop().call_later(3.2, setattr, fakes.database, "trouble", said)
    asyncio.get_running_loop().call_later(6.2, setattr, fakes.database, "trouble", "")
    await fakes.run(fakes.parts.run(), 9)
    assert [(at, beat["state"], beat["note"]) for at, beat in fakes.of("database")] == [
        (0, "ok", ""), (3.5, "locked", said), (6.5, "ok", ""),
    ]  # fmt: skip
    assert fakes.beats[-1][1].items() >= {"times_blocked": 6, "beats_not_stored": 8}.items()


@in_skipped_time
async def test_a_short_interval_is_kept(tmp_path: Path) -> None:
    fakes = Fakes(tmp_path, runtime={"heartbeat_s": 0.2})
    await fakes.run(fakes.parts.run(), 0.5)
    assert [at for at, _ in fakes.of("bus")] == [0, pytest.approx(0.2), pytest.approx(0.4)]


@in_skipped_time
async def test_what_bites_the_engine_itself_is_in_the_health_of_its_bus(tmp_path: Path) -> None:
    fakes = Fakes(tmp_path)
    await fakes.parts.beat()
    (first, *_) = [beat for _, beat in fakes.of("bus")]
    expected = {"outbox": 4, "outbox_refused": 7, "reconnects": 9, "restarts": 0, "publish_failures": 0}
    assert first.items() >= expected.items()
    assert "notify_dropped" not in first, "nobody is to be told"
    assert "stream_fill_pct" not in first, "not measured yet"
    publish_failures.update(BusFull=2)
    fakes.engine.server = SimpleNamespace(restarts=3)  # type: ignore[assignment]
    told = Notifier(NotifySettings(command="tell"), None, fakes.engine.bus)  # type: ignore[arg-type]
    told.dropped, told.failed = 5, 6
    fakes.engine.notifier = told
    await fakes.parts.beat()
    expected = {"outbox": 4, "restarts": 3, "publish_failures": 2, "notify_dropped": 5, "notify_failed": 6}
    assert fakes.of("bus")[-1][1].items() >= expected.items()
    publish_failures.clear()


@pytest.mark.parametrize(
    ("fill", "state", "note"), [(0.79, "ok", ""), (0.8, "degraded", "unread evidence fills the stream (80%)")]
)
@in_skipped_time
async def test_a_stream_that_fills_with_unread_evidence_is_not_well(
    tmp_path: Path, fill: float, state: str, note: str
) -> None:
    fakes = Fakes(tmp_path)
    fakes.filled = fill
    await fakes.run(fakes.parts.run(), 0.1)
    beat = fakes.of("bus")[0][1]
    assert (beat["state"], beat["note"], beat["stream_fill_pct"]) == (state, note, round(fill * 100))


@in_skipped_time
async def test_only_who_holds_the_lease_purges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes, purged = Fakes(tmp_path, runtime={"lease_s": 200.0}), []

    async def purge(bus: Any) -> None:
        purged.append(now() - 1000)
        fakes.mine = False

    monkeypatch.setattr(engine_module, "purge_stream", purge)
    await fakes.run(fakes.engine._purge(fakes), 200)  # type: ignore[arg-type]
    assert purged == [60]
    assert fakes.asked == [("purge", OWNER, 200.0)] * 3
    fakes.engine.settings = settings(tmp_path)
    await fakes.run(fakes.engine._purge(fakes), 60.5)  # type: ignore[arg-type]
    assert fakes.asked[-1] == ("purge", OWNER, 120.0)


@pytest.mark.parametrize("stuck_at", [None, 1, 3])
@in_skipped_time
async def test_until_idle_ends_open_sessions_and_runs_the_jobs_by_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stuck_at: int | None
) -> None:
    fakes, did = Fakes(tmp_path), []

    class Watch:
        def __init__(self, supervisor: Any, source: Any) -> None:
            assert (supervisor, source) == (fakes.engine.supervisor, fakes.engine.sensors)

        async def wait(self, seconds: float) -> str | None:
            did.append(f"wait {seconds}")
            return "stuck" if sum(d.startswith("wait") for d in did) == stuck_at else None

    async def end_open_sessions(reason: str) -> None:
        did.append(f"end {reason}")

    async def run_job(job: Job, *, patient: bool = False) -> None:
        did.append(f"{job.name} {patient}")

    async def nothing(repo: Any, bus: Any) -> None:
        """What a job does is not looked at here."""

    monkeypatch.setattr(engine_module, "IdleWatch", Watch)
    jobs = (Job("scores", 1.0, nothing, by_data=True), Job("clean", 1.0, nothing))
    runner = SimpleNamespace(worker=SimpleNamespace(jobs=jobs), run_job=run_job)
    fakes.engine.supervisor.runners = {"recorder": runner}  # type: ignore[dict-item]
    fakes.engine.sensors = SimpleNamespace(end_open_sessions=end_open_sessions)  # type: ignore[assignment]
    whole = ["wait 5.0", "end eof", "wait 0.0", "scores True", "wait 5.0"]
    assert await fakes.engine.until_idle(5.0) == (None if stuck_at is None else "stuck")
    assert did == (["wait 5.0"] if stuck_at == 1 else whole)


async def test_a_remote_sensor_runs_its_sensors_only(tmp_path: Path) -> None:
    bus = {"sensor": "east", "url": "nats://127.0.0.1:1"}
    with pytest.raises(ConfigError, match="start it with --workers sensors"):
        await Engine(load_settings(data_dir=tmp_path, bus=bus)).start()
    with pytest.raises(ConfigError, match="start it with --workers sensors"):
        await Engine(load_settings(data_dir=tmp_path, bus=bus, workers=("sensors", "recorder"))).start()
    with pytest.raises(ConfigError, match="name the bus"):
        await Engine(load_settings(data_dir=tmp_path, bus={"sensor": "east"}, workers=("sensors",))).start()


@pytest.mark.parametrize(
    "given",
    [{"token": "t"}, {"user": "u", "password": "p"}, {"password": "p"}, {"nkeys_seed": "seed.nk"}, {"tls_ca": "ca.pem"}],
)  # fmt: skip
async def test_a_log_in_for_a_bus_that_nobody_named_is_refused(tmp_path: Path, given: dict[str, str]) -> None:
    """The server that an engine starts knows its own token alone: it would refuse its own engine."""
    with pytest.raises(ConfigError, match=f"bus.{next(iter(given))}: .*--bus URL"):
        await Engine(load_settings(data_dir=tmp_path / "data", bus=given)).start()
    assert not (tmp_path / "data").exists()


async def test_a_log_in_beside_another_bus_is_no_fault(tmp_path: Path) -> None:
    made = Engine(settings(tmp_path / "data", bus={"type": "memory", "user": "u", "password": "p"}))
    await made.start()
    await made.stop(0.0)
