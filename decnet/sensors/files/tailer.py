"""A checkpointed tailer over one log file with its rotated ones, or over a directory of logs.

Reads whole lines in bounded memory and says where each one stands. It blocks on the disk: call it
from a thread. It never opens a file for writing and never raises for the state of the disk: what
cannot be read is in :meth:`Tailer.problems` and is tried again.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import os
import stat
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from decnet.config import SensorSettings
from decnet.sensors.files.carriers import MAX_PREFIX, break_of, decoded, split
from decnet.sensors.files.rotation import (
    HEAD_BYTES,
    MAX_GONE,
    FileRecord,
    FoundFile,
    fingerprint,
    group_of,
    is_log_name,
    matching,
    reading_order,
)
from decnet.sensors.files.squeeze import Squeezer

_GZIP_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError)
_PADDING_CHUNK = 65_536
HEADS_KEPT = 10_000
"""Beginnings of files kept so that a file that has not changed is not read again."""


class Line(NamedTuple):
    """One line without its newline; ``offset`` is its first byte, ``number`` counts from 1."""

    path: str
    number: int
    offset: int
    data: bytes


@dataclass(slots=True)
class Batch:
    """What one read gave; ``too_long`` are the places of lines that were skipped, ``cut`` of those that were shortened."""

    lines: list[Line] = field(default_factory=list)
    too_long: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    consumed: int = 0
    """Bytes that the offsets moved on."""


class Tailer:
    """Reads one sensor's path; ``start`` is start or end, and applies to what is there at first."""

    def __init__(self, path: Path, limits: SensorSettings, start: str = "start") -> None:
        self._path = path
        self._limits = limits
        self._start = start
        self._records: list[FileRecord] = []
        self._current: dict[str, tuple[FoundFile, FileRecord]] = {}
        self._heads: dict[str, tuple[tuple[int, ...], tuple[bytes, int, bool]]] = {}
        self._stuck: dict[str, tuple[tuple[int, ...], str]] = {}
        """Path to the state in which a file gives nothing more, and what is wrong with it, if anything."""
        self._long: dict[str, Squeezer] = {}
        """What is kept so far of lines over the limit, by path."""
        self._gz: tuple[str, int, BinaryIO] | None = None
        self._turn = 0
        self._first_scan = True
        self.problems: dict[str, str] = {}
        """Path to what is wrong with it, of the last look."""

    def to_state(self) -> dict[str, Any]:
        """Plain JSON for a checkpoint."""
        return {"files": [r.to_state() for r in self._records]}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes up the state of :meth:`to_state`."""
        self._records = [FileRecord.from_state(item) for item in state.get("files", ())]
        self._first_scan = False

    @property
    def files(self) -> int:
        """Files that are followed now."""
        return len(self._current)

    def bytes_behind(self) -> int:
        """Bytes on disk that are not read yet, as of the last look (compressed ones count compressed)."""
        return sum(_remaining(f, r) for f, r in list(self._current.values()))

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
        self.problems = {}
        found = self._found()
        matched, fresh = matching(found, self._records)
        by_path = {f.path: f for f in found}
        self._current = {}
        for path, record in matched.items():
            self._follow(by_path[path], record)
        for file in fresh:
            mark = fingerprint(file.head)
            record = FileRecord(mark, len(file.head), file.dev, file.inode, file.path, offset=file.padding)
            self._records.append(record)
            if self._first_scan and self._skipped_at_first(file):
                self._to_end(file, record)
            self._follow(file, record)
        self._first_scan = False
        self._prune()

    def close(self) -> None:
        """Closes what is kept open."""
        if self._gz is not None:
            self._gz[2].close()
            self._gz = None

    def _skipped_at_first(self, file: FoundFile) -> bool:
        """At the first look rotated neighbours of a single file are not asked for."""
        neighbour = file.path != str(self._path) and not self._path.is_dir()
        return self._start == "end" or neighbour

    def _follow(self, file: FoundFile, record: FileRecord) -> None:
        record.dev, record.inode, record.path = file.dev, file.inode, file.path
        if record.fp_len < len(file.head):
            record.fp, record.fp_len = fingerprint(file.head), len(file.head)
        self._current[file.path] = (file, record)
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
        here = {id(r) for _, r in self._current.values()}
        gone = [r for r in self._records if id(r) not in here]
        drop = {id(r) for r in gone[: max(len(gone) - MAX_GONE, 0)]}
        if drop:
            self._records = [r for r in self._records if id(r) not in drop]

    def _found(self) -> list[FoundFile]:
        files = []
        for path in self._candidates():
            file = self._look(path)
            if file is not None:
                files.append(file)
        return files

    def _candidates(self) -> list[str]:
        """Paths that may be logs, in reading order."""
        root = self._path
        try:
            if root.is_dir():
                names = [n for n in os.listdir(root) if is_log_name(n)]
                return [str(root / n) for n in sorted(names, key=reading_order)]
            base = root.name
            names = [n for n in os.listdir(root.parent) if n.startswith(base) and group_of(n) == base]
        except OSError as error:
            self.problems[str(root)] = _reason(error)
            return []
        if base not in names:
            if root.exists():
                names.append(base)
            else:
                self.problems[str(root)] = "missing"
        return [str(root.parent / n) for n in sorted(names, key=reading_order)]

    def _look(self, path: str) -> FoundFile | None:
        """One file with its head; None when it cannot be read (a problem) or is no regular file."""
        try:
            info = os.stat(path)
            if not stat.S_ISREG(info.st_mode):
                if path == str(self._path):
                    self.problems[path] = "not a regular file"
                return None
            head, padding, gz = self._head(path, info)
        except EOFError:
            return None
        except (OSError, zlib.error, lzma.LZMAError) as error:
            self.problems[path] = _reason(error)
            return None
        name = os.path.basename(path)
        return FoundFile(
            path, name, info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, head, gz, padding
        )

    def _head(self, path: str, info: os.stat_result) -> tuple[bytes, int, bool]:
        """First uncompressed bytes that say something, the padding before them, whether it is compressed.

        Read again only when the file has changed.
        """
        mark = (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)
        known = self._heads.get(path)
        if known is not None and known[0] == mark:
            return known[1]
        handle, packed = _opened(path)
        with handle:
            head, padding = _after_padding(handle)
        if len(self._heads) > HEADS_KEPT:
            self._heads.clear()
        self._heads[path] = (mark, (head, padding, packed))
        return head, padding, packed

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

    def _read_group(self, group: str, batch: Batch) -> None:
        """The next lines of one log: the oldest file that has some."""
        mine = [(f, r) for f, r in self._current.values() if group_of(f.name) == group]
        for file, record in sorted(mine, key=lambda pair: reading_order(pair[0].name)):
            if _remaining(file, record) and self._stuck_why(file, record) is None:
                self._read_file(file, record, batch)
                if batch.consumed:
                    return

    def _read_file(self, file: FoundFile, record: FileRecord, batch: Batch) -> None:
        size = max(self._limits.read_bytes, self._limits.max_line_bytes + 1)
        try:
            data, ended = self._gz_bytes(file, record, size) if file.gz else _bytes_at(file, record, size)
        except _GZIP_ERRORS as error:
            self.problems[file.path] = _reason(error)
            return
        before = record.offset
        self._cut(file, record, data, ended, batch)
        batch.consumed += record.offset - before
        record.done = file.gz and ended and record.offset == before + len(data)
        if record.offset == before and not record.done:
            self._stuck[file.path] = (_mark(file, record), self.problems.get(file.path, ""))

    def _cut(self, file: FoundFile, record: FileRecord, data: bytes, ended: bool, batch: Batch) -> None:
        """Cuts data at newlines; what has no newline yet stays for the next time."""
        if (encoding := _wide(file.head)) is not None:
            self._cut_wide(file, record, data, ended, batch, encoding)
            return
        pos = 0
        while (end := data.find(b"\n", pos)) >= 0:
            self._take(record, self._in_pieces(record, data[pos:end], batch), 1, batch)
            pos = end + 1
        rest = self._in_pieces(record, data[pos:], batch)
        if record.skipping or len(rest) > self._limits.max_line_bytes:
            if not record.skipping:
                self._long[record.path] = Squeezer(self._limits.max_line_bytes)
            record.skipping = True
            record.offset += len(rest)
            if (long := self._long.get(record.path)) is not None:
                long.feed(rest)
        elif rest and ((ended and file.gz) or _is_whole(rest)):
            self._take(record, rest, 0, batch)
            record.open_end = True

    def _in_pieces(self, record: FileRecord, data: bytes, batch: Batch, encoding: str = "utf-8") -> bytes:
        """Takes a long list of objects on one line object by object; what is left of the line.

        ``encoding`` is that of the file; the data are UTF-8.
        """
        limit = self._limits.max_line_bytes
        while len(data) > limit and not record.skipping and (end := break_of(data, limit)):
            piece, data = data[:end], data[end:]
            batch.lines.append(Line(record.path, record.line + 1, record.offset, piece))
            record.offset += end if encoding == "utf-8" else len(piece.decode().encode(encoding))
        return data

    def _cut_wide(
        self, file: FoundFile, record: FileRecord, data: bytes, ended: bool, batch: Batch, encoding: str
    ) -> None:
        """The same for UTF-16, where a newline is two bytes at an even place; lines are given as UTF-8."""
        newline, pos = "\n".encode(encoding), 0
        while (end := _even(data, newline, pos)) >= 0:
            start = record.offset
            text = self._in_pieces(record, _narrow(data[pos:end], encoding), batch, encoding)
            self._take(record, data[pos + record.offset - start : end], 2, batch, text)
            pos = end + 2
        start, text = record.offset, self._in_pieces(record, _narrow(data[pos:], encoding), batch, encoding)
        rest = data[pos + record.offset - start :]
        if record.skipping or len(rest) > 2 * self._limits.max_line_bytes:
            record.skipping = True
            record.offset += len(rest) // 2 * 2
        elif rest and ((ended and file.gz) or _is_whole(text)):
            self._take(record, rest, 0, batch, text)
            record.open_end = True

    def _take(
        self, record: FileRecord, data: bytes, newline: int, batch: Batch, text: bytes | None = None
    ) -> None:
        """One line; ``text`` is what it says where the bytes on disk are others."""
        offset = record.offset
        record.offset += len(data) + newline
        data = data if text is None else text
        late_newline, record.open_end = record.open_end and not data.strip(), False
        if late_newline:
            return
        record.line += 1
        if record.skipping or len(data) > self._limits.max_line_bytes:
            self._take_long(record, offset, data, batch)
        elif data and not data.isspace():
            batch.lines.append(Line(record.path, record.line, offset, data))

    def _take_long(self, record: FileRecord, offset: int, data: bytes, batch: Batch) -> None:
        """The end of a line over the limit: its strings lose their middles, or it is given up.

        After a restart within it the beginning is gone, and the line is given up as well.
        """
        long = self._long.pop(record.path, None) if record.skipping else Squeezer(self._limits.max_line_bytes)
        record.skipping = False
        place = f"{record.path}:{record.line}"
        if long is not None:
            long.feed(data)
        if long is None or long.failed or not long.cut:
            batch.too_long.append(place)
            return
        batch.cut.append(place)
        batch.lines.append(Line(record.path, record.line, offset, long.line()))

    def _gz_bytes(self, file: FoundFile, record: FileRecord, size: int) -> tuple[bytes, bool]:
        """Uncompressed bytes from the record's offset; True when the stream has ended there.

        A stream that breaks off gives what it has; it is tried again when the file changes.
        """
        if self._gz is None or self._gz[:2] != (file.path, record.offset):
            self.close()
            handle, _ = _opened(file.path)
            self._gz = (file.path, record.offset, handle)
            _skip(handle, record.offset)
        handle = self._gz[2]
        parts, got = [], 0
        try:
            while got < size and (part := handle.read(min(65_536, size - got))):
                parts.append(part)
                got += len(part)
        except _GZIP_ERRORS as error:
            self.problems[file.path] = _reason(error)
            self.close()
            return b"".join(parts), False
        data = b"".join(parts)
        kept = len(data) if got < size else data.rfind(b"\n") + 1
        if kept == len(data):
            self._gz = (file.path, record.offset + kept, handle)
        else:
            handle.seek(record.offset + (kept or len(data)))
            self._gz = (file.path, record.offset + (kept or len(data)), handle)
        return data, got < size


_PACKERS: tuple[tuple[str, bytes, Any], ...] = (
    (".gz", b"\x1f\x8b", gzip.open),
    (".bz2", b"BZh", bz2.open),
    (".xz", b"\xfd7zXZ\0", lzma.open),
)
"""End of the name, or first bytes, of a compressed file (``x.1.gz.1`` is one as well), and what reads it."""


def _opened(path: str) -> tuple[BinaryIO, bool]:
    """The uncompressed bytes of a file, and whether it is a compressed one."""
    handle = open(path, "rb")
    try:
        start = handle.read(6)
        for ending, mark, reader in _PACKERS:
            if path.endswith(ending) or start.startswith(mark):
                handle.close()
                return reader(path, "rb"), True
        handle.seek(0)
    except BaseException:
        handle.close()
        raise
    return handle, False


def _after_padding(handle: BinaryIO) -> tuple[bytes, int]:
    """The first bytes that say something, and how many NUL bytes stand before them.

    A writer that does not append goes on at its old place after a ``copytruncate``: before it the file is empty.
    """
    padding, size = 0, HEAD_BYTES
    while chunk := handle.read(size):
        size = _PADDING_CHUNK
        head = chunk.lstrip(b"\0")
        padding += len(chunk) - len(head)
        if head:
            if padding and len(head) < HEAD_BYTES:
                head += handle.read(HEAD_BYTES - len(head))
            return head[:HEAD_BYTES], padding
    return b"", padding


def _skip(handle: BinaryIO, offset: int) -> None:
    """Reads up to ``offset``; a shorter stream ends early and then gives nothing."""
    while offset > 0 and (part := handle.read(min(offset, 1 << 20))):
        offset -= len(part)


def _bytes_at(file: FoundFile, record: FileRecord, size: int) -> tuple[bytes, bool]:
    """Bytes from the record's offset, read from the very file that was looked at."""
    with open(file.path, "rb") as handle:
        info = os.fstat(handle.fileno())
        if (info.st_dev, info.st_ino) != (file.dev, file.inode) or info.st_size < record.offset:
            return b"", False
        handle.seek(record.offset)
        data = handle.read(size)
    return data, len(data) < size


