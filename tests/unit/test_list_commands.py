"""Every list command: text and JSON speak of the same fields, what attackers wrote is harmless, wrong usage is one line."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from decnet.db.repository import BaseRepository
from decnet.ids import attacker_id, identity_id
from decnet.runtime.health import WorkerStats, health_payload
from decnet_tui.cli.lazy import LISTS as BARE
from decnet_tui.cli.main import app
from tests.dbkit import migrated
from tests.programkit import cli
from tests.rowkit import put

EVIL = "\x1b]52;c;x\x07[@click=app.quit]\u202e\x9b2J"
A = attacker_id("192.0.2.1")
LISTS = ("tags", "sessions", "attackers", "workers", "deadletters", "identities", "campaigns", "attribution", "alerts", "sensors",
         "ignore list", "find uname", "fleet list")  # fmt: skip
DERIVED = {
    "technique": "technique_id", "heartbeat": "age_s", "notes": "note", "last line": "last_line", "why": "reasons",
}  # fmt: skip
"""Columns for people to the fields that they are made of."""


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with one hostile row of everything that is listed."""
    place = tmp_path_factory.mktemp("lists")
    asyncio.run(_fill(place))
    return place


async def _fill(place: Path) -> None:
    repo = await BaseRepository.open(await migrated(place / "decnet.sqlite"))
    now = time.time()
    await put(repo, "attacker", {"attacker_uuid": A, "ip": EVIL, "first_seen": now, "last_seen": now})
    await put(repo, "identity", {"identity_uuid": identity_id(A), "attacker_uuid": A, "merged_into": None})
    session = {"session_id": EVIL, "attacker_uuid": A, "attacker_ip": EVIL, "decky_id": EVIL, "service": EVIL}
    await put(
        repo,
        "session",
        {**session, "started_at": now, "ended_at": now, "end_reason": EVIL, "command_count": 1},
    )
    await put(
        repo, "command", {"command_id": "c", "session_id": EVIL, "command_text": f"uname {EVIL}", "ts": now}
    )
    why = {"matched": EVIL}
    tag = {
        "uuid": "t",
        "session_id": EVIL,
        "attacker_uuid": A,
        "evidence": why,
        "seen_at": now,
        "created_at": now,
    }
    await put(repo, "ttp_tag", tag)
    await put(repo, "dead_letter", {"topic": EVIL, "reason": EVIL, "seq": 1, "ts": now})
    state = {"identity_uuid": identity_id(A), "primitive": EVIL, "current_value": EVIL}
    await put(repo, "attribution_state", {**state, "last_change_ts": now, "last_observation_ts": now})
    sensor = {"kind": EVIL, "path": EVIL, "state": EVIL, "reasons": {EVIL: 1}, "last_refusal": EVIL}
    beat = health_payload(EVIL, EVIL, WorkerStats(), {EVIL: EVIL, "sensors": [sensor]})
    await repo.heartbeats_write({"sensors": {**beat, "note": EVIL}})
    await repo.ignore_add("198.51.100.7", set_by=EVIL, reason=EVIL)
    await repo.close()


def asked(data_dir: Path, command: str, *more: str) -> str:
    done = CliRunner().invoke(app, [*command.split(), *more, "--data-dir", str(data_dir)])
    assert done.exit_code == 0, done.output
    return done.stdout


def _fields(row: Any) -> Iterator[str]:
    yield from row


@pytest.mark.parametrize("command", LISTS)
def test_text_and_json_agree_on_fields(data_dir: Path, command: str) -> None:
    rows = json.loads(asked(data_dir, command, "--json"))
    assert isinstance(rows, list)
    text = asked(data_dir, command)
    if not rows:
        assert len(text.splitlines()) == 1, "what would fill it"
        return
    header = [name.strip() for name in text.splitlines()[0].split("  ") if name.strip()]
    assert header
    assert [name for name in header if DERIVED.get(name, name) not in rows[0]] == []


@pytest.mark.parametrize("command", sorted(BARE))
def test_the_name_of_a_list_and_the_name_with_list_behind_it_are_the_same(
    data_dir: Path, command: str
) -> None:
    def stable(text: str) -> str:
        return re.sub(r'"age_s": [0-9.]+', "", text)

    assert stable(asked(data_dir, command, "list", "--json")) == stable(asked(data_dir, command, "--json"))


@pytest.mark.parametrize("command", LISTS)
def test_what_an_attacker_wrote_is_harmless_in_both(data_dir: Path, command: str) -> None:
    for more in ((), ("--json",)):
        said = asked(data_dir, command, *more)
        assert not [c for c in said if not (c.isprintable() or c == "\n") or c in "\u202e\x9b"], said


@pytest.mark.parametrize("command", ["tags", "workers", "sensors", "alerts", "deadletters", "ignore list"])
@pytest.mark.parametrize("wrong", ["--limit=-1", "--since=soon", "--nosuch", "surplus"])
def test_wrong_usage_is_one_line_and_exit_code_2(data_dir: Path, command: str, wrong: str) -> None:
    if command in ("alerts", "deadletters") and wrong == "surplus":
        wrong = "surplus word"
    done = cli(*command.split(), *wrong.split(), "--data-dir", data_dir)
    said = done.stderr.decode().splitlines()
    assert (done.returncode, len(said), done.stdout) == (2, 1, b"")
    assert said[0].startswith("error: ")
