"""Help: every command with its keys, generated from the registry."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from decnet.hostile import visible
from decnet_tui.model.feed import Feed
from decnet_tui.model.keys import key
from decnet_tui.screens.base import TextView
from decnet_tui.widgets import glyphs
from decnet_tui.widgets.strips import BOLD, KEY, PLAIN, Line

WIDTH = 80 - 17
"""Columns for what a key does, on the narrowest usual screen."""


def _signs() -> list[tuple[str, str]]:
    g = glyphs.current()
    return [
        ("", "Signs"),
        (g.cursor, "the line that keys are for"),
        (g.mark, "marked with space"),
        (g.unread, f"a source that is not marked as read ({key('read')})"),
        (g.stale, "needs attention: an open alert, a stale worker, a silent sensor"),
        ("!", "behind an identity: an alert on it is open"),
        (f"{g.on} {g.partly} {g.off}", "on, limited or under way, off"),
    ]


def _run(data_dir: str) -> list[tuple[str, str]]:
    if not data_dir:
        return []
    return [
        ("", "This run"),
        ("--data-dir", f"{visible(data_dir)}: where commands find this engine and exports go"),
    ]


class HelpView(TextView):
    """The keys by group."""

    name = "help"
    title = "Help"

    def __init__(self, feed: Feed, keys: Sequence[tuple[str, str]], data_dir: str = "") -> None:
        super().__init__(feed)
        self._pairs = [
            (key if not at else "", part, bool(keys_) or at > 0)
            for keys_, says in [*keys, *_signs(), *_run(data_dir)]
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
        return (
            f"{key('back')} or {key('leave')}: back.  A filter: ttp.> -system.> curl ip:203.0.113.7 /wget|curl/",
            "",
        )
