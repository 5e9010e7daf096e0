"""Heartbeats of what is no worker but may fail like one: the bus and the database of an engine.

Every counter of the engine's own parts goes out here, under the names that ``workers --json`` shows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from decnet.bus import topics
from decnet.bus.base import BaseBus
from decnet.bus.connection import shown_url
from decnet.bus.publish import publish_safely
from decnet.config import Settings
from decnet.errors import BusError
from decnet.runtime.beats import to_next
from decnet.runtime.health import BUS, DATABASE, WorkerStats, health_payload
from decnet.runtime.supervisor import Supervisor

LOOK_S = 0.5
"""Seconds until a part that went or came back shows in its heartbeat."""
CONTACT_S = 10.0
"""Seconds after the start of an engine until a bus that it never reached counts as failed."""
FULL = 0.8
"""Fill of the stream, with evidence that nobody has read, from which on the bus is not well."""
Own = Callable[[], dict[str, Any]]


class PartsHealth:
    """``own`` gives the engine's further fields for the bus: its server's restarts, what was not told, and the like."""

    def __init__(self, bus: BaseBus, supervisor: Supervisor, settings: Settings, own: Own) -> None:
        self.bus, self.supervisor, self.settings, self.own = bus, supervisor, settings, own
        self.fill: float | None = None
        """Share of the stream's room in use as of the last beat, 0..1; None where nobody knows."""
        self._begun = time.monotonic()
        self._was_up = False

    async def run(self) -> None:
        """For ever: both every interval, and as soon as one of them changes."""
        clock = asyncio.get_running_loop().time
        while True:
            state = self._state()
            await self._measure_fill()
            await self.beat()
            until = clock() + to_next(self.settings.runtime.heartbeat_s)
            while self._state() == state and (left := until - clock()) > 0:  # noqa: ASYNC110  a bus tells nobody that it is gone
                await asyncio.sleep(min(LOOK_S, left))

    def _state(self) -> tuple[bool, str]:
        return self.bus.connected, self.supervisor.database.trouble

    async def beat(self, *, stopped: bool = False) -> None:
        """One heartbeat of both now."""
        said = {BUS: self._bus(stopped), DATABASE: self._database(stopped)}
        for name, payload in said.items():
            topic = topics.system(topics.SYSTEM_BUS_HEALTH) if name == BUS else topics.system_health(name)
            await publish_safely(self.bus, topic, payload, "health")
        await asyncio.gather(*(self.supervisor.beats.store(name, payload) for name, payload in said.items()))

    def counters(self) -> dict[str, Any]:
        """What the bus and the engine around it count."""
        return {**self.bus.counters(), **self.own()}

    def _bus(self, stopped: bool) -> dict[str, Any]:
        self._was_up |= self.bus.connected
        lost = "failed" if self._was_up or time.monotonic() - self._begun > CONTACT_S else "starting"
        state = "stopped" if stopped else "ok" if self.bus.connected else lost
        relay = self.supervisor.relay
        figures = {
            "url": shown_url(self.settings.bus.url or "") or None,
            "outbox": relay.backlog,
            "outbox_refused": relay.refused,
            **self.counters(),
        }
        if self.fill is not None:
            figures["stream_fill_pct"] = round(100 * self.fill)
            if self.fill >= FULL:
                figures["degraded"] = f"unread evidence fills the stream ({self.fill:.0%})"
        stats = WorkerStats(restarts=figures.pop("restarts", 0))
        return health_payload(BUS, state, stats, figures)

    def _database(self, stopped: bool) -> dict[str, Any]:
        watch = self.supervisor.database
        state = "stopped" if stopped else "locked" if watch.trouble else "ok"
        own = {"times_blocked": watch.times_blocked, "beats_not_stored": self.supervisor.beats.not_stored}
        payload = health_payload(DATABASE, state, WorkerStats(), own)
        return {**payload, "note": watch.trouble}

    async def _measure_fill(self) -> None:
        """How much of the stream's room is used; unknown without a broker that has one."""
        self.fill = None
        if self.bus.connected:
            with suppress(BusError):
                self.fill = await self.bus.fill()
