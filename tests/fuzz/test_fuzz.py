"""Everything that reads bytes reads any bytes: kept inputs first, then drawn ones; more of them by `make fuzz`.

An input that fails is shrunk and kept in ``corpus/TARGET`` under the hash of its bytes, where it is tried ever after.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from decnet.errors import DecnetError
from tests.fuzz.keeping import keep, kept, smaller, tried
from tests.fuzz.mutating import mutated
from tests.fuzz.targets import TARGETS

EXAMPLES = int(os.environ.get("DECNET_FUZZ_EXAMPLES", "60"))
SMALL, LARGE = 2_000, 16_000
"""Bytes of two inputs, one eight times the other; ten times as many of both by `make fuzz`."""
MORE = 1 if EXAMPLES < 1000 else 10
GROWTH = 3.0
"""Time may grow so many times faster than the input: eight times the bytes take 64 times as long where it is squared."""
NOISE_S = 0.02


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_kept_is_read(name: str) -> None:
    target = TARGETS[name]
    assert len(target.seeds()) > 2
    for data in [*target.seeds(), *kept(name)]:
        tried(target.run, data)


@pytest.mark.fault(
    fault="any bytes as a rule, a log, keys, a recording, a command line or an event",
    guard="errors of decnet/errors.py at each edge, and bounds of depth and number",
    control="test_a_reader_with_a_fault_is_found_and_its_input_kept",
    figure="9 readers: no other error; `make fuzz` tries 5,000 inputs each, and those that atheris makes in a minute",
)
@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_are_read_or_refused(name: str) -> None:
    target = TARGETS[name]
    search(name, target.run, mutated([*target.seeds(), *kept(name)], target.words), EXAMPLES)


def search(
    name: str, run: Callable[[bytes], object], inputs: st.SearchStrategy[bytes], examples: int
) -> None:
    """Looks for an input that fails; it is made small and kept."""
    worst: list[bytes] = []

    @settings(
        max_examples=examples, database=None, deadline=None, derandomize=examples < 1000,
        phases=(Phase.generate,), suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(inputs)
    def hunt(data: bytes) -> None:
        try:
            tried(run, data)
        except BaseException:
            worst[:] = [data]
            raise

    try:
        hunt()
    except BaseException:
        if worst:
            keep(name, smaller(run, worst[0]))
        raise


PUMPS: dict[str, tuple[bytes, ...]] = {
    "rules": (b"- ", b"[", b"{a: ", b"a: b\n", b"&a [*a, ", b"'", b"# x\n", b"  " * 8 + b"a:\n", b"(", b"match: {pattern: 'a|"),
    "cowrie": (b'{"eventid":"cowrie.command.input","session":"s","input":"a"}\n', b"[", b'{"a":', b'"', b"\\", b"}", b"\n", b"\0", b"a ", b"&&"),
    "opencanary": (b'{"logtype":2000,"src_host":"192.0.2.1","logdata":{}}\n', b"[", b'{"a":', b'"', b"}", b"\n"),
    "unwrapping": (b"{", b"}", b'"', b"\\", b"[", b'{"log":"', b"2026-01-01T00:00:00Z stdout P a\n", b"\x1b[1m", b"<1>", b"a=", b"==> x <==\n", b"'", b"\n"),
    "editor": (b"a", b"\x7f", b"\x1b[D", b"\x12a", b"\x1b[200~", b"ls\r", b"\x15\x19", b"\xff", b"\x1b", b"a b\x1bb", b"\x1b[A"),
    "ttylog": (b"\0", b"\x03\0\0\0" + b"\0" * 4 + b"\1\0\0\0" + b"\1\0\0\0" + b"\0" * 16 + b"a",),
    "shell": (b"a ", b"(", b"$(", b"`", b"'", b'"', b"\\", b";", b"|", b"<<A\n", b"{ a; ", b"if a; then ", b"${a:-", b"a=1 ", b"\n", b"$((", b"a && ", b"<(", b"$'\\x41'", b"echo a > b; ", b"sh -c '", b"eval "),
    "event": (b"[", b'{"a":', b'{"payload":', b'"', b"9", b'{"payload":{"commands":[{"id":"a","command_text":"b"},'),
}  # fmt: skip
"""Pieces that are repeated, for readers whose time might grow with the square of how often."""


def spent(run: Callable[[bytes], object], data: bytes) -> float:
    """Seconds of processor time."""
    began = time.process_time()
    tried(run, data)
    return time.process_time() - began


def too_slow(run: Callable[[bytes], object], piece: bytes) -> str:
    """Why the time for a piece again and again grows too fast; empty when it does not, in one of three tries."""
    for _ in range(3):
        small = spent(run, piece * (MORE * SMALL // len(piece)))
        large = spent(run, piece * (MORE * LARGE // len(piece)))
        if large <= GROWTH * LARGE / SMALL * small + NOISE_S:
            return ""
    return f"{piece!r}: {small * 1000:.1f} ms, and {large * 1000:.1f} ms for eight times as much"


@pytest.mark.fault(
    fault="one piece of an input repeated thousands of times",
    guard="readers that look at each byte a bounded number of times",
    control="test_time_that_grows_with_the_square_is_found",
    figure="16 kB (160 kB by `make fuzz`) of each of 79 pieces: at most 3 times the time in proportion",
)
@pytest.mark.parametrize("name", PUMPS)
def test_time_grows_with_the_input_and_no_faster(name: str) -> None:
    slow = [why for piece in PUMPS[name] if (why := too_slow(TARGETS[name].run, piece))]
    assert slow == []


# --- controls


def test_a_reader_with_a_fault_is_found_and_its_input_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tests.fuzz.keeping.CORPUS", tmp_path)

    def faulty(data: bytes) -> None:
        if data.count(b"$(") > 1:
            raise KeyError("a fault")

    target = TARGETS["shell"]
    with pytest.raises(KeyError):
        search("shell", faulty, mutated(target.seeds(), target.words), 400)
    (data,) = kept("shell")
    assert data == b"$($(", "it was made small"


def test_errors_of_ours_are_answers() -> None:
    def refuses(data: bytes) -> None:
        raise DecnetError("no")

    tried(refuses, b"")


def test_time_that_grows_with_the_square_is_found() -> None:
    def squared(data: bytes) -> None:
        for place in range(len(data)):
            data[place:].count(b"xy")

    def linear(data: bytes) -> None:
        re.findall(rb"a+", data)

    assert too_slow(squared, b"a") != ""  # 16 kB: 2,000 times 8 kB on average
    assert too_slow(linear, b"a ") == ""
