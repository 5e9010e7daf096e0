"""Where listeners leave what they saw: hits wait here, and are written down in batches beside the answers.

An answer never waits for the database, so a known token takes no longer than an unknown one. A hit leaves the
queue when its transaction has committed.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Final

from decnet.config import Settings
from decnet.decoys.canary.hits import Hit
from decnet.decoys.canary.standing import Standing
from decnet.decoys.canary.trips import WINDOW, folded, moment_of, trip
from decnet.errors import DatabaseError
from decnet.logs import get_logger
from decnet.runtime.worker import Transaction, transaction

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.db.rows.canary import TokenRow

log = get_logger(__name__)
BATCH: Final = 500
_FIGURES: Final = {
    "new": "canary_triggers",
    "again": "canary_hits_again",
    "told_more": "canary_reports",
    "left_out": "canary_triggers_left_out",
}


class Desk:
    """Takes hits from listeners; :meth:`run` is a task of the worker."""

    def __init__(self, settings: Settings, repo: BaseRepository) -> None:
        self._own = settings.decoys
        self._backoff_s = settings.runtime.restart_backoff_s
        self._repo = repo
        self._waiting: deque[Hit] = deque()
        self._bell = asyncio.Event()
        self.counts = Counter[str]()

    def note(self, hit: Hit) -> None:
        """Takes a hit; one that finds no room is dropped and counted."""
        if len(self._waiting) >= self._own.max_waiting_hits:
            self.counts["canary_hits_dropped"] += 1
            return
        self._waiting.append(hit)
        self._bell.set()

    @property
    def waiting(self) -> int:
        """Hits that are not stored yet."""
        return len(self._waiting)

    def health(self) -> Mapping[str, int]:
        """What became of hits so far."""
        return self.counts

    async def run(self) -> None:
        """For ever: writes down what comes; while the database is away it waits."""
        while True:
            await self._bell.wait()
            self._bell.clear()
            while self._waiting:
                try:
                    await self.write_some()
                except DatabaseError as error:
                    log.warning("hits wait for the database", waiting=self.waiting, reason=str(error))
                    await asyncio.sleep(self._backoff_s)

    async def flush(self) -> None:
        """Writes down what is left, as far as the database takes it."""
        with suppress(DatabaseError):
            while self._waiting:
                await self.write_some()

    async def write_some(self) -> None:
        """Writes down the oldest hits in one transaction; one that cannot be written is alone and is given up."""
        batch = list(islice(self._waiting, BATCH))
        try:
            await self._write(batch)
        except DatabaseError:
            raise
        except Exception:
            log.error("hits could not be taken together", hits=len(batch), exc_info=True)
            await self._one_by_one(batch)
            return
        self._done(len(batch))

    async def _one_by_one(self, batch: Sequence[Hit]) -> None:
        for hit in batch:
            try:
                await self._write([hit])
            except DatabaseError:
                raise
            except Exception:
                self.counts["canary_hits_failed"] += 1
                log.error("hit given up", exc_info=True)
            self._done(1)

    def _done(self, count: int) -> None:
        for _ in range(count):
            self._waiting.popleft()

    async def _write(self, batch: Sequence[Hit]) -> None:
        became = Counter[str]()
        async with transaction(self._repo) as tx:
            tokens = await tx.repo.canary_by_slugs(hit.slug for hit in batch)
            standing = await self._standing(tx, batch, tokens)
            for several in folded(batch):
                token = tokens.get(several.hit.slug)
                if token is None:
                    became["canary_unknown"] += several.count
                elif token["revoked_at"] is not None:
                    became["canary_revoked"] += several.count
                else:
                    what = await trip(tx, standing, token, several, self._own.max_window_triggers)
                    became[_FIGURES[what]] += several.count if what == "again" else 1
            await standing.write()
        self.counts.update(became)
        for token_id, about in standing.first_trips.items():
            log.warning("canary token set off for the first time", token=token_id, **about)

    @staticmethod
    async def _standing(tx: Transaction, batch: Sequence[Hit], tokens: Mapping[str, TokenRow]) -> Standing:
        """The triggers that hits of known tokens may belong to."""
        standing = Standing(tx.repo)
        mine = [hit for hit in batch if hit.slug in tokens]
        if mine:
            pairs = {(tokens[hit.slug]["token_id"], hit.peer) for hit in mine}
            await standing.read(pairs, moment_of(min(hit.at for hit in mine)) - WINDOW)
        return standing
