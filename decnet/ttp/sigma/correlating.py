"""Correlation rules of Sigma → windows and sequences: so many events, so many values, several rules together or in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any, NamedTuple

from decnet.durations import parse_finite
from decnet.ttp.schema import MAX_WITHIN_S
from decnet.ttp.sigma.carrying import Part, Way, any_of
from decnet.ttp.sigma.examples import made_of
from decnet.ttp.sigma.places import PATH, PROGRAM, Place
from decnet.ttp.sigma.reading import SigmaRule, as_list
from decnet.ttp.sigma.refusal import Refusal

MAX_ANY_ORDER = 3
"""Rules that may come true in any order: each order is a sequence of its own."""


class Base(NamedTuple):
    """A rule that a correlation speaks of: its place and condition."""

    rule: SigmaRule
    place: Place
    part: Part


class Correlated(NamedTuple):
    """One ``match`` of ours, and an example of it as a list of events (None where none can be made)."""

    match: Mapping[str, Any]
    kinds: tuple[str, ...]
    example: list[dict[str, Any]] | None


def is_correlation(rule: SigmaRule) -> bool:
    """Whether a document is a correlation rule."""
    return "correlation" in rule.said


def names_of(rule: SigmaRule) -> list[str]:
    """The rules that a correlation speaks of, by what it calls them."""
    return [str(name) for name in as_list(rule.part("correlation").get("rules")) if name]


def keeps_its_rules(rule: SigmaRule) -> bool:
    """Whether the rules of a correlation are to fire by themselves as well."""
    return bool(rule.part("correlation").get("generate", False))


def correlate(rule: SigmaRule, bases: Sequence[Base]) -> tuple[list[Correlated], list[str]]:
    """The matches that say the same; several where an order is open. Raises Refusal."""
    said = rule.part("correlation")
    kind = str(said.get("type") or "")
    if kind not in _KINDS:
        raise Refusal(f"correlations of type {kind or '(none)'} cannot be said: only {', '.join(_KINDS)}")
    within = _within(said)
    by, notes = _by(said, bases)
    if kind.startswith("temporal"):
        return _sequences(bases, within, by, ordered=kind == "temporal_ordered"), notes
    return [_window(said, bases, within, by, kind)], notes


_KINDS = ("event_count", "value_count", "temporal", "temporal_ordered")


def _within(said: Mapping[str, Any]) -> str:
    text = str(said.get("timespan") or "")
    try:
        seconds = parse_finite(text)
    except ValueError as error:
        raise Refusal(f"its timespan is none: {error}") from error
    if not 0 < seconds <= MAX_WITHIN_S:
        raise Refusal(f"its timespan of {text} is over {MAX_WITHIN_S / 86_400:.0f}d")
    return text


def _by(said: Mapping[str, Any], bases: Sequence[Base]) -> tuple[list[str], list[str]]:
    names = [str(name) for name in as_list(said.get("group-by")) if name]
    if said.get("aliases"):
        raise Refusal("it gives fields of its rules other names (aliases)")
    if not names:
        return ["attacker_uuid"], ["it groups by nothing: events of one attacker are taken together"]
    keys, notes = [], []
    for name in names:
        found = {base.place.keys.get(name) for base in bases}
        if len(found) != 1 or None in found:
            raise Refusal(f"it groups by {name}, {bases[0].place.says}")
        key = str(found.pop())
        keys += [key] if key not in keys else []
        notes.append(f"{name} is {key} here")
    return keys[:4], notes


def _window(
    said: Mapping[str, Any], bases: Sequence[Base], within: str, by: list[str], kind: str
) -> Correlated:
    kinds = _kinds(bases)
    if len(kinds) > 1:
        raise Refusal("it counts rules of several log sources together")
    part = any_of(base.part for base in bases)
    assert part is not None
    condition = said.get("condition") if isinstance(said.get("condition"), dict) else {}
    assert isinstance(condition, dict)
    count = _count(condition)
    window: dict[str, Any] = {"count": count, "within": within, "by": by}
    example = None
    if kind == "value_count":
        window["distinct"] = _distinct(condition, bases[0].place)
    elif (event := _event(part.ways, bases[0].place)) is not None:
        example = [{**event, "at": 0.0} for _ in range(count)]
    return Correlated({**part.form, "window": window}, kinds, example)


def _count(condition: Mapping[str, Any]) -> int:
    for op, more in (("gte", 0), ("gt", 1)):
        value = condition.get(op)
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value + more <= 10_000:
            return value + more
    raise Refusal("it asks for few events, or for an exact number: only gte and gt can be said (to 10,000)")


def _distinct(condition: Mapping[str, Any], place: Place) -> str:
    names = as_list(condition.get("field"))
    name = str(names[0]) if names and names[0] else ""
    ours = place.fields.get(name)
    if len(names) != 1 or ours is None:
        raise Refusal(f"it counts values of {name or 'nothing'}, {place.says}")
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
