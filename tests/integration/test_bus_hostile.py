"""Messages that the server lets through and a client library may choke on: none makes a reader deaf."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from decnet.bus.base import Event
from decnet.bus.nats.connection import NatsBus
from decnet.bus.nats.consumer import FETCH_BYTES
from decnet.config import BusSettings
from tests.fuzzkit import malformed, publish, send
from tests.natskit import PASSWORD, USER, nats_server, server_of

WRONG = b"attacker.observation.\xff\x9b"
SHOWN = "attacker.observation.\ufffd\ufffd"


def message(subject: bytes, number: int, header: bytes = b"") -> bytes:
    body = json.dumps({"payload": {"n": number}}).encode()
    if not header:
        return b"PUB %s %d\r\n%s\r\n" % (subject, len(body), body)
    return b"HPUB %s %d %d\r\n%s%s\r\n" % (subject, len(header), len(header) + len(body), header, body)


LINES = [
    message(b"attacker.observed", 0),
    message(WRONG, 1),
    message(b"attacker.observed", 2, b"NATS/1.0 \xff\xfe\xfd\r\n\r\n"),
    message(b"attacker.observed", 3, b"NATS/1.0 503\xff \xff\r\nx\xff: \x1b]0;y\r\n\r\n"),
    message(b"attacker.observed", 4, b"NATS/1.0\r\n: \r\nno colon\r\n\x80: z\r\n\r\n"),
    message(b"attacker.observation.nul.\x00", 6),
    message(b"attacker.observed", 5),
]


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[tuple[NatsBus, str]]:
    with nats_server(tmp_path / "nats") as url:
        made = NatsBus(
            url, settings=BusSettings(user=USER, password=SecretStr(PASSWORD), connect_timeout_s=5.0)
        )
        await made.connect()
        yield made, url
        await made.close()


async def test_no_subject_or_header_makes_a_subscriber_deaf(bus: tuple[NatsBus, str]) -> None:
    made, url = bus
    async with made.subscribe(">") as live, asyncio.timeout(10):
        await asyncio.to_thread(publish, url, malformed())
        await asyncio.to_thread(send, url, LINES)
        heard: list[Event] = []
        while not heard or heard[-1].payload.get("n") != 5:
            heard.append(await anext(aiter(live)))
    assert SHOWN in {event.topic for event in heard}
    assert {0, 1, 5} <= {event.payload.get("n") for event in heard}


async def test_no_subject_or_header_makes_a_consumer_deaf(bus: tuple[NatsBus, str]) -> None:
    made, url = bus
    async with asyncio.timeout(20):
        consumer = await made.consume("reader", ["attacker.>"])
        await asyncio.to_thread(send, url, LINES)
        found: dict[int, str] = {}
        while 5 not in found:
            for delivery in await consumer.fetch(10, 0.5):
                if delivery.event is not None:
                    found[delivery.event.payload["n"]] = delivery.topic
                await delivery.ack()
    assert found[1] == SHOWN
    assert (
        found.get(6, "attacker.observation.nul.\ufffd") == "attacker.observation.nul.\ufffd"
    )  # when the server takes it at all


LARGE = 2**20
ROOMY = (
    f'listen: "127.0.0.1:-1"\nmax_payload: {16 * LARGE}\njetstream {{ store_dir: %s }}\n'
    f"authorization {{ user: {USER}, password: {json.dumps(PASSWORD)} }}\n"
)
"""A server of somebody who lets larger messages through than an event may be."""


async def test_an_answer_is_bounded_in_bytes_and_nothing_is_too_large_to_come(tmp_path: Path) -> None:
    sizes = [LARGE] * 20 + [FETCH_BYTES + LARGE, LARGE, 10]
    lines = [b"PUB attacker.observed %d\r\n%s\r\n" % (size, b"x" * size) for size in sizes]
    login = BusSettings(user=USER, password=SecretStr(PASSWORD), connect_timeout_s=5.0)
    with server_of(tmp_path, ROOMY % json.dumps(str(tmp_path / "js"))) as url:
        bus = NatsBus(url, settings=login)
        await bus.connect()
        consumer = await bus.consume("reader", ["attacker.>"])
        await asyncio.to_thread(send, url, lines)
        batches: list[list[int]] = []
        async with asyncio.timeout(20):
            while sum(map(len, batches)) < len(sizes):
                found = await consumer.fetch(1000, 0.5)
                batches.append([len(delivery.body) for delivery in found])
                for delivery in found:
                    await delivery.ack()
        await bus.close()
    assert [size for batch in batches for size in batch] == sizes
    assert max(map(sum, (batch for batch in batches if FETCH_BYTES + LARGE not in batch))) <= FETCH_BYTES
    assert len(max(batches, key=len)) == FETCH_BYTES // LARGE - 1, "eight with their subjects are over it"
    (alone,) = (batch for batch in batches if FETCH_BYTES + LARGE in batch)
    assert alone[0] == FETCH_BYTES + LARGE
