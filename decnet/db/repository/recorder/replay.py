"""Repository, part replay: stored rows as the events that they came from, a page at a time.

What is stored nowhere but in the stream (mail, canaries) is not here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Table, and_, func, or_, select

from decnet.bus import topics
from decnet.bus.base import Event
from decnet.db.repository.base import Row
from decnet.db.repository.recorder.sessions import SessionsMixin, payload_of
from decnet.db.tables import table
from decnet.db.types import as_utc
from decnet.events.credential import Captured
from decnet.events.identity import Formed

_SESSION, _CREDENTIAL, _PRINT = table("session"), table("credential"), table("fingerprint")
_ATTACKER, _IDENTITY, _INTEL = table("attacker"), table("identity"), table("attacker_intel")
_CAPTURED = ("attacker_uuid", "decky_id", "service", "session_id", "username", "secret_hmac", "key_id",
             "secret_kind", "success")  # fmt: skip
Key = tuple[Any, str]
"""(time, id) of the last row of a page."""


class Page(NamedTuple):
    """Some events, the number of rows behind them, and where the next page starts."""

    events: list[Event]
    rows: int
    after: Key | None


class _Source(NamedTuple):
    """One table in order of (time, id). ``epoch`` says that its time is a number."""

    table: Table
    time: Any
    key: Any
    epoch: bool
    make: Callable[[Row], Event] | None


def _sources() -> dict[str, _Source]:
    return {
        "sessions": _Source(_SESSION, _SESSION.c.ended_at, _SESSION.c.session_id, False, None),
        "credentials": _Source(
            _CREDENTIAL, _CREDENTIAL.c.last_seen, _CREDENTIAL.c.credential_id, False, _captured
        ),
        "fingerprints": _Source(_PRINT, _PRINT.c.last_seen, _PRINT.c.fingerprint_id, False, _fingerprinted),
        "identities": _Source(_IDENTITY, _ATTACKER.c.last_seen, _IDENTITY.c.identity_uuid, False, _formed),
        "intel": _Source(_INTEL, _INTEL.c.ts, _INTEL.c.attacker_uuid, True, _enriched),
    }


class ReplayMixin(SessionsMixin):
    """Pages of what can be judged again. ``since`` and ``until`` are event time."""

    @property
    def replay_kinds(self) -> tuple[str, ...]:
        """What there is, in the order in which it is best judged again."""
        return tuple(_sources())

    async def replay_count(self, kind: str, since: datetime, until: datetime) -> int:
        """Rows of a kind in a span."""
        source = _sources()[kind]
        query = _from(source, select(func.count())).where(*_within(source, since, until))
        async with self._read() as session:
            return int((await session.execute(query)).scalar_one())

    async def replay_page(
        self, kind: str, since: datetime, until: datetime, after: Key | None = None, limit: int = 100
    ) -> Page:
        """The next rows after a key, as events; ``after`` is None on the last page."""
        source = _sources()[kind]
        time = source.time.label("replay_time")
        query = _from(source, select(source.table, time)).where(*_within(source, since, until))
        if after is not None:
            query = query.where(
                or_(source.time > after[0], and_(source.time == after[0], source.key > after[1]))
            )
        async with self._read() as session:
            rows = await self._rows(session, query.order_by(source.time, source.key).limit(limit))
        known = [row for row in rows if row["attacker_uuid"] is not None]
        events = [source.make(row) for row in known] if source.make else await self._ended(known)
        last = (rows[-1]["replay_time"], rows[-1][source.key.name]) if len(rows) == limit else None
        return Page(events, len(rows), last)

    async def attackers_active(self, since: datetime, until: datetime) -> list[str]:
        """Attackers with a sight in a span, sorted."""
        seen = and_(_ATTACKER.c.last_seen >= since, _ATTACKER.c.first_seen <= until)
        async with self._read() as session:
            return list(
                (
                    await session.execute(
                        select(_ATTACKER.c.attacker_uuid).where(seen).order_by(_ATTACKER.c.attacker_uuid)
                    )
                ).scalars()
            )

    async def _ended(self, rows: list[Row]) -> list[Event]:
        commands = await self._commands([row["session_id"] for row in rows])
        topic = topics.attacker(topics.ATTACKER_SESSION_ENDED)
        return [
            _event(topic, payload_of(row, commands[row["session_id"]]), row["ended_at"], "session.ended")
            for row in rows
        ]


def _from(source: _Source, query: Any) -> Any:
    if source.table is not _IDENTITY:
        return query.select_from(source.table)
    return query.select_from(
        _IDENTITY.join(_ATTACKER, _ATTACKER.c.attacker_uuid == _IDENTITY.c.attacker_uuid)
    )


def _within(source: _Source, since: datetime, until: datetime) -> Iterator[ColumnElement[bool]]:
    low, high = as_utc(since), as_utc(until)
    assert low is not None
    assert high is not None
    yield source.time >= (low.timestamp() if source.epoch else low)
    yield source.time <= (high.timestamp() if source.epoch else high)


def _event(topic: str, payload: Mapping[str, object], moment: Any, kind: str) -> Event:
    ts = moment.timestamp() if isinstance(moment, datetime) else float(moment)
    return Event(topic, dict(payload), kind, "", ts)


def _captured(row: Row) -> Event:
    captured = Captured(**{name: row[name] for name in _CAPTURED})
    topic = topics.credential(topics.CREDENTIAL_CAPTURED)
    return _event(topic, captured.build(), row["last_seen"], row["secret_kind"] or "")


def _fingerprinted(row: Row) -> Event:
    payload = {**(row["fields"] or {}), "attacker_uuid": row["attacker_uuid"], "type": row["kind"]}
    payload |= {name: row[name] for name in ("session_id", "decky_id") if row[name]}
    return _event(topics.attacker(topics.ATTACKER_FINGERPRINTED), payload, row["last_seen"], row["kind"])


def _formed(row: Row) -> Event:
    formed = Formed(identity_uuid=row["identity_uuid"], attacker_uuids=[row["attacker_uuid"]])
    return _event(topics.identity(topics.IDENTITY_FORMED), formed.build(), row["replay_time"], "formed")


def _enriched(row: Row) -> Event:
    return _event(topics.attacker(topics.ATTACKER_INTEL_ENRICHED), row["payload"] or {}, row["ts"], "intel")
