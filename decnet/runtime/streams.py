"""A TCP port for many short conversations: bounded in number, each with a deadline, all of them ended with the port."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from decnet.ids import normalize_ip
from decnet.logs import get_logger
from decnet.runtime.doors import Doors

log = get_logger(__name__)
Converse = Callable[[asyncio.StreamReader, asyncio.StreamWriter, str], Awaitable[None]]
"""Reads and writes until it is done; the third argument is the peer's address."""
READ_BYTES = 4096


class StreamPort:
    """Counts ``<name>_turned_away`` (no room), ``<name>_timeouts`` and ``<name>_broken`` in ``counts``."""

    def __init__(
        self, name: str, doors: Doors, timeout_s: float, converse: Converse, counts: Counter[str]
    ) -> None:
        self._name, self._doors, self._timeout_s = name, doors, timeout_s
        self._converse, self._counts = converse, counts
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, host: str, port: int) -> int:
        """Opens the port; its number (another one than asked for where that is 0). Raises OSError."""
        self._server = await asyncio.start_server(self._meet, host, port, limit=READ_BYTES)
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    async def close(self) -> None:
        """Closes the port and every connection."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await server.wait_closed()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._talk(reader, writer)
        except asyncio.CancelledError:  # the port closes: nobody waits for this task but close()
            log.debug("connection cut", port=self._name)
        finally:
            writer.transport.abort() if task.cancelling() else writer.close()
            self._tasks.discard(task)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = writer.get_extra_info("peername")
        if not name:  # it is gone already
            return
        peer = normalize_ip(str(name[0]))
        with self._doors.entered(peer) as room:
            if not room:
                self._counts[f"{self._name}_turned_away"] += 1
                return
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._converse(reader, writer, peer)
                    writer.close()
                    with suppress(OSError):
                        await writer.wait_closed()
            except TimeoutError:
                self._counts[f"{self._name}_timeouts"] += 1
                writer.transport.abort()
            except (OSError, asyncio.IncompleteReadError):
                self._counts[f"{self._name}_broken"] += 1
