"""What a view is: rows with a cursor, a status line, a detail. Plain objects; the list widget paints them."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

from decnet.hostile import visible
from decnet_tui.model.export import Sheet, Shown, sheet_of
from decnet_tui.model.feed import Feed
from decnet_tui.model.scope import Of, Scope, scope_of
from decnet_tui.widgets.strips import KEY, PLAIN, Line

if TYPE_CHECKING:
    from rich.style import Style

    from decnet_tui.model.access import Session


class Place(NamedTuple):
    """A row of another view, by its key there."""

    view: str
    key: Any


TIME_FORMATS = ("clock", "date", "age")
TIME_WIDTHS = {"clock": 8, "date": 19, "age": 6}


def wrapped(lines: list[str], width: int) -> list[str]:
    """Visible lines of at most ``width`` cells; wide characters get half as many to a line.

    A line ends behind a space where one is near; not a character is left out.
    """
    out: list[str] = []
    for line in lines:
        text = visible(line)
        step = width if text.isascii() else max(width // 2, 1)
        at = 0
        while len(text) - at > step:
            space = text.rfind(" ", at + step - step // 4, at + step)
            end = space + 1 if space >= 0 else at + step
            out.append(text[at:end])
            at = end
        out.append(text[at:])
    return out


class View(ABC):
    """Base of the views. ``cursor`` and ``top`` are row indexes, ``x`` a column offset.

    ``stored`` views are filled by :meth:`fetch` and :meth:`load`: when they are shown, soon after news
    under one of ``roots``, and every few seconds.
    """

    name = ""
    title = ""
    short_title = ""
    """Its title where there is little room; empty when that is the same."""
    key = ""
    says = ""
    has_cursor = True
    stored = False
    filtered = False
    """Whether a filter hides something here."""
    own_filter = ""
    """The filter that it begins with, and comes back to."""
    roots: tuple[str, ...] = ()

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.cursor = 0
        self.top = 0
        self.x = 0
        self.filter_text = ""
        self.time_format = TIME_FORMATS[0]
        self.scope: Scope | None = None
        self.problem = ""
        self.loaded_at = 0.0
        self.paused = False
        self.came_from = ""
        """The view whose line led here; Esc goes back to it from the level that it led to."""
        self.entered_at = 1

    @abstractmethod
    def sync(self, now: float) -> bool:
        """Takes in what is new; whether anything on the screen may differ."""

    @abstractmethod
    def count(self) -> int:
        """Rows shown."""

    @property
    def on_row(self) -> bool:
        """Whether the cursor is on something."""
        return self.has_cursor and 0 <= self.cursor < self.count()

    @abstractmethod
    def line(self, index: int, width: int) -> Line:
        """One row."""

    def titles(self, width: int) -> Line | None:
        """Column titles, when the rows do not explain themselves."""
        return None

    def intro(self, width: int) -> list[Line]:
        """Lines above the titles that say what the rows are of."""
        return []

    def outro(self, width: int, room: int) -> list[Line]:
        """At most ``room`` lines that stand below the rows whatever these show: about the row under the cursor."""
        return []

    def gutter(self, index: int) -> str:
        """The sign in front of a row: blank, or a severity."""
        return " "

    def empty(self, width: int) -> list[str]:
        """What an empty view says: why, and what to do."""
        return []

    def status(self) -> tuple[str, str]:
        """Line 3: what is shown, and how much of it."""
        return "", ""

    def crumbs(self) -> list[str]:
        """The way from the view's first level to what is shown; line 3 begins with it."""
        return []

    def detail_key(self) -> object:
        """Changes when the detail does."""
        return None

    def detail(self) -> list[str]:
        """The detail of the row under the cursor, as lines (not yet visible text)."""
        return []

    def copy_text(self) -> str:
        """What ``y`` copies."""
        return "\n".join(self.detail())

    def records(self) -> list[Any]:
        """What is shown, for export: JSON values, or bytes that are JSON already."""
        return []

    def sheet(self) -> Sheet:
        """The same as a table of the columns that are shown."""
        return sheet_of(self.records())

    def to_export(self) -> Shown:
        """What is shown, with what it is called."""
        return Shown([self.name, *self.crumbs()], self.records(), self.sheet())

    def record(self) -> dict[str, Any]:
        """The data of the row under the cursor."""
        return {}

    def actor(self) -> Scope | None:
        """The actor that the row under the cursor is about."""
        return scope_of(self.record())

    @property
    def opened(self) -> bool:
        """Whether the view shows something inside a row; :meth:`back` leaves it."""
        return False

    def keys_of(self) -> str:
        """The name of the view whose keys it has."""
        return self.name

    @property
    def depth(self) -> int:
        """Levels, the first included."""
        return 1

    def leave_to(self) -> str:
        """The view whose line led here, once: to be shown now."""
        name, self.came_from = self.came_from, ""
        return name

    def below(self) -> View | None:
        """The level inside the row under the cursor, which Enter opens; None when there is none."""
        return None

    def leads_to(self) -> Place | None:
        """The row of another view that Enter goes to; None when the detail pane is all there is to open."""
        return None

    def unfold(self) -> bool:
        """Shows or hides the rows that the one under the cursor stands for; False where it stands for itself alone."""
        return False

    def fold(self) -> str | None:
        """One row for what belongs together, or a row for each; what is shown now in words, None where nothing folds."""
        return None

    def come_from(self, view: View) -> None:
        """Its key was pressed in a view; in itself it goes to its first level."""
        if view is self:
            self.home()

    def take(self, text: str) -> bool:
        """A text behind the view's name that chooses what it is about, such as a day; False where it names a row.

        Raises ValueError that says what may be written.
        """
        return False

    def indicators_of(self) -> Of | None:
        """Whose indicators are asked for here: the actor's that the row is about."""
        actor = self.actor()
        if actor is None:
            return None
        if actor.campaign:
            return Of(actor.label, campaign=actor.campaign)
        uuid = self.record().get("attacker_uuid")
        known = [uuid] if uuid else sorted(n for n in actor.names if "." in n or ":" in n)
        return Of(actor.label, attacker=str(known[0])) if known else None

    def back(self) -> bool:
        """One level back inside the view; False at its top."""
        return False

    def home(self) -> None:
        """To the view's first level."""
        while self.back():
            pass

    def go_to(self, key: Any) -> bool:
        """Puts the cursor on what a key names; False when it is not shown."""
        return False

    def turn(self, by: int) -> bool:
        """Left (-1) or right (1) within the view; False when the view has no sides."""
        return False

    def next_part(self) -> str | None:
        """Shows the next of several parts of the view, as words; None when it has one."""
        return None

    def faster(self, by: int) -> str | None:
        """Another speed, as text; None when nothing plays here."""
        return None

    def pause(self) -> bool:
        """Holds the view still or lets it go on; whether it is held now."""
        self.paused = not self.paused
        return self.paused

    def set_scope(self, scope: Scope | None) -> None:
        """Shows only what is about one actor, or everything again."""
        self.scope = scope

    async def fetch(self, session: Session) -> Any:
        """What :meth:`load` needs, from the store. Raises what the store raises."""
        return None

    def load(self, data: Any) -> None:
        """Takes in what :meth:`fetch` brought."""
        self.problem, self.loaded_at = "", time.monotonic()

    def fail(self, problem: str) -> None:
        """The store could not be read."""
        self.problem = problem

    def set_filter(self, text: str) -> None:
        """Shows only what fits. Raises FilterError."""
        self.filter_text = text

    def move(self, by: int, rows: int) -> None:
        """Moves the cursor by so many rows; ``rows`` fit on the screen."""
        self.cursor = min(max(self.cursor + by, 0), max(self.count() - 1, 0))
        self.settle(rows)

    def settle(self, rows: int) -> None:
        """Keeps cursor and offset within the rows and the cursor on the screen."""
        last = max(self.count() - 1, 0)
        self.cursor = min(max(self.cursor, 0), last)
        self.top = min(max(self.top, self.cursor - rows + 1), self.cursor)
        self.top = max(min(self.top, self.count() - rows), 0)


