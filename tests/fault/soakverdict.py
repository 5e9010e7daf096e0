"""Flat or not: what a series of samples says, by its slope once everything is warm, in text and as a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from xml.sax.saxutils import escape

WARM = 1 / 3
"""Share of a run in which caches fill and pages come in; it counts for nothing."""
_PIECES = 12
WIDTH, HEIGHT, LEFT, GAP = 900, 130, 90, 40


@dataclass(frozen=True, slots=True)
class Series:
    """Samples of one figure: (seconds, value). ``allowed`` is by how much it may have grown when all is over."""

    name: str
    unit: str
    samples: Sequence[tuple[float, float]]
    allowed: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a series came to: its slope an hour, what that made over the warm part of the run, and whether that is flat."""

    series: Series
    middle: float
    an_hour: float
    grown: float
    flat: bool

    def text(self) -> str:
        """One line."""
        unit, word = self.series.unit, "flat" if self.flat else "NOT FLAT"
        return (
            f"{self.series.name:<24} {word:<9} middle {self.middle:,.1f} {unit}, slope {self.an_hour:+,.1f} {unit}/h, "
            f"grown {self.grown:+,.1f} {unit} of {self.series.allowed:,.1f} allowed"
        )


def judged(series: Series) -> Verdict:
    """The verdict on a series. Raises ValueError for too few samples to say anything."""
    first, last = series.samples[0][0], series.samples[-1][0]
    warm = [(at, value) for at, value in series.samples if at >= first + (last - first) * WARM]
    if len(warm) < _PIECES:
        raise ValueError(f"{series.name}: {len(warm)} samples are too few")
    steady = _pieces(warm)
    slope = _slope(steady)
    grown = slope * (steady[-1][0] - steady[0][0])
    middle = median(value for _, value in warm)
    return Verdict(series, middle, slope * 3600, grown, grown <= series.allowed)


def _pieces(samples: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The middle of each piece of a run: a batch that is at work is no trend."""
    size = len(samples) / _PIECES
    cut = [samples[round(i * size) : round((i + 1) * size)] for i in range(_PIECES)]
    return [(fmean(at for at, _ in piece), median(value for _, value in piece)) for piece in cut]


def _slope(samples: Sequence[tuple[float, float]]) -> float:
    """Least squares: units a second."""
    at, value = fmean(x for x, _ in samples), fmean(y for _, y in samples)
    spread = sum((x - at) ** 2 for x, _ in samples)
    return sum((x - at) * (y - value) for x, y in samples) / spread if spread else 0.0


def drawing(title: str, verdicts: Sequence[Verdict]) -> str:
    """All series of a run below each other, as SVG."""
    high = 60 + len(verdicts) * (HEIGHT + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{high}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{high}" fill="white"/>',
        f'<text x="10" y="24" font-size="16">{escape(title)}</text>',
    ]
    for number, verdict in enumerate(verdicts):
        parts.append(_panel(verdict, 60 + number * (HEIGHT + GAP)))
    return "\n".join([*parts, "</svg>", ""])


def _panel(verdict: Verdict, top: int) -> str:
    samples = verdict.series.samples
    begin, end = samples[0][0], max(samples[-1][0], samples[0][0] + 1)
    most = max(1e-9, *(value for _, value in samples))
    wide = WIDTH - LEFT - 20
    points = " ".join(
        f"{LEFT + wide * (at - begin) / (end - begin):.1f},{top + HEIGHT * (1 - value / most):.1f}"
        for at, value in samples
    )
    warm = LEFT + wide * WARM
    colour = "#1a7f37" if verdict.flat else "#b00020"
    return "\n".join([
        f'<text x="{LEFT}" y="{top - 6}">{escape(verdict.text())}</text>',
        f'<rect x="{LEFT}" y="{top}" width="{wide}" height="{HEIGHT}" fill="none" stroke="#999"/>',
        f'<line x1="{warm:.1f}" y1="{top}" x2="{warm:.1f}" y2="{top + HEIGHT}" stroke="#999" stroke-dasharray="4"/>',
        f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end">{most:,.1f}</text>',
        f'<text x="{LEFT - 6}" y="{top + HEIGHT}" text-anchor="end">0</text>',
        f'<text x="{LEFT + wide}" y="{top + HEIGHT + 14}" text-anchor="end">{(end - begin) / 60:.1f} min</text>',
        f'<polyline points="{points}" fill="none" stroke="{colour}"/>',
    ])  # fmt: skip
