"""Fifteen set-ups that do not work: ``doctor`` names the cause and the cure of each."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from decnet.db import engine
from decnet_tui.cli import doctor
from decnet_tui.cli.main import app
from tests.dbkit import migrated
from tests.natskit import PASSWORD, USER, nats_server

Patch = pytest.MonkeyPatch
SetUp = Callable[[Path, Patch], Iterator[list[str]]]


def no_room(place: Path, patch: Patch) -> Iterator[list[str]]:
    patch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=40 * 2**20))
    yield []


def not_permitted(place: Path, patch: Patch) -> Iterator[list[str]]:
    patch.setattr(doctor.os, "access", lambda path, mode: mode == os.R_OK)
    yield []


def old_sqlite(place: Path, patch: Patch) -> Iterator[list[str]]:
    patch.setattr(doctor, "sqlite3", SimpleNamespace(sqlite_version_info=(3, 31, 1), sqlite_version="3.31.1"))
    yield []


def nats_away(place: Path, patch: Patch) -> Iterator[list[str]]:
    yield ["--config", configured(place, "bus:\n  url: nats://127.0.0.1:1\n")]


def wrong_bus_password(place: Path, patch: Patch) -> Iterator[list[str]]:
    with nats_server(place / "nats") as url:
        yield ["--config", configured(place, f"bus: {{url: '{url}', user: {USER}, password: wrong}}\n")]


def wrong_password(place: Path, patch: Patch) -> Iterator[list[str]]:
    with refusing_postgres() as port:
        yield ["--db", f"postgresql://decnet:wrong@127.0.0.1:{port}/decnet"]


def locked(place: Path, patch: Patch) -> Iterator[list[str]]:
    file = place / "data" / "decnet.sqlite"
    asyncio.run(migrated(file))
    with closing(sqlite3.connect(file, isolation_level=None)) as holder:
        holder.execute("PRAGMA journal_mode=DELETE")
        holder.execute("BEGIN EXCLUSIVE")
        yield []


def no_rules(place: Path, patch: Patch) -> Iterator[list[str]]:
    (place / "none").mkdir()
    yield ["--rules", str(place / "none")]


def bad_key(place: Path, patch: Patch) -> Iterator[list[str]]:
    yield ["--config", configured(place, "senors: []\n")]


def bad_terminal(place: Path, patch: Patch) -> Iterator[list[str]]:
    patch.setenv("TERM", "dumb")
    yield []


def clock_off(place: Path, patch: Patch) -> Iterator[list[str]]:
    log = place / "cowrie.json"
    log.write_text("")
    os.utime(log, (time.time() + 86_400,) * 2)
    yield ["--config", configured(place, f"sensors: [{{kind: cowrie, path: {log}}}]\n")]


def no_extra(place: Path, patch: Patch) -> Iterator[list[str]]:
    patch.setattr(engine, "find_spec", lambda _: None)
    yield ["--db", "postgresql://127.0.0.1:1/decnet"]


def not_read(place: Path, patch: Patch) -> Iterator[list[str]]:
    log = place / "notes.txt"
    log.write_text("Dear diary,\nnobody came by today.\n" * 20)
    yield ["--config", configured(place, f"sensors: [{{kind: cowrie, path: {log}}}]\n")]


def another_kind(place: Path, patch: Patch) -> Iterator[list[str]]:
    log = place / "canary.log"
    event = {"logtype": 2000, "src_host": "192.0.2.1", "dst_host": "192.0.2.2", "dst_port": 21, "src_port": 4000, "node_id": "n",
             "local_time": "2026-01-01 00:00:00.000000", "utc_time": "2026-01-01 00:00:00.000000",
             "logdata": {"USERNAME": "a", "PASSWORD": "b"}}  # fmt: skip
    log.write_text(json.dumps(event) + "\n")
    yield ["--config", configured(place, f"sensors: [{{kind: cowrie, path: {log}}}]\n")]


def not_there(place: Path, patch: Patch) -> Iterator[list[str]]:
    yield ["--config", configured(place, f"sensors: [{{kind: cowrie, path: {place / 'gone.json'}}}]\n")]


class Ailment(NamedTuple):
    set_up: SetUp
    check: str
    """Of doctor; empty where it cannot even read the settings."""
    result: str
    cause: str
    cure: str


AILMENTS = [
    Ailment(no_room, "disk", "WARN", "only 40 MiB free", "make room (`decnet-tui purge"),
    Ailment(not_permitted, "data dir", "FAIL", "cannot be written", "change its owner or choose another with --data-dir"),
    Ailment(old_sqlite, "sqlite", "FAIL", "SQLite 3.31.1 is too old, 3.35 is needed", "run it with a newer Python"),
    Ailment(nats_away, "bus", "FAIL", "nats://127.0.0.1:1 cannot be reached", "start it, or correct bus.url"),
    Ailment(wrong_bus_password, "bus", "FAIL", "refused the credentials", "correct bus.user and bus.password"),
    Ailment(wrong_password, "database", "FAIL", "InvalidPasswordError", "correct host, port, user and password in `db`"),
    Ailment(locked, "database", "FAIL", "the database is locked by", "end it, or wait for it"),
    Ailment(no_rules, "rules", "FAIL", "0 rules in", "name a directory with --rules"),
    Ailment(bad_key, "", "", "senors: unknown key", "known: data_dir, rules, db, sensors"),
    Ailment(bad_terminal, "terminal", "WARN", "no terminal here", "TERM such as xterm-256color"),
    Ailment(clock_off, "clock", "WARN", "one of two clocks is off", "timedatectl set-ntp true"),
    Ailment(no_extra, "database", "FAIL", "PostgreSQL needs the extra postgres", "pip install 'decnet-tui[postgres]'"),
    Ailment(not_read, "sensors", "FAIL", "no reader takes it", "`decnet-tui sensors formats` says what is read"),
    Ailment(another_kind, "sensors", "FAIL", "is no log of cowrie", "name it as --sensor opencanary="),
    Ailment(not_there, "sensors", "FAIL", "gone.json is not there", "correct the path"),
]  # fmt: skip


def configured(place: Path, text: str) -> str:
    (place / "config.yaml").write_text(text)
    return str(place / "config.yaml")


@contextmanager
def refusing_postgres() -> Iterator[int]:
    """A server that speaks as PostgreSQL does when a password is wrong: its port."""
    fields = b'SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user "decnet"\0\0'
    said = b"E" + (len(fields) + 4).to_bytes(4, "big") + fields

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                while (start := client.recv(1000)) and start[4:8] == b"\x04\xd2\x16/":
                    client.sendall(b"N")  # no TLS here
                client.sendall(said)

    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5.0)


def asked(place: Path, more: list[str]) -> tuple[int, dict[str, tuple[str, str]], str]:
    """How it ended, what was found by check, and what it said else."""
    done = CliRunner().invoke(app, ["doctor", "--json", "--data-dir", str(place / "data"), *more])
    rows = json.loads(done.stdout) if done.stdout.strip() else []
    return done.exit_code, {row["check"]: (row["result"], row["detail"]) for row in rows}, done.stderr


@pytest.mark.parametrize("ailment", AILMENTS, ids=lambda one: one.set_up.__name__)
def test_the_cause_and_the_cure_are_named(ailment: Ailment, tmp_path: Path, monkeypatch: Patch) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    with contextmanager(ailment.set_up)(tmp_path, monkeypatch) as more:
        code, found, said = asked(tmp_path, more)
    if not ailment.check:
        assert (code, found) == (2, {})
        told = said
    else:
        result, told = found[ailment.check]
        assert result == ailment.result, told
        assert code == (ailment.result == "FAIL") or ailment.result == "WARN"
        others = {
            result
            for check, (result, _) in found.items()
            if check not in (ailment.check, "terminal", "sensors")
        }
        assert others == {"ok"}, found
    assert ailment.cause in told
    assert ailment.cure in told


def test_a_set_up_that_works_has_none_of_them(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    log = Path(__file__).parents[1] / "fixtures" / "cases" / "26-tags-time.json"
    more = ["--config", configured(tmp_path, f"sensors: [{{kind: cowrie, path: {log}}}]\n")]
    code, found, _ = asked(tmp_path, more)
    assert code == 0
    assert {result for check, (result, _) in found.items() if check != "terminal"} == {"ok"}, found


def test_the_right_password_of_a_bus_is_no_ailment(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    with nats_server(tmp_path / "nats") as url:
        text = f"bus: {{url: '{url}', user: {USER}, password: {PASSWORD}}}\n"
        _, found, _ = asked(tmp_path, ["--config", configured(tmp_path, text)])
    assert found["bus"] == ("ok", "reachable")
