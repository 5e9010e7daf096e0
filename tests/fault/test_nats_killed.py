"""The bus server dies while a log grows: it comes back by itself and no session is lost."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from decnet.keyed import load_key
from tests.acceptance.test_log_file import settled
from tests.cowriegen import lines, told
from tests.programkit import daemon, listed, run_until_idle, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
LINES = 3000
PIECE = 50
LIMIT_S = 90.0


def _server_pid(data_dir: Path) -> int:
    return int((data_dir / "bus" / "nats-server.pid").read_text("ascii"))


def _grow(log: Path, made: Sequence[str]) -> None:
    """Appends ``made`` in pieces, as a busy honeypot does."""
    with log.open("a", encoding="utf-8") as file:
        for start in range(0, len(made), PIECE):
            file.write("".join(f"{line}\n" for line in made[start : start + PIECE]))
            file.flush()
            time.sleep(0.02)


def _kill_server(data_dir: Path) -> int:
    pid = _server_pid(data_dir)
    os.kill(pid, signal.SIGKILL)
    return pid


def _bus_row(data_dir: Path) -> dict[str, Any]:
    return next((row for row in listed("workers", data_dir) if row["worker"] == "bus"), {})


@pytest.mark.fault(
    fault="kill -9 of the bus server while lines arrive",
    guard="an acknowledgement that did not come is no success: all of it is published again",
    control="mutant bus-lost-connection-hangs-publish",
    figure="2 kills, lost 0, doubled 0, no dead letter",
)
def test_the_bus_server_killed_while_lines_arrive(tmp_path: Path) -> None:
    log, data, calm = tmp_path / "cowrie.json", tmp_path / "data", tmp_path / "calm"
    made = lines(LINES, seed=5)
    written = told(made)
    log.touch()
    load_key(data)
    shutil.copytree(data, calm)  # ids of credentials are made with the key of the data directory
    config = tmp_path / "settings.yaml"
    config.write_text("runtime: {heartbeat_s: 0.5}\n", "utf-8")

    with daemon(data, tmp_path / "engine.log", "--sensor", f"cowrie={log}", "--config", config) as engine:
        third = len(made) // 3
        _grow(log, made[:third])
        first = _kill_server(data)
        _grow(log, made[third : 2 * third])
        until(lambda: _server_pid(data) != first, LIMIT_S, "a new bus server")
        second = _kill_server(data)
        _grow(log, made[2 * third :])
        until(lambda: _server_pid(data) != second, LIMIT_S, "a third bus server")
        until(
            lambda: len(listed("sessions", data)) == len(written.sessions), LIMIT_S, "every session in the database"
        )  # fmt: skip
        until(lambda: _bus_row(data).get("restarts", 0) >= 1, LIMIT_S, "the restart in the bus heartbeat")
        assert _bus_row(data)["state"] == "ok"
        assert engine.process.poll() is None, engine.said()
        assert engine.stop() == 0, engine.said()
        assert "Traceback" not in engine.said()

    assert len({row["session_id"] for row in listed("sessions", data)}) == len(written.sessions)
    assert listed("deadletters", data) == []
    assert run_until_idle(log, data, timeout=60).returncode == 0
    assert run_until_idle(log, calm, timeout=60).returncode == 0
    for what in ("sessions", "tags", "attackers"):
        assert settled(listed(what, data)) == settled(listed(what, calm)), what
