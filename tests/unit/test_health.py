"""What a heartbeat means: as reported, or stale when it is old or its process is gone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from decnet.bus.memory import MemoryBus
from decnet.bus.publish import publish_failures, publish_safely
from decnet.config import load_settings
from decnet.runtime.health import (
    MAX_REASONS,
    OTHERS,
    REASON_CHARS,
    WorkerStats,
    health_payload,
    status_of,
)
from decnet.runtime.parts import PartsHealth

NOW = 1_000_000.0


def beat(state: str = "ok", **more: object) -> dict[str, object]:
    return health_payload("ttp", state, WorkerStats(), {}) | {"ts": NOW - 1} | more


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        (beat(), "ok"),
        (beat("paused"), "paused"),
        (beat(ts=NOW - 30), "ok"),
        (beat(ts=NOW - 30.001), "stale"),
        (beat("failed", ts=NOW - 30.001), "stale"),
        (beat("failed"), "failed"),
        (beat("degraded"), "degraded"),
        (beat("waiting_for_bus"), "waiting_for_bus"),
        (beat(ts=NOW + 500), "ok"),
        (beat(ts=NOW + 600), "ok"),
        (beat(ts=NOW + 600.001), "stale"),
        (beat(ts=None), "stale"),
        ({"ts": NOW}, "unknown"),
        (beat("stopped", ts=NOW - 31), "stopped"),
        (beat(ts="soon"), "stale"),
        (beat(pid=10**30), "ok"),
        (beat(pid="1"), "ok"),
    ],
)
def test_status(payload: dict[str, object], status: str) -> None:
    assert status_of(payload, NOW, 10.0) == status


def test_the_payload_has_every_figure_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)
    publish_failures.clear()
    publish_failures.update(BusUnavailable=2, BusFull=1)
    stats = WorkerStats(processed=1, failed=2, dead_lettered=3, lag=4, last_event_ts=5.0, restarts=6)
    for number in range(8):
        stats.add_malformed(f"not JSON: line {number} column 7" if number else "payload is not an object")
    stats.add_faults("attacker.session.ended", 2)
    assert [stats.add_unknown(f"canary.{token}.triggered", n) for token, n in (("a", 1), ("b", 2))] == [
        True,
        False,
    ]
    assert health_payload("ttp", "ok", stats, {"rules_loaded": 7}) == {
        "worker": "ttp", "ts": NOW, "pid": os.getpid(), "host": socket.gethostname(), "state": "ok", "processed": 1,
        "failed": 2, "dead_lettered": 3, "malformed": 8,
        "malformed_reasons": {"not JSON: line # column #": 7, "payload is not an object": 1}, "element_faults": {"attacker.session.ended": 2},
        "unknown_keys": {"canary.*.triggered": 3}, "lag": 4, "last_event_ts": 5.0, "restarts": 6, "publish_failures": 3,
        "note": "", "rules_loaded": 7,
    }  # fmt: skip
    publish_failures.clear()
    assert beat()["publish_failures"] == 0
    assert beat()["last_event_ts"] is None, "no event yet is no event of 1970"


def test_reasons_of_malformed_events_are_counted_by_kind_and_bounded() -> None:
    stats = WorkerStats()
    for char in range(MAX_REASONS + 8):
        stats.add_malformed("no such " + chr(ord("A") + char) * 100)
    stats.add_malformed("no such " + "A" * 100)
    assert len(stats.malformed_reasons) == MAX_REASONS + 1
    assert stats.malformed_reasons["no such " + "A" * (REASON_CHARS - 8)] == 2
    assert stats.malformed_reasons[OTHERS] == 8
    assert stats.malformed == stats.malformed_reasons.total() == MAX_REASONS + 9


@pytest.mark.parametrize(
    ("state", "note", "restarting", "extra", "shown"),
    [
        ("ok", "", (), {}, ("ok", "")),
        ("ok", "disk full", (), {}, ("degraded", "disk full")),
        ("ok", "", ("b", "a"), {}, ("degraded", "a restarts, b restarts")),
        ("ok", "disk full", ("a",), {}, ("degraded", "disk full")),
        ("ok", "", (), {"degraded": "no rules"}, ("degraded", "no rules")),
        ("ok", "disk full", (), {"degraded": "no rules"}, ("degraded", "no rules")),
        ("ok", "disk full", (), {"degraded": ""}, ("degraded", "disk full")),
        ("ok", "", (), {"degraded": ""}, ("ok", "")),
        ("failed", "disk full", (), {"degraded": "no rules"}, ("failed", "no rules")),
        ("paused", "", ("a",), {}, ("paused", "a restarts")),
    ],
)
def test_any_reason_turns_green_yellow_and_only_green(
    state: str, note: str, restarting: tuple[str, ...], extra: dict[str, object], shown: tuple[str, str]
) -> None:
    payload = health_payload("ttp", state, WorkerStats(note=note, restarting=set(restarting)), extra)
    assert (payload["state"], payload["note"]) == shown
    assert "degraded" not in payload


async def test_news_that_are_lost_reach_the_health_of_the_process() -> None:
    publish_failures.clear()
    bus = MemoryBus()  # never connected
    assert not await publish_safely(bus, "ttp.tagged", {})
    assert not await publish_safely(bus, "no topic", {})
    assert not await publish_safely(None, "ttp.tagged", {})
    assert beat()["publish_failures"] == 2
    publish_failures.clear()


def test_a_dead_process_of_this_host_is_stale_at_once_and_one_of_another_host_when_it_is_silent() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    assert status_of(beat(pid=ended.pid), NOW, 10.0) == "stale", "ended, but its parent has not looked"
    ended.wait()
    assert status_of(beat(pid=ended.pid), NOW, 10.0) == "stale"
    assert status_of(beat("stopped", pid=ended.pid), NOW, 10.0) == "stopped"
    assert socket.gethostname() != "elsewhere"
    assert status_of(beat(pid=ended.pid, host="elsewhere"), NOW, 10.0) == "ok"


def test_the_log_in_of_a_bus_stands_in_no_heartbeat() -> None:
    """It goes into the database, onto the bus and onto screens."""
    bus = MemoryBus()
    relay = SimpleNamespace(backlog=0, refused=0)
    settings = load_settings(bus={"url": "nats://engine:s3cret@127.0.0.1:9"})
    parts = PartsHealth(bus, SimpleNamespace(relay=relay), settings, dict)  # type: ignore[arg-type]
    assert parts._bus(stopped=False)["url"] == "nats://127.0.0.1:9"
