"""Attackers that an earlier version stored with a zone id are joined with the folded one when the schema is migrated."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from decnet.attribution.regrouped import follow
from decnet.attribution.worker import hear
from decnet.db import migrate
from decnet.db.engine import Database
from decnet.db.repository import BaseRepository
from decnet.db.rows.ttp import TTPTag
from decnet.events.identity import Merged
from decnet.ids import attacker_id, attacker_id_as_written, identity_id
from decnet.runtime.worker import TxBus
from tests.dbkit import KINDS, database_url

ZONED, FOLDED = "fe80::1%eth0", "fe80::1"
OLD, NEW = attacker_id_as_written(ZONED), attacker_id(FOLDED)
FOREIGN = "3f0c1c1e-0000-4000-8000-000000000001"
DAY = 86_400.0


@pytest.fixture(params=KINDS)
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    async with database_url(request.param, tmp_path) as fresh:
        yield fresh


async def stored_before(url: str) -> None:
    """A database of the version before, with one actor under two spellings of one address."""
    repo = await BaseRepository.open(url)
    await repo.upsert_attackers([(OLD, None, DAY), (OLD, None, 3 * DAY), (NEW, FOLDED, 2 * DAY)])
    await repo.upsert_attackers([(FOREIGN, None, DAY)])
    await repo.form_identities([OLD, NEW])
    head = {"decky_id": "d", "service": "ssh", "started_at": DAY, "ended_at": DAY + 5, "end_reason": "closed"}
    who = {"attacker_uuid": OLD, "attacker_ip": "x"}
    await repo.upsert_sessions([{**head, **who, "session_id": "s-old", "part": 1, "parts": 1}])
    await repo.insert_command_rows([("s-old", 0, {"id": "c-1", "command_text": "id", "ts": DAY})])
    await repo.upsert_credentials(
        [{"attacker_uuid": OLD, "session_id": "s-old", "username": "root", "success": True, "ts": DAY}]
    )
    await repo.upsert_fingerprint(OLD, "hassh", {"hassh": "aa"}, DAY)
    await repo.upsert_intel([(OLD, 9.0, {"n": "newer"}), (NEW, 5.0, {"n": "older"})])
    tag = {
        "uuid": "t-1",
        "source_kind": "command",
        "source_id": "c-1",
        "attacker_uuid": OLD,
        "session_id": "s-old",
    }
    rule = {
        "tactic": "TA0007",
        "technique_id": "T1033",
        "confidence": 0.5,
        "rule_id": "R1",
        "rule_version": 1,
    }
    await repo.insert_tags([TTPTag(**tag, **rule)])
    async with repo.db.write() as session:
        for statement, said in (
            ("UPDATE attacker SET ip = :z WHERE attacker_uuid IN (:o, :f)", {"z": ZONED, "o": OLD, "f": FOREIGN}),
            ("UPDATE session SET attacker_ip = :z", {"z": ZONED}),
        ):  # fmt: skip
            await session.execute(text(statement), said)
        connection = await session.connection()
        await connection.run_sync(migrate.downgrade, "0008")
    await repo.close()


async def column(repo: BaseRepository, query: str) -> list[Any]:
    async with repo.db.read() as session:
        return list((await session.execute(text(query))).scalars())


async def test_all_that_it_did_is_found_under_the_folded_address(url: str) -> None:
    await stored_before(url)
    repo = await BaseRepository.open(url)
    attackers = {row["attacker_uuid"]: row for row in await repo.list_attackers()}
    assert set(attackers) == {NEW, FOREIGN}, "one address is one attacker; a producer's own id stays"
    assert attackers[FOREIGN]["attacker_ip"] == FOLDED
    mine = attackers[NEW]
    assert (mine["attacker_ip"], mine["session_count"]) == (FOLDED, 1)
    assert (mine["first_seen"], mine["last_seen"]) == tuple(
        datetime.fromtimestamp(ts, UTC) for ts in (DAY, 3 * DAY)
    )
    for spelling in (FOLDED, ZONED, "[FE80::1]:22"):
        assert [row["session_id"] for row in await repo.list_sessions(attacker=spelling)] == ["s-old"]
        tags = await repo.list_tags(attacker=spelling)
        assert [(tag["uuid"], tag["attacker_ip"]) for tag in tags] == [("t-1", FOLDED)], "ids stay, too"
    assert await column(repo, "SELECT attacker_ip FROM session") == [FOLDED]
    for table in ("credential", "fingerprint", "attacker_intel", "ttp_tag"):
        assert await column(repo, f"SELECT attacker_uuid FROM {table}") == [NEW]
    assert await column(repo, "SELECT command_id FROM command WHERE session_id = 's-old'") == ["c-1"]
    assert [payload for _, payload in await repo.intel_of([NEW])] == [{"n": "newer"}]
    assert {row["attacker_uuid"] for row in await repo.due_take("ttp", 9)} == {NEW}
    await repo.close()


async def test_the_identities_are_merged_and_the_merge_is_told(url: str) -> None:
    await stored_before(url)
    repo = await BaseRepository.open(url)
    winner, loser = identity_id(NEW), identity_id(OLD)
    assert await repo.canonical_identity(loser) == winner
    assert await repo.canonical_identity(winner) == winner
    assert await repo.identities_of_attackers([OLD, NEW]) == {OLD: winner, NEW: winner}, (
        "an observation that was on its way under the old id still finds its actor"
    )
    ((_, sealed),) = await repo.outbox_take(10)
    news = sealed.opened()
    assert (news.topic, news.payload["winner_uuid"], news.payload["loser_uuid"]) == (
        "identity.merged",
        winner,
        loser,
    )
    async with repo.transaction() as tx:
        await follow(tx, TxBus(), await hear(tx, [Merged(winner_uuid=winner, loser_uuid=loser)]))
    assert await repo.canonical_identity(loser) == winner, "the existing machinery comes to the same end"
    await repo.close()


async def test_a_merge_that_stood_before_keeps_its_canonical_identity(url: str) -> None:
    await stored_before(url)
    repo = await BaseRepository.open(url)
    await repo.close()
    old = Database(url)
    await old.open()
    third = "00000000-0000-5000-8000-000000000000"
    async with old.write() as session:
        for statement in (
            f"INSERT INTO identity_merge VALUES ('{identity_id(NEW)}', '{third}', 0, true)",
            f"INSERT INTO identity (identity_uuid) VALUES ('{third}')",
            f"INSERT INTO attacker (attacker_uuid, ip) VALUES ('{OLD}', '{ZONED}')",
        ):
            await session.execute(text(statement))
        connection = await session.connection()
        await connection.run_sync(migrate.downgrade, "0008")
    await old.close()
    again = await BaseRepository.open(url)
    assert {await again.canonical_identity(identity_id(uuid)) for uuid in (OLD, NEW)} == {third}
    await again.close()


async def test_names_of_deckies_are_held_by_them_after_the_migration(url: str) -> None:
    db = Database(url)
    await db.open()
    async with db.write() as session:
        connection = await session.connection()
        await connection.run_sync(migrate.downgrade, "0008")
        row = {
            "name": "web-01", "topology_id": "t", "substrate": "dry_run", "address": "127.0.0.1", "state": "running",
            "mutate_interval": "", "reason": "", "wanted": True, "pending": False, "failures": 0,
            "since": datetime.now(UTC).replace(tzinfo=None) if db.dialect == "sqlite" else datetime.now(UTC),
        }  # fmt: skip
        names = ", ".join(row)
        values = ", ".join(f":{name}" for name in row)
        await session.execute(text(f"INSERT INTO decky ({names}) VALUES ({values})"), row)
    await db.close()
    repo = await BaseRepository.open(url)
    assert [(row["name"], row["token"]) for row in await repo.names()] == [("web-01", "web-01")]
    assert (await repo.name_claim("web.01")).startswith("web-01-")
    await repo.close()
