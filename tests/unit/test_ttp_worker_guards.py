"""The worker around the rules: health, news, suppression, sweep, what events become, files and replay."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from decnet.bus.base import Event
from decnet.bus.publish import publish_failures
from decnet.config import load_settings
from decnet.db.repository.recorder.replay import Page
from decnet.db.rows.ttp import TTPTag
from decnet.errors import BusError, DatabaseError, RuleError, RuleStoreError, SourcePosition
from decnet.ids import attacker_id, event_id
from decnet.runtime.received import Received
from decnet.runtime.worker import TxBus
from decnet.shell.assets import host_of
from decnet.ttp import backfill as backfill_module
from decnet.ttp import sweep as sweep_module
from decnet.ttp import worker as worker_module
from decnet.ttp.backfill import READ_BACK, STREAM_TOPICS, Progress, _Run, run_backfill
from decnet.ttp.base import TaggerEvent
from decnet.ttp.factory import CompositeTagger
from decnet.ttp.facts import MAX_FACTS, name_of
from decnet.ttp.loader import load_bytes
from decnet.ttp.offline import OfflineTagger
from decnet.ttp.parts import MAX_KEPT
from decnet.ttp.rule_engine import RuleEngine, RuleEngineTagger
from decnet.ttp.rules import CompiledRule, RuleState
from decnet.ttp.store.base import RuleChange
from decnet.ttp.suppression import IGNORED, IgnoredSources, SuppressionNews
from decnet.ttp.sweep import UntaggedSweep
from decnet.ttp.worker import _TOPICS, TtpWorker, run_ttp_worker_loop
from tests.wirekit import judged, pieces, taken

RULE = """rule_id: {id}
rule_version: 1
name: demo
description: d
applies_to: [command]
match: {{pattern: '\\bwget\\b'}}
emits: [{{tactic: TA0011, technique_id: T1105, confidence: {confidence}}}]
"""


def made(rule_id: str = "R1", confidence: float = 0.8) -> CompiledRule:
    rule, errors = load_bytes(RULE.format(id=rule_id, confidence=confidence).encode(), f"{rule_id}.yaml")
    assert rule is not None, errors
    return rule


def tag(n: int, attacker: str | None = "a", session: str | None = "s", **more: Any) -> TTPTag:
    base: dict[str, Any] = {
        "source_kind": "command", "source_id": f"c{n}", "tactic": "TA0002", "technique_id": "T1059",
        "confidence": 0.9, "rule_id": "R1", "rule_version": 1, "attacker_uuid": attacker, "session_id": session,
    }  # fmt: skip
    return TTPTag(**(base | more))


class Repo:
    """The rows that a batch of the worker touches, in memory."""

    def __init__(self) -> None:
        self.tags: dict[str, TTPTag] = {}
        self.marked: list[str] = []
        self.parts: dict[tuple[str, str, int], Any] = {}
        self.intel: list[tuple[float, dict[str, Any]]] = []
        self.ignored: dict[str, Any] = {}
        self.asked: list[Any] = []
        self.told: dict[str, Any] = {}

    async def ignore_set(self) -> Any:
        return Ignore()

    async def intel_of(self, owners: set[str]) -> list[tuple[float, dict[str, Any]]]:
        self.asked.append(sorted(owners))
        return self.intel

    async def insert_tags(self, tags: Sequence[TTPTag]) -> list[str]:
        fresh = [t.uuid for t in tags if t.uuid not in self.tags]
        self.tags |= {t.uuid: t for t in tags}
        return fresh

    async def hold_sessions(self, sessions: Iterable[str]) -> None: ...

    async def add_parts_to_judge(self, rows: Sequence[Any]) -> None:
        self.parts = {**{_place(row): row for row in rows}, **self.parts}

    async def count_parts_to_judge(self, sessions: Sequence[str]) -> dict[str, int]:
        return {name: len(await self.parts_to_judge([name])) for name in sessions}

    async def parts_to_judge(self, sessions: Sequence[str]) -> list[Any]:
        return [row for key, row in sorted(self.parts.items()) if key[0] in sessions]

    async def restore_tags(self, uuids: Sequence[str]) -> None:
        assert not uuids

    async def tags_of_sessions(self, sessions: Sequence[str]) -> list[Any]:
        return []

    async def replace_tags(self, tags: dict[str, str]) -> None:
        assert tags == {}

    async def renew_evidence(self, evidence: dict[str, Any]) -> None:
        assert evidence == {}

    async def stories(self, sessions: Any) -> dict[str, Any]:
        return {name: row for name, row in self.told.items() if name in sessions}

    async def keep_stories(self, stories: Sequence[Any], _things: Any) -> None:
        self.told |= {row["session_id"]: row for row in stories}

    async def seen_earlier(self, seen: dict[str, datetime]) -> None:
        assert seen.keys() <= self.tags.keys()

    async def mark_sessions_tagged(self, sessions: list[str], at: Any) -> None:
        assert at.tzinfo is not None
        self.marked += sessions


def _place(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["session_id"], row["generation"], row["part"]


class Ignore:
    """Entries in force: addresses of 192.0.2.x, and the login name ``scanner``."""

    def __bool__(self) -> bool:
        return True

    def by_address(self, ip: str | None) -> bool:
        return (ip or "").startswith("192.0.2.")

    def by_payload(self, payload: dict[str, Any]) -> bool:
        return "scanner" in payload.get("auth", {}).get("usernames", [])


def worker_with(*rules: CompiledRule, store: Any = None, **states: RuleState) -> TtpWorker:
    worker = TtpWorker(store, load_settings())
    for lifter in worker._engines():
        lifter.engine.replace(rules, states)
    return worker


def transaction(repo: Repo) -> Any:
    return SimpleNamespace(repo=repo, bus=TxBus())


def ended(session: str = "s", line: str = "wget x", **more: Any) -> Event:
    payload = {"session_id": session, "attacker_ip": "203.0.113.1", "decky_id": "d", "ended_at": 5.0}
    payload |= {"commands": [{"id": f"{session}c", "command_text": line, "ts": 1.0}]} | more
    return Event("attacker.session.ended", payload, ts=5.0)


# -- health


def test_a_worker_without_rules_is_not_well_and_one_with_a_rule_is() -> None:
    worker = worker_with()
    assert worker.health()["rules_loaded"] == 0
    assert worker.health()["degraded"] == "no rules loaded"
    assert "degraded" not in worker_with(made()).health()


def test_health_counts_files_that_failed_and_what_was_suppressed_and_tripped() -> None:
    errors = [
        RuleError("x", SourcePosition(file, line))
        for file, line in (("a.yaml", 1), ("a.yaml", 2), ("b.yaml", 1))
    ]
    worker = worker_with(
        made("R1"), made("R2", 0.1), store=SimpleNamespace(errors=lambda: errors, bus=None, where=dict)
    )
    (lifter,) = worker._engines()
    for i in range(2):
        event = TaggerEvent(
            "command", f"c{i}", "a", payload={"command_text": "wget " + "".join(f"a{n};" for n in range(400))}
        )
        lifter.engine.evaluate(event)
    for _ in range(7):
        lifter.engine.failures.failed(made())
    lifter.engine.failures.failed(made("R2"))
    worker.inserted = 3
    told = worker.health()
    assert {k: told[k] for k in ("rules_loaded", "rules_failed", "rules_superseded", "rule_failures")} == {
        "rules_loaded": 2, "rules_failed": 2, "rules_superseded": 0, "rule_failures": 8
    }  # fmt: skip
    assert {k: told[k] for k in ("rules_tripped", "suppressed", "views_capped", "tags_inserted")} == {
        "rules_tripped": 1, "suppressed": 2, "views_capped": 2, "tags_inserted": 3
    }  # fmt: skip
    assert {k: told[k] for k in ("window_hits", "windows_fired", "window_hits_dropped")} == dict.fromkeys(
        ("window_hits", "windows_fired", "window_hits_dropped"), 0
    )


def test_the_topics_are_those_of_the_design_and_the_jobs_run_where_they_may() -> None:
    worker = worker_with()
    assert TtpWorker.topics == _TOPICS == (
        "attacker.session.ended", "attacker.observed", "attacker.intel.enriched", "identity.formed", "identity.merged",
        "credential.reuse.detected", "email.received", "canary.>", "attacker.fingerprinted", "credential.captured",
    )  # fmt: skip
    assert [(j.name, j.interval_s, j.lease, j.by_data) for j in worker.jobs] == [
        ("windows", 3600.0, "ttp-windows", False), ("aggregates", 5.0, "ttp-aggregates", True),
        ("parts", 3600.0, "ttp-parts", False), ("suppressed", 10.0, None, False),
    ]  # fmt: skip
    assert worker.windows[0].retention_s == 7 * 86_400.0
    assert (worker.sweep.interval_s, worker.suppression.window_s) == (60.0, 10.0)
    assert set(worker.background()) == {"watch-0", "sweep"}
    assert worker.unfinished() == "waits for rules: nothing is judged"
    worker = worker_with(made())
    assert worker.unfinished() == "sessions without tags are looked for"
    worker.sweep.swept.set()
    assert worker.unfinished() == ""


# -- a batch


async def test_tags_are_told_once_and_only_those_really_stored() -> None:
    worker, repo = worker_with(made("R1"), made("R2")), Repo()
    first, again = transaction(repo), transaction(repo)
    await worker.handle(taken([ended()]), first)
    await worker.handle(taken([ended()]), again)
    assert again.bus.events == []
    assert worker.inserted == 2
    judged, tagged = first.bus.events
    _, fired = pieces([tagged], "ttp.>")
    assert (judged.topic, judged.payload["severity"]) == ("ttp.session.judged", repo.told["s"]["severity"])
    uuids = sorted(repo.tags)
    who = {"attacker_uuid": attacker_id("203.0.113.1"), "identity_uuid": None, "session_id": "s"}
    assert (tagged.topic, tagged.payload) == (
        "ttp.tagged",
        {
            **who,
            "tag_uuids": uuids,
            "techniques_added": ["T1105"],
            "fired": [{"technique_id": "T1105", "rule_ids": ["R1", "R2"], "tags": 2}],
        },
    )
    assert (fired.topic, fired.payload) == (
        "ttp.rule.fired.T1105", {**who, "technique_id": "T1105", "tag_uuids": uuids, "rule_ids": ["R1", "R2"]}
    )  # fmt: skip
    assert tagged.id == event_id("ttp", ",".join(uuids))
    assert fired.id == event_id("ttp.fired", f"T1105|{','.join(uuids)}")
    del repo.tags[uuids[0]]
    late = transaction(repo)
    await worker.handle(taken([ended()]), late)
    assert late.bus.events[0].payload["tag_uuids"] == uuids[:1], "news name only what is new"


async def test_news_name_500_tags_at_most_and_keep_subjects_apart() -> None:
    tx = transaction(Repo())
    await worker_module._publish([tag(n) for n in range(501)] + [tag(900, session="t")], tx)
    assert [len(e.payload["tag_uuids"]) for e in pieces(tx.bus.events, ">")] == [500, 500, 1, 1]
    assert [e.payload["session_id"] for e in tx.bus.events] == ["s", "t"]
    exact = transaction(Repo())
    await worker_module._publish(
        [tag(1, technique_id="T1105", sub_technique_id=None), tag(2, sub_technique_id="T1059.004")], exact
    )
    assert exact.bus.events[0].payload["techniques_added"] == ["T1059.004", "T1105"]
    fired = pieces(exact.bus.events, "ttp.rule.fired.*")
    assert [e.topic for e in fired] == ["ttp.rule.fired.T1059", "ttp.rule.fired.T1105"]
    assert [e.payload["tag_uuids"] for e in fired] == [
        [tag(2, sub_technique_id="T1059.004").uuid],
        [tag(1, technique_id="T1105", sub_technique_id=None).uuid],
    ]
    assert [e.payload["rule_ids"] for e in fired] == [["R1"], ["R1"]]


async def test_a_session_counts_as_tagged_when_none_of_its_parts_is_lacking() -> None:
    worker, repo = worker_with(made()), Repo()
    await worker.handle(taken([ended()]), transaction(repo))
    assert repo.marked == ["s"]
    for part, marked in ((3, ["s"]), (1, ["s"]), (3, ["s"]), (2, ["s", "t"])):
        await worker.handle(taken([ended("t", part=part, parts=3)]), transaction(repo))
        assert repo.marked == marked
    await worker.handle(taken([ended("u", part=1, parts=MAX_KEPT + 1)]), transaction(repo))
    assert repo.marked == ["s", "t"], "the next start looks for it, and has it whole"
    worker.marks_sessions = False
    await worker.handle(taken([ended("v")]), transaction(repo))
    assert repo.marked == ["s", "t"]


async def test_stored_intel_is_judged_with_the_session_under_its_own_source_id() -> None:
    text = (
        RULE.format(id="I1", confidence=0.8)
        .replace("[command]", "[intel]")
        .replace(r"'\bwget\b'", "malicious")
    )
    rule, _ = load_bytes(text.encode(), "I1.yaml")
    assert rule is not None
    worker, repo = worker_with(rule), Repo()
    repo.intel = [(3.0, {"attacker_ip": "203.0.113.1", "aggregate_verdict": "malicious"})]
    await worker.handle(taken([ended()]), transaction(repo))
    assert repo.asked == [[attacker_id("203.0.113.1")]]
    (stored,) = repo.tags.values()
    assert (stored.source_kind, stored.source_id) == ("intel", attacker_id("203.0.113.1"))
    await worker.handle(
        taken([Event("attacker.observed", {"attacker_uuid": "a"}, id="e")]), transaction(repo)
    )
    assert len(repo.asked) == 1, "only an ended session asks"


# -- suppression


def test_a_tag_is_not_told_of_when_its_attacker_or_its_session_is_ignored() -> None:
    both = IgnoredSources(["a"], ["s"])
    assert both.covers(tag(1, "a", "t"))
    assert both.covers(tag(2, "b", "s"))
    assert not both.covers(tag(3, "b", "t"))
    assert not IgnoredSources().covers(tag(4, "a", "s"))
    assert not IgnoredSources([], []).covers(tag(5, "a", None))


def test_entries_in_force_are_about_addresses_and_log_ins_of_the_batch() -> None:
    own = ended("s1", attacker_ip="192.0.2.9")
    named = ended("s2", attacker_ip="192.0.2.10", attacker_uuid="known")
    login = ended("s3", auth={"usernames": ["scanner"]})
    plain = ended("s4", attacker_ip=None, attacker_uuid="plain")
    found = IgnoredSources.of_batch(taken([own, named, login, plain]), Ignore())  # type: ignore[arg-type]
    assert found.attackers == {attacker_id("192.0.2.9"), "known"}
    assert found.sessions == {"s3"}
    nobody = IgnoredSources.of_batch(taken([own, login]), [])  # type: ignore[arg-type]
    assert nobody.attackers == nobody.sessions == frozenset()


async def test_tags_of_an_ignored_log_in_are_stored_and_not_told_and_counted() -> None:
    worker, repo = worker_with(made()), Repo()
    tx = transaction(repo)
    login = ended("s1", auth={"usernames": ["scanner"]})
    await worker.handle(taken([login, ended("s2"), ended("s3", attacker_ip="192.0.2.1")]), tx)
    assert {t.session_id for t in repo.tags.values()} == {"s1", "s2", "s3"}
    assert {e.payload["session_id"] for e in tx.bus.events} == {"s2"}
    assert worker.suppression.ignored == {("R1", IGNORED): 2}


class Wire:
    """A bus that takes what it is given, or refuses."""

    connected = True

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any], str]] = []
        self.down = False

    async def publish(self, topic: str, payload: dict[str, Any], event_type: str = "", **_: Any) -> None:
        if self.down:
            raise BusError("away")
        self.sent.append((topic, payload, event_type))


async def test_suppression_is_told_by_rule_and_reason_with_what_came_since_the_last_time() -> None:
    one, two = RuleEngine(), RuleEngine()
    news, bus = SuppressionNews([one, two], 10.0), Wire()
    assert IGNORED == "ignored_source"
    one.suppressed["R1", "floor"] += 2
    one.suppressed["R1", "disabled"] += 1
    two.suppressed["R1", "floor"] += 1
    two.suppressed["R0", "clipped_below_floor"] += 4
    assert news.shown([tag(1), tag(2, "ignored")], IgnoredSources(["ignored"]))[0].source_id == "c1"
    await news.publish(None, bus)  # type: ignore[arg-type]
    assert [(p["rule_id"], p["reason"], p["count"], p["window_s"]) for _, p, _ in bus.sent] == [
        ("R0", "clipped_below_floor", 4, 10.0), ("R1", "disabled", 1, 10.0), ("R1", "floor", 3, 10.0), ("R1", "ignored_source", 1, 10.0),
    ]  # fmt: skip
    assert {topic for topic, *_ in bus.sent} == {"ttp.rule.suppressed"}
    bus.sent.clear()
    await news.publish(None, bus)  # type: ignore[arg-type]
    assert bus.sent == []
    one.suppressed["R1", "floor"] += 5
    await news.publish(None, bus)  # type: ignore[arg-type]
    assert [p["count"] for _, p, _ in bus.sent] == [5]
    bus.down, before = True, publish_failures["BusError"]
    one.suppressed["R1", "floor"] += 1
    await news.publish(None, bus)  # type: ignore[arg-type]
    assert publish_failures["BusError"] == before + 1, "news may be lost, and nothing waits for the bus"


# -- aggregates of due attackers


async def test_due_attackers_are_taken_in_lots_and_their_marks_go_with_the_tags(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lots = [[{"attacker_uuid": f"a{i}", "until": 5.0 + i, "since": 0.0} for i in range(n)] for n in (100, 3)]
    done: list[int] = []
    looked: list[tuple[dict[TaggerEvent, float], frozenset[str]]] = []

    class Due:
        async def due_take(self, worker: str, count: int) -> list[dict[str, Any]]:
            assert (worker, count) == ("ttp", 100)
            return lots[len(done)] if len(done) < len(lots) else []

        async def due_done(self, worker: str, marks: list[Any]) -> None:
            assert worker == "ttp"
            done.append(len(marks))

        async def ignored_attackers(self, who: Any) -> set[str]:
            return {"a1"} & set(who)

        async def first_seen_of(self, attackers: Any) -> dict[str, float]:
            return dict.fromkeys(attackers, 3.0)

    @asynccontextmanager
    async def bound(repo: Any) -> Any:
        yield SimpleNamespace(repo=repo, bus=TxBus())

    async def events(repo: Any, marks: list[dict[str, Any]]) -> list[TaggerEvent]:
        return [
            TaggerEvent("session", "x", marks[1]["attacker_uuid"]),
            TaggerEvent("identity", "i", None, "i"),
        ]

    worker = worker_with(made())

    async def judge(times: Any, tx: Any, hidden: IgnoredSources, *, renew: bool, judged: Any) -> int:
        assert renew, "what is computed again takes the place of what was"
        assert [ts for _, ts in judged] == [3.0], "an aggregate without a time is about the first sight"
        looked.append((times, hidden.attackers))
        return 0

    monkeypatch.setattr(worker_module, "transaction", bound)
    monkeypatch.setattr(worker_module, "due_events", events)
    monkeypatch.setattr(worker, "judge", judge)
    await worker._aggregate(Due(), None)  # type: ignore[arg-type]
    assert done == [100, 3]
    assert [sorted(times.values()) for times, _ in looked] == [[6.0, 104.0], [6.0, 7.0]], (
        "an identity has the newest time"
    )
    assert {hidden for _, hidden in looked} == {frozenset({"a1"})}


# -- sweep


class Untagged:
    """Sessions without tags; a handler's success takes them off the list."""

    def __init__(self, count: int) -> None:
        self.left = [f"s{i:03}" for i in range(count)]
        self.pages: list[int] = []

    async def untagged_count(self) -> int:
        return len(self.left)

    async def untagged_sessions(self, limit: int) -> list[dict[str, object]]:
        self.pages.append(limit)
        return [{"session_id": name, "attacker_uuid": "a", "ended_at": 1.0} for name in self.left[:limit]]


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def bound(repo: Any) -> Any:
        yield SimpleNamespace(repo=repo, bus=TxBus())

    monkeypatch.setattr(sweep_module, "transaction", bound)


