"""Leases, outbox, dead letters, failures, heartbeats and checkpoints on both databases, at their limits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from decnet.bus.base import Event
from decnet.db.repository import BaseRepository
from decnet.db.rows.runtime import NewDeadLetter
from decnet.db.types import utcnow
from tests.dbkit import KINDS, open_repo


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as repo:
        yield repo


async def scalar(repo: BaseRepository, statement: str, **values: Any) -> Any:
    async with repo.db.write() as session:
        result = await session.execute(text(statement), values)
        return result.scalar() if result.returns_rows else None


async def test_two_owners_race_for_a_lease(repo: BaseRepository) -> None:
    assert await repo.lease_acquire("tick", "a", 30)
    assert not await repo.lease_acquire("tick", "b", 30)
    assert await repo.lease_acquire("other", "b", 30), "each name is a lease of its own"
    first = await scalar(repo, "SELECT expires_at FROM lease WHERE name = 'tick'")
    assert await repo.lease_acquire("tick", "a", 60), "the owner renews"
    assert await scalar(repo, "SELECT expires_at FROM lease WHERE name = 'tick'") >= first + 29
    assert not await repo.lease_acquire("tick", "b", 30)
    await repo.lease_release("tick", "b")
    await repo.lease_release("other", "a")
    assert not await repo.lease_acquire("tick", "b", 30), "what another has is not released"
    assert not await repo.lease_acquire("other", "a", 30)
    await repo.lease_release("tick", "a")
    assert await repo.lease_acquire("tick", "b", 30)
    assert not await repo.lease_acquire("tick", "a", 30), "lost is lost"
    await scalar(repo, "UPDATE lease SET expires_at = expires_at - 31 WHERE name = 'tick'")
    assert await repo.lease_acquire("tick", "a", 30), "who does not renew loses it"
    assert not await repo.lease_acquire("tick", "b", 30), "the loser notices when it renews"
    await repo.lease_release("tick", "b")
    assert await scalar(repo, "SELECT owner FROM lease WHERE name = 'tick'") == "a", "nor gives it back"
    won = await asyncio.gather(*(repo.lease_acquire("new", f"o{n}", 30) for n in range(6)))
    assert sum(won) == 1
    with pytest.raises(RuntimeError):  # noqa: PT012
        async with repo.transaction() as bound:
            assert await bound.lease_acquire("undone", "a", 30)
            raise RuntimeError("rolled back")
    assert await repo.lease_acquire("undone", "b", 30)


async def test_a_lease_ends_by_one_clock(repo: BaseRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    assert await repo.lease_acquire("tick", "a", 30)
    clock[0] = 1030.0
    assert not await repo.lease_acquire("tick", "b", 30), "at its very end it still holds"
    clock[0] = 1030.001
    if repo.db.dialect == "sqlite":
        assert await repo.lease_acquire("tick", "b", 30)
        return
    assert not await repo.lease_acquire("tick", "b", 30), (
        "a host whose clock is wrong takes nothing from others"
    )
    left = "SELECT expires_at - extract(epoch from clock_timestamp()) FROM lease WHERE name = 'tick'"
    assert 0 < await scalar(repo, left) <= 30
    await scalar(repo, "UPDATE lease SET expires_at = extract(epoch from clock_timestamp()) - 0.001")
    assert await repo.lease_acquire("tick", "b", 30)


async def test_the_outbox_keeps_order_and_forgets_only_what_is_named(repo: BaseRepository) -> None:
    events = [Event("ttp.tagged", {"n": n}, headers={"traceparent": f"t{n}"}) for n in range(250)]
    await repo.outbox_add_many(events)
    await repo.outbox_add(Event("ttp.tagged", {"n": 250}))
    assert await repo.outbox_count() == 251
    rows = await repo.outbox_take(251)
    assert [event.opened().payload["n"] for _, event in rows] == list(range(251))
    assert [event.opened() for _, event in rows[:250]] == events
    assert rows[7][1].headers == {"traceparent": "t7"}
    ids = [row for row, _ in rows]
    assert ids == sorted(set(ids))
    assert [row for row, _ in await repo.outbox_take(2)] == ids[:2], "taken is not gone"
    await repo.outbox_delete([*ids[:249], 10**9])
    assert [row for row, _ in await repo.outbox_take(100)] == ids[249:]
    await repo.outbox_delete([])
    await repo.outbox_delete(ids[249:])
    await repo.outbox_add(events[0])
    assert (await repo.outbox_take(1))[0][0] > ids[-1], "numbers never come twice"
    with pytest.raises(RuntimeError):  # noqa: PT012
        async with repo.transaction() as bound:
            await bound.outbox_add(events[1])
            raise RuntimeError("rolled back")
    assert await repo.outbox_count() == 1


async def test_letters_written_at_once_have_their_own_ids_and_one_that_is_there_already_its_old_one(
    repo: BaseRepository,
) -> None:
    old = await repo.dead_letter_add("ttp", "a.b", "first", 700, b"x")
    letters = [NewDeadLetter("a.b", f"r{n}", n, b"x") for n in range(1000, -1, -1)]
    ids = await repo.dead_letters_add("ttp", [*letters, letters[-1]])
    assert ids[300] == old
    assert ids[-1] == ids[-2], "twice in one batch"
    assert len(set(ids)) == 1001
    assert {row["id"]: row["seq"] for row in await repo.dead_letters(limit=0)} == dict(
        zip(ids, [*range(1000, -1, -1), 0], strict=True)
    )
    assert (await repo.dead_letter_get(old) or {})["reason"] == "first"
    assert await repo.dead_letters_add("ttp", []) == []


async def test_dead_letters_and_failures_are_counted_by_worker_and_event(repo: BaseRepository) -> None:
    ids = [await repo.dead_letter_add("ttp", "a.b", f"r{n}", n, b"x") for n in range(101)]
    assert len(set(ids)) == 101
    assert await repo.dead_letter_add("ttp", "a.b", "again", 5, b"x") == ids[5]
    assert (await repo.dead_letter_get(ids[5]) or {})["reason"] == "r5", "the first reason stands"
    other = await repo.dead_letter_add("ttp", "a.b", "another", 5, b"y")
    assert other not in ids, "other bytes at the same place: the stream was made anew"
    await repo.dead_letter_delete(other)
    place = {"path": "commands[1].ts", "value": "x\0y"}
    element = await repo.dead_letter_add("ttp", "a.b", "bad", 5, b"x", key="k", **place)
    assert await repo.dead_letter_add("ttp", "a.b", "bad", 6, b"z", key="k", **place) == element
    found = (await repo.dead_letters(limit=1))[0]
    assert (found["path"], found["value"]) == ("commands[1].ts", "x\ufffdy")
    await repo.dead_letter_delete(element)
    assert [row["id"] for row in await repo.dead_letters()] == ids[:0:-1], "a hundred, newest first"
    assert len(await repo.dead_letters(limit=0)) == 101
    newest = (await repo.dead_letters(limit=1))[0]["ts"]
    assert abs(newest - utcnow()) < timedelta(minutes=5)
    assert ids[-1] in [row["id"] for row in await repo.dead_letters(since=newest)], "the moment itself counts"
    assert await repo.dead_letters(since=newest + timedelta(microseconds=1)) == []
    await repo.dead_letter_delete(ids[5])
    assert len(await repo.dead_letters(limit=0)) == 100

    assert [await repo.failure_count_add("ttp", 7) for _ in range(3)] == [1, 2, 3]
    assert await repo.failure_count_add("recorder", 7) == 1
    assert await repo.failure_count_add("ttp", 8) == 1
    assert (await repo.failures_waiting("ttp"), await repo.failures_waiting("recorder")) == (2, 1)
    await repo.failure_clear("ttp", [])
    await repo.failure_clear("ttp", [*range(1000, 1600), 7])
    assert (await repo.failures_waiting("ttp"), await repo.failures_waiting("recorder")) == (1, 1)
    assert await repo.failure_count_add("ttp", 7) == 1, "counted anew"
    assert await repo.failure_count_add("ttp", 8) == 2


async def test_heartbeats_and_checkpoints_replace_their_own_row(repo: BaseRepository) -> None:
    await repo.heartbeats_write({"ttp": {"n": 1}})
    await repo.heartbeats_write({"attribution": {"n": 2}})
    (_, before) = [row["ts"] for row in await repo.heartbeats()]
    await repo.heartbeats_write({"ttp": {"n": 3}})
    rows = await repo.heartbeats()
    assert [(row["worker"], row["payload"]) for row in rows] == [("attribution", {"n": 2}), ("ttp", {"n": 3})]
    assert rows[1]["ts"] > before
    await repo.checkpoint_save("a", {"offset": 1})
    await repo.checkpoint_save("b", {"offset": 2})
    await repo.checkpoint_save("a", {"offset": 3})
    with pytest.raises(ValueError, match="JSON"):
        await repo.checkpoint_save("a", {"offset": float("nan")})
    assert [await repo.checkpoint_load(key) for key in "abc"] == [{"offset": 3}, {"offset": 2}, None]
