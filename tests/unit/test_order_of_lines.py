"""The order in which a log is read does not matter: files, blocks of lines, and a clock that ran ahead."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.config import Settings
from decnet.sensors.files.tailer import Line
from decnet.sensors.sources import CowrieSource

KEY = b"k" * 32
DAY = 86_400.0
START = 1_700_000_000.0


def line(session: str, event: str, ts: float, **more: Any) -> bytes:
    about = {
        "eventid": f"cowrie.{event}",
        "timestamp": ts,
        "session": session,
        "sensor": "pot",
        "src_ip": "192.0.2.7",
    }
    return json.dumps({**about, **more}).encode()


def whole(session: str, start: float, commands: int) -> list[bytes]:
    """One session from its connection to its close."""
    return [
        line(session, "session.connect", start),
        line(session, "login.success", start + 1, username="root", password="x"),
        *(
            line(session, "command.input", start + 2 + i, input=f"echo {session} {i}")
            for i in range(commands)
        ),
        line(session, "session.closed", start + 10, duration=10.0),
    ]


def outcome(lines: list[bytes]) -> dict[str, Any]:
    """What a log comes to: the last ending of every session."""
    source = CowrieSource(Settings(), KEY)
    events = source.feed(Line("f", n, 0, data) for n, data in enumerate(lines, 1))
    events += source.end_all()
    ended = [e.payload for e in events if e.topic == "attacker.session.ended"]
    return {
        p["session_id"]: {k: p[k] for k in ("started_at", "ended_at", "commands", "auth", "end_reason")}
        for p in ended
    }


FILES = [whole(f"s{i}", START + i * 5 * DAY, i + 1) for i in range(4)]


@pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
def test_any_order_of_files(order: tuple[int, ...]) -> None:
    right = outcome([data for file in FILES for data in file])
    assert len(right) == 4
    assert [len(s["commands"]) for s in right.values()] == [1, 2, 3, 4]
    assert outcome([data for i in order for data in FILES[i]]) == right


@given(st.permutations(range(4)), st.integers(0, 3), st.integers(2, 6))
def test_a_block_from_elsewhere_in_the_middle_of_a_session_tears_nothing(
    order: list[int], cut: int, place: int
) -> None:
    """One file is read between two lines of another, as by ``cat`` of what was being written."""
    first, *rest = (FILES[i] for i in order)
    place = min(place, len(first) - 1)
    inner = [data for file in rest[:cut] for data in file]
    mixed = [*first[:place], *inner, *first[place:], *(data for file in rest[cut:] for data in file)]
    assert {k: v["commands"] for k, v in outcome(mixed).items()} == {
        k: v["commands"] for k, v in outcome([d for f in FILES for d in f]).items()
    }


def test_a_clock_that_once_ran_ahead_tears_no_session() -> None:
    long = whole("s1", START, 5)
    mad = line("s2", "session.connect", START + 400 * DAY)
    assert outcome([*long[:4], mad, *long[4:]])[next(iter(outcome(long)))] == next(
        iter(outcome(long).values())
    )


def test_an_id_that_comes_again_is_another_session_and_the_same_one_when_read_again() -> None:
    first, second = whole("TT8", START, 1), whole("TT8", START + 7200, 2)
    once = outcome([*first, *second])
    assert [len(s["commands"]) for s in once.values()] == [1, 2]
    assert outcome([*first, *second, *first, *second]).keys() == once.keys()
    alone = outcome(first)
    assert alone.keys() < once.keys(), "the first keeps the plain id"


@pytest.mark.parametrize("order", [(3, 2, 1, 0), (1, 3, 0, 2)], ids=str)
def test_the_past_is_read_as_the_past_and_ends_no_session_between_its_lines(order: tuple[int, ...]) -> None:
    source = CowrieSource(Settings(), KEY)
    lines = [data for i in order for data in FILES[i]]
    events = source.feed(Line("f", n, 0, data) for n, data in enumerate(lines, 1))
    ended = [e.payload["session_id"] for e in events if e.topic == "attacker.session.ended"]
    assert len(ended) == len(set(ended)) == 4, "each once, by its own close line"
