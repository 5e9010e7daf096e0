"""Threads in which sensors read, of their own.

One that reads may wait for a name from the database, whose answer may need a thread, too. In the pool that all share, as
many sensors as it has threads (six on two cores) would wait for each other for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_READERS = ThreadPoolExecutor(4, thread_name_prefix="sensor")


async def in_reader(read: Callable[[], T]) -> T:
    """What ``read`` gives, off the event loop. Raises what it raises."""
    return await asyncio.get_running_loop().run_in_executor(_READERS, read)
