"""A log that grows while everything else goes on, and the moments at which something is killed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from decnet_tui.bench import made

PIECE = 300
"""Lines that are appended at once."""


def log_lines(sessions: int, seed: int = 1) -> list[str]:
    """The lines of a Cowrie log of so many whole sessions."""
    return list(made.log_lines(sessions, seed))


def write(log: Path, lines: Sequence[str]) -> None:
    """Appends lines, each whole."""
    with log.open("a", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in lines))


@contextmanager
def growing(log: Path, lines: Sequence[str], a_second: float) -> Iterator[None]:
    """Lines are appended meanwhile, so many a second; after the block all of them are there."""
    log.touch()
    over = threading.Event()

    def append() -> None:
        began = time.monotonic()
        for start in range(0, len(lines), PIECE):
            over.wait(began + start / a_second - time.monotonic())
            write(log, lines[start : start + PIECE])

    thread = threading.Thread(target=append, name="growing")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def moments(total: int, kills: int) -> list[int]:
    """Counts, evenly spread between none and ``total``, at which something is killed."""
    return [round(total * number / (kills + 1)) for number in range(1, kills + 1)]


def once(count: Callable[[], int], least: int, limit_s: float) -> int:
    """The first count that is not below ``least``; looks often, since a kill is to hit the middle of the work."""
    deadline = time.monotonic() + limit_s
    while (now := count()) < least:
        assert time.monotonic() < deadline, f"{now} of {least} within {limit_s:.0f} s"
        time.sleep(0.01)
    return now
