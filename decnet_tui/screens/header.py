"""The fixed lines: health, views, what is shown; and the strip of tall terminals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from decnet.hostile import ELLIPSIS, visible
from decnet_tui.model.connection import Connection
from decnet_tui.model.feed import Feed
from decnet_tui.model.keys import key, view_key
from decnet_tui.model.words import clock, count_short, span
from decnet_tui.screens import VIEWS
from decnet_tui.screens.base import View
from decnet_tui.screens.traffic import sparkline
from decnet_tui.widgets import glyphs
from decnet_tui.widgets.states import worker_state
from decnet_tui.widgets.strips import BAD, BOLD, CURSOR, FAINT, GOOD, PLAIN, WARN, Line, spread
from decnet_tui.widgets.trend import trend_line

STRIP_ROOTS = 4
MIN_CRUMB = 16
"""Characters of the way here that stay whatever else line 3 says."""
STRIP_HEIGHT = STRIP_ROOTS + 2
BESIDE = 150
"""Columns from which on the rates of the last day stand beside the live ones."""


@dataclass(frozen=True)
class Badges:
    """What line 1 says about this session. ``write_left`` is seconds of write mode, 0 without."""

    host: str
    demo: bool
    write_left: float
    follow: str = ""
    attached: bool = False


def health_line(feed: Feed, connection: Connection, badges: Badges, now: float, width: int) -> Line:
    """Line 1."""
    left: Line = [
        (f"{visible(badges.host, 20)} ", BOLD),
        *_connection(feed, connection),
        (f" lost {feed.lost}", BAD if feed.lost else PLAIN),
    ]
    if badges.follow:
        left.append((f"  follow {visible(badges.follow, 40)}", WARN))
    right = [*_troubles(feed, now), ("  DEMO", WARN) if badges.demo else ("", PLAIN)]
    write = f"RW {span(badges.write_left)}" if badges.write_left else "RO"
    right += [(f"  {write}", BAD if badges.write_left else PLAIN), (f"  {clock(now)}Z", PLAIN)]
    return spread(left, right, width)


def _troubles(feed: Feed, now: float) -> Line:
    """Workers, silent sensors and open alerts."""
    well, known = feed.worker_counts(now)
    line: Line = [(f"workers {well}/{known}", GOOD if well == known else BAD)]
    if silent := feed.silent_sensors():
        line.append((f"  {glyphs.current().stale} sensors {silent}", BAD))
    if feed.alerts_open:
        line.append((f"  ALERTS {feed.alerts_open}", BAD))
    return line


def _connection(feed: Feed, connection: Connection) -> Line:
    if connection.live:
        return [("LIVE", GOOD), (f" {count_short(feed.rates.per_second)}/s", PLAIN)]
    if not connection.retries and connection.down_for() < 1:
        return [("connecting", FAINT)]
    return [(f"DISCONNECTED {span(connection.down_for())} (retry {connection.retries})", BAD)]


def views_line(current: str, width: int) -> Line:
    """Line 2: all views with their keys; short titles where there is little room, with none but this one's at last."""
    left: Line = []
    for name, text in _tabs(current, width):
        left += [(text, CURSOR if name == current else PLAIN), (" ", PLAIN)]
    return spread(left, [(f"{'*' * (current == 'help')}{key('help')}", FAINT)], width)


def _tabs(current: str, width: int) -> list[tuple[str, str]]:
    """Each view's name and what stands for it in line 2."""
    titles = next((some for some in _titles(current) if _room_of(some) < width), _titles(current)[-1])
    signs = (
        "*" if view.name == current else " " if title else ""
        for view, title in zip(VIEWS, titles, strict=True)
    )
    return [
        (view.name, f"{view_key(view.name)}{sign}{title}")
        for view, title, sign in zip(VIEWS, titles, signs, strict=True)
    ]


def view_at(current: str, width: int, x: int) -> str:
    """The view whose title stands in column ``x`` of line 2, ``help`` at its end; empty for none."""
    at = 0
    for name, text in _tabs(current, width):
        if at <= x < at + len(text):
            return name
        at += len(text) + 1
    return "help" if x >= width - len(key("help")) - (current == "help") else ""


