"""What one set of rules says of an event, remembered: honeypots are typed the same lines into all day.

Kept is what follows from the fields that the rules read, and from nothing else: the hits and their checked evidence.
Who it was, the states of rules and windows come after. The key holds every field that a rule of the kind reads, so
that two events with one key cannot be judged differently. What a bound has bitten in is judged each time anew, so that
the bound counts it; so is everything while a rule fails.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from decnet.bounds import BITES
from decnet.shell.told import Facts
from decnet.ttp.kinds import COMMAND_FIELDS, CONTEXT, LOGIN, LOGIN_REASONS
from decnet.ttp.matcher import Failures, Hit, RuleIndex
from decnet.ttp.rules import CompiledRule

KINDS = frozenset({"command", "auth_attempt", "credential"})
"""Kinds whose events repeat; every session is another one."""
KEPT = 4096
"""Events that are remembered; then all are forgotten, which costs less than to know which was used last."""
MAX_KEY_BYTES = 4096
_OF_A_COMMAND = ("command_text", LOGIN, LOGIN_REASONS)
Evidence = Callable[[Hit], dict[str, Any]]
"""A hit → its checked evidence."""


class Said:
    """What the rules say of one event."""

    __slots__ = ("_whys", "capped", "hits")

    def __init__(self, hits: list[Hit], capped: bool, *, kept: bool = False) -> None:
        self.hits = hits
        self.capped = capped
        self._whys: dict[str, dict[str, Any]] | None = {} if kept else None

    def why(self, hit: Hit, evidence: Evidence) -> dict[str, Any]:
        """The evidence of one of the hits, which nobody may change: the next event like this one has the same."""
        if self._whys is None:
            return evidence(hit)
        found = self._whys.get(hit.rule.rule_id)
        if found is None:
            before = BITES.total()
            found = evidence(hit)
            if BITES.total() == before:
                self._whys[hit.rule.rule_id] = found
        return found


class Remembered:
    """Asks an index once for events that are alike."""

    def __init__(self, index: RuleIndex) -> None:
        """``index`` is that of one set of rules; another set has another memory."""
        self._index = index
        self._reads = {kind: _reads(kind, index.rules) for kind in KINDS}
        self._said: dict[bytes, Said] = {}

    def __len__(self) -> int:
        return len(self._said)

    def said(self, kind: str, payload: Mapping[str, Any], failures: Failures) -> Said:
        """What the rules say of an event."""
        key = self._key(kind, payload)
        if key is None or failures.counts:
            return Said(*self._index.hits(kind, payload, failures))
        known = self._said.get(key)
        if known is None:
            before = BITES.total()
            hits, capped = self._index.hits(kind, payload, failures)
            kept = not failures.counts and BITES.total() == before
            known = Said(hits, capped, kept=kept)
            if kept:
                if len(self._said) >= KEPT:
                    self._said.clear()
                self._said[key] = known
        return known

    def _key(self, kind: str, payload: Mapping[str, Any]) -> bytes | None:
        """All that rules read of an event; None where it cannot be written down, or not briefly."""
        names = self._reads.get(kind)
        if names is None:
            return None
        context: Mapping[str, Facts] = payload.get(CONTEXT) or {}
        told = [(text, facts.values, facts.because) for text, facts in context.items()]
        try:
            # Version 2 writes equal values alike; later ones also write down what is one object.
            key = marshal.dumps((kind, told, [payload.get(name) for name in names]), 2)
        except ValueError:
            return None
        return key if len(key) <= MAX_KEY_BYTES else None


def _reads(kind: str, rules: Iterable[CompiledRule]) -> tuple[str, ...]:
    """The keys of a payload that rules of a kind read, for what they hold and for their evidence."""
    names: set[str] = set(_OF_A_COMMAND) if kind == "command" else set()
    for rule in rules:
        if kind in rule.applies_to:
            names |= _fields(rule)
    if kind == "command":
        names = (names - COMMAND_FIELDS) | set(_OF_A_COMMAND)
    return tuple(sorted(names | {name.partition(".")[0] for name in names}))


def _fields(rule: CompiledRule) -> set[str]:
    names = set(rule.evidence_fields)
    if rule.condition is not None:
        names |= rule.condition.reads()
    if rule.correlation is not None:
        names.update(name for name in (rule.correlation.distinct,) if name)
        for step in rule.correlation.steps:
            names |= step.condition.reads()
    return names
