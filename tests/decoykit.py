"""Our own decoys for tests: tokens in a database, listeners on free loopback ports, peers with addresses of their own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from decnet.config import Settings, load_settings
from decnet.db.repository import BaseRepository
from decnet.db.rows.canary import TokenRow
from decnet.decoys.canary.desk import Desk
from decnet.decoys.dns.listener import CanaryDns
from decnet.decoys.http.listener import CanaryHttp
from decnet.decoys.listener import Place

SLUG = "k3v9q2m7xw4d8pzr5n6t1hcjyb"
KEY = b"k" * 32
START = 1_800_000_000.0


class Clock:
    """Epoch seconds that a test moves."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def token(token_id: str = "tok-1", slug: str = SLUG, **more: Any) -> TokenRow:
    """A token that lies somewhere."""
    row: dict[str, Any] = {
        "token_id": token_id, "slug": slug, "kind": "url", "decky_id": "web-01", "path": None, "memo": None,
        "watched": None, "minted_at": datetime.fromtimestamp(START - 60, UTC), "placed_at": None, "revoked_at": None,
        "first_trip_at": None, "last_trip_at": None, "trips": 0, "window_at": None, "window_trips": 0,
    }  # fmt: skip
    return {**row, **more}  # type: ignore[typeddict-item]


def settings_of(tmp_path: Path, **decoys: Any) -> Settings:
    """Settings with our decoys as given."""
    return load_settings(data_dir=tmp_path, decoys=decoys)


@asynccontextmanager
async def canary_http(
    tmp_path: Path, repo: BaseRepository, clock: Clock | None = None, **own: Any
) -> AsyncIterator[tuple[CanaryHttp, Desk]]:
    """The HTTP listener on a free port."""
    settings = settings_of(tmp_path, canary_http={"enabled": True, "port": free_port(), **own})
    desk = Desk(settings, repo)
    listener = CanaryHttp(Place(settings, repo, KEY, clock or Clock()), desk)
    await listener.start()
    try:
        yield listener, desk
    finally:
        await listener.stop()


@asynccontextmanager
async def canary_dns(
    tmp_path: Path, repo: BaseRepository, clock: Clock | None = None, **own: Any
) -> AsyncIterator[tuple[CanaryDns, Desk]]:
    """The DNS listener on a free port."""
    settings = settings_of(
        tmp_path, canary_dns={"enabled": True, "port": free_port(), "zone": "c.example", **own}
    )
    desk = Desk(settings, repo)
    listener = CanaryDns(Place(settings, repo, KEY, clock or Clock()), desk)
    await listener.start()
    try:
        yield listener, desk
    finally:
        await listener.stop()


def free_port() -> int:
    """A loopback port that nobody has, for TCP and UDP."""
    while True:
        with closing(socket.socket()) as tcp, closing(socket.socket(type=socket.SOCK_DGRAM)) as udp:
            tcp.bind(("127.0.0.1", 0))
            try:
                udp.bind(tcp.getsockname())
            except OSError:
                continue
            found: int = tcp.getsockname()[1]
            return found


async def said(port: int, raw: bytes, source: str = "127.0.0.1", *, end: bool = False) -> bytes:
    """All that a TCP port answers to some bytes from a loopback address; ``end`` sends no more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    try:
        writer.write(raw)
        await writer.drain()
        if end:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(-1), 10)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def told(repo: BaseRepository) -> list[dict[str, Any]]:
    """Payloads of the outbox, each with its topic."""
    from decnet.bus.base import Event

    rows = await repo.outbox_take(1000)
    events = [Event.from_bytes(sealed.topic, sealed.body) for _, sealed in rows]
    return [{"topic": event.topic, "id": event.id, "ts": event.ts, **event.payload} for event in events]
