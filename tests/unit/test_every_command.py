"""What every command has: help of substance, --db and --bus beside --data-dir, no colours where NO_COLOR says so."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from decnet_tui.cli import common
from decnet_tui.cli.examples import EXAMPLES
from decnet_tui.cli.main import app
from tests.docs.commands import every

COMMANDS = dict(every())


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_says_what_it_does_and_what_every_option_means(name: str) -> None:
    command = COMMANDS[name]
    assert len((command.help or "").split()) >= 4, "a line that says what it does"
    told = {
        "/".join(p.opts): (p.help or "")
        for p in command.params
        if p.param_type_name == "option" and not p.hidden
    }
    assert [option for option, text in told.items() if not text and option != "--help"] == []


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_bus_and_database_stand_wherever_the_data_directory_does(name: str) -> None:
    options = {option for param in COMMANDS[name].params for option in param.opts}
    if "--data-dir" in options:
        assert {"--db", "--bus", "--config"} <= options


def test_a_bus_that_is_named_is_that_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    before = common.settings_of

    def watched(*args: Any, **flags: Any) -> Any:
        seen.append(before(*args, **flags))
        return seen[-1]

    monkeypatch.setattr(common, "settings_of", watched)
    where = ["--data-dir", str(tmp_path)]
    CliRunner().invoke(app, ["rules", "list", *where, "--bus", "nats://127.0.0.1:9"])
    CliRunner().invoke(app, ["--bus", "nats://127.0.0.1:8", "rules", "list", *where])
    CliRunner().invoke(app, ["rules", "list", *where])
    assert [settings.bus.url for settings in seen] == ["nats://127.0.0.1:9", "nats://127.0.0.1:8", None]
    assert common.GIVEN == {}, "one command's are not another's"


def test_days_are_spans_too() -> None:
    today, yesterday = common.parse_since("today"), common.parse_since("yesterday")
    assert today is not None
    assert yesterday is not None
    assert today - yesterday == timedelta(days=1)
    assert (today.hour, today.minute, today.second, today.utcoffset()) == (0, 0, 0, timedelta(0))


def test_examples_stand_in_the_help() -> None:
    for name in ("tags", "rules new", "alerts", "unit"):
        done = CliRunner().invoke(app, [*name.split(), "--help"])
        assert "Examples:" in done.output
        assert EXAMPLES[name][0].split(" > ")[0][:60] in " ".join(done.output.split()), name


@pytest.mark.parametrize(
    "words", [["--help"], ["rules", "check"], ["tag", "--help"], ["doctor"], ["nonsense"]]
)
def test_no_colour_is_written_to_a_terminal_that_wants_none(tmp_path: Path, words: list[str]) -> None:
    master, slave = pty.openpty()
    env = {**os.environ, "NO_COLOR": "1", "TERM": "xterm-256color", "XDG_STATE_HOME": str(tmp_path)}
    running = subprocess.Popen(
        [sys.executable, "-m", "decnet_tui", *words], stdin=slave, stdout=slave, stderr=slave, env=env
    )
    os.close(slave)
    out = b""
    try:
        while chunk := os.read(master, 65_536):
            out += chunk
    except OSError:
        pass
    finally:
        running.wait(60)
        os.close(master)
    assert out
    assert b"\x1b[3" not in out, out[:500]
    assert b"\x1b[1m" not in out


def test_json_of_what_needs_no_data_is_json(tmp_path: Path) -> None:
    for words in (["rules", "list"], ["rules", "coverage"], ["sensors", "formats"], ["rules", "check"]):
        done = CliRunner().invoke(app, [*words, "--json", "--data-dir", str(tmp_path)])
        assert done.exit_code == 0, done.output
        assert done.stdout.isascii()
        json.loads(done.stdout)
