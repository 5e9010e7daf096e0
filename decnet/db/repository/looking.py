"""A repository that is only read, by one task: what most lists ask is loaded, the whole one at the first other question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from decnet.db.looking import LookedAt
from decnet.db.repository.lists.evidence import EvidenceMixin

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository


class _Looking(EvidenceMixin):
    """A repository on a database that is only looked at."""

    def __getattr__(self, name: str) -> Any:
        """What only the whole repository knows."""
        from decnet.db.repository.whole import BaseRepository

        return getattr(BaseRepository(self.db), name)


async def look(url: str) -> BaseRepository:
    """A repository that is only read; on SQLite it is there sooner. End it with ``close``.

    A database of an older version is migrated. Raises what :meth:`decnet.db.engine.Database.open` raises.
    """
    if url.startswith("sqlite"):
        found, can_be_read = LookedAt(url), False
        try:
            if can_be_read := found.can_be_read():
                return cast("BaseRepository", _Looking(found))
        finally:
            if not can_be_read:
                await found.close()
    from decnet.db.repository.whole import BaseRepository

    return await BaseRepository.open(url)
