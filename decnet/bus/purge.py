"""What may leave the stream: a pure policy, and its application.

Evidence that some durable consumer has not acknowledged never leaves; then the stream refuses instead.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

from decnet.bus.base import ConsumerInfo
from decnet.bus.nats.connection import NatsBus
from decnet.logs import get_logger

log = get_logger(__name__)
SPACE_THRESHOLD = 0.8
"""Part of the size limit at which acknowledged events leave before their time."""


@dataclass(frozen=True, slots=True)
class StreamState:
    """The stream as the policy sees it; ``expired_below`` is the first one young enough to stay."""

    first_seq: int
    last_seq: int
    bytes: int
    max_bytes: int
    expired_below: int


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """What a purge did; ``alert`` says that unread evidence alone fills the stream."""

    below: int
    events: int
    blobs: int
    fill: float
    alert: bool


def acknowledged_to(consumers: Collection[ConsumerInfo], last_seq: int) -> int:
    """The lowest sequence up to which every durable is done; 0 without durables.

    ``last_seq`` must have been read before the consumers were: a durable with nothing left is done up
    to there, although its own floor stays at the last event of *its* topics.
    """
    floors = (_floor(consumer, last_seq) for consumer in consumers)
    return min(floors, default=0)


def _floor(consumer: ConsumerInfo, last_seq: int) -> int:
    if consumer.unacked:
        return consumer.ack_floor
    return max(consumer.ack_floor, last_seq if not consumer.pending else consumer.delivered)


def purge_below(state: StreamState, acknowledged: int, read_back_window: int) -> int:
    """The sequence below which everything may be deleted; ``first_seq`` means nothing.

    ``acknowledged`` is the sequence up to which every durable is done, ``read_back_window`` the number
    of newest acknowledged events that a purge for space leaves.
    """
    done = acknowledged + 1
    below = min(state.expired_below, done)
    if state.max_bytes > 0 and state.bytes >= SPACE_THRESHOLD * state.max_bytes:
        below = max(below, done - read_back_window)
    return max(state.first_seq, min(below, state.last_seq + 1))


async def purge_stream(bus: NatsBus, now: float | None = None) -> PurgeReport:
    """Applies the policy once; ``now`` is epoch seconds. Raises BusUnavailable."""
    settings = bus.settings
    cutoff = (time.time() if now is None else now) - settings.retention_s
    info = await bus.stream_info()
    acknowledged = acknowledged_to((await bus.durables()).values(), info["last_seq"])
    state = StreamState(
        first_seq=info["first_seq"],
        last_seq=info["last_seq"],
        bytes=info["bytes"],
        max_bytes=info["max_bytes"],
        expired_below=await bus.first_since(cutoff),
    )
    below = purge_below(state, acknowledged, settings.read_back_window)
    if below > state.first_seq:
        await bus.purge_to(below)
    all_read = acknowledged >= state.last_seq or below >= state.expired_below
    blobs = await bus.drop_blobs(cutoff) if all_read else 0
    return await _report(bus, state, below, blobs)


async def _report(bus: NatsBus, state: StreamState, below: int, blobs: int) -> PurgeReport:
    after = await bus.stream_info()
    fill = after["bytes"] / state.max_bytes if state.max_bytes > 0 else 0.0
    report = PurgeReport(
        below=below,
        events=max(0, below - state.first_seq),
        blobs=blobs,
        fill=fill,
        alert=fill >= SPACE_THRESHOLD,
    )
    if report.events or report.blobs:
        log.info("acknowledged events purged", events=report.events, blobs=report.blobs, below=below)
    if report.alert:
        log.warning("the stream fills with unread events", fill=round(fill, 3))
    return report
