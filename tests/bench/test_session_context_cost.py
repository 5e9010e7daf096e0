"""What sessions cost the judge: memory while they are not whole, and reading one line as a shell would.

No facts are kept of a session that is not judged: what is known of it so far waits as parts in the database, and
what a judgement made of them is gone with it. The first figure shows that nothing of it stays in memory.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from decnet.bus.base import Event
from decnet.db.repository import BaseRepository
from decnet.db.repository.base import chunks
from decnet.events.session import SessionEnded
from decnet.runtime.received import received
from decnet.runtime.worker import transaction
from decnet.ttp.context import session_context
from decnet.ttp.parts import together
from tests.bench.figures import Table
from tests.democommands import demo_commands

pytestmark = pytest.mark.bench
SESSIONS, LINES, AT_ONCE = 10_000, 100, 100
MOST_MB = 40.0
"""Above an idle engine."""
MOST_US = 40.0
"""A line; the goal is 15."""
CORPUS = "DECNET_BENCH_SESSIONS"
"""Environment variable: a file of sessions as ``tag --sessions`` reads them. Without it the demo's commands are taken."""
_ROUNDS = 3


def _resident_mb() -> float:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _first_part(number: int, lines: list[str]) -> Event:
    """The first of two parts of a session, as the bus brings it."""
    name = f"session{number:05}"
    some = [lines[(number + i) % len(lines)] for i in range(LINES)]
    commands = [{"id": f"{name}#cmd{i}", "command_text": text, "ts": 10.0 + i} for i, text in enumerate(some)]
    payload = {"session_id": name, "attacker_ip": "203.0.113.1", "ended_at": 9000.0, "part": 1, "parts": 2}
    return Event("attacker.session.ended", {**payload, "commands": commands}, id=name)


@pytest.mark.timeout(600)
async def test_open_sessions_take_no_memory(table: Table, tmp_path: Path) -> None:
    lines = sorted(set(demo_commands()))
    repo = await BaseRepository.open(f"sqlite:///{tmp_path / 'bench.sqlite'}")
    try:
        before = most = _resident_mb()
        for first in range(0, SESSIONS, AT_ONCE):
            async with transaction(repo) as tx:
                batch = [received(_first_part(n, lines)) for n in range(first, first + AT_ONCE)]
                known = await together(batch, tx.repo, 3600.0)
                assert len(known.lacking) == AT_ONCE
                for one in known.batch:
                    assert isinstance(one.record, SessionEnded)
                    session_context(one.record)
            del batch, known, one
            most = max(most, _resident_mb())
    finally:
        await repo.close()
    table.add(f"{SESSIONS} open sessions of {LINES} lines", most - before, MOST_MB, "MB")


def _sessions() -> Iterator[SessionEnded]:
    if given := os.environ.get(CORPUS):
        with Path(given).open(encoding="utf-8") as stream:
            told = [
                [c if isinstance(c, str) else c["text"] for c in json.loads(x)["commands"]] for x in stream
            ]
    else:
        told = list(chunks(list(demo_commands()), 20))
    for number, texts in enumerate(told):
        payload = {
            "session_id": f"s{number}",
            "attacker_ip": "203.0.113.1",
            "ended_at": 1.0,
            "commands": texts,
        }
        yield SessionEnded.parse(payload)


def test_a_line_is_read_within_its_budget(table: Table) -> None:
    sessions = [session for session in _sessions() if session.commands][:5000]
    best = [1e9] * len(sessions)
    for _ in range(_ROUNDS):
        for i, session in enumerate(sessions):
            start = time.perf_counter()
            session_context(session)
            best[i] = min(best[i], (time.perf_counter() - start) * 1e6)
    lines = sum(len(session.commands) for session in sessions)
    each = statistics.median(t / len(s.commands) for t, s in zip(best, sessions, strict=True))
    table.add("context of a line, median of sessions", each, MOST_US, "us")
    table.add(f"context of a line, all {lines} lines", sum(best) / lines, MOST_US, "us")
