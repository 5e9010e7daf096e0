"""Repository, part told: what attackers amount to, for lists of them; the worst of their sessions, files, opinions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Table, select

from decnet.db.repository.base import SqlRepository
from decnet.db.repository.conditions import among, each_of, had_kind, session_is_shown
from decnet.db.rows.lists import AttackerTold
from decnet.db.tables import table
from decnet.events.intel import Answer, answers_in, parts_of

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_STORY, _THING = table("session_story"), table("session_thing")
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
        theirs = self._theirs(attackers)
        worst = _worst(attackers, ignored, self.db.dialect)
        stories, files, answers = await self._at_once(
            lambda: self._asked(lambda session: _stories(session, worst)),
            lambda: self._asked(lambda session: _things(session, theirs(_STORY), "hash", ignored)),
            lambda: self._asked(lambda session: _answers(session, theirs(_INTEL))),
        )
        found: dict[str, AttackerTold] = {}
        for uuid, severity, line in stories:
            found[uuid] = {**NOTHING_TOLD, "severity": severity, "did": line}
        for uuid, some in files.items():
            found[uuid] = {**found.get(uuid, NOTHING_TOLD), "files": some}
        for uuid, said in answers.items():
            found[uuid] = {**found.get(uuid, NOTHING_TOLD), "answers": said}
        return found

    async def things_by_attacker(
        self, attackers: Sequence[str], kind: str, ignored: bool = False
    ) -> dict[str, list[str]]:
        """Hosts that sessions of some attackers fetched from, or hashes of files (``host``, ``hash``, ``key``).

        Who had none is left out.
        """
        async with self._read() as session:
            return await _things(session, self._theirs(attackers)(_STORY), kind, ignored)

    def _theirs(self, attackers: Sequence[str]) -> Callable[[Table], ColumnElement[bool]]:
        """The condition that a row of a table is of one of them."""
        return lambda table: among(table.c.attacker_uuid, attackers, self.db.dialect)


def _shown(ignored: bool) -> list[ColumnElement[bool]]:
    return [] if ignored else [session_is_shown(_STORY.c.session_id)]


def _worst(attackers: Sequence[str], ignored: bool, dialect: str) -> Any:
    """The story of the newest of the worst sessions of each: found by the index of sources, which has them in that order."""
    each, own = each_of(attackers, dialect), _STORY.alias("own")
    found = select(own.c.session_id).where(own.c.attacker_uuid == each.c.value)
    if not ignored:
        found = found.where(session_is_shown(own.c.session_id))
    found = found.order_by(own.c.rank, own.c.seen_at.desc(), own.c.session_id).limit(1)
    joined = each.join(_STORY, _STORY.c.session_id == found.correlate(each).scalar_subquery())
    return select(_STORY.c.attacker_uuid, _STORY.c.severity, _STORY.c.line).select_from(joined)


async def _stories(session: AsyncSession, worst: Any) -> Sequence[Any]:
    return (await session.execute(worst)).all()


async def _things(
    session: AsyncSession, theirs: ColumnElement[bool], kind: str, ignored: bool
) -> dict[str, list[str]]:
    """Things of judged sessions: whatever has things has a story, and the index of stories names its sessions."""
    joined = _STORY.join(_THING, _THING.c.session_id == _STORY.c.session_id)
    query = (
        select(_STORY.c.attacker_uuid, _THING.c.value)
        .select_from(joined)
        .where(theirs, had_kind(kind), *_shown(ignored))
    )
    found: dict[str, set[str]] = defaultdict(set)
    for uuid, value in (await session.execute(query)).all():
        found[uuid].add(value)
    return {uuid: sorted(found[uuid]) for uuid in sorted(found)}


async def _answers(session: AsyncSession, theirs: ColumnElement[bool]) -> dict[str, list[Answer]]:
    columns = [_INTEL.c[name] for name in ("attacker_uuid", "ts", "payload", "parts")]
    rows = await session.execute(select(*columns).where(theirs))
    return {uuid: answers_in(parts or parts_of(ts, payload or {})) for uuid, ts, payload, parts in rows}
