"""Compiled conditions: each answers for one view of an event with the evidence, or None.

Regular expressions are RE2 only, so that no text can hold the worker. Each condition also names
pre-filter patterns: texts that match none of them cannot fulfil it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple, Protocol

import re2

from decnet.patterns import Finder, PatternError, options
from decnet.ttp.kinds import CAPPED_FIELD, COMMAND_FIELDS, CONTEXT_FIELDS
from decnet.ttp.literals import ATOM, surely_holds

CAPPED_MARK = "\0views_capped"
"""Ends the text of a line whose views were cut off; no text of an attacker holds a NUL."""
_CONTEXT_MARK = "\0"
"""Begins what pre-filters know of the facts of a session."""
MATCHED_CHARS = 300
_UNSOUND = re.compile(r"\\[AzZC]|\(\?[a-z]*-[a-z]*m")
_PIECES = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|[\^$]", re.DOTALL)
_ANCHORS = frozenset({"^", "$", r"\b", r"\B"})
WORD_FIELDS = frozenset({"argv", "argv0"})
"""Fields that are words of a view: pre-filters see the whole view, in which they are not alone on a line."""
Fields = Callable[[str], Any]


class Found(NamedTuple):
    """Why a condition holds: field, matched text and its span; the field is empty for a negation."""

    field: str
    text: str
    start: int
    end: int


NOTHING_FOUND = Found("", "", 0, 0)


class Condition(Protocol):
    """A compiled condition."""

    def find(self, fields: Fields) -> Found | None:
        """The first evidence in one view, or None."""
        ...

    def prefilters(self, kind: str) -> list[str] | None:
        """RE2 patterns of which one matches whenever the condition holds; None when nothing is sure.

        They look at the views of a command, and at the whole payload of an event of another ``kind``.
        """
        ...

    def reads(self) -> frozenset[str]:
        """The fields that it may ask for."""
        ...


def _without_anchors(pattern: str) -> str | None:
    """A pattern that matches wherever ``pattern`` does, whatever stands around; None when that is not sure."""
    bare = _PIECES.sub(lambda piece: "" if piece[0] in _ANCHORS else piece[0], pattern)
    if "\\Q" in pattern:
        return None
    try:
        re2.compile(bare, options=options())
    except re2.error:
        return None
    return bare


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression over one field."""

    field: str
    pattern: str
    regex: Finder

    def find(self, fields: Fields) -> Found | None:
        """The leftmost match in the first element that has one."""
        for text in _texts(fields(self.field)):
            span = self.regex.span(text)
            if span is not None:
                start, end = span
                return Found(self.field, text[start : min(end, start + MATCHED_CHARS)], start, end)
        return None

    def prefilters(self, kind: str) -> list[str] | None:
        """The pattern itself, with ``^`` and ``$`` at every line; a word begins and ends anywhere in one."""
        if self.field in CONTEXT_FIELDS:  # its value does not stand in the text as it is
            return [re2.escape(f"{_CONTEXT_MARK}{self.field}=")]
        if _stands_beside(kind, self.field) or _UNSOUND.search(self.pattern):
            return None
        pattern = self.pattern if self.field not in WORD_FIELDS else _without_anchors(self.pattern)
        return None if pattern is None else [f"(?m:{pattern})"]

    def reads(self) -> frozenset[str]:
        """Its field."""
        return frozenset({self.field})


@dataclass(frozen=True, slots=True)
class Compare:
    """An op other than pattern over one field."""

    field: str
    op: str
    value: Any
    test: Callable[[Any], bool]

    def find(self, fields: Fields) -> Found | None:
        """The first element that passes."""
        raw = fields(self.field)
        if self.op == "exists":
            wanted = self.value is not False
            return Found(self.field, "", 0, 0) if (raw is not None) is wanted else None
        for item in raw if isinstance(raw, (list, tuple)) else (raw,):
            if item is not None and self.test(item):
                text = str(item)
                return Found(self.field, text[:MATCHED_CHARS], 0, len(text))
        return None

    def prefilters(self, kind: str) -> list[str] | None:
        """The literal texts that must occur."""
        if self.field == CAPPED_FIELD and self.op in ("equals", "exists") and self.value is not False:
            return [re2.escape(CAPPED_MARK)]
        if self.field in CONTEXT_FIELDS:
            return self._context_marks()
        if _stands_beside(kind, self.field) or self.op not in (
            "equals",
            "in",
            "contains",
            "startswith",
            "endswith",
        ):
            return None
        values = self.value if isinstance(self.value, list) else [self.value]
        if not all(isinstance(v, str) and re.fullmatch(r"[\w./:=-]+", v, re.ASCII) for v in values):
            return None
        return [re2.escape(v) for v in values]

    def reads(self) -> frozenset[str]:
        """Its field."""
        return frozenset({self.field})

    def _context_marks(self) -> list[str] | None:
        """What stands for the field in the text of a line with facts of its session."""
        if self.op == "exists":
            return None if self.value is False else [re2.escape(f"{_CONTEXT_MARK}{self.field}=")]
        values = self.value if isinstance(self.value, list) else [self.value]
        if self.op in ("equals", "in") and all(isinstance(v, (str, bool)) for v in values):
            return [re2.escape(context_mark(self.field, v)) for v in values]
        return [re2.escape(f"{_CONTEXT_MARK}{self.field}=")]


