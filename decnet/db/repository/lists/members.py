"""Repository, part members: how many addresses an identity has, and all the names it goes by."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, or_, select

from decnet.db.repository.base import SqlRepository
from decnet.db.repository.conditions import among
from decnet.db.rows.linking import NamedMember
from decnet.db.tables import table

_IDENTITY, _ATTACKER = table("identity"), table("attacker")
_ASKED = _IDENTITY.alias("asked")


class MembersMixin(SqlRepository):
    """``identity`` and ``attacker``, read only."""

    async def identity_sizes(self, identities: Sequence[str]) -> dict[str, int]:
        """The number of addresses of those among some identities that have several; one query."""
        query = select(_IDENTITY.c.merged_into, func.count()).group_by(_IDENTITY.c.merged_into)
        query = query.where(among(_IDENTITY.c.merged_into, sorted(set(identities)), self.db.dialect))
        async with self._read() as session:
            return {str(one): int(count) + 1 for one, count in (await session.execute(query)).all()}

    async def names_of_identity(self, identity_uuid: str) -> list[NamedMember]:
        """Address, attacker and own identity of each part of an identity as it is now, its own first; one query."""
        canonical = func.coalesce(_IDENTITY.c.merged_into, _IDENTITY.c.identity_uuid)
        now = func.coalesce(_ASKED.c.merged_into, _ASKED.c.identity_uuid)
        mine = select(now).where(_ASKED.c.identity_uuid == identity_uuid).scalar_subquery()
        columns = (_IDENTITY.c.identity_uuid, _IDENTITY.c.attacker_uuid, _ATTACKER.c.ip.label("attacker_ip"))
        joined = _IDENTITY.outerjoin(_ATTACKER, _ATTACKER.c.attacker_uuid == _IDENTITY.c.attacker_uuid)
        query = select(*columns, canonical.label("canonical")).select_from(joined)
        query = query.where(or_(_IDENTITY.c.identity_uuid == mine, _IDENTITY.c.merged_into == mine))
        query = query.order_by(_IDENTITY.c.merged_into.is_not(None), _IDENTITY.c.identity_uuid)
        async with self._read() as session:
            return await self._rows(session, query, NamedMember)

    async def identities_now(self, attackers: Sequence[str]) -> dict[str, str]:
        """The identity, as it is now, of some attackers; who has none is left out."""
        canonical = func.coalesce(_IDENTITY.c.merged_into, _IDENTITY.c.identity_uuid)
        theirs = among(_IDENTITY.c.attacker_uuid, attackers, self.db.dialect)
        query = select(_IDENTITY.c.attacker_uuid, canonical).where(theirs)
        async with self._read() as session:
            return {str(uuid): str(identity) for uuid, identity in (await session.execute(query)).all()}

    async def attacker_count(self, ignored: bool = False) -> int:
        """Attackers that are stored; those of ignored sources count only with ``ignored``."""
        query = select(func.count()).select_from(_ATTACKER)
        query = query if ignored else query.where(_ATTACKER.c.ignored_by.is_(None))
        async with self._read() as session:
            return int((await session.execute(query)).scalar_one())
