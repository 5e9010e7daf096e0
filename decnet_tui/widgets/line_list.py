"""The one list of the console: a view's rows, painted by line, with cursor and offset kept by the view.

It holds its offset itself instead of a virtual size: rows leave a ring at the top while the cursor stays
on its row, and a layout for every batch of events would cost more than painting them.
"""

from __future__ import annotations

from collections.abc import Callable
from textwrap import wrap
from typing import Protocol

from textual import events

from decnet_tui.widgets.strips import CURSOR, FAINT, PLAIN, Line, StripWidget

WHEEL = 3
LEAST_ROWS = 4
"""Rows that are seen whatever stands below them."""


class Rows(Protocol):
    """What a list shows: rows with a cursor and an offset, which are the rows' own."""

    cursor: int
    top: int
    has_cursor: bool

    def count(self) -> int:
        """How many."""
        ...

    def line(self, index: int, width: int) -> Line:
        """One row."""
        ...

    def outro(self, width: int, room: int) -> list[Line]:
        """At most ``room`` lines below the rows."""
        ...

    def gutter(self, index: int) -> str:
        """The sign in front of a row."""
        ...

    def titles(self, width: int) -> Line | None:
        """Column titles, if any."""
        ...

    def intro(self, width: int) -> list[Line]:
        """Lines above the titles."""
        ...

    def empty(self, width: int) -> list[str]:
        """What is said where there are no rows."""
        ...

    def move(self, by: int, rows: int) -> None:
        """Moves the cursor; ``rows`` fit on the screen."""
        ...

    def settle(self, rows: int) -> None:
        """Keeps cursor and offset within the rows."""
        ...


class LineList(StripWidget, can_focus=True):
    """Shows one view's rows."""

    view: Rows | None = None
    clicked: Callable[[LineList], None] | None = None
    """Called when a line of a view with a cursor was clicked; the cursor is on it then."""
    held: Callable[[], bool] = staticmethod(lambda: False)
    """Whether the mouse does nothing at this moment: something else is asked."""

    def show(self, view: Rows) -> None:
        """Shows this view from now on."""
        self.view = view
        self.repaint()

    @property
    def rows(self) -> int:
        """Rows that fit."""
        width, height = self.size.width, self.size.height
        return max(height - len(self._above(width)) - len(self._below(width, height)), 1)

    def _above(self, width: int) -> list[Line]:
        """What the view says above its rows."""
        if self.view is None:
            return []
        titles = self.view.titles(width)
        return [*self.view.intro(width), *([] if titles is None else [titles])]

    def _below(self, width: int, height: int) -> list[Line]:
        """What the view says below its rows, as far as there is room."""
        if self.view is None or not self.view.count():
            return []
        least = min(self.view.count(), LEAST_ROWS)
        room = height - len(self._above(width)) - least
        return self.view.outro(width, room)[: max(room, 0)] if room > 0 else []

    def build(self, width: int, height: int) -> list[Line]:
        """Titles, then the rows from the view's offset, or what to do about an empty view."""
        view = self.view
        if view is None:
            return []
        if not view.count():
            above = view.intro(width)
            advice = [part for text in view.empty(width) for part in wrap(text, max(width - 2, 20)) or [""]]
            return [*above, *([(f" {text}", FAINT)] for text in advice)]
        rows = self.rows
        view.settle(rows)
        last = min(view.top + rows, view.count())
        body = [self._row(view, i, width) for i in range(view.top, last)]
        return [*self._above(width), *body, *self._below(width, height)]

    def _row(self, view: Rows, index: int, width: int) -> Line:
        line = view.line(index, max(width - 1, 1))
        if not view.has_cursor:
            return [(" ", PLAIN), *line]
        if index != view.cursor:
            return [(view.gutter(index), PLAIN), *line]
        style = CURSOR if self.has_focus else PLAIN
        return [(">", style), *((text, style if self.has_focus else old) for text, old in line)]

    def on_focus(self) -> None:
        """The cursor's line looks different with the focus."""
        self.repaint()

    def on_blur(self) -> None:
        """The cursor's line looks different without the focus."""
        self.repaint()

    def on_click(self, event: events.Click) -> None:
        """The cursor to the line, which is opened as by its key; a heading or an empty place is nothing."""
        event.stop()
        view = self.view
        if view is None or not view.has_cursor or not view.count() or self.held():
            return
        index = view.top + event.y - len(self._above(self.size.width))
        if not view.top <= index < min(view.top + self.rows, view.count()):
            return
        view.move(index - view.cursor, self.rows)
        self.repaint()
        if view.cursor == index and self.clicked is not None:
            self.clicked(self)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel moves the cursor."""
        self._wheel(WHEEL)
        event.stop()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel moves the cursor."""
        self._wheel(-WHEEL)
        event.stop()

    def _wheel(self, by: int) -> None:
        if self.view is not None and not self.held():
            self.view.move(by, self.rows)
            self.repaint()
