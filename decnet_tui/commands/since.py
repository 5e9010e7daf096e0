"""Commands of what is read: the span of the first view, marks of what is read, the next of a list, indicators, the cause."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from decnet_tui.commands.base import Command
from decnet_tui.model.keys import key
from decnet_tui.screens.base import View
from decnet_tui.screens.indicators import IndicatorsLevel
from decnet_tui.screens.levels import Level, LevelsView
from decnet_tui.screens.session import SessionLevel
from decnet_tui.screens.since import SinceView

if TYPE_CHECKING:
    from decnet_tui.commands.context import Context

_LEVELLED = ("actors", "coverage", "campaigns", "alerts")
_PAGES = ("since", *_LEVELLED)


def next_span(console: Context, _: str) -> None:
    """View 0: another span."""
    console.say(f"span: {console.view_of(SinceView).next_span()}")
    console.read_now()
    console.repaint()


# --- read and unread


def _session_page(console: Context) -> SessionLevel | None:
    level = console.view.level if isinstance(console.view, LevelsView) else None
    return level if isinstance(level, SessionLevel) else None


def read(console: Context, _: str) -> None:
    """Marks what the page is about as read, or takes that back."""
    since, page = console.view_of(SinceView), _session_page(console)
    mark = page.mark() if page is not None else since.mark_here() if console.view is since else ""
    if not mark:
        console.say(f"{key('read')} marks a source of view {key('view.since')} or a session's page as read")
        return
    try:
        done = since.turn_read(mark)
    except OSError as error:
        console.say(f"the mark could not be kept: {error.strerror}: {error.filename}", bad=True)
        return
    lasting = "" if since.marks.lasting else " (for this run)"
    console.say(f"{'read' if done else 'unread again'}{lasting}")
    console.repaint()


def _can_read(console: Context) -> bool:
    page = _session_page(console)
    if page is not None:
        return bool(page.mark())
    since = console.view_of(SinceView)
    return console.view is since and bool(since.mark_here())


def unread(console: Context, _: str) -> None:
    """The next source that is not read; from its page the page of the next one."""
    since, page = console.view_of(SinceView), _session_page(console)
    if not since.next_unread():
        console.say(
            f"everything in view {key('view.since')} is read"
            if since.found is not None
            else "nothing was read from the store yet"
        )
        return
    if (
        page is not None
        and isinstance(console.view, LevelsView)
        and isinstance(level := since.below(), Level)
    ):
        console.view.exchange(level)
        console.read_now()
    console.repaint()


# --- the list that led here


def _led_here(console: Context) -> tuple[LevelsView, View] | None:
    """The view of levels that is open, and the list that its page was opened from; None where it is no page."""
    view = console.view
    if not isinstance(view, LevelsView) or not view.opened:
        return None
    if view.came_from and view.depth <= view.entered_at:
        return view, console.views[view.came_from]
    return view, view.levels[-2]


def beside(by: int, console: Context, _: str) -> None:
    """The previous (-1) or next (1) of the list that led to this page."""
    found = _led_here(console)
    if found is None:
        console.say(
            f"{key('list.next')} and {key('list.last')} go through the list that a page was opened from"
        )
        return
    view, parent = found
    before = parent.cursor
    level = _next_page(parent, by, type(view.level))
    if level is None:
        parent.cursor = before
        console.say("this is the last one" if by > 0 else "this is the first one")
        return
    view.exchange(level)
    console.read_now()


def _next_page(parent: View, by: int, kind: type[Level]) -> Level | None:
    """The page of the next row of a list that has one of the same kind; the cursor of the list goes there."""
    at = parent.cursor + by
    while 0 <= at < parent.count():
        parent.cursor = at
        below = parent.below()
        if type(below) is kind and isinstance(below, Level):
            return below
        at += by
    return None


# --- indicators and causes


def indicators(console: Context, _: str) -> None:
    """The indicators of what the page or the line is about."""
    of = console.view.indicators_of()
    if of is None:
        console.say(
            f"{key('indicators')} lists the indicators of a source or a session; this line names none"
        )
    else:
        console.enter(IndicatorsLevel(console.feed, of))


def cause(console: Context, _: str) -> None:
    """To the line of the session that the tag under the cursor rests on."""
    page = _session_page(console)
    if page is not None:
        console.say(page.to_cause())
        console.repaint()


def _has_cause(console: Context) -> bool:
    page = _session_page(console)
    return page is not None and page.has_cause()


COMMANDS = (
    Command("since.span", "change the span", "Since", next_span, keys="s", foot="span", views=("since",)),
    Command("read", "mark as read, or unread again", "Since", read, keys="x", foot="read", views=_PAGES, here=_can_read),
    Command("unread", "the next source that is not read", "Since", unread, keys="u", views=_PAGES),
    Command("list.last", "the previous of the list that led to this page", "Evidence", partial(beside, -1),
            keys="left_square_bracket", name="previous", views=_LEVELLED),
    Command("list.next", "the next of the list that led to this page", "Evidence", partial(beside, 1),
            keys="right_square_bracket", name="next", views=_LEVELLED),
    Command("indicators", "the indicators (IOCs) of this page's or line's object", "Evidence", indicators, keys="d",
            foot="IOCs", name="iocs", views=(*_PAGES, "found", "traffic"),
            here=lambda console: console.view.indicators_of() is not None),
    Command("cause", "to the line that the tag rests on", "Evidence", cause, keys="m", foot="cause", views=_LEVELLED,
            here=_has_cause),
)  # fmt: skip
