"""Canary secrets: texts that must not stand anywhere but where they are kept, in whatever shape they are looked for."""

from __future__ import annotations

import base64
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def shapes(secret: str) -> list[bytes]:
    """The secret as it is, in hexadecimal, and inside base64 wherever it may begin there."""
    raw = secret.encode()
    found = [raw, raw.hex().encode(), raw.hex().upper().encode()]
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + raw).rstrip(b"=")
        inner = coded[(4 * before + 2) // 3 : -2]
        found += [inner, inner.replace(b"+", b"-").replace(b"/", b"_")]
    return found


class Finder:
    """Knows secrets by their names; ``found`` says which stand in bytes or texts."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._patterns = {
            name: re.compile(b"|".join(map(re.escape, shapes(secret)))) for name, secret in secrets.items()
        }

    def found(self, what: bytes | str) -> set[str]:
        """Names of the secrets in it."""
        raw = what.encode("utf-8", "surrogatepass") if isinstance(what, str) else what
        return {name for name, pattern in self._patterns.items() if pattern.search(raw)}

    def in_files(self, folder: Path, kept: Iterable[str] = ()) -> dict[str, set[str]]:
        """By path below the folder; those of ``kept`` are where secrets belong."""
        out = {}
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            if path.is_file() and name not in set(kept) and (names := self.found(path.read_bytes())):
                out[name] = names
        return out


class Arguments(threading.Thread):
    """Reads again and again what every process of this host was started with, as anybody may."""

    def __init__(self) -> None:
        super().__init__(name="arguments", daemon=True)
        self.seen: set[bytes] = set()
        self._end = threading.Event()

    def run(self) -> None:
        """Until :meth:`end`."""
        while not self._end.wait(0.02):
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    self.seen.add(Path(f"/proc/{pid}/cmdline").read_bytes())
                except OSError:
                    continue

    def end(self) -> bytes:
        """All of it."""
        self._end.set()
        self.join()
        return b"\n".join(self.seen)


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """Takes spans over HTTP: where, and everything that came, headers too."""
    came: list[bytes] = []

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(bytes(self.headers) + self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is said."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taker)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", came
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
