"""A real OpenCanary for tests: installed once in an environment of its own, and free loopback ports for it."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from decnet.mutator.substrate import process
from tests.alone import alone
from tests.recording.cowrie_env import cache_root

VERSION = "0.9.10"


def ensure_opencanary() -> Path:
    """The directory of an environment with OpenCanary; made with uv when it is not there."""
    target = cache_root() / "opencanary" / VERSION
    with alone("opencanary"):
        if not (target / "complete").exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            _uv("venv", "--clear", "--python", sys.executable, str(target))
            _uv("pip", "install", "--python", str(target / "bin/python"), f"opencanary=={VERSION}")
            (target / "complete").touch()
    return target


def _uv(*arguments: str) -> None:
    beside = Path(sys.executable).with_name("uv")
    program = str(beside) if beside.exists() else shutil.which("uv")
    assert program is not None, "uv is needed to make an environment for OpenCanary"
    subprocess.run([program, "--quiet", *arguments], check=True)


_WORKER_PORTS = 1_500
_worker = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "")) or 7) % 8
_candidates = itertools.cycle(
    range(20_000 + _worker * _WORKER_PORTS + os.getpid() % 500, 20_000 + (_worker + 1) * _WORKER_PORTS)
)
"""Ports below those that the system gives out to clients; processes that test side by side share none."""


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody has, and that were not given out a moment ago."""
    found: list[int] = []
    with ExitStack() as held:
        for port in itertools.islice(_candidates, _WORKER_PORTS):
            sock = held.enter_context(socket.socket())
            with suppress(OSError):
                sock.bind(("127.0.0.1", port))
                found.append(port)
            if len(found) == count:
                return found
    raise AssertionError("no free ports")


def answers(port: int) -> bool:
    """Whether somebody accepts connections on a loopback port."""
    with socket.socket() as sock:
        sock.settimeout(2.0)
        return sock.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def decoys_end(data_dir: Path) -> Iterator[None]:
    """Ends the decoys of a data directory when the block does: they outlive the engine that started them."""
    try:
        yield
    finally:
        for home in (data_dir.absolute() / "fleet" / "decoys").glob("*"):
            for pid in process.find(str(home / "decoy.tac")):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                process.bury(pid)


def attempts(port: int, user: str, password: str, count: int = 1) -> None:
    """Fails to log in over FTP."""
    import ftplib

    for _ in range(count):
        with ftplib.FTP() as client:
            client.connect("127.0.0.1", port, timeout=10)
            with pytest.raises(ftplib.error_perm):
                client.login(user, password)
