"""Help: every command with its keys, generated from the registry."""

from __future__ import annotations

from decnet_tui.feed import Feed
from decnet_tui.keymap import Keys
from decnet_tui.screens.base import TextView
from decnet_tui.widgets.strips import BOLD, KEY, PLAIN, Line


class HelpView(TextView):
    """The keys by group."""

    name = "help"
    title = "Help"

    def __init__(self, feed: Feed, keys: Keys) -> None:
        super().__init__(feed)
        self._pairs = keys.help_lines()

    def count(self) -> int:
        """Lines."""
        return len(self._pairs)

    def line(self, index: int, width: int) -> Line:
        """Keys and meaning, or a group's title."""
        keys, says = self._pairs[index]
        return [(says, BOLD)] if not keys else [(f"  {keys:<12} ", KEY), (says, PLAIN)]

    def status(self) -> tuple[str, str]:
        """How to leave."""
        return "Esc or q: back.  A filter: ttp.> -system.> curl ip:203.0.113.7 /wget|curl/", ""
