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

from decnet.shell.places import BIN
from decnet.shell.places import place_of as place_of_path
from decnet.ttp.schema import MAX_CONDITIONS, MAX_PATTERN
from decnet.ttp.sigma.condition import AllOf, Name, Not, Tree, parse_condition
from decnet.ttp.sigma.places import PATH, PROGRAM, Place
from decnet.ttp.sigma.reading import SigmaRule, as_list
from decnet.ttp.sigma.refusal import Refusal
from decnet.ttp.sigma.values import How, Text, read_modifiers, regex_of, texts_of

MAX_WAYS = 12
"""Examples that are kept of one condition."""
MAX_DEPTH = 30


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


def carry(rule: SigmaRule, place: Place) -> tuple[Part, list[str]]:
    """The condition of a rule, and what of it is left out. Raises Refusal where nothing is left."""
    detections = {str(k): v for k, v in rule.part("detection").items() if k not in ("condition", "timeframe")}
    lost = Lost()
    parts: dict[str, Found] = {}
    for name, body in detections.items():
        try:
            parts[name] = _Detection(place, name, lost).read(body, 0)
        except Refusal as error:
            parts[name], lost.refused[name] = None, str(error)
    trees = [parse_condition(text, list(detections)) for text in _conditions(rule)]
    found = any_of(_joined(tree, parts) for tree in trees)
    if found is None or not found.form:
        raise Refusal(_nothing_left(lost, place, found))
    return found, _left_out(lost, place)


def _conditions(rule: SigmaRule) -> list[str]:
    found = as_list(rule.part("detection").get("condition"))
    if not all(isinstance(text, str) for text in found):
        raise Refusal("it has no condition")
    return list(found)


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


def _joined(tree: Tree, parts: Mapping[str, Found]) -> Found:
    if isinstance(tree, Name):
        return parts[tree.name]
    if isinstance(tree, Not):
        return none_of(_joined(tree.part, parts))
    inner = [_joined(part, parts) for part in tree.parts]
    return all_of(inner) if isinstance(tree, AllOf) else any_of(inner)


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
    """One named detection: a mapping of fields that must all hold, a list of such, or words without a field."""

    def __init__(self, place: Place, name: str, lost: Lost) -> None:
        self._place, self._name, self._lost = place, name, lost

    def read(self, body: Any, depth: int) -> Found:
        """Its condition. Raises Refusal."""
        if depth > MAX_DEPTH:
            raise Refusal(f"a detection nests over {MAX_DEPTH} deep")
        if isinstance(body, dict):
            return all_of([self._field(str(key), value) for key, value in body.items()])
        if isinstance(body, list):
            words = [item for item in body if not isinstance(item, (dict, list))]
            rest = [self.read(item, depth + 1) for item in body if isinstance(item, (dict, list))]
            return any_of([*([self._words(words)] if words else []), *rest])
        return self._words([body])

    def _words(self, words: Sequence[Any]) -> Found:
        how = How(place="contains")
        return any_of(self._texts(name, words, how) for name in self._place.words)

    def _field(self, key: str, value: Any) -> Found:
        name, *modifiers = key.split("|")
        if not name:
            return self._words(as_list(value))
        how = read_modifiers(modifiers)
        ours = self._place.fields.get(name)
        if ours is None:
            self._lost.fields.setdefault(self._name, {})[name] = None
            return None
        values = as_list(value)
        if how.op:
            return self._op(ours, how.op, values)
        if how.regex:
            return self._regexes(ours, values, how)
        empty = [item for item in values if item is None or item == ""]
        found: list[Found] = [_absent(ours) for _ in empty[:1]]
        if rest := [item for item in values if item is not None and item != ""]:
            found.append(self._texts(ours, rest, how))
        return all_of(found) if how.every else any_of(found)

    def _op(self, ours: str, op: str, values: Sequence[Any]) -> Found:
        if ours in (PROGRAM, PATH, "command_text"):
            raise Refusal(f"{op} says nothing of a text")
        if op == "exists":
            return Part({"field": ours, "op": "exists", "value": bool(values[0])})
        wanted = values if op == "cidr" else values[0]
        return Part({"field": ours, "op": op, "value": wanted}, ())

    def _regexes(self, ours: str, values: Sequence[Any], how: How) -> Found:
        if ours in (PROGRAM, PATH):
            raise Refusal("an expression over the whole path of a program: a typed name has no path")
        found = [Part({"field": ours, "pattern": regex_of(value, how)}, ()) for value in values]
        return all_of(found) if how.every else any_of(found)

    def _texts(self, ours: str, values: Sequence[Any], how: How) -> Found:
        numbers = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
        if ours == "status" and len(numbers) == len(values) and how.place == "equals":
            return Part(
                {"field": ours, "op": "in", "value": list(values)}, ((Bit(ours, "equals", values[0]),),)
            )
        if how.every:
            return all_of(_patterns(ours, texts_of(value, how), how.cased) for value in values)
        return _patterns(ours, [text for value in values for text in texts_of(value, how)], how.cased)


def _absent(ours: str) -> Part:
    """A field that is not there, or empty."""
    if ours in (PROGRAM, "command_text"):
        raise Refusal("it asks for an empty command")
    name = "raw_url" if ours == PATH else ours
    return Part({"any": [{"field": name, "op": "exists", "value": False}, {"field": name, "pattern": "^$"}]})


# --- patterns


def _patterns(ours: str, texts: Sequence[Text], cased: bool) -> Found:
    """One of some texts in a field, as few expressions as hold them."""
    name = {PROGRAM: "command_text", PATH: "raw_url"}.get(ours, ours)
    anchored = {PROGRAM: _program, PATH: _stem}.get(ours, _anchored)
    flags = "" if cased else "i"
    flags += "s" if any(text.wild for text in texts) else ""
    before = f"(?{flags})" if flags else ""
    found = []
    for text in texts:
        head, inner, tail = anchored(text)
        alike = Alike(name, before + head, tail, (inner,))
        if len(alike.expression()) > MAX_PATTERN:
            raise Refusal(f"a text of {len(text.example)} characters is too long for a rule")
        found.append(_of_texts(alike, ((Bit(ours, text.place, text.example),),)))
    return any_of(found)


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
    pattern = text.pattern.replace(".*", r"\S*")
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
