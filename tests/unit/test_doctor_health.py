"""``doctor`` asks the workers: states that are not well, sensors, what was lost; an engine that stopped has nothing to say."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from decnet.db.repository import BaseRepository
from decnet_tui.cli.main import app
from tests.dbkit import migrated


def found(data_dir: Path, *beats: dict[str, Any], check: str = "health") -> tuple[str, str]:
    async def fill() -> None:
        repo = await BaseRepository.open(await migrated(data_dir / "decnet.sqlite"))
        for beat in beats:
            await repo.heartbeats_write({beat["worker"]: {"state": "ok", "ts": time.time(), **beat}})
        await repo.close()

    asyncio.run(fill())
    done = CliRunner().invoke(app, ["doctor", "--json", "--data-dir", str(data_dir)])
    (row,) = [row for row in json.loads(done.stdout) if row["check"] == check]
    return row["result"], row["detail"]


MISSING = {"kind": "cowrie", "path": "/l", "state": "missing"}


@pytest.mark.parametrize(
    ("beats", "result", "words"),
    [
        ([], "ok", "no engine runs"),
        ([{"worker": "ttp", "state": "stopped", "facts_capped": 3}], "ok", "no engine runs"),
        ([{"worker": "ttp"}, {"worker": "bus"}], "ok", "every worker is well, nothing was lost"),
        (
            [{"worker": "ttp", "state": "waiting_for_rules", "note": "no rules yet"}],
            "FAIL",
            "ttp is waiting_for_rules: no rules yet",
        ),
        ([{"worker": "ttp", "ts": 1.0}], "WARN", "ttp is stale"),
        ([{"worker": "sensors", "sensors": [MISSING]}], "WARN", "sensor /l is missing"),
        ([{"worker": "sensors", "lines_refused": 2}], "WARN", "sensors: 2 lines refused"),
    ],
)
def test_what_the_workers_say(tmp_path: Path, beats: list[dict[str, Any]], result: str, words: str) -> None:
    said = found(tmp_path, *beats)
    assert said[0] == result
    assert words in said[1]


READ = {"kind": "cowrie", "path": "/l", "state": "ok"}


@pytest.mark.parametrize(
    ("more", "result", "words"),
    [
        ({}, "ok", "none in the settings; the engine that runs reads cowrie=/l"),
        ({"ts": 1.0}, "WARN", "none configured"),
        ({"state": "stopped"}, "WARN", "none configured"),
        ({"sensors": []}, "WARN", "none configured"),
    ],
)
def test_sensors_that_an_engine_was_started_with_are_not_missed(
    tmp_path: Path, more: dict[str, Any], result: str, words: str
) -> None:
    said = found(tmp_path, {"worker": "sensors", "sensors": [READ], **more}, check="sensors")
    assert said[0] == result
    assert words in said[1]
