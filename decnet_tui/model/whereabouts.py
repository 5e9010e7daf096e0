"""Where addresses are, for a screen: asked of the offline files at no cost to a key.

The files are read in a thread, when somebody first asks and again now and then; until they are read nothing is known,
and :attr:`Whereabouts.version` tells a view that what it shows may differ now. No service is asked, ever.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from decnet_tui.model.places import PlaceRow, nowhere, place_row

if TYPE_CHECKING:
    from decnet.config import Settings
    from decnet.intel.places import Places

AGAIN_S = 60.0
"""Seconds until files are looked at again for changes."""
KEPT = 20_000
"""Addresses whose place is remembered; beyond, the one that was asked for longest ago is forgotten."""


class Whereabouts:
    """Places of addresses by the files of the settings; without settings nothing is ever known."""

    def __init__(
        self, settings: Settings | None, clock: Callable[[], float] = time.monotonic, kept: int = KEPT
    ) -> None:
        self._settings, self._clock, self._kept = settings, clock, kept
        self._known: OrderedDict[str, PlaceRow] = OrderedDict()
        self._reading = False
        self._read_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self.places: Places | None = None
        self.version = 0
        """Grows when what was said before may be otherwise now."""
        self.problem = ""
        """Why no file could be asked."""

    def of(self, address: str | None) -> PlaceRow:
        """Country, network and lists of an address, as columns; all unknown while the files are not read yet."""
        if self.places is None or address is None:
            return nowhere()
        row = self._known.get(address)
        if row is None:
            row = self._known[address] = place_row(self.places, address)
            if len(self._known) > self._kept:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(address)
        return row

    def told(self, address: str | None) -> dict[str, Any]:
        """The same with who says it and how old that is; empty while nothing is known."""
        if self.places is None or address is None:
            return {}
        try:
            return self.places.lookup(address).row(time.time())
        except ValueError:
            return {}

    def begin(self) -> None:
        """Has the files looked at in the background, when that is due."""
        if self.due:
            self._task = asyncio.create_task(self.read())

    @property
    def due(self) -> bool:
        """Whether the files should be looked at."""
        if self._settings is None or self._reading:
            return False
        return not self._read_at or self._clock() - self._read_at >= AGAIN_S

    async def read(self) -> None:
        """Looks at the files, in a thread; at most one such look at a time, and none too soon after the last."""
        if not self.due:
            return
        self._reading = True
        try:
            changed = await asyncio.to_thread(self._look)
        except (OSError, ValueError, ImportError) as error:
            self.problem = str(error)
        else:
            self.problem = ""
            if changed:
                self._known.clear()
                self.version += 1
        finally:
            self._reading, self._read_at = False, self._clock()

    def _look(self) -> bool:
        if self.places is not None:
            return bool(self.places.refresh())
        from decnet.intel.places import Places  # here: the first screen does not wait for it

        assert self._settings is not None
        self.places = Places.of(self._settings)
        return True
