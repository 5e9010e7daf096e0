"""Figures of the spine: lines a second, and how long until something is seen. Not part of CI."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.test_rules_live import Pot
from tests.cowriegen import COMMANDS, append_session, write_log
from tests.programkit import PROGRAM, daemon, listed, run_until_idle, surroundings

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]
TAG_LINES = 200_000
LOG_LINES = 100_000


def _report(text: str) -> None:
    print(f"\n{text}", flush=True)


def _lines(count: int) -> bytes:
    """Distinct command lines: nothing may be answered from a memory of earlier ones."""
    dice = random.Random(1)
    return "".join(f"{dice.choice(COMMANDS).format(n=i)} #{i}\n" for i in range(count)).encode()


def test_tag_takes_20000_distinct_lines_a_second(tmp_path: Path) -> None:
    source = tmp_path / "lines.txt"
    source.write_bytes(_lines(TAG_LINES))
    started = time.monotonic()
    done = subprocess.run([PROGRAM, "tag", str(source)], capture_output=True, check=True, env=surroundings())
    rate = TAG_LINES / (time.monotonic() - started)
    assert done.stdout.count(b"\n") == TAG_LINES
    _report(f"tag: {rate:,.0f} lines/s, start-up included")
    assert rate >= 20_000


def test_a_log_of_100000_lines(tmp_path: Path) -> None:
    log, data = tmp_path / "cowrie.json", tmp_path / "data"
    written = write_log(log, LOG_LINES, seed=7)
    started = time.monotonic()
    assert run_until_idle(log, data, timeout=500).returncode == 0
    took = time.monotonic() - started
    assert len(listed("sessions", data)) == len(written.sessions)
    _report(f"log: {LOG_LINES:,} lines, {len(written.sessions):,} sessions in {took:.1f} s")
    assert took < 120


def _seconds_until(look: Callable[[], bool], limit: float) -> float:
    started = time.monotonic()
    while not look():
        assert time.monotonic() - started < limit
        time.sleep(0.005)
    return time.monotonic() - started


def _tags(data: Path, rule_id: str) -> int:
    with closing(sqlite3.connect(f"file:{data / 'decnet.sqlite'}?mode=ro", uri=True)) as connection:
        return int(
            connection.execute("SELECT count(*) FROM ttp_tag WHERE rule_id = ?", (rule_id,)).fetchone()[0]
        )


def test_a_session_is_tagged_within_three_seconds_and_a_saved_rule_live_within_one(tmp_path: Path) -> None:
    pot = Pot(tmp_path)
    with daemon(
        pot.data, tmp_path / "engine.log", "--rules", pot.rules, "--sensor", f"cowrie={pot.log}"
    ) as pot.engine:
        pot.tagged("198.51.100.1", "alpha")
        delays = []
        for number in range(2, 12):
            before = _tags(pot.data, "A1")
            append_session(pot.log, f"s{number}", ["alpha"], f"198.51.100.{number}")
            delays.append(_seconds_until(lambda before=before: _tags(pot.data, "A1") > before, 30))
        _report(f"session to tag: median {sorted(delays)[5]:.2f} s, worst {max(delays):.2f} s")
        assert max(delays) < 3
        rule = (pot.rules / "a.yaml").read_text("utf-8")
        (pot.rules / "a.yaml").write_text(rule.replace("alpha", "gamma"), "utf-8")
        time.sleep(1)  # the figure itself: a second after the save the rule is live
        before = _tags(pot.data, "A1")
        append_session(pot.log, "mended", ["gamma"], "198.51.100.20")
        _seconds_until(lambda: _tags(pot.data, "A1") > before, 3)
