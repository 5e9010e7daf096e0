"""Two engines each read a part of the lines of one session, at once: every command is stored, each under its own id."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text

from decnet.db.repository import BaseRepository
from decnet.recorder.worker import RecorderWorker
from decnet.runtime.worker import Transaction
from tests.dbkit import KINDS, migrated_url
from tests.unit.test_order_of_lines import START, whole
from tests.unit.test_stored_sessions import events_of
from tests.wirekit import taken

SESSIONS = 12
COMMANDS = 6


async def stores(repo: BaseRepository, lines: list[bytes], begun: asyncio.Barrier) -> None:
    """One engine: what its sensor makes of its lines, in one transaction that others overlap."""
    events = taken(events_of(lines))
    await begun.wait()
    async with repo.transaction() as bound:
        await RecorderWorker().handle(events, Transaction(bound))
        await asyncio.sleep(0.2)  # the other one is at work meanwhile, or waits for this one


@pytest.mark.parametrize("kind", KINDS)
async def test_no_command_is_lost_when_two_engines_number_them_alike(tmp_path: Path, kind: str) -> None:
    sessions = [whole(f"s{n}", START + 60 * n, COMMANDS) for n in range(SESSIONS)]
    lines = [line for one in sessions for line in one]
    begun = asyncio.Barrier(2)
    async with migrated_url(kind, tmp_path) as url:
        one, two = await BaseRepository.open(url), await BaseRepository.open(url)
        try:
            await asyncio.gather(stores(one, lines[::2], begun), stores(two, lines[1::2], begun))
            async with one.db.read() as session:
                found = (
                    await session.execute(text("SELECT session_id, command_text, ts FROM command"))
                ).all()
                counted = (await session.execute(text("SELECT command_count FROM session"))).scalars().all()
        finally:
            await one.close()
            await two.close()
    assert len(found) == len(set(found)) == SESSIONS * COMMANDS
    assert counted == [COMMANDS] * SESSIONS
