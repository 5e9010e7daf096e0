"""The installed program as a subprocess: commands, the daemon, and waiting for what it does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

PROGRAM = str(Path(sys.executable).with_name("decnet-tui"))
STOP_S = 20.0
"""Seconds the daemon may take to end after SIGTERM."""


def surroundings() -> dict[str, str]:
    """The environment without settings of the person who runs the tests."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DECNET_") and k != "NOTIFY_SOCKET"}
    return {**kept, "NO_COLOR": "1"}


def cli(
    *arguments: str | Path, stdin: bytes = b"", timeout: float = 60.0
) -> subprocess.CompletedProcess[bytes]:
    """Runs one command to its end."""
    return subprocess.run(
        [PROGRAM, *map(str, arguments)], input=stdin, capture_output=True, timeout=timeout, env=surroundings(), check=False
    )  # fmt: skip


def listed(what: str, data_dir: Path, *arguments: str, timeout: float = 60.0) -> list[dict[str, Any]]:
    """All rows of a list command; none while there is no database yet."""
    if not (data_dir / "decnet.sqlite").exists():
        return []
    limit = () if "--limit" in arguments else ("--limit", "0")
    done = cli(what, "--json", *limit, *arguments, "--data-dir", data_dir, timeout=timeout)
    assert done.returncode == 0, done.stderr.decode()
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def until(look: Callable[[], T], limit: float, what: str, pause: float = 0.1) -> T:
    """The first true answer of ``look``; fails after ``limit`` seconds."""
    deadline = time.monotonic() + limit
    while not (answer := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {limit:.0f} s: {what}")
        time.sleep(pause)
    return answer


@dataclass(slots=True)
class Daemon:
    """A running ``decnet-tui --headless``."""

    process: subprocess.Popen[bytes]
    data_dir: Path
    log: Path

    def said(self) -> str:
        """What it wrote so far."""
        return self.log.read_text("utf-8", "replace")

    def stop(self) -> int:
        """SIGTERM and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Ends whatever is left of it."""
        if self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill()

    def attachable(self) -> bool:
        """Whether it can be attached to by now; fails when it has ended."""
        assert self.process.poll() is None, self.said()
        try:
            connection = json.loads((self.data_dir / "connection.json").read_text("utf-8"))
        except (OSError, ValueError):
            return False
        return bool(connection["pid"] == self.process.pid)


def launched(
    data_dir: Path,
    log: Path,
    *arguments: str | Path,
    surrounding: Mapping[str, str] | None = None,
    program: Sequence[str] = (PROGRAM,),
) -> Daemon:
    """An engine that was started on ``data_dir`` and is not waited for; whoever asks for it ends it."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*program, "--headless", "--data-dir", str(data_dir), *map(str, arguments)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env={**surroundings(), **(surrounding or {})},
        )  # fmt: skip
    return Daemon(process, data_dir, log)


@contextmanager
def daemon(
    data_dir: Path, log: Path, *arguments: str | Path, surrounding: Mapping[str, str] | None = None
) -> Iterator[Daemon]:
    """The engine on ``data_dir`` once it can be attached to; whatever is left of it ends with the block."""
    running = launched(data_dir, log, *arguments, surrounding=surrounding)
    try:
        until(running.attachable, 30, "the engine's connection file")
        yield running
    finally:
        running.end()


def run_until_idle(
    log: Path, data_dir: Path, *, timeout: float, settings: str = ""
) -> subprocess.CompletedProcess[bytes]:
    """``--headless --until-idle 1`` on a Cowrie log, with a settings file of this text if there is any."""
    words: list[str | Path] = [
        "--headless",
        "--sensor",
        f"cowrie={log}",
        "--data-dir",
        data_dir,
        "--until-idle",
        "1",
    ]
    if settings:
        (file := data_dir.with_name(f"{data_dir.name}.yaml")).write_text(settings, "utf-8")
        words += ["--config", file]
    return cli(*words, timeout=timeout)


def without(rows: Sequence[dict[str, Any]], *keys: str) -> set[str]:
    """Rows as a set that can be compared, without ``keys``."""
    return {json.dumps({k: v for k, v in row.items() if k not in keys}, sort_keys=True) for row in rows}
