"""Conditions that queries of several subjects share: whose rows, and whether they are shown."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, or_, select

from decnet.db.schema.columns import table_of
from decnet.db.schema.recorder import Attacker, Identity, SessionRow
from decnet.db.schema.ttp import TTPTag
from decnet.ids import attacker_id, normalize_ip

_ATTACKER, _SESSION, _IDENTITY = table_of(Attacker), table_of(SessionRow), table_of(Identity)
_TAG = table_of(TTPTag)


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


def identity_is_shown(column: Any) -> ColumnElement[bool]:
    """Condition on a column of identity uuids: the identity's own attacker is not marked."""
    joined = _IDENTITY.join(_ATTACKER, _ATTACKER.c.attacker_uuid == _IDENTITY.c.attacker_uuid)
    marked = select(_IDENTITY.c.identity_uuid).select_from(joined).where(_ATTACKER.c.ignored_by.is_not(None))
    return column.not_in(marked)  # type: ignore[no-any-return]
