"""The recorder without a database: what a batch becomes, what is refused, scores at their borders, the bus away."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.config import load_settings
from decnet.db.repository.ignored import IgnoreSet
from decnet.db.repository.runtime.due import widened
from decnet.errors import BusUnavailable, DatabaseError
from decnet.events.session import SessionEnded
from decnet.ids import attacker_id, event_id, identity_id
from decnet.recorder import plan
from decnet.recorder import worker as recorder_worker
from decnet.recorder.derive import level
from decnet.recorder.plan import plan_of
from decnet.recorder.scores import PARTS, crossed, score
from decnet.recorder.worker import RecorderWorker, copy_recordings
from decnet.runtime.worker import Transaction
from tests.wirekit import taken

IP = "192.0.2.1"
A = attacker_id(IP)
T = 1000.0


def at(ts: float) -> datetime:
    return datetime.fromtimestamp(ts, UTC)


def ended(**more: Any) -> Event:
    payload = {"session_id": "s", "attacker_ip": IP, "started_at": 10.0, "ended_at": 20.0}
    return Event("attacker.session.ended", {**payload, **more}, "", "e", T)


def test_a_threshold_is_reached_at_its_very_value() -> None:
    steps: dict[float, list[float]] = {
        0.0: [], 24.9: [], 25.0: [25.0], 25.1: [25.0], 49.9: [25.0], 50.0: [25.0, 50.0], 50.1: [25.0, 50.0],
        74.9: [25.0, 50.0], 75.0: [25.0, 50.0, 75.0], 100.0: [25.0, 50.0, 75.0],
    }  # fmt: skip
    for value, wanted in steps.items():
        assert crossed(value, (75.0, 25.0, 50.0)) == wanted, value
    assert crossed(25.0, ()) == []
    assert load_settings().recorder.score_thresholds == (25.0, 50.0, 75.0)


def test_a_score_is_full_at_the_stated_numbers_and_never_beyond() -> None:
    full = {name: number for name, (_, number) in PARTS.items()}
    assert score(full) == score({name: 10 * number for name, number in full.items()}) == 100.0
    assert score({}) == score(dict.fromkeys(full, 0)) == score(dict.fromkeys(full, -5)) == 0.0
    for name, (points, number) in PARTS.items():
        assert score({name: number}) == score({name: number + 1}) == points
        assert 0 < score({name: 1}) < score({name: number - 1}) <= points
    assert PARTS == {
        "event_count": (35.0, 1000), "decky_count": (25.0, 10), "credential_count": (25.0, 200), "service_count": (15.0, 5),
    }  # fmt: skip
    assert score({"service_count": 1}) == 5.8


def test_reuse_is_told_again_when_it_has_doubled() -> None:
    assert [level(n) for n in (1, 2, 3, 4, 7, 8, 15, 16, 17)] == [1, 2, 2, 4, 4, 8, 8, 16, 16]


def test_spans_widen_in_any_order() -> None:
    assert widened([("a", 3.0), ("b", 5.0), ("a", 1.0), ("a", 2.0)]) == {"a": (1.0, 3.0), "b": (5.0, 5.0)}
    assert widened([]) == {}


def test_a_session_becomes_rows_and_both_its_times_are_sightings() -> None:
    command = {"id": "c", "command_text": "id", "ts": 11.0}
    plan = plan_of(taken([ended(commands=[command, {"command_text": "w"}], keystrokes_ref="k")]))
    assert plan.refused == []
    assert plan.sightings == [(A, IP, at(10.0)), (A, IP, at(20.0))]
    assert plan.changed == [(A, 10.0), (A, 20.0)]
    assert plan.commands == [("s", 0, command), ("s", 1, {"command_text": "w"})], (
        "the position names the other"
    )
    assert plan.formed_at == {A: T}
    (row,) = plan.sessions
    assert (row["session_id"], row["attacker_uuid"]) == ("s", A)
    assert "commands" not in row
    assert plan.recordings == {"k": "s"}
    assert (
        plan_of(taken([ended(keystrokes_ref=5)])).recordings
        == plan_of(taken([ended(keystrokes_ref="")])).recordings
        == {}
    )


def test_event_time_is_the_sighting_when_nothing_better_is_said() -> None:
    started = Event("attacker.session.started", {"session_id": "s", "attacker_ip": IP}, "", "e", T)
    assert plan_of(taken([started])).sightings == [(A, IP, at(T))]
    assert plan_of(taken([started])).changed == []
    observed = Event("attacker.observed", {"attacker_ip": IP, "first_seen": 5.0}, "", "e", T)
    assert plan_of(taken([observed])).sightings == [(A, IP, at(5.0))]
    given = {"attacker_uuid": "mine", "attacker_ip": "::ffff:192.0.2.1"}
    assert plan_of(taken([Event("attacker.observed", given, "", "e", T)])).sightings == [("mine", IP, at(T))]
    unnamed = {"attacker_uuid": "", "attacker_ip": IP}
    assert plan_of(taken([Event("attacker.observed", unnamed, "", "e", T)])).sightings == [(A, IP, at(T))]
    scored = {"attacker_uuid": A, "score": 50, "threshold": 50}
    other = plan_of(taken([Event("attacker.scored", scored, "", "e", T), ended()]))
    assert (len(other.sightings), other.refused) == (2, []), "other topics are not ours"
    first = plan_of(
        taken([Event("attacker.observed", {"attacker_ip": IP}, "", str(n), T + n) for n in range(3)])
    )
    assert first.formed_at == {A: T}, "the first event of a batch tells when"
    assert first.attackers == [A]


def test_credentials_intel_and_fingerprints() -> None:
    captured = Event("credential.captured", {"attacker_ip": IP, "username": "u"}, "", "e", T)
    plan = plan_of(taken([captured]))
    assert plan.credentials == [{"attacker_ip": IP, "username": "u", "attacker_uuid": A, "ts": at(T)}]
    assert plan.changed == [(A, T)]
    plan = plan_of(
        taken(
            [
                Event(
                    "attacker.intel.enriched",
                    {"attacker_ip": IP, "aggregate_verdict": "malicious", "x": 1},
                    "",
                    "e",
                    T,
                )
            ]
        )
    )
    assert plan.sightings == [(A, IP, None)], "a look-up is no sighting"
    assert plan.mentions == {A: at(T)}, "but it says when somebody spoke of the attacker"
    assert plan.intel == [(A, T, {"attacker_uuid": A, "attacker_ip": IP, "aggregate_verdict": "malicious"})]
    assert plan.changed == []
    frame = {"attacker_ip": IP, "type": "hassh", "decky_id": "d", "session_id": "s", "service": "ssh"}
    plan = plan_of(taken([Event("attacker.fingerprinted", {**frame, "hassh": "h"}, "other", "e", T)]))
    seen = {"decky_id": "d", "session_id": "s"}
    assert plan.fingerprints == [(A, "hassh", {**seen, "hassh": "h"}, at(T))], (
        "what frames it is no field of it; the place goes to columns of its own"
    )
    plan = plan_of(taken([Event("attacker.fingerprinted", {"attacker_ip": IP, "ja3": "h"}, "ja3", "e", T)]))
    assert plan.fingerprints[0][1] == "ja3"


def test_an_event_that_names_an_identity_only_writes_nothing_and_costs_the_others_nothing() -> None:
    bad = Event("attacker.fingerprinted", {"identity_uuid": "i", "type": "ja4", "ja4": "t13"})
    plan = plan_of(taken([bad, ended(session_id="good")]))
    assert plan.refused == []
    assert [row["session_id"] for row in plan.sessions] == ["good"]
    assert plan.fingerprints == []


def test_marks_are_of_this_batch_and_of_entries_in_force_only() -> None:
    def rules(*entries: dict[str, Any]) -> IgnoreSet:
        return IgnoreSet(
            [
                {"kind": "cidr", "value": "192.0.2.0/25", "ignore_id": "n", "expires_at": None, **e}
                for e in entries
            ]
        )

    other = ended(session_id="t", attacker_ip="192.0.2.128", auth={"usernames": ["nagios"]})
    plan = plan_of(taken([ended(), other]))
    assert plan.ignored(rules()) == {}
    assert "ignored_by" not in plan.sessions[0]
    found = plan.ignored(rules({}, {"kind": "user", "value": "nagios", "ignore_id": "u"}))
    assert found == {A: "n"}, "a login name marks the session, not the attacker"
    assert [row["ignored_by"] for row in plan.sessions] == ["n", "u"]


NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_an_entry_is_in_force_until_the_moment_it_expires() -> None:
    def entry(key: str, delta: float | None, **more: Any) -> dict[str, Any]:
        until = None if delta is None else datetime.fromtimestamp(NOW.timestamp() + delta, UTC)
        return {"kind": "cidr", "value": "192.0.2.1/32", "ignore_id": key, "expires_at": until, **more}

    for delta, wanted in ((None, "e"), (1.0, "e"), (0.001, "e"), (0.0, None), (-1.0, None)):
        rules = IgnoreSet([entry("e", delta)], NOW)
        assert rules.by_address(IP) == wanted, delta
        assert bool(rules) == (wanted is not None)
    assert IgnoreSet([entry("old", -1.0), entry("new", None)], NOW).by_address(IP) == "new"


def test_a_network_covers_its_edges_and_nothing_beside_them() -> None:
    def covered(network: str, *addresses: str | None) -> list[bool]:
        rules = IgnoreSet([{"kind": "cidr", "value": network, "ignore_id": "e", "expires_at": None}])
        return [rules.by_address(ip) == "e" for ip in addresses]

    assert covered("192.0.2.64/26", "192.0.2.63", "192.0.2.64", "192.0.2.127", "192.0.2.128") == [
        False,
        True,
        True,
        False,
    ]
    assert covered("192.0.2.7/32", "192.0.2.6", "192.0.2.7", "192.0.2.8", "::ffff:192.0.2.7") == [
        False,
        True,
        False,
        True,
    ]
    assert covered("2001:db8::/127", "2001:db8::", "2001:DB8:0::1", "2001:db8::2") == [True, True, False]
    assert covered("0.0.0.0/0", "203.0.113.9", "2001:db8::1", "no address", "", None) == [
        True,
        False,
        False,
        False,
        False,
    ]


def test_login_names_are_matched_whole_and_only_as_text() -> None:
    rules = IgnoreSet([{"kind": "user", "value": "root", "ignore_id": "e", "expires_at": None}])
    assert [rules.by_users(n) for n in (["x", "root"], ("root",), {"root"})] == ["e", "e", "e"]
    for nothing in ("root", None, [5, None, ["root"]], ["roo", "Root", "root "], {"root": 1}):
        assert rules.by_users(nothing) is None
    assert rules.by_payload({"username": "root"}) == "e"
    assert rules.by_payload({"auth": {"usernames": ["root"]}, "username": "x"}) == "e"
    assert rules.by_payload({"attacker_ip": 5, "username": "x"}) is None


class _Repo:
    """Remembers what it was asked to write, in order."""

    def __init__(self, missing: int = 0) -> None:
        self.calls: list[str] = []
        self.kept: list[tuple[str, str, bytes]] = []
        self.wanted = [(f"k{n}", f"s{n}") for n in range(missing)]
        self.fails: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any) -> Any:
            self.calls.append(name)
            if self.fails and name == "upsert_sessions":
                raise self.fails
            if name == "ignore_set":
                return IgnoreSet()
            return [(identity_id(uuid), uuid) for uuid in args[0]] if name == "form_identities" else None

        return call

    async def upsert_recording(self, key: str, session: str, data: bytes) -> None:
        self.kept.append((key, session, data))

    async def missing_recordings(self, limit: int) -> list[tuple[str, str]]:
        self.calls.append(f"missing {limit}")
        return self.wanted[:limit]


class _Blobs:
    """The object store of a bus: content by key; ``None`` raises."""

    def __init__(self, **blobs: bytes | None) -> None:
        self.blobs, self.asked = blobs, list[str]()

    async def get_blob(self, key: str) -> bytes | None:
        self.asked.append(key)
        if key in self.blobs and self.blobs[key] is None:
            raise BusUnavailable("gone")
        return self.blobs.get(key)


async def handled(repo: Any, bus: Any, *batch: Event) -> tuple[RecorderWorker, Transaction]:
    worker, tx = RecorderWorker(load_settings()), Transaction(repo)
    await worker.start(repo, bus)
    await worker.handle(taken(batch), tx)
    return worker, tx


async def test_an_identity_is_announced_with_a_derived_id_at_event_time() -> None:
    repo: Any = _Repo()
    _, tx = await handled(repo, _Blobs(), ended(), ended(session_id="t"))
    (news,) = tx.bus.events
    assert (news.topic, news.type, news.ts, news.id) == (
        "identity.formed",
        "formed",
        T,
        event_id("recorder", identity_id(A)),
    )
    assert news.payload == {"identity_uuid": identity_id(A), "attacker_uuids": [A]}
    order = [
        "upsert_attackers",
        "upsert_sessions",
        "insert_command_rows",
        "upsert_credentials",
        "upsert_intel",
        "due_mark",
    ]
    assert [name for name in repo.calls if name in order] == order, (
        "one order of tables, so that engines cannot deadlock"
    )
    assert repo.calls.index("form_identities") > repo.calls.index("due_mark")


async def test_an_event_that_becomes_no_rows_costs_only_itself_and_is_a_dead_letter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def takes(given: Any, one: Any) -> None:
        if one.record.session_id == "bad":
            raise ValueError("no rows of this")
        given.sightings.append((A, IP, None))
        given.formed_at[A] = T

    monkeypatch.setitem(plan._TAKERS, SessionEnded, takes)
    batch = [ended(session_id="bad"), ended(session_id="good"), ended(session_id="better")]
    made = plan.plan_of(taken(batch))
    assert [(event.payload["session_id"], why) for event, why in made.refused] == [("bad", "no rows of this")]
    assert len(made.sightings) == 2
    _, tx = await handled(_Repo(), _Blobs(), *batch)
    assert [(letter.event.payload["session_id"], letter.reason) for letter in tx.dead] == [
        ("bad", "no rows of this")
    ]


async def test_a_failure_to_write_fails_the_batch() -> None:
    repo: Any = _Repo()
    repo.fails = DatabaseError("gone")
    with pytest.raises(DatabaseError):
        await handled(repo, _Blobs(), ended())


async def test_a_bus_that_is_away_costs_no_batch_and_is_counted() -> None:
    repo: Any = _Repo()
    batch = [ended(session_id=f"s{n}", keystrokes_ref=f"k{n}") for n in range(3)]
    worker, tx = await handled(repo, _Blobs(k0=b"0", k1=None, k2=b"2"), *batch)
    assert repo.kept == [("k0", "s0", b"0")]
    assert worker.health().items() >= {"recordings_waiting": 1, "derived": 0}.items()
    assert tx.dead == []
    await worker.handle(taken(batch), tx)
    assert worker.health()["recordings_waiting"] == 2
    await worker.stop()
    await worker.handle(taken(batch), tx)
    assert worker.health()["recordings_waiting"] == 2, "a worker that stopped asks no bus"
    assert worker.bus is None


async def test_missing_recordings_are_copied_some_at_once_and_later_when_the_bus_is_away() -> None:
    limit = recorder_worker.RECORDINGS_AT_ONCE
    repo: Any = _Repo(missing=limit + 1)
    blobs: Any = _Blobs(**{f"k{n}": b"x" for n in range(limit + 1)} | {"k3": b""})
    del blobs.blobs["k2"]
    await copy_recordings(repo, blobs)
    assert repo.calls == [f"missing {limit}"] == ["missing 20"]
    assert len(blobs.asked) == limit
    assert [key for key, _, _ in repo.kept] == [f"k{n}" for n in range(limit) if n != 2], (
        "an empty one is one"
    )
    repo.kept.clear()
    away: Any = _Blobs(k0=b"0", k1=None, k2=b"2")
    await copy_recordings(repo, away)
    assert away.asked == ["k0", "k1"], "it is not asked again and again"
    assert repo.kept == [("k0", "s0", b"0")]


def test_its_jobs_run_in_one_engine_at_a_time() -> None:
    jobs = {job.name: job for job in RecorderWorker(load_settings()).jobs}
    assert {name: (job.interval_s, job.lease, job.by_data) for name, job in jobs.items()} == {
        "recordings": (5.0, "recorder.recordings", True),
        "derive": (load_settings().recorder.derive_interval_s, "recorder.derive", True),
    }
