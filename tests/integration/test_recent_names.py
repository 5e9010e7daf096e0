"""Who judges may be ahead of who stores: in one process both give a session and its commands the same names."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from decnet.bus.base import Event
from decnet.db.engine import Database
from decnet.db.repository import BaseRepository
from decnet.db.repository.recorder import recent
from decnet.db.repository.recorder.naming import settled
from decnet.db.repository.recorder.recent import RecentNames, recent_names
from decnet.events.lives import Life
from tests.dbkit import open_repo
from tests.unit.test_order_of_lines import START, whole
from tests.unit.test_stored_sessions import events_of, record

HOUR = 3600.0
DAY = 86_400.0


async def names(repo: BaseRepository, lines: list[bytes]) -> set[tuple[str, str]]:
    """Session and command ids that somebody who stores nothing gives to what a fresh sensor tells of some lines."""
    events: list[Event] = events_of(lines)
    return {
        (event.payload["session_id"], command["id"])
        for event in await settled(events, repo)
        for command in event.payload.get("commands", ())
    }


async def stored(repo: BaseRepository) -> set[tuple[str, str]]:
    async with repo.db.read() as session:
        return set(
            map(tuple, (await session.execute(text("SELECT session_id, command_id FROM command"))).all())
        )


async def test_sessions_of_one_id_are_named_before_any_is_stored(tmp_path: Path) -> None:
    first, second = whole("TT8", START, 2), whole("TT8", START + DAY, 1)
    async with open_repo("sqlite", tmp_path) as repo:
        judged = [await names(repo, first), await names(repo, second)]
        assert judged[0].isdisjoint(judged[1])
        await record(repo, second)  # the recorder meets them the other way round
        await record(repo, first)
        assert await stored(repo) == judged[0] | judged[1]


async def test_halves_of_a_session_take_no_names_of_each_other(tmp_path: Path) -> None:
    lines = whole("s1", START, 4)
    halves = [lines[:4], lines[4:]]
    async with open_repo("sqlite", tmp_path) as repo:
        judged = [await names(repo, half) for half in halves]
        assert len(judged[0] | judged[1]) == 4
        for half in reversed(halves):
            await record(repo, half)
        assert await stored(repo) == judged[0] | judged[1]


async def test_what_is_stored_has_a_say_beside_what_is_remembered(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        await record(repo, whole("TT8", START, 1))
        known = await stored(repo)
    async with open_repo("sqlite", tmp_path) as repo:  # another process
        assert await names(repo, whole("TT8", START, 1)) == known
        assert (await names(repo, whole("TT8", START + DAY, 1))).isdisjoint(known)


def test_memory_has_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "IDS_KEPT", 3)
    monkeypatch.setattr(recent, "LIVES_OF_ONE", 2)
    monkeypatch.setattr(recent, "COMMANDS_KEPT", 5)
    memory = RecentNames()
    for number in range(5):
        memory.lives(("pot", f"s{number}"), [Life("x", START)])
    assert [len(memory.lives(("pot", f"s{n}"), [])) for n in (4, 3, 2)] == [1, 1, 1]
    assert memory.lives(("pot", "s1"), []) == []
    many = [Life(f"n{number}", START + number * HOUR) for number in range(4)]
    assert [life.name for life in memory.lives(("pot", "many"), many)] == ["n2", "n3"]
    for session in ("a", "b"):
        memory.note(session, {f"{session}#cmd{n}": str(n) for n in range(3)})
    assert memory.commands("a") == {}
    assert len(memory.commands("b")) == 3
    memory.note("b", {"b#cmd0": "0"})  # known already
    memory.note("c", {f"c#cmd{n}": str(n) for n in range(2)})
    assert (len(memory.commands("b")), len(memory.commands("c"))) == (3, 2)
    memory.note("huge", {f"h#cmd{n}": str(n) for n in range(9)})
    assert len(memory.commands("huge")) == 9, "the newest session is whole"
    assert memory.commands("c") == {}


def test_everybody_on_a_database_has_one_memory(tmp_path: Path) -> None:
    one, other = (Database(f"sqlite:///{tmp_path / name}.sqlite") for name in "ab")
    assert recent_names(one) is recent_names(one)
    assert recent_names(one) is not recent_names(other)
