"""Remote sensors in ``workers``, ``sensors`` and ``doctor``, and which names ``worker`` takes."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from decnet.bus.remote import is_remote
from decnet.db.repository import BaseRepository
from decnet.runtime.health import WorkerStats, health_payload
from decnet.sensors.remote import RemoteIntake, Seen
from decnet_tui.cli.main import app
from tests.dbkit import migrated


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    asyncio.run(_fill(tmp_path))
    return tmp_path


async def _fill(place: Path) -> None:
    """East works and was refused three events; west has not been heard of for five minutes."""
    now, intake = time.time(), RemoteIntake(60.0)
    intake.seen["east"] = Seen(
        7, now - 5.0, now, Counter(owner=3), "attacker.observed: decky d is not its own"
    )
    intake.seen["west"] = Seen(2, now - 400.0, now - 300.0)
    extra = {**intake.figures(), "sensors": intake.rows()}
    repo = await BaseRepository.open(await migrated(place / "decnet.sqlite"))
    await repo.heartbeats_write({"sensors": health_payload("sensors", "ok", WorkerStats(), extra)})
    for name, age in (("sensor-east", 1.0), ("sensor-west", 300.0)):
        await repo.heartbeats_write({name: {"worker": name, "state": "ok", "ts": now - age, "lines_read": 5}})
    await repo.close()


def asked(data_dir: Path, *command: str) -> str:
    return CliRunner().invoke(app, [*command, "--data-dir", str(data_dir)]).stdout


def test_workers_has_each_with_its_state(data_dir: Path) -> None:
    rows = {row["worker"]: row for row in json.loads(asked(data_dir, "workers", "--json"))}
    assert (rows["sensor-east"]["status"], rows["sensor-west"]["status"]) == ("ok", "stale")
    assert rows["sensors"]["remote_refused"] == 3
    assert "3 events of remote sensors refused" in asked(data_dir, "workers")


def test_sensors_has_each_with_its_last_event_and_what_was_refused(data_dir: Path) -> None:
    rows = {row["path"]: row for row in json.loads(asked(data_dir, "sensors", "--json"))}
    east, west = rows["sensor.east.>"], rows["sensor.west.>"]
    assert (east["kind"], east["state"], east["lines"], east["refused"]) == ("remote", "ok", 7, 3)
    assert (east["reasons"], east["last_refusal"]) == (
        {"owner": 3},
        "attacker.observed: decky d is not its own",
    )
    assert 5.0 <= east["age_s"] < 60.0
    assert west["state"] == "silent"


def test_doctor_names_who_is_silent_and_what_was_refused(data_dir: Path) -> None:
    rows = json.loads(asked(data_dir, "doctor", "--json"))
    (health,) = (row for row in rows if row["check"] == "health")
    assert health["result"] == "WARN"
    for said in (
        "sensor-west is stale",
        "sensor sensor.west.> is silent",
        "3 events of remote sensors refused",
    ):
        assert said in health["detail"]
    assert "sensor-east" not in health["detail"]


@pytest.mark.parametrize(
    ("name", "known"),
    [("sensor-east", True), ("sensor-" + "a" * 40, True), ("sensor-", False), ("sensor-" + "a" * 41, False), ("sensor-a.b", False), ("east", False)],
)  # fmt: skip
def test_worker_steers_a_remote_sensor_by_its_name(tmp_path: Path, name: str, known: bool) -> None:
    assert is_remote(name) is known
    done = CliRunner().invoke(app, ["worker", "pause", name, "--data-dir", str(tmp_path)])
    assert done.exit_code == (1 if known else 2), done.output
    assert ("no engine runs" in done.output) is known
