"""Two operators behind one address, with the truth about every session.

``differ`` names the evidence in which the two are not alike; all else they share. How they take
turns is a pattern: at random, strictly in turn, in short runs, at once, or a single handover.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

from tests.simulator.operators import (
    ACCOUNTS,
    CLIENTS,
    MINE,
    Operator,
    Row,
    Trait,
    Work,
    human,
    numbered,
    stream,
)

DECIDABLE = (
    ("client", "account"),
    ("client", "work"),
    ("account", "work"),
    ("client", "typing"),
    ("account", "typing"),
    ("client", "account", "work"),
    ("client", "account", "work", "hours"),
    ("client", "account", "typing", "hours"),
)
"""Kinds of pairs that differ in two witnesses at least."""
UNDECIDABLE = (("client",), ("account",), ("work",), ("typing",), ("hours",), ())
"""Kinds that differ in one witness or none: silence is right."""
PATTERNS = ("random", "in turn", "runs", "at once")
HANDOVER = "handover"
SLIP = 0.02
"""Share of sessions in which somebody uses the other one's client or account."""


@dataclass(frozen=True, slots=True)
class PairHistory:
    """Sessions in order of time; ``truth`` has 0 or 1 for each."""

    rows: list[Row]
    truth: list[int]


def pair(dice: random.Random, differ: tuple[str, ...]) -> tuple[Operator, Operator]:
    """Two operators that are alike but for ``differ``."""
    clients, accounts = dice.sample(CLIENTS[:8], 2), dice.sample(ACCOUNTS, 2)
    one = human(dice, "a", tty="typing" in differ or dice.random() < 0.3)
    one = replace(one, client=Trait((clients[0],)), account=Trait((accounts[0],)))
    other = replace(
        one, name="b", work=[replace(one.work[0])], labels={k: replace(v) for k, v in one.labels.items()}
    )
    changes: dict[str, dict[str, Any]] = {
        "client": {"client": _slipping(clients)},
        "account": {"account": _slipping(accounts)},
        "work": {"work": [_other_work(dice)]},
        "typing": {
            "simhash": dice.getrandbits(64),
            "key_gap_log2": one.key_gap_log2 + dice.choice((-1.5, 1.5)),
        },
        "hours": {"hour": one.hour + 12, "hour_spread": 2.0},
    }
    if "hours" in differ:
        one = replace(one, hour_spread=2.0)
    for name in differ:
        other = replace(other, **changes[name])
    return one, other


def _slipping(values: list[str]) -> Trait:
    return Trait((values[1], values[0]), (1 - SLIP, SLIP))


def _other_work(dice: random.Random) -> Work:
    books = tuple(f"b-p{n}" for n in range(dice.randint(1, 3)))
    return Work(books, 0.05, (2, 6), dice.uniform(-4, -2), 0.5, False, MINE)


def turns(dice: random.Random, pattern: str, count: int) -> list[int]:
    """Whose session it is, for ``count`` sessions."""
    if pattern == "in turn":
        return [n % 2 for n in range(count)]
    if pattern == HANDOVER:
        return [int(n >= count // 2) for n in range(count)]
    if pattern == "runs":
        out: list[int] = []
        while len(out) < count:
            out += [len(out) and 1 - out[-1]] * dice.randint(1, 3)
        return out[:count]
    return [dice.randint(0, 1) for _ in range(count)]


def pair_history(differ: tuple[str, ...], pattern: str, seed: int, count: int = 20) -> PairHistory:
    """Sessions of a pair; those of pattern "at once" overlap in time."""
    dice = random.Random(f"{differ}-{pattern}-{seed}")
    both = pair(dice, differ)
    if pattern == "at once":
        both = (both[0], replace(both[1], hour=both[0].hour, hour_spread=both[0].hour_spread))
    days = stream(dice, 6.0 if pattern == "at once" else dice.choice((1.0, 2.0)))
    order = turns(dice, pattern, count)
    rows = [{**both[who].session(dice, next(days)), "who": who} for who in order]
    rows = numbered(rows, "pair")
    truth = [row.pop("who") for row in rows]
    return PairHistory(rows, truth)
