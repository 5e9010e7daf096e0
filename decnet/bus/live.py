"""A live subscription: a bounded buffer between a transport and one reader, shared by all adapters.

A reader that is too slow loses the oldest events, and ``lost`` says how many.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from decnet.bus.base import Event
from decnet.bus.views import Through
from decnet.errors import MalformedEvent
from decnet.logs import get_logger

log = get_logger(__name__)


class LiveSubscription:
    """Events of one pattern as they come; ``lost`` and ``malformed`` count what was not handed over."""

    def __init__(
        self,
        pattern: str,
        limit: int,
        *,
        settle: Callable[[], Awaitable[None]] | None = None,
        leave: Callable[[LiveSubscription], Awaitable[None]] | None = None,
    ) -> None:
        self.pattern = pattern
        self.through = Through(pattern)
        self.lost = 0
        self.malformed = 0
        self._limit = limit
        self._settle = settle
        self._leave = leave
        self._buffer: deque[Event] = deque()
        self._wake = asyncio.Event()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether no more events will be taken."""
        return self._closed

    def offer(self, event: Event) -> None:
        """Takes one event with its pieces; drops the oldest ones when the buffer is full."""
        if self._closed:
            return
        for seen in self.through.seen(event):
            if len(self._buffer) >= self._limit:
                self._buffer.popleft()
                self.lost += 1
            self._buffer.append(seen)
        self._wake.set()

    def refuse(self, topic: str, reason: MalformedEvent) -> None:
        """Counts a body that is no event."""
        self.malformed += 1
        log.debug("malformed event on a live subscription", topic=topic, reason=str(reason))

    def end(self) -> None:
        """No more events: the reader gets what is buffered, then its iteration stops."""
        self._closed = True
        self._wake.set()

    async def __aenter__(self) -> Self:
        if self._settle is not None:
            await self._settle()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._buffer:
            if self._closed:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._buffer.popleft()

    async def aclose(self) -> None:
        """Ends the iteration; idempotent."""
        if self._closed:
            return
        self.end()
        if self._leave is not None:
            await self._leave(self)
