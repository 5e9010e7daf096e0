"""The table of faults keeps up with the code: every fault still has its place, its tests and a line of reason."""

from __future__ import annotations

from collections import Counter

from tests.mutants.table import ROOT, load

MUTANTS = load()


def test_every_fault_still_has_its_place_and_makes_python() -> None:
    wrong = []
    for mutant in MUTANTS:
        try:
            compile(mutant.faulty(), mutant.file, "exec")
        except (ValueError, SyntaxError) as error:
            wrong.append(f"{mutant.id}: {error}")
    assert wrong == []


def test_every_fault_has_a_name_of_its_own_a_guard_and_tests_that_are_there() -> None:
    assert [name for name, times in Counter(m.id for m in MUTANTS).items() if times > 1] == []
    assert [m.id for m in MUTANTS if not m.guard or not m.tests or not m.id.startswith(f"{m.area}-")] == []
    assert [m.id for m in MUTANTS for test in m.tests if not (ROOT / test.split("::")[0]).is_file()] == []
