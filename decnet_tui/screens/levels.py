"""A view of several levels: Enter goes into a row, Esc comes back to it.

Each level is a view of its own; :class:`LevelsView` hands everything to the one on top and shows the way
there in line 3. What is read from the store belongs to the level that asked for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from decnet_tui.model.export import Sheet
from decnet_tui.model.feed import Feed
from decnet_tui.model.keys import key
from decnet_tui.model.scope import Of, Scope
from decnet_tui.model.words import counted
from decnet_tui.screens.base import Place, View
from decnet_tui.screens.table import R, TableView
from decnet_tui.widgets.strips import Line

if TYPE_CHECKING:
    from decnet_tui.model.access import Session


class OfRule(TypedDict):
    """What of a tag, or of a line about tags, leads to its rule."""

    rule_id: str


class Level(View):
    """What a level can do beside being a view."""

    crumb = ""
    """Its part of the way there."""
    recorded: frozenset[str] = frozenset()
    """Sessions in its rows that have a recording of their terminal, as of the last read."""
    is_page = False
    """Whether it is about one thing that its head names: keys are for that, never for what lies below it."""
    attacker = ""
    """The id or address of the attacker that it is about; empty when it is about none, or about several."""

    def sessions(self) -> View | None:
        """The sessions of what the row is about, where that is not one attacker."""
        return None

    def fired(self) -> View | None:
        """The rules that fired on what the row is about, where that is not one attacker."""
        return None

    def tags(self) -> Sequence[OfRule] | None:
        """The tags of the row under the cursor; None when its rows are not what rules fire on."""
        return None


def left_out(ignored: int) -> list[str]:
    """What an empty list says about sources that are ignored: the one looked for may be among them."""
    return (
        [f"{counted(ignored, 'ignored source')} left out: {key('view.ignored')} shows them"]
        if ignored
        else []
    )


class TableLevel(TableView[R], Level):
    """A table as a level."""


def _of_level(name: str) -> Any:
    def read(self: LevelsView) -> Any:
        return getattr(self.level, name)

    def write(self: LevelsView, value: Any) -> None:
        setattr(self.level, name, value)

    return property(read, write)


class LevelsView(View):
    """The base; a subclass gives the root level."""

    stored = True
    cursor = _of_level("cursor")
    top = _of_level("top")
    x = _of_level("x")
    filter_text = _of_level("filter_text")
    problem = _of_level("problem")
    loaded_at = _of_level("loaded_at")
    paused = _of_level("paused")
    has_cursor = _of_level("has_cursor")
    filtered = _of_level("filtered")
    on_row = _of_level("on_row")

    def __init__(self, feed: Feed, root: Level) -> None:
        self.levels: list[Level] = [root]
        self._kept: tuple[list[Level], str, int] = [], "", 1
        super().__init__(feed)

    @property
    def level(self) -> Level:
        """The one on top."""
        return self.levels[-1]

    def keys_of(self) -> str:
        """The level's, else its own."""
        return self.level.keys_of() or self.name

    @property
    def time_format(self) -> str:
        """One for all levels."""
        return self.levels[0].time_format

    @time_format.setter
    def time_format(self, value: str) -> None:
        for level in self.levels:
            level.time_format = value

    # --- going down and up

    def enter(self, level: Level) -> None:
        """Puts a level on top, to be shown and read."""
        level.time_format = self.time_format
        self.levels.append(level)

    def enter_from(self, before: View, level: Level) -> None:
        """The same for a level that a line of another view opens; what was open here is there again afterwards."""
        self._kept = self.levels[1:], self.came_from, self.entered_at
        self.levels = [self.levels[0]]
        self.came_from, self.entered_at = before.name, 2
        self.enter(level)

    def leave_to(self) -> str:
        """As the base; and as it was before it was entered from there."""
        name = super().leave_to()
        levels, self.came_from, self.entered_at = self._kept
        self.levels += levels
        self._kept = [], "", 1
        return name

    def below(self) -> View | None:
        """The level's."""
        return self.level.below()

    def leads_to(self) -> Place | None:
        """The level's."""
        return self.level.leads_to()

    def indicators_of(self) -> Of | None:
        """The level's."""
        return self.level.indicators_of()

    def unfold(self) -> bool:
        """The level's."""
        return self.level.unfold()

    def exchange(self, level: Level) -> None:
        """Another level in the place of the one on top: the next of the list that led here."""
        level.time_format = self.time_format
        self.levels[-1] = level

    @property
    def opened(self) -> bool:
        """Whether a level stands above the root."""
        return len(self.levels) > 1

    @property
    def depth(self) -> int:
        """Levels, the root included."""
        return len(self.levels)

    def back(self) -> bool:
        """To the level before."""
        if not self.opened:
            return False
        self.levels.pop()
        return True

    def home(self) -> None:
        """To the root; nothing is kept."""
        del self.levels[1:]
        self._kept = [], "", 1

    # --- the store

    async def fetch(self, session: Session) -> Any:
        """What the level on top needs, with the level that needs it. Raises what the store raises."""
        level = self.level
        return level, await level.fetch(session)

    def load(self, data: tuple[Level, Any]) -> None:
        """Gives the level what was read for it, on top or not."""
        level, found = data
        level.load(found)

    def fail(self, problem: str) -> None:
        """The store could not be read."""
        self.level.fail(problem)

    # --- everything else is the level's

    def sync(self, now: float) -> bool:
        """The level's."""
        return self.level.sync(now)

    def count(self) -> int:
        """The level's."""
        return self.level.count()

    def line(self, index: int, width: int) -> Line:
        """The level's."""
        return self.level.line(index, width)

    def titles(self, width: int) -> Line | None:
        """The level's."""
        return self.level.titles(width)

    def intro(self, width: int) -> list[Line]:
        """The level's."""
        return self.level.intro(width)

    def outro(self, width: int, room: int) -> list[Line]:
        """The level's."""
        return self.level.outro(width, room)

    def gutter(self, index: int) -> str:
        """The level's."""
        return self.level.gutter(index)

    def empty(self, width: int) -> list[str]:
        """The level's, with the way back."""
        return [*self.level.empty(width), *([f"{key('back')} goes back"] if self.opened else [])]

    def status(self) -> tuple[str, str]:
        """The level's; below the first level room is short, and no filter is nothing to say."""
        left, right = self.level.status()
        return (left.removeprefix("filter -").lstrip() if self.opened else left), right

    def crumbs(self) -> list[str]:
        """The way here."""
        return [level.crumb for level in self.levels if level.crumb]

    def detail_key(self) -> object:
        """The level's."""
        return len(self.levels), self.level.detail_key()

    def detail(self) -> list[str]:
        """The level's."""
        return self.level.detail()

    def copy_text(self) -> str:
        """The level's."""
        return self.level.copy_text()

    def records(self) -> list[Any]:
        """The level's."""
        return self.level.records()

    def sheet(self) -> Sheet:
        """The level's."""
        return self.level.sheet()

    def record(self) -> dict[str, Any]:
        """The level's."""
        return self.level.record()

    def actor(self) -> Scope | None:
        """The actor of the row, or of the rows that led here; of a page its own alone, also while it is read."""
        for level in reversed(self.levels):
            found = level.actor()
            if found is not None or level.is_page:
                return found
        return None

    def pause(self) -> bool:
        """The level's."""
        return self.level.pause()

    def set_scope(self, scope: Scope | None) -> None:
        """For all levels: the rows of one actor."""
        self.scope = scope
        for level in self.levels:
            level.set_scope(scope)

    def set_filter(self, text: str) -> None:
        """The level's. Raises FilterError."""
        self.level.set_filter(text)

    def move(self, by: int, rows: int) -> None:
        """The level's."""
        self.level.move(by, rows)

    def settle(self, rows: int) -> None:
        """The level's."""
        self.level.settle(rows)

    def turn(self, by: int) -> bool:
        """The level's."""
        return self.level.turn(by)

    def next_part(self) -> str | None:
        """The level's."""
        return self.level.next_part()

    def faster(self, by: int) -> str | None:
        """The level's."""
        return self.level.faster(by)

    def table(self) -> TableView[Any] | None:
        """The level on top, when it is a table."""
        return self.level if isinstance(self.level, TableView) else None
