"""Files are told apart by what is in them: alike beginnings hide nothing, and nothing is read twice."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from decnet.config import SensorSettings
from decnet.sensors.files import disk, rotation
from decnet.sensors.files.rotation import HEAD_BYTES, MAX_COMPARED
from decnet.sensors.files.tailer import Tailer

LIMITS = SensorSettings(read_bytes=4096, max_line_bytes=2048)
HEADER = b'{"log": "' + b"=" * 1400 + b'"}\n'
"""A first line that many files share, longer than what a file is known by."""


def lines(first: int, last: int) -> bytes:
    return b"".join(b'{"n": %d, "pad": "%s"}\n' % (i, b"p" * 40) for i in range(first, last))


def make(path: Path, state: dict[str, Any] | None = None) -> Tailer:
    tailer = Tailer(path, LIMITS)
    if state is not None:
        tailer.restore(json.loads(json.dumps(state)))
    return tailer


def numbers(tailer: Tailer) -> list[int]:
    found = []
    while (batch := tailer.read()).consumed:
        found += [json.loads(line.data).get("n") for line in batch.lines]
    return [n for n in found if n is not None]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_files_that_begin_alike_beyond_the_bytes_of_a_head_are_all_read(
    tmp_path: Path, packed: bool, restart: bool
) -> None:
    assert len(HEADER) > HEAD_BYTES
    for day in range(4):
        data = HEADER + lines(day * 10, day * 10 + 10 - day)
        name = f"cowrie.json.2026-03-0{day + 1}" + ".gz" * packed
        (tmp_path / name).write_bytes(gzip.compress(data) if packed else data)
    reader = make(tmp_path)
    assert sorted(numbers(reader)) == [*range(10), *range(10, 19), *range(20, 28), *range(30, 37)]
    if restart:
        reader = make(tmp_path, reader.to_state())
    assert numbers(reader) == []
    assert (reader.files, reader.bytes_behind(), reader.passed, reader.problems) == (4, 0, {}, {})


def test_a_shorter_file_that_begins_like_one_that_was_read_is_read_as_well(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(HEADER + lines(0, 30))
    reader = make(tmp_path)
    assert numbers(reader) == list(range(30))
    (tmp_path / "b.json").write_bytes(HEADER + lines(50, 55))
    assert numbers(reader) == list(range(50, 55))
    with (tmp_path / "b.json").open("ab") as file:
        file.write(lines(55, 90))
    assert numbers(reader) == list(range(55, 90)), "also once it is longer than the other"
    with (tmp_path / "a.json").open("ab") as file:
        file.write(lines(30, 33))
    assert numbers(reader) == [30, 31, 32]


@pytest.mark.parametrize("how", ["hard link", "symlink", "copy"])
def test_one_log_under_two_names_is_read_once_and_the_other_name_is_told(tmp_path: Path, how: str) -> None:
    log, other = tmp_path / "cowrie.json", tmp_path / "other.json"
    log.write_bytes(lines(0, 60))
    {"hard link": os.link, "symlink": os.symlink, "copy": shutil.copy}[how](log, other)
    reader = make(tmp_path)
    assert numbers(reader) == list(range(60))
    with log.open("ab") as file:
        file.write(lines(60, 70))
    assert numbers(reader) == list(range(60, 70))
    assert numbers(make(tmp_path, reader.to_state())) == []
    assert set(reader.passed.values()) <= {f"a copy of {log}", f"a copy of {other}"}
    assert len(reader.passed) == 1


def test_a_snapshot_that_the_log_outgrew_stays_a_copy_and_what_only_one_of_them_has_is_read(
    tmp_path: Path,
) -> None:
    log, copy = tmp_path / "cowrie.json", tmp_path / "cowrie.json.1"
    log.write_bytes(lines(0, 60))
    reader = make(tmp_path)
    assert numbers(reader) == list(range(60))
    shutil.copy(log, copy)
    with log.open("ab") as file:
        file.write(lines(60, 62))
    assert numbers(reader) == [60, 61]
    with copy.open("ab") as file:
        file.write(lines(90, 92))
    assert numbers(reader) == [90, 91]
    assert numbers(make(tmp_path, reader.to_state())) == []


def test_grown_anew_past_the_old_place_with_the_same_beginning_it_is_read_from_its_start(
    tmp_path: Path,
) -> None:
    log = tmp_path / "cowrie.json"
    log.write_bytes(HEADER + lines(0, 20))
    reader = make(tmp_path)
    assert numbers(reader) == list(range(20))
    with log.open("r+b") as file:
        file.truncate(0)
        file.write(HEADER + lines(100, 140))
    assert numbers(reader) == list(range(100, 140))
    assert reader.changes.truncations == 1


def test_cut_and_grown_anew_between_the_look_and_the_read_no_wrong_half_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "cowrie.json"
    log.write_bytes(HEADER + lines(0, 20))
    reader = make(tmp_path)
    numbers(reader)
    with log.open("ab") as file:
        file.write(lines(20, 21))
    true, turns = disk.DiskLook.fits, list[int]()

    def regrow(self: Any, file: Any, record: Any) -> bool:
        fits = true(self, file, record)
        if not turns:
            turns.append(1)
            with log.open("r+b") as other:
                other.truncate(0)
                other.write(HEADER + lines(100, 160))
        return fits

    monkeypatch.setattr(disk.DiskLook, "fits", regrow)
    assert numbers(reader) == []
    assert numbers(reader) == list(range(100, 160))


def test_files_that_begin_alike_are_compared_with_few_and_read_all_the_same(tmp_path: Path) -> None:
    assert MAX_COMPARED == 8
    for i in range(12):
        (tmp_path / f"{i:02}.json").write_bytes(HEADER + lines(i * 10, i * 10 + 10))
    assert sorted(numbers(make(tmp_path))) == list(range(120))


def test_heads_of_nothing_but_padding_tell_no_files_apart(tmp_path: Path) -> None:
    for i, name in enumerate(("a.json", "b.json", "c.json")):
        (tmp_path / name).write_bytes(b"\0" * 3000 + lines(i * 10, i * 10 + 5))
    (tmp_path / "d.json").write_bytes(b"\0" * 3000)
    (tmp_path / "e.json").write_bytes(b"")
    reader = make(tmp_path)
    assert sorted(numbers(reader)) == [*range(5), *range(10, 15), *range(20, 25)]
    assert reader.passed == {
        str(tmp_path / "d.json"): "nothing but NUL bytes", str(tmp_path / "e.json"): "empty"
    }  # fmt: skip


def test_the_hole_at_the_head_of_a_large_file_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that does not append leaves a hole as long as all that it ever wrote."""
    log, hole = tmp_path / "cowrie.json", 1 << 36
    with log.open("wb") as file:
        file.seek(hole)
        file.write(lines(0, 5))
    reader = make(log)
    assert numbers(reader) == list(range(5))
    assert reader.bytes_behind() == 0
    with log.open("r+b") as file:
        file.truncate(hole)
    assert numbers(make(log)) == []


