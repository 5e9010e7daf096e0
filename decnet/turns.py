"""Long work on the event loop, in turns: a console, heartbeats and other workers share the loop with it.

Work of whole seconds belongs in a thread; this is for hundreds of small steps between two awaits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")
TURN = 25
"""Steps at once: of about 0.1 ms each, a key waits for a few milliseconds."""


async def in_turns(make: Callable[[A], B], items: Iterable[A], turn: int = TURN) -> list[B]:
    """``[make(item) for item in items]``; the loop runs after every ``turn`` items."""
    out: list[B] = []
    for item in items:
        out.append(make(item))
        if len(out) % turn == 0:
            await asyncio.sleep(0)
    return out
