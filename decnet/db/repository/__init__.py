"""The one door to the rows: everything that reads or writes them goes through :class:`BaseRepository`.

Queries stand by the subject of the tables that they write, as in :mod:`decnet.db.schema`; what is read for
people over several subjects is in ``lists``, locks are in ``locks``, what all share is in ``base``, and all of it
together in ``whole``, which is loaded when it is asked for: a list needs little of it (``looking``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from decnet.db.repository.whole import BaseRepository as BaseRepository


def __getattr__(name: str) -> Any:
    """The class, at the first use of its name."""
    if name == "BaseRepository":
        from decnet.db.repository.whole import BaseRepository

        return BaseRepository
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