def test_a_record_of_an_older_version_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(lines(0, 60))
    reader = make(tmp_path)
    numbers(reader)
    state = reader.to_state()
    for record in state["files"]:
        for key in ("tail", "size", "cut", "gone", "skipped"):
            del record[key]
    del state["changes"]
    again = make(tmp_path, state)
    assert numbers(again) == []
    assert rotation.FileRecord.from_state(state["files"][0]).tail == ""


@pytest.mark.parametrize("restarted", [False, True], ids=["runs on", "restarted"])
@pytest.mark.parametrize("first", [0, 5, len(HEADER), len(HEADER) + 5, 1023, 1024, 1500, 1999])
def test_copied_and_cut_between_two_looks_at_the_same_time_it_is_one_rotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int, restarted: bool
) -> None:
    """The copy was in the making when it was looked at, and whole when the log was looked at, cut."""
    log, copy = tmp_path / "cowrie.json", tmp_path / "cowrie.json.1"
    log.write_bytes(HEADER + lines(0, 200))
    reader = make(tmp_path)
    assert numbers(reader) == list(range(200))
    if restarted:
        reader = make(tmp_path, reader.to_state())
    with log.open("ab") as file:
        file.write(lines(200, 203))
    whole = log.read_bytes()
    copy.write_bytes(whole[:first])
    true, turns = disk.DiskLook.look, list[int]()

    def look(self: Any, path: str) -> Any:
        if path == str(log) and not turns:
            turns.append(1)
            copy.write_bytes(whole)
            with log.open("r+b") as other:
                other.truncate(0)
                other.write(HEADER + lines(500, 505))
        return true(self, path)

    monkeypatch.setattr(disk.DiskLook, "look", look)
    assert numbers(reader) == [200, 201, 202, *range(500, 505)]
    assert (reader.changes.rotations, reader.changes.truncations, reader.changes.lost_bytes) == (1, 0, 0)
