"""One unacknowledged frame at a time: on a slow line, keys do not wait behind frames that nobody has seen yet.

After a frame the terminal is asked where its cursor is; its answer says that it has drawn all that came
before. Until then nothing is painted but what a key does. A terminal that never answers is not paced.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

GIVE_UP_S = 3.0
"""Seconds after which an answer counts as lost: a stall must not end in a still picture."""
LAST_S = 0.5
"""Seconds that leaving waits for the last answer, which would else end up in the shell's line."""


class Pace:
    """Whether the terminal has drawn what it was sent. ``ask`` writes the question."""

    def __init__(self, ask: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._asked_at: float | None = None
        self._drawn = asyncio.Event()
        self._tried = self._over = False
        self.answers = False
        """Whether this terminal has ever answered."""

    def frame(self) -> None:
        """A frame was written."""
        if self._asked_at is None and not self._over and (self.answers or not self._tried):
            self._tried = True
            self._asked_at = self._clock()
            self._drawn.clear()
            self._ask()

    def answered(self) -> None:
        """The terminal has drawn everything up to the question."""
        self.answers = True
        self._asked_at = None
        self._drawn.set()

    @property
    def free(self) -> bool:
        """Whether another frame may be painted that no key asked for."""
        if not self.answers or self._asked_at is None:
            return True
        if self._clock() - self._asked_at > GIVE_UP_S:
            self._asked_at = None
        return self._asked_at is None

    async def finish(self) -> None:
        """Asks no more; returns with the last answer, or soon without it."""
        self._over = True
        if self._asked_at is None or self._clock() - self._asked_at > LAST_S:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._drawn.wait(), LAST_S)
