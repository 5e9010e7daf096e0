"""When the sides of a claim are different addresses, it may be the link between them that is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from decnet.attribution.doubt import attackers_by_side, doubt_of, doubt_said
from decnet_tui.screens.alerts import alert_lines

Row = dict[str, Any]


def sessions(**counts: tuple[int, int]) -> tuple[list[Any], list[list[str]]]:
    """Sessions of attackers, so many on each side."""
    rows: list[Row] = []
    sides: list[list[str]] = [[], []]
    for attacker, of_each in counts.items():
        for side, count in enumerate(of_each):
            named = [f"{attacker}{side}{n}" for n in range(count)]
            rows += [{"session_id": name, "attacker_uuid": attacker} for name in named]
            sides[side] += named
    return rows, sides


@pytest.mark.parametrize(
    ("counts", "found"),
    [
        ({"a": (8, 0), "b": (0, 7)}, [["a"], ["b"]]),
        ({"a": (0, 8), "b": (7, 0), "c": (0, 2)}, [["b"], ["a", "c"]]),
        ({"a": (9, 1), "b": (1, 9)}, [["a"], ["b"]]),
        ({"a": (9, 2), "b": (0, 9)}, None),
        ({"a": (9, 0), "b": (2, 9)}, None),
        ({"a": (90, 4), "b": (0, 1)}, None),
        ({"a": (8, 8)}, None),
        ({"a": (5, 4), "b": (6, 5)}, None),
        ({"a": (8, 0)}, None),
    ],
)
def test_sides_are_addresses_when_nine_in_ten_sessions_of_each_side_are_of_its_own(
    counts: dict[str, tuple[int, int]], found: list[list[str]] | None
) -> None:
    assert attackers_by_side(*sessions(**counts)) == found


WHY: Any = {
    "confidence": 4.63,
    "reasons": [{"family": "host", "value": f"mdb{n}.cn", "addresses": 3, "weight": 2.3} for n in range(4)],
    "against": [],
}


def test_the_doubt_names_the_addresses_and_what_the_link_stands_on() -> None:
    doubt = doubt_of([["a"], ["b", "c"]], {"a": "192.0.2.1", "b": "192.0.2.2"}, WHY)
    assert doubt == {
        "doubtful": True,
        "sides": [["192.0.2.1"], ["192.0.2.2", "c"]],
        "confidence": 4.63,
        "reasons": WHY["reasons"],
    }
    assert doubt_said(doubt) == (
        "the sides are different addresses: it may be the link that is wrong"
        " (confidence 4.6: host mdb0.cn, host mdb1.cn, host mdb2.cn)"
    )
    alone = doubt_of([["a"], ["b"]], {}, {**WHY, "reasons": None})
    assert doubt_said(alone).endswith("(confidence 4.6: no reason is kept)")


def test_a_merge_that_others_announced_is_doubted_as_theirs() -> None:
    doubt = doubt_of([["a"], ["b"]], {}, None)
    assert (doubt["confidence"], doubt["reasons"]) == (None, [])
    assert doubt_said(doubt) == (
        "the sides are different addresses: it may be wrong that they were merged, which others announced"
    )


def test_the_console_shows_the_addresses_of_each_side() -> None:
    row: Any = {
        "identity_uuid": "i", "alert_id": "al", "attacker_uuids": [], "sides": [["s"], ["t"]], "confidence": 0.5,
        "state": "open", "acknowledged_by": None, "acknowledged_at": None, "resolved_by": None, "resolved_at": None,
        "verdict": None, "label": "actor", "explanation": {"link": doubt_of([["a"], ["b", "c"]], {"a": "192.0.2.1"}, WHY)},
    }  # fmt: skip
    lines = alert_lines(row)
    assert "  link in doubt: 192.0.2.1 on side A" in lines
    assert "  link in doubt: b c on side B" in lines
    assert not any("link" in line for line in alert_lines({**row, "explanation": {}}))
