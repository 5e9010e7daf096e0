"""A console whose terminal goes ends, whoever keeps SIGHUP to himself, and takes its engine and server with it."""

from __future__ import annotations

import contextlib
import os
import shlex
from pathlib import Path

import pexpect  # type: ignore[import-untyped]
import pytest

from decnet.processes import process_alive
from decnet_tui.launch.hangup import GRACE_S
from tests.programkit import PROGRAM, surroundings, until
from tests.ptykit import Terminal, children, nats_child

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def test_a_console_ends_with_its_terminal_even_when_nobody_hands_on_the_signal(tmp_path: Path) -> None:
    command = f"trap '' HUP; {shlex.quote(PROGRAM)} --demo --data-dir {shlex.quote(str(tmp_path))}; exit 0"
    env = {**surroundings(), "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    child = pexpect.spawn("sh", ["-c", command], env=env, dimensions=(24, 80), timeout=5)
    shell = child.pid
    try:
        screen = Terminal(child, 80, 24)
        screen.shows("LIVE", 60.0)
        (console,) = [pid for pid, line in children(shell).items() if "decnet-tui" in line]
        server = nats_child(console)
        os.close(child.fileno())  # the line breaks; who listens at the other end is not told otherwise
        until(lambda: not process_alive(console), 10 * GRACE_S, "the console's end")
        until(lambda: not process_alive(server), 60, "its server's end")
    finally:
        with contextlib.suppress(OSError, pexpect.ExceptionPexpect):
            child.close(force=True)
    assert "the terminal is gone" in (tmp_path / "console.log").read_text("utf-8")
