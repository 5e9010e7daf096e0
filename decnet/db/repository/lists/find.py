"""Repository, part search: one text in commands, addresses, login names, hashes and URLs, newest first.

Plain substring search, case-insensitive where the database folds case; ignored sources are left out
unless asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, String, case, cast, func, null, or_, select

from decnet.db.partial import TOLD
from decnet.db.repository.base import Row, shaped
from decnet.db.repository.lists.campaigns import campaign_name, has_shown_address, is_campaign
from decnet.db.repository.lists.typed import TypedMixin
from decnet.db.rows.lists import Hit
from decnet.db.tables import table
from decnet.db.types import SafeFloat, as_utc
from decnet.events.fields import LATEST
from decnet.hostile import storable_text
from decnet.keyed import login_label

_ATTACKER, _SESSION, _COMMAND = table("attacker"), table("session"), table("command")
_CREDENTIAL, _PRINT = table("credential"), table("fingerprint")
_INTEL, _TAG = table("attacker_intel"), table("ttp_tag")
_FILES = (
    "downloads", "uploads", "forwards", "inputs", "exploits", "joined", "extras", "facts", "client", "auth",
)  # fmt: skip
_TERM, _VALUE, _GROUP = table("link_term"), table("link_value"), table("link_group")
_IDENTITY, _TRIP = table("identity"), table("canary_trigger")
_OF_TRIPS = ("user_agent", "request_path", "dns_qname")
_FOUND_FAMILIES = ("key", "host")
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
FIND_COLUMNS = ("ts", "kind", "value", "attacker_ip", "attacker_uuid", "session_id")


class FindMixin(TypedMixin):
    """Search over what the recorder wrote."""

    async def find(
        self,
        text: str,
        since: datetime | float | None = None,
        limit: int = 100,
        ignored: bool = False,
        *,
        clear: bool = False,
    ) -> list[Hit]:
        """Rows ts (aware), kind (command, address, user, hash, url, file, forward, input, exploit, client, intel, mail, canary,
        key, host, identity, campaign, other), value, attacker_ip, attacker_uuid, session_id, newest first; limit 0 is all. Empty text finds nothing. A user has
        ``login`` too (``root/#a1b2``); with ``clear`` it is the clear text where that was kept, and is searched.
        """
        text = storable_text(text)
        if not text:
            return []
        rows: list[Hit] = []
        for query, shape in (
            (_commands(text), _plain("command")),
            (_addresses(text), _plain("address")),
            (_users(text, clear), _credential_kind(text, clear)),
            (_prints(text), _json_items(text)),
            (_files(text), _json_items(text)),
            (_said_by_others(text), _json_items(text)),
            (_evidence(text), _json_items(text)),
            (_trips(text), _trip_texts(text)),
            (_values(text), _as_it_is),
            (_identities(text), _plain("identity")),
            (_campaigns(text), _plain("campaign")),
        ):
            rows += await self._found(query, shape, since, limit, ignored)
        newest = sorted(rows, key=lambda row: (row["ts"] or _EVER, row["kind"], row["value"]), reverse=True)
        once: dict[tuple[object, ...], Hit] = {}
        for row in newest:  # of those that say the same the newest
            once.setdefault(tuple(row.values())[1:], row)
        newest = list(once.values())
        return newest[:limit] if limit else newest

    async def _found(self, query: _Query, shape: Any, since: Any, limit: int, ignored: bool) -> list[Hit]:
        statement, time, mark = query
        moment = as_utc(since)
        if moment is not None and time is _SESSION.c.started_at:
            # What stands in a session has times of its own: one that began before may have some of it.
            statement = statement.where(or_(_SESSION.c.ended_at.is_(None), _SESSION.c.ended_at >= moment))
        elif moment is not None:
            seconds = isinstance(time.type, SafeFloat)
            statement = statement.where(time >= (moment.timestamp() if seconds else moment))
        if not ignored:
            statement = statement.where(mark.is_(None))
        statement = statement.order_by(time.desc())
        async with self._read() as session:
            found = await self._rows(session, statement.limit(limit) if limit else statement)
        hits = [_shown(row) for raw in found for row in shape(raw)]
        return [hit for hit in hits if moment is None or (hit["ts"] or _EVER) >= moment]


def _shown(row: Row) -> Hit:
    shown = {**{name: row.get(name) for name in FIND_COLUMNS}, "ts": as_utc(row["ts"])}
    return shaped(Hit, {**shown, "login": row["login"]} if "login" in row else shown)


_Query = tuple[Any, Any, Any]


def _has(column: Any, text: str) -> ColumnElement[bool]:
    return column.icontains(text, autoescape=True)  # type: ignore[no-any-return]


def _in_json(column: Any, text: str) -> ColumnElement[bool]:
    """Whether some text stands in a column of JSON, where quotes and some letters are written otherwise."""
    forms = {json.dumps(text, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    return or_(*(_has(cast(column, String), form) for form in sorted(forms)))


def _who(source: Any) -> list[Any]:
    return [_SESSION.c.attacker_ip, _SESSION.c.attacker_uuid, source.c.session_id]


def _commands(text: str) -> _Query:
    columns = [_COMMAND.c.ts.label("ts"), _COMMAND.c.command_text.label("value"), *_who(_COMMAND)]
    joined = _COMMAND.outerjoin(_SESSION, _SESSION.c.session_id == _COMMAND.c.session_id)
    places = (_COMMAND.c.command_text, _COMMAND.c.user, _COMMAND.c.src, _COMMAND.c.pwd)
    statement = select(*columns).select_from(joined).where(or_(*(_has(place, text) for place in places)))
    return statement, _COMMAND.c.ts, _SESSION.c.ignored_by


def _addresses(text: str) -> _Query:
    seen = func.coalesce(_ATTACKER.c.last_seen, _ATTACKER.c.told_at)
    columns = [
        seen.label("ts"),
        _ATTACKER.c.ip.label("value"),
        _ATTACKER.c.ip.label("attacker_ip"),
    ]
    statement = select(*columns, _ATTACKER.c.attacker_uuid).where(
        or_(_has(_ATTACKER.c.ip, text), _ATTACKER.c.attacker_uuid == text)
    )
    return statement, seen, _ATTACKER.c.ignored_by


def _users(text: str, clear: bool) -> _Query:
    columns = [_CREDENTIAL.c.last_seen.label("ts"), _CREDENTIAL.c.username, _CREDENTIAL.c.secret_hmac]
    columns.append(_CREDENTIAL.c.secret)
    columns += [_ATTACKER.c.ip.label("attacker_ip"), _CREDENTIAL.c.attacker_uuid, _CREDENTIAL.c.session_id]
    joined = _CREDENTIAL.outerjoin(_ATTACKER, _ATTACKER.c.attacker_uuid == _CREDENTIAL.c.attacker_uuid)
    wanted = or_(_has(_CREDENTIAL.c.username, text), _CREDENTIAL.c.secret_hmac == text.lower())
    if clear:
        wanted = or_(wanted, _CREDENTIAL.c.secret == text)
    return select(*columns).select_from(joined).where(wanted), _CREDENTIAL.c.last_seen, _ATTACKER.c.ignored_by


def _prints(text: str) -> _Query:
    columns = [_PRINT.c.last_seen.label("ts"), _PRINT.c.kind, _PRINT.c.fields]
    columns += [_ATTACKER.c.ip.label("attacker_ip"), _PRINT.c.attacker_uuid, _PRINT.c.session_id]
    joined = _PRINT.outerjoin(_ATTACKER, _ATTACKER.c.attacker_uuid == _PRINT.c.attacker_uuid)
    statement = select(*columns).select_from(joined).where(_in_json(_PRINT.c.fields, text))
    return statement, _PRINT.c.last_seen, _ATTACKER.c.ignored_by


def _files(text: str) -> _Query:
    columns = [_SESSION.c.started_at.label("ts"), *(_SESSION.c[name] for name in _FILES), *_who(_SESSION)]
    columns.append(_SESSION.c.sensor_session)
    wanted = or_(*(_in_json(_SESSION.c[name], text) for name in _FILES))
    wanted = or_(wanted, _SESSION.c.sensor_session == text)
    return select(*columns).where(wanted), _SESSION.c.started_at, _SESSION.c.ignored_by


def _said_by_others(text: str) -> _Query:
    """Intel of attackers."""
    columns = [
        _ATTACKER.c.last_seen.label("ts"),
        _INTEL.c.payload.label("intel"),
        _ATTACKER.c.ip.label("attacker_ip"),
    ]
    joined = _INTEL.join(_ATTACKER, _ATTACKER.c.attacker_uuid == _INTEL.c.attacker_uuid)
    statement = select(*columns, _INTEL.c.attacker_uuid).select_from(joined)
    return statement.where(_in_json(_INTEL.c.payload, text)), _ATTACKER.c.last_seen, _ATTACKER.c.ignored_by


def _evidence(text: str) -> _Query:
    """What is stored of mail and canaries: the evidence of their tags."""
    seen = func.coalesce(_TAG.c.seen_at, _TAG.c.created_at)
    columns = [
        seen.label("ts"),
        _TAG.c.source_kind,
        _TAG.c.evidence,
        _ATTACKER.c.ip.label("attacker_ip"),
    ]
    joined = _TAG.outerjoin(_ATTACKER, _ATTACKER.c.attacker_uuid == _TAG.c.attacker_uuid)
    statement = select(*columns, _TAG.c.attacker_uuid, _TAG.c.session_id).select_from(joined)
    return statement.where(TOLD, _in_json(_TAG.c.evidence, text)), seen, _ATTACKER.c.ignored_by


def _trips(text: str) -> _Query:
    """What those who set a canary token off sent, and what their browsers told."""
    columns = [_TRIP.c.last_at.label("ts"), *(_TRIP.c[name] for name in _OF_TRIPS), _TRIP.c.report]
    columns += [_TRIP.c.peer.label("attacker_ip"), _ATTACKER.c.attacker_uuid, _TRIP.c.session_id]
    joined = _TRIP.outerjoin(_ATTACKER, _ATTACKER.c.ip == _TRIP.c.peer)
    wanted = or_(*(_has(_TRIP.c[name], text) for name in _OF_TRIPS), _in_json(_TRIP.c.report, text))
    return select(*columns).select_from(joined).where(wanted), _TRIP.c.last_at, _ATTACKER.c.ignored_by


def _values(text: str) -> _Query:
    """Keys and payload hosts of addresses, as linking has them; when an address was first seen with it."""
    at = func.coalesce(_VALUE.c.first_at, 0.0)
    columns = [
        at.label("ts"),
        _TERM.c.family.label("kind"),
        _TERM.c.value,
        _ATTACKER.c.ip.label("attacker_ip"),
    ]
    joined = _TERM.join(_VALUE, _VALUE.c.term_id == _TERM.c.term_id)
    joined = joined.join(_ATTACKER, _ATTACKER.c.attacker_uuid == _VALUE.c.attacker_uuid)
    wanted = (_TERM.c.family.in_(_FOUND_FAMILIES), _has(_TERM.c.value, text))
    query = select(*columns, _ATTACKER.c.attacker_uuid).select_from(joined).where(*wanted)
    return query, at, _ATTACKER.c.ignored_by


def _identities(text: str) -> _Query:
    """The identity that has an id, by the address that it began with."""
    seen = func.coalesce(_ATTACKER.c.last_seen, _ATTACKER.c.told_at)
    columns = [
        seen.label("ts"),
        _IDENTITY.c.identity_uuid.label("value"),
        _ATTACKER.c.ip.label("attacker_ip"),
    ]
    joined = _IDENTITY.outerjoin(_ATTACKER, _ATTACKER.c.attacker_uuid == _IDENTITY.c.attacker_uuid)
    query = select(*columns, _IDENTITY.c.attacker_uuid).select_from(joined)
    return query.where(_IDENTITY.c.identity_uuid == text.lower()), seen, _ATTACKER.c.ignored_by


def _campaigns(text: str) -> _Query:
    """Campaigns by a part of their name, and the one that has an id; the value names them on the command line."""
    its = or_(_GROUP.c.campaign_uuid == text.lower(), _has(campaign_name(), text))
    named = (_GROUP.c.campaign_uuid + " " + campaign_name()).label("value")
    query = select(_GROUP.c.founded_at.label("ts"), named).where(is_campaign(), its)
    return query, _GROUP.c.founded_at, case((has_shown_address(), null()), else_="all ignored")


def _as_it_is(row: Row) -> list[Row]:
    return [row]


def _plain(kind: str) -> Any:
    return lambda row: [{**row, "kind": kind}]


def _trip_texts(text: str) -> Any:
    def shape(row: Row) -> list[Row]:
        told = row["report"].values() if isinstance(row["report"], dict) else ()
        said = [row[name] for name in _OF_TRIPS] + [value for value in told if isinstance(value, str)]
        hits = [value for value in said if value and text.lower() in value.lower()]
        return [{**row, "kind": "canary", "value": value} for value in hits]

    return shape


def _credential_kind(text: str, clear: bool) -> Any:
    def shape(row: Row) -> list[Row]:
        if row["secret_hmac"] == text.lower():
            return [{**row, "kind": "hash", "value": row["secret_hmac"]}]
        login = login_label(row["username"], row["secret_hmac"], row["secret"] if clear else None)
        return [{**row, "kind": "user", "value": row["username"], "login": login}]

    return shape


_KIND_OF = {
    "url": "url", "sha256": "hash", "filename": "file", "destfile": "file", "outfile": "file", "host": "forward",
    "data": "forward", "text": "input", "realm": "input", "cve": "exploit", "name": "exploit", "value": "exploit",
    "command": "exploit", "username": "exploit", "error": "file", "fields": "other", "eventid": "other",
    "command_text": "command", "usernames": "user", "version": "client", "kex": "client", "size": "client",
}  # fmt: skip
_ROOTS = {"facts": "other", "intel": "intel", "client": "hash", "extras": "other"}
"""Column → kind of what stands in it, where no key says better; elsewhere it is a hash."""
_EVIDENCE_KINDS = {"email": "mail", "canary_fingerprint": "canary"}
_IDS = frozenset({"id", "lines"})
"""Keys of what names rows of ours."""
_FIXED = frozenset({"other", "intel", "mail", "canary"})


def _json_items(text: str) -> Any:
    """The texts inside the JSON that really hold what was looked for, each once, with its own time if it has one."""
    wanted = text.casefold()

    def shape(row: Row) -> list[Row]:
        roots = {name: _ROOTS.get(name, "hash") for name in (*_FILES, "fields", "intel")}
        roots["evidence"] = _EVIDENCE_KINDS.get(str(row.get("source_kind")), "other")
        said = [(row[name], kind) for name, kind in roots.items() if row.get(name)]
        hits: dict[tuple[str, str], Any] = {}
        for value, kind in said:
            for found, hit, at in _texts(value, kind, None):
                if wanted in hit.casefold():
                    known = hits.get((found, hit))
                    hits[found, hit] = at if known is None else max(known, at or known)
        if row.get("sensor_session") == text:
            hits["session", text] = None
        return [
            {**row, "kind": kind, "value": value, "ts": row["ts"] if at is None else at}
            for (kind, value), at in sorted(hits.items(), key=lambda item: item[0])
        ]

    return shape


def _texts(value: Any, kind: str, at: float | None) -> Iterator[tuple[str, str, float | None]]:
    """Kind, text and time (epoch seconds) of each text; ``at`` is when what stands around it was."""
    if isinstance(value, str):
        yield kind, value, at
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield kind, str(value), at
    elif isinstance(value, dict):
        own = _time_of(value)
        for key, inner in value.items():
            if key not in _IDS:
                named = kind if kind in _FIXED else _KIND_OF.get(key, kind)
                yield from _texts(inner, named, at if own is None else own)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, kind, at)


def _time_of(item: dict[str, Any]) -> float | None:
    """When a thing of a session was; None when it does not say so, or says what no calendar has."""
    said = item.get("ts")
    if not isinstance(said, (int, float)) or isinstance(said, bool):
        return None
    return float(said) if 0 < said < LATEST else None
