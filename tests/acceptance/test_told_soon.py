"""What goes wrong with a log is told within five seconds, also where heartbeats come seldom."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from decnet.config import RuntimeSettings, SensorSpec, Settings
from decnet.engine import Engine
from decnet_tui.model.feed import Feed
from tests.cowriegen import write_log

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]
TOLD_S = 5.0


async def _until(engine: Engine, look: Callable[[dict[str, Any]], object], limit: float) -> float:
    """Seconds until the bus says it of the sensor."""
    feed, begun = Feed(), time.monotonic()
    async with engine.bus.subscribe("system.sensors.health") as news:
        while True:
            left = limit - (time.monotonic() - begun)
            assert left > 0, [dict(row, path="") for row in feed.sensors()]
            try:
                feed.add(await asyncio.wait_for(anext(aiter(news)), left))
            except TimeoutError:
                continue
            if any(look(row) for row in feed.sensors()):
                return time.monotonic() - begun


async def test_a_truncated_and_a_vanished_log_are_named_within_five_seconds(tmp_path: Path) -> None:
    log = tmp_path / "cowrie.json"
    write_log(log, 40, 7)
    settings = Settings(
        data_dir=tmp_path / "data", bus_type="memory", workers=("sensors",), runtime=RuntimeSettings(heartbeat_s=60.0),
        sensors=(SensorSpec(kind="cowrie", path=log),),
    )  # fmt: skip
    engine = Engine(settings)
    await engine.start()
    seldom = time.monotonic() + 8.0  # the first beats come often, 1, 3 and 7 seconds after the start
    try:
        await _until(engine, lambda row: row["state"] == "ok" and row["lines"], 20.0)
        await asyncio.sleep(max(0.0, seldom - time.monotonic()))
        log.write_text("")
        assert await _until(engine, lambda row: row["truncations"], TOLD_S) < TOLD_S
        log.unlink()
        assert await _until(engine, lambda row: row["state"] == "missing" or row["vanished"], TOLD_S) < TOLD_S
    finally:
        await engine.stop()
