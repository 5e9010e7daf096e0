"""Commands of views that are tables: sort, columns, marks; and the way from a line to its actor's traffic."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from decnet_tui.commands.base import Command
from decnet_tui.commands.saving import keep_columns, table_of
from decnet_tui.model.filters import FilterError
from decnet_tui.model.keys import key
from decnet_tui.screens.table import TableView
from decnet_tui.screens.traffic import TrafficView
from decnet_tui.widgets.prompt import Question

if TYPE_CHECKING:
    from decnet_tui.commands.context import Context


def _table(console: Context) -> TableView[Any] | None:
    if (found := table_of(console.view)) is not None:
        return found
    console.say("this view is no table: it keeps the order of time")
    return None


def sort(by: int, console: Context, _: str) -> None:
    """Sorts by the next or last column; a recording that plays gets another speed instead."""
    if (speed := console.view.faster(by)) is not None:
        console.say(speed)
        return
    if (table := _table(console)) is not None:
        console.say(f"sorted by {table.sort(by)}")
        console.repaint()


def reverse(console: Context, _: str) -> None:
    """Sorts the other way round."""
    if (table := _table(console)) is not None:
        console.say(f"sorted by {table.reverse()}")
        console.repaint()


def columns(console: Context, _: str) -> None:
    """Edits the list of columns; it applies while it is typed, Esc restores."""
    table = _table(console)
    if table is None:
        return
    before = [c.id for c in table.columns if c.id not in table.hidden_columns]

    def changed(typed: str) -> str:
        try:
            table.choose_columns(typed.split())
        except FilterError as error:
            return str(error)
        finally:
            console.repaint()
        return ""

    def done(accepted: bool, _: str) -> None:
        if accepted:
            keep_columns(console, table)
        else:
            table.choose_columns(before)
        console.repaint()

    console.ask(Question("columns ", done, " ".join(before), changed=changed))


def mark(console: Context, _: str) -> None:
    """Marks the row and goes to the next; a row that stands for others shows or hides them."""
    if console.view.unfold():
        console.repaint()
        return
    if (table := _table(console)) is not None:
        table.toggle_mark()
        table.move(1, console.panes.main.rows)
        console.repaint()


def its_traffic(console: Context, _: str) -> None:
    """The events about the actor of this line."""
    actor = console.view.actor()
    if actor is None:
        console.say(f"{key('traffic.of')} shows the traffic of a line's actor; this one names none")
        return
    console.show_view("traffic")
    console.view_of(TrafficView).set_scope(actor)
    console.say(f"traffic of {actor.label}; {key('filter.clear')} shows everybody's")
    console.repaint()


COMMANDS = (
    Command("traffic.of", "the traffic of this line's actor", "Reading", its_traffic, keys="b"),
    Command("sort.next", "sort by the next column", "Tables", partial(sort, 1), keys="greater_than_sign"),
    Command("sort.last", "sort by the last column", "Tables", partial(sort, -1), keys="less_than_sign"),
    Command("sort.reverse", "sort the other way round", "Tables", reverse, keys="r"),
    Command("columns", "choose columns", "Tables", columns, keys="c"),
    Command("mark", "mark the line, for copy and export", "Tables", mark, keys="space"),
)
