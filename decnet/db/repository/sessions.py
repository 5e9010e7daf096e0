"""Repository, part sessions: start, parts of the end, commands, the tagged mark.

A session may be heard of in any order: its mark, its commands and its end before its start. It
counts as ended when all parts of one ending are there; of several endings the latest counts.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from decnet.db.repository.base import RepositoryBase, Row, chunks, greatest, least, replace
from decnet.db.schema.columns import table_of
from decnet.db.schema.recorder import Command, SessionPart, SessionRow
from decnet.db.types import as_utc
from decnet.hostile import storable_text

_SESSION, _PART, _COMMAND = table_of(SessionRow), table_of(SessionPart), table_of(Command)
_BASE = (
    "session_id", "attacker_uuid", "attacker_ip", "decky_id", "service", "protocol", "sensor_session", "started_at",
)  # fmt: skip
_LAST = ("end_reason", "duration_s", "command_count", "client", "auth", "keystrokes_ref")
_FACTS = (
    "op_text", "note_text", "bytes_out", "request_count", "rows_read", "bytes_read", "path", "signals",
    "llmnr_poison_count", "tftp_filename", "commands_dropped", "items_dropped",
)  # fmt: skip
"""Keys of the end that few sessions have: kept together in ``facts``."""
_LISTS = ("downloads", "uploads", "forwards", "inputs", "exploits", "joined", "extras")
_COMMAND_TEXTS = ("user", "uid", "src", "pwd")
_PAYLOAD = (*_BASE, "ended_at", *_LAST, *_LISTS)
_UNTAGGED = (
    _SESSION.c.ended_at.is_not(None),
    _SESSION.c.tagged_at.is_(None),
    _SESSION.c.attacker_uuid.is_not(None),
)
MAX_PARTS = 100_000


class SessionsMixin(RepositoryBase):
    """``session``, ``session_part``, ``command``."""

    async def upsert_session(self, payload: Row) -> None:
        """Takes a ``session.started`` or ``session.ended`` payload; commands in it are not stored here.

        Raises ValueError without a session_id or for a time that is none.
        """
        await self.upsert_sessions([payload])

    async def upsert_sessions(self, payloads: Sequence[Row]) -> None:
        """Many of them; the order does not matter, and twice is once."""
        rows = _merged([_base_row(payload) for payload in payloads])
        parts = [_part_row(payload) for payload in payloads if payload.get("ended_at") is not None]
        merge = dict.fromkeys((*_BASE[1:-1], "ignored_by"), greatest) | {"started_at": least}
        async with self._write() as session:
            # The row's lock comes first: who adds the last part must see all the others.
            await self._upsert(session, _SESSION, rows, merge)
            whole = {"parts": replace, "digest": replace, "body": replace}
            await self._upsert(session, _PART, parts, whole, lambda new: new.digest > _PART.c.digest)
            for some in chunks(sorted({row["session_id"] for row in parts})):
                await self._finish(session, some)

    async def _finish(self, session: AsyncSession, session_ids: Sequence[str]) -> None:
        """Writes the latest complete ending of each session into its row."""
        found = await self._rows(session, select(_PART).where(_PART.c.session_id.in_(session_ids)))
        endings: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
        for row in found:
            endings[row["session_id"]][row["generation"]].append(row)
        updates = [_ending(session_id, by_age) for session_id, by_age in sorted(endings.items())]
        done = [row for row in updates if row]
        if done:
            values: Row = {name: bindparam(f"new_{name}") for name in ("ended_at", *_LAST, "facts", *_LISTS)}
            target = update(_SESSION).where(_SESSION.c.session_id == bindparam("which"))
            connection = await session.connection()
            await connection.execute(target.values(values), done)

    async def insert_commands(self, session_id: str, commands: Sequence[Row], *, first: int = 0) -> None:
        """Keeps command lines of a session; ``first`` is the position of the first one in it.

        A command without an id gets ``<session>#cmd<position>``. Raises ValueError for a bad time.
        """
        await self.insert_command_rows([(session_id, first + i, row) for i, row in enumerate(commands)])

    async def insert_command_rows(self, commands: Iterable[tuple[str, int, Row]]) -> None:
        """Commands of many sessions as (session_id, position, command) in one statement."""
        rows = [_command_row(*item) for item in commands]
        async with self._write() as session:
            await self._upsert(session, _COMMAND, rows)

    async def commands_of(self, session_id: str) -> list[Row]:
        """The commands of a session in order, with the keys of ``session.ended``; ``ts`` is aware."""
        return (await self._commands([session_id]))[session_id]

    async def _commands(self, session_ids: Sequence[str]) -> dict[str, list[Row]]:
        out: dict[str, list[Row]] = defaultdict(list)
        order = (_COMMAND.c.session_id, _COMMAND.c.ts, _COMMAND.c.position, _COMMAND.c.command_id)
        async with self._read() as session:
            for part in chunks(session_ids):
                query = select(_COMMAND).where(_COMMAND.c.session_id.in_(part)).order_by(*order)
                for row in await self._rows(session, query):
                    out[row.pop("session_id")].append({"id": row.pop("command_id"), **row})
        return out

    async def mark_sessions_tagged(self, ids: Iterable[str], ts: datetime | float) -> None:
        """Marks sessions as tagged; one that the recorder has not seen yet gets the mark alone."""
        rows = [{"session_id": session_id, "tagged_at": ts} for session_id in set(ids)]
        async with self._write() as session:
            await self._upsert(session, _SESSION, rows, {"tagged_at": greatest})

    async def untagged_sessions(self, limit: int) -> list[Row]:
        """Ended sessions without a mark, oldest first, as ``session.ended`` payloads (epoch seconds)."""
        query = select(_SESSION).where(*_UNTAGGED)
        async with self._read() as session:
            rows = await self._rows(
                session, query.order_by(_SESSION.c.ended_at, _SESSION.c.session_id).limit(limit)
            )
        commands = await self._commands([row["session_id"] for row in rows])
        return [payload_of(row, commands[row["session_id"]]) for row in rows]

    async def untagged_count(self) -> int:
        """Ended sessions without a mark."""
        async with self._read() as session:
            found = await session.execute(select(func.count()).select_from(_SESSION).where(*_UNTAGGED))
            return int(found.scalar_one())

    async def sessions_named(self, name: str, limit: int = 20) -> list[str]:
        """Ids of sessions by id, by the beginning of one (four characters at least), or by the honeypot's own id."""
        name = storable_text(name)
        own = or_(_SESSION.c.session_id == name, _SESSION.c.sensor_session == name)
        wanted = or_(own, _SESSION.c.session_id.startswith(name, autoescape=True)) if len(name) >= 4 else own
        query = select(_SESSION.c.session_id).where(wanted, _SESSION.c.attacker_uuid.is_not(None))
        async with self._read() as session:
            found = await session.execute(query.order_by(_SESSION.c.started_at).limit(limit))
            return list(found.scalars())

    async def session_payload(self, session_id: str) -> Row | None:
        """One session as a ``session.ended`` payload (epoch seconds), or None."""
        query = select(_SESSION).where(
            _SESSION.c.session_id == session_id, _SESSION.c.attacker_uuid.is_not(None)
        )
        async with self._read() as session:
            rows = await self._rows(session, query)
        return payload_of(rows[0], await self.commands_of(session_id)) if rows else None


