"""The console on a real pty: keys in, screen (by pyte) and raw bytes out."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pexpect  # type: ignore[import-untyped]
import pyte

from tests.programkit import PROGRAM, surroundings

CURSOR_KEYS = {"up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D"}
KEYS = {**CURSOR_KEYS, "enter": "\r", "esc": "\x1b", "tab": "\t", "ctrl+p": "\x10", "ctrl+c": "\x03"}
PIECE = 320
"""Bytes that a slow line carries at once."""


class Terminal:
    """One program on a pty of its own."""

    def __init__(self, child: pexpect.spawn, columns: int, rows: int) -> None:
        self.child = child
        self.see_from_here(columns, rows)
        self.raw = bytearray()
        self.blind = False
        self.rate = 0.0
        """Bytes a second that the line carries; 0 for any number."""

    def see_from_here(self, columns: int, rows: int) -> None:
        """An empty screen; what came and was not drawn never is."""
        self.screen = pyte.Screen(columns, rows)
        self.screen.write_process_input = self._answer  # type: ignore[method-assign]
        self._stream = pyte.ByteStream(self.screen)
        self._unseen = bytearray()

    def _answer(self, data: str) -> None:
        """What a terminal answers when it is asked where its cursor is."""
        with contextlib.suppress(OSError):
            self.child.send(data)

    def read(self, seconds: float = 0.1) -> bytes:
        """Takes in what comes within ``seconds``."""
        deadline, taken = time.monotonic() + seconds, bytearray()
        while (left := deadline - time.monotonic()) > 0:
            data = self.read_some(left)
            if not data:
                break
            taken += data
        return bytes(taken)

    def read_some(self, seconds: float) -> bytes:
        """What comes first, within ``seconds``; nothing when nothing comes."""
        try:
            data: bytes = self.child.read_nonblocking(PIECE if self.rate else 65_536, timeout=seconds)
        except (pexpect.TIMEOUT, pexpect.EOF):
            return b""
        if self.rate:
            time.sleep(len(data) / self.rate)
        self._unseen += data
        if not self.blind:
            self.look()
        self.raw += data
        return data

    def look(self) -> None:
        """Draws what came; drawing takes longer than reading, so that one who measures does it later."""
        data, self._unseen = bytes(self._unseen), bytearray()
        self._stream.feed(data)

    def press(self, *keys: str) -> None:
        """Keys by name, or text as typed."""
        for key in keys:
            self.child.send(KEYS.get(key, key))
            self.read(0.02)

    @property
    def lines(self) -> list[str]:
        """The screen."""
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self) -> str:
        """The screen as one text."""
        return "\n".join(self.lines)

    def until(self, look: Callable[[], object], limit: float, what: str) -> None:
        """Reads until ``look`` is true; fails after ``limit`` seconds with the screen."""
        deadline = time.monotonic() + limit
        while not look():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {limit:.0f} s: {what}\n{self.text}")
            self.read(0.02)

    def shows(self, text: str, limit: float = 10.0) -> None:
        """Reads until the text stands on the screen."""
        self.until(lambda: text in self.text, limit, f"{text!r} on the screen")


@contextmanager
def terminal(
    *arguments: str | Path, size: tuple[int, int] = (80, 24), environ: Mapping[str, str] | None = None
) -> Iterator[Terminal]:
    """The program with these arguments on a pty; it is ended with the block. No NO_COLOR unless given."""
    base = {k: v for k, v in surroundings().items() if k not in ("NO_COLOR", "TMUX", "COLUMNS", "LINES")}
    env = {**base, "TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **(environ or {})}
    child = pexpect.spawn(
        PROGRAM, [str(a) for a in arguments], env=env, dimensions=(size[1], size[0]), timeout=5
    )
    child.delaybeforesend = None  # it waits 50 ms before every key by itself
    screen = Terminal(child, *size)
    try:
        yield screen
    finally:
        screen.read(0.1)
        with contextlib.suppress(OSError):
            child.terminate(force=False)
        deadline = time.monotonic() + 15
        while child.isalive() and time.monotonic() < deadline:
            screen.read(0.1)
        if child.isalive():
            child.kill(9)
        child.close()


def children(pid: int) -> dict[int, str]:
    """Child processes by pid, with their command lines."""
    found = {}
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                line = (
                    Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
                found[int(child)] = line
    return found


def nats_child(pid: int) -> int:
    """The pid of the nats-server that an engine process started."""
    everything = {pid: ""}
    for _ in range(4):
        everything |= {c: line for p in list(everything) for c, line in children(p).items()}
    (server,) = [child for child, line in everything.items() if "nats-server" in line.split(" ")[0]]
    assert server != os.getpid()
    return server
