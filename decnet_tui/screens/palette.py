"""The palette: all commands of the registry, narrowed by the letters that are typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from decnet_tui.model.feed import Feed
from decnet_tui.model.words import counted
from decnet_tui.screens.base import View
from decnet_tui.widgets.strips import FAINT, KEY, PLAIN, Line, fit


class Offer(NamedTuple):
    """A command that can be chosen: its id, its name on the command line, what it does, its keys."""

    id: str
    name: str
    says: str
    keys: str


class PaletteView(View):
    """Commands whose text holds the letters in order; the best match first."""

    name = "palette"
    title = "Commands"

    def __init__(self, feed: Feed, offers: Sequence[Offer]) -> None:
        super().__init__(feed)
        self._offers = offers
        self.found: list[Offer] = []

    def narrow(self, text: str) -> None:
        """Shows what fits."""
        scored = [(score(text, f"{one.name} {one.says}"), one) for one in self._offers]
        self.found = [
            one for _, one in sorted((p for p in scored if p[0] is not None), key=lambda p: p[0] or 0)
        ]
        self.cursor = self.top = 0

    @property
    def chosen(self) -> Offer | None:
        """The command under the cursor."""
        return self.found[self.cursor] if self.cursor < len(self.found) else None

    def sync(self, now: float) -> bool:
        """Nothing comes by itself."""
        return False

    def count(self) -> int:
        """Commands that fit."""
        return len(self.found)

    def line(self, index: int, width: int) -> Line:
        """Name, what it does, its key."""
        one = self.found[index]
        return [(fit(one.name, 16) + " ", KEY), (fit(one.keys, 12) + " ", FAINT), (one.says, PLAIN)]

    def empty(self, width: int) -> list[str]:
        """No command has these letters."""
        return ["No command has these letters.", "Backspace, or Esc to leave."]

    def status(self) -> tuple[str, str]:
        """How it works."""
        return "type letters, up and down choose, Enter runs, Esc leaves", counted(self.count(), "command")


def score(typed: str, text: str) -> float | None:
    """How well the letters fit, less is better; None when they do not occur in this order."""
    hay, at, gaps = text.lower(), -1, 0
    if (whole := hay.find(typed.lower())) >= 0:
        return whole / 1000
    for letter in typed.lower().replace(" ", ""):
        found = hay.find(letter, at + 1)
        if found < 0:
            return None
        gaps += found - at - 1
        at = found
    return 1.0 + gaps
