"""Planted Cowrie logs, read by the sensor: who is one hand, who shares a kit, and who must stay apart."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.linkkit import campaigns, from_log, linked, partition

CASES = json.loads((Path(__file__).parents[1] / "fixtures" / "cases" / "identities.json").read_text("utf-8"))


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_planted_log_gives_its_identities_and_campaigns(case: dict[str, Any], tmp_path: Path) -> None:
    linker = linked(from_log(case["lines"], tmp_path))
    wanted, found = case["expect"], partition(linker)
    identities = {frozenset(group) for group in wanted["identities"]}
    if wanted["no_identity_else"]:
        assert found == identities
    assert identities <= found
    assert {frozenset(group) for group in wanted["campaigns"]} <= {
        frozenset(group) & whole for whole in campaigns(linker) for group in wanted["campaigns"]
    }
    for one, other in wanted["apart"]:
        assert linker.identity(one) != linker.identity(other)


def test_who_runs_two_kits_is_in_both_campaigns_and_makes_them_no_one(tmp_path: Path) -> None:
    (case,) = [case for case in CASES if case["name"] == "bridge"]
    linker = linked(from_log(case["lines"], tmp_path))
    groups = [set(group) for group in campaigns(linker)]
    both = set.intersection(*groups)
    assert len(groups) == 2
    assert both == {"198.19.9.146"}
    assert linker.campaigns_of("198.19.9.146") == sorted(linker.campaigns())
    assert len(linker.campaigns_of("198.19.53.30")) == 1
    apart = [tuple(pair) for pair in case["expect"]["apart"]]
    assert not [p for g in groups for p in combinations(sorted(g), 2) if p in apart or p[::-1] in apart]
