"""The worker ``decoys``: the listeners that the settings turned on, each a supervised task, and those of deckies.

A port that cannot be had is tried again with the runtime's back-off, and health says so meanwhile. With
everything off, and no fleet that asks for one, nothing listens.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from decnet.bus.base import BaseBus
from decnet.config import Settings, load_settings
from decnet.decoys.canary import elsewhere, reads, reuse
from decnet.decoys.canary.desk import Desk
from decnet.decoys.dns.listener import CanaryDns
from decnet.decoys.fleet import FleetDecoys
from decnet.decoys.http.listener import CanaryHttp
from decnet.decoys.listener import Listener, MakeListener, Place
from decnet.decoys.mail.listener import make_mail
from decnet.keyed import load_key
from decnet.logs import get_logger
from decnet.runtime.received import Received
from decnet.runtime.worker import Transaction, Worker

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository

log = get_logger(__name__)
LISTENERS: tuple[MakeListener, ...] = (make_mail,)
"""Every decoy beside those of canary tokens, which share one desk."""


class DecoysWorker(Worker):
    """Starts and stops the listeners, and adds their figures up."""

    name = "decoys"
    keeps = ()  # faults of its topics are told of by who records them

    def __init__(self, settings: Settings | None = None, make: Sequence[MakeListener] = LISTENERS) -> None:
        self._settings = settings or load_settings()
        self._make = make
        self.listeners: list[Listener] = []
        self.desk: Desk | None = None
        self.fleet: FleetDecoys | None = None
        self._watches_keys = self._settings.decoys.watch_keys
        self._looks = reads.has_tokens(self._settings)
        own = reuse.TOPICS if self._watches_keys else reads.TOPICS if self._looks else ()
        self.topics = (*elsewhere.TOPICS, *own)
        self.counts = Counter[str]()
        """Of baits that were read, of planted keys that came back, and of trips that other services told of."""
        self._trouble: dict[str, str] = {}

    async def start(self, repo: BaseRepository, bus: BaseBus) -> None:
        """Makes the listeners once: their figures go on over lives. Raises SensorError without the key of secrets."""
        self._bus, self._repo = bus, repo
        if self.fleet is None:
            shared = self._settings.credentials.key_file
            key = await asyncio.to_thread(load_key, self._settings.data_dir, shared)
            place = Place(self._settings, repo, key)
            self.desk = Desk(self._settings, repo)
            self.fleet = FleetDecoys(place, self.desk)
            others = [one for make in self._make if (one := make(place)) is not None]
            self.listeners = [*self._canaries(place, self.desk), *others]
        log.info("decoys worker started", listeners=[one.name for one in self.listeners])

    def _canaries(self, place: Place, desk: Desk) -> list[Listener]:
        own, found = self._settings.decoys, list[Listener]()
        found += [CanaryHttp(place, desk)] if own.canary_http.enabled else []
        found += [CanaryDns(place, desk)] if own.canary_dns.enabled else []
        return found

    async def handle(self, batch: Sequence[Received], tx: Transaction) -> None:
        """Looks for baits that were read, for planted keys that came back, and for what webhooks tell of."""
        self.counts.update(await elsewhere.take(tx, batch, self._settings.decoys.max_foreign_tokens))
        self.counts.update(await reads.take(tx, batch))
        if self._watches_keys:
            self.counts.update(await reuse.take(tx, batch))

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """One task for each listener, one for those of deckies, and one that writes down what canary tokens saw."""
        tasks = {f"listen-{one.name}": self._task(one) for one in self.listeners}
        if self._looks:
            tasks["bait-news"] = self._follow_news
        assert self.desk is not None
        assert self.fleet is not None
        return {**tasks, "canary-desk": self.desk.run, "fleet-decoys": self.fleet.run}

    async def _follow_news(self) -> None:
        await reads.follow(self._repo, self._bus, self.counts, time.monotonic)

    def _task(self, listener: Listener) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            try:
                await listener.start()
                self._trouble.pop(listener.name, None)
                await asyncio.Event().wait()
            except OSError as error:
                self._trouble[listener.name] = error.strerror or str(error)
                raise
            finally:
                await listener.stop()

        return run

    def health(self) -> dict[str, Any]:
        """The figures of all listeners added up, and which of them cannot listen."""
        figures = Counter[str]()
        for one in (self.desk, self.fleet, *self.listeners):
            figures.update(one.health() if one is not None else {})
        wrong = [f"{name}: {reason}" for name, reason in sorted(self._trouble.items())]
        figures.update(self.counts)
        return {**figures, "degraded": "; ".join(wrong)}

    def unfinished(self) -> str:
        """Hits that are not stored yet."""
        waiting = self.desk.waiting if self.desk is not None else 0
        return f"{waiting} hits of canary tokens not stored" if waiting else ""

    async def stop(self) -> None:
        """Stores what the listeners saw last."""
        if self.desk is not None:
            await self.desk.flush()
        log.info("decoys worker stopped")
