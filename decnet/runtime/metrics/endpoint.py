"""The port that Prometheus scrapes: one request a connection, bounded in head, time and number. Read only.

What is answered stands in :mod:`decnet.runtime.metrics.families`. Everything runs on the engine's own loop, so that
figures are read between two batches and never while one changes them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from http import HTTPStatus
from typing import Final, NamedTuple

import h11
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry

from decnet.errors import EngineError
from decnet.logs import get_logger
from decnet.runtime.doors import Doors
from decnet.runtime.streams import READ_BYTES, StreamPort

log = get_logger(__name__)
PATH: Final = "/metrics"
MAX_HEAD: Final = 8192
"""Longest head of a request, in bytes."""
MAX_CONNECTIONS: Final = 16
"""Connections at once; one more is closed."""
TIMEOUT_S: Final = 10.0
"""Seconds that one connection may take."""
_TEXT: Final = "text/plain; charset=utf-8"


class Answer(NamedTuple):
    """What goes back."""

    status: HTTPStatus
    kind: str
    body: bytes


class MetricsEndpoint:
    """``address`` is host and port; port 0 takes a free one, which :attr:`port` names."""

    def __init__(self, registry: CollectorRegistry, address: tuple[str, int]) -> None:
        self._registry, self._address = registry, address
        doors = Doors(MAX_CONNECTIONS, MAX_CONNECTIONS)
        self._port = StreamPort("metrics", doors, TIMEOUT_S, self._serve, Counter())
        self.port = 0

    async def start(self) -> None:
        """Opens the port. Raises EngineError when it cannot be had."""
        host, port = self._address
        try:
            self.port = await self._port.open(host, port)
        except OSError as error:
            raise EngineError(
                f"metrics: cannot listen on {host}:{port}: {error.strerror or error}"
            ) from error
        log.info("metrics are served", host=host, port=self.port, path=PATH)

    async def stop(self) -> None:
        """Closes the port and every connection."""
        await self._port.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _peer: str) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        try:
            request = await _request(connection, reader)
        except h11.RemoteProtocolError as error:
            await _send(connection, writer, _said(HTTPStatus(error.error_status_hint)), with_body=True)
            return
        if request is not None:
            await _send(connection, writer, self._answer(request), with_body=request.method != b"HEAD")

    def _answer(self, request: h11.Request) -> Answer:
        if request.method not in (b"GET", b"HEAD"):
            return _said(HTTPStatus.METHOD_NOT_ALLOWED)
        if request.target.partition(b"?")[0] != PATH.encode():
            return _said(HTTPStatus.NOT_FOUND)
        accept = b",".join(value for name, value in request.headers if name == b"accept")
        encode, kind = choose_encoder(accept.decode("latin-1"))
        return Answer(HTTPStatus.OK, kind, encode(self._registry))


def _said(status: HTTPStatus) -> Answer:
    return Answer(status, _TEXT, f"{status.phrase}; the figures are at {PATH}\n".encode())


async def _request(connection: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
    """The head of a request; None when the peer goes first. Raises h11.RemoteProtocolError."""
    left = MAX_HEAD
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            if not left:
                raise h11.RemoteProtocolError("head too long", error_status_hint=431)
            received = await reader.read(min(READ_BYTES, left))
            left -= len(received)
            connection.receive_data(received)
        elif isinstance(event, h11.Request):
            return event
        else:
            return None


async def _send(
    connection: h11.Connection, writer: asyncio.StreamWriter, answer: Answer, *, with_body: bool
) -> None:
    headers = [
        ("Content-Type", answer.kind),
        ("Content-Length", str(len(answer.body))),
        ("X-Content-Type-Options", "nosniff"),
        ("Connection", "close"),
    ]
    if answer.status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append(("Allow", "GET, HEAD"))
    head = connection.send(
        h11.Response(status_code=answer.status, headers=headers, reason=answer.status.phrase)
    )
    assert head is not None
    writer.write(head)
    if with_body:
        writer.write(answer.body)
    await writer.drain()
