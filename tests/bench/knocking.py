"""A crowd at the ports of our own decoys, in a process of its own: HTTP requests, DNS questions, mails.

``python -m tests.bench.knocking http PORT COUNT SLUG...`` and the like print the seconds from the first to the last
answer and how many of them were good.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator

from dnslib import DNSRecord

PEERS = 40
AT_ONCE = 32
ZONE = "c.example"
MAIL = (
    b"From: Parcel <desk@parcels.example>\r\nTo: a@b.example\r\nSubject: your parcel %d\r\nX-Mailer: Leaf PHPMailer 2.8\r\n"
    b"Content-Type: text/plain\r\n\r\nZoll offen: https://parcels.example/%d\r\n"
    + b"and so on, and so on.\r\n" * 40
    + b".\r\n"
)


def address(number: int) -> str:
    """One of the crowd."""
    return f"127.0.{1 + number // 200}.{1 + number % 200}"


async def ask_http(port: int, number: int, slugs: list[str]) -> bool:
    """One request, by the next of the crowd for the next token."""
    slug, peer = slugs[number // PEERS % len(slugs)], address(number % PEERS)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(peer, 0))
    writer.write(
        f"GET /i/{slug}/logo.png HTTP/1.1\r\nHost: files.example\r\nUser-Agent: curl/8.5.0\r\n\r\n".encode()
    )
    answer = await reader.read(-1)
    writer.close()
    return answer.startswith(b"HTTP/1.1 200 ")


async def send_mails(port: int, number: int, each: int) -> bool:
    """One connection with some mails."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address(number), 0))

    async def said(line: bytes, wanted: bytes) -> bool:
        writer.write(line)
        answer = await reader.readline()
        while answer[3:4] == b"-":
            answer = await reader.readline()
        return answer.startswith(wanted)

    good = await said(b"", b"220") and await said(b"EHLO x.example\r\n", b"250")
    for one in range(each):
        good &= await said(b"MAIL FROM:<bounce@relay.example>\r\n", b"250")
        good &= await said(b"RCPT TO:<a@b.example>\r\n", b"250")
        good &= await said(b"DATA\r\n", b"354")
        mark = number * each + one
        good &= await said(MAIL % (mark, mark), b"250")
    writer.close()
    return good


async def crowd(count: int, knock: Callable[[int], Awaitable[bool]]) -> tuple[float, int]:
    """Seconds, and good answers, of ``count`` knocks, some at once."""
    numbers, good = iter(range(count)), 0

    async def one(left: Iterator[int]) -> None:
        nonlocal good
        for number in left:
            answered = await knock(number)
            good += answered

    began = time.monotonic()
    await asyncio.gather(*(one(numbers) for _ in range(AT_ONCE)))
    return time.monotonic() - began, good


def ask_dns(port: int, count: int, slugs: list[str]) -> tuple[float, int]:
    """Questions of many resolvers, each seldom enough to be answered; some wait for their answers at a time."""
    sockets = []
    for number in range(count // 10):
        sock = socket.socket(type=socket.SOCK_DGRAM)
        sock.bind((f"127.{1 + number // 60_000}.{number // 240 % 250}.{1 + number % 240}", 0))
        sock.settimeout(5.0)
        sockets.append(sock)
        if len(sockets) == 200:
            break
    packets = [bytes(DNSRecord.question(f"h{n}.{slug}.{ZONE}").pack()) for n, slug in enumerate(slugs)]
    began, good = time.monotonic(), 0
    for start in range(0, count, len(sockets)):
        some = sockets[: count - start]
        for number, sock in enumerate(some):
            sock.sendto(packets[(start + number) % len(packets)], ("127.0.0.1", port))
        good += sum(bool(sock.recv(512)) for sock in some)
    return time.monotonic() - began, good


def main(kind: str, port: int, count: int, *slugs: str) -> tuple[float, int]:
    """Knocks."""
    if kind == "dns":
        return ask_dns(port, count, list(slugs))
    if kind == "http":
        return asyncio.run(crowd(count, lambda number: ask_http(port, number, list(slugs))))
    each = 10
    seconds, good = asyncio.run(crowd(count // each, lambda number: send_mails(port, number, each)))
    return seconds, good * each


if __name__ == "__main__":
    told = main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
    print(*told)
