"""What a heartbeat means: as reported, or stale when it is old or its process is gone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from decnet.runtime.health import WorkerStats, health_payload, status_of

NOW = 1_000_000.0


def beat(state: str = "ok", **more: object) -> dict[str, object]:
    return health_payload("ttp", state, WorkerStats(), {}) | {"ts": NOW - 1} | more


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        (beat(), "ok"),
        (beat("paused"), "paused"),
        (beat(ts=NOW - 31), "stale"),
        (beat("stopped", ts=NOW - 31), "stopped"),
        (beat(ts="soon"), "stale"),
        (beat(pid=10**30), "ok"),
        (beat(pid="1"), "ok"),
    ],
)
def test_status(payload: dict[str, object], status: str) -> None:
    assert status_of(payload, NOW, 10.0) == status


def test_a_dead_process_of_this_host_is_stale_at_once_and_one_of_another_host_when_it_is_silent() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    assert status_of(beat(pid=ended.pid), NOW, 10.0) == "stale", "ended, but its parent has not looked"
    ended.wait()
    assert status_of(beat(pid=ended.pid), NOW, 10.0) == "stale"
    assert status_of(beat("stopped", pid=ended.pid), NOW, 10.0) == "stopped"
    assert socket.gethostname() != "elsewhere"
    assert status_of(beat(pid=ended.pid, host="elsewhere"), NOW, 10.0) == "ok"
