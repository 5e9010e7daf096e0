"""The attribution worker on both databases: states, merges, alerts; any order and number of deliveries."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from decnet.attribution import alerts as alerts_module
from decnet.attribution import worker as module
from decnet.attribution.worker import (
    AttributionWorker,
    handle_observation_event,
    run_attribution_loop,
    tick_multi_actor,
)
from decnet.bus.base import Event
from decnet.bus.factory import get_bus
from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.ids import attacker_id, identity_id
from decnet.runtime.worker import Transaction, TxBus
from tests.dbkit import KINDS, open_repo
from tests.simulator.pairs import pair_history
from tests.wirekit import taken

IPS = ("192.0.2.1", "192.0.2.2")
A1, A2 = map(attacker_id, IPS)
I1, I2 = identity_id(A1), identity_id(A2)
P, Q = "cognitive.planning_depth", "operational.objective"
Row = dict[str, Any]


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
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


def observed(n: int, value: Any, primitive: str = P, attacker: str = A1, **more: Any) -> Event:
    payload = {"primitive": primitive, "value": value, "confidence": 1.0, "attacker_uuid": attacker}
    payload |= {
        "evidence_ref": f"r{n:03}",
        "session_id": f"s{n}",
        "window": {"start_ts": n - 1.0, "end_ts": float(n)},
    }
    return Event(
        f"attacker.observation.{primitive}", payload | more, "", f"e{n}{primitive}{attacker}{value}", float(n)
    )


async def deliver(repo: BaseRepository, batches: Iterable[Sequence[Event]]) -> list[Event]:
    """Batches through the worker, each in its transaction; what it told."""
    worker, told = AttributionWorker(), []
    for batch in batches:
        async with repo.transaction() as bound:
            tx = Transaction(bound)
            await worker.handle(taken(batch), tx)
        told += tx.bus.events
    return told


async def state(repo: BaseRepository, identity: str = I1, primitive: str = P) -> Row:
    row = await repo.get_attribution_state(identity, primitive)
    assert row is not None
    return row


async def test_every_transition_is_told_once_the_first_row_included(lite: BaseRepository) -> None:
    batches = [[observed(n, value)] for n, value in enumerate("aaaaabbbbb", start=1)]
    told = await deliver(lite, batches)
    steps = [(e.payload["old_state"], e.payload["new_state"], e.payload["seq"]) for e in told]
    names = [None, "unknown", "stable", "conflicted", "stable", "drifting"]
    assert steps == [(old, new, seq) for seq, (old, new) in enumerate(pairwise(names), start=1)]
    body = told[0].payload
    assert told[0].topic == "attribution.profile.state_changed"
    assert body["identity_uuid"] == I1
    assert body["attacker_uuids"] == [A1]
    assert {"primitive", "current_value", "confidence", "observation_count", "ts"} <= body.keys()
    assert await deliver(lite, batches) == []
    row = await state(lite)
    assert (row["state"], row["observation_count"], row["last_observation_ts"]) == ("drifting", 10, 10.0)


async def test_the_time_of_change_stays_while_the_state_stays(lite: BaseRepository) -> None:
    await deliver(lite, [[observed(n, "a")] for n in range(1, 9)])
    row = await state(lite)
    assert (row["state"], row["last_change_ts"], row["last_observation_ts"]) == ("stable", 3.0, 8.0)


async def test_one_batch_tells_the_same_as_many(repo: BaseRepository) -> None:
    values = list(enumerate("aaababbaaaaaabbb", start=1))
    await deliver(repo, [[observed(n, value)] for n, value in values])
    await deliver(repo, [[observed(n, value, Q) for n, value in values]])
    one, other = await state(repo), await state(repo, primitive=Q)
    assert {k: v for k, v in one.items() if k != "primitive"} == {
        k: v for k, v in other.items() if k != "primitive"
    }


def together(*events: Event) -> Event:
    """Observations of one session in one event, as our own extractor tells them."""
    items = []
    for event in events:
        whole = {k: v for k, v in event.payload.items() if k not in ("attacker_uuid", "session_id")}
        items.append(whole | {"id": event.id, "ts": event.ts})
    who = {name: events[0].payload[name] for name in ("attacker_uuid", "session_id")}
    told = {**who, "observations": items}
    return Event("attacker.observations", told, "", f"all-{events[0].id}", events[-1].ts)


async def test_told_together_observations_say_what_they_say_one_by_one(repo: BaseRepository) -> None:
    values = list(enumerate("aaababbaaa", start=1))
    alone = [[observed(n, value, p) for p in (P, Q)] for n, value in values]
    whole = [
        [together(*(observed(n, value, p, A2, evidence_ref=f"q{n:03}") for p in (P, Q)))]
        for n, value in values
    ]
    told, again = await deliver(repo, alone), await deliver(repo, whole)
    assert await deliver(repo, whole) == []
    for p in (P, Q):
        one, other = await state(repo, I1, p), await state(repo, I2, p)
        assert {**one, "identity_uuid": ""} == {**other, "identity_uuid": ""}
    assert len(told) == len(again) > 2


async def test_together_they_wait_for_their_attacker_and_count_once(lite: BaseRepository) -> None:
    stranger = attacker_id("192.0.2.77")
    worker, event = AttributionWorker(), together(*(observed(1, "a", p, stranger) for p in (P, Q)))
    async with lite.transaction() as bound:
        tx = Transaction(bound)
        await worker.handle(taken([event]), tx)
    assert tx.deferred == {event.id}
    assert worker.health()["waiting"] == 1


STEPS = list(enumerate("aabababbbaabaaab", start=1))


_expected: list[list[Row]] = []
_template: list[bytes] = []


async def played(batches: list[list[Event]]) -> tuple[list[Row], list[Event]]:
    """The states after some batches on a fresh database, and what was told; the first batch again tells nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "d.sqlite"
        if _template:
            path.write_bytes(_template[0])
        repo = await BaseRepository.open(f"sqlite:///{path}")
        try:
            for uuid, ip in zip((A1, A2), IPS, strict=True):
                await repo.upsert_attacker(uuid, ip, 1.0)
            told = await deliver(repo, batches)
            rows = await repo.states_of_identities([I1, I2])
            assert await deliver(repo, batches[:1]) == []
        finally:
            await repo.close()
    return sorted(rows, key=lambda row: (row["identity_uuid"], row["primitive"])), told


