"""What is on the disk now: each file with its first bytes, and how files compare with what was read and with each other.

Looks again only at what has changed. It never opens a file for writing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import BinaryIO

from decnet.sensors.files.opening import FAULTS, TAIL_BYTES, after_padding, opened, skip, tail_of
from decnet.sensors.files.rotation import FileRecord, FoundFile, Shared

HEADS_KEPT = 10_000
"""Beginnings of files kept so that a file that has not changed is not read again."""
PAIRS_KEPT = 1000
SETTLED_S = 5.0
_CHUNK = 1 << 20

Head = tuple[bytes, int, bool]
_Pair = tuple[tuple[int, int], tuple[int, int], bytes, bytes]
"""Two files by inode and head: an inode is used again, and a file that was cut grows anew in its own."""


class DiskLook:
    """Looks at files, and remembers what it saw of them for as long as they do not change."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock`` gives epoch seconds."""
        self._clock = clock
        self._heads: dict[str, tuple[tuple[int, ...], Head]] = {}
        self._fits: dict[str, tuple[tuple[object, ...], bool]] = {}
        self._shared: dict[_Pair, tuple[tuple[int, ...], int, int, Shared]] = {}

    @property
    def kept(self) -> int:
        """Beginnings that are kept."""
        return len(self._heads)

    def look(self, path: str) -> FoundFile | None:
        """One file with its head; None when it is no regular file. Raises what reading it raises (``FAULTS``)."""
        info = os.stat(path)
        if not stat.S_ISREG(info.st_mode):
            return None
        head, padding, packed = self._head(path, info)
        name = os.path.basename(path)
        return FoundFile(
            path, name, info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, head, packed, padding
        )

    def _head(self, path: str, info: os.stat_result) -> Head:
        """First uncompressed bytes that say something, the padding before them, whether it is compressed."""
        mark = (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)
        known = self._heads.get(path)
        if known is not None and known[0] == mark:
            return known[1]
        handle, packed = opened(path)
        with handle:
            head, padding = after_padding(handle)
        if len(self._heads) > HEADS_KEPT:
            self._heads.clear()
        self._heads[path] = (mark, (head, padding, packed))
        return head, padding, packed

    def fits(self, file: FoundFile, record: FileRecord) -> bool:
        """Whether the bytes before a record's offset are those that were read."""
        if not record.tail and not record.line:  # nothing was read yet
            return record.offset == file.padding
        if not record.tail or (file.gz and file.inode_key == (record.dev, record.inode)):
            return True
        mark = (*_mark(file), record.offset, record.tail)
        known = self._fits.get(file.path)
        if known is not None and known[0] == mark:
            return known[1]
        if len(self._fits) > HEADS_KEPT:
            self._fits.clear()
        found = _tail(file, record.offset)
        if found is None:  # moved meanwhile: nothing will be read from it before the next look
            return True
        fits = found == record.tail
        self._fits[file.path] = (mark, fits)
        return fits

    def settled(self, file: FoundFile) -> bool:
        """Whether a file has not changed for some seconds: then it is no copy in the making."""
        return self._clock() - file.mtime_ns / 1e9 > SETTLED_S

    def shared(self, file: FoundFile, other: FoundFile) -> Shared:
        """What a file has in common with another one that begins alike.

        Two plain files that were compared are gone on with from where they were alike: logs only grow.
        """
        key = (file.inode_key, other.inode_key, file.head, other.head)
        mark = (*_mark(file), *_mark(other))
        at, lines = (0, 0)
        if (known := self._shared.get(key)) is not None:
            if known[0] == mark:
                return known[3]
            grown = file.size >= known[0][2] and other.size >= known[0][6]
            if grown and known[3].copy and not file.gz and not other.gz:
                at, lines = known[1], known[2]
        try:
            at, lines, found = _compared(file, other, at, lines)
        except OSError:  # moved meanwhile: the next look will tell
            return Shared(copy=True)
        if len(self._shared) > PAIRS_KEPT:
            self._shared.clear()
        self._shared[key] = (mark, at, lines, found)
        return found


def tail_at(handle: BinaryIO, offset: int) -> bytes:
    """The bytes before a place in an open file that can be wound back."""
    start = max(offset - TAIL_BYTES, 0)
    handle.seek(start)
    return handle.read(offset - start)


def _mark(file: FoundFile) -> tuple[int, ...]:
    return (file.dev, file.inode, file.size, file.mtime_ns)


def _tail(file: FoundFile, offset: int) -> str | None:
    """Digest of the bytes before a place in a file; None when another file has its name by now."""
    try:
        handle, _ = opened(file.path)
        with handle:
            return tail_of(tail_at(handle, offset)) if _is_it(file, handle) else None
    except FileNotFoundError:
        return None
    except FAULTS:
        return ""


def _is_it(file: FoundFile, handle: BinaryIO) -> bool:
    """Whether an open file is the one that was looked at."""
    info = os.fstat(handle.fileno())
    return (info.st_dev, info.st_ino) == file.inode_key


def _compared(file: FoundFile, other: FoundFile, at: int, lines: int) -> tuple[int, int, Shared]:
    """Compares from a place that is known to be alike on; that place and its line then, and what is shared.

    Places count from the end of the padding on.
    """
    (mine, _), (theirs, _) = opened(file.path), opened(other.path)
    with mine, theirs:
        if not (_is_it(file, mine) and _is_it(other, theirs)):
            raise FileNotFoundError(file.path)
        skip(mine, file.padding + at)
        skip(theirs, other.padding + at)
        whole, line_start = at, at
        while part := _part(mine, _CHUNK):
            alike = _alike(part, _part(theirs, len(part)))
            if (newline := part.rfind(b"\n", 0, alike)) >= 0:
                lines, line_start = lines + part.count(b"\n", 0, alike), whole + newline + 1
            whole += alike
            if alike < len(part):
                return line_start, lines, Shared(copy=False, offset=line_start, lines=lines)
    return line_start, lines, Shared(copy=True, offset=whole, lines=lines)


def _part(handle: BinaryIO, size: int) -> bytes:
    """The next bytes; a damaged file ends where it cannot be read any more."""
    parts: list[bytes] = []
    try:
        while size > 0 and (part := handle.read(min(size, 65_536))):
            parts.append(part)
            size -= len(part)
    except FAULTS:
        return b"".join(parts)
    return b"".join(parts)


def _alike(one: bytes, other: bytes) -> int:
    """Bytes at the beginning that are the same."""
    if one == other:
        return len(one)
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low
