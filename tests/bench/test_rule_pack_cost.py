"""What the whole pack costs a command, against 25 rules: medians over real honeypot commands."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from decnet.home import packaged_rules_dir
from decnet.ttp import matcher
from decnet.ttp.loader import load_dir
from decnet.ttp.matcher import Failures, RuleIndex
from tests.democommands import demo_commands

pytestmark = pytest.mark.bench
FEW = 25
MOST_TIMES = 1.5
"""The full pack within one and a half times the cost of 25 rules, on the commands of a honeypot corpus."""
CORPUS = "DECNET_BENCH_COMMANDS"
"""Environment variable: a file of such commands, one a line. Without it the demo's are taken, which are shorter and

mostly hit something; a hit is what costs, so that they are not what the bound speaks of.
"""
MOST_TIMES_DEMO = 2.5
_ROUNDS = 5


def medians_us(indexes: Sequence[RuleIndex], lines: Sequence[str]) -> list[float]:
    """Median over the lines of the best of some rounds, in microseconds; indexes take turns, so load hits all."""
    failures = Failures()
    best = [[1e9] * len(lines) for _ in indexes]
    for i, line in enumerate(lines):
        for _ in range(_ROUNDS):
            for found, index in zip(best, indexes, strict=True):
                start = time.perf_counter()
                index.command_hits(line, {}, failures)
                found[i] = min(found[i], (time.perf_counter() - start) * 1e6)
    return [statistics.median(found) for found in best]


def test_the_whole_pack_costs_little_more_than_a_few_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of lines that were never seen before: what an index remembers of one costs the same with any number of rules."""
    monkeypatch.setattr(matcher, "_REMEMBERED_CHARS", -1)
    given = os.environ.get(CORPUS)
    lines = Path(given).read_text("utf-8").splitlines() if given else sorted(set(demo_commands()))
    bound = MOST_TIMES if given else MOST_TIMES_DEMO
    rules = sorted(
        (r for r in load_dir(packaged_rules_dir()).rules if "command" in r.applies_to and r.lifter is None),
        key=lambda rule: rule.rule_id,
    )
    few, every = medians_us([RuleIndex(rules[:FEW]), RuleIndex(rules)], lines)
    print(f"{FEW} rules {few:.1f} us, {len(rules)} rules {every:.1f} us, ratio {every / few:.2f}")
    assert every <= bound * few
