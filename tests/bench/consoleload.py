"""Load for the console: a process that publishes at a steady rate to a NATS server started by a test."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.natskit import PASSWORD, USER

_PUBLISHER = """
import asyncio, json, sys, time
import nats
async def main(url, user, password, rate, limit):
    client = await nats.connect(url, user=user, password=password)
    sent = 0
    started = time.monotonic()
    while sent < limit:
        due = min(int((time.monotonic() - started) * rate), sent + 2000, limit)
        for i in range(sent, due):
            ip = f"198.51.100.{i % 200}"
            body = {"v": 1, "id": f"{i:032x}", "topic": "decky.web-07.traffic", "type": "t", "ts": time.time(),
                    "payload": {"seq": i % 10, "attacker_ip": ip, "bytes": 4711, "note": "x" * 120}}
            await client.publish("decky.web-07.traffic", json.dumps(body).encode())
        sent = due
        await asyncio.sleep(0.02)
    await client.flush(60)
    await client.close()
asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]), int(sys.argv[5])))
"""


def big_event(size: int) -> str:
    """A program that publishes a small event and one of ``size`` bytes: a long text, and a list of many lines."""
    return f"""
import asyncio, json, sys
import nats
async def main(url, user, password):
    client = await nats.connect(url, user=user, password=password)
    half = {size} // 2 - 1000
    for payload in ({{"attacker_ip": "198.51.100.1"}}, {{"blob": "x" * half, "list": ["y" * 10] * (half // 14)}}):
        body = {{"v": 1, "id": str(len(payload)) * 32, "topic": "decky.web-07.big", "type": "t", "ts": 1.0, "payload": payload}}
        await client.publish("decky.web-07.big", json.dumps(body).encode())
    await client.flush(20)
    await client.close()
asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3]))
"""


@contextmanager
def publisher(url: str, rate: float, limit: int = 10**9) -> Iterator[subprocess.Popen[bytes]]:
    """Publishes ``rate`` events a second, ``limit`` at most, until the block ends."""
    process = subprocess.Popen([sys.executable, "-c", _PUBLISHER, url, USER, PASSWORD, str(rate), str(limit)])
    try:
        yield process
    finally:
        process.kill()
        process.wait()
