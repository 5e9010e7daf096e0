"""Commands that leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decnet_tui.commands.base import Command
from decnet_tui.commands.moving import escape
from decnet_tui.model.keys import key
from decnet_tui.widgets.prompt import Question

if TYPE_CHECKING:
    from decnet_tui.commands.context import Context

_ASK = "The demo ends, its data and exports are deleted. y quits, anything else stays: "
_ASK_OR_LEAVE = "The engine inside stops too: y quit  h leave it headless  anything else stays: "


def leave(console: Context, _: str) -> None:
    """Back; at the top it says how to quit."""
    if console.panes.opened or console.view.name == "help" or console.view.opened or console.view.came_from:
        escape(console, "")
    else:
        console.say(f"nothing to go back to; {key('quit')} quits")


def quit_console(console: Context, _: str) -> None:
    """Ends the console; with the engine inside it says so and offers to leave it running."""
    if not console.session.engine_inside:
        console.leave("quit")
        return

    def done(accepted: bool, text: str) -> None:
        if accepted:
            console.leave("headless" if text == "h" else "quit")
        else:
            console.desk.refused("still here", text)

    if console.session.demo:
        console.ask(Question(_ASK, done, confirm=True))
    else:
        console.ask(Question(_ASK_OR_LEAVE, done, confirm=True, answers="yh"))


def interrupt(console: Context, _: str) -> None:
    """Ctrl+C."""
    console.say(f"{key('quit')} quits")


COMMANDS = (
    Command("leave", "back", "Leaving", leave, keys="q"),
    Command("quit", "quit", "Leaving", quit_console, keys="Q", foot="quit"),
    Command("interrupt", "says how to quit", "Leaving", interrupt, keys="ctrl+c"),
)
