"""The recorder on SQLite: rows, news, dead letters; any order and any number of deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decnet.bus.base import BaseBus, Event
from decnet.db.repository import BaseRepository
from decnet.db.tables import table
from decnet.errors import BusUnavailable
from decnet.ids import attacker_id, identity_id
from decnet.recorder.plan import plan_of
from decnet.recorder.worker import IDENTITY_FORMED, RecorderWorker, copy_recordings
from decnet.runtime.worker import Transaction
from tests.dbkit import open_repo
from tests.wirekit import parsed, taken

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
    event("attacker.intel.enriched", 130.0, attacker_ip=IPS[0], aggregate_verdict="malicious"),
    event("attacker.intel.enriched", 125.0, attacker_ip=IPS[0], aggregate_verdict="unknown"),
]


TABLES = (
    "attacker", "identity", "session", "session_part", "command", "credential", "fingerprint",
    "recording", "attacker_intel",
)  # fmt: skip


async def snapshot(repo: BaseRepository) -> dict[str, list[str]]:
    """All rows of all evidence tables, as text; of a bound repository as its transaction sees them."""
    out = {}
    async with repo._read() as reader:
        for name in TABLES:
            rows = (await reader.execute(table(name).select())).mappings()
            out[name] = sorted(str(dict(row)) for row in rows)
    return out


async def play(repo: BaseRepository, batches: list[list[Event]]) -> tuple[list[Event], list[str]]:
    """Runs batches as the runtime does; (published, reasons of the dead letters)."""
    worker, published, dead = RecorderWorker(), [], list[str]()
    for batch in batches:
        async with repo.transaction() as bound:
            tx = Transaction(bound)
            found, refused = parsed(batch)
            await worker.handle(found, tx)
        published += tx.bus.events
        dead += [*refused, *(letter.reason for letter in tx.dead)]
    return published, dead


Stage = tuple[dict[str, list[str]], list[Event], list[str]]
"""Rows, published events, reasons of dead letters."""


class Shared:
    """One database for all examples of a property, each in a transaction that is rolled back."""

    def __init__(self, folder: Path) -> None:
        self.runner = asyncio.Runner()
        self.repo = self.runner.run(BaseRepository.open(f"sqlite:///{folder / 'shared.sqlite'}"))
        self.history = self.played([HISTORY])[0][0]

    def close(self) -> None:
        self.runner.run(self.repo.close())
        self.runner.close()

    def played(self, batches: list[list[Event]], *later: list[list[Event]]) -> list[Stage]:
        """What there is after these batches on an empty database, and after each later lot of them."""
        return self.runner.run(self._played([batches, *later]))

    async def _played(self, lots: list[list[list[Event]]]) -> list[Stage]:
        out: list[Stage] = []
        with suppress(_Undo):
            async with self.repo.transaction() as bound:
                for batches in lots:
                    published, dead = await play(bound, batches)
                    out.append((await snapshot(bound), published, dead))
                raise _Undo
        return out


class _Undo(Exception):
    """Rolls an example back."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    world = Shared(tmp_path_factory.mktemp("recorder"))
    yield world
    world.close()


@given(
    order=st.permutations(range(len(HISTORY))),
    again=st.lists(st.integers(0, len(HISTORY) - 1), max_size=8),
    size=st.integers(1, 12),
)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_order_and_duplicates_change_nothing(
    shared: Shared, order: list[int], again: list[int], size: int
) -> None:
    assert {name for name, rows in shared.history.items() if not rows} == {"recording"}
    deliveries = [HISTORY[n] for n in (*order, *again)]
    batches = [deliveries[i : i + size] for i in range(0, len(deliveries), size)]
    ((rows, published, dead),) = shared.played(batches)
    assert rows == shared.history
    assert sorted(e.payload["identity_uuid"] for e in published) == sorted([I1, I2])
    assert dead == []


async def test_rows_of_a_history(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        published, _ = await play(repo, [HISTORY])
        await repo.merge_identities(I1, I2)
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
        await repo.merge_identities(I1, I2)
        published, _ = await play(repo, [[HISTORY[0]], [HISTORY[4]], HISTORY])
        assert sorted(e.payload["identity_uuid"] for e in published) == sorted([I1, I2])
        assert len({e.id for e in published}) == 2


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
def test_hostile_payloads_never_fail_a_batch(
    shared: Shared, payload: dict[str, Any], command: dict[str, Any]
) -> None:
    """Each event becomes rows or one dead letter with a reason; its neighbours are kept; twice is once."""
    ok = {"session_id": "s\x00\ud800", "attacker_uuid": "a\ud800", "ended_at": 5.0}
    batch = [Event(topic, {**payload, **fix}) for topic in RecorderWorker.topics for fix in ({}, ok)]
    batch.append(Event("attacker.session.ended", {**payload, **ok, "commands": [command]}))
    found, malformed = parsed(batch)
    refused = len(malformed) + len(plan_of(found).refused)
    first, second = shared.played([[HISTORY[1], *batch, HISTORY[4]]], [batch])
    rows, published, dead = first
    assert len(dead) == refused < len(batch), "an observed attacker with ids of its own can always be read"
    assert all(dead)
    assert {"s1", "s2"} <= {_kept_session(row) for row in rows["session"]}, "the good neighbours"
    formed = {e.payload["identity_uuid"] for e in published}
    assert len(formed) == len(published) == len(rows["identity"]) - _bare(rows)
    assert second == (rows, [], dead), "the same rows, no news, the same complaints"


def _kept_session(row: str) -> str:
    return row.split("'session_id': '", 1)[1].split("'", 1)[0]


def _bare(rows: dict[str, list[str]]) -> int:
    """Identities whose attacker nobody has seen."""
    return sum("'attacker_uuid': None" in row for row in rows["identity"])


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
            await worker.handle(taken(batch), Transaction(bound))
        assert await repo.recording("k") is None
        assert worker.health()["recordings_waiting"] == 1
        await copy_recordings(repo, bus)
        blobs.away = False
        await copy_recordings(repo, bus)
        assert await repo.recording("k") == b"tty"
        async with repo.transaction() as bound:
            await worker.handle(taken(batch), Transaction(bound))
        await worker.stop()


def test_plan_ignores_other_topics() -> None:
    assert plan_of(taken([Event("attacker.tested", {})])).refused == []
