"""The attribution worker's guards without an engine: what it reads, puts off, gives up, tells, and locks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from decnet.attribution import alerts, states
from decnet.attribution import worker as module
from decnet.attribution.link_job import LinkJob
from decnet.attribution.observation_event import ObservationEvent, observation_of
from decnet.attribution.regrouped import composed, follow
from decnet.attribution.since import Look, Since, _since
from decnet.attribution.worker import AttributionWorker
from decnet.bounds import bitten
from decnet.bus.base import Event
from decnet.config import AttributionSettings, BusSettings, Settings
from decnet.db.repository import BaseRepository
from decnet.db.repository.locks import LOCK_MERGES
from decnet.errors import MalformedEvent
from decnet.ids import attacker_id, event_id, identity_id
from decnet.runtime.worker import Transaction, TxBus
from tests.wirekit import taken

P = "cognitive.planning_depth"
HASH = "toolchain.ssh.hassh_client"
A = attacker_id("192.0.2.1")
Row = dict[str, Any]


# --- what is heard --------------------------------------------------------------------------------


def event(
    payload: Row, topic: str = f"attacker.observation.{P}", ts: float = 9.0, ident: str = "e1"
) -> Event:
    return Event(topic, payload, "", ident, ts)


def body(**more: Any) -> Row:
    return {"primitive": P, "value": "deep", "attacker_uuid": A, "evidence_ref": "r1", "ts": 5.0} | more


def test_an_observation_becomes_its_row_field_by_field() -> None:
    found = observation_of(
        event(body(confidence=0.5, session_id="s1", source="x", window={"start_ts": 1.0, "end_ts": 4.0}))
    )
    assert found == ObservationEvent(A, P, 5.0, found.row)
    assert found.row == {
        "evidence_ref": "r1",
        "primitive": P,
        "identity_uuid": identity_id(A),
        "attacker_uuid": A,
        "session_id": "s1",
        "value": "deep",
        "confidence": 0.5,
        "ts": 5.0,
        "window_start": 1.0,
        "window_end": 4.0,
        "source": "x",
    }


def test_the_time_is_the_observations_own_then_its_windows_end_then_the_events() -> None:
    assert observation_of(event(body(ts=None, window={"end_ts": 4.0}))).ts == 4.0
    assert observation_of(event(body(ts=None))).ts == 9.0
    assert observation_of(event(body(ts=True, window="none"))).ts == 9.0, "a truth value is no time"
    assert observation_of(event(body(ts=1e15))).ts == 9.0
    assert observation_of(event(body(ts=-1.0))).ts == 9.0
    assert observation_of(event(body(ts="1970-01-01T00:00:05Z"))).ts == 5.0
    assert observation_of(SimpleNamespace(payload=body())).ts == 5.0, "any object with a payload will do"
    own = observation_of(event(body(evidence_ref="session:s1#behave-1@5000")))
    assert (own.ts, own.row) == (9.0, None), "our extractor keeps its rows itself, and its event says when"


@pytest.mark.parametrize(("confidence", "kept"), [(0, 0.0), (1, 1.0), (0.3, 0.3), (None, 1.0)])
def test_confidences_from_zero_to_one_are_taken(confidence: Any, kept: float) -> None:
    row = observation_of(event(body(confidence=confidence))).row
    assert row is not None
    assert row["confidence"] == kept


@pytest.mark.parametrize(
    "bad",
    [
        event(body(confidence=1.0001)),
        event(body(confidence=-0.0001)),
        event(body(confidence=True)),
        event(body(confidence="1")),
        event(body(value=None)),
        event(body(primitive="another")),
        event(body(primitive=None), topic="attacker.observation."),
        event(body(), topic="attacker.observed"),
        event(body(attacker_uuid=None)),
        event(body(attacker_uuid="", attacker_ip="")),
        event(body(attacker_uuid=7)),
        event(body(evidence_ref=7)),
        {"payload": body(), "topic": "attacker.observed"},
        body(primitive=""),
        body(ts=None),
    ],
)
def test_what_cannot_be_read_says_so(bad: Any) -> None:
    with pytest.raises(MalformedEvent, match=r"\w"):
        observation_of(bad)


def test_an_attacker_is_known_by_the_address_and_a_row_by_its_content() -> None:
    assert observation_of(event(body(attacker_uuid=None, attacker_ip="192.0.2.1"))).attacker_uuid == A
    one, same = (observation_of(event(body(evidence_ref=None))).row for _ in range(2))
    other = observation_of(event(body(evidence_ref=None, value="shallow"))).row
    assert one is not None
    assert same is not None
    assert other is not None
    assert one["evidence_ref"] == same["evidence_ref"] != other["evidence_ref"]
    assert (
        observation_of(
            {"topic": f"attacker.observation.{P}", "payload": body(primitive=None), "ts": 1.0}
        ).primitive
        == P
    )


# --- put off, given up ----------------------------------------------------------------------------


class NobodyKnown:
    """A repository in which no attacker but those given is known."""

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        self.known = dict(known or {})
        self.stored: list[Row] = []

    async def identities_of_attackers(self, attackers: Iterable[str]) -> dict[str, str]:
        return {a: self.known[a] for a in attackers if a in self.known}

    async def lock_identities(self, identities: Iterable[str]) -> bool:
        return False

    async def insert_observations(self, rows: Sequence[Row]) -> list[str]:
        self.stored += rows
        return []


def waiting_worker(now: list[float], wait: float = 3600.0) -> AttributionWorker:
    settings = Settings(attribution=AttributionSettings(observation_wait=wait, multi_actor_tick_secs=60.0))
    return AttributionWorker(settings, clock=lambda: now[0])


async def given(worker: AttributionWorker, repo: Any, *events: Event) -> Transaction:
    tx = Transaction(repo)
    await worker.handle(taken(events), tx)
    return tx


NO_MERGES = {
    "merges_refused": 0, "partings_held": 0, **bitten("groups_too_large"), **LinkJob(Settings()).health(),
}  # fmt: skip


async def test_an_unknown_attacker_is_waited_for_an_hour_and_then_given_up() -> None:
    assert AttributionSettings().observation_wait == 3600.0
    now = [100.0]
    worker, repo, late = waiting_worker(now), NobodyKnown(), event(body(), ts=1.0)
    for passed in (0.0, 1.0, 3599.9):
        now[0] = 100.0 + passed
        tx = await given(worker, repo, late)
        assert (tx.deferred, tx.dead) == ({"e1"}, [])
    unchecked = {"alerts_told": 0, "alerts_checked": False, "next_check_s": 0.0}
    assert worker.health() == {"contradictory": 0, "deferred": 3, "waiting": 1} | unchecked | NO_MERGES
    now[0] = 3700.0
    tx = await given(worker, repo, late)
    assert tx.deferred == set()
    assert [(d.event, d.reason) for d in tx.dead] == [(late, "its attacker stayed unknown for 3600 s")]
    assert worker.health()["deferred"] == 3
    assert repo.stored == []
    tx = await given(worker, repo, late)
    assert (tx.deferred, tx.dead) == ({"e1"}, []), "a dead letter that is tried again is waited for anew"


async def test_the_wait_ends_when_the_attacker_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: Any) -> None:
        """States are somebody else's test."""

    monkeypatch.setattr(module, "recompute", nothing)
    now = [0.0]
    worker, repo = waiting_worker(now, wait=10.0), NobodyKnown()
    await given(worker, repo, event(body()))
    now[0], repo.known = 10.0, {A: identity_id(A)}
    tx = await given(worker, repo, event(body()))
    assert (tx.deferred, tx.dead, len(repo.stored)) == (set(), [], 1)
    repo.known = {}
    assert (await given(worker, repo, event(body()))).deferred == {"e1"}, "and its time starts anew"


