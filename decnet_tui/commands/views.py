"""Commands that go from view to view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decnet_tui.commands.base import Command
from decnet_tui.screens import VIEWS

if TYPE_CHECKING:
    from decnet_tui.app import DecnetApp


def _show(name: str) -> Command:
    view = next(v for v in VIEWS if v.name == name)

    def run(app: DecnetApp, text: str) -> None:
        """Shows it as it was left; from inside it, its first level. A text is the row to go to."""
        if text:
            app.open_in(name, text)
            return
        shown = app.views[name]
        if app.view is shown:
            shown.home()
        shown.came_from = ""
        app.show_view(name)

    return Command(f"view.{name}", view.says, "Views", run, keys=view.key, name=name,
                   argument="[LINE]")  # fmt: skip


def last_view(app: DecnetApp, _: str) -> None:
    """The view before this one."""
    app.show_view(app.last_view)


def help_view(app: DecnetApp, _: str) -> None:
    """Help; its own key leaves it too."""
    app.show_view(app.last_view if app.view.name == "help" else "help")


COMMANDS = (
    *(_show(view.name) for view in VIEWS),
    Command("view.last", "last view", "Views", last_view, keys="minus", name="last"),
    Command("help", "this help", "Views", help_view, keys="question_mark", foot="help"),
)
