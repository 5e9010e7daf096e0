"""Repository, part fleet: topologies, deckies, and the queue of their changes.

What a change means is left to the mutator; here are the statements, and the claims that keep two
engines from doing one thing twice: each is one UPDATE that only one of them can win.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, case, delete, func, or_, select, update

from decnet.db.repository.base import SqlRepository, insert_for, shaped
from decnet.db.repository.locks import LOCK_FLEET
from decnet.db.rows.fleet import DeckyAtAddress, DeckyRow, MutationRow, Rotated, TopologyRow, TopologyTally
from decnet.db.tables import table
from decnet.db.types import as_utc, utcnow

_TOPOLOGY, _DECKY, _MUTATION = table("topology"), table("decky"), table("mutation")
_SESSION = table("session")
FAR_S = 86_400.0
"""Seconds from now beyond which no lease ends: one that does was taken before the clock was set back, and is free."""
OPEN_STATES = ("enqueued", "pending", "applying")
"""States of changes that are not done."""


class FleetMixin(SqlRepository):
    """``topology``, ``decky``, ``mutation``. Times in are epoch seconds or aware, out they are aware UTC."""

    async def fleet_lock(self) -> None:
        """Makes changes of the shape of fleets commit one after the other; inside a transaction only."""
        async with self._write() as session:
            await self._serialise(session, LOCK_FLEET)

    async def topologies(self) -> list[TopologyRow]:
        """All topologies by id."""
        async with self._read() as session:
            return await self._rows(session, select(_TOPOLOGY).order_by(_TOPOLOGY.c.topology_id), TopologyRow)

    async def topology_get(self, topology_id: str) -> TopologyRow | None:
        """One topology or None."""
        async with self._read() as session:
            query = select(_TOPOLOGY).where(_TOPOLOGY.c.topology_id == topology_id)
            return next(iter(await self._rows(session, query, TopologyRow)), None)

    async def topology_put(self, row: Mapping[str, object]) -> None:
        """Writes a whole topology row."""
        async with self._write() as session:
            await self._put(session, _TOPOLOGY, {**row, "updated_at": utcnow()})

    async def topology_update(self, topology_id: str, **values: object) -> None:
        """Changes columns of a topology."""
        async with self._write() as session:
            statement = update(_TOPOLOGY).where(_TOPOLOGY.c.topology_id == topology_id)
            await session.execute(statement.values(**values, updated_at=utcnow()))

    async def topology_tally(self, topology_id: str) -> TopologyTally:
        """Counts of a topology's deckies: ``deckies``, ``pending``, ``failing``, ``running``; a ``reason`` of one."""
        failing = _DECKY.c.failures > 0
        query = select(
            func.count().label("deckies"),
            func.coalesce(func.sum(case((_DECKY.c.pending, 1), else_=0)), 0).label("pending"),
            func.coalesce(func.sum(case((failing, 1), else_=0)), 0).label("failing"),
            func.coalesce(func.sum(case((_DECKY.c.last_mutated.is_not(None), 1), else_=0)), 0).label(
                "running"
            ),
            func.min(case((failing, _DECKY.c.name + ": " + _DECKY.c.reason), else_=None)).label("reason"),
        ).where(_DECKY.c.topology_id == topology_id)
        async with self._read() as session:
            return (await self._rows(session, query, TopologyTally))[0]

    async def deckies(self, topology_id: str | None = None) -> list[DeckyRow]:
        """All deckies, or those of one topology, by name."""
        query = select(_DECKY).order_by(_DECKY.c.name)
        if topology_id is not None:
            query = query.where(_DECKY.c.topology_id == topology_id)
        async with self._read() as session:
            return await self._rows(session, query, DeckyRow)

    async def deckies_at(self, address: str, besides: str) -> list[DeckyAtAddress]:
        """``address``, ``ports``, ``desired``, ``observed`` of the others that really listen on an address."""
        columns = [_DECKY.c[key] for key in ("address", "ports", "desired", "observed")]
        query = select(*columns).where(
            _DECKY.c.address == address, _DECKY.c.name != besides, _DECKY.c.substrate != "dry_run"
        )
        async with self._read() as session:
            return await self._rows(session, query, DeckyAtAddress)

    async def decky_get(self, name: str) -> DeckyRow | None:
        """One decky or None."""
        async with self._read() as session:
            query = select(_DECKY).where(_DECKY.c.name == name)
            return next(iter(await self._rows(session, query, DeckyRow)), None)

    async def decky_put(self, row: Mapping[str, object]) -> None:
        """Writes a whole decky row."""
        async with self._write() as session:
            await self._put(session, _DECKY, row)

    async def decky_update(self, name: str, owner: str | None = None, **values: object) -> bool:
        """Changes columns; with ``owner`` only while that one holds the lease. Whether a row was changed."""
        statement = update(_DECKY).where(_DECKY.c.name == name)
        if owner is not None:
            statement = statement.where(_DECKY.c.lease_owner == owner)
        async with self._write() as session:
            result = await session.execute(statement.values(**values).returning(_DECKY.c.name))
            return result.first() is not None

    async def decky_delete(self, name: str) -> None:
        """Forgets a decky; its history stays."""
        async with self._write() as session:
            await session.execute(delete(_DECKY).where(_DECKY.c.name == name))

    async def decky_candidates(
        self, site: str, *, pending: bool, limit: int, only: Iterable[str] | None = None, force: bool = False
    ) -> list[str]:
        """Names to work on now: those whose wish is not fulfilled, or those that are due; oldest first.

        ``force`` looks at no clock. Leased ones and those of another live site are left out.
        """
        now = utcnow()
        when = _DECKY.c.retry_at if pending else _DECKY.c.next_due
        ready = or_(when.is_(None), when <= now) if pending else when <= now
        query = select(_DECKY.c.name).where(self._free(site, now.timestamp()), _DECKY.c.pending == pending)
        if not force:
            query = query.where(ready)
        if only is not None:
            query = query.where(_DECKY.c.name.in_(list(only)))
        async with self._read() as session:
            found = await session.execute(query.order_by(when, _DECKY.c.name).limit(limit))
            return list(found.scalars())

    async def decky_claim(
        self, name: str, owner: str, lease_s: float, site: str, *, due: bool = False
    ) -> DeckyRow | None:
        """Takes the lease of a decky for ``lease_s`` seconds; its row, None when another one was first.

        With ``due`` only while it is due, so that two engines rotate it once.
        """
        now = time.time()
        statement = update(_DECKY).where(_DECKY.c.name == name, self._free(site, now))
        if due:
            statement = statement.where(_DECKY.c.next_due <= as_utc(now), _DECKY.c.pending.is_(False))
        values = {"lease_owner": owner, "lease_until": now + lease_s}
        async with self._write() as session:
            result = await session.execute(statement.values(values).returning(*_DECKY.c))
            found = result.mappings().first()
            return shaped(DeckyRow, dict(found)) if found else None

    def _free(self, site: str, now: float) -> Any:
        """Nobody works on it, and its processes are ours, nobody's, or of a site that is gone."""
        unleased = or_(_DECKY.c.lease_owner.is_(None), _over(_DECKY.c.lease_until, now))
        ours = or_(_DECKY.c.site.is_(None), _DECKY.c.site == site, _over(_DECKY.c.site_until, now))
        return and_(unleased, ours)

    async def decky_next_time(self) -> datetime | None:
        """The next moment at which a decky is due or tried again; None when there is none."""
        query = select(_DECKY.c.pending, _DECKY.c.retry_at, _DECKY.c.next_due)
        query = query.where(or_(_DECKY.c.pending, _DECKY.c.next_due.is_not(None)))
        moment = func.min(case((_DECKY.c.pending, _DECKY.c.retry_at), else_=_DECKY.c.next_due))
        async with self._read() as session:
            found: datetime | None = (
                await session.execute(query.with_only_columns(moment))
            ).scalar_one_or_none()
            return found

    async def site_renew(self, site: str, until: float) -> None:
        """The engine of ``site`` lives until ``until`` (epoch seconds) at least."""
        async with self._write() as session:
            await session.execute(update(_DECKY).where(_DECKY.c.site == site).values(site_until=until))

    async def lease_owners(self) -> set[str]:
        """Everybody who holds a lease on a decky or a change."""
        async with self._read() as session:
            found: set[str] = set()
            for table in (_DECKY, _MUTATION):
                query = select(table.c.lease_owner).where(table.c.lease_owner.is_not(None)).distinct()
                found |= set((await session.execute(query)).scalars())
            return found

    async def leases_drop(self, owner: str) -> None:
        """Frees what an owner held that is known to be dead."""
        async with self._write() as session:
            for table in (_DECKY, _MUTATION):
                freed = update(table).where(table.c.lease_owner == owner)
                await session.execute(freed.values(lease_owner=None, lease_until=None))

    async def live_sessions(self, decky: str, since: datetime | float) -> int:
        """Attacker sessions on a decky that started after ``since`` and have not ended."""
        query = select(func.count()).select_from(_SESSION).where(
            _SESSION.c.decky_id == decky, _SESSION.c.ended_at.is_(None), _SESSION.c.started_at >= as_utc(since)
        )  # fmt: skip
        async with self._read() as session:
            return int((await session.execute(query)).scalar_one())

    async def live_by_decky(self, since: datetime | float) -> dict[str, int]:
        """The same of every decky that has such sessions; one query."""
        query = select(_SESSION.c.decky_id, func.count()).group_by(_SESSION.c.decky_id).where(
            _SESSION.c.decky_id.is_not(None), _SESSION.c.ended_at.is_(None), _SESSION.c.started_at >= as_utc(since)
        )  # fmt: skip
        async with self._read() as session:
            return {str(decky): int(count) for decky, count in await session.execute(query)}

    async def mutation_add(self, row: Mapping[str, object]) -> bool:
        """Adds a change; False when one of that ``mutation_id`` is there already."""
        defaults = {"created_at": utcnow(), "requested_by": "", "reason": "", "trigger": "operator"}
        fresh = insert_for(self.db.dialect, _MUTATION).values({**defaults, **row})
        statement = fresh.on_conflict_do_nothing(index_elements=["mutation_id"])
        async with self._write() as session:
            return (await session.execute(statement.returning(_MUTATION.c.seq))).first() is not None

    async def mutation_get(self, mutation_id: str) -> MutationRow | None:
        """One change or None."""
        async with self._read() as session:
            query = select(_MUTATION).where(_MUTATION.c.mutation_id == mutation_id)
            return next(iter(await self._rows(session, query, MutationRow)), None)

    async def mutations(
        self,
        *,
        states: Sequence[str] | None = None,
        target: str | None = None,
        topology_id: str | None = None,
        kinds: Sequence[str] | None = None,
        since: datetime | float | None = None,
        limit: int = 100,
        newest_first: bool = True,
    ) -> list[MutationRow]:
        """Changes that match, newest first unless asked otherwise; limit 0 is all."""
        order = _MUTATION.c.seq.desc() if newest_first else _MUTATION.c.seq
        query = select(_MUTATION).order_by(order)
        if states is not None:
            query = query.where(_MUTATION.c.state.in_(list(states)))
        if target is not None:
            query = query.where(_MUTATION.c.target == target)
        if topology_id is not None:
            query = query.where(_MUTATION.c.topology_id == topology_id)
        if kinds is not None:
            query = query.where(_MUTATION.c.kind.in_(list(kinds)))
        if since is not None:
            query = query.where(_MUTATION.c.created_at >= as_utc(since))
        async with self._read() as session:
            return await self._rows(session, query.limit(limit) if limit else query, MutationRow)

    async def mutation_claim(
        self, mutation_id: str, state: str, owner: str, lease_s: float
    ) -> MutationRow | None:
        """Moves an enqueued change, or one whose lease has run out, to ``state`` under a lease; its row or None."""
        now = time.time()
        expired = or_(_MUTATION.c.lease_owner.is_(None), _over(_MUTATION.c.lease_until, now))
        takeover = and_(_MUTATION.c.state == state, _MUTATION.c.state.in_(OPEN_STATES), expired)
        statement = (
            update(_MUTATION)
            .where(_MUTATION.c.mutation_id == mutation_id, or_(_MUTATION.c.state == "enqueued", takeover))
            .values(state=state, lease_owner=owner, lease_until=now + lease_s, started_at=as_utc(now))
            .returning(*_MUTATION.c)
        )
        async with self._write() as session:
            found = (await session.execute(statement)).mappings().first()
            return shaped(MutationRow, dict(found)) if found else None

    async def mutation_finish(self, mutation_id: str, state: str, reason: str, outcome: Rotated) -> bool:
        """Ends an open change as applied or failed; False when it had ended already."""
        statement = (
            update(_MUTATION)
            .where(_MUTATION.c.mutation_id == mutation_id, _MUTATION.c.state.in_(OPEN_STATES))
            .values(
                state=state, reason=reason, outcome=outcome, finished_at=utcnow(), lease_owner=None, lease_until=None
            )
            .returning(_MUTATION.c.seq)
        )  # fmt: skip
        async with self._write() as session:
            return (await session.execute(statement)).first() is not None

    async def mutation_update(self, mutation_id: str, **values: object) -> None:
        """Changes columns of a change."""
        async with self._write() as session:
            statement = update(_MUTATION).where(_MUTATION.c.mutation_id == mutation_id)
            await session.execute(statement.values(**values))

    async def mutation_backlog(self) -> int:
        """Changes that wait to be taken up."""
        query = select(func.count()).select_from(_MUTATION).where(_MUTATION.c.state == "enqueued")
        async with self._read() as session:
            return int((await session.execute(query)).scalar_one())

    async def _put(self, session: Any, table: Any, row: Mapping[str, object]) -> None:
        fresh = insert_for(self.db.dialect, table).values(dict(row))
        keys = list(table.primary_key.columns)
        values = {name: fresh.excluded[name] for name in row if name not in {k.name for k in keys}}
        await session.execute(fresh.on_conflict_do_update(index_elements=keys, set_=values))


def _over(until: Any, now: float) -> Any:
    """Whether a lease has run out at ``now`` (epoch seconds), or was taken before the clock was set back."""
    return or_(until < now, until > now + FAR_S)
