"""The recorder on SQLite: rows, news, dead letters; any order and any number of deliveries."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import SQLModel

from decnet.bus.base import BaseBus, Event
from decnet.db.repository import BaseRepository
from decnet.errors import BusUnavailable
from decnet.ids import attacker_id, identity_id
from decnet.recorder.plan import plan_of
from decnet.recorder.worker import IDENTITY_FORMED, RecorderWorker, copy_recordings
from decnet.runtime.worker import Transaction
from tests.dbkit import open_repo

IPS = ("192.0.2.1", "192.0.2.2")
I1, I2 = (identity_id(attacker_id(ip)) for ip in IPS)


def event(topic: str, ts: float = 100.0, **payload: Any) -> Event:
    return Event(topic, payload, "", f"{topic}{ts}{sorted(payload.items(), key=str)}", ts)


def session(topic: str, n: int, ip: str, ts: float = 100.0, **more: Any) -> Event:
    base: dict[str, Any] = {
        "session_id": f"s{n}",
        "attacker_uuid": attacker_id(ip),
        "attacker_ip": ip,
        "decky_id": "web-01",
    }
    base |= {"service": "ssh", "protocol": "ssh", "started_at": 100.0 + n}
    return event(topic, ts, **base, **more)


def ended(n: int, ip: str, part: int = 1, parts: int = 1, at: float = 200.0, **more: Any) -> Event:
    commands = [
        {"id": f"s{n}c{part}.{i}", "command_text": f"id {i}", "ts": 101.0 + part + i} for i in range(3)
    ]
    body: dict[str, Any] = {"ended_at": at, "end_reason": "closed", "duration_s": 9.0, "part": part}
    body |= {"parts": parts, "command_count": 3 * parts, "commands": commands}
    return session("attacker.session.ended", n, ip, at, **(body | more))


HISTORY = [
    event("attacker.observed", 90.0, attacker_uuid=attacker_id(IPS[0]), attacker_ip=IPS[0], first_seen=90.0),
    session("attacker.session.started", 1, IPS[0]),
    ended(1, IPS[0], 1, 2),
    ended(1, IPS[0], 2, 2),
    ended(2, IPS[1], at=150.0, end_reason="eof"),
    ended(2, IPS[1], at=180.0),
    session("attacker.session.started", 2, IPS[1]),
    event("attacker.fingerprinted", 110.0, attacker_ip=IPS[1], type="hassh", hassh="aa"),
    event("credential.captured", 111.0, attacker_ip=IPS[1], username="root", secret_hmac="x", success=True),
    event("credential.captured", 109.0, attacker_ip=IPS[1], username="root", secret_hmac="x", success=False),
    event("identity.merged", 120.0, winner_uuid=I1, loser_uuid=I2),
    event("attacker.intel.enriched", 130.0, attacker_ip=IPS[0], aggregate_verdict="malicious"),
    event("attacker.intel.enriched", 125.0, attacker_ip=IPS[0], aggregate_verdict="unknown"),
]


async def snapshot(repo: BaseRepository) -> dict[str, list[str]]:
    """All rows of all evidence tables, as text."""
    names = ("attacker", "identity", "identity_merge", "session", "session_part", "command")
    out = {}
    async with repo.db.read() as reader:
        for name in (*names, "credential", "fingerprint", "recording", "attacker_intel"):
            rows = (await reader.execute(SQLModel.metadata.tables[name].select())).mappings()
            out[name] = sorted(str(dict(row)) for row in rows)
    return out


async def play(repo: BaseRepository, batches: list[list[Event]]) -> tuple[list[Event], int]:
    """Runs batches as the runtime does; (published, dead-lettered)."""
    worker, published, dead = RecorderWorker(), [], 0
    for batch in batches:
        async with repo.transaction() as bound:
            tx = Transaction(bound)
            await worker.handle(batch, tx)
        published += tx.bus.events
        dead += len(tx.dead)
    return published, dead


async def played(batches: list[list[Event]]) -> tuple[dict[str, list[str]], list[Event], int]:
    with tempfile.TemporaryDirectory() as folder:
        async with open_repo("sqlite", Path(folder)) as repo:
            published, dead = await play(repo, batches)
            return await snapshot(repo), published, dead


_expected: list[dict[str, list[str]]] = []


@given(
    order=st.permutations(range(len(HISTORY))),
    again=st.lists(st.integers(0, len(HISTORY) - 1), max_size=8),
    size=st.integers(1, 12),
)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_order_and_duplicates_change_nothing(order: list[int], again: list[int], size: int) -> None:
    if not _expected:
        _expected.append(asyncio.run(played([HISTORY]))[0])
    deliveries = [HISTORY[n] for n in (*order, *again)]
    batches = [deliveries[i : i + size] for i in range(0, len(deliveries), size)]
    rows, published, dead = asyncio.run(played(batches))
    assert rows == _expected[0]
    assert sorted(e.payload["identity_uuid"] for e in published) == sorted([I1, I2])
    assert dead == 0


async def test_rows_of_a_history(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        published, _ = await play(repo, [HISTORY])
        sessions = {row["session_id"]: row for row in await repo.list_sessions()}
        assert (sessions["s1"]["command_count"], sessions["s2"]["end_reason"]) == (6, "closed")
        assert len(await repo.commands_of("s1")) == 6
        assert {row["identity_uuid"] for row in sessions.values()} == {I1}, "merged"
        first = next(row for row in await repo.list_attackers() if row["attacker_ip"] == IPS[0])
        assert (first["first_seen"].timestamp(), first["last_seen"].timestamp()) == (90.0, 200.0)
        assert {e.topic for e in published} == {IDENTITY_FORMED}
        assert await repo.ensure_stub_identity_for_attacker(attacker_id(IPS[1])) == I1


async def test_merge_before_the_first_sight_still_forms_the_identity(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        published, _ = await play(repo, [[HISTORY[10]], [HISTORY[0]], [HISTORY[4]], HISTORY])
        assert sorted(e.payload["identity_uuid"] for e in published) == sorted([I1, I2])
        assert len({e.id for e in published}) == 2


@pytest.mark.parametrize(
    "bad",
    [
        event("attacker.session.started", session_id=5, attacker_ip="192.0.2.1"),
        event("attacker.session.started", session_id="s9"),
        event("attacker.session.ended", session_id="s9", attacker_ip="192.0.2.1"),
        event("attacker.session.ended", session_id="s9", attacker_ip="192.0.2.1", ended_at=1e300),
        event("attacker.session.ended", session_id="s9", attacker_ip="x", ended_at=1, commands=["id"]),
        event("attacker.session.ended", session_id="s9", attacker_ip="x", ended_at=1, commands=[{"ts": []}]),
        event("attacker.fingerprinted", attacker_ip="192.0.2.1"),
        event("identity.merged", winner_uuid=I1),
        event("attacker.observed", attacker_ip=["192.0.2.1"]),
        event("attacker.observed", attacker_ip="192.0.2.1", first_seen="yesterday"),
    ],
)
async def test_one_unreadable_event_costs_only_itself(tmp_path: Path, bad: Event) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        _, dead = await play(repo, [[HISTORY[1], bad, HISTORY[6]]])
        assert dead == 1
        assert len(await repo.list_sessions()) == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = (
    "session_id",
    "attacker_uuid",
    "attacker_ip",
    "decky_id",
    "service",
    "protocol",
    "started_at",
    "ended_at",
)
MORE = ("part", "parts", "command_count", "client", "auth", "downloads", "duration_s", "end_reason", "type")


@given(
    payload=st.dictionaries(st.sampled_from((*KEYS, *MORE, "username", "secret_hmac", "winner_uuid")), JSON),
    command=st.dictionaries(st.sampled_from(("id", "command_text", "ts", "user", "success")), JSON),
)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_hostile_payloads_never_fail_a_batch(payload: dict[str, Any], command: dict[str, Any]) -> None:
    ok = {"session_id": "s\x00\ud800", "attacker_uuid": "a\ud800", "ended_at": 5.0}
    batch = [Event(topic, {**payload, **fix}) for topic in RecorderWorker.topics for fix in ({}, ok)]
    batch.append(Event("attacker.session.ended", {**payload, **ok, "commands": [command]}))
    asyncio.run(played([batch, batch]))


class _Blobs:
    """Only the object store of a bus; ``away`` makes it fail."""

    def __init__(self) -> None:
        self.away = True

    async def get_blob(self, key: str) -> bytes | None:
        if self.away:
            raise BusUnavailable("gone")
        return b"tty" if key == "k" else None


async def test_recording_waits_for_the_bus(tmp_path: Path) -> None:
    blobs: Any = _Blobs()
    bus: BaseBus = blobs
    async with open_repo("sqlite", tmp_path) as repo:
        worker = RecorderWorker()
        await worker.start(repo, bus)
        batch = [ended(1, IPS[0], keystrokes_ref="k"), ended(2, IPS[0], keystrokes_ref="lost")]
        async with repo.transaction() as bound:
            await worker.handle(batch, Transaction(bound))
        assert await repo.recording("k") is None
        assert worker.health()["recordings_waiting"] == 1
        await copy_recordings(repo, bus)
        blobs.away = False
        await copy_recordings(repo, bus)
        assert await repo.recording("k") == b"tty"
        async with repo.transaction() as bound:
            await worker.handle(batch, Transaction(bound))
        await worker.stop()


def test_plan_ignores_other_topics() -> None:
    assert plan_of([Event("attacker.scored", {})]).refused == []
