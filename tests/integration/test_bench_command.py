"""``bench`` with real engines, servers and commands; the figures themselves are for a quiet machine."""

from __future__ import annotations

import json

import pytest

from tests.programkit import cli

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_every_figure_stands_beside_its_floor() -> None:
    done = cli("bench", "--json", "--sessions", "5", "--lines", "100", timeout=280)
    assert done.returncode == 0, done.stderr.decode()
    rows = json.loads(done.stdout)
    assert all(row["value"] > 0 for row in rows)
    assert {row["figure"] for row in rows if row["floor"] is None} == {
        "floor: lines decoded and inserted", "floor: rows into SQLite", "floor: JetStream messages fetched and acknowledged",
        "tags, three workers", "tags, all workers", "start, three workers", "start, all workers",
        "memory, three workers", "memory, all workers",
    }  # fmt: skip
