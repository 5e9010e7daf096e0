"""Repository, part typed: which attackers typed some words, as far as their newest commands go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import func, select

from decnet.db.repository.base import SqlRepository
from decnet.db.rows.lists import TypedWords
from decnet.db.tables import table
from decnet.hostile import storable_text

_SESSION, _COMMAND = table("session"), table("command")
LOOKED_AT = 30_000
"""Commands that are looked at, the newest: no index knows what stands inside them."""
WORDS = 8
"""Words that are looked for at once."""


class TypedMixin(SqlRepository):
    """A bounded look at commands."""

    async def typed_by(self, words: Sequence[str]) -> TypedWords:
        """Of at most :data:`WORDS` words (whatever their case) by attacker those that stand in a command of theirs.

        ``looked_at`` says how many commands were looked at where there are more; None when these were all.
        """
        wanted = {word: storable_text(word) for word in words[:WORDS] if word}
        if not wanted:
            return TypedWords({}, None)
        newest = (
            select(_COMMAND.c.session_id, _COMMAND.c.command_text)
            .where(_COMMAND.c.ts.is_not(None))
            .order_by(_COMMAND.c.ts.desc())
        )
        looked = newest.limit(LOOKED_AT).subquery("looked")
        hits = [looked.c.command_text.icontains(text, autoescape=True) for text in wanted.values()]
        found: dict[str, set[str]] = defaultdict(set)
        async with self._read() as session:
            for word, hit in zip(wanted, hits, strict=True):
                joined = looked.join(_SESSION, _SESSION.c.session_id == looked.c.session_id)
                query = select(_SESSION.c.attacker_uuid).select_from(joined).where(hit).distinct()
                for uuid in (await session.execute(query)).scalars():
                    found[str(uuid)].add(word)
            left = select(func.count()).select_from(newest.offset(LOOKED_AT).limit(1).subquery("left"))
            more = bool((await session.execute(left)).scalar_one())
        return TypedWords(
            {uuid: frozenset(some) for uuid, some in found.items()}, LOOKED_AT if more else None
        )
