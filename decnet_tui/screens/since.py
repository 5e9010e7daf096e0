"""Since: what a span comes to, who is to be read first, what is new in the history, what needs somebody."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from decnet.hostile import visible
from decnet_tui.model import spans
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.feed import Feed
from decnet_tui.model.keys import key
from decnet_tui.model.marks import Marks, mark_of
from decnet_tui.model.places import country_text, network_text
from decnet_tui.model.scope import Of, Scope
from decnet_tui.model.since import (
    KNOCKED,
    NEEDS,
    NEW,
    READ_FIRST,
    Beat,
    Found,
    Item,
    Section,
    busiest,
    gather,
    is_empty,
    read_to,
    render,
    rhythm_counts,
    rhythm_ends,
    totals_line,
)
from decnet_tui.model.words import clock, span
from decnet_tui.screens.alerts import AlertLine, alert_lines
from decnet_tui.screens.base import Place, View
from decnet_tui.screens.indicators import NewThingsLevel
from decnet_tui.screens.sections import Entry, SectionsView, heading
from decnet_tui.screens.session import SessionLevel
from decnet_tui.widgets import glyphs
from decnet_tui.widgets.states import severity_style
from decnet_tui.widgets.strips import BOLD, FAINT, GOOD, PLAIN, WARN, Line

if TYPE_CHECKING:
    from rich.style import Style

    from decnet_tui.model.whereabouts import Whereabouts

LAST_LOOK = "last look"
SPANS: tuple[tuple[str, float], ...] = (
    ("24h", spans.DAY_S), ("7d", 7 * spans.DAY_S), ("30d", 30 * spans.DAY_S), (spans.EVERYTHING, 0.0),
)  # fmt: skip
MAX_ITEMS = 12
"""Lines of what needs somebody; more are counted."""
STRIP = 60
"""Parts of the span that are drawn at most."""


class SinceView(SectionsView):
    """Sections of :mod:`decnet_tui.model.since` since the operator last looked, within a span, or on one day."""

    name = "since"
    title = "Since"
    key = "0"
    says = "Since you last looked: who did what, what is new, what needs you"
    stored = True
    roots = ("attacker", "ttp", "attribution", "decky", "identity")

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.last_look: float | None = None
        self.choice = 0
        self.day: spans.Chosen | None = None
        """A day or span that was asked for by name."""
        self.marks = Marks(None, "")
        self.found: Found | None = None
        self.unfolded = False
        self.where: Whereabouts | None = None
        self._placed = -1
        self._sections: Sequence[Section] = ()

    def start_with(self, last_look: float | None, demo: bool, marks: Marks) -> None:
        """The span to begin with: since the last look; everything at a first one, and in a demo of old events."""
        self.last_look, self.marks = last_look, marks
        self.choice = len(self.spans()) - 1 if demo or last_look is None else 0

    # --- the span

    def chosen(self, now: float) -> spans.Chosen:
        """The span that counts."""
        if self.day is not None:
            return self.day
        label, seconds = self.spans()[self.choice]
        if label == LAST_LOOK:
            return spans.Chosen(label, self.last_look or 0.0)
        return spans.last(seconds, label, now)

    def spans(self) -> tuple[tuple[str, float], ...]:
        """What can be chosen; the last look first, when there was one."""
        return (((LAST_LOOK, 0.0),) if self.last_look else ()) + SPANS

    def next_span(self) -> str:
        """Another span; its name."""
        if self.day is None:
            self.choice = (self.choice + 1) % len(self.spans())
        self.day = None
        self._anew()
        return self.spans()[self.choice][0]

    def take(self, text: str) -> bool:
        """A day or span by its name. Raises ValueError that says the forms."""
        self.day = spans.parsed(text, time.time())
        self._anew()
        return True

    def _anew(self) -> None:
        self.loaded_at, self._moved = 0.0, False

    # --- reading

    async def fetch(self, session: Session) -> Found:
        """The answers of the store. Raises what the store raises."""
        session.whereabouts.begin()
        self.where = session.whereabouts
        chosen = self.chosen(time.time())
        found = await gather(
            need_store(session), session, chosen, self.feed.heartbeat_s, clear=session.keep_clear
        )
        # What the bus said last is newer than the stored heartbeats, and is what the header goes by.
        live = [Beat(worker=w.name, payload=w.payload) for w in self.feed.workers.values()]
        found.heartbeats = live or found.heartbeats
        return found

    def load(self, data: Found) -> None:
        """The sections as entries, unless another span is asked for by now."""
        if data.chosen.label != self.chosen(data.now).label:
            return
        self.problem, self.loaded_at = "", time.monotonic()
        self.found = data
        self._tell()

    def _tell(self) -> None:
        """The followed actor is looked for before the lines of a section are limited."""
        if self.found is None:
            return
        self._placed = self.where.version if self.where is not None else -1
        told = render(self.found, self._place, whole=self.unfolded or self.scope is not None)
        self._sections = () if is_empty(told) and not self.found.rows.totals["sessions"] else told
        shown = [replace(s, items=tuple(i for i in s.items if self._covers(i))) for s in self._sections]
        self.put([entry for section in shown for entry in self._entries(section)])

    def _covers(self, item: Item) -> bool:
        return self.covers(item.data) and not (self.scope is not None and not item.data)

    def _place(self, address: str | None) -> str:
        if self.where is None:
            return ""
        place = self.where.of(address)
        return f"{country_text(place)} {network_text(place).partition(' ')[0]}".strip()

    def sync(self, now: float) -> bool:
        """Places come when their files have been read."""
        if self.where is None or self.found is None or self.where.version == self._placed:
            return False
        self._tell()
        return True

    def set_scope(self, scope: Scope | None) -> None:
        """One actor only, or everybody again."""
        self.scope = scope
        self._tell()

    # --- marks and folds

    def mark_here(self) -> str:
        """What marks the source under the cursor as read; empty on any other line."""
        entry = self.current
        return mark_of(entry.data) if entry is not None and entry.section == READ_FIRST else ""

    def turn_read(self, mark: str) -> bool:
        """Marks something as read, or takes that back; whether it is read now. Raises OSError."""
        read = self.marks.turn(mark)
        self._tell()
        return read

    def unread(self) -> list[int]:
        """The lines of sources that are not read."""
        return [
            n for n, e in enumerate(self.entries)
            if e.section == READ_FIRST and (mark := mark_of(e.data)) and not e.below and not self.marks.has(mark)
        ]  # fmt: skip

    def next_unread(self) -> bool:
        """The cursor to the next unread source, round and round; False when all are read."""
        places = self.unread()
        if not places:
            return False
        self.cursor = next((n for n in places if n > self.cursor), places[0])
        self._moved = True
        return True

    def unfold(self) -> bool:
        """Sources that only knocked, one by one or as one line."""
        entry = self.current
        knocked = entry is not None and entry.section == READ_FIRST and (
            entry.key == KNOCKED or entry.data.get("severity") == "info"
        )  # fmt: skip
        if not knocked:
            return False
        self.unfolded = not self.unfolded
        self._tell()
        return True

    # --- what keys are for

    def below(self) -> View | None:
        """The session of a source that is to be read; the list of what is new."""
        entry = self.current
        if entry is None or entry.key is None or not entry.data:
            return None
        if entry.section == READ_FIRST:
            return SessionLevel(self.feed, str(entry.data["session_id"]))
        if entry.section == NEW and "things" in entry.data:
            return NewThingsLevel(self.feed, str(entry.data["kind"]), entry.data["things"])
        return None

    def leads_to(self) -> Place | None:
        """The view that tells more about the line."""
        entry = self.current
        return None if entry is None or entry.opens is None else Place(*entry.opens)

    def indicators_of(self) -> Of | None:
        """Of a source within the span; elsewhere of the whole span."""
        if self.found is None:
            return None
        rows, entry = self.found.rows, self.current
        whole = Of(self.found.chosen.label, begin=rows.begin.timestamp() or None, end=rows.end.timestamp())
        if entry is None or entry.section != READ_FIRST or not entry.data:
            return whole
        who = visible(entry.data["attacker_ip"] or entry.data["attacker_uuid"], 45)
        return whole._replace(label=who, attacker=str(entry.data["attacker_uuid"]))

    def detail(self) -> list[str]:
        """An alert as its own view tells it; of the rest what is behind the line."""
        entry = self.current
        if entry is not None and entry.section == NEEDS and entry.opens and entry.opens[0] == "alerts":
            return alert_lines(cast("AlertLine", entry.data))
        return super().detail()

    def records(self) -> list[Any]:
        """All lines that are shown, what belongs to one with it."""
        return [{"section": e.section, **e.data} for e in self.entries if e.key is not None and e.data]

    # --- painting

    def intro(self, width: int) -> list[Line]:
        """The totals, and when it was."""
        if self.found is None or not self._sections:
            return []
        rows = self.found.rows
        counts, _ = rhythm_counts(rows, min(STRIP, max(width - 44, 10)))
        first, last = rhythm_ends(rows)
        strip: Line = [
            (f" {first} ", FAINT),
            (_bars(counts, min(STRIP, max(width - 44, 10))), GOOD),
            (f" {last}  {busiest(rows)}", FAINT),
        ]
        return [[(f" {totals_line(rows)}", BOLD)], *([strip] if counts else [])]

    def gutter(self, index: int) -> str:
        """A source that is not read; what needs attention."""
        entry = self.entries[index]
        if entry.section == READ_FIRST:
            mark = "" if entry.below else mark_of(entry.data)
            return glyphs.current().unread if mark and not self.marks.has(mark) else " "
        return super().gutter(index)

    def empty(self, width: int) -> list[str]:
        """Nothing happened, or no store."""
        if self.problem:
            return [
                f"This cannot be read: {self.problem}",
                f"{key('view.traffic')} shows live traffic, {key('view.workers')} the workers.",
            ]
        if not self.loaded_at:
            return ["Reading ..."]
        return [
            f"Nothing happened ({self._span()}).",
            f"{key('since.span')} changes the span; {key('view.traffic')} shows live traffic, {key('view.workers')} whether the sensors read.",
        ]

    def _span(self) -> str:
        chosen = self.day or self.chosen(time.time())
        if chosen.label == LAST_LOOK and self.last_look:
            ago = span(time.time() - self.last_look)
            return f"since you last looked {ago} ago ({clock(self.last_look, 'date')[5:]}Z)"
        if chosen.end is not None:
            return f"the day {chosen.label} (UTC)"
        return "everything that is stored" if chosen.label == spans.EVERYTHING else f"the last {chosen.label}"

    def status(self) -> tuple[str, str]:
        """The span, and how much is unread."""
        logs = read_to(self.found) if self.found is not None else ""
        filtered = self.filter_part() if self.filter_text or self.scope else ""
        said = (f"{self._span()}, by event time", f"{key('since.span')} span", logs, filtered)
        left = "   ".join(part for part in said if part)
        hidden = self.shown_counts().partition("  ")[0] if self.filter_text or self.scope else ""
        return left, f"{hidden}  {len(self.unread())} unread".strip() if self.found is not None else ""

    def _entries(self, section: Section) -> list[Entry]:
        note = f"  {section.note}" if section.note else ""
        if not section.items:
            return [heading(section.name, "", [(f"{section.title}  ", BOLD), (section.none, FAINT)])]
        rows = [heading(section.name, "", [(section.title, BOLD), (note, FAINT)])]
        most = MAX_ITEMS if section.name == NEEDS else len(section.items)
        for item in section.items[:most]:
            rows += self._block(section.name, item)
        if (more := len(section.items) - most) > 0:
            rows.append(heading(section.name, "", [(f"  and {more} more", FAINT)]))
        return rows

    def _block(self, section: str, item: Item) -> Iterator[Entry]:
        head, under = self._styles(section, item)
        text = " ".join((item.text, *item.below))
        lead = "" if section == READ_FIRST else " "
        yield Entry(
            section, item.key, [(lead + visible(item.text, 400), head)], item.data, item.opens, item.bad, text
        )
        for line in item.below:
            yield Entry(section, None, [(visible(line, 400), under)], item.data, text=text, below=True)

    def _styles(self, section: str, item: Item) -> tuple[Style, Style]:
        if section != READ_FIRST or not item.data:
            return (WARN if item.bad else PLAIN), PLAIN
        if self.marks.has(mark_of(item.data)):
            return FAINT, FAINT
        return severity_style(str(item.data.get("severity") or "")), PLAIN


def _bars(counts: Sequence[int], room: int) -> str:
    """The most is a full bar; anything at all is seen. A few parts are drawn wider."""
    spark, top, wide = (
        glyphs.current().spark,
        max(counts, default=0) or 1,
        max(room // max(len(counts), 1), 1),
    )
    return "".join(spark[-(-n * (len(spark) - 1) // top)] * wide for n in counts)
