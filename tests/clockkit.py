"""Time that is skipped: a loop whose clock jumps to the next timer as soon as nothing else is to do.

For tests of pauses, limits and beats over fakes: exact to the second and over at once. Nothing in such a test
may wait for a thread, a process or a socket, since time would run away meanwhile.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

from decnet.db.written import Written

JUMPS = 20_000
"""Jumps of the clock in one test; whatever needs more goes on for ever."""


class SkippingLoop(asyncio.SelectorEventLoop):
    """Starts at second 1000."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.jumps = 0
        super().__init__()

    def time(self) -> float:
        """Seconds of a clock that nobody waits for."""
        return self.now

    def _run_once(self) -> None:
        if not self._ready:  # type: ignore[attr-defined]
            timers = [timer.when() for timer in self._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
            assert timers, "nothing is left that could ever happen"
            self.now = max(self.now, min(timers))
            self.jumps += 1
            assert self.jumps < JUMPS, "this goes on for ever"
        super()._run_once()  # type: ignore[misc]


def in_skipped_time(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """A test function that runs in a loop of its own whose time is skipped."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=SkippingLoop) as runner:
            runner.run(test(*args, **kwargs))  # type: ignore[arg-type]

    return run


def now() -> float:
    """Seconds of the running loop's clock."""
    return asyncio.get_running_loop().time()


def unwritten() -> Written:
    """What waits for rows of a database that nobody else writes."""

    async def nobody() -> bool:
        return False

    return Written(nobody)
