"""Repository, part uses: how often each rule gave a tag lately, and when last."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, literal_column, select

from decnet.db.repository.base import SqlRepository
from decnet.db.repository.conditions import anybody_is_marked, tag_is_shown, tag_stands
from decnet.db.repository.lists.counts import newest_of
from decnet.db.rows.lists import RuleUse
from decnet.db.tables import table
from decnet.db.types import as_utc

_TAG, _KIND = table("ttp_tag"), table("tag_kind")


class UsesMixin(SqlRepository):
    """``ttp_tag`` by rule, read only; ignored sources are left out."""

    async def rule_uses(self, since: datetime | float) -> dict[str, RuleUse]:
        """By rule the tags that were stored at ``since`` or later, and when the newest of all was seen (event time).

        A rule that never gave a tag is left out.
        """
        async with self._read() as session:
            shown = [tag_is_shown()] if await anybody_is_marked(session) else []
            recent = {rule: int(count) for rule, count in await session.execute(_recent(since, shown))}
            kinds = select(_KIND.c.kind_id, _KIND.c.rule_id)
            rules = dict((await session.execute(kinds)).tuples().all())
            newest = await newest_of(session, list(rules), shown)
        last: dict[str, datetime] = {}
        for kind, seen in newest.items():
            last[rules[kind]] = max(seen, last.get(rules[kind], seen))
        return {
            rule: {"recent": recent.get(rule, 0), "last_seen": last.get(rule)} for rule in {*recent, *last}
        }


def _recent(since: datetime | float, shown: Sequence[Any]) -> Any:
    # By an expression: grouped by the column, SQLite walks all tags in the order of their rules instead of the late ones.
    rule = func.coalesce(_TAG.c.rule_id, literal_column("''"))
    query = select(rule, func.count()).where(_TAG.c.created_at >= as_utc(since), tag_stands(), *shown)
    return query.group_by(rule)
