"""A log file becomes rows: every session once, twice the same, and the same after a crash."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from decnet.keyed import load_key
from tests.cowriegen import write_log
from tests.programkit import daemon, listed, run_until_idle, until, without

LISTS = ("sessions", "tags", "attackers")
SLOW_LINES = 100_000


def _works_off(tmp_path: Path, lines: int, timeout: float) -> None:
    log, data = tmp_path / "cowrie.json", tmp_path / "data"
    written = write_log(log, lines, seed=7)
    assert written.lines == lines

    done = run_until_idle(log, data, timeout=timeout)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    first = {what: listed(what, data) for what in LISTS}
    assert len(first["sessions"]) == len(written.sessions)
    assert len({row["session_id"] for row in first["sessions"]}) == len(written.sessions)
    assert {row["attacker_ip"] for row in first["attackers"]} == written.addresses
    assert {"T1082", "T1105", "T1007"} <= {row["technique_id"] for row in first["tags"]}
    assert listed("deadletters", data) == []

    again = run_until_idle(log, data, timeout=timeout)
    assert again.returncode == 0, again.stderr.decode()[-2000:]
    for what, rows in first.items():
        assert without(listed(what, data)) == without(rows), what


def test_every_session_once_and_a_second_run_adds_nothing(tmp_path: Path) -> None:
    _works_off(tmp_path, 3000, timeout=150)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_large_log(tmp_path: Path) -> None:
    _works_off(tmp_path, SLOW_LINES, timeout=900)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_sigkill_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    log = tmp_path / "cowrie.json"
    written = write_log(log, 3000, seed=11)
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    killed.mkdir()
    load_key(killed)
    shutil.copytree(killed, calm)  # ids of credentials are made with the key of the data directory
    assert run_until_idle(log, calm, timeout=200).returncode == 0

    with daemon(killed, tmp_path / "engine.log", "--sensor", f"cowrie={log}") as engine:
        until(lambda: _sessions(killed), 60, "a first session", pause=0.005)
        engine.kill()
    before = len(listed("sessions", killed))
    assert 0 < before < len(written.sessions), "the kill was to hit the middle of the work"
    done = run_until_idle(log, killed, timeout=200)
    assert done.returncode == 0, done.stderr.decode()[-2000:]

    assert {row["session_id"] for row in listed("sessions", killed)} == {
        row["session_id"] for row in listed("sessions", calm)
    }
    assert len(listed("sessions", killed)) == len(written.sessions)
    for what in LISTS:
        assert settled(listed(what, killed)) == settled(listed(what, calm)), what
    assert listed("deadletters", killed) == []


def _sessions(data: Path) -> int:
    """Sessions that were recorded so far; a list command would take longer than the rest of the work."""
    try:
        with closing(sqlite3.connect(f"file:{data / 'decnet.sqlite'}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(attacker_uuid) FROM session").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def settled(rows: list[dict[str, Any]]) -> set[str]:
    """Rows without what the order of delivery decides: when a tag was made, which of several earlier events a sequence
    names beside the one that completed it (a tag that is written is never moved), and which of its addresses names an
    identity (who came first); here it is the least one. Of campaigns it is how many.
    """
    least: dict[str, str] = {}
    for row in rows:
        if (identity := row.get("identity_uuid")) and (attacker := row.get("attacker_uuid")):
            least[identity] = min(least.get(identity, attacker), attacker)
    for row in rows:
        if row.get("identity_uuid") in least:
            row["identity_uuid"] = f"that of {least[row['identity_uuid']]}"
        if isinstance(row.get("campaigns"), list):  # so is what a campaign is called after
            row["campaigns"] = len(row["campaigns"])
        if "within_s" in (row.get("evidence") or {}):
            row["evidence"] = {"field": row["evidence"]["field"]}
    return without(rows, "created_at")
