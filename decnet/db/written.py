"""Was anything written? Who waits for rows waits here, instead of asking the database again and again.

What this process commits is known at once. For what others commit, one look serves everybody who waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf


class Written:
    """A mark that moves with every commit."""

    def __init__(self, others_wrote: Callable[[], Awaitable[bool]]) -> None:
        """``others_wrote`` says whether somebody else has committed, or may have, since the call before; never raises."""
        self.mark = 0
        self._others_wrote = others_wrote
        self._looked_at = -inf
        self._looking = asyncio.Lock()
        self._bell = asyncio.Event()

    def note(self) -> None:
        """This process has committed something that others may wait for."""
        self.mark += 1
        self._bell.set()
        self._bell = asyncio.Event()

    async def after(self, mark: int, every_s: float, most_s: float = inf) -> int:
        """The mark, once it is another one than ``mark``; after ``most_s`` seconds in any case.

        Take the mark before you read: what is committed while you read is then not waited for. A commit of this
        process ends the wait at once, one of another process after ``every_s`` seconds at the latest.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + most_s
        while self.mark == mark and (now := clock()) < until:
            look_at = self._looked_at + every_s
            if look_at <= now:
                await self._look(every_s)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min(look_at, until)):
                    await self._bell.wait()
        return self.mark

    async def _look(self, every_s: float) -> None:
        """One look, unless somebody else had one while this one was waited for."""
        async with self._looking:
            began = asyncio.get_running_loop().time()
            if began < self._looked_at + every_s:
                return
            if await self._others_wrote():
                self.note()
            self._looked_at = began
