"""Which hits stand on a command when a rule that knows its session knows better; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace

from decnet.ttp.matcher import Hit
from decnet.ttp.rules import CompiledRule


def standing(
    hits: Sequence[Hit], fires: Callable[[CompiledRule], bool], lost: Callable[[str, int], None]
) -> Sequence[Hit]:
    """The hits without the techniques that another rule replaces in every command for which they were found.

    ``fires`` tells whether a rule may (a disabled one replaces nothing); ``lost`` is told of each rule that loses
    tags, and how many.
    """
    better: dict[int, frozenset[str]] = {}
    for hit in hits:
        if hit.rule.replaces and fires(hit.rule):
            for number in hit.numbers:
                better[number] = better.get(number, frozenset()) | hit.rule.replaces
    if not better:
        return hits
    out = []
    for hit in hits:
        left = _left_of(hit.rule, _everywhere(hit.numbers, better))
        if len(left.emits) < len(hit.rule.emits):
            lost(hit.rule.rule_id, len(hit.rule.emits) - len(left.emits))
        if left.emits or not hit.rule.emits:
            out.append(hit if left is hit.rule else hit._replace(rule=left))
    return out


def _everywhere(numbers: Set[int], better: Mapping[int, frozenset[str]]) -> frozenset[str]:
    """What is replaced in all of these commands."""
    if not numbers:
        return frozenset()
    return frozenset.intersection(*(better.get(number, frozenset()) for number in numbers))


def _left_of(rule: CompiledRule, replaced: frozenset[str]) -> CompiledRule:
    """A rule with the emits that stand; one that replaces others itself loses nothing."""
    if rule.replaces or not replaced:
        return rule
    emits = tuple(e for e in rule.emits if (e.sub_technique_id or e.technique_id) not in replaced)
    return rule if len(emits) == len(rule.emits) else replace(rule, emits=emits)
