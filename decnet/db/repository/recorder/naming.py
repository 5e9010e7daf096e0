"""Repository, part naming: sessions and commands of events under the names that they have in the database.

A sensor numbers what it knows. One that reads a log again, in another order or without its checkpoint, may give
another name to what is stored already: a session that shares its honeypot's id with others is then told by the time
of its connection, a command by its time and its text. Everybody who stores what belongs to sessions asks here first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import select

from decnet.bus import topics
from decnet.bus.base import Event
from decnet.db.repository.base import Row, SqlRepository, chunks
from decnet.db.repository.recorder.recent import Id, Named, RecentNames, Said, recent_names
from decnet.db.tables import table
from decnet.errors import AmbiguousId
from decnet.events.fields import address, epoch
from decnet.events.lives import Life, command_mark, home_of
from decnet.hostile import visible
from decnet.ids import session_id

_SESSION, _COMMAND = table("session"), table("command")
_TOPICS = frozenset(
    (
        topics.attacker(topics.ATTACKER_SESSION_STARTED),
        topics.attacker(topics.ATTACKER_SESSION_ENDED),
        topics.credential(topics.CREDENTIAL_CAPTURED),
    )
)
_KINDS = ("cowrie",)
"""Sensors whose honeypots give ids that come again."""
LEAST_CHARS = 6
"""Characters of a session's id that name it when no other one begins with them."""
MAX_NAMED = 50
"""Sessions listed of one id."""


async def settled(events: Sequence[Event], repo: NamingMixin) -> Sequence[Event]:
    """The events of a batch with the names of what is stored already; those of others are as they were."""
    asked = [i for i, event in enumerate(events) if event.topic in _TOPICS and _id_of(event.payload)]
    if not asked:
        return events
    out = list(events)
    payloads = await repo.settled_payloads([(out[i].payload, out[i].ts) for i in asked])
    for i, payload in zip(asked, payloads, strict=True):
        if payload is not out[i].payload:
            out[i] = replace(out[i], payload=payload)
    return out


