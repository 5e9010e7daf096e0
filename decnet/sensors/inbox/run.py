"""An inbox at work: like a log's sensor, and files are moved once all that they gave is stored and the checkpoint too."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from decnet.bus.base import BaseBus
from decnet.config import SensorSpec, Settings
from decnet.errors import SensorError
from decnet.mail.badfiles import known_bad
from decnet.sensors.files.checkpoint import CheckpointStore
from decnet.sensors.inbox.folder import InboxFolder
from decnet.sensors.inbox.source import InboxSource, Known
from decnet.sensors.names import Names
from decnet.sensors.run import SensorRun
from decnet.sensors.sources import start_time

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository


def known_in(repo: BaseRepository | None, loop: asyncio.AbstractEventLoop) -> Known | None:
    """Which attackers a database knows; None without one, as on the host of a remote sensor."""
    if repo is None:
        return None

    def known(attackers: Collection[str]) -> Collection[str]:
        asked = asyncio.run_coroutine_threadsafe(repo.addresses_of_attackers(attackers), loop)
        return asked.result().keys()

    return known


class InboxRun(SensorRun):
    """State and loop of one inbox."""

    def __init__(
        self, spec: SensorSpec, settings: Settings, key: bytes, bus: BaseBus, store: CheckpointStore,
        names: Names | None = None, known: Known | None = None,
    ) -> None:  # fmt: skip
        """``known`` is asked which attackers there are. Raises SensorError for a list of bad files that cannot be read."""
        self._known = known
        path: Path | None = settings.decoys.mail.known_bad
        try:
            self._bad = known_bad(path)
        except OSError as error:
            raise SensorError(f"{path}: {error.strerror or error}") from error
        super().__init__(spec, settings, key, bus, store, names)

    def _fresh(self) -> None:
        spec, settings = self.spec, self._settings
        self.tailer = self.folder = InboxFolder(spec.path, settings.inbox)
        self.source = self.inbox = InboxSource(
            settings, self._secret, start_time(spec.start), self._known, self._bad
        )
        self._begin()

    async def _save(self) -> None:
        await super()._save()
        if not self.unsaved and self.folder.unsettled:
            await asyncio.to_thread(self._settle)

    async def _load(self) -> None:
        await super()._load()
        self._dirty = self._dirty or self.folder.unsettled > 0  # read in an earlier life, not moved yet

    def _settle(self) -> None:
        before = self.folder.unsettled
        self.folder.settle(self.inbox.fates)
        self._dirty = self.folder.unsettled < before
        self.inbox.forget(self.folder.being_read())

    async def end_open_sessions(self, reason: str = "eof") -> int:
        """Ends open sessions, after lists were looked at once more: by now more attackers may be known."""
        self.folder.look_at_lists()
        before = self.published
        while await self.turn():
            pass
        return self.published - before + await super().end_open_sessions(reason)
