"""Which pass over all patterns is fastest: one Filter, one Set, or a Filter with small Sets; over 25, 250, 1,000 rules.

The index uses what wins here on varied lines. One Set wins on text that it has seen before and loses on
everything else by two orders of magnitude, since its automaton is built while it reads.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import re2

from decnet.home import packaged_rules_dir
from decnet.patterns import options
from decnet.ttp.loader import load_bytes, load_dir
from decnet.ttp.matcher import Failures, KindIndex, RuleIndex
from decnet.ttp.offline import OfflineTagger
from decnet.ttp.rules import CompiledRule

pytestmark = pytest.mark.bench
_WORDS = ("alpha", "bravo", "delta", "echo", "golf", "hotel", "india", "kilo", "lima", "oscar", "tango")


def shipped() -> list[CompiledRule]:
    rules = load_dir(packaged_rules_dir()).rules
    return [r for r in rules if "command" in r.applies_to and r.condition is not None]


def rules_of(count: int) -> list[CompiledRule]:
    """So many rules: the shipped ones, and beyond them copies with other words in their patterns."""
    pack, out, rnd = shipped(), [], random.Random(7)
    while len(out) < count:
        rule = pack[len(out) % len(pack)]
        text = rule.source.replace(f"rule_id: {rule.rule_id}", f"rule_id: N{len(out)}")
        if len(out) >= len(pack):
            for word in ("wget", "chmod", "cat", "echo", "rm", "uname", "passwd", "crontab", "history"):
                text = text.replace(word, rnd.choice(_WORDS) + str(rnd.randrange(99)))
        made, _ = load_bytes(text.encode(), rule.file)
        if made is None:
            made = rule
        out.append(made)
    return out


def lines(count: int = 6000) -> list[str]:
    """Varied command lines: the examples of the shipped rules with other names and addresses in them."""
    rnd = random.Random(3)
    examples = [e for r in shipped() for e in (*r.tests_match, *r.tests_no_match) if isinstance(e, str)]
    short = [e for e in examples if len(e) < 200]
    out = []
    for _ in range(count):
        text = rnd.choice(short)
        out.append(f"{text} {rnd.choice(_WORDS)}{rnd.randrange(10**6)} 198.51.100.{rnd.randrange(255)}")
    return out


def per_line_us(match: Callable[[str], object], texts: Sequence[str]) -> float:
    start = time.process_time()
    for text in texts:
        match(text)
    return (time.process_time() - start) / len(texts) * 1e6


def passes(rules: list[CompiledRule]) -> dict[str, Callable[[str], Any]]:
    patterns = [p for r in rules for p in (r.condition.prefilters("command") if r.condition else None) or ()]
    one_filter, quiet = re2.Filter(), options()
    quiet.max_mem = 256 << 20
    one_set = re2.Set.SearchSet(quiet)
    for pattern in patterns:
        one_filter.Add(pattern, options())
        one_set.Add(pattern)
    one_filter.Compile()
    one_set.Compile()
    return {
        "one filter": one_filter.Match,
        "one set": one_set.Match,
        "filter and small sets": KindIndex("command", rules).candidates,
    }


@pytest.mark.parametrize("count", [25, 250, 1000])
def test_the_pass_in_use_is_the_fastest(count: int) -> None:
    found = passes(rules_of(count))
    texts = lines()
    long_text = "\n".join(lines(2500))[:100_000]
    figures = {name: per_line_us(match, texts) for name, match in found.items()}
    in_long = {name: per_line_us(match, [long_text]) / 1000 for name, match in found.items()}
    for name, figure in figures.items():
        print(f"{count:>5} rules  {name:<22} {figure:8.2f} us/line  {in_long[name]:9.1f} ms per 100 kB")
    chosen = figures["filter and small sets"]
    assert chosen <= 1.25 * min(figures["one filter"], figures["one set"]) + 3.0


@pytest.mark.parametrize("count", [25, 250, 1000])
def test_building_the_index(count: int) -> None:
    rules = rules_of(count)
    start = time.process_time()
    index = RuleIndex(rules)
    took = time.process_time() - start
    texts = lines()
    failures = Failures()
    us = per_line_us(lambda text: index.command_hits(text, {}, failures), texts)
    print(f"{count:>5} rules  index built in {took * 1000:.0f} ms, {us:.1f} us a line in all")
    assert took < 5


def test_lines_a_second_of_the_offline_core() -> None:
    tagger = OfflineTagger(packaged_rules_dir())
    texts = lines(20_000)
    best = 0.0
    for _ in range(3):
        tagger._cached.cache_clear()
        start = time.process_time()
        for text in texts:
            tagger.answer(text)
        best = max(best, len(texts) / (time.process_time() - start))
    print(f"offline core: {best:,.0f} lines/s over {len(tagger.index)} rules")
    assert best > 5_000
