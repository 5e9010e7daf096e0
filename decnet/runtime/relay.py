"""The outbox relay: committed news goes to the broker in row order, one engine at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from math import inf

from decnet.bus.base import BaseBus, Sealed
from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.errors import BusError, DatabaseError
from decnet.logs import get_logger
from decnet.runtime.leases import OWNER
from decnet.runtime.letters import MAX_REASON

log = get_logger(__name__)
LEASE = "outbox"
"""Also the worker's name in the dead letters of news that no bus takes."""
COUNT_S = 1.0
"""Seconds between two counts while rows wait: each goes through all of them."""
_Waiting = tuple[int, Sealed]


class OutboxRelay:
    """Publishes outbox rows and deletes each after the broker has stored it."""

    def __init__(self, repo: BaseRepository, bus: BaseBus, settings: Settings) -> None:
        self.repo = repo
        self.bus = bus
        self.settings = settings
        self.backlog = 0
        """Rows that wait for their broker; in the health of the engine."""
        self.refused = 0
        """Rows that no bus takes, dead-lettered; in the health of the engine too."""
        self._counted_at = -COUNT_S

    async def run(self) -> None:
        """For ever; trouble with bus or database is waited out."""
        while True:
            mark = self.repo.written.mark
            try:
                if not await self.relay_once():
                    await self._nap(mark)
            except (BusError, DatabaseError) as error:
                log.debug("outbox waits", reason=str(error))
                await asyncio.sleep(self.settings.runtime.restart_backoff_s)

    async def _nap(self, mark: int) -> None:
        """Until a row is written; rows that wait for another engine's lease are looked at again in any case."""
        tail_s = self.settings.runtime.tail_db_s
        await self.repo.written.after(mark, tail_s, tail_s if self.backlog else inf)

    async def relay_once(self) -> int:
        """Rows relayed now; 0 when there are none or another engine holds the lease."""
        limit = self.settings.runtime.outbox_batch
        now = asyncio.get_running_loop().time()
        if not self.backlog or now - self._counted_at >= COUNT_S:
            self._counted_at, self.backlog = now, await self.repo.outbox_count()
        if not self.backlog or not await self.repo.lease_acquire(LEASE, OWNER, self.settings.runtime.lease_s):
            return 0
        rows = await self.repo.outbox_take(limit)
        refused = await self._publish(rows)
        async with self.repo.transaction() as bound:
            for (row, event), reason in refused:
                await bound.dead_letter_add(LEASE, event.topic, reason, row, event.to_bytes())
            await bound.outbox_delete([row for row, _ in rows])
        self.refused += len(refused)
        self.backlog = max(0, self.backlog - len(rows)) if len(rows) == limit else 0
        return len(rows)

    async def _publish(self, rows: Sequence[_Waiting]) -> list[tuple[_Waiting, str]]:
        """Rows that no bus takes, with the reason: kept, the first of them would hold up all later news."""
        try:
            await self.bus.publish_events([event for _, event in rows])
        except ValueError:
            return [(row, reason) for row in rows if (reason := await self._refusal(row[1]))]
        return []

    async def _refusal(self, event: Sealed) -> str:
        try:
            await self.bus.publish_events([event])
        except ValueError as error:
            log.error("news cannot be published, dead-lettered", topic=event.topic, reason=str(error))
            return str(error)[:MAX_REASON]
        return ""
