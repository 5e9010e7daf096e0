"""Repository, part intel: the budgets of services, what they said, and what they are to be asked.

What is asked, when and by whom is left to :mod:`decnet.intel`. The budget of a day never shrinks here, whoever
writes: two who asked at the same time have both asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import and_, case, delete, func, or_, select, tuple_, update

from decnet.db.repository.base import SqlRepository, chunks, greatest, insert_for, replace
from decnet.db.rows.intel import DueCount, DueQuestion, ServiceState, StoredAnswer
from decnet.db.tables import table

_SERVICE, _ANSWER, _DUE = table("intel_service"), table("intel_answer"), table("intel_due")
_ORDER = (_DUE.c.kind, _DUE.c.ts.desc(), _DUE.c.value)
Question = tuple[str, str, str]
"""Service, kind, value."""


class IntelMixin(SqlRepository):
    """``intel_service``, ``intel_answer``, ``intel_due``."""

    async def intel_services(self) -> list[ServiceState]:
        """The budgets, by service."""
        async with self._read() as session:
            return await self._rows(session, select(_SERVICE).order_by(_SERVICE.c.service), ServiceState)

    async def intel_keep(self, services: Iterable[ServiceState], answers: Iterable[StoredAnswer]) -> None:
        """Keeps budgets and answers, in one transaction."""
        newer = {"at": replace, "known": replace, "said": replace}
        async with self._write() as session:
            for row in services:
                await session.execute(self._counted(row))
            await self._upsert(
                session, _ANSWER, list(answers), newer, where=lambda new: _ANSWER.c.at <= new.at
            )

    def _counted(self, row: ServiceState) -> Any:
        """Of one day the more uses stay; those of a day before are over."""
        fresh = insert_for(self.db.dialect, _SERVICE).values(**row)
        new = fresh.excluded
        used = case(
            (_SERVICE.c.day < new.day, new.used), else_=greatest(_SERVICE.c.used, new.used, self.db.dialect)
        )
        values = {"day": new.day, "used": used, "failures": new.failures, "rest_until": new.rest_until}
        return fresh.on_conflict_do_update(index_elements=["service"], set_=values)

    async def intel_stored(self, questions: Sequence[Question]) -> list[StoredAnswer]:
        """The last answers to some questions, as far as there are any."""
        found: list[StoredAnswer] = []
        async with self._read() as session:
            for part in chunks(questions, 200):
                wanted = tuple_(_ANSWER.c.service, _ANSWER.c.kind, _ANSWER.c.value).in_(part)
                found += await self._rows(session, select(_ANSWER).where(wanted), StoredAnswer)
        return found

    async def intel_said_of(self, *values: str) -> list[StoredAnswer]:
        """What services said last of some things, by thing and service."""
        found: list[StoredAnswer] = []
        order = (_ANSWER.c.value, _ANSWER.c.service, _ANSWER.c.kind)
        async with self._read() as session:
            for part in chunks(sorted(set(values))):
                query = select(_ANSWER).where(_ANSWER.c.value.in_(part)).order_by(*order)
                found += await self._rows(session, query, StoredAnswer)
        return found

    async def intel_due_add(self, questions: Iterable[DueQuestion]) -> None:
        """Notes questions; one that waits already stays as it is, as new as its newest reason."""
        async with self._write() as session:
            await self._upsert(session, _DUE, list(questions), {"ts": greatest})

    async def intel_due_take(self, service: str, now: float, limit: int) -> list[DueQuestion]:
        """Questions for a service that may be asked at ``now`` (epoch seconds); they stay until done.

        Addresses come before files, and these before URLs, of which one attacker can name as many as it likes; of each
        the newest first.
        """
        query = select(_DUE).where(_DUE.c.service == service, _DUE.c.not_before <= now)
        async with self._read() as session:
            return await self._rows(session, query.order_by(*_ORDER).limit(limit), DueQuestion)

    async def intel_due_of(self, value: str) -> list[DueQuestion]:
        """Questions about something that wait, by service."""
        query = select(_DUE).where(_DUE.c.value == value).order_by(_DUE.c.service, _DUE.c.kind)
        async with self._read() as session:
            return await self._rows(session, query, DueQuestion)

    async def intel_due_done(self, questions: Iterable[Question]) -> set[Question]:
        """Takes questions back; those that were there still, so that of two who answer one only one tells."""
        gone: set[Question] = set()
        key = (_DUE.c.service, _DUE.c.kind, _DUE.c.value)
        async with self._write() as session:
            for part in chunks(sorted(set(questions)), 200):
                done = await session.execute(delete(_DUE).where(tuple_(*key).in_(part)).returning(*key))
                gone |= {(row[0], row[1], row[2]) for row in done}
        return gone

    async def intel_due_later(self, questions: Iterable[tuple[Question, int, float]]) -> None:
        """Questions that were tried so often wait until a moment (epoch seconds)."""
        async with self._write() as session:
            for (service, kind, value), tries, moment in questions:
                this = and_(_DUE.c.service == service, _DUE.c.kind == kind, _DUE.c.value == value)
                await session.execute(update(_DUE).where(this).values(tries=tries, not_before=moment))

    async def intel_due_counts(self, services: Sequence[str], now: float) -> list[DueCount]:
        """How many questions wait for each of some services; those without any are left out."""
        ready = func.sum(case((_DUE.c.not_before <= now, 1), else_=0))
        query = select(_DUE.c.service, func.count().label("waiting"), ready.label("ready"))
        query = query.where(_DUE.c.service.in_(services)).group_by(_DUE.c.service).order_by(_DUE.c.service)
        async with self._read() as session:
            rows = await session.execute(query)
            return [DueCount(service=name, waiting=int(all_), ready=int(now_)) for name, all_, now_ in rows]

    async def intel_due_trim(self, service: str, most: int) -> int:
        """Drops the questions for a service beyond a number, those that would be asked last; how many."""
        query = select(_DUE.c.kind, _DUE.c.ts, _DUE.c.value).where(_DUE.c.service == service)
        async with self._write() as session:
            first = (await session.execute(query.order_by(*_ORDER).offset(most).limit(1))).first()
            if first is None:
                return 0
            kind, ts, value = (_DUE.c[name] for name in ("kind", "ts", "value"))
            same = and_(ts == first.ts, value >= first.value)
            beyond = or_(kind > first.kind, and_(kind == first.kind, or_(ts < first.ts, same)))
            gone: Any = await session.execute(delete(_DUE).where(_DUE.c.service == service, beyond))
            return int(gone.rowcount)
