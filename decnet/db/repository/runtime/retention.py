"""Repository, part retention: what is older than a moment leaves, in small transactions.

A session leaves with its commands, credentials, tags, parts and observations; an attacker when nothing
of it is left. Event time decides, except for what has only the wall clock (dead letters).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Table, delete, func, or_, select, update

from decnet.db.repository.base import Row, SqlRepository
from decnet.db.repository.locks import lock_rows
from decnet.db.repository.runtime.hours import hour_of
from decnet.db.rows.notes import SOURCE
from decnet.db.tables import every_table, table
from decnet.db.types import as_utc, utcnow
from decnet.events.intel import merged, since

_ATTACKER, _SESSION = table("attacker"), table("session")
_CREDENTIAL, _PRINT = table("credential"), table("fingerprint")
_OBSERVATION, _RECORDING, _TAG = table("observation"), table("recording"), table("ttp_tag")
_IDENTITY, _DEAD, _TOLD = table("identity"), table("dead_letter"), table("announcement")
_MUTATION, _GONE = table("mutation"), table("link_gone")
_INTEL, _DUE, _MAIL = table("attacker_intel"), table("producer_due"), table("email_body")
_TRIP, _NOTE = table("canary_trigger"), table("note")
_HOURS = table("hour_count")
_LATER = _HOURS.alias("later")
_ASKED, _TO_ASK = table("intel_answer"), table("intel_due")
AT_ONCE = 500
"""Rows of one transaction; SQLite's other writers wait for it."""
ANSWERS = "attacker_intel answers"
"""Name under which answers are counted that leave a row of others; it is none of a table."""
_OF_IDENTITIES = ("attribution_state", "attribution_past", "multi_actor_evidence", "identity_link")
GRACE = timedelta(hours=1)
"""A younger tag may be ahead of its attacker's row."""
Progress = Callable[[str, int], None]


class RetentionMixin(SqlRepository):
    """Deletes by age."""

    async def purge_older(self, before: datetime | float, progress: Progress | None = None) -> dict[str, int]:
        """Deletes what ended before a moment; rows deleted by table. Interrupted, it goes on next time."""
        moment = as_utc(before)
        assert moment is not None
        done: dict[str, int] = {}
        last = func.coalesce(_SESSION.c.ended_at, _SESSION.c.started_at)
        await self._purge(done, progress, _SESSION.c.session_id, last < moment, self._with_session)
        epoch = moment.timestamp()
        for key, old in (
            (_CREDENTIAL.c.credential_id, _CREDENTIAL.c.last_seen < moment),
            (_PRINT.c.fingerprint_id, _PRINT.c.last_seen < moment),
            (_OBSERVATION.c.observation_id, _OBSERVATION.c.ts < epoch),
            (_INTEL.c.attacker_uuid, _INTEL.c.ts < epoch),
            (_MAIL.c.source_id, _MAIL.c.ts < epoch),
            (_ASKED.c.value, _ASKED.c.at < epoch),
            (_TO_ASK.c.value, _TO_ASK.c.ts < epoch),
            (_DEAD.c.id, _DEAD.c.ts < moment),
            (_ATTACKER.c.attacker_uuid, _forgotten(moment)),
            (_IDENTITY.c.identity_uuid, _left_behind()),
            (_IDENTITY.c.identity_uuid, _nobodys()),
            (_TAG.c.uuid, _orphaned(moment)),
            (_TRIP.c.trigger_id, _TRIP.c.last_at < moment),
            (_MUTATION.c.seq, _MUTATION.c.finished_at < moment),
            (_RECORDING.c.key, ~select(1).where(_SESSION.c.keystrokes_ref == _RECORDING.c.key).exists()),
        ):
            await self._purge(done, progress, key, old, self._with_attacker)
        await self._purge_answers(done, progress, epoch)
        done[_HOURS.name] = await self._purge_hours(hour_of(epoch))
        return done

    async def _purge_hours(self, before: int) -> int:
        """Hours leave, but not the last of each counter: what it stood at is where the next hour goes on from."""
        newer = select(1).where(
            _LATER.c.name == _HOURS.c.name, _LATER.c.hour > _HOURS.c.hour, _LATER.c.hour < before
        )
        async with self._write() as session:
            old = delete(_HOURS).where(_HOURS.c.hour < before, newer.correlate(_HOURS).exists())
            gone: Any = await session.execute(old)
        return int(gone.rowcount)

    async def _purge_answers(self, done: dict[str, int], progress: Progress | None, epoch: float) -> None:
        """What a provider said longer ago leaves, though another one said something since."""
        rows = AT_ONCE
        while rows == AT_ONCE:
            async with self.transaction() as bound, bound._write() as session:
                old = select(_INTEL.c.attacker_uuid).where(_INTEL.c.oldest < epoch, _INTEL.c.ts >= epoch)
                ids = list((await session.execute(old.limit(AT_ONCE))).scalars())
                await lock_rows(session, _INTEL.c.attacker_uuid, ids)
                query = select(_INTEL.c.attacker_uuid, _INTEL.c.parts).where(_INTEL.c.attacker_uuid.in_(ids))
                for uuid, parts in (await session.execute(query)).tuples().all():
                    kept = since(parts, epoch)
                    new = update(_INTEL).where(_INTEL.c.attacker_uuid == uuid)
                    await session.execute(new.values(**merged(kept)._asdict(), parts=kept))
                    done[ANSWERS] = done.get(ANSWERS, 0) + len(parts) - len(kept)
            rows = len(ids)
            if progress and ids:
                progress(ANSWERS, rows)

    async def _purge(
        self, done: dict[str, int], progress: Progress | None, key: Any, old: Any, also: Any
    ) -> None:
        """Pages of one table, each with what hangs on it, each in a transaction of its own."""
        table = key.table
        while True:
            async with self.transaction() as bound, bound._write() as session:
                ids = list((await session.execute(select(key).where(old).limit(AT_ONCE))).scalars())
                counts = await also(session, table, ids) if ids else {}
                # A key may be shared (two tellings of one mail): only what is old itself leaves.
                gone: Any = await session.execute(delete(table).where(key.in_(ids), old))
            for name, count in {table.name: gone.rowcount, **counts}.items():
                done[name] = done.get(name, 0) + count
            if progress and ids:
                progress(table.name, len(ids))
            if len(ids) < AT_ONCE:
                return

    async def _with_session(self, session: Any, _table: Table, ids: list[str]) -> Row:
        counts = {}
        for found in _of_sessions():
            gone = delete(found).where(found.c.session_id.in_(ids))
            counts[found.name] = (await session.execute(gone)).rowcount
        return counts

    async def _with_attacker(self, session: Any, table: Table, ids: list[str]) -> Row:
        """What is told once may be told again of an attacker that is as good as new; linking has to forget it."""
        if table is _IDENTITY:
            await self._without_identities(session, ids)
        if table is not _ATTACKER:
            return {}
        await self._upsert(session, _GONE, [{"attacker_uuid": uuid} for uuid in ids])
        await session.execute(delete(_DUE).where(_DUE.c.attacker_uuid.in_(ids)))
        await session.execute(delete(_TO_ASK).where(_TO_ASK.c.attacker_uuid.in_(ids)))
        await session.execute(delete(_NOTE).where(_NOTE.c.about == SOURCE, _NOTE.c.target.in_(ids)))
        gone = list((await session.execute(_needed_no_more(ids))).scalars())
        await self._without_identities(session, gone)
        await session.execute(delete(_IDENTITY).where(_IDENTITY.c.identity_uuid.in_(gone)))
        for uuid in ids:
            await session.execute(
                delete(_TOLD).where(_TOLD.c.key.startswith(f"scored|{uuid}|", autoescape=True))
            )
        return {}

    async def _without_identities(self, session: Any, identities: list[str]) -> None:
        """Deletes what is known of identities that leave."""
        for found in map(table, _OF_IDENTITIES):
            await session.execute(delete(found).where(found.c.identity_uuid.in_(identities)))


