"""Repository, part tags: what was found, its evidence, and which rule of which version stands."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import and_, bindparam, func, literal_column, or_, select, update

from decnet.db.repository.base import SqlRepository, chunks, insert_for
from decnet.db.repository.conditions import tag_is_shown, tag_stands
from decnet.db.rows import JsonObject
from decnet.db.rows.ttp import StoredTag, TTPTag
from decnet.db.tables import table
from decnet.db.types import as_utc

_SESSION, _ATTACKER = table("session"), table("attacker")
_TAG = table("ttp_tag")
_TAG_COLUMNS = tuple(_TAG.c.keys())


class TagsMixin(SqlRepository):
    """``ttp_tag``."""

    async def insert_tags(self, tags: Sequence[TTPTag]) -> list[str]:
        """Stores tags; the uuids of the rows that were really inserted, in no order."""
        rows = {tag.uuid: {name: getattr(tag, name) for name in _TAG_COLUMNS} for tag in tags}
        if not rows:
            return []
        fresh = insert_for(self.db.dialect, _TAG).on_conflict_do_nothing(index_elements=["uuid"])
        async with self._write() as session:
            # Sorted: two transactions that insert the same tags then cannot wait for each other in a ring.
            done = await session.execute(fresh.returning(_TAG.c.uuid), [rows[key] for key in sorted(rows)])
            return list(done.scalars())

    async def tag_evidence(self, uuids: Sequence[str]) -> dict[str, JsonObject]:
        """The stored evidence of tags, by uuid."""
        out: dict[str, JsonObject] = {}
        async with self._read() as session:
            for part in chunks(uuids):
                query = select(_TAG.c.uuid, _TAG.c.evidence).where(_TAG.c.uuid.in_(part))
                out |= {uuid: why or {} for uuid, why in await session.execute(query)}
        return out

    async def renew_evidence(self, evidence: Mapping[str, JsonObject]) -> None:
        """Gives stored tags (by uuid) other evidence."""
        if not evidence:
            return
        rows = [{"tag": uuid, "why": evidence[uuid]} for uuid in sorted(evidence)]
        renewed = update(_TAG).where(_TAG.c.uuid == bindparam("tag")).values(evidence=bindparam("why"))
        async with self._write() as session:
            await (await session.connection()).execute(renewed, rows)

    async def renew_seen(self, seen: Mapping[str, datetime]) -> None:
        """Gives stored tags (by uuid) another time at which the attacker did it."""
        if not seen:
            return
        rows = [{"tag": uuid, "moment": seen[uuid]} for uuid in sorted(seen)]
        renewed = update(_TAG).where(_TAG.c.uuid == bindparam("tag")).values(seen_at=bindparam("moment"))
        async with self._write() as session:
            await (await session.connection()).execute(renewed, rows)

    async def seen_earlier(self, seen: Mapping[str, datetime]) -> None:
        """What was told of stored tags (by uuid) once more: the earliest time at which the attacker did it stands."""
        if not seen:
            return
        rows = [{"tag": uuid, "moment": seen[uuid]} for uuid in sorted(seen)]
        later = or_(_TAG.c.seen_at.is_(None), _TAG.c.seen_at > bindparam("moment"))
        same = _TAG.c.uuid == bindparam("tag")
        async with self._write() as session:
            connection = await session.connection()
            await connection.execute(
                update(_TAG).where(same, later).values(seen_at=bindparam("moment")), rows
            )

    async def tags_of_sessions(self, sessions: Sequence[str]) -> list[StoredTag]:
        """The tags of some sessions, replaced ones too, without those that are told by another; in no order."""
        columns = [_TAG.c[name] for name in StoredTag.__annotations__]
        out: list[StoredTag] = []
        async with self._read() as session:
            for part in chunks(sessions):
                found = select(*columns).where(_TAG.c.session_id.in_(part), _TAG.c.superseded_by.is_(None))
                out += await self._rows(session, found, StoredTag)
        return out

    async def give_way(self, tags: Mapping[str, str]) -> None:
        """Marks stored tags (by uuid) as superseded by another one (its uuid), where none stands for them yet."""
        if not tags:
            return
        await self._mark_tags("superseded_by", tags)

    async def replace_tags(self, tags: Mapping[str, str]) -> None:
        """Marks stored tags (by uuid) as replaced by what knows better (uuid of a tag, id of a session)."""
        if tags:
            await self._mark_tags("replaced_by", tags)

    async def _mark_tags(self, column: str, tags: Mapping[str, str]) -> None:
        rows = [{"tag": uuid, "other": tags[uuid]} for uuid in sorted(tags)]
        same = (_TAG.c.uuid == bindparam("tag"), _TAG.c[column].is_(None))
        marked = update(_TAG).where(*same).values({column: bindparam("other")})
        async with self._write() as session:
            await (await session.connection()).execute(marked, rows)

    async def restore_tags(self, uuids: Sequence[str]) -> None:
        """Lets stored tags stand again that something replaced once."""
        if not uuids:
            return
        async with self._write() as session:
            for part in chunks(sorted(uuids)):
                gone = (_TAG.c.uuid.in_(part), _TAG.c.replaced_by.is_not(None))
                await session.execute(update(_TAG).where(*gone).values(replaced_by=None))

    async def supersede_tags(self, rule_id: str, version: int, kinds: Collection[str]) -> int:
        """Marks tags of older versions of a rule whose source has one of ``version``; how many.

        A tag of a kind of evidence that the rule no longer judges (it judges ``kinds``) gives way to one of its
        session. A mark names the newer tag.
        """
        newer = _TAG.alias("newer")
        same = (
            newer.c.rule_id == _TAG.c.rule_id,
            or_(
                and_(newer.c.source_kind == _TAG.c.source_kind, newer.c.source_id == _TAG.c.source_id),
                and_(newer.c.session_id == _TAG.c.session_id, _TAG.c.source_kind.not_in(kinds)),
            ),
            newer.c.rule_version == version,
        )
        newest = select(func.min(newer.c.uuid)).where(*same).scalar_subquery()
        old = (_TAG.c.rule_id == rule_id, _TAG.c.rule_version < version, _TAG.c.superseded_by.is_(None))
        has_newer = select(newer.c.uuid).where(*same).exists()
        statement = update(_TAG).where(*old, has_newer).values(superseded_by=newest).returning(_TAG.c.uuid)
        async with self._write() as session:
            return len((await session.execute(statement)).all())

    async def tagging_figures(self) -> dict[str, int]:
        """How many sessions, sessions that nobody has judged, and tags there are, ignored and open ones too."""
        counts = {
            "sessions": select(func.count()).select_from(_SESSION),
            "unjudged": select(func.count()).select_from(_SESSION).where(_SESSION.c.tagged_at.is_(None)),
            "tags": select(func.count()).select_from(_TAG),
        }
        async with self._read() as session:
            return {name: int((await session.execute(query)).scalar_one()) for name, query in counts.items()}

    async def rule_fired_counts(self, since: datetime | float) -> dict[str, int]:
        """Tags that stand and are not of an ignored source, by rule id, stored at ``since`` or later."""
        # By an expression: grouped by the column, SQLite walks all tags in the order of their rules instead of the late ones.
        rule = func.coalesce(_TAG.c.rule_id, literal_column("''"))
        query = select(rule, func.count())
        query = query.where(_TAG.c.created_at >= as_utc(since), tag_stands(), tag_is_shown())
        async with self._read() as session:
            return {rule: int(count) for rule, count in await session.execute(query.group_by(rule))}
