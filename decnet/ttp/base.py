"""What every tagger is: the source kinds, the event it looks at, and the three contracts.

The rule engine lives in :mod:`decnet.ttp.rule_engine`, the fan-out in :mod:`decnet.ttp.factory`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from decnet.db.rows.ttp import TTPTag
from decnet.logs import get_logger
from decnet.ttp.kinds import KNOWN_SOURCE_KINDS

__all__ = ["KNOWN_SOURCE_KINDS", "TTPTag", "Tagger", "TaggerEvent", "TolerantTagger", "WatchableTagger"]

_log = get_logger(__name__)


class TaggerEvent(NamedTuple):
    """One thing to judge; hashable over its six scalar fields, so that events go into sets."""

    source_kind: str
    source_id: str
    attacker_uuid: str | None = None
    identity_uuid: str | None = None
    session_id: str | None = None
    decky_id: str | None = None
    payload: dict[str, Any] = {}  # noqa: RUF012 - a NamedTuple default; nobody writes to a payload

    def __hash__(self) -> int:
        return hash(self[:6])


class Tagger(ABC):
    """Turns one event into tags."""

    name: ClassVar[str] = "tagger"
    HANDLES: ClassVar[frozenset[str]] = frozenset()
    """Source kinds it wants; an empty set is never dispatched to."""

    @abstractmethod
    async def tag(self, event: TaggerEvent) -> list[TTPTag]:
        """The tags of ``event``, not yet stored."""


class TolerantTagger(Tagger):
    """A tagger whose own failure costs its tags for that event and nothing else."""

    async def tag(self, event: TaggerEvent) -> list[TTPTag]:
        """The tags, or an empty list and one WARNING when the implementation failed."""
        try:
            return await self._tag_impl(event)
        except Exception:  # noqa: BLE001 - the named boundary: an absent sibling is the steady state
            _log.warning(
                f"tagger {self.name} failed on {event.source_kind}",
                tagger=self.name,
                source_kind=event.source_kind,
                exc_info=True,
            )
            return []

    @abstractmethod
    async def _tag_impl(self, event: TaggerEvent) -> list[TTPTag]:
        """The tags of ``event``; may raise."""


@runtime_checkable
class WatchableTagger(Protocol):
    """A tagger with rules behind it."""

    async def watch_store(self) -> None:
        """Loads the rules and follows their changes for ever."""
        ...
