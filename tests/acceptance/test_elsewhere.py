"""Nothing of our own: an external NATS server with a password and a PostgreSQL database."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from decnet.bus.base import Event
from decnet.bus.nats.connection import NatsBus
from decnet.config import BusSettings
from decnet.db.repository import BaseRepository
from decnet.keyed import load_key
from decnet.ttp.worker import run_ttp_worker_loop
from tests.acceptance.test_log_file import settled
from tests.cowriegen import write_log
from tests.dbkit import database_url
from tests.natskit import PASSWORD, USER, nats_server
from tests.programkit import PROGRAM, cli, daemon, listed, run_until_idle, surroundings, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
LISTS = ("sessions", "tags", "attackers")
STOP_S = 10.0
"""Ten times the second in which the worker ends when asked."""


def _rows(what: str, *where: str | Path) -> list[dict[str, object]]:
    done = cli(what, "--json", "--limit", "0", *where)
    assert done.returncode == 0, done.stderr.decode()
    rows: list[dict[str, object]] = json.loads(done.stdout)
    return rows


async def test_the_engine_on_an_external_bus_and_database_gives_the_same_rows(tmp_path: Path) -> None:
    log, own = tmp_path / "cowrie.json", tmp_path / "own"
    write_log(log, 600, seed=3)
    load_key(own)
    shutil.copytree(own, tmp_path / "there")  # ids of credentials are made with the key of the data directory
    assert (await asyncio.to_thread(run_until_idle, log, own, timeout=90)).returncode == 0
    config = tmp_path / "settings.yaml"
    config.write_text(f"bus: {{user: {USER}, password: {PASSWORD}}}\n", "utf-8")
    with nats_server(tmp_path / "nats") as bus_url:
        async with database_url("postgresql", tmp_path) as db_url:
            given = ("--config", config, "--bus", bus_url, "--db", db_url, "--data-dir", tmp_path / "there")
            done = await asyncio.to_thread(
                cli, "--headless", "--sensor", f"cowrie={log}", "--until-idle", "1", *given, timeout=120
            )
            assert done.returncode == 0, done.stderr.decode()[-2000:]
            left = [path.name for path in (tmp_path / "there" / "bus").iterdir()]
            assert left == ["lock"], "a server of our own was started"
            for what in LISTS:
                there = await asyncio.to_thread(_rows, what, "--db", db_url)
                here = await asyncio.to_thread(_rows, what, "--data-dir", own)
                assert here
                assert settled(there) == settled(here), what


async def test_the_ttp_worker_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECNET_DATA_DIR", str(tmp_path))
    settings = BusSettings(user=USER, password=PASSWORD, connect_timeout_s=2.0)
    async with database_url("postgresql", tmp_path) as db_url:
        repo = await BaseRepository.open(db_url)
        shutdown = asyncio.Event()
        with nats_server(tmp_path / "nats") as bus_url:
            feed, bus = (NatsBus(bus_url, settings=settings) for _ in range(2))
            await feed.connect()
            alone = asyncio.create_task(run_ttp_worker_loop(repo, bus=bus, shutdown=shutdown))
            commands = [{"id": "c1", "command_text": "crontab -l", "ts": 1.0}]
            payload = {
                "session_id": "s1",
                "attacker_ip": "203.0.113.1",
                "ended_at": 2.0,
                "commands": commands,
            }
            await feed.publish_events([Event("attacker.session.ended", payload)])
            await _until(lambda: _tagged(repo))
            shutdown.set()
            await asyncio.wait_for(alone, STOP_S)
            await feed.close()
            await bus.close()
        await repo.close()


async def test_the_ttp_worker_alone_says_that_there_is_no_bus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECNET_DATA_DIR", str(tmp_path))
    async with database_url("postgresql", tmp_path) as db_url:
        repo = await BaseRepository.open(db_url)
        bus = NatsBus("nats://127.0.0.1:1", settings=BusSettings(connect_timeout_s=1.0))
        alone = asyncio.create_task(run_ttp_worker_loop(repo, bus=bus))
        await _until(lambda: _waiting(repo))
        alone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(alone, STOP_S)
        await bus.close()
        await repo.close()


async def _until(look) -> None:  # type: ignore[no-untyped-def]
    async with asyncio.timeout(60):
        while not await look():
            await asyncio.sleep(0.05)


async def _tagged(repo: BaseRepository) -> bool:
    return "T1007" in {row["technique_id"] for row in await repo.list_tags()}


async def _waiting(repo: BaseRepository) -> bool:
    return any(row["payload"]["state"] == "waiting_for_bus" for row in await repo.heartbeats())


def test_commands_find_an_external_bus_through_the_connection_file(tmp_path: Path) -> None:
    """The password was given to the engine; who may read its 0600 file needs no second one."""
    log, data = tmp_path / "cowrie.json", tmp_path / "data"
    write_log(log, 60, seed=3)
    config = tmp_path / "settings.yaml"
    config.write_text(f"bus: {{user: {USER}, password: {PASSWORD}}}\n", "utf-8")
    with nats_server(tmp_path / "nats") as url:
        with daemon(
            data, tmp_path / "engine.log", "--bus", url, "--config", config, "--sensor", f"cowrie={log}"
        ):
            until(lambda: listed("sessions", data), 30, "a session")
            watch = [PROGRAM, "watch", "attacker.>", "--last", "3", "--json", "--data-dir", str(data)]
            with subprocess.Popen(watch, stdout=subprocess.PIPE, env=surroundings()) as watching:
                assert watching.stdout is not None
                topics = [json.loads(watching.stdout.readline())["topic"] for _ in range(3)]
                watching.send_signal(signal.SIGINT)
            assert all(topic.startswith("attacker.") for topic in topics)
        assert PASSWORD not in (tmp_path / "engine.log").read_text("utf-8")
