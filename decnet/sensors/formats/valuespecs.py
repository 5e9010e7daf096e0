"""What a table writes for a value, a condition or a test becomes one; pure.

A value is a path, a number, true or false, a list of values (their texts with blanks between them), or a mapping:
``{is: word}``, ``{first: [values]}``, or ``{from: value}`` with any of ``pattern``, ``as``, ``map`` and ``else``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from decnet.documents import Path
from decnet.sensors.formats.places import Reader
from decnet.sensors.formats.table import Condition, Hallmark
from decnet.sensors.formats.values import (
    CONVERSIONS,
    Value,
    at_path,
    converted,
    extracted,
    first,
    joined,
    literal,
    mapped,
)

_MAPPING = ("is", "first", "from", "pattern", "as", "map", "else")
_STEPS = ("pattern", "as", "map", "else")
NOTHING = literal("")


def value_of(reader: Reader, path: Path, given: Any) -> Value:
    """The value that a table writes at a path; one that says nothing where that is wrong."""
    if isinstance(given, str):
        return at_path(given) if reader.text(path, given, longest=200) else NOTHING
    if isinstance(given, (bool, int, float)):
        return literal(given)
    if isinstance(given, list):
        return joined(reader.each(path, given, lambda where, one: value_of(reader, where, one)))
    if isinstance(given, dict):
        return _of_mapping(reader, path, reader.keys(path, given, _MAPPING))
    reader.wrong(path, "a value is a path, a number, true, false, a list or a mapping with is, first or from")
    return NOTHING


def _of_mapping(reader: Reader, path: Path, given: dict[str, Any]) -> Value:
    heads = [key for key in ("is", "first", "from") if key in given]
    if len(heads) != 1:
        reader.wrong(path, "exactly one of is, first and from")
        return NOTHING
    if heads == ["from"]:
        return _steps(reader, path, given, value_of(reader, (*path, "from"), given["from"]))
    for key in _STEPS:
        if key in given:
            reader.wrong((*path, key), f"'{key}' goes with from")
    if heads == ["is"]:
        return literal(reader.text((*path, "is"), given["is"]))
    where = (*path, "first")
    return first(reader.each(where, given["first"], lambda place, one: value_of(reader, place, one)))


def _steps(reader: Reader, path: Path, given: dict[str, Any], value: Value) -> Value:
    """What is done with a value, in this order: a piece of it is taken, it is turned, it gets a name."""
    if "pattern" in given:
        regex = reader.pattern((*path, "pattern"), given["pattern"], groups=True)
        if regex is not None and regex.groups != 1:
            reader.wrong((*path, "pattern"), f"a pattern with one group, not {regex.groups}")
        value = value if regex is None else extracted(value, regex)
    if "as" in given:
        name = reader.word((*path, "as"), given["as"], CONVERSIONS)
        value = converted(value, CONVERSIONS[name]) if name else value
    if "map" in given or "else" in given:
        names = _names(reader, (*path, "map"), given["map"]) if "map" in given else {}
        otherwise = reader.text((*path, "else"), given["else"]) if "else" in given else None
        value = mapped(value, names, otherwise)
    return value


def _names(reader: Reader, path: Path, given: Any) -> dict[str, str]:
    if not isinstance(given, dict) or not given:
        reader.wrong(path, "map is a mapping of values to names")
        return {}
    return {key: reader.text((*path, key), name) for key, name in given.items()}


def conditions_of(reader: Reader, path: Path, given: Any) -> tuple[Condition, ...]:
    """What has to hold of a line: path → a word, a number, several of them, ``{pattern: RE2}``, ``{has: true}``, ``{not: …}``."""
    if not isinstance(given, dict) or not given:
        reader.wrong(path, "a mapping of paths to what has to stand there")
        return ()
    return tuple(_condition(reader, (*path, name), name, wanted) for name, wanted in given.items())


def _condition(reader: Reader, path: Path, name: str, wanted: Any) -> Condition:
    value = value_of(reader, path, name)
    if isinstance(wanted, dict):
        return _special(reader, path, name, wanted)
    words = wanted if isinstance(wanted, list) else [wanted]
    if not words or not all(isinstance(one, (str, int, float, bool)) for one in words):
        reader.wrong(
            path, "a word, a number, true, false, a list of them, {pattern: …}, {has: true} or {not: …}"
        )
        return Condition(value)
    among = frozenset(str(one).lower() if isinstance(one, bool) else str(one) for one in words)
    return Condition(value, among=among)


def _special(reader: Reader, path: Path, name: str, wanted: dict[str, Any]) -> Condition:
    """A condition that is a mapping of one key."""
    said, value = reader.keys(path, wanted, ("pattern", "has", "not")), at_path(name)
    if len(wanted) != 1:
        reader.wrong(path, "exactly one of pattern, has and not")
    if "pattern" in said:
        return Condition(value, regex=reader.pattern((*path, "pattern"), said["pattern"]))
    if "not" in said:
        inner = _condition(reader, (*path, "not"), name, said["not"])
        return replace(inner, negated=not inner.negated)
    return Condition(value, there=reader.flag((*path, "has"), said.get("has", True)))


def hallmark_of(reader: Reader, path: Path, given: Any, more: tuple[str, ...] = ()) -> Hallmark:
    """What tells lines apart: ``{has: [paths], where: {conditions}}``; ``more`` are keys that somebody else reads."""
    said = reader.keys(path, given, ("has", "where", *more))
    has = reader.texts((*path, "has"), said["has"]) if "has" in said else ()
    if not has and "where" not in said:
        reader.wrong(path, "at least one of has and where")
    there = tuple(Condition(at_path(name)) for name in has if name)
    where = conditions_of(reader, (*path, "where"), said["where"]) if "where" in said else ()
    return Hallmark((*there, *where))
