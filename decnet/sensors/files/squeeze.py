"""A line that is too long to be kept becomes one that is not: its long strings lose their middles; pure.

Attackers paste whole programs into one command. Such a line is JSON still, with its session and time at the
end, so it is looked through piece by piece in bounded memory, and of each long string the beginning and the end
stay, around a mark that says how much is gone.
"""

from __future__ import annotations

import re
from collections import deque

HEAD_BYTES = 24_576
"""Bytes kept of the beginning of a long string."""
TAIL_BYTES = 24_576
"""Bytes kept of its end: what a long text is fed to stands there."""
MARK = "…[{} bytes cut]…"
_INSIDE = re.compile(rb'[^"\\]+|\\u[0-9a-fA-F]{4}|\\[^u]|"|\\', re.DOTALL)
_OUTSIDE = re.compile(rb'[^"]+|"')
_LONGEST_ESCAPE = 6


class Squeezer:
    """Takes one line in pieces; what it keeps is at most ``max_bytes`` long."""

    def __init__(self, max_bytes: int, *, head: int = HEAD_BYTES, tail: int = TAIL_BYTES) -> None:
        self._max = max_bytes
        self._head, self._tail = head, tail
        self._out = bytearray()
        self._quoted = False
        self._carried = b""
        self._in_string = 0
        self._end: deque[bytes] = deque()
        self._end_size = 0
        self._gone = 0
        self.cut = 0
        """Bytes that were left out of strings."""
        self.failed = False
        """Whether even without the middles of its strings the line is too long."""

    def feed(self, piece: bytes) -> None:
        """Takes the next bytes of the line."""
        data, self._carried = self._carried + piece, b""
        pos = 0
        while pos < len(data) and not self.failed:
            pos = self._inside(data, pos) if self._quoted else self._outside(data, pos)
            self.failed = len(self._out) > self._max

    def line(self) -> bytes:
        """What is kept of the line once all of it was fed."""
        return bytes(self._out) + self._carried

    def _outside(self, data: bytes, pos: int) -> int:
        token = _OUTSIDE.match(data, pos)
        assert token is not None
        self._out += token[0]
        self._quoted = token[0] == b'"'
        return token.end()

    def _inside(self, data: bytes, pos: int) -> int:
        token = _INSIDE.match(data, pos)
        assert token is not None
        text = token[0]
        if text == b'"':
            self._close()
            return token.end()
        if text == b"\\" and len(data) - pos < _LONGEST_ESCAPE:
            self._carried = data[pos:]  # an escape that goes on in the next piece
            return len(data)
        self._keep(text)
        return token.end()

    def _keep(self, text: bytes) -> None:
        """Escapes stay whole; plain runs are cut where need be."""
        room = self._head - self._in_string
        plain = not text.startswith(b"\\")
        if room > 0:
            taken = text[:room] if plain else text
            self._out += taken
            self._in_string += len(taken)
            text = text[len(taken) :]
        if not text:
            return
        self._end.append(text)
        self._end_size += len(text)
        while self._end_size - len(self._end[0]) >= self._tail:
            self._drop(len(self._end[0]))
        spare = self._end_size - self._tail
        if spare > 0 and not self._end[0].startswith(b"\\"):
            self._drop(spare)

    def _drop(self, size: int) -> None:
        first = self._end.popleft()
        if size < len(first):
            self._end.appendleft(first[size:])
        self._end_size -= size
        self._gone += size

    def _close(self) -> None:
        if self._gone:
            self._out += MARK.format(self._gone).encode()
        for part in self._end:
            self._out += part
        self._out += b'"'
        self.cut += self._gone
        self._end.clear()
        self._in_string = self._end_size = self._gone = 0
        self._quoted = False
