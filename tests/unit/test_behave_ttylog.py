"""Recordings: the format as Cowrie writes it, and bytes as an attacker might leave them."""

from __future__ import annotations

import struct
import time
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decnet.behave.keys import read_keys
from decnet.behave.ttylog import HEADER, INPUT, OP_WRITE, OUTPUT, ReadState, chunks
from tests.behavekit import START, Tape, extract, session
from tests.recording import ttylog as recorder

DEMO = Path(__file__).parents[2] / "decnet" / "_data" / "demo" / "tty"
FIXTURES = Path(__file__).parents[1] / "fixtures" / "cowrie" / "recorded"
RECORDINGS = sorted([*DEMO.iterdir(), *FIXTURES.glob("*/tty/*")])


def header(operation: int, length: int, direction: int = INPUT, seconds: int = 1, micros: int = 0) -> bytes:
    return struct.pack("<iLiiLL", operation, 0, length, direction, seconds, micros)


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.name[:8])
def test_real_recordings_are_read_whole(path: Path) -> None:
    content, state = path.read_bytes(), ReadState()
    mine = [(round(now * 1e6), direction, data) for now, direction, data in chunks(content, state)]
    theirs = [
        (r.at, r.direction, r.data)
        for r in recorder.read(content)
        if r.operation == recorder.WRITE and r.direction in (recorder.INPUT, recorder.OUTPUT)
    ]
    assert mine == theirs
    assert not state.truncated
    assert not state.capped
    assert state.exec_channel == any(r.direction == recorder.INTERACT for r in recorder.read(content))
    assert (state.opened_at or 0) <= (state.closed_at or 0)


def test_times_are_absolute_and_never_go_back() -> None:
    content = (
        header(3, 1, seconds=10) + b"a" + header(3, 1, seconds=5) + b"b" + header(3, 1, seconds=11) + b"c"
    )
    assert [now for now, _, _ in chunks(content)] == [10.0, 10.0, 11.0]


@pytest.mark.parametrize(
    "tail",
    [
        header(3, 2**31 - 1) + b"x",
        header(3, -1) + b"x",
        header(3, -(2**31)),
        header(0, 1) + b"x",
        header(99, 0),
        header(3, 5) + b"xy",
        b"\x00" * 7,
        b"\xff" * 100,
    ],
)
def test_reading_ends_where_it_makes_no_sense(tail: bytes) -> None:
    state = ReadState()
    assert [data for _, _, data in chunks(header(3, 2) + b"ok" + tail, state)] == [b"ok"]
    assert state.truncated
    facts = read_keys(header(3, 2) + b"ok" + tail)
    assert (facts.first_at, facts.last_at) == (1.0, 1.0)


def test_absurd_times_do_no_harm() -> None:
    content = header(3, 1, seconds=2**32 - 1, micros=2**32 - 1) + b"a" + header(3, 2, seconds=0) + b"b\r"
    facts = read_keys(content)
    assert facts.events == 2
    assert [line.text for line in facts.lines] == ["ab"]


