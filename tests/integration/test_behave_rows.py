"""The behave worker on rows: ranks, waiting parts, what is told once, counters, locks, and re-extraction."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from decnet.behave import SOURCE
from decnet.behave import store as storing
from decnet.behave import worker as working
from decnet.behave.extract import rank_of
from decnet.behave.worker import BehaveWorker
from decnet.bus.base import Event
from decnet.bus.memory import MemoryBus
from decnet.bus.null import NullBus
from decnet.db.repository import BaseRepository
from decnet.ids import attacker_id
from decnet.jsontext import encoded
from decnet.runtime.worker import Transaction
from tests.behavekit import START, Tape, session
from tests.dbkit import open_repo
from tests.wirekit import pieces, taken

A = attacker_id("192.0.2.1")
RECON = ["whoami", "id", "uname -a", "hostname", "ps aux", "exit"]
Row = dict[str, Any]


@pytest.fixture
async def repo(tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo("sqlite", tmp_path) as opened:
        yield opened


async def started(repo: BaseRepository, bus: Any = None) -> BehaveWorker:
    worker = BehaveWorker()
    await worker.start(repo, bus or NullBus())
    return worker


async def fed(worker: BehaveWorker, repo: BaseRepository, *payloads: Row) -> Transaction:
    async with repo.transaction() as bound:
        tx = Transaction(bound)
        events = [
            Event("attacker.session.ended", p, id=hashlib.md5(repr(sorted(p.items())).encode()).hexdigest())
            for p in payloads
        ]
        await worker.handle(taken(events), tx)
    return tx


async def rows(repo: BaseRepository, table: str) -> list[Any]:
    async with repo.db.read() as reading:
        found = await reading.execute(text(f"SELECT * FROM {table}"))
        return [dict(row) for row in found.mappings()]


def done(session_id: str, rank: str, **more: Any) -> Row:
    row = {"session_id": session_id, "attacker_uuid": A, "rank": rank, "version": 1}
    return {**row, "started_at": 1.0, "ended_at": 2.0, "hours": {"0": 1}} | more


async def test_an_extracted_session_keeps_the_greatest_rank(repo: BaseRepository) -> None:
    for rank, ended, kept in (("2", 5.0, 5.0), ("1", 6.0, 5.0), ("2", 7.0, 7.0), ("3", 8.0, 8.0)):
        await repo.upsert_extracted_sessions([done("s1", rank, ended_at=ended)])
        assert (await repo.extracted_sessions(["s1", "none"]))["s1"]["ended_at"] == kept
    assert set(await repo.extracted_sessions(["none"])) == set()
    await repo.forget_extracted_sessions(["s1"])
    assert await repo.extracted_sessions(["s1"]) == {}


async def test_outdated_are_sessions_of_an_older_version_the_newest_first(repo: BaseRepository) -> None:
    await repo.upsert_extracted_sessions(
        [done(f"s{n}", "1", version=n, started_at=float(n)) for n in range(5)]
    )
    assert await repo.outdated_sessions(3, 9) == ["s2", "s1", "s0"]
    assert await repo.outdated_sessions(3, 2) == ["s2", "s1"]


async def test_sessions_around_a_moment_are_bounded_on_both_sides(repo: BaseRepository) -> None:
    rows_ = [done(f"s{n}", "1", started_at=float(n)) for n in range(8)]
    await repo.upsert_extracted_sessions([*rows_, done("other", "1", attacker_uuid="b", started_at=4.0)])
    before, after = await repo.sessions_around(A, 4.0, 2)
    assert ([r["session_id"] for r in before], [r["session_id"] for r in after]) == (
        ["s2", "s3"],
        ["s4", "s5"],
    )
    await repo.upsert_extracted_sessions([done("s40", "1", started_at=4.0)])
    assert [r["session_id"] for r in (await repo.sessions_around(A, 4.0, 2))[1]] == ["s4", "s40"]


async def test_parts_of_one_ending_wait_apart_from_those_of_another(repo: BaseRepository) -> None:
    part = {"session_id": "s1", "generation": "g1", "parts": 2}
    await repo.add_session_parts([{**part, "part": 2, "body": {"n": 2}}])
    await repo.add_session_parts(
        [{**part, "part": 2, "body": {"n": 99}}, {**part, "part": 1, "body": {"n": 1}}]
    )
    await repo.add_session_parts([{**part, "generation": "g2", "part": 1, "body": {"n": 7}}])
    assert [r["body"]["n"] for r in await repo.session_parts("s1", "g1")] == [1, 2], "the first one stays"
    assert [r["body"]["n"] for r in await repo.session_parts("s1", "g2")] == [7]
    await repo.forget_session_parts(["s1"])
    assert await repo.session_parts("s1", "g1") == await repo.session_parts("s1", "g2") == []


def observed(primitive: str = "p", **more: Any) -> Row:
    row: Row = {"evidence_ref": "r1", "primitive": primitive, "identity_uuid": "i", "attacker_uuid": A}
    row |= {"session_id": "s1", "value": "v", "confidence": 0.5, "ts": 2.0, "window_start": 1.0}
    return {**row, "window_end": 2.0, "source": SOURCE} | more


async def replaced(
    repo: BaseRepository, *new: Row, refs: Sequence[str] = (), sessions: Sequence[str] = ("s1",)
) -> list[str]:
    found = await repo.replace_observations(new, refs=refs, sessions=sessions, source=SOURCE)
    return [row["primitive"] for row in found]


async def test_rows_replace_those_of_their_session_and_reference_and_only_changes_are_told(
    repo: BaseRepository,
) -> None:
    foreign = {**observed("foreign"), "source": "another"}
    await repo.insert_observations([foreign])
    assert await replaced(repo, observed("p"), observed("q")) == ["p", "q"]
    assert await replaced(repo, observed("p"), observed("q")) == [], "the same is told once"
    for name, value in (
        ("value", "w"),
        ("confidence", 0.6),
        ("ts", 3.0),
        ("window_start", 0.0),
        ("window_end", 3.0),
    ):
        assert await replaced(repo, observed("p", **{name: value}), observed("q")) == ["p"], name
    assert await replaced(repo, observed("p")) == ["p"]
    assert {row["primitive"] for row in await rows(repo, "observation")} == {"p", "foreign"}, "q is gone"
    summary = observed("s", evidence_ref="day", session_id=None)
    assert await replaced(repo, summary, refs=["day"], sessions=()) == ["s"]
    assert await replaced(repo, observed("p", evidence_ref="r2")) == ["p"], (
        "a new reference of the same session"
    )
    assert sorted(row["evidence_ref"] for row in await rows(repo, "observation")) == ["day", "r1", "r2"]
    assert await replaced(repo, refs=["day"], sessions=()) == []
    assert sorted(row["evidence_ref"] for row in await rows(repo, "observation")) == ["r1", "r2"]


async def test_the_key_is_of_this_database_and_has_256_bits(tmp_path: Path, repo: BaseRepository) -> None:
    key = await repo.hash_key()
    assert (len(key), await repo.hash_key()) == (32, key)
    async with open_repo("sqlite", tmp_path) as other:
        assert await other.hash_key() != key


# --- the worker -----------------------------------------------------------------------------------


def typed(commands: int = 3, start: float = START + 1) -> bytes:
    tape = Tape(start=start)
    for line in RECON[:commands]:
        tape.line(line, 0.15, 0.3)
    return tape.done()


async def test_what_was_read_cut_missed_and_foreign_is_counted(repo: BaseRepository) -> None:
    bus = MemoryBus("test")
    await bus.connect()
    blobs = {"a" * 64: typed(), "b" * 64: typed()[:-1], "c" * 64: typed(start=START - 9_999)}
    for key, content in blobs.items():
        await bus.put_blob(key, content)
    worker = await started(repo, bus)
    payloads = [session(RECON, n=n, keystrokes_ref=key * 64) for n, key in enumerate("abcd")]
    tx = await fed(worker, repo, *payloads, session(RECON, n=9))
    keys = len("".join(RECON[:3])) + 3
    assert worker.health() == {
        "extractor_version": 1,
        "sessions": 5,
        "observations": len(pieces(tx.bus.events, "attacker.observation.>")),
        "recordings_read": 3,
        "recordings_missing": 1,
        "recordings_foreign": 1,
        "sessions_cut": 1,
        "keystroke_events": 2 * keys,
        "unreadable": 0,
    }
    await fed(worker, repo, *payloads)
    assert worker.health()["sessions"] == 5, "a second delivery is not extracted again"
    await worker.stop()
    assert worker.bus is None


async def test_only_a_hash_names_a_recording(repo: BaseRepository) -> None:
    worker = BehaveWorker()

    class Never(NullBus):
        async def get_blob(self, key: str) -> bytes | None:
            raise AssertionError("nobody may ask for it")

    worker.bus = Never()
    for key in ("a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n", "../" + "a" * 61, None):
        assert await worker._recording(key, repo) is None
    assert worker.counts["recordings_missing"] == 0


async def test_recordings_of_a_batch_are_extracted_in_bounded_groups(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert working.THREAD_BYTES == 4 * 2**20
    recording = typed(1)
    monkeypatch.setattr(working, "THREAD_BYTES", 2 * len(recording))
    bus = MemoryBus("test")
    await bus.connect()
    await bus.put_blob("a" * 64, recording)
    groups: list[tuple[int, bool]] = []
    original = working._extract_all

    def noted(group: Any, key: bytes) -> Any:
        groups.append((len(group), threading.current_thread() is threading.main_thread()))
        return original(group, key)

    monkeypatch.setattr(working, "_extract_all", noted)
    worker = await started(repo, bus)
    await fed(worker, repo, *(session(RECON, n=n, keystrokes_ref="a" * 64) for n in range(5)))
    assert groups == [(2, False), (2, False), (1, False)], "off the event loop"
    assert worker.health()["sessions"] == 5


async def test_the_attackers_of_a_batch_are_locked_before_anything_is_read(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    did: list[Any] = []
    for name in ("lock_attackers", "extracted_sessions"):
        original = getattr(BaseRepository, name)

        async def noted(self: Any, *args: Any, name: str = name, original: Any = original) -> Any:
            did.append((name, set(args[0])))
            return await original(self, *args)

        monkeypatch.setattr(BaseRepository, name, noted)
    worker = await started(repo)
    other = session(RECON, n=2, attacker_ip="192.0.2.2")
    await fed(worker, repo, session(RECON), other)
    assert did[:2] == [
        ("lock_attackers", {A, attacker_id("192.0.2.2")}),
        ("extracted_sessions", {"s1", "s2"}),
    ]


async def test_parts_are_forgotten_when_the_session_is_whole_and_not_before(repo: BaseRepository) -> None:
    worker = await started(repo)
    whole = session(RECON)
    parts = [
        whole | {"part": n, "parts": 3, "commands": whole["commands"][2 * n - 2 : 2 * n]} for n in (1, 2, 3)
    ]
    assert (await fed(worker, repo, parts[0], parts[2])).bus.events == []
    assert len(await rows(repo, "behave_part")) == 2
    assert (await fed(worker, repo, parts[1])).bus.events
    assert await rows(repo, "behave_part") == []
    (stored,) = await rows(repo, "behave_session")
    assert stored["rank"].endswith("|000003")
    assert (await fed(worker, repo, parts[1])).bus.events == []
    assert await rows(repo, "behave_part") == [], "a late copy of a part does not wait for ever"


async def test_an_ending_of_the_same_rank_is_not_extracted_again(repo: BaseRepository) -> None:
    worker = await started(repo)
    await fed(worker, repo, session(RECON, end_reason="idle"))
    assert (await fed(worker, repo, session(RECON, end_reason="idle"))).bus.events == []
    assert (await fed(worker, repo, session(RECON, end_reason="eof"))).bus.events == []
    assert worker.health()["sessions"] == 1
    await fed(worker, repo, session(RECON, end_reason="closed"))
    assert worker.health()["sessions"] == 2


async def test_two_endings_in_one_batch_end_as_the_greater_one(repo: BaseRepository) -> None:
    worker = await started(repo)
    late, early = session(RECON), session(RECON[:3])
    await fed(worker, repo, late, early)
    (stored,) = await rows(repo, "behave_session")
    assert stored["ended_at"] == late["ended_at"]
    assert {row["ts"] for row in await rows(repo, "observation") if row["session_id"]} == {late["ended_at"]}


async def test_a_changed_summary_is_news_and_an_unchanged_one_is_not(repo: BaseRepository) -> None:
    worker, noon = await started(repo), START - START % 86_400.0 + 43_200.0
    told = [
        {
            e.id: e.topic
            for e in pieces(
                (await fed(worker, repo, session(RECON, n=n, started=noon + n * 3600.0))).bus.events,
                "attacker.observation.>",
            )
        }
        for n in range(3)
    ]
    name = "attacker.observation.temporal.circadian.hour_histogram"
    assert [name in topics.values() for topics in told] == [False, True, True]
    assert not (told[1].keys() & told[2].keys()), "changed content has another id"
    again = await started(repo)
    async with repo.db.write() as writing:
        for table in ("observation", "session_feature", "behave_session"):
            await writing.execute(text(f"DELETE FROM {table}"))
    once = await fed(again, repo, session(RECON, n=0, started=noon))
    again_told = {e.id for e in pieces(once.bus.events, "attacker.observation.>")}
    assert again_told == set(told[0]), "the same content has the same id in every run"


async def test_sessions_that_are_gone_are_forgotten_and_new_ones_left_alone(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await started(repo)
    (job,) = worker.jobs
    assert (job.name, job.lease, job.interval_s, job.by_data) == ("reextract", "behave.reextract", 30.0, True)
    await repo.upsert_extracted_sessions([done("gone", rank_of("x"), version=0), done("new", rank_of("x"))])
    await job.run(repo, NullBus())
    assert set(await repo.extracted_sessions(["gone", "new"])) == {"new"}
    assert await repo.outbox_count() == 0
    assert worker.health()["unreadable"] == 0


def test_a_thread_pauses_after_its_turn_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [0.0], []
    monkeypatch.setattr(working.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(working.time, "sleep", slept.append)
    breathe = working._breather()
    for at in (0.0049, 0.005, 0.0099, 0.0101):
        now[0] = at
        breathe()
    assert slept == [0.0001, 0.0001]


async def test_observations_of_one_event_are_as_many_as_fit(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await started(repo)
    (whole,) = (await fed(worker, repo, session(RECON, n=0))).bus.events
    sizes = [len(encoded(item)) for item in whole.payload["observations"]]
    for limit, first in ((sum(sizes[:3]), 3), (sum(sizes[:3]) - 1, 2), (1, 1)):
        monkeypatch.setattr(storing, "PART_BYTES", limit)
        parts = list(storing._parts(whole.payload["observations"]))
        assert len(parts[0]) == first
        assert [item for part in parts for item in part] == whole.payload["observations"]
