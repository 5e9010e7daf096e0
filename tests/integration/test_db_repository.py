"""The repository over SQLite and PostgreSQL: same calls, same rows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from decnet.bus.base import Event
from decnet.db.repository import BaseRepository
from decnet.db.rows.ttp import TTPTag
from decnet.db.schema.columns import table_of
from decnet.db.schema.ttp import TagRow
from decnet.ids import attacker_id, identity_id
from tests.dbkit import KINDS, open_repo
from tests.rowkit import define_rule

A1, A2, A3 = (attacker_id(f"192.0.2.{n}") for n in (1, 2, 3))
HOSTILE = "a\x00b\ud800c\x1b[2J'; DROP TABLE session;--"


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as opened:
        yield opened


def started(session_id: str = "s1", **more: Any) -> dict[str, Any]:
    return {
        "session_id": session_id,
        "attacker_uuid": A1,
        "attacker_ip": "192.0.2.1",
        "decky_id": "web-01",
        "service": "ssh",
        "protocol": "ssh",
        "started_at": 1000.0,
        **more,
    }


def ended(session_id: str = "s1", **more: Any) -> dict[str, Any]:
    end = {"ended_at": 1060.0, "end_reason": "closed", "duration_s": 60.0, "part": 1, "parts": 1}
    return started(session_id, **(end | {"command_count": 1} | more))


def tag(source_id: str = "c1", **more: Any) -> TTPTag:
    base = {
        "source_kind": "command",
        "source_id": source_id,
        "attacker_uuid": A1,
        "session_id": "s1",
        "decky_id": "web-01",
        "tactic": "TA0011",
        "technique_id": "T1105",
        "confidence": 0.8,
        "rule_id": "R0012",
        "rule_version": 1,
        "evidence": {"field": "command_text"},
        "attack_release": "18.1",
    }
    return TTPTag(**(base | more))


async def test_outbox_keeps_order_and_events(repo: BaseRepository) -> None:
    events = [Event("ttp.tagged", {"n": n}, "t", headers={"traceparent": "x"}) for n in range(5)]
    async with repo.transaction() as tx:
        for event in events:
            await tx.outbox_add(event)
        assert await tx.outbox_count() == 5
    taken = await repo.outbox_take(3)
    assert [e.opened() for _, e in taken] == events[:3]
    assert dict(taken[0][1].headers) == {"traceparent": "x"}
    await repo.outbox_delete([row for row, _ in taken])
    await repo.outbox_delete([row for row, _ in taken])
    assert [e.opened() for _, e in await repo.outbox_take(10)] == events[3:]
    last = (await repo.outbox_take(10))[-1][0]
    await repo.outbox_delete([last])
    await repo.outbox_add(events[0])
    assert (await repo.outbox_take(10))[-1][0] > last, "row ids are never given out twice"


async def test_outbox_is_rolled_back_with_its_effect(repo: BaseRepository) -> None:
    with pytest.raises(RuntimeError, match="boom"):  # noqa: PT012
        async with repo.transaction() as tx:
            await tx.outbox_add(Event("ttp.tagged", {}))
            await tx.upsert_attacker(A1, "192.0.2.1", 1.0)
            raise RuntimeError("boom")
    assert await repo.outbox_count() == 0
    assert await repo.list_attackers() == []


async def test_savepoint_undoes_only_its_own(repo: BaseRepository) -> None:
    async with repo.transaction() as tx:
        await tx.upsert_attacker(A1, "192.0.2.1", 1.0)
        with pytest.raises(RuntimeError):  # noqa: PT012
            async with tx.savepoint():
                await tx.upsert_attacker(A2, "192.0.2.2", 1.0)
                raise RuntimeError("one bad row")
        async with tx.savepoint(), tx.transaction() as same:
            await same.upsert_attacker(A3, "192.0.2.3", 1.0)
    assert {row["attacker_uuid"] for row in await repo.list_attackers()} == {A1, A3}
    with pytest.raises(RuntimeError, match="bound"):
        async with repo.savepoint():
            pass


async def test_dead_letters_and_failures(repo: BaseRepository) -> None:
    first = await repo.dead_letter_add("ttp", "a.b", HOSTILE, 7, b"\x00\xff")
    assert first == await repo.dead_letter_add("ttp", "a.b", "again", 7, b"\x00\xff")
    second = await repo.dead_letter_add("recorder", "a.b", "other", 7, b"x")
    rows = await repo.dead_letters()
    assert [row["id"] for row in rows] == [second, first]
    assert set(rows[0]) == {"id", "worker", "topic", "reason", "seq", "path", "value", "ts"}
    assert rows[0]["ts"].tzinfo is not None
    assert await repo.dead_letters(since=datetime(2100, 1, 1, tzinfo=UTC)) == []
    assert len(await repo.dead_letters(limit=1)) == 1
    letter = await repo.dead_letter_get(first)
    assert letter is not None
    assert letter["body"] == b"\x00\xff"
    await repo.dead_letter_delete(first)
    assert await repo.dead_letter_get(first) is None
    assert [await repo.failure_count_add("ttp", 2**40) for _ in range(3)] == [1, 2, 3]
    assert await repo.failures_waiting("ttp") == 1
    assert await repo.failures_waiting("other") == 0
    await repo.failure_clear("ttp", [2**40])
    assert await repo.failures_waiting("ttp") == 0


async def test_concurrent_failures_are_all_counted(repo: BaseRepository) -> None:
    counts = await asyncio.gather(*(repo.failure_count_add("ttp", 1) for _ in range(20)))
    assert sorted(counts) == list(range(1, 21))


async def test_lease_has_one_owner(repo: BaseRepository) -> None:
    won = await asyncio.gather(*(repo.lease_acquire("tick", f"o{n}", 30) for n in range(8)))
    assert sum(won) == 1
    owner = f"o{won.index(True)}"
    assert await repo.lease_acquire("tick", owner, 30)
    await repo.lease_release("tick", "somebody else")
    assert not await repo.lease_acquire("tick", "late", 30)
    await repo.lease_release("tick", owner)
    assert await repo.lease_acquire("tick", "late", -1)
    assert await repo.lease_acquire("tick", "later", 30), "an expired lease is free"


async def test_heartbeats_and_checkpoints(repo: BaseRepository) -> None:
    for state in ("running", "paused"):
        await repo.heartbeats_write({"ttp": {"state": state}})
    (row,) = await repo.heartbeats()
    assert row["payload"] == {"state": "paused"}
    assert await repo.checkpoint_load("cowrie:x") is None
    await repo.checkpoint_save("cowrie:x", {"offset": 2**40})
    await repo.checkpoint_save("cowrie:x", {"offset": 2**41})
    assert await repo.checkpoint_load("cowrie:x") == {"offset": 2**41}


async def test_attacker_widens_and_gets_one_identity(repo: BaseRepository) -> None:
    assert await repo.ensure_stub_identity_for_attacker(A1) is None
    for ts in (50.0, 100.0, 10.0):
        await repo.upsert_attacker(A1, "::ffff:192.0.2.1", ts)
    (row,) = await repo.list_attackers()
    assert (row["first_seen"].timestamp(), row["last_seen"].timestamp()) == (10.0, 100.0)
    assert row["attacker_ip"] == "192.0.2.1"
    assert await repo.form_identities([A1]) == [(identity_id(A1), A1)]
    assert await repo.form_identities([A1, A1]) == []
    assert await repo.ensure_stub_identity_for_attacker(A1) == identity_id(A1)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
async def test_merges_end_the_same_in_every_order(repo: BaseRepository, order: tuple[int, ...]) -> None:
    async def see() -> None:
        await repo.upsert_attackers([(a, None, 1.0) for a in (A1, A2, A3)])
        await repo.form_identities([A1, A2, A3])

    i1, i2, i3 = map(identity_id, (A1, A2, A3))
    steps = [
        see,
        lambda: repo.merge_identities(i1, i2),
        lambda: repo.merge_identities(i2, i3),
        lambda: repo.merge_identities("outer", i1),
    ]
    for n in (*order, *order):
        await steps[n]()
    assert await repo.ensure_stub_identity_for_attacker(A3) == "outer"
    assert await repo.attackers_of_identity("outer") == sorted([A1, A2, A3])
    rows = {row["identity_uuid"]: row for row in await repo.list_identities()}
    outer = rows["outer"]
    assert sorted(outer["attacker_uuids"]) == sorted([A1, A2, A3])
    assert (outer["merged_into"], outer["state"]) == (None, "joined")
    assert {rows[i]["merged_into"] for i in (i1, i2, i3)} == {"outer"}


async def test_session_in_any_order_ends_the_same(repo: BaseRepository) -> None:
    steps = [
        lambda s: repo.upsert_session(started(s)),
        lambda s: repo.upsert_session(ended(s)),
        lambda s: repo.insert_commands(s, [{"id": f"{s}c", "command_text": "id", "ts": 1001.0}]),
        lambda s: repo.mark_sessions_tagged([s], 2000.0),
    ]
    for s, order in (("x", (0, 1, 2, 3)), ("y", (3, 2, 1, 0)), ("z", (1, 3, 0, 2, 1, 0))):
        for n in order:
            await steps[n](s)
    rows = await repo.list_sessions()
    assert len(rows) == 3
    assert len({str({k: v for k, v in row.items() if k != "session_id"}) for row in rows}) == 1
    assert set(rows[0]) == {
        "session_id", "attacker_uuid", "attacker_ip", "identity_uuid", "decky_id", "service", "protocol",
        "started_at", "ended_at", "end_reason", "duration_s", "command_count", "tag_count", "sensor_session",
        "download_count", "upload_count", "commands_dropped", "items_dropped", "story", "story_line", "severity", "severity_reason", "playbook",
    }  # fmt: skip
    assert await repo.untagged_sessions(10) == []


async def test_session_ends_with_its_last_part(repo: BaseRepository) -> None:
    parts = [
        ended(
            part=n, parts=3, command_count=None if n < 3 else 30, downloads=[{"url": f"u{n}"}, {"url": "u"}]
        )
        for n in (1, 2, 3)
    ]
    await repo.upsert_session(parts[2])
    await repo.upsert_session(parts[0])
    assert (await repo.list_sessions())[0]["ended_at"] is None
    await asyncio.gather(repo.upsert_session(parts[1]), repo.upsert_session(parts[1]))
    (row,) = await repo.untagged_sessions(10)
    assert (row["ended_at"], row["command_count"]) == (1060.0, 30)
    assert [d["url"] for d in row["downloads"]] == ["u1", "u", "u2", "u3"]


async def test_session_that_went_on_has_its_later_end(repo: BaseRepository) -> None:
    early = ended(ended_at=1030.0, end_reason="eof", command_count=1)
    late = ended(ended_at=1090.0, end_reason="closed", command_count=9)
    for payload in (late, early, late):
        await repo.upsert_session(payload)
    (row,) = await repo.list_sessions()
    assert (row["end_reason"], row["command_count"]) == ("closed", 9)


async def test_parts_added_at_once_are_all_seen(repo: BaseRepository) -> None:
    payloads = [ended(f"s{s}", part=p, parts=4) for s in range(5) for p in (1, 2, 3, 4)]
    await asyncio.gather(*(repo.upsert_session(payload) for payload in payloads))
    assert all(row["ended_at"] for row in await repo.list_sessions())


async def test_commands_are_idempotent_and_hostile_text_is_stored(repo: BaseRepository) -> None:
    command = {
        "id": "c1",
        "command_text": HOSTILE,
        "ts": 1001.5,
        "user": HOSTILE,
        "uid": 2**70,
        "success": True,
    }
    await repo.upsert_session(ended(client={"version": HOSTILE, "n": 2**70, HOSTILE: [float("nan")]}))
    for _ in range(2):
        await repo.insert_commands("s1", [command, {"command_text": 5, "ts": "2026-01-01T00:00:00+02:00"}])
    stored = await repo.commands_of("s1")
    assert [row["id"] for row in stored] == ["c1", "s1#cmd1"]
    assert stored[0]["command_text"] == HOSTILE.replace("\x00", "\ufffd").replace("\ud800", "\ufffd")
    assert stored[1]["ts"] == datetime(2025, 12, 31, 22, tzinfo=UTC)
    (row,) = await repo.untagged_sessions(5)
    assert row["client"]["n"] == str(2**70)
    assert row["commands"][0]["ts"] == 1001.5


async def test_numbers_out_of_range_are_clamped(repo: BaseRepository) -> None:
    await repo.upsert_session(ended(command_count=2**70, duration_s=float("inf"), part=2**70, parts=True))
    (row,) = await repo.list_sessions()
    assert row["command_count"] == 2**63 - 1
    assert row["duration_s"] is None


async def test_one_bad_time_is_a_value_error(repo: BaseRepository) -> None:
    with pytest.raises(ValueError, match="time"):
        await repo.upsert_session(started(started_at=1e300))
    with pytest.raises(ValueError, match="session_id"):
        await repo.upsert_session(started(""))


async def test_tags_really_inserted(repo: BaseRepository) -> None:
    tags = [tag(f"c{n}") for n in range(1500)]
    first = await repo.insert_tags([*tags, tags[0]])
    assert sorted(first) == sorted(t.uuid for t in tags)
    assert await repo.insert_tags([*tags, fresh := tag("new")]) == [fresh.uuid]
    assert await repo.insert_tags([]) == []


async def test_concurrent_tags_are_inserted_once(repo: BaseRepository) -> None:
    tags = [tag(f"c{n}") for n in range(200)]
    runs = await asyncio.gather(repo.insert_tags(tags), repo.insert_tags(tags[::-1]), repo.insert_tags(tags))
    assert sorted(uuid for run in runs for uuid in run) == sorted(t.uuid for t in tags)


async def test_tables_refuse_a_tag_without_anchor(repo: BaseRepository) -> None:
    for wrong in ({"attacker_uuid": None}, {"confidence": 1.5}):
        row = {**asdict(tag()), **wrong}
        with pytest.raises(IntegrityError):
            async with repo.db.write() as session:
                await session.execute(table_of(TagRow).insert(), [row])


async def test_lists_filter_and_leave_superseded_tags_out(repo: BaseRepository) -> None:
    await repo.upsert_attackers([(A1, "192.0.2.1", 1060.0), (A2, "192.0.2.2", 10.0)])
    await repo.form_identities([A1])
    await repo.upsert_sessions([ended("s1"), ended("s2", attacker_uuid=A2, ended_at=20.0, started_at=10.0)])
    at = datetime(2026, 1, 1, tzinfo=UTC)
    tags = [tag("c1", created_at=at), tag("c1", rule_version=2, created_at=at)]
    tags.append(tag("c2", technique_id="T1059", sub_technique_id="T1059.004", created_at=at.replace(day=2)))
    await repo.insert_tags(tags)
    assert await repo.supersede_tags("R0012", 2, ["command"]) == 1
    assert await repo.supersede_tags("R0012", 2, ["command"]) == 0
    rows = await repo.list_tags()
    assert [(r["source_id"], r["rule_version"]) for r in rows] == [("c2", 1), ("c1", 2)]
    assert rows[0]["identity_uuid"] == identity_id(A1)
    assert rows[0]["attacker_ip"] == "192.0.2.1"
    assert set(rows[0]) == {
        "uuid", "source_kind", "source_id", "attacker_uuid", "attacker_ip", "identity_uuid", "session_id",
        "decky_id", "tactic", "technique_id", "technique_name", "sub_technique_id", "confidence", "rule_id",
        "rule_version", "evidence", "attack_release", "seen_at", "created_at",
    }  # fmt: skip
    assert [r["source_id"] for r in await repo.list_tags(technique="T1059.004")] == ["c2"]
    assert [r["source_id"] for r in await repo.list_tags(since=at.replace(day=2))] == ["c2"]
    assert len(await repo.list_tags(attacker="192.0.2.1", limit=0)) == 2
    assert await repo.list_tags(attacker="192.0.2.2") == []
    assert len(await repo.list_tags(session="s1", attacker=A1, limit=1)) == 1
    assert await repo.rule_fired_counts(at) == {"R0012": 2}
    sessions = await repo.list_sessions()
    assert [(s["session_id"], s["tag_count"]) for s in sessions] == [("s1", 2), ("s2", 0)]
    files = [{"url": "http://192.0.2.9/a"}, {"url": "http://192.0.2.9/b"}]
    await repo.upsert_sessions(
        [ended("s2", attacker_uuid=A2, downloads=files, uploads=files[:1], ended_at=20.0, started_at=10.0)]
    )
    sessions = await repo.list_sessions()
    assert [(s["download_count"], s["upload_count"]) for s in sessions] == [(0, 0), (2, 1)]
    assert [s["session_id"] for s in await repo.list_sessions(technique="T1105")] == ["s1"]
    assert [s["session_id"] for s in await repo.list_sessions(since=30.0)] == ["s1"]
    attackers = await repo.list_attackers(limit=0)
    assert [a["techniques"] for a in attackers] == [["T1059", "T1105"], []]
    assert attackers[0] == {
        "attacker_uuid": A1, "attacker_ip": "192.0.2.1", "identity_uuid": identity_id(A1),
        "first_seen": datetime.fromtimestamp(1060, UTC), "last_seen": datetime.fromtimestamp(1060, UTC),
        "session_count": 1, "decky_count": 1, "techniques": ["T1059", "T1105"],
    }  # fmt: skip
    assert [a["attacker_uuid"] for a in await repo.list_attackers(attacker="192.0.2.2")] == [A2]
    assert [a["attacker_uuid"] for a in await repo.list_attackers(technique="T1105")] == [A1]


async def test_rules_and_their_change_sequence(repo: BaseRepository) -> None:
    assert await repo.rule_change_seq() == 0
    assert await define_rule(repo, "R1", 1, "n", "y", "R1.yaml")
    assert not await define_rule(repo, "R1", 1, "n", "y", "R1.yaml")
    assert await define_rule(repo, "R1", 2, "n", "y2", "R1.yaml", error="R1.yaml:1:1: bad")
    await repo.rule_state_set("R1", state="clipped", confidence_max=0.5, expires_at=5000.0, reason=HOSTILE)
    assert await repo.remove_rule_definition("R1")
    assert not await repo.remove_rule_definition("R1")
    changes = await repo.rule_changes_since(0)
    assert [c["kind"] for c in changes] == ["definition", "definition", "state", "removed"]
    assert [c["kind"] for c in await repo.rule_changes_since(changes[1]["seq"])] == ["state", "removed"]
    assert await repo.rule_change_seq() == changes[-1]["seq"]
    assert await repo.rule_definitions() == []
    state = await repo.rule_state_get("R1")
    assert state is not None
    assert (state["confidence_max"], state["expires_at"]) == (0.5, datetime.fromtimestamp(5000, UTC))
    assert list(await repo.rule_states()) == ["R1"]
    assert await repo.rule_state_get("R2") is None


async def test_rule_changes_become_visible_in_order(repo: BaseRepository) -> None:
    seen: list[int] = []

    async def follow() -> None:
        while len(seen) < 30:
            seen.extend(c["seq"] for c in await repo.rule_changes_since(seen[-1] if seen else 0))
            await asyncio.sleep(0.002)

    writers = [repo.rule_state_set(f"R{n}", state="disabled") for n in range(30)]
    await asyncio.wait_for(asyncio.gather(follow(), *writers), 30)
    assert len(seen) == 30


async def test_credentials_fingerprints_recordings_observations(repo: BaseRepository) -> None:
    credential = {"attacker_uuid": A1, "username": HOSTILE, "secret_hmac": "aa", "secret_kind": "password"}
    ids = await repo.upsert_credentials(
        [{**credential, "success": ok, "ts": ts} for ok, ts in ((False, 5.0), (True, 9.0), (False, 1.0))]
    )
    assert len(set(ids)) == 1
    ids = [await repo.upsert_fingerprint(A1, "hassh", {"hash": "x"}, ts) for ts in (1.0, 2.0)]
    assert len(set(ids)) == 1
    await repo.upsert_session(ended(keystrokes_ref="k1"))
    assert await repo.missing_recordings(5) == [("k1", "s1")]
    for session_id in ("s2", "s1"):
        await repo.upsert_recording("k1", session_id, b"\x00tty")
    assert await repo.recording("k1") == b"\x00tty"
    assert await repo.missing_recordings(5) == []
    observation = {"evidence_ref": "e", "primitive": "p", "ts": 1.0, "value": [1, HOSTILE]}
    assert len(await repo.insert_observations([observation, {**observation, "primitive": "q"}])) == 2
    assert await repo.insert_observations([observation]) == []
    with pytest.raises(ValueError, match="primitive"):
        await repo.insert_observations([{"evidence_ref": "e", "ts": 1.0}])


async def test_what_is_asked_at_once_comes_in_order_and_what_fails_is_raised_as_it_is(
    repo: BaseRepository,
) -> None:
    """Beyond the number of readers; and inside a transaction, which sees its own rows."""
    await repo.upsert_attacker(A1, "192.0.2.1", 1000.0)

    async def fails() -> None:
        raise ValueError("no")

    asked = [lambda n=n: repo.list_attackers(limit=n) for n in (1, 2, 3, 1, 2, 3)]
    assert [[row["attacker_uuid"] for row in rows] for rows in await repo._at_once(*asked)] == [[A1]] * 6
    with pytest.raises(ValueError, match="no"):
        await repo._at_once(*asked, fails)
    async with repo.transaction() as bound:
        await bound.upsert_attacker(A2, "192.0.2.2", 1000.0)
        (rows,) = await bound._at_once(bound.list_attackers)
        assert {row["attacker_uuid"] for row in rows} == {A1, A2}
        assert len(await bound.attackers_told([A1])) == 0
