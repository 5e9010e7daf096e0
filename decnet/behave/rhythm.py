"""Running statistics of the gaps between struck keys: bounded memory, one pass."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from math import log2, sqrt, tanh

from decnet.behave import thresholds as t

_PER_OCTAVE = 8
_OFFSET = 16 * _PER_OCTAVE
_BINS = 32 * _PER_OCTAVE


def _kind(char: str) -> str:
    """Which part of the keyboard a character is struck with; a coarse bucket that tells no text."""
    lower = char.lower()
    if lower in "qwertasdfgzxcvb":
        return "l"
    if lower in "yuiophjklnm":
        return "r"
    return "d" if char.isdigit() else "s" if char == " " else "p"


_KIND_OF = [_kind(chr(code)) for code in range(256)]
_KINDS: list[str] = [first + second for first in "lrdsp" for second in "lrdsp"] + ["=="]
"""Digraphs by the parts of the keyboard of both keys, and the same key twice."""


@dataclass(slots=True)
class Rhythm:
    """Gaps up to a pause, in seconds and in octaves (log2), and the pauses beside them."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    log_total: float = 0.0
    log_squares: float = 0.0
    lag_products: float = 0.0
    lag_count: int = 0
    pauses: int = 0
    _last_log: float | None = None
    bins: list[int] = field(default_factory=lambda: [0] * _BINS)
    digraphs: dict[str, list[float]] = field(default_factory=lambda: {kind: [0, 0.0] for kind in _KINDS})

    def add(self, gap: float, pair: str) -> float | None:
        """One gap in seconds before a struck key; its log2, or None when it was a pause."""
        if gap > t.PAUSE_IN_LINE_S:
            self.pauses += 1
            self._last_log = None
            return None
        octave = log2(gap)
        self.count += 1
        self.total += gap
        self.squares += gap * gap
        self.log_total += octave
        self.log_squares += octave * octave
        self.bins[int(octave * _PER_OCTAVE) + _OFFSET] += 1
        last = self._last_log
        if last is not None:
            self.lag_products += last * octave
            self.lag_count += 1
        self._last_log = octave
        first, second = pair[:1], pair[1:2]
        known = self.digraphs["==" if first == second else _KIND_OF[ord(first)] + _KIND_OF[ord(second)]]
        known[0] += 1
        known[1] += octave
        return octave

    @property
    def cv(self) -> float:
        """Coefficient of variation of the gaps."""
        mean = self.total / self.count
        return sqrt(max(self.squares / self.count - mean * mean, 0.0)) / mean

    @property
    def octaves(self) -> float:
        """Standard deviation of log2 of the gaps."""
        mean = self.log_total / self.count
        return sqrt(max(self.log_squares / self.count - mean * mean, 0.0))

    @property
    def median(self) -> float:
        """Median gap in seconds, to about 5 %."""
        left = self.count / 2
        for place, number in enumerate(self.bins):
            left -= number
            if left <= 0:
                return float(2.0 ** ((place - _OFFSET + 0.5) / _PER_OCTAVE))
        return 0.0

    @property
    def autocorrelation(self) -> float:
        """Lag-1 autocorrelation of log2 of the gaps."""
        mean = self.log_total / self.count
        variance = self.log_squares / self.count - mean * mean
        if variance <= 1e-9 or not self.lag_count:
            return 0.0
        return (self.lag_products / self.lag_count - mean * mean) / variance

    def simhash(self) -> str | None:
        """64 bits over the mean flight time of each kind of digraph, as 16 hex digits.

        A random projection of soft levels, so similar rhythms differ in few bits. Kinds that are rare in
        this session lean on the overall mean. None when there are too few keys.
        """
        if self.count < t.MIN_SIMHASH_GAPS:
            return None
        overall = self.log_total / self.count
        votes = [0.0] * 64
        for kind in _KINDS:
            number, log_sum = self.digraphs.get(kind, (0, 0.0))
            mean = (log_sum + t.SIMHASH_LEAN * overall) / (number + t.SIMHASH_LEAN)
            for level in t.SIMHASH_LEVELS:
                weight = tanh((mean - level) / t.SIMHASH_SOFTNESS)
                signs = _signs(kind, level)
                for bit in range(64):
                    votes[bit] += weight if signs >> bit & 1 else -weight
        return f"{sum(1 << bit for bit, vote in enumerate(votes) if vote > 0):016x}"


@lru_cache(maxsize=1024)
def _signs(kind: str, level: float) -> int:
    return int.from_bytes(hashlib.blake2b(f"{kind}{level}".encode(), digest_size=8).digest(), "big")
