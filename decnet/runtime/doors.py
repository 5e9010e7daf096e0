"""Who may come in: bounds of connections in all and of each peer, and how often a peer is answered in a second. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Doors:
    """Connections that are open, in all and of each peer."""

    def __init__(self, most: int, most_peer: int) -> None:
        self._most, self._most_peer = most, most_peer
        self._open = Counter[str]()
        self._all = 0

    @contextmanager
    def entered(self, peer: str) -> Iterator[bool]:
        """Whether there is room for one more of this peer; it has its place until the block ends."""
        room = self._all < self._most and self._open[peer] < self._most_peer
        if not room:
            if not self._open[peer]:
                del self._open[peer]
            yield False
            return
        self._open[peer] += 1
        self._all += 1
        try:
            yield True
        finally:
            self._all -= 1
            self._open[peer] -= 1
            if not self._open[peer]:
                del self._open[peer]


class Pace:
    """Answers of each peer within a second of a clock; of at most ``most_peers`` peers."""

    def __init__(self, per_second: int, most_peers: int) -> None:
        self._per_second, self._most_peers = per_second, most_peers
        self._second = -1
        self._answered: dict[str, int] = {}

    def may(self, peer: str, at: float) -> bool:
        """Whether this peer is answered once more at ``at`` (seconds); a new second begins anew."""
        if int(at) != self._second:
            self._second = int(at)
            self._answered.clear()
        count = self._answered.get(peer, 0)
        if count >= self._per_second or (not count and len(self._answered) >= self._most_peers):
            return False
        self._answered[peer] = count + 1
        return True
