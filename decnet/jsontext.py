"""JSON read and written quickly: by msgspec, and by the standard library where that refuses or changes what others write."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

import msgspec


def loads(text: bytes | str) -> Any:
    """The value of a JSON text, as :func:`json.loads` gives it, in half the time. Raises ValueError or RecursionError."""
    return decoded(text)[0]


class Kept(dict[str, Any]):
    """An object that is storable (:func:`decnet.hostile.storable`), stays as it is, and is written out once."""

    __slots__ = ("_text",)
    _text: str

    def text(self) -> str:
        """Its JSON text."""
        try:
            return self._text
        except AttributeError:
            self._text = encoded(dict(self)).decode("ascii")
            return self._text


def dumps(value: object) -> str:
    """The JSON text of a value, as :func:`encoded` writes it."""
    return value.text() if type(value) is Kept else encoded(value).decode("ascii")


def encoded(value: object) -> bytes:
    """The JSON text of a value, in ASCII and without blanks. Raises ValueError (no number) or TypeError."""
    try:
        text = _ENCODER.encode(value)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return _EXACT.encode(value).encode()
    if text.isascii() and (_NULL not in text or _finite(value)):
        return text
    # What is not ASCII is escaped here; and what is no number, which would have become a null, is refused.
    return _EXACT.encode(value).encode()


def _finite(value: object) -> bool:
    """Whether all numbers in it are numbers; False for what only the standard library knows too."""
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind is dict:
        return all(map(_finite, value.values()))  # type: ignore[attr-defined]
    if kind is list:
        return all(map(_finite, value))  # type: ignore[call-overload]
    return kind is float and isfinite(value)  # type: ignore[arg-type]


_ENCODER = msgspec.json.Encoder()
_EXACT = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, allow_nan=False)
_NULL = b"null"
_PLAIN = frozenset({str, int, bool, type(None)})


def decoded(text: bytes | str) -> tuple[Any, bool]:
    """The value of a JSON text, and whether the text is strict.

    Lone surrogates, NaN, numbers beyond a double and UTF-16 are not: they are left to the standard library.
    Raises ValueError or RecursionError.
    """
    try:
        return msgspec.json.decode(text), True
    except (msgspec.DecodeError, RecursionError):
        return json.loads(text), False
