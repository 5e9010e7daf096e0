"""Which rules hold for an event: one pre-filter pass over all patterns of a kind, then the few left in full.

Pure and immutable: an index is built once from a list of rules and is then only read, so a batch of
events judged with one index is judged by one set of rules.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from typing import Any, NamedTuple, TypeVar
from weakref import WeakValueDictionary
from zlib import crc32

import re2

from decnet.hostile import storable_text
from decnet.patterns import options
from decnet.shell.told import Facts
from decnet.shell.views import View, Views, views
from decnet.ttp.conditions import CAPPED_MARK, Fields, Found, context_mark, dig
from decnet.ttp.kinds import CAPPED_FIELD, COMMAND_FIELDS, CONTEXT, CONTEXT_FIELDS, LOGIN, PIPED_FIELD
from decnet.ttp.rules import CompiledRule
from decnet.ttp.windows import Correlation, Mark, value_of

T = TypeVar("T")
_MAX_DEPTH = 8
_REMEMBERED_CHARS = 1000
LINES_KEPT = 4096
"""Command lines of which is known how they read and which rules may hold."""


class Hit(NamedTuple):
    """A rule that holds: the evidence and the view it was found in (empty but for commands).

    ``marks`` are the views that count for a window or sequence rule, which does not fire by itself.
    """

    rule: CompiledRule
    found: Found
    view: str
    marks: tuple[Mark, ...] = ()
    text: str = ""
    """The text of that view."""
    commands: tuple[int, ...] = (0,)
    """The numbers of the commands for which it holds, told where a rule of the line replaces tags; 0 is the whole."""


@dataclass(slots=True)
class Failures:
    """Failures of single rules: how many in a row, and which were tripped."""

    limit: int = 5
    counts: dict[str, int] = field(default_factory=dict)
    total: int = 0

    def tripped(self, rule: CompiledRule) -> bool:
        """Whether this version of the rule failed too often in a row."""
        return bool(self.counts) and self.counts.get(rule.content_hash + rule.rule_id, 0) >= self.limit

    def failing(self, rule: CompiledRule) -> bool:
        """Whether this version of the rule failed the last time it was asked."""
        return bool(self.counts) and rule.content_hash + rule.rule_id in self.counts

    def out_of_action(self) -> int:
        """Rules that are tripped now."""
        return sum(count >= self.limit for count in list(self.counts.values()))

    def failed(self, rule: CompiledRule) -> None:
        """Counts one failure."""
        key = rule.content_hash + rule.rule_id
        self.counts[key] = self.counts.get(key, 0) + 1
        self.total += 1

    def passed(self, rule: CompiledRule) -> None:
        """Ends a run of failures."""
        self.counts.pop(rule.content_hash + rule.rule_id, None)


class KindIndex:
    """The rules of one source kind behind one pass over all their patterns.

    Patterns with a literal go into few instances of ``re2.Filter``. The few without would each be searched on their
    own; small sets of them cost a fifth of that (tests/bench). One set of all patterns does not do:
    its automaton grows without end on varied text, to 200 us a line and seconds on 100 kB.
    """

    def __init__(self, kind: str, rules: Iterable[CompiledRule], most: int = sys.maxsize) -> None:
        """``most`` patterns are compiled in one call."""
        self.rules = tuple(r for r in rules if r.condition is not None)
        self._always: list[int] = []
        self._filters: list[tuple[_Filter, list[int]]] = []
        """Filters, each with the rules of its patterns."""
        self._sets: list[_SmallSet] = []
        patterns: list[tuple[str, int]] = []
        for number, rule in enumerate(self.rules):
            found = rule.condition.prefilters(kind) if rule.condition else None
            if found is None:
                self._always.append(number)
            else:
                patterns += [(pattern, number) for pattern in found]
        if patterns:
            self._build(patterns, most)

    def _build(self, patterns: Sequence[tuple[str, int]], most: int) -> None:
        bare = _without_literal([pattern for pattern, _ in patterns])
        loose = [patterns[i] for i in sorted(bare)]
        for i in range(0, len(loose), _SET_SIZE):
            self._sets.append(_SmallSet(loose[i : i + _SET_SIZE]))
        for piece in _by_themselves([one for i, one in enumerate(patterns) if i not in bare], most):
            owner = [number for _, number in piece]
            self._filters.append((_filter_for(tuple(pattern for pattern, _ in piece)), owner))

    def candidates(self, text: str) -> Sequence[CompiledRule]:
        """The rules that may hold for an event with this text, in rule order."""
        return self.rules_of(self.numbers(text))

    def rules_of(self, numbers: Set[int]) -> Sequence[CompiledRule]:
        """The rules of these numbers, in rule order."""
        return [self.rules[n] for n in sorted(numbers)] if numbers else ()

    def numbers(self, text: str) -> Set[int]:
        """Which rules may hold for this text; texts of one event may be asked for one by one."""
        numbers = {owner[i] for found, owner in self._filters for i in found.match(text) or ()}
        for small in self._sets:
            numbers.update(small.owners_in(text))
        numbers.update(self._always)
        return numbers


_SET_SIZE = 16
FILTER_SIZE = 400
"""Patterns that an engine compiles in one call at most: it keeps every other thread from running, the event loop's too,
for some 12 ms. All patterns in one take 40 ms; each filter more costs a line that is not remembered 4 us.
"""


def _pieces(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """As few of about the same size as there may be."""
    count = -(-len(items) // most)
    return (items[i::count] for i in range(count))


def _by_themselves(patterns: Sequence[tuple[str, int]], most: int) -> Iterator[Sequence[tuple[str, int]]]:
    """Pieces into which each pattern comes by what it says: of a set that is changed a little most stay as they are."""
    marks = [crc32(pattern.encode("utf-8", "surrogatepass")) for pattern, _ in patterns]
    count = -(-len(patterns) // most)
    while count < len(patterns) and max(Counter(mark % count for mark in marks).values()) > most:
        count += 1
    pieces: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for number, (mark, one) in enumerate(zip(marks, patterns, strict=True)):
        pieces[mark % count if count < len(patterns) else number // most].append(one)
    return iter([pieces[number] for number in sorted(pieces)])


class _Filter:
    """A compiled ``re2.Filter``, for as long as some index asks it."""

    __slots__ = ("__weakref__", "match")

    def __init__(self, patterns: Iterable[str]) -> None:
        self.match: Callable[[str], Sequence[int] | None] = _filter_of(patterns).Match


_FILTERS: WeakValueDictionary[tuple[str, ...], _Filter] = WeakValueDictionary()
"""Those in use by their patterns: when a rule is saved, the next index takes over what it shares with the last."""


def _filter_for(patterns: tuple[str, ...]) -> _Filter:
    found = _FILTERS.get(patterns)
    if found is None:
        found = _FILTERS[patterns] = _Filter(patterns)
    return found


def _filter_of(patterns: Iterable[str]) -> Any:
    found = re2.Filter()
    for pattern in patterns:
        found.Add(pattern, options())
    found.Compile()
    return found


class _SmallSet:
    """Some patterns in one ``re2.Set``, and one that always matches: without it the set has failed."""

    def __init__(self, patterns: Sequence[tuple[str, int]]) -> None:
        self.owners = [number for _, number in patterns]
        self._everyone = frozenset(self.owners)
        self._set: Any = re2.Set.SearchSet(options())
        try:
            for pattern, _ in patterns:
                self._set.Add(pattern)
            self._sentinel = self._set.Add("")
            self._set.Compile()
        except re2.error:  # too large together: every one of them is looked at
            self._set = None

    def owners_in(self, text: str) -> Iterable[int]:
        """Who may match; all of them when the set cannot tell."""
        matched = self._set.Match(text) if self._set is not None else ()
        if len(matched) == 1:
            return ()
        if not matched or self._sentinel not in matched:
            return self._everyone
        return [self.owners[i] for i in matched if i != self._sentinel]


_HAS_LITERAL: dict[str, bool] = {}
"""What filters have told of patterns: the next set of rules has nearly the same."""
_MAX_TOLD = 20_000


def known_literals() -> dict[str, bool]:
    """Of each pattern that a filter was asked about, whether it has a literal."""
    return dict(_HAS_LITERAL)


def know_literals(told: Mapping[str, bool]) -> None:
    """What :func:`known_literals` said in another process; a wrong word costs time and changes no answer."""
    if len(told) <= _MAX_TOLD:
        _HAS_LITERAL.update(told)


def _without_literal(patterns: Sequence[str]) -> set[int]:
    """The patterns that a filter must try on every text."""
    told = {pattern: _HAS_LITERAL.get(pattern) for pattern in patterns}
    if unknown := [pattern for pattern, has in told.items() if has is None]:
        fresh: dict[str, bool] = {}
        for piece in _pieces(unknown, FILTER_SIZE):
            bare = set(_filter_of(piece).Match("", True) or ())
            fresh |= {pattern: number not in bare for number, pattern in enumerate(piece)}
        told |= fresh
        if len(_HAS_LITERAL) > _MAX_TOLD:
            _HAS_LITERAL.clear()
        _HAS_LITERAL.update(fresh)
    return {number for number, pattern in enumerate(patterns) if not told[pattern]}


class _Kinds(dict[str, KindIndex]):
    """The index of each kind of event that some rule looks at, made when it is asked for."""

    def __init__(self, rules: Sequence[CompiledRule], most: int) -> None:
        super().__init__()
        self._most = most
        self._rules = {
            kind: [rule for rule in rules if kind in rule.applies_to]
            for kind in sorted({kind for rule in rules for kind in rule.applies_to})
        }

    def __missing__(self, kind: str) -> KindIndex:
        made = self[kind] = KindIndex(kind, self._rules[kind], self._most)
        return made

    def get(self, kind: str, default: Any = None) -> Any:
        """The index of a kind; None when no rule looks at it."""
        return self[kind] if kind in self._rules else default

    def make_all(self) -> None:
        """Makes them now."""
        for kind in self._rules:
            self[kind]


def _looked_at(kinds: _Kinds, line: str) -> tuple[Views, Set[int]]:
    """The views of a line, and which rules may hold by its text alone."""
    text = storable_text(line)
    seen = views(text)
    joined = text if len(seen.views) == 1 else "\n".join([view.text for view in seen.views])
    if seen.capped:
        joined += "\n" + CAPPED_MARK
    return seen, kinds["command"].numbers(joined)


class RuleIndex:
    """All rules by source kind; entries are replaced by building a new index, never edited."""

    def __init__(
        self, rules: Iterable[CompiledRule] = (), *, most: int = sys.maxsize, at_once: bool = True
    ) -> None:
        """``most`` patterns are compiled in one call; whoever runs an event loop has FILTER_SIZE of them.

        Not ``at_once``: what judges a kind of event is made when the first one comes.
        """
        self.rules: tuple[CompiledRule, ...] = tuple(sorted(rules, key=lambda r: r.rule_id))
        self.by_id: Mapping[str, CompiledRule] = {r.rule_id: r for r in self.rules}
        self._kinds = _Kinds(self.rules, most)
        if at_once:
            self._kinds.make_all()
        self._told = {r.rule_id for r in self.rules if "command" in r.applies_to and reads_context(r)}
        self._replacing = any(rule.replaces for rule in self.rules)
        self._remembered = lru_cache(maxsize=LINES_KEPT)(partial(_looked_at, self._kinds))
        """Lines repeat a lot, in sessions of all attackers. It does not know the index: who knows itself is freed late."""

    def __len__(self) -> int:
        return len(self.rules)

    def command_hits(
        self,
        line: str,
        payload: Mapping[str, Any],
        failures: Failures,
        *,
        alone: bool = False,
        told: bool | None = None,
    ) -> tuple[list[Hit], bool]:
        """The hits of one command line, at most one a rule, and whether a bound cut some views off.

        ``alone`` leaves out windows and sequences, which say nothing of one line by itself. ``told`` asks only the rules
        that read what the session tells (True), or only the others (False).
        """
        index = self._kinds.get("command")
        if index is None:
            return [], False
        remembers = not alone and len(line) <= _REMEMBERED_CHARS
        seen, numbers = self._remembered(line) if remembers else _looked_at(self._kinds, line)
        context: Mapping[str, Facts] = payload.get(CONTEXT) or _NO_CONTEXT
        if told is not False and (context or LOGIN in payload):
            numbers = numbers | index.numbers(_context_text(context, payload.get(LOGIN) or ()))
        rules = index.rules_of(numbers)
        if alone:
            rules = [rule for rule in rules if rule.correlation is None]
        if told is not None:
            rules = [rule for rule in rules if (rule.rule_id in self._told) is told]
        if not rules:
            return [], seen.capped
        fields = _looks(seen, payload)
        hits = list(_first_hits(rules, "command", fields, failures))
        if self._replacing if told is not None else any(hit.rule.replaces for hit in hits):
            hits = [hit._replace(commands=_commands(hit, fields, failures)) for hit in hits]
        return hits, seen.capped

    def looks(self, line: str, payload: Mapping[str, Any]) -> list[tuple[View, Fields]]:
        """The views of a command line with what conditions read of each."""
        return _looks(views(storable_text(line)), payload)

    @cached_property
    def _lifters(self) -> dict[tuple[str, str], list[CompiledRule]]:
        return _by_lifter(self.rules)

    @cached_property
    def _adjusting(self) -> dict[str, list[CompiledRule]]:
        return _adjusting(self.rules)

    def lifter_rules(self, kind: str, lifter: str) -> Sequence[CompiledRule]:
        """The rules of one lifter (``behavioral``, ``intel``, …) for one source kind, in rule order."""
        return self._lifters.get((kind, lifter), ())

    def lifted_rules(self, kind: str) -> list[CompiledRule]:
        """The rules of all lifters for one source kind, in rule order."""
        found = [rule for (source, _), rules in self._lifters.items() if source == kind for rule in rules]
        return sorted(found, key=lambda rule: rule.rule_id)

    def adjusting_rules(self, kind: str) -> Sequence[CompiledRule]:
        """The lifter rules that change the tags of other rules, for one source kind."""
        return self._adjusting.get(kind, ())

    def hits(
        self, kind: str, payload: Mapping[str, Any], failures: Failures, told: bool | None = None
    ) -> tuple[list[Hit], bool]:
        """The hits of one event of any kind; the flag and ``told`` are as for commands."""
        if kind == "command":
            return self.command_hits(str(payload.get("command_text") or ""), payload, failures, told=told)
        index = self._kinds.get(kind)
        if index is None:
            return [], False
        rules = index.candidates(_flat_text(payload))
        return list(_first_hits(rules, kind, [(_NO_VIEW, _payload_fields(payload))], failures)), False


def reads_context(rule: CompiledRule) -> bool:
    """Whether what a rule says of a command rests on more than the command: on what its session tells."""
    return not CONTEXT_FIELDS.isdisjoint(rule.reads())


def _by_lifter(rules: Iterable[CompiledRule]) -> dict[tuple[str, str], list[CompiledRule]]:
    from decnet.ttp.lifter_registry import known_kinds  # here: commands have no lifters

    out: dict[tuple[str, str], list[CompiledRule]] = {}
    for rule in rules:
        kind = known_kinds().get(rule.lifter) if rule.lifter else None
        for source in rule.applies_to if kind else ():
            out.setdefault((source, kind.lifter if kind else ""), []).append(rule)
    return out


def _adjusting(rules: Iterable[CompiledRule]) -> dict[str, list[CompiledRule]]:
    from decnet.ttp.lifter_registry import known_kinds  # here: commands have no lifters

    out: dict[str, list[CompiledRule]] = {}
    for rule in rules:
        kind = known_kinds().get(rule.lifter) if rule.lifter else None
        for source in rule.applies_to if kind and kind.adjust else ():
            out.setdefault(source, []).append(rule)
    return out


_NO_VIEW = View("line", "")
_NO_CONTEXT: Mapping[str, Facts] = {}


def _context_text(context: Mapping[str, Facts], logins: Iterable[str]) -> str:
    """The facts of a line's commands, and how it comes to be run, as pre-filters look at them."""
    return "".join(context_mark(LOGIN, login) for login in logins) + "".join(
        context_mark(name, item)
        for facts in context.values()
        for name, value in facts.values.items()
        for item in (value if isinstance(value, list) else (value,))
    )


