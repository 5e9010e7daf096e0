"""Coverage: the ATT&CK matrix as a heat map, of everybody, of whom a page is about or who is followed, and of a span.

Below 140 columns one tactic fills the page; above, all stand side by side. Enter goes to the tags behind
a cell, from there to the session and its commands.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.style import Style

from decnet.attack.catalogue import load_catalogue
from decnet.db.rows.lists import TechniqueCount
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.coverage import Cell, Tactic, matrix
from decnet_tui.model.days import Day, parse_day
from decnet_tui.model.export import plain_value
from decnet_tui.model.external import externals
from decnet_tui.model.feed import Feed
from decnet_tui.model.filters import Filter, parse_filter
from decnet_tui.model.keys import key
from decnet_tui.model.scope import Scope
from decnet_tui.model.words import clock, count_short, counted
from decnet_tui.screens.base import View
from decnet_tui.screens.evidence import TagsLevel
from decnet_tui.screens.levels import Level, LevelsView
from decnet_tui.widgets import glyphs
from decnet_tui.widgets.strips import BOLD, CURSOR, FAINT, KEY, PLAIN, WARN, Line, fit

GRID_FROM = 140
DAY = 86_400.0
SPANS: tuple[tuple[str, float], ...] = (("all", 0.0), ("30d", 30 * DAY), ("7d", 7 * DAY), ("24h", DAY))
_SHORT = {
    "Reconnaissance": "Recon", "Resource Development": "Resources", "Initial Access": "Initial", "Privilege Escalation": "Priv. esc.",
    "Defense Evasion": "Evasion", "Credential Access": "Credential", "Lateral Movement": "Lateral", "Command and Control": "C2",
    "Exfiltration": "Exfil",
}  # fmt: skip


def heat_style(cell: Cell) -> Style:
    """Colour by heat; the glyph says the same without colour."""
    return (FAINT, PLAIN, PLAIN, KEY, KEY, WARN, WARN, WARN, WARN)[cell.heat]


def heat_glyph(cell: Cell) -> str:
    """One of nine steps."""
    return glyphs.current().spark[cell.heat]


class MatrixLevel(Level):
    """The matrix itself."""

    stored = True
    filtered = True

    def __init__(self, feed: Feed) -> None:
        self.grid = False
        super().__init__(feed)
        self.tactics: list[Tactic] = []
        self.column = 0
        self.choice = 0
        self.day: Day | None = None
        """The one day that is shown, instead of a span until now."""
        self.of: Scope | None = None
        """Whom it is about, whoever is followed: what the page was about that led here."""
        self._filter = Filter()
        self._external: dict[str, list[str]] | None = None
        """Rules that nothing of ours feeds, by technique; asked for once."""

    @property
    def has_cursor(self) -> bool:  # type: ignore[override]
        """In the grid the cursor is a cell, not a line."""
        return not self.grid

    # --- what is shown

    @property
    def since(self) -> float:
        """Epoch seconds from which tags count; 0 is all."""
        if self.day is not None:
            return self.day.start.timestamp()
        seconds = SPANS[self.choice][1]
        return time.time() - seconds if seconds else 0.0

    @property
    def until(self) -> float:
        """Epoch seconds until which they count; 0 is now."""
        return self.day.end.timestamp() if self.day is not None else 0.0

    @property
    def span(self) -> str:
        """What is shown of the time, in a word."""
        return self.day.label if self.day is not None else SPANS[self.choice][0]

    def next_span(self) -> str:
        """Another span; its name. After a day the spans begin anew."""
        self.choice = 0 if self.day is not None else (self.choice + 1) % len(SPANS)
        self.day, self.loaded_at = None, 0.0
        return self.span

    def show_day(self, day: Day) -> None:
        """One day alone."""
        self.day, self.loaded_at = day, 0.0

    @property
    def whose(self) -> Scope | None:
        """Whose tags count; None: everybody's."""
        return self.of or self.scope

    @property
    def names(self) -> frozenset[str] | None:
        """Whose tags these are by name; a campaign's are those of its sessions instead."""
        return None if self.whose is None or self.whose.campaign else self.whose.names

    @property
    def campaign(self) -> str:
        """The campaign whose sessions count; empty for none."""
        return self.whose.campaign if self.whose is not None else ""

    def show_of(self, whom: Scope | None) -> None:
        """One actor, identity or campaign alone; None: everybody, or who is followed."""
        self.of, self.loaded_at = whom, 0.0

    async def fetch(self, session: Session) -> list[TechniqueCount]:
        """Counts by technique. Raises what the store raises."""
        store = need_store(session)
        if self._external is None:
            self._external = externals(await store.rules_external())
        return await store.technique_counts(
            self.since or None, self.names, self.until or None, campaign=self.campaign or None
        )

    def load(self, data: Sequence[TechniqueCount]) -> None:
        """The matrix anew; the first time the cursor goes to the first tactic that was seen."""
        first = not self.tactics
        super().load(data)
        self.tactics = matrix(data, load_catalogue())
        if first:
            self.column = next((i for i, tactic in enumerate(self.tactics) if tactic.seen), 0)

    def set_scope(self, scope: Scope | None) -> None:
        """Counts of one actor; they have to be read."""
        self.scope, self.loaded_at = scope, 0.0

    def set_filter(self, text: str) -> None:
        """Cells that hold all parts of it. Raises FilterError."""
        self._filter = parse_filter(text, ("technique", "name", "seen"))
        self.filter_text = text

    def cells(self, column: int) -> list[Cell]:
        """The cells of one tactic that the filter lets through."""
        if not 0 <= column < len(self.tactics):
            return []
        found = self.tactics[column].cells
        if not self._filter.tests:
            return list(found)
        return [
            c
            for c in found
            if self._filter.shows_row(
                {"technique": c.technique, "name": c.name, "seen": "yes" if c.tags else "no"}
            )
        ]

    @property
    def current(self) -> Cell | None:
        """The cell under the cursor."""
        cells = self.cells(self.column)
        return cells[self.cursor] if 0 <= self.cursor < len(cells) else None

    @property
    def on_row(self) -> bool:
        """Whether the cursor is on a cell."""
        return self.current is not None

    def find(self, technique: str) -> bool:
        """Puts the cursor on a technique; the tactic where it was seen most."""
        places = [
            (cell.tags, column, row)
            for column in range(len(self.tactics))
            for row, cell in enumerate(self.cells(column))
            if cell.technique == technique
        ]
        if places:
            _, self.column, self.cursor = max(places, key=lambda p: (p[0], -p[1]))
        return bool(places)

    # --- moving

    def turn(self, by: int) -> bool:
        """Another tactic: the next one that was seen, where another one was; in the grid to a cell that was seen.

        With the filter ``seen:no`` every tactic can be looked at.
        """
        count = len(self.tactics)
        places = [(self.column + by * step) % count for step in range(1, count + 1)]
        if places:
            self.column = next((at for at in places[:-1] if self._seen_in(at)), places[0])
            last = (self._seen_in(self.column) or len(self.cells(self.column))) - 1
            self.cursor = min(self.cursor, max(last, 0))
            if not self.grid:
                self.cursor = self.top = 0
        return True

    def _seen_in(self, column: int) -> int:
        """Cells of a tactic that were seen and that the filter lets through; they stand first."""
        return sum(bool(cell.tags) for cell in self.cells(column))

    def move(self, by: int, rows: int) -> None:
        """Up and down within the tactic."""
        self.cursor = min(max(self.cursor + by, 0), max(len(self.cells(self.column)) - 1, 0))
        self.settle(rows)

    def settle(self, rows: int) -> None:
        """Keeps the cursor within its tactic and on the screen."""
        last = max(len(self.cells(self.column)) - 1, 0)
        self.cursor = min(max(self.cursor, 0), last)
        first = self.cursor * self._lines
        self.top = min(max(self.top, first + self._lines - rows), first)
        self.top = max(min(self.top, self.count() - rows), 0)

    @property
    def _lines(self) -> int:
        """Lines of a cell: in the grid its name stands below its id."""
        return 2 if self.grid else 1

    def below(self) -> View | None:
        """The tags behind the cell."""
        cell = self.current
        if cell is None:
            return None
        where = (self.since, self.names, self.until, self.campaign)
        return TagsLevel(self.feed, cell.technique, cell.tactic, *where)

    # --- painting

    def sync(self, now: float) -> bool:
        """Nothing comes by itself."""
        return False

    def count(self) -> int:
        """Lines: the longest tactic in the grid, the tactic itself on its page."""
        if self.grid:
            return self._lines * max((len(self.cells(i)) for i in range(len(self.tactics))), default=0)
        return len(self.cells(self.column)) if self.tactics else 0

    def titles(self, width: int) -> Line | None:
        """The tactics, or the one on the page between its neighbours."""
        self.grid = width >= GRID_FROM
        if not self.tactics:
            return None
        if self.grid:
            step = self._step(width)
            return [(" ", PLAIN)] + [
                (fit(_SHORT.get(t.name, t.name), step - 1) + " ", BOLD if i == self.column else FAINT)
                for i, t in enumerate(self.tactics)
            ]
        here = self.tactics[self.column]
        before, after = (self.tactics[(self.column + by) % len(self.tactics)] for by in (-1, 1))
        left, middle = (
            f" < {_SHORT.get(before.name, before.name)}   ",
            f"{here.name} {self.column + 1}/{len(self.tactics)}",
        )
        right = f"   {_SHORT.get(after.name, after.name)} >"
        room = width - len(left + middle + right) - 2  # the rows end there
        counts = "tags sources".rjust(room) if room > len("tags sources") else ""
        return [(left, FAINT), (middle, BOLD), (right + counts, FAINT)]

    def _step(self, width: int) -> int:
        return max((width - 1) // max(len(self.tactics), 1), 8)

    def line(self, index: int, width: int) -> Line:
        """One line of the page or of the grid."""
        return self._grid_line(index, width) if self.grid else self._page_line(index, width)

    def _grid_line(self, index: int, width: int) -> Line:
        line: Line = []
        step = self._step(width + 1)
        for column in range(len(self.tactics)):
            cells = self.cells(column)
            place, below = divmod(index, self._lines)
            if place >= len(cells):
                line.append((" " * step, PLAIN))
                continue
            cell = cells[place]
            at = column == self.column and place == self.cursor
            sign = glyphs.current().mark if cell.new and not below else " "
            text = fit(cell.name, step - 1) if below else fit(cell.technique, step - 2) + heat_glyph(cell)
            line += [(text, CURSOR if at else heat_style(cell)), (sign, WARN)]
        return line

    def _page_line(self, index: int, width: int) -> Line:
        cells = self.cells(self.column)
        if index >= len(cells):
            return []
        cell = cells[index]
        counts = (
            f"{count_short(cell.tags):>5} {count_short(cell.actors):>7}"
            if cell.tags
            else f"{'-':>5} {'-':>6}"
        )
        bar = (glyphs.current().spark[-1] * cell.heat).ljust(8)
        name = fit(cell.name, max(width - 39, 8))
        return [
            (f"{cell.technique:<10} {name} {'new' if cell.new else '   '} ", heat_style(cell)),
            (bar, heat_style(cell)),
            (f" {counts}", PLAIN),
        ]

    def empty(self, width: int) -> list[str]:
        """Unreadable, unread, or hidden by the filter."""
        if self.problem:
            return [f"This cannot be read: {self.problem}", "It is tried again every few seconds."]
        if not self.tactics:
            return ["Reading ..."]
        return [
            f"No technique of this tactic holds: {self.filter_text}",
            f"left and right change the tactic, {key('filter.clear')} clears",
        ]

    def status(self) -> tuple[str, str]:
        """Whom, when, how much."""
        seen = {c.technique for t in self.tactics for c in t.seen}
        tags = sum(c.tags for t in self.tactics for c in t.seen)
        whom = self.whose.title if self.whose is not None else "everybody"
        fresh = sum(c.new for t in self.tactics for c in t.seen)
        back = f"   {key('view.coverage')} everybody" if self.of is not None else ""
        new = f", {fresh} new" if fresh else ""
        left = f"{whom}, {self.span}{new}   {key('coverage.span')} span  left/right tactic{back}"
        if self.filter_text:
            left += f"  filter {self.filter_text}"
        nothing = f"nothing was tagged yet: view {key('view.workers')} shows whether the sensors read"
        return (
            left,
            f"{counted(len(seen), 'technique')}  {counted(tags, 'tag')}"
            if seen or not self.tactics
            else nothing,
        )

    # --- detail

    def detail_key(self) -> object:
        """The cell."""
        return self.current

    def detail(self) -> list[str]:
        """The technique, its counts, and where to read about it."""
        cell = self.current
        if cell is None:
            return []
        catalogue = load_catalogue()
        found = catalogue.get(cell.technique)
        last = f"last {clock(cell.last.timestamp(), 'date')}Z" if cell.last else "never seen"
        last += f", new within {self.span}: nobody had it before" if cell.new else ""
        return [
            f"{cell.technique} {cell.name}",
            f"{catalogue.tactic_name(cell.tactic)}",
            f"{counted(cell.tags, 'tag')} of {counted(cell.actors, 'source')}, {last}",
            found.url if found else "",
            *(
                f"without a producer of ours: {line}"
                for line in (self._external or {}).get(cell.technique, ())
            ),
        ]

    def record(self) -> dict[str, Any]:
        """The cell."""
        return _plain(self.current) if self.current is not None else {}

    def records(self) -> list[Any]:
        """All cells that were seen."""
        return [_plain(cell) for tactic in self.tactics for cell in tactic.seen]

    def copy_text(self) -> str:
        """The cell as one line of JSON."""
        return json.dumps(self.record(), default=plain_value)


def _plain(cell: Cell) -> dict[str, Any]:
    last = cell.last.isoformat() if cell.last else None
    return {"tactic": cell.tactic, "technique": cell.technique, "name": cell.name, "tags": cell.tags,
            "actors": cell.actors, "last": last, "new": cell.new}  # fmt: skip


class CoverageView(LevelsView):
    """The view; ``go_to`` takes a technique's id, :meth:`take` a day that is to be shown alone."""

    name = "coverage"
    title = "Coverage"
    short_title = "Cover"
    key = "7"
    says = "Coverage: the ATT&CK matrix of what was seen, on a page of whom that is about"
    roots = ("ttp",)

    def __init__(self, feed: Feed) -> None:
        self.matrix = MatrixLevel(feed)
        self._before: Scope | None = None
        super().__init__(feed, self.matrix)

    def come_from(self, view: View) -> None:
        """From a page the matrix of whom its head names, back by Esc; from elsewhere everybody's."""
        level = view.level if isinstance(view, LevelsView) else None
        actor = level.actor() if level is not None and level.is_page else None
        if level is not None and actor is not None and level.attacker:
            actor = Scope(actor.label, frozenset([level.attacker]), level.attacker)
        within = self.levels[1:] if view is self else []
        self._before = self.matrix.of
        if actor is not None or view is self:
            self.home()
        if actor is not None:
            self.came_from, self._kept = view.name, (within, "", 1)
        if actor is not None or self.matrix.of is not None:
            self.matrix.show_of(actor)

    def leave_to(self) -> str:
        """As the base; it is about whom it was about before."""
        if self.came_from:
            self.matrix.show_of(self._before)
        return super().leave_to()

    def take(self, text: str) -> bool:
        """One day: ``yesterday``, ``2026-11-28``, ``11-28``."""
        try:
            day = parse_day(text, datetime.now(UTC))
        except ValueError:
            return False
        self.home()
        self.matrix.show_day(day)
        return True

    def go_to(self, key: Any) -> bool:
        """The cell of a technique."""
        self.home()
        return self.matrix.find(str(key).upper())
