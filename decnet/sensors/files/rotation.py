"""Which files were read before, which are new, and which are copies of others; pure but for what ``Disk`` tells.

A file is known again by its first bytes that say something, by the bytes before the place that was reached in it,
and, among equals, by its inode; never by its name. So a renamed file goes on where it stopped, a copy of what was
read is not read again, packed or not, and a truncated file that has grown anew is a new file. Bytes at the head that
many files share tell none of them apart: then their contents are compared.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple, Protocol

from decnet.sensors.files.names import is_live

HEAD_BYTES = 1024
MAX_GONE = 256
"""Records kept of files that are no longer there; they may come back compressed."""

MAX_COMPARED = 8
"""Files that begin alike with which another one is compared; one more is read from its start, twice at worst."""


@dataclass(slots=True)
class FileRecord:
    """How far one file has been read; offsets count uncompressed bytes, lines count from 1."""

    fp: str
    fp_len: int
    dev: int
    inode: int
    path: str
    offset: int = 0
    line: int = 0
    skipping: bool = False
    """Inside a line that is too long."""
    open_end: bool = False
    """The last line was whole but had no newline yet."""
    done: bool = False
    """A compressed file that was read to its end."""
    tail: str = ""
    """Digest of the bytes before the offset; empty when nothing was read yet."""
    size: int = 0
    """Bytes on disk when it was last seen."""
    cut: bool = False
    """The file was truncated or replaced after this was read: only a copy of it can go on here."""
    gone: bool = False
    """No file on disk was found to be this one any more, and that was said."""
    weak: bool = False
    """What it begins with is a part of a line, which many files may begin with."""
    skipped: bool = False
    """It was there before the sensor, and was not asked for."""

    def to_state(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> FileRecord:
        """The record of :meth:`to_state`; keys of other versions are left out."""
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in state.items() if k in known})


@dataclass(slots=True)
class FoundFile:
    """One file on disk; ``head`` is its first uncompressed bytes that say something, ``size`` its bytes on disk."""

    path: str
    name: str
    dev: int
    inode: int
    size: int
    mtime_ns: int
    head: bytes
    gz: bool
    padding: int = 0
    """NUL bytes before the first one that says something."""

    @property
    def inode_key(self) -> tuple[int, int]:
        """What the file is on its disk, whatever its names."""
        return (self.dev, self.inode)


class Shared(NamedTuple):
    """How much of its beginning a file has in common with another: whole lines, and their bytes after the padding."""

    copy: bool
    """There is nothing in it that the other has not got."""
    offset: int = 0
    lines: int = 0


class Disk(Protocol):
    """What has to be looked up in the files themselves."""

    def fits(self, file: FoundFile, record: FileRecord) -> bool:
        """Whether the bytes before a record's offset are those that were read."""
        ...

    def settled(self, file: FoundFile) -> bool:
        """Whether a file has not changed for some time: then it is no copy in the making."""
        ...

    def shared(self, file: FoundFile, other: FoundFile) -> Shared:
        """What a file has in common with another one that begins alike."""
        ...


@dataclass(slots=True)
class Matched:
    """What became of the files on disk."""

    going_on: dict[str, FileRecord] = field(default_factory=dict)
    """Path → the record that it goes on with."""
    fresh: list[tuple[FoundFile, Shared]] = field(default_factory=list)
    """New files, and how much of each the beginning of another one has already told."""
    copies: dict[str, str] = field(default_factory=dict)
    """Path → the path of the file that it is a copy of, or of which it holds less than was read."""


def fingerprint(head: bytes) -> str:
    """Digest of a file's first bytes."""
    return hashlib.blake2b(head, digest_size=16).hexdigest()


def has_identity(head: bytes) -> bool:
    """Whether the first bytes tell files apart: a whole line, or the full length."""
    return len(head) >= HEAD_BYTES or b"\n" in head or head.rstrip(b" \t\r\n\0").endswith((b"}", b"]"))


def matching(found: Sequence[FoundFile], records: Iterable[FileRecord], disk: Disk) -> Matched:
    """Which record each file goes on with, which files are new, and which are copies.

    Of several files with the same content one is read. A copy that holds less than was read may still be in the
    making.
    """
    made = Matched()
    known = _Known(records, {f.inode_key: f for f in found}, disk)
    claims: dict[int, tuple[FileRecord, list[FoundFile]]] = {}
    fresh: list[FoundFile] = []
    longer = _Longer(found)
    for file in found:
        known_as = known.look_up(file)
        if known_as.record is not None:
            claims.setdefault(id(known_as.record), (known_as.record, []))[1].append(file)
        elif known_as.copy_of:
            made.copies[file.path] = known_as.copy_of
        elif known_as.told is not None:
            made.fresh.append((file, known_as.told))
        elif not has_identity(file.head) and (not file.head or is_live(file.path)):
            continue  # it says too little yet, and will say more
        elif (other := longer.than(file, disk)) is not None:
            made.copies[file.path] = other.path
        else:
            fresh.append(file)
    for record, files in claims.values():
        owner = _owner(files, record)
        made.going_on[owner.path] = record
        _tell_apart([f for f in files if f is not owner], [owner], disk, made, record)
    _sort_out(fresh, disk, made)
    order = {file.path: i for i, file in enumerate(found)}
    made.fresh.sort(key=lambda pair: order[pair[0].path])
    return made


