"""Repository, part linked: identities with their addresses and why these are one; what operators said of them.

How common a value is comes from the tables as they are now, not from the moment of the link.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, func, or_, select, union_all

from decnet.db.repository.base import Row, SqlRepository, chunks, greatest, shaped
from decnet.db.repository.conditions import (
    ALL,
    Whose,
    attacker_is,
    identity_is_shown,
    tag_stands,
    visit_is,
    whose_is,
)
from decnet.db.repository.lists.evidence import Since, among_the_latest
from decnet.db.rows.linking import Against, ListedIdentity, MemberSeen, Reason, SaidOf
from decnet.db.tables import table
from decnet.db.types import as_utc
from decnet.errors import AmbiguousId
from decnet.hostile import visible

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_IDENTITY, _ATTACKER, _SESSION = table("identity"), table("attacker"), table("session")
_TAG = table("ttp_tag")
_LINK, _SAID = table("identity_link"), table("link_said")
_TERM, _VALUE, _GROUP = table("link_term"), table("link_value"), table("link_group")
_PART, _THEIRS = _IDENTITY.alias("part"), _ATTACKER.alias("theirs")
_PARTS = _PART.join(_THEIRS, _THEIRS.c.attacker_uuid == _PART.c.attacker_uuid)
_CANONICAL = func.coalesce(_IDENTITY.c.merged_into, _IDENTITY.c.identity_uuid)
LEAST_CHARS = 4
"""Characters of an id that name it when no other one begins with them."""
MAX_NAMED = 10
"""Ids that are listed when several are meant."""
_KIT, _SCRIPT = "campaign", "script"
"""A reason that is called campaign is a kit of scripts: its value is one of them."""
Common = dict[tuple[str, str], int]


class LinkedMixin(SqlRepository):
    """``identity``, ``identity_link`` and ``link_said``, read only."""

    async def list_identities(
        self,
        since: Since = None,
        attacker: str | None = None,
        limit: int = 100,
        ignored: bool = False,
        *,
        joined: bool = False,
        whose: Whose = ALL,
    ) -> list[ListedIdentity]:
        """Identities, those first of whose addresses one was seen last; a merged one stands there with its own address.

        ``joined``: only those of several addresses. ``attacker`` and ``whose`` ask for an address of it. An identity
        all of whose addresses are ignored is left out unless ``ignored``.
        """
        of_it = _PART.c.merged_into == _IDENTITY.c.identity_uuid
        theirs = select(func.max(_seen(_THEIRS))).select_from(_PARTS).where(of_it).scalar_subquery()
        seen = greatest(_seen(_ATTACKER), theirs, self.db.dialect)
        where: list[ColumnElement[bool]] = [] if ignored else [identity_is_shown(_IDENTITY.c.identity_uuid)]
        where += [seen >= as_utc(since)] if since is not None else []
        where += [select(_PART.c.identity_uuid).where(of_it).exists()] if joined else []
        own = [
            *attacker_is(_PART.c.attacker_uuid, attacker),
            *whose_is(_PART.c.attacker_uuid, whose, self.db.dialect),
        ]
        if own:
            now = func.coalesce(_PART.c.merged_into, _PART.c.identity_uuid)
            where.append(_IDENTITY.c.identity_uuid.in_(select(now).where(*own)))
        elif limit and not joined:
            where += await self._lately(limit, ignored)
        return await self._identities(where, (func.coalesce(seen, as_utc(0)).desc(),), limit)

    async def _lately(self, limit: int, ignored: bool) -> list[ColumnElement[bool]]:
        """What narrows the search for the latest identities, so that it costs the same however many there are.

        Each shown attacker gives a row that is as late as itself at least. So when as many as are asked for were seen
        from some moment on, only identities with an address that was seen from then on can be among the latest.
        """
        known = select(_IDENTITY.c.identity_uuid).where(
            _IDENTITY.c.attacker_uuid == _ATTACKER.c.attacker_uuid
        )
        shown = [known.exists(), *([] if ignored else [_ATTACKER.c.ignored_by.is_(None)])]
        seen = func.coalesce(_seen(_ATTACKER), as_utc(0))
        query = select(seen).where(among_the_latest(shown, None, limit)).order_by(seen.desc())
        async with self._read() as session:
            times = (await session.execute(query.limit(limit))).scalars().all()
        if len(times) < limit or times[-1] == as_utc(0):  # too few, or one without any time
            return []
        last, moment = _THEIRS.c.last_seen, times[-1]
        late = or_(last >= moment, and_(last.is_(None), _THEIRS.c.told_at >= moment))
        found = [
            select(column).select_from(_PARTS).where(late)
            for column in (_PART.c.identity_uuid, func.coalesce(_PART.c.merged_into, _PART.c.identity_uuid))
        ]
        return [_IDENTITY.c.identity_uuid.in_(union_all(*found))]

    async def get_identity(self, identity_uuid: str) -> ListedIdentity | None:
        """One identity as in the list."""
        rows = await self._identities([_IDENTITY.c.identity_uuid == identity_uuid], (), 1)
        return rows[0] if rows else None

    async def identities_by_id(self, uuids: Sequence[str]) -> dict[str, ListedIdentity]:
        """Identities by their ids; ids that are not known are left out."""
        found: dict[str, ListedIdentity] = {}
        for part in chunks(sorted(set(uuids))):
            rows = await self._identities([_IDENTITY.c.identity_uuid.in_(part)], (), 0)
            found |= {row["identity_uuid"]: row for row in rows}
        return found

    async def _identities(
        self, where: Sequence[ColumnElement[bool]], order: Sequence[ColumnElement[Any]], limit: int
    ) -> list[ListedIdentity]:
        joined = _IDENTITY.outerjoin(_ATTACKER, _ATTACKER.c.attacker_uuid == _IDENTITY.c.attacker_uuid)
        joined = joined.outerjoin(_LINK, _LINK.c.identity_uuid == _IDENTITY.c.identity_uuid)
        columns = [_IDENTITY.c[name] for name in ("identity_uuid", "attacker_uuid", "merged_into")]
        columns += [_LINK.c[name] for name in ("confidence", "reasons", "against")]
        query = select(*columns).select_from(joined).where(and_(True, *where))
        query = query.order_by(*order, _IDENTITY.c.identity_uuid)
        async with self._read() as session:
            rows = await self._rows(session, query.limit(limit) if limit else query)
            members = await _members(session, [row["identity_uuid"] for row in rows])
            common = await _commonness(session, rows)
        return [_identity_row(row, members[row["identity_uuid"]], common) for row in rows]

    async def identity_named(self, text: str) -> tuple[str, str | None] | None:
        """The identity that an address, a uuid of an attacker or an identity, or the beginning of one names, as it is now.

        With it stands the identity that was asked for when that was merged into it. None when there is none. Raises
        AmbiguousId, which lists them.
        """
        query = select(_IDENTITY.c.identity_uuid, _CANONICAL).order_by(_IDENTITY.c.identity_uuid)
        start = text.lower().removeprefix("i-")
        ways = [_IDENTITY.c.identity_uuid == start, *attacker_is(_IDENTITY.c.attacker_uuid, text)]
        if len(start) >= LEAST_CHARS:
            ways.append(_IDENTITY.c.identity_uuid.startswith(start, autoescape=True))
        async with self._read() as session:
            for way in ways:
                found = (await session.execute(query.where(way).limit(MAX_NAMED))).all()
                now = {str(canonical): str(own) for own, canonical in found}
                if len(now) > 1:
                    raise AmbiguousId(several("identities", text, sorted(now)))
                for canonical, own in now.items():
                    by_id = own != canonical and not is_address(text, own)
                    return canonical, own if by_id else None
        return None

    async def members_seen(self, identity_uuid: str) -> list[MemberSeen]:
        """The addresses of an identity, the one that it began with first, then by age."""
        sessions = (
            select(func.count())
            .select_from(_SESSION)
            .where(_SESSION.c.attacker_uuid == _IDENTITY.c.attacker_uuid)
            .scalar_subquery()
        )
        columns = (
            _IDENTITY.c.attacker_uuid, _ATTACKER.c.ip.label("attacker_ip"), _IDENTITY.c.identity_uuid,
            func.coalesce(_ATTACKER.c.first_seen, _ATTACKER.c.told_at).label("first_seen"),
            _seen(_ATTACKER).label("last_seen"), sessions.label("sessions"),
        )  # fmt: skip
        joined = _IDENTITY.outerjoin(_ATTACKER, _ATTACKER.c.attacker_uuid == _IDENTITY.c.attacker_uuid)
        own = or_(_IDENTITY.c.identity_uuid == identity_uuid, _IDENTITY.c.merged_into == identity_uuid)
        query = select(*columns).select_from(joined).where(own, _IDENTITY.c.attacker_uuid.is_not(None))
        async with self._read() as session:
            rows = await self._rows(session, query, MemberSeen)
        return sorted(rows, key=lambda row: _age(row, identity_uuid))

    async def techniques_of(self, whose: Whose) -> list[tuple[str, int]]:
        """Techniques and sub-techniques with the number of their tags, the commonest first."""
        technique = func.coalesce(_TAG.c.sub_technique_id, _TAG.c.technique_id)
        where = [tag_stands(), *visit_is(_TAG.c.attacker_uuid, _TAG.c.session_id, whose, self.db.dialect)]
        query = select(technique, func.count()).where(*where).group_by(technique)
        async with self._read() as session:
            found = [(str(name), int(count)) for name, count in await session.execute(query)]
        return sorted(found, key=lambda one: (-one[1], one[0]))

    async def said_of(self, attackers: Sequence[str]) -> list[SaidOf]:
        """What operators said of pairs of which one is among some attackers, the newest first."""
        columns = [_SAID.c[name] for name in ("one", "other", "same", "reason", "said_by", "said_at")]
        found: dict[tuple[str, str], SaidOf] = {}
        async with self._read() as session:
            for part in chunks(attackers):
                query = select(*columns).where(or_(_SAID.c.one.in_(part), _SAID.c.other.in_(part)))
                found |= {(row["one"], row["other"]): row for row in await self._rows(session, query, SaidOf)}
        return sorted(found.values(), key=lambda row: (row["said_at"] or as_utc(0), row["one"], row["other"]), reverse=True)  # fmt: skip

    async def known_addresses(self, ignored: bool = False) -> list[tuple[str, str]]:
        """All attackers that have an address, with it."""
        query = select(_ATTACKER.c.attacker_uuid, _ATTACKER.c.ip).where(_ATTACKER.c.ip.is_not(None))
        if not ignored:
            query = query.where(_ATTACKER.c.ignored_by.is_(None))
        async with self._read() as session:
            return [(uuid, ip) for uuid, ip in await session.execute(query)]


def several(things: str, text: str, found: Sequence[str]) -> str:
    """The words for a name that several things have."""
    many = f"{MAX_NAMED} or more" if len(found) >= MAX_NAMED else str(len(found))
    return f"{many} {things} have the name {visible(text, 80)}: {visible(', '.join(found), 4000)}"


def is_address(text: str, identity_uuid: str) -> bool:
    """Whether a text that named an identity is none of its id."""
    return not identity_uuid.startswith(text.lower().removeprefix("i-"))


def _seen(attacker: Any) -> Any:
    return func.coalesce(attacker.c.last_seen, attacker.c.told_at)


def _age(row: Mapping[str, Any], identity_uuid: str) -> tuple[bool, Any, str]:
    return row["identity_uuid"] != identity_uuid, row["first_seen"] or as_utc(0), row["attacker_uuid"]


async def _members(
    session: AsyncSession, identities: Sequence[str]
) -> dict[str, list[tuple[str, str | None]]]:
    """Attackers with their addresses by identity: of the identity itself, and of those that are part of it."""
    rows: list[Row] = []
    joined = _IDENTITY.outerjoin(_ATTACKER, _ATTACKER.c.attacker_uuid == _IDENTITY.c.attacker_uuid)
    names = ("attacker_uuid", "identity_uuid", "merged_into")
    first = func.coalesce(_ATTACKER.c.first_seen, _ATTACKER.c.told_at).label("first_seen")
    query = select(*(_IDENTITY.c[name] for name in names), _ATTACKER.c.ip, first).select_from(joined)
    query = query.where(_IDENTITY.c.attacker_uuid.is_not(None))
    for part in chunks(identities):
        own = _IDENTITY.c.identity_uuid.in_(part)
        for way in (own, _IDENTITY.c.merged_into.in_(part)):
            found = await session.execute(query.where(way))
            rows += [{**row, "of": row["identity_uuid" if way is own else "merged_into"]} for row in found.mappings()]  # fmt: skip
    members: dict[str, list[tuple[str, str | None]]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: _age(row, row["of"])):
        if (one := (row["attacker_uuid"], row["ip"])) not in members[row["of"]]:
            members[row["of"]].append(one)
    return members


async def _commonness(session: AsyncSession, rows: Iterable[Row]) -> Common:
    """Of the values in the reasons of some rows: at how many addresses they are now, as far as that is stored."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for reason in row["reasons"] or ():
            wanted[str(reason["family"])].add(str(reason["value"]))
    common: Common = {}
    for family, values in wanted.items():
        for part in chunks(sorted(values)):
            for value, count in await session.execute(_count(family, part)):
                common[family, value] = int(count)
    return common