async def test_every_event_waits_by_its_own_clock() -> None:
    now = [0.0]
    worker, repo = waiting_worker(now, wait=10.0), NobodyKnown()
    await given(worker, repo, event(body()))
    now[0] = 5.0
    await given(worker, repo, event(body(), ident="e2"))
    now[0] = 10.0
    tx = await given(worker, repo, event(body()), event(body(), ident="e2"))
    assert ([d.event.id for d in tx.dead], tx.deferred) == (["e1"], {"e2"})


async def test_so_many_observations_wait_and_no_more_lest_nothing_else_is_delivered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    now = [0.0]
    worker, repo = waiting_worker(now, wait=10.0), NobodyKnown()
    tx = await given(worker, repo, *(event(body(), ident=f"e{n}") for n in range(3)))
    assert tx.deferred == {"e0", "e1"}
    assert [(d.event.id, d.reason) for d in tx.dead] == [
        ("e2", "its attacker is unknown, and 2 observations wait for theirs already")
    ]
    assert worker.health()["waiting"] == 2
    tx = await given(worker, repo, event(body(), ident="e0"))
    assert (tx.deferred, tx.dead) == ({"e0"}, []), "what waits already goes on waiting"
    now[0] = 10.0
    await given(worker, repo, event(body(), ident="e0"))
    assert (await given(worker, repo, event(body(), ident="e2"))).deferred == {"e2"}, "room again"


