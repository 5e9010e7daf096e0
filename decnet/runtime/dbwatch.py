"""Watches whether the database can be written: a writer that waits for a lock cannot say so itself.

The news goes out on the bus, since a heartbeat cannot be stored then; the runtime gives it to every worker's health.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from decnet.errors import DatabaseError
from decnet.logs import get_logger

log = get_logger(__name__)
LOOK_S = 1.0
"""Seconds between two looks; with the patience of a look, who locks it is known after two and a half."""


class Lockable(Protocol):
    """A database that can tell who keeps it from being written."""

    async def blocked_by(self) -> str:
        """Who it is; empty for nobody. Raises DatabaseError."""
        ...


class DatabaseWatch:
    """Looks for ever at one database; ``trouble`` is one line, empty while all is well."""

    def __init__(self, database: Lockable, clock: Callable[[], float] = time.time) -> None:
        """``clock`` gives epoch seconds."""
        self.database = database
        self.trouble = ""
        self.times_blocked = 0
        """How often somebody else locked it."""
        self.looks = 0
        """Looks that came to an end."""
        self._clock = clock
        self._listeners: list[Callable[[], None]] = []

    def listen(self, changed: Callable[[], None]) -> None:
        """Calls ``changed`` whenever trouble comes or goes."""
        self._listeners.append(changed)

    async def run(self) -> None:
        """For ever."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """One look."""
        try:
            who = await self.database.blocked_by()
        except DatabaseError as error:
            self._is(str(error))
        else:
            self._is(locked_by(who) if who else "")
        self.looks += 1

    def _is(self, trouble: str) -> None:
        """The trouble keeps its first moment for as long as its words stay the same."""
        if trouble == self.trouble.partition(SINCE)[0]:
            return
        if trouble:
            self.times_blocked += not self.trouble
            log.error("database cannot be written", reason=trouble)
            at = time.strftime("%H:%M:%SZ", time.gmtime(self._clock()))
            self.trouble = f"{trouble}{SINCE}{at}"
        else:
            log.info("database can be written again")
            self.trouble = ""
        for changed in self._listeners:
            changed()


SINCE = ", since "


def locked_by(who: str) -> str:
    """The words for it, the same everywhere."""
    return f"the database is locked by {who}"
