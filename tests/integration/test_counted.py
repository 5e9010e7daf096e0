"""What is counted for Coverage, layers and new techniques, against a count of every single tag: whoever is marked or merged."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import postgresql

from decnet.db.repository import BaseRepository
from decnet.db.repository.conditions import Whose
from decnet.db.repository.lists.counts import _joined
from decnet.db.rows.lists import Counted, ListedTag
from decnet.db.rows.ttp import TTPTag
from decnet.db.tables import table
from decnet.ids import attacker_id, identity_id
from tests.dbkit import KINDS, open_repo

START = datetime(2026, 3, 4, tzinfo=UTC)
IPS = [f"203.0.113.{n}" for n in range(10)]
UUIDS = [attacker_id(ip) for ip in IPS]
IDENTITIES = [identity_id(uuid) for uuid in UUIDS]
KINDS_OF_TAGS = [
    ("R1", "T1059", "T1059.004", "TA0002"), ("R2", "T1059", "T1059.004", "TA0002"), ("R1", "T1059", None, "TA0002"),
    ("R3", "T1059", None, "TA0005"), ("R3", "T1105", None, "TA0011"), ("R4", "T1547", "T1547.001", "TA0003"),
]  # fmt: skip
ACTORS = [
    set(),
    {IPS[0]},
    {UUIDS[1]},
    {IDENTITIES[2]},
    {IDENTITIES[3]},
    {"stranger"},
    {IDENTITIES[7], IPS[5]},
    {"nobody"},
]
"""Names that may be asked for; what they name overlaps."""


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as opened:
        for n, (uuid, ip) in enumerate(zip(UUIDS, IPS, strict=True)):
            if n != 6:  # one of whom there are tags alone
                await opened.upsert_attacker(uuid, ip, START.timestamp())
            if n not in (5, 6):  # and one that has no identity
                await opened.ensure_stub_identity_for_attacker(uuid)
            for k in range(3):
                told = {"session_id": f"s{n}-{k}", "attacker_uuid": uuid, "attacker_ip": ip, "decky_id": "d"}
                auth = {"usernames": ["scanner" if k == 1 else "root"]}
                await opened.upsert_session({**told, "started_at": START.timestamp(), "auth": auth})
        await opened.insert_tags(list(tags(random.Random(3))))
        yield opened


def tags(order: random.Random) -> Any:
    for n in range(400):
        rule, technique, sub, tactic = order.choice(KINDS_OF_TAGS)
        who = order.randrange(12)
        attacker = UUIDS[who] if who < 10 else None
        if attacker is None:
            named = order.choice([IDENTITIES[1], "alone"])
        else:  # the last two are named by no tag of theirs
            named = order.choice([None, None, None, "stranger", IDENTITIES[2]]) if who < 8 else None
        yield TTPTag(
            source_kind="command", source_id=f"c{n}", attacker_uuid=attacker, identity_uuid=named, tactic=tactic,
            session_id=order.choice([f"s{who}-{order.randrange(3)}", "unknown", None]) if attacker else None,
            technique_id=technique, sub_technique_id=sub, confidence=0.5, rule_id=rule, rule_version=1, evidence={"matched": "x"},
            seen_at=START + timedelta(minutes=order.randrange(1 if rule != "R4" else 900, 1000)),
            superseded_by="x" if n % 11 == 0 else None,
        )  # fmt: skip


def who(tag: ListedTag) -> str:
    return tag["identity_uuid"] or tag["attacker_uuid"] or ""


def cells(listed: list[ListedTag]) -> dict[tuple[str, str, str | None], tuple[int, int, datetime]]:
    found = defaultdict(list)
    for tag in listed:
        found[tag["tactic"], tag["technique_id"], tag["sub_technique_id"]].append(tag)
    return {
        key: (len(some), len({who(tag) for tag in some}), max(tag["seen_at"] for tag in some))
        for key, some in found.items()
    }


async def counts(repo: BaseRepository, since: Any, names: Any = None, until: Any = None) -> Any:
    rows = await repo.technique_counts(since, names, until)
    keys = [(row["tactic"], row["technique_id"], row["sub_technique_id"]) for row in rows]
    assert len(set(keys)) == len(keys)
    return {key: (row["tags"], row["actors"], row["last"]) for key, row in zip(keys, rows, strict=True)}


def told(counted: Counted) -> tuple[Any, Any]:
    """Tags by kind; and who has tags of which kind, with the attacker."""
    has = defaultdict(set)
    for one in counted.ones:
        for number in one.kinds.split(","):
            has[one.attacker_uuid].add(counted.kinds[int(number)])
    return {counted.kinds[number]: tags for number, tags in counted.tags.items()}, has


def expected(listed: list[ListedTag]) -> tuple[Any, Any]:
    by_kind, has = defaultdict(int), defaultdict(set)
    for tag in listed:
        kind = (tag["rule_id"], tag["technique_id"], tag["sub_technique_id"], tag["tactic"])
        by_kind[kind] += 1
        has[tag["attacker_uuid"]].add(kind)
    return by_kind, has


async def named(repo: BaseRepository, listed: list[ListedTag], names: set[str]) -> list[ListedTag]:
    """Tags of an actor: one tag after the other."""
    into = {
        row["identity_uuid"]: row["merged_into"] for row in await repo.list_identities(limit=0, ignored=True)
    }
    known = names | {into[name] for name in names if into.get(name)}
    return [t for t in listed if {t["attacker_uuid"], t["attacker_ip"]} & names or who(t) in known]


async def compared(repo: BaseRepository) -> None:
    since = [
        None,
        *(START + timedelta(minutes=minutes) for minutes in (-5, 0, 3, 200, 500, 501, 700, 999, 2000)),
    ]
    last: dict[Any, datetime] = {}
    for tag in reversed(await repo.list_tags(limit=0)):
        last[tag["attacker_uuid"], tag["rule_id"], tag["technique_id"], tag["sub_technique_id"]] = tag[
            "seen_at"
        ]
    since += (
        sorted(last.values())[:2] + sorted(last.values())[-2:]
    )  # exactly when somebody did something last
    for moment in since:
        listed = await repo.list_tags(moment, limit=0)
        assert await counts(repo, moment) == cells(listed)
        for until in (START + timedelta(minutes=minutes) for minutes in (0, 300, 500, 2000)):
            day = [tag for tag in listed if tag["seen_at"] < until]
            assert await counts(repo, moment, until=until) == cells(day)
            assert await counts(repo, moment, ACTORS[0], until) == cells(await named(repo, day, ACTORS[0]))
        assert told(await repo.tag_counts(moment)) == expected(listed)
        every = await repo.list_tags(moment, limit=0, ignored=True)
        assert told(await repo.tag_counts(moment, ignored=True)) == expected(every)
        for names in ACTORS:
            assert await counts(repo, moment, names) == cells(await named(repo, listed, names)), names
        for whose in (Whose([UUIDS[2], UUIDS[6]]), Whose(identity=IDENTITIES[2])):
            some = await repo.list_tags(moment, limit=0, whose=whose)
            assert told(await repo.tag_counts(moment, whose=whose)) == expected(some)
        one = await repo.list_tags(moment, IPS[1], limit=0)
        assert told(await repo.tag_counts(moment, IPS[1])) == expected(one)
        await news(repo, await repo.list_tags(limit=0), moment or START - timedelta(days=1))
    everybody = await repo.list_tags(limit=0)
    for technique in ("T1059", "T1059.004", "T1105", "T9999"):
        own = [t for t in everybody if technique in (t["technique_id"], t["sub_technique_id"])]
        for limit in (1, 7, 500):
            newest = [tag["uuid"] for tag in own][:limit]
            assert [tag["uuid"] for tag in await repo.tags_behind(technique, limit=limit)] == newest
    for names in (None, *ACTORS):
        own = everybody if names is None else await named(repo, everybody, names)
        found = [tag["uuid"] for tag in await repo.tags_of_rule("R1", names)]
        assert found == [tag["uuid"] for tag in own if tag["rule_id"] == "R1"]


async def news(repo: BaseRepository, listed: list[ListedTag], since: datetime) -> None:
    of = defaultdict(list)
    for tag in listed:
        of[tag["sub_technique_id"] or tag["technique_id"]].append(tag)
    new = {name: some for name, some in of.items() if min(tag["seen_at"] for tag in some) >= since}
    assert {row["technique"]: (row["first_seen"], row["tags"], row["attackers"]) for row in await repo.new_techniques(since)} == {
        name: (min(t["seen_at"] for t in some), len(some), len({t["attacker_uuid"] for t in some} - {None})) for name, some in new.items()
    }  # fmt: skip


async def test_of_everybody_and_of_some(repo: BaseRepository) -> None:
    await compared(repo)


async def test_without_whoever_is_marked(repo: BaseRepository) -> None:
    """A network whose sessions are marked, sessions of a login name, and a session that began before its source was ignored."""
    await repo.ignore_add(f"{IPS[0]}/31")
    await compared(repo)
    await repo.ignore_add("scanner")
    await compared(repo)
    async with repo.db.write() as session:
        await session.execute(text("UPDATE session SET ignored_by = NULL WHERE session_id = 's0-0'"))
        await session.execute(text("UPDATE attacker SET ignored_by = NULL WHERE ip = '203.0.113.1'"))
    await compared(repo)


async def test_of_who_is_one_with_others(repo: BaseRepository) -> None:
    await repo.merge_identities(IDENTITIES[2], IDENTITIES[1], 1)
    await repo.merge_identities(IDENTITIES[2], "alone", 2)
    await repo.merge_identities(IDENTITIES[3], IDENTITIES[7], 3)
    await repo.merge_identities(IDENTITIES[8], IDENTITIES[9], 3)
    await compared(repo)
    await repo.ignore_add(IPS[7])
    await compared(repo)
    await repo.part_identities(IDENTITIES[1], IDENTITIES[2], 4)
    await compared(repo)


async def test_with_tags_of_no_time(repo: BaseRepository) -> None:
    """Of a time before there was one: they count, and are never since any moment."""
    async with repo.db.write() as session:
        await session.execute(
            text("UPDATE ttp_tag SET seen_at = NULL WHERE source_id IN ('c1', 'c2', 'c3', 'c20', 'c21')")
        )
    for moment in (None, START, START + timedelta(minutes=300), START + timedelta(minutes=800)):
        assert told(await repo.tag_counts(moment)) == expected(await repo.list_tags(moment, limit=0))


def test_postgresql_is_told_in_which_order_kinds_are_joined() -> None:
    """What is alike is worked out once: in another order it would look as if nobody had what another one has."""
    count = table("tag_count").c
    said = str(_joined(count.tags, "postgresql").compile(dialect=postgresql.dialect()))
    assert said.endswith("ORDER BY tag_count.kind_id)")


async def test_a_kind_that_its_table_lacks_is_counted_all_the_same(repo: BaseRepository) -> None:
    """Triggers keep the table; whoever changed it by hand has a page that adds up, not one that fails."""
    before = await repo.technique_counts(names=[UUIDS[0]])
    async with repo._write() as session:
        await session.execute(text("UPDATE tag_kind SET technique_id = 'other' WHERE rule_id = 'R1'"))
    after = await repo.technique_counts(names=[UUIDS[0]])
    assert after == before
    assert any(row["technique_id"] == "T1059" for row in after)
