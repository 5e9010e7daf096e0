"""Conditions that queries of several subjects share: whose rows, and whether they are shown."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    FromClause,
    String,
    TableValuedAlias,
    and_,
    any_,
    func,
    literal,
    or_,
    select,
    union_all,
)

from decnet.db.tables import table
from decnet.ids import attacker_id, normalize_ip

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_ATTACKER, _SESSION, _IDENTITY = table("attacker"), table("session"), table("identity")
_TAG, _THING = table("ttp_tag"), table("session_thing")
_GROUP, _TERM = table("link_group"), table("link_term")
_VALUE, _LINKED = table("link_value"), table("link_session")
CAMPAIGN = "campaign"
"""Kind of the groups of assets that may be a campaign."""


class Whose(NamedTuple):
    """Of whom: only of some attackers, only of a campaign, only of an identity as it is now; None for all."""

    attackers: Sequence[str] | None = None
    campaign: str | None = None
    identity: str | None = None


ALL = Whose()
_BEGINNING = re.compile(r"[0-9a-f]{6,8}|[0-9a-f]{8}-[0-9a-f-]{0,26}")
"""Of a uuid: six characters at least, and never all of it."""
COUNTED = ("technique_id", "sub_technique_id", "tactic", "rule_id", "attacker_uuid", "identity_uuid")
"""What tags are counted by."""
_OWNER, _NAMED = _IDENTITY.alias("tag_owner"), _IDENTITY.alias("tag_named")
_STORED, _KNOWN = _SESSION.alias("stored_session"), _ATTACKER.alias("known_attacker")
_MARKED_SESSIONS = select(_STORED.c.session_id).where(_STORED.c.ignored_by.is_not(None))
_MARKED_ATTACKERS = select(_KNOWN.c.attacker_uuid).where(_KNOWN.c.ignored_by.is_not(None))


def attacker_is(column: Any, attacker: str | None) -> list[ColumnElement[bool]]:
    """The filter for an address, a uuid or the beginning of one, as a screen shows it: that may be several's."""
    if attacker is None:
        return []
    if _BEGINNING.fullmatch(attacker.lower()):
        return [column.startswith(attacker.lower())]
    try:
        return [column == str(UUID(attacker))]
    except ValueError:
        address = normalize_ip(attacker)
        by_ip = select(_ATTACKER.c.attacker_uuid).where(_ATTACKER.c.ip == address)
        # One list, not an OR: that would keep PostgreSQL from the index that begins with it.
        return [column.in_(union_all(by_ip, select(literal(attacker_id(address)))))]


def each_of(values: Sequence[str], dialect: str) -> TableValuedAlias:
    """A row (``value``) for each of any number of texts, which are one parameter."""
    if dialect == "postgresql":
        return func.unnest(literal(list(values), ARRAY(String))).table_valued("value").render_derived()
    return func.json_each(json.dumps(list(values))).table_valued("value")


def among(column: Any, values: Sequence[str], dialect: str) -> ColumnElement[bool]:
    """That a column has one of any number of texts, which are one parameter."""
    if dialect == "postgresql":
        return column == any_(literal(list(values), ARRAY(String)))  # type: ignore[no-any-return]
    return column.in_(select(each_of(values, dialect).c.value))  # type: ignore[no-any-return]


def whose_is(column: Any, whose: Whose, dialect: str) -> list[ColumnElement[bool]]:
    """The filter of a column of attackers: of a campaign all its addresses."""
    where = [] if whose.attackers is None else [among(column, whose.attackers, dialect)]
    if whose.identity is not None:
        own = or_(_IDENTITY.c.identity_uuid == whose.identity, _IDENTITY.c.merged_into == whose.identity)
        where.append(column.in_(select(_IDENTITY.c.attacker_uuid).where(own)))
    if whose.campaign is not None:
        joined = _VALUE.join(_TERM, _TERM.c.term_id == _VALUE.c.term_id)
        members = select(_VALUE.c.attacker_uuid).select_from(joined).where(_of_campaign(whose.campaign))
        where.append(column.in_(members))
    return where


def visit_is(attacker: Any, session: Any, whose: Whose, dialect: str) -> list[ColumnElement[bool]]:
    """The filter of columns of attackers and sessions: of a campaign only the sessions that had one of its assets."""
    where = whose_is(attacker, whose._replace(campaign=None), dialect)
    if whose.campaign is not None:
        joined = _LINKED.join(_TERM, _TERM.c.term_id == _LINKED.c.term_id)
        visits = select(_LINKED.c.session_id).select_from(joined).where(_of_campaign(whose.campaign))
        where.append(session.in_(visits))
    return where