@pytest.mark.usefixtures("in_memory")
async def test_the_sweep_takes_pages_and_one_bad_session_costs_only_itself() -> None:
    repo, seen = Untagged(205), list[list[str]]()

    async def handle(batch: Sequence[Received], tx: Any) -> None:
        names = [str(one.event.payload["session_id"]) for one in batch]
        seen.append(names)
        if "s150" in names:
            raise ValueError("bad")
        repo.left = [name for name in repo.left if name not in names]

    sweep = UntaggedSweep(handle, 60.0)
    with capture_logs() as logs:
        assert await sweep.sweep(repo) == 205  # type: ignore[arg-type]
    assert [len(names) for names in seen] == [100, 100, *[1] * 100, 5]
    assert repo.left == ["s150"]
    assert repo.pages == [100, 100, 101]
    assert [log["sessions"] for log in logs if log["log_level"] == "error"] == [100, 1]
    seen.clear()
    assert await sweep.sweep(repo) == 0  # type: ignore[arg-type]
    assert seen == [], "one that was refused is not tried again and again"


@pytest.mark.usefixtures("in_memory")
async def test_a_sweep_ends_with_what_was_untagged_when_it_began() -> None:
    repo = Untagged(2)

    async def handle(batch: Sequence[Received], tx: Any) -> None:
        repo.left = [*repo.left[len(batch) :], "late"]

    assert await UntaggedSweep(handle, 60.0).sweep(repo) == 2  # type: ignore[arg-type]
    assert repo.left == ["late"]


