"""Runs the tests that every rule carries itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from decnet.errors import Place, RuleError
from decnet.ttp.kinds import DEFAULT_FIELDS
from decnet.ttp.matcher import Failures, RuleIndex
from decnet.ttp.rules import CompiledRule


def run_rule_tests(rules: Iterable[CompiledRule]) -> list[RuleError]:
    """One error for each example that a rule judges wrongly; the place is the rule's file."""
    errors = []
    for rule in rules:
        index = RuleIndex([rule])
        errors += [_error(rule, "does not match", e) for e in rule.tests_match if not _hits(index, rule, e)]
        errors += [_error(rule, "matches", e) for e in rule.tests_no_match if _hits(index, rule, e)]
    return errors


def _hits(index: RuleIndex, rule: CompiledRule, example: Any) -> bool:
    return any(index.hits(kind, _payload(kind, example), Failures())[0] for kind in sorted(rule.applies_to))


def _payload(kind: str, example: Any) -> dict[str, Any]:
    if isinstance(example, str):
        return {DEFAULT_FIELDS.get(kind, "text"): example}
    return example if isinstance(example, dict) else {}


def _error(rule: CompiledRule, what: str, example: Any) -> RuleError:
    return RuleError(f"own test fails: the rule {what} {example!r}", _place(rule, example), rule.rule_id)


def _place(rule: CompiledRule, example: Any) -> Place:
    """The first line below ``tests:`` that holds the example, as near as its quoting allows."""
    lines = rule.source.splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith("tests:")), 0)
    needle = example if isinstance(example, str) else ""
    for number, line in enumerate(lines[start:], start + 1):
        if needle and needle in line.replace("''", "'"):
            return Place(rule.file, number, line.index(line.strip()[0]) + 1)
    return Place(rule.file, start + 1, 1)
