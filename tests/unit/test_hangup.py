"""The watch over a terminal: it says that it is gone, once, and ends a process that cannot."""

from __future__ import annotations

import os
import threading

import pytest

from decnet_tui.launch import hangup
from decnet_tui.launch.hangup import EXIT_CODE, TerminalWatch


def test_who_leaves_by_himself_hears_nothing() -> None:
    master, slave = os.openpty()
    heard: list[str] = []
    with TerminalWatch(slave, lambda: heard.append("leave"), lambda code: heard.append(str(code))) as watch:
        os.write(master, b"x\n")
    os.close(master)
    os.close(slave)
    assert heard == []
    assert not watch.gone


def test_a_terminal_that_goes_is_told_of_and_the_process_ended_when_that_was_no_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hangup, "GRACE_S", 0.01)
    master, slave = os.openpty()
    heard: list[object] = []
    ended = threading.Event()

    def end(code: int) -> None:
        heard.append(code)
        ended.set()

    with TerminalWatch(slave, lambda: heard.append("leave"), end) as watch:
        os.close(master)
        assert ended.wait(30)
    os.close(slave)
    assert heard == ["leave", EXIT_CODE]
    assert watch.gone


def test_without_a_terminal_nothing_is_watched() -> None:
    with TerminalWatch(None, lambda: None) as watch:
        assert not watch.gone
