"""The search for one assignment of sessions to two sides, and how much better it explains them than one.

The score of an assignment is a log10 Bayes factor: for each reading the Dirichlet-smoothed likelihood
of its classes with a distribution for each side, against one distribution for all ("one source with
mixed habits"). Of each witness the best reading counts, and nothing when the sides do not explain it; the assignment itself costs
log10(2) for each session.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import lgamma, log, log10

from decnet.attribution import thresholds as th
from decnet.attribution.readings import GROUPS, Reading

Sides = list[int]
"""0 or 1 for each session."""
_LN10 = log(10.0)


class _Tally:
    """Weighted counts of one reading on both sides, and its gain over one source."""

    __slots__ = ("alpha", "codes", "counts", "gain", "one", "totals", "weights")

    def __init__(self, reading: Reading, weights: Sequence[float], sides: Sides) -> None:
        self.codes, self.weights = reading.codes, weights
        self.alpha = th.SMOOTHING * reading.classes
        self.counts = [[0.0] * reading.classes, [0.0] * reading.classes]
        self.totals = [0.0, 0.0]
        for code, weight, side in zip(reading.codes, weights, sides, strict=True):
            if code is not None:
                self.counts[side][code] += weight
                self.totals[side] += weight
        whole = [a + b for a, b in zip(*self.counts, strict=True)]
        self.one = self._log(whole, sum(self.totals))
        self.gain = self._log(*self._side(0)) + self._log(*self._side(1)) - self.one

    def _side(self, side: int) -> tuple[list[float], float]:
        return self.counts[side], self.totals[side]

    def _log(self, counts: Sequence[float], total: float) -> float:
        rest = lgamma(self.alpha) - lgamma(total + self.alpha) - len(counts) * lgamma(th.SMOOTHING)
        return rest + sum(lgamma(count + th.SMOOTHING) for count in counts)

    def flipped(self, i: int, side: int) -> float:
        """The gain after session ``i`` left ``side`` for the other one (natural logarithm)."""
        code = self.codes[i]
        if code is None:
            return self.gain
        weight, alpha, base = self.weights[i], self.alpha, th.SMOOTHING
        here, there = self.counts[side][code], self.counts[1 - side][code]
        n_here, n_there = self.totals[side], self.totals[1 - side]
        change = lgamma(max(here - weight, 0.0) + base) - lgamma(here + base)
        change += lgamma(there + weight + base) - lgamma(there + base)
        change += lgamma(n_here + alpha) - lgamma(max(n_here - weight, 0.0) + alpha)
        change += lgamma(n_there + alpha) - lgamma(n_there + weight + alpha)
        return self.gain + change

    def flip(self, i: int, side: int, gain: float) -> None:
        """Moves session ``i`` to the other side."""
        code = self.codes[i]
        if code is not None:
            for which, weight in ((side, -self.weights[i]), (1 - side, self.weights[i])):
                self.counts[which][code] = max(self.counts[which][code] + weight, 0.0)
                self.totals[which] = max(self.totals[which] + weight, 0.0)
        self.gain = gain


class Board:
    """The readings of some sessions and the weights of these (1 for the newest, less for older ones)."""

    def __init__(self, readings: Sequence[Reading], weights: Sequence[float]) -> None:
        self.readings = list(readings)
        self.weights = list(weights)
        self._group = [GROUPS[r.family] for r in readings]

    def gains(self, sides: Sides) -> list[float]:
        """log10 gain of each reading over one source; negative when the sides explain nothing."""
        return [_Tally(reading, self.weights, sides).gain / _LN10 for reading in self.readings]

    def explained(self, gains: Sequence[float]) -> float:
        """Sum over witnesses of the gain of their best reading, none below zero."""
        best: dict[str, float] = {}
        for group, gain in zip(self._group, gains, strict=True):
            if gain > best.get(group, 0.0):
                best[group] = gain
        return sum(best.values())

    def cost(self) -> float:
        """log10 price of choosing a side for every session; which side is which is free."""
        return max(0.0, sum(self.weights) - 1.0) * log10(2.0)

    def best_sides(self) -> Sides:
        """The best assignment found from the classes of the readings; 0 is the side of the first session."""
        starts = sorted(self._seeds(), key=lambda sides: -self.explained(self.gains(sides)))
        found = [self._improved(sides) for sides in starts[: th.SEEDS]]
        best = max(found, key=lambda scored: scored[0])[1]
        return [side ^ best[0] for side in best]

    def _seeds(self) -> list[Sides]:
        """One class against the rest, for the common classes of every reading; each assignment once."""
        seen: dict[tuple[int, ...], Sides] = {}
        for reading in self.readings:
            for code in range(min(reading.classes, 4)):
                sides = [int(own == code) for own in reading.codes]
                seen.setdefault(tuple(side ^ sides[0] for side in sides), sides)
        return list(seen.values())

    def _improved(self, start: Sides) -> tuple[float, Sides]:
        """Moves single sessions for as long as that explains more."""
        sides = list(start)
        tallies = [_Tally(reading, self.weights, sides) for reading in self.readings]
        value = self.explained([t.gain for t in tallies])
        for _ in range(th.SWEEPS):
            moved = False
            for i, side in enumerate(sides):
                gains = [t.flipped(i, side) for t in tallies]
                if (after := self.explained(gains)) > value + 1e-9:
                    for tally, gain in zip(tallies, gains, strict=True):
                        tally.flip(i, side, gain)
                    sides[i], value, moved = 1 - side, after, True
            if not moved:
                break
        return value, sides

    def changed_for_good(self, readings: Sequence[Reading]) -> float:
        """Score of the best rival story, never below 0: one operator who changes habits from time to time.

        Sessions are cut into stretches with distributions of their own; every cut costs log10 of the
        number of sessions. Two sides that really return cannot be told cheaper that way.
        """
        count = len(self.weights)
        tables = [_stretches(reading, self.weights) for reading in readings]
        one = sum(table[0][-1] for table in tables)
        price = log(float(count))
        best = [0.0, *([float("-inf")] * count)]
        for end in range(1, count + 1):
            for start in range(end):
                story = best[start] + sum(table[start][end - start - 1] for table in tables)
                best[end] = max(best[end], story - (price if start else 0.0))
        return max(0.0, (best[count] - one) / _LN10)


def _stretches(reading: Reading, weights: Sequence[float]) -> list[list[float]]:
    """Log likelihood of the classes of every stretch of sessions: by its start, then its length less one."""
    alpha, base = th.SMOOTHING * reading.classes, th.SMOOTHING
    out = []
    for start in range(len(weights)):
        counts, total, value, row = [0.0] * reading.classes, 0.0, 0.0, []
        for code, weight in zip(reading.codes[start:], weights[start:], strict=True):
            if code is not None:
                value += lgamma(counts[code] + weight + base) - lgamma(counts[code] + base)
                value -= lgamma(total + weight + alpha) - lgamma(total + alpha)
                counts[code] += weight
                total += weight
            row.append(value)
        out.append(row)
    return out


def agreement(reading: Reading, sides: Sides) -> float:
    """Share of the measured sessions that are on the side where most of their class is."""
    known = sum(code is not None for code in reading.codes)
    return (known - len(strays(reading, sides))) / known if known else 0.0


def strays(reading: Reading, sides: Sides) -> list[int]:
    """The sessions that are on the other side than most of their class; of a class that is halved those on side 1."""
    counts = [[0, 0] for _ in range(reading.classes)]
    for code, side in zip(reading.codes, sides, strict=True):
        if code is not None:
            counts[code][side] += 1
    most = [int(one > other) for other, one in counts]
    return [
        i
        for i, (code, side) in enumerate(zip(reading.codes, sides, strict=True))
        if code is not None and most[code] != side
    ]
