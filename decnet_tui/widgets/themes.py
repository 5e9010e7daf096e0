"""Themes: what the few styles of the console look like. The terminal's own sixteen colours are the default.

A fixed theme has a background of its own, so that its contrast is known; a test holds it. No theme carries a meaning
that does not stand in a word or a glyph as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from rich.style import Style


class Theme(NamedTuple):
    """One theme. ``colours`` maps the terminal's names to ``#rrggbb``; empty, they stay the terminal's own.

    ``default`` is among them where ``background`` is given. ``bare`` leaves bold and reverse alone.
    """

    name: str
    background: str = ""
    colours: Mapping[str, str] = {}
    bare: bool = False

    def style(self, style: Style) -> Style:
        """The look of one style in this theme."""
        return _look(self.name, style)


THEMES: Mapping[str, Theme] = {
    theme.name: theme
    for theme in (
        Theme("terminal"),
        Theme("dark", "#12161c", {
            "default": "#d7dce2", "bright_black": "#98a2ae", "blue": "#6cb6ff", "yellow": "#f0a35e", "cyan": "#76d0d6",
        }),
        Theme("light", "#fbfbf8", {
            "default": "#1d2329", "bright_black": "#59636e", "blue": "#0b5cad", "yellow": "#9a4a00", "cyan": "#00606b",
        }),
        Theme("contrast", "#000000", {
            "default": "#ffffff", "bright_black": "#d0d0d0", "blue": "#9cd0ff", "yellow": "#ffd000", "cyan": "#7fffff",
        }),
        Theme("none", bare=True),
    )
}  # fmt: skip


@lru_cache(maxsize=1024)
def _look(name: str, style: Style) -> Style:
    theme = THEMES[name]
    if theme.bare:
        return Style(bold=bool(style.bold), reverse=bool(style.reverse))
    if not theme.colours:
        return style
    colour = style.color.name if style.color is not None else "default"
    return Style(
        color=theme.colours.get(colour, theme.colours["default"]),
        bgcolor=theme.background,
        bold=bool(style.bold),
        reverse=bool(style.reverse),
    )


def luminance(colour: str) -> float:
    """The relative luminance of ``#rrggbb``, 0 to 1, as WCAG 2 has it."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """How much two colours (``#rrggbb``) stand off each other: 1 for the same, 21 for black and white."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
