"""All tags a page at a time: in the order of the list, each once, and of one moment, on both databases."""

from __future__ import annotations

import json
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from decnet.db.repository import BaseRepository
from decnet.db.repository.lists import pages
from decnet.db.rows.lists import TAG_COLUMNS
from decnet.db.rows.ttp import TTPTag
from decnet.db.types import as_utc
from tests.dbkit import KINDS, open_repo

START = datetime(2026, 3, 4, tzinfo=UTC)


def tag(n: int) -> TTPTag:
    """Several at one time."""
    return TTPTag(
        source_kind="command", source_id=f"c{n}", attacker_uuid=f"a{n % 3}", tactic="TA0002", technique_id="T1059", confidence=0.5,
        rule_id="R1", rule_version=1, evidence={"matched": f"é{n}", "list": [n]}, seen_at=START + timedelta(seconds=n // 4),
        superseded_by="x" if n % 7 == 0 else None,
    )  # fmt: skip


async def read(repo: BaseRepository, **asked: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with aclosing(repo.tag_pages(**asked)) as some:
        async for page in some:
            assert 0 < len(page) <= pages.PAGE
            found += [dict(zip(TAG_COLUMNS, row, strict=True)) for row in page]
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 25, 26, 100])
async def test_pages_are_the_list(
    kind: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE", size)
    async with open_repo(kind, tmp_path) as repo:
        await repo.insert_tags([tag(n) for n in range(30)])
        async with repo.db.write() as session:
            await session.execute(
                text("UPDATE ttp_tag SET seen_at = NULL WHERE source_id IN ('c3', 'c4', 'c5', 'c22')")
            )
        for asked in ({}, {"since": START + timedelta(seconds=4)}, {"attacker": "a1"}):
            found = await read(repo, **asked)
            listed = await repo.list_tags(limit=0, **asked)
            assert [row["uuid"] for row in found] == [row["uuid"] for row in listed]
            assert [as_utc(row["seen_at"]) for row in found] == [row["seen_at"] for row in listed]
            assert [json.loads(row["evidence"]) for row in found] == [row["evidence"] for row in listed]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_comes_or_goes_meanwhile_changes_no_page(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE", 3)
    async with open_repo(kind, tmp_path) as repo:
        await repo.insert_tags([tag(n) for n in range(10)])
        before = [row["uuid"] for row in await repo.list_tags(limit=0)]
        found: list[str] = []
        async with aclosing(repo.tag_pages()) as some:
            async for page in some:
                found += [row[0] for row in page]
                if len(found) == 3:
                    await repo.insert_tags([tag(n) for n in range(-8, 0)])
                    async with repo.db.write() as session:
                        await session.execute(text("DELETE FROM ttp_tag WHERE source_id IN ('c1', 'c2')"))
        assert found == before


@pytest.mark.parametrize("kind", KINDS)
async def test_who_stops_early_leaves_nothing_open(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE", 2)
    async with open_repo(kind, tmp_path) as repo:
        await repo.insert_tags([tag(n) for n in range(10)])
        for _ in range(40):  # more than there are connections
            async with aclosing(repo.tag_pages()) as some:
                async for page in some:
                    assert page
                    break
        assert len(await read(repo)) == 8