@pytest.mark.usefixtures("in_memory")
async def test_a_database_that_is_away_ends_the_sweep_and_refuses_no_session() -> None:
    repo = Untagged(2)

    async def handle(batch: Sequence[Received], tx: Any) -> None:
        raise DatabaseError("away")

    sweep = UntaggedSweep(handle, 60.0)
    with pytest.raises(DatabaseError):
        await sweep.sweep(repo)  # type: ignore[arg-type]
    assert sweep._refused == set()


class Stop(Exception):
    pass


async def test_sessions_are_looked_for_at_the_start_and_while_the_bus_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bus, sweeps, paused = SimpleNamespace(connected=True), list[int](), list[float]()

    async def sweeping(self: UntaggedSweep, repo: Any) -> int:
        sweeps.append(len(paused))
        if len(sweeps) == 1:
            raise DatabaseError("away")
        return 0

    async def sleep(seconds: float) -> None:
        paused.append(seconds)
        bus.connected = len(paused) != 4
        if len(paused) == 6:
            raise Stop

    monkeypatch.setattr(UntaggedSweep, "sweep", sweeping)
    monkeypatch.setattr(sweep_module, "asyncio", SimpleNamespace(sleep=sleep, Event=asyncio.Event))
    sweep = UntaggedSweep(None, 7.5)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="attach"):
        await sweep.run()
    sweep.attach(Untagged(0), bus)  # type: ignore[arg-type]
    with pytest.raises(Stop):
        await sweep.run()
    assert sweeps == [0, 1, 4], "at the start until it is done once, and again while the bus is away"
    assert paused == [7.5] * 6
    assert sweep.swept.is_set()


