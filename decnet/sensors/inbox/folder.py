"""The files of an inbox: which may be read, what is in them piece by piece, and where they go when that is stored.

Writers rename into the folder: ``.part`` and hidden files are left alone. A file that was read goes to ``done``, a list
to ``lists`` (where it is looked at again), a bad one to ``rejected`` with its reason beside it. Nothing is deleted, and
nothing but plain files is opened.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from decnet.config import InboxSettings
from decnet.sensors.files.changes import Changes
from decnet.sensors.files.cutting import Batch, Line
from decnet.sensors.files.listing import reason_of
from decnet.sensors.inbox.mailbox import BEGIN, pieces
from decnet.sensors.inbox.secrets import SECRET, without_secret

DONE, LISTS, REJECTED = "done", "lists", "rejected"
PART = ".part"
MAX_NAME = 200
"""Characters of a file's name that are kept when it is moved and its name is taken."""
_HEAD = 65_536
_MAIL_ENDS = (".eml", ".mbox", ".mbx")


@dataclass(slots=True)
class Taken:
    """A file that is being read: what tells it from another of its name, how far it was read."""

    name: str
    inode: int
    size: int
    mtime: float
    offset: int = 0
    number: int = 0
    """Pieces of it that were read."""
    ended: bool = False

    @property
    def key(self) -> tuple[str, int, int, float]:
        """What stays the same while the file does."""
        return self.name, self.inode, self.size, self.mtime


@dataclass(slots=True)
class Fate:
    """What its reader says of a file's pieces."""

    good: int = 0
    is_list: bool = False
    reasons: dict[str, int] = field(default_factory=dict)


