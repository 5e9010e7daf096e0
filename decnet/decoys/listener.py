"""What a listener of a decoy is, and what it may use. It opens its port and closes it; who keeps it alive is the runtime."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from decnet.config import Settings

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository


@dataclass(frozen=True, slots=True)
class Place:
    """Where a listener works: settings, database (events go out by its outbox), the key of captured secrets."""

    settings: Settings
    repo: BaseRepository
    key: bytes
    clock: Callable[[], float] = time.time
    """Epoch seconds."""


class Listener(Protocol):
    """One port. It may be started anew after it was stopped; its figures go on."""

    name: str

    async def start(self) -> None:
        """Opens the port; from then on it serves. Raises OSError when the port cannot be had."""

    async def stop(self) -> None:
        """Closes the port and every connection; also after a start that failed."""

    def health(self) -> Mapping[str, int]:
        """Figures by the names that health shows; those of several listeners are added up."""


MakeListener = Callable[[Place], Listener | None]
"""Makes the listener that the settings ask for; None where it is off."""
