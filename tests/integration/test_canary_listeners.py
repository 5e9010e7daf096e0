"""The listeners of canary tokens over real sockets: answers, limits, hostile input."""

from __future__ import annotations

import asyncio
import random
import re
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from dnslib import DNSRecord

from decnet.db.repository import BaseRepository
from decnet.decoys.canary.hits import MAX_TEXT
from decnet.decoys.listener import Listener
from tests.dbkit import open_repo
from tests.decoykit import SLUG, Clock, canary_dns, canary_http, said, token, told
from tests.producerkit import case

OTHER = "0" * 26


def by_peer(requests: list[dict[str, str]]) -> dict[str, str]:
    """The documentation addresses of a case, and the loopback address that stands for each here."""
    return {peer: peer.replace("203.0.113.", "127.0.113.") for peer in (r["peer"] for r in requests)}


def without_date(answer: bytes) -> bytes:
    return re.sub(rb"Date: [^\r]+\r\n", b"", answer)


async def test_the_case_of_http(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        await _case_of_http(repo, tmp_path)


async def _case_of_http(repo: BaseRepository, tmp_path: Path) -> None:
    a3 = case("A3")
    own, requests = a3["input"]["tokens"][0], a3["input"]["requests"]
    await repo.canary_add(token(own["token_id"], own["slug"], decky_id=own["decky"], path=own["path"]))
    places = by_peer(requests)
    async with canary_http(tmp_path, repo) as (listener, desk):
        answers = [await said(listener.port, r["raw"].encode("latin-1"), places[r["peer"]]) for r in requests]
        await desk.flush()
    assert without_date(answers[0]) == without_date(answers[1]) != b""
    assert b"Date: " in answers[0]
    assert answers[2] == b"", "no banner"
    assert answers[3].startswith(b"HTTP/1.1 200 ")
    assert answers[3].endswith(b"\r\n\r\n"), "HEAD has no body"
    for answer in answers:
        assert not re.search(rb"(?i)server:|decnet|python|h11|honey", answer)
    events = await told(repo)
    back = {here: there for there, here in places.items()}
    for event, wanted in zip(events, a3["expect"]["events"], strict=True):
        assert event["topic"] == wanted["topic"]
        assert back[event["attacker_ip"]] == wanted["attacker_ip"], "X-Forwarded-For counts from proxies only"
        assert event.get("user_agent", "") == wanted.get("user_agent", "")
    assert [e["request_path"] for e in events] == [requests[n]["raw"].split(" ")[1] for n in (0, 3)]
    assert (desk.counts["canary_unknown"], listener.counts["http_tls_hellos"]) == (1, 1)


GET = "GET /i/{}/{} HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    "rest", ["", "a.png", "s.js", "x/page.html", "d.svg", "api/v1/pods", "..%2f", "r", "r?n=" + "0" * 32, "x.JS?y#z"]
)  # fmt: skip
async def test_known_and_unknown_tokens_get_the_same_bytes_whatever_is_asked(
    tmp_path: Path, rest: str
) -> None:
    async with open_repo("sqlite", tmp_path) as repo, canary_http(tmp_path, repo) as (listener, _):
        await repo.canary_add(token())
        for method in ("GET", "HEAD", "POST", "OPTIONS", "PUT"):
            raw = GET.replace("GET", method)
            answers = [await said(listener.port, raw.format(slug, rest).encode()) for slug in (SLUG, OTHER)]
            assert without_date(answers[0]) == without_date(answers[1]) != b""
        git = [
            await said(listener.port, f"GET /i/{slug}.git/info/refs?x HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            for slug in (SLUG, OTHER)
        ]
        assert without_date(git[0]) == without_date(git[1]) != b""


async def reported(port: int, nonce: str, body: bytes, source: str = "127.0.0.1") -> bytes:
    head = f"POST /i/{SLUG}/r?n={nonce} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
    return await said(port, head.encode() + body, source)


async def test_a_report_counts_with_the_nonce_of_its_page_only(tmp_path: Path) -> None:
    clock = Clock()
    async with open_repo("sqlite", tmp_path) as repo, canary_http(tmp_path, repo, clock) as (listener, desk):
        await repo.canary_add(token(kind="page"))
        script = await said(listener.port, GET.format(SLUG, "s.js").encode())
        found = re.search(rb"r\?n=([0-9a-f]{32})", script)
        assert found is not None
        nonce, body = found[1].decode(), b'{"webdriver": true}'
        await reported(listener.port, "0" * 32, body)
        await reported(listener.port, nonce, body, "127.0.0.9")
        await reported(listener.port, nonce, b"[]")
        await reported(listener.port, nonce, b"{")
        assert listener.counts["http_reports_refused"] == 4
        clock.now += 600
        await reported(listener.port, nonce, body)
        assert listener.counts["http_reports_refused"] == 4
        clock.now += 60
        await reported(listener.port, nonce, body)
        assert listener.counts["http_reports_refused"] == 5
        await desk.flush()
        assert [e.get("navigator_webdriver") for e in await told(repo)] == [None, True]


async def test_a_proxy_of_ours_says_who_asks(tmp_path: Path) -> None:
    proxies = {"trusted_proxies": ("127.0.0.1", "10.0.0.0/8")}
    async with (
        open_repo("sqlite", tmp_path) as repo,
        canary_http(tmp_path, repo, **proxies) as (listener, desk),
    ):
        await repo.canary_add(token())
        for number, forwarded in enumerate(
            [
                "198.51.100.1",
                "198.51.100.9, 198.51.100.2, 10.1.2.3",
                "evil, 10.1.2.3",
                "::ffff:198.51.100.4",
                "",
            ]
        ):
            raw = GET.format(SLUG, number).replace("\r\n\r\n", f"\r\nX-Forwarded-For: {forwarded}\r\n\r\n")
            await said(listener.port, raw.encode())
            await desk.flush()
        peers = {row["request_path"][-1]: row["peer"] for row in await repo.canary_triggers()}
    assert peers == {
        "0": "198.51.100.1", "1": "198.51.100.2", "2": "10.1.2.3", "3": "198.51.100.4", "4": "127.0.0.1",
    }  # fmt: skip


SMUGGLING = [
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHo st: a\r\n\r\n",
    b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"SSH-2.0-x\r\n",
    b"\x00" * 40 + b"\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
]


async def test_what_is_no_plain_request_is_closed_without_a_word(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo, canary_http(tmp_path, repo) as (listener, _):
        for raw in SMUGGLING:
            assert await said(listener.port, raw, end=True) == b"", raw
        assert listener.counts["http_malformed"] == len(SMUGGLING)


async def test_a_second_request_on_a_connection_is_nobodys(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo, canary_http(tmp_path, repo) as (listener, desk):
        await repo.canary_add(token())
        chunked = (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        )
        for first in (GET.format(OTHER, "").encode(), chunked):
            answer = await said(listener.port, first + GET.format(SLUG, "").encode())
            assert answer.count(b"HTTP/1.1 ") == 1
        await desk.flush()
        assert await repo.canary_triggers() == []


async def test_heads_and_bodies_at_their_longest(tmp_path: Path) -> None:
    limits = {"max_head_bytes": 1024, "max_body_bytes": 1024}
    async with open_repo("sqlite", tmp_path) as repo, canary_http(tmp_path, repo, **limits) as (listener, _):
        empty = len(GET.format(SLUG, ""))
        assert await said(listener.port, GET.format(SLUG, "a" * (1024 - empty)).encode())
        assert not await said(listener.port, GET.format(SLUG, "a" * (1025 - empty)).encode())
        assert not await said(listener.port, b"GET /" + b"a" * 3000)
        assert listener.counts["http_heads_too_long"] == 2
        post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n"
        assert await said(listener.port, post.format(1024).encode() + b"a" * 1024)
        assert not await said(listener.port, post.format(1025).encode() + b"a" * 1025)
        assert not await said(listener.port, post.format(10**12).encode() + b"a" * 3000)
        assert listener.counts["http_bodies_too_long"] == 2


async def test_a_slow_client_is_ended_at_its_deadline(tmp_path: Path) -> None:
    async with (
        open_repo("sqlite", tmp_path) as repo,
        canary_http(tmp_path, repo, request_timeout_s=0.3) as (listener, _),
    ):
        began = asyncio.get_running_loop().time()
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        with pytest.raises((ConnectionError, AssertionError)):  # noqa: PT012  one byte after the other, for ever
            while True:
                writer.write(b"G")
                await writer.drain()
                await asyncio.sleep(0.02)
                assert not reader.at_eof()
        assert asyncio.get_running_loop().time() - began < 5
        assert listener.counts["http_timeouts"] == 1
        writer.close()


async def connections(port: int, count: int, source: str = "127.0.0.1") -> list[Any]:
    opened = [await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0)) for _ in range(count)]
    await asyncio.sleep(0.05)
    return opened


async def test_connections_of_a_peer_and_in_all_are_bounded(tmp_path: Path) -> None:
    limits = {"max_connections": 3, "max_connections_peer": 2}
    async with open_repo("sqlite", tmp_path) as repo, canary_http(tmp_path, repo, **limits) as (listener, _):
        ask = GET.format(SLUG, "").encode()
        held = await connections(listener.port, 2)
        assert await said(listener.port, ask) == b""
        assert listener.counts["http_turned_away"] == 1
        assert await said(listener.port, ask, "127.0.0.2") != b""
        held += await connections(listener.port, 1, "127.0.0.3")
        assert await said(listener.port, ask, "127.0.0.2") == b""
        assert listener.counts["http_turned_away"] == 2
        for _, writer in held:
            writer.close()
        await asyncio.sleep(0.05)
        assert await said(listener.port, ask) != b"", "there is room again"


async def test_a_port_that_stops_ends_its_connections_and_can_be_opened_again(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo, canary_http(tmp_path, repo) as (listener, _):
        ((reader, writer),) = await connections(listener.port, 1)
        await asyncio.wait_for(listener.stop(), 5)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 5)
        writer.close()
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", listener.port)
        await listener.start()
        assert await said(listener.port, GET.format(SLUG, "").encode())


async def test_mutated_requests_by_the_thousand_leave_the_listener_as_it_was(tmp_path: Path) -> None:
    from decnet.decoys.http.request import Reading

    chance, base = random.Random(3), case("A3")["input"]["requests"][0]["raw"].encode("latin-1")
    for _ in range(5000):
        raw = bytearray(base)
        for _ in range(chance.randrange(1, 6)):
            place = chance.randrange(len(raw))
            raw[place : place + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        reading = Reading(16_384, 1024)
        found = reading.feed(bytes(raw))
        if found is None and reading.trouble is None:
            found = reading.feed(b"")
        assert (found is None) == (reading.trouble is not None)


async def udp(port: int, packet: bytes, source: str = "127.0.0.1", timeout: float = 2.0) -> bytes | None:
    def ask() -> bytes | None:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.bind((source, 0))
            sock.settimeout(timeout)
            sock.sendto(packet, ("127.0.0.1", port))
            try:
                return sock.recv(4096)
            except TimeoutError:
                return None

    return await asyncio.to_thread(ask)


def question(name: str = f"{SLUG}.c.example") -> bytes:
    return bytes(DNSRecord.question(name).pack())


async def test_dns_over_udp_and_tcp(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo, canary_dns(tmp_path, repo) as (listener, desk):
        await repo.canary_add(token(kind="dns"))
        one = await udp(listener.port, question())
        packet = question()
        two = await said(listener.port, (len(packet).to_bytes(2) + packet) * 2, "127.0.0.2", end=True)
        assert one is not None
        assert str(DNSRecord.parse(one).rr[0].rdata) == "127.0.0.1"
        length = int.from_bytes(two[:2])
        assert len(two) == 2 * (length + 2)
        assert str(DNSRecord.parse(two[2 : length + 2]).rr[0].rdata) == "127.0.0.1"
        assert await udp(listener.port, b"\x00" * 12, timeout=0.2) is None
        await desk.flush()
        assert {row["peer"]: row["hits"] for row in await repo.canary_triggers()} == {
            "127.0.0.1": 1,
            "127.0.0.2": 2,
        }
        assert dict(listener.counts) == {"dns_questions": 3, "dns_broken": 1}


async def test_a_peer_is_answered_so_often_in_a_second(tmp_path: Path) -> None:
    clock = Clock()
    limits = {"per_second_peer": 2, "max_peers": 2}
    async with (
        open_repo("sqlite", tmp_path) as repo,
        canary_dns(tmp_path, repo, clock, **limits) as (listener, _),
    ):
        answers = [listener.answered(question(), peer) for peer in ("a", "a", "a", "b", "c")]
        assert [answer is not None for answer in answers] == [True, True, False, True, False]
        assert listener.counts["dns_too_often"] == 2
        clock.now += 1
        assert listener.answered(question(), "c") is not None


async def test_dns_over_tcp_is_bounded(tmp_path: Path) -> None:
    limits = {"max_connections_peer": 1, "tcp_timeout_s": 0.3}
    async with open_repo("sqlite", tmp_path) as repo, canary_dns(tmp_path, repo, **limits) as (listener, _):
        assert await said(listener.port, (513).to_bytes(2)) == b"", "what would come is not waited for"
        assert await said(listener.port, b"\x00", end=True) == b""
        assert dict(listener.counts) == {"dns_broken": 1, "dns_tcp_broken": 1}
        ((reader, writer),) = await connections(listener.port, 1)
        assert await said(listener.port, b"") == b""
        assert listener.counts["dns_tcp_turned_away"] == 1
        with suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(1), 5) == b""
        writer.close()
        assert listener.counts["dns_tcp_timeouts"] == 1


async def test_a_thousand_hostile_packets_over_udp_leave_it_answering(tmp_path: Path) -> None:
    chance = random.Random(5)
    async with (
        open_repo("sqlite", tmp_path) as repo,
        canary_dns(tmp_path, repo, per_second_peer=10**6) as (listener, _),
    ):
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            for _ in range(1000):
                sock.sendto(chance.randbytes(chance.randrange(1, 600)), ("127.0.0.1", listener.port))
                await asyncio.sleep(0)
        assert await udp(listener.port, question()) is not None


async def test_listeners_hold_loopback_unless_told_otherwise(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        for make in (canary_http, canary_dns):
            async with make(tmp_path, repo) as (listener, _):
                with pytest.raises(OSError):
                    await asyncio.open_connection(own_address(), listener.port)
                held: Listener = listener
                assert held.name.startswith("canary_")


def own_address() -> str:
    """An address of this host that is not the one of listeners: another loopback one will do."""
    return "127.0.0.2"


async def test_a_text_that_is_stored_has_its_longest_and_a_longer_one_is_cut_and_counted(
    tmp_path: Path,
) -> None:
    async with open_repo("sqlite", tmp_path) as repo, canary_http(tmp_path, repo) as (listener, desk):
        await repo.canary_add(token())
        prefix = len(f"/i/{SLUG}/")
        await said(listener.port, GET.format(SLUG, "a" * (MAX_TEXT - prefix)).encode())
        assert listener.counts["http_texts_cut"] == 0
        await said(listener.port, GET.format(SLUG, "b" * (MAX_TEXT + 1 - prefix)).encode(), "127.0.0.2")
        assert listener.counts["http_texts_cut"] == 1
        await desk.flush()
        assert [len(row["request_path"] or "") for row in await repo.canary_triggers()] == [
            MAX_TEXT,
            MAX_TEXT,
        ]
