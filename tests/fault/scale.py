"""How large a fault test is: at a fiftieth in CI, at full size where DECNET_FAULT_SCALE=1 (`make soak`)."""

from __future__ import annotations

import os

SCALE = float(os.environ.get("DECNET_FAULT_SCALE", "0.02"))


def scaled(full: int, least: int = 1) -> int:
    """So many of ``full``, but never fewer than ``least``."""
    return max(least, round(full * SCALE))


def seconds(full: int, least: int) -> int:
    """A time limit that grows with the size."""
    return round(least + full * SCALE)