def test_a_swept_session_is_the_event_that_the_stream_brings() -> None:
    event = sweep_module._as_event({"session_id": "s"})
    assert (event.topic, event.type, event.id) == (
        "attacker.session.ended",
        "session.ended",
        event_id("ttp.sweep", "s"),
    )


# -- back-fill


def run_of(since: float, until: float, told: list[Progress]) -> _Run:
    moments = (datetime.fromtimestamp(since, UTC), datetime.fromtimestamp(until, UTC))
    return _Run(None, SimpleNamespace(inserted=4), *moments, told.append)  # type: ignore[arg-type]


async def test_progress_never_says_more_than_all_and_the_span_has_both_its_ends() -> None:
    told: list[Progress] = []
    run = run_of(10.0, 20.0, told)
    assert [run.covers(Event("t", {}, ts=ts)) for ts in (9.999, 10.0, 20.0, 20.001)] == [
        False,
        True,
        True,
        False,
    ]
    run.total = 3
    await run.judge("sessions", [], 2)
    await run.judge("stream", [], 5)
    assert [(p.kind, p.done, p.total, p.tags) for p in told] == [("sessions", 2, 3, 4), ("stream", 7, 7, 4)]
    assert READ_BACK == 50_000
    assert STREAM_TOPICS == (
        "attacker.observed",
        "credential.reuse.detected",
        "email.received",
        "canary.*.triggered",
    )


