"""Commands that move the cursor and change panes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from decnet_tui.commands.base import Command

if TYPE_CHECKING:
    from decnet_tui.commands.context import Context

_FAR = 10**9


def move(by: int, console: Context, _: str) -> None:
    """So many lines down."""
    target = console.panes.focused
    if target.view is not None:
        target.view.move(by, target.rows)
        console.repaint()
        target.repaint()


def page(by: int, console: Context, _: str) -> None:
    """So many pages down."""
    move(by * max(console.panes.focused.rows - 1, 1), console, "")


def next_pane(console: Context, _: str) -> None:
    """The next part of a view that has several, else the other pane, if it is there."""
    said = None if console.panes.in_detail else console.view.next_part()
    if said is None:
        console.panes.other()
    else:
        console.say(said)
        console.repaint()


def side(by: int, console: Context, _: str) -> None:
    """The pane at that side, or that side of a view that has some."""
    if not console.panes.in_detail and console.view.turn(by):
        console.repaint()
    else:
        console.panes.turn(by)


def escape(console: Context, _: str) -> None:
    """One level back: zoom, the detail pane, a view opened inside another, help."""
    view = console.view
    if console.panes.back():
        console.repaint_soon()
    elif view.back():
        if view.came_from and view.depth < view.entered_at:
            _return(console)
        console.repaint()
    elif view.came_from:
        _return(console)
    elif view.name == "help":
        console.show_view(console.last_view)


def _return(console: Context) -> None:
    """To the line that led here."""
    console.show_view(console.view.leave_to(), remember=False)


COMMANDS = (
    Command("move.down", "down", "Moving", partial(move, 1), keys="down,j"),
    Command("move.up", "up", "Moving", partial(move, -1), keys="up,k"),
    Command("move.right", "to the detail pane", "Moving", partial(side, 1), keys="right,l"),
    Command("move.left", "to the list", "Moving", partial(side, -1), keys="left,h"),
    Command("move.page_down", "page down", "Moving", partial(page, 1), keys="pagedown"),
    Command("move.page_up", "page up", "Moving", partial(page, -1), keys="pageup"),
    Command("move.first", "first line", "Moving", partial(move, -_FAR), keys="g,home"),
    Command("move.last", "last line", "Moving", partial(move, _FAR), keys="G,end"),
    Command("pane.next", "other pane; on an alert's page its sides", "Moving", next_pane, keys="tab"),
    Command("back", "one level back", "Moving", escape, keys="escape"),
)
