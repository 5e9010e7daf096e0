"""The demo recording through the whole engine, twice: sensor, broker, worker, database, and the same result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from decnet.config import SensorSpec, load_settings
from decnet.engine import Engine

LOG = Path(__file__).parents[2] / "decnet" / "_data" / "demo" / "cowrie.json"
COLUMNS = (
    "evidence_ref, primitive, value, confidence, ts, window_start, window_end, session_id, attacker_uuid"
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


async def played(data_dir: Path) -> tuple[list[Any], set[tuple[str, str]]]:
    """Rows of ``observation`` and what the stream holds of them as (evidence_ref, primitive)."""
    spec = SensorSpec(kind="cowrie", path=LOG)
    settings = load_settings(data_dir=data_dir, sensors=(spec,), workers=("sensors", "recorder", "behave"))
    engine = Engine(settings)
    await engine.start()
    try:
        assert await engine.until_idle(0.5) is None
        health = engine.supervisor.runners["behave"].worker.health()
        assert (health["sessions"], health["recordings_missing"], health["recordings_foreign"]) == (136, 0, 0)
        async with engine.repo.db.read() as reading:
            found = await reading.execute(text(f"SELECT {COLUMNS} FROM observation ORDER BY 1, 2"))
            rows = [tuple(row) for row in found]
        told = await engine.bus.read_back("attacker.observation.>", 50_000)
        return rows, {
            (e.payload["evidence_ref"], e.topic.removeprefix("attacker.observation.")) for e in told
        }
    finally:
        await engine.stop()


async def test_the_demo_gives_the_same_observations_every_time(tmp_path: Path) -> None:
    rows, told = await played(tmp_path / "one")
    assert len({row[1] for row in rows}) >= 45
    assert {(row[0], row[1]) for row in rows} <= told
    again, _ = await played(tmp_path / "two")
    assert again == rows
