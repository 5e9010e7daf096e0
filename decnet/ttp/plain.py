"""Compiled rules as plain data, and back: numbers, texts, lists and mappings, as JSON has them. Pure.

What comes back was compiled before. Its patterns are compiled again when they are first searched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from decnet.errors import SourcePosition
from decnet.patterns import Finder
from decnet.ttp.conditions import (
    Compare,
    Condition,
    Either,
    Every,
    Negation,
    Pattern,
    compare,
)
from decnet.ttp.rules import CompiledRule, Emit, GivenKnobs
from decnet.ttp.windows import Correlation, Step

_AS_IS = (
    "rule_id",
    "rule_version",
    "name",
    "description",
    "scope",
    "literal_because",
    "external",
    "superseded",
    "lifter",
)
_LISTS = ("evidence_fields", "references", "tests_match", "tests_no_match")
_SETS = ("applies_to", "replaces")
_EMIT = (
    "tactic", "technique_id", "sub_technique_id", "confidence", "written_technique_id", "written_sub_technique_id",
    "url",
)  # fmt: skip
_GROUPS: Mapping[str, type[Either] | type[Every]] = {"any": Either, "all": Every}


def to_plain(rule: CompiledRule) -> dict[str, Any]:
    """A rule without the text of its file and what follows from that."""
    return {
        **{name: getattr(rule, name) for name in _AS_IS},
        **{name: list(getattr(rule, name)) for name in _LISTS},
        **{name: sorted(getattr(rule, name)) for name in _SETS},
        "emits": [[getattr(emit, name) for name in _EMIT] for emit in rule.emits],
        "condition": _plain_condition(rule.condition),
        "correlation": _plain_correlation(rule.correlation),
        "knobs": None if rule.knobs is None else dict(rule.knobs.given),
        "places": [[kind, i, place.line, place.column] for (kind, i), place in rule.test_places.items()],
    }


def from_plain(data: Mapping[str, Any], source: str, file: str, digest: str) -> CompiledRule:
    """The rule of a file with this text, name and hash.

    Raises KeyError, TypeError, ValueError, AttributeError or RecursionError for data that is no rule.
    """
    knobs = data["knobs"]
    as_they_are: dict[str, Any] = {
        **{name: data[name] for name in _AS_IS},
        **{name: tuple(data[name]) for name in _LISTS},
        **{name: frozenset(data[name]) for name in _SETS},
    }
    places = {(kind, i): SourcePosition(file, line, column) for kind, i, line, column in data["places"]}
    return CompiledRule(
        **as_they_are,
        emits=tuple([Emit(*emit) for emit in data["emits"]]),
        condition=_condition(data["condition"]),
        correlation=_correlation(data["correlation"]),
        knobs=None if knobs is None else GivenKnobs(dict(knobs)),
        test_places=places,
        file=file,
        content_hash=digest,
        source=source,
    )


def _plain_condition(condition: Condition | None) -> list[Any] | None:
    if isinstance(condition, Pattern):
        return ["pattern", condition.field, condition.pattern]
    if isinstance(condition, Compare):
        return ["op", condition.field, condition.op, condition.value]
    if isinstance(condition, Negation):
        return ["not", _plain_condition(condition.part)]
    for name, kind in _GROUPS.items():
        if isinstance(condition, kind):
            return [name, *map(_plain_condition, condition.parts)]
    return None


def _condition(data: Any) -> Condition | None:
    return None if data is None else _known_condition(data)


def _known_condition(data: Any) -> Condition:
    kind, *rest = data
    if kind == "pattern":
        field, pattern = rest
        return Pattern(field, pattern, Finder(pattern, known=True))
    if kind == "op":
        return compare(*rest)
    if kind == "not":
        (part,) = rest
        return Negation(_known_condition(part))
    return _GROUPS[kind](tuple([_known_condition(part) for part in rest]))


def _plain_correlation(spec: Correlation | None) -> list[Any] | None:
    if spec is None:
        return None
    steps = [[step.source_kind, _plain_condition(step.condition)] for step in spec.steps]
    return [spec.within_s, list(spec.by), spec.count, spec.distinct, steps]


def _correlation(data: Any) -> Correlation | None:
    if data is None:
        return None
    within_s, by, count, distinct, steps = data
    made = tuple(Step(kind, _known_condition(condition)) for kind, condition in steps)
    return Correlation(within_s, tuple(by), count, distinct, made)