def _base_row(payload: Row) -> Row:
    if not payload.get("session_id"):
        raise ValueError("session_id is missing")
    row = {name: payload.get(name) for name in (*_BASE, "ignored_by")}
    return {**row, "started_at": as_utc(payload.get("started_at"))}


def _merged(rows: Sequence[Row]) -> list[Row]:
    """One row for each session of a batch, by the same rules as the statement: fewer rows to write."""
    out: dict[str, Row] = {}
    for row in rows:
        key = _as_text(row["session_id"])
        kept = out.setdefault(key, {**row, "session_id": key})
        for name in (*_BASE[1:-1], "ignored_by"):
            kept[name] = max((t for v in (kept[name], row[name]) if (t := _as_text(v))), default=None)
        starts = [t for t in (kept["started_at"], row["started_at"]) if t is not None]
        kept["started_at"] = min(starts, default=None)
    return list(out.values())


def _as_text(value: Any) -> str:
    return "" if value is None else storable_text(value if isinstance(value, str) else str(value))


def _part_row(payload: Row) -> Row:
    ended = as_utc(payload["ended_at"])
    assert ended is not None
    parts = _bounded(payload.get("parts"), 1)
    body = {name: payload.get(name) for name in (*_LAST, *_LISTS)} | {"ended_at": ended.timestamp()}
    if facts := {name: payload[name] for name in _FACTS if payload.get(name)}:
        body["facts"] = facts
    return {
        "session_id": payload["session_id"],
        "generation": f"{ended.isoformat(timespec='microseconds')}|{parts:06d}",
        "part": _bounded(payload.get("part"), 1),
        "parts": parts,
        "digest": _rank(body),
        "body": body,
    }