def _of_campaign(campaign: str) -> ColumnElement[bool]:
    """Condition on terms: those of a campaign."""
    roots = select(_GROUP.c.root).where(_GROUP.c.kind == CAMPAIGN, _GROUP.c.campaign_uuid == campaign)
    return _TERM.c.campaign_root.in_(roots)


def had_kind(*kinds: str) -> ColumnElement[bool]:
    """Condition on ``session_thing``, looked up by session or by time: its index of kinds has the things of everybody."""
    return func.coalesce(_THING.c.kind, "").in_(kinds)


def tag_stands() -> ColumnElement[bool]:
    """Condition on ``ttp_tag``: no other tag says the same or knows better."""
    return and_(_TAG.c.superseded_by.is_(None), _TAG.c.replaced_by.is_(None))


def tag_is_shown() -> ColumnElement[bool]:
    """Condition on ``ttp_tag``: neither its session nor its attacker is marked.

    The session's mark decides where there is one, since it tells what was in force at that time. Few rows are marked:
    these are looked up once, by indices that have nothing else, instead of a session and an attacker for each tag.
    """
    known = select(_STORED.c.session_id).where(_STORED.c.session_id == _TAG.c.session_id).exists()
    by_attacker = or_(attacker_is_shown(_TAG.c.attacker_uuid), known)
    return and_(session_is_shown(_TAG.c.session_id), by_attacker)


def session_is_shown(column: Any) -> ColumnElement[bool]:
    """Condition on a column of session ids: the session is not marked, or there is none."""
    return or_(column.is_(None), column.not_in(_MARKED_SESSIONS))


def attacker_is_shown(column: Any) -> ColumnElement[bool]:
    """Condition on a column of attackers: the attacker is not marked, or there is none."""
    return or_(column.is_(None), column.not_in(_MARKED_ATTACKERS))


async def anybody_is_marked(session: AsyncSession) -> bool:
    """Whether :func:`tag_is_shown` leaves anything out: where nobody is marked, what reads all tags need not ask it of each."""
    marked = (_MARKED_SESSIONS, _MARKED_ATTACKERS)
    return any([(await session.execute(some.limit(1))).first() is not None for some in marked])


def tags_counted(where: Sequence[ColumnElement[bool]]) -> Any:
    """Tags by :data:`COUNTED`, with ``tags`` and ``last``: in the order of an index that has all of it."""
    own = [_TAG.c[name] for name in COUNTED]
    counts = (func.count().label("tags"), func.max(_TAG.c.seen_at).label("last"))
    return select(*own, *counts).where(and_(*where)).group_by(*own).subquery("counted")


def with_tag_identity(joined: FromClause, tag: Any = _TAG) -> FromClause:
    """``ttp_tag`` with what :func:`tag_identity` needs: the identity of its attacker, or the one it names alone.

    ``tag`` is what has their columns: the table, or a query over it.
    """
    alone = and_(tag.c.attacker_uuid.is_(None), _NAMED.c.identity_uuid == tag.c.identity_uuid)
    owned = joined.outerjoin(_OWNER, _OWNER.c.attacker_uuid == tag.c.attacker_uuid)
    return owned.outerjoin(_NAMED, alone)


def tag_identity(tag: Any = _TAG) -> ColumnElement[Any]:
    """The canonical identity of a tag as it is now; what the tag says itself is what it was when it was given."""
    names = (_OWNER.c.merged_into, _OWNER.c.identity_uuid, _NAMED.c.merged_into, tag.c.identity_uuid)
    return func.coalesce(*names)


def identity_is_shown(column: Any) -> ColumnElement[bool]:
    """Condition on a column of identity uuids: not all attackers of the identity that are known are marked."""
    own = _IDENTITY.c.attacker_uuid.in_(_MARKED_ATTACKERS)
    marked = select(_IDENTITY.c.identity_uuid).where(own, ~_has_shown_member(_IDENTITY.c.identity_uuid))
    return column.not_in(marked)  # type: ignore[no-any-return]


def _has_shown_member(identity: Any) -> ColumnElement[bool]:
    """Whether an identity whose attacker is not marked was merged into this one."""
    member, attacker = _IDENTITY.alias(), _ATTACKER.alias()
    joined = member.join(attacker, attacker.c.attacker_uuid == member.c.attacker_uuid)
    found = select(member.c.identity_uuid).select_from(joined)
    return found.where(member.c.merged_into == identity, attacker.c.ignored_by.is_(None)).exists()
