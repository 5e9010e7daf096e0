"""Helpers around a bus: news that may be lost, heartbeats, and the control topic of a worker."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from decnet.bus import topics
from decnet.bus.base import BaseBus, Event
from decnet.errors import BusError
from decnet.logs import get_logger

log = get_logger(__name__)
publish_failures: Final[Counter[str]] = Counter()
"""News that could not be published, by exception name; part of the health of the engine."""

Extra = Callable[[], Mapping[str, Any]] | Mapping[str, Any] | None


async def publish_safely(
    bus: BaseBus | None, topic: str, payload: dict[str, Any], event_type: str = ""
) -> bool:
    """Publishes news whose loss is harmless; False instead of an error. Without a bus it does nothing."""
    if bus is None:
        return False
    try:
        await bus.publish(topic, payload, event_type=event_type)
    except Exception as error:  # a named boundary: news must never break work
        publish_failures[type(error).__name__] += 1
        log.warning("event not published", topic=topic, reason=str(error), exc_info=not _expected(error))
        return False
    return True


def _expected(error: Exception) -> bool:
    """Errors that need no traceback."""
    return isinstance(error, BusError)


async def run_health_heartbeat(
    bus: BaseBus | None, worker: str, *, interval: float = 10.0, extra: Extra = None
) -> None:
    """Publishes ``system.<worker>.health`` every ``interval`` seconds until it is cancelled.

    ``extra`` gives the worker's own fields, or a function that does; they overrule the standard ones.
    """
    while True:
        await publish_safely(bus, topics.system_health(worker), _beat(worker, extra), topics.SYSTEM_HEALTH)
        await asyncio.sleep(interval)


def _beat(worker: str, extra: Extra) -> dict[str, Any]:
    standard: dict[str, Any] = {
        "worker": worker,
        "ts": time.time(),
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "state": "ok",
        "processed": 0,
        "failed": 0,
        "dead_lettered": 0,
        "lag": 0,
        "last_event_ts": None,
    }
    try:
        own = extra() if callable(extra) else extra or {}
    except Exception as error:  # a named boundary: a beat without extras beats silence
        log.warning("health fields failed", worker=worker, exc_info=True)
        own = {"state": "degraded", "note": f"health fields failed: {type(error).__name__}"}
    return {**standard, **own}


async def run_control_listener(bus: BaseBus | None, worker: str, shutdown: asyncio.Event) -> None:
    """Sets ``shutdown`` and returns when ``system.<worker>.control`` says ``stop``."""
    if await _stop_asked(bus, worker):
        shutdown.set()


async def run_control_listener_signal(bus: BaseBus | None, worker: str) -> None:
    """Sends SIGTERM to this process when ``system.<worker>.control`` says ``stop``."""
    if await _stop_asked(bus, worker):
        os.kill(os.getpid(), signal.SIGTERM)


async def _stop_asked(bus: BaseBus | None, worker: str) -> bool:
    """True once a stop came; False when there is no bus or the subscription ended."""
    if bus is None:
        return False
    async with bus.subscribe(topics.system_control(worker)) as subscription:
        async for event in subscription:
            if _is_stop(event):
                log.info("stop asked for", worker=worker, by=str(event.payload.get("requested_by", "")))
                return True
    return False


def _is_stop(event: Event) -> bool:
    return event.payload.get("action") == "stop"