def _rank(body: Row) -> str:
    """What orders the tellings of one end: the one that says more counts, whatever order they come in.

    A remark that the honeypot makes after a session has closed changes its end's time no more. Earlier versions
    stored the bare hash; every rank is greater than any of those.
    """
    text = json.dumps(body, sort_keys=True, default=str)
    return f"x{len(text):010d}|{hashlib.sha256(text.encode()).hexdigest()}"


def _bounded(value: Any, default: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        return default
    return max(0, min(MAX_PARTS, value))


def _ending(session_id: str, by_age: dict[str, list[Row]]) -> Row | None:
    """The columns of the latest complete ending; None while every one lacks a part."""
    complete = [age for age, rows in by_age.items() if len(rows) >= rows[0]["parts"]]
    if not complete:
        return None
    bodies = [row["body"] for row in sorted(by_age[max(complete)], key=lambda row: int(row["part"]))]
    values: Row = {"ended_at": bodies[-1]["ended_at"]}
    for name in _LAST:
        values[name] = next((body[name] for body in reversed(bodies) if body.get(name) is not None), None)
    facts = {name: value for body in bodies for name, value in (body.get("facts") or {}).items()}
    values["facts"] = facts or None
    for name in _LISTS:
        values[name] = _joined(body.get(name) for body in bodies)
    return {"which": session_id, **{f"new_{name}": value for name, value in values.items()}}


def _joined(lists: Iterable[Any]) -> list[Any]:
    """All items once, in order."""
    items = (item for some in lists if isinstance(some, list) for item in some)
    return list({json.dumps(item, sort_keys=True): item for item in items}.values())


def _command_row(session_id: str, position: int, command: Row) -> Row:
    success = command.get("success")
    return {
        "command_id": command.get("id") or f"{session_id}#cmd{position}",
        "session_id": session_id,
        "position": position,
        "command_text": "" if command.get("command_text") is None else command["command_text"],
        "ts": as_utc(command.get("ts")),
        **{name: command.get(name) for name in _COMMAND_TEXTS},
        "success": success if isinstance(success, bool) else None,
    }


def payload_of(row: Row, commands: list[Row]) -> Row:
    """A row of ``session`` and its commands as a ``session.ended`` payload (epoch seconds)."""
    out = {name: _epoch(row[name]) for name in _PAYLOAD}
    shown = [
        {k: _epoch(v) for k, v in command.items() if v is not None and k != "position"}
        for command in commands
    ]
    return out | (row.get("facts") or {}) | {"part": 1, "parts": 1, "commands": shown}


def _epoch(value: Any) -> Any:
    return value.timestamp() if isinstance(value, datetime) else value
