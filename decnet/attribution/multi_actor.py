"""Does one identity hide several operators? A test that compares sessions; pure.

The claim is never more than "several operators, or one with two toolkits": somebody who always pairs
a tool with an account and a way to work cannot be told from two people, and the verdict says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import log10

from decnet.attribution import thresholds as th
from decnet.attribution.readings import GROUPS, Reading, Session, readings_of
from decnet.attribution.sides import Board, Sides, agreement, strays
from decnet.db.rows.attribution import Explanation, Support, VerdictRow

CLAIM = "several operators, or one with two toolkits"
LIMITS = (
    "one person who always pairs the same tool with the same account and way of working looks like two",
    "two people who differ in one family of evidence only look like one",
    "a handover is one change and looks like one person who changed habits",
)
"""What the test cannot tell apart, in words for the operator."""
SUSPECTED = "suspected"
TOO_FEW, ONE_FAMILY, ONE_SOURCE = "too_few_sessions", "one_family", "one_source"
CHANGES, NO_RETURN = "changes_for_good", "values_do_not_return"
NOT_DECIDABLE = frozenset({TOO_FEW, ONE_FAMILY})
"""Reasons that say nothing about the identity: the evidence cannot decide."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came out; ``sides`` are session ids, ``score`` and ``threshold`` are log10."""

    suspected: bool
    reason: str
    sessions: int
    score: float = 0.0
    threshold: float = 0.0
    switches: int = 0
    confidence: float = 0.0
    families: tuple[str, ...] = ()
    primitives: tuple[str, ...] = ()
    sides: tuple[tuple[str, ...], ...] = ()
    support: tuple[Support, ...] = ()
    against: tuple[str, ...] = ()

    @property
    def decidable(self) -> bool:
        """Whether the evidence could have told."""
        return self.reason not in NOT_DECIDABLE

    def explanation(self) -> Explanation:
        """The verdict as plain JSON with its claim and its limits."""
        return {
            "suspected": self.suspected,
            "reason": self.reason,
            "sessions": self.sessions,
            "score": self.score,
            "threshold": self.threshold,
            "switches": self.switches,
            "confidence": self.confidence,
            "families": self.families,
            "primitives": self.primitives,
            "sides": self.sides,
            "support": self.support,
            "against": self.against,
            "decidable": self.decidable,
            "claim": CLAIM,
            "cannot_tell": list(LIMITS),
        }


def examine(sessions: Sequence[Session]) -> Verdict:
    """The verdict on the sessions of one identity, in order of (ended_at, session_id); the last 64 count."""
    recent = list(sessions)[-th.MULTI_ACTOR_SESSIONS :]
    if len(recent) < th.MIN_SESSIONS:
        return Verdict(False, TOO_FEW, len(recent))
    readings = [r for r in readings_of(recent) if r.coverage >= th.MIN_COVERAGE]
    tried = _pairs(readings)
    if not tried:
        return Verdict(False, ONE_FAMILY, len(recent))
    board = Board(readings, _weights(recent))
    return _judged(recent, board, board.best_sides(), th.MIN_LOG10_BAYES + log10(tried))


def _pairs(readings: Sequence[Reading]) -> int:
    """Pairs of families of different witnesses: what the search may choose from, and has to pay for."""
    families = sorted({reading.family for reading in readings})
    return sum(GROUPS[one] != GROUPS[other] for one, other in combinations(families, 2))


def _weights(sessions: Sequence[Session]) -> list[float]:
    newest = max(float(session["ended_at"]) for session in sessions)
    return [0.5 ** ((newest - float(session["ended_at"])) / th.HALF_LIFE_SECS) for session in sessions]


def _judged(sessions: Sequence[Session], board: Board, sides: Sides, threshold: float) -> Verdict:
    chosen = _agreeing(board, sides)
    best = _witnesses(chosen)
    score = sum(gain for _, gain in best) - board.cost()
    switches = sum(a != b for a, b in pairwise(sides))
    verdict = Verdict(False, ONE_SOURCE, len(sessions), score, threshold, switches)
    if len(best) < th.MIN_WITNESSES or score < threshold:
        return verdict
    score -= board.changed_for_good([reading for reading, _ in best])
    if switches < th.MIN_SWITCHES or _exceptions(sides) or score < threshold:
        return Verdict(False, CHANGES, len(sessions), score, threshold, switches)
    if not all(_returns([r for r, _ in chosen], sides, side) for side in (0, 1)):
        return Verdict(False, NO_RETURN, len(sessions), score, threshold, switches)
    return _explained(sessions, board, sides, verdict, score)


def _agreeing(board: Board, sides: Sides) -> list[tuple[Reading, float]]:
    """The best reading of each family that the sides explain and that agrees with them."""
    best: dict[str, tuple[Reading, float]] = {}
    for reading, gain in zip(board.readings, board.gains(sides), strict=True):
        fits = gain > 0 and agreement(reading, sides) >= th.MIN_AGREEMENT
        if fits and (reading.family not in best or gain > best[reading.family][1]):
            best[reading.family] = (reading, gain)
    return list(best.values())


