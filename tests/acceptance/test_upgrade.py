"""A data directory of an earlier version: migrated with a copy kept, nothing lost, and reading its log again adds nothing."""

from __future__ import annotations

import gzip
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from decnet.config import load_settings
from decnet.db.engine import SCHEMA
from decnet.db.repository import BaseRepository
from decnet.engine import Engine

FIXTURES = Path(__file__).parent.parent / "fixtures"
OLD = FIXTURES / "upgrade"
LOG = FIXTURES / "cowrie" / "recorded" / "2.7" / "cowrie.json"
KEYS = {
    "attacker": "attacker_uuid", "identity": "identity_uuid", "session": "session_id", "command": "command_id",
    "credential": "credential_id", "observation": "observation_id", "ttp_tag": "uuid", "recording": "key",
}  # fmt: skip
Ids = dict[str, set[str]]
pytestmark = pytest.mark.asyncio(loop_scope="module")


def ids(path: Path) -> Ids:
    with closing(sqlite3.connect(path)) as db:
        return {
            table: {row[0] for row in db.execute(f"SELECT {key} FROM {table}")} for table, key in KEYS.items()
        }


def column(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


class Upgraded:
    """What was there before, what the start said, and the file now."""

    def __init__(self, place: Path) -> None:
        self.file = place / "decnet.sqlite"
        self.before: Ids = {}
        self.said: list[Any] = []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Upgraded:
    """The old directory after this version ran on it and read the same log from its start."""
    place = tmp_path_factory.mktemp("old")
    known = Upgraded(place)
    known.file.write_bytes(gzip.decompress((OLD / "r0007.sqlite.gz").read_bytes()))
    shutil.copyfile(OLD / "secret.key", place / "secret.key")
    (place / "secret.key").chmod(0o600)
    known.before = ids(known.file)
    settings = load_settings(
        data_dir=place,
        bus={"type": "memory"},
        workers=("sensors", "recorder", "behave", "ttp", "attribution"),
        ttp_rule_store_type="filesystem",
        sensors=[{"kind": "cowrie", "path": str(LOG)}],
    )
    engine = Engine(settings)
    with capture_logs() as known.said:
        await engine.start()
        try:
            assert await engine.until_idle(0.4) is None
        finally:
            await engine.stop(5.0)
    return known


async def test_it_is_migrated_with_a_copy_kept_and_said_so(upgraded: Upgraded) -> None:
    assert column(upgraded.file, "SELECT version_num FROM alembic_version") == [(SCHEMA,)]
    copy = upgraded.file.with_name("decnet.sqlite.0007.bak")
    assert ids(copy) == upgraded.before
    assert column(copy, "SELECT version_num FROM alembic_version") == [("0007",)]
    told = [e for e in upgraded.said if e["event"] == "database schema is older and is migrated"]
    assert [(e["old"], e["new"], e["copy"]) for e in told] == [("0007", SCHEMA, str(copy))]


RAISED = {"R0004", "R0015", "R0047", "R0113", "R0201"}
"""Rules whose meaning changed since: their tags of the new version stand beside the old ones, which back-fill supersedes."""


async def test_no_id_changes_and_reading_the_log_again_adds_nothing(upgraded: Upgraded) -> None:
    """Rules that came with a later version may find more; no rule that had fired fires under another id."""
    now = ids(upgraded.file)
    assert {table: len(found) for table, found in upgraded.before.items()} == {
        "attacker": 7, "identity": 7, "session": 7, "command": 11, "credential": 10, "observation": 59, "ttp_tag": 15,
        "recording": 4,
    }  # fmt: skip
    assert {**now, "ttp_tag": set()} == {**upgraded.before, "ttp_tag": set()}
    assert now["ttp_tag"] >= upgraded.before["ttp_tag"]
    rules = dict(column(upgraded.file, "SELECT uuid, rule_id FROM ttp_tag"))
    fired = {rules[uuid] for uuid in upgraded.before["ttp_tag"]}
    assert len(fired) > 5
    again = {rules[uuid] for uuid in now["ttp_tag"] - upgraded.before["ttp_tag"]} & fired
    assert again <= RAISED
    assert "R0004" in again
    assert column(upgraded.file, "SELECT count(*) FROM dead_letter") == [(0,)]


async def test_stored_tags_get_the_time_of_their_evidence(upgraded: Upgraded) -> None:
    query = """SELECT t.seen_at, c.ts FROM ttp_tag t JOIN command c ON c.command_id = t.source_id"""
    found = column(upgraded.file, query)
    assert len(found) > 5
    assert all(seen == typed for seen, typed in found)
    ((missing, newest),) = column(
        upgraded.file, "SELECT count(*) FILTER (WHERE seen_at IS NULL), max(seen_at) FROM ttp_tag"
    )
    recorded = datetime.fromisoformat(newest).replace(tzinfo=UTC)
    assert (missing, recorded < datetime(2026, 11, 22, tzinfo=UTC)) == (0, True)


async def test_it_goes_back_from_its_copy_and_forward_again(upgraded: Upgraded, tmp_path: Path) -> None:
    """What the guide says: the copy in the place of the file is what the release before wrote, and can be migrated again."""
    (before := tmp_path / "before.sqlite").write_bytes(
        gzip.decompress((OLD / "r0007.sqlite.gz").read_bytes())
    )
    back = tmp_path / "decnet.sqlite"
    shutil.copyfile(upgraded.file.with_name("decnet.sqlite.0007.bak"), back)
    assert dumped(back) == dumped(before)
    repo = await BaseRepository.open(f"sqlite:///{back}")
    await repo.close()
    assert column(back, "SELECT version_num FROM alembic_version") == [(SCHEMA,)]
    assert ids(back) == upgraded.before
    assert dumped(back.with_name("decnet.sqlite.0007.bak")) == dumped(before), "and there is a copy again"


def dumped(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return list(db.iterdump())
