"""A loopback web server that hands out harmless text where attackers expect programs.

Every path answers; what a path ends in chooses the text. Uploads are read, counted and thrown away.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

MAX_REQUEST = 65_536
"""Bytes of one request that are read; the rest is not wanted."""
HARMLESS = {
    ".sh": "#!/bin/sh\n# Harmless stand-in served to a honeypot by a test.\necho stage {path}\n",
    ".py": "# Harmless stand-in served to a honeypot by a test.\nprint('stage {path}')\n",
    ".json": '{{"note": "harmless stand-in", "path": "{path}"}}\n',
    "": "Harmless stand-in served to a honeypot by a test: {path}\n",
}


def body_for(path: str) -> bytes:
    """The text for one path; the same path gives the same bytes."""
    for ending, text in HARMLESS.items():
        if path.endswith(ending):
            return text.format(path=path).encode("utf-8")
    raise AssertionError("the empty ending matches every path")


@asynccontextmanager
async def bait_server() -> AsyncIterator[int]:
    """Serve on a free loopback port, which is yielded, while the block runs."""
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        path = head.split(b" ", 2)[1].decode("latin-1")
        await _swallow_body(head, reader)
        body = body_for(path)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
    writer.close()


async def _swallow_body(head: bytes, reader: asyncio.StreamReader) -> None:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            await asyncio.wait_for(reader.readexactly(min(int(line[15:]), MAX_REQUEST)), 10)
