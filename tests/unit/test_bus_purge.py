"""The purge of the stream: old AND read, or read and beyond the window when space runs out; never unread."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from decnet.bus.base import ConsumerInfo
from decnet.bus.purge import (
    SPACE_THRESHOLD,
    StreamState,
    acknowledged_to,
    purge_below,
    purge_stream,
)
from decnet.config import BusSettings

NOW = 1_000_000.0
SETTINGS = BusSettings(retention_s=1000.0, read_back_window=10)


def consumer(pending: int = 0, unacked: int = 0, floor: int = 0, delivered: int = 0) -> ConsumerInfo:
    return ConsumerInfo(pending=pending, unacked=unacked, ack_floor=floor, delivered=delivered)


@pytest.mark.parametrize(
    ("consumers", "done"),
    [
        ([], 0),
        ([consumer()], 100),
        ([consumer(floor=40)], 100),
        ([consumer(pending=1)], 0),
        ([consumer(pending=5, floor=40, delivered=50)], 50),
        ([consumer(pending=5, floor=60, delivered=50)], 60),
        ([consumer(unacked=1, floor=40, delivered=100)], 40),
        ([consumer(pending=3, unacked=2, floor=40, delivered=60)], 40),
        ([consumer(floor=100), consumer(pending=1, floor=7, delivered=7), consumer()], 7),
    ],
)
def test_the_slowest_durable_says_what_is_read(consumers: Sequence[ConsumerInfo], done: int) -> None:
    assert acknowledged_to(consumers, 100) == done


def state(first: int = 1, last: int = 100, used: int = 0, expired: int = 1, size: int = 1000) -> StreamState:
    return StreamState(first, last, used, size, expired_below=expired)


@pytest.mark.parametrize(
    ("expired", "done", "below"),
    [
        (1, 100, 1),
        (50, 100, 50),
        (50, 50, 50),
        (50, 49, 50),
        (50, 48, 49),
        (50, 0, 1),
        (101, 100, 101),
        (101, 99, 100),
        (500, 400, 101),
    ],
)
def test_only_what_is_old_and_read_leaves(expired: int, done: int, below: int) -> None:
    assert purge_below(state(expired=expired), done, 10) == below


@pytest.mark.parametrize(("used", "below"), [(799, 5), (800, 91), (801, 91), (1000, 91)])
def test_at_eighty_percent_all_but_the_window_leaves(used: int, below: int) -> None:
    assert SPACE_THRESHOLD == 0.8
    assert purge_below(state(used=used, expired=5), 100, 10) == below


def test_a_purge_for_space_stops_at_the_unread_and_never_lessens_a_purge_by_age() -> None:
    full = state(used=1000)
    assert purge_below(full, 40, 10) == 31
    assert purge_below(full, 40, 0) == 41
    assert purge_below(full, 5, 10) == 1
    assert purge_below(state(used=1000, expired=95), 100, 10) == 95
    assert purge_below(state(used=1000, size=0), 100, 10) == 1
    assert purge_below(state(first=60, used=1000), 40, 10) == 60


class Stream:
    """Stands in for the bus: a stream of ``last`` events, of which those below ``expired`` are old."""

    def __init__(self, consumers: Sequence[ConsumerInfo], *, used: int = 0, expired: int = 1) -> None:
        self.settings = SETTINGS
        self.calls: list[Any] = []
        self.consumers = consumers
        self.used = used
        self.expired = expired
        self.size = 1000

    async def stream_info(self) -> dict[str, int]:
        self.calls.append("info")
        return {"messages": 100, "bytes": self.used, "first_seq": 1, "last_seq": 100, "max_bytes": self.size}

    async def durables(self) -> dict[str, ConsumerInfo]:
        self.calls.append("durables")
        return {str(number): info for number, info in enumerate(self.consumers)}

    async def first_since(self, cutoff: float) -> int:
        self.calls.append(("since", cutoff))
        return self.expired

    async def purge_to(self, below: int) -> None:
        self.calls.append(("purge", below))
        self.used -= 9 * below

    async def drop_blobs(self, cutoff: float) -> int:
        self.calls.append(("blobs", cutoff))
        return 3


async def purge(stream: Stream) -> Any:
    return await purge_stream(stream, NOW)  # type: ignore[arg-type]


async def test_the_stream_is_read_before_the_consumers_and_age_counts_from_now() -> None:
    stream = Stream([consumer(floor=100)], expired=21)
    report = await purge(stream)
    cutoff = NOW - 1000.0
    assert stream.calls == [
        "info",
        "durables",
        ("since", cutoff),
        ("purge", 21),
        ("blobs", cutoff),
        "info",
    ]
    assert (report.below, report.events, report.blobs, report.alert) == (21, 20, 3, False)


async def test_without_a_time_the_age_counts_from_the_wall_clock() -> None:
    stream, before = Stream([consumer()]), time.time()
    await purge_stream(stream)  # type: ignore[arg-type]
    ((_, cutoff),) = [call for call in stream.calls if call[0] == "since"]
    assert before - 1000.0 <= cutoff <= time.time() - 1000.0


async def test_nothing_old_purges_nothing() -> None:
    stream = Stream([consumer(floor=100)])
    report = await purge(stream)
    assert not [call for call in stream.calls if call[0] == "purge"]
    assert (report.events, report.fill) == (0, 0.0)


async def test_without_durables_everything_counts_as_unread() -> None:
    stream = Stream([], used=999, expired=101)
    report = await purge(stream)
    assert [call for call in stream.calls if call[0] in ("purge", "blobs")] == []
    assert (report.events, report.blobs, report.alert) == (0, 0, True)


async def test_recordings_of_old_unread_events_stay() -> None:
    behind = consumer(pending=1, floor=19, delivered=19)
    stream = Stream([behind], expired=22)
    assert (await purge(stream)).blobs == 0
    assert ("purge", 20) in stream.calls
    caught_up = Stream([consumer(pending=1, floor=21, delivered=21)], expired=22)
    assert (await purge(caught_up)).blobs == 3
    all_read = Stream([consumer()], expired=101)
    assert (await purge(all_read)).blobs == 3


@pytest.mark.parametrize(("used", "alert"), [(799, False), (800, True), (1000, True)])
async def test_an_alert_says_that_unread_events_alone_fill_the_stream(used: int, alert: bool) -> None:
    stream = Stream([consumer(pending=9)], used=used)
    with capture_logs() as logs:
        report = await purge(stream)
    assert (report.alert, report.fill) == (alert, used / 1000)
    assert any(line["log_level"] == "warning" and "unread" in line["event"] for line in logs) is alert


async def test_fill_is_measured_after_the_purge() -> None:
    stream = Stream([consumer()], used=900)
    with capture_logs() as logs:
        report = await purge(stream)
    assert (report.events, report.fill, report.alert) == (90, 0.081, False)
    assert any(line.get("events") == 90 and line.get("blobs") == 3 for line in logs)


async def test_a_stream_without_a_size_limit_is_never_full() -> None:
    stream = Stream([consumer()], used=10**12)
    stream.size = 0
    report = await purge(stream)
    assert (report.events, report.fill, report.alert) == (0, 0.0, False)
