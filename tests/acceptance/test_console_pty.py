"""The console on a real pty: colours, plain mode, and a bus server that is killed."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.programkit import daemon
from tests.ptykit import nats_child, terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
COLOUR = re.compile(rb"\x1b\[(?:[\d;:]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:[;:][\d;:]*)?m")
SGR = re.compile(rb"\x1b\[([\d;:]*)m")
START_S = 60.0


def test_no_color_means_no_colour_at_all(tmp_path: Path) -> None:
    with terminal("--demo", "--data-dir", tmp_path, environ={"NO_COLOR": "1"}) as console:
        console.shows("LIVE", START_S)
        for key in ("1", "4", "6", "v", "?"):
            console.press(key)
            console.read(0.8)
    assert SGR.search(console.raw)
    assert not COLOUR.findall(console.raw)


def test_with_colour_there_are_the_terminals_own_sixteen_only(tmp_path: Path) -> None:
    with terminal("--demo", "--data-dir", tmp_path) as console:
        console.shows("LIVE", START_S)
        console.read(1.0)
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
