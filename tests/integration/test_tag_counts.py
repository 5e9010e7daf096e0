"""The counts that the database keeps beside its tags: equal to a full count after every kind of change, on both databases."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from decnet.db import migrate
from decnet.db.repository import BaseRepository
from decnet.db.rows.ttp import TTPTag
from decnet.db.types import as_utc
from decnet.errors import DatabaseError
from tests.dbkit import KINDS, migrated_url, open_repo

START = datetime(2026, 3, 4, tzinfo=UTC)
FULL = """SELECT COALESCE(attacker_uuid, ''), COALESCE(identity_uuid, ''), rule_id, technique_id, COALESCE(sub_technique_id, ''),
  tactic, COUNT(*), MAX(seen_at) FROM ttp_tag WHERE superseded_by IS NULL AND replaced_by IS NULL GROUP BY 1, 2, 3, 4, 5, 6"""
KEPT = """SELECT c.attacker_uuid, c.identity_uuid, k.rule_id, k.technique_id, k.sub_technique_id, k.tactic, c.tags, c.last
  FROM tag_count c JOIN tag_kind k ON k.kind_id = c.kind_id"""


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as opened:
        yield opened


def tag(n: int, attacker: str | None = "a", seen: float | None = None, **more: Any) -> TTPTag:
    said = {
        "source_kind": "command", "source_id": f"c{n}", "attacker_uuid": attacker, "tactic": "TA0002", "technique_id": "T1059",
        "confidence": 0.8, "rule_id": "R1", "rule_version": 1, "uuid": f"t{n}",
        "identity_uuid": None if attacker else "i", "seen_at": START + timedelta(seconds=n if seen is None else seen),
    }  # fmt: skip
    return TTPTag(**{**said, **more})  # type: ignore[arg-type]


async def rows(repo: BaseRepository, query: str) -> list[tuple[Any, ...]]:
    async with repo.db.read() as session:
        return sorted((*row[:-1], as_utc(row[-1])) for row in (await session.execute(text(query))).all())


async def checked(repo: BaseRepository) -> dict[tuple[str, str, str], tuple[int, datetime | None]]:
    """What is kept, by attacker, identity and rule, after it was held against a full count."""
    kept = await rows(repo, KEPT)
    assert kept == await rows(repo, FULL)
    return {(row[0], row[1], row[2]): (row[6], row[7]) for row in kept}


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


async def test_tags_that_come_are_counted_once(repo: BaseRepository) -> None:
    tags = [
        tag(1),
        tag(2),
        tag(3, None),
        tag(4, "b", identity_uuid="i"),
        tag(5, sub_technique_id="T1059.004", rule_id="R2"),
    ]
    await repo.insert_tags(tags)
    await repo.insert_tags([*tags, tag(6, seen=0.5), tag(7, superseded_by="t1"), tag(8, replaced_by="t1")])
    assert await checked(repo) == {
        ("a", "", "R1"): (3, at(2)), ("", "i", "R1"): (1, at(3)), ("b", "i", "R1"): (1, at(4)), ("a", "", "R2"): (1, at(5)),
    }  # fmt: skip


async def test_tags_that_give_way_or_stand_again_are_counted_so(repo: BaseRepository) -> None:
    await repo.insert_tags([tag(n) for n in range(5)] + [tag(9, None), tag(10, None, seen=8)])
    await repo.give_way({"t4": "t0", "t9": "t10"})
    assert await checked(repo) == {("a", "", "R1"): (4, at(3)), ("", "i", "R1"): (1, at(8))}
    await repo.replace_tags({"t3": "s", "t2": "s", "t1": "s", "t0": "s", "t4": "s", "t10": "s"})
    assert await checked(repo) == {}, "what nobody has is no row"
    await repo.restore_tags(["t1", "t4"])
    assert await checked(repo) == {("a", "", "R1"): (1, at(1))}, "the other one is told by another still"


async def test_the_last_time_follows_the_tags(repo: BaseRepository) -> None:
    await repo.insert_tags([tag(1), tag(2), tag(3, rule_id="R2")])
    await repo.renew_seen({"t2": at(7), "t3": at(9)})
    assert await checked(repo) == {("a", "", "R1"): (2, at(7)), ("a", "", "R2"): (1, at(9))}
    await repo.seen_earlier({"t2": at(0.5), "t1": at(8)})
    assert await checked(repo) == {("a", "", "R1"): (2, at(1)), ("a", "", "R2"): (1, at(9))}
    async with repo.db.write() as session:
        await session.execute(text("UPDATE ttp_tag SET seen_at = NULL WHERE uuid = 't1'"))
    await repo.renew_evidence({"t1": {"matched": "y"}})
    assert (await checked(repo))["a", "", "R1"] == (2, at(0.5))
    await repo.give_way({"t2": "t1"})
    assert (await checked(repo))["a", "", "R1"] == (1, None)


async def test_an_older_version_of_a_rule_is_counted_no_more(repo: BaseRepository) -> None:
    newer = [tag(10 + n, source_id=f"c{n}", rule_version=2) for n in range(3)]
    await repo.insert_tags([tag(n) for n in range(4)] + newer)
    assert await repo.supersede_tags("R1", 2, ["command"]) == 3
    assert await checked(repo) == {("a", "", "R1"): (4, at(12))}


async def test_what_is_purged_is_counted_no_more(repo: BaseRepository) -> None:
    for n, session in enumerate(("old", "new")):
        told = {"session_id": session, "attacker_uuid": "a", "started_at": START.timestamp() + 100 * n}
        await repo.upsert_session({**told, "ended_at": START.timestamp() + 100 * n})
    made = [tag(n, session_id="old" if n % 2 else "new") for n in range(8)]
    await repo.insert_tags([*made, tag(20, "gone", created_at=START)])
    assert (await repo.purge_older(at(50)))["ttp_tag"] == 5
    assert await checked(repo) == {("a", "", "R1"): (4, at(6))}


class Undone(Exception):
    """Ends a transaction or a savepoint."""


async def test_what_is_undone_was_never_counted(repo: BaseRepository) -> None:
    await repo.insert_tags([tag(1)])
    with suppress(Undone):
        async with repo.transaction() as bound:
            await bound.insert_tags([tag(2), tag(3, "b")])
            async with bound.savepoint():
                await bound.give_way({"t1": "t2"})
            raise Undone
    async with repo.transaction() as bound:
        await bound.insert_tags([tag(4, "c")])
        with suppress(Undone):
            async with bound.savepoint():
                await bound.insert_tags([tag(5, "c")])
                raise Undone
    assert await checked(repo) == {("a", "", "R1"): (1, at(1)), ("c", "", "R1"): (1, at(4))}


@pytest.mark.parametrize("kind", KINDS)
async def test_two_writers_at_once_count_everything(kind: str, tmp_path: Path) -> None:
    """The same attackers and kinds at once; who is refused because the other one was first tries again, as workers do."""
    async with migrated_url(kind, tmp_path) as url:
        repos = [await BaseRepository.open(url) for _ in range(2)]

        async def one(number: int) -> None:
            order = random.Random(number)
            for turn in range(25):
                base = number * 1_000 + turn * 10
                some = [
                    tag(base + k, f"a{order.randrange(4)}", rule_id=f"R{order.randrange(3)}")
                    for k in range(10)
                ]
                shared = [tag(9_000 + k, f"a{k % 4}") for k in order.sample(range(20), 5)]
                gone = {f"t{base - 10 * order.randrange(1, 3) + k}": "t0" for k in order.sample(range(10), 3)}
                for _ in range(20):
                    try:
                        async with repos[number].transaction() as bound:
                            await bound.insert_tags(some)
                            await bound.insert_tags(shared)
                            await bound.give_way(gone)
                        break
                    except DatabaseError:
                        await asyncio.sleep(order.random() / 50)
                else:
                    raise AssertionError("never got through")

        await asyncio.gather(one(0), one(1))
        found = await checked(repos[0])
        assert sum(tags for tags, _ in found.values()) >= 2 * 250 + 20 - 2 * 25 * 3, (
            "nothing of either is missing"
        )
        for repo in repos:
            await repo.close()


async def test_any_changes_in_any_order(repo: BaseRepository) -> None:
    order = random.Random(11)
    for turn in range(12):
        made = [
            tag(
                turn * 40 + k, order.choice(["a", "b", None]), order.randrange(6), rule_id=order.choice(["R1", "R2"]),
                sub_technique_id=order.choice([None, "T1059.004"]),
            )
            for k in range(40)
        ]  # fmt: skip
        await repo.insert_tags(made)
        some = [f"t{n}" for n in order.sample(range((turn + 1) * 40), 30)]
        await repo.give_way(dict.fromkeys(some[:8], "x"))
        await repo.replace_tags(dict.fromkeys(some[8:16], "x"))
        await repo.restore_tags(some[12:20])
        await repo.renew_seen({uuid: at(order.randrange(9)) for uuid in some[16:24]})
        await repo.seen_earlier({uuid: at(order.randrange(9)) for uuid in some[20:26]})
        async with repo.db.write() as session:
            for uuid in some[26:28]:
                await session.execute(
                    text("UPDATE ttp_tag SET attacker_uuid = 'b' WHERE uuid = :u"), {"u": uuid}
                )
            gone = text("DELETE FROM ttp_tag WHERE uuid IN (:a, :b, :c)")
            await session.execute(gone, dict(zip("abc", some[27:30], strict=True)))
        await checked(repo)


async def test_what_was_stored_before_is_counted_on_the_way_up(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some attackers at a time, the last page as whole as the others."""
    from decnet.db.migrations.versions import r0021_counts

    made = [tag(n, f"a{n % 7}", rule_id=f"R{n % 3}") for n in range(60)]
    await repo.insert_tags(
        [*made, tag(100, None), tag(101, replaced_by="x"), tag(102, "only", superseded_by="x")]
    )
    before = await checked(repo)
    monkeypatch.setattr(r0021_counts, "AT_ONCE", 3)
    async with repo.db.write() as session:
        connection = await session.connection()
        await connection.run_sync(migrate.downgrade, "0020")
        await repo_insert_raw(session)
    await repo.db.close()
    await repo.db.open()
    assert await checked(repo) == {**before, ("raw", "", "R9"): (1, at(0))}


async def repo_insert_raw(session: Any) -> None:
    """A tag of the time before there were counts."""
    row = (
        {"made": START}
        if session.bind.dialect.name == "postgresql"
        else {"made": "2026-03-04 00:00:00.000000"}
    )
    await session.execute(
        text(
            "INSERT INTO ttp_tag (uuid, source_kind, source_id, attacker_uuid, tactic, technique_id, confidence, rule_id,"
            " rule_version, attack_release, mitre_url, seen_at, created_at)"
            " VALUES ('raw', 'k', 's', 'raw', 'T', 'T1', 0.5, 'R9', 1, '', '', :made, :made)"
        ),
        row,
    )
