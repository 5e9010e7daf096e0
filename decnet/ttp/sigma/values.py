"""One value of a Sigma detection, as pySigma read it → a regular expression of RE2 that says the same."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sigma.types import (
    SigmaExpansion,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaString,
    SigmaTimestampPart,
    SigmaType,
    SpecialChars,
)

from decnet.patterns import PatternError, compile_pattern
from decnet.ttp.sigma.refusal import Refusal

ANYTHING, ANY_ONE = "(?s:.*)", "(?s:.)"
"""Wildcards, which go over ends of lines."""
_SPECIAL = re.compile(r"[\\.^$*+?()\[\]{}|]")


def escaped(text: str) -> str:
    """A text as an expression that finds it, no more escaped than it must be, since people read it."""
    return _SPECIAL.sub(lambda found: f"\\{found[0]}", text)


class Text(NamedTuple):
    """A text to look for: its expression without flags and anchors, where it stands, and an example of it."""

    pattern: str
    place: str
    """``equals``, ``contains``, ``startswith`` or ``endswith``."""
    example: str


def flat(values: Iterable[SigmaType]) -> Iterator[SigmaType]:
    """Values one by one: a modifier may have made several of one."""
    for value in values:
        if isinstance(value, SigmaExpansion):
            yield from flat(value.values)
        else:
            yield value


def text_of(value: SigmaType) -> Text:
    """What a value looks for as a text; wildcards at its ends say where the rest stands. Raises Refusal."""
    if isinstance(value, SigmaNumber) and not isinstance(value, SigmaTimestampPart):
        return Text(escaped(str(value)), "equals", str(value))
    if not isinstance(value, SigmaString):
        raise Refusal(f"{_kind(value)} is no text")
    pieces = list(value.s)
    before, behind = (
        value.startswith(SpecialChars.WILDCARD_MULTI),
        value.endswith(SpecialChars.WILDCARD_MULTI),
    )
    place = _PLACES[before, behind]
    inner = pieces[before : len(pieces) - (behind and len(pieces) > 1)]
    said = [_said(piece) for piece in inner]
    return Text("".join(pattern for pattern, _ in said), place, "".join(example for _, example in said))


_PLACES = {
    (False, False): "equals", (True, True): "contains", (True, False): "endswith", (False, True): "startswith",
}  # fmt: skip


def _said(piece: object) -> tuple[str, str]:
    """The expression of a piece of a text, and an example of it."""
    if isinstance(piece, str):
        return escaped(piece), piece
    if piece is SpecialChars.WILDCARD_MULTI:
        return ANYTHING, ""
    if piece is SpecialChars.WILDCARD_SINGLE:
        return ANY_ONE, "a"
    raise Refusal("it asks for a list of its user's own (expand)")


def regex_of(value: SigmaRegularExpression) -> str:
    """A value that is an expression itself. Raises Refusal for one that RE2 does not take within its bounds."""
    if not hasattr(value.regexp, "s"):  # the library takes a number there, and stumbles over it later
        raise Refusal("an expression that is no text")
    if value.contains_placeholder():
        raise Refusal("it asks for a list of its user's own (expand)")
    pattern = str(value.escape(escape_escape_char=False))
    try:
        compile_pattern(pattern)
    except PatternError as error:
        raise Refusal(f"{pattern[:60]}: {error}") from error
    return pattern


_KINDS = {
    "SigmaBool": "yes or no", "SigmaFieldReference": "another field (fieldref)", "SigmaTimestampPart": "a part of a time",
}  # fmt: skip


def _kind(value: SigmaType) -> str:
    return _KINDS.get(type(value).__name__, type(value).__name__)
