"""Help: every command with its keys, generated from the registry."""

from __future__ import annotations

from textwrap import wrap

from decnet_tui.feed import Feed
from decnet_tui.keymap import Keys
from decnet_tui.screens.base import TextView
from decnet_tui.widgets.strips import BOLD, KEY, PLAIN, Line

WIDTH = 80 - 17
"""Columns for what a key does, on the narrowest usual screen."""


class HelpView(TextView):
    """The keys by group."""

    name = "help"
    title = "Help"

    def __init__(self, feed: Feed, keys: Keys) -> None:
        super().__init__(feed)
        self._pairs = [
            (key if not at else "", part, bool(keys_) or at > 0)
            for keys_, says in keys.help_lines()
            for at, (key, part) in enumerate((keys_, part) for part in wrap(says, WIDTH))
        ]

    def count(self) -> int:
        """Lines."""
        return len(self._pairs)

    def line(self, index: int, width: int) -> Line:
        """Keys and meaning, or a group's title."""
        keys, says, inside = self._pairs[index]
        return [(f"  {keys:<12} ", KEY), (says, PLAIN)] if inside else [(says, BOLD)]

    def status(self) -> tuple[str, str]:
        """How to leave."""
        return "Esc or q: back.  A filter: ttp.> -system.> curl ip:203.0.113.7 /wget|curl/", ""
