"""An attacker who varies his scripts costs linking no more than a bound; the rest of what he brings still counts."""

from __future__ import annotations

import pytest

from decnet.attribution.linking import Linker, restored, state_of
from decnet.attribution.linking import numbers as n
from decnet.attribution.linking.steps import script_id
from decnet.bounds import BITES
from tests.linkkit import session

SCRIPTS = [
    (f"wget @ -{letter}", f"chmod own-{letter}", f"tar xzf -{letter}", f"crontab -l {letter}")
    for letter in "abcde"
]
A, B = "203.0.1.7", "203.0.2.7"


def taken(linker: Linker) -> set[str]:
    return {value.text for value in linker.index.values if value.family == n.SCRIPT}


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(n, "SCRIPTS", 3)
    return BITES[n.CAPPED]


def test_new_scripts_beyond_the_bound_are_left_out_and_counted(bounded: int) -> None:
    linker = Linker()
    for number, steps in enumerate(SCRIPTS):
        linker.learn(session(A, float(number), steps=steps, key="k"))
    assert taken(linker) == {script_id(steps) for steps in SCRIPTS[:3]}
    assert len(linker.kits.marks) == 3
    assert BITES[n.CAPPED] == bounded + 2


def test_a_known_script_counts_for_whoever_brings_it_however_many_there_are(bounded: int) -> None:
    linker = Linker()
    for steps in SCRIPTS[:3]:
        linker.learn(session(A, steps=steps))
    linker.learn(session(B, 9.0, steps=SCRIPTS[1]))
    number = linker.index.known(n.SCRIPT, script_id(SCRIPTS[1]))
    assert number is not None
    assert linker.index.values[number].count == 2
    assert BITES[n.CAPPED] == bounded


def test_a_session_without_its_script_belongs_to_a_campaign_by_what_else_it_brings(bounded: int) -> None:
    linker = Linker()
    for steps in SCRIPTS[:3]:
        linker.learn(session(A, steps=steps))
    late = session(B, 9.0, steps=SCRIPTS[4], key="k")
    alone = session(B, 9.0, steps=SCRIPTS[4])
    linker.add(late)
    assert linker.asset_of(late) == (n.KEY, "k")
    assert linker.asset_of(alone) is None, "there is no row of what was left out"
    assert linker.asset_of(session(B, steps=SCRIPTS[0])) == (n.SCRIPT, script_id(SCRIPTS[0]))


def test_the_bound_holds_after_a_restart(bounded: int) -> None:
    linker = Linker()
    for steps in SCRIPTS[:3]:
        linker.add(session(A, steps=steps))
    again = restored(state_of(linker))
    again.add(session(B, 9.0, steps=SCRIPTS[3]))
    assert taken(again) == taken(linker)


def test_the_bound_is_some_eighty_megabytes() -> None:
    assert n.SCRIPTS == 10_000
