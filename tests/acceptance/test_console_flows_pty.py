"""The flows, key by key on a real pty, against a live engine that plays the demo."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programkit import Daemon, cli, daemon, listed, until
from tests.ptykit import Terminal, terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
START_S = 60.0
WRITE = "Type y for write mode"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("engine")
    with daemon(folder / "data", folder / "engine.log", "--demo") as running:
        until(lambda: len(listed("sessions", running.data_dir)) >= 100, 120, "the demo's sessions", pause=1)
        yield running


def started(console: Terminal) -> Terminal:
    """The console once it is live and shows what is new."""
    console.until(
        lambda: " LIVE " in console.lines[0] and "0*" in console.lines[1], START_S, "the first screen"
    )
    return console


def rule(engine: Daemon, rule_id: str) -> dict[str, object]:
    rows = json.loads(cli("rules", "list", "--json", "--data-dir", engine.data_dir).stdout)
    found: dict[str, object] = next(row for row in rows if row["rule_id"] == rule_id)
    return found


def test_a_rule_is_disabled_for_some_seconds_and_comes_back_by_itself(engine: Daemon) -> None:
    with terminal("--data-dir", engine.data_dir) as console:
        started(console).press("4", "/", "R0012", "enter")
        console.until(lambda: console.lines[4].startswith(">R0012"), 10, "the cursor on the rule")
        console.press("W")
        console.shows(WRITE)
        console.press("y", "D", "8s", "tab", "noisy: own scanner (OPS-311)", "enter")
        console.shows("Type y to disable for 8s, anything else cancels")
        console.press("y")
        console.shows("R0012 disabled: verified", 15)
        console.until(lambda: "OFF" in console.lines[4], 5, "the row itself")
        assert rule(engine, "R0012")["state"] == "disabled"
        console.until(lambda: " on " in console.lines[4], 20, "the rule by itself on again")
        console.press("8")
        console.shows("R0012 enabled again", 10)
        assert any("verified" in line and "R0012 disabled" in line for line in console.lines)
    assert rule(engine, "R0012")["state"] == "enabled"


def test_what_was_clipped_is_refused_above_its_base_and_undone(engine: Daemon) -> None:
    with terminal("--data-dir", engine.data_dir, size=(100, 30)) as console:
        started(console).press(":", "clip R0001 0.99 1h", "enter")
        console.shows(WRITE)
        console.press("y", "enter")
        console.shows("max lies between 0 and this rule's own confidence")
        console.press("0.25")
        console.shows("below the floor 0.30, no longer stored")
        console.press("enter", "y")
        console.shows("R0001 clipped to 0.25: verified", 15)
        console.press("U")
        console.shows("restore the former state")
        console.press("y")
        console.shows("R0001 enabled: verified", 15)


def test_pause_filter_inspect_export_follow(engine: Daemon) -> None:
    with terminal("--data-dir", engine.data_dir, size=(120, 40)) as console:
        started(console).press("1", "p")
        console.shows("PAUSED")
        console.press("/", "\x15", "attribution.>", "enter")
        console.until(lambda: "attribution." in console.lines[3], 10, "the filter")
        console.press("enter")
        console.shows('"payload": {')
        console.press("esc")
        console.read(0.5)  # Esc and a letter at once are Alt and the letter
        console.press("e")
        console.shows("exported ", 10)
        console.press("F")
        console.shows("following ", 10)
        assert "follow " in console.lines[0]
        console.press("4", "1")
        assert "follow " in console.lines[0]
    (path,) = (engine.data_dir / "exports").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    rows = [json.loads(line) for line in path.read_text("ascii").splitlines()]
    assert rows
    assert {row["topic"].partition(".")[0] for row in rows} == {"attribution"}


def test_quitting_an_attached_console_leaves_the_engine_and_the_terminal_as_they_were(engine: Daemon) -> None:
    with terminal("--data-dir", engine.data_dir) as console:
        started(console).press("?")
        console.shows("this help")
        console.press("?", "Q")
        console.until(lambda: not console.child.isalive(), 15, "its end")
        assert console.child.exitstatus == 0
        left, entered = console.raw.rfind(b"\x1b[?1049l"), console.raw.rfind(b"\x1b[?1049h")
        assert left > entered >= 0
        assert console.raw.rfind(b"\x1b[?25h") > console.raw.rfind(b"\x1b[?25l")
    assert engine.process.poll() is None


def test_an_engine_inside_can_be_left_running_headless(tmp_path: Path) -> None:
    with terminal("--data-dir", tmp_path / "data") as console:
        console.shows(" LIVE ", START_S)
        console.press("Q")
        console.shows("h leave it headless")
        console.press("h")
        console.until(lambda: "runs headless (pid" in console.text, 40, "the engine left behind")
    connection = json.loads((tmp_path / "data" / "connection.json").read_text("utf-8"))
    os.kill(connection["pid"], 15)
    until(lambda: not (tmp_path / "data" / "connection.json").exists(), 30, "the end of the engine")
