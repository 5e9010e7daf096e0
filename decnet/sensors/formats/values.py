"""Where a value stands in a line, and what a table makes of it; pure.

A value is read lazily from a line (any decoded JSON) and, in a row for each element of a list, from that element.
What a value is used for decides of which type it has to be: see :mod:`decnet.sensors.formats.emits`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from decnet.bounds import bit
from decnet.hostile import storable_text
from decnet.sensors.formats.containers import container_signals
from decnet.sensors.formats.http2 import http2_settings
from decnet.sensors.formats.p0f import syn_fingerprint
from decnet.sensors.values import Data, as_text

MAX_TEXT = 1 << 20
"""Characters of a value that are looked at; a command is a text of this length at most."""


class Underived:
    """What a conversion gives that cannot tell: it is counted, and nothing is made of it."""


UNDERIVED: Final = Underived()
CUT: Final = "values_cut"
"""The bound that bites where a value is longer than what is kept of it; see :mod:`decnet.bounds`."""


class Scope(NamedTuple):
    """What a value is read from: the line, and the element of a list in it that a row is about."""

    line: Data
    element: Any = None


@dataclass(frozen=True, slots=True)
class Value:
    """How something is read; ``paths`` are the fields of the line that have their home in it."""

    read: Callable[[Scope], Any]
    paths: frozenset[str] = frozenset()


def lookup(value: Any, path: str) -> Any:
    """What stands at a dotted path; None where nothing does. A key that has dots itself is found as well."""
    while isinstance(value, dict):
        if (found := value.get(path)) is not None:
            return found
        head, dot, path = path.partition(".")
        if not dot:
            return None
        value = value.get(head)
    return None


def at_path(path: str) -> Value:
    """The value at a path; one that begins with a dot is looked for in the element (``.`` is the element itself)."""
    if path == ".":
        return Value(lambda scope: scope.element)
    if path.startswith("."):
        return Value(lambda scope: lookup(scope.element, path[1:]))
    if "." not in path:
        return Value(lambda scope: scope.line.get(path), frozenset({path}))
    return Value(lambda scope: lookup(scope.line, path), frozenset({path}))


def literal(given: str | int | float | bool) -> Value:
    """Always the same."""
    return Value(lambda scope: given)


def joined(parts: Sequence[Value]) -> Value:
    """The texts of some values with a blank between them; those that say nothing are left out."""

    def read(scope: Scope) -> Any:
        found = [part.read(scope) for part in parts]
        if any(isinstance(one, Underived) for one in found):
            return UNDERIVED
        return " ".join(text for one in found if (text := plain(one, MAX_TEXT))) or None

    return Value(read, _paths(parts))


def first(parts: Sequence[Value]) -> Value:
    """The first of some values that says anything."""

    def read(scope: Scope) -> Any:
        found = (part.read(scope) for part in parts)
        return next((one for one in found if one is not None and one != ""), None)

    return Value(read, _paths(parts))


def extracted(value: Value, regex: Any) -> Value:
    """What the only group of a pattern matches in a text; None where the pattern does not."""

    def read(scope: Scope) -> Any:
        text = plain(value.read(scope), MAX_TEXT)
        match = None if text is None else regex.search(text)
        return None if match is None else match.group(1)

    return Value(read, value.paths)


def converted(value: Value, conversion: Callable[[str], str | None]) -> Value:
    """A text turned into another one; :data:`UNDERIVED` where there is a text that cannot be turned."""

    def read(scope: Scope) -> Any:
        text = plain(value.read(scope), MAX_TEXT)
        if not text:
            return None
        made = conversion(text)
        return UNDERIVED if made is None else made

    return Value(read, value.paths)


def mapped(value: Value, names: Mapping[str, str], otherwise: str | None) -> Value:
    """The name that a table gives a value; ``otherwise``, or the value itself, for one that it does not name."""

    def read(scope: Scope) -> Any:
        text = plain(value.read(scope), MAX_TEXT)
        if text is None:
            return otherwise
        return names.get(text, text if otherwise is None else otherwise)

    return Value(read, value.paths)


def within(text: str, limit: int) -> str:
    """A text of at most ``limit`` characters; what is cut off is counted."""
    if len(text) > limit:
        bit(CUT)
        return text[:limit]
    return text


def plain(value: Any, limit: int) -> str | None:
    """A value as text, a list of plain values with blanks between them; None for nothing and for true and false."""
    if isinstance(value, str):
        return storable_text(value[:limit])
    if isinstance(value, list):
        if any(isinstance(item, (dict, list)) for item in value):
            return as_text(value, limit)
        texts = [text for item in value if (text := as_text(item, limit))]
        return " ".join(texts)[:limit] or None
    return as_text(value, limit)


def _paths(parts: Sequence[Value]) -> frozenset[str]:
    return frozenset().union(*(part.paths for part in parts))


def from_hex(text: str) -> str | None:
    """The text whose bytes are written as hexadecimal digits; bytes that are no UTF-8 become marks."""
    try:
        return storable_text(bytes.fromhex(text).decode("utf-8", "replace"))
    except ValueError:
        return None


def from_base64(text: str) -> str | None:
    """The text that base64 stands for; bytes that are no UTF-8 become marks."""
    try:
        return storable_text(base64.b64decode(text, validate=True).decode("utf-8", "replace"))
    except (ValueError, binascii.Error):
        return None


CONVERSIONS: Final[Mapping[str, Callable[[str], str | None]]] = {
    "hex": from_hex,
    "base64": from_base64,
    "lower": str.lower,
    "p0f_syn": syn_fingerprint,
    "http2_settings": http2_settings,
    "container_signals": container_signals,
}
"""What ``as:`` may say of a value."""
