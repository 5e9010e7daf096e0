"""Commands that go from view to view."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from decnet.hostile import visible
from decnet_tui.commands.base import Command
from decnet_tui.commands.following import called
from decnet_tui.model.access import need_store, store_errors
from decnet_tui.screens import VIEWS
from decnet_tui.screens.coverage import CoverageView

if TYPE_CHECKING:
    from decnet_tui.commands.context import Context

_TECHNIQUE = re.compile(r"\s*t\d{4}(\.\d{3})?\s*", re.I)


def _named(console: Context, name: str, text: str) -> None:
    """The view with what a text chooses there: what it is about, such as a day, else the row of that name."""
    view = console.views[name]
    try:
        taken = view.take(text)
    except ValueError as error:
        console.say(str(error), bad=True)
        return
    if taken:
        console.show_view(name)
        console.read_now()
    elif isinstance(view, CoverageView) and not _TECHNIQUE.fullmatch(text):
        console.work(partial(_coverage_of, console, view, text), "open", instead=True)
    else:
        console.open_in(name, text)


async def _coverage_of(console: Context, view: CoverageView, name: str) -> None:
    """The matrix of an address, an identity, a campaign, or of the source of a session."""
    try:
        scope = await called(need_store(console.session), name.strip())
    except store_errors() as error:
        console.say(visible(error, 300), bad=True)
        return
    if scope is None:
        console.say(
            f"no technique, day, source, identity or campaign is called {visible(name, 60)}", bad=True
        )
        return
    view.home()
    view.matrix.show_of(scope)
    console.show_view(view.name)
    console.read_now()


def _show(name: str) -> Command:
    view = next(v for v in VIEWS if v.name == name)

    def run(console: Context, text: str) -> None:
        """Shows it as it was left; from inside it, its first level. A text is the row to go to."""
        if text:
            _named(console, name, text)
            return
        shown = console.views[name]
        shown.came_from = ""
        shown.come_from(console.view)
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