async def test_a_template_saves_the_migrations(tmp_path: Path) -> None:
    await (await BaseRepository.open(f"sqlite:///{tmp_path / 't.sqlite'}")).close()
    _template.append((tmp_path / "t.sqlite").read_bytes())
    assert not (tmp_path / "t.sqlite-wal").exists()


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False), st.integers(3, 12))
def test_order_and_number_of_deliveries_do_not_matter(dice: random.Random, size: int) -> None:
    history = [observed(n, v, attacker=(A1, A2)[n % 2]) for n, v in STEPS] + [
        observed(n, v, Q) for n, v in STEPS
    ]
    history.append(Event("identity.merged", {"winner_uuid": I2, "loser_uuid": I1}, "", "m", 9.0))
    again = dice.sample(history, len(history)) + dice.choices(history, k=8)
    pieces = [again[i : i + size] for i in range(0, len(again), size)]

    found, told = asyncio.run(played(pieces))
    if not _expected:
        _expected.append(asyncio.run(played([history]))[0])
    expected = _expected[0]
    drop = ("seq",)
    assert [{k: v for k, v in r.items() if k not in drop} for r in found] == [
        {k: v for k, v in r.items() if k not in drop} for r in expected
    ]
    assert {row["identity_uuid"] for row in found} == {I2}
    seen: dict[tuple[str, str], int] = {}
    for event in told:
        key = (event.payload["identity_uuid"], event.payload["primitive"])
        assert event.payload["seq"] > seen.get(key, 0), "a number that does not grow"
        seen[key] = event.payload["seq"]


async def test_a_merge_makes_the_winner_from_the_union(repo: BaseRepository) -> None:
    await deliver(
        repo, [[observed(n, "a") for n in range(1, 6)], [observed(n, "b", attacker=A2) for n in range(6, 11)]]
    )
    assert (await state(repo, I1))["current_value"] == "a"
    told = await deliver(
        repo, [[Event("identity.merged", {"winner_uuid": I2, "loser_uuid": I1}, "", "m", 11.0)]]
    )
    row = await state(repo, I2)
    assert (row["state"], row["current_value"], row["observation_count"]) == ("drifting", "b", 10)
    assert await repo.get_attribution_state(I1, P) is None
    assert [(e.payload["old_state"], e.payload["new_state"]) for e in told] == [("stable", "drifting")]
    assert told[0].payload["attacker_uuids"] == sorted([A1, A2])
    await deliver(repo, [[observed(11, "b", attacker=A1)]])
    assert (await state(repo, I2))["observation_count"] == 11