def _stands_beside(kind: str, field: str) -> bool:
    """Whether a field is not among what pre-filters look at: of a command, who ran it and where."""
    return kind == "command" and field not in COMMAND_FIELDS


def _is_context(patterns: Sequence[str]) -> bool:
    return all(pattern.startswith(re2.escape(_CONTEXT_MARK)) for pattern in patterns)


def context_mark(field: str, value: Any) -> str:
    """What stands for one value of a fact in the text that pre-filters look at."""
    return f"{_CONTEXT_MARK}{field}={value}{_CONTEXT_MARK}"


def _how_often(patterns: list[str]) -> tuple[bool, int, int, int]:
    """Sorts the patterns of a part before those of one that holds for more lines."""
    text = min((min(surely_holds(pattern), ATOM) for pattern in patterns), default=0)
    return not _is_context(patterns), -text, len(patterns), -min(map(len, patterns))


@dataclass(frozen=True, slots=True)
class Every:
    """All conditions, in one view."""

    parts: tuple[Condition, ...]

    def find(self, fields: Fields) -> Found | None:
        """The evidence of the first part that has any."""
        first = NOTHING_FOUND
        for part in self.parts:
            found = part.find(fields)
            if found is None:
                return None
            if not first.field:
                first = found
        return first

    def prefilters(self, kind: str) -> list[str] | None:
        """Those of the part that holds least often: a fact of the session, else those that all hold a text which is long
        enough for a filter, else the fewest and longest ones."""
        known = [p for p in (part.prefilters(kind) for part in self.parts) if p is not None]
        return min(known, key=_how_often) if known else None

    def reads(self) -> frozenset[str]:
        """Those of all parts."""
        return frozenset().union(*(part.reads() for part in self.parts))


@dataclass(frozen=True, slots=True)
class Either:
    """One of several conditions."""

    parts: tuple[Condition, ...]

    def find(self, fields: Fields) -> Found | None:
        """The evidence of the first part that holds."""
        for part in self.parts:
            found = part.find(fields)
            if found is not None:
                return found
        return None

    def prefilters(self, kind: str) -> list[str] | None:
        """Those of every part, or None when one part has none."""
        out: list[str] = []
        for part in self.parts:
            own = part.prefilters(kind)
            if own is None:
                return None
            out += own
        return out

    def reads(self) -> frozenset[str]:
        """Those of all parts."""
        return frozenset().union(*(part.reads() for part in self.parts))


@dataclass(frozen=True, slots=True)
class Negation:
    """A condition that must not hold; true over an absent field."""

    part: Condition

    def find(self, fields: Fields) -> Found | None:
        """An empty finding, since there is nothing to show."""
        return NOTHING_FOUND if self.part.find(fields) is None else None

    def prefilters(self, kind: str) -> list[str] | None:
        """Nothing is sure."""
        return None

    def reads(self) -> frozenset[str]:
        """Those of its part."""
        return self.part.reads()


def compare(field: str, op: str, value: Any) -> Compare:
    """The compiled op. Raises PatternError for a bad address range."""
    return Compare(field, op, value, _test(op, value))


def _test(op: str, value: Any) -> Callable[[Any], bool]:
    if op == "cidr":
        return _cidr_test(value)
    tests: Mapping[str, Callable[[Any], bool]] = {
        "equals": lambda item: _same(item, value),
        "in": lambda item: any(_same(item, v) for v in value),
        "contains": lambda item: isinstance(item, str) and value in item,
        "startswith": lambda item: isinstance(item, str) and item.startswith(value),
        "endswith": lambda item: isinstance(item, str) and item.endswith(value),
        "exists": lambda item: True,
        "gt": lambda item: _number(item) and item > value,
        "gte": lambda item: _number(item) and item >= value,
        "lt": lambda item: _number(item) and item < value,
        "lte": lambda item: _number(item) and item <= value,
    }
    return tests[op]


def _same(item: Any, value: Any) -> bool:
    """Equality that keeps True and 1 apart."""
    return isinstance(item, bool) == isinstance(value, bool) and bool(item == value)


def _number(item: Any) -> bool:
    return isinstance(item, (int, float)) and not isinstance(item, bool)


def _cidr_test(value: Any) -> Callable[[Any], bool]:
    try:
        nets = [ip_network(v) for v in (value if isinstance(value, list) else [value])]
    except (ValueError, TypeError) as error:
        raise PatternError(f"bad address range: {error}") from error

    def inside(item: Any) -> bool:
        try:
            address = ip_address(str(item).partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)  # what a socket for both families tells of IPv4
        return any(address in net or (mapped is not None and mapped in net) for net in nets)

    return inside


def _texts(value: Any) -> Sequence[str]:
    """The text elements of a field value; what cannot be encoded was replaced before."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (list, tuple)):
        return [v for v in value if isinstance(v, str)]
    return () if value is None or isinstance(value, (bool, dict)) else (str(value),)


def dig(payload: Mapping[str, Any], name: str) -> Any:
    """A field by its name; dots lead into nested objects."""
    if name in payload or "." not in name:
        return payload.get(name)
    value: Any = payload
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
