"""Repository, part work: outbox, dead letters, failures, leases, heartbeats, checkpoints."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Float, bindparam, delete, func, insert, literal_column, or_, select

from decnet.bus.base import Event, Sealed
from decnet.db.repository.base import Row, SqlRepository, chunks, insert_for, replace
from decnet.db.repository.conditions import among
from decnet.db.rows import JsonObject
from decnet.db.rows.runtime import DeadLetterLine, Heartbeat, NewDeadLetter, StoredDeadLetter
from decnet.db.tables import table
from decnet.db.types import as_utc, utcnow
from decnet.ids import letter_key
from decnet.turns import in_turns

_OUTBOX, _DEAD, _FAILURE = table("outbox"), table("dead_letter"), table("failure_count")
FAR_S = 900.0
"""Seconds by which the leases of one name may differ, from engine to engine of one database."""
_LEASE, _BEAT, _CHECKPOINT = table("lease"), table("worker_heartbeat"), table("sensor_checkpoint")


class WorkMixin(SqlRepository):
    """Rows about work, not about attackers."""

    async def outbox_add(self, event: Event) -> None:
        """Puts one event on the outbox of the running transaction."""
        await self.outbox_add_many([event])

    async def outbox_add_many(self, events: Sequence[Event]) -> None:
        """Puts events on the outbox, in order."""
        rows = await in_turns(_outbox_row, events)
        async with self._write() as session:
            await self._each(session, "outbox", lambda: insert(_OUTBOX), rows)

    async def outbox_take(self, limit: int) -> list[tuple[int, Sealed]]:
        """The oldest ``limit`` events with their row ids; they stay until deleted."""
        async with self._read() as session:
            rows = await self._rows(session, select(_OUTBOX).order_by(_OUTBOX.c.row_id).limit(limit))
        return [
            (row["row_id"], Sealed(row["topic"], bytes(row["body"]), row["headers"] or {})) for row in rows
        ]

    async def outbox_delete(self, ids: Iterable[int]) -> None:
        """Forgets relayed events; ids that are gone already do no harm."""
        async with self._write() as session:
            for part in chunks(list(ids)):
                await session.execute(delete(_OUTBOX).where(_OUTBOX.c.row_id.in_(part)))

    async def outbox_count(self) -> int:
        """Events that wait for the relay."""
        return await self._count(select(func.count()).select_from(_OUTBOX))

    async def dead_letter_add(
        self,
        worker: str,
        topic: str,
        reason: str,
        seq: int,
        body: bytes,
        *,
        key: str = "",
        path: str | None = None,
        value: str | None = None,
    ) -> int:
        """Keeps an event that cannot be digested, or an element of one; its id. See :class:`NewDeadLetter`."""
        letter = NewDeadLetter(topic, reason, seq, body, key, path, value)
        (found,) = await self.dead_letters_add(worker, [letter])
        return found

    async def dead_letters_add(self, worker: str, letters: Sequence[NewDeadLetter]) -> list[int]:
        """Keeps letters, in order; the id of each. One with a key that is there already is that row."""
        rows = [_letter_row(worker, letter) for letter in letters]
        keys = [row["letter_key"] for row in rows]
        ids: dict[str, int] = {}
        async with self._write() as session:
            await self._each(session, "dead_letter", lambda: _fresh_letter(self.db.dialect), rows)
            for part in chunks(keys):
                known = select(_DEAD.c.letter_key, _DEAD.c.id)
                known = known.where(among(_DEAD.c.letter_key, part, self.db.dialect))
                ids.update((await session.execute(known)).tuples().all())
        return [ids[key] for key in keys]

    async def dead_letters(
        self, since: datetime | float | None = None, limit: int = 100
    ) -> list[DeadLetterLine]:
        """Rows id, worker, topic, reason, seq, path, value, ts (aware), newest first; limit 0 is all.

        ``path`` and ``value`` are those of one element, None for a whole event.
        """
        names = ("id", "worker", "topic", "reason", "seq", "path", "value", "ts")
        columns = [_DEAD.c[name] for name in names]
        query = select(*columns).order_by(_DEAD.c.id.desc())
        if since is not None:
            query = query.where(_DEAD.c.ts >= as_utc(since))
        async with self._read() as session:
            return await self._rows(session, query.limit(limit) if limit else query, DeadLetterLine)

    async def dead_letter_get(self, letter_id: int) -> StoredDeadLetter | None:
        """One dead letter with its ``body``."""
        async with self._read() as session:
            rows = await self._rows(session, select(_DEAD).where(_DEAD.c.id == letter_id), StoredDeadLetter)
        return rows[0] if rows else None

    async def dead_letter_delete(self, letter_id: int) -> None:
        """Forgets a dead letter, after it was put on the bus again."""
        async with self._write() as session:
            await session.execute(delete(_DEAD).where(_DEAD.c.id == letter_id))

    async def failure_count_add(self, worker: str, seq: int) -> int:
        """Counts one failure of a worker on the event ``seq``; the new count.

        A transaction of its own, since the failed one is rolled back: never call it inside another.
        """
        fresh = insert_for(self.db.dialect, _FAILURE)
        statement = fresh.on_conflict_do_update(
            index_elements=["worker", "seq"], set_={"count": _FAILURE.c.count + 1}
        ).returning(_FAILURE.c.count)
        async with self.db.write() as session:
            result = await session.execute(statement.values(worker=worker, seq=seq, count=1))
            return int(result.scalar_one())

    async def failure_clear(self, worker: str, seqs: Iterable[int]) -> None:
        """The events were handled or dead-lettered after all."""
        async with self._write() as session:
            for part in chunks(list(seqs)):
                await session.execute(
                    delete(_FAILURE).where(_FAILURE.c.worker == worker, _FAILURE.c.seq.in_(part))
                )

    async def failures_waiting(self, worker: str) -> int:
        """Events of a worker that failed and wait for another try."""
        return await self._count(
            select(func.count()).select_from(_FAILURE).where(_FAILURE.c.worker == worker)
        )

    async def lease_acquire(self, name: str, owner: str, ttl_s: float) -> bool:
        """Takes or renews a lease for ``ttl_s`` seconds; False while another owner holds it.

        One that lasts :data:`FAR_S` longer than this was taken before the clock was set back, and is free: whoever
        took it may be gone, and nobody would have it until the clock is there again.
        """
        row = {"name": name, "owner": owner, "now": time.time(), "ttl_s": ttl_s}
        async with self._write(told=False) as session:
            return (await session.execute(_take_lease(self.db.dialect), row)).first() is not None

    async def lease_release(self, name: str, owner: str) -> None:
        """Gives a lease back; one that is not ours stays."""
        async with self._write(told=False) as session:
            await session.execute(delete(_LEASE).where(_LEASE.c.name == name, _LEASE.c.owner == owner))

    async def lease_owner(self, name: str) -> str | None:
        """Who holds a lease or held it last; None when nobody ever did."""
        async with self._read() as session:
            query = select(_LEASE.c.owner).where(_LEASE.c.name == name)
            return (await session.execute(query)).scalar_one_or_none()

    async def heartbeats_write(self, payloads: Mapping[str, JsonObject]) -> None:
        """The last health of workers by their names, stamped with the wall clock."""
        now = utcnow()
        rows = [{"worker": worker, "payload": payload, "ts": now} for worker, payload in payloads.items()]
        async with self._write(told=False) as session:
            await self._upsert(session, _BEAT, rows, {"payload": replace, "ts": replace})

    async def heartbeats(self) -> list[Heartbeat]:
        """Rows worker, payload, ts (aware), by worker."""
        async with self._read() as session:
            return await self._rows(session, select(_BEAT).order_by(_BEAT.c.worker), Heartbeat)

    async def checkpoint_load(self, sensor_key: str) -> JsonObject | None:
        """What a sensor saved, or None."""
        query = select(_CHECKPOINT.c.state).where(_CHECKPOINT.c.sensor_key == sensor_key)
        async with self._read() as session:
            state = (await session.execute(query)).scalar_one_or_none()
        return dict(state) if state is not None else None

    async def checkpoint_save(self, sensor_key: str, state: JsonObject) -> None:
        """Remembers how far a sensor has read. Raises ValueError for a state that is no JSON."""
        json.dumps(state, allow_nan=False)  # a checkpoint must not be changed to fit
        async with self._write() as session:
            row = {"sensor_key": sensor_key, "state": state, "updated_at": utcnow()}
            await self._upsert(session, _CHECKPOINT, [row], {"state": replace, "updated_at": replace})

    async def _count(self, query: Any) -> int:
        async with self._read() as session:
            return int((await session.execute(query)).scalar_one())


@cache
def _take_lease(dialect: str) -> Any:
    """Made once: leases are renewed all the time."""
    now: Any = bindparam("now", type_=Float)
    if dialect == "postgresql":  # one clock for all hosts
        now = literal_column("extract(epoch from clock_timestamp())::double precision")
    row = {
        "name": bindparam("name"),
        "owner": bindparam("owner"),
        "expires_at": now + bindparam("ttl_s", type_=Float),
    }
    fresh = insert_for(dialect, _LEASE).values(row)
    new = {"owner": fresh.excluded.owner, "expires_at": fresh.excluded.expires_at}
    ttl = bindparam("ttl_s", type_=Float)
    over = or_(_LEASE.c.expires_at < now, _LEASE.c.expires_at > now + ttl + FAR_S)
    free = or_(_LEASE.c.owner == fresh.excluded.owner, over)
    taken = fresh.on_conflict_do_update(index_elements=["name"], set_=new, where=free)
    return taken.returning(_LEASE.c.name)


def _letter_row(worker: str, letter: NewDeadLetter) -> Row:
    row = letter._asdict()
    key = row.pop("key") or letter_key(worker, letter.seq, letter.body)
    return {**row, "worker": worker, "letter_key": key, "ts": utcnow()}


def _fresh_letter(dialect: str) -> Any:
    return insert_for(dialect, _DEAD).on_conflict_do_nothing(index_elements=["letter_key"])


def _outbox_row(event: Event) -> Row:
    return {"topic": event.topic, "body": event.to_bytes(), "headers": dict(event.headers)}
