"""Case 26: `tags` speaks of when the attacker did it, in the order, in ``--since``, in text, JSON and exports."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from decnet.config import load_settings
from decnet.engine import Engine
from decnet_tui.cli.main import app

CASE = Path(__file__).parent.parent / "fixtures" / "cases" / "26-tags-time.json"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory of an engine that has read the log of 2017 today."""
    place = tmp_path_factory.mktemp("old-log")
    settings = load_settings(
        data_dir=place,
        bus={"type": "memory"},
        workers=("sensors", "recorder", "ttp"),
        ttp_rule_store_type="filesystem",
        sensors=[{"kind": "cowrie", "path": str(CASE)}],
    )
    engine = Engine(settings)
    await engine.start()
    try:
        assert await engine.until_idle(0.4) is None
    finally:
        await engine.stop(5.0)
    return place


def run(data_dir: Path, *arguments: str) -> str:
    done = CliRunner().invoke(app, [*arguments, "--data-dir", str(data_dir)])
    assert done.exit_code == 0, done.output
    return done.stdout


def rows(data_dir: Path, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(data_dir, "tags", "--limit", "0", "--json", *arguments))
    return found


def summary(data_dir: Path, since: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(data_dir, "summary", "--since", since, "--json"))
    return found


def test_a_tag_is_seen_when_its_command_was_typed(data_dir: Path) -> None:
    commands = {
        (row["attacker_ip"], row["technique_id"]): row["seen_at"]
        for row in rows(data_dir)
        if row["source_kind"] == "command"
    }
    assert commands["192.0.2.70", "T1105"] == "2017-01-16T10:00:02+00:00"
    assert {ts for (ip, _), ts in commands.items() if ip == "192.0.2.71"} == {"2017-01-16T12:00:02+00:00"}
    assert {ts for (ip, _), ts in commands.items() if ip == "192.0.2.72"} == {
        "2017-01-18T12:00:02+00:00",
        "2017-01-18T12:00:03+00:00",
    }


def test_the_newest_deed_comes_first_with_the_time_of_tagging_beside_it(data_dir: Path) -> None:
    found = rows(data_dir)
    assert [row["seen_at"] for row in found] == sorted((row["seen_at"] for row in found), reverse=True)
    assert {datetime.fromisoformat(row["created_at"]).year for row in found} == {datetime.now(UTC).year}
    assert {row["seen_at"][:4] for row in found} == {"2017"}
    text = run(data_dir, "tags")
    assert text.split()[:2] == ["seen_at", "created_at"]
    assert text.splitlines()[1].startswith("2017-01-18 12:00:0")


def test_since_means_when_the_attacker_did_it(data_dir: Path) -> None:
    assert rows(data_dir, "--since", "1h") == []
    assert {row["attacker_ip"] for row in rows(data_dir, "--since", "2017-01-17")} == {"192.0.2.72"}
    at = rows(data_dir, "--since", "2017-01-18T12:00:03Z")
    assert {row["seen_at"] for row in at} == {"2017-01-18T12:00:03+00:00"}
    assert "nothing matches" in run(data_dir, "tags", "--since", "1h")


def test_exports_and_the_summary_agree(data_dir: Path, tmp_path: Path) -> None:
    run(data_dir, "export", "jsonl", "-o", str(tmp_path / "all.jsonl"))
    exported = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert {r["uuid"]: r["seen_at"] for r in exported} == {r["uuid"]: r["seen_at"] for r in rows(data_dir)}
    run(data_dir, "export", "csv", "--since", "24h", "-o", str(tmp_path / "new.csv"))
    assert len((tmp_path / "new.csv").read_text().splitlines()) == 1, "the header only"
    day = summary(data_dir, "24h")
    assert (day["read_first"], day["new_in_history"]["techniques"]) == ([], [])
    then = summary(data_dir, "2017-01-18")
    assert [one["attacker_ip"] for one in then["read_first"]] == ["192.0.2.72"]
    new = {one["technique"]: one["first_seen"] for one in then["new_in_history"]["techniques"]}
    assert new == {"T1033": "2017-01-18T12:00:02+00:00", "T1082": "2017-01-18T12:00:03+00:00"}
