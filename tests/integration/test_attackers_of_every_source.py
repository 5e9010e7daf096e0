"""Whatever an event is about, its attacker is written down with address and times, and its tags show the address."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from decnet.bus.base import Event, matches
from decnet.db.repository import BaseRepository
from decnet.engine import Engine
from decnet.events.topics import RECORDS
from decnet.ids import attacker_id
from decnet.recorder.plan import plan_of
from decnet.recorder.worker import RecorderWorker
from decnet.runtime.worker import Transaction
from tests.dbkit import KINDS, migrated_url
from tests.golden import settings
from tests.wirekit import parsed, taken

T = 1_700_000_000.0
AT = datetime.fromtimestamp(T, UTC)
BODIES: dict[str, dict[str, Any]] = {
    "canary.tok.triggered": {"token_id": "tok", "user_agent": "HeadlessChrome/120 Selenium"},
    "email.received": {"source_id": "m-1", "subject": "x", "rcpt_count": 3},
    "attacker.intel.enriched": {"aggregate_verdict": "malicious", "providers": ["abuseipdb"]},
    "attacker.fingerprinted": {"type": "hassh", "hassh": "aa"},
    "credential.reuse.detected": {"credential_id": "c"},
}
LATER = {
    "attacker.session.started": {"session_id": "s", "decky_id": "d", "service": "ssh", "started_at": T + 60}
}


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with migrated_url(request.param, tmp_path) as url:
        opened = await BaseRepository.open(url)
        yield opened
        await opened.close()


async def recorded(repo: BaseRepository, *events: Event) -> list[str]:
    async with repo.transaction() as bound:
        tx = Transaction(bound)
        await RecorderWorker().handle(taken(events), tx)
    return [letter.reason for letter in tx.dead]


def event(topic: str, ip: str | None, **more: Any) -> Event:
    who = {} if ip is None else {"attacker_ip": ip}
    return Event(topic, {**BODIES.get(topic, {}), **who, **more}, "", f"{topic}{ip}", T)


async def test_an_address_alone_is_enough(repo: BaseRepository) -> None:
    ips = {topic: f"203.0.113.{n}" for n, topic in enumerate(BODIES, 1)}
    assert await recorded(repo, *(event(topic, ip) for topic, ip in ips.items())) == []
    rows = {row["attacker_ip"]: row for row in await repo.list_attackers()}
    assert set(rows) == set(ips.values())
    for ip, row in rows.items():
        assert (row["attacker_uuid"], row["first_seen"], row["last_seen"]) == (attacker_id(ip), AT, AT)
        assert row["identity_uuid"] is not None
    found = [(row["kind"], row["value"]) for row in await repo.find("203.0.113.3")]
    assert ("address", "203.0.113.3") in found, "known by a look-up alone"
    assert len(await repo.list_attackers(since=T)) == len(BODIES)
    assert await repo.list_attackers(since=T + 1) == []


async def test_a_look_up_says_when_only_as_long_as_nobody_saw_the_attacker(repo: BaseRepository) -> None:
    ip = "203.0.113.9"
    seen = event("attacker.session.started", ip, **LATER["attacker.session.started"])
    told = [
        event("attacker.intel.enriched", ip),
        Event("attacker.intel.enriched", {"attacker_ip": ip}, ts=T - 9),
    ]
    ends = []
    for order in itertools.permutations([seen, *told]):
        async with repo.transaction() as bound:
            for one in order:
                await RecorderWorker().handle(taken([one]), Transaction(bound))
            (row,) = await bound.list_attackers()
            ends.append((row["first_seen"], row["last_seen"]))
    assert set(ends) == {(datetime.fromtimestamp(T + 60, UTC),) * 2}, "in whatever order they come"


async def test_an_event_of_an_identity_alone_writes_no_attacker_and_is_no_dead_letter(
    repo: BaseRepository,
) -> None:
    bodies = BODIES.keys() - {"credential.reuse.detected"}
    events = [event(topic, None, identity_uuid="i-1") for topic in bodies]
    events.append(event("credential.reuse.detected", None, attacker_uuids=["a", "b"]))
    assert await recorded(repo, *events) == []
    assert await repo.list_attackers() == []
    _, refused = parsed(event(topic, None) for topic in bodies)
    assert len(refused) == len(bodies), "who names nobody is said"


def test_the_recorder_reads_every_topic_whose_record_names_an_attacker() -> None:
    from decnet.events.record import FromAttacker

    others = {
        "attacker.scored",
        "attacker.observation.>",
        "attacker.observations",
        "attacker.session.progress",
    }
    wanted = {topic for topic, record in RECORDS.items() if issubclass(record, FromAttacker)} - others
    ours = ("attribution.", "ttp.")
    read = RecorderWorker.topics
    missing = {t for t in wanted if t not in read and not t.startswith(ours)}
    assert missing == set(), (
        "scores and observations follow from what it wrote itself, a running session is told of once it ends"
    )
    assert any(matches(pattern, "canary.a-token.triggered") for pattern in read)
    assert (
        plan_of(
            taken([Event("canary.tok.placed", {"token_id": "tok", "attacker_ip": "192.0.2.1"}, "", "e", T)])
        ).refused
        == []
    )


async def test_tags_show_the_address_of_an_event_that_names_its_identity_too(tmp_path: Path) -> None:
    """End to end: recorded events through a whole engine; no tag without the address that its event carried."""
    log = tmp_path / "events.jsonl"
    lines = [
        event("canary.tok.triggered", "203.0.113.1", navigator_webdriver=True),
        event(
            "canary.tok2.triggered",
            "203.0.113.2",
            navigator_webdriver=True,
            identity_uuid="i-2",
            user_agent="x",
        ),
        event("email.received", "203.0.113.3", attachment_macros=True, attachment_extensions=["docm"]),
    ]
    log.write_text("".join(line.to_bytes().decode() + "\n" for line in lines))
    engine = Engine(settings(tmp_path, {"kind": "jsonl", "path": str(log)}))
    await engine.start()
    try:
        assert await asyncio.wait_for(engine.until_idle(0.3), 60) is None
        tags = await engine.repo.list_tags(limit=0)
        found = {(tag["source_kind"], tag["attacker_ip"]) for tag in tags}
        attackers = {row["attacker_ip"]: row["first_seen"] for row in await engine.repo.list_attackers()}
    finally:
        await engine.stop()
    assert {kind for kind, _ in found} == {"canary_fingerprint", "email"}
    assert None not in {ip for _, ip in found}
    assert attackers == {f"203.0.113.{n}": AT for n in (1, 2, 3)}


@pytest.mark.slow
async def test_two_sensors_whose_names_clean_alike_stay_apart_over_restarts(tmp_path: Path) -> None:
    """End to end: two logs in one engine, then the same logs read again by another engine of the same database."""
    line = {"eventid": "cowrie.session.connect", "session": "s1", "src_ip": "fe80::7%eth0", "protocol": "ssh"}
    names = ("k\u00f6der", "k\u00e4der")
    for number, name in enumerate(names):
        rows = [{**line, "sensor": name, "timestamp": f"2026-03-01T00:00:0{number}Z"}]
        rows.append({**rows[0], "eventid": "cowrie.command.input", "input": f"echo {number}"})
        (tmp_path / f"{number}.json").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    found = []
    base = settings(tmp_path, {"kind": "cowrie", "path": str(tmp_path / "0.json")})
    for _ in range(2):
        second = base.sensors[0].model_copy(update={"path": tmp_path / "1.json"})
        engine = Engine(base.model_copy(update={"sensors": (*base.sensors, second)}))
        await engine.start()
        try:
            assert await asyncio.wait_for(engine.until_idle(0.3), 60) is None
            assert engine.sensors is not None
            shown = [name for row in engine.sensors.status() for name in row["names"]]
            sessions = await engine.repo.list_sessions()
            found.append({row["session_id"]: (row["decky_id"], row["attacker_ip"]) for row in sessions})
            async with engine.repo.db.write() as session:
                await session.execute(text("DELETE FROM sensor_checkpoint"))
        finally:
            await engine.stop()
    tokens = {name["name"]: name["token"] for name in shown}
    assert set(tokens) == set(names)
    assert len(set(tokens.values())) == 2
    assert sorted(found[0].values()) == sorted((token, "fe80::7") for token in tokens.values())
    assert found[0] == found[1], "reading again adds nothing and moves nothing"
