"""Faults of a rule pack that no single rule shows: rules without a literal, doubles and shadows.

What a rule does is measured on texts (corpora and all rules' own examples), since two patterns may be
written differently and still say the same. Loading and a rule's own tests are the loader's and
:mod:`decnet.ttp.selftest`'s business.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import re2

from decnet.errors import RuleError, SourcePosition
from decnet.patterns import options
from decnet.ttp.conditions import Condition
from decnet.ttp.matcher import Failures, RuleIndex
from decnet.ttp.rules import CompiledRule

TOGETHER: Mapping[frozenset[str], str] = {}
"""Pairs of rule ids that may always fire together, each with the reason."""
SHORT: Mapping[str, str] = {
    "R0027": "w and id stand alone: no filter has literals of two characters",
    "R0030": "ps stands alone",
    "R0037": "ls stands alone",
    "R0090": "sh stands alone",
    "R0099": "padding is what has no words",
    "R0107": "df stands alone",
    "R0150": "./ and ~/ are all that relative runs have in common",
    "R0990": "asks whether views were cut off, not for text",
}
"""Rules that may have patterns without a literal for the filter, each with the reason."""
LEAST_TEXTS = 3
"""Rules that fire on fewer texts tell nothing about each other."""
_EMPTY = "\x01"

Fires = Mapping[str, frozenset[int]]


def lint(rules: Sequence[CompiledRule], texts: Iterable[str]) -> list[RuleError]:
    """Every fault of the command rules, judged on ``texts`` and on the examples of all of them."""
    plain = [rule for rule in rules if _plain(rule)]
    fires = firing(plain, [*texts, *own_examples(plain)])
    return [*without_literal(plain), *doubles(plain, fires), *shadows(plain, fires)]


def own_examples(rules: Iterable[CompiledRule]) -> list[str]:
    """The example lines of all rules, those that must not match too."""
    return [
        example
        for rule in rules
        for example in (*rule.tests_match, *rule.tests_no_match)
        if isinstance(example, str)
    ]


def firing(rules: Sequence[CompiledRule], texts: Iterable[str]) -> Fires:
    """Rule id → numbers of the distinct texts it fires on."""
    index, failures = RuleIndex(rules), Failures()
    found: dict[str, set[int]] = defaultdict(set)
    for number, text in enumerate(dict.fromkeys(texts)):
        for hit in index.command_hits(text, {}, failures)[0]:
            found[hit.rule.rule_id].add(number)
    return {rule_id: frozenset(numbers) for rule_id, numbers in found.items()}


def without_literal(rules: Iterable[CompiledRule]) -> list[RuleError]:
    """Rules that the pre-filter must try on every text."""
    return [
        _error(rule, "no literal: every command is tried in full")
        for rule in rules
        if rule.condition is not None and rule.rule_id not in SHORT and not _has_literal(rule.condition)
    ]


def doubles(rules: Sequence[CompiledRule], fires: Fires) -> list[RuleError]:
    """Pairs that fire on exactly the same texts and are not named in ``TOGETHER``."""
    same: dict[frozenset[int], list[CompiledRule]] = defaultdict(list)
    for rule in rules:
        if len(numbers := fires.get(rule.rule_id, frozenset())) >= LEAST_TEXTS:
            same[numbers].append(rule)
    return [
        _error(second, f"fires exactly when {first.rule_id} fires: merge them or give the reason")
        for group in same.values()
        for i, first in enumerate(group)
        for second in group[i + 1 :]
        if frozenset((first.rule_id, second.rule_id)) not in TOGETHER
    ]


def shadows(rules: Sequence[CompiledRule], fires: Fires) -> list[RuleError]:
    """Rules that fire only where another fires that says all they say."""
    says = {rule.rule_id: _says(rule) for rule in rules}
    by_text: dict[int, set[str]] = defaultdict(set)
    for rule_id, numbers in fires.items():
        for number in numbers:
            by_text[number].add(rule_id)
    out = []
    for rule in rules:
        numbers = fires.get(rule.rule_id, frozenset())
        if len(numbers) < LEAST_TEXTS:
            continue
        always = set.intersection(*(by_text[n] for n in numbers)) - {rule.rule_id}
        out += [
            _error(rule, f"covered by {other}, which fires wherever it does and says the same")
            for other in sorted(always)
            if says[rule.rule_id] <= says[other]
        ]
    return out


def bound(rules: Iterable[CompiledRule]) -> list[RuleError]:
    """Rules whose own examples stop firing under another name or place, and that do not say why."""
    return [
        _error(rule, f"knows a literal: {example!r} holds, {other!r} does not; say why in literal_because")
        for rule in rules
        if _plain(rule) and rule.literal_because is None
        for example in rule.tests_match
        if isinstance(example, str)
        for other in (_PLACES.sub("/opt/data", example), _NAMES.sub(r"\1kodak7\2", example))
        if other != example and not RuleIndex([rule]).command_hits(other, {}, Failures())[0]
    ][:100]


_PLACES = re.compile(r"/(?:var/tmp|dev/shm)(?=[/\s;]|$)|(?<![\w/])/tmp(?=[/\s;]|$)")
_NAMES = re.compile(r"((?<![\w/:.])(?:\./|/(?:tmp|opt|srv)/))[\w-]+(\.\w{1,6})?(?=[\s;&]|$)")


def _plain(rule: CompiledRule) -> bool:
    return "command" in rule.applies_to and rule.lifter is None and rule.correlation is None


def _says(rule: CompiledRule) -> frozenset[tuple[str, str | None]]:
    return frozenset((emit.technique_id, emit.sub_technique_id) for emit in rule.emits)


def _has_literal(condition: Condition) -> bool:
    patterns = condition.prefilters("command")
    return bool(patterns) and not any(_always_tried(pattern) for pattern in patterns or ())


def _always_tried(pattern: str) -> bool:
    """Whether RE2's filter finds no literal in the pattern: then even a text without one passes it."""
    probe: Any = re2.Filter()
    probe.Add(pattern, options())
    probe.Compile()
    return bool(probe.Match(_EMPTY, True))


def _error(rule: CompiledRule, message: str) -> RuleError:
    return RuleError(message, SourcePosition(rule.file, 1, 1), rule.rule_id)
