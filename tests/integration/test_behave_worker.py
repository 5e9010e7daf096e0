"""The behave worker on SQLite and PostgreSQL: one transaction, whole sessions, any order, newer versions."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from behave_shell.spec.event_adapter import from_event_payload
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from decnet import behave
from decnet.behave import extract as extractor
from decnet.behave import store as storing
from decnet.behave import summaries
from decnet.behave import worker as working
from decnet.behave.worker import BehaveWorker
from decnet.bus.base import BaseBus, Event
from decnet.bus.memory import MemoryBus
from decnet.bus.null import NullBus
from decnet.db.repository import BaseRepository
from decnet.errors import BusUnavailable
from decnet.events.session import SessionEnded
from decnet.ids import attacker_id, identity_id
from decnet.runtime.worker import Transaction
from tests.behavekit import START, Tape, session
from tests.dbkit import KINDS, open_repo
from tests.wirekit import pieces, taken

ENDED = "attacker.session.ended"
DAY = 86_400.0
RECON = ["whoami", "id", "uname -a", "hostname", "ps aux", "exit"]


@pytest.fixture(params=KINDS)
async def either(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
async def repo(tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo("sqlite", tmp_path) as opened:
        yield opened


async def started(repo: BaseRepository, bus: BaseBus | None = None) -> BehaveWorker:
    worker = BehaveWorker()
    await worker.start(repo, bus or NullBus())
    return worker


def ended(payload: dict[str, Any]) -> Event:
    key = f"{payload['session_id']}{payload.get('part')}{payload.get('ended_at')}{payload.get('end_reason')}"
    return Event(ENDED, payload, id=hashlib.md5(key.encode()).hexdigest())


async def feed(worker: BehaveWorker, repo: BaseRepository, *payloads: dict[str, Any]) -> list[Event]:
    """Gives the worker one batch; the news that it tells."""
    async with repo.transaction() as bound:
        tx = Transaction(bound)
        await worker.handle(taken([ended(payload) for payload in payloads]), tx)
        assert not tx.dead
        return tx.bus.events


async def rows(
    repo: BaseRepository, table: str = "observation", order: str = "evidence_ref, primitive"
) -> list[Any]:
    async with repo.db.read() as reading:
        found = await reading.execute(text(f"SELECT * FROM {table} ORDER BY {order}"))
        return [dict(row) for row in found.mappings()]


async def state(repo: BaseRepository) -> tuple[Any, ...]:
    features = await rows(repo, "session_feature", "session_id")
    return await rows(repo), features, await rows(repo, "behave_session", "session_id")


async def test_rows_features_and_news_are_one_effect(either: BaseRepository) -> None:
    repo = either
    worker = await started(repo)
    payload = session(RECON)
    (told,) = await feed(worker, repo, payload)
    assert (told.topic, told.payload["session_id"], told.ts) == (
        "attacker.observations",
        "s1",
        payload["ended_at"],
    )
    news = pieces([told], "attacker.observation.>")
    stored = await rows(repo)
    of_session = [row for row in stored if row["session_id"] == "s1"]
    assert {e.topic for e in news} == {f"attacker.observation.{row['primitive']}" for row in stored}
    assert len(of_session) >= 12
    for event in news:
        primitive = event.topic.removeprefix("attacker.observation.")
        body = dict(event.payload)
        assert body.pop("attacker_uuid") == attacker_id("192.0.2.1")
        assert body.pop("session_id") == "s1"
        observation = from_event_payload(primitive, body)
        assert observation.identity_ref == identity_id(attacker_id("192.0.2.1"))
        assert event.ts == payload["ended_at"]
        assert event.type == primitive
    features = await rows(repo, "session_feature", "session_id")
    assert [row["session_id"] for row in features] == ["s1"]
    assert worker.health()["sessions"] == 1


async def test_a_second_delivery_changes_and_tells_nothing(repo: BaseRepository) -> None:
    worker = await started(repo)
    await feed(worker, repo, session(RECON))
    before = await state(repo)
    assert await feed(worker, repo, session(RECON)) == []
    assert await feed(await started(repo), repo, session(RECON)) == []
    assert await state(repo) == before


async def test_a_session_waits_for_all_its_parts(repo: BaseRepository) -> None:
    whole = session(RECON)
    parts = [
        whole | {"part": n, "parts": 3, "commands": whole["commands"][2 * n - 2 : 2 * n]} for n in (1, 2, 3)
    ]
    worker = await started(repo)
    assert await feed(worker, repo, parts[2]) == []
    assert await feed(worker, repo, parts[0], parts[0]) == []
    assert await rows(repo) == []
    assert await feed(worker, repo, parts[1])
    assert await rows(repo, "behave_part", "part") == []
    assert await feed(worker, repo, *parts) == []
    assert await rows(repo, "behave_part", "part") == []
    values = {row["primitive"]: row["value"] for row in await rows(repo)}
    assert "cognitive.tool_vocabulary" in values


async def test_a_later_ending_replaces_the_earlier_one_in_any_order(repo: BaseRepository) -> None:
    early = session(RECON[:3], end_reason="idle")
    late = session(RECON)
    worker = await started(repo)
    await feed(worker, repo, early)
    assert await feed(worker, repo, late)
    stored = [row for row in await rows(repo) if row["session_id"]]
    assert {row["ts"] for row in stored} == {late["ended_at"]}
    before = await state(repo)
    assert await feed(worker, repo, early) == []
    assert await state(repo) == before


async def test_endings_at_the_same_moment_are_told_apart(repo: BaseRepository) -> None:
    worker = await started(repo)
    await feed(worker, repo, session(RECON, end_reason="eof"))
    assert await feed(worker, repo, session(RECON, end_reason="closed"))
    assert "temporal.session_duration" in {row["primitive"] for row in await rows(repo)}


def typed() -> bytes:
    tape = Tape(start=START + 1)
    for line in RECON * 4:
        tape.line(line, 0.15, 0.3)
    return tape.done()


async def test_recordings_come_from_the_bus_or_from_the_database(repo: BaseRepository) -> None:
    recording = typed()
    key = hashlib.sha256(recording).hexdigest()
    bus = MemoryBus("test")
    await bus.connect()
    worker = await started(repo, bus)
    await feed(worker, repo, session(RECON, n=1, keystrokes_ref=key))
    assert worker.health()["recordings_missing"] == 1
    assert "motor.keystroke_cadence" not in {row["primitive"] for row in await rows(repo)}
    await repo.upsert_recording(key, "s2", recording)
    await feed(worker, repo, session(RECON, n=2, keystrokes_ref=key))
    await bus.put_blob(key, recording)
    await feed(worker, repo, session(RECON, n=3, keystrokes_ref=key))
    cadence = {row["session_id"] for row in await rows(repo) if row["primitive"] == "motor.keystroke_cadence"}
    assert cadence == {"s2", "s3"}
    assert worker.health()["recordings_read"] == 2


async def test_a_bus_that_is_away_fails_the_batch_and_not_the_session(repo: BaseRepository) -> None:
    class Away(NullBus):
        async def get_blob(self, key: str) -> bytes | None:
            raise BusUnavailable("away")

    worker = await started(repo, Away())
    with pytest.raises(BusUnavailable):
        await feed(worker, repo, session(RECON, keystrokes_ref="a" * 64))
    assert await rows(repo) == []
    assert await feed(await started(repo), repo, session(RECON, keystrokes_ref="a" * 64))


def visits(ip: str = "192.0.2.1") -> list[dict[str, Any]]:
    """Hourly returns over three days."""
    return [
        session(RECON[: 2 + n % 3], started=START + n * 3600.0, n=n, attacker_ip=ip, gap=1.0)
        for n in range(60)
    ]


async def test_running_summaries_are_one_row_per_day(repo: BaseRepository) -> None:
    worker = await started(repo)
    await feed(worker, repo, *visits()[:30])
    await feed(worker, repo, *visits()[30:])
    stored = [row for row in await rows(repo) if row["session_id"] is None]
    names = {row["primitive"] for row in stored}
    assert names >= {
        "temporal.circadian.hour_histogram",
        "temporal.circadian.dow_histogram",
        "temporal.circadian.hour_dow_histogram",
        "temporal.circadian.quiet_span_utc",
        "temporal.persistence",
        "toolchain.c2.beacon_interval_ms",
        "toolchain.c2.beacon_jitter_cv",
    }
    assert len({row["evidence_ref"] for row in stored}) == len(
        {int((START + n * 3600) // DAY) for n in range(60)}
    )
    assert all(row["identity_uuid"] == identity_id(attacker_id("192.0.2.1")) for row in stored)


async def run(repo: BaseRepository, payloads: Sequence[dict[str, Any]], size: int) -> tuple[Any, ...]:
    """The state of an emptied database after these sessions in batches."""
    async with repo.db.write() as writing:
        for table in ("observation", "session_feature", "behave_session", "behave_part"):
            await writing.execute(text(f"DELETE FROM {table}"))
    worker = await started(repo)
    for place in range(0, len(payloads), size):
        await feed(worker, repo, *payloads[place : place + size])
    return await state(repo)


async def test_the_order_and_the_cut_of_batches_do_not_matter(repo: BaseRepository) -> None:
    payloads = visits()
    expected = await run(repo, payloads, 20)
    assert await run(repo, payloads, 60) == expected
    assert await run(repo, payloads[::-1], 7) == expected
    assert await run(repo, [*payloads[30:], *payloads[:40]], 9) == expected


HISTORY = [
    *(
        session(RECON[: n % 5], started=START + n * 20_000.0, n=n, attacker_ip=f"192.0.2.{n % 2}")
        for n in range(8)
    ),
    session(RECON[:3], n=2, started=START + 40_000.0, end_reason="idle"),
    session(RECON, n=2, started=START + 40_000.0, attacker_ip="192.0.2.0"),
    *(
        session(RECON, n=50, started=START + 70_000.0)
        | {"part": p, "parts": 2, "commands": session(RECON, n=50)["commands"][:p]}
        for p in (1, 2)
    ),
]


def test_any_order_and_number_of_deliveries(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        repo = runner.run(BaseRepository.open(f"sqlite:///{tmp_path / 'd.sqlite'}"))
        expected = runner.run(run(repo, HISTORY, 5))

        @settings(max_examples=15, deadline=None)
        @given(st.permutations(HISTORY), st.lists(st.sampled_from(HISTORY), max_size=4), st.integers(2, 6))
        def check(order: list[Any], again: list[Any], size: int) -> None:
            assert runner.run(run(repo, [*order, *again], size)) == expected

        check()
        runner.run(repo.close())


async def test_two_engines_at_once_end_like_one(either: BaseRepository) -> None:
    repo = either
    workers = [await started(repo), await started(repo)]
    payloads = visits()
    halves = [payloads[::2], payloads[1::2]]

    async def half(worker: BehaveWorker, mine: list[dict[str, Any]]) -> None:
        for place in range(0, len(mine), 5):
            await feed(worker, repo, *mine[place : place + 5])

    await asyncio.gather(*(half(worker, mine) for worker, mine in zip(workers, halves, strict=True)))
    together = await state(repo)
    assert await run(repo, payloads, 20) == together


async def test_a_newer_extractor_reads_stored_sessions_again(
    either: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = either
    worker = await started(repo)
    for n in range(3):
        payload = session(RECON, n=n, started=START + n * 1000)
        await feed(worker, repo, payload)
        if n < 2:  # the third one is gone by retention
            await repo.upsert_session(payload)
            await repo.insert_commands(payload["session_id"], payload["commands"])
    for module in (behave, extractor, storing, summaries, working):
        monkeypatch.setattr(module, "EXTRACTOR_VERSION", 2)
    newer = await started(repo)
    await newer.jobs[0].run(repo, NullBus())
    done = await rows(repo, "behave_session", "session_id")
    assert [(row["session_id"], row["version"]) for row in done] == [("s0", 2), ("s1", 2)]
    refs = {row["evidence_ref"] for row in await rows(repo) if row["session_id"] in ("s0", "s1")}
    assert all("#behave-2@" in ref for ref in refs)
    assert len(refs) == 2
    assert await repo.outbox_count() == 3, "one for each session, and one for their day"
    assert await feed(newer, repo, session(RECON, n=0, started=START)) == []


async def test_the_key_of_the_hashes_is_made_once(repo: BaseRepository) -> None:
    keys = await asyncio.gather(*(repo.hash_key() for _ in range(5)))
    assert len(set(keys)) == 1
    assert len(keys[0]) == 32


async def test_a_large_recording_does_not_block_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20,000 keys; the bench has 100,000 and the figure."""
    tape = Tape(start=START + 1)
    while len(tape.parts) < 40_000:
        tape.line("find / -name '*.conf' -o -name id_rsa", 0.12, 0.3)
    recording = tape.done()
    key = hashlib.sha256(recording).hexdigest()
    bus = MemoryBus("test")
    await bus.connect()
    await bus.put_blob(key, recording)
    async with open_repo("sqlite", tmp_path) as repo:
        worker = await started(repo, bus)
        running = threading.Event()
        original = working._extract_all

        def noted(*args: Any) -> Any:
            running.set()
            try:
                return original(*args)
            finally:
                running.clear()

        monkeypatch.setattr(working, "_extract_all", noted)
        payload = session(RECON, keystrokes_ref=key, ended_at=tape.now)
        task = asyncio.create_task(feed(worker, repo, payload), name="feed")
        turns = 0
        while not task.done():
            await asyncio.sleep(0.001)
            turns += running.is_set()
        assert await task
        assert worker.health()["keystroke_events"] > 15_000
        # On the loop itself there would be none; 50 ms at most between two of them is the bench's to show.
        assert turns > 5


async def test_one_session_that_cannot_be_extracted_again_costs_the_others_nothing(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await started(repo)
    for n in range(3):
        payload = session(RECON, n=n, started=START + n * 1000)
        await feed(worker, repo, payload)
        await repo.upsert_session(payload)
    for module in (behave, extractor, storing, summaries, working):
        monkeypatch.setattr(module, "EXTRACTOR_VERSION", 2)
    original = extractor.extract

    def picky(ended: SessionEnded, *args: Any, **more: Any) -> Any:
        if ended.session_id == "s1":
            raise ValueError("no")
        return original(ended, *args, **more)

    monkeypatch.setattr(working, "extract", picky)
    await worker.jobs[0].run(repo, NullBus())
    done = await rows(repo, "behave_session", "session_id")
    assert [(row["session_id"], row["version"]) for row in done] == [("s0", 2), ("s2", 2)]
    assert worker.health()["unreadable"] == 1


async def test_a_reference_that_is_no_hash_is_no_recording(repo: BaseRepository) -> None:
    worker = await started(repo)
    assert await feed(worker, repo, session(RECON, keystrokes_ref="../../etc/passwd"))
    assert worker.health()["recordings_missing"] == 0
