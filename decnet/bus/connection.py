"""The connection file: how a console or command finds the engine that runs on a data directory.

It holds a token, so it is mode 0600 and appears in one step.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from decnet.errors import EngineError
from decnet.logs import get_logger
from decnet.processes import process_alive, process_mark

if TYPE_CHECKING:
    from decnet.config import BusSettings

log = get_logger(__name__)
FILE_NAME = "connection.json"
MAX_FILE_BYTES = 65_536
TELL_S = 1.0
"""Seconds that an engine which has just taken a data directory has to say which process it is."""
LOG_IN = ("token", "user", "password", "nkeys_seed", "tls_ca")
"""Settings of a bus by which a client of it is known, or knows it."""
_CREDENTIALS = (*LOG_IN[1:], "sensor")


def _plain(value: Any) -> str:
    if hasattr(value, "get_secret_value"):
        value = value.get_secret_value()
    return "" if value is None else str(value)


def _own_mark() -> str:
    return process_mark(os.getpid())


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a running engine is; ``started_at`` is epoch seconds, ``mark`` tells its process from a later one."""

    bus_url: str = field(repr=False)
    db_url: str = field(repr=False)
    token: str = field(default="", repr=False)
    pid: int = field(default_factory=os.getpid)
    host: str = field(default_factory=socket.gethostname)
    started_at: float = field(default_factory=time.time)
    credentials: dict[str, str] = field(default_factory=dict, repr=False)
    """What else an external server asks for: ``user``, ``password``, ``nkeys_seed``, ``tls_ca``; and as which ``sensor``."""
    mark: str = field(default_factory=_own_mark)

    @classmethod
    def of(cls, bus: BusSettings, db_url: str) -> Connection:
        """What others need to reach the bus and the database of this process."""
        given = {name: _plain(getattr(bus, name)) for name in _CREDENTIALS}
        kept = {name: value for name, value in given.items() if value}
        return cls(bus.url or "", db_url, _plain(bus.token), credentials=kept)

    def bus_settings(self, bus: BusSettings) -> BusSettings:
        """``bus`` with this connection's address and credentials."""
        reached = {"url": self.bus_url, "token": self.token or None}
        kept = {name: self.credentials.get(name) for name in _CREDENTIALS}
        return type(bus)(**(bus.model_dump() | reached | kept))


def shown_url(url: str) -> str:
    """Addresses of a bus as they may be shown: without the log-ins that may stand in them."""
    parts = (part.strip().rpartition("://") for part in url.split(","))
    return ",".join(f"{scheme}{found}{rest.rpartition('@')[2]}" for scheme, found, rest in parts)


def connection_path(data_dir: Path) -> Path:
    """``<data_dir>/connection.json``."""
    return data_dir / FILE_NAME


def write_connection(data_dir: Path, connection: Connection) -> Path:
    """Writes the file and gives its path; raises OSError."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = connection_path(data_dir)
    write_private(path, json.dumps(asdict(connection), indent=1))
    return path


def write_private(path: Path, text: str) -> None:
    """Replaces ``path`` in one step by a file that only its owner can read; raises OSError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        draft.unlink()
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def read_connection(data_dir: Path) -> Connection | None:
    """The engine of ``data_dir``; None without the file, with a broken one, or when its process is gone."""
    try:
        with connection_path(data_dir).open(encoding="utf-8") as file:
            raw = json.loads(file.read(MAX_FILE_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("connection file cannot be used", path=str(connection_path(data_dir)), reason=str(error))
        return None
    connection = _parse(raw)
    return connection if connection is not None and _alive(connection, data_dir) else None


def _parse(raw: Any) -> Connection | None:
    """Connection from JSON; keys that a later version may add are left aside."""
    if not isinstance(raw, dict):
        return None
    known = {f.name: raw[f.name] for f in fields(Connection) if f.name in raw}
    texts = all(isinstance(known.get(k), str) for k in ("bus_url", "db_url", "token", "host"))
    pid = known.get("pid")
    secrets = known.get("credentials", {})
    if not isinstance(secrets, dict) or not all(isinstance(v, str) for v in secrets.values()):
        return None
    if not isinstance(known.get("mark", ""), str):
        return None
    known.setdefault("mark", "")
    if not texts or not isinstance(pid, int) or isinstance(pid, bool) or pid <= 0:
        return None
    return Connection(**known)


def _alive(connection: Connection, data_dir: Path) -> bool:
    """Whether its process runs; one of another host cannot be asked, but may have left its lock."""
    if connection.host != socket.gethostname():
        return not _lock_is_free(lock_path(data_dir))
    now = process_mark(connection.pid)
    same = not connection.mark or not now or connection.mark == now
    return process_alive(connection.pid) and same


def lock_path(data_dir: Path) -> Path:
    """``<data_dir>/bus/lock``, which an engine holds for as long as it runs."""
    return data_dir / "bus" / "lock"


def hold_directory(data_dir: Path) -> IO[str]:
    """Takes a data directory for this process until the file is closed or the process ends.

    Raises EngineError, with the process that has the directory.
    """
    path = lock_path(data_dir)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = os.fdopen(
            os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="ascii", errors="replace"
        )
        path.chmod(0o600)  # an earlier version left it open to others
    except OSError as error:
        raise EngineError(f"data directory {data_dir} cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        with file:
            who = _holder(file)
        raise EngineError(f"an engine already runs on {data_dir} ({who}); attach to it or stop it") from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def _holder(file: IO[str]) -> str:
    """``pid 4711``, as whoever has the lock wrote it; that of an engine which ended before it does not run."""
    until = time.monotonic() + TELL_S
    while True:
        file.seek(0)
        said = file.read(20).strip()
        if said.isdigit() and process_alive(int(said)):
            return f"pid {said}"
        if time.monotonic() >= until:
            return "of another host or version"
        time.sleep(0.02)


def _lock_is_free(path: Path) -> bool:
    """Whether the lock of an engine is there and nobody's: a container that ended comes back renamed."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def remove_connection(data_dir: Path) -> None:
    """Removes the file when it is this process's own; another engine's stays."""
    path = connection_path(data_dir)
    with contextlib.suppress(FileNotFoundError, ValueError):
        raw = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(raw, dict) and raw.get("pid") == os.getpid():
            path.unlink()
