"""Messages as syslog lines (RFC 5424): by UDP and a local socket one datagram each, by TCP and TLS with their lengths before them.

https://www.rfc-editor.org/rfc/rfc5424 https://www.rfc-editor.org/rfc/rfc5425 https://www.rfc-editor.org/rfc/rfc6587
Syslog acknowledges nothing: what a connection took before it broke may be lost with it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from decnet.home import PROGRAM
from decnet.publish_settings import SyslogSettings
from decnet.runtime.publish.messages import Message, NotDelivered

MAX_DATAGRAM: Final = 8192
"""Longest datagram, in bytes; of a longer message the envelope goes, with ``cut``."""
WARNING, NOTICE_LEVEL, INFO = 4, 5, 6
_NIL: Final = "-"
_NAME = re.compile(r"[^!-~]")


def line_of(message: Message, facility: int, host: str, pid: int) -> str:
    """One line, ASCII: the message is its JSON, its kind the MSGID. What is worth telling a person is a warning."""
    severity = WARNING if message.topic.startswith("notice.") else INFO
    when = datetime.fromtimestamp(message.ts, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    kind = _word(message.topic.removeprefix("notice."), 32)
    head = f"<{facility * 8 + severity}>1 {when} {_word(host, 255)} {PROGRAM} {pid} {kind} {_NIL}"
    return f"{head} {message.body}"


def _word(text: str, most: int) -> str:
    """A field of the head: printable ASCII without blanks, of a bounded length."""
    return _NAME.sub("_", text)[:most] or _NIL


def cut(message: Message) -> Message:
    """The envelope without what it holds."""
    whole = json.loads(message.body)
    kept = {name: whole[name] for name in ("v", "id", "topic", "type", "ts")}
    return Message(
        message.ident, message.topic, message.ts, json.dumps({**kept, "cut": True}, separators=(",", ":"))
    )


class Syslog:
    """The channel to one server. Raises OSError for a CA file that cannot be read."""

    def __init__(self, settings: SyslogSettings) -> None:
        self._settings = settings
        self._scheme, _, self._path = settings.address.partition("://")
        self._tls = ssl.create_default_context(cafile=settings.tls_ca) if self._scheme == "tls" else None
        self._host, self._pid = socket.gethostname(), os.getpid()
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, messages: Sequence[Message]) -> None:
        """All of them in one go."""
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                if self._scheme in ("udp", "unix"):
                    await self._datagrams(messages)
                else:
                    await self._stream(messages)
        except TimeoutError:
            await self.close()
            raise NotDelivered("no connection in time") from None
        except OSError as error:
            await self.close()
            raise NotDelivered(error.strerror or type(error).__name__) from error

    async def close(self) -> None:
        """Ends the connection."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def _line(self, message: Message) -> bytes:
        return line_of(message, self._settings.facility, self._host, self._pid).encode("ascii")

    async def _datagrams(self, messages: Sequence[Message]) -> None:
        loop = asyncio.get_running_loop()
        family, address = await self._place()
        with socket.socket(family, socket.SOCK_DGRAM) as door:
            door.setblocking(False)
            await loop.sock_connect(door, address)
            for message in messages:
                line = self._line(message)
                await loop.sock_sendall(door, line if len(line) <= MAX_DATAGRAM else self._line(cut(message)))

    async def _place(self) -> tuple[int, tuple[str, int] | str]:
        if self._scheme == "unix":
            return socket.AF_UNIX, self._path
        parts = urlsplit(self._settings.address)
        found = await asyncio.get_running_loop().getaddrinfo(
            parts.hostname, parts.port, type=socket.SOCK_DGRAM
        )
        return found[0][0], found[0][4]  # type: ignore[return-value]  # of a server's address the first two are these

    async def _stream(self, messages: Sequence[Message]) -> None:
        if self._writer is None or self._writer.is_closing():
            parts = urlsplit(self._settings.address)
            name = parts.hostname if self._tls else None
            _, self._writer = await asyncio.open_connection(
                parts.hostname, parts.port, ssl=self._tls, server_hostname=name
            )
        for message in messages:
            line = self._line(message)
            self._writer.write(b"%d %b" % (len(line), line))
        await self._writer.drain()
