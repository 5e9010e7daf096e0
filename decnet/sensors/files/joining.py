"""A line that a rotation cut in two: half of it ends one file, the other half begins the next one.

The halves are one line only if neither is an object by itself and together they are one.
"""

from __future__ import annotations

from dataclasses import dataclass

from decnet.sensors.files.cutting import Batch, Cutter, Line, is_whole
from decnet.sensors.files.opening import TAIL_BYTES, opened, skip, tail_of
from decnet.sensors.files.rotation import FileRecord, FoundFile


@dataclass(frozen=True, slots=True)
class Torn:
    """The end of a file that has no newline, and the bytes before it."""

    file: FoundFile
    record: FileRecord
    text: bytes
    before: bytes

    def give_up(self, cutter: Cutter, batch: Batch) -> int:
        """Lets the reader have it as the line that it is, to be refused by name; the bytes it had.

        Of a file that was not asked for it is passed over like the rest.
        """
        if self.record.skipped:
            self.record.offset += len(self.text)
        else:
            cutter.take(self.record, self.text, 0, batch)
        self.moved()
        return len(self.text)

    def moved(self) -> None:
        """Notes that the file was read to its end."""
        self.record.tail = tail_of(self.before + self.text)
        self.record.done = self.file.gz


@dataclass(frozen=True, slots=True)
class Joined:
    """Both halves of a line; the second one is the first ``size`` bytes of its file, with the newline."""

    torn: Torn
    record: FileRecord
    text: bytes
    size: int
    tail: str
    """Digest of the bytes before the second half's end in its file."""

    def take(self, batch: Batch) -> int:
        """Gives the line, where it began, and moves both files on; the bytes that they had of it."""
        first, second = self.torn.record, self.record
        first.line += 1
        batch.lines.append(Line(first.path, first.line, first.offset, self.text))
        first.offset += len(self.torn.text)
        self.torn.moved()
        second.offset += self.size
        second.line += 1
        second.tail = self.tail
        return len(self.torn.text) + self.size


def torn_end(file: FoundFile, record: FileRecord, max_bytes: int) -> Torn | None:
    """The end of a file from its record's place on, if there is no newline in it. Raises ``FAULTS``."""
    handle, _ = opened(file.path)
    with handle:
        skip(handle, max(record.offset - TAIL_BYTES, 0))
        before = handle.read(min(record.offset, TAIL_BYTES))
        text = handle.read(max_bytes + 1)
    return Torn(file, record, text, before) if text and b"\n" not in text and len(text) <= max_bytes else None


def joined(torn: Torn, file: FoundFile, record: FileRecord, max_bytes: int) -> Joined | None:
    """The line that a torn end makes with the first line of a file that nothing was read of yet; None for none."""
    handle, _ = opened(file.path)
    with handle:
        skip(handle, max(record.offset - TAIL_BYTES, 0))
        before = handle.read(min(record.offset, TAIL_BYTES))
        start = handle.read(max_bytes + 1)
    first, newline, _ = start.partition(b"\n")
    text = torn.text + first
    if not newline or len(text) > max_bytes or not first.strip() or _object(first) or not _object(text):
        return None
    return Joined(torn, record, text, len(first) + 1, tail_of(before + first + newline))


def _object(text: bytes) -> bool:
    """Whether a line is an object, or has one behind a prefix as syslog writes it."""
    start = text.find(b"{")
    return start >= 0 and is_whole(text[start:])
