"""Our own decoys as services of deckies: a port for each row that the mutator asked for, opened and closed as rows come and go.

What a decoy does is the settings' (``decoys.mail``, ``.canary_http``, ``.canary_dns``); where it listens and which
decky it is, the row's.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from math import inf
from typing import Any, Final

from decnet.config import Settings
from decnet.db.rows.fleet import OwnDecoyRow
from decnet.decoys.canary.desk import Desk
from decnet.decoys.dns.listener import CanaryDns
from decnet.decoys.http.listener import CanaryHttp
from decnet.decoys.listener import Listener, Place
from decnet.decoys.mail.listener import MailListener
from decnet.errors import DatabaseError
from decnet.logs import get_logger
from decnet.runtime.leases import site_of

log = get_logger(__name__)
EVERY_S: Final = 0.25
"""Seconds between two looks at the rows at least: they are looked at when anything was written."""
OTHERS_S: Final = 1.0
"""Seconds after which it is known that another process has written something."""
AGAIN_S: Final = 5.0
"""Seconds after which a port that could not be had is tried again."""
_NOW = frozenset({"mail_inside"})
"""Figures of the moment: of a decoy that is gone there is nothing to add."""
Key = tuple[str, str]
Where = tuple[str, str, int]


class FleetDecoys:
    """The decoys of this site's deckies; :meth:`run` is a task of the worker."""

    def __init__(self, place: Place, desk: Desk) -> None:
        self._place, self._desk = place, desk
        self._site = site_of(place.settings.data_dir)
        self._open: dict[Key, tuple[Where, Listener]] = {}
        self._gone = Counter[str]()
        """Figures of decoys that were closed."""

    def health(self) -> Mapping[str, int]:
        """Figures of all decoys that are or were open, added up."""
        figures = Counter(self._gone)
        for _, listener in self._open.values():
            figures.update(listener.health())
        return figures

    async def run(self) -> None:
        """For ever: opens and closes what the rows say. Ports are closed with it, and said to be."""
        repo = self._place.repo
        try:
            await repo.own_decoys_closed(self._site)
            while True:
                mark = repo.written.mark
                settled = await self.settle()
                await asyncio.sleep(EVERY_S)
                await repo.written.after(mark, OTHERS_S, inf if settled else AGAIN_S)
        finally:
            await self.close()

    async def settle(self) -> bool:
        """One look: closes what is not asked for, opens what is; whether all of it is open. Raises DatabaseError."""
        rows = {
            (row["decky"], row["service"]): row for row in await self._place.repo.own_decoys(site=self._site)
        }
        for key in [
            key for key, (where, _) in self._open.items() if key not in rows or where != _where(rows[key])
        ]:
            await self._shut(key)
        for key, row in rows.items():
            if key not in self._open:
                await self._opened(key, row)
            elif not row["opened"]:  # asked for anew as it was
                await self._place.repo.own_decoy_is(*key, opened=True)
        return rows.keys() == self._open.keys()

    async def _opened(self, key: Key, row: OwnDecoyRow) -> None:
        listener: Listener | None = None
        try:
            listener = self._made(row)
            await listener.start()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            if listener is not None:
                await listener.stop()
            if row["trouble"] != why:
                log.warning("decoy of a decky not opened", decky=key[0], service=key[1], reason=why)
                await self._place.repo.own_decoy_is(*key, opened=False, trouble=why)
            return
        self._open[key] = (_where(row), listener)
        await self._place.repo.own_decoy_is(*key, opened=True)
        log.info("decoy of a decky opened", decky=key[0], service=key[1], port=row["port"])

    def _made(self, row: OwnDecoyRow) -> Listener:
        """The decoy of a row. Raises ValueError where the settings do not say what it needs."""
        own = self._place.settings.decoys
        at: dict[str, Any] = {"enabled": True, "host": row["address"], "port": row["port"]}
        if row["plays"] == "mail":
            folder = (own.mail.folder or self._place.settings.data_dir / "mail") / row["decky"]
            mail = own.mail.model_copy(update={**at, "decky": row["decky"], "folder": folder})
            return MailListener(self._with(mail=mail))
        if row["plays"] == "canary_dns":
            if own.canary_dns.zone is None:
                raise ValueError("answers for one zone: set decoys.canary_dns.zone")
            return CanaryDns(self._with(canary_dns=own.canary_dns.model_copy(update=at)), self._desk)
        if row["plays"] == "canary_http":
            return CanaryHttp(self._with(canary_http=own.canary_http.model_copy(update=at)), self._desk)
        raise ValueError(f"no decoy of ours is called {row['plays']}")

    def _with(self, **own: Any) -> Place:
        settings: Settings = self._place.settings
        decoys = settings.decoys.model_copy(update=own)
        return replace(self._place, settings=settings.model_copy(update={"decoys": decoys}))

    async def _shut(self, key: Key) -> None:
        _, listener = self._open.pop(key)
        await listener.stop()
        self._gone.update({name: n for name, n in listener.health().items() if name not in _NOW})
        log.info("decoy of a decky closed", decky=key[0], service=key[1])

    async def close(self) -> None:
        """Closes all of them; as far as the database takes it, the rows say so."""
        for key in list(self._open):
            await self._shut(key)
        try:
            await self._place.repo.own_decoys_closed(self._site)
        except DatabaseError as error:
            log.warning("decoys of deckies are closed, their rows do not say so", reason=str(error))


def _where(row: OwnDecoyRow) -> Where:
    return row["plays"], row["address"], row["port"]
