"""Repository, part facts: intel, and what aggregates and scores are made of.

Everything is read from stored rows, so that it does not matter which event came first; what has to be
read again is in :mod:`decnet.db.repository.runtime.due`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, and_, cast, func, or_, select, tuple_

from decnet.db.repository.base import Row, SqlRepository, chunks, replace, shaped
from decnet.db.repository.locks import lock_rows
from decnet.db.rows import JsonObject
from decnet.db.rows.recorder import (
    CredentialAttempt,
    CredentialUser,
    ReusedCredential,
    ScoreCounts,
    SecretSpread,
)
from decnet.db.tables import table
from decnet.db.types import as_utc
from decnet.events.intel import Answer, Parts, answers_in, merged, newest, parts_of
from decnet.ids import identity_id
from decnet.turns import in_turns

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_INTEL = table("attacker_intel")
_SESSION, _CREDENTIAL, _IDENTITY = table("session"), table("credential"), table("identity")
_ATTACKER = table("attacker")
_ATTEMPT = ("credential_id", "attacker_uuid", "decky_id", "service", "session_id", "username",
            "secret_kind", "secret_hmac", "success", "first_seen")  # fmt: skip


class FactsMixin(SqlRepository):
    """``attacker_intel``, and reads over evidence."""

    async def upsert_intel(self, intel: Iterable[tuple[str, float, JsonObject]]) -> None:
        """Keeps enrichments (attacker_uuid, time, payload): of each provider the newest answer, whatever order they come in."""
        told: dict[str, Parts] = {}
        for uuid, ts, payload in intel:
            told[uuid] = newest(told.get(uuid, {}), parts_of(ts, payload))
        async with self._write() as session:
            for some in chunks(sorted(told)):
                await self._merge_intel(session, {uuid: told[uuid] for uuid in some})

    async def _merge_intel(self, session: AsyncSession, told: Mapping[str, Parts]) -> None:
        """Puts answers to those that are stored; the rows are held, since another engine may be at the same ones."""
        blank: Row = {"version": "", "ts": 0.0, "payload": None, "parts": None, "oldest": None}
        await self._upsert(session, _INTEL, [{"attacker_uuid": uuid, **blank} for uuid in told])
        await lock_rows(session, _INTEL.c.attacker_uuid, list(told))
        columns = [_INTEL.c[name] for name in ("attacker_uuid", "version", "ts", "payload", "parts")]
        stored = await self._rows(session, select(*columns).where(_INTEL.c.attacker_uuid.in_(told)))
        rows: list[Row] = []
        for row in stored:
            before, uuid = _stored_parts(row), row["attacker_uuid"]
            if (parts := newest(before, told[uuid])) != row["parts"]:
                rows.append({"attacker_uuid": uuid, **merged(parts)._asdict(), "parts": parts})
        await self._upsert(session, _INTEL, rows, dict.fromkeys(blank, replace))

    async def intel_of(self, attacker_uuids: Iterable[str]) -> list[tuple[float, JsonObject]]:
        """The stored enrichments (time, payload) of attackers that have one, by attacker."""
        found: list[tuple[float, JsonObject]] = []
        async with self._read() as session:
            for part in chunks(sorted(set(attacker_uuids))):
                query = select(_INTEL.c.ts, _INTEL.c.payload).where(_INTEL.c.attacker_uuid.in_(part))
                rows = await session.execute(query.order_by(_INTEL.c.attacker_uuid))
                found += rows.tuples().all()
        return found

    async def intel_answers(self, attacker_uuid: str) -> list[Answer]:
        """What each provider said last of one attacker, and when."""
        columns = [_INTEL.c[name] for name in ("ts", "payload", "parts")]
        async with self._read() as session:
            rows = await self._rows(session, select(*columns).where(_INTEL.c.attacker_uuid == attacker_uuid))
        return [answer for row in rows for answer in answers_in(_stored_parts(row))]

    async def attempts(
        self, attackers: Sequence[str], since: float, until: float, limit: int
    ) -> list[CredentialAttempt]:
        """Credentials first tried in a span, in order of (attacker, time, id); ``first_seen`` is epoch seconds."""
        time = _CREDENTIAL.c.first_seen
        query = select(*(_CREDENTIAL.c[name] for name in _ATTEMPT)).where(
            _CREDENTIAL.c.attacker_uuid.in_(attackers), time >= as_utc(max(since, 0.0)), time <= as_utc(until)
        )
        order = (_CREDENTIAL.c.attacker_uuid, time, _CREDENTIAL.c.credential_id)
        async with self._read() as session:
            rows = await self._rows(session, query.order_by(*order).limit(limit))
        return await in_turns(_attempt, rows)

    async def session_starts(self, attackers: Sequence[str], newest: int) -> dict[str, list[float]]:
        """Start times (epoch seconds, rising) of the ``newest`` sessions of each attacker."""
        rank = func.row_number().over(
            partition_by=_SESSION.c.attacker_uuid,
            order_by=(_SESSION.c.started_at.desc(), _SESSION.c.session_id),
        )
        ranked = select(_SESSION.c.attacker_uuid, _SESSION.c.started_at, rank.label("place")).where(
            _SESSION.c.attacker_uuid.in_(attackers), _SESSION.c.started_at.is_not(None)
        ).subquery()  # fmt: skip
        query = select(ranked.c.attacker_uuid, ranked.c.started_at).where(ranked.c.place <= newest)
        out: dict[str, list[float]] = defaultdict(list)
        async with self._read() as session:
            for uuid, start in await session.execute(query):
                out[uuid].append(start.timestamp())
        return {uuid: sorted(starts) for uuid, starts in out.items()}

    async def attackers_with_sessions(
        self, attackers: Sequence[str], since: float, until: float, least: int
    ) -> set[str]:
        """Those of some attackers that began at least so many sessions in a span (epoch seconds)."""
        who = _SESSION.c.attacker_uuid
        query = select(who).where(
            who.in_(attackers),
            _SESSION.c.started_at >= as_utc(max(since, 0.0)),
            _SESSION.c.started_at < as_utc(until),
        )
        async with self._read() as session:
            return set((await session.execute(query.group_by(who).having(func.count() >= least))).scalars())

    async def starts_after(
        self, attacker: str, after: tuple[float, str], until: float, limit: int
    ) -> list[tuple[float, str]]:
        """Sessions of one attacker after a place in order of (start, id) and before ``until``, as such places."""
        time, key = _SESSION.c.started_at, _SESSION.c.session_id
        moment = as_utc(max(after[0], 0.0))
        beyond = or_(time > moment, and_(time == moment, key > after[1]))
        query = select(time, key).where(_SESSION.c.attacker_uuid == attacker, beyond, time < as_utc(until))
        async with self._read() as session:
            rows = await session.execute(query.order_by(time, key).limit(limit))
            return [(start.timestamp(), ident) for start, ident in rows]

    async def identities_of(self, attackers: Sequence[str]) -> dict[str, str]:
        """The canonical identity of each attacker; the stub where none was formed yet."""
        canonical = func.coalesce(_IDENTITY.c.merged_into, _IDENTITY.c.identity_uuid)
        query = select(_IDENTITY.c.attacker_uuid, canonical).where(_IDENTITY.c.attacker_uuid.in_(attackers))
        async with self._read() as session:
            found = dict((await session.execute(query)).tuples().all())
        return {uuid: found.get(uuid) or identity_id(uuid) for uuid in attackers}

    async def first_seen_of(self, attackers: Sequence[str]) -> dict[str, float]:
        """When attackers were seen first (epoch seconds), by id; those without such a time are left out."""
        out: dict[str, float] = {}
        async with self._read() as session:
            for part in chunks(attackers):
                query = select(_ATTACKER.c.attacker_uuid, _ATTACKER.c.first_seen).where(
                    _ATTACKER.c.attacker_uuid.in_(part), _ATTACKER.c.first_seen.is_not(None)
                )
                out |= {uuid: moment.timestamp() for uuid, moment in await session.execute(query)}
        return out

    async def spread_of_secrets(
        self, identities: Sequence[str], since: float = 0.0, least_accounts: int = 2
    ) -> list[SecretSpread]:
        """For each identity the secret that most login names were tried with, from ``least_accounts`` names on.

        Only secrets of which something is new from ``since`` on (epoch seconds) are looked at.
        """
        names = func.count(_CREDENTIAL.c.username.distinct()).label("account_count")
        who = func.coalesce(_IDENTITY.c.merged_into, _IDENTITY.c.identity_uuid)
        secret = (_CREDENTIAL.c.secret_kind, _CREDENTIAL.c.secret_hmac)
        columns = (
            who.label("identity_uuid"),
            *secret,
            names,
            func.count(_target().distinct()).label("target_count"),
        )
        joined = _CREDENTIAL.join(_IDENTITY, _IDENTITY.c.attacker_uuid == _CREDENTIAL.c.attacker_uuid)
        best: dict[str, SecretSpread] = {}
        for part in chunks(identities):
            mine = or_(_IDENTITY.c.identity_uuid.in_(part), _IDENTITY.c.merged_into.in_(part))
            members = select(_IDENTITY.c.attacker_uuid).where(mine)
            fresh = _recent([secret[1]], _CREDENTIAL.c.attacker_uuid.in_(members), since)
            query = select(*columns).select_from(joined).where(mine, secret[1].in_(fresh))
            found = (
                query.group_by(who, *secret).having(names >= least_accounts).order_by(names.desc(), secret[1])
            )
            async with self._read() as session:
                for row in await self._rows(session, found, SecretSpread):
                    best.setdefault(row["identity_uuid"], row)
        return [best[identity] for identity in sorted(best)]

    async def reused_credentials(
        self, attackers: Sequence[str], since: float = 0.0
    ) -> list[ReusedCredential]:
        """Login name and secret that one attacker tried on several targets, with ``target_count``.

        Only those of which something is new from ``since`` on (epoch seconds) are looked at.
        """
        targets = func.count(_target().distinct()).label("target_count")
        columns = [_CREDENTIAL.c[n] for n in ("attacker_uuid", "username", "secret_kind", "secret_hmac")]
        # The keyed hash has the kind in it, so that it tells secrets apart by itself.
        mine, pair = _CREDENTIAL.c.attacker_uuid.in_(attackers), (columns[0], columns[3])
        first = func.min(_CREDENTIAL.c.first_seen).label("first_seen")
        query = select(*columns, targets, first).where(mine, tuple_(*pair).in_(_recent(pair, mine, since)))
        async with self._read() as session:
            found = query.group_by(*columns).having(targets >= 2).order_by(*columns)
            return await self._rows(session, found, ReusedCredential)

    async def credential_users(
        self, username: str | None, kind: str | None, secret: str, limit: int
    ) -> list[CredentialUser]:
        """Who tried a credential where: attacker_uuid, decky_id, service, each once."""
        columns = [_CREDENTIAL.c[name] for name in ("attacker_uuid", "decky_id", "service")]
        query = select(*columns).where(
            _CREDENTIAL.c.secret_hmac == secret,
            _CREDENTIAL.c.secret_kind == kind,
            _CREDENTIAL.c.username == username,
        )
        async with self._read() as session:
            return await self._rows(session, query.distinct().order_by(*columns).limit(limit), CredentialUser)

    async def score_counts(self, attackers: Sequence[str]) -> dict[str, ScoreCounts]:
        """What an attacker's score is made of: event_count, service_count, decky_count, credential_count."""
        owner_of = _SESSION.c.attacker_uuid
        counted = func.count() + func.coalesce(func.sum(_SESSION.c.command_count), 0)
        query = select(
            owner_of, counted, func.count(_SESSION.c.service.distinct()), func.count(_SESSION.c.decky_id.distinct())
        ).where(owner_of.in_(attackers)).group_by(owner_of)  # fmt: skip
        owner = _CREDENTIAL.c.attacker_uuid
        secrets = select(owner, func.count()).where(owner.in_(attackers)).group_by(owner)
        async with self._read() as session:
            credentials = dict((await session.execute(secrets)).tuples().all())
            sessions = {row[0]: row[1:] for row in await session.execute(query)}
        out: dict[str, ScoreCounts] = {}
        for uuid in attackers:
            events, services, deckies = map(int, sessions.get(uuid, (0, 0, 0)))
            out[uuid] = ScoreCounts(
                event_count=events,
                service_count=services,
                decky_count=deckies,
                credential_count=int(credentials.get(uuid, 0)),
            )
        return out


def _attempt(row: Row) -> CredentialAttempt:
    return shaped(CredentialAttempt, {**row, "first_seen": row["first_seen"].timestamp()})


def _recent(columns: Sequence[Any], mine: Any, since: float) -> Any:
    """The secrets of some attackers that were tried from a moment on."""
    moment = as_utc(max(since, 0.0))
    return select(*columns).where(
        mine, _CREDENTIAL.c.secret_hmac.is_not(None), _CREDENTIAL.c.first_seen >= moment
    )


def _target() -> Any:
    """Decky and service as one text, for counting them distinct."""
    return (
        func.coalesce(cast(_CREDENTIAL.c.decky_id, String), "")
        + "|"
        + func.coalesce(_CREDENTIAL.c.service, "")
    )


def _stored_parts(row: Row) -> Parts:
    """The parts of a stored answer; one of before there were parts is taken apart now."""
    if row["parts"] is not None:
        return dict(row["parts"])
    return {} if row["payload"] is None else parts_of(row["ts"], row["payload"])
