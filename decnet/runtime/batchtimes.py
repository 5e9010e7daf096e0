"""How long batches took: counts by duration, so that a whole history is a few numbers."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Final

BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the classes of duration, in seconds; what took longer is in one class more."""


class BatchTimes:
    """Counts of batches by how long each took, successful or not."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self.seconds = 0.0
        """All of them together."""

    def note(self, seconds: float) -> None:
        """One batch took so long; one that took exactly a bound is in its class."""
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.seconds += seconds

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Notes how long the block takes."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.note(time.perf_counter() - began)

    def up_to(self) -> list[int]:
        """How many took at most each of :data:`BOUNDS_S`; the last number is all of them."""
        return list(accumulate(self._counts))