def _titles(current: str) -> Sequence[Sequence[str]]:
    """The titles of all views, from the longest to the shortest; view 0 has none where room is short."""
    short = [view.short_title or view.title for view in VIEWS]
    return (
        [view.title for view in VIEWS],
        short,
        ["", *short[1:]],
        [title if view.name == current else "" for view, title in zip(VIEWS, short, strict=True)],
        [""] * len(VIEWS),
    )


def _room_of(titles: Sequence[str]) -> int:
    """Characters of the line, the sign for help included."""
    keys = sum(len(view_key(view.name)) for view in VIEWS) + len(key("help"))
    return keys + sum(len(title) + (2 if title else 1) for title in titles) + 1


def shown_line(view: View, width: int) -> Line:
    """Line 3: of a page what it is about stays whole, and what can be done there gives way."""
    left, right = view.status()
    held = "PAUSED  " if view.paused and "PAUSED" not in left else ""
    crumbs = view.crumbs()
    most = width - len(held) - len(right) - 3
    about = len(shortened(crumbs[-1:], most)) + (len(f"{ELLIPSIS} > ") if crumbs[1:] else 0)
    way = shortened(crumbs, max(most - len(left), min(about, most)))
    line: Line = [(held, WARN), (f"{way}  " if way else "", PLAIN), (left, FAINT)]
    return spread(line, [(right, FAINT)] if right else [], width)


def shortened(crumbs: Sequence[str], room: int) -> str:
    """The way here in ``room`` characters: its beginning gives way first, the last part only when it must."""
    parts = [visible(crumb, 120) for crumb in crumbs]
    for first in range(len(parts)):
        way = " > ".join([ELLIPSIS] * bool(first) + parts[first:])
        if len(way) <= room:
            return way
    return (
        visible(" > ".join([ELLIPSIS] * (len(parts) > 1) + parts[-1:]), max(room, MIN_CRUMB)) if parts else ""
    )


def strip_lines(feed: Feed, now: float, width: int) -> Sequence[Line]:
    """The strip: the busiest topic families with their last minute, and the workers."""
    busiest = [root for root, _ in feed.by_root.most_common(STRIP_ROOTS)]
    lines: list[Line] = [[(glyphs.current().rule * width, FAINT)]]
    lines += _rates(feed, busiest, width)
    workers: Line = [(" workers      ", FAINT)]
    for name in sorted(feed.workers):
        text, style = worker_state(feed.workers[name].status(now, feed.heartbeat_s))
        workers += [(f"{visible(name, 14)} ", PLAIN), (f"{text}  ", style)]
    return [*lines, workers if feed.workers else [*workers, ("no heartbeat yet", PLAIN)]]


def _rates(feed: Feed, busiest: Sequence[str], width: int) -> list[Line]:
    """The families of topics live; the rates of the last day beside them, or below where that is too narrow."""
    half = width // 2 if width >= BESIDE else width
    live = [_root_line(feed, root, half) for root in sorted(busiest)] or [
        [(" no event yet", FAINT)]
    ] * STRIP_ROOTS
    live += [[("", PLAIN)]] * (STRIP_ROOTS - len(live))
    day = [trend_line(trend) for trend in feed.trends]
    if half == width:
        return [*live, *day]
    return [
        spread_at(left, right, half)
        for left, right in zip(live, [*day, *[[]] * (STRIP_ROOTS - len(day))], strict=True)
    ]


def spread_at(left: Line, right: Line, half: int) -> Line:
    """``left`` in so many columns, then ``right``."""
    used = sum(len(text) for text, _ in left)
    return [*left, (" " * max(half - used, 1), PLAIN), *right]


def _root_line(feed: Feed, root: str, width: int) -> Line:
    rates = feed.root_rates.get(root)
    head = f" {visible(root, 12):<12} {count_short(feed.by_root[root]):>6}  "
    if rates is None:
        return [(head, PLAIN)]
    rate = f"{count_short(rates.per_second):>5}/s  "
    return [(head, PLAIN), (rate, PLAIN), (sparkline(rates, max(min(60, width - 36), 1)), GOOD)]
