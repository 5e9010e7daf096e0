"""Flat or not: what a series of samples says, by its slope once everything is warm, in text and as a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from xml.sax.saxutils import escape

WARM = 1 / 3
"""Share of a run in which caches fill and pages come in; it counts for nothing."""
_PIECES = 12
LAG = "lag"
"""The series that grows where work comes faster than it is done."""
WORK = "work, by event"
"""The series of what an event costs."""
SHARE = 0.7
"""Part of what a machine can do at most that it does for long."""
COLOURS = {"flat": "#1a7f37", "NOT FLAT": "#b00020", "not judged": "#666666"}
WIDTH, HEIGHT, LEFT, GAP = 900, 130, 90, 40


@dataclass(frozen=True, slots=True)
class Series:
    """Samples of one figure: (seconds, value). ``allowed`` is by how much it may have grown when all is over."""

    name: str
    unit: str
    samples: Sequence[tuple[float, float]]
    allowed: float
    full_at: float = 0.0
    """From when on (seconds) everything is full that is remembered up to a bound; what grows before says nothing."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a series came to: its slope an hour, what that made over the warm part of the run, and whether that is flat."""

    series: Series
    middle: float
    an_hour: float
    grown: float
    flat: bool
    judged: bool = True
    """Whether the run was long enough; ``flat`` says nothing where it was not."""

    @property
    def word(self) -> str:
        """The verdict in a word."""
        return "not judged" if not self.judged else "flat" if self.flat else "NOT FLAT"

    def text(self) -> str:
        """One line."""
        unit, word = self.series.unit, self.word
        return (
            f"{self.series.name:<24} {word:<10} middle {self.middle:,.1f} {unit}, slope {self.an_hour:+,.1f} {unit}/h, "
            f"grown {self.grown:+,.1f} {unit} of {self.series.allowed:,.1f} allowed"
        )


def judged(series: Series) -> Verdict:
    """The verdict on a series. Raises ValueError for too few samples to say anything."""
    first, last = series.samples[0][0], series.samples[-1][0]
    since = first + (last - first) * WARM
    long_enough = series.full_at <= last - (last - first) * WARM
    if long_enough:
        since = max(since, series.full_at)
    warm = [(at, value) for at, value in series.samples if at >= since]
    if len(warm) < _PIECES:
        raise ValueError(f"{series.name}: {len(warm)} samples are too few")
    steady = _pieces(warm)
    slope = _slope(steady)
    grown = slope * (steady[-1][0] - steady[0][0])
    middle = median(value for _, value in warm)
    return Verdict(series, middle, slope * 3600, grown, grown <= series.allowed, long_enough)


def concluded(found: Sequence[Verdict], rate: float, carried: float, wrong: bool) -> tuple[str, int]:
    """What a whole run says, and its exit code: 0 flat, 1 for what grows or is wrong, 3 for a run that proves nothing,

    at a rate that is too high or too short. ``rate`` lines a second were written, ``carried`` of them worked off. A lag
    that grows says of itself only that the machine is too slow for the rate; an engine that leaks, or does more and more
    for an event, is another matter. What an event costs counts where batches are full: small ones cost more for each.
    """
    behind = any(not one.flat for one in found if one.series.name == LAG)
    aside = {LAG} if behind else {LAG, WORK}
    grows = [one.series.name for one in found if one.judged and not one.flat and one.series.name not in aside]
    short = [one.series.name for one in found if not one.judged]
    said = [f"NOT FLAT ({', '.join(grows)})"] if grows else []
    said += ["something is wrong"] if wrong else []
    said += [f"too short for {', '.join(short)}"] if short else []
    if behind:
        said.append(
            f"rate too high for this machine: {carried:,.0f} of {rate:,.0f} lines/s were worked off, try RATE={carried * SHARE:.0f}"
        )
    return ", and ".join(said) or "flat", 1 if grows or wrong else 3 if behind or short else 0


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
    colour = COLOURS[verdict.word]
    return "\n".join([
        f'<text x="{LEFT}" y="{top - 6}">{escape(verdict.text())}</text>',
        f'<rect x="{LEFT}" y="{top}" width="{wide}" height="{HEIGHT}" fill="none" stroke="#999"/>',
        f'<line x1="{warm:.1f}" y1="{top}" x2="{warm:.1f}" y2="{top + HEIGHT}" stroke="#999" stroke-dasharray="4"/>',
        f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end">{most:,.1f}</text>',
        f'<text x="{LEFT - 6}" y="{top + HEIGHT}" text-anchor="end">0</text>',
        f'<text x="{LEFT + wide}" y="{top + HEIGHT + 14}" text-anchor="end">{(end - begin) / 60:.1f} min</text>',
        f'<polyline points="{points}" fill="none" stroke="{colour}"/>',
    ])  # fmt: skip
