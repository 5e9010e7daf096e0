"""Who keeps a database from being written, looked up from beside it: a writer that waits cannot say it itself.

SQLite's write lock is a lock on a byte of a file, which Linux lists with its owner; PostgreSQL knows who waits for whom.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

APPLICATION = "decnet-tui"
"""How our own connections are called on a PostgreSQL server."""
PATIENCE_S = 1.5
"""Seconds that a lock may be held by somebody else before it is trouble."""
SOMEBODY = "another process"
_LOCKS = Path("/proc/locks")
_WAL_WRITE_BYTE = 120
_PENDING_BYTE = 0x40000000
"""Where SQLite locks: https://sqlite.org/walformat.html#wal_locks, https://sqlite.org/lockingv3.html"""
_BLOCKERS = text(
    """
    SELECT b.pid, b.application_name FROM pg_stat_activity w
      CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS p(pid) JOIN pg_stat_activity b ON b.pid = p.pid
    WHERE w.datname = current_database() AND w.wait_event_type = 'Lock'
      AND clock_timestamp() - w.query_start > make_interval(secs => :patience)
      AND NOT (b.application_name = :ours AND b.state = 'active')
    UNION ALL
    SELECT a.pid, a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
      JOIN pg_class c ON c.oid = l.relation
    WHERE l.locktype = 'relation' AND l.granted AND a.datname = current_database() AND a.application_name <> :ours
      AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
      AND c.relkind = 'r' AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace)
      AND clock_timestamp() - a.xact_start > make_interval(secs => :patience)
    ORDER BY 1 LIMIT 1
    """
)


class SqliteLook:
    """Looks at the write lock of a file, again and again over one connection: opening one costs twenty looks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._mine = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether there is a connection to close."""
        return self._connection is not None

    def blocker(self, patience_s: float = PATIENCE_S) -> str:
        """Who holds the write lock for longer than ``patience_s`` seconds; empty when nobody does. Call it in a thread."""
        with self._mine:
            try:
                self._take_and_give(patience_s)
            except sqlite3.OperationalError as error:
                return holder(self._path) if "is locked" in str(error) else self._lost()
            except sqlite3.Error:
                return self._lost()
            return ""

    def _take_and_give(self, patience_s: float) -> None:
        if self._connection is None:
            place = f"{self._path.resolve().as_uri()}?mode=rw"
            self._connection = sqlite3.connect(place, uri=True, isolation_level=None, check_same_thread=False)
        self._connection.execute(f"PRAGMA busy_timeout={int(1000 * patience_s)}")
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("ROLLBACK")

    def _lost(self) -> str:
        """No database at all: whoever uses it says what is wrong. The next look opens it anew."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        return ""

    def close(self) -> None:
        """Lets go of the file, after a look that is under way. Call it in a thread."""
        with self._mine:
            self._lost()


def holder(path: Path, locks: Path = _LOCKS) -> str:
    """``process 4711 (python3)`` that holds the write lock of a file; :data:`SOMEBODY` where the system does not tell."""
    try:
        table = locks.read_text("ascii", "replace")
    except OSError:
        return SOMEBODY
    for file, byte in ((f"{path}-shm", _WAL_WRITE_BYTE), (str(path), _PENDING_BYTE)):
        for pid in _writers(table, file, byte):
            return f"process {pid} ({_name(pid)})" if pid > 0 else SOMEBODY
    return SOMEBODY


def _writers(table: str, file: str, byte: int) -> Iterator[int]:
    """Processes with a write lock that covers a byte or, of the file itself, what follows."""
    try:
        inode = os.stat(file).st_ino
    except OSError:
        return
    for line in table.splitlines():
        words = line.split()
        if len(words) == 8 and words[3] == "WRITE" and words[5].rpartition(":")[2] == str(inode):
            last = int(words[7]) if words[7].isdigit() else _PENDING_BYTE * 2
            if int(words[6]) <= byte + 2 and last >= byte:
                yield int(words[4])


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").strip()
    except OSError:
        return "gone"


async def postgres_blocker(engine: AsyncEngine, patience_s: float = PATIENCE_S) -> str:
    """Whose transaction others wait for, or keeps a table to itself, for longer than ``patience_s`` seconds; or empty.

    Our own transactions that are at work do not count. Raises what the driver raises.
    """
    async with engine.connect() as connection:
        found: Any = await connection.execute(_BLOCKERS, {"patience": patience_s, "ours": APPLICATION})
        row = found.first()
    return "" if row is None else f"process {row[0]} of the server ({row[1] or 'no name'})"
