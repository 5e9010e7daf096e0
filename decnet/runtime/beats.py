"""Heartbeats on their way into the database: a database that hangs must not silence those on the bus.

All of an engine beat at the same moments, and what comes together is written in one transaction: each is a commit
that waits for the disk.
"""

from __future__ import annotations

import asyncio
from typing import Any

from decnet.db.repository import BaseRepository
from decnet.errors import DatabaseError
from decnet.logs import get_logger
from decnet.runtime.dbwatch import DatabaseWatch
from decnet.runtime.hours import Hours

log = get_logger(__name__)
STORE_S = 1.0
"""Seconds that whoever beats waits for its row; who is not done by then goes on in the background."""
_NOW = 0.05
"""Share of an interval."""


def to_next(interval_s: float) -> float:
    """Seconds to the next moment at which everybody beats that does so every ``interval_s`` seconds.

    A moment that is as good as now is over: nobody beats twice for it.
    """
    left = interval_s - asyncio.get_running_loop().time() % interval_s
    return left if left > _NOW * interval_s else left + interval_s


class StoredBeats:
    """One row a worker, written by one task at a time."""

    def __init__(self, repo: BaseRepository, database: DatabaseWatch | None = None) -> None:
        """Nothing is tried while ``database`` says that it cannot be written."""
        self.repo, self.database = repo, database
        self.not_stored = 0
        """Beats that a newer one took the place of before they were written, or that found the database unusable."""
        self.ended = 0
        """Writes that came to an end, also to a bad one: the database's writer works while this grows."""
        self._hours = Hours()
        self._next: dict[str, dict[str, Any]] = {}
        """Beats that came while others were written, one a worker: a busy database writes them late, not never."""
        self._task: asyncio.Task[None] | None = None

    async def store(self, worker: str, payload: dict[str, Any]) -> None:
        """Writes a beat after those before it; while they hang it waits, and a newer one of the same worker takes its place.

        Takes no longer than STORE_S, mostly much less.
        """
        if self.database is not None and self.database.trouble:
            self.not_stored += 1
            return
        self.not_stored += worker in self._next
        self._next[worker] = payload
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write(), name="store-beats")
        task = self._task
        await asyncio.wait({task}, timeout=STORE_S)
        if task.done():
            task.result()

    async def _write(self) -> None:
        while self._next:
            beats, self._next = self._next, {}
            try:
                await self._written(beats)
            except DatabaseError as error:
                self.not_stored += len(beats)
                log.warning("heartbeats not stored", workers=sorted(beats), reason=str(error))
            self.ended += 1

    async def _written(self, beats: dict[str, dict[str, Any]]) -> None:
        more, levels = self._hours.grown(beats)
        if not (more or levels):
            await self.repo.heartbeats_write(beats)
            return
        async with self.repo.transaction() as bound:
            await bound.heartbeats_write(beats)
            await bound.hours_write(more, levels)
        self._hours.stored(more, levels)

    async def close(self) -> None:
        """Gives up what is still on its way."""
        self._next = {}
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