class InboxFolder:
    """Reads the files of a folder in order of their names; has the face of a log's tailer."""

    def __init__(self, path: Path, settings: InboxSettings) -> None:
        self._path, self._limits = path, settings
        self._now: Taken | None = None
        self._ended: dict[str, Taken] = {}
        """Read to their end, not moved yet."""
        self._waiting: list[Taken] = []
        self._lists_at = float("-inf")
        self._lists: list[str] = []
        """Lists that are still to be looked at again in this round."""
        self._unmoved: dict[str, str] = {}
        self.problems: dict[str, str] = {}
        self.passed: dict[str, str] = {}
        self.over = 0
        self.torn = 0
        self.changes = Changes(time.time)

    @property
    def files(self) -> int:
        """Files that wait."""
        return len(self._waiting)

    def bytes_behind(self) -> int:
        """Bytes that wait."""
        return sum(one.size - one.offset for one in self._waiting)

    def stale(self, seconds: float) -> dict[str, float]:
        """None: a file does not grow here."""
        return {}

    def close(self) -> None:
        """Nothing stays open."""

    def look_at_lists(self) -> None:
        """Has all lists looked at again with the next reads."""
        self._lists_at = float("-inf")

    def to_state(self) -> dict[str, Any]:
        """Plain JSON for a checkpoint."""
        kept = [*self._ended.values(), *([self._now] if self._now else [])]
        return {
            "inbox": [[t.name, t.inode, t.size, t.mtime, t.offset, t.number, t.ended] for t in kept],
            "changes": self.changes.to_state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes up the state of :meth:`to_state`."""
        for name, inode, size, mtime, offset, number, ended in state.get("inbox", ()):
            one = Taken(str(name), int(inode), int(size), float(mtime), int(offset), int(number), bool(ended))
            if one.ended:
                self._ended[one.name] = one
            else:
                self._now = one
        self.changes.restore(state.get("changes", {}))

    def read(self) -> Batch:
        """The next pieces: of the file that was begun, else of the next one, else of lists that are due."""
        batch = Batch()
        try:
            self._waiting = self._found()
        except OSError as error:
            self.problems, self._waiting = {str(self._path): reason_of(error)}, []
            return batch
        for one in self._waiting:
            self._read_file(one, batch)
            if batch.consumed >= self._limits.batch_bytes:
                break
        if not batch.consumed:
            self._read_lists(batch)
        return batch

    def _found(self) -> list[Taken]:
        names = sorted(name for name in os.listdir(self._path) if _is_for_us(name))
        self.over = max(len(names) - self._limits.max_files, 0)
        problems, passed, found = {}, {}, []
        for name in names[: self._limits.max_files]:
            try:
                status = os.lstat(self._path / name)
            except FileNotFoundError:
                continue
            except OSError as error:
                problems[str(self._path / name)] = reason_of(error)
                continue
            if stat.S_ISREG(status.st_mode):
                found.append(Taken(name, status.st_ino, status.st_size, status.st_mtime))
            elif not (stat.S_ISDIR(status.st_mode) and name in (DONE, LISTS, REJECTED)):
                passed[str(self._path / name)] = "no plain file"
        self.problems, self.passed = {**problems, **self._unmoved}, passed
        known = {one.key: one for one in [*self._ended.values(), *([self._now] if self._now else [])]}
        found = [known.get(one.key, one) for one in found]
        if self._now is not None and self._now not in found:
            self._now = None  # it was taken away while it was read
        return [one for one in found if not one.ended]

    def _read_file(self, one: Taken, batch: Batch) -> None:
        path = self._path / one.name
        try:
            with _opened(path) as file:
                for line, end in self._pieces(file, one, path):
                    batch.consumed += end - one.offset
                    one.offset, one.number = end, line.number
                    batch.lines.append(line)
                    self._now = one
                    if batch.consumed >= self._limits.batch_bytes:
                        return
        except OSError as error:
            self.problems[str(path)] = reason_of(error)
            return
        one.ended = True
        batch.consumed += max(one.size - one.offset, 1)
        self._now = None
        self._ended[one.name] = one

    def _pieces(self, file: BinaryIO, one: Taken, path: Path) -> Iterator[tuple[Line, int]]:
        """The pieces of a file from where it was left; one that is too long is a line without text."""
        limits, name = self._limits, one.name.lower()
        head = file.read(_HEAD)
        if head.startswith(BEGIN) and not name.endswith(".eml"):
            for number, piece in enumerate(
                pieces(file, one.offset, limits.max_message_bytes), one.number + 1
            ):
                yield Line(str(path), number, piece.end, piece.data or b""), piece.end
            return
        if one.offset:
            return
        most = (
            limits.max_message_bytes
            if name.endswith(_MAIL_ENDS)
            else max(limits.max_list_bytes, limits.max_body_bytes)
        )
        data = head + file.read(most + 1 - len(head)) if len(head) == _HEAD else head
        yield Line(str(path), 1, one.size, data if len(data) <= most else b""), one.size

    def _read_lists(self, batch: Batch) -> None:
        """One list at a time, as long as a round lasts."""
        now = time.monotonic()
        if not self._lists and now >= self._lists_at + self._limits.lists_every_s:
            self._lists_at, self._lists = now, self._newest_lists()
        if not self._lists:
            return
        path = self._path / LISTS / self._lists.pop()
        try:
            with _opened(path) as file:
                data = file.read(self._limits.max_list_bytes + 1)
        except OSError:
            return
        if len(data) <= self._limits.max_list_bytes:
            batch.lines.append(Line(str(path), 1, 0, data))
            batch.consumed += max(len(data), 1)

    def _newest_lists(self) -> list[str]:
        try:
            found = [
                (entry.stat().st_mtime, entry.name)
                for entry in os.scandir(self._path / LISTS)
                if entry.is_file()
            ]
        except OSError:
            return []
        return [name for _, name in sorted(found)[-self._limits.max_lists :]]

    def settle(self, fates: Mapping[str, Fate]) -> None:
        """Moves files whose facts are stored to where they belong. What cannot be moved is a problem, and tried again."""
        for name in list(self._ended):
            path = self._path / name
            fate = fates.get(str(path), Fate())
            try:
                if _same(path, self._ended[name]):
                    self._move(path, fate)
                del self._ended[name]
                self._unmoved.pop(str(path), None)
            except OSError as error:
                self._unmoved[str(path)] = f"cannot be moved: {reason_of(error)}"
        self.problems |= self._unmoved

    @property
    def unsettled(self) -> int:
        """Files that wait to be moved."""
        return len(self._ended)

    def being_read(self) -> set[str]:
        """Paths of files that were begun and are still here."""
        return {
            str(self._path / one.name) for one in [*self._ended.values(), *([self._now] if self._now else [])]
        }

    def _move(self, path: Path, fate: Fate) -> None:
        bad = not fate.good and bool(fate.reasons)
        place = self._path / (REJECTED if bad else LISTS if fate.is_list else DONE)
        place.mkdir(exist_ok=True, mode=0o700)
        target = _free(place, path.name)
        if bad:
            said = ", ".join(f"{reason} {count}" for reason, count in sorted(fate.reasons.items()))
            target.with_name(f"{target.name}.reason").write_text(f"{said}\n", "utf-8")
        if path.lstat().st_size <= self._limits.max_body_bytes and SECRET in (data := path.read_bytes()):
            _write(target, without_secret(data))
            path.unlink()
        else:
            path.rename(target)


def _is_for_us(name: str) -> bool:
    return not name.startswith(".") and not name.endswith(PART)


def _opened(path: Path) -> BinaryIO:
    """A plain file, and no other thing that somebody put in its place meanwhile. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError("no plain file")
    return os.fdopen(handle, "rb")


def _same(path: Path, one: Taken) -> bool:
    """Whether a file is still the one that was read; one that came in its place is read by itself."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    return (status.st_ino, status.st_size, status.st_mtime) == (one.inode, one.size, one.mtime)


def _write(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _free(place: Path, name: str) -> Path:
    """A name that nobody has in a place."""
    target, number = place / name, 1
    while target.exists() or target.is_symlink():
        number += 1
        target = place / f"{number}-{name[-MAX_NAME:]}"
    return target
