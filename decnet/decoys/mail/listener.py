"""The mail decoy's port: opens it, hands connections out, puts what they bring on the outbox and into the folder.

A client hears that its message was taken only after its facts are committed and the message is on the disk.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping

from decnet.bounds import bitten
from decnet.bus.base import Event
from decnet.decoy_settings import MailSettings
from decnet.decoys.listener import Place
from decnet.decoys.mail.events import Connection, leak_event, login_event, message_event
from decnet.decoys.mail.folder import MailFolder
from decnet.decoys.mail.protocol import MailProtocol
from decnet.errors import DatabaseError
from decnet.logs import get_logger
from decnet.mail.badfiles import known_bad
from decnet.mail.facts import BOUNDS, Envelope, body_hash, link_local
from decnet.runtime.doors import Doors

log = get_logger(__name__)
FIGURES = (
    "mail_connections", "mail_messages", "mail_kept", "mail_logins", "mail_refused",
    "mail_timeouts", "mail_too_large", "mail_recipients_beyond", "mail_messages_beyond", "mail_folder_full",
    "mail_not_stored", "mail_faults",
)  # fmt: skip
PATIENCE_S = 2.0
"""Seconds that a stop waits for messages that are being judged."""
JUDGED_AT_ONCE = 2
"""Messages that are judged side by side: others of the process need threads too."""
LEAKS_KEPT = 1000
"""Leaks that are remembered, so that a greeting is told of once."""


def make_mail(place: Place) -> MailListener | None:
    """The listener, when it is on."""
    return MailListener(place) if place.settings.decoys.mail.enabled else None


class MailListener:
    """One SMTP port."""

    name = "mail"

    def __init__(self, place: Place) -> None:
        self._place = place
        self.settings: MailSettings = place.settings.decoys.mail
        self.doors = Doors(self.settings.max_connections, self.settings.max_connections_peer)
        self.figures = dict.fromkeys(FIGURES, 0)
        folder = self.settings.folder or place.settings.data_dir / "mail"
        self.folder = MailFolder(folder, self.settings.max_folder_bytes)
        self._bad: frozenset[str] = frozenset()
        self._server: asyncio.Server | None = None
        self._live: set[MailProtocol] = set()
        self._leaks: OrderedDict[str, None] = OrderedDict()
        self._judging = asyncio.Semaphore(JUDGED_AT_ONCE)

    async def start(self) -> None:
        """Opens the port. Raises OSError when it, the folder or the certificate cannot be had."""
        from decnet.decoys.mail.certificate import tls_context  # here: 8 MB for who has no such decoy

        data_dir, hostname = self._place.settings.data_dir, self.settings.hostname
        await asyncio.to_thread(self.folder.open)
        self._bad = await asyncio.to_thread(known_bad, self.settings.known_bad)
        tls = await asyncio.to_thread(tls_context, data_dir, hostname)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: MailProtocol(self, tls, self._live), self.settings.host, self.settings.port
        )
        log.info("mail decoy listens", host=self.settings.host, port=self.settings.port)

    async def stop(self) -> None:
        """Closes the port and every connection; messages that came whole are worked off first."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        live = list(self._live)
        for one in live:
            one.abort(b"421 4.3.2 Service shutting down\r\n")
        await asyncio.gather(*(one.ended(PATIENCE_S) for one in live))
        if server is not None:
            await server.wait_closed()

    @property
    def port(self) -> int:
        """The port that is open."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def health(self) -> Mapping[str, int]:
        """What came, and which bound bit how often."""
        return {**self.figures, "mail_inside": len(self._live), **bitten(*BOUNDS)}

    def counted(self, name: str, times: int = 1) -> None:
        """Counts one more of a figure."""
        self.figures[name] += times

    def connection(self, peer: str, port: int) -> Connection:
        """A connection that begins now."""
        return Connection(self.settings.decky, peer, port, self._place.clock())

    async def greeted(self, connection: Connection, name: str) -> None:
        """Tells once of a link-local address in a greeting."""
        address = link_local(name)
        mark = f"{connection.attacker}|{address}"
        if address is None or mark in self._leaks:
            return
        if await self._stored(leak_event(connection, address, self._place.clock())):
            self._leaks[mark] = None
            if len(self._leaks) > LEAKS_KEPT:
                self._leaks.popitem(last=False)

    async def logged_in(self, connection: Connection, login: bytes, secret: bytes) -> None:
        """Tells of a log-in, with the secret's keyed hash."""
        self.counted("mail_logins")
        clear = self._place.settings.credentials.keep_clear
        now = self._place.clock()
        await self._stored(login_event(connection, login, secret, self._place.key, now, keep_clear=clear))

    async def message(self, connection: Connection, number: int, data: bytes, envelope: Envelope) -> str:
        """Judges a message, tells of it and keeps it; the answer to it."""
        self.counted("mail_messages")
        now = self._place.clock()
        async with self._judging:
            event = await asyncio.to_thread(message_event, connection, number, data, envelope, now, self._bad)
        if not await self._stored(event):
            return "451 4.3.0 Try again later"
        try:
            kept = await asyncio.to_thread(lambda: self.folder.keep(body_hash(data), data))
        except OSError as error:
            log.warning("message not kept", error=error.strerror or str(error))
            kept = "full"
        if kept == "full":
            self.counted("mail_folder_full")
            return "452 4.3.1 Insufficient system storage"
        self.counted("mail_kept", int(kept == "kept"))
        return f"250 2.0.0 OK: queued as {event.id[:10].upper()}"

    async def _stored(self, event: Event) -> bool:
        """Commits an event to the outbox; whether that went well."""
        try:
            await self._place.repo.outbox_add_many([event])
        except DatabaseError as error:
            self.counted("mail_not_stored")
            log.warning("event of the mail decoy not stored", topic=event.topic, error=str(error))
            return False
        return True
