"""Recorded events, or the events of a log, put on a bus: as fast as it takes them, or at a pace of their own times."""

from __future__ import annotations

import asyncio
from pathlib import Path

from decnet.bus.base import BaseBus
from decnet.config import Settings

AT_ONCE = 500
"""Events of one message where no pace is kept."""
MAX_PAUSE_S = 60.0
"""Seconds that a pause takes at most: recordings have nights in them."""


async def play(
    bus: BaseBus,
    settings: Settings,
    path: Path,
    factor: float,
    refused: list[str],
    longest_s: float = MAX_PAUSE_S,
) -> int:
    """Publishes the events of a file; how many there were.

    ``factor`` is seconds of recording for one second of playing, 0 is as fast as possible; ``longest_s`` bounds a
    pause. ``refused`` gets what was wrong with lines and files. Raises SensorError and BusError.
    """
    from decnet.sensors.recordings import attach_recording  # here: the console starts without the planes
    from decnet.sensors.replay import iter_events

    count, batch, clock = 0, [], None
    for event in iter_events(path, settings, refused):
        if "ttylog" in event.payload:
            await attach_recording(event, bus, path, settings.sensor.max_tty_bytes)
        if factor:
            pause = 0.0 if clock is None else min(max(event.ts - clock, 0.0) / factor, longest_s)
            clock = event.ts if clock is None else max(clock, event.ts)
            await asyncio.sleep(pause)
        batch.append(event)
        if factor or len(batch) >= AT_ONCE:
            await bus.publish_events(batch)
            batch = []
        count += 1
    if batch:
        await bus.publish_events(batch)
    return count
