"""Commands that move the cursor and change panes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from decnet_tui.commands.base import Command

if TYPE_CHECKING:
    from decnet_tui.app import DecnetApp
    from decnet_tui.widgets.line_list import LineList

_FAR = 10**9


def focused(app: DecnetApp) -> LineList:
    """The list that has the keys."""
    return app.detail if app.detail.has_focus else app.pane


def move(by: int, app: DecnetApp, _: str) -> None:
    """So many lines down."""
    target = focused(app)
    if target.view is not None:
        target.view.move(by, target.rows)
        app.repaint()
        target.repaint()


def page(by: int, app: DecnetApp, _: str) -> None:
    """So many pages down."""
    move(by * max(focused(app).rows - 1, 1), app, "")


def next_pane(app: DecnetApp, _: str) -> None:
    """The other pane, if it is there."""
    (app.pane if app.detail.has_focus or not app.detail.display else app.detail).focus()


def side(by: int, app: DecnetApp, _: str) -> None:
    """The pane at that side, or that side of a view that has some."""
    if not app.detail.has_focus and app.view.turn(by):
        app.repaint()
        return
    (app.detail if by > 0 and app.detail.display else app.pane).focus()


def escape(app: DecnetApp, _: str) -> None:
    """One level back: zoom, the detail pane, a view opened inside another, help."""
    if app.screen.has_class("zoomed"):
        app.screen.remove_class("zoomed")
        app.repaint_soon()
    elif app.detail.has_focus or app.screen.has_class("detailed"):
        app.screen.remove_class("detailed")
        app.pane.focus()
    elif app.view.back():
        if app.view.came_from and app.view.depth < app.view.entered_at:
            _return(app)
        app.repaint()
    elif app.view.came_from:
        _return(app)
    elif app.view.name == "help":
        app.show_view(app.last_view)


def _return(app: DecnetApp) -> None:
    """To the line that led here."""
    app.show_view(app.view.leave_to(), remember=False)


COMMANDS = (
    Command("move.down", "down", "Moving", partial(move, 1), keys="down,j"),
    Command("move.up", "up", "Moving", partial(move, -1), keys="up,k"),
    Command("move.right", "to the detail pane", "Moving", partial(side, 1), keys="right,l"),
    Command("move.left", "to the list", "Moving", partial(side, -1), keys="left,h"),
    Command("move.page_down", "page down", "Moving", partial(page, 1), keys="pagedown"),
    Command("move.page_up", "page up", "Moving", partial(page, -1), keys="pageup"),
    Command("move.first", "first line", "Moving", partial(move, -_FAR), keys="g,home"),
    Command("move.last", "last line", "Moving", partial(move, _FAR), keys="G,end"),
    Command("pane.next", "other pane", "Moving", next_pane, keys="tab"),
    Command("back", "one level back", "Moving", escape, keys="escape"),
)
