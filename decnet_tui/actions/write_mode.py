"""Write mode: on for some minutes after a typed y; without it nothing is changed."""

from __future__ import annotations

import time
from collections.abc import Callable


class WriteMode:
    """The clock of write mode. ``never`` is for ``--read-only``."""

    def __init__(
        self, minutes: float, *, never: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.minutes = minutes
        self.never = never
        self._clock = clock
        self._until = 0.0

    @property
    def left(self) -> float:
        """Seconds that it still lasts; 0 when it is off."""
        return max(self._until - self._clock(), 0.0)

    @property
    def on(self) -> bool:
        """Whether changes may be sent."""
        return self.left > 0 and not self.never

    def start(self) -> None:
        """On, from now."""
        self._until = self._clock() + self.minutes * 60

    def stop(self) -> None:
        """Off."""
        self._until = 0.0

    def ended(self) -> bool:
        """True once after it ran out by itself."""
        over = bool(self._until) and not self.left
        if over:
            self._until = 0.0
        return over