class _Longer:
    """Files by what they begin with: a file shorter than a head may be all in the head of another one."""

    def __init__(self, found: Sequence[FoundFile]) -> None:
        self._files = sorted(found, key=lambda f: f.head)
        self._heads = [f.head for f in self._files]

    def than(self, file: FoundFile, disk: Disk) -> FoundFile | None:
        """A file that begins with all that this one has, and goes on.

        Parts of lines many files may begin with: with no more than that it is a copy only while it may still grow.
        """
        if not file.head or len(file.head) >= HEAD_BYTES:
            return None
        if not (file.head.startswith(b"{") and b"\n" in file.head) and disk.settled(file):
            return None
        place = bisect_right(self._heads, file.head)
        found = self._files[place] if place < len(self._files) else None
        return found if found is not None and found.head.startswith(file.head) else None


class _KnownAs(NamedTuple):
    """What a file is to what was read."""

    record: FileRecord | None = None
    """It goes on with this."""
    copy_of: str = ""
    """It has nothing that this path has not got."""
    told: Shared | None = None
    """It is another file, of which another one's beginning has told this much."""


class _Known:
    """The records, by what their files begin with."""

    def __init__(
        self, records: Iterable[FileRecord], by_inode: dict[tuple[int, int], FoundFile], disk: Disk
    ) -> None:
        self._by_print: dict[tuple[int, str], list[FileRecord]] = {}
        for record in records:
            self._by_print.setdefault((record.fp_len, record.fp), []).append(record)
        self._lengths = sorted({length for length, _ in self._by_print}, reverse=True)
        self._by_inode = by_inode
        self._disk = disk

    def look_up(self, file: FoundFile) -> _KnownAs:
        """The record that a file goes on with, or else what it has in common with one that was read."""
        other = _KnownAs()
        for record in self._candidates(file):
            own = _is_its_own(file, record)
            if (own and record.cut) or (record.weak and not _is_all(file, record)):
                continue
            reaches = _reaches(file, record)
            if reaches and self._disk.fits(file, record):
                return _KnownAs(record)
            if not own and not other.copy_of:
                other = self._beside(file, record, reaches) or other
        return other

    def _beside(self, file: FoundFile, record: FileRecord, reaches: bool) -> _KnownAs | None:
        """What a file that begins alike has beside the one that was read, as far as that can still be looked up.

        Less than was read of a file that is gone: then it is taken for a copy, which may still be in the making.
        """
        original = self._by_inode.get((record.dev, record.inode))
        if original is None:
            return None if reaches else _KnownAs(copy_of=record.path)
        shared = self._disk.shared(file, original)
        return _KnownAs(copy_of=original.path) if shared.copy else _KnownAs(told=shared)

    def _candidates(self, file: FoundFile) -> list[FileRecord]:
        alike: list[FileRecord] = []
        for length in self._lengths:
            if len(file.head) >= length:
                alike += self._by_print.get((length, fingerprint(file.head[:length])), ())
        if len(alike) > 1:
            alike.sort(
                key=lambda r: (
                    r.cut,
                    file.inode_key != (r.dev, r.inode),
                    file.path != r.path,
                    -r.fp_len,
                    -r.offset,
                )
            )
        return alike


def _sort_out(fresh: Sequence[FoundFile], disk: Disk, made: Matched) -> None:
    """Of new files that begin alike, the longest plain one first, and of the others what it has not got."""
    alike: dict[bytes, list[FoundFile]] = {}
    for file in fresh:
        alike.setdefault(file.head, []).append(file)
    for files in alike.values():
        files.sort(key=lambda f: (not f.gz, f.size), reverse=True)
        made.fresh.append((files[0], Shared(copy=False)))
        _tell_apart(files[1:], files[:1], disk, made)


def _tell_apart(
    files: Sequence[FoundFile],
    told: list[FoundFile],
    disk: Disk,
    made: Matched,
    read: FileRecord | None = None,
) -> None:
    """Sorts files that begin like others into copies and new ones; of these, what was ``read`` is not new."""
    for file in files:
        same = next((t for t in told if t.inode_key == file.inode_key), None)
        looked = (
            [(t, disk.shared(file, t)) for t in told[:MAX_COMPARED]]
            if same is None
            else [(same, Shared(copy=True))]
        )
        other, most = max(looked, key=lambda pair: (pair[1].copy, pair[1].offset))
        if most.copy:
            made.copies[file.path] = other.path
        else:
            if read is not None and most.offset < read.offset - file.padding:
                most = Shared(copy=False, offset=read.offset - file.padding, lines=read.line)
            made.fresh.append((file, most))
            told.append(file)


def _reaches(file: FoundFile, record: FileRecord) -> bool:
    """Whether a file holds all that was read."""
    return file.gz or file.size >= record.offset


def _is_its_own(file: FoundFile, record: FileRecord) -> bool:
    """Whether it is the file that was read itself: if it is shorter now, it was cut and begins anew."""
    return file.inode_key == (record.dev, record.inode) or file.path == record.path


def _is_all(file: FoundFile, record: FileRecord) -> bool:
    """Whether a file is the one that was read, or has exactly what its beginning was: no more will tell it apart."""
    return file.inode_key == (record.dev, record.inode) or len(file.head) == record.fp_len


def _owner(files: Sequence[FoundFile], record: FileRecord) -> FoundFile:
    """The file that a record goes on with: the same inode, else the same path, else the longest plain one."""
    return max(
        files,
        key=lambda f: (
            f.inode_key == (record.dev, record.inode),
            f.path == record.path,
            not f.gz,
            f.size,
        ),
    )
