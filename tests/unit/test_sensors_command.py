"""What ``sensors`` says of a heartbeat, as rows and as text; every bound that bites has its words there and in the console."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from decnet.config import SensorSpec, Settings
from decnet.sensors.files.checkpoint import FileStore
from decnet.sensors.run import SensorRun
from decnet.sensors.worker import SensorsWorker
from decnet_tui.cli import sensors
from decnet_tui.model.figures import LOSS, TROUBLE, WORK
from tests.unit.test_passed_over import Bus

NOW = 1_700_000_000.0
WHEN = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
CHANGES = [
    {"what": "truncated", "path": "/l/cowrie.json", "ts": NOW, "unread_bytes": 7},
    {"what": "rotated (renamed)", "path": "/l/cowrie.json", "ts": NOW, "to": "/l/cowrie.json.1"},
]


def row(**given: Any) -> dict[str, Any]:
    (made,) = sensors.rows_of({"state": "ok", "ts": NOW, "sensors": [{"path": "/l", **given}]}, NOW, 10.0)
    return made


def test_a_row_has_every_figure_of_a_sensor(tmp_path: Path) -> None:
    """A figure that is added to a sensor and not to its row would stay unseen."""
    spec = SensorSpec(kind="cowrie", path=tmp_path)
    run = SensorRun(spec, Settings(data_dir=tmp_path), b"k", Bus(), FileStore(tmp_path))  # type: ignore[arg-type]
    assert set(run.status()) - set(sensors.KEYS) == {"age", "last_line_ts"}
    assert set(sensors.KEYS) - set(run.status()) == {"age_s", "last_line"}


def test_every_count_of_a_sensor_has_its_words_here_and_in_the_console(tmp_path: Path) -> None:
    spec = SensorSpec(kind="cowrie", path=tmp_path)
    run = SensorRun(spec, Settings(data_dir=tmp_path), b"k", Bus(), FileStore(tmp_path))  # type: ignore[arg-type]
    plain = {"files", "bytes_behind", "lines", "refused", "published", "passed_over_count", "open_sessions"}
    counts = {key for key, value in run.status().items() if isinstance(value, int)} - plain
    words = LOSS.keys() | TROUBLE.keys() | WORK.keys()
    assert counts <= words
    health = SensorsWorker(Settings(data_dir=tmp_path)).health()
    plain = {"processed", "lag", "files", "bytes_behind", "lines_read", "lines_refused", "events_published"}
    assert {key for key, value in health.items() if isinstance(value, int)} - plain <= words


def test_changes_have_their_times(tmp_path: Path) -> None:
    made = row(changes=[*CHANGES, "odd", {"what": "x"}], rotations=1, truncations=1)
    assert [change["ts"] for change in made["changes"]] == [WHEN, WHEN]
    assert (made["rotations"], made["truncations"]) == (1, 1)
    assert sensors._more(made) == [
        "1 truncation, 1 rotation",
        "truncated at 2023-11-14 22:13:20 UTC: /l/cowrie.json, 7 bytes had not been read",
        "rotated (renamed) at 2023-11-14 22:13:20 UTC: /l/cowrie.json to /l/cowrie.json.1",
    ]


def test_files_that_are_not_read_are_named_up_to_a_number() -> None:
    assert sensors.NAMED == 20
    passed = {f"/l/{i}": "empty" for i in range(25)}
    said = sensors._more(row(passed_over=passed, passed_over_count=60))
    assert said[:20] == [f"not read: /l/{i}: empty" for i in range(20)]
    assert said[20:] == ["not read: 40 more files"]
    few = sensors._more(row(passed_over={"/l/a": "binary"}, passed_over_count=1))
    assert few == ["not read: /l/a: binary"]


def test_unknown_kinds_stale_files_and_what_holds_it_up_are_told() -> None:
    made = row(
        unknown=2, unknown_ids={"cowrie.new": 2}, stale={"/l/a": 7200.0}, last_refusal="/l:3: not_json",
        waiting="checkpoint not saved: Permission denied", reasons={"not_json": 1}, problems={"/l": "missing"},
    )  # fmt: skip
    assert sensors._more(made) == [
        "2 lines of an unknown kind", "kinds not known: cowrie.new 2", "last line refused: /l:3: not_json",
        "has not grown for 2h00m: /l/a",
    ]  # fmt: skip
    assert sensors._why(made) == "checkpoint not saved: Permission denied; not_json 1; missing"


@pytest.mark.parametrize("odd", [None, 7, "x", ["x"], {"a": None}])
def test_heartbeats_of_other_versions_are_shown_as_far_as_they_go(odd: Any) -> None:
    keys = (
        "changes",
        "passed_over",
        "passed_over_count",
        "stale",
        "unknown_ids",
        "rotations",
        "reasons",
        "problems",
    )
    for key in keys:
        if key == "stale" and isinstance(odd, dict):
            continue
        sensors._more(row(**{key: odd}))
        sensors._why(row(**{key: odd}))
    json.dumps(row(changes=odd), default=str)


async def test_a_checkpoint_that_cannot_be_written_is_named_in_health(tmp_path: Path) -> None:
    (tmp_path / "cowrie.json").write_bytes(b'{"eventid": "x"}\n')
    spec = SensorSpec(kind="cowrie", path=tmp_path / "cowrie.json")
    folder = FileStore(tmp_path / "s")
    worker = SensorsWorker(Settings(data_dir=tmp_path / "d", sensors=(spec,)), folder)
    await worker.start(None, Bus())  # type: ignore[arg-type]
    (tmp_path / "s").write_bytes(b"")
    folder._load = lambda _path: None  # type: ignore[method-assign,assignment,misc]
    await worker.runs[0].step()
    assert "checkpoint not saved" in worker.health()["degraded"]
    assert not worker.at_end()
    (tmp_path / "s").unlink()
    await worker.runs[0].step()
    assert (worker.health()["degraded"], worker.at_end()) == ("", True)
