"""Health: counters of a worker and the payload that tells the truth about it."""

from __future__ import annotations

import os
import re
import socket
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from decnet.bus.publish import publish_failures
from decnet.events.topics import pattern_of
from decnet.processes import process_alive
from decnet.runtime.batchtimes import BatchTimes

BUS, DATABASE = "bus", "database"
PARTS = frozenset({BUS, DATABASE})
"""Names in health under which no worker runs, but a part of the engine."""
MAX_REASONS, REASON_CHARS = 32, 80
"""Kinds of reasons that are counted each by itself, and their length: they may quote whoever sent the event."""
OTHERS = "(others)"
_DIGITS = re.compile(r"\d+")
STALE_BEATS = 3
"""A worker is stale after this many missed heartbeats."""
AHEAD_S = 600.0
"""Seconds by which a heartbeat may be ahead of the clock of whoever looks."""


@dataclass(slots=True)
class WorkerStats:
    """Counters of one worker in this process; ``last_event_ts`` is epoch seconds of event time.

    ``failed`` counts the handler's failed attempts, ``restarting`` names background tasks between two tries.
    ``malformed`` counts events that are none, ``malformed_reasons`` why; of events that are, ``element_faults`` counts what was set aside
    and ``unknown_keys`` what nobody knows, by kind of event, in the worker that keeps the topic.
    """

    processed: int = 0
    failed: int = 0
    dead_lettered: int = 0
    malformed: int = 0
    malformed_reasons: Counter[str] = field(default_factory=Counter)
    element_faults: Counter[str] = field(default_factory=Counter)
    unknown_keys: Counter[str] = field(default_factory=Counter)
    lag: int = 0
    last_event_ts: float = 0.0
    restarts: int = 0
    note: str = ""
    restarting: set[str] = field(default_factory=set)
    batches: BatchTimes = field(default_factory=BatchTimes, compare=False)

    def add_malformed(self, reason: str) -> None:
        """One event was none; what was wrong with it counts by its kind, without numbers and of so many kinds at most."""
        self.malformed += 1
        kind = _DIGITS.sub("#", reason)[:REASON_CHARS]
        known = kind in self.malformed_reasons or len(self.malformed_reasons) < MAX_REASONS
        self.malformed_reasons[kind if known else OTHERS] += 1

    def add_faults(self, topic: str, elements: int) -> None:
        """So many elements of an event could not be read."""
        self.element_faults[pattern_of(topic) or topic] += elements

    def add_unknown(self, topic: str, keys: int) -> bool:
        """So many keys of an event are unknown; whether they are the first ones of its kind."""
        kind = pattern_of(topic) or topic
        first = kind not in self.unknown_keys
        self.unknown_keys[kind] += keys
        return first

    @property
    def trouble(self) -> str:
        """Why the worker is not green, as far as the runtime knows; empty when it is."""
        return self.note or ", ".join(f"{name} restarts" for name in sorted(self.restarting))


def health_payload(worker: str, state: str, stats: WorkerStats, extra: dict[str, Any]) -> dict[str, Any]:
    """The body of ``system.<worker>.health``; a ``degraded`` reason turns a green state yellow.

    ``publish_failures`` is the whole process's count of news that were lost.
    """
    reason = extra.pop("degraded", "") or stats.trouble
    return {
        "worker": worker,
        "ts": time.time(),
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "state": "degraded" if state == "ok" and reason else state,
        "processed": stats.processed,
        "failed": stats.failed,
        "dead_lettered": stats.dead_lettered,
        "malformed": stats.malformed,
        "malformed_reasons": dict(stats.malformed_reasons),
        "element_faults": dict(stats.element_faults),
        "unknown_keys": dict(stats.unknown_keys),
        "lag": stats.lag,
        "last_event_ts": stats.last_event_ts or None,
        "restarts": stats.restarts,
        "publish_failures": publish_failures.total(),
        "note": reason,
        **extra,
    }


def status_of(payload: Mapping[str, object], now: float, heartbeat_s: float) -> str:
    """The state as reported (ok, degraded, failed, waiting_for_…, paused, stopped); stale when the beats stopped.

    A beat from the future is of a time before the clock was set back, or of a host whose clock is wrong: some minutes
    of that are borne.
    """
    state = str(payload.get("state", "unknown"))
    ts = payload.get("ts")
    age = now - ts if isinstance(ts, (int, float)) else float("inf")
    silent = age > STALE_BEATS * heartbeat_s or age < -AHEAD_S or process_gone(payload)
    return "stale" if state != "stopped" and silent else state


def process_gone(payload: Mapping[str, Any]) -> bool:
    """Whether the process that sent this heartbeat ran here and is dead: no need to wait for beats then."""
    pid = payload.get("pid")
    return isinstance(pid, int) and payload.get("host") == socket.gethostname() and not process_alive(pid)
