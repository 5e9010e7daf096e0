"""Repository, part told: what attackers amount to, for lists of them; the worst of their sessions, files, opinions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, select

from decnet.db.repository.base import SqlRepository, chunks
from decnet.db.repository.conditions import session_is_shown
from decnet.db.rows.lists import AttackerTold
from decnet.db.tables import table
from decnet.events.intel import Answer, answers_in, parts_of

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_SESSION, _STORY, _THING = table("session"), table("session_story"), table("session_thing")
_INTEL = table("attacker_intel")
NOTHING_TOLD: AttackerTold = {"severity": None, "did": None, "files": [], "answers": []}


class ToldMixin(SqlRepository):
    """Questions over ``session_story``, ``session_thing`` and ``attacker_intel``."""

    async def attackers_told(
        self, attackers: Sequence[str], ignored: bool = False
    ) -> dict[str, AttackerTold]:
        """By attacker: the worst severity, the story of the newest session that has it, hashes of files, opinions.

        Whoever has none of these is left out. Sessions of ignored sources count only with ``ignored``.
        """
        found: dict[str, AttackerTold] = {}
        async with self._read() as session:
            for part in chunks(attackers):
                for uuid, severity, line in await session.execute(_worst(part, ignored)):
                    found[uuid] = {**NOTHING_TOLD, "severity": severity, "did": line}
                for uuid, files in (await _things(session, part, "hash", ignored)).items():
                    found[uuid] = {**found.get(uuid, NOTHING_TOLD), "files": files}
                for uuid, answers in (await _answers(session, part)).items():
                    found[uuid] = {**found.get(uuid, NOTHING_TOLD), "answers": answers}
        return found

    async def hosts_by_attacker(
        self, attackers: Sequence[str], ignored: bool = False
    ) -> dict[str, list[str]]:
        """Hosts that sessions of some attackers fetched from; who fetched nothing is left out."""
        found: dict[str, list[str]] = {}
        async with self._read() as session:
            for part in chunks(attackers):
                found |= await _things(session, part, "host", ignored)
        return found


def _shown(ignored: bool) -> list[Any]:
    return [] if ignored else [_SESSION.c.ignored_by.is_(None)]


def _worst(attackers: Sequence[str], ignored: bool) -> Any:
    place = func.row_number().over(
        partition_by=_STORY.c.attacker_uuid,
        order_by=(_STORY.c.rank, _STORY.c.seen_at.desc(), _STORY.c.session_id),
    )
    shown = [] if ignored else [session_is_shown(_STORY.c.session_id)]
    ranked = (
        select(_STORY.c.attacker_uuid, _STORY.c.severity, _STORY.c.line, place.label("place"))
        .where(and_(_STORY.c.attacker_uuid.in_(attackers), *shown))
        .subquery()
    )
    return select(ranked.c.attacker_uuid, ranked.c.severity, ranked.c.line).where(ranked.c.place == 1)


async def _things(
    session: AsyncSession, attackers: Sequence[str], kind: str, ignored: bool
) -> dict[str, list[str]]:
    joined = _SESSION.join(_THING, _THING.c.session_id == _SESSION.c.session_id)
    query = (
        select(_SESSION.c.attacker_uuid, _THING.c.value)
        .select_from(joined)
        .where(_SESSION.c.attacker_uuid.in_(attackers), _THING.c.kind == kind, *_shown(ignored))
        .distinct()
        .order_by(_SESSION.c.attacker_uuid, _THING.c.value)
    )
    found: dict[str, list[str]] = defaultdict(list)
    for uuid, value in await session.execute(query):
        found[uuid].append(value)
    return found


async def _answers(session: AsyncSession, attackers: Sequence[str]) -> dict[str, list[Answer]]:
    columns = [_INTEL.c[name] for name in ("attacker_uuid", "ts", "payload", "parts")]
    rows = await session.execute(select(*columns).where(_INTEL.c.attacker_uuid.in_(attackers)))
    return {uuid: answers_in(parts or parts_of(ts, payload or {})) for uuid, ts, payload, parts in rows}
