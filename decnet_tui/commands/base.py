"""What a command is: one thing an operator can do, by key, on the command line or from the palette.

All three come from the same list (:mod:`decnet_tui.commands`), and so do help, footer and completion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from decnet_tui.commands.context import Context

Run: TypeAlias = "Callable[[Context, str], None]"
"""Does it; the text is what was typed after the command's name, empty when a key was pressed."""
Here: TypeAlias = "Callable[[Context], bool]"
"""Whether it does something with what is open and under the cursor."""
Complete: TypeAlias = "Callable[[Context], list[str]]"
"""What may stand after the command's name."""


@dataclass(frozen=True)
class Command:
    """One command.

    ``id`` is for the config file, ``name`` for the command line. ``views`` empty means everywhere; a key
    may mean different things in different views. ``foot`` is its word in the footer, where it stands while its
    key does something (``here``; None: always). ``changes`` says that it alters rules, fleet, workers, alerts or
    letters: then it needs write mode.
    """

    id: str
    says: str
    group: str
    run: Run
    keys: str = ""
    foot: str = ""
    views: tuple[str, ...] = ()
    name: str = ""
    argument: str = ""
    complete: Complete | None = None
    changes: bool = False
    here: Here | None = None

    @property
    def spelled(self) -> str:
        """Its name on the command line."""
        return self.name or self.id.replace(".", "-")

    def works_in(self, view: str) -> bool:
        """Whether its key means it in that view."""
        return not self.views or view in self.views

    def does_something(self, console: Context) -> bool:
        """Whether its key does something at this moment."""
        return self.here is None or self.here(console)
