"""NATS servers that are not the engine's: started by hand, with users of their own, reached by URL."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.programkit import until

SERVER = str(Path(sys.executable).with_name("nats-server"))
USER, PASSWORD = "sensor", "only-for-this-test"


@contextmanager
def nats_server(folder: Path) -> Iterator[str]:
    """URL (without the credentials) of a server with JetStream on loopback, gone after the block."""
    folder.mkdir(parents=True, exist_ok=True)
    text = (
        'listen: "127.0.0.1:-1"\n'
        f"jetstream {{ store_dir: {json.dumps(str(folder / 'js'))} }}\n"
        f"authorization {{ user: {USER}, password: {json.dumps(PASSWORD)} }}\n"
    )
    with server_of(folder, text) as url:
        yield url


@contextmanager
def server_of(folder: Path, text: str) -> Iterator[str]:
    """URL of a server with the configuration ``text``, gone after the block."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.ports"):
        old.unlink()
    config = folder / "nats.conf"
    config.write_text(f"ports_file_dir: {json.dumps(str(folder))}\n{text}", "utf-8")
    with (folder / "nats.log").open("wb") as log:
        process = subprocess.Popen([SERVER, "-c", str(config)], stdout=log, stderr=log)
    try:
        (ports,) = until(lambda: list(folder.glob("*.ports")), 30, "the server's ports file")
        yield until(lambda: _url(ports), 30, "the server's port")
    finally:
        process.terminate()
        process.wait(20)


def _url(ports: Path) -> str:
    try:
        return str(json.loads(ports.read_text("ascii"))["nats"][0])
    except (ValueError, LookupError):
        return ""
