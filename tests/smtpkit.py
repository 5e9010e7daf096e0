"""A mail decoy that runs, and clients that say what they like."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from decnet.bus.base import Event
from decnet.config import load_settings
from decnet.db.repository import BaseRepository
from decnet.decoys.listener import Place
from decnet.decoys.mail.listener import MailListener
from tests.canarykit import free_ports
from tests.dbkit import open_repo

KEY = b"k" * 32
WAIT_S = 20.0


class Client:
    """One connection to a decoy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> str:
        """The last line of the next answer; empty when the other side has closed."""
        while True:
            line = (await asyncio.wait_for(self.reader.readline(), WAIT_S)).decode()
            if line[3:4] != "-":
                return line.strip()

    async def say(self, line: str | bytes) -> str:
        """Sends a line; the answer."""
        await self.send((line.encode() if isinstance(line, str) else line) + b"\r\n")
        return await self.answer()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def start_tls(self) -> None:
        """Begins TLS, whoever the other side is."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        await asyncio.wait_for(self.writer.start_tls(context), WAIT_S)

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


class Decoy:
    """A running mail decoy with its database."""

    def __init__(self, listener: MailListener, repo: BaseRepository, folder: Path) -> None:
        self.listener, self.repo, self.folder = listener, repo, folder
        self.clients: list[Client] = []

    async def connect(self, *, greet: bool = True) -> Client:
        """A connection that was greeted, and has greeted."""
        client = Client(*await asyncio.open_connection("127.0.0.1", self.listener.port))
        self.clients.append(client)
        if greet:
            assert (await client.answer()).startswith("220 ")
            assert (await client.say("EHLO client.example")).startswith("250 ")
        return client

    async def events(self) -> list[Event]:
        """What went to the outbox so far."""
        return [Event.from_bytes(one.topic, one.body) for _, one in await self.repo.outbox_take(10_000)]

    async def payloads(self, topic: str = "email.received") -> list[dict[str, Any]]:
        return [event.payload for event in await self.events() if event.topic == topic]

    async def figure(self, name: str, value: int) -> None:
        """Waits until a figure of health has a value."""
        for _ in range(int(WAIT_S / 0.02)):
            if self.listener.health()[name] == value:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"{name}: {self.listener.health()[name]}, not {value}")

    def kept(self) -> list[Path]:
        return sorted(self.folder.glob("*.eml"))


@asynccontextmanager
async def decoy(folder: Path, kind: str = "sqlite", **mail: Any) -> AsyncIterator[Decoy]:
    """A mail decoy on a free port of loopback; closed afterwards."""
    (port,) = free_ports(1)
    keep_clear = bool(mail.pop("keep_clear", False))
    settings = load_settings(
        data_dir=folder / "data",
        credentials={"keep_clear": keep_clear},
        decoys={"mail": {"enabled": True, "port": port, "decky": "mx-02", **mail}},
    )
    async with open_repo(kind, folder) as repo:
        listener = MailListener(Place(settings, repo, KEY))
        await listener.start()
        running = Decoy(listener, repo, settings.data_dir / "mail")
        try:
            yield running
        finally:
            await listener.stop()
            for client in running.clients:
                await client.close()
            assert not listener.doors._open, "a place is held by nobody"


def stuffed(data: bytes) -> bytes:
    """A message as the protocol sends it, with its end."""
    lines = data.split(b"\r\n")
    text = b"\r\n".join(b"." + line if line.startswith(b".") else line for line in lines)
    return text.removesuffix(b"\r\n") + b"\r\n.\r\n"


async def sent(client: Client, data: bytes, *rcpt: str, mail_from: str = "a@one.example") -> str:
    """Sends a message; the answer to it."""
    assert (await client.say(f"MAIL FROM:<{mail_from}>")).startswith("250")
    for one in rcpt or ("b@two.example",):
        assert (await client.say(f"RCPT TO:<{one}>")).startswith("250")
    assert (await client.say("DATA")).startswith("354")
    await client.send(stuffed(data))
    return await client.answer()


def text_of(events: list[Event]) -> str:
    return json.dumps([event.payload for event in events])