class TextView(View):
    """Lines of text that scroll; no cursor. Long lines are wrapped or shown from a column on."""

    has_cursor = False

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.lines: list[str] = []
        self.styles: dict[int, Style] = {}

    def show(self, lines: list[str], styles: dict[int, Style] | None = None) -> None:
        """Other lines, from their beginning."""
        self.lines, self.styles, self.top, self.x = lines, styles or {}, 0, 0

    def sync(self, now: float) -> bool:
        """Nothing comes by itself."""
        return False

    def count(self) -> int:
        """Lines."""
        return len(self.lines)

    def line(self, index: int, width: int) -> Line:
        """One line from the column offset on; a JSON or YAML key is coloured. Only seen lines cost."""
        text = visible(self.lines[index][self.x : self.x + 4 * width], 4 * width)
        style = self.styles.get(index)
        if style is not None:
            return [(text, style)]
        head, colon, rest = text.partition(": ")
        if colon and not self.x and len(head) < 60:
            return [(head, KEY), (colon + rest, PLAIN)]
        return [(text, PLAIN)]

    def empty(self, width: int) -> list[str]:
        """Why nothing stands here."""
        return ["no line under the cursor"]

    def move(self, by: int, rows: int) -> None:
        """Scrolls."""
        self.top += by
        self.settle(rows)

    def settle(self, rows: int) -> None:
        """Keeps the offset within the lines."""
        self.top = max(min(self.top, self.count() - rows), 0)
