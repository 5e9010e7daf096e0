"""Which files belong to a log, in which order they are read, and which of them were read before; pure.

A file's identity is its first bytes (uncompressed) and, among equals, its inode; never its name.
So a renamed file goes on where it stopped, a copy of what was read is not read again, gzip or not,
and a truncated file that has grown anew is a new file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

HEAD_BYTES = 1024
MAX_GONE = 256
"""Records kept of files that are no longer there; they may come back compressed."""

_NAME = re.compile(
    r"(?P<base>.+?\.(?:json|jsonl|ndjson))"
    r"(?:[._-](?P<date>(?:\d{4}[-_]\d{1,2}[-_]\d{1,2}|\d{8})(?:[-_T.]?\d{1,6})?)|\.(?P<number>\d{1,6}))?"
    r"(?P<gz>(?:\.\d{1,6})?(?:\.gz|\.bz2|\.xz)(?:\.\d{1,6}(?:\.gz|\.bz2|\.xz)?)*)?\Z"
)


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


def is_log_name(name: str) -> bool:
    """Whether a file in a log directory is a log: ``x.json``, rotated by date or number, also ``.gz``."""
    return _NAME.match(name) is not None


def group_of(name: str) -> str:
    """The log that a rotated file belongs to: the name without date, number and ``.gz``."""
    match = _NAME.match(name)
    return match["base"] if match else name


def reading_order(name: str) -> tuple[str, int, str, int, str]:
    """Sort key: by log, then rotated ones from the oldest on (dates up, numbers down), the live one last."""
    match = _NAME.match(name)
    if match is None:
        return (name, 3, "", 0, name)
    if match["date"]:
        return (match["base"], 0, _day_of(match["date"]), 0, name)
    if match["number"]:
        return (match["base"], 1, "", -int(match["number"]), name)
    return (match["base"], 1 if match["gz"] else 2, "", 0, name)


def _day_of(date: str) -> str:
    """A date as text that sorts by time, whether its parts have leading zeros or not: ``2016_4_3``."""
    parts = re.split(r"[-_T.]", date)
    if len(parts) < 3 or len(parts[0]) != 4:
        return re.sub(r"\D", "", date)
    return "".join((parts[0], parts[1].zfill(2), parts[2].zfill(2), *parts[3:]))


def fingerprint(head: bytes) -> str:
    """Digest of a file's first bytes."""
    return hashlib.blake2b(head, digest_size=16).hexdigest()


def has_identity(head: bytes) -> bool:
    """Whether the first bytes tell files apart: a whole line, or the full length."""
    return len(head) >= HEAD_BYTES or b"\n" in head or head.rstrip(b" \t\r\n\0").endswith((b"}", b"]"))


def matching(
    found: Sequence[FoundFile], records: Iterable[FileRecord]
) -> tuple[dict[str, FileRecord], list[FoundFile]]:
    """Which record each file goes on with (by path), and the files that are new.

    Of several files with the same beginning one is read and the others are copies of it, in neither result. So
    is a copy that is shorter than what was read: it may still be in the making.
    """
    by_print: dict[tuple[int, str], FileRecord] = {(r.fp_len, r.fp): r for r in records}
    lengths = sorted({length for length, _ in by_print}, reverse=True)
    claims: dict[int, list[FoundFile]] = {}
    owners: dict[int, FileRecord] = {}
    fresh: list[FoundFile] = []
    for file in found:
        record = _record_of(file, by_print, lengths)
        if record is not None:
            if not _reaches(file, record):
                continue
            owners[id(record)] = record
            claims.setdefault(id(record), []).append(file)
        elif has_identity(file.head):
            fresh.append(file)
    matched = {_owner(files, owners[key]).path: owners[key] for key, files in claims.items()}
    return matched, _without_copies(fresh)


def _record_of(
    file: FoundFile, by_print: dict[tuple[int, str], FileRecord], lengths: Sequence[int]
) -> FileRecord | None:
    for length in lengths:
        if len(file.head) >= length:
            record = by_print.get((length, fingerprint(file.head[:length])))
            if record is not None and (_reaches(file, record) or not _is_its_own(file, record)):
                return record
    return None


def _reaches(file: FoundFile, record: FileRecord) -> bool:
    """Whether a file holds all that was read."""
    return file.gz or file.size >= record.offset


def _is_its_own(file: FoundFile, record: FileRecord) -> bool:
    """Whether it is the file that was read itself: if it is shorter now, it was cut and begins anew."""
    return (file.dev, file.inode) == (record.dev, record.inode) or file.path == record.path


def _owner(files: Sequence[FoundFile], record: FileRecord) -> FoundFile:
    """The file that a record goes on with: the same inode, else the same path, else the longest plain one."""
    return max(
        files,
        key=lambda f: (
            (f.dev, f.inode) == (record.dev, record.inode),
            f.path == record.path,
            not f.gz,
            f.size,
        ),
    )


def _without_copies(files: Sequence[FoundFile]) -> list[FoundFile]:
    """One file for each beginning, the longest plain one."""
    best: dict[bytes, FoundFile] = {}
    for file in files:
        rival = best.get(file.head)
        if rival is None or (not file.gz, file.size) > (not rival.gz, rival.size):
            best[file.head] = file
    return [f for f in files if best[f.head] is f]
