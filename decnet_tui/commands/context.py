"""What a command sees of the console: what is open, what is under the cursor, and what it can have done.

The app is one; a test is another. Nothing here or in a command knows which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from decnet.config import Settings
from decnet_tui.actions.desk import Desk, Job
from decnet_tui.actions.forms import Form
from decnet_tui.model.access import Session
from decnet_tui.model.feed import Feed
from decnet_tui.screens.base import View
from decnet_tui.screens.levels import Level
from decnet_tui.widgets.panes import Panes
from decnet_tui.widgets.prompt import Question

if TYPE_CHECKING:
    from decnet_tui.commands.base import Command
    from decnet_tui.commands.following import Following
    from decnet_tui.commands.mouse import Mouse
    from decnet_tui.commands.typed import History

V = TypeVar("V", bound=View)


class Context(Protocol):
    """The console, for commands. :attr:`view` is the view that is open: its row under the cursor is what keys act on."""

    settings: Settings
    session: Session
    feed: Feed
    view: View
    last_view: str
    """The name of the view before this one."""
    panes: Panes
    desk: Desk
    following: Following
    history: History
    mouse: Mouse

    @property
    def views(self) -> Mapping[str, View]:
        """All views by name."""
        ...

    @property
    def commands(self) -> Sequence[Command]:
        """The commands of this run."""
        ...

    def view_of(self, kind: type[V]) -> V:
        """The one view of a class."""
        ...

    def show_view(self, name: str, *, remember: bool = True) -> None:
        """Another view; ``remember`` makes this one the last view."""
        ...

    def open_in(self, name: str, key: Any) -> None:
        """Another view and the row there that ``key`` names; Esc comes back."""
        ...

    def enter(self, level: Level) -> None:
        """A level inside the row under the cursor, read from the store at once; Esc comes back."""
        ...

    def read_now(self) -> None:
        """Reads the store for the view that is open, without waiting for its turn."""
        ...

    def repaint(self) -> None:
        """Paints what differs."""
        ...

    def repaint_soon(self) -> None:
        """Paints once a new layout is known."""
        ...

    def say(self, text: str, *, bad: bool = False, good: bool = False) -> None:
        """The message line."""
        ...

    def ask(self, question: Question) -> None:
        """Asks in the line at the bottom."""
        ...

    def propose(self, form: Form) -> None:
        """Shows a form whose change is sent once it is confirmed."""
        ...

    def run_command(self, command: Command, text: str) -> None:
        """Does a command; one that changes something waits for write mode."""
        ...

    def work(self, job: Job, name: str, *, instead: bool = False) -> None:
        """Does something beside the keys; ``instead``: in place of what is still done under that name."""
        ...

    def now(self) -> float:
        """Epoch seconds."""
        ...

    def copy(self, text: str) -> str:
        """Puts a text into the terminal's clipboard; what became of it, in words."""
        ...

    def use_theme(self, name: str) -> None:
        """Paints everything anew in another theme."""
        ...

    def leave(self, result: str) -> None:
        """Ends the console with ``quit``, or ``headless``: the engine goes on."""
        ...