Looks = Sequence[tuple[View, Fields]]


def _first_hits(rules: Sequence[CompiledRule], kind: str, fields: Looks, failures: Failures) -> Iterator[Hit]:
    for rule in rules:
        if failures.tripped(rule):
            continue
        try:
            seen = _whole_lines(fields) if rule.scope == "line" else fields
            hit = _first_hit(rule, seen) if rule.correlation is None else _marked_hit(rule, kind, seen)
        except Exception:  # noqa: BLE001 - the named boundary: one rule's failure costs that rule only
            log_failure(rule)
            failures.failed(rule)
            continue
        failures.passed(rule)
        if hit is not None:
            yield hit


def _whole_lines(fields: Looks) -> Looks:
    """The line as typed, and without what only splits its words."""
    return fields[:2] if len(fields) > 1 and fields[1][0].kind == "line" else fields[:1]


def log_failure(rule: CompiledRule) -> None:
    """One WARNING with the traceback."""
    from decnet.logs import get_logger

    get_logger(__name__).warning("rule failed", rule_id=rule.rule_id, exc_info=True)


def _first_hit(rule: CompiledRule, fields: Sequence[tuple[View, Fields]]) -> Hit | None:
    condition = rule.condition
    if condition is None:
        return None
    for view, lookup in fields:
        found = condition.find(lookup)
        if found is not None:
            return Hit(rule, found, view.kind if view is not _NO_VIEW else "", (), view.text)
    return None


