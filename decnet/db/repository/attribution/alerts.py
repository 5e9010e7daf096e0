"""Repository, part alerts: what the multi-actor test raised, what operators made of it, and the lists.

An alert is a row, so that a restart repeats nothing. Operators acknowledge, resolve with a
verdict and open again; attribution alone raises alerts and closes them when the evidence is gone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import ColumnElement, func, or_, select, update

from decnet.db.repository.base import Row, SqlRepository, chunks, replace, shaped
from decnet.db.repository.conditions import attacker_is, identity_is_shown
from decnet.db.repository.lists.linked import LEAST_CHARS, MAX_NAMED, several
from decnet.db.rows.attribution import (
    ACKNOWLEDGED,
    MADE,
    OPEN,
    RESOLVED,
    STATES,
    VERDICTS,
    Alert,
    AlertFacts,
    AlertMade,
    ListedState,
)
from decnet.db.tables import table
from decnet.db.types import as_utc, utcnow
from decnet.errors import AmbiguousId

_STATE, _ALERT, _IDENTITY = table("attribution_state"), table("attribution_alert"), table("identity")
_ALERT_NS = uuid5(NAMESPACE_URL, "decnet:alert:v1")
_COLUMNS = tuple(_ALERT.c.keys())
_UNTOUCHED: Row = {**dict.fromkeys(MADE), "state": OPEN}
_STATE_ROW = (
    "identity_uuid",
    "primitive",
    "state",
    "current_value",
    "confidence",
    "observation_count",
    "last_change_ts",
    "last_observation_ts",
)


class AlertsMixin(SqlRepository):
    """``attribution_alert``, and the lists of states and alerts."""

    async def standing_alerts(self) -> list[Alert]:
        """Alerts whose evidence stands, whatever an operator made of them; at most one for an identity."""
        query = select(_ALERT).where(_ALERT.c.standing).order_by(_ALERT.c.identity_uuid, _ALERT.c.ordinal)
        async with self._read() as session:
            return await self._rows(session, query, Alert)

    async def raise_alert(self, alert: AlertFacts) -> Alert:
        """Opens an alert of an identity, or brings its standing one up to date; the row as it is then.

        Needs identity_uuid, attacker_uuids, primitives, families, sides, confidence, ts, explanation. A
        standing alert that an operator resolved stays as it is and a new one is opened.
        """
        async with self.transaction() as bound, bound._write() as session:
            last = await bound._newest_alert(alert["identity_uuid"])
            if last and last["standing"] and last["state"] != RESOLVED:
                again = {"state": OPEN, "revision": last["revision"] + 1}
                renewed: Row = {**last, **alert, **again, "acknowledged_by": None, "acknowledged_at": None}
            else:
                await bound.close_alerts([alert["identity_uuid"]], "attribution")
                renewed = _fresh(alert, last["ordinal"] + 1 if last else 1)
            await bound._upsert(session, _ALERT, [renewed], dict.fromkeys(_COLUMNS[1:], replace))
        return shaped(Alert, renewed)

    async def refresh_alert(self, alert: AlertFacts) -> None:
        """Brings the sessions of an identity's standing alert up to date, unless an operator resolved it."""
        names = ("attacker_uuids", "families", "sides", "confidence", "ts", "explanation")
        where = (
            _ALERT.c.identity_uuid == alert["identity_uuid"],
            _ALERT.c.standing,
            _ALERT.c.state != RESOLVED,
        )
        async with self._write() as session:
            values = {name: value for name, value in alert.items() if name in names}
            await session.execute(update(_ALERT).where(*where).values(values))

    async def _newest_alert(self, identity: str) -> Alert | None:
        query = select(_ALERT).where(_ALERT.c.identity_uuid == identity)
        async with self._read() as session:
            rows = await self._rows(session, query.order_by(_ALERT.c.ordinal.desc()).limit(1), Alert)
        return rows[0] if rows else None

    async def close_alerts(self, identities: Sequence[str], by: str) -> int:
        """The evidence of these identities stands no longer: alerts are resolved and armed again; how many."""
        now = utcnow()
        values = {
            "standing": False,
            "state": RESOLVED,
            "resolved_by": func.coalesce(_ALERT.c.resolved_by, by),
            "resolved_at": func.coalesce(_ALERT.c.resolved_at, now),
        }
        done = 0
        async with self._write() as session:
            for part in chunks(identities):
                where = (_ALERT.c.identity_uuid.in_(part), _ALERT.c.standing)
                closed = update(_ALERT).where(*where).values(values).returning(_ALERT.c.alert_id)
                done += len((await session.execute(closed)).all())
        return done

    async def set_alert_state(
        self, alert_id: str, state: str, by: str, verdict: str | None = None
    ) -> Alert | None:
        """Acknowledges an alert, resolves it with what was found, or opens it again; the row afterwards.

        None when there is no such alert. Raises ValueError for another state or verdict, for a verdict on what is not
        resolved, for acknowledging what is resolved already, and for opening what has no evidence any more.
        """
        if state not in STATES:
            raise ValueError(f"an alert is {', '.join(STATES)}, not {state!r:.40}")
        if verdict is not None and (verdict not in VERDICTS or state != RESOLVED):
            raise ValueError(f"a resolved alert has a verdict: {', '.join(VERDICTS)}, not {verdict!r:.40}")
        async with self.transaction() as bound, bound._write() as session:
            row = await bound.get_alert(alert_id)
            if row is None or (row["state"] == state and row["verdict"] == verdict):
                return row
            if row["state"] == RESOLVED and state == ACKNOWLEDGED:
                raise ValueError(f"alert {alert_id} is resolved already")
            if state == OPEN:
                _check_stands(row)
                values = _UNTOUCHED
            else:
                values = {"state": state, "verdict": verdict, f"{state}_by": by, f"{state}_at": utcnow()}
            await session.execute(update(_ALERT).where(_ALERT.c.alert_id == alert_id).values(values))
            return await bound.get_alert(alert_id)

    async def restore_alert(self, alert_id: str, made: AlertMade) -> Alert | None:
        """Brings back what operators had made of an alert; the row afterwards, None when there is no such alert.

        Raises ValueError when it would be open or acknowledged and its evidence stands no more.
        """
        async with self.transaction() as bound, bound._write() as session:
            row = await bound.get_alert(alert_id)
            if row is None:
                return None
            if made["state"] != RESOLVED:
                _check_stands(row)
            values = {name: made[name] for name in MADE}  # type: ignore[literal-required]
            await session.execute(update(_ALERT).where(_ALERT.c.alert_id == alert_id).values(values))
            return await bound.get_alert(alert_id)

    async def get_alert(self, alert_id: str) -> Alert | None:
        """One alert with all its columns, or None."""
        async with self._read() as session:
            rows = await self._rows(session, select(_ALERT).where(_ALERT.c.alert_id == alert_id), Alert)
        return rows[0] if rows else None

    async def alert_named(self, text: str) -> str | None:
        """Id of the alert that has this id, or whose id begins so; None when there is none. Raises AmbiguousId."""
        start = text.lower()
        ways = [_ALERT.c.alert_id == start]
        ways += [_ALERT.c.alert_id.startswith(start, autoescape=True)] if len(start) >= LEAST_CHARS else []
        async with self._read() as session:
            for way in ways:
                query = select(_ALERT.c.alert_id).where(way).order_by(_ALERT.c.alert_id).limit(MAX_NAMED)
                found = list((await session.execute(query)).scalars())
                if len(found) > 1:
                    raise AmbiguousId(several("alerts", text, found))
                if found:
                    return str(found[0])
        return None

    async def list_alerts(
        self,
        since: datetime | float | None = None,
        attacker: str | None = None,
        session: str | None = None,
        state: str | None = None,
        limit: int = 100,
        ignored: bool = False,
    ) -> list[Alert]:
        """Alerts, newest first, with all their columns; ``session`` asks for one of the sessions behind it."""
        where = [] if since is None else [_ALERT.c.ts >= as_utc(since)]
        if state is not None:
            where.append(_ALERT.c.state == state)
        if not ignored:
            where.append(identity_is_shown(_ALERT.c.identity_uuid))
        if attacker is not None:
            where.append(_identity_of(_ALERT.c.identity_uuid, attacker))  # its own, too: from before a merge
        order = (_ALERT.c.ts.desc(), _ALERT.c.alert_id)
        query = select(_ALERT).where(*where).order_by(*order)
        async with self._read() as db:
            some = query.limit(limit) if limit > 0 and session is None else query
            rows = await self._rows(db, some, Alert)
        if session is not None:
            rows = [row for row in rows if any(session in side for side in row["sides"] or ())]
        return rows[:limit] if limit > 0 else rows

    async def list_attribution(
        self,
        since: datetime | float | None = None,
        attacker: str | None = None,
        identity: str | None = None,
        limit: int = 100,
        ignored: bool = False,
    ) -> list[ListedState]:
        """States of primitives, the last observed first; times are aware."""
        where = _state_filter(since, attacker, identity)
        if not ignored:
            where.append(identity_is_shown(_STATE.c.identity_uuid))
        order = (_STATE.c.last_observation_ts.desc(), _STATE.c.identity_uuid, _STATE.c.primitive)
        query = select(*(_STATE.c[name] for name in _STATE_ROW)).where(*where).order_by(*order)
        async with self._read() as session:
            rows = await self._rows(session, query.limit(limit) if limit > 0 else query)
        times = ("last_change_ts", "last_observation_ts")
        return [shaped(ListedState, {**row, **{name: as_utc(row[name]) for name in times}}) for row in rows]

    async def state_counts(self, identities: Sequence[str]) -> dict[str, dict[str, int]]:
        """How many primitives of each identity are in which state."""
        uuid, state = _STATE.c.identity_uuid, _STATE.c.state
        query = select(uuid, state, func.count()).where(uuid.in_(identities)).group_by(uuid, state)
        out: dict[str, dict[str, int]] = defaultdict(dict)
        async with self._read() as session:
            for identity, name, count in await session.execute(query):
                out[identity][name] = int(count)
        return out


