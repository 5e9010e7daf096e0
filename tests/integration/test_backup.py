"""``backup`` of an engine that runs, ``restore`` elsewhere, and everything is known there in the end: once, under the same ids."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cowriegen import write_log
from tests.programkit import cli, daemon, listed, run_until_idle, until

LINES = 1000


def known(data_dir: Path) -> dict[str, set[Any]]:
    """Sessions, commands, tags and log-ins. Who is one is left out: what joins addresses goes by what was known when they came."""
    asked = {
        "session": "session_id, sensor_session, attacker_uuid, started_at, ended_at, end_reason, command_count",
        "command": "command_id, session_id, command_text, ts",
        "ttp_tag": "uuid, session_id, rule_id, source_id, superseded_by, replaced_by",
        "credential": "credential_id, first_seen, last_seen",
    }
    with closing(sqlite3.connect(data_dir / "decnet.sqlite")) as database:
        return {
            table: set(database.execute(f"SELECT {columns} FROM {table}")) for table, columns in asked.items()
        }


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_running_engine_is_saved_and_goes_on_elsewhere(tmp_path: Path) -> None:
    log, data, file, back = (
        tmp_path / "cowrie.json",
        tmp_path / "data",
        tmp_path / "b.tar.gz",
        tmp_path / "back",
    )
    write_log(log, LINES, 11)
    with daemon(data, tmp_path / "log", "--sensor", f"cowrie={log}"):
        until(lambda: len(listed("sessions", data)) > 5, 60, "it has begun")
        done = cli("backup", file, "--data-dir", data)
        assert done.returncode == 0, done.stderr.decode()
        assert b"without its stream" in done.stdout
        refused = cli("restore", file, "--data-dir", data)
        assert (refused.returncode, b"an engine runs on" in refused.stderr) == (1, True)
    assert run_until_idle(log, data, timeout=120).returncode == 0
    restored = cli("restore", file, "--data-dir", back)
    assert restored.returncode == 0, restored.stderr.decode()
    assert b"sensors read their logs again" in restored.stdout
    assert run_until_idle(log, back, timeout=120).returncode == 0
    assert known(back) == known(data)
    assert len(known(data)["session"]) > 50


def test_a_stopped_engine_is_saved_with_its_stream_and_reads_on_where_it_stood(tmp_path: Path) -> None:
    log, data, file, back = (
        tmp_path / "cowrie.json",
        tmp_path / "data",
        tmp_path / "b.tar.gz",
        tmp_path / "back",
    )
    write_log(log, 200, 11)
    assert run_until_idle(log, data, timeout=120).returncode == 0
    saved = json.loads(cli("backup", file, "--json", "--data-dir", data).stdout)
    assert saved["whole"] is True
    assert json.loads(cli("restore", file, "--json", "--data-dir", back).stdout) == saved
    with closing(sqlite3.connect(back / "decnet.sqlite")) as database:
        assert database.execute("SELECT count(*) FROM sensor_checkpoint").fetchone()[0] > 0
    assert list((back / "bus" / "store").rglob("*.blk"))
    assert run_until_idle(log, back, timeout=120).returncode == 0
    assert known(back) == known(data)


def test_a_server_s_database_is_the_server_s_to_save(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("db: postgresql://h/d\n", "utf-8")
    done = cli("backup", tmp_path / "b", "--config", tmp_path / "c.yaml", "--data-dir", tmp_path)
    assert (done.returncode, b"pg_dump" in done.stderr) == (1, True)
