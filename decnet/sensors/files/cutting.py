"""Bytes of a log become its lines, in bounded memory, with the place of each; UTF-16 becomes UTF-8.

What has no newline yet stays for the next time, unless it is a whole object. Of a line over the limit the strings
lose their middles, or it is given up; both are told.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from typing import NamedTuple

from decnet.sensors.files.carriers import MAX_PREFIX, break_of, decoded, split
from decnet.sensors.files.rotation import FileRecord, FoundFile
from decnet.sensors.files.squeeze import Squeezer

_CLOSERS = re.compile(rb"\s*[}\]][}\]\s,;]*\Z")
"""The end of a list or of a pretty-printed object: no line begins so and goes on."""


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


class Cutter:
    """Cuts lines of at most ``max_line_bytes``; remembers the beginnings of longer ones."""

    def __init__(self, max_line_bytes: int) -> None:
        self._max = max_line_bytes
        self._long: dict[int, Squeezer] = {}
        """What is kept so far of lines over the limit, by the record of their file."""

    def cut(self, file: FoundFile, record: FileRecord, data: bytes, batch: Batch) -> None:
        """Cuts data at newlines and moves the record on."""
        if (encoding := wide(file.head)) is not None:
            self._cut_wide(record, data, batch, encoding)
            return
        pos = 0
        while (end := data.find(b"\n", pos)) >= 0:
            self.take(record, self._pieces(record, data[pos:end], batch), 1, batch)
            pos = end + 1
        rest = self._pieces(record, data[pos:], batch)
        if record.skipping or len(rest) > self._max:
            if not record.skipping:
                self._long[id(record)] = Squeezer(self._max)
            record.skipping = True
            record.offset += len(rest)
            if (long := self._long.get(id(record))) is not None:
                long.feed(rest)
        elif rest and (is_whole(rest) or _CLOSERS.match(rest)):
            self.take(record, rest, 0, batch)
            record.open_end = True

    def _pieces(self, record: FileRecord, data: bytes, batch: Batch, encoding: str = "utf-8") -> bytes:
        """Takes a long list of objects on one line object by object; what is left of the line.

        ``encoding`` is that of the file; the data are UTF-8.
        """
        while len(data) > self._max and not record.skipping and (end := break_of(data, self._max)):
            piece, data = data[:end], data[end:]
            batch.lines.append(Line(record.path, record.line + 1, record.offset, piece))
            record.offset += end if encoding == "utf-8" else len(piece.decode().encode(encoding))
        return data

    def _cut_wide(self, record: FileRecord, data: bytes, batch: Batch, encoding: str) -> None:
        """The same for UTF-16, where a newline is two bytes at an even place; lines are given as UTF-8."""
        newline, pos = "\n".encode(encoding), 0
        while (end := _even(data, newline, pos)) >= 0:
            start = record.offset
            text = self._pieces(record, _narrow(data[pos:end], encoding), batch, encoding)
            self.take(record, data[pos + record.offset - start : end], 2, batch, text)
            pos = end + 2
        start, text = record.offset, self._pieces(record, _narrow(data[pos:], encoding), batch, encoding)
        rest = data[pos + record.offset - start :]
        if record.skipping or len(rest) > 2 * self._max:
            record.skipping = True
            record.offset += len(rest) // 2 * 2
        elif rest and (is_whole(text) or _CLOSERS.match(text)):
            self.take(record, rest, 0, batch, text)
            record.open_end = True

    def take(
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
        if record.skipping or len(data) > self._max:
            self._take_long(record, offset, data, batch)
        elif data and not data.isspace():
            batch.lines.append(Line(record.path, record.line, offset, data))

    def _take_long(self, record: FileRecord, offset: int, data: bytes, batch: Batch) -> None:
        """The end of a line over the limit: its strings lose their middles, or it is given up.

        After a restart within it the beginning is gone, and the line is given up as well.
        """
        long = self._long.pop(id(record), None) if record.skipping else Squeezer(self._max)
        record.skipping = False
        place = f"{record.path}:{record.line}"
        if long is not None:
            long.feed(data)
        if long is None or long.failed or not long.cut:
            batch.too_long.append(place)
            return
        batch.cut.append(place)
        batch.lines.append(Line(record.path, record.line, offset, long.line()))

    def forget(self, record: FileRecord) -> None:
        """Drops what is kept of a record that is no longer followed."""
        self._long.pop(id(record), None)


def wide(head: bytes) -> str | None:
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


def is_whole(rest: bytes) -> bool:
    """Whether text without a newline is whole JSON, or the end of it: no beginning of an object or list is one itself."""
    if not rest.rstrip().endswith((b"}", b"]")):
        return False
    start = min((at for at in (rest.find(b"{"), rest.find(b"[")) if 0 <= at <= MAX_PREFIX), default=0)
    if decoded(rest[start:]) is not None:
        return True
    _, left = split(rest[start:])
    return not left.strip(b"}], \t\r\n")