def _check_stands(row: Alert) -> None:
    """An identity has one alert at a time: one whose evidence is gone, or was followed by another, stays closed."""
    if not row["standing"]:
        raise ValueError(f"the evidence of alert {row['alert_id']} stands no more: it stays resolved")


def _fresh(alert: AlertFacts, number: int) -> Row:
    empty: Row = dict.fromkeys(_COLUMNS)
    alert_id = str(uuid5(_ALERT_NS, f"{alert['identity_uuid']}|{number}"))
    own = {"alert_id": alert_id, "ordinal": number, "revision": 1, "state": OPEN, "standing": True}
    return {**empty, **alert, **own}


def _identity_of(column: Any, attacker: str) -> ColumnElement[bool]:
    """The canonical identity of an attacker (address or uuid), or its own one."""
    own = attacker_is(_IDENTITY.c.attacker_uuid, attacker)
    either = [select(name).where(*own) for name in (_IDENTITY.c.identity_uuid, _IDENTITY.c.merged_into)]
    return or_(*(column.in_(wanted) for wanted in either))


def _state_filter(since: datetime | float | None, attacker: str | None, identity: str | None) -> list[Any]:
    where: list[Any] = []
    if since is not None:
        moment = as_utc(since)
        assert moment is not None
        where.append(_STATE.c.last_observation_ts >= moment.timestamp())
    if attacker is not None:
        where.append(_identity_of(_STATE.c.identity_uuid, attacker))
    if identity is not None:
        own = or_(_IDENTITY.c.identity_uuid == identity, _IDENTITY.c.merged_into == identity)
        winner = select(func.coalesce(_IDENTITY.c.merged_into, _IDENTITY.c.identity_uuid)).where(own)
        where.append(_STATE.c.identity_uuid.in_(winner))
    return where