@pytest.mark.parametrize("path", RECORDINGS[:40], ids=lambda path: path.name[:8])
def test_a_torn_recording_gives_what_is_there(path: Path) -> None:
    """Whole records before the tear are read as ever, the torn one is left out, and the tear is said."""
    content = path.read_bytes()
    whole = list(recorder.read(content))
    ends = list(accumulate(HEADER.size + len(r.data) for r in whole))
    for cut in [*range(0, len(content), max(len(content) // 7, 1)), ends[0], ends[0] + 1, ends[-1] - 1]:
        kept = [r for r, end in zip(whole, ends, strict=True) if end <= cut]
        data = [
            r
            for r in kept
            if r.operation == recorder.WRITE and r.direction in (recorder.INPUT, recorder.OUTPUT)
        ]
        state = ReadState()
        assert [(round(now * 1e6), way, said) for now, way, said in chunks(content[:cut], state)] == [
            (r.at, r.direction, r.data) for r in data
        ]
        assert state.truncated == (cut not in (0, *ends))
        assert not state.capped
        facts = read_keys(content[:cut])
        assert facts.state.truncated == state.truncated
        assert facts.events == sum(r.direction == recorder.INPUT for r in data)
        assert facts.first_at == (data[0].at / 1e6 if data else None)
        assert facts.last_at == (data[-1].at / 1e6 if data else 0.0)
        assert facts.live + facts.pasted <= sum(len(r.data) for r in data if r.direction == recorder.INPUT)


record = st.builds(
    lambda op, direction, micros, data, lie: header(op, len(data) + lie, direction, 1_700_000_000, micros) + data,
    st.sampled_from([1, 2, 3, 3, 3, 3, 4, 7]),
    st.sampled_from([INPUT, INPUT, OUTPUT, 3, -1]),
    st.integers(0, 2**32 - 1),
    st.one_of(
        st.binary(max_size=40),
        st.lists(
            st.sampled_from(
                [b"\x1b", b"\x1b[A", b"\x1b[200~", b"\x1b[201~", b"\x12", b"\x03", b"\x04", b"\t", b"\r", b"\n",
                 b"\x7f", b"\x15", b"\x17", b"\x19", b"ls", b"vi x", b"d", b"w", b"\x1b[?1049h", b"# ", b"Password: ",
                 b"\x1b[3~", b"\x1b.", b"\x1bOp", b"\x02", b"\xff", b"\x00", b"\x1b[1;5D"]
            ),
            max_size=12,
        ).map(b"".join),
    ),
    st.sampled_from([0, 0, 0, 0, 0, 0, 0, 1, -1]),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=400), st.lists(record, max_size=40).map(b"".join)))
def test_hostile_bytes_never_raise_and_stay_within_bounds(content: bytes) -> None:
    facts = read_keys(content)
    assert facts.live >= 0
    assert facts.pasted >= 0
    assert all(line.kind in ("command", "abandoned") for line in facts.lines)
    found = extract(session(["id", "ls"], started=1_700_000_000.0), content)
    assert all(o.ts == found.ended_at for o in found.observations)


def chunk(data: bytes, number: int = 1) -> bytes:
    return b"".join(
        HEADER.pack(OP_WRITE, 0, len(data), INPUT, int(START), i % 10**6) + data for i in range(number)
    )


@pytest.mark.parametrize(
    "content",
    [
        chunk(b"\x1b" * 100_000),
        chunk(b"\x1b[" + b"1;" * 50_000),
        chunk(b"\x12a\r", 100_000),
        chunk(b"\x1b[Ax", 50_000),
        chunk(b"a" * 1000 + b"\x17", 1_000),
        chunk(b"a " * 4000 + b"\x1bb" * 4000),
        chunk(b"\x01a", 60_000),
        chunk(b"", 300_000),
        chunk(b"\t", 100_000),
        chunk(b"a\r", 100_000),
        chunk(b"\x1b[200~" + b"x\n" * 1000, 100),
        b"".join(HEADER.pack(OP_WRITE, 0, 9, OUTPUT, int(START), 0) + b"Password:" for _ in range(100_000)),
    ],
    ids=["escapes", "open-csi", "searches", "recalls", "kills", "words", "insert-front", "empty", "tabs", "lines",
         "paste", "prompts"],
)  # fmt: skip
def test_hostile_recordings_cost_no_more_than_their_size(content: bytes) -> None:
    began = time.process_time()
    read_keys(content)
    assert time.process_time() - began < 3.0


def test_input_beyond_the_bound_is_cut_and_said() -> None:
    facts = read_keys(chunk(b"a" * 60_000, 30))
    assert facts.capped


def test_a_recording_of_another_session_is_not_used() -> None:
    """Sessions with the same input share one file: its times are those of the first."""
    recording = Tape(start=START - 86_400).line("id").line("ls").done()
    found = extract(session(["id", "ls"]), recording)
    assert found.foreign_recording
    assert not [o for o in found.observations if o.primitive.startswith("motor.keystroke")]
    assert extract(session(["id", "ls"]), Tape(start=START).line("id").done()).keystroke_events == 3
