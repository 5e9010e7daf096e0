"""Repository, part ties: what sources of a span share with sources that were known before it.

What counts is what linking knows addresses by: keys, files, scripts, hosts, tunnels, clients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from decnet.db.repository.base import shaped
from decnet.db.repository.conditions import attacker_is_shown
from decnet.db.rows.since import Tie
from decnet.db.tables import table

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

_TERM, _VALUE = table("link_term"), table("link_value")
FAMILIES = ("key", "sha256", "script", "tunnel", "host", "client")
"""What may be shared, from what says most to what says least."""
TIED = 5
"""Sources that are asked about: the first to be read."""
COUNTED = 1000
"""Known sources that are counted at most for one value; common clients are at all of them."""
MAX_TIES = 50


async def ties_of(session: AsyncSession, sources: Sequence[str], begin: datetime, marked: bool) -> list[Tie]:
    """What each of the sources (by id) shares with addresses that had it before ``begin``; ignored ones left out.

    Most telling first: by family, then the value that the fewest have; of very many those that the fewest have are told.
    """
    if not sources or begin.timestamp() <= 0:
        return []
    other = _VALUE.alias("other")
    same = (
        other.c.term_id == _VALUE.c.term_id,
        other.c.attacker_uuid != _VALUE.c.attacker_uuid,
        other.c.first_at < begin.timestamp(),
    )
    hidden = [attacker_is_shown(other.c.attacker_uuid)] if marked else []
    some = (
        select(other.c.attacker_uuid).where(*same, *hidden).correlate(_VALUE).limit(COUNTED).subquery("some")
    )
    count: Any = select(func.count()).select_from(some).correlate(_VALUE).scalar_subquery()
    rows = (
        select(_VALUE.c.attacker_uuid, _TERM.c.family, _TERM.c.value, count.label("sources"))
        .select_from(_VALUE.join(_TERM, _TERM.c.term_id == _VALUE.c.term_id))
        .where(_VALUE.c.attacker_uuid.in_(sources[:TIED]), _TERM.c.family.in_(FAMILIES))
        .subquery("shared")
    )
    order = (rows.c.sources, rows.c.family, rows.c.value, rows.c.attacker_uuid)
    found = await session.execute(select(rows).where(rows.c.sources > 0).order_by(*order).limit(MAX_TIES))
    ties = [shaped(Tie, {**row, "sources": int(row["sources"])}) for row in found.mappings()]
    place = {name: number for number, name in enumerate((*FAMILIES, *sources))}
    return sorted(
        ties,
        key=lambda tie: (place[tie["family"]], tie["sources"], tie["value"], place[tie["attacker_uuid"]]),
    )
