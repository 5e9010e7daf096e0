"""Rows behind tagging on both databases: hits and firings, ends of states, tags once, pages of what is judged again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.config import load_settings
from decnet.db.repository import BaseRepository
from decnet.db.rows.ttp import TTPTag
from decnet.ids import attacker_id, identity_id
from decnet.recorder.worker import RecorderWorker
from decnet.runtime.worker import Transaction
from tests.dbkit import KINDS, open_repo
from tests.rowkit import define_rule
from tests.wirekit import taken

A = "a1"
START = datetime(2026, 3, 4, tzinfo=UTC)
MICRO = timedelta(microseconds=1)


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as opened:
        yield opened


def hit(slot: str, source: str, pos: int = 0, **more: Any) -> dict[str, Any]:
    row = {
        "slot": slot,
        "source_kind": "command",
        "source_id": source,
        "pos": pos,
        "ts": 1.0,
        "steps": 0,
        "value": "",
    }
    return row | {"who": {"session_id": "s"}, "why": {"matched": "x"}, "keep_until": 100.0} | more


async def test_hits_are_kept_once_dropped_by_key_and_purged_when_their_time_is_over(
    repo: BaseRepository,
) -> None:
    await repo.add_window_hits(
        [hit("k", "e1"), hit("k", "e1", 1), hit("l", "e1"), hit("m", "e2", keep_until=101.0)]
    )
    await repo.add_window_hits([hit("k", "e1", ts=9.0, value="other", keep_until=999.0)])
    rows = {(r["slot"], r["source_id"], r["pos"]): r for r in await repo.window_marks(["k", "l"])}
    assert set(rows) == {("k", "e1", 0), ("k", "e1", 1), ("l", "e1", 0)}
    assert (rows["k", "e1", 0]["ts"], rows["k", "e1", 0]["value"]) == (1.0, ""), (
        "what is there stays as it is"
    )
    assert await repo.window_reasons([]) == []
    asked = [("k", "command", "e1", 0), ("k", "command", "e1", 7)]
    assert await repo.window_reasons(asked) == [
        {"slot": "k", "source_kind": "command", "source_id": "e1", "pos": 0}
        | {"who": {"session_id": "s"}, "why": {"matched": "x"}}
    ]
    await repo.drop_window_hits([("k", "command", "e1", 1), ("l", "payload", "e1", 0)])
    assert [(r["slot"], r["pos"]) for r in await repo.window_marks(["k", "l"])] == [("k", 0), ("l", 0)]
    await repo.drop_window_hits([])
    assert await repo.purge_window_hits(100.0) == 0, "a hit is kept until its time, that moment included"
    assert await repo.purge_window_hits(100.001) == 2
    assert [r["slot"] for r in await repo.window_marks(["k", "l", "m"])] == ["m"]
    await repo.add_window_fires([{"slot": "k", "source_kind": "command", "source_id": "e1", "ts": 1.0}] * 2)
    await repo.add_window_fires([{"slot": "k", "source_kind": "command", "source_id": "e1", "ts": 7.0}])
    await repo.add_window_fires([{"slot": "k", "source_kind": "command", "source_id": "e2", "ts": 2.0}])
    assert sorted((r["slot"], r["ts"]) for r in await repo.window_fires(["k", "z"])) == [
        ("k", 1.0),
        ("k", 2.0),
    ]
    assert await repo.window_fires(["z"]) == []


async def test_a_key_is_worked_on_by_one_transaction_at_a_time(tmp_path: Path) -> None:
    async with open_repo("postgresql", tmp_path) as repo:
        order: list[str] = []
        locked, released = asyncio.Event(), asyncio.Event()

        async def first() -> None:
            async with repo.transaction() as tx:
                await tx.lock_slots(["00000001ff", "00000002ff"])
                locked.set()
                await released.wait()
                order.append("first")

        async def second(slot: str, name: str) -> None:
            await locked.wait()
            async with repo.transaction() as tx:
                await tx.lock_slots([slot])
                order.append(name)

        tasks = [
            asyncio.create_task(t)
            for t in (first(), second("00000001aa", "same"), second("00000003aa", "other"))
        ]
        async with asyncio.timeout(20):
            while "other" not in order:
                await asyncio.sleep(0.01)
            assert order == ["other"], "another key does not wait, the same one does"
            released.set()
            await asyncio.gather(*tasks)
        assert order == ["other", "first", "same"]


async def test_a_state_is_ended_once_at_the_time_that_was_seen_and_the_change_is_told(
    repo: BaseRepository,
) -> None:
    end = START + timedelta(microseconds=123_456)
    await repo.rule_state_set("X1", state="disabled", expires_at=end, reason="r", set_by="me", set_at=START)
    row = await repo.rule_state_get("X1")
    assert row == {
        "rule_id": "X1", "state": "disabled", "confidence_max": None, "expires_at": end, "reason": "r", "set_by": "me", "set_at": START
    }  # fmt: skip
    assert not await repo.expire_rule_state("X1", end + MICRO)
    assert not await repo.expire_rule_state("X2", end)
    seq = await repo.rule_change_seq()
    assert await repo.expire_rule_state("X1", end)
    assert not await repo.expire_rule_state("X1", end)
    assert [(c["rule_id"], c["kind"], c["seq"]) for c in await repo.rule_changes_since(seq)] == [
        ("X1", "state", seq + 1)
    ]
    assert await repo.rule_states() == {}


async def test_definitions_are_written_when_something_differs_and_removed_once(repo: BaseRepository) -> None:
    first = ("R1", 1, "n", "yaml", "f.yaml", None)
    assert await define_rule(repo, *first)
    assert not await define_rule(repo, *first)
    for i, value in ((1, 2), (2, "m"), (3, "other"), (4, "g.yaml"), (5, "bad")):
        changed = (*first[:i], value, *first[i + 1 :])
        assert await define_rule(repo, *changed), i
        assert await define_rule(repo, *first)
    assert await define_rule(repo, "R0", 1, "n", "yaml", "e.yaml")
    assert [row["rule_id"] for row in await repo.rule_definitions()] == ["R0", "R1"]
    await repo.rule_state_set("R1", state="disabled")
    assert await repo.remove_rule_definition("R1")
    assert not await repo.remove_rule_definition("R1")
    assert (await repo.rule_state_get("R1") or {})["state"] == "disabled", "the state stays"
    kinds = [c["kind"] for c in await repo.rule_changes_since(0)]
    assert kinds == ["definition"] * 12 + ["state", "removed"]
    assert len(await repo.rule_changes_since(0, limit=3)) == 3
    assert await repo.rule_changes_since(await repo.rule_change_seq()) == []
    assert await repo.lease_owner("nobody") is None


def tag(n: int, version: int = 1, source: str = "c1", rule: str = "R1", **more: Any) -> TTPTag:
    base: dict[str, Any] = {
        "source_kind": "command",
        "source_id": source,
        "tactic": "TA0002",
        "technique_id": f"T105{n}",
    }
    base |= {"confidence": 0.9, "rule_id": rule, "rule_version": version, "attacker_uuid": A}
    return TTPTag(**(base | more))


async def test_tags_are_inserted_once_and_older_versions_are_superseded_where_there_is_a_newer_one(
    repo: BaseRepository,
) -> None:
    assert await repo.insert_tags([]) == []
    old = [tag(1), tag(2), tag(1, source="c2"), tag(1, rule="R2"), tag(1, source_kind="payload")]
    assert sorted(await repo.insert_tags([*old, old[0]])) == sorted(t.uuid for t in old)
    new, newest = tag(9, 2), tag(9, 3, source="c2")
    assert sorted(await repo.insert_tags([old[0], new, newest])) == sorted([new.uuid, newest.uuid])
    assert await repo.supersede_tags("R1", 2, ["command"]) == 2
    assert await repo.supersede_tags("R1", 2, ["command"]) == 0
    shown = {row["uuid"] for row in await repo.list_tags(limit=0)}
    assert shown == {t.uuid for t in (*old[2:], new, newest)}
    assert await repo.supersede_tags("R1", 3, ["command"]) == 1
    assert {row["uuid"] for row in await repo.list_tags(limit=0)} == {t.uuid for t in (*old[3:], new, newest)}


async def test_a_rule_that_judges_another_kind_now_leaves_its_old_tags_of_the_session_behind(
    repo: BaseRepository,
) -> None:
    old = [tag(1, source_kind="session", source=s, session_id=s) for s in ("s1", "s2")]
    new = [tag(1, 2, source_kind="payload", source=f"s1#upload#{n}", session_id="s1") for n in range(2)]
    await repo.insert_tags([*old, *new])
    assert await repo.supersede_tags("R1", 2, ["payload", "session"]) == 0, "it judges sessions still"
    assert await repo.supersede_tags("R1", 2, ["payload"]) == 1
    assert {row["uuid"] for row in await repo.list_tags(limit=0)} == {t.uuid for t in (old[1], *new)}


async def test_what_is_told_again_stands_at_its_earliest_time(repo: BaseRepository) -> None:
    early, late, unknown = tag(1, seen_at=START), tag(2, seen_at=START), tag(3)
    await repo.insert_tags([early, late, unknown])
    await repo.seen_earlier({})
    await repo.seen_earlier({early.uuid: START - MICRO, late.uuid: START + MICRO, unknown.uuid: START})
    await repo.seen_earlier({early.uuid: START, "of nobody": START})
    found = {row["uuid"]: row["seen_at"] for row in await repo.list_tags(limit=0)}
    assert found == {early.uuid: START - MICRO, late.uuid: START, unknown.uuid: START}


async def test_firings_are_counted_from_a_moment_on_that_moment_included(repo: BaseRepository) -> None:
    await repo.insert_tags(
        [tag(1, created_at=START), tag(2, created_at=START - MICRO), tag(3, rule="R2", created_at=START)]
    )
    assert await repo.rule_fired_counts(START) == {"R1": 1, "R2": 1}
    assert await repo.rule_fired_counts(START.timestamp() - 1) == {"R1": 2, "R2": 1}


@pytest.mark.parametrize("missing", ["evidence_ref", "primitive", "ts"])
async def test_an_observation_needs_what_it_is_about(missing: str, tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as lite:
        row = {"evidence_ref": "e", "primitive": "p", "ts": 1.0, "session_id": "s"}
        with pytest.raises(ValueError, match=f"an observation needs {missing}"):
            await lite.insert_observations([{**row, missing: None}])
        assert len(await lite.insert_observations([row, {**row, "ts": 2.0}])) == 1
        assert await lite.insert_observations([row]) == []
        assert await lite.insert_observations([]) == []


def session(n: int) -> Event:
    payload = {
        "session_id": f"s{n}",
        "attacker_ip": "203.0.113.1",
        "decky_id": "d",
        "started_at": 1.0,
        "ended_at": 100.0 + n // 2,
    }
    commands = [{"id": f"s{n}c", "command_text": "id", "ts": 2.0}]
    return Event(
        "attacker.session.ended",
        payload | {"commands": commands, "auth": {"fail_count": 2}},
        "",
        f"e{n}",
        100.0,
    )


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


async def test_pages_give_every_row_of_the_span_once_in_order_and_end(repo: BaseRepository) -> None:
    """Times stand twice, so that a page may end between two rows of one moment."""
    captured = {
        "attacker_ip": "203.0.113.1",
        "session_id": "s1",
        "username": "root",
        "secret_hmac": "h",
        "secret_kind": "password",
    }
    events = [
        *map(session, range(7)),
        Event("credential.captured", {**captured, "success": False}, "", "c", 90.0),
    ]
    events.append(
        Event(
            "attacker.intel.enriched", {"attacker_ip": "203.0.113.1", "aggregate_verdict": "x"}, "", "i", 50.0
        )
    )
    async with repo.transaction() as bound:
        await RecorderWorker(load_settings()).handle(taken(events), Transaction(bound))
    assert repo.replay_kinds == ("sessions", "credentials", "fingerprints", "identities", "intel")
    seen: list[str] = []
    sizes: list[int] = []
    after = None
    for _ in range(9):
        page = await repo.replay_page("sessions", at(100), at(103), after, 3)
        seen += [event.payload["session_id"] for event in page.events]
        sizes.append(page.rows)
        after = page.after
        if after is None:
            break
    assert seen == [f"s{n}" for n in range(7)]
    assert sizes == [3, 3, 1]
    (last,) = (await repo.replay_page("sessions", at(103), at(103))).events
    assert (last.payload["session_id"], last.ts, last.type) == ("s6", 103.0, "session.ended")
    assert [c["command_text"] for c in last.payload["commands"]] == ["id"]
    counts = [
        await repo.replay_count("sessions", at(low), at(high))
        for low, high in ((100, 103), (100.001, 103), (100, 102.999))
    ]
    assert counts == [7, 5, 6], "both ends of the span are in it"
    (credential,) = (await repo.replay_page("credentials", at(90), at(90))).events
    assert credential.topic == "credential.captured"
    assert (credential.payload["success"], credential.payload["username"]) == (False, "root")
    (known,) = (await repo.replay_page("intel", at(50), at(50))).events
    assert (known.topic, known.payload["aggregate_verdict"]) == ("attacker.intel.enriched", "x")
    assert await repo.replay_count("intel", at(50.001), at(60)) == 0
    (formed,) = (await repo.replay_page("identities", at(0), at(1e9))).events
    who = attacker_id("203.0.113.1")
    assert formed.payload == {"identity_uuid": identity_id(who), "attacker_uuids": [who]}
    assert await repo.replay_page("fingerprints", at(0), at(1e9)) == ([], 0, None)
    first, last_seen = 1.0, formed.ts
    spans = [(0.0, first, [who]), (0.0, first - 0.5, []), (last_seen, 1e9, [who]), (last_seen + 0.5, 1e9, [])]
    for low, high, found in spans:
        assert await repo.attackers_active(at(low), at(high)) == found, (low, high)
