"""A checkpointed tailer over one log file with its rotated ones, or over a directory of logs.

Reads whole lines in bounded memory and says where each one stands. It blocks on the disk: call it
from a thread. It never opens a file for writing and never raises for the state of the disk: what
cannot be read is in :attr:`Tailer.problems` and is tried again, what is not read at all is in :attr:`Tailer.passed`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from decnet.config import SensorSettings
from decnet.sensors.files.changes import Changes
from decnet.sensors.files.cutting import Batch, Cutter, Line, wide
from decnet.sensors.files.disk import DiskLook, tail_at
from decnet.sensors.files.joining import Joined, Torn, joined, torn_end
from decnet.sensors.files.listing import MISSING, Listing, Sniff, reason_of
from decnet.sensors.files.names import group_of, is_live, reading_order
from decnet.sensors.files.opening import FAULTS, TAIL_BYTES, opened, skip, tail_of, unreadable
from decnet.sensors.files.rotation import (
    MAX_GONE,
    FileRecord,
    FoundFile,
    Matched,
    Shared,
    fingerprint,
    has_identity,
    matching,
)

__all__ = ["Batch", "Line", "Tailer"]
TORN_AFTER_S = 60.0
"""Seconds without a change after which the torn end of a rotated file is given up: its other half will not come."""

Pair = tuple[FoundFile, FileRecord]


class Tailer:
    """Reads one sensor's path; ``start`` is start or end, and applies to what is there at first.

    ``sniff`` says of a file in a directory whose name tells nothing whether it is a log, ``by_content`` of every file;
    ``clock`` gives epoch seconds.
    """

    def __init__(
        self,
        path: Path,
        limits: SensorSettings,
        start: str = "start",
        sniff: Sniff | None = None,
        clock: Callable[[], float] = time.time,
        *,
        by_content: bool = False,
    ) -> None:
        self._path = path
        self._limits = limits
        self._start = start
        self._clock = clock
        self._listing = Listing(path, limits.max_files, sniff, by_content=by_content)
        self._disk = DiskLook(clock)
        self._cutter = Cutter(limits.max_line_bytes)
        self._most = max(limits.read_bytes, limits.max_line_bytes + 1)
        self._records: list[FileRecord] = []
        self._current: dict[str, Pair] = {}
        self._ends: dict[str, tuple[tuple[int, ...], Torn | None]] = {}
        """Path to the state in which a file had this torn end."""
        self._stuck: dict[str, tuple[tuple[int, ...], str]] = {}
        """Path to the state in which a file gives nothing more, and what is wrong with it, if anything."""
        self._gz: tuple[tuple[int, ...], int, BinaryIO, bytes] | None = None
        """A compressed file that is being read: which, the place, its handle, and the bytes before the place."""
        self._turn = 0
        self._first_scan = True
        self.problems: dict[str, str] = {}
        """Path to what is wrong with it, of the last look."""
        self.passed: dict[str, str] = {}
        """Path to why it is not read, of the last look."""
        self.over = 0
        """Files beyond the limit, of the last look."""
        self.changes = Changes(clock)

    def to_state(self) -> dict[str, Any]:
        """Plain JSON for a checkpoint."""
        return {"files": [r.to_state() for r in self._records], "changes": self.changes.to_state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes up the state of :meth:`to_state`."""
        self._records = [FileRecord.from_state(item) for item in state.get("files", ())]
        self.changes.restore(state.get("changes", {}))
        self._first_scan = False

    @property
    def files(self) -> int:
        """Files that are followed now."""
        return len(self._current)

    def bytes_behind(self) -> int:
        """Bytes on disk that are not read yet, as of the last look (compressed ones count compressed)."""
        return sum(_remaining(f, r) for f, r in list(self._current.values()))

    @property
    def torn(self) -> int:
        """Files whose end has no newline yet and waits for it."""
        return sum(self._is_torn(f, r) for f, r in list(self._current.values()))

    def stale(self, seconds: float) -> dict[str, float]:
        """Live logs that have not grown for that long, with the seconds since; rotated ones never grow."""
        now = self._clock()
        ages = {f.path: now - f.mtime_ns / 1e9 for f, _ in list(self._current.values()) if is_live(f.path)}
        return {path: age for path, age in ages.items() if age > seconds}

    def read(self) -> Batch:
        """The next lines; an empty batch that consumed nothing means: everything is read."""
        self.scan()
        batch = Batch()
        groups = sorted({group_of(f.name) for f, _ in self._current.values()})
        for _ in groups:
            self._turn = (self._turn + 1) % len(groups)
            self._read_group(groups[self._turn], batch)
            if batch.consumed:
                break
        return batch

    def scan(self) -> None:
        """Looks at the disk: new, renamed, truncated and vanished files."""
        found = self._found()
        matched = matching(found, self._records, self._disk)
        if self._is_missed(matched):
            found = self._found()
            matched = matching(found, self._records, self._disk)
        self._take_in({f.path: f for f in found}, matched)
        self._first_scan = False
        self._prune()

    def _take_in(self, by_path: dict[str, FoundFile], matched: Matched) -> None:
        self._current = {}
        going_on = {id(r) for r in matched.going_on.values()}
        lost = [r for r in self._records if id(r) not in going_on]
        self.changes.lost(lost, by_path, self._hidden())
        for path, record in matched.going_on.items():
            self.changes.moved(record, by_path[path])
            self._follow(by_path[path], record)
        for file, told in matched.fresh:
            self._begin(file, told)
        for path, of in matched.copies.items():
            self.passed[path] = f"a copy of {of}"
        for path, file in by_path.items():
            if path not in self._current and path not in self.passed and path not in self.problems:
                self.passed[path] = _not_yet(file)

    def _is_missed(self, matched: Matched) -> bool:
        """Whether something that was read goes on nowhere, and that was not said yet.

        Renamed between the listing and the look, it would be two files; copied and cut between the look at the copy
        and the one at the log, it would be a copy that nobody knows. What goes on is there at the next look.
        """
        going_on = {id(r) for r in matched.going_on.values()}
        hidden = self._hidden()
        return any(
            not (record.cut or record.gone or id(record) in going_on or record.path in hidden)
            for record in self._records
        )

    def _hidden(self) -> set[str]:
        """Paths that cannot be looked at: what becomes of their files cannot be told."""
        return {path for path, why in self.problems.items() if why != MISSING}

    def close(self) -> None:
        """Closes what is kept open."""
        if self._gz is not None:
            self._gz[2].close()
            self._gz = None

    def _begin(self, file: FoundFile, told: Shared) -> None:
        """A new file; what the beginning of another one has told is passed over, unless it begins with half a line."""
        record = FileRecord(fingerprint(file.head), len(file.head), file.dev, file.inode, file.path)
        record.offset = file.padding
        if told.offset and file.head.startswith(b"{") and wide(file.head) is None:
            record.offset, record.line = file.padding + told.offset, told.lines
        self._records.append(record)
        if self._first_scan and self._skipped_at_first(file):
            record.skipped = not is_live(file.path)
            self._to_end(file, record)
        self._follow(file, record)

    def _skipped_at_first(self, file: FoundFile) -> bool:
        """At the first look rotated neighbours of a single file are not asked for."""
        neighbour = file.path != str(self._path) and not self._path.is_dir()
        return self._start == "end" or neighbour

    def _follow(self, file: FoundFile, record: FileRecord) -> None:
        record.dev, record.inode, record.path = file.dev, file.inode, file.path
        record.size, record.cut, record.gone = 0 if file.gz else file.size, False, False
        if record.fp_len <= len(file.head):
            record.fp, record.fp_len = fingerprint(file.head), len(file.head)
            record.weak = not has_identity(file.head)
        self._current[file.path] = (file, record)
        if record.skipped:
            self.passed[file.path] = "there before the sensor began, and not asked for: give it the directory"
        why = self._stuck_why(file, record)
        if why:
            self.problems[file.path] = why

    def _stuck_why(self, file: FoundFile, record: FileRecord) -> str | None:
        """What is wrong with a file that gave nothing and has not changed since; None when it is to be read."""
        mark, why = self._stuck.get(file.path, ((), ""))
        return why if mark == _mark(file, record) else None

    def _prune(self) -> None:
        """Forgets the oldest records of files that are gone."""
        self._stuck = {path: why for path, why in self._stuck.items() if path in self._current}
        self._ends = {path: end for path, end in self._ends.items() if path in self._current}
        here = {id(r) for _, r in self._current.values()}
        gone = [r for r in self._records if id(r) not in here]
        drop = {id(r) for r in gone[: max(len(gone) - MAX_GONE, 0)]}
        if drop:
            for record in gone:
                self._cutter.forget(record)
            self._records = [r for r in self._records if id(r) not in drop]

    def _found(self) -> list[FoundFile]:
        listed = self._listing.look()
        self.problems, self.passed, self.over = listed.problems, listed.passed, listed.over
        looked = (self._look(path) for path in listed.paths)
        return [file for file in looked if file is not None]

    def _look(self, path: str) -> FoundFile | None:
        """One file with its head; None when it cannot be read (a problem) or holds no lines."""
        try:
            file = self._disk.look(path)
        except EOFError:
            self.passed[path] = "a compressed file in the making"
            return None
        except FAULTS as error:
            self.problems[path] = reason_of(error)
            return None
        if file is None:
            where = self.problems if path == str(self._path) else self.passed
            where[path] = "not a regular file"
            return None
        if why := unreadable(file.head):
            self.passed[path] = why
            return None
        return file

    def _to_end(self, file: FoundFile, record: FileRecord) -> None:
        """Marks a file as read up to its last whole line."""
        if file.gz:
            record.done = True
            return
        with open(file.path, "rb") as handle:
            start = max(file.size - self._limits.max_line_bytes, 0)
            handle.seek(start)
            cut = handle.read(file.size - start).rfind(b"\n")
            record.offset = start + cut + 1 if cut >= 0 else file.size
            record.tail = tail_of(tail_at(handle, record.offset))

    def _read_group(self, group: str, batch: Batch) -> None:
        """The next lines of one log: the oldest file that has some."""
        mine = sorted(
            (pair for pair in self._current.values() if group_of(pair[0].name) == group),
            key=lambda pair: reading_order(pair[0].name),
        )
        for place, (file, record) in enumerate(mine):
            later = mine[place + 1 :]
            if _remaining(file, record) and self._stuck_why(file, record) is None:
                self._read_file(file, record, batch)
            if not batch.consumed and (later or file.gz):
                self._mend(file, record, later, batch)
            if batch.consumed:
                return

    def _torn(self, file: FoundFile, record: FileRecord) -> Torn | None:
        """The end without a newline of a file that gives nothing more; None where there is none."""
        if record.skipping or not self._is_torn(file, record):
            return None
        mark, known = self._ends.get(file.path, ((), None))
        if mark == _mark(file, record):
            return known
        try:
            found = torn_end(file, record, self._limits.max_line_bytes)
        except FAULTS as error:
            self.problems[file.path] = reason_of(error)
            return None
        self._ends[file.path] = (_mark(file, record), found)
        return found

    def _is_torn(self, file: FoundFile, record: FileRecord) -> bool:
        return _remaining(file, record) > 0 and self._stuck_why(file, record) == ""

    def _mend(self, file: FoundFile, record: FileRecord, later: list[Pair], batch: Batch) -> None:
        """Joins a line that a rotation cut with its other half at the head of a later file, or gives it up in time."""
        torn = self._torn(file, record)
        if torn is None:
            return
        for other, its in later:
            if its.line or its.offset > other.padding:
                continue
            if (found := self._joined(torn, other, its)) is not None:
                self.changes.joined += 1
                batch.consumed += found.take(batch)
                return
        if self._clock() - file.mtime_ns / 1e9 > TORN_AFTER_S:
            batch.consumed += torn.give_up(self._cutter, batch)

    def _joined(self, torn: Torn, file: FoundFile, record: FileRecord) -> Joined | None:
        try:
            return joined(torn, file, record, self._limits.max_line_bytes)
        except FAULTS:  # said when it is read
            return None

    def _read_file(self, file: FoundFile, record: FileRecord, batch: Batch) -> None:
        try:
            before, data, ended = (self._gz_bytes if file.gz else _bytes_at)(file, record, self._most)
        except FAULTS as error:
            self.problems[file.path] = reason_of(error)
            return
        start = record.offset
        self._cutter.cut(file, record, data, batch)
        moved = record.offset - start
        batch.consumed += moved
        if moved:
            record.tail = tail_of(before + data[:moved])
        record.done = file.gz and ended and moved == len(data)
        if not moved and not record.done:
            self._stuck[file.path] = (_mark(file, record), self.problems.get(file.path, ""))

    def _gz_bytes(self, file: FoundFile, record: FileRecord, size: int) -> tuple[bytes, bytes, bool]:
        """The bytes before the record's offset, uncompressed ones from it on, and whether the stream has ended there.

        A stream that breaks off gives what it has; it is tried again when the file changes.
        """
        which = (file.dev, file.inode, file.size, file.mtime_ns)  # not its name: numbers move up
        if self._gz is None or self._gz[:2] != (which, record.offset):
            self.close()
            handle, _ = opened(file.path)
            if not _is_still(file):
                handle.close()
                return b"", b"", False
            skip(handle, max(record.offset - TAIL_BYTES, 0))
            before = handle.read(min(record.offset, TAIL_BYTES))
            self._gz = (which, record.offset, handle, before)
        _, _, handle, before = self._gz
        parts, got = [], 0
        try:
            while got < size and (part := handle.read(min(65_536, size - got))):
                parts.append(part)
                got += len(part)
        except FAULTS as error:
            self.problems[file.path] = reason_of(error)
            self.close()
            return before, b"".join(parts), False
        data = b"".join(parts)
        kept = len(data) if got < size else data.rfind(b"\n") + 1
        end = record.offset + (kept or len(data))
        if end != record.offset + len(data):
            handle.seek(end)
        self._gz = (which, end, handle, (before + data[: kept or len(data)])[-TAIL_BYTES:])
        return before, data, got < size


