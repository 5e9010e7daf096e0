"""The two panes, list and detail: which one has the keys, and how much of the screen each has.

Below a certain width the detail is shown only when it is opened; the style sheet goes by the classes that are set here.
"""

from __future__ import annotations

from typing import Any

from textual.screen import Screen

from decnet_tui.widgets.line_list import LineList, Rows

_DETAILED, _ZOOMED, _ZOOM_DETAIL = "detailed", "zoomed", "zoom-detail"


class Panes:
    """List and detail of one screen."""

    def __init__(self, screen: Screen[Any], main: LineList, detail: LineList) -> None:
        self._screen, self.main, self.detail = screen, main, detail

    @property
    def focused(self) -> LineList:
        """The one that has the keys."""
        return self.detail if self.in_detail else self.main

    @property
    def in_detail(self) -> bool:
        """Whether the detail has the keys."""
        return self.detail.has_focus

    @property
    def opened(self) -> bool:
        """Whether :meth:`back` would close something."""
        return self.in_detail or self._screen.has_class(_DETAILED) or self._screen.has_class(_ZOOMED)

    @property
    def width(self) -> int:
        """Columns of the screen."""
        return self._screen.size.width

    def show(self, view: Rows) -> None:
        """Another view in the list, with the keys, and nothing opened beside it."""
        # Every class that changes styles all widgets anew: a key would wait for that.
        self._screen.remove_class(_DETAILED, _ZOOMED)
        self.main.show(view)
        self.main.focus()

    def open_detail(self) -> None:
        """The detail, with the keys."""
        self._screen.add_class(_DETAILED)
        self.detail.focus()

    def toggle_detail(self) -> None:
        """The detail on or off; the list keeps the keys."""
        self._screen.toggle_class(_DETAILED)
        self.main.focus()

    def zoom(self) -> None:
        """The pane with the keys alone, or both again."""
        self._screen.toggle_class(_ZOOMED)
        self._screen.set_class(self.in_detail, _ZOOM_DETAIL)

    def other(self) -> None:
        """The keys to the other pane, if it is there."""
        (self.main if self.in_detail or not self.detail.display else self.detail).focus()

    def turn(self, by: int) -> None:
        """The keys to the pane at the left (-1) or right (1), if it is there."""
        (self.detail if by > 0 and self.detail.display else self.main).focus()

    def back(self) -> bool:
        """Closes what was opened last; False when nothing was."""
        if self._screen.has_class(_ZOOMED):
            self._screen.remove_class(_ZOOMED)
            return True
        if self.in_detail or self._screen.has_class(_DETAILED):
            self._screen.remove_class(_DETAILED)
            self.main.focus()
            return True
        return False
