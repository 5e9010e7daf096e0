"""Right and wrong on simulated operators, printed by kind; the targets of the design are asserted."""

from __future__ import annotations

import pytest

from tests.simulator.operators import SINGLE_KINDS
from tests.simulator.pairs import DECIDABLE, HANDOVER, PATTERNS, UNDECIDABLE
from tests.simulator.report import pairs, singles, table, whole

EACH = -(-1000 // len(SINGLE_KINDS))

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1200)]


def test_single_operators_are_hardly_ever_flagged() -> None:
    found = singles(SINGLE_KINDS, EACH)
    print("\n" + table("single operator, 30 sessions, looked at after each", found))
    everybody = whole(found)
    assert everybody.total >= 1000
    assert everybody.flagged <= 0.01 * everybody.total


def test_decidable_pairs_are_found_with_their_sides() -> None:
    found = pairs(DECIDABLE, PATTERNS, 10)
    print("\n" + table("two operators that differ in / take turns, 20 sessions", found))
    everybody = whole(found)
    assert everybody.total >= 300
    assert everybody.flagged >= 0.9 * everybody.total
    assert everybody.agreeing >= 0.9 * everybody.flagged


def test_what_cannot_be_seen_is_silence() -> None:
    found = pairs(UNDECIDABLE, PATTERNS, 5) | pairs(DECIDABLE, (HANDOVER,), 5)
    print("\n" + table("two operators, not decidable (one witness, or one handover)", found))
    everybody = whole(found)
    assert everybody.flagged <= 0.03 * everybody.total
