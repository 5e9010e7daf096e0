"""Since you last looked: what is new, each line with the view that tells more."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from decnet.hostile import visible
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.feed import Feed
from decnet_tui.model.keys import key
from decnet_tui.model.scope import Scope
from decnet_tui.model.since import Beat, Section, gather, is_empty, render
from decnet_tui.model.words import clock, span
from decnet_tui.screens.alerts import AlertLine, alert_lines
from decnet_tui.screens.base import Place
from decnet_tui.screens.sections import Entry, SectionsView, heading
from decnet_tui.widgets.strips import BOLD, FAINT, PLAIN, WARN

DAY = 86_400.0
SPANS: tuple[tuple[str, float], ...] = (("24h", DAY), ("7d", 7 * DAY), ("30d", 30 * DAY), ("all", 0.0))
MAX_ITEMS = 12
"""Lines of one section; more are counted."""


class SinceView(SectionsView):
    """Sections of :mod:`decnet_tui.model.since` since the operator last looked, or within a span."""

    name = "since"
    title = "Since"
    key = "0"
    says = "Since you last looked: what is new"
    stored = True
    roots = ("attacker", "ttp", "attribution", "decky", "identity")

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.last_look: float | None = None
        self.choice = 0
        self.nothing = False
        self._sections: Sequence[Section] = ()

    def start_with(self, last_look: float | None, demo: bool) -> None:
        """The span to begin with: since the last look; everything at a first one, and in a demo of old events."""
        self.last_look = last_look
        self.choice = len(self.spans()) - 1 if demo or last_look is None else 0

    @property
    def since(self) -> float:
        """The moment that counts, in epoch seconds."""
        label, seconds = self.spans()[self.choice]
        if label == "last look":
            return self.last_look or 0.0
        return time.time() - seconds if seconds else 0.0

    def spans(self) -> tuple[tuple[str, float], ...]:
        """What can be chosen; the last look first, when there was one."""
        return ((("last look", 0.0),) if self.last_look else ()) + SPANS

    def next_span(self) -> str:
        """Another span; its name."""
        self.choice = (self.choice + 1) % len(self.spans())
        self.loaded_at = 0.0
        return self.spans()[self.choice][0]

    async def fetch(self, session: Session) -> list[Section]:
        """The sections. Raises what the store raises."""
        found = await gather(need_store(session), session, self.since, self.feed.heartbeat_s)
        # What the bus said last is newer than the stored heartbeats, and is what the header goes by.
        live = [Beat(worker=w.name, payload=w.payload) for w in self.feed.workers.values()]
        found.heartbeats = live or found.heartbeats
        return render(found)

    def load(self, data: Sequence[Section]) -> None:
        """The sections as entries."""
        self.problem, self.loaded_at = "", time.monotonic()
        self.nothing = is_empty(data)
        self._sections = () if self.nothing else data
        self._render_header()

    def _render_header(self) -> None:
        """The followed actor is looked for before the lines of a section are limited."""
        shown = [replace(s, items=tuple(i for i in s.items if self.covers(i.data))) for s in self._sections]
        self.put([entry for section in shown for entry in _entries(section)])

    def set_scope(self, scope: Scope | None) -> None:
        """One actor only, or everybody again."""
        self.scope = scope
        self._render_header()

    def detail(self) -> list[str]:
        """An alert as its own view tells it; of the rest what is behind the line."""
        entry = self.current
        if entry is not None and entry.section == "alerts" and entry.data:
            return alert_lines(cast("AlertLine", entry.data))
        return super().detail()

    def leads_to(self) -> Place | None:
        """The view that tells more about the line."""
        entry = self.current
        return None if entry is None or entry.opens is None else Place(*entry.opens)

    def empty(self, width: int) -> list[str]:
        """Nothing new, or no store."""
        if self.problem:
            return [
                f"This cannot be read: {self.problem}",
                f"{key('view.traffic')} shows live traffic, {key('view.workers')} the workers.",
            ]
        if not self.loaded_at:
            return ["Reading ..."]
        return [
            f"Nothing new ({self._span()}).",
            f"{key('since.span')} changes the span; {key('view.traffic')} shows live traffic, {key('view.workers')} whether the sensors read.",
        ]

    def _span(self) -> str:
        label = self.spans()[self.choice][0]
        if label == "last look" and self.last_look:
            ago = span(time.time() - self.last_look)
            return f"since you last looked {ago} ago ({clock(self.last_look, 'date')[5:]}Z)"
        return "everything that is stored" if label == "all" else f"the last {label}"

    def status(self) -> tuple[str, str]:
        """The span."""
        return (
            f"new: {self._span()}   {key('since.span')} changes that   {self.filter_part()}",
            self.shown_counts(),
        )


def _entries(section: Section) -> list[Entry]:
    if not section.items:
        return [heading(section.name, "", [(f"{section.title}: ", FAINT), (section.none, FAINT)])]
    rows = [heading(section.name, "", [(f"{section.title} ", BOLD), (str(len(section.items)), FAINT)])]
    rows += [
        Entry(section.name, item.key, [("  " + visible(item.text, 400), WARN if item.bad else PLAIN)], item.data,
              item.opens, item.bad)
        for item in section.items[:MAX_ITEMS]
    ]  # fmt: skip
    if (more := len(section.items) - MAX_ITEMS) > 0:
        rows.append(heading(section.name, "", [(f"  and {more} more", FAINT)]))
    return rows
