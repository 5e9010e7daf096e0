"""One SMTP connection: aiosmtpd's commands, our limits. What is said is handed to the desk; what it means is left to it.

aiosmtpd drops a connection's work as soon as the client has closed: a message that was sent whole would be lost with
that. Here what has come is read to its end.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from asyncio import IncompleteReadError, StreamReaderProtocol, Task
from collections import defaultdict
from contextlib import ExitStack, suppress
from typing import Any, AnyStr, Protocol

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword, TLSSetupException, syntax
from aiosmtpd.smtp import Envelope as SmtpEnvelope

from decnet.decoy_settings import MailSettings
from decnet.decoys.mail.events import Connection
from decnet.decoys.mail.peers import whose
from decnet.decoys.mail.receiving import receive
from decnet.mail.facts import Envelope
from decnet.runtime.doors import Doors

logging.getLogger("mail.log").disabled = True  # it holds addresses, and at some levels secrets
COMMAND_BYTES = 2048
"""Longest command: log-ins and long addresses are longer than the 512 of RFC 5321."""


class Desk(Protocol):
    """Who is told what a connection brings."""

    settings: MailSettings
    doors: Doors
    figures: dict[str, int]

    def connection(self, peer: str, port: int) -> Connection:
        """A connection that begins now."""
        ...

    async def greeted(self, connection: Connection, name: str) -> None:
        """A client said its name."""
        ...

    async def logged_in(self, connection: Connection, login: bytes, secret: bytes) -> None:
        """A client logged in; every secret is right."""
        ...

    async def message(self, connection: Connection, number: int, data: bytes, envelope: Envelope) -> str:
        """A message of a connection's; the answer to it."""
        ...

    def counted(self, name: str, times: int = 1) -> None:
        """Counts one more of a figure."""
        ...


class _Envelope(SmtpEnvelope):
    """Counts all recipients; ``rcpt_tos`` holds some of them."""

    def __init__(self) -> None:
        super().__init__()
        self.rcpt_count = 0


class _Handler:
    """aiosmtpd's hooks."""

    async def handle_RCPT(  # noqa: N802
        self, server: MailProtocol, session: Any, envelope: _Envelope, address: str, options: list[str]
    ) -> str:
        """Takes every recipient and keeps some."""
        envelope.rcpt_count += 1
        if len(envelope.rcpt_tos) < server.desk.settings.max_recipients:
            envelope.rcpt_tos.append(address)
        else:
            server.desk.counted("mail_recipients_beyond")
        return "250 OK"


def _any_secret(server: Any, session: Any, envelope: Any, mechanism: str, said: LoginPassword) -> AuthResult:
    """Lets everybody in."""
    return AuthResult(success=True, auth_data=said)


