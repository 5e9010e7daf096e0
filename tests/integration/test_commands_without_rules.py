"""What commands and the Workers view say when no rule is loaded: the reason, and an exit code that is not 0."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from decnet.bus.base import Event
from decnet.db.repository import BaseRepository
from decnet_tui.cli.main import app
from decnet_tui.feed import Feed
from decnet_tui.screens.workers import WorkersView, state_of
from tests.dbkit import migrated

BROKEN = "rule_id: R1\nregx: 1\n"
NOTE = "no rules loaded: 1 files failed"


def ran(*arguments: str | Path, text: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(word) for word in arguments], input=text)


@pytest.fixture(params=["empty", "broken"])
def rules(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    if request.param == "broken":
        (folder / "r.yaml").write_text(BROKEN, "utf-8")
    return folder


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_tag_and_check_fail_and_say_why(rules: Path, tmp_path: Path, as_json: tuple[str, ...]) -> None:
    tagged = ran("tag", "-", *as_json, "--rules", rules, "--data-dir", tmp_path / "data", text="wget x\n")
    assert (tagged.exit_code, tagged.stdout) == (1, "")
    assert f"no rules loaded from {rules}" in tagged.stderr
    checked = ran("rules", "check", rules, *as_json)
    assert checked.exit_code == 1
    assert f"no rules in {rules}" in checked.stderr


def beat(**more: Any) -> dict[str, Any]:
    return {"worker": "ttp", "ts": time.time(), "pid": os.getpid(), "host": socket.gethostname(), **more}


def _stored(data: Path, payload: dict[str, Any]) -> None:
    async def write() -> None:
        repo = await BaseRepository.open(await migrated(data / "decnet.sqlite"))
        await repo.heartbeats_write({"ttp": payload})
        await repo.close()

    asyncio.run(write())


def test_workers_and_doctor_name_a_worker_that_waits_for_rules(tmp_path: Path) -> None:
    _stored(tmp_path, beat(state="waiting_for_rules", note=NOTE))
    (row,) = json.loads(ran("workers", "--json", "--data-dir", tmp_path).stdout)
    assert (row["worker"], row["status"], row["note"]) == ("ttp", "waiting_for_rules", NOTE)
    done = ran("doctor", "--json", "--data-dir", tmp_path)
    found = {f["check"]: (f["result"], f["detail"]) for f in json.loads(done.stdout)}
    assert found["health"] == ("FAIL", f"ttp is waiting_for_rules: {NOTE}")
    assert done.exit_code == 1


@pytest.mark.parametrize(("state", "expected"), [("ok", ("ok", "every worker is well, nothing was lost")), ("stopped", ("ok", "no engine runs")), ("degraded", ("WARN", "ttp is degraded: see workers"))])  # fmt: skip
def test_the_doctor_judges_workers_by_their_heartbeats(
    tmp_path: Path, state: str, expected: tuple[str, str]
) -> None:
    _stored(tmp_path, beat(state=state, note=""))
    found = {f["check"]: f for f in json.loads(ran("doctor", "--json", "--data-dir", tmp_path).stdout)}
    assert (found["health"]["result"], found["health"]["detail"]) == expected


def test_the_doctor_says_how_many_rules_load(rules: Path, tmp_path: Path) -> None:
    found = {f["check"]: f for f in json.loads(ran("doctor", "--json", "--data-dir", tmp_path, "--rules", rules).stdout)}  # fmt: skip
    assert found["rules"]["result"] == "FAIL"
    assert found["rules"]["detail"].startswith(f"0 rules in {rules}")


def test_the_workers_view_shows_a_worker_that_waits_for_rules_and_not_in_green() -> None:
    feed = Feed(100, 10.0)
    feed.add(Event("system.ttp.health", beat(state="waiting_for_rules", note=NOTE), ts=time.time()))
    assert feed.workers["ttp"].status(time.time(), 10.0) == "waiting_for_rules"
    view = WorkersView(feed)
    view.sync(time.time())
    (line,) = ["".join(text for text, _ in entry.line) for entry in view._workers(time.time())[1:]]
    assert "no rules" in line
    assert NOTE in line
    assert state_of("waiting_for_rules")[1] != state_of("ok")[1]