def _witnesses(chosen: Sequence[tuple[Reading, float]]) -> list[tuple[Reading, float]]:
    """The best reading of each group: families that hang together are heard once."""
    best: dict[str, tuple[Reading, float]] = {}
    for reading, gain in chosen:
        group = GROUPS[reading.family]
        if group not in best or gain > best[group][1]:
            best[group] = (reading, gain)
    return list(best.values())


def _exceptions(sides: Sides) -> bool:
    """Whether all but a few sessions tell of one operator who stayed, or changed sides once for good."""
    allowed = max(2, int(th.MAX_EXCEPTIONS * len(sides)))
    ones, odd = sum(sides), 0
    fewest = min(ones, len(sides) - ones)
    for cut, side in enumerate(sides):
        fewest = min(fewest, odd + (len(sides) - cut) - ones, len(sides) - odd - (len(sides) - cut) + ones)
        odd += side
        ones -= side
    return fewest <= allowed


def _returns(readings: Sequence[Reading], sides: Sides, side: int) -> bool:
    """Whether values of this side, of two witnesses, came back after the other side was there.

    A campaign with new tools each time has sides too, but little of it ever returns.
    """
    back = {GROUPS[reading.family] for reading in readings if _came_back(reading, sides, side)}
    return len(back) >= th.MIN_WITNESSES


def _came_back(reading: Reading, sides: Sides, side: int) -> bool:
    runs: dict[int, set[int]] = {}
    run = 0
    for i, own in enumerate(sides):
        run += i > 0 and own != sides[i - 1]
        code = reading.codes[i]
        if own == side and code is not None and not (reading.rare and code == 0):
            runs.setdefault(code, set()).add(run)
    return any(len(seen) > 1 for seen in runs.values())


def _explained(
    sessions: Sequence[Session], board: Board, sides: Sides, verdict: Verdict, score: float
) -> Verdict:
    chosen = sorted(_agreeing(board, sides), key=lambda item: -item[1])
    readings = [reading for reading, _ in chosen]
    whole = _whole_agreement(readings, sides)
    members = tuple(
        tuple(str(s["session_id"]) for s, own in zip(sessions, sides, strict=True) if own == side)
        for side in (0, 1)
    )
    return Verdict(
        True,
        SUSPECTED,
        len(sessions),
        score,
        verdict.threshold,
        verdict.switches,
        th.MULTI_ACTOR_MAX_CONFIDENCE * whole,
        tuple(sorted(reading.family for reading in readings)),
        _primitives(board, sides, readings),
        members,
        tuple(_support(sessions, reading, gain, sides) for reading, gain in chosen),
        _against(board, readings, sides),
    )


def _primitives(board: Board, sides: Sides, chosen: Sequence[Reading]) -> tuple[str, ...]:
    """For each family its first reading that agrees: which one agrees best may change with every session."""
    families = {reading.family for reading in chosen}
    first: dict[str, Reading] = {}
    for reading in board.readings:
        if reading.family in families and agreement(reading, sides) >= th.MIN_AGREEMENT:
            first.setdefault(reading.family, reading)
    return tuple(sorted({name for reading in first.values() for name in _named(reading)}))


def _named(reading: Reading) -> tuple[str, ...]:
    """The features that stand for a reading; a cluster of labels stands for its family."""
    return reading.features if len(reading.features) == 1 else (f"session.{reading.family}",)


def _whole_agreement(readings: Sequence[Reading], sides: Sides) -> float:
    return sum(agreement(reading, sides) for reading in readings) / len(readings)


def _support(sessions: Sequence[Session], reading: Reading, gain: float, sides: Sides) -> Support:
    share = agreement(reading, sides)
    return {
        "family": reading.family,
        "primitives": list(_named(reading)),
        "agreement": round(share, 3),
        "log10_gain": round(gain, 2),
        "measured": sum(code is not None for code in reading.codes),
        "breaks": [str(sessions[i]["session_id"]) for i in strays(reading, sides)],
    }


def _against(board: Board, chosen: Sequence[Reading], sides: Sides) -> tuple[str, ...]:
    """Counter-evidence: families that do not follow the sides, and sessions that stand on the wrong one."""
    said = {reading.family for reading in chosen}
    out = []
    for reading in board.readings:
        share = agreement(reading, sides)
        name = ", ".join(_named(reading))
        if reading.family not in said and share < th.MIN_AGREEMENT:
            out.append(f"{reading.family} does not follow the sides ({name}: {share:.0%} of sessions)")
        elif reading in chosen and share < 1:
            wrong = round((1 - share) * reading.coverage * len(sides))
            out.append(f"{reading.family} is on the other side in {wrong} of {len(sides)} sessions")
    return tuple(dict.fromkeys(out))


def verdict_row(identity: str, verdict: Verdict) -> VerdictRow:
    """The verdict as the repository keeps it."""
    return {
        "identity_uuid": identity,
        "suspected": verdict.suspected,
        "reason": verdict.reason,
        "primitives": list(verdict.primitives),
        "verdict": verdict.explanation(),
    }
