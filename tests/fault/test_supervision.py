"""Who watches over workers: one that fails for ever, an engine that is stopped, cut or does not get on."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from decnet.bus.base import Event
from decnet.config import load_settings
from decnet.engine import Engine
from decnet.ids import attacker_id, identity_id
from decnet.runtime import progress
from decnet.runtime.progress import Progress
from decnet.runtime.received import Received
from decnet.runtime.worker import Transaction
from tests.acceptance.test_log_file import settled
from tests.clockkit import in_skipped_time, now
from tests.cowriegen import lines
from tests.fault.growing import once
from tests.fault.outcome import sessions_in
from tests.fault.scene import keyed, url_of
from tests.integration.test_observation_wait import KNOWN, P, T, observed
from tests.natskit import PASSWORD, USER, nats_server
from tests.programkit import Daemon, daemon, listed, run_until_idle, until
from tests.unit.test_supervisor import Slow, make, start

STOPPED_S = max(6.0, 40.0 * float(os.environ.get("DECNET_FAULT_SCALE", "0")))
LINES = 4000


class Broken(Slow):
    """Never comes up."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.starts: list[float] = []

    async def start(self, repo: object, bus: object) -> None:
        self.starts.append(now() - 1001)
        raise RuntimeError("its file is gone")


class Picky(Slow):
    """Comes up and fails with every event."""

    async def handle(self, batch: Sequence[Received], tx: Transaction) -> None:
        raise ValueError("not this one")


@pytest.mark.fault(
    fault="a worker that raises for ever, at its start or at each event",
    guard="pauses that double up to a minute; its state in every heartbeat; a life of its own",
    control="mutant runtime-backoff-constant",
    figure="10 starts in 5 minutes, shown failed, and the others handle all",
)
@in_skipped_time
async def test_a_worker_that_fails_for_ever_backs_off_is_shown_and_disturbs_nobody() -> None:
    broken, well = Broken("recorder"), Slow("ttp")
    supervisor, bus, repo = make(broken, well, restart_backoff_s=1.0, heartbeat_s=10.0)
    await start(supervisor, bus)
    for number in range(100):
        await bus.publish("attacker.tested", {"n": number})
        await asyncio.sleep(3)
    assert 8 <= len(broken.starts) <= 10, broken.starts
    gaps = [later - sooner for sooner, later in zip(broken.starts, broken.starts[1:], strict=False)]
    assert gaps[:4] == pytest.approx([1, 2, 4, 8])
    assert max(gaps) <= 60
    beats = {beat["worker"]: beat["state"] for beat in repo.beats[-4:]}
    assert beats == {"recorder": "failed", "ttp": "ok"}
    assert supervisor.runners["recorder"].stats.restarts == len(broken.starts)
    assert supervisor.runners["ttp"].stats.processed == 101
    assert supervisor.runners["ttp"].stats.restarts == 0
    await supervisor.stop(0)


# --- signals


LISTS = ("sessions", "tags", "attackers")


def _log(folder: Path) -> Path:
    log = folder / "cowrie.json"
    log.write_text("".join(f"{line}\n" for line in lines(LINES, seed=31)), "utf-8")
    return log


@cache
def _calm() -> dict[str, set[str]]:
    """What an undisturbed engine makes of the log; found once."""
    with TemporaryDirectory() as folder:
        data = keyed(Path(folder) / "calm")
        return _worked_off(_log(Path(folder)), data)


def _worked_off(log: Path, data: Path) -> dict[str, set[str]]:
    done = run_until_idle(log, data, timeout=90)
    assert done.returncode == 0, done.stderr.decode()
    return {what: settled(listed(what, data)) for what in LISTS}


def _same_as_calm(log: Path, data: Path) -> None:
    """Everything is there that an undisturbed engine makes of the log, once."""
    found, calm = _worked_off(log, data), _calm()
    for what in LISTS:
        assert found[what] == calm[what], what
    assert listed("deadletters", data) == []


def _first_sessions(data: Path) -> None:
    once(lambda: sessions_in(url_of(data)), 6, 60)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.fault(
    fault="SIGTERM once, and twice, to an engine with its hands full",
    guard="the first lets batches end, the second cuts them; what is cut was not acknowledged",
    control="mutant runtime-ack-before-commit",
    figure="exit 0 within 20 s and 8 s; lost 0, doubled 0",
)
@pytest.mark.parametrize(("times", "limit"), [(1, 20.0), (2, 8.0)])
def test_an_engine_ends_when_it_is_asked_and_sooner_when_it_is_told(
    tmp_path: Path, times: int, limit: float
) -> None:
    log, data = _log(tmp_path), keyed(tmp_path / "data")
    with daemon(data, tmp_path / "log", "--sensor", f"cowrie={log}") as engine:
        _first_sessions(data)
        began = time.monotonic()
        for _ in range(times):
            engine.process.send_signal(signal.SIGTERM)
            time.sleep(0.15)
        assert engine.process.wait(30) == 0, engine.said()
        assert time.monotonic() - began < limit
        assert "Traceback" not in engine.said()
        assert not (data / "connection.json").exists()
    _same_as_calm(log, data)


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.soak
@pytest.mark.fault(
    fault="SIGSTOP for 40 s (a sixth of that in CI) and back, with leases, heartbeats and deliveries running out meanwhile",
    guard="derived ids; leases that are taken anew; a watchdog that counts looks and not seconds",
    control="mutant console-watchdog-at-full-time",
    figure="fed within its interval after 40 s of 60; lost 0, doubled 0",
)
def test_an_engine_that_was_stopped_goes_on(tmp_path: Path) -> None:
    log, data = _log(tmp_path), keyed(tmp_path / "data")
    config = tmp_path / "settings.yaml"
    brief = "runtime: {heartbeat_s: 1.5, lease_s: 3}\nbus: {ack_wait_s: 4}\n"  # all of it over meanwhile
    config.write_text(brief, "utf-8")
    interval = 1.5 * STOPPED_S  # as 60 s are to 40 s
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.settimeout(2 * interval)
        given = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": str(int(interval * 1e6))}
        words = ("--sensor", f"cowrie={log}", "--config", config)
        with daemon(data, tmp_path / "log", *words, surrounding=given) as engine:
            _first_sessions(data)
            _emptied(ear)
            _fed(ear)
            fed = time.monotonic()
            engine.process.send_signal(signal.SIGSTOP)
            _emptied(ear)
            time.sleep(STOPPED_S)
            engine.process.send_signal(signal.SIGCONT)
            _fed(ear)
            assert time.monotonic() - fed < interval, "systemd would have ended it"
            until(lambda: _well(engine), 60, "every worker ok")
            assert engine.process.poll() is None, engine.said()
            assert engine.stop() == 0, engine.said()
            assert "Traceback" not in engine.said()
    _same_as_calm(log, data)


