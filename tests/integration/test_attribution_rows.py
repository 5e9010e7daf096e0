"""The rows attribution and behave stand on: what replaces what, what stays due, what is read and in which order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from decnet.attribution import alerts
from decnet.attribution import worker as module
from decnet.attribution.worker import AttributionWorker, handle_observation_event
from decnet.bus.base import Event
from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.ids import attacker_id, identity_id
from decnet.runtime.runner import WorkerRunner
from tests.dbkit import KINDS, open_repo
from tests.simulator.pairs import pair_history

IPS = ("192.0.2.1", "192.0.2.2")
A1, A2 = map(attacker_id, IPS)
I1, I2 = identity_id(A1), identity_id(A2)
P, Q = "cognitive.planning_depth", "operational.objective"
PAIR = pair_history(("client", "account", "work"), "in turn", 4).rows
Row = dict[str, Any]


@pytest.fixture(params=KINDS)
async def either(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as opened:
        for uuid, ip in zip((A1, A2), IPS, strict=True):
            await opened.upsert_attacker(uuid, ip, 1.0)
        yield opened


@pytest.fixture
async def lite(tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo("sqlite", tmp_path) as opened:
        for uuid, ip in zip((A1, A2), IPS, strict=True):
            await opened.upsert_attacker(uuid, ip, 1.0)
        yield opened


def feature(n: int, rank: str = "1", attacker: str = A1, **more: Any) -> Row:
    row = {"session_id": f"s{n}", "attacker_uuid": attacker, "identity_uuid": identity_id(attacker)}
    return {**row, "started_at": n - 1.0, "ended_at": float(n), "rank": rank, "client": {"x": rank}} | more


def observation(n: int, ts: float, value: Any = "a", attacker: str = A1, primitive: str = P) -> Row:
    row = {"evidence_ref": f"r{n:04}", "primitive": primitive, "attacker_uuid": attacker, "value": value}
    return {**row, "identity_uuid": identity_id(attacker), "ts": ts, "confidence": 1.0}


async def evidence(repo: BaseRepository) -> dict[str, Any]:
    async with repo.db.read() as reading:
        found = await reading.execute(text("SELECT identity_uuid, version, due FROM multi_actor_evidence"))
        return {row.identity_uuid: (row.version, bool(row.due)) for row in found}


async def test_the_features_of_a_session_are_those_of_the_greatest_rank(either: BaseRepository) -> None:
    await either.form_identities([A1])
    for rank, kept in (("2", "2"), ("1", "2"), ("2", "2"), ("3", "3")):
        await either.upsert_session_features([feature(1, rank)])
        (row,) = await either.session_features(I1)
        assert (row["rank"], row["client"]) == (kept, {"x": kept})
    await either.upsert_session_features([feature(1, "3", client={"x": "again"})])
    assert (await either.session_features(I1))[0]["client"] == {"x": "again"}, "the same rank replaces"
    await either.upsert_session_features([feature(2, "9"), feature(2, "8")])
    assert [row["rank"] for row in await either.session_features(I1)] == ["3", "9"], "within one call too"
    await either.upsert_session_features([])
    with pytest.raises(KeyError):
        await either.upsert_session_features([{"session_id": "s", "rank": "1"}])


async def test_the_last_sessions_of_all_attackers_are_read_in_order(lite: BaseRepository) -> None:
    await lite.form_identities([A1, A2])
    await lite.merge_identities(I1, I2)
    rows = [feature(n, attacker=(A1, A2)[n % 2]) for n in range(1, 9)]
    await lite.upsert_session_features([*rows[::-1], feature(9, attacker=A1, ended_at=8.0)])
    assert [row["session_id"] for row in await lite.session_features(I1, 4)] == ["s6", "s7", "s8", "s9"]
    assert len(await lite.session_features(I1)) == 9
    many = [feature(n, attacker=A1, ended_at=100.0 + n) for n in range(100, 165)]
    await lite.upsert_session_features(many)
    assert [r["session_id"] for r in await lite.session_features(I1)][:1] == ["s101"], "sixty-four are read"


async def test_sessions_that_come_while_a_verdict_is_made_keep_it_due(either: BaseRepository) -> None:
    await either.form_identities([A1])
    await either.upsert_session_features([feature(1)])
    assert await either.due_identities(9) == [(I1, I1, 1)]
    await either.upsert_session_features([feature(2)])
    assert await either.due_identities(9) == [(I1, I1, 2)]
    verdict = {
        "identity_uuid": I1,
        "suspected": False,
        "reason": "too_few",
        "primitives": [],
        "verdict": {"n": 1},
    }
    await either.store_verdicts([verdict], [(I1, 1)])
    assert await either.due_identities(9) == [(I1, I1, 2)], "it was looked at before the second session"
    assert await either.verdict_of(I1) == {"n": 1}
    await either.store_verdicts([verdict], [(I1, 2)])
    assert await either.due_identities(9) == []
    assert await evidence(either) == {I1: (2, False)}
    await either.mark_due([I1, I1])
    assert await evidence(either) == {I1: (3, True)}


async def test_who_is_due_is_formed_counted_and_called_by_the_canonical_name(lite: BaseRepository) -> None:
    await lite.mark_due([I1, I2, identity_id("stranger")])
    assert await lite.due_identities(9) == [], "identities that are not formed yet wait"
    await lite.form_identities([A1, A2])
    assert await lite.due_identities(1) == [(min(I1, I2), min(I1, I2), 1)]
    await lite.merge_identities(I1, I2)
    assert sorted(await lite.due_identities(9)) == sorted([(I1, I1, 1), (I2, I1, 1)])


async def test_verdicts_that_suspect_are_listed_until_they_are_dropped(lite: BaseRepository) -> None:
    verdict = {"suspected": True, "reason": "suspected", "primitives": ["p", "q"], "verdict": {"n": 1}}
    quiet = {**verdict, "suspected": False, "identity_uuid": I2}
    await lite.store_verdicts([{**verdict, "identity_uuid": I1}, quiet], [])
    assert await lite.list_multi_actor_identities() == [{"identity_uuid": I1, "primitives": ["p", "q"]}]
    await lite.drop_evidence([I2])
    assert len(await lite.list_multi_actor_identities()) == 1
    await lite.drop_evidence([I1])
    assert await lite.list_multi_actor_identities() == []
    assert await lite.verdict_of(I1) is None


async def test_a_merge_reads_the_last_rows_in_order_of_time_and_reference(either: BaseRepository) -> None:
    await either.form_identities([A1, A2])
    await either.merge_identities(I1, I2)
    rows = [observation(n, float(n // 3), n, (A1, A2)[n % 2]) for n in range(24)]
    await either.insert_observations(rows[::-1])
    assert [r["value"] for r in await either.observations_for_identity_primitive(I1, P)] == list(
        range(14, 24)
    )
    found = await either.observations_for_identity_primitive(I1, P, limit=4, until=5.0)
    assert [r["value"] for r in found] == [14, 15, 16, 17], "until a time, that time included"
    assert [r["evidence_ref"] for r in found] == ["r0014", "r0015", "r0016", "r0017"]
    windows = await either.observation_windows({(I1, P): (2, 5.0), (I1, Q): (2, 9.0), (I2, P): (1, 99.0)})
    assert [(len(seen), total) for seen, total in windows.values()] == [(2, 18), (0, 0), (1, 12)]


async def test_observations_are_counted_up_to_a_thousand(lite: BaseRepository) -> None:
    await lite.form_identities([A1])
    await lite.insert_observations([observation(n, float(n)) for n in range(999)])
    assert (await lite.observation_windows({(I1, P): (1, 1e9)}))[I1, P][1] == 999
    await lite.insert_observations([observation(n, float(n)) for n in range(999, 1002)])
    assert (await lite.observation_windows({(I1, P): (1, 1e9)}))[I1, P][1] == 1000


async def test_more_windows_than_one_statement_holds_are_kept_apart(lite: BaseRepository) -> None:
    await lite.form_identities([A1])
    await lite.insert_observations([observation(n, 1.0, n, primitive=f"p{n}") for n in range(121)])
    windows = await lite.observation_windows({(I1, f"p{n}"): (3, 9.0) for n in range(121)})
    assert {key[1]: [r["value"] for r in rows] for key, (rows, _) in windows.items()} == {
        f"p{n}": [n] for n in range(121)
    }


async def test_states_are_written_as_they_are_and_forgotten_by_identity(lite: BaseRepository) -> None:
    row = {"identity_uuid": I1, "primitive": P, "state": "stable", "current_value": "a", "confidence": 0.5}
    row |= {"observation_count": 3, "last_change_ts": 1.0, "last_observation_ts": 2.0}
    await lite.upsert_attribution_state(row)
    await lite.upsert_attribution_states([{**row, "identity_uuid": I2}, {**row, "primitive": Q, "seq": 4}])
    assert await lite.get_attribution_state(I1, P) == {**row, "seq": 0}
    assert set(await lite.attribution_states([(I1, Q), (I2, Q)])) == {(I1, Q)}
    await lite.upsert_attribution_state({**row, "state": "drifting", "seq": 2})
    again = await lite.get_attribution_state(I1, P)
    assert again is not None
    assert (again["state"], again["seq"]) == ("drifting", 2)
    assert len(await lite.states_of_identities([I1, I2])) == 3
    await lite.put_aside_states([(I1, P), (I1, Q), (I1, "none")])
    assert [r["identity_uuid"] for r in await lite.states_of_identities([I1, I2])] == [I2]
    told = await lite.told_states([(I1, P), (I1, "none"), (I2, P)])
    assert set(told) == {(I1, P), (I2, P)}, "of what is gone it is known what was told last"
    kept = {name: again[name] for name in ("identity_uuid", "primitive", "state", "last_change_ts", "seq")}
    nothing = {"current_value": None, "confidence": 0.0, "observation_count": 0, "last_observation_ts": None}
    assert told[I1, P] == kept | nothing


async def test_identities_are_formed_on_demand_and_strangers_left_out(lite: BaseRepository) -> None:
    assert await lite.identities_of_attackers([A1, "stranger", A1]) == {A1: I1}
    assert await lite.group_of_identity(I1) == [I1]
    await lite.form_identities([A2])
    await lite.merge_identities(I1, I2)
    assert await lite.identities_of_attackers([A1, A2]) == {A1: I1, A2: I1}
    assert await lite.group_of_identity(I1) == sorted([I1, I2])
    assert await lite.group_of_identity(I2) == [I2]
    assert await lite.members_of([I1, I2, "none"]) == {I1: sorted([A1, A2]), I2: [A2], "none": []}


async def test_equal_times_in_two_batches_end_like_one(lite: BaseRepository) -> None:
    def told(n: int, ts: float, value: str, primitive: str) -> Event:
        payload = {"value": value, "attacker_uuid": A1, "evidence_ref": f"r{n}", "ts": ts}
        return Event(f"attacker.observation.{primitive}", payload, ts=ts)

    rows = [(1, 1.0, "a"), (2, 2.0, "a"), (3, 3.0, "a"), (4, 4.0, "b"), (5, 4.0, "a")]
    for row in rows:
        await handle_observation_event(None, lite, told(*row, P))
    for row in rows[::-1]:
        await handle_observation_event(None, lite, told(*row, Q))
    one, other = [await lite.get_attribution_state(I1, primitive) for primitive in (P, Q)]
    assert one is not None
    assert other is not None
    names = (
        "state",
        "current_value",
        "confidence",
        "observation_count",
        "last_change_ts",
        "last_observation_ts",
    )
    assert [one[name] for name in names] == [other[name] for name in names]
    assert (one["state"], one["last_change_ts"]) == ("stable", 3.0)


# --- two engines and one tick ---------------------------------------------------------------------


async def paired(repo: BaseRepository) -> None:
    frame = {"attacker_uuid": A1, "identity_uuid": I1, "rank": "1"}
    await repo.upsert_session_features([{**row, **frame} for row in PAIR])
    await repo.form_identities([A1])


async def test_two_ticks_at_once_tell_an_alert_once(
    either: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease may be lost in the middle of a tick: what has fired is read in the transaction that tells."""
    await paired(either)
    slow, fast = AttributionWorker(), AttributionWorker()
    original = alerts.examine_due

    async def overtaken(repo: BaseRepository) -> set[str]:
        done = await original(repo)
        monkeypatch.setattr(module, "examine_due", original)
        await fast._tick(repo, None)  # type: ignore[arg-type]
        return done

    monkeypatch.setattr(module, "examine_due", overtaken)
    await slow._tick(either, None)  # type: ignore[arg-type]
    assert (slow.alerts, fast.alerts) == (0, 1)
    assert await either.outbox_count() == 1
    assert len(await either.list_alerts()) == 1


async def test_a_tick_needs_its_lease_and_gives_it_back(lite: BaseRepository) -> None:
    await paired(lite)
    worker = AttributionWorker()
    runner = WorkerRunner(worker, lite, None, Settings(), lambda: None)  # type: ignore[arg-type]
    assert await lite.lease_acquire(module.LEASE, "another", 60.0)
    await runner.run_job(worker.jobs[1])
    assert (worker.alerts, await lite.list_alerts()) == (0, [])
    await lite.lease_release(module.LEASE, "another")
    await runner.run_job(worker.jobs[1])
    assert worker.alerts == 1
    assert await lite.lease_acquire(module.LEASE, "another", 60.0), "given back after the run"