def _bytes_at(file: FoundFile, record: FileRecord, size: int) -> tuple[bytes, bytes, bool]:
    """The bytes before the record's offset and those from it on, read from the very file that was looked at.

    Nothing if what stands before them now is not what was read, or of a file that nothing was read of not what was
    looked at: then the file was cut and has grown anew since.
    """
    with open(file.path, "rb") as handle:
        info = os.fstat(handle.fileno())
        if (info.st_dev, info.st_ino) != file.inode_key or info.st_size < record.offset:
            return b"", b"", False
        before = tail_at(handle, record.offset)
        data = handle.read(size)
        if record.tail:
            same = tail_of(tail_at(handle, record.offset)) == record.tail
        else:
            handle.seek(file.padding)
            same = handle.read(len(file.head)) == file.head
        if not same:
            return b"", b"", False
    return before, data, len(data) < size


def _is_still(file: FoundFile) -> bool:
    """Whether a path holds the file that was looked at; archives have no other mark: they move up by one number."""
    info = os.stat(file.path)
    return (info.st_dev, info.st_ino) == file.inode_key


def _remaining(file: FoundFile, record: FileRecord) -> int:
    if file.gz:
        return 0 if record.done else file.size
    return max(file.size - record.offset, 0)


def _mark(file: FoundFile, record: FileRecord) -> tuple[int, ...]:
    return (file.inode, file.size, file.mtime_ns, record.offset)


def _not_yet(file: FoundFile) -> str:
    """Why a file with the name of a log is not followed."""
    if not file.size:
        return "empty"
    return "its first line is not whole yet" if file.head else "nothing but NUL bytes"
