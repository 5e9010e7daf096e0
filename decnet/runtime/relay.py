"""The outbox relay: committed news goes to the broker in row order, one engine at a time."""

from __future__ import annotations

import asyncio

from decnet.bus.base import BaseBus
from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.errors import BusError, DatabaseError
from decnet.logs import get_logger
from decnet.runtime.leases import OWNER

log = get_logger(__name__)
LEASE = "outbox"


class OutboxRelay:
    """Publishes outbox rows and deletes each after the broker has stored it."""

    def __init__(self, repo: BaseRepository, bus: BaseBus, settings: Settings) -> None:
        self.repo = repo
        self.bus = bus
        self.settings = settings
        self.backlog = 0
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """There are new rows."""
        self._wake.set()

    async def run(self) -> None:
        """For ever; trouble with bus or database is waited out."""
        while True:
            try:
                if not await self.relay_once():
                    await self._nap()
            except (BusError, DatabaseError) as error:
                log.debug("outbox waits", reason=str(error))
                await asyncio.sleep(self.settings.runtime.restart_backoff_s)

    async def _nap(self) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(self.settings.runtime.tail_db_s):
                await self._wake.wait()
        except TimeoutError:
            return

    async def relay_once(self) -> int:
        """Rows relayed now; 0 when there are none or another engine holds the lease."""
        limit = self.settings.runtime.outbox_batch
        self.backlog = await self.repo.outbox_count()
        if not self.backlog or not await self.repo.lease_acquire(LEASE, OWNER, self.settings.runtime.lease_s):
            return 0
        rows = await self.repo.outbox_take(limit)
        await self.bus.publish_events([event for _, event in rows])
        await self.repo.outbox_delete([row for row, _ in rows])
        self.backlog = max(0, self.backlog - len(rows))
        return len(rows)
