"""The base of every widget here: lines of styled text, painted line by line, only where they changed.

Nothing is ever handed to a widget that reads markup. Every piece of text passes ``visible()`` on its
way into a strip, and every segment has a style (without one, ``NO_COLOR`` breaks the framework).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from decnet.hostile import visible
from decnet_tui.widgets import glyphs
from decnet_tui.widgets.themes import THEMES, Theme

Cell: TypeAlias = tuple[str, Style]
Line: TypeAlias = list[Cell]

PLAIN = Style(color="default")
BOLD = Style(color="default", bold=True)
FAINT = Style(color="bright_black")
GOOD = Style(color="blue")
WARN = Style(color="yellow")
BAD = Style(color="yellow", bold=True)
KEY = Style(color="cyan")
CURSOR = Style(color="default", reverse=True)
_theme = ["terminal"]


def use_theme(name: str) -> Theme:
    """Takes a theme into use, by its name. Raises KeyError for one that there is not."""
    theme = THEMES[name]
    _theme[0] = name
    return theme


def strip_of(line: Line, width: int) -> Strip:
    """A strip of exactly ``width`` cells."""
    return _strip(tuple(line), max(width, 0), _theme[0], glyphs.current().name)


@lru_cache(maxsize=1024)
def _strip(line: tuple[Cell, ...], width: int, name: str, _glyphs: str) -> Strip:
    """Remembered: in a moving list nearly every line stood elsewhere on the last frame."""
    theme = THEMES[name]
    segments = [Segment(glyphs.plain(visible(text)), theme.style(style)) for text, style in line if text]
    return Strip(segments).adjust_cell_length(width, theme.style(PLAIN))


def fit(text: str, width: int) -> str:
    """Visible text cut or padded to ``width`` characters; a cut ends in an ellipsis."""
    return visible(text, width).ljust(width)


def spread(left: Line, right: Line, width: int) -> Line:
    """``left`` at the left and ``right`` at the right edge; ``left`` gives way."""
    right_width = sum(len(text) for text, _ in right)
    room = max(width - right_width - 1, 0)
    cut: Line = []
    for text, style in left:
        part = visible(text, room) if room else ""
        cut.append((part, style))
        room -= len(part)
    return [*cut, (" " * (room + 1), PLAIN), *right]


class StripWidget(Widget):
    """Paints what :meth:`build` returns; :meth:`repaint` sends changed lines only."""

    DEFAULT_CSS = "StripWidget { height: 1; width: 1fr; }"

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._strips: list[Strip] = []

    def build(self, width: int, height: int) -> list[Line]:
        """The lines as they should stand now; a bare strip is blank."""
        return []

    def repaint(self) -> None:
        """Builds anew and refreshes the lines that differ from what stands on the screen."""
        width, height = self.size.width, self.size.height
        if not (width and height):
            return
        lines = self.build(width, height)[:height]
        strips = [strip_of(line, width) for line in lines]
        strips.extend(strip_of([], width) for _ in range(height - len(strips)))
        old, self._strips = self._strips, strips
        changed = [y for y in range(height) if y >= len(old) or old[y] != strips[y]]
        if changed:
            self.refresh(*(Region(0, y, width, 1) for y in changed))

    def on_resize(self) -> None:
        """A new size: all lines anew."""
        self.paint_anew()

    def paint_anew(self) -> None:
        """Another look: all lines anew."""
        self._strips = []
        self.repaint()

    def render_line(self, y: int) -> Strip:
        """One line, from the last :meth:`repaint`."""
        return self._strips[y] if y < len(self._strips) else strip_of([], self.size.width)


class TextLines(StripWidget):
    """Fixed lines: header, footer, messages."""

    clicked: Callable[[int, int], None] | None = None
    """Called with column and line of a click."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.lines: list[Line] = []

    def on_click(self, event: events.Click) -> None:
        """A click on a line."""
        event.stop()
        if self.clicked is not None:
            self.clicked(event.x, event.y)

    def show(self, *lines: Line) -> None:
        """Shows these lines from now on."""
        self.lines = list(lines)
        self.repaint()

    def build(self, width: int, height: int) -> list[Line]:
        """The lines."""
        return self.lines
