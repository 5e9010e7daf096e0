"""Alerts, states, session features, observations and mails as rows: versions, ranks, limits, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from decnet.db.repository import BaseRepository
from decnet.db.repository.attribution import alerts as repo_alerts
from decnet.db.repository.attribution import states as repo_attribution
from decnet.db.repository.attribution import windows as repo_windows
from decnet.db.repository.attribution.alerts import ACKNOWLEDGED, OPEN, RESOLVED
from decnet.db.repository.locks import LOCK_FLEET, LOCK_MAILS, LOCK_MERGES, attacker_lock
from decnet.db.repository.ttp import mails as repo_lifters
from decnet.ids import attacker_id, identity_id
from tests.dbkit import KINDS, open_repo
from tests.rowkit import emptied, put, rows_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
T = NOW.timestamp()
IPS = ("192.0.2.1", "192.0.2.2", "192.0.2.3")
A, B, C = map(attacker_id, IPS)
IA, IB, IC = map(identity_id, (A, B, C))


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=KINDS)
async def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path_factory.mktemp("attribution")) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def repo(database: BaseRepository, monkeypatch: pytest.MonkeyPatch) -> BaseRepository:
    monkeypatch.setattr(repo_alerts, "utcnow", lambda: NOW)
    return await emptied(database)


def alert(identity: str = "i", **more: Any) -> dict[str, Any]:
    base = {"identity_uuid": identity, "attacker_uuids": ["a"], "primitives": ["p", "q"], "families": ["typing"],
            "sides": [["s1"], ["s2"]], "confidence": 0.8, "ts": T, "explanation": {"why": "x"}}  # fmt: skip
    return {**base, **more}


async def test_an_alert_is_revised_while_it_stands(repo: BaseRepository) -> None:
    first = await repo.raise_alert(alert())
    assert (first["state"], first["revision"], first["ordinal"], first["standing"]) == (OPEN, 1, 1, True)
    await repo.set_alert_state(first["alert_id"], ACKNOWLEDGED, "op")
    again = await repo.raise_alert(alert(primitives=["p", "r"], confidence=0.9))
    assert again["alert_id"] == first["alert_id"]
    assert (again["revision"], again["ordinal"]) == (2, 1)
    stored = await repo.get_alert(first["alert_id"])
    assert stored is not None
    assert (stored["state"], stored["acknowledged_by"], stored["acknowledged_at"]) == (OPEN, None, None), (
        "news"
    )
    assert (stored["primitives"], stored["confidence"]) == (["p", "r"], 0.9)
    assert len(await repo.list_alerts()) == 1


async def test_a_resolved_alert_is_never_reopened_a_new_one_is_raised(repo: BaseRepository) -> None:
    first = await repo.raise_alert(alert())
    resolved = await repo.set_alert_state(first["alert_id"], RESOLVED, "op")
    assert resolved is not None
    assert (resolved["resolved_by"], resolved["resolved_at"]) == ("op", NOW)
    assert resolved["standing"], "its evidence is still there"
    second = await repo.raise_alert(alert(confidence=0.9))
    assert second["alert_id"] != first["alert_id"]
    assert (second["ordinal"], second["revision"], second["state"]) == (2, 1, OPEN)
    old = await repo.get_alert(first["alert_id"])
    assert old is not None
    assert (old["state"], old["standing"], old["resolved_by"], old["confidence"]) == (
        RESOLVED,
        False,
        "op",
        0.8,
    )
    assert [row["alert_id"] for row in await repo.standing_alerts()] == [second["alert_id"]]
    assert await repo.close_alerts(["i"], "attribution") == 1
    third = await repo.raise_alert(alert())
    assert (third["ordinal"], third["state"]) == (3, OPEN)
    assert len({first["alert_id"], second["alert_id"], third["alert_id"]}) == 3


async def test_evidence_that_is_gone_closes_once_and_keeps_who_resolved(repo: BaseRepository) -> None:
    mine, other = await repo.raise_alert(alert("i")), await repo.raise_alert(alert("j"))
    await repo.set_alert_state(mine["alert_id"], RESOLVED, "op")
    assert await repo.close_alerts([], "attribution") == 0
    assert await repo.close_alerts(["i", "k"], "attribution") == 1
    assert await repo.close_alerts(["i"], "attribution") == 0
    stored = await rows_of(repo, "attribution_alert", "alert_id")
    closed = stored[mine["alert_id"]]
    assert (closed["standing"], closed["resolved_by"], closed["resolved_at"]) == (False, "op", NOW)
    assert stored[other["alert_id"]]["standing"]
    assert await repo.close_alerts(["j"], "attribution") == 1
    stored = await rows_of(repo, "attribution_alert", "alert_id")
    closed = stored[other["alert_id"]]
    assert (closed["state"], closed["resolved_by"], closed["resolved_at"]) == (RESOLVED, "attribution", NOW)


async def test_what_an_operator_may_do_to_an_alert(repo: BaseRepository) -> None:
    row = await repo.raise_alert(alert())
    for wrong in ("", "closed"):
        with pytest.raises(ValueError, match="open, acknowledged, resolved"):
            await repo.set_alert_state(row["alert_id"], wrong, "op")
    assert await repo.set_alert_state("no such alert", RESOLVED, "op") is None
    first = await repo.set_alert_state(row["alert_id"], ACKNOWLEDGED, "ann")
    twice = await repo.set_alert_state(row["alert_id"], ACKNOWLEDGED, "bob")
    assert first == twice
    assert twice is not None
    assert (twice["acknowledged_by"], twice["acknowledged_at"], twice["resolved_by"]) == ("ann", NOW, None)
    await repo.set_alert_state(row["alert_id"], RESOLVED, "bob")
    with pytest.raises(ValueError, match="resolved already"):
        await repo.set_alert_state(row["alert_id"], ACKNOWLEDGED, "ann")
    again = await repo.set_alert_state(row["alert_id"], RESOLVED, "carl")
    assert again is not None
    assert (again["state"], again["resolved_by"], again["acknowledged_by"]) == (RESOLVED, "bob", "ann")


async def test_only_a_standing_alert_that_nobody_resolved_is_refreshed(repo: BaseRepository) -> None:
    await repo.raise_alert(alert("i"))
    settled = await repo.raise_alert(alert("j"))
    await repo.set_alert_state(settled["alert_id"], RESOLVED, "op")
    await repo.raise_alert(alert("k"))
    await repo.close_alerts(["k"], "attribution")
    for identity in ("i", "j", "k"):
        await repo.refresh_alert(alert(identity, confidence=0.95, primitives=["other"]))
    stored = {row["identity_uuid"]: row for row in await repo.list_alerts()}
    assert {name: row["confidence"] for name, row in stored.items()} == {"i": 0.95, "j": 0.8, "k": 0.8}
    assert stored["i"]["primitives"] == ["p", "q"], "a refresh raises nothing"
    assert stored["i"]["revision"] == 1


async def test_alerts_are_listed_within_limits(repo: BaseRepository) -> None:
    await repo.upsert_attackers([(A, IPS[0], T), (B, IPS[1], T), (C, IPS[2], T)])
    await repo.form_identities([A, B, C])
    await repo.merge_identities(IA, IB)
    one = await repo.raise_alert(alert(IA, ts=T))
    two = await repo.raise_alert(alert(IC, ts=T + 1, sides=[["s3"], ["s4"]]))
    await repo.set_alert_state(two["alert_id"], RESOLVED, "op")

    async def ids(**options: Any) -> list[str]:
        return [row["alert_id"] for row in await repo.list_alerts(**options)]

    both = [two["alert_id"], one["alert_id"]]
    assert await ids() == await ids(limit=0) == await ids(limit=2) == both
    assert await ids(limit=1) == both[:1]
    assert await ids(since=T) == both
    assert await ids(since=T + 1) == both[:1]
    assert await ids(since=T + 2) == []
    assert await ids(state=OPEN) == both[1:]
    assert await ids(state=RESOLVED) == both[:1]
    for who in (IPS[0], A, IPS[1], B):
        assert await ids(attacker=who) == both[1:], "an attacker's alert is its canonical identity's"
    assert await ids(session="s2") == await ids(session="s2", limit=1) == both[1:], (
        "the limit counts what is found"
    )
    assert await ids(session="s") == []
    await repo.ignore_add(IPS[2])
    assert await ids() == both[1:]
    assert await ids(ignored=True) == both


def state(identity: str, primitive: str, ts: float | None, **more: Any) -> dict[str, Any]:
    base = {"identity_uuid": identity, "primitive": primitive, "state": "stable", "current_value": "x", "confidence": 0.5,
            "observation_count": 3, "last_change_ts": 1.0, "last_observation_ts": ts}  # fmt: skip
    return {**base, **more}


async def test_states_are_replaced_listed_and_counted(repo: BaseRepository) -> None:
    await repo.upsert_attackers([(A, IPS[0], T), (B, IPS[1], T), (C, IPS[2], T)])
    await repo.form_identities([A, B, C])
    await repo.merge_identities(IA, IB)
    await repo.upsert_attribution_state(state(IA, "p", T, seq=4))
    await repo.upsert_attribution_state(state(IA, "p", T - 5, current_value=None, state="drifting"))
    row = await repo.get_attribution_state(IA, "p")
    assert row is not None
    assert (row["seq"], row["current_value"], row["state"], row["last_observation_ts"]) == (
        0,
        None,
        "drifting",
        T - 5,
    )
    await repo.upsert_attribution_states([state(IA, "q", T), state(IC, "p", T + 1)])
    assert await repo.get_attribution_state(IA, "r") is None
    assert set(await repo.attribution_states([(IA, "q"), (IC, "q"), (IC, "p")])) == {(IA, "q"), (IC, "p")}
    assert len(await repo.states_of_identities([IA, IC])) == 3

    async def keys(**options: Any) -> list[tuple[str, str]]:
        return [(row["identity_uuid"], row["primitive"]) for row in await repo.list_attribution(**options)]

    everything = [(IC, "p"), (IA, "q"), (IA, "p")]
    assert await keys() == await keys(limit=0) == everything
    assert await keys(limit=2) == everything[:2]
    assert await keys(since=T) == everything[:2]
    assert await keys(since=T + 1) == everything[:1]
    assert await keys(attacker=IPS[1]) == await keys(identity=IB) == await keys(identity=IA) == everything[1:]
    (newest, *_) = await repo.list_attribution()
    assert newest["last_observation_ts"] == NOW + timedelta(seconds=1)
    assert await repo.state_counts([IA, IC]) == {IA: {"stable": 1, "drifting": 1}, IC: {"stable": 1}}
    assert await repo.state_counts([IC]) == {IC: {"stable": 1}}
    await repo.ignore_add(IPS[2])
    assert await keys() == everything[1:]
    assert await keys(ignored=True) == everything
    await repo.put_aside_states(await repo.attribution_states((IA, name) for name in ("p", "q")))
    assert await keys(ignored=True) == everything[:1]


def observation(ref: str, attacker: str, ts: float, primitive: str = "p", **more: Any) -> dict[str, Any]:
    base = {"observation_id": f"{ref}|{primitive}", "evidence_ref": ref, "attacker_uuid": attacker, "ts": ts,
            "primitive": primitive, "value": ref, "confidence": 0.5}  # fmt: skip
    return {**base, **more}


async def test_a_merge_reads_the_last_rows_up_to_a_moment_and_counts_so_far(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repo_windows, "COUNTED", 7)
    repo_windows._ends_statement.cache_clear()
    await repo.upsert_attackers([(A, IPS[0], T), (B, IPS[1], T)])
    await repo.form_identities([A, B])
    await repo.merge_identities(IA, IB)
    await put(repo, "observation", *(observation(f"a{n}", A, T + n) for n in range(6)))
    await put(repo, "observation", *(observation(f"b{n}", B, T + n) for n in range(9)))
    await put(repo, "observation", observation("other", A, T, "q"), observation("c", C, T))
    found = await repo.observation_windows({(IA, "p"): (4, T + 5), (IA, "q"): (4, T), (IC, "p"): (4, T)})
    rows, total = found[IA, "p"]
    assert [row["evidence_ref"] for row in rows] == ["a4", "b4", "a5", "b5"]
    assert total == 12
    assert [(len(r), n) for r, n in (found[IA, "q"], found[IC, "p"])] == [(1, 1), (0, 0)]
    whole = await repo.observation_windows({(IA, "p"): (4, float("inf"))})
    assert whole[IA, "p"][1] == 6 + 7, "counted up to the bound for each attacker"
    last = await repo.observations_for_identity_primitive(IA, "p", limit=3)
    assert [row["evidence_ref"] for row in last] == ["b6", "b7", "b8"]
    until = await repo.observations_for_identity_primitive(IA, "p", until=T)
    assert [row["evidence_ref"] for row in until] == ["a0", "b0"], "what is exactly then is in"
    assert len(await repo.observations_for_identity_primitive(IA, "p")) == repo_attribution.ROWS_READ == 10
    repo_windows._ends_statement.cache_clear()


async def test_who_belongs_to_an_identity(repo: BaseRepository) -> None:
    await repo.upsert_attackers([(A, IPS[0], T), (B, IPS[1], T), (C, IPS[2], T)])
    await repo.form_identities([A])
    assert await repo.identities_of_attackers([B, A, "unknown", B]) == {A: IA, B: IB}, "formed when need be"
    await repo.merge_identities(IA, IB)
    await repo.form_identities([C])
    assert await repo.identities_of_attackers([A, B, C]) == {A: IA, B: IA, C: IC}
    assert await repo.members_of([IA, IB, IC, "none"]) == {IA: sorted([A, B]), IB: [B], IC: [C], "none": []}
    assert await repo.group_of_identity(IA) == sorted([IA, IB])
    assert await repo.group_of_identity("none") == ["none"]
    async with repo.transaction() as bound:
        assert await bound.lock_identities([IB, IA]) == (repo.db.dialect == "postgresql")


def feature(session: str, ended: float = T, rank: Any = "1", **more: Any) -> dict[str, Any]:
    return {
        "session_id": session,
        "attacker_uuid": A,
        "identity_uuid": IA,
        "ended_at": ended,
        "rank": rank,
        **more,
    }


async def test_a_session_is_replaced_by_no_lower_rank(repo: BaseRepository) -> None:
    for rank, client in (("2", "first"), ("1", "lower"), ("2", "same"), ("3", "higher"), ("2", "late")):
        await repo.upsert_session_features([feature("s", rank=rank, client={"v": client})])
        kept = (await rows_of(repo, "session_feature", "session_id"))["s"]["client"]["v"]
        assert kept == {"lower": "first", "late": "higher"}.get(client, client)
    await repo.upsert_session_features([feature("t", rank="2", client={"v": "x"}), feature("t", rank="1")])
    assert (await rows_of(repo, "session_feature", "session_id"))["t"]["rank"] == "2", "within a batch too"
    await repo.upsert_session_features([feature("u", typing={})])
    assert (await rows_of(repo, "session_feature", "session_id"))["u"]["typing"] is None, "not measured"
    await repo.upsert_session_features([])
    with pytest.raises(KeyError):
        await repo.upsert_session_features([{"session_id": "s", "rank": "9"}])


async def test_the_last_sessions_of_an_identity(repo: BaseRepository) -> None:
    await repo.upsert_attackers([(A, IPS[0], T), (B, IPS[1], T)])
    await repo.form_identities([A, B])
    await repo.merge_identities(IA, IB)
    await repo.upsert_session_features([feature(f"a{n}", T + n) for n in range(4)])
    await repo.upsert_session_features([feature(f"b{n}", T + n, attacker_uuid=B) for n in range(4)])
    rows = await repo.session_features(IA, limit=3)
    assert [row["session_id"] for row in rows] == ["b2", "a3", "b3"]
    assert len(await repo.session_features(IA)) == 8
    assert repo_attribution.SESSIONS_READ == 64


async def test_a_verdict_takes_back_only_the_mark_it_has_seen(repo: BaseRepository) -> None:
    await repo.upsert_attackers([(A, IPS[0], T), (B, IPS[1], T)])
    await repo.form_identities([A, B])
    await repo.mark_due([IA, IB, IA, "nobody knows it, a stub"])
    assert (
        await repo.due_identities(1)
        == sorted([(i, i, 1) for i in (IA, IB, "nobody knows it, a stub")][:2])[:1]
    )
    first = await repo.due_identities(10)
    assert {(IA, IA, 1), (IB, IB, 1)} == set(first)
    await repo.mark_due([IA])
    verdict = {
        "identity_uuid": IA,
        "suspected": True,
        "reason": "r",
        "primitives": ["p"],
        "verdict": {"n": 1},
    }
    await repo.store_verdicts([verdict], [(IA, 1), (IB, 1)])
    assert await repo.due_identities(10) == [(IA, IA, 2)], "sessions came since: it is looked at again"
    assert await repo.verdict_of(IA) == {"n": 1}
    assert await repo.verdict_of(IC) is None
    assert await repo.list_multi_actor_identities() == [{"identity_uuid": IA, "primitives": ["p"]}]
    await repo.store_verdicts([{**verdict, "suspected": False}], [(IA, 2)])
    assert await repo.due_identities(10) == []
    assert await repo.list_multi_actor_identities() == []
    await repo.store_verdicts([verdict], [])
    await repo.drop_evidence([IA])
    assert await repo.list_multi_actor_identities() == []
    assert await repo.verdict_of(IA) is None


async def test_a_mark_on_a_merged_identity_names_the_canonical_one(repo: BaseRepository) -> None:
    await repo.merge_identities("w", "l")
    await repo.mark_due(["l", "w"])
    assert await repo.due_identities(10) == [("w", "w", 1)], "one without attacker waits until it is formed"
    await put(repo, "identity", {"identity_uuid": "f", "attacker_uuid": "x", "merged_into": "w"})
    await repo.mark_due(["f"])
    assert await repo.due_identities(10) == [("f", "w", 1), ("w", "w", 1)]


async def test_observations_of_a_session_are_replaced_as_a_whole(repo: BaseRepository) -> None:
    def seen(ref: str, primitive: str, value: Any, session: str = "s1", **more: Any) -> dict[str, Any]:
        base = {
            "evidence_ref": ref,
            "primitive": primitive,
            "session_id": session,
            "source": "behave",
            "ts": T,
        }
        rest = dict.fromkeys(("identity_uuid", "window_start", "window_end"))
        return {**base, **rest, "attacker_uuid": A, "value": value, "confidence": 0.5, **more}

    async def replace(
        *rows: dict[str, Any], refs: Any = (), sessions: Any = (), source: str = "behave"
    ) -> list[str]:
        new = await repo.replace_observations(list(rows), refs=refs, sessions=sessions, source=source)
        return [row["primitive"] for row in new]

    assert await replace(seen("e1", "p", 1), seen("e1", "q", 1)) == ["p", "q"]
    assert await replace(seen("e9", "p", 1, "s9"), seen("e8", "p", 1, "s8", source="other")) == ["p", "p"]
    assert await replace(seen("e1", "p", 1), seen("e1", "q", 1), refs=["e1"]) == [], "exactly so: no news"
    changed = seen("e1", "p", 1)
    for name, value in (
        ("value", 2),
        ("confidence", 0.6),
        ("ts", T + 1),
        ("window_start", 1.0),
        ("window_end", 2.0),
    ):
        changed |= {name: value}
        assert await replace(changed, seen("e1", "q", 1), refs=["e1"]) == ["p"], name
    assert await replace(changed, seen("e1", "q", 1), refs=["e1"]) == []
    assert await replace(seen("e2", "r", 1), sessions=["s1"]) == ["r"]
    assert set(await rows_of(repo, "observation", "evidence_ref")) == {"e2", "e9", "e8"}, (
        "the old ending is gone"
    )
    assert await replace(refs=["e8", "e9"]) == []
    assert set(await rows_of(repo, "observation", "evidence_ref")) == {"e2", "e8"}, "of this source only"


def extracted(
    session: str, rank: str, started: float = T, version: int = 1, attacker: str = A
) -> dict[str, Any]:
    base = {"session_id": session, "attacker_uuid": attacker, "rank": rank, "version": version}
    return {**base, "started_at": started, "ended_at": started + 1, "hours": {rank: 1}}


async def test_extracted_sessions_keep_the_greatest_rank_and_are_found_around_a_moment(
    repo: BaseRepository,
) -> None:
    for rank, kept in (("2", "2"), ("1", "2"), ("3", "3")):
        await repo.upsert_extracted_sessions([extracted("s", rank)])
        assert (await repo.extracted_sessions(["s", "t"]))["s"]["rank"] == kept
    await repo.upsert_extracted_sessions([{**extracted("s", "3"), "hours": {"again": 1}}])
    assert (await repo.extracted_sessions(["s"]))["s"]["hours"] == {"again": 1}
    await repo.upsert_extracted_sessions([extracted(f"n{n}", "1", T + n, version=n) for n in range(-3, 4)])
    await repo.upsert_extracted_sessions([extracted("other", "1", attacker=B)])
    before, after = await repo.sessions_around(A, T, 2)
    assert [row["session_id"] for row in before] == ["n-2", "n-1"]
    assert [row["session_id"] for row in after] == ["n0", "s"], "one that starts at the moment is after it"
    assert await repo.outdated_sessions(1, 10) == ["n0", "n-1", "n-2", "n-3"]
    assert await repo.outdated_sessions(1, 2) == ["n0", "n-1"]
    await repo.forget_extracted_sessions(["s", "n0"])
    assert set(await repo.extracted_sessions(["s", "n0", "n1"])) == {"n1"}


async def test_parts_wait_for_each_other_and_the_first_telling_stays(repo: BaseRepository) -> None:
    part = {"session_id": "s", "generation": "g", "part": 2, "parts": 2, "body": {"n": 1}}
    await repo.add_session_parts([part, {**part, "part": 1}, {**part, "generation": "h"}])
    await repo.add_session_parts([{**part, "body": {"n": 2}}])
    found = await repo.session_parts("s", "g")
    assert [(row["part"], row["body"]) for row in found] == [(1, {"n": 1}), (2, {"n": 1})]
    await repo.forget_session_parts(["s"])
    assert await repo.session_parts("s", "h") == []


async def test_the_secret_of_a_database_is_made_once(repo: BaseRepository) -> None:
    key = await repo.hash_key()
    assert len(key) == 32
    assert await repo.hash_key() == key
    async with repo.transaction() as bound:
        await bound.lock_attackers([A, B, A])
        assert await bound.hash_key() == key


def mail(source: str, ts: float, **more: Any) -> dict[str, Any]:
    base = {"attacker_uuid": A, "simhash": "h", "source_id": source, "ts": ts, "rcpt_count": 1}
    return {**base, "session_id": None, "decky_id": None, **more}


async def test_mails_of_one_body_end_the_same_in_any_order_and_the_newest_count(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    await repo.remember_email_bodies([mail("m", T + 1, rcpt_count=5, session_id="a")])
    await repo.remember_email_bodies([mail("m", T, rcpt_count=3, session_id="b", decky_id="d")])
    await repo.remember_email_bodies([mail("m", T + 2, rcpt_count=4)])
    (row,) = await repo.email_bodies([(A, "h"), (A, "h"), (B, "h")])
    assert (row["ts"], row["rcpt_count"], row["session_id"], row["decky_id"]) == (T, 5, "b", "d")
    await repo.remember_email_bodies([mail("n", T + 1), mail("l", T + 1), mail("x", T, simhash="other")])
    assert [r["source_id"] for r in await repo.email_bodies([(A, "h")])] == ["m", "l", "n"]
    monkeypatch.setattr(repo_lifters, "MAX_BODIES", 2)
    assert [r["source_id"] for r in await repo.email_bodies([(A, "h"), (A, "other")])] == ["x", "l", "n"]
    assert await repo.email_bodies([]) == []


async def _held(repo: BaseRepository, key: int) -> bool:
    """Whether another transaction has this lock, asked without waiting."""
    async with repo.db.write() as session:
        asked = await session.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": key})
        return not asked.scalar_one()


async def _shared(repo: BaseRepository, key: int) -> bool:
    """Whether another transaction has a share in this lock, and nobody has it for itself."""
    async with repo.db.write() as session:
        asked = await session.execute(text("SELECT pg_try_advisory_xact_lock_shared(:key)"), {"key": key})
        free = asked.scalar_one()
    return bool(free) and await _held(repo, key)


async def test_who_forms_identities_and_holds_them_is_alone_with_them(repo: BaseRepository) -> None:
    """Forming alone goes on beside others; on SQLite there is one writer."""
    if repo.db.dialect != "postgresql":
        return
    await repo.upsert_attackers([(A, IPS[0], T), (B, IPS[1], T), (C, IPS[2], T)])
    async with repo.transaction() as bound:
        await bound.form_identities([A])
        assert await _shared(repo, LOCK_MERGES)
    async with repo.transaction() as bound:
        assert await bound.form_identities([A]) == []
        assert not await _held(repo, LOCK_MERGES), "there is nothing to form"
        assert await bound.identities_of_attackers([A, B]) == {A: IA, B: IB}
        assert await _held(repo, LOCK_MERGES)
        assert not await _shared(repo, LOCK_MERGES)
    await repo.merge_identities(IA, IC)
    async with repo.transaction() as bound:
        assert await bound.form_identities([C]) == [(IC, C)]
        assert await _held(repo, LOCK_MERGES)
        assert not await _shared(repo, LOCK_MERGES), "what hangs together is worked out anew"


async def test_what_must_not_interleave_is_held_until_the_transaction_ends(repo: BaseRepository) -> None:
    """On PostgreSQL; SQLite has one writer, which holds everything."""
    if repo.db.dialect != "postgresql":
        async with repo.db.write():
            assert repo.db._lock.locked()
        return
    await repo.upsert_attackers([(A, IPS[0], T), (B, IPS[1], T)])
    await repo.form_identities([A, B])
    work: list[tuple[int, Any]] = [
        (LOCK_FLEET, lambda bound: bound.fleet_lock()),
        (LOCK_MERGES, lambda bound: bound.merge_identities(IA, IB)),
        (LOCK_MAILS, lambda bound: bound.remember_email_bodies([mail("m", T)])),
        (attacker_lock(A), lambda bound: bound.lock_attackers([A])),
    ]
    for key, take in work:
        assert not await _held(repo, key)
        async with repo.transaction() as bound:
            await take(bound)
            assert await _held(repo, key), key
        assert not await _held(repo, key)
    assert len({key for key, _ in work} | {attacker_lock(B)}) == 5, "each has a lock of its own"
    async with repo.transaction() as bound:
        assert await bound.lock_identities([IA])
        async with repo.db.write() as other:
            free = text("SELECT identity_uuid FROM identity FOR UPDATE SKIP LOCKED")
            assert list((await other.execute(free)).scalars()) == [IB]