def _emptied(ear: socket.socket) -> None:
    """What was sent before does not count."""
    patience = ear.gettimeout()
    ear.settimeout(0)
    with suppress(BlockingIOError):
        while True:
            ear.recv(1000)
    ear.settimeout(patience)


def _fed(ear: socket.socket) -> None:
    while ear.recv(1000) != b"WATCHDOG=1":
        continue


def _well(engine: Daemon) -> bool:
    states = {row["worker"]: row["status"] for row in listed("workers", engine.data_dir)}
    return bool(states) and set(states.values()) == {"ok"}


# --- progress


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Engine]:
    engine = Engine(
        load_settings(data_dir=folder / "data", bus={"type": "memory"}, runtime={"heartbeat_s": 0.3}, workers=("recorder", "attribution"))
    )  # fmt: skip
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop(0)


async def watched(engine: Engine, seconds: float) -> list[str]:
    """What the watchdog is told, every tenth of a second."""
    look, out = Progress(engine.supervisor), []
    for _ in range(int(seconds / 0.1)):
        out.append(look.standing(0.1))
        await asyncio.sleep(0.1)
    return out


@pytest.mark.fault(
    fault="a writer of the database that does not come back",
    guard="the watchdog is fed by heartbeats that are stored, not by a loop that turns",
    control="mutant runtime-standing-writer-is-progress",
    figure="not fed after 45 s (3 s here); fed again when it is back",
)
async def test_a_wedged_writer_is_no_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "WRITER_S", 3.0)
    async with running(tmp_path) as engine:
        assert set(await watched(engine, 1.0)) == {""}
        async with engine.repo.transaction():  # and nothing more
            told = await watched(engine, 4.5)
        assert "the writer of the database has not answered" in told[-1]
        assert told.index(next(filter(None, told))) >= 29
        await asyncio.sleep(1.0)
        assert (await watched(engine, 0.5))[-1] == ""


@pytest.mark.fault(
    fault="a database that somebody else locks for long",
    guard="a writer that gives up has answered: an engine is not begun anew for it",
    control="mutant runtime-locked-database-is-no-progress",
    figure="fed all the time",
)
async def test_a_database_that_somebody_locks_starts_no_engine_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another start would find it locked too."""
    monkeypatch.setattr(progress, "WRITER_S", 8.0)  # a writer gives up after five
    async with running(tmp_path) as engine:
        with closing(sqlite3.connect(tmp_path / "data" / "decnet.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            told = await watched(engine, 10.0)
            assert engine.supervisor.beats.not_stored > 0
            other.execute("ROLLBACK")
        assert set(told) == {""}


# --- what can never be handled


@pytest.mark.fault(
    fault="observations of attackers that nobody will ever know, more than a consumer may have open",
    guard="so many wait, the rest and those that waited too long are dead letters",
    control="mutant attribution-consumer-may-fill",
    figure="4 times as many as fit: what can be handled is handled meanwhile",
)
async def test_events_that_can_never_be_handled_do_not_fill_their_consumer(tmp_path: Path) -> None:
    open_at_once, topic = 50, f"attacker.observation.{P}"
    with nats_server(tmp_path / "nats") as url:
        settings = load_settings(
            data_dir=tmp_path / "data",
            bus={"url": url, "user": USER, "password": PASSWORD, "max_ack_pending": open_at_once},
            runtime={"heartbeat_s": 0.3, "batch_wait_s": 0.2},
            workers=("recorder", "attribution"),
        )
        engine = Engine(settings)
        await engine.start()
        try:
            await engine.bus.connect()
            events = [
                Event(topic, observed(f"198.51.100.{n}", f"late-{n}"), id=f"{n:032x}")
                for n in range(4 * open_at_once)
            ]
            await engine.bus.publish_events(events)
            await engine.bus.publish_events(
                [Event("attacker.observed", {"attacker_ip": KNOWN, "first_seen": T}, id="a" * 32)]
            )
            await engine.bus.publish_events([Event(topic, observed(KNOWN, "known"), id="b" * 32)])
            async with asyncio.timeout(90):
                while not await engine.repo.get_attribution_state(identity_id(attacker_id(KNOWN)), P):
                    await asyncio.sleep(0.1)
            letters = [
                row for row in await engine.repo.dead_letters(limit=0) if row["worker"] == "attribution"
            ]
            assert len(letters) >= 3 * open_at_once
            assert all("its attacker is unknown" in row["reason"] for row in letters)
            assert engine.supervisor.runners["attribution"].worker.health()["waiting"] <= open_at_once // 2
        finally:
            await engine.stop(1.0)
