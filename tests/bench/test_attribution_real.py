"""Right and wrong on real sessions: clients that a real Cowrie has logged, mixed on purpose so that the truth is known.

The cast is recorded here, which takes some minutes; ``acceptance/test_attribution_mixed.py`` does the same with the
attackers of the demo. Every operator also stands at addresses alone: each alert about one of these is a false one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import combinations, count
from pathlib import Path
from typing import NamedTuple

import pytest

from decnet.ids import attacker_id, identity_id
from tests.programkit import listed, run_until_idle
from tests.recording import cast, record_demo, relocate
from tests.simulator.mixer import UNLINKED, Mixed, Record, mix, sessions_of, share_right, write_log

COUNT = cast.VISITS
EVERY = {"all": 1, "every other": 2}
"""Each operator stands alone twice: with all sessions, and with half of them."""
BAR = 22 / 25
"""Pairs found of those that differ in two witnesses, as measured before identities were linked."""

pytestmark = [
    pytest.mark.bench,
    pytest.mark.timeout(1200),
    pytest.mark.filterwarnings("ignore:Diffie-Hellman over finite fields"),  # an old client does it
]


class Outcome(NamedTuple):
    """What came out; ``right`` counts pairs whose sides are right in nine sessions of ten."""

    false: list[str]
    missed: list[str]
    right: int
    singles: int
    pairs: int


def looked_at(singles: Mapping[str, Mixed], pairs: Mapping[str, Mixed], place: Path) -> Outcome:
    """One engine over all of it, by the command line, each address an identity of its own."""
    log, data = place / "cowrie.json", place / "data"
    write_log(log, [*singles.values(), *pairs.values()])
    done = run_until_idle(log, data, timeout=600, settings=UNLINKED)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    alerts = {row["identity_uuid"]: row for row in listed("alerts", data)}
    states = {row["identity_uuid"]: row for row in listed("attribution", data)}
    made = {**singles, **pairs}
    own = {name: identity_id(attacker_id(mixed.address)) for name, mixed in made.items()}
    assert set(own.values()) <= set(states), "every address was judged"
    sensors = {record["session"]: record["sensor"] for one in made.values() for record in one.records}
    sides = {name: alerts[own[name]]["sides"] if own[name] in alerts else [] for name in made}
    share = {name: share_right(made[name], sides[name], sensors) for name in made}
    print()
    for name in made:
        families = ", ".join(alerts[own[name]]["families"]) if own[name] in alerts else ""
        print(f"{name:56s} {'alert' if families else '-':6s} {share[name]:4.0%}  {families}")
    return Outcome(
        [name for name in singles if own[name] in alerts],
        [name for name in pairs if own[name] not in alerts],
        sum(share[name] >= 0.9 for name in pairs),
        len(singles),
        len(pairs),
    )


def tell(title: str, found: Outcome) -> None:
    print(
        f"{title}: false alarms {len(found.false)} of {found.singles},"
        f" pairs found {found.pairs - len(found.missed)} of {found.pairs}, sides right {found.right}"
    )


def test_real_operators_of_a_second_cast(tmp_path: Path) -> None:
    recorded = asyncio.run(recording(tmp_path))
    of = {operator.name: recorded[cast.address_of(n)] for n, operator in enumerate(cast.OPERATORS)}
    assert {name: len(sessions) for name, sessions in of.items()} == dict.fromkeys(of, cast.VISITS)
    address = (f"203.0.{113 + n // 250}.{1 + n % 250}" for n in count())
    singles = {
        f"{name} ({which})": mix(next(address), [of[name][::step]], COUNT // step, 1)
        for name in of
        for which, step in EVERY.items()
    }
    pairs = {
        f"{one.name} beside {other.name}": mix(next(address), [of[one.name], of[other.name]], COUNT, 1)
        for one, other in combinations(cast.STEADY, 2)
    }
    found = looked_at(singles, pairs, tmp_path)
    tell("second cast", found)
    assert (found.singles, found.pairs) == (28, 45)
    assert found.false == []
    assert found.pairs - len(found.missed) >= BAR * found.pairs
    assert found.right >= 0.9 * (found.pairs - len(found.missed))


async def recording(place: Path) -> dict[str, list[list[Record]]]:
    """The sessions of each operator, by the address that stands for him, at the times of the plan."""
    visits = cast.plan()
    raw = await record_demo.record(visits, place, cast.DECOYS, cast.USERS)
    events, _ = relocate.relocate(raw, record_demo.moves(visits, raw, cast.DECOYS))
    return {address: sessions_of(events, address) for address in {visit.address for visit in visits}}
