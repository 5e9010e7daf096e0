"""Cowrie's terminal recordings: a sequence of 24-byte headers, each followed by its data.

Header ``<iLiiLL``: operation (1 open, 2 close, 3 write, 4 exec), tty (0), length, direction (1 input, 2
output, 3 the command of an exec channel), seconds, microseconds. Cowrie names a finished recording by the
sha256 of its **input** (directions 1 and 3), not of the file; a second recording with the same input is
thrown away and its session points at the first one with ``duplicate: true``.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

HEADER = struct.Struct("<iLiiLL")
OPEN, CLOSE, WRITE, EXEC = 1, 2, 3, 4
INPUT, OUTPUT, INTERACT = 1, 2, 3
MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Record:
    """One entry; ``at`` in microseconds since the epoch."""

    operation: int
    direction: int
    at: int
    data: bytes = b""


def read(content: bytes) -> Iterator[Record]:
    """The records of a recording; a torn last one is left out."""
    place = 0
    while place + HEADER.size <= len(content):
        operation, _tty, length, direction, seconds, micros = HEADER.unpack_from(content, place)
        place += HEADER.size
        data = content[place : place + length]
        if length < 0 or len(data) < length:
            return
        place += length
        yield Record(operation, direction, seconds * MICROSECONDS + micros, data)


def write(records: Iterable[Record]) -> bytes:
    """The file that holds ``records``."""
    return b"".join(
        HEADER.pack(r.operation, 0, len(r.data), r.direction, r.at // MICROSECONDS, r.at % MICROSECONDS)
        + r.data
        for r in records
    )


def input_hash(records: Iterable[Record]) -> str:
    """The name Cowrie gives a recording."""
    typed = b"".join(r.data for r in records if not (r.operation == WRITE and r.direction == OUTPUT))
    return hashlib.sha256(typed).hexdigest()


def output_size(records: Iterable[Record]) -> int:
    """Bytes of output, the ``size`` of ``cowrie.log.closed``."""
    return sum(len(r.data) for r in records if r.operation == WRITE and r.direction == OUTPUT)
