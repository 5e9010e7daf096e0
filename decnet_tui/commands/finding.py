"""Commands that find: filter, follow, search, command line, palette."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from decnet_tui.commands import typed
from decnet_tui.commands.base import Command
from decnet_tui.commands.following import MOST
from decnet_tui.model.filters import FilterError
from decnet_tui.model.keys import key
from decnet_tui.screens.found import FoundView
from decnet_tui.screens.palette import PaletteView
from decnet_tui.widgets.prompt import Question

if TYPE_CHECKING:
    from decnet_tui.commands.context import Context


def ask_filter(console: Context, text: str) -> None:
    """Types a filter in place of the one that is there, which applies while it is typed; Esc restores the former one."""
    view, before = console.view, console.view.filter_text

    def changed(text: str) -> str:
        try:
            view.set_filter(text.strip())
        except FilterError as error:
            return str(error)
        finally:
            console.repaint()
        return ""

    def done(accepted: bool, text: str) -> None:
        if not accepted:
            view.set_filter(before)
        elif text.strip():
            console.history.filters.append(text.strip())
        console.repaint()

    if text:
        console.say(changed(text), bad=True)
    else:
        past = [*console.history.filters, *([before] if before else [])]
        now = f"now: {before}  (up: goes on from it)" if before else ""
        console.ask(Question("/ ", done, changed=changed, history=past, hint=now))


def ask_search(console: Context, text: str) -> None:
    """Searches the database for what was typed, or asks for it."""
    if text.strip():
        _search(console, text)
        return

    def done(accepted: bool, text: str) -> None:
        if accepted and text.strip():
            _search(console, text)

    console.ask(Question("find in the database: ", done))


def _search(console: Context, text: str) -> None:
    console.view_of(FoundView).look_for(text.strip())
    console.show_view("found")


def clear_filter(console: Context, _: str) -> None:
    """Back to the view's own filter; the actor that is followed stays followed."""
    console.view.set_filter(console.view.own_filter)
    console.view.set_scope(console.following.scope)
    console.repaint()


def follow(console: Context, text: str) -> None:
    """Follows the actor under the cursor in all views, or nobody any more."""
    if text:
        console.following.follow_name(text)
    elif console.following.scope is not None:
        console.following.follow(None)
    elif (actor := console.view.actor()) is None:
        console.say(f"{key('follow')} follows the actor of a line; this one names none")
    elif actor.addresses > MOST:
        console.say(f"{actor.title}: too many addresses to follow, {MOST} at most", bad=True)
    else:
        console.following.follow(actor)


def _has_actor(console: Context) -> bool:
    """Whether somebody is followed, or could be."""
    return console.following.scope is not None or console.view.actor() is not None


def command_line(console: Context, _: str) -> None:
    """Types a command."""

    def done(accepted: bool, text: str) -> None:
        if accepted and text.strip():
            console.history.commands.append(text)
            typed.run(console, text)

    console.ask(
        Question(
            ": ",
            done,
            changed=partial(typed.problem, console.commands),
            complete=partial(typed.complete, console),
            history=console.history.commands,
        )
    )


def palette(console: Context, _: str) -> None:
    """All commands, narrowed by what is typed."""
    view, came_from = console.view_of(PaletteView), console.view.name
    view.narrow("")
    console.show_view("palette", remember=False)

    def changed(text: str) -> str:
        view.narrow(text)
        console.repaint()
        return "" if view.count() else "no command has these letters"

    def moved(by: int) -> None:
        view.move(by, console.panes.main.rows)
        console.repaint()

    def done(accepted: bool, _: str) -> None:
        console.show_view(came_from, remember=False)
        if accepted and view.chosen is not None:
            console.run_command(next(c for c in console.commands if c.id == view.chosen.id), "")

    console.ask(Question("command ", done, changed=changed, moved=moved))


COMMANDS = (
    Command("filter", "filter: topic patterns with + and -, words, /regex/, key:value", "Finding", ask_filter,
            keys="slash", foot="filter", argument="FILTER", here=lambda console: console.view.filtered),
    Command("filter.clear", "back to the view's own filter", "Finding", clear_filter, keys="backslash", name="clear"),
    Command("search", "search the database", "Finding", ask_search, keys="ctrl+f", name="find", argument="TEXT"),
    Command("follow", "follow this actor in all views; again: everybody", "Finding", follow,
            keys="F", foot="follow", argument="ADDRESS, id, i-... or c-...", here=_has_actor),
    Command("command", "command line: Tab completes, up and down go through the history", "Finding",
            command_line, keys="colon", foot="cmd"),
    Command("palette", "all commands to choose from", "Finding", palette, keys="ctrl+p"),
)  # fmt: skip
