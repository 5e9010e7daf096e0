"""Every figure of ``decnet-tui bench`` against its bar: medians of five, each beside its floor of the same run."""

from __future__ import annotations

import json

import pytest

from decnet_tui.cli.bench import line_of
from tests.programkit import cli

RUNS = 5


@pytest.mark.bench
@pytest.mark.timeout(3600)
def test_every_figure_meets_its_bar() -> None:
    done = cli("bench", "--json", "--runs", str(RUNS), timeout=3500)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    rows = json.loads(done.stdout)
    print("\n" + "\n".join(map(line_of, rows)))
    barred = [row for row in rows if row["bar"] is not None]
    assert len(barred) == 11
    assert [row["figure"] for row in barred if not row["met"]] == []
