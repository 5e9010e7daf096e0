"""The messages of an mbox, one after the other, however large it is; pure over a file that is open.

A message begins with a ``From `` line at the start or after an empty line; ``>From `` in its text is ``From ``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_PIECE = 65_536
_QUOTED = re.compile(rb">+From ")
BEGIN = b"From "


class Piece(NamedTuple):
    """One message: where it ends in the file, and its bytes (None when it is too long)."""

    end: int
    data: bytes | None


def pieces(file: BinaryIO, offset: int, max_bytes: int) -> Iterator[Piece]:
    """The messages from an offset on, which is the end of an earlier one or the start."""
    file.seek(offset)
    at, taken, size = offset, bytearray(), 0
    empty, begun, fresh = True, False, True
    while text := file.readline(_PIECE):
        if empty and text.startswith(BEGIN):
            if begun:
                yield Piece(at, _message(taken, size, max_bytes))
            taken, size, begun = bytearray(), 0, True
        else:
            plain = text[1:] if fresh and _QUOTED.match(text) else text
            size += len(plain)
            if size <= max_bytes + 2:  # the empty line before the next one is no part of it
                taken += plain
        at += len(text)
        empty, fresh = fresh and text in (b"\n", b"\r\n"), text.endswith(b"\n")
    if begun or size:
        yield Piece(at, _message(taken, size, max_bytes))


def _message(taken: bytearray, size: int, max_bytes: int) -> bytes | None:
    whole = size == len(taken)
    data = bytes(taken)
    for end in (b"\r\n", b"\n"):
        if data == end or data.endswith(end * 2):
            data = data.removesuffix(end)
            break
    return data if whole and len(data) <= max_bytes else None
