"""One engine on a data directory, whatever its bus: the second one is told which process has it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from decnet.bus import connection
from decnet.bus.connection import hold_directory, lock_path
from decnet.bus.nats.server import EmbeddedServer
from decnet.config import load_settings
from decnet.engine import Engine
from decnet.errors import EngineError
from tests.natskit import PASSWORD, USER, nats_server
from tests.programkit import PROGRAM, cli, daemon, surroundings, until

pytestmark = pytest.mark.timeout(120)


def refused_by(said: str, data: Path) -> int:
    """The pid that a refusal names."""
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    found = re.fullmatch(
        rf"error: an engine already runs on {re.escape(str(data))} \(pid (\d+)\); attach to it or stop it",
        line,
    )
    assert found, line
    return int(found[1])


@pytest.mark.slow
@pytest.mark.fault(
    fault="a second engine on a data directory",
    guard="the first holds it, and the second is told its process",
    control="mutant bus-directory-is-nobodys",
    figure="exit 1, one line with the pid of the first",
)
def test_a_second_engine_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with daemon(data, tmp_path / "log") as first:
        with pytest.raises(EngineError, match=rf"already runs on .* \(pid {first.process.pid}\)"):
            Engine(load_settings(data_dir=data))._claim_data_dir(data)
        (data / "connection.json").unlink()  # it is news; the lock is the guard
        done = cli("--headless", "--data-dir", data)
        assert (done.returncode, refused_by(done.stderr.decode(), data)) == (1, first.process.pid)
        assert first.process.poll() is None


@pytest.mark.slow
@pytest.mark.fault(
    fault="engines on one data directory that start at the same moment, with a bus of their own and with another's",
    guard="the first holds it, and the others are told its process",
    control="mutant bus-directory-is-nobodys",
    figure="of 4 started at once 1 runs, 3 name it",
)
@pytest.mark.parametrize("bus", ["embedded", "external"])
def test_of_engines_that_start_together_one_runs(tmp_path: Path, bus: str) -> None:
    data, config = tmp_path / "data", tmp_path / "settings.yaml"
    with nats_server(tmp_path / "nats") as url:
        config.write_text(
            f"bus: {{url: {url!r}, user: {USER}, password: {PASSWORD}}}\n" if bus == "external" else "{}\n"
        )
        words = [PROGRAM, "--headless", "--data-dir", str(data), "--config", str(config)]
        files = [tmp_path / f"log{number}" for number in range(4)]
        engines = [_started(words, out) for out in files]
        try:
            until(lambda: sum(engine.poll() is not None for engine in engines) >= 3, 60, "three refusals")
            until((data / "connection.json").exists, 60, "the one that runs")
            (one,) = [engine for engine in engines if engine.poll() is None]
            for engine, out in zip(engines, files, strict=True):
                if engine is not one:
                    assert (engine.returncode, refused_by(out.read_text(), data)) == (1, one.pid)
        finally:
            for engine in engines:
                engine.send_signal(signal.SIGTERM)
            for engine in engines:
                engine.wait(30)


def _started(words: list[str], out: Path) -> subprocess.Popen[bytes]:
    with out.open("wb") as file:
        return subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, env=surroundings()
        )


@pytest.mark.fault(
    fault="a data directory whose holder is gone, and a lock that an earlier version left open",
    guard="the lock falls with its process and is made private",
    control="itself",
    figure="free at once, mode 0600",
)
def test_a_directory_is_free_again_when_its_holder_is_gone(tmp_path: Path) -> None:
    with hold_directory(tmp_path):
        with pytest.raises(EngineError, match=rf"\(pid {os.getpid()}\)"):
            hold_directory(tmp_path)
        assert lock_path(tmp_path).stat().st_mode & 0o777 == 0o600
    lock_path(tmp_path).chmod(0o644)  # as an earlier version left it
    with hold_directory(tmp_path):
        assert lock_path(tmp_path).stat().st_mode & 0o777 == 0o600


@pytest.mark.fault(
    fault="a lock that still names the process before",
    guard="a process that does not run is not named",
    control="mutant bus-holder-of-yesterday",
    figure="4 texts, none named",
)
def test_the_process_of_an_engine_that_ended_is_not_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has just taken the directory has not written its number yet."""
    monkeypatch.setattr(connection, "TELL_S", 0.05)
    with hold_directory(tmp_path):
        for said in (f"{2**22 + 7}", "", "x", "\u0661"):
            lock_path(tmp_path).write_text(said, "utf-8")
            began = time.monotonic()
            with pytest.raises(EngineError, match="of another host or version"):
                hold_directory(tmp_path)
            assert time.monotonic() - began >= 0.05


@pytest.mark.fault(
    fault="something else in the place of the directory",
    guard="one line with the reason",
    control="itself",
    figure="no engine, no traceback",
)
def test_a_directory_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bus").write_text("no directory")
    with pytest.raises(EngineError, match=r"data directory .* cannot be used: "):
        hold_directory(tmp_path)


@pytest.mark.fault(
    fault="a client of the engine's own bus without its token",
    guard="the server asks for the token",
    control="mutant bus-server-without-a-token",
    figure="refused before anything is taken, with each of 4 log-ins",
)
@pytest.mark.parametrize(
    "login", ["{}", '{"auth_token": ""}', '{"auth_token": "x"}', '{"user": "", "pass": ""}']
)
def test_the_bus_of_an_engine_refuses_without_its_token(tmp_path: Path, login: str) -> None:
    async def asked() -> bytes:
        server = EmbeddedServer(tmp_path)
        await server.start()
        try:
            return await asyncio.to_thread(
                said_to, server.port, f"CONNECT {login}\r\nPUB a 2\r\nhi\r\nPING\r\n"
            )
        finally:
            await server.stop()

    answer = asyncio.run(asked())
    assert b"-ERR 'Authorization Violation'" in answer
    assert b"PONG" not in answer


def said_to(port: int, words: str) -> bytes:
    """What the server answers until it closes the line."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), 10) as line:
        line.settimeout(10)
        line.sendall(words.encode())
        while more := line.recv(65_536):
            answer += more
            if b"PONG" in answer:
                break
    return answer
