"""Answers of providers on both databases: merged by provider, by several engines, in any order; rows of before stay readable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from decnet.db import migrate
from decnet.db.repository import BaseRepository
from decnet.db.repository.runtime import retention
from decnet.ids import attacker_id
from tests.dbkit import KINDS, database_url
from tests.rowkit import emptied, put, rows_of

A, B = attacker_id("192.0.2.1"), attacker_id("192.0.2.2")
ABUSE: dict[str, Any] = {
    "providers": ["abuseipdb"],
    "abuseipdb_score": 90.0,
    "abuseipdb_categories": [18, 22],
}
NOISE: dict[str, Any] = {
    "providers": ["greynoise"],
    "greynoise_classification": "malicious",
    "greynoise_name": "X",
}
OLDER: dict[str, Any] = {
    "providers": ["greynoise"],
    "greynoise_classification": "benign",
    "greynoise_tags": ["CDN"],
}
BOTH = {**ABUSE, **NOISE, "providers": ["abuseipdb", "greynoise"]}
BLOCKED_S = 0.3
"""How long the second writer gets to run into the first; with the rows held it does not matter how far it came."""


@pytest.fixture(params=KINDS)
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    async with database_url(request.param, tmp_path) as fresh:
        yield fresh


@pytest.fixture
async def repo(url: str) -> AsyncIterator[BaseRepository]:
    opened = await BaseRepository.open(url)
    yield opened
    await opened.close()


async def test_answers_come_to_the_same_row_in_every_order_and_grouping(repo: BaseRepository) -> None:
    said = [(A, 100.0, ABUSE), (A, 200.0, NOISE), (A, 150.0, OLDER)]
    for order in permutations(said):
        await emptied(repo)
        for one in order:
            await repo.upsert_intel([one])
        assert await repo.intel_of([A, B]) == [(200.0, BOTH)], order
        await repo.upsert_intel([*order, (B, 1.0, ABUSE)])
        assert await repo.intel_of([A, B]) == sorted(
            [(200.0, BOTH), (1.0, ABUSE)], key=lambda r: (A, B)[r[0] == 1.0]
        )


async def test_a_late_old_answer_of_another_provider_is_added_and_moves_no_time(repo: BaseRepository) -> None:
    await repo.upsert_intel([(A, 200.0, NOISE)])
    await repo.upsert_intel([(A, 100.0, ABUSE)])
    assert await repo.intel_of([A]) == [(200.0, BOTH)]
    page = await repo.replay_page("intel", *_ever())
    assert [(event.ts, event.payload) for event in page.events] == [(200.0, BOTH)]
    assert [(hit["kind"], hit["value"]) for hit in await repo.find("X")] == [], "nobody's attacker yet"


def _ever() -> tuple[Any, Any]:
    from datetime import UTC, datetime

    return datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
async def test_two_engines_at_one_attacker_lose_neither_answer(url: str, known: bool) -> None:
    one, two = await BaseRepository.open(url), await BaseRepository.open(url)
    try:
        if known:
            await one.upsert_intel([(A, 1.0, OLDER)])
        async with one.transaction() as first:
            await first.upsert_intel([(A, 200.0, NOISE)])
            second = asyncio.create_task(two.upsert_intel([(A, 300.0, ABUSE), (B, 1.0, ABUSE)]))
            await asyncio.wait({second}, timeout=BLOCKED_S)
        await second
        assert await two.intel_of([A]) == [(300.0, BOTH)]
    finally:
        await one.close()
        await two.close()


async def test_many_writers_at_once_keep_what_each_said_last(url: str) -> None:
    repos = [await BaseRepository.open(url) for _ in range(2)]
    words = [{"providers": [p], f: v} for p, f, v in (
        ("abuseipdb", "abuseipdb_score", 7.0), ("greynoise", "greynoise_name", "N"), ("feodo", "feodo_malware_family", "F"),
        ("threatfox", "threatfox_listed", True),
    )]  # fmt: skip
    try:
        calls = [
            repos[i % 2].upsert_intel([(u, float(i), w)]) for i, w in enumerate(words * 3) for u in (A, B)
        ]
        await asyncio.gather(*calls)
        for uuid in (A, B):
            ((ts, payload),) = await repos[0].intel_of([uuid])
            assert (ts, len(payload["providers"]), payload["abuseipdb_score"]) == (11.0, 4, 7.0)  # type: ignore[arg-type]
    finally:
        for repo in repos:
            await repo.close()


async def test_a_row_of_before_is_read_and_merged_like_one_answer(repo: BaseRepository) -> None:
    row = {
        "attacker_uuid": A,
        "version": "00000000000150.000000|ab",
        "ts": 150.0,
        "payload": {**BOTH, "attacker_ip": "a"},
    }
    await put(repo, "attacker_intel", row)
    assert await repo.intel_of([A]) == [(150.0, row["payload"])]
    await repo.upsert_intel([(A, 100.0, {**OLDER, "attacker_ip": "a"})])
    assert await repo.intel_of([A]) == [(150.0, row["payload"])], "older than the row: nothing changes"
    await repo.upsert_intel([(A, 160.0, {**OLDER, "attacker_ip": "a"})])
    ((ts, payload),) = await repo.intel_of([A])
    assert (ts, payload) == (
        160.0,
        {**ABUSE, **OLDER, "attacker_ip": "a", "providers": ["abuseipdb", "greynoise"]},
    )


async def test_an_old_answer_leaves_though_another_provider_answered_since(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is exactly as old as the moment asked for stays; rows are worked off in pages."""
    monkeypatch.setattr(retention, "AT_ONCE", 1)
    await repo.upsert_intel([(A, 99.9, {**ABUSE, "aggregate_verdict": "malicious"}), (A, 200.0, NOISE)])
    await repo.upsert_intel([(B, 99.9, ABUSE), (B, 100.0, OLDER), (B, 300.0, {"ptr": "a.example"})])
    seen: list[tuple[str, int]] = []
    done = await repo.purge_older(100.0, lambda name, rows: seen.append((name, rows)))
    assert done[retention.ANSWERS] == 4, "a score and its categories each"
    assert [rows for name, rows in seen if name == retention.ANSWERS] == [1, 1]
    assert await repo.intel_of([A]) == [(200.0, NOISE)]
    assert await repo.intel_of([B]) == [(300.0, {**OLDER, "ptr": "a.example"})]
    assert retention.ANSWERS not in await repo.purge_older(100.0), "once"
    await repo.upsert_intel([(A, 150.0, ABUSE)])
    assert await repo.intel_of([A]) == [(200.0, BOTH)]


async def test_the_revision_goes_down_and_up_and_loses_no_answer(url: str) -> None:
    repo = await BaseRepository.open(url)
    await repo.upsert_intel([(A, 100.0, ABUSE), (A, 200.0, NOISE)])
    async with repo.db.write() as session:
        connection = await session.connection()
        await connection.run_sync(migrate.downgrade, "0014")
    async with repo.db.read() as session:
        names = (await session.execute(text("SELECT * FROM attacker_intel"))).keys()
        assert list(names) == ["attacker_uuid", "version", "ts", "payload"]
    await repo.close()
    repo = await BaseRepository.open(url)
    assert await repo.intel_of([A]) == [(200.0, BOTH)]
    assert (await rows_of(repo, "attacker_intel", "attacker_uuid"))[A]["parts"] is None
    await repo.upsert_intel([(A, 300.0, OLDER)])
    ((_, payload),) = await repo.intel_of([A])
    assert (payload["abuseipdb_score"], payload["greynoise_classification"]) == (90.0, "benign")
    await repo.close()
