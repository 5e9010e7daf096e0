"""Help: every key and what it does, generated from the bindings."""

from __future__ import annotations

from collections.abc import Mapping

from decnet_tui.feed import Feed
from decnet_tui.keymap import help_lines
from decnet_tui.screens.base import TextView
from decnet_tui.widgets.strips import BOLD, KEY, PLAIN, Line


class HelpView(TextView):
    """The keys by group."""

    name = "help"
    title = "Help"

    def __init__(self, feed: Feed, overrides: Mapping[str, str], hidden: frozenset[str]) -> None:
        super().__init__(feed)
        self._pairs = help_lines(overrides, hidden)

    def count(self) -> int:
        """Lines."""
        return len(self._pairs)

    def line(self, index: int, width: int) -> Line:
        """Keys and meaning, or a group's title."""
        keys, says = self._pairs[index]
        return [(says, BOLD)] if not keys else [(f"  {keys:<12} ", KEY), (says, PLAIN)]

    def status(self) -> tuple[str, str]:
        """How to leave."""
        return "Esc or q: back.  In the filter: ttp.> -system.> curl  (+ and - patterns, words)", ""
