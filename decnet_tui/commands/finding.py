"""Commands that find: filter, follow, search, command line, palette."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decnet_tui.commands.base import Command
from decnet_tui.commands.following import MOST
from decnet_tui.model.filters import FilterError
from decnet_tui.widgets.prompt import Question

if TYPE_CHECKING:
    from decnet_tui.app import DecnetApp


def ask_filter(app: DecnetApp, text: str) -> None:
    """Types a filter, which applies while it is typed; Esc restores the former one. A second / searches."""
    view, before = app.view, app.view.filter_text
    begun = f"{before} " if before else ""  # what is typed is one more part of it
    keys_pressed = 0

    def changed(typed: str) -> str:
        nonlocal keys_pressed
        keys_pressed += 1
        if keys_pressed == 1 and typed == f"{begun}/":
            ask_search(app)
            return ""
        try:
            view.set_filter(typed.strip())
        except FilterError as error:
            return str(error)
        finally:
            app.repaint()
        return ""

    def done(accepted: bool, typed: str) -> None:
        if not accepted:
            view.set_filter(before)
        elif typed.strip():
            app.filters_typed.append(typed.strip())
        app.repaint()

    if text:
        app.say(changed(text), bad=True)
    else:
        app.ask(Question("/ ", done, begun, changed=changed, history=app.filters_typed))


def ask_search(app: DecnetApp) -> None:
    """Types what the database is searched for."""

    def done(accepted: bool, typed: str) -> None:
        if accepted and typed.strip():
            app.run_line(f"find {typed}")

    app.ask(Question("// ", done))


def clear_filter(app: DecnetApp, _: str) -> None:
    """Shows everything; the actor that is followed stays followed."""
    app.view.set_filter("")
    app.view.set_scope(app.scope)
    app.repaint()


def follow(app: DecnetApp, text: str) -> None:
    """Follows the actor under the cursor in all views, or nobody any more."""
    if text:
        app.follow_name(text)
    elif app.scope is not None:
        app.follow(None)
    elif (actor := app.view.actor()) is None:
        app.say("F follows the actor of a line; this one names none")
    elif actor.addresses > MOST:
        app.say(f"{actor.title}: too many addresses to follow, {MOST} at most", bad=True)
    else:
        app.follow(actor)


def command_line(app: DecnetApp, _: str) -> None:
    """Types a command."""

    def done(accepted: bool, text: str) -> None:
        if accepted and text.strip():
            app.commands_typed.append(text)
            app.run_line(text)

    app.ask(
        Question(": ", done, changed=app.line_problem, complete=app.complete_line, history=app.commands_typed)
    )


def palette(app: DecnetApp, _: str) -> None:
    """All commands, narrowed by what is typed."""
    view, came_from = app.palette, app.view.name
    view.narrow("")
    app.show_view("palette", remember=False)

    def changed(typed: str) -> str:
        view.narrow(typed)
        app.repaint()
        return "" if view.count() else "no command has these letters"

    def moved(by: int) -> None:
        view.move(by, app.pane.rows)
        app.repaint()

    def done(accepted: bool, _: str) -> None:
        app.show_view(came_from, remember=False)
        if accepted and view.chosen is not None:
            app.run_command(view.chosen, "")

    app.ask(Question("command ", done, changed=changed, moved=moved))


COMMANDS = (
    Command("filter", "filter: topic patterns with + and -, words, /regex/, key:value", "Finding", ask_filter,
            keys="slash", foot="filter", argument="FILTER"),
    Command("filter.clear", "clear the filter", "Finding", clear_filter, keys="backslash", name="clear"),
    Command("follow", "follow this actor in all views; again: everybody", "Finding", follow,
            keys="F", foot="follow", argument="ADDRESS, id, i-... or c-..."),
    Command("command", "command line: Tab completes, up and down go through the history", "Finding",
            command_line, keys="colon", foot="cmd"),
    Command("palette", "all commands to choose from", "Finding", palette, keys="ctrl+p"),
)  # fmt: skip