def _commands(hit: Hit, fields: Looks, failures: Failures) -> tuple[int, ...]:
    """The numbers of the commands for which a rule holds; 0, the line as a whole, where none of them alone does."""
    condition = hit.rule.condition
    if condition is None or hit.marks or hit.rule.scope == "line":
        return (0,)
    try:
        alone = {view.number for view, lookup in fields if view.number and condition.find(lookup) is not None}
    except Exception:  # noqa: BLE001 - the named boundary: one rule's failure costs that rule only
        log_failure(hit.rule)
        failures.failed(hit.rule)
        alone = set()
    return tuple(alone) or (0,)


def _marked_hit(rule: CompiledRule, kind: str, fields: Looks) -> Hit | None:
    """The views that count. Without ``distinct`` a window counts events; else each command counts for itself."""
    spec = rule.correlation
    if spec is None:
        return None
    if not spec.steps and spec.distinct is None:
        hit = _first_hit(rule, fields)
        return hit and hit._replace(marks=(Mark(0, 0, ""),))
    first: Hit | None = None
    marks: dict[int, Mark] = {}
    # A line of several commands says nothing about their order; views of one command count as one.
    for view, lookup in [look for look in fields if look[0].number] or fields:
        found, mark = _mark(rule, spec, kind, lookup, view.number)
        if found is not None and mark is not None:
            before = marks.get(mark.pos, mark)
            marks[mark.pos] = before._replace(steps=before.steps | mark.steps)
            first = first or Hit(rule, found, view.kind if view is not _NO_VIEW else "")
    return first and first._replace(marks=tuple(marks.values()))


