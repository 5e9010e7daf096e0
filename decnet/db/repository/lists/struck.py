"""Repository, part struck: how the keys of sessions came, read from what was observed of their recordings."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import Select, select

from decnet.db.repository.base import Row, SqlRepository
from decnet.db.rows.struck import Struck, StruckSessions
from decnet.db.tables import table

_SEEN, _SESSION = table("observation"), table("session")
_MODALITY, _CADENCE = "motor.input_modality", "motor.keystroke_cadence"
_MACHINE = "machine"
NEWEST = 1_000
"""Sessions of an attacker that are looked at, the newest with a recording."""


class StruckMixin(SqlRepository):
    """Questions over two primitives of ``observation``."""

    async def struck_in(self, session_id: str) -> Struck | None:
        """How the keys of a session came; None where no recording tells it."""
        query = _seen().where(_SEEN.c.session_id == session_id, _SEEN.c.primitive.in_((_MODALITY, _CADENCE)))
        async with self._read() as session:
            return next(iter(_by_session(await self._rows(session, query))), None)

    async def struck_by(self, attacker_uuid: str) -> list[StruckSessions]:
        """The same of an attacker's newest sessions, the commonest first; as many statements whatever their number."""
        rows: list[Row] = []
        async with self._read() as session:
            for primitive in (_MODALITY, _CADENCE):
                query = _seen().where(_SEEN.c.attacker_uuid == attacker_uuid, _SEEN.c.primitive == primitive)
                rows += await self._rows(session, query.order_by(_SEEN.c.ts.desc()).limit(NEWEST))
        groups: dict[tuple[str | None, ...], list[Struck]] = defaultdict(list)
        for one in _by_session(rows):
            groups[one["modality"], one["cadence"], one["protocol"]].append(one)
        told: list[StruckSessions] = [
            {**same[0], "confidence": min(one["confidence"] for one in same), "sessions": len(same)}
            for same in groups.values()
        ]
        return sorted(
            told,
            key=lambda one: (
                -one["sessions"],
                one["modality"] or "",
                one["cadence"] or "",
                one["protocol"] or "",
            ),
        )


def _seen() -> Select[Any]:
    columns = [_SEEN.c[name] for name in ("session_id", "primitive", "value", "confidence")]
    joined = _SEEN.join(_SESSION, _SESSION.c.session_id == _SEEN.c.session_id)
    return select(*columns, _SESSION.c.protocol).select_from(joined)


def _by_session(rows: list[Row]) -> list[Struck]:
    found: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in rows:
        found[row["session_id"]][row["primitive"]] = row
    return [_struck(seen.get(_MODALITY), seen.get(_CADENCE)) for seen in found.values()]


def _struck(modality: Row | None, cadence: Row | None) -> Struck:
    how, pace = (str(row["value"]) if row is not None else None for row in (modality, cadence))
    deciding = cadence if cadence is not None and (pace == _MACHINE or modality is None) else modality
    known = modality or cadence or {}
    return {
        "modality": how,
        "cadence": pace,
        "confidence": float((deciding or {}).get("confidence") or 0.0),
        "protocol": known.get("protocol"),
    }
