"""Which parts of a session are judged together, and in which order its lines then stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from decnet.bounds import BITES
from decnet.bus.base import Event
from decnet.events.session import PLACES, SessionEnded, position
from decnet.ttp.parts import MAX_KEPT, PARTS_APART, Together, all_known, together
from tests.wirekit import taken


class Rows:
    """``ttp_part`` in memory."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, int], Any] = {}
        self.held: list[list[str]] = []

    async def hold_sessions(self, sessions: Sequence[str]) -> None:
        self.held.append(sorted(sessions))

    async def add_parts_to_judge(self, rows: Sequence[Any]) -> None:
        assert self.held, "who adds the last part must see all the others"
        self.rows = {**{(r["session_id"], r["generation"], r["part"]): r for r in rows}, **self.rows}

    async def count_parts_to_judge(self, sessions: Sequence[str]) -> dict[str, int]:
        return {name: len(await self.parts_to_judge([name])) for name in sessions}

    async def parts_to_judge(self, sessions: Sequence[str]) -> list[Any]:
        return [row for key, row in sorted(self.rows.items()) if key[0] in sessions]

    async def forget_parts_to_judge(self, generations: Sequence[tuple[str, str]]) -> None:
        self.rows = {key: row for key, row in self.rows.items() if key[:2] not in generations}


def ended(name: str, part: int, parts: int, *lines: str, **more: Any) -> Event:
    commands = [{"id": f"{name}#{line}", "command_text": line, "ts": 5.0} for line in lines]
    said = {"session_id": name, "attacker_ip": "203.0.113.1", "ended_at": 9.0, "part": part, "parts": parts}
    return Event("attacker.session.ended", {**said, "commands": commands, **more}, id=f"{name}{part}{lines}")


async def known(rows: Rows, *events: Event) -> Together:
    return await together(taken(events), rows, 60.0)  # type: ignore[arg-type]


def lines_of(found: Together) -> dict[str, list[str]]:
    records = (one.record for one in found.batch)
    ended = (r for r in records if isinstance(r, SessionEnded))
    return {r.session_id: [command.command_text for command in r.commands] for r in ended}


async def test_a_session_in_one_event_is_kept_nowhere_and_may_have_gone_on() -> None:
    rows = Rows()
    found = await known(rows, ended("s", 1, 1, "a"), Event("attacker.observed", {"attacker_ip": "192.0.2.1"}))
    assert (lines_of(found), len(found.batch)) == ({"s": ["a"]}, 2)
    assert (found.whole, found.lacking, rows.rows, rows.held) == (frozenset(), frozenset(), {}, [])
    stored = all_known(taken([ended("s", 1, 1, "a")]))
    assert (stored.whole, stored.lacking) == ({"s"}, frozenset()), "what the database holds is whole"


async def test_parts_are_judged_with_those_that_are_there_in_the_order_of_the_session() -> None:
    rows = Rows()
    late = await known(rows, ended("s", 3, 3, "e", "f"), ended("t", 1, 1, "x"))
    assert (lines_of(late), late.whole, late.lacking) == (
        {"s": ["e", "f"], "t": ["x"]}, frozenset(), {"s"}
    )  # fmt: skip
    both = await known(rows, ended("s", 1, 3, "a", "b", uploads=[{"filename": "u"}]))
    assert (lines_of(both), both.lacking) == ({"s": ["a", "b", "e", "f"]}, {"s"})
    whole = await known(rows, ended("s", 2, 3, "c", "d"), ended("s", 3, 3, "e", "f"))
    assert (lines_of(whole), whole.whole, whole.lacking) == ({"s": list("abcdef")}, {"s"}, frozenset())
    (record,) = (one.record for one in whole.batch)
    assert isinstance(record, SessionEnded)
    assert (record.part, record.parts, [u.filename for u in record.uploads]) == (1, 1, ["u"])
    again = await known(rows, ended("s", 1, 3, "a", "b"))
    assert (lines_of(again), again.whole) == ({"s": list("abcdef")}, {"s"})
    assert rows.held == [["s"]] * 4


async def test_a_session_that_went_on_is_what_its_later_ending_says_in_any_order() -> None:
    first = [ended("s", 1, 2, "a", lines=2), ended("s", 2, 2, "b", lines=2)]
    later = [ended("s", n, 3, line, lines=3, ended_at=20.0) for n, line in enumerate("abc", start=1)]
    rows = Rows()
    assert (await known(rows, *first)).whole == {"s"}
    going = await known(rows, later[0], later[2])
    assert (lines_of(going), going.lacking) == ({"s": ["a", "b", "c"]}, {"s"})
    assert (await known(rows, later[1])).whole == {"s"}
    assert len(rows.rows) == 3, "the earlier ending is forgotten"
    stale = await known(rows, first[1])
    assert (lines_of(stale), stale.whole, len(rows.rows)) == ({"s": ["a", "b", "c"]}, {"s"}, 3)


async def test_pieces_that_know_nothing_of_each_other_are_one_session() -> None:
    rows = Rows()
    auth = {"fail_count": 2, "success": True, "usernames": ["root"]}
    await known(rows, ended("s", 1, 1, "a", piece="z", lines=1, auth=auth, failed_at=[1.0, 2.0]))
    late = {"fail_count": 1, "success": True, "usernames": ["pi"], "default_pair": True}
    found = await known(rows, ended("s", 1, 1, "b", piece="y", lines=1, span=[8.0, 9.0], auth=late))
    (record,) = (one.record for one in found.batch)
    assert isinstance(record, SessionEnded)
    assert (lines_of(found), found.lacking) == ({"s": ["a", "b"]}, frozenset())
    assert found.whole == frozenset(), "the database may hold more of it"
    assert record.auth is not None
    assert (record.auth.fail_count, record.auth.usernames) == (3, ["root", "pi"])
    assert record.auth.default_pair is True


async def test_a_piece_of_which_nothing_else_is_known_is_judged_as_it_came_and_kept_for_those_that_may_follow() -> (
    None
):
    rows = Rows()
    (event,) = taken([ended("s", 1, 1, "a", piece="z", lines=1)])
    found = await together([event], rows, 60.0)  # type: ignore[arg-type]
    assert found.batch == [event]
    assert (found.whole, found.lacking, len(rows.rows)) == (frozenset(), frozenset(), 1)
    again = await together([event, event], rows, 60.0)  # type: ignore[arg-type]
    assert (again.batch, len(rows.rows)) == ([event], 1), "delivered twice it is judged once"


async def test_a_session_that_lost_its_beginning_is_not_whole_with_all_its_parts() -> None:
    found = await known(Rows(), ended("s", 1, 2, "b", torn=True), ended("s", 2, 2, "c", torn=True))
    assert (lines_of(found), found.whole, found.lacking) == ({"s": ["b", "c"]}, frozenset(), frozenset())


@pytest.mark.parametrize(("parts", "alone"), [(MAX_KEPT, 0), (MAX_KEPT + 1, 1)])
async def test_parts_beyond_the_bound_are_judged_alone_and_counted(
    monkeypatch: pytest.MonkeyPatch, parts: int, alone: int
) -> None:
    monkeypatch.setitem(BITES, PARTS_APART, 0)
    rows = Rows()
    found = await known(rows, ended("s", 1, parts, "a"))
    assert (BITES[PARTS_APART], len(rows.rows), found.lacking) == (alone, 1 - alone, {"s"})


def test_places_follow_each_other_from_part_to_part() -> None:
    assert [position(1, 0), position(1, PLACES - 1), position(2, 0)] == [0, PLACES - 1, PLACES]
