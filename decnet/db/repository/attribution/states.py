"""Repository, part attribution: observations as the mergers read them, states, session features, verdicts.

Every read is bounded by a number of rows for each attacker, so that a long history costs no more
than a short one. Alerts and lists are in ``alerts.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import bindparam, func, or_, select, true, update

from decnet.db.repository.attribution.windows import Asked, Key, read_windows
from decnet.db.repository.base import Row, SqlRepository, chunks, insert_for, replace, shaped
from decnet.db.repository.locks import LOCK_MERGES, lock_rows
from decnet.db.repository.recorder.attackers import AttackersMixin
from decnet.db.rows.attribution import (
    Explanation,
    ObservedValue,
    PrimitiveState,
    SessionFeatures,
    SuspectedIdentity,
    VerdictRow,
)
from decnet.db.tables import table
from decnet.hostile import storable_text

_ATTACKER, _IDENTITY, _STATE = table("attacker"), table("identity"), table("attribution_state")
_FEATURE, _EVIDENCE = table("session_feature"), table("multi_actor_evidence")
_PAST = table("attribution_past")
FAMILY_COLUMNS = ("client", "playbook", "tempo", "credentials", "typing", "habit", "hours")
_FEATURE_COLUMNS = ("session_id", "attacker_uuid", "identity_uuid", "started_at", "ended_at", "rank")
_STATE_COLUMNS = tuple(_STATE.c.keys())
_PAST_COLUMNS = tuple(_PAST.c.keys())
_NOTHING_SEEN: Row = {
    "current_value": None,
    "confidence": 0.0,
    "observation_count": 0,
    "last_observation_ts": None,
}
ROWS_READ = 10
"""Observations read for a merge; attribution.md, "bounded reads"."""
SESSIONS_READ = 64
"""Sessions read for the multi-actor test (MULTI_ACTOR_SESSIONS)."""


def _gone() -> Any:
    return _STATE.delete().where(
        _STATE.c.identity_uuid == bindparam("who"), _STATE.c.primitive == bindparam("what")
    )


class StatesMixin(AttackersMixin, SqlRepository):
    """``attribution_state``, ``session_feature``, ``multi_actor_evidence``; reads ``observation``."""

    async def identities_of_attackers(self, attacker_uuids: Iterable[str]) -> dict[str, str]:
        """Canonical identity of every attacker that is known, formed when need be; the others are left out."""
        wanted = sorted(set(map(storable_text, attacker_uuids)))
        async with self.transaction() as bound:
            found = await bound._formed(wanted)
            missing = [attacker for attacker, identity in found.items() if identity is None]
            if missing:
                await bound.form_identities(missing, alone=True)
                found |= await bound._formed(missing)
        return {attacker: identity for attacker, identity in sorted(found.items()) if identity is not None}

    async def _formed(self, attacker_uuids: Sequence[str]) -> dict[str, str | None]:
        """Known attackers with their canonical identity, None when it is not formed yet.

        An attacker whose address was folded lives on in its identity alone.
        """
        out: dict[str, str | None] = {}
        canonical = func.coalesce(_IDENTITY.c.merged_into, _IDENTITY.c.identity_uuid)
        async with self._read() as session:
            for part in chunks(attacker_uuids):
                formed = select(_IDENTITY.c.attacker_uuid, canonical)
                rows = await session.execute(formed.where(_IDENTITY.c.attacker_uuid.in_(part)))
                out |= dict(rows.tuples().all())
                if left := [attacker for attacker in part if attacker not in out]:
                    seen = select(_ATTACKER.c.attacker_uuid).where(_ATTACKER.c.attacker_uuid.in_(left))
                    out |= dict.fromkeys((await session.execute(seen)).scalars())
        return out

    async def members_of(self, identities: Iterable[str]) -> dict[str, list[str]]:
        """The attackers of canonical identities, each list sorted."""
        out: dict[str, list[str]] = {identity: [] for identity in identities}
        columns = (_IDENTITY.c.identity_uuid, _IDENTITY.c.merged_into, _IDENTITY.c.attacker_uuid)
        async with self._read() as session:
            for part in chunks(sorted(out)):
                own = or_(_IDENTITY.c.identity_uuid.in_(part), _IDENTITY.c.merged_into.in_(part))
                query = select(*columns).where(own, _IDENTITY.c.attacker_uuid.is_not(None))
                for identity, winner, attacker in await session.execute(query):
                    for owner in {identity, winner} & out.keys():
                        out[owner].append(attacker)
        return {identity: sorted(attackers) for identity, attackers in out.items()}

    async def lock_identities(self, identities: Iterable[str]) -> bool:
        """Holds the rows of identities, taken sorted, until the transaction ends.

        False on SQLite, where it is not needed: there is one writer.
        """
        if self.db.dialect != "postgresql":
            return False
        async with self._write() as session:
            await self._share(session, LOCK_MERGES)
            for part in chunks(sorted(set(identities))):
                await lock_rows(session, _IDENTITY.c.identity_uuid, part)
        return True

    async def group_of_identity(self, identity_uuid: str) -> list[str]:
        """The identity and all that were merged into it, sorted."""
        own = or_(_IDENTITY.c.identity_uuid == identity_uuid, _IDENTITY.c.merged_into == identity_uuid)
        async with self._read() as session:
            found = (await session.execute(select(_IDENTITY.c.identity_uuid).where(own))).scalars()
            return sorted({identity_uuid, *found})

    async def observations_for_identity_primitive(
        self, identity: str, primitive: str, limit: int = ROWS_READ, until: float | None = None
    ) -> list[ObservedValue]:
        """The last observations of all attackers of an identity, in order of (ts, evidence_ref).

        Rows {value, ts, confidence, evidence_ref}; ``until`` (epoch seconds) leaves later ones out.
        """
        end = float("inf") if until is None else until
        found = await self.observation_windows({(identity, primitive): (limit, end)})
        return found[identity, primitive][0]

    async def observation_windows(
        self, wanted: Mapping[Key, tuple[int, float]]
    ) -> dict[Key, tuple[list[ObservedValue], int]]:
        """Last rows and count (up to 1,000) of many keys; each key says how many rows and until when."""
        members = await self.members_of({identity for identity, _ in wanted})
        asked = [
            Asked(key, storable_text(key[1]), members[key[0]], limit, max(-1e300, min(until, 1e300)))
            for key, (limit, until) in wanted.items()
        ]
        async with self._read() as session:
            return await read_windows(session, self.db.dialect, asked)

    async def get_attribution_state(self, identity: str, primitive: str) -> PrimitiveState | None:
        """One state row, or None."""
        return (await self.attribution_states([(identity, primitive)])).get((identity, primitive))

    async def attribution_states(self, keys: Iterable[Key]) -> dict[Key, PrimitiveState]:
        """The state rows of these keys that exist."""
        wanted = set(keys)
        out: dict[Key, PrimitiveState] = {}
        async with self._read() as session:
            for part in chunks(sorted({identity for identity, _ in wanted})):
                query = select(_STATE).where(_STATE.c.identity_uuid.in_(part))
                for row in await self._rows(session, query, PrimitiveState):
                    out[row["identity_uuid"], row["primitive"]] = row
        return {key: row for key, row in out.items() if key in wanted}

    async def states_of_identities(self, identities: Iterable[str]) -> list[PrimitiveState]:
        """All state rows of some identities."""
        out: list[PrimitiveState] = []
        async with self._read() as session:
            for part in chunks(sorted(set(identities))):
                query = select(_STATE).where(_STATE.c.identity_uuid.in_(part))
                out += await self._rows(session, query, PrimitiveState)
        return out

    async def upsert_attribution_state(self, state: PrimitiveState) -> None:
        """Writes one state row (column names as keys) as it is."""
        await self.upsert_attribution_states([state])

    async def upsert_attribution_states(self, states: Sequence[PrimitiveState]) -> None:
        """Writes many."""
        rows = [{name: state.get(name) for name in _STATE_COLUMNS} for state in states]
        rows = [{**row, "seq": row["seq"] or 0} for row in rows]
        merge = dict.fromkeys(_STATE_COLUMNS[2:], replace)
        async with self._write() as session:
            await self._upsert(session, _STATE, rows, merge)

    async def told_states(self, keys: Iterable[Key]) -> dict[Key, PrimitiveState]:
        """The state rows of these keys; of one that has none, what was told of it last, without an observation."""
        wanted = set(keys)
        out = await self.attribution_states(wanted)
        gone = {identity for identity, primitive in wanted if (identity, primitive) not in out}
        async with self._read() as session:
            for part in chunks(sorted(gone)):
                rows = await self._rows(session, select(_PAST).where(_PAST.c.identity_uuid.in_(part)))
                for row in rows:
                    if (key := (row["identity_uuid"], row["primitive"])) in wanted:
                        out.setdefault(key, shaped(PrimitiveState, {**_NOTHING_SEEN, **row}))
        return out

    async def put_aside_states(self, keys: Iterable[Key]) -> None:
        """Takes away the state rows of these keys, and keeps what was told of them."""
        wanted = set(keys)
        rows = await self.attribution_states(wanted)
        kept = [{name: row.get(name) for name in _PAST_COLUMNS} for row in rows.values()]
        merge = dict.fromkeys(("state", "last_change_ts", "seq"), replace)
        async with self._write() as session:
            await self._upsert(session, _PAST, kept, merge)
            gone = [{"who": identity, "what": primitive} for identity, primitive in sorted(rows)]
            await self._each(session, "state put aside", _gone, gone)

    async def upsert_session_features(self, rows: Sequence[SessionFeatures]) -> None:
        """Keeps the features of sessions and marks their identities as due for the multi-actor test.

        Keys: session_id, attacker_uuid, identity_uuid (stub), started_at, ended_at (epoch seconds), rank,
        and one per family: a flat dict of feature names, or None. A row replaces the stored one of its
        session when its rank is not lower. Raises KeyError when one of the first keys is missing.
        """
        kept: dict[str, Row] = {}
        for row in sorted(rows, key=lambda row: str(row["rank"])):
            kept[row["session_id"]] = _feature_row(row)
        if not kept:
            return
        names = (*_FEATURE_COLUMNS[1:], *FAMILY_COLUMNS)
        merge = dict.fromkeys(names, replace)
        async with self.transaction() as bound, bound._write() as session:
            newer = lambda new: new.rank >= _FEATURE.c.rank  # noqa: E731
            await bound._upsert(session, _FEATURE, list(kept.values()), merge, newer)
            await bound.mark_due({row["identity_uuid"] for row in kept.values()})

    async def mark_due(self, identities: Iterable[str]) -> None:
        """The multi-actor test has to look at these identities again."""
        rows = [
            {"identity_uuid": uuid, "version": 1, "due": True, "suspected": False}
            for uuid in sorted(set(identities))
        ]
        fresh = insert_for(self.db.dialect, _EVIDENCE)
        statement = fresh.on_conflict_do_update(
            index_elements=["identity_uuid"], set_={"version": _EVIDENCE.c.version + 1, "due": true()}
        )
        if rows:
            async with self._write() as session:
                await session.execute(statement, rows)

    async def session_features(self, identity: str, limit: int = SESSIONS_READ) -> list[SessionFeatures]:
        """The last sessions of an identity with their features, in order of (ended_at, session_id)."""
        order = (_FEATURE.c.ended_at.desc(), _FEATURE.c.session_id.desc())
        out: list[SessionFeatures] = []
        async with self._read() as session:
            for attacker in await self.attackers_of_identity(identity):
                query = select(_FEATURE).where(_FEATURE.c.attacker_uuid == attacker)
                out += await self._rows(session, query.order_by(*order).limit(limit), SessionFeatures)
        out.sort(key=lambda row: (row["ended_at"], row["session_id"]))
        return out[-limit:]

    async def due_identities(self, limit: int) -> list[tuple[str, str, int]]:
        """(identity, its canonical one, version) of formed identities that the test has to look at."""
        joined = _EVIDENCE.join(_IDENTITY, _IDENTITY.c.identity_uuid == _EVIDENCE.c.identity_uuid)
        canonical = func.coalesce(_IDENTITY.c.merged_into, _IDENTITY.c.identity_uuid)
        query = select(_EVIDENCE.c.identity_uuid, canonical, _EVIDENCE.c.version).select_from(joined)
        formed = or_(_IDENTITY.c.attacker_uuid.is_not(None), _IDENTITY.c.merged_into.is_(None))
        query = query.where(_EVIDENCE.c.due, formed).order_by(_EVIDENCE.c.identity_uuid).limit(limit)
        async with self._read() as session:
            return [(own, winner, int(version)) for own, winner, version in await session.execute(query)]

    async def store_verdicts(self, verdicts: Sequence[VerdictRow], seen: Sequence[tuple[str, int]]) -> None:
        """Keeps verdicts {identity_uuid, suspected, reason, primitives, verdict}.

        ``seen`` (identity, version) are no longer due, unless sessions came since that version.
        """
        rows = [{**row, "version": 0, "due": False} for row in verdicts]
        names = ("suspected", "reason", "primitives", "verdict")
        done = (
            update(_EVIDENCE)
            .where(_EVIDENCE.c.identity_uuid == bindparam("who"), _EVIDENCE.c.version == bindparam("seen"))
            .values(due=False)
        )
        marks = [{"who": identity, "seen": version} for identity, version in sorted(seen)]
        async with self.transaction() as bound, bound._write() as session:
            await bound._upsert(session, _EVIDENCE, rows, dict.fromkeys(names, replace))
            if marks:
                await (await session.connection()).execute(done, marks)

    async def verdict_of(self, identity: str) -> Explanation | None:
        """The last verdict on an identity, or None."""
        query = select(_EVIDENCE.c.verdict).where(_EVIDENCE.c.identity_uuid == identity)
        async with self._read() as session:
            found = (await session.execute(query)).scalar_one_or_none()
        return cast("Explanation", found) if found else None

    async def list_multi_actor_identities(self) -> list[SuspectedIdentity]:
        """{identity_uuid, primitives} of the identities that the multi-actor test suspects.

        A verdict that came late on one that was merged meanwhile is not asked.
        """
        merged = select(1).where(
            _IDENTITY.c.identity_uuid == _EVIDENCE.c.identity_uuid, _IDENTITY.c.merged_into.is_not(None)
        )
        query = select(_EVIDENCE.c.identity_uuid, _EVIDENCE.c.primitives)
        query = query.where(_EVIDENCE.c.suspected, ~merged.exists())
        async with self._read() as session:
            return await self._rows(session, query.order_by(_EVIDENCE.c.identity_uuid), SuspectedIdentity)

    async def drop_evidence(self, identities: Iterable[str]) -> None:
        """Forgets the verdicts on identities whose attackers are others now."""
        gone = {"suspected": False, "primitives": None, "verdict": None, "reason": "merged"}
        async with self._write() as session:
            for part in chunks(sorted(set(identities))):
                where = _EVIDENCE.c.identity_uuid.in_(part)
                await session.execute(update(_EVIDENCE).where(where).values(gone))


def _feature_row(row: Mapping[str, object]) -> Row:
    out = {name: row[name] for name in _FEATURE_COLUMNS if name != "started_at"}
    return {
        **out,
        "started_at": row.get("started_at"),
        "rank": str(row["rank"]),
        **{family: row.get(family) or None for family in FAMILY_COLUMNS},
    }