def _mark(
    rule: CompiledRule, spec: Correlation, kind: str, lookup: Fields, pos: int
) -> tuple[Found | None, Mark | None]:
    if not spec.steps:
        value = value_of(lookup(spec.distinct or ""))
        found = rule.condition.find(lookup) if rule.condition and value is not None else None
        return found, Mark(pos, 0, value or "")
    first, bits = None, 0
    for i, step in enumerate(spec.steps):
        found = step.condition.find(lookup) if step.source_kind in (None, kind) else None
        if found is not None:
            bits |= 1 << i
            first = first or found
    return first, Mark(pos, bits, "")


def _looks(seen: Views, payload: Mapping[str, Any]) -> list[tuple[View, Fields]]:
    """Each view with what conditions read of it; what the session tells of a command holds for all views of it."""
    context: Mapping[str, Facts] = payload.get(CONTEXT) or _NO_CONTEXT
    of_command: dict[int, Facts] = {}
    if context:
        for view in seen.views:
            if view.number and (facts := context.get(view.text)) is not None:
                of_command.setdefault(view.number, facts)
    return [
        (
            view,
            _command_fields(
                view, payload, seen.capped, context.get(view.text) or of_command.get(view.number)
            ),
        )
        for view in seen.views
    ]


def _command_fields(view: View, payload: Mapping[str, Any], capped: bool, facts: Facts | None) -> Fields:
    def lookup(name: str) -> Any:
        if name == "command_text":
            return view.text
        if name == LOGIN:
            return payload.get(name)
        if name in CONTEXT_FIELDS:
            return facts.values.get(name) if facts is not None else None
        if name not in COMMAND_FIELDS:
            return clean(dig(payload, name))
        if name == CAPPED_FIELD:
            return True if capped else None
        if name == PIPED_FIELD:
            return True if view.piped else None
        return (view.argv0 or None) if name == "argv0" else list(view.argv)

    return lookup


def _payload_fields(payload: Mapping[str, Any]) -> Fields:
    return lambda name: clean(dig(payload, name))


def clean(value: Any) -> Any:
    """A field value whose texts are valid UTF-8."""
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, (list, tuple)):
        return [storable_text(v) if isinstance(v, str) else v for v in value]
    return value


def _flat_text(payload: Mapping[str, Any]) -> str:
    """Every scalar of the payload on a line of its own: what pre-filters look at."""
    out: list[str] = []
    _flatten(payload, out, 0)
    return storable_text("\n".join(out))


def _flatten(value: Any, out: list[str], depth: int) -> None:
    if isinstance(value, Mapping):
        for item in value.values():
            _flatten(item, out, depth + 1) if depth < _MAX_DEPTH else out.append(str(item))
    elif isinstance(value, (list, tuple)):
        for item in value:
            _flatten(item, out, depth + 1) if depth < _MAX_DEPTH else out.append(str(item))
    elif value is not None:
        out.append(str(value))
