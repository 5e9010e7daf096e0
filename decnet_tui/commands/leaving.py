"""Commands that leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decnet_tui.commands.base import Command
from decnet_tui.commands.moving import escape
from decnet_tui.widgets.prompt import Question

if TYPE_CHECKING:
    from decnet_tui.app import DecnetApp

_ASK = "The demo ends, its data and exports are deleted. y quits, anything else stays: "
_ASK_OR_LEAVE = "The engine inside stops too: y quit  h leave it headless  anything else stays: "


def leave(app: DecnetApp, _: str) -> None:
    """Back; at the top it says how to quit."""
    inside = app.detail.has_focus or app.screen.has_class("detailed") or app.screen.has_class("zoomed")
    if inside or app.view.name == "help" or app.view.opened or app.view.came_from:
        escape(app, "")
    else:
        app.say("nothing to go back to; Q quits")


def quit_console(app: DecnetApp, _: str) -> None:
    """Ends the console; with the engine inside it says so and offers to leave it running."""
    if not app.session.engine_inside:
        _end(app, "quit")
        return

    def done(accepted: bool, text: str) -> None:
        if accepted:
            _end(app, "headless" if text == "h" else "quit")
        else:
            app.say("still here")

    if app.session.demo:
        app.ask(Question(_ASK, done, confirm=True))
    else:
        app.ask(Question(_ASK_OR_LEAVE, done, confirm=True, answers="yh"))


def _end(app: DecnetApp, result: str) -> None:
    async def end() -> None:
        await app.pace.finish()
        app.exit(result)

    app.run_worker(end(), name="end")


def interrupt(app: DecnetApp, _: str) -> None:
    """Ctrl+C."""
    app.say("Q quits")


COMMANDS = (
    Command("leave", "back", "Leaving", leave, keys="q"),
    Command("quit", "quit", "Leaving", quit_console, keys="Q", foot="quit"),
    Command("interrupt", "says how to quit", "Leaving", interrupt, keys="ctrl+c"),
)
