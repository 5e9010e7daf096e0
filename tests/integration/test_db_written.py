"""What is written by this process and by others is heard of, on both databases; what nobody waits for is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from decnet.db.repository import BaseRepository
from decnet.errors import DatabaseError
from tests.dbkit import KINDS, migrated_url

EVERY_S = 0.02


@pytest.fixture(params=KINDS)
async def both(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[BaseRepository, ...]]:
    """Two engines' repositories on one database; the first has written and looked."""
    async with migrated_url(request.param, tmp_path) as url:
        repos = [await BaseRepository.open(url) for _ in range(2)]
        await repos[0].upsert_attacker("a", None, 1.0)
        await looked(repos[0])
        try:
            yield tuple(repos)
        finally:
            for repo in repos:
                await repo.close()


async def looked(repo: BaseRepository, seconds: float = 0.2) -> int:
    """Commits heard of meanwhile."""
    before = repo.written.mark
    await asyncio.sleep(EVERY_S)
    return await repo.written.after(before, EVERY_S, seconds) - before


async def test_commits_of_others_are_heard_of_once(both: tuple[BaseRepository, ...]) -> None:
    mine, other = both
    alone = mine.db.dialect == "sqlite"  # on a server other databases may be heard of too
    assert not alone or await looked(mine) == 0
    await other.upsert_attacker("b", None, 2.0)
    assert await looked(mine) == 1
    assert not alone or await looked(mine) == 0
    await other.lease_acquire("x", "other", 5.0)
    assert await looked(mine) == 1, "of others all is heard of"


async def test_commits_of_this_process_are_heard_of_at_once(both: tuple[BaseRepository, ...]) -> None:
    mine, _ = both
    before = mine.written.mark
    await mine.upsert_attacker("b", None, 2.0)
    assert mine.written.mark == before + 1
    async with mine.transaction() as bound:
        await bound.upsert_attacker("c", None, 2.0)
        await bound.upsert_attacker("d", None, 2.0)
        assert mine.written.mark == before + 1
    assert mine.written.mark == before + 2

    async def fails() -> None:
        async with mine.transaction() as bound:
            await bound.upsert_attacker("e", None, 2.0)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fails()
    assert mine.written.mark == before + 2, "what is undone was not written"


async def test_nobody_waits_for_heartbeats_and_leases(both: tuple[BaseRepository, ...]) -> None:
    mine, _ = both
    before = mine.written.mark
    await mine.heartbeats_write({"ttp": {"n": 1}, "recorder": {"n": 2}})
    assert await mine.lease_acquire("x", "me", 5.0)
    assert not await mine.lease_acquire("x", "you", 5.0)
    await mine.lease_release("x", "me")
    assert mine.written.mark == before
    if mine.db.dialect == "sqlite":  # a server's transactions do not say whose they were
        assert await looked(mine) == 0


async def test_a_database_that_cannot_be_asked_may_have_been_written(
    both: tuple[BaseRepository, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, _ = both
    await mine.close()
    assert await looked(mine) >= 1
    with pytest.raises(DatabaseError):
        await mine.heartbeats()


@pytest.mark.parametrize("both", ["sqlite"], indirect=True)
async def test_the_one_writer_of_a_file_is_not_waited_for(both: tuple[BaseRepository, ...]) -> None:
    mine, other = both
    async with mine.transaction() as bound:
        await bound.upsert_attacker("b", None, 2.0)
        async with asyncio.timeout(5):
            assert await looked(mine) == 1, "somebody may have written"
    await other.upsert_attacker("c", None, 2.0)
    assert await looked(mine) == 1
