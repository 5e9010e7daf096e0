"""One value of a Sigma detection with its modifiers → regular expressions of RE2 that say the same."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from decnet.patterns import PatternError, compile_pattern
from decnet.ttp.sigma.refusal import Refusal

PLACES = ("contains", "startswith", "endswith")
"""Modifiers that say where a text stands; none is the whole of it."""
_FLAGS = {"i": "i", "ignorecase": "i", "m": "m", "multiline": "m", "s": "s", "dotall": "s"}
_NUMBERS = ("gt", "gte", "lt", "lte")
_KNOWN = frozenset((*PLACES, *_FLAGS, *_NUMBERS, "all", "re", "cidr", "cased", "exists", "windash", "base64", "base64offset"))  # fmt: skip
_DASH = re.compile(r"(?:(?<=\s)|\A)-")
_DASHES = "-/–—―"  # noqa: RUF001 - what Sigma's windash stands for
_OFFSET_STARTS = (0, 2, 3)
_OFFSET_ENDS = (None, -3, -2)


_SPECIAL = re.compile(r"[\\.^$*+?()\[\]{}|]")


def escaped(text: str) -> str:
    """A text as an expression that finds it, no more escaped than it must be, since people read it."""
    return _SPECIAL.sub(lambda found: f"\\{found[0]}", text)


class How(NamedTuple):
    """The modifiers behind a field's name."""

    place: str = "equals"
    every: bool = False
    """Whether all values must hold, not one of them."""
    regex: bool = False
    flags: str = ""
    cased: bool = False
    op: str = ""
    """An op that stands for itself: cidr, exists, gt, gte, lt, lte."""
    dashes: bool = False
    encoding: str = ""


def read_modifiers(names: Sequence[str]) -> How:
    """What the modifiers ask for. Raises Refusal for one that is not known."""
    for name in names:
        if name not in _KNOWN:
            raise Refusal(f"the modifier {name} is not known")
    given = set(names)
    return How(
        place=next((name for name in names if name in PLACES), "equals"),
        every="all" in given,
        regex="re" in given,
        flags="".join(sorted({_FLAGS[name] for name in given & _FLAGS.keys()})),
        cased="cased" in given,
        op=next((name for name in names if name in (*_NUMBERS, "cidr", "exists")), ""),
        dashes="windash" in given,
        encoding=next((name for name in names if name.startswith("base64")), ""),
    )


class Text(NamedTuple):
    """A text to look for: its expression without flags and anchors, where it stands, and an example of it."""

    pattern: str
    place: str
    example: str
    wild: bool = False
    """Whether it has wildcards, which go over ends of lines."""


def texts_of(value: Any, how: How) -> list[Text]:
    """The texts that one value stands for: several where it is encoded. Raises Refusal."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise Refusal(f"{str(value)[:40]!r} is no text")
    text = str(value)
    if how.encoding == "base64":
        return [_literal(base64.b64encode(text.encode()).decode(), how.place)]
    if how.encoding == "base64offset":
        return [_literal(part, how.place) for part in _offsets(text)]
    return [_wild(text, how)]


def _offsets(text: str) -> list[str]:
    """A text as it stands in base64 at each of the three places where it can begin, without what touches others."""
    out = []
    for shift, start in enumerate(_OFFSET_STARTS):
        raw = b" " * shift + text.encode()
        out.append(base64.b64encode(raw).decode()[start : _OFFSET_ENDS[len(raw) % 3]])
    return out


def _literal(text: str, place: str) -> Text:
    return Text(escaped(text), place, text)


def _wild(text: str, how: How) -> Text:
    """``*`` and ``?`` are wildcards unless a backslash stands before them; those at the ends say where the rest stands."""
    pieces = _pieces(text)
    place = how.place
    if place == "equals" and pieces:
        before, behind = pieces[0] == ("*", True), pieces[-1] == ("*", True)
        if before or behind:
            pieces = pieces[before : len(pieces) - (behind and len(pieces) > 1)]
            place = "contains" if before and behind else "endswith" if before else "startswith"
    pattern = "".join(_piece(piece, wild, how.dashes) for piece, wild in pieces)
    example = "".join("a" if wild and piece == "?" else "" if wild else piece for piece, wild in pieces)
    return Text(pattern, place, example, any(wild for _, wild in pieces))


def _piece(piece: str, wild: bool, dashes: bool) -> str:
    if wild:
        return ".*" if piece == "*" else "."
    if not dashes:
        return escaped(piece)
    return f"[{_DASHES}]".join(map(escaped, _DASH.split(piece)))


def _pieces(text: str) -> list[tuple[str, bool]]:
    """Runs of plain text, and wildcards."""
    out: list[tuple[str, bool]] = []
    plain, at = "", 0
    while at < len(text):
        char, following = text[at], text[at + 1 : at + 2]
        if char == "\\" and following in ("*", "?", "\\"):
            plain, at = plain + following, at + 2
            continue
        if char in "*?":
            out += [(plain, False)] if plain else []
            out.append((char, True))
            plain = ""
        else:
            plain += char
        at += 1
    return [*out, (plain, False)] if plain else out


def regex_of(value: Any, how: How) -> str:
    """A value that is an expression itself. Raises Refusal for one that RE2 does not take."""
    if not isinstance(value, str) or not value:
        raise Refusal(f"{str(value)[:40]!r} is no expression")
    pattern = f"(?{how.flags}){value}" if how.flags else value
    try:
        compile_pattern(pattern)
    except PatternError as error:
        raise Refusal(f"{value[:60]}: {error}") from error
    return pattern
