"""Repository, part owners: which remote sensor a decky belongs to.

A decky of a remote sensor holds its token in ``sensor_name`` beside the local ones, under the name
``sensor.<sensor>.<token>``: one table, one unique token, so that whoever comes first has it, on either side.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import func, select

from decnet.db.repository.base import SqlRepository, chunks, insert_for
from decnet.db.tables import table
from decnet.db.types import utcnow

_NAME = table("sensor_name")
REMOTE = "sensor."
"""How the name of a remote decky begins."""
MAX_DECKIES = 1000
"""Deckies of one remote sensor; what it names beyond is nobody's, and so refused."""
LOCAL = ""
"""The owner of what this site's own sensors and fleets have named."""


class OwnersMixin(SqlRepository):
    """Deckies of remote sensors in ``sensor_name``."""

    async def decky_owners(self, sensor: str, deckies: Iterable[str]) -> dict[str, str]:
        """Decky → name of the remote sensor that it belongs to, or LOCAL; one that is free becomes ``sensor``'s.

        A decky that nobody may have any more, because the sensor has MAX_DECKIES, is missing.
        """
        wanted = sorted(set(deckies))
        found = await self._owners(wanted)
        if fresh := [decky for decky in wanted if decky not in found]:
            await self._take(sensor, fresh)
            found |= await self._owners(fresh)
        return found

    async def _owners(self, deckies: list[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        async with self._read() as session:
            for some in chunks(deckies):
                query = select(_NAME.c.token, _NAME.c.name).where(_NAME.c.token.in_(some))
                found |= {token: _owner(name, token) for token, name in await session.execute(query)}
        return found

    async def _take(self, sensor: str, deckies: list[str]) -> None:
        """Up to the bound; somebody who was faster keeps what he has."""
        mine = f"{REMOTE}{sensor}."
        async with self._write() as session:
            begins = func.substr(_NAME.c.name, 1, len(mine)) == mine
            held = int((await session.execute(select(func.count()).where(begins))).scalar_one())
            rows = [{"name": mine + decky, "token": decky, "ts": utcnow()} for decky in deckies]
            if rows := rows[: max(MAX_DECKIES - held, 0)]:
                await session.execute(insert_for(self.db.dialect, _NAME).on_conflict_do_nothing(), rows)


def _owner(name: str, token: str) -> str:
    own = name.startswith(REMOTE) and name.endswith(f".{token}")
    return name[len(REMOTE) : -len(token) - 1] if own else LOCAL