async def test_aggregates_of_a_span_are_judged_in_lots_with_its_end_as_their_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []
    judged: list[Any] = []

    class Active:
        async def attackers_active(self, since: datetime, until: datetime) -> list[str]:
            assert (since.timestamp(), until.timestamp()) == (10.0, 20.0)
            return [f"a{i:03}" for i in range(101)]

        async def ignored_attackers(self, who: list[str]) -> set[str]:
            return {who[0]}

    class Judge:
        inserted = 0

        async def judge(self, times: dict[TaggerEvent, float], tx: Any, hidden: IgnoredSources) -> int:
            judged.append((times, set(hidden.attackers)))
            return 0

    @asynccontextmanager
    async def bound(repo: Any) -> Any:
        yield SimpleNamespace(repo=repo, bus=TxBus())

    async def events(repo: Any, marks: list[dict[str, Any]]) -> list[TaggerEvent]:
        asked.append([(m["attacker_uuid"], m["since"], m["until"]) for m in marks])
        return [TaggerEvent("session", "x", marks[0]["attacker_uuid"])]

    monkeypatch.setattr(backfill_module, "transaction", bound)
    monkeypatch.setattr(backfill_module, "due_events", events)
    run = run_of(10.0, 20.0, [])
    run.repo, run.worker = Active(), Judge()  # type: ignore[assignment]
    await run.aggregates()
    assert [len(lot) for lot in asked] == [100, 1]
    assert asked[1] == [("a100", 10.0, 20.0)]
    assert [(list(times.values()), hidden) for times, hidden in judged] == [
        ([20.0], {"a000"}),
        ([20.0], {"a100"}),
    ]


async def _live() -> list[Any]:
    """An engine runs whose rules are in the database."""
    beat = {"state": "ok", "ts": time.time(), "rule_store": "database"}
    return [{"worker": "ttp", "payload": beat}]


