"""Repository, part own decoys: services of deckies that our own decoys play. Who asks and who opens ports are workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import delete, insert, select, update

from decnet.db.repository.base import SqlRepository
from decnet.db.rows.fleet import OwnDecoyRow
from decnet.db.tables import table

_OWN = table("own_decoy")
_WHERE: Final = ("plays", "transport", "address", "port", "site")


class OwnDecoysMixin(SqlRepository):
    """``own_decoy``."""

    async def own_decoys(self, *, decky: str | None = None, site: str | None = None) -> list[OwnDecoyRow]:
        """What is asked for, of one decky or at one site, by decky and service."""
        query = select(_OWN).order_by(_OWN.c.decky, _OWN.c.service)
        if decky is not None:
            query = query.where(_OWN.c.decky == decky)
        if site is not None:
            query = query.where(_OWN.c.site == site)
        async with self._read() as session:
            return await self._rows(session, query, OwnDecoyRow)

    async def own_decoys_want(self, decky: str, rows: Sequence[OwnDecoyRow]) -> None:
        """Asks for exactly these services of a decky; one that stays as it is keeps what was said of it."""
        async with self._write() as session:
            known = {
                row["service"]: row
                for row in await self._rows(session, select(_OWN).where(_OWN.c.decky == decky), OwnDecoyRow)
            }
            wanted = {row["service"]: row for row in rows}
            same = {
                name
                for name, row in wanted.items()
                if name in known
                and not known[name]["trouble"]
                and all(known[name][key] == row[key] for key in _WHERE)
            }
            gone = sorted(known.keys() - same)
            if gone:
                await session.execute(delete(_OWN).where(_OWN.c.decky == decky, _OWN.c.service.in_(gone)))
            fresh = [
                {**wanted[name], "opened": False, "trouble": ""} for name in sorted(wanted.keys() - same)
            ]
            if fresh:
                await session.execute(insert(_OWN), fresh)

    async def own_decoy_is(self, decky: str, service: str, *, opened: bool, trouble: str = "") -> None:
        """Says what became of a service that was asked for."""
        one = (_OWN.c.decky == decky) & (_OWN.c.service == service)
        async with self._write() as session:
            await session.execute(update(_OWN).where(one).values(opened=opened, trouble=trouble))

    async def own_decoys_closed(self, site: str) -> None:
        """Says that none of a site's services is open (any more)."""
        async with self._write() as session:
            await session.execute(update(_OWN).where(_OWN.c.site == site, _OWN.c.opened).values(opened=False))
