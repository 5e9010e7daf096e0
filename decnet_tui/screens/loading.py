"""When views that show the store read it again: on being shown, soon after news, and every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from decnet.hostile import visible
from decnet_tui.model.access import Session, store_errors
from decnet_tui.model.feed import Feed
from decnet_tui.model.trends import HOURS, trends_of
from decnet_tui.screens.base import View

EVERY_S = 5.0
"""Seconds without news until the store is read again: other hosts may write too."""
BADGE_S = 15.0
"""Seconds until open alerts are counted again without news: acknowledging makes none."""
TRENDS_S = 30.0
"""Seconds until the rates of the last day are read again."""
SOON_S = 0.5
"""Seconds between two reads at least."""
PAUSES = 4.0
"""News wait for so many times as long as the last read took, from its beginning: a large store is not read all the time."""


@dataclass
class _Seen:
    at: float = 0.0
    news: int = -1
    running: bool = False
    depth: int = 1
    took: float = 0.0
    """Seconds of the last read."""


class Loader:
    """Reads the store for views. One read of a view at a time."""

    def __init__(self, session: Session, feed: Feed, clock: Callable[[], float] = time.monotonic) -> None:
        self._session = session
        self._clock = clock
        self._feed = feed
        self._seen: dict[str, _Seen] = {}
        self._badge = _Seen()
        self._trends = _Seen()

    def due(self, view: View) -> bool:
        """Whether the view should be read now; saying so, it counts as begun."""
        if not view.stored or view.paused or self._session.opening:
            return False
        seen = self._seen.setdefault(view.name, _Seen())
        news = sum(self._feed.by_root[root] for root in view.roots)
        age = self._clock() - seen.at
        soon = max(SOON_S, min(EVERY_S, PAUSES * seen.took))
        wanted = not view.loaded_at or (news != seen.news and age >= soon) or age >= EVERY_S
        # A level that one comes back to may be as old as what was done above it.
        wanted |= view.depth < seen.depth
        seen.depth = max(view.depth, seen.depth)
        if not wanted or seen.running or (not view.loaded_at and age < SOON_S):
            return False
        seen.at, seen.news, seen.running, seen.depth = self._clock(), news, True, view.depth
        return True

    def badge_due(self) -> bool:
        """Whether open alerts should be counted again; saying so, it counts as begun."""
        news = self._feed.by_root["attribution"]
        age = self._clock() - self._badge.at
        if self._badge.running or not ((news != self._badge.news and age >= SOON_S) or age >= BADGE_S):
            return False
        self._badge = _Seen(self._clock(), news, running=True)
        return True

    def trends_due(self) -> bool:
        """Whether the rates of the last day should be read again; saying so, it counts as begun."""
        if self._trends.running or self._session.repo is None:
            return False
        if self._trends.at and self._clock() - self._trends.at < TRENDS_S:
            return False
        self._trends = _Seen(self._clock(), running=True)
        return True

    async def load_trends(self) -> None:
        """The rates of the last day; what was read before stands while they cannot be."""
        repo, now = self._session.repo, int(time.time() // 3600)
        try:
            if repo is not None:
                self._feed.trends = trends_of(await repo.hourly(now - HOURS + 1, now))
        except store_errors():
            return
        finally:
            self._trends.running = False

    def recount(self) -> None:
        """The open alerts are counted again with the next tick."""
        self._badge.at = 0.0

    async def load_badge(self) -> None:
        """Counts the open alerts for the header; unknown without a database."""
        repo = self._session.repo
        try:
            rows = await repo.list_alerts(state="open", limit=0) if repo is not None else None
            self._feed.alerts_open = None if rows is None else len(rows)
        except store_errors():
            self._feed.alerts_open = None
        finally:
            self._badge.running = False

    async def load(self, view: View) -> None:
        """Reads the store for a view; what goes wrong, the view says."""
        begun = self._clock()
        try:
            data = await view.fetch(self._session)
        except store_errors() as error:
            view.fail(visible(error, 300))
        else:
            if not view.paused:
                view.load(data)
        finally:
            if (seen := self._seen.get(view.name)) is not None:
                seen.running = False
                seen.took = self._clock() - begun
