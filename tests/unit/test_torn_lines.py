"""A line that a rotation cut in two is one line, whatever the style and over a restart; a half that stays one is told."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from decnet.config import SensorSettings
from decnet.sensors.files.tailer import TORN_AFTER_S, Tailer

LIMITS = SensorSettings(read_bytes=4096, max_line_bytes=2048)
CUT = 25


def line(n: int) -> bytes:
    return b'{"n": %d, "pad": "%s"}\n' % (n, b"p" * 40)


def lines(first: int, last: int) -> bytes:
    return b"".join(line(n) for n in range(first, last))


class Clock:
    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def make(path: Path, state: dict[str, Any] | None = None, now: float = 0.0, start: str = "start") -> Tailer:
    tailer = Tailer(path, LIMITS, start, clock=Clock(now))
    if state is not None:
        tailer.restore(json.loads(json.dumps(state)))
    return tailer


def texts(tailer: Tailer) -> list[bytes]:
    found = []
    while (batch := tailer.read()).consumed:
        found += [one.data for one in batch.lines]
    return found


def numbers(tailer: Tailer) -> list[int]:
    return [json.loads(text)["n"] for text in texts(tailer)]


@pytest.mark.parametrize("restart", [None, "before", "after"])
@pytest.mark.parametrize("live", [False, True], ids=["found", "followed"])
@pytest.mark.parametrize("how", ["rename", "copytruncate", "not appending", "gz", "dated.gz"])
def test_a_line_cut_by_a_rotation_is_joined(
    tmp_path: Path, how: str, live: bool, restart: str | None
) -> None:
    log, old = tmp_path / "cowrie.json", tmp_path / "cowrie.json.1"
    first, second = lines(0, 10) + line(10)[:CUT], line(10)[CUT:] + lines(11, 20)
    reader, got = make(tmp_path), list[int]()
    log.write_bytes(first)
    if live:
        got += numbers(reader)
        assert got == list(range(10)), "a half waits"
    if restart == "before":
        reader = make(tmp_path, reader.to_state())
    if how == "copytruncate":
        shutil.copy(log, old)
        os.truncate(log, 0)
        log.write_bytes(second)
    elif how == "not appending":
        shutil.copy(log, old)
        os.truncate(log, 0)
        log.write_bytes(b"\0" * len(first) + second)
    else:
        log.rename(old)
        log.write_bytes(second)
    if how.endswith("gz"):
        name = "cowrie.json.1.gz" if how == "gz" else "cowrie.json-20260301.gz"
        (tmp_path / name).write_bytes(gzip.compress(first))
        old.unlink()
    if restart == "after":
        reader = make(tmp_path, reader.to_state())
    got += numbers(reader)
    assert got == list(range(20))
    assert (reader.bytes_behind(), reader.changes.joined, reader.problems) == (0, 1, {})
    assert numbers(make(tmp_path, reader.to_state())) == []
    with log.open("ab") as file:
        file.write(lines(20, 22))
    assert numbers(make(tmp_path, reader.to_state())) == [20, 21], "the place in the second file is right"


def test_the_second_half_may_come_later_and_in_pieces(tmp_path: Path) -> None:
    log, old = tmp_path / "cowrie.json", tmp_path / "cowrie.json.1"
    old.write_bytes(lines(0, 3) + line(3)[:CUT])
    log.write_bytes(line(3)[CUT:-5])
    reader = make(tmp_path)
    assert numbers(reader) == [0, 1, 2]
    with log.open("ab") as file:
        file.write(line(3)[-5:])
    assert numbers(reader) == [3]


def test_a_joined_line_has_the_place_where_it_began(tmp_path: Path) -> None:
    (tmp_path / "cowrie.json.1").write_bytes(lines(0, 3) + line(3)[:CUT])
    (tmp_path / "cowrie.json").write_bytes(line(3)[CUT:] + lines(4, 6))
    reader, found = make(tmp_path), []
    while (batch := reader.read()).consumed:
        found += [(Path(one.path).name, one.number) for one in batch.lines]
    assert found == [*(("cowrie.json.1", n) for n in (1, 2, 3, 4)), ("cowrie.json", 2), ("cowrie.json", 3)]


@pytest.mark.parametrize("prefix", [b"Mar  1 10:00:00 host cowrie: ", b"2026-03-01T10:00:00Z stdout F "])
def test_a_wrapped_line_is_joined_as_well(tmp_path: Path, prefix: bytes) -> None:
    text = prefix + line(3)
    (tmp_path / "cowrie.json.1").write_bytes(prefix + line(2) + text[:50])
    (tmp_path / "cowrie.json").write_bytes(text[50:] + prefix + line(4))
    assert texts(make(tmp_path)) == [(prefix + line(n)).strip() for n in (2, 3, 4)]


@pytest.mark.parametrize("head", [line(4), b"no other half\n"], ids=["a whole line", "something else"])
def test_a_half_without_its_other_half_is_given_up_in_time_and_told(tmp_path: Path, head: bytes) -> None:
    """As long as its writer may still have it open, it waits; then the reader gets it, to be refused by name."""
    assert TORN_AFTER_S == 60
    log, old = tmp_path / "cowrie.json", tmp_path / "cowrie.json.1"
    old.write_bytes(lines(0, 3) + line(3)[:CUT])
    log.write_bytes(head + line(5))
    os.utime(old, (1000, 1000))
    reader = make(tmp_path, now=1060)
    assert texts(reader) == [line(n).strip() for n in (0, 1, 2)] + [head.strip(), line(5).strip()]
    assert reader.bytes_behind() == CUT
    with old.open("ab") as file:
        file.write(line(3)[CUT:])
    os.utime(old, (1000, 1000))
    assert texts(reader) == [line(3).strip()], "the writer finished it"
    with old.open("ab") as file:
        file.write(line(6)[:CUT])
    os.utime(old, (1000, 1000))
    assert texts(reader) == []
    late = make(tmp_path, reader.to_state(), now=1060.5)
    assert texts(late) == [line(6)[:CUT]]
    assert (late.bytes_behind(), late.changes.joined) == (0, 0)


def test_the_torn_end_of_a_packed_file_is_given_up_as_well(tmp_path: Path) -> None:
    (tmp_path / "cowrie.json.1.gz").write_bytes(gzip.compress(lines(0, 2) + line(2)[:CUT]))
    (tmp_path / "cowrie.json").write_bytes(lines(3, 5))
    os.utime(tmp_path / "cowrie.json.1.gz", (1000, 1000))
    reader = make(tmp_path, now=1061)
    assert texts(reader) == [
        line(0).strip(),
        line(1).strip(),
        line(2)[:CUT],
        line(3).strip(),
        line(4).strip(),
    ]
    assert reader.bytes_behind() == 0


def test_halves_of_other_logs_are_not_joined(tmp_path: Path) -> None:
    (tmp_path / "a.json.1").write_bytes(lines(0, 2) + line(2)[:CUT])
    (tmp_path / "b.json").write_bytes(line(2)[CUT:] + lines(3, 4))
    got = texts(make(tmp_path))
    assert line(2).strip() not in got
    assert line(2)[CUT:].strip() in got


def test_the_half_of_a_file_that_was_not_asked_for_makes_a_line_but_is_none(tmp_path: Path) -> None:
    log, old = tmp_path / "cowrie.json", tmp_path / "cowrie.json.1"
    old.write_bytes(lines(0, 3) + line(3)[:CUT])
    log.write_bytes(line(3)[CUT:] + lines(4, 5))
    assert numbers(make(log)) == [3, 4], "the session goes on in the log that was named"
    log.write_bytes(lines(4, 5))
    os.utime(old, (1000, 1000))
    reader = make(log, now=2000)
    assert texts(reader) == [line(4).strip()]
    assert reader.bytes_behind() == 0


def test_a_long_line_is_not_lost_when_its_file_is_renamed_within_it(tmp_path: Path) -> None:
    log, old = tmp_path / "cowrie.json", tmp_path / "cowrie.json.1"
    limits = SensorSettings(read_bytes=4096, max_line_bytes=60_000)
    log.write_bytes(b'{"n": 1, "x": "' + b"A" * 70_000)
    reader = Tailer(tmp_path, limits)
    assert texts(reader) == []
    log.rename(old)
    with old.open("ab") as file:
        file.write(b'| sh"}\n')
    log.write_bytes(line(2))
    found = [json.loads(text) for text in texts(reader)]
    assert [one["n"] for one in found] == [1, 2]
    assert found[0]["x"].endswith("| sh")
