"""Repository, part names: which sensor or decky holds which token.

A token is held for good: what is stored under it would otherwise belong to two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from decnet.db.repository.base import SqlRepository, insert_for, shaped
from decnet.db.repository.runtime.owners import REMOTE
from decnet.db.rows.runtime import KnownName
from decnet.db.tables import table
from decnet.db.types import utcnow
from decnet.hostile import storable_text
from decnet.names import bounded, candidates, surest

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_NAME = table("sensor_name")
MAX_NAMES = 10_000
"""Rows; beyond, a token is the digest of its name, and so needs no row."""


class NamesMixin(SqlRepository):
    """``sensor_name``."""

    async def name_claim(self, name: str) -> str:
        """The token of a name, given at the first call; engines that ask at once agree."""
        wanted = storable_text(bounded(name))
        known = await self._token(wanted)
        if known is not None:
            return known
        if await self._names_held() >= MAX_NAMES:
            return surest(wanted)
        for token in candidates(wanted):
            async with self._write() as session:
                await self._claim(session, wanted, token)
            if (known := await self._token(wanted)) is not None:
                return known
        return surest(wanted)

    async def name_holder(self, token: str) -> str | None:
        """The name that holds a token, None when nobody does."""
        async with self._read() as session:
            found = await session.execute(select(_NAME.c.name).where(_NAME.c.token == token))
            return found.scalar_one_or_none()

    async def names(self) -> list[KnownName]:
        """Rows name, token, ts (aware), by token."""
        async with self._read() as session:
            rows = await self._rows(session, select(_NAME).order_by(_NAME.c.token))
        return [shaped(KnownName, row) for row in rows]

    async def _claim(self, session: AsyncSession, name: str, token: str) -> None:
        """A name that has a token, and a token that somebody has, stay as they are."""
        fresh = insert_for(self.db.dialect, _NAME).on_conflict_do_nothing()
        await session.execute(fresh, [{"name": name, "token": token, "ts": utcnow()}])

    async def _token(self, name: str) -> str | None:
        async with self._read() as session:
            found = await session.execute(select(_NAME.c.token).where(_NAME.c.name == name))
            return found.scalar_one_or_none()

    async def _names_held(self) -> int:
        """Those of remote sensors, which have a bound of their own, do not count: they could use up this site's."""
        local = func.substr(_NAME.c.name, 1, len(REMOTE)) != REMOTE
        async with self._read() as session:
            return int((await session.execute(select(func.count()).where(local))).scalar_one())