def _count(family: str, values: Sequence[str]) -> Any:
    if family == _KIT:
        kit = _TERM.join(_GROUP, and_(_GROUP.c.root == _TERM.c.kit_root, _GROUP.c.kind == "kit"))
        scripts = select(_TERM.c.value, _GROUP.c.addresses).select_from(kit)
        return scripts.where(_TERM.c.family == _SCRIPT, _TERM.c.value.in_(values))
    count = select(func.count()).select_from(_VALUE).where(_VALUE.c.term_id == _TERM.c.term_id, _VALUE.c.kept)
    return select(_TERM.c.value, count.scalar_subquery()).where(
        _TERM.c.family == family, _TERM.c.value.in_(values)
    )


def _identity_row(row: Row, members: Sequence[tuple[str, str | None]], common: Common) -> ListedIdentity:
    reasons: list[Reason] = [
        {
            "family": one["family"],
            "value": one["value"],
            "addresses": common.get((one["family"], one["value"]), one["addresses"]),
            "weight": one["weight"],
        }
        for one in row["reasons"] or ()
    ]
    against: list[Against] = [
        {"family": one["family"], "weight": one["weight"]} for one in row["against"] or ()
    ]
    state = "merged" if row["merged_into"] else "joined" if len(members) > 1 else "own"
    return shaped(
        ListedIdentity,
        {
            "identity_uuid": row["identity_uuid"],
            "addresses": [ip for _, ip in members if ip],
            "attacker_uuids": [uuid for uuid, _ in members],
            "confidence": row["confidence"] or 0.0,
            "reasons": reasons,
            "against": against,
            "merged_into": row["merged_into"],
            "state": state,
        },
    )
