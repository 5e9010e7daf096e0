"""How often the test is right and wrong, by kind of operator and kind of evidence; and tables of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from decnet.attribution import thresholds as th
from decnet.attribution.multi_actor import Verdict, examine
from tests.simulator.operators import Row, single_history
from tests.simulator.pairs import PairHistory, pair_history


@dataclass(slots=True)
class Tally:
    """What became of the histories of one kind; ``agreeing`` are those with the right sides."""

    kind: str
    total: int = 0
    flagged: int = 0
    agreeing: int = 0
    undecidable: int = 0
    sessions: list[int] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)


def first_flag(rows: Sequence[Row], upto: int) -> tuple[int, Verdict]:
    """The number of sessions at which the test first suspects, and its verdict; else the last one."""
    verdict = examine(rows[: th.MIN_SESSIONS])
    for count in range(th.MIN_SESSIONS, upto + 1):
        verdict = examine(rows[:count])
        if verdict.suspected:
            return count, verdict
    return upto, verdict


def sides_agree(history: PairHistory, verdict: Verdict) -> float:
    """Share of sessions whose reported side is the true one, whichever side has which name."""
    side = {session: number for number, part in enumerate(verdict.sides) for session in part}
    told = [
        (side[row["session_id"]], who)
        for row, who in zip(history.rows, history.truth, strict=True)
        if row["session_id"] in side
    ]
    same = sum(own == who for own, who in told)
    return max(same, len(told) - same) / len(told)


def one_single(kind: str, seed: int) -> tuple[str, int, Verdict, float]:
    """A single operator of a kind over 30 sessions."""
    count, verdict = first_flag(single_history(kind, seed), 30)
    return kind, count, verdict, 0.0


def one_pair(differ: tuple[str, ...], pattern: str, seed: int) -> tuple[str, int, Verdict, float]:
    """A pair over 20 sessions."""
    history = pair_history(differ, pattern, seed)
    count, verdict = first_flag(history.rows, 20)
    share = sides_agree(history, verdict) if verdict.suspected else 0.0
    return f"{'+'.join(differ) or 'nothing'} / {pattern}", count, verdict, share


def tallied(results: Iterable[tuple[str, int, Verdict, float]]) -> dict[str, Tally]:
    """Results by kind, in order."""
    out: dict[str, Tally] = {}
    for kind, count, verdict, share in results:
        tally = out.setdefault(kind, Tally(kind))
        tally.total += 1
        tally.flagged += verdict.suspected
        tally.agreeing += share >= 0.9
        tally.undecidable += not verdict.decidable
        tally.reasons[verdict.reason] += 1
        if verdict.suspected:
            tally.sessions.append(count)
    return out


def singles(kinds: Sequence[str], each: int, workers: int = 2) -> dict[str, Tally]:
    """``each`` operators of every kind, worked off by ``workers`` processes."""
    jobs = [(kind, seed) for kind in kinds for seed in range(each)]
    with ProcessPoolExecutor(workers) as pool:
        return tallied(pool.map(one_single, *zip(*jobs, strict=True), chunksize=8))


def pairs(
    kinds: Sequence[tuple[str, ...]], patterns: Sequence[str], each: int, workers: int = 2
) -> dict[str, Tally]:
    """``each`` pairs of every kind and pattern."""
    jobs = [(kind, pattern, seed) for kind in kinds for pattern in patterns for seed in range(each)]
    with ProcessPoolExecutor(workers) as pool:
        return tallied(pool.map(one_pair, *zip(*jobs, strict=True), chunksize=8))


def table(title: str, tallies: dict[str, Tally]) -> str:
    """Lines to print."""
    head = f"{title:52s} flagged   sides >= 90 %  median session  other reasons"
    return "\n".join([head, *map(_line, tallies.values()), _line(whole(tallies))])


def whole(tallies: dict[str, Tally]) -> Tally:
    """All kinds together."""
    out = Tally("all")
    for tally in tallies.values():
        out.total += tally.total
        out.flagged += tally.flagged
        out.agreeing += tally.agreeing
        out.undecidable += tally.undecidable
        out.sessions += tally.sessions
        out.reasons += tally.reasons
    return out


def _line(tally: Tally) -> str:
    middle = str(sorted(tally.sessions)[len(tally.sessions) // 2]) if tally.sessions else "-"
    others = ", ".join(
        f"{n} {reason}" for reason, n in sorted(tally.reasons.items()) if reason != "suspected"
    )
    found = f"{tally.flagged}/{tally.total}"
    return f"{tally.kind:52s} {found:9s} {tally.agreeing:<14d} {middle:15s} {others}"
