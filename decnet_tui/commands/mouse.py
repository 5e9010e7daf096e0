"""The mouse: a click opens what it is on, the wheel scrolls; or all of it is left to the terminal, which selects text then.

While something is asked a click does nothing: no answer is ever given by the mouse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from decnet_tui.commands.base import Command
from decnet_tui.commands.context import Context
from decnet_tui.screens import header
from decnet_tui.widgets import clipboard
from decnet_tui.widgets.form import FormPane
from decnet_tui.widgets.line_list import LineList
from decnet_tui.widgets.prompt import Prompt
from decnet_tui.widgets.strips import TextLines

if TYPE_CHECKING:
    from textual.app import App

VIEWS_LINE = 1
"""The line of the head that has the titles of the views."""


class Clicked(Context, Protocol):
    """The console that is clicked on."""

    prompt: Prompt
    form: FormPane


class Mouse:
    """What the mouse does in one console."""

    def __init__(self, console: Any) -> None:
        self._console: Clicked = console
        self._app: App[Any] = console
        self.on = True

    def listen(self, main: LineList, detail: LineList, head: TextLines, wanted: bool) -> None:
        """Begins; ``wanted`` is whether the terminal tells of the mouse at all."""
        main.clicked, head.clicked = self._line, self._head
        main.held = detail.held = self.held
        if not wanted:
            self.switch()

    def held(self) -> bool:
        """Whether something is asked, or a failed confirmation is not done with."""
        console = self._console
        asked = console.prompt.question is not None or console.form.form is not None
        return asked or console.desk.waiting or console.desk.swallowing

    def _line(self, _: LineList) -> None:
        self._run("open")

    def _head(self, x: int, y: int) -> None:
        console = self._console
        name = header.view_at(console.view.name, console.panes.width, x) if y == VIEWS_LINE else ""
        if name and not self.held():
            self._run("help" if name == "help" else f"view.{name}")

    def _run(self, command: str) -> None:
        self._console.run_command(next(c for c in self._console.commands if c.id == command), "")

    def switch(self) -> bool:
        """The mouse to the terminal, or back; whether it is the console's now."""
        self.on = not self.on
        clipboard.use_mouse(self._app, self.on)
        return self.on


def switch(console: Context, _: str) -> None:
    """Who wants to select text by dragging has to have the mouse left to the terminal."""
    if console.mouse.switch():
        console.say("the mouse opens and scrolls again; with Shift held most terminals select text")
    else:
        console.say("the mouse is the terminal's: dragging selects text; the same command takes it back")


COMMANDS = (
    Command(
        "mouse", "the mouse to the terminal, for selecting text, or back", "Reading", switch, name="mouse"
    ),
)
