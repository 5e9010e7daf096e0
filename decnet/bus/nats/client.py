"""Facts about nats-py: connecting, its errors as ours, and request options.

Part of the NATS adapter; nothing outside ``decnet.bus`` may import it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from decnet.bus.connection import shown_url
from decnet.bus.remote import inbox_prefix
from decnet.config import BusSettings
from decnet.errors import BusAuthError, BusError, BusFull, BusUnavailable
from decnet.logs import get_logger

log = get_logger(__name__)

PENDING_BYTES = 8 * 2**20
"""Bytes the client buffers while it reconnects."""
PING_S = 10
"""Seconds between pings; two unanswered ones are a lost connection."""
REMEMBERED_S = 2.0
"""Seconds beyond its own length for which a failed attempt answers for the next one."""
_FULL = ("maximum bytes", "maximum messages", "insufficient", "resource limits", "no space left")
_AUTH = ("authorization violation", "authentication", "authorization", "user authentication")


class _SteadyClient(Client):
    """One message that the library cannot decode ends its reading for good, while it still says that it is connected."""

    def _build_message(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: Any) -> Any:
        """NUL and what is no UTF-8 in a subject come as U+FFFD: the server lets both through, no database does."""
        return super()._build_message(sid, _decodable(subject), _decodable(reply), data, headers)

    async def _process_headers(self, headers: bytes) -> Any:
        """A header block that makes no sense is as good as none."""
        try:
            return await super()._process_headers(headers)
        except (UnicodeDecodeError, IndexError) as error:
            log.warning("message with broken headers", reason=str(error))
            return None


def _decodable(text: bytes) -> bytes:
    if text.isascii() and b"\0" not in text:
        return text
    return bytes(text).decode("utf-8", "replace").replace("\0", "\ufffd").encode()


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What the owner of a client wants to hear."""

    lost: Callable[[], Awaitable[None]]
    back: Callable[[], Awaitable[None]]
    closed: Callable[[], Awaitable[None]]


