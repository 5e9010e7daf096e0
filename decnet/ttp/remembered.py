"""What one set of rules says of an event, remembered: honeypots are typed the same lines into all day.

Kept is what follows from the fields that the rules read, and from nothing else: the hits and their checked evidence.
Who it was, the states of rules and windows come after. The key holds every field that a rule of the kind reads, so
that two events with one key cannot be judged differently. Most rules read nothing of a command but its line, while
what its session tells differs from one to the next (how much of it was looking around): so a command is asked for in
two parts, each with a key of its own. What a bound has bitten in is judged each time anew, so that the bound counts it;
so is everything while a rule fails.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from decnet.bounds import BITES
from decnet.shell.told import Facts
from decnet.ttp.kinds import COMMAND_FIELDS, CONTEXT, LOGIN, LOGIN_REASONS
from decnet.ttp.matcher import Failures, Hit, RuleIndex, reads_context
from decnet.ttp.rules import CompiledRule

KINDS = frozenset({"command", "auth_attempt", "credential"})
"""Kinds whose events repeat; every session is another one."""
KEPT = 4096
"""Events that are remembered; then all are forgotten, which costs less than to know which was used last."""
MAX_KEY_BYTES = 4096
_OF_THE_SESSION = {LOGIN, LOGIN_REASONS}
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


class _Joined(Said):
    """What the two parts of the rules say of one command."""

    __slots__ = ("_alone", "_tellers", "_told")

    def __init__(self, alone: Said, told: Said) -> None:
        hits = sorted((*alone.hits, *told.hits), key=lambda hit: hit.rule.rule_id)
        super().__init__(hits, alone.capped)
        self._alone, self._told = alone, told
        self._tellers = {hit.rule.rule_id for hit in told.hits}

    def why(self, hit: Hit, evidence: Evidence) -> dict[str, Any]:
        """As the part says it that the hit is of."""
        return (self._told if hit.rule.rule_id in self._tellers else self._alone).why(hit, evidence)


class Remembered:
    """Asks an index once for events that are alike."""

    def __init__(self, index: RuleIndex) -> None:
        """``index`` is that of one set of rules; another set has another memory."""
        self._parts = {kind: _Part(kind, index, index.rules) for kind in KINDS - {"command"}}
        told = [rule for rule in index.rules if reads_context(rule)]
        alone = [rule for rule in index.rules if not reads_context(rule)]
        self._alone = _Part("command", index, alone, False)
        self._told = _Part("command", index, told, True) if told else None
        self._index = index

    def __len__(self) -> int:
        parts = (self._alone, self._told, *self._parts.values())
        return sum(len(part.said) for part in parts if part is not None)

    def of(self, kind: str, payload: Mapping[str, Any], failures: Failures) -> Said:
        """What the rules say of an event."""
        part = self._parts.get(kind)
        if failures.counts or (part is None and kind != "command"):
            return Said(*self._index.hits(kind, payload, failures))
        if part is not None:
            return part.of(payload, failures)
        alone = self._alone.of(payload, failures)
        told = self._told.of(payload, failures) if self._told is not None else None
        return _Joined(alone, told) if told is not None and told.hits else alone


class _Part:
    """The memory of some rules for one kind of event."""

    def __init__(
        self, kind: str, index: RuleIndex, rules: Iterable[CompiledRule], told: bool | None = None
    ) -> None:
        self._kind, self._index, self._which = kind, index, told
        self._reads = _reads(kind, rules, told=told is not False)
        self.said: dict[bytes, Said] = {}

    def of(self, payload: Mapping[str, Any], failures: Failures) -> Said:
        """What these rules say of an event."""
        key = self.key(payload)
        known = self.said.get(key) if key is not None else None
        if known is None:
            before = BITES.total()
            hits, capped = self._index.hits(self._kind, payload, failures, self._which)
            kept = key is not None and not failures.counts and BITES.total() == before
            known = Said(hits, capped, kept=kept)
            if key is not None and kept:
                if len(self.said) >= KEPT:
                    self.said.clear()
                self.said[key] = known
        return known

    def key(self, payload: Mapping[str, Any]) -> bytes | None:
        """All that these rules read of an event; None where it cannot be written down, or not briefly."""
        read = [payload.get(name) for name in self._reads]
        if self._which is not False:
            context: Mapping[str, Facts] = payload.get(CONTEXT) or {}
            read += [(text, facts.values, facts.because) for text, facts in context.items()]
        try:
            # Version 2 writes equal values alike; later ones also write down what is one object.
            key = marshal.dumps(read, 2)
        except ValueError:
            return None
        return key if len(key) <= MAX_KEY_BYTES else None


def _reads(kind: str, rules: Iterable[CompiledRule], *, told: bool) -> tuple[str, ...]:
    """The keys of a payload that rules of a kind read; of a command without what the session tells unless ``told``."""
    names = {name for rule in rules if kind in rule.applies_to for name in rule.reads()}
    if kind == "command":
        names = (names - COMMAND_FIELDS) | {"command_text"} | (_OF_THE_SESSION if told else set())
    return tuple(sorted(names | {name.partition(".")[0] for name in names}))
