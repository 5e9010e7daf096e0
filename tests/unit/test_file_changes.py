"""Rotations, truncations and files that vanish are counted and told with path and time; nothing of it passes unsaid."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from decnet.config import SensorSettings
from decnet.sensors.files.changes import TOLD
from decnet.sensors.files.disk import DiskLook
from decnet.sensors.files.tailer import Tailer

LIMITS = SensorSettings(read_bytes=4096, max_line_bytes=2048)
WHEN = 1_700_000_000.0


def lines(first: int, last: int) -> bytes:
    return b"".join(b'{"n": %d, "pad": "%s"}\n' % (i, b"p" * 40) for i in range(first, last))


def make(path: Path, state: dict[str, Any] | None = None) -> Tailer:
    tailer = Tailer(path, LIMITS, clock=lambda: WHEN)
    if state is not None:
        tailer.restore(json.loads(json.dumps(state)))
    return tailer


def drain(tailer: Tailer) -> int:
    count = 0
    while (batch := tailer.read()).consumed:
        count += len(batch.lines)
    return count


def figures(tailer: Tailer) -> tuple[int, int, int, int]:
    made = tailer.changes
    return made.rotations, made.truncations, made.vanished, made.lost_bytes


def rename(log: Path) -> None:
    log.rename(f"{log}.1")
    log.write_bytes(lines(500, 510))


def copytruncate(log: Path) -> None:
    shutil.copy(log, f"{log}.1")
    os.truncate(log, 0)


def pack(log: Path) -> None:
    Path(f"{log}.1.gz").write_bytes(gzip.compress(log.read_bytes()))
    os.truncate(log, 0)


def cut(log: Path) -> None:
    os.truncate(log, 0)


def rewrite(log: Path) -> None:
    os.truncate(log, 0)
    log.write_bytes(lines(900, 950))


def replace(log: Path) -> None:
    draft = log.with_name("draft")
    draft.write_bytes(lines(700, 710))
    draft.rename(log)


def remove(log: Path) -> None:
    log.unlink()


CASES: list[tuple[Callable[[Path], None], tuple[int, int, int, int], str]] = [
    (rename, (1, 0, 0, 0), "rotated (renamed)"), (copytruncate, (1, 0, 0, 0), "rotated (copied)"),
    (pack, (1, 0, 0, 0), "rotated (copied)"), (cut, (0, 1, 0, 0), "truncated"), (rewrite, (0, 1, 0, 0), "truncated"),
    (replace, (1, 0, 0, 0), "replaced"), (remove, (0, 0, 1, 0), "vanished"),
]  # fmt: skip


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("directory", [False, True])
@pytest.mark.parametrize(("act", "want", "said"), CASES, ids=[c[0].__name__ for c in CASES])
def test_what_happens_to_a_log_is_counted_once_and_told_with_its_time(
    tmp_path: Path,
    act: Callable[[Path], None],
    want: tuple[int, ...],
    said: str,
    directory: bool,
    restart: bool,
) -> None:
    log = tmp_path / "cowrie.json"
    log.write_bytes(lines(0, 50))
    path = tmp_path if directory else log
    reader = make(path)
    drain(reader)
    if restart:
        reader = make(path, reader.to_state())
    act(log)
    for _ in range(3):
        drain(reader)
    assert figures(reader) == want
    (told,) = reader.changes.latest
    assert (told["what"], told["path"], told["ts"]) == (said, str(log), WHEN)
    again = make(path, reader.to_state())
    drain(again)
    assert figures(again) == want
    assert list(again.changes.latest) == [told]


@pytest.mark.parametrize("act", [cut, replace, remove])
def test_bytes_that_were_gone_before_they_could_be_read_are_counted(
    tmp_path: Path, act: Callable[[Path], None]
) -> None:
    log, half = tmp_path / "cowrie.json", b'{"n": 50, "pad": "pp'
    log.write_bytes(lines(0, 50) + half)
    reader = make(log)
    drain(reader)
    act(log)
    drain(reader)
    assert reader.changes.lost_bytes == len(half)
    assert reader.changes.latest[-1]["unread_bytes"] == len(half)


def test_numbers_that_move_up_and_old_logs_that_are_deleted_are_no_change(tmp_path: Path) -> None:
    log = tmp_path / "cowrie.json"
    reader = make(tmp_path)
    for turn in range(5):
        log.write_bytes(lines(turn * 10, turn * 10 + 10))
        drain(reader)
        (tmp_path / "cowrie.json.3").unlink(missing_ok=True)
        for number in (2, 1):
            if (old := tmp_path / f"cowrie.json.{number}").exists():
                old.rename(tmp_path / f"cowrie.json.{number + 1}")
        log.rename(tmp_path / "cowrie.json.1")
    drain(reader)
    assert figures(reader) == (5, 0, 0, 0)


def test_a_log_that_cannot_be_looked_at_has_not_vanished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "cowrie.json"
    log.write_bytes(lines(0, 50))
    reader = make(log)
    drain(reader)

    def refuse(_self: object, _path: str) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(DiskLook, "look", refuse)
        drain(reader)
        assert reader.problems == {str(log): "Permission denied"}
    assert figures(reader) == (0, 0, 0, 0)
    assert drain(reader) == 0


def test_only_the_latest_changes_are_told_one_by_one(tmp_path: Path) -> None:
    assert TOLD == 20
    log = tmp_path / "cowrie.json"
    reader = make(log)
    for turn in range(TOLD + 3):
        log.write_bytes(lines(turn * 10, turn * 10 + 3))
        drain(reader)
        os.truncate(log, 0)
        drain(reader)
    assert (reader.changes.truncations, len(reader.changes.latest)) == (TOLD + 3, TOLD)


def test_a_live_log_that_has_not_grown_for_long_is_named(tmp_path: Path) -> None:
    for name, age in (("a.json", 100), ("b.json", 101), ("b.json.1", 500)):
        (tmp_path / name).write_bytes(lines(age, age + 5))
        os.utime(tmp_path / name, (WHEN - age, WHEN - age))
    reader = make(tmp_path)
    drain(reader)
    assert reader.stale(100) == {str(tmp_path / "b.json"): 101}


@pytest.mark.parametrize("gone", [cut, Path.unlink], ids=["truncated", "vanished"])
@pytest.mark.parametrize("unread", [0, 10])
def test_a_loss_that_was_told_too_early_is_taken_back_when_the_copy_is_found(
    gone: Callable[[Path], None], unread: int, tmp_path: Path
) -> None:
    log = tmp_path / "cowrie.json"
    log.write_bytes(lines(0, 40))
    reader = make(tmp_path)
    assert drain(reader) == 40
    with log.open("ab") as more:
        more.write(lines(40, 40 + unread))
    reader.scan()
    held = log.read_bytes()
    gone(log)
    reader.scan()
    assert sum(figures(reader)[:3]) == 1
    assert figures(reader)[3] == len(lines(40, 40 + unread))
    drain(reader)
    Path(f"{log}.1").write_bytes(held)
    reader.scan()
    assert figures(reader) == (1, 0, 0, 0)
    (told,) = reader.changes.latest
    assert told["what"] not in ("truncated", "vanished")
    assert "unread_bytes" not in told
    assert drain(reader) == unread