def test_half_of_what_a_broker_delivers_without_an_answer_may_wait() -> None:
    assert AttributionWorker(Settings()).room == 10_000
    assert AttributionWorker(Settings(bus=BusSettings(max_ack_pending=9))).room == 4


async def test_what_cannot_be_read_is_a_dead_letter_with_its_reason_and_costs_the_others_nothing() -> None:
    worker = waiting_worker([0.0])
    bad, good = event(body(primitive="other.one"), ident="bad"), event(body(), ident="good")
    tx = await given(worker, NobodyKnown(), bad, good)
    assert [(d.event, d.reason) for d in tx.dead] == [
        (bad, "malformed observation: topic and payload name different primitives")
    ]
    assert tx.deferred == {"good"}
    unchecked = {"alerts_told": 0, "alerts_checked": False, "next_check_s": 60.0}
    assert worker.health() == {"contradictory": 1, "deferred": 1, "waiting": 1} | unchecked | NO_MERGES


async def test_known_and_unknown_attackers_of_one_batch_go_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    async def noted(_repo: Any, _bus: Any, keys: Any, _now: float, *_: Any) -> None:
        asked.append({key: sorted(times) for key, times in keys.items()})

    monkeypatch.setattr(module, "recompute", noted)
    repo = NobodyKnown({A: "winner"})
    batch = [
        event(body(ts=1.0)),
        event(body(ts=2.0, evidence_ref="r2"), ident="e2"),
        event(body(attacker_uuid="x"), ident="e3"),
    ]
    tx = await given(waiting_worker([0.0]), repo, *batch)
    assert asked == [{("winner", P): [1.0, 2.0]}], "the canonical identity of the attacker"
    assert tx.deferred == {"e3"}
    assert [row["evidence_ref"] for row in repo.stored] == ["r1", "r2"]