def _remaining(file: FoundFile, record: FileRecord) -> int:
    if file.gz:
        return 0 if record.done else file.size
    return max(file.size - record.offset, 0)


def _mark(file: FoundFile, record: FileRecord) -> tuple[int, ...]:
    return (file.inode, file.size, file.mtime_ns, record.offset)


def _wide(head: bytes) -> str | None:
    """The encoding of a file that begins with the mark of UTF-16, or with JSON in it; None for any other.

    Without its mark the big-endian form is the little-endian one behind a NUL, and that is padding.
    """
    marked = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}.get(head[:2])
    return marked or ("utf-16-le" if head[:1] in (b"{", b"[") and head[1:2] == b"\0" else None)


def _even(data: bytes, mark: bytes, start: int) -> int:
    """The first even place of ``mark`` from ``start`` (even) on; -1 when there is none."""
    at = data.find(mark, start)
    while at >= 0 and at % 2:
        at = data.find(mark, at + 1)
    return at


def _narrow(data: bytes, encoding: str) -> bytes:
    whole = data + b"\0" * (len(data) % 2)  # the last half of a file that began with padding
    return whole.decode(encoding, "replace").removeprefix("\ufeff").encode("utf-8", "replace")


def _is_whole(rest: bytes) -> bool:
    """Whether text without a newline is whole JSON, or the end of it: no beginning of an object or list is one itself."""
    if not rest.rstrip().endswith((b"}", b"]")):
        return False
    start = min((at for at in (rest.find(b"{"), rest.find(b"[")) if 0 <= at <= MAX_PREFIX), default=0)
    if decoded(rest[start:]) is not None:
        return True
    _, left = split(rest[start:])
    return not left.strip(b"}], \t\r\n")


def _reason(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "missing"
    text = getattr(error, "strerror", None) or str(error)
    return text[:200] or type(error).__name__
