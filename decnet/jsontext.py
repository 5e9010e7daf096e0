"""JSON read and written quickly: by msgspec, and by the standard library where that refuses or changes what others write."""

from __future__ import annotations

import json
from typing import Any

import msgspec


def loads(text: bytes | str) -> Any:
    """The value of a JSON text, as :func:`json.loads` gives it, in half the time. Raises ValueError or RecursionError."""
    return decoded(text)[0]


def encoded(value: object) -> bytes:
    """The JSON text of a value, in ASCII and without blanks. Raises ValueError (no number) or TypeError."""
    try:
        text = _ENCODER.encode(value)
    except (ValueError, TypeError, OverflowError, RecursionError):
        text = _NULL
    if _NULL not in text and text.isascii():
        return text
    # What is not ASCII is escaped here; and what is no number, which would have become a null, is refused.
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


_ENCODER = msgspec.json.Encoder()
_NULL = b"null"


def decoded(text: bytes | str) -> tuple[Any, bool]:
    """The value of a JSON text, and whether the text is strict.

    Lone surrogates, NaN, numbers beyond a double and UTF-16 are not: they are left to the standard library.
    Raises ValueError or RecursionError.
    """
    try:
        return msgspec.json.decode(text), True
    except (msgspec.DecodeError, RecursionError):
        return json.loads(text), False
