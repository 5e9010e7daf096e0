"""Ids that were given out once stay: of the demo's and every fixture's events and rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import golden

PINNED = json.loads(golden.GOLDEN.read_text("utf-8"))


def test_every_source_is_pinned() -> None:
    assert sorted(map(golden.name_of, golden.sensors())) == sorted(PINNED)


@pytest.mark.slow
@pytest.mark.parametrize("sensor", golden.sensors(), ids=golden.name_of)
async def test_ids_are_those_of_the_first_version(sensor: dict[str, str], tmp_path: Path) -> None:
    assert golden.short(await golden.ids_of(tmp_path, sensor)) == PINNED[golden.name_of(sensor)]