class NamingMixin(SqlRepository):
    """``session`` and ``command``, read only."""

    async def settled_payloads(
        self, said: Sequence[tuple[dict[str, object], float]]
    ) -> list[dict[str, object]]:
        """Payloads (each with its event's time) under stored names; one that has them already is the same object."""
        recent = recent_names(self.db)
        asked = {key: recent.begun(key) for payload, _ in said if (key := _id_of(payload))}
        new = {key for payload, _ in said if (key := _id_of(payload)) and _start(payload) not in asked[key]}
        stored = await self._stored_lives(new) if new else {}
        lives = {key: recent.lives(key, stored.get(key, ())) for key in asked}
        named = [_placed(payload, _home(payload, ts, lives)) for payload, ts in said]
        texts = await self._stored_commands({p["session_id"] for p in named if _has_commands(p)})
        return [
            _with_known_commands(p, texts[p["session_id"]], recent) if _has_commands(p) else p for p in named
        ]

    async def sessions_named(self, text: str) -> list[str]:
        """Ids of the sessions that a text names: by their id, the honeypot's own id, or the beginning of their id."""
        start = _SESSION.c.session_id.startswith(text, autoescape=True)
        ways = [_SESSION.c.session_id == text, _SESSION.c.sensor_session == text]
        ways += [start] if len(text) >= LEAST_CHARS else []
        async with self._read() as session:
            for way in ways:
                query = select(_SESSION.c.session_id).where(way, _SESSION.c.attacker_uuid.is_not(None))
                order = (_SESSION.c.started_at, _SESSION.c.session_id)
                if found := list((await session.execute(query.order_by(*order).limit(MAX_NAMED))).scalars()):
                    return found
        return []

    async def session_named(self, text: str) -> str | None:
        """Id of the one session that a text names; None when there is none. Raises AmbiguousId, which lists them."""
        found = await self.sessions_named(text)
        if len(found) <= 1:
            return found[0] if found else None
        names = ("session_id", "decky_id", "attacker_ip", "started_at")
        async with self._read() as session:
            query = select(*(_SESSION.c[name] for name in names)).where(_SESSION.c.session_id.in_(found))
            rows = await self._rows(session, query.order_by(_SESSION.c.started_at, _SESSION.c.session_id))
        raise AmbiguousId(f"{_several(found)} sessions have the id {visible(text, 80)}: {_listed(rows)}")

    async def _stored_lives(self, wanted: set[Id]) -> dict[Id, list[Life]]:
        """The stored sessions of some ids of honeypots."""
        lives: dict[Id, list[Life]] = {key: [] for key in wanted}
        names = (
            "session_id",
            "decky_id",
            "sensor_session",
            "started_at",
            "ended_at",
            "end_reason",
            "connected_at",
            "service",
            "attacker_ip",
        )
        async with self._read() as session:
            for some in chunks(sorted({native for _, native in wanted})):
                query = select(*(_SESSION.c[name] for name in names)).where(
                    _SESSION.c.sensor_session.in_(some)
                )
                for row in await self._rows(session, query):
                    key = (row["decky_id"], row["sensor_session"])
                    if key in lives and (row["started_at"] is not None or row["connected_at"] is not None):
                        lives[key].append(_life(row))
        return lives

    async def _stored_commands(self, session_ids: set[str]) -> dict[str, Named]:
        """Ids of stored commands with what they say, for each of some sessions."""
        stored: dict[str, Named] = {session_id: {} for session_id in session_ids}
        async with self._read() as session:
            for some in chunks(sorted(session_ids)):
                columns = (
                    _COMMAND.c.session_id,
                    _COMMAND.c.command_id,
                    _COMMAND.c.ts,
                    _COMMAND.c.command_text,
                )
                found = await session.execute(select(*columns).where(_COMMAND.c.session_id.in_(some)))
                for owner, ident, ts, text in found:  # one without a time is like no other
                    stored[owner][ident] = "" if ts is None else command_mark(ts.timestamp(), text)
        return stored


def _several(found: Sequence[str]) -> str:
    return f"{MAX_NAMED} or more" if len(found) == MAX_NAMED else str(len(found))


def _listed(rows: Sequence[Row]) -> str:
    shown = [
        f"{row['session_id']} ({row['decky_id']}, {row['attacker_ip']}"
        + (f", {row['started_at']:%Y-%m-%dT%H:%M:%SZ})" if row["started_at"] else ")")
        for row in rows
    ]
    return visible("; ".join(shown), 4000)


def _id_of(payload: Mapping[str, Any]) -> Id | None:
    """Decky and id of a session that can be told by its connection; None for others."""
    decky, native = payload.get("decky_id"), payload.get("sensor_session")
    told = payload.get("connected_at") is not None or payload.get("torn") is True
    usable = told and isinstance(decky, str) and isinstance(native, str) and payload.get("session_id")
    return (str(decky), str(native)) if usable else None


def _life(row: Row) -> Life:
    closed = row["ended_at"].timestamp() if row["end_reason"] == "closed" else None
    start = row["connected_at"].timestamp() if row["connected_at"] is not None else None
    first = (row["started_at"] or row["connected_at"]).timestamp()
    # A close line tells how long the session lasted, and with it when it began.
    told = closed is not None
    return Life(row["session_id"], first, start, closed, told=told, ip=_address(row), service=row["service"])


def _home(payload: Row, ts: float, lives: dict[Id, list[Life]]) -> Life | None:
    """The stored session that a payload is about; with its own name when it is new and that one is free."""
    own, key = str(payload["session_id"]), _id_of(payload)
    if key is None:
        return None
    start = _start(payload)
    first = epoch(payload.get("started_at"))
    closed = epoch(payload.get("ended_at")) if payload.get("end_reason") == "closed" else None
    piece = Life(
        own, ts if first is None else first, start, closed, told=closed is not None, ip=_address(payload)
    )
    home = home_of(piece, lives[key])
    if home is not None:
        home.start = start if home.start is None else home.start
        home.closed = closed if home.closed is None else home.closed
        return home
    if any(life.name == own for life in lives[key]):
        piece.name = _variant(own, key, piece.began)
    lives[key].append(piece)
    return piece


