"""The composite tagger and the one way to get it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from decnet.config import Settings, load_settings
from decnet.logs import get_logger
from decnet.telemetry import get_tracer
from decnet.ttp.base import KNOWN_SOURCE_KINDS, Tagger, TaggerEvent, TTPTag, WatchableTagger
from decnet.ttp.lifters.taggers import Lifter, all_lifters
from decnet.ttp.rule_engine import Collected, RuleEngine, RuleEngineTagger
from decnet.ttp.store.base import RuleStore

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository

_log = get_logger(__name__)
_KNOWN_TYPES = ("composite",)
_told: set[str] = set()


class CompositeTagger(Tagger):
    """Sends an event to every lifter that handles its kind; results in the order of the lifters."""

    name: ClassVar[str] = "composite"
    HANDLES: ClassVar[frozenset[str]] = KNOWN_SOURCE_KINDS

    def __init__(self, lifters: Sequence[Tagger] = ()) -> None:
        self.lifters = tuple(lifters)
        self._index = {kind: [t for t in self.lifters if kind in t.HANDLES] for kind in KNOWN_SOURCE_KINDS}

    async def tag(self, event: TaggerEvent) -> list[TTPTag]:
        """The tags of all lifters that claim the kind."""
        claimed = self._index.get(event.source_kind)
        if not claimed:
            self._log_state(event.source_kind, known=claimed is not None)
            return []
        results = await asyncio.gather(*(lifter.tag(event) for lifter in claimed))
        return [tag for tags in results for tag in tags]

    async def tag_batch(
        self,
        events: Sequence[TaggerEvent],
        collected: Collected | None = None,
        repo: BaseRepository | None = None,
    ) -> list[TTPTag]:
        """The tags of many events; rules judge the whole batch by one snapshot, off the loop.

        ``repo`` is bound to the batch's transaction; without it what needs the past stays untagged.
        Hits of window and sequence rules go to ``collected``, for :class:`decnet.ttp.windows_engine.WindowEngine`.
        """
        out: list[TTPTag] = []
        owners = (t for t in self.lifters if isinstance(t, (RuleEngineTagger, Lifter)))
        snapshots = {engine: engine.snapshot() for engine in {owner.engine for owner in owners}}
        for lifter in self.lifters:
            mine = [event for event in events if event.source_kind in lifter.HANDLES]
            if not mine:
                continue
            with get_tracer().start_as_current_span(f"ttp.lifter.{lifter.name}"):
                if isinstance(lifter, RuleEngineTagger):
                    out += await lifter.tag_batch(mine, collected, snapshots[lifter.engine])
                elif isinstance(lifter, Lifter):
                    out += await lifter.tag_batch(mine, snapshots[lifter.engine], repo)
                else:
                    out += [tag for event in mine for tag in await lifter.tag(event)]
        for kind in {event.source_kind for event in events}:
            if not self._index.get(kind):
                self._log_state(kind, known=kind in self._index)
        return out

    def iter_watchables(self) -> Iterator[WatchableTagger]:
        """The lifters with rules behind them."""
        return (lifter for lifter in self.lifters if isinstance(lifter, WatchableTagger))

    def _log_state(self, kind: str, *, known: bool) -> None:
        if kind in _told:
            return
        _told.add(kind)
        if known:
            _log.warning("no tagger claims this source kind", source_kind=kind)
        else:
            _log.info("unknown source kind", source_kind=kind)


def get_tagger(settings: Settings | None = None, store: RuleStore | None = None) -> CompositeTagger:
    """The tagger that the settings name. ValueError for an unknown name."""
    settings = settings or load_settings()
    kind = settings.effective_tagger_type
    if kind not in _KNOWN_TYPES:
        raise ValueError(f"unknown tagger type {kind!r}; known: {', '.join(_KNOWN_TYPES)}")
    engine = RuleEngine(floor=settings.ttp.floor, max_failures=settings.ttp.max_rule_failures)
    lifters = all_lifters(engine, settings.data_dir, settings.credentials.key_file)
    return CompositeTagger([RuleEngineTagger(store, engine), *lifters])
