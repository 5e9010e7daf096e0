"""Repository, part alert page: an alert with the sessions on its sides, in as many statements whatever their number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from decnet.db.repository.base import SqlRepository, shaped
from decnet.db.repository.conditions import among
from decnet.db.repository.notes import newest_notes
from decnet.db.rows import JsonObject
from decnet.db.rows.alertpage import AlertPage, SideSession
from decnet.db.rows.attribution import Alert
from decnet.db.rows.notes import ALERT, NoteRow
from decnet.db.tables import table
from decnet.keyed import login_label

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_ALERT, _ATTACKER, _SESSION = table("attribution_alert"), table("attacker"), table("session")
_COMMAND, _CREDENTIAL = table("command"), table("credential")
_FEATURE, _RECORDING = table("session_feature"), table("recording")
_OF_SESSION = (
    "session_id", "attacker_uuid", "attacker_ip", "decky_id", "service", "protocol", "started_at", "ended_at",
    "duration_s", "command_count", "client", "auth",
)  # fmt: skip
FAMILIES = ("client", "playbook", "tempo", "credentials", "typing", "habit", "hours")
FIRST_LINES, LINE_CHARS = 12, 200
"""Commands of a session that are read, and characters of each: the page shows the first ones."""


class AlertPageMixin(SqlRepository):
    """Questions over ``attribution_alert`` and the sessions that it names; read only."""

    async def alert_page(self, alert_id: str, *, clear: bool = False) -> AlertPage | None:
        """Everything on the page of an alert, None when there is none; log-ins in clear text only with ``clear``."""
        async with self._read() as session:
            rows = await self._rows(session, select(_ALERT).where(_ALERT.c.alert_id == alert_id), Alert)
            if not rows:
                return None
            (alert,) = rows
            ids = [one for side in alert["sides"] or () for one in side]
            notes = await self._rows(session, newest_notes(ALERT, alert_id), NoteRow)
            return {
                "alert": alert,
                "addresses": await self._named(session, alert["attacker_uuids"] or ()),
                "sessions": await self._on_sides(session, ids, clear),
                "notes": notes[::-1],
            }

    async def _named(self, session: AsyncSession, attackers: Sequence[str]) -> dict[str, str]:
        theirs = among(_ATTACKER.c.attacker_uuid, attackers, self.db.dialect)
        query = select(_ATTACKER.c.attacker_uuid, _ATTACKER.c.ip).where(theirs, _ATTACKER.c.ip.is_not(None))
        return dict((await session.execute(query)).tuples().all())

    async def _on_sides(self, session: AsyncSession, ids: Sequence[str], clear: bool) -> list[SideSession]:
        """The sessions by their start."""
        dialect = self.db.dialect
        kept = select(1).where(_RECORDING.c.key == _SESSION.c.keystrokes_ref).exists().label("recorded")
        columns = [*(_SESSION.c[name] for name in _OF_SESSION), kept]
        own = (among(_SESSION.c.session_id, ids, dialect), _SESSION.c.attacker_uuid.is_not(None))
        query = select(*columns).where(*own).order_by(_SESSION.c.started_at, _SESSION.c.session_id)
        rows = await self._rows(session, query)
        lines = await _lines(session, among(_COMMAND.c.session_id, ids, dialect))
        logins = await _logins(session, among(_CREDENTIAL.c.session_id, ids, dialect), clear)
        features = await _features(session, among(_FEATURE.c.session_id, ids, dialect))
        nothing: dict[str, JsonObject | None] = dict.fromkeys(FAMILIES)
        return [
            shaped(SideSession, {**row, "recorded": bool(row["recorded"]), "lines": lines.get(row["session_id"], []),
                                 "logins": logins.get(row["session_id"], []),
                                 "features": features.get(row["session_id"], nothing)})
            for row in rows
        ]  # fmt: skip


async def _lines(session: AsyncSession, theirs: Any) -> dict[str, list[str]]:
    """The first commands of each session, in order."""
    order = (_COMMAND.c.ts, _COMMAND.c.position, _COMMAND.c.command_id)
    place = func.row_number().over(partition_by=_COMMAND.c.session_id, order_by=order).label("place")
    text = func.substr(_COMMAND.c.command_text, 1, LINE_CHARS).label("line")
    typed = select(_COMMAND.c.session_id, text, place).where(theirs).subquery("typed")
    first = select(typed.c.session_id, typed.c.line).where(typed.c.place <= FIRST_LINES)
    out: dict[str, list[str]] = defaultdict(list)
    for ident, line in await session.execute(first.order_by(typed.c.session_id, typed.c.place)):
        out[ident].append(line)
    return out


async def _logins(session: AsyncSession, theirs: Any, clear: bool) -> dict[str, list[str]]:
    """What got in, of each session."""
    columns = [_CREDENTIAL.c[name] for name in ("session_id", "username", "secret_hmac", "secret")]
    query = select(*columns).where(theirs, _CREDENTIAL.c.success).order_by(_CREDENTIAL.c.credential_id)
    out: dict[str, dict[str, None]] = defaultdict(dict)
    for ident, username, secret_hmac, secret in await session.execute(query):
        out[ident][login_label(username, secret_hmac, secret if clear else None)] = None
    return {ident: list(labels) for ident, labels in out.items()}


async def _features(session: AsyncSession, theirs: Any) -> dict[str, dict[str, JsonObject | None]]:
    query = select(_FEATURE.c.session_id, *(_FEATURE.c[name] for name in FAMILIES)).where(theirs)
    return {ident: dict(zip(FAMILIES, found, strict=True)) for ident, *found in await session.execute(query)}
