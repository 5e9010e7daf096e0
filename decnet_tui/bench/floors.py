"""What the parts do without us: the best that anybody could do here with the same guarantees."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

AT_ONCE = 1_000
"""Rows of one transaction."""


def _database(path: Path) -> sqlite3.Connection:
    """A database that loses nothing that was committed, as ours is kept."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def _portions(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE))


def decoded_and_inserted(log: Path, folder: Path) -> float:
    """Lines of a log a second that are decoded and written into one table, a transaction for each thousand."""
    with closing(_database(folder / "floor-lines.sqlite")) as db:
        db.execute("CREATE TABLE line (eventid, session, src_ip, timestamp, input)")
        started, count = time.perf_counter(), 0
        with log.open("rb") as file:
            lines = file.readlines()
        for some in _portions(lines):
            records = [json.loads(line) for line in some]
            names = ("eventid", "session", "src_ip", "timestamp", "input")
            db.execute("BEGIN IMMEDIATE")
            db.executemany(
                "INSERT INTO line VALUES (?, ?, ?, ?, ?)", [[r.get(n) for n in names] for r in records]
            )
            db.execute("COMMIT")
            count += len(some)
        return count / (time.perf_counter() - started)


def rows_written(folder: Path, count: int) -> float:
    """Rows a second of a table with a text key and an index beside it."""
    with closing(_database(folder / "floor-rows.sqlite")) as db:
        db.execute("CREATE TABLE tag (uuid TEXT PRIMARY KEY, session TEXT, technique TEXT, evidence TEXT)")
        db.execute("CREATE INDEX ix_tag ON tag (session, technique)")
        rows = [
            (f"{n * 2654435761 % 2**32:032x}", f"{n // 10:012x}", "T1059.004", '{"field":"command"}')
            for n in range(count)
        ]
        started = time.perf_counter()
        for some in _portions(rows):
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT INTO tag VALUES (?, ?, ?, ?)", some)
            db.execute("COMMIT")
        return count / (time.perf_counter() - started)


def lines_answered(lines: Sequence[str]) -> float:
    """Lines a second that are only read and answered in JSON."""
    text = "\n".join(lines).encode()
    started = time.perf_counter()
    answers = [json.dumps({"line": line, "tags": []}) for line in text.decode().split("\n")]
    return len(answers) / (time.perf_counter() - started)


def bare_start() -> float:
    """Seconds until Python has started and ended."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - started
