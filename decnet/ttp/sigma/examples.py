"""Examples of a carried rule: an event in which its condition holds, and one that is like it and harmless."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from decnet.ttp.matcher import Failures, RuleIndex
from decnet.ttp.rules import CompiledRule
from decnet.ttp.sigma.carrying import Bit, Way
from decnet.ttp.sigma.places import PATH, PROGRAM, Place

MAX_EXAMPLE_CHARS = 500
_FIRST = {"equals": 0, "startswith": 1, "contains": 2, "endswith": 3}
_HARMLESS = "man"


def example_of(rule: CompiledRule, ways: Sequence[Way], place: Place) -> Any:
    """The first event, made of a way in which the rule holds, that it really holds for; None where there is none."""
    index = RuleIndex([rule])
    for example in _made(ways, place):
        if _holds(index, example, place):
            return example
    return None


def made_of(ways: Sequence[Way], place: Place) -> Any:
    """An event in which a condition should hold; None where none can be made."""
    return next(_made(ways, place), None)


def harmless_of(rule: CompiledRule, ways: Sequence[Way], place: Place) -> Any:
    """Somebody who reads the manual of the rule's program; None for a rule that names none, or that holds for it."""
    for name in [str(bit.text).rpartition("/")[2] for way in ways for bit in way if bit.field == PROGRAM]:
        example = f"{_HARMLESS} {name}"
        if name and not _holds(RuleIndex([rule]), example, place):
            return example
    return None


def _holds(index: RuleIndex, example: Any, place: Place) -> bool:
    payload = {"command_text": example} if isinstance(example, str) else example
    return bool(index.hits(place.kind, payload, Failures())[0])


def _made(ways: Sequence[Way], place: Place) -> Iterator[Any]:
    for way in ways:
        if not way:
            continue
        made = _command(way) if place.kind == "command" else _request(way)
        if made and len(str(made)) <= MAX_EXAMPLE_CHARS:
            yield made


def _command(way: Way) -> str:
    """What is typed: the program, then texts in the order of where they stand."""
    program = next((_name(bit) for bit in way if bit.field == PROGRAM), "")
    return _line(program, [bit for bit in way if bit.field != PROGRAM])


def _name(bit: Bit) -> str:
    text = str(bit.text)
    return text[1:] if bit.place in ("endswith", "contains") and text.rfind("/") == 0 else text


def _line(first: str, bits: Sequence[Bit]) -> str:
    out = first
    for bit in sorted(bits, key=lambda bit: _FIRST[bit.place]):
        text = str(bit.text)
        if bit.place == "equals":
            return text
        if text not in out or (bit.place == "endswith" and not out.endswith(text)):
            out = text if bit.place == "startswith" or not out else f"{out} {text}"
    return f"{out}x" if out.endswith(" ") else out


def _request(way: Way) -> Mapping[str, Any]:
    by_field: dict[str, list[Bit]] = {}
    for bit in way:
        by_field.setdefault("raw_url" if bit.field == PATH else bit.field, []).append(bit)
    out: dict[str, Any] = {}
    for name, bits in by_field.items():
        whole = next((bit.text for bit in bits if bit.place == "equals"), None)
        out[name] = whole if whole is not None else _line("", bits)
    return out
