"""The ``detection`` of a Sigma rule → a condition of ours.

What an event of ours does not say never holds, as Sigma has it of a field that is absent: an alternative that asks for it
falls away, an exception that asks for it too (the rule is then the wider one), and a rule of which nothing else is left is
refused. All of that is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, product
from typing import Any, NamedTuple

from sigma.conditions import ConditionAND, ConditionIdentifier, ConditionItem, ConditionNOT, ConditionSelector
from sigma.rule import SigmaDetection, SigmaDetectionItem, SigmaDetections
from sigma.types import (
    SigmaCasedString,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaNull,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaString,
    SigmaType,
    SpecialChars,
)

from decnet.shell.places import BIN
from decnet.shell.places import place_of as place_of_path
from decnet.ttp.schema import MAX_CONDITIONS, MAX_PATTERN
from decnet.ttp.sigma.library import conditions_of, detections_of
from decnet.ttp.sigma.places import PATH, PROGRAM, Place
from decnet.ttp.sigma.reading import SigmaDocument
from decnet.ttp.sigma.refusal import Refusal
from decnet.ttp.sigma.values import ANYTHING, Text, flat, regex_of, text_of

MAX_WAYS = 12
"""Examples that are kept of one condition."""


class Bit(NamedTuple):
    """What an event must say for one part of a condition: a value of a field, and where in it that stands."""

    field: str
    place: str
    text: Any


Way = tuple[Bit, ...]


class Alike(NamedTuple):
    """Texts that one expression looks for: those with the same field, flags and anchors can be looked for together."""

    field: str
    before: str
    behind: str
    inner: tuple[str, ...]

    def expression(self) -> str:
        """All of them as one."""
        body = self.inner[0] if len(self.inner) == 1 else f"(?:{'|'.join(self.inner)})"
        return f"{self.before}{body}{self.behind}"


class Part(NamedTuple):
    """A condition of ours, and ways in which it holds."""

    form: Mapping[str, Any]
    ways: tuple[Way, ...] = ((),)
    alike: Alike | None = None
    """Of one that is a single expression: what it is made of."""


ALWAYS = Part({})
Found = Part | None
"""A condition, or None for one that never holds here; :data:`ALWAYS` is one that always does."""


@dataclass(slots=True)
class Lost:
    """What a rule asks for that no event of its kind says: fields by the detection that asks."""

    fields: dict[str, dict[str, None]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    """Detections that cannot be said at all, and why."""

    def names(self) -> str:
        """Every field once, in the order of the rule."""
        return ", ".join(dict.fromkeys(name for fields in self.fields.values() for name in fields))


def carry(document: SigmaDocument, place: Place) -> tuple[Part, list[str]]:
    """The condition of a rule, and what of it is left out. Raises Refusal where nothing is left."""
    said = detections_of(document)
    lost = Lost()
    parts: dict[str, Found] = {}
    for name, detection in said.detections.items():
        try:
            parts[name] = _Detection(place, name, lost).read(detection)
        except Refusal as error:
            parts[name], lost.refused[name] = None, str(error)
    found = any_of(_joined(tree, said, parts) for tree in conditions_of(said))
    if found is None or not found.form:
        raise Refusal(_nothing_left(lost, place, found))
    return found, _left_out(lost, place)


def _nothing_left(lost: Lost, place: Place, found: Found) -> str:
    if lost.refused:
        return "; ".join(dict.fromkeys(lost.refused.values()))
    if lost.fields:
        return f"it asks for {lost.names()}, {place.says}"
    return "it would hold for everything" if found is not None else "it never holds"


def _left_out(lost: Lost, place: Place) -> list[str]:
    notes = [
        f"{name} asks for {', '.join(fields)}, {place.says}: left out" for name, fields in lost.fields.items()
    ]
    return [*notes, *(f"{name} is left out: {why}" for name, why in lost.refused.items())]


def _joined(tree: object, said: SigmaDetections, parts: Mapping[str, Found]) -> Found:
    if isinstance(tree, ConditionIdentifier):
        return parts[tree.identifier]
    if isinstance(tree, ConditionSelector):
        chosen = [parts[one.identifier] for one in tree.resolve_referenced_detections(said)]
        if not chosen:
            raise Refusal(f"its condition speaks of {tree.pattern[:40]}, and no detection is called so")
        return all_of(chosen) if tree.cond_class is ConditionAND else any_of(chosen)
    assert isinstance(tree, ConditionItem)
    inner = [_joined(part, said, parts) for part in tree.args]
    if isinstance(tree, ConditionNOT):
        return none_of(inner[0])
    return all_of(inner) if isinstance(tree, ConditionAND) else any_of(inner)


# --- joining


def all_of(parts: Iterable[Found]) -> Found:
    """All of some conditions; never, where one of them never holds."""
    known = list(parts)
    if None in known:
        return None
    return _group("all", [part for part in known if part is not None and part.form], _together)


def any_of(parts: Iterable[Found]) -> Found:
    """One of some conditions; those that never hold fall away."""
    known = [part for part in parts if part is not None]
    if not known:
        return None
    if any(not part.form for part in known):
        return ALWAYS
    return _group("any", _merged(known), _one_by_one)


def _merged(parts: Sequence[Part]) -> list[Part]:
    """Expressions that can be looked for together as one, in the place of the first."""
    out: list[Part] = []
    for part in parts:
        at = next((i for i, one in enumerate(out) if _fit(one.alike, part.alike)), None)
        if at is None:
            out.append(part)
        else:
            both = _both(out[at].alike, part.alike)
            out[at] = _of_texts(both, (*out[at].ways, *part.ways)[:MAX_WAYS])
    return out


def _both(one: Alike | None, other: Alike | None) -> Alike:
    assert one is not None
    assert other is not None
    return one._replace(inner=tuple(dict.fromkeys((*one.inner, *other.inner))))


def _fit(one: Alike | None, other: Alike | None) -> bool:
    if one is None or other is None or one[:3] != other[:3]:
        return False
    return len(_both(one, other).expression()) <= MAX_PATTERN


def _of_texts(alike: Alike, ways: tuple[Way, ...]) -> Part:
    return Part({"field": alike.field, "pattern": alike.expression()}, ways, alike)


def none_of(part: Found) -> Found:
    """What holds where a condition does not."""
    if part is None:
        return ALWAYS
    return Part({"not": part.form}) if part.form else None


def _group(name: str, parts: Sequence[Part], ways: Callable[[Sequence[Part]], tuple[Way, ...]]) -> Part:
    if not parts:
        return ALWAYS
    if len(parts) == 1:
        return parts[0]
    flat = [form for part in parts for form in (part.form[name] if set(part.form) == {name} else [part.form])]
    while len(flat) > MAX_CONDITIONS:
        flat = [
            {name: flat[i : i + MAX_CONDITIONS]} if len(flat[i : i + MAX_CONDITIONS]) > 1 else flat[i]
            for i in range(0, len(flat), MAX_CONDITIONS)
        ]
    return Part({name: flat}, ways(parts))


def _together(parts: Sequence[Part]) -> tuple[Way, ...]:
    every = product(*(part.ways for part in parts))
    return tuple(tuple(bit for way in ways for bit in way) for ways in islice(every, MAX_WAYS))


def _one_by_one(parts: Sequence[Part]) -> tuple[Way, ...]:
    return tuple(islice((way for part in parts for way in part.ways), MAX_WAYS))


# --- one detection


class _Detection:
    """One named detection: fields that must all hold, a list of such, or words without a field."""

    def __init__(self, place: Place, name: str, lost: Lost) -> None:
        self._place, self._name, self._lost = place, name, lost

    def read(self, said: SigmaDetection | SigmaDetectionItem) -> Found:
        """Its condition. Raises Refusal."""
        if isinstance(said, SigmaDetection):
            inner = [self.read(item) for item in said.detection_items]
            return all_of(inner) if said.item_linking is ConditionAND else any_of(inner)
        found = self._item(said)
        return none_of(found) if said.negated else found

    def _item(self, said: SigmaDetectionItem) -> Found:
        every = said.value_linking is ConditionAND
        if said.field is None:
            return any_of(self._values(name, _anywhere(said.value), every) for name in self._place.words)
        ours = self._place.fields.get(said.field)
        if ours is None:
            self._lost.fields.setdefault(self._name, {})[said.field] = None
            return None
        return self._values(ours, said.value, every)

    def _values(self, ours: str, values: Sequence[SigmaType], every: bool) -> Found:
        if ours == "status" and all(type(value) is SigmaNumber for value in values):
            numbers = [value.number for value in values if isinstance(value, SigmaNumber)]
            return Part({"field": ours, "op": "in", "value": numbers}, ((Bit(ours, "equals", numbers[0]),),))
        found = [any_of(self._value(ours, one) for one in flat([value])) for value in values]
        return all_of(found) if every else any_of(found)

    def _value(self, ours: str, value: SigmaType) -> Found:
        if isinstance(value, SigmaNull) or (isinstance(value, SigmaString) and not value.s):
            return _absent(ours)
        if isinstance(value, SigmaRegularExpression):
            if ours in (PROGRAM, PATH):
                raise Refusal("an expression over the whole path of a program: a typed name has no path")
            return Part({"field": ours, "pattern": regex_of(value)}, ())
        if isinstance(value, (SigmaExists, SigmaCIDRExpression, SigmaCompareExpression)):
            return _op(ours, value)
        return _pattern(ours, text_of(value), cased=isinstance(value, SigmaCasedString))


def _anywhere(values: Sequence[SigmaType]) -> list[SigmaType]:
    """Words without a field, which may stand anywhere in one."""
    return [_around(value) if isinstance(value, SigmaString) else value for value in values]


def _around(value: SigmaString) -> SigmaString:
    multi = SpecialChars.WILDCARD_MULTI
    before = value if value.startswith(multi) else multi + value
    return before if before.endswith(multi) else before + multi


def _op(ours: str, value: SigmaExists | SigmaCIDRExpression | SigmaCompareExpression) -> Found:
    """An op that stands for itself."""
    if isinstance(value, SigmaCIDRExpression):
        said: tuple[str, Any] = ("cidr", [value.cidr])
    elif isinstance(value, SigmaExists):
        said = ("exists", value.exists)
    elif isinstance(value.number, SigmaNumber):
        said = (value.op.name.lower(), value.number.number)
    else:
        raise Refusal("it compares a part of a time")
    op, wanted = said
    if ours in (PROGRAM, PATH, "command_text"):
        raise Refusal(f"{op} says nothing of a text")
    return Part({"field": ours, "op": op, "value": wanted}, ((),) if op == "exists" else ())


def _absent(ours: str) -> Part:
    """A field that is not there, or empty."""
    if ours in (PROGRAM, "command_text"):
        raise Refusal("it asks for an empty command")
    name = "raw_url" if ours == PATH else ours
    return Part({"any": [{"field": name, "op": "exists", "value": False}, {"field": name, "pattern": "^$"}]})


# --- patterns


def _pattern(ours: str, text: Text, *, cased: bool) -> Part:
    """A text in a field."""
    name = {PROGRAM: "command_text", PATH: "raw_url"}.get(ours, ours)
    head, inner, tail = {PROGRAM: _program, PATH: _stem}.get(ours, _anchored)(text)
    alike = Alike(name, ("" if cased else "(?i)") + head, tail, (inner,))
    if len(alike.expression()) > MAX_PATTERN:
        raise Refusal(f"a text of {len(text.example)} characters is too long for a rule")
    return _of_texts(alike, ((Bit(ours, text.place, text.example),),))


Anchored = tuple[str, str, str]
"""What stands before a text, its expression, what stands behind it."""


def _anchored(text: Text) -> Anchored:
    """A text in a field."""
    before = "^" if text.place in ("startswith", "equals") else ""
    behind = "$" if text.place in ("endswith", "equals") else ""
    return before, text.pattern, behind


def _stem(text: Text) -> Anchored:
    """A URL up to its question mark."""
    before = "^" if text.place in ("startswith", "equals") else "^[^?]*"
    behind = r"(?:\?|$)" if text.place in ("endswith", "equals") else ""
    return before, text.pattern, behind


_ANY_FOLDER = r"^(?:\S*/)?"


def _program(text: Text) -> Anchored:
    """The first word of a command. What is typed is mostly a bare name: a folder of programs before it is as good as none."""
    pattern = text.pattern.replace(ANYTHING, r"\S*")
    ends = text.place in ("endswith", "equals")
    behind = r"(?:\s|$)" if ends else ""
    folder, slash, base = pattern.rpartition("/")
    if ends and slash and (not folder or _is_bin(folder)):
        return _ANY_FOLDER, base, behind
    if text.place == "contains" and pattern.startswith("/"):
        return _ANY_FOLDER, pattern[1:], behind
    if text.place in ("endswith", "contains"):
        return r"^\S*", pattern, behind
    return "^", pattern, behind


def _is_bin(folder: str) -> bool:
    """Whether a folder, as an expression has it, is one where programs live: a typed name leaves it out."""
    plain = str(folder).replace("\\", "")
    return place_of_path(f"{plain}/") == BIN
