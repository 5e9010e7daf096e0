"""What is stored is judged again as it was live, whatever kind of fact it is: a log with all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from decnet.config import Settings, load_settings
from decnet.engine import Engine
from decnet.ttp.backfill import run_backfill
from tests.acceptance.test_every_event_of_cowrie import written
from tests.acceptance.test_logs_of_others import CASES, LOGS
from tests.rowkit import TABLES

IDLE_S = 0.4
EVER = datetime.fromtimestamp(0, UTC), datetime(2100, 1, 1, tzinfo=UTC)
OF_THE_STREAM = frozenset({"credential"})
"""Kinds that also come from events which only the stream keeps."""
Tag = tuple[Any, ...]


def settings(folder: Path, log: Path) -> Settings:
    cases = [CASES / f"{case}.json" for case in LOGS if case != "21-long-line"]
    return load_settings(
        data_dir=folder / "data",
        bus={"type": "memory"},
        workers=("sensors", "recorder", "ttp"),
        ttp_rule_store_type="filesystem",
        sensors=[{"kind": "cowrie", "path": str(path)} for path in (log, *cases)]
        + [{"kind": "opencanary", "path": str(CASES / "11-opencanary-detail.txt")}],
    )


async def tags(engine: Engine) -> set[Tag]:
    names = (
        "source_kind",
        "source_id",
        "rule_id",
        "technique_id",
        "sub_technique_id",
        "session_id",
        "decky_id",
    )
    rows = await engine.repo.list_tags(limit=0)
    return {tuple(row[name] for name in names) for row in rows if row["source_kind"] not in OF_THE_STREAM}


@asynccontextmanager
async def read(made: Settings) -> AsyncIterator[Engine]:
    """An engine that has read all its logs."""
    engine = Engine(made)
    await engine.start()
    try:
        assert await engine.until_idle(IDLE_S) is None
        yield engine
    finally:
        await engine.stop(5.0)


@pytest.mark.slow
async def test_back_fill_gives_the_tags_that_live_gives(tmp_path: Path) -> None:
    log = written(tmp_path / "cowrie.json")
    async with read(settings(tmp_path, log)) as engine:
        wanted, count = await tags(engine), len(await engine.repo.list_tags(limit=0))
        await run_backfill(*EVER, repo=engine.repo, settings=engine.settings)
        assert len(await engine.repo.list_tags(limit=0)) == count, "again adds nothing"
        async with engine.repo.db.write() as session:
            for table in ("ttp_tag", "ttp_window_hit", "ttp_window_fire"):
                await session.execute(TABLES[table].delete())
        await run_backfill(*EVER, repo=engine.repo, settings=engine.settings)
        again = await tags(engine)
    # Of a provider's answers the newest is stored: what an earlier one said by itself is known to live judging alone.
    by_answers = {tag for tag in wanted if tag[0] == "intel"}
    assert set() < {tag for tag in again if tag[0] == "intel"} <= by_answers
    assert {tag for tag in again if tag[0] != "intel"} == wanted - by_answers
    assert {tag[0] for tag in wanted} >= {"command", "session", "http_fingerprint", "http_request"}
