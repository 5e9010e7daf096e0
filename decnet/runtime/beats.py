"""Heartbeats on their way into the database: a database that hangs must not silence those on the bus."""

from __future__ import annotations

import asyncio
from typing import Any

from decnet.db.repository import BaseRepository
from decnet.errors import DatabaseError
from decnet.logs import get_logger
from decnet.runtime.dbwatch import DatabaseWatch

log = get_logger(__name__)
STORE_S = 1.0
"""Seconds that a beat waits for its row; who is not done by then goes on in the background."""


class StoredBeats:
    """One row a worker, written by one task at a time each."""

    def __init__(self, repo: BaseRepository, database: DatabaseWatch | None = None) -> None:
        """Nothing is tried while ``database`` says that it cannot be written."""
        self.repo, self.database = repo, database
        self.not_stored = 0
        """Beats that found the row before them still on its way, or the database unusable."""
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def store(self, worker: str, payload: dict[str, Any]) -> None:
        """Writes a beat after the one before it; while that hangs, the beat is left out and counted.

        Takes no longer than twice STORE_S, mostly once.
        """
        if self.database is not None and self.database.trouble:
            self.not_stored += 1
            return
        before = self._tasks.get(worker)
        if before is not None and not before.done():
            await asyncio.wait({before}, timeout=STORE_S)
            if not before.done():
                self.not_stored += 1
                return
        task = asyncio.create_task(self._write(worker, payload), name=f"{worker}:store-beat")
        self._tasks[worker] = task
        await asyncio.wait({task}, timeout=STORE_S)
        if task.done():
            task.result()

    async def _write(self, worker: str, payload: dict[str, Any]) -> None:
        try:
            await self.repo.heartbeat_write(worker, payload)
        except DatabaseError as error:
            self.not_stored += 1
            log.warning("heartbeat not stored", worker=worker, reason=str(error))

    async def close(self) -> None:
        """Gives up what is still on its way."""
        tasks = [task for task in self._tasks.values() if not task.done()]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
