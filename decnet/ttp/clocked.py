"""Rules with a clock each: how often they are looked at, how often they hold, what that costs. For reports only."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from decnet.ttp.conditions import Condition, Fields, Found
from decnet.ttp.matcher import Failures, Hit, RuleIndex
from decnet.ttp.rules import CompiledRule

_PROBES = 2_000


@dataclass(slots=True)
class Clock:
    """What one rule took: ``ns`` without the clock's own time, ``calls`` looks at a text, ``held`` true ones."""

    calls: int = 0
    held: int = 0
    ns: int = 0


class _Clocked:
    """A condition that is watched."""

    def __init__(self, condition: Condition, clock: Clock, own_ns: int) -> None:
        self._condition, self._clock, self._own_ns = condition, clock, own_ns

    def find(self, fields: Fields) -> Found | None:
        """As the condition has it."""
        start = time.perf_counter_ns()
        found = self._condition.find(fields)
        clock = self._clock
        clock.ns += max(time.perf_counter_ns() - start - self._own_ns, 0)
        clock.calls += 1
        clock.held += found is not None
        return found

    def prefilters(self, kind: str) -> list[str] | None:
        """As the condition has them."""
        return self._condition.prefilters(kind)

    def reads(self) -> frozenset[str]:
        """As the condition has them."""
        return self._condition.reads()


class ClockedIndex(RuleIndex):
    """An index that answers as any other and keeps a clock for each rule with a condition."""

    def __init__(self, rules: Iterable[CompiledRule] = ()) -> None:
        self.clocks: dict[str, Clock] = {}
        self.judged = 0
        """Events that were judged."""
        self.ns = 0
        """What judging them took, all in all."""
        own = _own_ns()
        super().__init__(self._watched(rule, own) for rule in rules)

    def _watched(self, rule: CompiledRule, own_ns: int) -> CompiledRule:
        if rule.condition is None:
            return rule
        clock = self.clocks[rule.rule_id] = Clock()
        spec = rule.correlation
        if spec is not None and spec.steps:
            steps = (s._replace(condition=_Clocked(s.condition, clock, own_ns)) for s in spec.steps)
            spec = replace(spec, steps=tuple(steps))
        return replace(rule, condition=_Clocked(rule.condition, clock, own_ns), correlation=spec)

    def command_hits(
        self,
        line: str,
        payload: Mapping[str, Any],
        failures: Failures,
        *,
        alone: bool = False,
        told: bool | None = None,
    ) -> tuple[list[Hit], bool]:
        """As every index, on the clock; a line whose rules are asked in two parts counts once."""
        start = time.perf_counter_ns()
        found = super().command_hits(line, payload, failures, alone=alone, told=told)
        self.ns += time.perf_counter_ns() - start
        self.judged += told is not True
        return found


def _own_ns() -> int:
    """What reading the clock itself takes, as the middle of many readings."""
    taken = []
    for _ in range(_PROBES):
        start = time.perf_counter_ns()
        taken.append(time.perf_counter_ns() - start)
    return sorted(taken)[_PROBES // 2]
