"""Crowds and floods at our own decoys: bounds bite and are counted, memory stays flat, others are served."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from dnslib import DNSRecord

from decnet.decoys.http.answers import answer_to, wanted_of
from decnet.decoys.http.request import packed
from tests.dbkit import open_repo
from tests.decoykit import SLUG, Clock, canary_dns, canary_http, said, token
from tests.producerkit import case

PACKETS = 50_000
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
ROOM = 24 * 2**20
"""Bytes by which a process may grow that holds nothing of what comes in."""
NAMES = re.compile(rb"(?i)decnet|python|h11|aiosmtpd|dnslib|asyncio|honey|canary|decoy")


def resident() -> int:
    """Bytes of this process in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def mutated(count: int) -> Iterator[bytes]:
    """Packets of the case with bytes changed, cut, put in and said twice."""
    chance = random.Random(18)
    base = [bytes.fromhex(packet["hex"]) for packet in case("A4")["input"]["packets"]]
    for number in range(count):
        packet = bytearray(base[number % len(base)])
        for _ in range(chance.randrange(1, 8)):
            place = chance.randrange(len(packet) + 1)
            match chance.randrange(4):
                case 0 if place < len(packet):
                    packet[place] = chance.randrange(256)
                case 1:
                    del packet[place:]
                case 2:
                    packet[place:place] = chance.randbytes(chance.randrange(40))
                case _:
                    packet += packet[:place]
        yield bytes(packet[:1400]) or b"\0"


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_fifty_thousand_mutated_packets_cost_nobody_else_an_answer(tmp_path: Path) -> None:
    clock = Clock()
    async with (
        open_repo("sqlite", tmp_path) as repo,
        canary_dns(tmp_path, repo, clock, per_second_peer=100_000) as (listener, desk),
    ):
        await repo.canary_add(token(kind="dns"))
        good = bytes(DNSRecord.question(f"{SLUG}.c.example").pack())
        came = lambda: sum(listener.counts[name] for name in ("dns_questions", "dns_broken", "dns_too_often"))  # noqa: E731
        before, answers = resident(), 0
        with (
            closing(socket.socket(type=socket.SOCK_DGRAM)) as evil,
            closing(socket.socket(type=socket.SOCK_DGRAM)) as other,
        ):
            evil.bind(("127.0.0.66", 0))
            other.bind(("127.0.0.7", 0))
            other.setblocking(False)
            evil.setblocking(False)
            for number, packet in enumerate(mutated(PACKETS), 1):
                with suppress(BlockingIOError):
                    evil.sendto(packet, ("127.0.0.1", listener.port))
                if number % 100 == 0:
                    other.sendto(good, ("127.0.0.1", listener.port))
                    answers += bool(
                        await asyncio.wait_for(asyncio.get_running_loop().sock_recv(other, 512), 10)
                    )
                    with suppress(BlockingIOError):
                        while evil.recv(2048):
                            pass
        assert answers == PACKETS // 100
        assert came() == PACKETS + answers, "each is counted by what became of it"
        assert listener.counts["dns_broken"] > PACKETS // 2
        await desk.flush()
        assert (await repo.canary_triggers())[0]["hits"] >= 1
        assert resident() - before < ROOM


async def test_a_resolver_that_asks_without_end_is_answered_twenty_times_a_second(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo, canary_dns(tmp_path, repo, Clock()) as (listener, _):
        packet = bytes(DNSRecord.question(f"{SLUG}.c.example").pack())
        answered = [listener.answered(packet, "203.0.113.9") is not None for _ in range(1000)]
        assert (sum(answered), listener.counts["dns_too_often"]) == (20, 980)
        assert listener.answered(packet, "203.0.113.10") is not None, "another one is"


async def test_slow_clients_take_no_place_of_others(tmp_path: Path) -> None:
    """Sixty connections of one peer that send a byte now and then: sixteen stay, and nobody else notices."""
    async with (
        open_repo("sqlite", tmp_path) as repo,
        canary_http(tmp_path, repo, request_timeout_s=1.0) as (listener, _),
    ):
        slow = [
            await asyncio.open_connection("127.0.0.1", listener.port, local_addr=("127.0.0.66", 0))
            for _ in range(60)
        ]
        for _, writer in slow:
            writer.write(b"GET /")
        for _ in range(200):
            if listener.counts["http_turned_away"] == 44:
                break
            await asyncio.sleep(0.01)
        assert listener.counts["http_turned_away"] == 44
        began = time.monotonic()
        raw = f"GET /i/{SLUG}/a.png HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        for number in range(20):
            assert (await said(listener.port, raw, f"127.0.1.{number + 1}")).startswith(b"HTTP/1.1 200 ")
        assert time.monotonic() - began < 10
        for _ in range(500):
            if listener.counts["http_timeouts"] == 16:
                break
            await asyncio.sleep(0.02)
        assert listener.counts["http_timeouts"] == 16
        for _, writer in slow:
            writer.close()
        assert (await said(listener.port, raw, "127.0.0.66")).startswith(b"HTTP/1.1 200 "), (
            "there is room again"
        )


@pytest.mark.parametrize(
    "target", [f"/i/{SLUG}", f"/i/{SLUG}/s.js", f"/i/{SLUG}/a.html", f"/i/{SLUG}/a.svg", f"/i/{SLUG}.git/info/refs", f"/i/{SLUG}/api/v1", f"/i/{SLUG}/r", "/", "/x"]
)  # fmt: skip
def test_no_answer_over_http_names_what_it_is(target: str) -> None:
    for method in ("GET", "POST"):
        answer = packed(answer_to(wanted_of(method, target), "0" * 32), 1.8e9, with_body=True)
        assert not NAMES.search(answer)
        assert b"\r\nServer:" not in answer
