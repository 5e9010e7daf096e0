"""``workers``: what each heartbeat means now, in text and JSON, with a database that takes nothing."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from decnet.db.repository import BaseRepository
from decnet_tui.cli.main import app
from decnet_tui.cli.workers import worker_rows
from tests.dbkit import migrated

NOW = 1_000_000.0
TROUBLE = "the database is locked by process 7 (x)"


def beat(worker: str, state: str = "ok", age: float = 1.0, **more: Any) -> dict[str, Any]:
    return {
        "worker": worker,
        "state": state,
        "ts": NOW - age,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        **more,
    }


def statuses(*beats: dict[str, Any], trouble: str = TROUBLE) -> dict[str, str]:
    return {row["worker"]: row["status"] for row in worker_rows(beats, trouble, NOW, 10.0)}


def test_who_runs_waits_for_a_database_that_is_locked_however_old_its_last_row_is() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    found = statuses(
        beat("ttp"), beat("behave", age=500.0), beat("recorder", "stopped"), beat("mutator", "paused"),
        beat("attribution", pid=gone.pid), beat("bus"), beat("database"),
    )  # fmt: skip
    assert found == {
        "database": "locked", "ttp": "waiting_for_database", "behave": "waiting_for_database", "recorder": "stopped",
        "mutator": "paused", "attribution": "stale", "bus": "ok",
    }  # fmt: skip


def test_without_trouble_the_heartbeats_are_as_reported() -> None:
    assert statuses(beat("ttp"), beat("database"), beat("bus", age=31.0), trouble="") == {
        "ttp": "ok", "database": "ok", "bus": "stale",
    }  # fmt: skip
    (row,) = worker_rows([beat("ttp", age=2.26)], "", NOW, 10.0)
    assert row["age_s"] == 2.3


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    async def fill() -> None:
        repo = await BaseRepository.open(await migrated(tmp_path / "decnet.sqlite"))
        payload = beat("ttp") | {
            "ts": time.time(),
            "lines_refused": 3,
            "views_capped": 0,
            "novel_figure": 4,
            "evil": "\x1b[2J",
        }
        await repo.heartbeats_write({"ttp": payload})
        await repo.close()

    asyncio.run(fill())
    return tmp_path


def test_text_tells_what_is_more_than_nothing_and_json_has_all(data_dir: Path) -> None:
    text = CliRunner().invoke(app, ["workers", "--data-dir", str(data_dir)]).stdout
    assert "3 lines refused" in text
    assert "novel figure 4" in text, "what nobody has put into words is not hidden"
    assert "readings" not in text
    assert "\x1b" not in text
    (row,) = json.loads(CliRunner().invoke(app, ["workers", "--json", "--data-dir", str(data_dir)]).stdout)
    assert (row["lines_refused"], row["views_capped"], row["novel_figure"], row["status"]) == (3, 0, 4, "ok")
