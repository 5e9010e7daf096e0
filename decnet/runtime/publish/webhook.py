"""Messages by HTTPS POST: one message a request, signed, to a judged address, no redirect followed, no proxy used.

The signature is ``X-Decnet-Signature: t=<epoch seconds>,v1=<hex>``: HMAC-SHA256 with the shared secret over
``<t>.<body>``. Of an answer only its status and its head are read.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

import h11

from decnet import __version__
from decnet.publish_settings import WebhookSettings
from decnet.runtime.publish.addresses import judged_address
from decnet.runtime.publish.messages import Message, NotDelivered

MAX_HEAD: Final = 16_384
"""Longest head of an answer, in bytes."""
_READ: Final = 4096
_ITSELF_WRONG: Final = (400, 413, 422)
"""Statuses that say: not this message, not later either."""
_MAX_WAIT_S: Final = 86_400


def signature(secret: str, body: str, at: int) -> str:
    """The value of the header that signs a body at a moment (epoch seconds)."""
    digest = hmac.new(secret.encode(), f"{at}.{body}".encode(), hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


class Webhook:
    """The channel to one URL. Raises OSError for a CA file that cannot be read."""

    def __init__(self, settings: WebhookSettings, clock: Callable[[], float] = time.time) -> None:
        self._settings, self._clock = settings, clock
        parts = urlsplit(settings.url.get_secret_value())
        self._host, self._port = str(parts.hostname), parts.port or 443
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._tls = ssl.create_default_context(cafile=settings.tls_ca)

    async def send(self, messages: Sequence[Message]) -> None:
        """One request after the other."""
        for number, message in enumerate(messages):
            try:
                async with asyncio.timeout(self._settings.timeout_s):
                    await self._post(message)
            except TimeoutError:
                raise NotDelivered("no answer in time", taken=number) from None
            except NotDelivered as error:
                error.taken = number
                raise
            except (OSError, h11.ProtocolError) as error:
                raise NotDelivered(_reason(error), taken=number) from error

    async def close(self) -> None:
        """Nothing stays open between two messages."""

    async def _post(self, message: Message) -> None:
        address = await judged_address(self._host, self._port, private=self._settings.private)
        reader, writer = await asyncio.open_connection(
            address, self._port, ssl=self._tls, server_hostname=self._host, limit=MAX_HEAD
        )
        try:
            connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
            writer.write(self._request(connection, message))
            await writer.drain()
            _judge(await _response(connection, reader), self._clock())
        finally:
            writer.transport.abort()  # the rest of an answer, however long, is nobody's
            with suppress(OSError):
                await writer.wait_closed()

    def _request(self, connection: h11.Connection, message: Message) -> bytes:
        body = message.body.encode()
        signed = signature(self._settings.secret.get_secret_value(), message.body, int(self._clock()))
        host = f"[{self._host}]" if ":" in self._host else self._host
        headers = [
            ("Host", host if self._port == 443 else f"{host}:{self._port}"),
            ("User-Agent", f"decnet-tui/{__version__}"),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("X-Decnet-Id", message.ident),
            ("X-Decnet-Topic", message.topic),
            ("X-Decnet-Signature", signed),
            ("Connection", "close"),
        ]
        events = (
            h11.Request(method="POST", target=self._target, headers=headers),
            h11.Data(data=body),
            h11.EndOfMessage(),
        )
        return b"".join(connection.send(event) or b"" for event in events)


async def _response(connection: h11.Connection, reader: asyncio.StreamReader) -> h11.Response:
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_READ))
        elif isinstance(event, h11.Response):
            return event
        elif not isinstance(event, h11.InformationalResponse):
            raise NotDelivered("it closed without an answer")


def _judge(response: h11.Response, now: float) -> None:
    """Raises NotDelivered for anything but success."""
    status = response.status_code
    if 200 <= status < 300:
        return
    wait = next((value for name, value in response.headers if name == b"retry-after"), b"")
    wait_s = float(min(int(wait), _MAX_WAIT_S)) if wait.isdigit() and len(wait) < 12 else None
    why = "redirect, which is not followed" if 300 <= status < 400 else "answer"
    raise NotDelivered(f"{why} {status}", final=status in _ITSELF_WRONG, wait_s=wait_s)


def _reason(error: Exception) -> str:
    """Words without the URL in them."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not good: {error.verify_message}"
    if isinstance(error, h11.ProtocolError):
        return "its answer is no HTTP"
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
