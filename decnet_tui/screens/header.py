"""The fixed lines: health, views, what is shown; and the strip of tall terminals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from decnet.hostile import visible
from decnet_tui.feed import Feed
from decnet_tui.link import Link
from decnet_tui.screens.base import View, clock, count_short, span
from decnet_tui.screens.workers import state_text
from decnet_tui.widgets.strips import BAD, BOLD, CURSOR, FAINT, GOOD, PLAIN, WARN, Line, spread

VIEW_KEYS = (("1", "traffic", "Traffic"), ("4", "rules", "Rules"), ("6", "workers", "Workers"))


@dataclass(frozen=True)
class Badges:
    """What line 1 says about this session. ``write_left`` is seconds of write mode, 0 without."""

    host: str
    demo: bool
    write_left: float


def health_line(feed: Feed, link: Link, badges: Badges, now: float, width: int) -> Line:
    """Line 1."""
    well, known = feed.worker_counts(now)
    lost = BAD if feed.lost else PLAIN
    left: Line = [
        (f"{visible(badges.host, 20)} ", BOLD),
        *_connection(feed, link),
        (f" lost {feed.lost}", lost),
    ]
    right: Line = [(f"workers {well}/{known}", GOOD if well == known else BAD)]
    if badges.demo:
        right.append(("  DEMO", WARN))
    write = f"RW {span(badges.write_left)}" if badges.write_left else "RO"
    right += [(f"  {write}", BAD if badges.write_left else PLAIN), (f"  {clock(now)}Z", PLAIN)]
    return spread(left, right, width)


def _connection(feed: Feed, link: Link) -> Line:
    if link.live:
        return [("LIVE", GOOD), (f" {count_short(feed.rates.per_second)}/s", PLAIN)]
    if not link.retries and link.down_for() < 1:
        return [("connecting", FAINT)]
    return [(f"DISCONNECTED {span(link.down_for())} (retry {link.retries})", BAD)]


def views_line(current: str, width: int) -> Line:
    """Line 2."""
    left: Line = []
    for key, name, title in VIEW_KEYS:
        here = name == current
        left.append((f"{key}{'*' if here else ' '}{title}", CURSOR if here else PLAIN))
        left.append(("  ", PLAIN))
    return spread(left, [("*Help " if current == "help" else "? help ", FAINT)], width)


def shown_line(view: View, width: int) -> Line:
    """Line 3."""
    left, right = view.status()
    return spread([(left, FAINT)], [(right, FAINT)] if right else [], width)


def strip_lines(feed: Feed, now: float, width: int) -> Sequence[Line]:
    """The strip: received by topic root, and the workers."""
    roots = "  ".join(f"{root} {count_short(n)}" for root, n in feed.by_root.most_common(9))
    workers: Line = [(" workers   ", FAINT)]
    for name in sorted(feed.workers):
        text, style = state_text(feed.workers[name], now, feed.heartbeat_s)
        workers += [(f"{visible(name, 14)} ", PLAIN), (f"{text}  ", style)]
    return [
        [("-" * width, FAINT)],
        [(" received  ", FAINT), (roots or "nothing yet", PLAIN)],
        workers if feed.workers else [*workers, ("no heartbeat yet", PLAIN)],
    ]
