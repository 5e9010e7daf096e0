"""Plots as SVG inside a page: no script, no style sheet, no font and no link; text of attackers is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from html import escape
from typing import Final

from decnet.hostile import visible
from decnet.report.document import Bars, Columns

WIDTH: Final = 720
_ROW, _LABEL, _VALUE = 22, 250, 60
_HEIGHT, _BASE = 130, 24
_BAR, _INK = "#2f6f9f", "#333333"
_NAME_CHARS = 36
_DAY_S = 86_400


def bars_svg(plot: Bars) -> str:
    """A line for each value, its length by its share of the greatest."""
    most = max(count for _, count in plot.values)
    height = _ROW * len(plot.values)
    parts = []
    for number, (name, count) in enumerate(plot.values):
        y = number * _ROW
        length = max(round((WIDTH - _LABEL - _VALUE) * count / most), 1 if count else 0)
        parts.append(_text(_LABEL - 8, y + 15, visible(name, _NAME_CHARS), "end"))
        parts.append(f'<rect x="{_LABEL}" y="{y + 4}" width="{length}" height="14" fill="{_BAR}"/>')
        parts.append(_text(_LABEL + length + 6, y + 15, f"{count}", "start"))
    return _svg(height, f"{plot.title}, {plot.unit}", parts)


def columns_svg(plot: Columns) -> str:
    """A column for each span; its ends are named below, the greatest count beside."""
    most = max(count for _, count in plot.values)
    wide = (WIDTH - _VALUE) / len(plot.values)
    parts = []
    for number, (begin, count) in enumerate(plot.values):
        tall = round((_HEIGHT - 10) * count / most)
        title = f"<title>{escape(stamp(begin, plot.step_s))}: {count} {escape(plot.unit)}</title>"
        x, y = round(_VALUE + number * wide, 1), _HEIGHT - tall
        parts.append(
            f'<rect x="{x}" y="{y}" width="{max(round(wide - 1, 1), 0.5)}" height="{tall}" fill="{_BAR}">{title}</rect>'
        )
    parts.append(f'<line x1="{_VALUE}" y1="{_HEIGHT}" x2="{WIDTH}" y2="{_HEIGHT}" stroke="{_INK}"/>')
    first, last = plot.values[0][0], plot.values[-1][0]
    parts.append(_text(_VALUE, _HEIGHT + 16, stamp(first, plot.step_s), "start"))
    parts.append(_text(WIDTH, _HEIGHT + 16, stamp(last, plot.step_s), "end"))
    parts.append(_text(_VALUE - 8, 20, f"{most}", "end"))
    return _svg(_HEIGHT + _BASE, f"{plot.title}, {plot.unit}", parts)


def columns_of(title: str, moments: Sequence[datetime], unit: str, most: int = 60) -> Columns:
    """Counts of moments, in spans of an hour, some hours, a day or some days: at most ``most`` columns."""
    if not moments:
        return Columns(title, (), 3600, unit)
    first, last = min(moments), max(moments)
    steps = (3600, 3 * 3600, 12 * 3600, *(_DAY_S * days for days in (1, 2, 7, 30, 365)))
    step_s = next((s for s in steps if (last - first).total_seconds() / s < most - 1), steps[-1])
    begin = first.timestamp() // step_s * step_s
    count = min(int((last.timestamp() - begin) // step_s) + 1, 10 * most)
    counts = [0] * count
    for moment in moments:
        counts[min(int((moment.timestamp() - begin) // step_s), count - 1)] += 1
    start = first - timedelta(seconds=first.timestamp() - begin)
    return Columns(
        title, [(start + timedelta(seconds=n * step_s), c) for n, c in enumerate(counts)], step_s, unit
    )


def stamp(moment: datetime, step_s: int) -> str:
    """A moment as exactly as its span is long."""
    return f"{moment:%Y-%m-%d}" if step_s >= _DAY_S else f"{moment:%Y-%m-%d %H:%M}Z"


def _svg(height: int, label: str, parts: Sequence[str]) -> str:
    said = escape(visible(label, 200))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{said}" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">{"".join(parts)}</svg>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{_INK}">{escape(text)}</text>'