def _of_sessions() -> list[Table]:
    """Every table that names sessions, whoever it belongs to; recordings may be shared and go by themselves."""
    return [
        t for t in every_table().values() if "session_id" in t.columns and t not in (_SESSION, _RECORDING)
    ]


def _needed_no_more(attackers: list[str]) -> Any:
    """Identities of attackers that leave, but for those that the identity of another one was merged into."""
    members = _IDENTITY.alias()
    others = or_(members.c.attacker_uuid.is_(None), members.c.attacker_uuid.not_in(attackers))
    needed = select(1).where(members.c.merged_into == _IDENTITY.c.identity_uuid, others).exists()
    return select(_IDENTITY.c.identity_uuid).where(_IDENTITY.c.attacker_uuid.in_(attackers), ~needed)


def _is_gone(identity: Any) -> Any:
    """Of an identity that had an attacker, that it is no more."""
    known = select(1).where(_ATTACKER.c.attacker_uuid == identity.c.attacker_uuid).exists()
    return identity.c.attacker_uuid.is_not(None) & ~known


def _left_behind() -> Any:
    """Identities that stood for others when their attacker left, and stand for nobody now."""
    members = _IDENTITY.alias()
    needed = select(1).where(members.c.merged_into == _IDENTITY.c.identity_uuid, ~_is_gone(members)).exists()
    return _is_gone(_IDENTITY) & _IDENTITY.c.merged_into.is_(None) & ~needed


def _nobodys() -> Any:
    """Identities of nobody that were merged into one which has left."""
    winner = _IDENTITY.alias()
    there = select(1).where(winner.c.identity_uuid == _IDENTITY.c.merged_into).exists()
    return _is_gone(_IDENTITY) & _IDENTITY.c.merged_into.is_not(None) & ~there


def _forgotten(moment: datetime) -> Any:
    """An attacker last seen before, of whom no session or credential is left.

    One that was never seen itself is known from its intel alone, and stays as long as that.
    """
    sessions, credentials, intel = (
        select(1).where(table.c.attacker_uuid == _ATTACKER.c.attacker_uuid).exists()
        for table in (_SESSION, _CREDENTIAL, _INTEL)
    )
    seen = or_(_ATTACKER.c.last_seen < moment, _ATTACKER.c.last_seen.is_(None) & ~intel)
    return seen & ~sessions & ~credentials


def _orphaned(moment: datetime) -> Any:
    """An old tag without session whose attacker is gone, or was never more than a name in a mail or a canary.

    A tag of an identity alone goes by that one.
    """
    attacker = select(1).where(_ATTACKER.c.attacker_uuid == _TAG.c.attacker_uuid).exists()
    identity = select(1).where(_IDENTITY.c.identity_uuid == _TAG.c.identity_uuid).exists()
    settled = _TAG.c.created_at < min(moment, utcnow() - GRACE)
    known = attacker | (_TAG.c.attacker_uuid.is_(None) & identity)
    return settled & _TAG.c.session_id.is_(None) & ~known