async def test_an_unknown_attacker_is_deferred_and_nothing_is_written(repo: BaseRepository) -> None:
    stranger = attacker_id("198.51.100.9")
    with capture_logs() as said:
        async with repo.transaction() as bound:
            tx = Transaction(bound)
            late, known = observed(2, "a", attacker=stranger), observed(1, "a")
            await AttributionWorker().handle(taken([late, known]), tx)
    assert tx.deferred == {late.id}
    assert tx.dead == []
    assert any("deferring" in line["event"] and line["log_level"] == "info" for line in said)
    assert await repo.get_attribution_state(identity_id(stranger), P) is None
    assert await handle_observation_event(None, repo, late) is False
    await repo.upsert_attacker(stranger, "198.51.100.9", 1.0)
    assert await handle_observation_event(None, repo, late) is True
    assert (await state(repo, identity_id(stranger)))["state"] == "unknown"


@pytest.mark.parametrize(
    "bad",
    [
        Event("attacker.observation.x.y", {"primitive": "x.z", "value": 1, "attacker_uuid": A1, "ts": 1.0}),
        Event("attacker.observation.x.y", {"value": 1, "ts": 1.0}),
        Event("attacker.observation.x.y", {"value": None, "attacker_uuid": A1}),
        Event("attacker.observation.x.y", {"value": 1, "attacker_uuid": A1, "confidence": 7}),
        Event("attacker.observed", {"primitive": "x", "value": 1, "attacker_uuid": A1}),
        {"value": 1, "attacker_uuid": A1, "ts": 1.0},
        {"primitive": "x", "value": 1, "attacker_uuid": A1},
        {},
    ],
)
async def test_what_cannot_be_read_is_skipped(lite: BaseRepository, bad: Any) -> None:
    with capture_logs() as said:
        assert await handle_observation_event(None, lite, bad) is False
    assert [(line["event"], line["log_level"]) for line in said] == [
        ("malformed observation skipped", "debug")
    ]


async def test_the_primitive_of_the_topic_counts_and_a_plain_payload_names_its_own(
    lite: BaseRepository,
) -> None:
    payload = {"value": "deep", "attacker_uuid": A1, "ts": 5.0}
    assert await handle_observation_event(None, lite, Event(f"attacker.observation.{P}", payload))
    assert await handle_observation_event(None, lite, {**payload, "primitive": Q})
    assert await handle_observation_event(None, lite, {**payload, "primitive": Q})
    assert (await state(lite))["last_observation_ts"] == 5.0
    assert (await state(lite, primitive=Q))["observation_count"] == 1


async def test_hostile_values_are_kept_and_do_no_harm(repo: BaseRepository) -> None:
    hostile = "a\x00b\ud800c\x1b[2J'; DROP TABLE observation;--"
    for n, value in enumerate((hostile, {"k": [hostile]}, 10**40, hostile)):
        assert await handle_observation_event(None, repo, observed(n, value, hostile))
    rows = await repo.states_of_identities([I1])
    assert len(rows) == 1
    assert rows[0]["observation_count"] == 4


async def test_a_row_that_our_extractor_replaced_is_not_brought_back(lite: BaseRepository) -> None:
    event = observed(3, "a", evidence_ref="session:s3#behave-1@3000")
    await deliver(lite, [[event]])
    assert await lite.get_attribution_state(I1, P) is None
    await lite.insert_observations([{**event.payload, "ts": 3.0}])
    await deliver(lite, [[event]])
    assert (await state(lite))["observation_count"] == 1


