"""One table for each module that measures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bench.figures import Table


@pytest.fixture(scope="module")
def everything(request: pytest.FixtureRequest) -> Iterator[Table]:
    """The table of a module, printed once."""
    table = Table()
    yield table
    table.report(request.module.__name__.rpartition(".")[2])


@pytest.fixture
def table(everything: Table) -> Iterator[Table]:
    """The same; a test fails with the figures of its own that are over their budgets."""
    since = len(everything.rows)
    yield everything
    assert not everything.late(since)
