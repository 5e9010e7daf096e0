"""Window and sequence rules without a database: for offline tagging and rules' own tests. Bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from decnet.ttp.rules import CompiledRule
from decnet.ttp.windows import Completion, Order, StoredHit, WindowHit, completions, superfluous

MAX_SLOTS = 20_000


@dataclass(slots=True)
class _Slot:
    hits: dict[Order, StoredHit] = field(default_factory=dict)
    fired: list[float] = field(default_factory=list)


class MemoryWindows:
    """Keys seen last, at most ``max_slots``; the one untouched for longest goes first and is counted."""

    def __init__(self, max_slots: int = MAX_SLOTS) -> None:
        self.max_slots = max_slots
        self.forgotten = 0
        self._slots: OrderedDict[str, _Slot] = OrderedDict()

    def apply(self, hits: Iterable[WindowHit]) -> list[tuple[CompiledRule, Completion]]:
        """What comes true with these hits."""
        out: list[tuple[CompiledRule, Completion]] = []
        for hit in hits:
            out += ((hit.rule, done) for done in self._apply(hit))
        return out

    def _apply(self, hit: WindowHit) -> list[Completion]:
        spec = hit.rule.correlation
        if spec is None:
            return []
        slot = self._slots.setdefault(hit.slot, _Slot())
        self._slots.move_to_end(hit.slot)
        slot.hits.update({stored.order: stored for stored in hit.stored})
        done = completions(spec, slot.hits.values(), slot.fired)
        slot.fired += [completion.hit.ts for completion in done]
        for old in superfluous(spec, list(slot.hits.values())):
            del slot.hits[old.order]
        if len(self._slots) > self.max_slots:
            self._slots.popitem(last=False)
            self.forgotten += 1
        return done