async def test_a_back_fill_reads_what_only_the_stream_keeps_within_the_span(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged: list[list[str]] = []
    read: list[tuple[str, int]] = []

    class Stored:
        replay_kinds = ("sessions",)
        heartbeats = staticmethod(_live)

        async def rule_definitions(self) -> list[dict[str, Any]]:
            texts = {"R1": RULE.format(id="R1", confidence=0.8), "R2": RULE.format(id="R2", confidence=0.8)}
            rest = {"version": 1, "name": "demo", "error": None}
            rows = [{"rule_id": r, "yaml": text, "file": f"{r}.yaml", **rest} for r, text in texts.items()]
            return [*rows, {"rule_id": "bad", "yaml": "", "file": "bad.yaml", **rest}]

        async def rule_states(self) -> dict[str, dict[str, Any]]:
            off = {"state": "disabled", "confidence_max": None, "expires_at": None}
            return {"R2": off | {"reason": None, "set_by": None, "set_at": None}, "R3": {"state": "nonsense"}}

        async def replay_count(self, kind: str, since: Any, until: Any) -> int:
            return 2

        async def replay_page(self, kind: str, since: Any, until: Any, after: Any, limit: int) -> Page:
            assert (kind, limit) == ("sessions", 100)
            event = ended("s1" if after is None else "s2")
            return Page([event], 1, None if after else (1.0, "s1"))

        async def attackers_active(self, since: Any, until: Any) -> list[str]:
            return []

        async def supersede_tags(self, rule_id: str, version: int, kinds: list[str]) -> int:
            return {"R1": 3, "R2": 4}[rule_id]

    class Bus:
        async def read_back(self, pattern: str, limit: int) -> list[Event]:
            read.append((pattern, limit))
            return [Event("email.received", {"attacker_uuid": "a"}, ts=ts) for ts in (9.0, 10.0, 21.0)]

    @asynccontextmanager
    async def bound(repo: Any) -> Any:
        yield SimpleNamespace(repo=repo, bus=TxBus())

    marks: list[bool] = []

    async def handle(self: TtpWorker, batch: Sequence[Received], tx: Any) -> None:
        judged.append([str(one.event.payload.get("session_id", one.event.ts)) for one in batch])
        marks.append(self.marks_sessions)
        (lifter,) = self._engines()
        assert sorted(lifter.engine.snapshot().rules.by_id) in (["R1", "R2"], ["R1"])
        assert {r: s.state for r, s in lifter.engine.snapshot().states.items()} == {"R2": "disabled"}

    monkeypatch.setattr(backfill_module, "transaction", bound)
    monkeypatch.setattr(TtpWorker, "handle_stored", handle)
    span = (datetime.fromtimestamp(10.0, UTC), datetime.fromtimestamp(20.0, UTC))
    told: list[Progress] = []
    report = await run_backfill(*span, repo=Stored(), bus=Bus(), progress=told.append)  # type: ignore[arg-type]
    assert judged == [["s1"], ["s2"], *[["10.0"]] * 4]
    assert marks == [True] * 6
    assert read == [(pattern, READ_BACK) for pattern in STREAM_TOPICS]
    assert (report.judged, report.tags, report.superseded, report.rules) == (6, 0, 7, 2)
    assert [(p.done, p.total) for p in told] == [(1, 2), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6)]
    some = await run_backfill(*span, ["R1", "R1"], repo=Stored())  # type: ignore[arg-type]
    assert (some.superseded, some.rules) == (3, 1)
    assert marks[6:] == [False] * 2
    with pytest.raises(RuleStoreError, match="no rule R8, R9"):
        await run_backfill(*span, ["R9", "R1", "R8"], repo=Stored())  # type: ignore[arg-type]


# -- following a store


class Store:
    """A store whose changes are said by hand."""

    def __init__(self) -> None:
        self.version, self.bus = 1, None
        self.held: dict[str, RuleState] = {}
        self.known = [made("R1")]
        self.news: asyncio.Queue[RuleChange] = asyncio.Queue()
        self.loads = self.holds = 0
        self.followed = False

    async def hold(self) -> None:
        assert self.loads == self.holds, "before the load"
        self.holds += 1

    async def load_compiled(self) -> None:
        self.loads += 1

    def rules(self) -> list[CompiledRule]:
        return self.known

    def states(self) -> dict[str, RuleState]:
        return self.held

    async def follow(self) -> None:
        self.followed = True
        await asyncio.Event().wait()

    async def subscribe(self) -> Any:
        while True:
            yield await self.news.get()

    def subscribe_changes(self) -> Any:
        return self.subscribe()


async def test_changes_are_taken_in_their_order_and_one_reload_is_one_swap() -> None:
    store = Store()
    engine = RuleEngine()
    swaps: list[int] = []
    real = engine.replace

    def replace(rules: Any, states: Any) -> None:
        swaps.append(len(list(rules)))
        real(rules, states)

    engine.replace = replace  # type: ignore[method-assign]
    tagger = RuleEngineTagger(store, engine)  # type: ignore[arg-type]
    task = asyncio.create_task(tagger.watch_store())
    async with asyncio.timeout(5):
        await tagger.loaded.wait()
        assert (store.loads, swaps) == (1, [1])
        store.held = {"R1": RuleState("disabled")}
        store.news.put_nowait(RuleChange("state", "R1", store.held["R1"]))
        while not engine.snapshot().states:
            await asyncio.sleep(0)
        assert swaps == [1], "a state swaps no rules"
        store.version, store.known = 2, [made("R1"), made("R2"), made("R3")]
        for name in ("R2", "R3"):
            store.news.put_nowait(RuleChange("definition", name, None))
        while len(engine.snapshot().rules) != 3 or store.news.qsize():
            await asyncio.sleep(0)
        store.version, store.known = 3, []
        store.news.put_nowait(RuleChange("removed", "R1", None))
        while len(engine.snapshot().rules):
            await asyncio.sleep(0)
    assert swaps == [1, 3, 0]
    assert store.followed
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await RuleEngineTagger().watch_store()


async def test_a_second_load_takes_over_states_and_swaps_only_other_rules() -> None:
    store, engine = Store(), RuleEngine()
    swaps: list[int] = []
    real = engine.replace

    def replace(rules: Any, states: Any) -> None:
        swaps.append(len(list(rules)))
        if len(swaps) == 1:
            raise MemoryError
        real(rules, states)

    engine.replace = replace  # type: ignore[method-assign]
    tagger = RuleEngineTagger(store, engine)  # type: ignore[arg-type]
    with pytest.raises(MemoryError):
        await tagger.load()
    await tagger.load()
    assert swaps == [1, 1], "what could not be taken over is taken over by the next load"
    store.held = {"R1": RuleState("disabled")}
    await tagger.load()
    assert (swaps, engine.snapshot().states) == ([1, 1], store.held)
    store.version, store.known = 2, [made("R1"), made("R2")]
    await tagger.load()
    assert (swaps, len(engine.snapshot().rules)) == ([1, 1, 2], 2)


async def test_a_start_gives_the_store_the_bus_and_loads_the_rules_before_the_first_batch() -> None:
    store = Store()
    worker = TtpWorker(store, load_settings())  # type: ignore[arg-type]
    await worker.start(Untagged(0), "the bus")  # type: ignore[arg-type]
    assert store.bus == "the bus"
    assert (store.loads, store.holds) == (1, 1)
    assert [len(e.engine.snapshot().rules) for e in worker._engines()] == [1]
    store.bus = "its own"
    await worker.start(Untagged(0), "the bus")  # type: ignore[arg-type]
    assert store.bus == "its own"


