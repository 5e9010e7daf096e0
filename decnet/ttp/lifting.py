"""Runs lifter rules over one event, each on its own: a predicate that fails costs that rule only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from decnet.ttp.lifter_registry import Lift, lift_one
from decnet.ttp.matcher import Failures, log_failure
from decnet.ttp.rules import CompiledRule


def lifts(rules: Iterable[CompiledRule], payload: Mapping[str, Any], failures: Failures) -> list[Lift]:
    """The lifts of the rules that hold, before any adjusting."""
    found = (_lift(rule, payload, failures) for rule in rules if not failures.tripped(rule))
    return [lift for lift in found if lift is not None]


def _lift(rule: CompiledRule, payload: Mapping[str, Any], failures: Failures) -> Lift | None:
    try:
        found = lift_one(rule, payload)
    except Exception:  # noqa: BLE001 - the named boundary: one rule's failure costs that rule only
        log_failure(rule)
        failures.failed(rule)
        return None
    failures.passed(rule)
    return found
