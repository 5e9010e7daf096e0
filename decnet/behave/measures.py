"""Small statistics that several primitives share; pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import log2, sqrt
from statistics import fmean
from typing import Any

Finding = tuple[str, Any, float]
"""(primitive, value, confidence 0..1)"""


def grade(value: float, bounds: Sequence[float], labels: Sequence[str]) -> str:
    """The label of the interval that ``value`` falls into; a bound belongs to the interval above it."""
    return labels[bisect_right(bounds, value)]


def sure(samples: float, half: float, most: float = 0.95) -> float:
    """A confidence that grows with the number of samples and is half of ``most`` at ``half`` of them."""
    return round(most * samples / (samples + half), 4)


def deviation(values: Sequence[float]) -> float:
    """Standard deviation (of the whole, not of a sample)."""
    mean = fmean(values)
    return sqrt(fmean((value - mean) ** 2 for value in values))


def variation(values: Sequence[float]) -> float:
    """Coefficient of variation; 0 for values that are all 0."""
    mean = fmean(values)
    return deviation(values) / mean if mean > 0 else 0.0


def logs(values: Sequence[float], least: float) -> list[float]:
    """log2 of values, none below ``least``."""
    return [log2(max(value, least)) for value in values]


def pearson(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Pearson's r, None where one side does not vary."""
    xs, ys = [x for x, _ in pairs], [y for _, y in pairs]
    spread = deviation(xs) * deviation(ys)
    if spread <= 1e-12:
        return None
    mx, my = fmean(xs), fmean(ys)
    return fmean((x - mx) * (y - my) for x, y in pairs) / spread


def two_groups(values: Sequence[float]) -> tuple[list[float], list[float]]:
    """The sorted values cut in two where the squares within both parts are least."""
    ordered = sorted(values)
    total, squares, n = sum(ordered), sum(v * v for v in ordered), len(ordered)
    left = left_squares = 0.0
    best, cut = float("inf"), 1
    for place, value in enumerate(ordered[:-1], start=1):
        left += value
        left_squares += value * value
        right = total - left
        within = left_squares - left * left / place + (squares - left_squares) - right * right / (n - place)
        if within < best:
            best, cut = within, place
    return ordered[:cut], ordered[cut:]