async def test_a_summary_that_moves_leaves_no_trace_of_where_it_was(lite: BaseRepository) -> None:
    """As if only its last form had been heard, whether its value is another one or not."""
    refs = {f"attacker:{A1}#behave-1/2026-11-0{day}": day for day in range(1, 5)}
    for ref, day in refs.items():
        for hour, value in ((3, "b" if day == 4 else "a"), (9, "a")):
            row = {"evidence_ref": ref, "primitive": P, "attacker_uuid": A1, "value": value}
            row |= {"identity_uuid": I1, "session_id": None, "confidence": 1.0, "source": "behave"}
            ts = day * 24.0 + hour
            row |= {"ts": ts, "window_start": 0.0, "window_end": ts}
            await lite.replace_observations([row], refs=[ref], sessions=(), source="behave")
            await deliver(lite, [[observed(int(ts), value, evidence_ref=ref)]])
        found = await state(lite)
        assert found["last_change_ts"] == (33.0 if day < 3 else 81.0)
        assert found["observation_count"] == day


async def test_reads_are_bounded(lite: BaseRepository) -> None:
    rows = [
        {"evidence_ref": f"r{n:05}", "primitive": P, "attacker_uuid": A1, "value": "a", "ts": float(n)}
        for n in range(1500)
    ]
    await lite.insert_observations(rows)
    await lite.form_identities([A1])
    found = await lite.observations_for_identity_primitive(I1, P)
    assert [row["ts"] for row in found] == [float(n) for n in range(1490, 1500)]
    assert [row["ts"] for row in await lite.observations_for_identity_primitive(I1, P, 2, until=7.5)] == [
        6.0,
        7.0,
    ]
    await deliver(lite, [[observed(2000, "a")]])
    assert (await state(lite))["observation_count"] == 1000, "counted up to the bound"


async def test_twenty_first_observations_make_one_identity(repo: BaseRepository) -> None:
    others = [
        BaseRepository(type(repo.db)(repo.db.url.render_as_string(hide_password=False))) for _ in range(3)
    ]
    await asyncio.gather(*(other.db.open() for other in others))
    try:
        crowd = [repo, *others]
        events = [observed(n, "a") for n in range(20)]
        assert all(
            await asyncio.gather(
                *(handle_observation_event(None, crowd[n % 4], e) for n, e in enumerate(events))
            )
        )
    finally:
        await asyncio.gather(*(other.close() for other in others))
    assert [row["identity_uuid"] for row in await repo.list_identities()] == [I1]
    row = await state(repo)
    assert (row["state"], row["observation_count"], row["last_observation_ts"]) == ("stable", 20, 19.0)


# --- alerts ---------------------------------------------------------------------------------------


async def store(repo: BaseRepository, rows: Sequence[Row], attacker: str = A1, rank: str = "1") -> None:
    frame = {"attacker_uuid": attacker, "identity_uuid": identity_id(attacker), "rank": rank}
    await repo.upsert_session_features([{**row, **frame} for row in rows])
    await repo.form_identities([attacker])


PAST = pair_history(("client", "account", "work"), "in turn", 4)
PAIR = PAST.rows


