"""Repository, part sessions: start, parts of the end, commands, the tagged mark.

A session may be heard of in any order: its mark, its commands and its end before its start. It
counts as ended when all parts of one ending are there; of several endings the latest counts.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import ColumnElement, and_, bindparam, case, func, select, update

from decnet.db.repository.base import Row, SqlRepository, chunks, greatest, least, replace, shaped
from decnet.db.repository.recorder.pieces import LAST, LISTS, endings, generation, starts_of, whole
from decnet.db.rows.recorder import EndedPayload, StoredCommand
from decnet.db.tables import table
from decnet.db.types import as_utc
from decnet.events.session import COUNTED
from decnet.hostile import storable_text

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_SESSION, _PART, _COMMAND = table("session"), table("session_part"), table("command")
_BASE = (
    "session_id", "attacker_uuid", "attacker_ip", "decky_id", "service", "protocol", "sensor_session", "started_at",
)  # fmt: skip
_COMMAND_TEXTS = ("user", "uid", "src", "pwd")
IN_ORDER = (_COMMAND.c.session_id, _COMMAND.c.ts, _COMMAND.c.position, _COMMAND.c.command_id)
"""Sessions, and the commands of each as they were typed."""
_PAYLOAD = (*_BASE, "connected_at", "ended_at", *LAST, *LISTS)
_OF_PIECES = ("started_at", "failed_at", "piece", "torn", "span")
_IF_SAID = frozenset({"commands_dropped", "items_dropped", "connected_at"})
"""Columns that a payload has only where they say something."""
_UNTAGGED = (
    _SESSION.c.ended_at.is_not(None),
    _SESSION.c.tagged_at.is_(None),
    _SESSION.c.attacker_uuid.is_not(None),
)
MAX_PARTS = 100_000
_WHO = ("attacker_uuid", "attacker_ip")
NOBODY = "unknown"
"""The address of a session that never told one."""
Payload = Mapping[str, object]
"""What an event says; only what is known of it is kept."""


class SessionsMixin(SqlRepository):
    """``session``, ``session_part``, ``command``."""

    async def upsert_session(self, payload: Payload) -> None:
        """Takes a ``session.started`` or ``session.ended`` payload; commands in it are not stored here.

        Raises ValueError without a session_id or for a time that is none.
        """
        await self.upsert_sessions([payload])

    async def upsert_sessions(self, payloads: Sequence[Payload]) -> None:
        """Many of them; the order does not matter, and twice is once."""
        rows = _merged([_base_row(payload) for payload in payloads])
        parts = [_part_row(payload) for payload in payloads if payload.get("ended_at") is not None]
        merge = dict.fromkeys((*_BASE[1:-1], "ignored_by"), greatest) | {
            "started_at": least,
            "connected_at": least,
        }
        merge |= {"attacker_uuid": _known_first, "attacker_ip": _known_first}
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
        parts: dict[str, list[Row]] = defaultdict(list)
        for row in found:
            parts[row["session_id"]].append(row)
        known = {session_id: some for session_id, rows in parts.items() if (some := endings(rows))}
        counts = await self._command_counts(session, [i for i, some in known.items() if len(some) > 1])
        done = [_ending(i, some, counts.get(i)) for i, some in sorted(known.items())]
        torn = [
            i for i, some in sorted(known.items()) if any(one["torn"] for one in some) and starts_of(some)
        ]
        one = update(_SESSION).where(_SESSION.c.session_id == bindparam("which"))
        values: Row = {name: bindparam(f"new_{name}") for name in ("ended_at", *LAST, "facts", *LISTS)}
        await self._each(session, "session ends", lambda: one.values(values), done)
        rows = [{"which": i, "began": as_utc(min(starts_of(known[i])))} for i in torn]
        await self._each(session, "session starts", lambda: one.values(started_at=bindparam("began")), rows)

    async def _command_counts(self, session: AsyncSession, session_ids: Sequence[str]) -> dict[str, int]:
        """Lines stored of some sessions; of a long one that is kept in several records the first counts."""
        counts: dict[str, int] = {}
        for some in chunks(session_ids):
            first = _COMMAND.c.command_id.not_like("%#cmd%.%")
            chosen = select(_COMMAND.c.session_id, func.count()).where(_COMMAND.c.session_id.in_(some), first)
            found = await session.execute(chosen.group_by(_COMMAND.c.session_id))
            counts |= {session_id: int(count) for session_id, count in found}
        return counts

    async def insert_commands(self, session_id: str, commands: Sequence[Payload], *, first: int = 0) -> None:
        """Keeps command lines of a session; ``first`` is the position of the first one in it.

        A command without an id gets ``<session>#cmd<position>``. Raises ValueError for a bad time.
        """
        await self.insert_command_rows([(session_id, first + i, row) for i, row in enumerate(commands)])

    async def insert_command_rows(self, commands: Iterable[tuple[str, int, Payload]]) -> None:
        """Commands of many sessions as (session_id, position, command) in one statement."""
        rows = [_command_row(*item) for item in commands]
        async with self._write() as session:
            await self._upsert(session, _COMMAND, rows)
            for some in chunks(sorted({row["session_id"] for row in rows})):
                await self._recount(session, some)

    async def _recount(self, session: AsyncSession, session_ids: Sequence[str]) -> None:
        """Counts the commands of sessions that are known in pieces anew."""
        several = select(_PART.c.session_id).where(_PART.c.session_id.in_(session_ids))
        several = several.group_by(_PART.c.session_id).having(func.count(_PART.c.generation.distinct()) > 1)
        if found := list((await session.execute(several)).scalars()):
            await self._finish(session, found)

    async def commands_of(self, session_id: str) -> list[StoredCommand]:
        """The commands of a session in order, with the keys of ``session.ended``; ``ts`` is aware."""
        return (await self._commands([session_id]))[session_id]

    async def _commands(self, session_ids: Sequence[str]) -> dict[str, list[StoredCommand]]:
        out: dict[str, list[StoredCommand]] = defaultdict(list)
        async with self._read() as session:
            for part in chunks(session_ids):
                query = select(_COMMAND).where(_COMMAND.c.session_id.in_(part)).order_by(*IN_ORDER)
                for row in await self._rows(session, query):
                    owner, command = row.pop("session_id"), {"id": row.pop("command_id"), **row}
                    out[owner].append(shaped(StoredCommand, command))
        return out

    async def mark_sessions_tagged(self, ids: Iterable[str], ts: datetime | float) -> None:
        """Marks sessions as tagged; one that the recorder has not seen yet gets the mark alone."""
        rows = [{"session_id": session_id, "tagged_at": ts} for session_id in set(ids)]
        async with self._write() as session:
            await self._upsert(session, _SESSION, rows, {"tagged_at": greatest})

    async def unmark_sessions_tagged(self, ids: Iterable[str]) -> None:
        """Takes the marks of sessions away, so that they are judged once more."""
        async with self._write() as session:
            for part in chunks(sorted(set(ids))):
                marked = update(_SESSION).where(_SESSION.c.session_id.in_(part))
                await session.execute(marked.values(tagged_at=None))

    async def untagged_sessions(self, limit: int, of: Collection[str] | None = None) -> list[EndedPayload]:
        """Ended sessions without a mark, oldest first, as ``session.ended`` payloads (epoch seconds).

        ``of`` asks for some sessions only.
        """
        query = select(_SESSION).where(*_UNTAGGED)
        if of is not None:
            query = query.where(_SESSION.c.session_id.in_(of))
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

    async def session_payload(self, session_id: str) -> EndedPayload | None:
        """One session as a ``session.ended`` payload (epoch seconds), or None."""
        query = select(_SESSION).where(
            _SESSION.c.session_id == session_id, _SESSION.c.attacker_uuid.is_not(None)
        )
        async with self._read() as session:
            rows = await self._rows(session, query)
        return payload_of(rows[0], await self.commands_of(session_id)) if rows else None


def _known_first(old: Any, new: Any, dialect: str) -> ColumnElement[Any]:
    """The greater of both, but that of a piece that never told an address only where there is no other."""
    told_new, told_old = new.table.c.attacker_ip, old.table.c.attacker_ip
    return case(
        (and_(told_new == NOBODY, told_old != NOBODY), old),
        (and_(told_old == NOBODY, told_new != NOBODY), new),
        else_=greatest(old, new, dialect),
    )


def _base_row(payload: Payload) -> Row:
    if not payload.get("session_id"):
        raise ValueError("session_id is missing")
    row = {name: payload.get(name) for name in (*_BASE, "ignored_by")}
    # The start that a piece without its connection tells is worked out when its end is there.
    started = None if payload.get("torn") else as_utc(payload.get("started_at"))
    return {**row, "started_at": started, "connected_at": as_utc(payload.get("connected_at"))}


def _merged(rows: Sequence[Row]) -> list[Row]:
    """One row for each session of a batch, by the same rules as the statement: fewer rows to write."""
    out: dict[str, Row] = {}
    for row in rows:
        key = _as_text(row["session_id"])
        kept = out.setdefault(key, {**row, "session_id": key})
        told = [one for one in (kept, row) if one["attacker_ip"] != NOBODY]
        if len(told) == 1:
            kept |= {name: told[0][name] for name in _WHO}
        names = _BASE[3:-1] if len(told) == 1 else _BASE[1:-1]
        for name in (*names, "ignored_by"):
            kept[name] = max((t for v in (kept[name], row[name]) if (t := _as_text(v))), default=None)
        for name in ("started_at", "connected_at"):
            kept[name] = min((t for t in (kept[name], row[name]) if t is not None), default=None)
    return list(out.values())


def _as_text(value: Any) -> str:
    return "" if value is None else storable_text(value if isinstance(value, str) else str(value))


def _part_row(payload: Payload) -> Row:
    ended = as_utc(payload["ended_at"])
    assert ended is not None
    parts = _bounded(payload.get("parts"), 1)
    body = {name: payload.get(name) for name in (*LAST, *LISTS, *_OF_PIECES)} | {
        "ended_at": ended.timestamp()
    }
    if facts := {name: payload[name] for name in COUNTED if payload.get(name)}:
        body["facts"] = facts
    return {
        "session_id": payload["session_id"],
        "generation": generation(payload, ended.isoformat(timespec="microseconds"), parts),
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


def _ending(session_id: str, found: Sequence[Row], commands: int | None) -> Row:
    """The columns that the endings of a session give; ``commands`` are stored ones, where there are pieces."""
    values = whole(found)
    if commands is not None:
        lost = values["commands_dropped"] or 0
        values["command_count"] = max(values["command_count"] or 0, commands + lost)
    del values["started_at"]
    return {"which": session_id, **{f"new_{name}": value for name, value in values.items()}}


def _command_row(session_id: str, position: int, command: Payload) -> Row:
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


def payload_of(row: Row, commands: Sequence[StoredCommand]) -> EndedPayload:
    """A row of ``session`` and its commands as a ``session.ended`` payload (epoch seconds)."""
    out = {name: _epoch(row[name]) for name in _PAYLOAD if row[name] is not None or name not in _IF_SAID}
    shown = [
        {k: _epoch(v) for k, v in command.items() if v is not None and k != "position"}
        for command in commands
    ]
    payload = shaped(EndedPayload, out | {"part": 1, "parts": 1, "commands": shown})
    # What decoys other than shells count stands beside the rest, as it came.
    return cast("EndedPayload", {**(row.get("facts") or {}), **payload})


def _epoch(value: Any) -> Any:
    return value.timestamp() if isinstance(value, datetime) else value
