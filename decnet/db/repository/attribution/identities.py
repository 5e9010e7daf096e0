"""Repository, part identities: who is one with whom, and what an identity is called now.

Two kinds of edges make identities one: merges that others announced (``identity_merge``), and links of addresses
(``link_address``, written by linking). ``identity.merged_into`` is worked out from both, here alone; attribution
alone asks for it, and for what follows from it (:mod:`decnet.attribution.regrouped`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import and_, or_, select, update

from decnet.bounds import bit
from decnet.db.repository.base import Row, SqlRepository, chunks
from decnet.db.repository.locks import LOCK_MERGES, lock_rows
from decnet.db.rows.attribution import IdentityWhy
from decnet.db.tables import table
from decnet.logs import get_logger

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

log = get_logger(__name__)
_IDENTITY, _MERGE = table("identity"), table("identity_merge")
_LINK, _SAID, _WHY = table("link_address"), table("link_said"), table("identity_link")
MAX_GROUP = 10_000
"""Identities that hang together at most; a greater group stays what it was, which is counted."""
GROUPS_TOO_LARGE = "groups_too_large"
AT_ONCE = 100
"""Identities that are regrouped together: linking joins 50 addresses at most."""
_NEAR = 400
Pair = tuple[str, str]
Moved = dict[str, tuple[str, str]]
"""identity → (canonical one before, canonical one after), of those for which they differ."""


@dataclass
class _Near:
    """Identities that are or were one with some others, and all that says so."""

    into: dict[str, str | None] = field(default_factory=dict)
    attackers: dict[str, str] = field(default_factory=dict)
    told: dict[Pair, int] = field(default_factory=dict)
    linked: set[Pair] = field(default_factory=set)

    def named(self) -> set[str]:
        """Every identity that was read of."""
        edges = {end for edge in self.told.keys() | self.linked for end in edge}
        return edges | self.into.keys() | {winner for winner in self.into.values() if winner}


class IdentitiesMixin(SqlRepository):
    """``identity_merge`` and ``identity.merged_into``."""

    async def canonical_identity(self, identity_uuid: str) -> str:
        """The identity that this one was merged into, itself when it was not."""
        query = select(_IDENTITY.c.merged_into).where(_IDENTITY.c.identity_uuid == identity_uuid)
        async with self._read() as session:
            return (await session.execute(query)).scalar_one_or_none() or identity_uuid

    async def canonical_identities(self, identities: Iterable[str]) -> dict[str, str]:
        """Each of many identities with its canonical one, itself when it was not merged or is unknown."""
        out = {identity: identity for identity in identities}
        async with self._read() as session:
            for part in chunks(sorted(out)):
                query = select(_IDENTITY.c.identity_uuid, _IDENTITY.c.merged_into)
                query = query.where(_IDENTITY.c.identity_uuid.in_(part), _IDENTITY.c.merged_into.is_not(None))
                out |= dict((await session.execute(query)).tuples().all())
        return out

    async def attackers_of_identity(self, identity_uuid: str) -> list[str]:
        """All attackers of a canonical identity, sorted."""
        own = or_(_IDENTITY.c.identity_uuid == identity_uuid, _IDENTITY.c.merged_into == identity_uuid)
        query = select(_IDENTITY.c.attacker_uuid).where(own, _IDENTITY.c.attacker_uuid.is_not(None))
        async with self._read() as session:
            return sorted((await session.execute(query)).scalars())

    async def why_one(self, identity_uuid: str) -> IdentityWhy | None:
        """Why our links make a canonical identity one, or None where they do not."""
        columns = (_WHY.c.confidence, _WHY.c.reasons, _WHY.c.against)
        query = select(*columns).where(_WHY.c.identity_uuid == identity_uuid)
        async with self._read() as session:
            rows = await self._rows(session, query, IdentityWhy)
        return rows[0] if rows else None

    async def merge_identities(self, winner_uuid: str, loser_uuid: str, seq: int = 0) -> Moved:
        """Takes in a merge that others announced; the identities whose canonical one changed by it.

        The order of announcements does not matter: news of a pair counts when its ``seq`` is greater than the
        last (a parting wins over a merge of the same number), and not when the loser was parted since. Chains,
        contradictions and rings end the same way for everyone: the identity that never lost, the least of
        several, the least of all in a ring. A merge that an operator's word stands against is kept and joins
        nothing (:meth:`refused_merges`) until the word is taken back.
        """
        async with self._write() as session:
            await self._serialise(session, LOCK_MERGES)
            await self._upsert(session, _IDENTITY, [{"identity_uuid": u} for u in {winner_uuid, loser_uuid}])
            if winner_uuid != loser_uuid:
                row = {"loser_uuid": loser_uuid, "winner_uuid": winner_uuid, "seq": seq}
                await self._told(session, {**row, "live": seq > await self._alone_since(session, loser_uuid)})
            return await self._regroup(session, {winner_uuid, loser_uuid})

    async def part_identities(self, resurrected: str, former_winner: str, seq: int = 0) -> Moved:
        """Takes in that an identity is one of its own again; the identities whose canonical one changed by it.

        Every merge in which it lost, and any merge of the two, is taken back unless it has a greater ``seq``; that
        is remembered, so that an older merge which comes late changes nothing.
        """
        async with self._write() as session:
            await self._serialise(session, LOCK_MERGES)
            own = and_(_MERGE.c.loser_uuid == resurrected, _MERGE.c.seq <= seq)
            await session.execute(update(_MERGE).where(own).values(live=False))
            for loser in {resurrected, former_winner}:
                row = {"loser_uuid": loser, "winner_uuid": resurrected, "seq": seq, "live": False}
                await self._told(session, row)
            return await self._regroup(session, {resurrected, former_winner})

    async def _told(self, session: AsyncSession, row: Row) -> None:
        """The row of a pair is what was told of it last."""
        statement = self._upsert_statement(
            _MERGE,
            {"seq": lambda _, new, __: new, "live": lambda _, new, __: new},
            lambda new: or_(
                new.seq > _MERGE.c.seq, and_(new.seq == _MERGE.c.seq, _MERGE.c.live, new.live.is_(False))
            ),
        )
        await session.execute(statement, row)

    async def _alone_since(self, session: AsyncSession, identity: str) -> int:
        """The number with which an identity was last parted, which its row with itself keeps; -1 for never."""
        own = and_(_MERGE.c.loser_uuid == identity, _MERGE.c.winner_uuid == identity)
        found = (await session.execute(select(_MERGE.c.seq).where(own))).scalar_one_or_none()
        return -1 if found is None else int(found)

    async def refused_merges(self, pairs: Iterable[Pair]) -> set[Pair]:
        """Those of some merges (winner, loser) that stand, and yet join nothing: an operator said they may not."""
        wanted = set(pairs)
        names = await self.canonical_identities({end for pair in wanted for end in pair})
        apart = {pair for pair in wanted if names[pair[0]] != names[pair[1]]}
        out: set[Pair] = set()
        async with self._read() as session:
            for part in chunks(sorted({loser for _, loser in apart})):
                query = select(_MERGE.c.winner_uuid, _MERGE.c.loser_uuid)
                found = await session.execute(query.where(_MERGE.c.loser_uuid.in_(part), _MERGE.c.live))
                out |= {(winner, loser) for winner, loser in found}
        return out & apart

    async def held_together(self, pairs: Iterable[Pair]) -> set[Pair]:
        """Those of some partings (resurrected, former winner) that part nothing, though no merge of the first stands.

        Links of ours hold the two together, or merges of others with them.
        """
        wanted = set(pairs)
        names = await self.canonical_identities({end for pair in wanted for end in pair})
        one = {pair for pair in wanted if names[pair[0]] == names[pair[1]]}
        merged: set[str] = set()
        async with self._read() as session:
            for part in chunks(sorted({resurrected for resurrected, _ in one})):
                query = select(_MERGE.c.loser_uuid).where(_MERGE.c.loser_uuid.in_(part), _MERGE.c.live)
                merged.update((await session.execute(query)).scalars())
        return {pair for pair in one if pair[0] not in merged}

    async def regroup_identities(self, identities: Iterable[str]) -> Moved:
        """Works out anew what these identities, and all that are or were one with them, are merged into.

        Returns those whose canonical identity changed. Belongs in the transaction that changed the edges; one
        such transaction commits after the other.
        """
        async with self._write() as session:
            await self._serialise(session, LOCK_MERGES)
            return await self._regroup_all(session, identities)

    async def _regroup_all(self, session: AsyncSession, identities: Iterable[str]) -> Moved:
        moved: Moved = {}
        for part in chunks(sorted(set(identities)), AT_ONCE):
            moved |= await self._regroup(session, set(part))
        return moved

    async def _regroup(self, session: AsyncSession, identities: set[str]) -> Moved:
        near = await self._near(session, identities)
        if near is None and len(identities) > 1:
            apart = [await self._regroup(session, {identity}) for identity in sorted(identities)]
            return {who: pair for moved in apart for who, pair in moved.items()}
        if near is None:
            bit(GROUPS_TOO_LARGE)
            log.warning("too many identities hang together: they stay as they were", limit=MAX_GROUP)
            return {}
        said = await self._said_apart(session, near.attackers)
        moved: Moved = {}
        missing: list[Row] = []
        for group, canonical in groups_of(near.named(), near.linked, near.told, said):
            before = {member: near.into.get(member) or member for member in group}
            moved |= {who: (was, canonical) for who, was in before.items() if was != canonical}
            if len(group) > 1:
                missing += [{"identity_uuid": member} for member in group - near.into.keys()]
        await self._upsert(session, _IDENTITY, missing)
        await self._point(session, moved)
        return moved

    async def _point(self, session: AsyncSession, moved: Mapping[str, tuple[str, str]]) -> None:
        """Writes what moved, holding first the rows of all that are concerned, in the order of everyone."""
        held = sorted(moved.keys() | {end for pair in moved.values() for end in pair})
        targets: dict[str | None, list[str]] = defaultdict(list)
        for who, (_, canonical) in moved.items():
            targets[None if who == canonical else canonical].append(who)
        if self.db.dialect == "postgresql":
            for part in chunks(held):
                await lock_rows(session, _IDENTITY.c.identity_uuid, part)
        for target, members in targets.items():
            for part in chunks(sorted(members)):
                own = _IDENTITY.c.identity_uuid.in_(part)
                await session.execute(update(_IDENTITY).where(own).values(merged_into=target))

    async def _near(self, session: AsyncSession, identities: set[str]) -> _Near | None:
        """All that hangs together with some identities, or did; None when it is too much to look at."""
        near = _Near()
        seen: set[str] = set()
        while todo := (identities | near.named()) - seen:
            if len(seen | todo) > MAX_GROUP:
                return None
            for part in chunks(sorted(todo), _NEAR):
                await self._read_near(session, part, near)
            seen |= todo
        return near

    async def _read_near(self, session: AsyncSession, part: Sequence[str], near: _Near) -> None:
        merges = or_(_MERGE.c.loser_uuid.in_(part), _MERGE.c.winner_uuid.in_(part))
        query = select(_MERGE.c.loser_uuid, _MERGE.c.winner_uuid, _MERGE.c.seq).where(merges, _MERGE.c.live)
        near.told |= {(loser, winner): seq for loser, winner, seq in await session.execute(query)}
        links = or_(_LINK.c.identity_uuid.in_(part), _LINK.c.linked_into.in_(part))
        columns = (_LINK.c.identity_uuid, _LINK.c.linked_into, _LINK.c.attacker_uuid)
        for own, winner, attacker in await session.execute(select(*columns).where(links)):
            near.attackers[attacker] = own
            if winner is not None and winner != own:
                near.linked.add((own, winner))
        rows = or_(_IDENTITY.c.identity_uuid.in_(part), _IDENTITY.c.merged_into.in_(part))
        told = (_IDENTITY.c.identity_uuid, _IDENTITY.c.merged_into, _IDENTITY.c.attacker_uuid)
        for own, winner, attacker in await session.execute(select(*told).where(rows)):
            near.into[own] = winner
            if attacker is not None:
                near.attackers.setdefault(attacker, own)

    async def _said_apart(self, session: AsyncSession, attackers: Mapping[str, str]) -> set[Pair]:
        """Pairs of these attackers' identities of which an operator said that they are not the same."""
        out: set[Pair] = set()
        for part in chunks(sorted(attackers)):
            query = select(_SAID.c.one, _SAID.c.other).where(_SAID.c.one.in_(part), _SAID.c.same.is_(False))
            for one, other in await session.execute(query):
                if other in attackers:
                    out.add((attackers[one], attackers[other]))
        return out

    async def _has_edges(self, session: AsyncSession, identities: Sequence[str]) -> bool:
        """Whether any edge touches any of these identities."""
        for part in chunks(identities, _NEAR):
            merges = or_(_MERGE.c.loser_uuid.in_(part), _MERGE.c.winner_uuid.in_(part))
            links = or_(_LINK.c.identity_uuid.in_(part), _LINK.c.linked_into.in_(part))
            for query in (
                select(_MERGE.c.loser_uuid).where(merges, _MERGE.c.live),
                select(_LINK.c.attacker_uuid).where(links, _LINK.c.linked_into.is_not(None)),
            ):
                if (await session.execute(query.limit(1))).first() is not None:
                    return True
        return False


def groups_of(
    identities: Iterable[str], linked: Iterable[Pair], told: Mapping[Pair, int], apart: Iterable[Pair]
) -> list[tuple[set[str], str]]:
    """The groups that edges (loser, winner) make, each with its canonical identity; the same in any order of edges.

    Links count before what others ``told``, and that in the order of its numbers: it joins no two groups with a
    pair that is said to be ``apart``.
    """
    group = {identity: {identity} for identity in identities}
    enemies: dict[str, set[str]] = defaultdict(set)
    for one, other in apart:
        enemies[one].add(other)
        enemies[other].add(one)
    losers: set[str] = set()

    def join(loser: str, winner: str, word: Mapping[str, set[str]]) -> None:
        small, large = sorted((group[loser], group[winner]), key=len)
        if small is not large and any(word[member] & large for member in small & word.keys()):
            return
        losers.add(loser)
        if small is not large:
            large |= small
            group.update(dict.fromkeys(small, large))

    for edge in sorted(linked):
        join(*edge, {})
    for edge in sorted(told, key=lambda edge: (told[edge], edge)):
        join(*edge, enemies)
    found = {id(members): members for members in group.values()}
    return [(members, min(members - losers or members)) for members in found.values()]