async def test_the_worker_alone_polls_as_often_as_was_said_and_always_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[Any] = []

    class Supervising:
        def __init__(self, workers: list[TtpWorker], repo: Any, bus: Any, settings: Any) -> None:
            calls.append(
                (workers[0].sweep.interval_s, workers[0].tagger, repo, bus, settings.runtime.poll_interval_s)
            )

        async def start(self) -> None:
            calls.append("start")

        async def stop(self) -> None:
            calls.append("stop")

    monkeypatch.setattr("decnet.runtime.supervisor.Supervisor", Supervising)
    shutdown, tagger = asyncio.Event(), CompositeTagger([])
    shutdown.set()
    await run_ttp_worker_loop("repo", poll_interval_secs=7.5, tagger=tagger, shutdown=shutdown, bus="bus")  # type: ignore[arg-type]
    assert calls == [(7.5, tagger, "repo", "bus", 7.5), "start", "stop"]
    alone = asyncio.create_task(run_ttp_worker_loop("repo", tagger=tagger, bus="bus"))  # type: ignore[arg-type]
    while len(calls) < 5:
        await asyncio.sleep(0)
    alone.cancel()
    await asyncio.gather(alone, return_exceptions=True)
    assert calls[3:] == [(60.0, tagger, "repo", "bus", 60.0), "start", "stop"]


# -- events


def one(topic: str, **payload: Any) -> TaggerEvent:
    (event,) = judged(Event(topic, payload, id="e", ts=9.0))
    return event


def test_an_attacker_is_who_was_named_else_the_address_beside_an_identity_too() -> None:
    ip, topic = "203.0.113.1", "email.received"
    assert one(topic, attacker_uuid="a", attacker_ip=ip).attacker_uuid == "a"
    assert one(topic, attacker_ip=ip).attacker_uuid == attacker_id(ip)
    assert one(topic, attacker_ip=ip, identity_uuid="i").attacker_uuid == attacker_id(ip)
    assert one(topic, attacker_uuid="a", attacker_ip=ip, identity_uuid="i").attacker_uuid == "a"


def test_a_named_source_comes_before_all_others() -> None:
    assert one("attacker.observed", attacker_uuid="a", source_id="x").source_id == "x"
    assert one("attacker.observed", attacker_uuid="a").source_id == "e"
    assert one("identity.formed", identity_uuid="i", source_id="x").source_id == "x"
    assert (
        one("credential.reuse.detected", attacker_uuid="a", credential_id="c", source_id="x").source_id == "x"
    )
    assert one("credential.reuse.detected", attacker_uuid="a").source_id == "e"
    assert one("canary.t.triggered", attacker_uuid="a", trigger_id="g", source_id="x").source_id == "x"


@pytest.mark.parametrize(("size", "whole"), [(499, True), (500, True), (501, False)])
def test_a_fingerprint_is_its_own_source_up_to_500_characters(size: int, whole: bool) -> None:
    value = "x" * size
    source = one("attacker.fingerprinted", attacker_uuid="a", type="ja4", value=value).source_id
    assert (source == f"a#ja4#{value}") is whole
    assert whole or len(source) == len("a#ja4#") + 32


def test_a_fingerprint_of_several_fields_is_a_hash_of_what_is_about_it() -> None:
    def source(**more: Any) -> str:
        return one("attacker.fingerprinted", **({"attacker_uuid": "a", "type": "x", "m": 1} | more)).source_id

    assert source() == source(decky_id="d", session_id="s", ts=5)
    assert source() != source(m=2)


def test_commands_have_their_id_or_their_number_and_others_who_are_no_mapping_are_left_out() -> None:
    events = judged(
        ended(
            "s",
            commands=[{"command_text": 5}, {"command_text": "a"}, {"id": "k", "command_text": "b"}, "c"],
            auth={},
        )
    )
    assert [(e.source_kind, e.source_id) for e in events] == [
        ("session", "s"),
        ("command", "s#cmd1"),
        ("command", "k"),
        ("command", "s#cmd3"),
    ]
    assert all(e.session_id == "s" and e.decky_id == "d" for e in events)
    assert [e.source_kind for e in judged(ended("s", commands=5, auth=[1]))] == ["session"]


def test_of_reuse_the_first_attacker_by_id_gets_the_tag() -> None:
    assert one("credential.reuse.detected", attacker_uuids=["b", "", 5, "a"]).attacker_uuid == "a"
    assert one("credential.reuse.detected", attacker_uuids=["b"], attacker_uuid="z").attacker_uuid == "z"
    assert one("credential.reuse.detected", identity_uuid="i").identity_uuid == "i"


def test_captured_gives_a_credential_and_a_log_in() -> None:
    events = judged(Event("credential.captured", {"attacker_uuid": "a", "secret_hmac": "h"}, id="e"))
    assert [(e.source_kind, e.source_id) for e in events] == [("credential", "a#h"), ("auth_attempt", "a#h")]
    assert one_of(judged(Event("credential.captured", {"attacker_uuid": "a"}, id="e"))) == {"e"}


def one_of(events: list[TaggerEvent]) -> set[str]:
    return {event.source_id for event in events}


def test_only_triggered_canaries_are_judged_and_an_email_knows_its_time() -> None:
    assert judged(Event("canary.t.placed", {"token_id": "t"})) == []
    assert judged(Event("canary.a.b.triggered", {"attacker_uuid": "a"})) == []
    assert one("canary.t.triggered", identity_uuid="i").source_id == "t#i"
    assert one("email.received", attacker_uuid="a", ts=1.0).payload["ts"] == 9.0
    assert one("attacker.intel.enriched", attacker_uuid="a", aggregate_verdict="x").payload["verdict"] == "x"
    assert "verdict" not in one("attacker.intel.enriched", attacker_uuid="a").payload


