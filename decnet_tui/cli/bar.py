"""A progress line on stderr, only for people: a pipe or a log gets none."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from decnet_tui.model.words import counted

_WIDTH = 30
_EVERY_S = 0.1


class Bar:
    """One line that is written over; gone when the block ends."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._shown = sys.stderr.isatty()
        self._next = 0.0
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown and self._next:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def count(self, what: str, more: int) -> None:
        """Shows a number that grows; how much there is in all is not known."""
        self._count += more
        self._write(f"{self.title}: {counted(self._count, 'row')}, {what}")

    def part(self, done: int, total: int, what: str) -> None:
        """Shows a part of a whole."""
        filled = _WIDTH * done // max(total, 1)
        self._write(f"{self.title} [{'#' * filled}{'.' * (_WIDTH - filled)}] {done}/{total} {what}")

    def _write(self, line: str) -> None:
        if self._shown and time.monotonic() >= self._next:
            self._next = time.monotonic() + _EVERY_S
            sys.stderr.write(f"\r{line}\x1b[K")
            sys.stderr.flush()
