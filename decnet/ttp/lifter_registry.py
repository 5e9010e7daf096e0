"""The lifter kinds that a rule may name: predicate, source kinds and typed knobs of each.

Light on purpose (no database): the loader checks rules with it, and own tests and offline tagging run
the predicates. The kinds register themselves when :mod:`decnet.ttp.lifters.kinds` is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as attribute
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict

from decnet.ttp.kinds import KNOWN_SOURCE_KINDS
from decnet.ttp.rules import CompiledRule, Emit

PREFIX = "lifter:"


class Knobs(BaseModel):
    """Base of every knob model: unknown and ill-typed knobs are load errors, a default for each is a must."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


K = TypeVar("K", bound=Knobs)


class NoKnobs(Knobs):
    """Of a predicate with nothing to set."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a predicate holds. ``field`` and ``text`` are the fact and what it was; ``evidence`` adds to them.

    ``emits`` replaces the rule's own in map-driven kinds; ``scale`` (0..1) lowers their confidence.
    """

    field: str
    text: str = ""
    evidence: Mapping[str, Any] = attribute(default_factory=dict)
    emits: tuple[Emit, ...] | None = None
    scale: float = 1.0


class Lift(NamedTuple):
    """One lifter rule that holds for one event, with the tags that it gives."""

    rule: CompiledRule
    finding: Finding
    emits: tuple[Emit, ...]


Predicate = Callable[[Mapping[str, Any], Any], Finding | None]
"""(payload, knobs) → why it holds, or None. Pure: facts that need history are put into the payload before."""
Adjust = Callable[[Mapping[str, Any], Any, Sequence[Lift]], Sequence[Lift]]
"""(payload, knobs, lifts of the same event) → the lifts that stay; for kinds that change other rules' tags."""


@dataclass(frozen=True, slots=True)
class LifterKind:
    """One ``match.kind``. ``lifter`` is the part of the name before the first underscore, unless given."""

    name: str
    lifter: str
    source_kinds: frozenset[str]
    predicate: Predicate
    knobs: type[Knobs] = NoKnobs
    map_driven: bool = False
    adjust: Adjust | None = None


_kinds: dict[str, LifterKind] = {}


def lifter_kind(
    name: str,
    source_kinds: set[str] | frozenset[str],
    knobs: type[Knobs] = NoKnobs,
    *,
    lifter: str = "",
    map_driven: bool = False,
    adjust: Adjust | None = None,
) -> Callable[
    [Callable[[Mapping[str, Any], K], Finding | None]], Callable[[Mapping[str, Any], K], Finding | None]
]:
    """Registers the decorated predicate as ``lifter:<name>``. ValueError for an unknown source kind or a second one.

    ``map_driven`` kinds take their tags from data, so that their rules may have ``emits: []``.
    """
    unknown = set(source_kinds) - KNOWN_SOURCE_KINDS
    if unknown:
        raise ValueError(f"{name}: unknown source kinds {sorted(unknown)}")

    def register(
        predicate: Callable[[Mapping[str, Any], K], Finding | None],
    ) -> Callable[[Mapping[str, Any], K], Finding | None]:
        if name in _kinds:
            raise ValueError(f"lifter kind {name} is registered twice")
        owner = lifter or name.partition("_")[0]
        _kinds[name] = LifterKind(name, owner, frozenset(source_kinds), predicate, knobs, map_driven, adjust)
        return predicate

    return register


def known_kinds() -> Mapping[str, LifterKind]:
    """All registered kinds by name (without ``lifter:``)."""
    _load()
    return _kinds


@cache
def _load() -> None:
    import_module("decnet.ttp.lifters.kinds")


def find_kind(match_kind: str) -> LifterKind | None:
    """The kind for a rule's ``match.kind``, None when no lifter has it."""
    return known_kinds().get(match_kind.removeprefix(PREFIX))


def lift_one(rule: CompiledRule, payload: Mapping[str, Any]) -> Lift | None:
    """The lift of one rule, or None. Raises what the predicate raises: isolation is the caller's."""
    kind = known_kinds().get(rule.lifter or "")
    if kind is None:
        return None
    finding = kind.predicate(payload, _knobs(rule, kind))
    if finding is None:
        return None
    emits = rule.emits if finding.emits is None else finding.emits
    return Lift(rule, finding, tuple(e.scaled(finding.scale) for e in emits))


def _knobs(rule: CompiledRule, kind: LifterKind) -> Knobs | None:
    """The knobs of a rule for its kind."""
    return rule.knobs.checked(kind.knobs) if rule.knobs is not None else None


def adjusted(lifts: Sequence[Lift], payload: Mapping[str, Any]) -> list[Lift]:
    """The lifts of one event after the adjusting rules among them had their say."""
    out: Sequence[Lift] = list(lifts)
    for lift in lifts:
        kind = known_kinds().get(lift.rule.lifter or "")
        if kind is not None and kind.adjust is not None:
            out = kind.adjust(payload, _knobs(lift.rule, kind), out)
    return list(out)