class MailProtocol(SMTP):
    """A connection from its first byte to its end."""

    AuthLoginUsernameChallenge = "Username:"
    AuthLoginPasswordChallenge = "Password:"
    line_length_limit = 4096
    command_size_limit = COMMAND_BYTES

    def __init__(self, desk: Desk, tls: ssl.SSLContext | None, live: set[MailProtocol]) -> None:
        self.desk, self._live = desk, live
        self.command_size_limits = defaultdict(
            lambda: COMMAND_BYTES
        )  # aiosmtpd's is shared by all connections
        self._place = ExitStack()
        self._deadline: asyncio.TimerHandle | None = None
        self._connection: Connection | None = None
        self._over = False
        self._messages = 0
        super().__init__(
            _Handler(),
            data_size_limit=desk.settings.max_message_bytes,
            enable_SMTPUTF8=True,
            hostname=desk.settings.hostname,
            ident="ESMTP",
            tls_context=tls,
            timeout=desk.settings.session_s * 2,  # the deadline comes first
            auth_require_tls=False,
            authenticator=_any_secret,
            loop=asyncio.get_running_loop(),
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Lets a connection in, or sends it away; also called when TLS begins on one that is in."""
        if self._connection is not None:
            super().connection_made(transport)
            return
        assert isinstance(transport, asyncio.Transport)
        peer, port = (transport.get_extra_info("peername") or ("", 0))[:2]
        if not self._place.enter_context(self.desk.doors.entered(whose(str(peer)))):
            self.desk.counted("mail_refused")
            self._over = True
            transport.write(b"421 4.7.0 Too many connections, try again later\r\n")
            transport.close()
            return
        self.desk.counted("mail_connections")
        self._connection = self.desk.connection(str(peer), int(port))
        self._live.add(self)
        self._deadline = self.loop.call_later(self.desk.settings.session_s, self._time_is_up)
        super().connection_made(transport)
        assert self._handler_coroutine is not None
        self._handler_coroutine.add_done_callback(self._done)

    def data_received(self, data: bytes) -> None:
        """What a client that was sent away still says goes nowhere."""
        if not self._over:
            super().data_received(data)

    def eof_received(self) -> bool | None:
        """What came before the end is still to be read."""
        if self._over:
            return False
        StreamReaderProtocol.eof_received(self)
        return self.session is not None and self.session.ssl is None

    def connection_lost(self, error: Exception | None) -> None:
        """Frees the place; what was read is worked off."""
        if self._over or self._connection is None:
            return
        self._over = True
        self._place.close()
        for timer in (self._deadline, self._timeout_handle):
            if timer is not None:
                timer.cancel()
        if self._original_transport is not None:
            self._original_transport.close()
        # Without the error: what came before it can still be read, and nobody is there to be told of it.
        StreamReaderProtocol.connection_lost(self, None)
        if isinstance(error, TLSSetupException):
            self.transport = None

    def _done(self, task: Task[None]) -> None:
        self._live.discard(self)
        if not task.cancelled():
            task.exception()  # a connection that broke; it is told of by nobody

    def _time_is_up(self) -> None:
        self.desk.counted("mail_timeouts")
        self.abort(b"421 4.4.2 Connection timed out\r\n")

    def abort(self, last: bytes) -> None:
        """Ends the connection at once, after some last words."""
        transport = self.transport or self._original_transport
        if isinstance(transport, asyncio.WriteTransport) and not transport.is_closing():
            transport.write(last)
            transport.abort()
        self.connection_lost(None)  # of a handshake that goes on nobody else would hear

    async def ended(self, patience_s: float) -> None:
        """Waits until what was read is worked off, and not longer than some seconds."""
        task = self._handler_coroutine
        if task is not None:
            await asyncio.wait({task}, timeout=patience_s)
            task.cancel()

    async def push(self, status: AnyStr) -> None:
        """Answers; a client that is gone misses it. Others have their turn after each answer."""
        if not self._over:
            with suppress(ConnectionError):
                await super().push(status)
        await asyncio.sleep(0)

    async def handle_exception(self, error: Exception) -> str:
        """The end of what a client sent ends the connection; a fault of ours is counted and never shown."""
        if isinstance(error, IncompleteReadError):
            self._close()
        else:
            self.desk.counted("mail_faults")
        return "451 4.3.0 Local error in processing"

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.close()
        self.transport = None

    def _create_envelope(self) -> _Envelope:
        return _Envelope()

    @syntax("HELO hostname")
    async def smtp_HELO(self, hostname: str) -> None:  # noqa: N802
        """A greeting."""
        await super().smtp_HELO(hostname)
        await self._greeted(hostname)

    @syntax("EHLO hostname")
    async def smtp_EHLO(self, hostname: str) -> None:  # noqa: N802
        """A greeting."""
        await super().smtp_EHLO(hostname)
        await self._greeted(hostname)

    async def _greeted(self, name: str) -> None:
        if name and self._connection is not None:
            await self.desk.greeted(self._connection, name)

    @syntax("AUTH <mechanism>")
    async def smtp_AUTH(self, arg: str) -> None:  # noqa: N802
        """A log-in."""
        before = getattr(self.session, "auth_data", None)
        await super().smtp_AUTH(arg)
        said = getattr(self.session, "auth_data", None)
        if said is not None and said is not before and self._connection is not None:
            await self.desk.logged_in(self._connection, said.login, said.password)

    @syntax("DATA")
    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        """A message."""
        connection, envelope = self._connection, self.envelope
        if await self.check_helo_needed():
            return
        assert connection is not None
        assert isinstance(envelope, _Envelope)
        if not envelope.rcpt_count:
            await self.push("503 Error: need RCPT command")
            return
        if arg:
            await self.push("501 Syntax: DATA")
            return
        if self._messages >= self.desk.settings.max_messages:
            self.desk.counted("mail_messages_beyond")
            await self.push("421 4.7.0 Too many messages")
            self._close()
            return
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        data = await receive(self._reader, self.desk.settings.max_message_bytes)
        self.envelope = self._create_envelope()
        if data is None:
            self.desk.counted("mail_too_large")
            await self.push("552 Error: Too much mail data")
            return
        self._messages += 1
        told = Envelope(
            connection.peer,
            connection.decky,
            mail_from=envelope.mail_from or "",
            rcpt_count=envelope.rcpt_count,
            rcpts=tuple(envelope.rcpt_tos),
        )
        await self.push(await self.desk.message(connection, self._messages, data, told))
