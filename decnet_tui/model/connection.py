"""The console's end of the bus: reads back, follows live, and says truthfully whether it is connected."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from decnet.bus.base import BaseBus, Event
from decnet.errors import BusError
from decnet.logs import get_logger
from decnet_tui.model.feed import Feed

READ_BACK = 500
_WATCH_S = 0.5
_BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0)
_YIELD_EVERY = 25
"""Events taken in at once: a key passes through several turns of the loop, and waits for these in each."""
log = get_logger(__name__)


class Connection:
    """Feeds one :class:`Feed` from one bus."""

    def __init__(self, bus: BaseBus, feed: Feed, clock: Callable[[], float] = time.monotonic) -> None:
        self._bus = bus
        self._feed = feed
        self._clock = clock
        self._down_since: float | None = None
        self._following = False
        self._was_up = False
        self.retries = 0
        self.up = asyncio.Event()
        """Set when the connection stands for the first time."""

    @property
    def live(self) -> bool:
        """Whether events arrive at this moment."""
        return self._down_since is None and self._following

    def down_for(self) -> float:
        """Seconds since the connection went away."""
        return 0.0 if self._down_since is None else self._clock() - self._down_since

    async def run(self) -> None:
        """Follows the bus for ever; ends by cancellation only."""
        while True:
            try:
                await self._follow()
            except (BusError, OSError, TimeoutError) as error:
                log.warning("console lost the bus", error=str(error))
            self._following = False
            self._lost()
            await self._again()

    async def _follow(self) -> None:
        await self._bus.connect()
        async with self._bus.subscribe(">") as live:
            seen = await self._catch_up()
            self._following = True
            self._returned()
            count, before = 0, self._feed.lost  # a new subscription counts from 0 again
            async for event in live:
                if (event.id, event.ts) not in seen:
                    self._feed.add(event)
                self._feed.lost = before + int(getattr(live, "lost", 0))
                count += 1
                if count % _YIELD_EVERY == 0:
                    await asyncio.sleep(0)

    async def _catch_up(self) -> frozenset[tuple[str, float]]:
        """The newest durable events, once; their ids and times, since they may come live too."""
        if self._was_up:
            return frozenset()
        past: Sequence[Event] = await self._bus.read_back(">", READ_BACK)
        for event in past:
            self._feed.add(event, live=False)
        return frozenset((e.id, e.ts) for e in past)

    async def _again(self) -> None:
        await asyncio.sleep(_BACKOFF_S[min(self.retries, len(_BACKOFF_S) - 1)])
        self.retries += 1

    async def watch(self) -> None:
        """Sees a transport that went away under a subscription that lives on."""
        while True:
            await asyncio.sleep(_WATCH_S)
            if self._following and not self._bus.connected:
                self._lost()
                self.retries = 1 + int(self.down_for() // 2)
            elif self._following and self._down_since is not None:
                self._returned()

    def _lost(self) -> None:
        if self._down_since is None:
            self._down_since = self._clock()

    def _returned(self) -> None:
        if self._was_up and self._down_since is not None:
            self._feed.add_gap(self.down_for())
        self._was_up = True
        self.up.set()
        self._down_since = None
        self.retries = 0
