"""Correlation rules of Sigma → windows and sequences: so many events, so many values, several rules together or in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any, NamedTuple

from sigma.correlations import (
    CorrelationConditionAND,
    SigmaCorrelationCondition,
    SigmaCorrelationRule,
    SigmaCorrelationTimespan,
    SigmaExtendedCorrelationCondition,
    SigmaRuleReference,
)
from sigma.correlations import SigmaCorrelationConditionOperator as Op
from sigma.correlations import SigmaCorrelationType as Kind

from decnet.ttp.schema import MAX_WITHIN_S
from decnet.ttp.sigma.carrying import Part, Way, any_of
from decnet.ttp.sigma.examples import made_of
from decnet.ttp.sigma.places import PATH, PROGRAM, Place
from decnet.ttp.sigma.reading import SigmaDocument
from decnet.ttp.sigma.refusal import Refusal

MAX_ANY_ORDER = 3
"""Rules that may come true in any order: each order is a sequence of its own."""


class Base(NamedTuple):
    """A rule that a correlation speaks of: its place and condition."""

    document: SigmaDocument
    place: Place
    part: Part


class Correlated(NamedTuple):
    """One ``match`` of ours, and an example of it as a list of events (None where none can be made)."""

    match: Mapping[str, Any]
    kinds: tuple[str, ...]
    example: list[dict[str, Any]] | None


def is_correlation(document: SigmaDocument) -> bool:
    """Whether a document is a correlation rule."""
    return "correlation" in document.said


def names_of(said: SigmaCorrelationRule) -> list[str]:
    """The rules that a correlation speaks of, by what it calls them."""
    if said.rules is not None:
        return [str(one.reference) for one in said.rules if one.reference]
    assert isinstance(said.condition, SigmaExtendedCorrelationCondition)
    return list(said.condition.get_referenced_rules())


def correlate(said: SigmaCorrelationRule, bases: Sequence[Base]) -> tuple[list[Correlated], list[str]]:
    """The matches that say the same; several where an order is open. Raises Refusal."""
    if said.type not in _KINDS:
        told = ", ".join(kind.name.lower() for kind in _KINDS)
        raise Refusal(f"correlations of type {said.type.name.lower()} cannot be said: only {told}")
    within = _within(said.timespan)
    by, notes = _by(said, bases)
    if said.type in (Kind.TEMPORAL, Kind.TEMPORAL_ORDERED):
        _all_of_them(said.condition, len(bases))
        return _sequences(bases, within, by, ordered=said.type is Kind.TEMPORAL_ORDERED), notes
    return [_window(said, bases, within, by)], notes


_KINDS = (Kind.EVENT_COUNT, Kind.VALUE_COUNT, Kind.TEMPORAL, Kind.TEMPORAL_ORDERED)


def _within(timespan: SigmaCorrelationTimespan) -> str:
    if timespan.seconds > MAX_WITHIN_S:
        raise Refusal(f"its timespan of {timespan.spec[:20]} is over {MAX_WITHIN_S / 86_400:.0f}d")
    return timespan.spec if timespan.unit in "smhd" else f"{timespan.seconds}s"


def _all_of_them(
    condition: SigmaCorrelationCondition | SigmaExtendedCorrelationCondition, count: int
) -> None:
    """Raises Refusal for rules that need not all come true."""
    if isinstance(condition, SigmaExtendedCorrelationCondition):
        tree = condition.parsed
        every = isinstance(tree, CorrelationConditionAND) and all(
            isinstance(part, SigmaRuleReference) for part in tree.args
        )
    else:
        every = condition.op is Op.GTE and condition.count == count
    if not every:
        raise Refusal(
            "it holds without all of its rules, or where one of them does not: only all can be said"
        )


def _by(said: SigmaCorrelationRule, bases: Sequence[Base]) -> tuple[list[str], list[str]]:
    if len(said.aliases):
        raise Refusal("it gives fields of its rules other names (aliases)")
    if not said.group_by:
        return ["attacker_uuid"], ["it groups by nothing: events of one attacker are taken together"]
    keys, notes = [], []
    for name in said.group_by:
        found = {base.place.keys.get(name) for base in bases}
        if len(found) != 1 or None in found:
            raise Refusal(f"it groups by {name[:60]}, {bases[0].place.says}")
        key = str(found.pop())
        keys += [key] if key not in keys else []
        notes.append(f"{name} is {key} here")
    return keys[:4], notes


def _window(said: SigmaCorrelationRule, bases: Sequence[Base], within: str, by: list[str]) -> Correlated:
    kinds = _kinds(bases)
    if len(kinds) > 1:
        raise Refusal("it counts rules of several log sources together")
    part = any_of(base.part for base in bases)
    assert part is not None
    assert isinstance(said.condition, SigmaCorrelationCondition)
    count = _count(said.condition)
    window: dict[str, Any] = {"count": count, "within": within, "by": by}
    example = None
    if said.type is Kind.VALUE_COUNT:
        window["distinct"] = _distinct(said.condition, bases[0].place)
    elif (event := _event(part.ways, bases[0].place)) is not None:
        example = [{**event, "at": 0.0} for _ in range(count)]
    return Correlated({**part.form, "window": window}, kinds, example)


def _count(condition: SigmaCorrelationCondition) -> int:
    for op, more in ((Op.GTE, 0), (Op.GT, 1)):
        count = condition.count
        if condition.op is op and isinstance(count, int) and 1 <= count + more <= 10_000:
            return count + more
    raise Refusal("it asks for few events, or for an exact number: only gte and gt can be said (to 10,000)")


def _distinct(condition: SigmaCorrelationCondition, place: Place) -> str:
    names = [condition.fieldref] if isinstance(condition.fieldref, str) else condition.fieldref or []
    ours = place.fields.get(names[0]) if names else None
    if len(names) != 1 or ours is None:
        raise Refusal(f"it counts values of {', '.join(map(str, names))[:60] or 'nothing'}, {place.says}")
    return {PROGRAM: "argv0", PATH: "raw_url"}.get(ours, ours)


def _kinds(bases: Sequence[Base]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(base.place.kind for base in bases))


def _sequences(bases: Sequence[Base], within: str, by: list[str], *, ordered: bool) -> list[Correlated]:
    if len(bases) < 2:
        raise Refusal("it names one rule only: several come together")
    if not ordered and len(bases) > MAX_ANY_ORDER:
        raise Refusal(f"over {MAX_ANY_ORDER} rules in any order: each order would be a rule of its own")
    orders = [tuple(bases)] if ordered else list(permutations(bases))
    return [_sequence(order, within, by) for order in orders]


def _sequence(bases: Sequence[Base], within: str, by: list[str]) -> Correlated:
    several = len(_kinds(bases)) > 1
    steps = [{**({"source_kind": base.place.kind} if several else {}), **base.part.form} for base in bases]
    events = [_event(base.part.ways, base.place) for base in bases]
    example = None
    if all(event is not None for event in events):
        example = [
            {**(event or {}), **({"source_kind": base.place.kind} if several else {}), "at": float(number)}
            for number, (base, event) in enumerate(zip(bases, events, strict=True))
        ]
    return Correlated({"sequence": {"steps": steps, "within": within, "by": by}}, _kinds(bases), example)


def _event(ways: Sequence[Way], place: Place) -> dict[str, Any] | None:
    made = made_of(ways, place)
    if made is None:
        return None
    return {"command_text": made} if isinstance(made, str) else dict(made)
