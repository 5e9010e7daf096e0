"""A server on loopback that answers as it is told, and writes down what it was asked."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

Send = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Asked:
    """One request."""

    method: str
    target: str
    headers: dict[str, str]
    body: str


def reply(status: int = 200, body: Any = None, **headers: str) -> bytes:
    """An answer in bytes; a body that is no bytes is JSON. ``_`` in names of headers is ``-``."""
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(raw)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + raw


_NO_PAGE = reply(404, b"<html>no such page</html>")


@dataclass
class Server:
    """Answers by path and query; whatever it was not told about is a 404 of no service."""

    base: str = ""
    asked: list[Asked] = field(default_factory=list)
    answers: dict[str, bytes | Send] = field(default_factory=dict)
    hold: asyncio.Event | None = None
    """Answers wait for it."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client had enough
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.asked.append(Asked(method, target, headers, body.decode()))
        self.arrived.set()
        if self.hold:
            await self.hold.wait()
        told = self.answers.get(target, _NO_PAGE)
        if isinstance(told, bytes):
            writer.write(told)
            await writer.drain()
        else:
            await told(writer)


@asynccontextmanager
async def serving(
    answers: Mapping[str, bytes | Send] | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """A running server."""
    server = Server(answers=dict(answers or {}))
    tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks[asyncio.create_task(server.serve(reader, writer))] = writer  # known from the first moment on

    running = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    host, port = running.sockets[0].getsockname()[:2]
    server.base = f"{'https' if tls else 'http'}://{host}:{port}"
    try:
        yield server
    finally:
        running.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in tasks.values():
            writer.transport.abort()  # what nobody fetches any more keeps no connection
            with suppress(OSError):
                await writer.wait_closed()
        await running.wait_closed()
