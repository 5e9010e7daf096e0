"""Reading an operator's file within bounds: what it is, its lines, and what in it could not be read, with places.

A file is taken as a whole or not at all (:class:`decnet.errors.IntelError`); single lines that cannot be read are
counted by reason, the first of them named with their place. What a line means is left to the readers.
"""

from __future__ import annotations

import gzip
import io
import os
import stat
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from decnet.errors import IntelError, SourcePosition
from decnet.hostile import visible

MAX_LINE: Final = 4096
"""Bytes of a line; a longer one is skipped and counted."""
MAX_LINES: Final = 8_000_000
"""Lines of a file, blank ones included."""
MAX_WRONG: Final = 1000
"""Lines that cannot be read before a file with fewer good ones is given up."""
NAMED: Final = 5
"""Lines that cannot be read that are named with their place; all are counted."""
_SHOWN: Final = 60


class OfNoUse(IntelError):
    """A file is what it says it is, but holds nothing that is used here."""


class Stamp(NamedTuple):
    """By what a changed file is known; times in nanoseconds since the epoch.

    ``changed_ns`` also moves when a file is put in another's place with its time kept, or becomes readable.
    """

    modified_ns: int
    changed_ns: int
    size: int
    inode: int


@dataclass(slots=True)
class Limits:
    """What one file may take."""

    max_bytes: int
    """Size, packed and unpacked."""
    max_entries: int
    """Ranges."""


@dataclass(slots=True)
class Tally:
    """What could not be read in one file, and what was read twice: counts by reason, the first places."""

    file: str
    good: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    """Lines or entries that were left out, by reason."""
    notes: Counter[str] = field(default_factory=Counter)
    """What else is to be known of those that were taken."""
    places: list[str] = field(default_factory=list)

    def left_out(self, why: str, line: int, text: object = None) -> None:
        """Counts one line or entry; raises IntelError once it is plain that the file is of another kind."""
        self.wrong[why] += 1
        if len(self.places) < NAMED:
            shown = "" if text is None else f": {visible(text, _SHOWN)}"
            self.places.append(f"{SourcePosition(self.file, line)}: {why}{shown}")
        if self.wrong.total() > max(MAX_WRONG, self.good):
            self.judge()

    def judge(self) -> None:
        """Raises IntelError when more was left out than taken."""
        if (wrong := self.wrong.total()) > self.good:
            raise IntelError(f"{self.places[0]} ({wrong} of {wrong + self.good} lines cannot be read)")


@contextmanager
def opened(path: Path, limits: Limits) -> Iterator[tuple[BinaryIO, Stamp]]:
    """A file and its stamp, unpacked when its name ends in ``.gz``.

    Raises IntelError for what is no file, too large, broken, or written to meanwhile.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as raw:
            found = stamp_of(os.fstat(raw.fileno()))
            if found is None:
                raise IntelError(f"{path}: no regular file")
            if found.size > limits.max_bytes:
                raise IntelError(f"{path}: over {limits.max_bytes} bytes (intel.max_file_bytes)")
            if found.size == 0:
                raise IntelError(f"{path}: empty")
            yield _unpacked(raw) if path.suffix.lower() == ".gz" else raw, found
            if stamp_of(os.fstat(raw.fileno())) != found:
                raise IntelError(f"{path}: changed while it was read")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise IntelError(f"{path}: broken gzip: {error}") from error
    except OSError as error:
        raise IntelError(f"{path}: cannot be read: {error.strerror or error}") from error


def _unpacked(raw: BinaryIO) -> BinaryIO:
    return io.BufferedReader(gzip.GzipFile(fileobj=raw), 1 << 16)


def stamp_of(found: os.stat_result) -> Stamp | None:
    """The stamp of a regular file; None for anything else."""
    if not stat.S_ISREG(found.st_mode):
        return None
    return Stamp(found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)


def whole(handle: BinaryIO, path: Path, most: int) -> bytes:
    """All of a file. Raises IntelError for one of more than so many bytes, unpacked."""
    found = handle.read(most + 1)
    if len(found) > most:
        raise IntelError(f"{path}: over {most} bytes")
    return found


def copied(handle: BinaryIO, to: BinaryIO, path: Path, limits: Limits) -> None:
    """A file's bytes into another one, a piece at a time. Raises IntelError for one that unpacks to too many."""
    total = 0
    while piece := handle.read(1 << 20):
        total += len(piece)
        if total > limits.max_bytes:
            raise IntelError(f"{path}: unpacks to over {limits.max_bytes} bytes (intel.max_file_bytes)")
        to.write(piece)
    to.flush()


def lines_of(handle: BinaryIO, limits: Limits, tally: Tally) -> Iterator[tuple[int, str]]:
    """Lines that say something, with their numbers from 1: neither blank nor a comment (``#``, ``;``, ``//``).

    Lines that are too long, or hold a NUL or bytes that are no UTF-8, are counted and left out.
    """
    line = total = 0
    while raw := handle.readline(MAX_LINE + 1):
        line += 1
        total += len(raw)
        if line == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        if len(raw) > MAX_LINE:
            total += _skipped(handle, raw, limits.max_bytes - total)
            tally.left_out(f"a line of over {MAX_LINE} bytes", line)
        elif (text := _text_of(raw, line, tally)) and not text.startswith(("#", ";", "//")):
            yield line, text
        if total > limits.max_bytes:
            raise IntelError(
                f"{tally.file}:{line}: unpacks to over {limits.max_bytes} bytes (intel.max_file_bytes)"
            )
        if line > MAX_LINES:
            raise IntelError(f"{tally.file}:{line}: over {MAX_LINES} lines")


def _skipped(handle: BinaryIO, raw: bytes, most: int) -> int:
    """Reads on to the end of a long line, or until it is longer than ``most``; how many bytes that were."""
    total = 0
    while raw and not raw.endswith(b"\n") and total <= most:
        raw = handle.readline(1 << 16)
        total += len(raw)
    return total


def _text_of(raw: bytes, line: int, tally: Tally) -> str:
    """The text of a line; empty, and counted, where it is none."""
    try:
        text = raw.decode("utf-8").strip()
    except UnicodeDecodeError:
        tally.left_out("not UTF-8", line, raw[:_SHOWN].strip().decode("utf-8", "backslashreplace"))
        return ""
    if "\0" in text:
        tally.left_out("a NUL", line, text)
        return ""
    return text
