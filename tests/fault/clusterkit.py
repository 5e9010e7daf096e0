"""NATS servers that can be killed and started again at the same place: one alone, or three as a cluster."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from decnet.bus.nats.server import free_port
from tests.natskit import PASSWORD, SERVER, USER
from tests.programkit import until

STARTED_S = 60.0


class Node:
    """One server; port and store outlive a kill."""

    def __init__(self, folder: Path, name: str, routes: int, cluster: list[int], more: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port = folder, free_port()
        others = json.dumps(
            [f"nats://{USER}:{PASSWORD}@127.0.0.1:{port}" for port in cluster if port != routes]
        )
        inside = f"authorization {{ user: {USER}, password: {json.dumps(PASSWORD)}, timeout: 5 }}"
        together = f'cluster {{ name: "fault", listen: "127.0.0.1:{routes}", routes: {others}, {inside} }}\n'
        (folder / "nats.conf").write_text(
            f'server_name: "{name}"\nlisten: "127.0.0.1:{self.port}"\n{more}'
            f"jetstream {{ store_dir: {json.dumps(str(folder / 'js'))} }}\n"
            f"{together if cluster else ''}{inside}\n",
            "utf-8",
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it; what it had is there again. Returns when it takes clients."""
        with (self.folder / "nats.log").open("ab") as log:
            self._process = subprocess.Popen(
                [SERVER, "-c", str(self.folder / "nats.conf")], stdout=log, stderr=log
            )
        until(self._answers, STARTED_S, f"a server at {self.url}")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "nats.log").read_text("utf-8")[-2000:]
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as line:
                return line.recv(5).startswith(b"INFO")
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid


@contextmanager
def nodes(folder: Path, count: int = 1, more: str = "") -> Iterator[list[Node]]:
    """So many running servers, three of them a cluster; whatever is left of them ends with the block.

    ``more`` are further lines of their settings.
    """
    ports = [free_port() for _ in range(count)]
    cluster = ports if count > 1 else []
    made = [Node(folder / f"n{i}", f"n{i}", port, cluster, more) for i, port in enumerate(ports)]
    try:
        for node in made:
            node.start()
        yield made
    finally:
        for node in made:
            if node._process is not None and node._process.poll() is None:
                node.kill()