async def test_identities_are_looked_up_again_once_their_rows_are_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A merge may have come between the look and the lock."""
    seen: list[Any] = []

    class Merging(NobodyKnown):
        async def lock_identities(self, identities: Iterable[str]) -> bool:
            seen.append(set(identities))
            self.known[A] = "winner"
            return True

    async def noted(_repo: Any, _bus: Any, keys: Any, _now: float, *_: Any) -> None:
        seen.append(set(keys))

    monkeypatch.setattr(module, "recompute", noted)
    await given(waiting_worker([0.0]), Merging({A: "before"}), event(body()))
    assert seen == [{"before", identity_id(A)}, {("winner", P)}]


def test_the_tick_runs_under_its_lease_at_the_configured_interval() -> None:
    linking, job = waiting_worker([0.0]).jobs
    assert (linking.name, linking.lease, linking.interval_s, linking.by_data) == ("linking", None, 2.0, True)
    assert (job.name, job.lease, job.interval_s, job.by_data) == (
        "multi-actor",
        "attribution.tick",
        60.0,
        True,
    )
    assert AttributionWorker(Settings(), 0.5).jobs[1].interval_s == 0.5
    assert AttributionWorker(Settings(), 0.0).jobs[1].interval_s == 0.0
    merges = ("identity.merged", "identity.unmerged")
    assert AttributionWorker.topics == ("attacker.observation.>", "attacker.observations", *merges)


@pytest.mark.parametrize("payload", [{}, {"winner_uuid": "w"}, {"winner_uuid": "", "loser_uuid": "l"}, {"winner_uuid": 5, "loser_uuid": "l"}])  # fmt: skip
def test_a_merge_needs_both_names(payload: Row) -> None:
    with pytest.raises(MalformedEvent, match="er_uuid"):
        taken([event(payload, topic="identity.merged")])


# --- states ---------------------------------------------------------------------------------------


def seen(*items: tuple[float, str]) -> list[Row]:
    return [
        {"ts": ts, "value": value, "confidence": 1.0, "evidence_ref": f"r{n}"}
        for n, (ts, value) in enumerate(items)
    ]


def stored(state: str = "stable", last: float | None = 3.0, **more: Any) -> Row:
    row = {"identity_uuid": "i", "primitive": P, "state": state, "last_observation_ts": last, "seq": 2}
    return row | {"last_change_ts": 3.0} | more


class StateRepo:
    """Windows of rows as given; what was asked for and written is kept."""

    def __init__(self, rows: list[Row], old: Row | None = None, total: int | None = None) -> None:
        self.rows, self.old, self.total = rows, old, len(rows) if total is None else total
        self.asked: list[Any] = []
        self.written: list[Row] = []

    async def told_states(self, keys: Any) -> dict[Any, Row]:
        return {key: self.old for key in keys if self.old is not None}

    async def observation_windows(self, wanted: Mapping[Any, tuple[int, float]]) -> dict[Any, Any]:
        self.asked.append(dict(wanted))
        return {
            key: ([r for r in self.rows if r["ts"] <= until][-limit:], self.total)
            for key, (limit, until) in wanted.items()
        }

    async def members_of(self, identities: Iterable[str]) -> dict[str, list[str]]:
        return {identity: [f"a{n:04}" for n in range(501)] for identity in identities}

    async def upsert_attribution_states(self, rows: Sequence[Row]) -> None:
        self.written += rows


async def recomputed(repo: StateRepo, *times: float, primitive: str = P) -> list[Event]:
    bus = TxBus()
    await states.recompute(repo, bus, {("i", primitive): times}, 99.0)  # type: ignore[arg-type]
    return bus.events


AAAA = seen((1.0, "a"), (2.0, "a"), (3.0, "a"), (4.0, "b"), (4.0, "a"))


async def test_an_observation_of_the_same_time_as_the_state_is_late() -> None:
    """Two batches with one time stamp end like one batch: since when a state holds is found again."""
    one = StateRepo(AAAA)
    await recomputed(one, 1.0, 2.0, 3.0, 4.0)
    two = StateRepo(AAAA[:4])
    await recomputed(two, 1.0, 2.0, 3.0, 4.0)
    assert (two.written[0]["state"], two.written[0]["last_change_ts"]) == ("conflicted", 4.0)
    again = StateRepo(AAAA, old=two.written[0])
    told = await recomputed(again, 4.0)
    assert (again.written[0]["state"], again.written[0]["last_change_ts"]) == ("stable", 3.0)
    assert again.written[0]["last_change_ts"] == one.written[0]["last_change_ts"]
    assert [e.payload["seq"] for e in told] == [again.written[0]["seq"]] == [two.written[0]["seq"] + 1]


@pytest.mark.parametrize(
    ("times", "old", "late"),
    [
        ([3.0], stored(), True),
        ([3.1], stored(), False),
        ([2.9, 9.0], stored(), True),
        ([1.0], stored(last=None), False),
        ([1.0], None, False),
    ],
)
def test_late_is_what_is_not_newer(times: list[float], old: Row | None, late: bool) -> None:
    assert states._is_late(times, old) is late


def test_how_much_is_read_and_until_when() -> None:
    key, other = ("i", P), ("i", HASH)
    wanted = states._wanted({key: [5.0, 7.0], other: [1.0]}, {other: stored(last=8.0)}, [])
    assert wanted == {key: (12, 7.0), other: (65, 8.0)}
    assert states._wanted({key: [5.0]}, {}, [key]) == {key: (51, 5.0)}
    assert states._wanted({key: [float(n) for n in range(300)]}, {}, [key]) == {key: (350, 299.0)}


async def test_an_observation_that_is_gone_is_looked_for_with_all_rows() -> None:
    rows = seen((1.0, "a"), (2.0, "a"), (3.0, "a"))
    gone = StateRepo(rows, old=stored(last=9.0))
    await recomputed(gone, 10.0)
    assert [limit for asked in gone.asked for limit, _ in asked.values()] == [11, 200]
    assert gone.written[0]["last_observation_ts"] == 3.0
    there = StateRepo(rows, old=stored(last=3.0))
    await recomputed(there, 10.0)
    assert len(there.asked) == 1


def test_the_number_of_a_state_grows_with_changes_only() -> None:
    steps = states.replayed(("i", P), None, seen(*((float(n), "aaaab"[n]) for n in range(5))), 5, range(5))
    assert [(new["state"], new["seq"], new["last_change_ts"]) for _, new in steps] == [
        ("unknown", 1, 0.0),
        ("unknown", 1, 0.0),
        ("stable", 2, 2.0),
        ("stable", 2, 2.0),
        ("stable", 2, 2.0),
    ]
    assert [new["observation_count"] for _, new in steps] == [1, 2, 3, 4, 5]
    assert [old for old, _ in steps] == [None, *(new for _, new in steps[:-1])]


def test_older_news_is_not_replayed_and_the_newest_is_read_once_more() -> None:
    rows = seen((1.0, "a"), (2.0, "a"), (3.0, "a"))
    assert [
        new["last_observation_ts"] for _, new in states.replayed(("i", P), stored(), rows, 3, [1.0, 3.0])
    ] == [3.0]
    assert [new["last_observation_ts"] for _, new in states.replayed(("i", P), stored(last=2.0), rows, 3, [1.0, 3.0])] == [3.0]  # fmt: skip
    assert states.replayed(("i", P), None, [], 0, [1.0]) == []
    (step,) = states.replayed(("i", P), stored(), rows, 1000, [3.0])
    assert (step[1]["observation_count"], step[1]["seq"]) == (1000, 2), "the count is of all rows"


def test_only_as_many_rows_as_a_merge_reads_decide() -> None:
    rows = seen(*((float(n), "b" if n < 5 else "a") for n in range(15)))
    ((_, new),) = states.replayed(("i", P), None, rows, 15, [14.0])
    assert new["state"] == "stable", "five b before the last ten are forgotten"


def test_since_when_a_state_holds_is_found_in_what_was_read() -> None:
    def since(rows: list[Row], state: str = "stable") -> Since:
        return _since(P, Look(state, rows, 200, 999.0))

    rows = seen(*((float(n), "a") for n in range(199)))
    assert since(rows) == Since(2.0, older=False)
    assert since(seen(*((float(n), "a") for n in range(200)))) == Since(9.0, older=True)
    assert since(rows, "conflicted").older
    changed = seen(*((float(n), "b" if n < 150 else "a") for n in range(200)))
    assert since(changed) == Since(158.0, older=False)


async def test_a_transition_is_told_with_its_number_and_a_bounded_list() -> None:
    rows = seen((1.0, "a"), (2.0, "a"), (3.0, "a"))
    (told,) = await recomputed(StateRepo(rows, old=stored("unknown", last=2.0)), 3.0)
    assert len(told.payload["attacker_uuids"]) == 500
    assert (told.payload["old_state"], told.payload["new_state"], told.payload["seq"]) == (
        "unknown",
        "stable",
        3,
    )
    assert told.id == event_id("attribution", f"i|{P}", 3)
    assert (told.ts, told.payload["ts"], told.type) == (99.0, 99.0, "state_changed")
    assert await recomputed(StateRepo(rows, old=stored("stable", last=2.0)), 3.0) == []
    first = await recomputed(StateRepo(rows[:1]), 1.0)
    assert [e.payload["old_state"] for e in first] == [None]


# --- alerts ---------------------------------------------------------------------------------------


class AlertRepo:
    """Verdicts as given; what was raised, refreshed and closed is kept."""

    def __init__(self, suspects: Mapping[str, Sequence[str]], ignored: Sequence[str] = ()) -> None:
        self.suspects, self.ignored = suspects, set(ignored)
        self.did: list[Any] = []
        self.members = [f"a{n:04}" for n in range(3)]
        self.verdict: Row | None = {
            "families": ["work", "client"],
            "sides": [["s"] * 501, ["t"]],
            "confidence": 0.5,
        }

    async def list_multi_actor_identities(self) -> list[Row]:
        return [{"identity_uuid": k, "primitives": list(v)} for k, v in self.suspects.items()]

    async def close_alerts(self, identities: Sequence[str], by: str) -> int:
        self.did.append(("close", list(identities), by))
        return 0

    async def raise_alert(self, alert: Row) -> Row:
        self.did.append(("raise", alert["identity_uuid"], alert))
        return {**alert, "alert_id": f"al-{alert['identity_uuid']}", "revision": 4}

    async def refresh_alert(self, alert: Row) -> None:
        self.did.append(("refresh", alert["identity_uuid"], alert))

    async def verdict_of(self, identity: str) -> Row | None:
        return self.verdict

    async def attackers_of_identity(self, identity: str) -> list[str]:
        return self.members

    async def ignored_attackers(self, attackers: Sequence[str]) -> set[str]:
        return self.ignored & set(attackers)


async def settled(
    repo: AlertRepo, fired: Mapping[str, Sequence[str]], fresh: Iterable[str] = ()
) -> tuple[Any, list[Event]]:
    bus = TxBus()
    before = {identity: frozenset(names) for identity, names in fired.items()}
    standing = await alerts.settle(bus, repo, before, set(fresh), 77.0)  # type: ignore[arg-type]
    return standing, bus.events


async def test_an_alert_names_two_primitives_at_least() -> None:
    repo = AlertRepo({"i": ["p", "q"], "j": ["p"]})
    standing, told = await settled(repo, {})
    assert standing == {"i": frozenset("pq")}
    assert [e.payload["identity_uuid"] for e in told] == ["i"]
    assert [what for what, *_ in repo.did] == ["raise"]


async def test_an_alert_is_told_once_for_a_set_and_again_for_another() -> None:
    assert (await settled(AlertRepo({"i": "pq"}), {"i": "qp"}))[1] == []
    assert len((await settled(AlertRepo({"i": "pqr"}), {"i": "pq"}))[1]) == 1
    assert len((await settled(AlertRepo({"i": "pq"}), {"i": "pqr"}))[1]) == 1


async def test_below_two_primitives_an_alert_is_closed_and_armed_anew() -> None:
    repo = AlertRepo({"i": ["p"]})
    standing, told = await settled(repo, {"i": "pq", "gone": "pq"})
    assert (standing, told) == ({}, [])
    assert repo.did == [("close", ["gone", "i"], "attribution")]
    assert len((await settled(AlertRepo({"i": "pq"}), standing))[1]) == 1


async def test_new_sessions_of_the_same_set_are_added_in_silence() -> None:
    repo = AlertRepo({"i": "pq", "j": "pq"})
    _, told = await settled(repo, {"i": "pq", "j": "pq"}, fresh=["j"])
    assert told == []
    assert [(what, who) for what, who, _ in repo.did] == [("refresh", "j")]


async def test_an_alert_is_told_unless_all_its_attackers_are_ignored() -> None:
    everyone = ["a0000", "a0001", "a0002"]
    repo = AlertRepo({"i": "pq"}, ignored=everyone)
    assert (await settled(repo, {}))[1] == []
    assert [what for what, *_ in repo.did] == ["raise"], "kept all the same"
    assert len((await settled(AlertRepo({"i": "pq"}, ignored=everyone[:2]), {}))[1]) == 1
    nobody = AlertRepo({"i": "pq"})
    nobody.members = []
    assert len((await settled(nobody, {}))[1]) == 1


async def test_lists_of_an_alert_are_bounded_and_its_event_has_its_revision() -> None:
    repo = AlertRepo({"i": "qp"})
    repo.members = [f"a{n:04}" for n in range(501)]
    _, (told,) = await settled(repo, {})
    assert (len(told.payload["attacker_uuids"]), [len(s) for s in told.payload["sides"]]) == (500, [500, 1])
    assert (told.payload["primitives"], told.payload["families"]) == (["p", "q"], ["client", "work"])
    assert (told.payload["confidence"], told.payload["ts"], told.ts) == (0.5, 77.0, 77.0)
    assert told.id == event_id("attribution.alert", "al-i", 4)
    assert told.payload["evidence_summary"].startswith(
        "2 primitives flagged multi_actor: several operators, or one"
    )
    repo.verdict = None
    _, (bare,) = await settled(repo, {})
    assert (bare.payload["confidence"], bare.payload["sides"]) == (0.0, [])


class DueRepo:
    """Identities that stay due; every look and every verdict is kept."""

    def __init__(self, portions: list[list[tuple[str, str, int]]]) -> None:
        self.portions = portions
        self.kept: list[Any] = []
        self.limits: list[Any] = []

    async def due_identities(self, limit: int) -> list[tuple[str, str, int]]:
        self.limits.append(limit)
        return self.portions.pop(0) if self.portions else []

    async def session_features(self, identity: str, limit: int) -> list[Row]:
        self.limits.append(limit)
        return [{"session_id": "s", "ended_at": 8.0}] if identity != "none" else []

    async def store_verdicts(self, verdicts: Sequence[Row], marks: Sequence[tuple[str, int]]) -> None:
        self.kept.append(([(v["identity_uuid"], v["verdict"]["ts"]) for v in verdicts], list(marks)))


async def test_merged_identities_are_examined_once_as_their_canonical_one() -> None:
    repo = DueRepo([[("l", "w", 3), ("w", "w", 5), ("none", "none", 1)]])
    assert await alerts.examine_due(repo) == {"w", "none"}  # type: ignore[arg-type]
    assert repo.kept == [([("none", None), ("w", 8.0)], [("l", 3), ("w", 5), ("none", 1)])]
    assert repo.limits == [50, 64, 64, 50]


async def test_a_tick_ends_though_sessions_come_faster_than_they_are_looked_at() -> None:
    always = [[("i", "i", n)] for n in range(9)]
    repo = DueRepo(always)
    assert await alerts.examine_due(repo) == {"i"}  # type: ignore[arg-type]
    assert len(repo.kept) == 2, "the next tick goes on"
    other = DueRepo([[("i", "i", 1)], [("j", "j", 1)], [("j", "j", 2)], [("j", "j", 3)]])
    assert await alerts.examine_due(other) == {"i", "j"}  # type: ignore[arg-type]
    assert len(other.kept) == 3


# --- row locks ------------------------------------------------------------------------------------


class Recording:
    """A session that keeps what it is asked to execute."""

    def __init__(self) -> None:
        self.did: list[tuple[str, Any]] = []

    async def execute(self, statement: Any, values: Any = None) -> Any:
        from sqlalchemy.dialects import postgresql

        compiled = statement.compile(
            dialect=postgresql.dialect(), compile_kwargs={"render_postcompile": True}
        )
        self.did.append((str(compiled), values if values is not None else list(compiled.params.values())))


def bound_to(dialect: str) -> tuple[BaseRepository, Recording]:
    session = Recording()
    return BaseRepository(SimpleNamespace(dialect=dialect), session), session  # type: ignore[arg-type]


async def test_identity_rows_are_held_in_order_on_postgresql_and_not_on_sqlite() -> None:
    repo, session = bound_to("postgresql")
    assert await repo.lock_identities(["c", "a", "b", "a"]) is True
    (share, held), (statement, values) = session.did
    assert share.startswith("SELECT pg_advisory_xact_lock_shared(")
    assert list(held.values()) == [LOCK_MERGES], "no merge holds rows meanwhile"
    assert statement.rstrip().endswith("ORDER BY identity.identity_uuid FOR UPDATE")
    assert values == ["a", "b", "c"]
    repo, session = bound_to("sqlite")
    assert await repo.lock_identities(["a"]) is False
    assert session.did == []


async def test_many_identities_are_held_in_sorted_portions() -> None:
    repo, session = bound_to("postgresql")
    await repo.lock_identities(f"i{n:04}" for n in reversed(range(501)))
    portions = [values for _, values in session.did[1:]]
    assert portions == [[f"i{n:04}" for n in range(500)], ["i0500"]]


async def test_attackers_are_locked_in_one_order_by_everyone() -> None:
    held = []
    for order in (["a", "b", "c"], ["c", "b", "a", "a"]):
        repo, session = bound_to("postgresql")
        await repo.lock_attackers(order)
        held.append([values["key"] for _, values in session.did])
        assert all("pg_advisory_xact_lock" in statement for statement, _ in session.did)
    assert held[0] == held[1] == sorted(held[0])
    assert len(set(held[0])) == 3
    repo, session = bound_to("sqlite")
    await repo.lock_attackers(["a"])
    assert session.did == []


# --- merges ---------------------------------------------------------------------------------------


class MergeRepo(StateRepo):
    """Two identities that became one; the order of what is done to them is kept."""

    def __init__(self) -> None:
        super().__init__(seen((1.0, "a"), (2.0, "a"), (3.0, "a")), old=stored("unknown", seq=2, last=2.0))
        self.did: list[Any] = []

    async def canonical_identities(self, identities: Iterable[str]) -> dict[str, str]:
        self.did.append(("names", sorted(identities)))
        return dict.fromkeys(identities, "i")

    async def lock_identities(self, identities: Iterable[str]) -> bool:
        self.did.append(("lock", list(identities)))
        return True

    async def states_of_identities(self, identities: Iterable[str]) -> list[Row]:
        self.did.append(("read", sorted(identities)))
        return [stored(seq=2, last=2.0), stored(seq=5, identity_uuid="l")]

    async def put_aside_states(self, keys: Iterable[Any]) -> None:
        self.did.append(("aside", sorted(keys)))

    def __getattr__(self, name: str) -> Any:
        async def noted(*args: Any) -> None:
            self.did.append((name, *args))

        return noted


async def test_what_follows_a_merge_holds_the_identities_before_it_reads_and_forgets_the_losers() -> None:
    repo, bus = MergeRepo(), TxBus()
    await follow(repo, bus, {"l": ("l", "i")})  # type: ignore[arg-type]
    assert repo.did == [
        ("lock", ["i", "l"]),
        ("names", ["i", "l"]),
        ("read", ["i", "l"]),
        ("aside", [("l", P)]),
        ("aside", []),
        ("drop_evidence", ["l"]),
        ("close_alerts", ["l"], "attribution"),
        ("mark_due", ["i"]),
    ]
    assert [(row["identity_uuid"], row["seq"], row["last_observation_ts"]) for row in repo.written] == [
        ("i", 3, 3.0)
    ]
    assert [event.payload["seq"] for event in bus.events] == [3]


def test_changes_one_after_the_other_are_one_change() -> None:
    assert composed([{"a": ("a", "b"), "c": ("c", "d")}, {"a": ("b", "e")}, {"c": ("d", "c")}]) == {
        "a": ("a", "e")
    }


# --- one tick -------------------------------------------------------------------------------------


async def test_what_a_tick_tells_is_in_the_outbox_of_its_transaction_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class TickRepo(AlertRepo):
        async def due_identities(self, limit: int) -> list[Any]:
            return []

        async def standing_alerts(self) -> list[Row]:
            return [
                {"identity_uuid": "j", "primitives": ["p", "q"]},
                {"identity_uuid": "k", "primitives": None},
            ]

        @asynccontextmanager
        async def transaction(self) -> AsyncIterator[TickRepo]:
            self.did.append("begin")
            yield self
            self.did.append("commit")

        async def outbox_add_many(self, events: Sequence[Event]) -> None:
            self.did.append(("outbox", [e.payload["identity_uuid"] for e in events]))

    monkeypatch.setattr(module, "_now", lambda: 5.0)
    repo, worker = TickRepo({"i": "pq", "j": "pq"}), waiting_worker([0.0])
    await worker._tick(repo, None)  # type: ignore[arg-type]
    assert [d if isinstance(d, str) else d[:2] for d in repo.did] == [
        "begin",
        ("close", ["k"]),
        ("raise", "i"),
        ("outbox", ["i"]),
        "commit",
    ]
    assert worker.health()["alerts_told"] == 1
