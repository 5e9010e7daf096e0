"""A rate of the last day as a line: what it is called, a bar for each hour, and this hour beside the usual one."""

from __future__ import annotations

from decnet_tui.model.trends import Trend, bars
from decnet_tui.widgets import glyphs
from decnet_tui.widgets.strips import GOOD, PLAIN, WARN, Line


def trend_line(trend: Trend) -> Line:
    """One rate of the last day: its name, a bar for each hour, and this hour beside the usual one."""
    bad = WARN if trend.name == "refused" and trend.counts[-1] else PLAIN
    return [
        (f" {trend.label:<13} ", PLAIN),
        (bars(trend.counts, glyphs.current().spark), GOOD),
        (f"  {trend.text}", bad),
    ]
