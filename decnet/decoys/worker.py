"""The worker ``decoys``: the listeners that the settings turned on, each a supervised task.

A port that cannot be had is tried again with the runtime's back-off, and health says so meanwhile. With
everything off nothing listens.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from decnet.bus.base import BaseBus
from decnet.config import Settings, load_settings
from decnet.decoys.canary import reuse
from decnet.decoys.canary.desk import Desk
from decnet.decoys.dns.listener import CanaryDns
from decnet.decoys.http.listener import CanaryHttp
from decnet.decoys.listener import Listener, MakeListener, Place
from decnet.decoys.mail.listener import make_mail
from decnet.errors import BusError
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
        self.topics = reuse.TOPICS if self._settings.decoys.watch_keys else ()
        self.counts = Counter[str]()
        """Of planted keys that came back."""
        self._trouble: dict[str, str] = {}

    async def start(self, repo: BaseRepository, bus: BaseBus) -> None:
        """Makes the listeners once: their figures go on over lives. Raises SensorError without the key of secrets."""
        self._bus = bus
        if not self.listeners:
            shared = self._settings.credentials.key_file
            key = await asyncio.to_thread(load_key, self._settings.data_dir, shared)
            place = Place(self._settings, repo, key)
            others = [one for make in self._make if (one := make(place)) is not None]
            self.listeners = [*self._canaries(place), *others]
        log.info("decoys worker started", listeners=[one.name for one in self.listeners])

    def _canaries(self, place: Place) -> list[Listener]:
        own, found = self._settings.decoys, list[Listener]()
        if own.canary_http.enabled or own.canary_dns.enabled:
            self.desk = desk = Desk(self._settings, place.repo)
            found += [CanaryHttp(place, desk)] if own.canary_http.enabled else []
            found += [CanaryDns(place, desk)] if own.canary_dns.enabled else []
        return found

    async def handle(self, batch: Sequence[Received], tx: Transaction) -> None:
        """Looks for planted keys that came back; without ``decoys.watch_keys`` there is no batch."""
        self.counts.update(await reuse.take(tx, batch))

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """One task for each listener, and one that writes down what those of canary tokens saw."""
        tasks = {f"listen-{one.name}": self._task(one) for one in self.listeners}
        if not self.topics:
            tasks["leave-stream"] = self._leave_stream
        return tasks if self.desk is None else {**tasks, "canary-desk": self.desk.run}

    async def _leave_stream(self) -> None:
        """A place in the stream that nobody moves any more would keep all that is behind it for ever."""
        while True:
            try:
                await self._bus.forget_consumer(self.name)
                break
            except BusError as error:
                log.debug("the place in the stream is left later", reason=str(error))
                await asyncio.sleep(self._settings.runtime.restart_backoff_s)
        await asyncio.Event().wait()

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
        figures = Counter[str](self.desk.health() if self.desk is not None else {})
        for one in self.listeners:
            figures.update(one.health())
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
