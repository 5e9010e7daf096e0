"""Repository, part canary: tokens and their triggers. What a hit means is left to :mod:`decnet.decoys.canary`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Column, func, select, tuple_, update

from decnet.db.repository.base import Row, SqlRepository, chunks, insert_for, replace
from decnet.db.rows.canary import TokenRow, TriggerRow
from decnet.db.tables import table

_TOKEN, _TRIGGER = table("canary_token"), table("canary_trigger")

_COUNTED: Final = ("first_trip_at", "last_trip_at", "trips", "window_at", "window_trips")
_AGAIN: Final = ("hits", "first_at", "last_at", "report")


class CanaryMixin(SqlRepository):
    """``canary_token`` and ``canary_trigger``."""

    async def canary_add(self, token: TokenRow) -> bool:
        """Keeps a new token; False when its id or its slug is taken, and then nothing is changed."""
        fresh = insert_for(self.db.dialect, _TOKEN).values(**token).on_conflict_do_nothing()
        async with self._write() as session:
            return (await session.execute(fresh.returning(_TOKEN.c.token_id))).first() is not None

    async def canary_tokens(self) -> list[TokenRow]:
        """All tokens by age, revoked ones too."""
        by_age = select(_TOKEN).order_by(_TOKEN.c.minted_at, _TOKEN.c.token_id)
        async with self._read() as session:
            return await self._rows(session, by_age, TokenRow)

    async def canary_token(self, token_id: str) -> TokenRow | None:
        """One token."""
        async with self._read() as session:
            found = await self._rows(session, select(_TOKEN).where(_TOKEN.c.token_id == token_id), TokenRow)
        return found[0] if found else None

    async def canary_by_slugs(self, slugs: Iterable[str]) -> dict[str, TokenRow]:
        """Slug → token, of those that are known. In a transaction the rows are locked, in the order of their ids."""
        return {row["slug"]: row for row in await self._canary_held(_TOKEN.c.slug, slugs)}

    async def canary_by_ids(self, token_ids: Iterable[str]) -> dict[str, TokenRow]:
        """The same by id."""
        return {row["token_id"]: row for row in await self._canary_held(_TOKEN.c.token_id, token_ids)}

    async def _canary_held(self, column: Column[str], values: Iterable[str]) -> list[TokenRow]:
        found: list[TokenRow] = []
        async with self._read() as session:
            for part in chunks(sorted(set(values))):
                wanted = select(_TOKEN).where(column.in_(part)).order_by(_TOKEN.c.token_id)
                locked = wanted.with_for_update() if self._session is not None else wanted
                found += await self._rows(session, locked, TokenRow)
        return found

    async def canary_foreign(self) -> int:
        """How many tokens of other services' are kept."""
        foreign = select(func.count()).select_from(_TOKEN).where(_TOKEN.c.kind.like("%/%"))
        async with self._read() as session:
            return (await session.execute(foreign)).scalar_one()

    async def canary_watched(self) -> list[TokenRow]:
        """Tokens that trip when a value of theirs comes back, without those that were revoked."""
        live = _TOKEN.c.watched.is_not(None) & _TOKEN.c.revoked_at.is_(None)
        wanted = select(_TOKEN).where(live).order_by(_TOKEN.c.token_id)
        async with self._read() as session:
            return await self._rows(session, wanted, TokenRow)

    async def canary_trigger(self, trigger_id: str) -> TriggerRow | None:
        """One trigger."""
        async with self._read() as session:
            one = select(_TRIGGER).where(_TRIGGER.c.trigger_id == trigger_id)
            found = await self._rows(session, one, TriggerRow)
        return found[0] if found else None

    async def canary_placed(self, token_id: str, path: str, at: datetime) -> bool:
        """Writes down where a token lies; False when there is none, or it was revoked."""
        return await self._canary_changed(token_id, {"path": path, "placed_at": at})

    async def canary_revoked(self, token_id: str, at: datetime) -> bool:
        """A token counts no longer; False when there is none, or it was revoked before."""
        return await self._canary_changed(token_id, {"revoked_at": at})

    async def _canary_changed(self, token_id: str, values: Row) -> bool:
        live = (_TOKEN.c.token_id == token_id) & _TOKEN.c.revoked_at.is_(None)
        changed = update(_TOKEN).where(live).values(**values).returning(_TOKEN.c.token_id)
        async with self._write() as session:
            return (await session.execute(changed)).first() is not None

    async def canary_count(self, token: TokenRow) -> None:
        """Keeps how often and when a token was set off, as its row says it."""
        values = {name: token[name] for name in _COUNTED}
        async with self._write() as session:
            await session.execute(
                update(_TOKEN).where(_TOKEN.c.token_id == token["token_id"]).values(**values)
            )

    async def canary_counts(self, tokens: Sequence[TokenRow]) -> None:
        """The same for several tokens."""
        async with self._write() as session:
            await self._upsert(session, _TOKEN, tokens, dict.fromkeys(_COUNTED, replace))

    async def canary_standing(self, pairs: Sequence[tuple[str, str]], since: datetime) -> list[TriggerRow]:
        """The newest trigger of each token and peer in ``pairs`` that began after ``since``."""
        found: dict[tuple[str, str], TriggerRow] = {}
        by_age = select(_TRIGGER).order_by(_TRIGGER.c.first_at, _TRIGGER.c.trigger_id.desc())
        async with self._read() as session:
            for part in chunks(pairs):
                mine = tuple_(_TRIGGER.c.token_id, _TRIGGER.c.peer).in_(part) & (_TRIGGER.c.first_at > since)
                for row in await self._rows(session, by_age.where(mine), TriggerRow):
                    found[row["token_id"], row["peer"]] = row
        return list(found.values())

    async def canary_triggers_keep(self, triggers: Sequence[TriggerRow]) -> None:
        """Keeps triggers that are new, and of those that are known how often and when their peers came."""
        async with self._write() as session:
            await self._upsert(session, _TRIGGER, triggers, dict.fromkeys(_AGAIN, replace))

    async def canary_seen(self, token_id: str, *, peer: str | None = None, label: str | None = None) -> bool:
        """Whether a trigger of the token has that peer, or that label."""
        mine = select(_TRIGGER.c.trigger_id).where(_TRIGGER.c.token_id == token_id)
        if peer is not None:
            mine = mine.where(_TRIGGER.c.peer == peer)
        if label is not None:
            mine = mine.where(_TRIGGER.c.label == label)
        async with self._read() as session:
            return (await session.execute(mine.limit(1))).first() is not None

    async def canary_trigger_add(self, trigger: TriggerRow) -> None:
        """Keeps a new trigger."""
        async with self._write() as session:
            await self._upsert(session, _TRIGGER, [trigger])

    async def canary_trigger_again(self, trigger: TriggerRow) -> None:
        """Keeps how often and when a trigger's peer came, and what its browser told."""
        values = {name: trigger[name] for name in _AGAIN}
        mine = _TRIGGER.c.trigger_id == trigger["trigger_id"]
        async with self._write() as session:
            await session.execute(update(_TRIGGER).where(mine).values(**values))

    async def canary_reports(self, token_id: str, peer: str) -> list[TriggerRow]:
        """The triggers of a token in which a browser of one peer told of itself."""
        told = select(_TRIGGER).where(
            _TRIGGER.c.token_id == token_id, _TRIGGER.c.peer == peer, _TRIGGER.c.report.is_not(None)
        )
        async with self._read() as session:
            return await self._rows(session, told, TriggerRow)

    async def canary_triggers(
        self, token_id: str | None = None, *, since: datetime | None = None, limit: int = 100
    ) -> list[TriggerRow]:
        """Triggers, newest first; ``limit`` 0 is all."""
        newest = select(_TRIGGER).order_by(_TRIGGER.c.first_at.desc(), _TRIGGER.c.trigger_id)
        if token_id is not None:
            newest = newest.where(_TRIGGER.c.token_id == token_id)
        if since is not None:
            newest = newest.where(_TRIGGER.c.last_at >= since)
        async with self._read() as session:
            return await self._rows(session, newest.limit(limit or None), TriggerRow)
