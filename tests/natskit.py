"""A NATS server of somebody else's: started by hand, with a user and a password, reached by URL."""

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
    config = folder / "nats.conf"
    config.write_text(
        f'listen: "127.0.0.1:-1"\nports_file_dir: {json.dumps(str(folder))}\n'
        f"jetstream {{ store_dir: {json.dumps(str(folder / 'js'))} }}\n"
        f"authorization {{ user: {USER}, password: {json.dumps(PASSWORD)} }}\n",
        "utf-8",
    )
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
