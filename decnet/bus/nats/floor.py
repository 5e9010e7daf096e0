"""What JetStream does without us: the floor that ``bench`` shows beside the engine's figures."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import nats

from decnet.bus.nats.server import EmbeddedServer

SIZE = 600
"""Bytes of a message: about what one of our events has."""
AT_ONCE = 500


async def messages_a_second(folder: Path, count: int) -> float:
    """Messages a second that a pull consumer fetches and acknowledges, out of a stream on disk."""
    server = EmbeddedServer(folder)
    await server.start()
    try:
        client = await nats.connect(server.url, token=server.token)
        stream = client.jetstream()
        await stream.add_stream(name="floor", subjects=["floor.>"])
        body = b"x" * SIZE
        for start in range(0, count, AT_ONCE):
            sent = [await stream.publish_async("floor.x", body) for _ in range(min(AT_ONCE, count - start))]
            await asyncio.gather(*sent)
        pull = await stream.pull_subscribe("floor.>", durable="floor")
        started, got = time.perf_counter(), 0
        while got < count:
            found = await pull.fetch(AT_ONCE, timeout=10)
            await asyncio.gather(*(message.ack() for message in found))
            got += len(found)
        await client.flush()
        took = time.perf_counter() - started
        await client.close()
        return count / took
    finally:
        await server.stop()