def _address(said: Mapping[str, Any]) -> str | None:
    """The attacker's address; None where a session has never told one."""
    return found if (found := address(said.get("attacker_ip"))) != "unknown" else None


def _start(payload: Mapping[str, Any]) -> float | None:
    return epoch(payload.get("connected_at"))


def _variant(own: str, key: Id, began: float) -> str:
    """The name of a session whose plain one is taken by another with the same id, as the sensor would give it."""
    decky, native = key
    for kind in _KINDS:
        if session_id(kind, decky, native) == own:
            return session_id(kind, decky, f"{native}@{began:.6f}")
    return session_id(own, decky, f"{native}@{began:.6f}")


def _placed(payload: Row, home: Life | None) -> Row:
    """A payload under the name of its session, with the ids that begin with it.

    Without the line of its connection a session does not know what service it was of.
    """
    if home is None:
        return payload
    if payload.get("torn") and home.service and home.service != payload.get("service"):
        payload = {**payload, "service": home.service}
    own, name = payload["session_id"], home.name
    if name == own:
        return payload
    return _with_ids({**payload, "session_id": name}, lambda ident: _moved(ident, own, name))


def _moved(ident: Any, own: str, name: str) -> Any:
    return name + ident[len(own) :] if isinstance(ident, str) and ident.startswith(f"{own}#") else ident


def _with_ids(payload: Row, new: Any) -> Row:
    """A payload with other ids of its commands."""
    out = dict(payload)
    for name in ("commands", "joined"):
        if isinstance(payload.get(name), list):
            out[name] = [_with_id(item, new) for item in payload[name]]
    return out


def _with_id(item: Any, new: Any) -> Any:
    if not isinstance(item, dict) or not isinstance(item.get("id"), str):
        return item
    if not isinstance(item.get("lines"), list):
        return {**item, "id": new(item["id"])}
    first, plus, more = item["id"].partition("+")
    return {**item, "id": new(first) + plus + more, "lines": [new(line) for line in item["lines"]]}


def _has_commands(payload: Row) -> bool:
    return isinstance(payload.get("commands"), list) and bool(payload["commands"])


def _with_known_commands(payload: Row, stored: Named, recent: RecentNames) -> Row:
    """A payload whose commands have the ids under which they are known, and take no id of another one."""
    owner, said = (
        payload["session_id"],
        {c["id"]: key for c in payload["commands"] if (key := _said(c)) is not None},
    )
    known = {**recent.commands(owner), **stored}
    if not known:
        recent.note(owner, said)
        return payload
    names = _names(owner, said, known)
    recent.note(owner, {names[ident]: key for ident, key in said.items()})
    if all(old == new for old, new in names.items()):
        return payload
    return _with_ids(payload, lambda ident: names.get(ident, ident))


def _names(owner: str, said: Named, stored: Named) -> dict[str, str]:
    """Id of each command → the id under which it is known."""
    by_said: dict[Said, list[str]] = defaultdict(list)
    for ident, key in stored.items():
        if said.get(ident) != key:
            by_said[key].append(ident)
    names = {}
    for ident, key in said.items():
        if stored.get(ident) == key:
            names[ident] = ident
        elif by_said.get(key):
            names[ident] = by_said[key].pop(0)
        elif ident in stored:
            names[ident] = f"{owner}#cmd{key}"
        else:
            names[ident] = ident
    return names


def _said(command: Any) -> Said | None:
    if not isinstance(command, dict) or not isinstance(command.get("id"), str):
        return None
    ts, text = epoch(command.get("ts")), command.get("command_text")
    return None if ts is None or not isinstance(text, str) else command_mark(ts, text)
