"""Repository, part pages: all tags that are asked for, some thousands at a time, as the driver has them.

For exports: no row is an object of its own, and no more than a page is in memory.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, func, or_, select, type_coerce
from sqlalchemy.types import NullType

from decnet.db.repository.conditions import ALL, Whose
from decnet.db.repository.lists.evidence import EvidenceMixin, Since
from decnet.db.rows.lists import TAG_COLUMNS, TagPage
from decnet.db.tables import table
from decnet.db.types import as_utc

_TAG = table("ttp_tag")
_LIKE_SQLITE = "YYYY-MM-DD HH24:MI:SS.US"
PAGE = 5_000
"""Tags of a page."""


class PagesMixin(EvidenceMixin):
    """``ttp_tag``, read through from its newest end."""

    async def tag_pages(
        self,
        since: Since = None,
        attacker: str | None = None,
        ignored: bool = False,
        *,
        whose: Whose = ALL,
    ) -> AsyncGenerator[TagPage]:
        """The tags of ``list_tags`` without a limit, in its order; all pages are of one moment. To be closed by who asks."""
        asked = await self._tags_asked(since, attacker, ignored, whose)
        # As they are: what makes times and JSON of them takes longer than reading them.
        columns: list[Any] = [type_coerce(_TAG.c[name], NullType()) for name in TAG_COLUMNS]
        if self.db.dialect == "postgresql":  # whose driver reads JSON and times by itself
            columns[TAG_COLUMNS.index("evidence")] = cast(_TAG.c.evidence, Text)
            for name in ("seen_at", "created_at"):
                columns[TAG_COLUMNS.index(name)] = func.to_char(
                    func.timezone("UTC", _TAG.c[name]), _LIKE_SQLITE
                )
        seen, uuid = _TAG.c.seen_at, _TAG.c.uuid
        timed = select(*columns).where(*asked, seen.is_not(None)).order_by(seen.desc(), uuid).limit(PAGE)
        timeless = select(*columns).where(*asked, seen.is_(None)).order_by(uuid).limit(PAGE)
        async with self._read() as session:
            if self.db.dialect == "postgresql":
                await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            for query, dated in ((timed, True), (timeless, False)):
                after: list[ColumnElement[bool]] = []
                while page := (await session.execute(query.where(*after))).tuples().all():
                    yield page
                    if len(page) < PAGE:
                        break
                    after = _after(page[-1], dated)


def _after(last: Sequence[Any], dated: bool) -> list[ColumnElement[bool]]:
    """Where the next page begins: after the last tag of this one."""
    seen, uuid = _TAG.c.seen_at, _TAG.c.uuid
    later = uuid > last[TAG_COLUMNS.index("uuid")]
    if not dated:
        return [later]
    moment = as_utc(last[TAG_COLUMNS.index("seen_at")])
    return [seen <= moment, or_(seen < moment, later)]
