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
"""Every decoy there is."""


class DecoysWorker(Worker):
    """Starts and stops the listeners, and adds their figures up."""

    name = "decoys"
    topics = ()

    def __init__(self, settings: Settings | None = None, make: Sequence[MakeListener] = LISTENERS) -> None:
        self._settings = settings or load_settings()
        self._make = make
        self.listeners: list[Listener] = []
        self._trouble: dict[str, str] = {}

    async def start(self, repo: BaseRepository, bus: BaseBus) -> None:
        """Makes the listeners once: their figures go on over lives. Raises SensorError without the key of secrets."""
        if not self.listeners:
            key = await asyncio.to_thread(load_key, self._settings.data_dir)
            place = Place(self._settings, repo, key)
            self.listeners = [one for make in self._make if (one := make(place)) is not None]
        log.info("decoys worker started", listeners=[one.name for one in self.listeners])

    async def handle(self, batch: Sequence[Received], tx: Transaction) -> None:
        """Never called: this worker has no topics."""

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """One task for each listener."""
        return {f"listen-{one.name}": self._task(one) for one in self.listeners}

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
        for one in self.listeners:
            figures.update(one.health())
        wrong = [f"{name}: {reason}" for name, reason in sorted(self._trouble.items())]
        return {**figures, "degraded": "; ".join(wrong)}
