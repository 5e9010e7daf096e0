"""The console on a real pty: colours, plain mode, and a bus server that is killed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.programkit import PROGRAM, daemon, surroundings, until
from tests.ptykit import nats_child, terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
COLOUR = re.compile(rb"\x1b\[(?:[\d;:]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:[;:][\d;:]*)?m")
SGR = re.compile(rb"\x1b\[([\d;:]*)m")
START_S = 60.0
PAGES = (
    ("3", "i-c74e 2 addr"), ("enter", "PLAYBOOKS"), ("enter", "Enter: commands"), ("enter", "IOCs of this session"), ("d", "> indicators of"),
    ("2", "11/11"), ("enter", "strength"), ("9", ">c-52d4264b"), ("enter", "CAMPAIGN"), (":since 2026-11-09\r", "the day 2026-11-09"),
    (":ignored\r", "No source is ignored"),
)  # fmt: skip
"""What is typed to come to each page below the views, one after the other, and what stands there."""


def open_pages(console: Any) -> None:
    """Each page once, drawn."""
    console.shows("ALERTS 1", 2 * START_S)
    for key, words in PAGES:
        console.press(key)
        console.shows(words, START_S)


def test_no_color_means_no_colour_at_all(tmp_path: Path) -> None:
    with terminal("--demo", "--data-dir", tmp_path, environ={"NO_COLOR": "1"}) as console:
        console.shows("LIVE", START_S)
        for key in ("1", "4", "6", "v", "?", "?", "3", "enter", "enter", "enter", "d"):
            console.press(key)
            console.read(0.8)
    assert SGR.search(console.raw)
    assert not COLOUR.findall(console.raw)


def test_with_colour_there_are_the_terminals_own_sixteen_only(tmp_path: Path) -> None:
    with terminal("--demo", "--data-dir", tmp_path) as console:
        console.shows("LIVE", START_S)
        open_pages(console)
    assert COLOUR.search(console.raw)
    assert not re.search(rb"\x1b\[[\d;]*[34]8[;:][25]", console.raw)


def test_an_ascii_terminal_gets_ascii_bytes_only(tmp_path: Path) -> None:
    with terminal("--demo", "--data-dir", tmp_path, environ={"LC_ALL": "C", "LANG": "C"}) as console:
        console.shows("LIVE", START_S)
        for key in ("1", "4", "6", "8", "?"):
            console.press(key)
            console.read(0.8)
    assert max(console.raw) < 0x80


def test_a_dumb_terminal_gets_lines_of_text(tmp_path: Path) -> None:
    with terminal("--demo", "--data-dir", tmp_path, environ={"TERM": "dumb"}) as console:
        console.until(lambda: b", ttp.tagged: " in console.raw, START_S, "tags as a line")
        assert b" LIVE\r\n" in console.raw
        assert b"\x1b" not in console.raw
        console.press("ctrl+c")
        console.until(lambda: not console.child.isalive(), 20, "its end")
    assert console.child.exitstatus == 0


def test_plain_lines_answer_what_is_typed_and_draw_nothing_anew(tmp_path: Path) -> None:
    with terminal("--demo", "--plain", "--data-dir", tmp_path) as console:
        console.until(lambda: b" LIVE\r\n" in console.raw, START_S, "that it is connected")
        console.press("hold\r")
        console.until(lambda: b"events wait" in console.raw, 10, "that events wait")
        console.press("alerts ack x\r", "fleet list\r")
        console.until(lambda: b"that is all" in console.raw, 30, "an answer")
        said = console.raw.decode()
        for word in ("alerts ack is for the shell", "web-01", "dry_run"):
            assert word in said
        assert b"\x1b" not in console.raw
        console.press("quit\r")
        console.until(lambda: not console.child.isalive(), 20, "its end")
    assert console.child.exitstatus == 0


def test_a_recorded_span_is_played_at_the_pace_of_its_times(tmp_path: Path) -> None:
    span = tmp_path / "night.jsonl"
    lines = [
        {"topic": "attacker.session.started", "type": "", "id": f"{n:032x}", "ts": 1_764_000_000.0 + at, "v": 1,
         "payload": {"attacker_ip": f"203.0.113.{n}", "session_id": f"s{n}", "decky_id": "web-01", "service": "ssh", "started_at": 1_764_000_000.0 + at}}
        for n, at in ((1, 0.0), (2, 1.5), (3, 90_000.0))
    ]  # fmt: skip
    span.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with terminal("--demo", span, "--data-dir", tmp_path / "data") as console:
        console.shows("? help", START_S)
        console.press("1")
        came = []
        for n in (1, 2, 3):
            console.shows(f"203.0.113.{n} ", START_S)
            came.append(time.monotonic())
        assert "DEMO" in console.lines[0]
        assert came[2] - came[1] > 1.5, "a night is not waited for, and not left out either"
        console.press("5")
        console.shows("No decoys yet", 10)


@pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux here")
def test_a_copy_within_tmux_is_in_its_buffer(tmp_path: Path) -> None:
    server = ["tmux", "-S", str(tmp_path / "tmux.sock"), "-f", "/dev/null"]
    base = {k: v for k, v in surroundings().items() if k not in ("TMUX", "NO_COLOR")}
    env = {**base, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}

    def tmux(*words: str) -> str:
        return subprocess.run(
            [*server, *words], env=env, capture_output=True, text=True, timeout=20, check=False
        ).stdout

    program = f"{PROGRAM} --demo --data-dir {tmp_path / 'data'}"
    tmux("new-session", "-d", "-x", "100", "-y", "30", program)
    try:
        until(lambda: "203.0.113.77" in tmux("capture-pane", "-p"), START_S, "a source of the demo")
        tmux("send-keys", "C-f")
        tmux("send-keys", "-l", "uname -a")
        tmux("send-keys", "Enter")
        until(lambda: "database search: uname -a" in tmux("capture-pane", "-p"), 20, "what was found")
        until(lambda: "command" in tmux("capture-pane", "-p"), 20, "a line of it")
        tmux("send-keys", "y")
        until(lambda: "uname -a" in tmux("show-buffer"), 20, "the copy in the buffer")
        assert "also into tmux's buffer" in tmux("capture-pane", "-p")
    finally:
        tmux("kill-server")


def test_nats_killed_under_an_attached_console(tmp_path: Path) -> None:
    """DISCONNECTED with seconds, then LIVE again and a gap line; the engine brings the server back."""
    with daemon(tmp_path / "data", tmp_path / "engine.log") as engine:
        with terminal("--data-dir", engine.data_dir, size=(100, 30)) as console:
            console.shows(" LIVE ", START_S)
            console.press("1")
            killed = nats_child(engine.process.pid)
            # Held down as long as the console needs to be seen in that state.
            stop_at = time.monotonic() + 60
            while "DISCONNECTED" not in console.text and time.monotonic() < stop_at:
                os.kill(killed, signal.SIGKILL)
                console.read(0.6)
                if "DISCONNECTED" not in console.text:
                    killed = _next_server(engine.process.pid, killed)
            assert re.search(r"DISCONNECTED \d+s \(retry \d+\)", console.lines[0]), console.text
            console.until(lambda: " LIVE " in console.lines[0], 60, "LIVE again")
            console.shows("connection lost for", 10)
        assert engine.process.poll() is None


def _next_server(engine: int, before: int) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            found = nats_child(engine)
        except ValueError:
            found = before
        if found != before:
            return found
        time.sleep(0.05)
    return before
