"""Repository, part told: what attackers amount to, for lists of them; the worst of their sessions, files, opinions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Table, and_, func, select

from decnet.db.repository.base import SqlRepository
from decnet.db.repository.conditions import among, session_is_shown
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
            theirs = self._theirs(attackers)
            for uuid, severity, line in await session.execute(_worst(theirs(_STORY), ignored)):
                found[uuid] = {**NOTHING_TOLD, "severity": severity, "did": line}
            for uuid, files in (await _things(session, theirs(_SESSION), "hash", ignored)).items():
                found[uuid] = {**found.get(uuid, NOTHING_TOLD), "files": files}
            for uuid, answers in (await _answers(session, theirs(_INTEL))).items():
                found[uuid] = {**found.get(uuid, NOTHING_TOLD), "answers": answers}
        return found

    async def things_by_attacker(
        self, attackers: Sequence[str], kind: str, ignored: bool = False
    ) -> dict[str, list[str]]:
        """Hosts that sessions of some attackers fetched from, or hashes of files (``host``, ``hash``, ``key``).

        Who had none is left out.
        """
        async with self._read() as session:
            return await _things(session, self._theirs(attackers)(_SESSION), kind, ignored)

    def _theirs(self, attackers: Sequence[str]) -> Callable[[Table], ColumnElement[bool]]:
        """The condition that a row of a table is of one of them."""
        return lambda table: among(table.c.attacker_uuid, attackers, self.db.dialect)


def _shown(ignored: bool) -> list[Any]:
    return [] if ignored else [_SESSION.c.ignored_by.is_(None)]


def _worst(theirs: ColumnElement[bool], ignored: bool) -> Any:
    place = func.row_number().over(
        partition_by=_STORY.c.attacker_uuid,
        order_by=(_STORY.c.rank, _STORY.c.seen_at.desc(), _STORY.c.session_id),
    )
    shown = [] if ignored else [session_is_shown(_STORY.c.session_id)]
    ranked = (
        select(_STORY.c.attacker_uuid, _STORY.c.severity, _STORY.c.line, place.label("place"))
        .where(and_(theirs, *shown))
        .subquery()
    )
    return select(ranked.c.attacker_uuid, ranked.c.severity, ranked.c.line).where(ranked.c.place == 1)


async def _things(
    session: AsyncSession, theirs: ColumnElement[bool], kind: str, ignored: bool
) -> dict[str, list[str]]:
    joined = _SESSION.join(_THING, _THING.c.session_id == _SESSION.c.session_id)
    query = (
        select(_SESSION.c.attacker_uuid, _THING.c.value)
        .select_from(joined)
        .where(theirs, _THING.c.kind == kind, *_shown(ignored))
        .distinct()
        .order_by(_SESSION.c.attacker_uuid, _THING.c.value)
    )
    found: dict[str, list[str]] = defaultdict(list)
    for uuid, value in await session.execute(query):
        found[uuid].append(value)
    return found


async def _answers(session: AsyncSession, theirs: ColumnElement[bool]) -> dict[str, list[Answer]]:
    columns = [_INTEL.c[name] for name in ("attacker_uuid", "ts", "payload", "parts")]
    rows = await session.execute(select(*columns).where(theirs))
    return {uuid: answers_in(parts or parts_of(ts, payload or {})) for uuid, ts, payload, parts in rows}
