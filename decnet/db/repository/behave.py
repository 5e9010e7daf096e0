"""Repository, part behave: observations that replace older ones, extracted sessions, waiting parts.

A session stands in ``observation`` with one extraction only, the one of the greatest rank, so that
a merge never counts it twice.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import and_, delete, select

from decnet.db.repository.base import Row, SqlRepository, chunks, insert_for, replace
from decnet.db.repository.locks import attacker_lock
from decnet.db.rows.behave import ExtractedSession, ObservationFacts, PartOfSession
from decnet.db.tables import table

_OBSERVATION, _META = table("observation"), table("schema_meta")
_DONE, _PART = table("behave_session"), table("behave_part")
_OBSERVATION_NS = uuid5(NAMESPACE_URL, "decnet:observation:v1")
_OBSERVATION_COLUMNS = tuple(
    column.name for column in _OBSERVATION.columns if column.name != "observation_id"
)
_VALUES = ("value", "confidence", "ts", "window_start", "window_end")
_KEPT = ("identity_uuid", "attacker_uuid", "session_id", "source", *_VALUES)
_KEY = "hash_key"


class BehaveMixin(SqlRepository):
    """``behave_session``, ``behave_part``, and ``observation`` as the behave worker writes it."""

    async def hash_key(self) -> bytes:
        """The secret of this database under which features are hashed; made at first use."""
        query = select(_META.c.value).where(_META.c.key == _KEY)
        async with self._write() as session:
            await self._upsert(session, _META, [{"key": _KEY, "value": secrets.token_hex(32)}])
            return bytes.fromhex(str((await session.execute(query)).scalar_one()))

    async def lock_attackers(self, attackers: Iterable[str]) -> None:
        """Makes transactions that summarise the same attackers wait for each other (PostgreSQL)."""
        if self.db.dialect != "postgresql":
            return
        async with self._write() as session:
            await self._serialise(session, *map(attacker_lock, attackers))

    async def extracted_sessions(self, session_ids: Collection[str]) -> dict[str, ExtractedSession]:
        """The rows of ``behave_session`` of these sessions, by session_id."""
        out: dict[str, ExtractedSession] = {}
        async with self._read() as session:
            for part in chunks(sorted(session_ids)):
                query = select(_DONE).where(_DONE.c.session_id.in_(part))
                rows = await self._rows(session, query, ExtractedSession)
                out |= {row["session_id"]: row for row in rows}
        return out

    async def upsert_extracted_sessions(self, rows: Sequence[ExtractedSession]) -> None:
        """Keeps rows of ``behave_session``; a row of a lower rank than the stored one changes nothing."""
        merge = {column.name: replace for column in _DONE.columns if column.name != "session_id"}
        async with self._write() as session:
            await self._upsert(session, _DONE, rows, merge, lambda new: new.rank >= _DONE.c.rank)

    async def outdated_sessions(self, version: int, limit: int) -> list[str]:
        """Sessions extracted by an older version than this one, the newest sessions first."""
        query = select(_DONE.c.session_id).where(_DONE.c.version < version)
        async with self._read() as session:
            found = await session.execute(query.order_by(_DONE.c.started_at.desc()).limit(limit))
            return list(found.scalars())

    async def forget_extracted_sessions(self, session_ids: Sequence[str]) -> None:
        """Deletes rows of ``behave_session``: the session itself is gone."""
        async with self._write() as session:
            for part in chunks(session_ids):
                await session.execute(delete(_DONE).where(_DONE.c.session_id.in_(part)))

    async def sessions_around(
        self, attacker: str, moment: float, limit: int
    ) -> tuple[list[ExtractedSession], list[ExtractedSession]]:
        """Extracted sessions of an attacker in order of (started_at, session_id).

        At most ``limit`` that started before ``moment`` (epoch seconds), and as many from then on.
        """
        own = _DONE.c.attacker_uuid == attacker
        order = (_DONE.c.started_at, _DONE.c.session_id)
        before = select(_DONE).where(own, _DONE.c.started_at < moment)
        before = before.order_by(*(column.desc() for column in order)).limit(limit)
        after = select(_DONE).where(own, _DONE.c.started_at >= moment).order_by(*order).limit(limit)
        async with self._read() as session:
            earlier = await self._rows(session, before, ExtractedSession)
            return earlier[::-1], await self._rows(session, after, ExtractedSession)

    async def add_session_parts(self, rows: Sequence[PartOfSession]) -> None:
        """Keeps parts (session_id, generation, part, parts, body); one that is there already stays."""
        async with self._write() as session:
            await self._upsert(session, _PART, rows)

    async def session_parts(self, session_id: str, generation: str) -> list[PartOfSession]:
        """The parts of one ending that are there, in order."""
        query = select(_PART).where(_PART.c.session_id == session_id, _PART.c.generation == generation)
        async with self._read() as session:
            return await self._rows(session, query.order_by(_PART.c.part), PartOfSession)

    async def forget_session_parts(self, session_ids: Sequence[str]) -> None:
        """Deletes the parts of sessions that are extracted."""
        async with self._write() as session:
            for part in chunks(session_ids):
                await session.execute(delete(_PART).where(_PART.c.session_id.in_(part)))

    async def replace_observations(
        self,
        rows: Sequence[ObservationFacts],
        *,
        refs: Collection[str],
        sessions: Collection[str],
        source: str,
    ) -> list[ObservationFacts]:
        """Makes ``rows`` the only ones of ``source`` with these evidence_refs or sessions.

        Rows have the columns of ``observation`` but its id. Returns those that were not there exactly so.
        """
        wanted = {_row_id(row): row for row in rows}
        async with self._write() as session:
            stored = await self._stored(session, refs, sessions, source)
            gone = sorted(stored.keys() - wanted.keys())
            for part in chunks(gone):
                await session.execute(delete(_OBSERVATION).where(_OBSERVATION.c.observation_id.in_(part)))
            fresh = {key: row for key, row in wanted.items() if _differs(stored.get(key), row)}
            merge = dict.fromkeys(_KEPT, replace)
            new = [{"observation_id": key, **row} for key, row in fresh.items()]
            await self._upsert(session, _OBSERVATION, new, merge)
        return list(fresh.values())

    async def insert_observations(self, observations: Sequence[Mapping[str, object]]) -> list[str]:
        """Stores observations (column names as keys); ids of those really inserted.

        Needs evidence_ref, primitive and ts (epoch seconds); the first two are the identity.
        Raises ValueError when one is missing.
        """
        rows = {row["observation_id"]: row for row in map(_observation_row, observations)}
        if not rows:
            return []
        fresh = insert_for(self.db.dialect, _OBSERVATION).on_conflict_do_nothing()
        async with self._write() as session:
            ordered = [rows[key] for key in sorted(rows)]
            done = await session.execute(fresh.returning(_OBSERVATION.c.observation_id), ordered)
            return list(done.scalars())

    async def _stored(
        self, session: Any, refs: Collection[str], sessions: Collection[str], source: str
    ) -> dict[str, Row]:
        out: dict[str, Row] = {}
        for column, keys in ((_OBSERVATION.c.evidence_ref, refs), (_OBSERVATION.c.session_id, sessions)):
            for part in chunks(sorted(keys)):
                own = and_(column.in_(part), _OBSERVATION.c.source == source)
                found = await self._rows(session, select(_OBSERVATION).where(own))
                out |= {row["observation_id"]: row for row in found}
        return out


def _row_id(row: Mapping[str, object]) -> str:
    key = f"{row['evidence_ref']}|{row['primitive']}".encode("utf-8", "replace").decode()
    return str(uuid5(_OBSERVATION_NS, key))


def _differs(stored: Row | None, row: Mapping[str, object]) -> bool:
    return stored is None or any(stored[name] != row[name] for name in _VALUES)


def _observation_row(observation: Mapping[str, object]) -> Row:
    missing = [name for name in ("evidence_ref", "primitive", "ts") if observation.get(name) is None]
    if missing:
        raise ValueError(f"an observation needs {', '.join(missing)}")
    row = {name: observation.get(name) for name in _OBSERVATION_COLUMNS}
    return {**row, "observation_id": _row_id(observation)}
