"""The memory bus and a real server, as one fixture for suites that hold for both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from decnet.bus.base import BaseBus
from decnet.bus.memory import Broker, MemoryBus
from decnet.bus.nats.connection import NatsBus
from decnet.bus.nats.server import EmbeddedServer
from decnet.config import BusSettings


def both_buses(settings: BusSettings) -> Any:
    """A fixture: a connected bus of each kind with these settings, closed behind the test."""

    @pytest.fixture(params=["memory", "nats"])
    async def bus(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseBus]:
        if request.param == "memory":
            memory = MemoryBus(settings=settings, broker=Broker(settings))
            await memory.connect()
            yield memory
            await memory.close()
            return
        server = EmbeddedServer(tmp_path, settings)
        await server.start()
        client = NatsBus(server.url, token=server.token, settings=settings)
        await client.connect()
        yield client
        await client.close()
        await server.stop()

    return bus
