"""The commands that share the console's reducers and changes: summary, sensors, deadletters, worker, --attach."""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from decnet.db.repository import BaseRepository
from decnet.ids import attacker_id
from decnet_tui.cli import common
from decnet_tui.cli.main import app
from decnet_tui.launch import console
from decnet_tui.model.status import Status
from tests.integration.test_console_flows import IP, filled

SENSORS = [
    {
        "kind": "cowrie",
        "path": "/var/log/c.json",
        "state": "missing",
        "age": None,
        "refused": 2,
        "reasons": {"bad json": 2},
    }
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    async def fill() -> None:
        repo = await BaseRepository.open(f"sqlite:///{tmp_path / 'decnet.sqlite'}")
        await filled(repo, time.time())
        await repo.heartbeats_write({"sensors": {"state": "ok", "ts": time.time(), "sensors": SENSORS}})

        await repo.close()

    asyncio.run(fill())
    return tmp_path


async def _engine_beats(data: Path) -> None:
    """An engine runs that keeps its rules in the database."""
    repo = await BaseRepository.open(f"sqlite:///{data / 'decnet.sqlite'}")
    await repo.heartbeats_write({"ttp": {"state": "ok", "ts": time.time(), "rule_store": "database"}})
    await repo.close()


def run(*arguments: str | Path, code: int = 0) -> str:
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == code, done.output
    return done.output


def test_summary_tells_what_the_first_view_tells(data: Path) -> None:
    asyncio.run(_engine_beats(data))
    text = run("summary", "--data-dir", data)
    for word in (
        "sources 1   sessions 1",
        "READ FIRST: 1 of 1 shown",
        IP,
        "not judged yet",
        "rule R0002 failed to load",
        "sensor /var/log/c.json is missing",
    ):
        assert word in text
    found = json.loads(run("summary", "--json", "--data-dir", data))
    assert set(found) == {"span", "totals", "read_first", "new_in_history", "needs_you", "since_before"}
    assert (found["read_first"][0]["attacker_ip"], found["read_first"][0]["session_id"]) == (IP, "s1")
    assert {need["kind"] for need in found["needs_you"]} == {"rules", "workers"}
    assert "no source in this span" in run("summary", "--since", "1s", "--data-dir", data)
    assert "the whole day (UTC)" in run("summary", "--day", "yesterday", "--data-dir", data)
    run("summary", "--day", "nonsense", "--data-dir", data, code=2)
    assert "everything" in run("summary", "--since", "all", "--data-dir", data)
    run("summary", "--since", "nonsense", "--data-dir", data, code=2)


def test_status_is_one_screen_and_its_exit_code_tells_whether_somebody_is_needed(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = run("status", "--data-dir", data, code=1)
    assert "none runs here" in text
    assert "! no engine runs on this data directory" in text
    monkeypatch.setattr(common, "reach", lambda settings: (settings, SimpleNamespace(pid=7)))
    asyncio.run(_engine_beats(data))
    text = run("status", "--data-dir", data, code=1)
    for word in (
        "runs, pid 7",
        "sensor /var/log/c.json is missing, last line -",
        "1 dead letter",
        "rule R0002: R0002.yaml:3:1",
    ):
        assert word in text
    found = json.loads(run("status", "--json", "--data-dir", data, code=1))
    assert found["engine"] == {"running": True, "pid": 7}
    assert (found["dead_letters"], found["alerts_open"], len(found["rules_failed"])) == (1, 0, 1)
    assert len(found["needs_you"]) == 3


def test_where_all_is_well_status_says_so() -> None:
    well = Status(
        7,
        [{"worker": "bus", "status": "ok"}, {"worker": "ttp", "status": "paused"}],
        [{"state": "ok"}],
        [],
        0,
        [],
    )
    assert (well.needs(), well.lines()[-1]) == ([], "nothing needs you")
    for worse in (replace(well, alerts=["203.0.113.7"]), replace(well, pid=None), replace(well, dead_letters=2),
                  replace(well, workers=[{"worker": "ttp", "status": "stale", "note": "x"}])):  # fmt: skip
        assert len(worse.needs()) == 1
        assert "needs you:" in worse.lines()


def test_a_lists_name_and_its_list_are_the_same_and_days_have_names(data: Path) -> None:
    assert run("alerts", "list", "--data-dir", data) == run("alerts", "--data-dir", data)
    assert len(json.loads(run("sessions", "list", "--since", "yesterday", "--json", "--data-dir", data))) == 1
    assert run("summary", "--since", "yesterday", "--data-dir", data).startswith("since ")
    run("tags", "--since", "2026-02-30", "--data-dir", data, code=2)


def test_an_attacker_is_meant_by_the_beginning_of_its_id_as_lists_show_it(data: Path) -> None:
    short = attacker_id(IP)[:8]
    assert IP in run("attacker", short, "--data-dir", data)
    assert len(json.loads(run("sessions", "--attacker", short, "--json", "--data-dir", data))) == 1
    assert json.loads(run("sessions", "--attacker", "00000000", "--json", "--data-dir", data)) == []
    run("attacker", short[:5], "--data-dir", data, code=1)


def test_hits_that_are_not_listed_are_counted(data: Path) -> None:
    async def more() -> None:
        repo = await BaseRepository.open(f"sqlite:///{data / 'decnet.sqlite'}")
        await repo.insert_commands("s1", [{"id": "c2", "command_text": "cat x", "ts": time.time()}])
        await repo.close()

    asyncio.run(more())
    assert "the newest 1 of 2 hits; --limit 0 shows all" in run(
        "find", "x", "--limit", "1", "--data-dir", data
    )
    assert "hits" not in run("find", "x", "--limit", "2", "--data-dir", data)


def test_sensors_says_what_is_refused_and_why(data: Path) -> None:
    assert "bad json 2" in run("sensors", "--data-dir", data)
    (row,) = json.loads(run("sensors", "--json", "--data-dir", data))
    assert (row["state"], row["refused"], row["age_s"], row["last_line"]) == ("missing", 2, None, None)


def test_ages_are_told_as_people_do(data: Path) -> None:
    async def beat() -> None:
        repo = await BaseRepository.open(f"sqlite:///{data / 'decnet.sqlite'}")
        sensor = {**SENSORS[0], "state": "ok", "last_line_ts": time.time() - 192}
        beat = {"worker": "sensors", "state": "ok", "ts": time.time() - 192, "sensors": [sensor]}
        await repo.heartbeats_write({"sensors": beat})
        await repo.close()

    asyncio.run(beat())
    for command in ("sensors", "workers"):
        assert re.search(r" 3m1[2-9]s ago ", run(command, "--data-dir", data)), command
        (row,) = json.loads(run(command, "--json", "--data-dir", data))
        assert 192 <= row["age_s"] < 200


def test_alerts_are_told_by_address_and_a_short_id(data: Path) -> None:
    identity = "7c1e9a02-0000-0000-0000-000000000000"

    async def suspect() -> None:
        repo = await BaseRepository.open(f"sqlite:///{data / 'decnet.sqlite'}")
        await repo.raise_alert({"identity_uuid": identity, "attacker_uuids": [attacker_id(IP), attacker_id("192.0.2.77")],
                                "sides": [["s1"], ["s2"]], "families": ["client"], "primitives": [], "confidence": 0.6,
                                "explanation": {}, "ts": time.time()})  # fmt: skip
        await repo.close()

    asyncio.run(suspect())
    (row,) = json.loads(run("alerts", "--json", "--data-dir", data))
    assert (row["identity_uuid"], "actor" in row) == (identity, False)
    listed, shown, told = run("alerts", "--data-dir", data), run("alerts", "show", row["alert_id"], "--data-dir", data), run("summary", "--data-dir", data)  # fmt: skip
    assert IP in listed
    assert "7c1e9a02 " in listed
    assert identity not in listed
    assert row["alert_id"] in listed
    assert f"{IP}  identity {identity}" in shown
    assert f"{IP} id:7c1e9a02 perhaps several operators, client" in told


def test_dead_letters_are_listed_and_one_needs_an_engine_to_be_tried_again(data: Path) -> None:
    (row,) = json.loads(run("deadletters", "--json", "--data-dir", data))
    assert set(row) == {"id", "worker", "topic", "reason", "path", "value", "seq", "ts"}
    assert (row["path"], row["value"]) == (None, None)
    done = CliRunner().invoke(app, ["deadletters", "retry", str(row["id"]), "--data-dir", str(data)])
    assert done.exit_code == 1
    assert "no engine runs" in done.output + done.stderr


def test_worker_wants_a_known_action_and_an_engine(data: Path) -> None:
    run("worker", "fly", "ttp", "--data-dir", data, code=2)
    run("worker", "stop", "nobody", "--data-dir", data, code=2)
    run("worker", "stop", "ttp", "--data-dir", data, code=1)


@pytest.mark.parametrize(
    ("arguments", "attach"),
    [
        ((), None),
        (("--attach",), ""),
        (("--attach", "--read-only"), ""),
        (("--attach", "nats://h:4222"), "nats://h:4222"),
        (("--attach=nats://h:4222",), "nats://h:4222"),
        (("--attach", "--bus", "nats://b:1"), "nats://b:1"),
    ],
)
def test_attach_stands_with_and_without_its_url(
    arguments: tuple[str, ...], attach: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    async def record(_: object, how: console.How) -> None:
        seen.append(how)

    monkeypatch.setattr(console, "run_console", record)
    run(*arguments)
    assert seen[0].attach == attach


def test_attach_goes_with_no_engine_of_its_own() -> None:
    run("--attach", "--demo", code=2)
    run("--attach", "--headless", code=2)


def test_attach_without_an_engine_says_what_to_do(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["--attach", "--data-dir", str(tmp_path)])
    assert done.exit_code == 1
    assert "start `decnet-tui`, or name a bus: --attach URL" in done.output + done.stderr
