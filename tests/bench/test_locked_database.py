"""Seconds until a locked database is named, and until all is well again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.test_locked_database import NAMED_S, named_and_well
from tests.dbkit import KINDS

pytestmark = [pytest.mark.bench, pytest.mark.timeout(60)]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_locked_database_is_named_in_time(kind: str, tmp_path: Path) -> None:
    assert max(await named_and_well(kind, tmp_path)) < NAMED_S
