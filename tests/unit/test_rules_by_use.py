"""Rules by use: what fired most first, then what fired at all; the techniques that a rule tags, read from its text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from decnet_tui.actions.rule_form import RuleForm
from decnet_tui.screens.rules import by_use, techniques_text

AT = datetime(2026, 3, 1, tzinfo=UTC)


def rule(name: str, day: int = 0, last: int | None = None, error: str | None = None) -> Any:
    seen = None if last is None else AT.replace(hour=last)
    return {"rule_id": name, "state": "enabled", "fired_24h": day, "last_seen": seen, "error": error}


def test_what_fired_most_in_a_day_stands_first_then_what_fired_at_all_then_bad_files() -> None:
    rows = [
        rule("R5"),
        rule("R4", error="bad"),
        rule("R3", last=1),
        rule("R2", last=5),
        rule("R1", 3, 2),
        rule("R0", 3, 9),
        rule("R9", 8, 0),
    ]
    assert [row["rule_id"] for row in by_use(rows)] == ["R9", "R0", "R1", "R2", "R3", "R4", "R5"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("emits:\n  - {tactic: TA0011, technique_id: T1105, confidence: 0.85}\n", "T1105"),
        ("emits:\n  - technique_id: 'T1059'\n    sub_technique_id: \"T1059.004\"\n", "T1059.004"),
        (
            "emits:\n  - {technique_id: T1105}\n  - {technique_id: T1059, sub_technique_id: T1059.004}\n  - {technique_id: T1082}",
            "T1105 +2",
        ),
        ("emits: []\n", ""),
        ("description: like T1105\n", ""),
        ("technique_id: T1105\ntechnique_id: T1105\n", "T1105"),
    ],
)
def test_the_techniques_of_a_rule_are_read_from_its_text(text: str, shown: str) -> None:
    assert techniques_text(text) == shown


def test_a_change_tells_the_hits_of_a_day_beside_those_of_five_minutes() -> None:
    row: Any = {
        **rule("R1", 388),
        "name": "n",
        "yaml": "emits:\n  - {technique_id: T1105, confidence: 0.85}\n",
    }
    assert RuleForm(row, "D", fired=7).effect() == [
        "388 hits in the last 24 h, 7 in the last 5 min, would stop being tagged (T1105)"
    ]
