"""Repository, part campaigns: kits that several addresses have, with their sessions, what these brought, and why.

A campaign's sessions are those with one of its assets, not all of its addresses: an address may be in several.
A campaign that has one address now is none, and is shown nowhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, func, select

from decnet.db.repository.base import SqlRepository, chunks, shaped
from decnet.db.repository.conditions import ALL, CAMPAIGN, Whose, attacker_is, tag_stands, whose_is
from decnet.db.repository.lists.evidence import Since
from decnet.db.repository.lists.linked import LEAST_CHARS, MAX_NAMED, several
from decnet.db.rows.linking import Asset, CampaignName, ListedCampaign
from decnet.db.tables import table
from decnet.db.types import as_utc
from decnet.errors import AmbiguousId

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_GROUP, _TERM, _VALUE = table("link_group"), table("link_term"), table("link_value")
_LINKED, _MERGE = table("link_session"), table("campaign_merge")
_ATTACKER, _IDENTITY, _SESSION = table("attacker"), table("identity"), table("session")
_THING, _TAG = table("session_thing"), table("ttp_tag")
_HELD = _VALUE.join(_TERM, _TERM.c.term_id == _VALUE.c.term_id)
_BARE = _LINKED.join(_TERM, _TERM.c.term_id == _LINKED.c.term_id)
_VISITS = _BARE.join(_SESSION, _SESSION.c.session_id == _LINKED.c.session_id)
_ended = func.coalesce(_SESSION.c.ended_at, _SESSION.c.started_at)
SCRIPT = "script"
ASSETS = ("key", "sha256", SCRIPT)
"""Families of assets, the clearest first."""
MAX_REASONS = 32
"""Assets that are told of a campaign."""
MAX_STEPS = 64
"""Steps that are told of a script."""
MAX_MERGES = 64
"""Steps from what a campaign was to what it is."""


class CampaignsMixin(SqlRepository):
    """The tables of linking, read only."""

    async def list_campaigns(
        self,
        since: Since = None,
        attacker: str | None = None,
        limit: int = 100,
        ignored: bool = False,
        *,
        campaign: str | None = None,
        whose: Whose = ALL,
    ) -> list[ListedCampaign]:
        """Campaigns, those of most addresses first; with ``since`` those that were seen since then.

        ``attacker`` and ``whose`` ask for an address of it. Ignored addresses and sessions count only with ``ignored``.
        """
        where = [is_campaign(), *_with_address(attacker, whose, self.db.dialect)]
        where += [] if ignored else [has_shown_address()]
        if campaign is not None:
            where.append(_GROUP.c.campaign_uuid == campaign)
        if since is not None:
            late = [
                _TERM.c.campaign_root == _GROUP.c.root,
                _ended >= as_utc(since),
                *_shown(_SESSION, ignored),
            ]
            where.append(select(_TERM.c.term_id).select_from(_VISITS).where(*late).exists())
        columns = (_GROUP.c.root, _GROUP.c.campaign_uuid, campaign_name().label("name"))
        query = select(*columns).where(*where).order_by(_GROUP.c.addresses.desc(), _GROUP.c.campaign_uuid)
        async with self._read() as session:
            rows = await self._rows(session, query.limit(limit) if limit else query)
            told: dict[str, ListedCampaign] = {}
            for part in chunks(rows):
                named = {row["root"]: row for row in part}
                told |= await _told(session, named, ignored)
        return [told[row["root"]] for row in rows]

    async def campaigns_by_attacker(self, attackers: Sequence[str]) -> dict[str, list[CampaignName]]:
        """The campaigns of some attackers, those of most addresses first; who is in none is left out."""
        joined = _HELD.join(_GROUP, and_(_GROUP.c.root == _TERM.c.campaign_root, is_campaign()))
        columns = (
            _VALUE.c.attacker_uuid,
            _GROUP.c.campaign_uuid,
            campaign_name().label("name"),
            _GROUP.c.addresses,
        )
        found: dict[str, list[CampaignName]] = defaultdict(list)
        async with self._read() as session:
            for part in chunks(attackers):
                query = (
                    select(*columns).select_from(joined).where(_VALUE.c.attacker_uuid.in_(part)).distinct()
                )
                for uuid, campaign, name, addresses in await session.execute(query):
                    found[uuid].append({"campaign_uuid": campaign, "name": name, "addresses": addresses})
        return {uuid: sorted(campaigns, key=_size) for uuid, campaigns in found.items()}

    async def campaign_named(self, text: str) -> tuple[str, str | None] | None:
        """The campaign that a uuid, its beginning or a part of its name names, as it is now.

        With it stands the campaign that was asked for when that was merged into it. None when there is none. Raises
        AmbiguousId, which lists them.
        """
        start = text.lower().removeprefix("c-")
        async with self._read() as session:
            for own, merged in (
                (_GROUP.c.campaign_uuid == start, _MERGE.c.loser_uuid == start),
                *_beginnings(start),
            ):
                found = await _named(session, own, merged)
                if len(found) > 1:
                    raise AmbiguousId(several("campaigns", text, sorted(found)))
                if found:
                    return found.popitem()
            if not text:
                return None
            own = campaign_name().icontains(text, autoescape=True)
            query = select(_GROUP.c.campaign_uuid).where(is_campaign(), own).limit(MAX_NAMED)
            by_name = sorted((await session.execute(query)).scalars())
        if len(by_name) > 1:
            raise AmbiguousId(several("campaigns", text, by_name))
        return (by_name[0], None) if by_name else None


def is_campaign() -> ColumnElement[bool]:
    """Condition on ``link_group``: it is a campaign, of several addresses now."""
    return and_(_GROUP.c.kind == CAMPAIGN, _GROUP.c.campaign_uuid.is_not(None), _GROUP.c.addresses > 1)


def campaign_name() -> Any:
    """What a campaign is called."""
    return func.coalesce(_GROUP.c.name, _GROUP.c.label)


def _shown(table: Any, ignored: bool) -> list[ColumnElement[bool]]:
    return [] if ignored else [table.c.ignored_by.is_(None)]


def _size(one: CampaignName) -> tuple[int, str]:
    return -one["addresses"], one["campaign_uuid"]


def _with_address(attacker: str | None, whose: Whose, dialect: str) -> list[ColumnElement[bool]]:
    """The filter of campaigns that have an address which is asked for."""
    column = _VALUE.c.attacker_uuid
    where = [*attacker_is(column, attacker), *whose_is(column, whose, dialect)]
    if not where:
        return []
    return [_GROUP.c.root.in_(select(_TERM.c.campaign_root).select_from(_HELD).where(*where))]


def has_shown_address() -> ColumnElement[bool]:
    """Condition on ``link_group``: one of its addresses at least is not ignored."""
    joined = _HELD.join(_ATTACKER, _ATTACKER.c.attacker_uuid == _VALUE.c.attacker_uuid)
    shown = and_(_TERM.c.campaign_root == _GROUP.c.root, _ATTACKER.c.ignored_by.is_(None))
    return select(_TERM.c.term_id).select_from(joined).where(shown).exists()


def _beginnings(start: str) -> list[tuple[ColumnElement[bool], ColumnElement[bool]]]:
    if len(start) < LEAST_CHARS:
        return []
    columns = (_GROUP.c.campaign_uuid, _MERGE.c.loser_uuid)
    own, merged = (column.startswith(start, autoescape=True) for column in columns)
    return [(own, merged)]


async def _named(session: AsyncSession, own: Any, merged: Any) -> dict[str, str | None]:
    """Campaigns of now, with what was asked for when that was merged."""
    found: dict[str, str | None] = {}
    losers = select(_MERGE.c.loser_uuid).where(merged).order_by(_MERGE.c.loser_uuid).limit(MAX_NAMED)
    for loser in list((await session.execute(losers)).scalars()):
        found[await _now(session, loser)] = loser
    query = select(_GROUP.c.campaign_uuid).where(is_campaign(), own).order_by(_GROUP.c.campaign_uuid)
    found |= dict.fromkeys((await session.execute(query.limit(MAX_NAMED))).scalars())
    return found


async def _now(session: AsyncSession, uuid: str) -> str:
    """What a campaign is now; a chain that runs in a circle ends somewhere."""
    for _ in range(MAX_MERGES):
        query = select(_MERGE.c.winner_uuid).where(_MERGE.c.loser_uuid == uuid)
        winner = (await session.execute(query)).scalar()
        if winner is None:
            break
        uuid = winner
    return uuid


async def _told(
    session: AsyncSession, named: Mapping[str, Mapping[str, Any]], ignored: bool
) -> dict[str, ListedCampaign]:
    """Campaigns by what stands for them."""
    roots = list(named)
    members = await _members(session, roots, ignored)
    spans = await _spans(session, roots, ignored)
    hosts = await _things(session, roots, "host", ignored)
    hashes = await _things(session, roots, "hash", ignored)
    techniques = await _techniques(session, roots, ignored)
    assets = await _assets(session, roots)
    told: dict[str, ListedCampaign] = {}
    for root, row in named.items():
        count, first, last = spans.get(root, (0, None, None))
        own = members[root]
        told[root] = shaped(
            ListedCampaign,
            {
                "campaign_uuid": row["campaign_uuid"],
                "name": row["name"],
                "addresses": [ip for _, ip, _ in own if ip],
                "attacker_uuids": [uuid for uuid, _, _ in own],
                "identities": sorted({identity for _, _, identity in own if identity}),
                "sessions": count,
                "first_seen": first,
                "last_seen": last,
                "payload_hosts": hosts[root],
                "hashes": hashes[root],
                "techniques": techniques[root],
                "reasons": assets[root],
            },
        )
    return told


async def _members(session: AsyncSession, roots: Sequence[str], ignored: bool) -> dict[str, list[Any]]:
    """Attacker, address and identity of each member, by campaign, in the order in which they were first seen."""
    held = select(_TERM.c.campaign_root, _VALUE.c.attacker_uuid).select_from(_HELD)
    each = held.where(_TERM.c.campaign_root.in_(roots)).distinct().subquery()
    joined = each.join(_ATTACKER, _ATTACKER.c.attacker_uuid == each.c.attacker_uuid)
    joined = joined.outerjoin(_IDENTITY, _IDENTITY.c.attacker_uuid == each.c.attacker_uuid)
    identity = func.coalesce(_IDENTITY.c.merged_into, _IDENTITY.c.identity_uuid)
    query = select(each.c.campaign_root, each.c.attacker_uuid, _ATTACKER.c.ip, identity).select_from(joined)
    order = (func.coalesce(_ATTACKER.c.first_seen, _ATTACKER.c.told_at), each.c.attacker_uuid)
    found: dict[str, list[Any]] = defaultdict(list)
    for root, *one in await session.execute(query.where(*_shown(_ATTACKER, ignored)).order_by(*order)):
        found[root].append(one)
    return found


async def _spans(
    session: AsyncSession, roots: Sequence[str], ignored: bool
) -> dict[str, tuple[int, Any, Any]]:
    """Sessions, the beginning of the first and the end of the last, by campaign."""
    columns = (func.count(), func.min(_SESSION.c.started_at), func.max(_ended))
    query = select(_TERM.c.campaign_root, *columns).select_from(_VISITS).where(*_of(roots, ignored))
    rows = await session.execute(query.group_by(_TERM.c.campaign_root))
    return {root: (int(count), first, last) for root, count, first, last in rows}


async def _things(
    session: AsyncSession, roots: Sequence[str], kind: str, ignored: bool
) -> dict[str, list[str]]:
    joined = _visits(ignored).join(
        _THING, and_(_THING.c.session_id == _LINKED.c.session_id, _THING.c.kind == kind)
    )
    return await _ranked(session, joined, _THING.c.value, _of(roots, ignored))


async def _techniques(session: AsyncSession, roots: Sequence[str], ignored: bool) -> dict[str, list[str]]:
    joined = _visits(ignored).join(_TAG, _TAG.c.session_id == _LINKED.c.session_id)
    query = select(_TERM.c.campaign_root, _TAG.c.technique_id).select_from(joined)
    found: dict[str, list[str]] = defaultdict(list)
    for root, technique in await session.execute(query.where(*_of(roots, ignored), tag_stands()).distinct()):
        found[root].append(technique)
    return defaultdict(list, {root: sorted(some) for root, some in found.items()})


def _visits(ignored: bool) -> Any:
    """Sessions of campaigns; where marks do not count, their own rows are not looked at."""
    return _BARE if ignored else _VISITS


def _of(roots: Sequence[str], ignored: bool) -> list[ColumnElement[bool]]:
    return [_TERM.c.campaign_root.in_(roots), *_shown(_SESSION, ignored)]


async def _ranked(
    session: AsyncSession, joined: Any, value: Any, where: Iterable[ColumnElement[bool]]
) -> dict[str, list[str]]:
    """Values by campaign, the commonest first."""
    query = select(_TERM.c.campaign_root, value, func.count()).select_from(joined).where(*where)
    counts: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for root, text, count in await session.execute(query.group_by(_TERM.c.campaign_root, value)):
        counts[root].append((-int(count), text))
    return defaultdict(list, {root: [text for _, text in sorted(one)] for root, one in counts.items()})


async def _assets(session: AsyncSession, roots: Sequence[str]) -> dict[str, list[Asset]]:
    joined = _TERM.outerjoin(_VALUE, and_(_VALUE.c.term_id == _TERM.c.term_id, _VALUE.c.kept))
    columns = (_TERM.c.campaign_root, _TERM.c.term_id, _TERM.c.family, _TERM.c.value)
    query = select(*columns, func.count(_VALUE.c.attacker_uuid)).select_from(joined)
    query = query.where(_TERM.c.campaign_root.in_(roots)).group_by(_TERM.c.term_id, *columns)
    found: dict[str, list[tuple[str, Asset]]] = defaultdict(list)
    for root, term, family, value, count in await session.execute(query):
        found[root].append((term, {"family": family, "value": value, "addresses": int(count), "steps": []}))
    shown = {root: sorted(some, key=_clearest)[:MAX_REASONS] for root, some in found.items()}
    steps = await _steps(session, [term for some in shown.values() for term, _ in some])
    told = {
        root: [shaped(Asset, {**one, "steps": steps.get(term, [])}) for term, one in some]
        for root, some in shown.items()
    }
    return defaultdict(list, told)


async def _steps(session: AsyncSession, terms: Sequence[str]) -> dict[str, list[str]]:
    """What scripts do: of their marks those that are one step."""
    found: dict[str, list[str]] = {}
    for part in chunks(terms):
        query = select(_TERM.c.term_id, _TERM.c.marks).where(
            _TERM.c.term_id.in_(part), _TERM.c.family == SCRIPT
        )
        for term, marks in await session.execute(query):
            found[term] = [mark for mark in marks or () if "\n" not in mark][:MAX_STEPS]
    return found


def _clearest(named: tuple[str, Asset]) -> tuple[int, int, str]:
    one = named[1]
    place = ASSETS.index(one["family"]) if one["family"] in ASSETS else len(ASSETS)
    return place, -one["addresses"], one["value"]
