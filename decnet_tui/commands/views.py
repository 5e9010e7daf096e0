"""Commands that go from view to view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decnet_tui.commands.base import Command
from decnet_tui.screens import VIEWS

if TYPE_CHECKING:
    from decnet_tui.commands.context import Context


def _named(console: Context, name: str, text: str) -> None:
    """The view with what a text chooses there: what it is about, such as a day, else the row of that name."""
    view = console.views[name]
    try:
        taken = view.take(text)
    except ValueError as error:
        console.say(str(error), bad=True)
        return
    if not taken:
        console.open_in(name, text)
        return
    console.show_view(name)
    console.read_now()


def _show(name: str) -> Command:
    view = next(v for v in VIEWS if v.name == name)

    def run(console: Context, text: str) -> None:
        """Shows it as it was left; from inside it, its first level. A text is the row to go to."""
        if text:
            _named(console, name, text)
            return
        shown = console.views[name]
        if console.view is shown:
            shown.home()
        shown.came_from = ""
        console.show_view(name)

    return Command(f"view.{name}", view.says, "Views", run, keys=view.key, name=name,
                   argument="[LINE]")  # fmt: skip


def ignored(console: Context, text: str) -> None:
    """The sources that are left out; Esc comes back."""
    if text:
        console.open_in("ignored", text)
        return
    shown = console.views["ignored"]
    if console.view is not shown:
        shown.came_from = console.view.name
        console.show_view("ignored", remember=False)


def last_view(console: Context, _: str) -> None:
    """The view before this one."""
    console.show_view(console.last_view)


def help_view(console: Context, _: str) -> None:
    """Help; its own key leaves it too."""
    console.show_view(console.last_view if console.view.name == "help" else "help")


COMMANDS = (
    *(_show(view.name) for view in VIEWS),
    Command(
        "view.ignored",
        "ignored sources with their ends",
        "Views",
        ignored,
        name="ignored",
        argument="[SOURCE]",
    ),
    Command("view.last", "last view", "Views", last_view, keys="minus", name="last"),
    Command("help", "this help", "Views", help_view, keys="question_mark", foot="help"),
)