class Attempts:
    """What became of the last attempt to connect, so that many who need the bus do not each wait for one of their own."""

    def __init__(self) -> None:
        self.failed = 0
        self._error: BusError | None = None
        self._until = 0.0

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Around one attempt: a failure is remembered for as long as it took and a little longer."""
        began = time.monotonic()
        try:
            yield
        except BusError as error:
            self.failed += 1
            self._error = error
            now = time.monotonic()
            self._until = now + (now - began) + REMEMBERED_S
            raise
        self._error = None

    def fresh(self) -> bool:
        """Whether the last attempt failed a short time ago."""
        return self._error is not None and time.monotonic() < self._until

    def repeat(self) -> None:
        """Raises what the last attempt failed with."""
        if self._error is not None:
            raise type(self._error)(str(self._error)) from self._error


def is_plumbing(message: Msg) -> bool:
    """Whether a message is the server's own traffic, which a subscription to ``>`` sees as well.

    Each delivery to a durable consumer is among it, under the event's own subject: only the reply tells it apart.
    """
    return message.reply.startswith("$JS.") or message.subject.startswith(("_INBOX", "$"))


def is_auth_error(error: BaseException | None) -> bool:
    """Whether the server refused the credentials."""
    if isinstance(error, nats.errors.AuthorizationError):
        return True
    return isinstance(error, nats.errors.Error) and any(word in str(error).lower() for word in _AUTH)


def is_untrusted(error: BaseException | None) -> bool:
    """Whether the server showed a certificate that will not do, however often it is asked."""
    return isinstance(error, ssl.SSLCertVerificationError)


async def open_client(
    url: str, name: str, token: str | None, settings: BusSettings, callbacks: Callbacks
) -> Client:
    """A connected client that from now on reconnects for ever.

    The first connection is tried for ``connect_timeout_s`` seconds; refused credentials or a certificate that nobody trusts end it at once.
    Raises BusUnavailable or BusAuthError.
    """
    loop = asyncio.get_running_loop()
    refused: asyncio.Future[None] = loop.create_future()
    latest: list[BaseException] = []

    async def on_error(error: Exception) -> None:
        latest[:] = [error]
        if (is_auth_error(error) or is_untrusted(error)) and not refused.done():
            refused.set_result(None)
        log.debug("nats client", reason=str(error), kind=type(error).__name__)

    options = _options(url, name, token, settings)
    client = _SteadyClient()
    attempt = loop.create_task(
        client.connect(
            error_cb=on_error,
            disconnected_cb=callbacks.lost,
            reconnected_cb=callbacks.back,
            closed_cb=callbacks.closed,
            **options,
        ),
        name=f"{name}:connect",
    )
    try:
        await asyncio.wait(
            {attempt, refused}, timeout=settings.connect_timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        return await _outcome(client, attempt, latest, url, refused=refused.done())
    finally:
        refused.cancel()
        if not attempt.done():
            attempt.cancel()


async def _outcome(
    client: Client, attempt: asyncio.Task[None], latest: list[BaseException], url: str, *, refused: bool
) -> Client:
    if attempt.done() and attempt.exception() is None and client.is_connected:
        return client
    error = attempt.exception() if attempt.done() else None
    attempt.cancel()
    await abandon(client)
    cause = error or (latest[0] if latest else None)
    if is_untrusted(cause):
        why = getattr(cause, "verify_message", "") or cause
        raise BusAuthError(
            f"the certificate of the bus at {shown_url(url)} is not trusted ({why}): name its authority with bus.tls_ca"
        ) from cause
    if refused or is_auth_error(cause):
        raise BusAuthError(f"the bus at {shown_url(url)} refused the credentials") from cause
    reason = f"{type(cause).__name__}: {cause}" if cause else "no answer"
    raise BusUnavailable(f"the bus at {shown_url(url)} cannot be reached: {reason}") from cause


async def abandon(client: Client, seconds: float = 3.0) -> None:
    """Closes a client whatever its state; never raises, never takes longer than ``seconds``."""
    try:
        async with asyncio.timeout(seconds):
            await client.close()
    except (TimeoutError, OSError, nats.errors.Error, AttributeError) as error:
        log.debug("client did not close cleanly", reason=str(error))


def _options(url: str, name: str, token: str | None, settings: BusSettings) -> dict[str, Any]:
    options: dict[str, Any] = {
        "servers": [part.strip() for part in url.split(",") if part.strip()],
        "name": name,
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": 0.5,
        "connect_timeout": min(5.0, settings.connect_timeout_s),
        "ping_interval": PING_S,
        "max_outstanding_pings": 2,
        "pending_size": PENDING_BYTES,
        "flush_timeout": settings.request_timeout_s,
    }
    if settings.sensor:
        options["inbox_prefix"] = inbox_prefix(settings.sensor)
    if token:
        options["token"] = token
    if settings.user:
        options["user"] = settings.user
        options["password"] = settings.password.get_secret_value() if settings.password else ""
    if settings.nkeys_seed:
        options["nkeys_seed"] = str(settings.nkeys_seed)
    if settings.tls_ca:
        options["tls"] = ssl.create_default_context(cafile=str(settings.tls_ca))
    return options


def translate(error: BaseException) -> BusError:
    """Our error for one of nats-py's or the operating system's."""
    text = f"{type(error).__name__}: {error}"
    if is_auth_error(error):
        return BusAuthError(text)
    if isinstance(error, nats.js.errors.APIError):
        return api_error(error.code, error.description)
    return BusUnavailable(text)


def api_error(code: int | None, description: str | None) -> BusError:
    """Our error for an answer of JetStream."""
    if code is None and description is None:
        return BusUnavailable("JetStream does not answer: is it turned on in the server (nats-server -js)?")
    text = description or f"JetStream answered {code}"
    if any(word in text.lower() for word in _FULL):
        return BusFull(text)
    return BusUnavailable(f"JetStream: {text}")


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turns every error of the client library and of the network into BusError."""
    try:
        yield
    except (nats.errors.Error, TimeoutError, OSError) as error:
        raise translate(error) from error
