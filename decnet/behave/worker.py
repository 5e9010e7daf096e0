"""The behave worker: ended sessions in, observations and features stored, news of them out.

Reading recordings and extracting runs in a thread, recording by recording, so that the event loop goes on.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from decnet.behave import EXTRACTOR_VERSION
from decnet.behave.extract import Extraction, ending_of, extract, rank_of
from decnet.behave.parts import whole_session
from decnet.behave.store import store
from decnet.bus import topics
from decnet.bus.base import BaseBus
from decnet.errors import MalformedEvent
from decnet.events.session import SessionEnded
from decnet.logs import get_logger
from decnet.runtime.naming import under_stored_names
from decnet.runtime.received import Received
from decnet.runtime.worker import Job, Transaction, TxBus, Worker

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository

_log = get_logger(__name__)
_KEY = re.compile(r"[0-9a-f]{64}\Z")
REEXTRACT_EVERY_S = 30.0
REEXTRACT_AT_ONCE = 50
BREATH_S = 0.0001
BREATH_EVERY_S = 0.005
THREAD_BYTES = 4 * 2**20
"""Recordings handed to one thread together at most; a larger one goes alone."""


@dataclass(slots=True)
class Task:
    """One session to extract."""

    session: SessionEnded
    parts: int
    recording: bytes | None = None


class BehaveWorker(Worker):
    """Makes observations of every session that has ended."""

    name = "behave"
    topics = (topics.attacker(topics.ATTACKER_SESSION_ENDED),)
    keeps = ()

    def __init__(self) -> None:
        self.bus: BaseBus | None = None
        self.key = b""
        self.counts: dict[str, int] = dict.fromkeys(
            ("sessions", "observations", "recordings_read", "recordings_missing", "recordings_foreign",
             "sessions_cut", "keystroke_events", "unreadable"), 0
        )  # fmt: skip
        self.jobs = (
            Job(
                "reextract",
                REEXTRACT_EVERY_S,
                self._reextract,
                lease="behave.reextract",
                by_data=True,
                due=lambda repo: repo.outdated_sessions(EXTRACTOR_VERSION, 1),
            ),
        )

    async def start(self, repo: BaseRepository, bus: BaseBus) -> None:
        """Keeps the bus for its object store and reads the key of the hashes."""
        self.bus = bus
        self.key = await repo.hash_key()
        _log.info("behave worker started", extractor_version=EXTRACTOR_VERSION)

    async def handle(self, batch: Sequence[Received], tx: Transaction) -> None:
        """Extracts the sessions that are whole with this batch; the others wait for their parts."""
        named = await under_stored_names(batch, tx.repo)
        ended = [one.record for one in named if isinstance(one.record, SessionEnded)]
        await tx.repo.lock_attackers({str(session.attacker) for session in ended})
        known = await tx.repo.extracted_sessions({session.session_id for session in ended})
        tasks = []
        for session in ended:
            stored = known.get(session.session_id)
            if stored is not None and stored["rank"] >= rank_of(ending_of(session, session.parts)):
                continue
            whole = await whole_session(session, tx.repo)
            if whole is not None:
                tasks.append(Task(whole, session.parts))
        await self._work(tasks, tx.repo, tx.bus)

    async def _work(self, tasks: Sequence[Task], repo: BaseRepository, bus: TxBus) -> None:
        extractions: list[Extraction] = []
        group: list[Task] = []
        for task in tasks:
            task.recording = await self._recording(task.session.keystrokes_ref, repo)
            group.append(task)
            if sum(len(one.recording or b"") for one in group) >= THREAD_BYTES:
                extractions += await self._extracted(group)
                group = []
        extractions += await self._extracted(group)
        self.counts["observations"] += await store(extractions, repo, bus)
        whole = sorted({task.session.session_id for task in tasks if task.parts > 1})
        await repo.forget_session_parts(whole)

    async def _recording(self, key: str | None, repo: BaseRepository) -> bytes | None:
        """The recording on the bus, else the copy in the database. Raises BusError."""
        if key is None or not _KEY.match(key):
            return None
        data = None if self.bus is None else await self.bus.get_blob(key)
        if data is None:
            data = await repo.recording(key)
        self.counts["recordings_missing" if data is None else "recordings_read"] += 1
        return data

    async def _extracted(self, group: Sequence[Task]) -> list[Extraction]:
        if not group:
            return []
        done = await asyncio.to_thread(_extract_all, group, self.key)
        for task in group:
            task.recording = None
        self.counts["sessions"] += len(done)
        self.counts["recordings_foreign"] += sum(x.foreign_recording for x in done)
        self.counts["sessions_cut"] += sum(x.capped for x in done)
        self.counts["keystroke_events"] += sum(x.keystroke_events for x in done)
        return done

    async def _reextract(self, repo: BaseRepository, _bus: BaseBus) -> None:
        """Sessions that an older extractor has read are read again, some at a time."""
        while ids := await repo.outdated_sessions(EXTRACTOR_VERSION, REEXTRACT_AT_ONCE):
            try:
                await self._again(ids, repo)
            except (ValueError, MalformedEvent):
                _log.error("sessions cannot be extracted again together", exc_info=True)
                await self._one_by_one(ids, repo)
            _log.info("sessions extracted again", sessions=len(ids), extractor_version=EXTRACTOR_VERSION)

    async def _one_by_one(self, ids: Sequence[str], repo: BaseRepository) -> None:
        """So that one session that fails costs the others nothing; it keeps its old observations."""
        for session_id in ids:
            try:
                await self._again([session_id], repo)
            except (ValueError, MalformedEvent):
                self.counts["unreadable"] += 1
                _log.error("session cannot be extracted again", session_id=session_id, exc_info=True)
                await repo.forget_extracted_sessions([session_id])

    async def _again(self, ids: Sequence[str], repo: BaseRepository) -> None:
        """Extracts stored sessions; one that is gone from the database is forgotten."""
        stored = [payload for sid in ids if (payload := await repo.session_payload(sid))]
        tasks = [Task(SessionEnded.parse(dict(payload)), 1) for payload in stored]
        async with repo.transaction() as bound:
            news = TxBus()
            await bound.lock_attackers({str(task.session.attacker) for task in tasks})
            await self._work(tasks, bound, news)
            left = await bound.outdated_sessions(EXTRACTOR_VERSION, REEXTRACT_AT_ONCE)
            await bound.forget_extracted_sessions(sorted(set(ids) & set(left)))
            await bound.outbox_add_many(news.events)

    def health(self) -> dict[str, Any]:
        """Counters; what was cut or left out shows here."""
        return {"extractor_version": EXTRACTOR_VERSION, **self.counts}

    async def stop(self) -> None:
        """Lets the bus go."""
        self.bus = None
        _log.info("behave worker stopped")


def _extract_all(group: Sequence[Task], key: bytes) -> list[Extraction]:
    """Extractions of sessions; runs in a thread. What cannot be extracted is the batch's failure."""
    breathe = _breather()
    return [
        extract(task.session, task.recording, key=key, parts=task.parts, breathe=breathe) for task in group
    ]


def _breather() -> Callable[[], None]:
    """Hands the interpreter to the event loop now and then; a thread that never waits is asked for it at every turn.

    Most sessions take less than a turn, and go without.
    """
    last = time.perf_counter()

    def breathe() -> None:
        nonlocal last
        if time.perf_counter() - last >= BREATH_EVERY_S:
            time.sleep(BREATH_S)
            last = time.perf_counter()

    return breathe