# -- facts of a session


def test_lists_of_facts_are_bounded_and_each_item_stands_once() -> None:
    downloads = [{"url": f"http://h{i}.example/f{i}"} for i in range(MAX_FACTS + 1)]
    lists = {
        "downloads": downloads + downloads[:1],
        "forwards": [{"host": "h", "port": p} for p in range(MAX_FACTS + 1)],
    }
    facts = judged(ended(**lists))[0].payload
    assert facts["download_count"] == MAX_FACTS + 2
    assert (
        len(facts["download_urls"])
        == len(facts["download_hosts"])
        == len(facts["forward_ports"])
        == MAX_FACTS
    )
    ports = [{"host": "h", "port": True}, {"host": "h", "port": "22"}, {"host": "h", "port": 22}]
    assert judged(ended(forwards=ports))[0].payload["forward_ports"] == [22]
    assert "upload_count" not in judged(ended(uploads=[5]))[0].payload


def test_a_file_is_one_event_by_its_hash_else_by_what_it_is_called() -> None:
    lists = {
        "downloads": [{"url": "http://H.example:80/x?q=1", "sha256": "AB"}, {"url": "http://other/x", "sha256": "ab"}, {}],
        "uploads": [{"filename": "C:\\t\\a.exe"}, {"sha256": "cd"}],
    }  # fmt: skip
    first, named, hashed = (e for e in judged(ended(**lists)) if e.source_kind == "payload")
    assert first.source_id == "s#download#ab"
    assert first.payload == {
        "direction": "download", "payload_text": ["http://H.example:80/x?q=1", "http://other/x"],
        "url": ["http://H.example:80/x?q=1", "http://other/x"], "url_host": ["h.example", "other"], "url_scheme": "http",
        "name": "x", "sha256": "ab",
    }  # fmt: skip
    assert (named.payload["name"], named.payload["direction"]) == ("a.exe", "upload")
    assert named.source_id == "s#upload#C:\\t\\a.exe"
    assert hashed.source_id == "s#upload#cd"
    assert (host_of("http://[x"), name_of("http://h"), name_of("/a/b/?x#y")) == ("", "", "b")


# -- offline


def test_offline_tagging_keeps_the_floor_and_takes_events_and_lines(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(RULE.format(id="R1", confidence=0.3))
    (tmp_path / "b.yaml").write_text(RULE.format(id="R2", confidence=0.29))
    (tmp_path / "c.yaml").write_text("x: [")
    tagger = OfflineTagger(tmp_path)
    assert [t["rule_id"] for t in tagger.tag_line("wget x")] == ["R1"]
    assert len(tagger.errors) == 1
    long = "wget " + "x" * 1001
    assert [t["matched"] for t in tagger.tag_line(long)] == ["wget"]
    event = {"source_kind": "command", "payload": {"command_text": "wget x"}}
    assert [t["rule_id"] for t in tagger.tag_line(json.dumps(event))] == ["R1"]
    assert [t["rule_id"] for t in tagger.tag_line(" " + json.dumps(event))] == ["R1"]
    for other in (
        {"source_kind": 5},
        {"source_kind": "nothing", "payload": {}},
        {"source_kind": "command", "payload": 5},
    ):
        assert tagger.tag_line(json.dumps(other)) == []
    assert tagger.tag_line("[" * 100_000) == []
    assert [t["rule_id"] for t in tagger.tag_line("{ wget x; }")] == ["R1"]
    tagger.tag_line("".join(f"a{i};" for i in range(400)))
    assert tagger.views_capped == 1
    first = tagger.tag_line("wget y")
    first[0]["rule_id"] = "changed"
    assert tagger.tag_line("wget y")[0]["rule_id"] == "R1", "what was handed out is no part of the cache"
    assert json.loads(tagger.answer("wget ä")) == {"input": "wget ä", "tags": tagger.tag_line("wget ä")}
    assert tagger.answer("wget ä").isascii()


def test_offline_lifters_look_at_their_kind_and_verdicts_raise_there_too(tmp_path: Path) -> None:
    def lifted(rule_id: str, kind: str, source: str, emits: str) -> None:
        text = f"rule_id: {rule_id}\nrule_version: 1\nname: n\ndescription: d\napplies_to: [{source}]\n"
        (tmp_path / f"{rule_id}.yaml").write_text(f"{text}match: {{kind: 'lifter:{kind}'}}\nemits: {emits}\n")

    lifted("L1", "credential_reuse", "credential", "[{tactic: TA0006, technique_id: T1110, confidence: 0.8}]")
    lifted("L2", "intel_abuseipdb", "intel", "[]")
    lifted("L3", "intel_aggregate_bump", "intel", "[]")
    tagger = OfflineTagger(tmp_path)

    def tags(kind: str, **payload: Any) -> list[tuple[str, float]]:
        found = tagger.tag_event({"source_kind": kind, "payload": payload})
        return [(t["rule_id"], round(t["confidence"], 3)) for t in found]

    both = {"reuse_count": 1, "abuseipdb_score": 50, "abuseipdb_categories": [18]}
    assert tags("credential", **both) == [("L1", 0.8)]
    assert tags("intel", **both) == [("L2", 0.4)]
    assert tags("intel", **both, aggregate_verdict="malicious") == [("L2", 0.55)]
    assert tags("auth_attempt", **both) == []
    assert [rule.rule_id for rule in tagger.index.lifted_rules("intel")] == ["L2", "L3"]
