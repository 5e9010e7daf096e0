"""The end of a console whose terminal is gone: an SSH connection that broke, a window that was closed.

The shell that hands on SIGHUP may be gone too, or be ``make``, which keeps it to itself. A console without a terminal
would wait for ever until what it writes is taken, and the engine in it with it.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from decnet.logs import get_logger

log = get_logger(__name__)
GRACE_S = 15.0
"""Seconds that the engine has to end; whatever it has not stored by then is read again at the next start."""
EXIT_CODE = 129
"""128 and the number of SIGHUP, as a shell tells it."""


class TerminalWatch:
    """Inside the block, calls ``leave`` from a thread of its own when the terminal ``fd`` hangs up.

    Without a terminal (None) it watches nothing. When the process is still there after the grace time, ``end`` ends it: a console that waits for its terminal can
    do nothing any more. ``gone`` tells whether the terminal is.
    """

    def __init__(
        self, fd: int | None, leave: Callable[[], object], end: Callable[[int], object] = os._exit
    ) -> None:
        self.gone = False
        self._fd, self._leave, self._end = fd, leave, end
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._watch, name="console:terminal", daemon=True)

    def __enter__(self) -> Self:
        if self._fd is not None:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        os.close(self._waker)
        if self._fd is None:
            os.close(self._wake)
        elif not self.gone:
            self._thread.join()

    def _watch(self) -> None:
        assert self._fd is not None
        poll = select.poll()
        poll.register(self._fd, 0)  # nothing but hanging up and errors
        poll.register(self._wake, select.POLLIN)
        found = [fd for fd, _ in poll.poll()]
        os.close(self._wake)
        if self._fd not in found:
            return
        self.gone = True
        log.warning("the terminal is gone: the console ends")
        self._leave()
        time.sleep(GRACE_S)  # the thread goes with its process
        self._end(EXIT_CODE)


def terminal_fd() -> int | None:
    """The descriptor of the terminal that keys come from; None when they come from elsewhere."""
    try:
        return sys.stdin.fileno()
    except (OSError, ValueError):
        return None