async def test_an_alert_is_told_once_and_closed_when_its_evidence_goes(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_now", lambda: 1234.5)
    out = TxBus()
    fired: dict[str, frozenset[str]] = {}
    await store(repo, PAIR)
    assert await tick_multi_actor(out, repo, fired) == 1
    assert await tick_multi_actor(out, repo, fired) == 0
    (event,) = out.events
    assert event.topic == "attribution.profile.multi_actor_suspected"
    body = event.payload
    assert body["identity_uuid"] == I1
    assert body["ts"] == 1234.5
    assert body["primitives"] == sorted(fired[I1])
    assert body["evidence_summary"].startswith(f"{len(fired[I1])} primitives flagged multi_actor")
    assert body["confidence"] <= 0.6
    assert sum(map(len, body["sides"])) == len(PAIR)
    assert body["cannot_tell"]
    (row,) = await repo.list_alerts()
    assert (row["state"], row["alert_id"], row["standing"]) == ("open", body["alert_id"], True)
    assert sorted(s for side in row["sides"] for s in side) == sorted(r["session_id"] for r in PAIR)

    await store(
        repo, [{**row, **SAME, "playbook": None, "tempo": None, "habit": None} for row in PAIR], rank="2"
    )
    assert await tick_multi_actor(out, repo, fired) == 0
    assert fired == {}
    (row,) = await repo.list_alerts()
    assert (row["state"], row["resolved_by"], row["standing"]) == ("resolved", "attribution", False)

    await store(repo, PAIR, rank="3")
    assert await tick_multi_actor(out, repo, fired) == 1, "armed again"
    assert [row["state"] for row in await repo.list_alerts()].count("open") == 1
    assert len(await repo.list_alerts()) == 2


SAME = {"client": {"session.client": "x"}, "credentials": {"session.account": "x"}}


async def test_another_set_of_primitives_is_told_again_on_the_same_alert(lite: BaseRepository) -> None:
    out = TxBus()
    fired: dict[str, frozenset[str]] = {}
    await store(lite, [{**row, "playbook": None, "tempo": None, "habit": None} for row in PAIR])
    assert await tick_multi_actor(out, lite, fired) == 1
    alert = (await lite.list_alerts())[0]["alert_id"]
    await lite.set_alert_state(alert, "acknowledged", "op")
    await store(lite, PAIR, rank="2")
    assert await tick_multi_actor(out, lite, fired) == 1
    (row,) = await lite.list_alerts()
    assert (row["alert_id"], row["state"], row["revision"]) == (alert, "open", 2)
    assert len(out.events[1].payload["primitives"]) > len(out.events[0].payload["primitives"])
    assert len({e.id for e in out.events}) == 2


async def test_the_alert_of_an_ignored_source_is_kept_and_told_to_nobody(lite: BaseRepository) -> None:
    out = TxBus()
    await lite.ignore_add(IPS[0])
    await store(lite, PAIR)
    assert await tick_multi_actor(out, lite, {}) == 0
    assert out.events == []
    assert await lite.list_alerts() == []
    assert len(await lite.list_alerts(ignored=True)) == 1


async def test_a_restart_repeats_nothing(lite: BaseRepository) -> None:
    await store(lite, PAIR)
    for _ in range(3):
        await AttributionWorker()._tick(lite, None)  # type: ignore[arg-type]
    waiting = [event.opened() for _, event in await lite.outbox_take(10)]
    assert [event.topic for event in waiting] == ["attribution.profile.multi_actor_suspected"]
    alert = (await lite.list_alerts())[0]["alert_id"]
    await lite.set_alert_state(alert, "resolved", "op")
    await lite.mark_due([I1])
    await AttributionWorker()._tick(lite, None)  # type: ignore[arg-type]
    assert await lite.outbox_count() == 1, "what an operator resolved stays so while the evidence is the same"
    (row,) = await lite.list_alerts()
    assert (row["state"], row["resolved_by"]) == ("resolved", "op")


async def test_new_sessions_are_added_to_a_standing_alert_in_silence(lite: BaseRepository) -> None:
    out = TxBus()
    fired: dict[str, frozenset[str]] = {}
    await store(lite, PAIR[:16])
    assert await tick_multi_actor(out, lite, fired) == 1
    alert = (await lite.list_alerts())[0]["alert_id"]
    await lite.set_alert_state(alert, "acknowledged", "op")
    await store(lite, PAIR[16:18])
    told = await tick_multi_actor(out, lite, fired)
    (row,) = await lite.list_alerts()
    assert sum(map(len, row["sides"])) == 18
    assert row["state"] == ("open" if told else "acknowledged")


async def test_the_hints_of_mergers_alone_raise_nothing(lite: BaseRepository) -> None:
    for primitive in (P, Q):
        await deliver(lite, [[observed(n, v, primitive) for n, v in enumerate("ababa")]])
        assert (await state(lite, primitive=primitive))["state"] == "multi_actor"
    assert await tick_multi_actor(None, lite, {}) == 0
    assert await lite.list_multi_actor_identities() == []


async def test_a_merge_moves_the_question_to_the_winner(lite: BaseRepository) -> None:
    out = TxBus()
    fired: dict[str, frozenset[str]] = {}
    for attacker, side in ((A1, 0), (A2, 1)):
        await store(lite, [row for row, who in zip(PAIR, PAST.truth, strict=True) if who == side], attacker)
    assert await tick_multi_actor(out, lite, fired) == 0
    await deliver(lite, [[Event("identity.merged", {"winner_uuid": I1, "loser_uuid": I2}, "", "m", 1.0)]])
    assert await tick_multi_actor(out, lite, fired) == 1
    assert out.events[0].payload["identity_uuid"] == I1
    assert out.events[0].payload["attacker_uuids"] == sorted([A1, A2])


async def test_the_order_of_sessions_does_not_matter_for_the_alert(
    lite: BaseRepository, tmp_path: Path
) -> None:
    fired: dict[str, frozenset[str]] = {}
    for part in (PAIR[10:], PAIR[:4], PAIR[4:10], PAIR[:10]):
        await store(lite, part)
        await tick_multi_actor(None, lite, fired)
    (found,) = await lite.list_alerts()
    async with open_repo("sqlite", tmp_path) as other:
        await other.upsert_attacker(A1, IPS[0], 1.0)
        await store(other, PAIR)
        await tick_multi_actor(None, other, {})
        (expected,) = await other.list_alerts()
    for name in ("identity_uuid", "primitives", "families", "sides", "confidence", "ts", "state"):
        assert found[name] == expected[name], name


async def test_sessions_of_attackers_nobody_knows_wait(lite: BaseRepository) -> None:
    frame = {"attacker_uuid": "later", "identity_uuid": identity_id("later"), "rank": "1"}
    await lite.upsert_session_features([{**row, **frame} for row in PAIR])
    assert await tick_multi_actor(None, lite, {}) == 0
    await lite.upsert_attacker("later", "203.0.113.1", 1.0)
    await lite.form_identities(["later"])
    assert await tick_multi_actor(None, lite, {}) == 1


async def test_many_identities_are_looked_at_in_portions(
    lite: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts_module, "AT_ONCE", 3)
    for n in range(8):
        uuid = attacker_id(f"203.0.113.{n}")
        await lite.upsert_attacker(uuid, f"203.0.113.{n}", 1.0)
        await store(lite, [{**row, "session_id": f"{n}-{row['session_id']}"} for row in PAIR], uuid)
    assert await tick_multi_actor(None, lite, {}) == 8
    assert await lite.due_identities(10) == []


async def test_acknowledge_and_resolve(lite: BaseRepository) -> None:
    await store(lite, PAIR)
    await tick_multi_actor(None, lite, {})
    alert = (await lite.list_alerts(attacker=IPS[0], session=PAIR[0]["session_id"], state="open"))[0][
        "alert_id"
    ]
    row = await lite.set_alert_state(alert, "acknowledged", "ann")
    assert row is not None
    assert (row["state"], row["acknowledged_by"]) == ("acknowledged", "ann")
    assert row["acknowledged_at"] is not None
    row = await lite.set_alert_state(alert, "resolved", "bob")
    assert row is not None
    assert (row["state"], row["resolved_by"], row["acknowledged_by"]) == ("resolved", "bob", "ann")
    with pytest.raises(ValueError, match="resolved already"):
        await lite.set_alert_state(alert, "acknowledged", "ann")
    row = await lite.set_alert_state(alert, "open", "ann")
    assert row is not None
    assert (row["state"], row["acknowledged_by"], row["resolved_by"]) == ("open", None, None)
    assert await lite.set_alert_state("none", "resolved", "ann") is None
    assert await lite.list_alerts(attacker=IPS[1]) == []


async def test_the_loop_runs_alone_and_ends_clean(
    lite: BaseRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = get_bus(module.CLIENT_NAME, Settings(data_dir=tmp_path, bus_type="memory"))
    await bus.connect()
    assert bus.client_name == "attribution-correlator"
    shutdown = asyncio.Event()
    with capture_logs() as said:
        loop = asyncio.create_task(
            run_attribution_loop(lite, shutdown=shutdown, multi_actor_tick_secs=0.05, bus=bus), name="loop"
        )
        async with bus.subscribe("attribution.>") as news:
            await store(lite, PAIR)
            await bus.publish(f"attacker.observation.{P}", observed(1, "a").payload)
            topics = {(await asyncio.wait_for(anext(aiter(news)), 20)).topic for _ in range(2)}
        shutdown.set()
        await asyncio.wait_for(loop, 20)
    assert topics == {"attribution.profile.state_changed", "attribution.profile.multi_actor_suspected"}
    assert any(line["event"] == "attribution worker started pattern=attacker.observation.>" for line in said)
    running = asyncio.Event()
    original = AttributionWorker.start

    async def noted(self: AttributionWorker, *args: Any) -> None:
        await original(self, *args)
        running.set()

    monkeypatch.setattr(AttributionWorker, "start", noted)
    cancelled = asyncio.create_task(run_attribution_loop(lite, bus=bus), name="cancelled")
    await asyncio.wait_for(running.wait(), 20)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await bus.close()
