"""What a set of rules makes of sessions, for whoever writes rules: what no rule tags, and which rules earn their place.

Takes sessions one at a time and keeps counts only, within bounds that are told when they bite. It judges as
``tag --sessions`` does; reading files or the database, and showing the report, is for the command.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple

from decnet.bounds import BITES
from decnet.events.session import SessionEnded
from decnet.hostile import storable_text
from decnet.runtime.received import Received
from decnet.ttp.base import TaggerEvent
from decnet.ttp.clocked import ClockedIndex
from decnet.ttp.context import SCRIPT_CAPPED
from decnet.ttp.events import tagger_events
from decnet.ttp.kinds import CONTEXT, LOGIN
from decnet.ttp.linekinds import MAX_READ_CHARS, kind_of
from decnet.ttp.offline import OfflineTagger
from decnet.ttp.offline_sessions import Tags, tags_of
from decnet.ttp.rules import CompiledRule
from decnet.ttp.typed import Typed

MAX_KINDS = 20_000
"""Kinds of untagged lines, and different untagged lines, that are told apart."""
MAX_SOURCES = 1_000
MAX_EXAMPLE_CHARS = 300
MAX_UNREADABLE = 20
"""Lines of the input that are named; the others are counted."""
_BARE = frozenset(
    ("session_id", "attacker_ip", "attacker_uuid", "ended_at", "part", "parts", "commands", "joined")
)
"""What a session says that is known by its commands only."""
OTHER_SOURCES = "(other sources)"


@dataclass(slots=True)
class _Untagged:
    """Lines of one kind, or of one text, that no rule tags; ``seen`` counts a session as often as it occurred."""

    example: str
    session: str
    line: int
    seen: int = 0
    different: int = 0
    sessions: int = 0
    silent: int = 0
    """Sessions of it that carry no tag at all."""
    sources: int = 0
    """One bit for each source that had it."""
    knows: Counter[str] = field(default_factory=Counter)
    """Fields that the session tells about such lines."""
    last: int = 0
    """The number of the session in which it was seen last."""

    def row(self) -> dict[str, Any]:
        """As the report has it."""
        return {
            "seen": self.seen, "different": self.different, "sessions": self.sessions,
            "silent_sessions": self.silent, "sources": self.sources.bit_count(), "example": self.example,
            "session": self.session, "line": self.line, "knows": sorted(self.knows, key=_rank),
        }  # fmt: skip


@dataclass(slots=True)
class _Fired:
    """How often a rule tagged something, and where."""

    seen: int = 0
    sessions: int = 0
    alone: int = 0
    """Events to which it gave a technique that no other rule gave."""
    sources: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Overlap:
    seen: int = 0
    techniques: Counter[str] = field(default_factory=Counter)
    example: str = ""


class _Seen(NamedTuple):
    """One session: the bit of its source, whether it has any tag, how often it occurred."""

    source: int
    tagged: bool
    times: int


class Judge:
    """Counts what rules make of the sessions that it is given."""

    def __init__(self, tagger: OfflineTagger) -> None:
        """``tagger`` is the judge's own from now on: its rules are watched by a clock each."""
        self._index = ClockedIndex(tagger.index.rules)
        tagger.index = self._index
        self._tagger = tagger
        self._totals: Counter[str] = Counter()
        self._sources: Counter[str] = Counter()
        self._numbers: dict[str, int] = {}
        self._kinds: dict[str, _Untagged] = {}
        self._lines: dict[str, _Untagged] = {}
        self._fired: dict[str, _Fired] = defaultdict(_Fired)
        self._overlaps: dict[tuple[str, str], _Overlap] = defaultdict(_Overlap)
        self._asked: Counter[str] = Counter()
        self._timed = False
        self._unreadable: list[dict[str, Any]] = []
        self._reading_ns = 0
        self._bites = BITES[SCRIPT_CAPPED]
        self._typed = Typed(tagger.index.rules)

    def unreadable(self, source: str, number: int, reason: str) -> None:
        """Notes that a session could not be read."""
        self._totals["unreadable"] += 1
        if len(self._unreadable) < MAX_UNREADABLE:
            self._unreadable.append({"source": source, "line": number, "reason": reason})

    def session(self, one: Received, source: str, times: int = 1) -> None:
        """Judges one session's end, from ``source`` (a sensor, a file), that occurred ``times`` times."""
        assert isinstance(one.record, SessionEnded)
        start = time.perf_counter_ns()
        events = tagger_events(one)
        self._reading_ns += time.perf_counter_ns() - start
        source = self._known_source(source)
        self._sources[source] += times
        tagged: set[str] = set()
        fired: set[str] = set()
        for event in events:
            tags = tags_of(self._tagger, event)
            self._asked[event.source_kind] += event.source_kind != "session" or _tells(event.payload)
            self._timed |= event.payload.get("ts") is not None
            if tags:
                tagged.update((event.source_id, *(event.payload.get("lines") or ())))
                self._tags(tags, event, source, times, fired)
        for rule_id in fired:
            self._fired[rule_id].sessions += times
        self._count(one.record, events, tagged, _Seen(1 << self._numbers[source], bool(fired), times))

    def _known_source(self, source: str) -> str:
        """The name by which a source is counted; its number is its bit."""
        if source not in self._numbers and len(self._numbers) >= MAX_SOURCES:
            source = OTHER_SOURCES
        self._numbers.setdefault(source, len(self._numbers))
        return source

    def _tags(self, tags: Tags, event: TaggerEvent, source: str, times: int, fired: set[str]) -> None:
        by_technique: dict[str, set[str]] = defaultdict(set)
        for tag in tags:
            by_technique[tag["sub_technique_id"] or tag["technique_id"]].add(tag["rule_id"])
        here = set().union(*by_technique.values())
        alone = set().union(*(rules for rules in by_technique.values() if len(rules) == 1))
        for rule_id in here:
            entry = self._fired[rule_id]
            entry.seen += times
            entry.sources[source] += times
            entry.alone += times if rule_id in alone else 0
        fired |= here
        self._overlap(by_technique, event, times)

    def _overlap(self, by_technique: Mapping[str, set[str]], event: TaggerEvent, times: int) -> None:
        """Counts the pairs of rules that give one event the same technique."""
        both: dict[tuple[str, str], list[str]] = defaultdict(list)
        for technique, rules in by_technique.items():
            for pair in combinations(sorted(rules), 2):
                both[pair].append(technique)
        for pair, techniques in both.items():
            overlap = self._overlaps[pair]
            overlap.seen += times
            overlap.techniques.update(techniques)
            overlap.example = overlap.example or str(event.payload.get("command_text") or event.source_id)

    def _count(
        self, record: SessionEnded, events: Iterable[TaggerEvent], tagged: set[str], seen: _Seen
    ) -> None:
        self._totals["sessions_read"] += 1
        self._totals["sessions"] += seen.times
        self._totals["sessions_tagged"] += seen.times if seen.tagged else 0
        told = {e.source_id: _told(e.payload) for e in events if e.source_kind == "command"}
        for place, (ident, command) in enumerate(record.command_ids(), start=1):
            self._totals["lines"] += seen.times
            self._typed.note(command.command_text[:MAX_READ_CHARS], seen.times)
            if ident in tagged:
                self._totals["lines_tagged"] += seen.times
                continue
            where = _Untagged(command.command_text[:MAX_EXAMPLE_CHARS], record.session_id, place)
            self._untagged(command.command_text, where, told.get(ident, set()), seen)

    def _untagged(self, text: str, where: _Untagged, knows: set[str], seen: _Seen) -> None:
        line = self._kept(self._lines, _key(text), where)
        new = line is not None and not line.seen
        for entry in (line, self._kept(self._kinds, kind_of(text), _copy(where))):
            if entry is None:
                self._totals["beyond_bound"] += seen.times
                continue
            entry.seen += seen.times
            entry.sources |= seen.source
            entry.different += new
            entry.knows.update(knows)
            if entry.last != self._totals["sessions_read"]:
                entry.last = self._totals["sessions_read"]
                entry.sessions += seen.times
                entry.silent += 0 if seen.tagged else seen.times

    def _kept(self, table: dict[str, _Untagged], key: str, where: _Untagged) -> _Untagged | None:
        """The entry of a key; None for a new one that finds no room."""
        if (known := table.get(key)) is None and len(table) < MAX_KINDS:
            known = table[key] = where
        return known

    # --- the report

    def report(self) -> dict[str, Any]:
        """All that was found; each list has what matters most first."""
        return {
            "totals": self._total_row(),
            "sources": dict(self._sources.most_common()),
            "untagged_kinds": [{"kind": kind, **entry.row()} for kind, entry in _most(self._kinds)],
            "untagged_lines": [entry.row() for _, entry in _most(self._lines)],
            **self._never(),
            "one_source": self._one_source(),
            "overlaps": self._overlap_rows(),
            "cost": self._cost(),
            "unreadable": self._unreadable,
        }

    def _total_row(self) -> dict[str, int]:
        t = self._totals
        return {
            "sessions_read": t["sessions_read"], "sessions": t["sessions"], "sessions_tagged": t["sessions_tagged"],
            "sessions_untagged": t["sessions"] - t["sessions_tagged"],
            "lines": t["lines"], "lines_tagged": t["lines_tagged"], "lines_untagged": t["lines"] - t["lines_tagged"],
            "untagged_kinds": len(self._kinds), "untagged_different": len(self._lines),
            "beyond_bound": t["beyond_bound"], "unreadable": t["unreadable"], "rules": len(self._index.rules),
            "rules_fired": len(self._fired), "rule_failures": self._tagger.failures.total,
            "views_capped": self._tagger.views_capped, "script_capped": BITES[SCRIPT_CAPPED] - self._bites,
        }  # fmt: skip

    def _never(self) -> dict[str, list[dict[str, Any]]]:
        """Rules that could have fired and did not, and those that nothing here could make fire."""
        never, unasked = [], []
        for rule in self._index.rules:
            if rule.rule_id in self._fired:
                continue
            reason = self._unasked(rule)
            if reason:
                unasked.append({"rule_id": rule.rule_id, "name": rule.name, "reason": reason})
            else:
                never.append(self._silent(rule))
        never.sort(key=lambda row: (-row["held"], -row["looked_at"], -row["typed"], row["rule_id"]))
        return {"never_fired": never, "not_asked": unasked}

    def _unasked(self, rule: CompiledRule) -> str:
        if not any(self._asked[kind] for kind in rule.applies_to):
            return f"no {' or '.join(sorted(rule.applies_to))} here"
        return "rules over time need times" if rule.correlation is not None and not self._timed else ""

    def _silent(self, rule: CompiledRule) -> dict[str, Any]:
        """``looked_at``: texts that a pattern of it was right for; ``held``: those for which all of it was, without a tag.

        ``typed``: lines that name the ``program`` of its own examples that was typed most, ``example`` the first of them.
        """
        clock = self._index.clocks.get(rule.rule_id)
        looked, held = (clock.calls, clock.held) if clock else (0, 0)
        told = {"rule_id": rule.rule_id, "name": rule.name, "looked_at": looked, "held": held}
        return told | self._typed.most(rule.rule_id)

    def _one_source(self) -> list[dict[str, Any]] | None:
        """Rules that fired on one source only; None when there is only one."""
        if len(self._sources) < 2:
            return None
        rows = [
            {
                "rule_id": rule_id,
                "name": self._index.by_id[rule_id].name,
                "source": next(iter(fired.sources)),
                "seen": fired.seen,
                "sessions": fired.sessions,
            }
            for rule_id, fired in self._fired.items()
            if len(fired.sources) == 1
        ]
        return sorted(rows, key=lambda row: (-row["seen"], row["rule_id"]))

    def _overlap_rows(self) -> list[dict[str, Any]]:
        """Pairs of rules that give one line the same technique; pairs with one that adds nothing of its own first."""
        rows = [
            {
                "rules": list(pair),
                "techniques": [name for name, _ in overlap.techniques.most_common()],
                "seen": overlap.seen,
                "shares": [overlap.seen / self._fired[rule_id].seen for rule_id in pair],
                "alone": [self._fired[rule_id].alone for rule_id in pair],
                "example": overlap.example[:MAX_EXAMPLE_CHARS],
            }
            for pair, overlap in self._overlaps.items()
        ]
        return sorted(
            rows, key=lambda row: (min(row["alone"]) > 0, -max(row["shares"]), -row["seen"], row["rules"])
        )

    def _cost(self) -> dict[str, Any]:
        """Microseconds for each line that was judged (not remembered), and of which rules; the dearest first."""
        judged = max(self._index.judged, 1)
        rules: list[dict[str, Any]] = [
            {
                "rule_id": rule_id,
                "name": self._index.by_id[rule_id].name,
                "us_a_line": clock.ns / judged / 1000,
                "us_a_look": clock.ns / clock.calls / 1000,
                "looked_at": clock.calls,
                "held": clock.held,
            }
            for rule_id, clock in self._index.clocks.items()
            if clock.calls
        ]
        mine = sum(row["us_a_line"] for row in rules)
        return {
            "judged": self._index.judged,
            "us_a_line": self._index.ns / judged / 1000,
            "us_rules": mine,
            "us_reading": self._reading_ns / max(self._read_lines(), 1) / 1000,
            "rules": sorted(rules, key=lambda row: (-row["us_a_line"], row["rule_id"])),
        }

    def _read_lines(self) -> int:
        return self._asked["command"]


def _rank(name: str) -> tuple[bool, str]:
    """What is said of a command comes before what is said of its session."""
    return name.startswith("session."), name


def _tells(payload: Mapping[str, Any]) -> bool:
    """Whether a session says more of itself than its commands."""
    return any(bool(value) for name, value in payload.items() if name not in _BARE)


def _key(text: str) -> str:
    """A line as a key that takes no more room than an example."""
    return (
        text if len(text) <= MAX_EXAMPLE_CHARS else hashlib.sha256(storable_text(text).encode()).hexdigest()
    )


def _copy(where: _Untagged) -> _Untagged:
    return _Untagged(where.example, where.session, where.line)


def _most(table: Mapping[str, _Untagged]) -> list[tuple[str, _Untagged]]:
    return sorted(table.items(), key=lambda item: (-item[1].seen, item[0]))


def _told(payload: Mapping[str, Any]) -> set[str]:
    """The fields that a session tells about one of its commands."""
    facts = (payload.get(CONTEXT) or {}).values()
    return {name for one in facts for name in one.values} | ({LOGIN} & payload.keys())
