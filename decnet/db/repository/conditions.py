"""Conditions that queries of several subjects share: whose rows, and whether they are shown."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, and_, case, func, or_, select

from decnet.db.schema.columns import table_of
from decnet.db.schema.recorder import Attacker, Identity, SessionRow
from decnet.db.schema.ttp import TTPTag
from decnet.ids import attacker_id, normalize_ip

_ATTACKER, _SESSION, _IDENTITY = table_of(Attacker), table_of(SessionRow), table_of(Identity)
_TAG = table_of(TTPTag)
_OWNER, _NAMED = _IDENTITY.alias("tag_owner"), _IDENTITY.alias("tag_named")


def attacker_is(column: Any, attacker: str | None) -> list[ColumnElement[bool]]:
    """The filter for an address or a uuid."""
    if attacker is None:
        return []
    try:
        return [column == str(UUID(attacker))]
    except ValueError:
        address = normalize_ip(attacker)
        by_ip = select(_ATTACKER.c.attacker_uuid).where(_ATTACKER.c.ip == address)
        return [or_(column == attacker_id(address), column.in_(by_ip))]


def tag_stands() -> ColumnElement[bool]:
    """Condition on ``ttp_tag``: no other tag says the same or knows better."""
    return and_(_TAG.c.superseded_by.is_(None), _TAG.c.replaced_by.is_(None))


def tag_is_shown() -> ColumnElement[bool]:
    """Condition on ``ttp_tag`` outer-joined with ``session`` and ``attacker``: neither is marked.

    The session's mark decides where there is one, since it tells what was in force at that time.
    """
    mark = case((_SESSION.c.session_id.is_not(None), _SESSION.c.ignored_by), else_=_ATTACKER.c.ignored_by)
    return mark.is_(None)


def with_tag_identity(joined: FromClause) -> FromClause:
    """``ttp_tag`` with what :func:`tag_identity` needs: the identity of its attacker, or the one it names alone."""
    alone = and_(_TAG.c.attacker_uuid.is_(None), _NAMED.c.identity_uuid == _TAG.c.identity_uuid)
    owned = joined.outerjoin(_OWNER, _OWNER.c.attacker_uuid == _TAG.c.attacker_uuid)
    return owned.outerjoin(_NAMED, alone)


def tag_identity() -> ColumnElement[Any]:
    """The canonical identity of a tag as it is now; what the tag says itself is what it was when it was given."""
    names = (_OWNER.c.merged_into, _OWNER.c.identity_uuid, _NAMED.c.merged_into, _TAG.c.identity_uuid)
    return func.coalesce(*names)


def identity_is_named(column: Any, names: Collection[str]) -> ColumnElement[bool]:
    """Condition on a column of canonical identities: it is one of ``names``, or one of them was merged into it."""
    into = select(_IDENTITY.c.merged_into).where(
        _IDENTITY.c.identity_uuid.in_(names), _IDENTITY.c.merged_into.is_not(None)
    )
    return or_(column.in_(names), column.in_(into))


def identity_is_shown(column: Any) -> ColumnElement[bool]:
    """Condition on a column of identity uuids: not all attackers of the identity that are known are marked."""
    joined = _IDENTITY.join(_ATTACKER, _ATTACKER.c.attacker_uuid == _IDENTITY.c.attacker_uuid)
    marked = select(_IDENTITY.c.identity_uuid).select_from(joined)
    marked = marked.where(_ATTACKER.c.ignored_by.is_not(None), ~_has_shown_member(_IDENTITY.c.identity_uuid))
    return column.not_in(marked)  # type: ignore[no-any-return]


def _has_shown_member(identity: Any) -> ColumnElement[bool]:
    """Whether an identity whose attacker is not marked was merged into this one."""
    member, attacker = _IDENTITY.alias(), _ATTACKER.alias()
    joined = member.join(attacker, attacker.c.attacker_uuid == member.c.attacker_uuid)
    found = select(member.c.identity_uuid).select_from(joined)
    return found.where(member.c.merged_into == identity, attacker.c.ignored_by.is_(None)).exists()
