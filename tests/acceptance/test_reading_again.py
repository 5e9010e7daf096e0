"""An engine that lost its checkpoints and reads its logs again, in another order, adds nothing: rows and tags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from decnet.config import load_settings
from decnet.engine import Engine
from tests.unit.test_order_of_lines import DAY, START, rich, whole

pytestmark = pytest.mark.slow
LINES = [*whole("TT8", START, 1), *rich("r0", START + 100), *whole("TT8", START + DAY, 2)]
CUT = 12
TABLES = {
    "session": "session_id, started_at, ended_at, command_count",
    "command": "command_id, command_text",
    "credential": "credential_id",
    "ttp_tag": "uuid, source_id, seen_at",
}


async def read(folder: Path, *files: list[bytes]) -> dict[str, Any]:
    """What is stored after an engine without checkpoints has read some files, each with a start of its own."""
    for number, lines in enumerate(files):
        log = folder / f"log-{number}-{len(list(folder.iterdir()))}.json"
        log.write_bytes(b"\n".join(lines) + b"\n")
        settings = load_settings(
            data_dir=folder / "data",
            bus={"type": "memory"},
            workers=("sensors", "recorder", "ttp"),
            ttp_rule_store_type="filesystem",
            sensors=[{"kind": "cowrie", "path": str(log)}],
        )
        engine = Engine(settings)
        await engine.start()
        try:
            assert await engine.until_idle(0.4) is None
            async with engine.repo.db.read() as session:
                rows = {
                    table: sorted(
                        map(tuple, (await session.execute(text(f"SELECT {names} FROM {table}"))).all())
                    )
                    for table, names in TABLES.items()
                }
        finally:
            await engine.stop(5.0)
    return rows


async def test_reading_again_in_another_order_adds_no_row_and_no_tag(tmp_path: Path) -> None:
    first = await read(tmp_path, LINES[CUT:], LINES[:CUT])
    assert [count for *_, count in first["session"]].count(None) == 0
    assert sorted(count for *_, count in first["session"]) == [1, 2, 3]
    assert len(first["command"]) == 6
    assert first["ttp_tag"]
    assert await read(tmp_path, LINES) == first
