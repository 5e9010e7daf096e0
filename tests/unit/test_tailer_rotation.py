"""What every reader of rotating logs has to do: each line once, in order, in bounded memory, whatever the disk does.

Another reader is held to it by one more line in ``READERS``: it takes a path, limits and a start, and has
``read``, ``to_state``, ``restore``, ``bytes_behind``, ``files``, ``problems`` and ``close``.
"""

from __future__ import annotations

import builtins
import bz2
import gzip
import hashlib
import json
import lzma
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from decnet.config import SensorSettings
from decnet.sensors.files import disk
from decnet.sensors.files.names import group_of, is_log_name, reading_order
from decnet.sensors.files.rotation import HEAD_BYTES, MAX_GONE, has_identity
from decnet.sensors.files.tailer import Batch, Tailer

READERS = [Tailer]
LONGEST = 1024
PART = 4096
LIMITS = SensorSettings(read_bytes=PART, max_line_bytes=LONGEST)

Make = Callable[..., Any]


@pytest.fixture(params=READERS, ids=lambda reader: reader.__name__)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes a reader, from a state if one is given; all are closed at the end."""
    made = []

    def new(path: Path, state: dict[str, Any] | None = None, start: str = "start") -> Any:
        reader = request.param(path, LIMITS, start)
        if state is not None:
            reader.restore(json.loads(json.dumps(state)))
        made.append(reader)
        return reader

    yield new
    for reader in made:
        reader.close()


def lines(first: int, last: int) -> bytes:
    return b"".join(b'{"n": %d, "pad": "%s"}\n' % (i, b"p" * 40) for i in range(first, last))


def drained(reader: Any) -> list[Batch]:
    found = []
    while (batch := reader.read()).consumed:
        found.append(batch)
    return found


def numbers(reader: Any) -> list[int]:
    return [json.loads(line.data)["n"] for batch in drained(reader) for line in batch.lines]


def texts(reader: Any) -> list[bytes]:
    return [line.data for batch in drained(reader) for line in batch.lines]


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def on_open(
    monkeypatch: pytest.MonkeyPatch, path: Path, act: Callable[[int], None], opened: list[int]
) -> None:
    """Does something just before a file is opened; ``act`` gets the number of the opening, from 1."""
    true_open = builtins.open

    def spying(file: Any, *args: Any, **kwargs: Any) -> Any:
        if str(file) == str(path):
            opened.append(len(opened) + 1)
            act(opened[-1])
        return true_open(file, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", spying)


# --- the ways of rotation


@pytest.mark.parametrize("restart", [False, True], ids=["runs on", "restarted"])
@pytest.mark.parametrize("directory", [False, True], ids=["file", "directory"])
@pytest.mark.parametrize("old_name", ["cowrie.json.2026-01-01", "cowrie.json.1", "cowrie.json-20260101"])
@pytest.mark.parametrize("how", ["rename", "copytruncate", "gzip"])
def test_rotated_in_any_way_every_line_is_read_once(
    make: Make, tmp_path: Path, how: str, old_name: str, directory: bool, restart: bool
) -> None:
    log, old = tmp_path / "cowrie.json", tmp_path / old_name
    log.write_bytes(lines(0, 100))
    reader = make(tmp_path if directory else log)
    assert numbers(reader) == list(range(100))
    append(log, lines(100, 150))
    if how == "copytruncate":
        shutil.copy(log, old)
        os.truncate(log, 0)
        append(log, lines(150, 200))
    else:
        log.rename(old)
        log.write_bytes(lines(150, 200))
    if how == "gzip":
        Path(f"{old}.gz").write_bytes(gzip.compress(old.read_bytes()))
        old.unlink()
    if restart:
        reader = make(tmp_path if directory else log, reader.to_state())
    assert numbers(reader) == list(range(100, 200))
    if old.exists():
        Path(f"{old}.gz").write_bytes(gzip.compress(old.read_bytes()))
        assert numbers(reader) == [], "both the file and its compressed copy are there"
        old.unlink()
    assert numbers(reader) == []
    assert reader.bytes_behind() == 0
    assert reader.problems == {}


def test_numbers_that_move_up_at_each_rotation_are_the_same_files(make: Make, tmp_path: Path) -> None:
    log, found = tmp_path / "cowrie.json", []
    reader = make(log)
    for turn in range(4):
        log.write_bytes(lines(turn * 10, turn * 10 + 10))
        found += numbers(reader)
        for number in range(turn, 0, -1):
            (tmp_path / f"cowrie.json.{number}").rename(tmp_path / f"cowrie.json.{number + 1}")
        log.rename(tmp_path / "cowrie.json.1")
    assert found == list(range(40))
    assert numbers(reader) == []


def test_a_log_cut_to_nothing_and_written_anew_is_read_from_its_start(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "cowrie.json"
    log.write_bytes(lines(0, 10))
    reader = make(log)
    numbers(reader)
    os.truncate(log, 0)
    assert numbers(reader) == []
    append(log, lines(20, 25))
    assert numbers(reader) == list(range(20, 25))


@pytest.mark.parametrize("less", [1, len(lines(59, 60))], ids=["one byte", "one line"])
def test_a_log_that_shrank_is_a_new_one_although_it_begins_alike(
    make: Make, tmp_path: Path, less: int
) -> None:
    log, whole = tmp_path / "cowrie.json", lines(0, 60)
    assert len(whole) > HEAD_BYTES
    log.write_bytes(whole)
    reader = make(log)
    numbers(reader)
    os.truncate(log, len(whole) - less)
    again = numbers(reader)
    assert again == list(range(60 if less == 1 else 59))[: len(again)]
    assert len(again) == 59 + (less == 1), "a whole object needs no newline"
    append(log, b"\n" + lines(60, 63))
    assert numbers(reader) == [60, 61, 62]


def test_a_log_that_is_as_long_as_before_is_not_read_again(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "cowrie.json"
    log.write_bytes(lines(0, 30))
    reader = make(log)
    numbers(reader)
    os.utime(log, ns=(1, 1))
    assert numbers(reader) == []
    assert numbers(make(log, reader.to_state())) == []


def test_a_short_log_cut_and_written_with_the_same_first_line_goes_on_from_its_new_start(
    make: Make, tmp_path: Path
) -> None:
    log = tmp_path / "cowrie.json"
    log.write_bytes(lines(0, 5))
    reader = make(log)
    numbers(reader)
    os.truncate(log, 0)
    append(log, lines(0, 1) + lines(7, 9))
    assert numbers(reader) == [0, 7, 8]
    append(log, lines(9, 30))
    assert numbers(reader) == list(range(9, 30))


@pytest.mark.parametrize("in_place", [False, True], ids=["another file", "the same file"])
def test_a_log_of_the_same_length_with_other_lines_is_a_new_one(
    make: Make, tmp_path: Path, in_place: bool
) -> None:
    log, new = tmp_path / "cowrie.json", tmp_path / "draft"
    log.write_bytes(lines(10, 40))
    os.utime(log, ns=(5, 5))
    reader = make(log)
    numbers(reader)
    if in_place:
        log.write_bytes(lines(50, 80))
    else:
        new.write_bytes(lines(50, 80))
        new.rename(log)
        os.utime(log, ns=(5, 5))
    assert numbers(reader) == list(range(50, 80))


def test_a_log_that_grows_is_known_by_more_of_its_beginning(make: Make, tmp_path: Path) -> None:
    log, old = tmp_path / "cowrie.json", tmp_path / "cowrie.json.1"
    log.write_bytes(lines(0, 1))
    reader = make(log)
    assert numbers(reader) == [0]
    append(log, lines(1, 60))
    assert numbers(reader) == list(range(1, 60))
    log.rename(old)
    log.write_bytes(lines(0, 1) + lines(100, 160))
    assert numbers(reader) == [0, *range(100, 160)], "it begins with the same line and goes on otherwise"
    again = make(log, reader.to_state())
    append(log, lines(160, 162))
    assert numbers(again) == [160, 161]


@pytest.mark.parametrize("opening", [2, 3], ids=["before it is known again", "before it is read"])
def test_renamed_between_the_look_and_the_read_nothing_is_taken_from_the_wrong_file(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opening: int
) -> None:
    log, old, opened = tmp_path / "cowrie.json", tmp_path / "cowrie.json.1", list[int]()
    log.write_bytes(lines(0, 10))
    reader = make(log)
    numbers(reader)
    append(log, lines(10, 12))

    def rotate(number: int) -> None:
        if number == opening:  # the first opening looks at the beginning, the third one reads on
            log.rename(old)
            log.write_bytes(lines(500, 520))

    on_open(monkeypatch, log, rotate, opened)
    assert reader.read().lines == []
    assert old.exists()
    assert numbers(reader) == [10, 11, *range(500, 520)]


def test_a_new_log_renamed_between_the_look_and_the_read_gives_nothing_of_the_one_in_its_place(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, opened = tmp_path / "cowrie.json", list[int]()
    log.write_bytes(lines(0, 10))
    reader = make(tmp_path)

    def rotate(number: int) -> None:
        if number == 2:
            log.rename(tmp_path / "cowrie.json.1")
            log.write_bytes(lines(500, 520))

    on_open(monkeypatch, log, rotate, opened)
    assert reader.read().lines == []
    assert numbers(reader) == [*range(10), *range(500, 520)]


@pytest.mark.parametrize("padded", [0, 700], ids=["from its start", "behind a hole"])
def test_a_new_log_cut_and_grown_anew_between_the_look_and_the_read_gives_nothing_of_what_came_after(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, padded: int
) -> None:
    log, opened = tmp_path / "cowrie.json", list[int]()
    log.write_bytes(b"\0" * padded + lines(0, 10))
    reader = make(tmp_path)

    def cut(number: int) -> None:
        if number == 2:
            shutil.copy(log, tmp_path / "cowrie.json.1")
            os.truncate(log, 0)
            append(log, b"\0" * padded + lines(500, 520))

    on_open(monkeypatch, log, cut, opened)
    batch = reader.read()
    assert (batch.lines, batch.consumed) == ([], 0)
    assert numbers(reader) == [*range(10), *range(500, 520)]


def test_packed_logs_that_move_up_between_the_look_and_the_read_are_read_once_each(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, opened = tmp_path / "cowrie.json.1.gz", tmp_path / "cowrie.json.2.gz", list[int]()
    one.write_bytes(gzip.compress(lines(10, 20)))
    two.write_bytes(gzip.compress(lines(0, 10)))
    reader = make(tmp_path)

    def move(number: int) -> None:
        if number == 2:
            two.rename(tmp_path / "cowrie.json.3.gz")
            one.rename(two)

    on_open(monkeypatch, two, move, opened)
    assert reader.read().lines == []
    assert numbers(reader) == list(range(20))


@pytest.mark.parametrize("opening", [2, 3], ids=["before it is known again", "before it is read"])
def test_cut_between_the_look_and_the_read_nothing_is_taken_and_it_is_read_from_its_start(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opening: int
) -> None:
    log, opened = tmp_path / "cowrie.json", list[int]()
    log.write_bytes(lines(0, 10))
    reader = make(log)
    numbers(reader)
    append(log, lines(10, 12))

    def cut(number: int) -> None:
        if number == opening:
            os.truncate(log, 0)

    on_open(monkeypatch, log, cut, opened)
    batch = reader.read()
    assert (batch.lines, batch.consumed) == ([], 0)
    append(log, lines(70, 75))
    assert numbers(reader) == list(range(70, 75))


def test_of_rotated_logs_that_are_gone_the_newest_are_known_when_they_come_back(
    make: Make, tmp_path: Path
) -> None:
    assert (MAX_GONE, HEAD_BYTES) == (256, 1024)
    log = tmp_path / "cowrie.json"
    reader = make(log)
    with (
        ExitStack() as held
    ):  # open files keep their inodes: none of the packed ones gets one of those by chance
        for turn in range(MAX_GONE + 1):
            log.write_bytes(lines(turn, turn + 1))
            assert numbers(reader) == [turn]
            held.enter_context(log.open("rb"))
            log.unlink()
        numbers(reader)
        assert len(reader.to_state()["files"]) == MAX_GONE
        for turn in (MAX_GONE, 1):
            (tmp_path / f"cowrie.json.{turn + 1}.gz").write_bytes(gzip.compress(lines(turn, turn + 1)))
        assert numbers(reader) == []
        assert reader.files == 2
        (tmp_path / "cowrie.json.9999.gz").write_bytes(gzip.compress(lines(0, 1)))
        assert numbers(reader) == [0], "only the oldest one was forgotten"


# --- order, names, copies


def test_names_of_rotated_logs() -> None:
    base = "cowrie.json"
    names = [
        f"{base}.2025-12-31.gz", f"{base}.2026-01-01", f"{base}-20260102", f"{base}_2026_01_03.gz", f"{base}.2026-01-04T05",
        f"{base}.10", f"{base}.9.gz", f"{base}.1", f"{base}.gz", base,
    ]  # fmt: skip
    assert sorted(set(names), key=reading_order) == names
    assert all(is_log_name(name) and group_of(name) == base for name in names)
    others = [
        "cowrie.log",
        "cowrie.json~",
        "cowrie.json.1.zip",
        "cowrie.json.1234567",
        ".json",
        "json",
        ".cowrie.json",
    ]
    assert [name for name in others if is_log_name(name)] == []
    assert group_of("other.jsonl.2026-01-01.gz") == "other.jsonl"
    assert group_of("cowrie.log") == "cowrie.log"


def test_the_oldest_is_read_first_and_the_live_one_last(make: Make, tmp_path: Path) -> None:
    (tmp_path / "cowrie.json").write_bytes(lines(50, 60))
    (tmp_path / "cowrie.json.1").write_bytes(lines(40, 50))
    (tmp_path / "cowrie.json.2.gz").write_bytes(gzip.compress(lines(30, 40)))
    (tmp_path / "cowrie.json.10").write_bytes(lines(20, 30))
    (tmp_path / "cowrie.json.2026-01-02").write_bytes(lines(10, 20))
    (tmp_path / "cowrie.json.2026-01-01.gz").write_bytes(gzip.compress(lines(0, 10)))
    (tmp_path / "cowrie.log").write_bytes(b"no log of ours\n")
    reader = make(tmp_path)
    assert numbers(reader) == list(range(60))
    assert reader.files == 6


def test_a_log_that_was_named_is_read_whatever_its_name(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "honeypot"
    log.write_bytes(lines(0, 3))
    (tmp_path / "honeypot2").write_bytes(lines(50, 53))
    reader = make(log)
    assert numbers(reader) == [0, 1, 2]
    append(log, lines(3, 5))
    assert numbers(reader) == [3, 4]
    assert numbers(make(tmp_path)) == [], "in a directory only logs are"


def test_several_logs_of_a_directory_are_read_in_turn(make: Make, tmp_path: Path) -> None:
    for name, first in (("a.json", 0), ("b.json", 1000)):
        (tmp_path / name).write_bytes(lines(first, first + 300))
    who = [
        {Path(line.path).name for line in batch.lines}
        for batch in drained(make(tmp_path))
    ]  # fmt: skip
    assert who[:4] in ([{"a.json"}, {"b.json"}] * 2, [{"b.json"}, {"a.json"}] * 2)


def test_two_copies_of_one_log_are_read_once_and_of_a_longer_one_the_rest(make: Make, tmp_path: Path) -> None:
    (tmp_path / "cowrie.json").write_bytes(lines(0, 50))
    (tmp_path / "cowrie.json.1").write_bytes(lines(0, 45))
    (tmp_path / "cowrie.json.2.gz").write_bytes(gzip.compress(lines(0, 60)))
    reader = make(tmp_path)
    assert sorted(numbers(reader)) == list(range(60))
    assert numbers(reader) == []
    assert reader.files == 2
    ((copy, why),) = reader.passed.items()
    assert (copy, why.partition("cowrie.json")[0]) == (
        str(tmp_path / "cowrie.json.1"),
        f"a copy of {tmp_path}/",
    )


def test_a_copy_in_the_making_is_not_read_and_goes_on_where_the_log_stopped(
    make: Make, tmp_path: Path
) -> None:
    log, copy = tmp_path / "cowrie.json", tmp_path / "cowrie.json.1"
    log.write_bytes(lines(0, 100))
    reader = make(log)
    numbers(reader)
    append(log, lines(100, 105))
    for part in (lines(0, 30), lines(0, 50)):
        copy.write_bytes(part)
        assert numbers(reader) == list(range(100, 105)) * (part == lines(0, 30))
    append(log, lines(105, 110))
    shutil.copy(log, copy)
    os.truncate(log, 0)
    assert numbers(reader) == list(range(105, 110))
    append(log, lines(110, 120))
    assert numbers(reader) == list(range(110, 120))


def test_a_shorter_copy_of_a_log_that_is_gone_is_not_read(make: Make, tmp_path: Path) -> None:
    log, copy = tmp_path / "cowrie.json", tmp_path / "cowrie.json.1"
    log.write_bytes(lines(0, 100))
    reader = make(log)
    numbers(reader)
    copy.write_bytes(lines(0, 50))
    log.unlink()
    for _ in range(3):
        assert numbers(reader) == []
    assert reader.bytes_behind() == 0
    append(copy, lines(50, 103))
    assert numbers(reader) == [100, 101, 102]


def test_a_log_that_was_moved_and_cut_is_a_new_one(make: Make, tmp_path: Path) -> None:
    log, moved = tmp_path / "a.json", tmp_path / "b.json"
    log.write_bytes(lines(0, 60))
    reader = make(tmp_path)
    numbers(reader)
    log.rename(moved)
    os.truncate(moved, len(lines(0, 40)))
    assert numbers(reader) == list(range(40))


def test_a_log_put_in_the_place_of_another_and_shorter_is_a_new_one(make: Make, tmp_path: Path) -> None:
    log, new = tmp_path / "cowrie.json", tmp_path / "draft"
    log.write_bytes(lines(0, 60))
    reader = make(log)
    numbers(reader)
    new.write_bytes(lines(0, 40))
    new.rename(log)
    assert numbers(reader) == list(range(40))


def test_what_has_not_begun_to_differ_yet_waits(make: Make, tmp_path: Path) -> None:
    assert not has_identity(b'{"n": 1')
    assert has_identity(b'{"n": 1}')
    assert has_identity(b"x\n")
    assert not has_identity(b"x" * (HEAD_BYTES - 1))
    assert has_identity(b"x" * HEAD_BYTES)
    log = tmp_path / "cowrie.json"
    log.write_bytes(b"")
    reader = make(log)
    assert numbers(reader) == []
    append(log, b'{"n": 1')
    assert numbers(reader) == []
    assert reader.files == 0
    append(log, b"}\n")
    assert numbers(reader) == [1]
    assert reader.files == 1


def test_a_copy_takes_the_place_of_the_file_it_is_of_and_not_the_other_way_round(
    make: Make, tmp_path: Path
) -> None:
    log, copy = tmp_path / "cowrie.json", tmp_path / "cowrie.json.1"
    log.write_bytes(lines(0, 40))
    reader = make(log)
    numbers(reader)
    copy.write_bytes(lines(0, 60))
    append(log, lines(40, 45))
    append(copy, lines(60, 62))
    assert sorted(numbers(reader)) == list(range(40, 62)), (
        "both are gone on with, and what they share is read once"
    )
    assert reader.changes.rotations == 0, "the log is where it was"
    log.unlink()
    append(copy, lines(62, 63))
    assert numbers(reader) == [62]


# --- lines


def test_a_torn_last_line_waits_for_its_rest(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "cowrie.json"
    log.write_bytes(b'{"n": 0}\n{"n": 1')
    reader = make(log)
    assert numbers(reader) == [0]
    assert reader.bytes_behind() == 7
    reader = make(log, reader.to_state())
    assert numbers(reader) == []
    append(log, b'1}\n{"n": 2}\n')
    assert numbers(reader) == [11, 2]
    assert reader.bytes_behind() == 0


@pytest.mark.parametrize("rest", [b"12", b'"x"', b'{"n": {}', b'[{"n": 1}, {"', b'{"n": "}', b"x}"])
def test_only_a_whole_object_needs_no_newline(make: Make, tmp_path: Path, rest: bytes) -> None:
    log = tmp_path / "cowrie.json"
    log.write_bytes(b'{"n": 0}\n' + rest)
    assert texts(make(log)) == [b'{"n": 0}']


@pytest.mark.parametrize("end", [b"}", b"]", b"  }\n]", b"}];", b"},\n"])
def test_the_end_of_a_pretty_printed_object_or_list_needs_no_newline(
    make: Make, tmp_path: Path, end: bytes
) -> None:
    log = tmp_path / "cowrie.json"
    log.write_bytes(b'[{\n"n": 0\n' + end)
    reader = make(log)
    assert b"\n".join(texts(reader)) + b"\n" * end.endswith(b"\n") == b'[{\n"n": 0\n' + end
    assert (reader.torn, reader.bytes_behind()) == (0, 0)


@pytest.mark.parametrize("restart", [False, True])
def test_a_newline_that_comes_late_is_no_line(make: Make, tmp_path: Path, restart: bool) -> None:
    log = tmp_path / "cowrie.json"
    log.write_bytes(b'{"n": 0}\n{"n": 1}')
    reader = make(log)
    assert numbers(reader) == [0, 1]
    if restart:
        reader = make(log, reader.to_state())
    append(log, b'\n{"n": 2}\n\n{"n": 3}\n')
    found = [(line.number, line.data) for batch in drained(reader) for line in batch.lines]
    assert found == [(3, b'{"n": 2}'), (5, b'{"n": 3}')], "an empty line of its own counts"


def test_without_a_late_newline_the_next_object_is_a_line(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "cowrie.json"
    log.write_bytes(b'{"n": 0}')
    reader = make(log)
    numbers(reader)
    append(log, b'{"n": 1}\n')
    found = [(line.number, line.data) for batch in drained(reader) for line in batch.lines]
    assert found == [(2, b'{"n": 1}')]


@pytest.mark.parametrize("zipped", [False, True])
def test_blank_lines_are_passed_over_and_each_line_says_where_it_stands(
    make: Make, tmp_path: Path, zipped: bool
) -> None:
    data = b'{"n": 0}\n\n  \t\r\n{"n": 1}\r\n' + b"x" * (LONGEST + 1) + b'\n{"n": 2}\n'
    log = tmp_path / ("cowrie.json.gz" if zipped else "cowrie.json")
    log.write_bytes(gzip.compress(data) if zipped else data)
    found = [line for batch in drained(make(log)) for line in batch.lines]
    assert [line.number for line in found] == [1, 4, 6]
    assert [data[line.offset : line.offset + len(line.data)] for line in found] == [x.data for x in found]
    assert {line.path for line in found} == {str(log)}


@pytest.mark.parametrize("end", [b"\n", b""], ids=["newline", "end of a compressed file"])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_line_is_taken_up_to_the_bound_and_refused_beyond(
    make: Make, tmp_path: Path, more: int, end: bytes
) -> None:
    text = b'{"n": 1, "x": "' + b"y" * (LONGEST + more - 17) + b'"}'
    assert len(text) == LONGEST + more
    log = tmp_path / ("cowrie.json" if end else "cowrie.json.gz")
    data = b'{"n": 0}\n' + text + (end + b'{"n": 2}\n' if end else b"")
    log.write_bytes(data if end else gzip.compress(data))
    batches = drained(make(log))
    found = [line.data for batch in batches for line in batch.lines]
    places = [place for batch in batches for place in batch.too_long]
    assert (text in found) == (more <= 0)
    if end:
        assert places == ([f"{log}:2"] if more > 0 else [])
        assert found[-1] == b'{"n": 2}'


def test_a_line_over_the_bound_is_passed_over_in_pieces_even_across_a_restart(
    make: Make, tmp_path: Path
) -> None:
    log = tmp_path / "cowrie.json"
    log.write_bytes(b'{"n": 0}\n' + b"y" * (LONGEST + 1))
    reader = make(log)
    assert numbers(reader) == [0]
    assert reader.bytes_behind() == 0, "what is passed over is not kept"
    append(log, b'{"n": 1}')
    assert numbers(reader) == [], "a beginning that was passed over makes no whole line"
    reader = make(log, reader.to_state())
    append(log, b"z" * 3 * PART)
    assert [batch.too_long for batch in drained(reader)] == [[]] * 3
    append(log, b'\n{"n": 2}\n')
    batch = reader.read()
    assert batch.too_long == [f"{log}:2"]
    assert [(line.number, line.data) for line in batch.lines] == [(3, b'{"n": 2}')]


def test_a_line_without_newline_at_the_bound_still_waits(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "cowrie.json"
    log.write_bytes(b'{"n": 0}\n{"n": 1' + b" " * (LONGEST - 7))
    reader = make(log)
    assert numbers(reader) == [0]
    append(log, b"\n")
    batch = reader.read()
    assert (len(batch.lines), batch.too_long) == (1, [])


def test_one_read_takes_a_bounded_part(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "cowrie.json"
    log.write_bytes(lines(0, 1000))
    (tmp_path / "cowrie.json.1.gz").write_bytes(gzip.compress(lines(1000, 2000)))
    batches = drained(make(tmp_path))
    assert max(batch.consumed for batch in batches) <= PART
    assert sum(batch.consumed for batch in batches) == len(lines(0, 2000))
    assert [len(b.lines) for b in batches] == [len({line.number for line in b.lines}) for b in batches]


def test_a_torn_line_that_does_not_change_is_not_read_again_and_again(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, opened = tmp_path / "cowrie.json", list[int]()
    log.write_bytes(b'{"n": 0}\n{"n": 1')
    reader = make(log)
    numbers(reader)
    on_open(monkeypatch, log, lambda _number: None, opened)
    for _ in range(3):
        assert reader.read().consumed == 0
    assert opened == []
    append(log, b"}\n")
    assert numbers(reader) == [1]
    assert opened


# --- restarts and checkpoints


@pytest.mark.parametrize("zipped", [False, True])
def test_restarted_after_every_part_nothing_is_lost_or_read_twice(
    make: Make, tmp_path: Path, zipped: bool
) -> None:
    log = tmp_path / ("cowrie.json.gz" if zipped else "cowrie.json")
    data = lines(0, 500)
    log.write_bytes(gzip.compress(data) if zipped else data)
    found, offset, state = [], -1, None
    while True:
        reader = make(log, state)
        batch = reader.read()
        if not batch.consumed:
            break
        found += batch.lines
        state = reader.to_state()
        reader.close()
    assert [json.loads(line.data)["n"] for line in found] == list(range(500))
    assert [line.number for line in found] == list(range(1, 501))
    for line in found:
        assert line.offset > offset
        offset = line.offset


def test_the_checkpoint_of_another_file_leaves_out_nothing(make: Make, tmp_path: Path) -> None:
    other, log = tmp_path / "other" / "cowrie.json", tmp_path / "here" / "cowrie.json"
    for path, first in ((other, 0), (log, 100)):
        path.parent.mkdir()
        path.write_bytes(lines(first, first + 20))
    reader = make(other)
    numbers(reader)
    moved = make(log, reader.to_state())
    assert numbers(moved) == list(range(100, 120))
    shutil.copy(other, log.parent / "cowrie.json.1")
    assert numbers(moved) == [], "and what it tells of is known wherever it turns up"


def test_a_state_with_keys_of_another_version_is_taken_up(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "cowrie.json"
    log.write_bytes(lines(0, 5))
    reader = make(log)
    numbers(reader)
    state = reader.to_state()
    for record in state["files"]:
        record["of_tomorrow"] = 1
    assert numbers(make(log, state)) == []


def test_from_the_end_passes_over_only_what_was_there_at_first(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "cowrie.json"
    (tmp_path / "cowrie.json.1.gz").write_bytes(gzip.compress(lines(0, 5)))
    log.write_bytes(lines(5, 200) + b'{"n": 2')
    reader = make(tmp_path, start="end")
    assert numbers(reader) == []
    assert reader.bytes_behind() == 7, "the torn line is not passed over"
    append(log, b"00}\n" + lines(201, 203))
    assert numbers(reader) == [200, 201, 202]
    (tmp_path / "cowrie.json.0").write_bytes(lines(300, 303))
    assert numbers(reader) == [300, 301, 302], "what comes later is read whole"
    later = make(tmp_path, reader.to_state(), start="end")
    (tmp_path / "cowrie.json.00").write_bytes(lines(400, 403))
    assert numbers(later) == [400, 401, 402], "and so it is after a restart"


@pytest.mark.parametrize("length", [LONGEST - 2, LONGEST - 1, LONGEST, LONGEST + 1])
def test_from_the_end_of_a_log_whose_last_line_is_torn_and_long(
    make: Make, tmp_path: Path, length: int
) -> None:
    log = tmp_path / "cowrie.json"
    torn = b'{"n": 1, "x": "' + b"y" * (length - 15)
    log.write_bytes(lines(5, 60) + torn)
    reader = make(log, start="end")
    assert texts(reader) == []
    append(log, b'"}\n' + lines(7, 8))
    # What is longer than the bound when it is first seen has no beginning to go back to.
    before = {LONGEST - 2: [torn + b'"}'], LONGEST - 1: []}.get(length, [b'"}'])
    assert texts(reader) == [*before, lines(7, 8).strip()]


def test_rotated_neighbours_of_a_file_are_read_only_if_they_came_later(make: Make, tmp_path: Path) -> None:
    log, old = tmp_path / "cowrie.json", tmp_path / "cowrie.json.1"
    old.write_bytes(lines(0, 5))
    (tmp_path / "other.json").write_bytes(lines(900, 905))
    (tmp_path / "cowrie.json.bak").write_bytes(lines(800, 805))
    log.write_bytes(lines(5, 10))
    reader = make(log)
    assert numbers(reader) == list(range(5, 10))
    (tmp_path / "cowrie.json.2").write_bytes(lines(20, 25))
    (tmp_path / "cowrie.json.bak2").write_bytes(lines(810, 815))
    (tmp_path / "other.json.1").write_bytes(lines(910, 915))
    assert numbers(reader) == list(range(20, 25))
    assert numbers(make(tmp_path)) != list(range(5, 10)), "of a directory all are asked for"


# --- what the disk does


def test_a_missing_log_is_said_and_read_when_it_comes(make: Make, tmp_path: Path) -> None:
    log = tmp_path / "none" / "cowrie.json"
    reader = make(log)
    assert drained(reader) == []
    assert reader.problems == {str(log): "missing"}
    log.parent.mkdir()
    assert drained(reader) == []
    assert reader.problems == {str(log): "missing"}
    log.write_bytes(lines(0, 3))
    assert numbers(reader) == [0, 1, 2]
    assert reader.problems == {}
    log.unlink()
    assert numbers(reader) == []
    assert reader.problems == {str(log): "missing"}
    assert reader.files == 0
    assert reader.bytes_behind() == 0


@pytest.mark.parametrize(
    ("error", "said"),
    [(PermissionError(13, "Permission denied"), "Permission denied"), (FileNotFoundError(2, "No such file"), "missing")],
)  # fmt: skip
@pytest.mark.parametrize("opening", [1, 2], ids=["at the look", "at the read"])
def test_a_file_that_may_not_be_read_is_said_and_costs_nothing_else(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, said: str, opening: int
) -> None:
    log, opened = tmp_path / "b.json", list[int]()
    log.write_bytes(lines(0, 5))
    (tmp_path / "a.json").write_bytes(lines(5, 9))

    def refuse(number: int) -> None:
        if number >= opening:
            raise error

    with monkeypatch.context() as patch:
        on_open(patch, log, refuse, opened)
        assert numbers(reader := make(tmp_path)) == [5, 6, 7, 8]
        assert reader.problems == {str(log): said}
    assert numbers(reader) == [0, 1, 2, 3, 4]
    assert reader.problems == {}


def test_a_directory_that_may_not_be_listed_is_said(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.json").write_bytes(lines(0, 2))

    def refuse(_path: object) -> list[str]:
        raise PermissionError(13, "Permission denied")

    reader = make(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", refuse)
        assert numbers(reader) == []
        assert reader.problems == {str(tmp_path): "Permission denied"}
    assert numbers(reader) == [0, 1]


def test_what_is_no_file_is_never_opened(make: Make, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "a.json").write_bytes(lines(0, 2))
    reader = make(tmp_path)
    assert numbers(reader) == [0, 1]
    assert reader.problems == {}
    alone = make(pipe)
    assert numbers(alone) == []
    assert alone.problems == {str(pipe): "not a regular file"}


def test_a_compressed_log_that_breaks_off_gives_what_it_has_and_the_rest_later(
    make: Make, tmp_path: Path
) -> None:
    zipped = tmp_path / "cowrie.json.1.gz"
    rows = [
        b'{"n": %d, "x": "%s"}\n' % (i, hashlib.sha256(b"%d" % i).hexdigest().encode()) for i in range(300)
    ]
    whole = gzip.compress(b"".join(rows), mtime=0)
    (tmp_path / "cowrie.json").write_bytes(lines(300, 302))
    zipped.write_bytes(whole[: len(whole) // 2])
    reader = make(tmp_path)
    first = numbers(reader)
    assert reader.problems.keys() == {str(zipped)}
    assert numbers(reader) == []
    assert reader.problems.keys() == {str(zipped)}, "it is wrong until it changes"
    assert reader.bytes_behind() == len(whole) // 2, "it is not done with"
    assert len(first) > 10
    zipped.write_bytes(whole)
    assert sorted([*first, *numbers(reader)]) == list(range(302))
    assert reader.problems == {}
    assert reader.bytes_behind() == 0


@pytest.mark.parametrize("layers", [2, 3])
def test_a_log_that_was_packed_again_is_read_whatever_packed_it(
    make: Make, tmp_path: Path, layers: int
) -> None:
    data = lines(0, 3)
    for pack in [gzip.compress, bz2.compress, gzip.compress][:layers]:
        data = pack(data)
    (tmp_path / "cowrie.json.1.gz.1.gz").write_bytes(data)
    assert numbers(make(tmp_path)) == [0, 1, 2]


def test_what_is_no_gzip_is_said(make: Make, tmp_path: Path) -> None:
    (tmp_path / "cowrie.json").write_bytes(lines(0, 2))
    (tmp_path / "cowrie.json.1.gz").write_bytes(b"not gzip at all")
    (tmp_path / "cowrie.json.2.gz").write_bytes(b"")
    reader = make(tmp_path)
    assert numbers(reader) == [0, 1]
    assert list(reader.problems) == [str(tmp_path / "cowrie.json.1.gz")]
    assert "gzip" in reader.problems[str(tmp_path / "cowrie.json.1.gz")]


def test_the_last_line_of_a_compressed_log_needs_no_newline_once_it_is_clear_that_none_will_come(
    make: Make, tmp_path: Path
) -> None:
    log = tmp_path / "cowrie.json.1.gz"
    log.write_bytes(gzip.compress(b"one\ntwo"))
    reader = make(tmp_path)
    assert texts(reader) == [b"one"]
    assert (reader.torn, reader.bytes_behind()) == (1, log.stat().st_size)
    os.utime(log, (1000, 1000))
    assert texts(reader) == [b"two"]
    assert texts(make(tmp_path, reader.to_state())) == []
    assert (reader.torn, reader.bytes_behind()) == (0, 0)


def test_a_closed_reader_lets_go_of_a_compressed_file_and_goes_on(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cowrie.json.1.gz").write_bytes(gzip.compress(lines(0, 300)))
    true_open, opened = builtins.open, list[Any]()

    def spying(*args: Any, **kwargs: Any) -> Any:
        opened.append(true_open(*args, **kwargs))
        return opened[-1]

    monkeypatch.setattr(builtins, "open", spying)
    reader = make(tmp_path)
    first = [line.number for line in reader.read().lines]
    reader.close()
    reader.close()
    assert opened
    assert all(handle.closed for handle in opened)
    assert first + [line.number for b in drained(reader) for line in b.lines] == list(range(1, 301))


def test_bytes_behind_are_those_on_disk_that_were_not_read(make: Make, tmp_path: Path) -> None:
    log, zipped = tmp_path / "cowrie.json", tmp_path / "cowrie.json.1.gz"
    log.write_bytes(lines(0, 200))
    zipped.write_bytes(gzip.compress(lines(200, 205)))
    reader = make(tmp_path)
    reader.scan()
    assert reader.bytes_behind() == log.stat().st_size + zipped.stat().st_size
    reader.read()
    assert reader.bytes_behind() == log.stat().st_size
    consumed = reader.read().consumed
    assert reader.bytes_behind() == log.stat().st_size - consumed


def test_beginnings_that_are_kept_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert disk.HEADS_KEPT == 10_000
    monkeypatch.setattr(disk, "HEADS_KEPT", 2)
    reader, kept = Tailer(tmp_path, LIMITS), []
    for i in range(6):
        (tmp_path / f"{i}.json").write_bytes(lines(i, i + 1))
        assert numbers(reader) == [i]
        kept.append(len(reader._disk._heads))
    assert kept[:3] == [1, 2, 3]
    assert max(kept) <= 6
    for i in range(5):
        (tmp_path / f"{i}.json").unlink()
    append(tmp_path / "5.json", lines(9, 10))
    assert numbers(reader) == [9]
    assert len(reader._disk._heads) <= 3


@pytest.mark.parametrize("part", [4096, 65_536, 1 << 22])
def test_a_long_line_is_cut_whether_it_comes_at_once_or_in_pieces(tmp_path: Path, part: int) -> None:
    log, limit = tmp_path / "cowrie.json", 100_000
    long = {"input": "A" * 300_000 + "| sh", "session": "s"}
    log.write_bytes(b'{"n": 1}\n' + json.dumps(long).encode() + b'\n{"n": 2}\n')
    reader = Tailer(log, SensorSettings(read_bytes=part, max_line_bytes=limit))
    batches = drained(reader)
    first, cut, last = [json.loads(line.data) for batch in batches for line in batch.lines]
    assert (first, last) == ({"n": 1}, {"n": 2})
    assert cut["session"] == "s"
    assert cut["input"].startswith("AAAA")
    assert cut["input"].endswith("AA| sh")
    assert [place for batch in batches for place in batch.cut] == [f"{log}:2"]
    assert [place for batch in batches for place in batch.too_long] == []
    assert [line.number for batch in batches for line in batch.lines] == [1, 2, 3]


def test_a_long_line_that_a_restart_cuts_in_two_is_refused_and_told(tmp_path: Path) -> None:
    log, limits = tmp_path / "cowrie.json", SensorSettings(read_bytes=4096, max_line_bytes=100_000)
    log.write_bytes(b'{"input": "' + b"A" * 200_000)
    first = Tailer(log, limits)
    drained(first)
    state = first.to_state()
    with log.open("ab") as file:
        file.write(b'"}\n{"n": 2}\n')
    second = Tailer(log, limits)
    second.restore(json.loads(json.dumps(state)))
    batches = drained(second)
    assert [place for batch in batches for place in batch.too_long] == [f"{log}:1"]
    assert [json.loads(line.data) for batch in batches for line in batch.lines] == [{"n": 2}]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("part", [4096, 4098, 1 << 20])
def test_utf_16_is_read_as_what_it_says(tmp_path: Path, encoding: str, part: int) -> None:
    """Characters whose bytes look like a newline (U+0A0A, U+010A, U+0A01) end no line."""
    log = tmp_path / "cowrie.json"
    found = [{"n": i, "text": "\u0a0a\u010a\u0a01 é" * 40} for i in range(60)]
    text = "\ufeff" + "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in found)
    whole = text.encode(encoding)
    log.write_bytes(whole[: len(whole) // 2])
    limits = SensorSettings(read_bytes=part, max_line_bytes=2048)
    first = Tailer(log, limits)
    got = [line for batch in drained(first) for line in batch.lines]
    log.write_bytes(whole)
    second = Tailer(log, limits)
    second.restore(json.loads(json.dumps(first.to_state())))
    got += [line for batch in drained(second) for line in batch.lines]
    assert [json.loads(line.data) for line in got] == found
    assert [line.number for line in got] == list(range(1, 61))
    assert second.bytes_behind() == 0


def test_every_style_of_rotation_is_a_log_and_read_oldest_first() -> None:
    oldest_first = [
        "cowrie.json.2016_4_3", "cowrie.json.2016_4_25", "cowrie.json.2020-11-25", "cowrie.json-20260301",
        "cowrie.json.2026-03-02.gz", "cowrie.json.3.xz", "cowrie.json.2.bz2", "cowrie.json.1.gz.1.gz", "cowrie.json",
    ]  # fmt: skip
    assert all(is_log_name(name) and group_of(name) == "cowrie.json" for name in oldest_first)
    newest_first = oldest_first[::-1]
    assert sorted(newest_first, key=reading_order) == oldest_first


@pytest.mark.parametrize(
    "name", ["cowrie.json.1.gz", "cowrie.json.2.bz2", "cowrie.json.3.xz", "cowrie.json.4"]
)
@pytest.mark.parametrize("padding", [0, 1, 5000, 70_000])
def test_packed_and_padded_files_give_their_lines(tmp_path: Path, name: str, padding: int) -> None:
    """Also one whose name does not say that it is packed; NUL bytes at its head are none of the text."""
    pack = {"cowrie.json.2.bz2": bz2.compress, "cowrie.json.3.xz": lzma.compress}.get(name, gzip.compress)
    (tmp_path / name).write_bytes(pack(b"\0" * padding + lines(0, 40)))
    reader = Tailer(tmp_path, LIMITS)
    found = [line for batch in drained(reader) for line in batch.lines]
    assert [json.loads(line.data)["n"] for line in found] == list(range(40))
    assert (found[0].number, reader.bytes_behind(), reader.problems) == (1, 0, {})


def test_a_writer_that_does_not_append_is_read_after_each_copytruncate(tmp_path: Path) -> None:
    """It goes on at its old place: the file under it is padding and then what is new."""
    log = tmp_path / "cowrie.json"
    reader, got = Tailer(log, LIMITS), []
    with log.open("wb") as writer:
        for turn in range(5):
            writer.write(lines(turn * 10, turn * 10 + 10))
            writer.flush()
            got += [json.loads(line.data)["n"] for batch in drained(reader) for line in batch.lines]
            shutil.copy(log, tmp_path / f"old{turn}.txt")
            os.truncate(log, 0)
            drained(reader)
    assert got == list(range(50))
