"""Reads Cowrie's terminal recordings; pure, and safe on hostile bytes.

A recording is a row of 24-byte headers ``<iLiiLL`` (operation, tty, length, direction, seconds,
microseconds), each followed by ``length`` bytes. Its name is the sha256 of the input bytes, so
sessions with the same input share one file; whose times those are is for the caller to check.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

HEADER = struct.Struct("<iLiiLL")
OP_OPEN, OP_CLOSE, OP_WRITE, OP_EXEC = 1, 2, 3, 4
INPUT, OUTPUT, INTERACT = 1, 2, 3
MAX_RECORDS = 500_000
"""Records read of one recording; 8 MiB of empty ones are 350,000."""

_MILLION = 1_000_000
Chunk = tuple[float, int, bytes]
"""(epoch seconds, direction, bytes)"""


@dataclass(slots=True)
class ReadState:
    """What was met on the way: why reading ended early, if it did."""

    truncated: bool = False
    capped: bool = False
    exec_channel: bool = False
    """The command of an exec channel stands in it: nobody typed."""
    opened_at: float | None = None
    closed_at: float | None = None


def chunks(content: bytes, state: ReadState | None = None) -> Iterator[Chunk]:
    """Input and output chunks in order of the file, times never going back.

    Never raises: a torn or impossible record ends the reading and is noted in ``state``.
    """
    state = state or ReadState()
    unpack, size, end = HEADER.unpack_from, HEADER.size, len(content)
    place, last = 0, 0.0
    for _ in range(MAX_RECORDS):
        body = place + size
        if body > end:
            state.truncated |= place < end
            return
        operation, _tty, length, direction, seconds, micros = unpack(content, place)
        place = body + length
        if length < 0 or place > end or not OP_OPEN <= operation <= OP_EXEC:
            state.truncated = True
            return
        now = seconds + (micros if micros < _MILLION else _MILLION - 1) / _MILLION
        last = last if now < last else now
        if operation == OP_WRITE and direction in (INPUT, OUTPUT):
            yield last, direction, content[body:place]
        else:
            _note(state, operation, direction, last)
    state.capped = place < end


def _note(state: ReadState, operation: int, direction: int, now: float) -> None:
    if operation == OP_OPEN and state.opened_at is None:
        state.opened_at = now
    elif operation == OP_CLOSE:
        state.closed_at = now
    elif operation == OP_EXEC or direction == INTERACT:
        state.exec_channel = True
