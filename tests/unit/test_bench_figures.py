"""``bench``: what it measures with is the same every time, and a figure says how it stands to its floor and its bar."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from decnet_tui.bench import floors, made
from decnet_tui.bench.figures import BARS, Bench
from decnet_tui.cli.bench import line_of


def test_the_log_is_the_same_every_time_and_every_session_is_whole() -> None:
    lines = list(made.log_lines(20))
    assert lines == list(made.log_lines(20)) != list(made.log_lines(20, seed=1))
    records = [json.loads(line) for line in lines]
    assert len(records) == 20 * made.LINES
    assert len({record["session"] for record in records}) == 20
    commands = [record for record in records if record["eventid"] == "cowrie.command.input"]
    assert len(commands) == 20 * made.COMMANDS == 200
    assert [record["timestamp"] for record in records] == sorted(record["timestamp"] for record in records)


def test_programs_play_what_they_have_again_and_again() -> None:
    def played(lines: list[str]) -> set[tuple[str, ...]]:
        inputs: dict[str, list[str]] = {}
        for record in map(json.loads, lines):
            inputs.setdefault(record["session"], []).append(record.get("input", ""))
        assert len(inputs) == 60
        return {tuple(some) for some in inputs.values()}

    assert len(played(list(made.log_lines(60)))) == 60
    assert len(played(list(made.log_lines(60, scripts=3)))) == 3


def test_distinct_lines_are_distinct_and_usual_ones_come_again() -> None:
    assert len(set(made.distinct_commands(5_000))) == 5_000
    assert len(set(made.usual_commands(5_000))) < 500


@pytest.mark.parametrize(
    ("name", "value", "unit", "met"),
    [
        ("sessions, all workers", 250.0, "/s", True),
        ("sessions, all workers", 249.9, "/s", False),
        ("start of tag", 0.5, "s", True),
        ("start of tag", 0.51, "s", False),
        ("floor: rows into SQLite", 1.0, "/s", None),
    ],
)
def test_a_bar_is_met_or_not(tmp_path: Path, name: str, value: float, unit: str, met: bool | None) -> None:
    row = Bench(tmp_path, 1, 1, 1)._figure(name, value, unit)
    assert (row["met"], row["floor"], row["ratio"]) == (met, None, None)
    assert line_of(row).endswith((" <", " >")) == (met is False)


def test_a_ratio_says_how_many_times_slower_or_larger_than_the_floor(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 1, 1, 1)
    bench.floors = {"rate": (1_000.0, "decode"), "size": (200.0, "the line")}
    rate, size = bench._figure("a", 250.0, "/s", "rate"), bench._figure("b", 500.0, "bytes", "size")
    assert (rate["ratio"], rate["floor"], rate["floor_value"]) == (4.0, "decode", 1_000.0)
    assert size["ratio"] == 2.5
    assert line_of(rate).split() == ["a", "250", "/s", "1,000", "4.0"]


def test_floors_do_what_they_say(tmp_path: Path) -> None:
    log = tmp_path / "cowrie.json"
    log.write_text("".join(f"{line}\n" for line in made.log_lines(100)), "utf-8")
    assert floors.decoded_and_inserted(log, tmp_path) > 1_000
    assert floors.rows_written(tmp_path, 2_500) > 1_000
    assert floors.lines_answered(list(made.usual_commands(2_000))) > 1_000
    assert 0 < floors.bare_start() < 10


def test_every_bar_is_of_a_figure_that_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, 2, 10, 3)
    ran = {"start_s": 0.1, "seconds": 2.0, "sessions": 2, "tags": 4, "rss_mb": 90.0, "disk_bytes": 3_000}
    monkeypatch.setattr(bench, "_ran", lambda log, workers: setattr(bench, "data", log) or ran)
    monkeypatch.setattr("decnet_tui.bench.figures.messages_a_second", _nothing)
    monkeypatch.setattr("decnet_tui.bench.figures._seconds", lambda *_: 0.25)
    rows = {row["figure"]: row for row in bench.figures()}
    assert BARS.keys() <= rows.keys()
    assert rows["sessions, all workers"]["value"] == 1.0
    assert rows["disk a line, three workers"]["value"] == 3_000 / (2 * made.LINES)
    monkeypatch.setattr(bench, "_ran", lambda log, workers: {**ran, "sessions": 1})
    with pytest.raises(RuntimeError, match="1 sessions were stored of 2"):
        list(bench.figures())


async def _nothing(folder: Path, count: int) -> float:
    return 1.0
