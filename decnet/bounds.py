"""Bounds that bit: what pure code had to leave out, counted by name for the health of the worker that runs it.

The counts are those of the process. A worker names the bounds that its code has in its health, zero ones too.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

BITES: Final[Counter[str]] = Counter()


def bit(name: str, times: int = 1) -> None:
    """So many things were left out at the bound ``name``; none, or fewer, count nothing."""
    if times > 0:
        BITES[name] += times


def bitten(*names: str) -> dict[str, int]:
    """How often each of the bounds bit so far."""
    return {name: BITES[name] for name in names}
