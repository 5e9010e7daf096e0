"""Bytes of e-mails as text, by the charset that they name; pure.

Only charsets that mails are written in are believed: Python knows others too that take quadratic time (punycode).
"""

from __future__ import annotations

import binascii
import re
from email.errors import HeaderParseError
from email.header import decode_header
from typing import Final

_KNOWN: Final = re.compile(
    r"(?:us-?)?ascii|utf[-_]?(?:8|16|32)(?:[-_]?[lb]e)?|(?:iso[-_]?)?(?:8859|latin)[-_]?\d{1,2}(?:-[ei])?"
    r"|(?:windows|cp)[-_]?\d{3,4}|koi8[-_]?[rtu]|gb(?:2312|k|18030)|big5(?:[-_]?hkscs)?|euc[-_]?(?:jp|kr|cn)"
    r"|shift[-_]?jis|iso[-_]?2022[-_]?(?:jp|kr)(?:[-_]?\w{1,4})?|tis[-_]?620",
    re.IGNORECASE | re.ASCII,
)
MAX_VALUE: Final = 4096
"""Characters of one header that are looked at."""


def text_of(data: bytes, charset: str = "") -> str:
    """Bytes as text; by UTF-8 where the charset is none of a mail's, with marks for what is no text. Never raises."""
    name = charset.strip().strip("\"'")
    try:
        return data.decode(name if _KNOWN.fullmatch(name) else "utf-8", "replace")
    except (LookupError, UnicodeError):
        return data.decode("utf-8", "replace")


def plain(value: str) -> str:
    """A header's value without its encoded words (RFC 2047) and folded lines, cut to a length. Never raises."""
    short = " ".join(value[:MAX_VALUE].split())
    if "=?" not in short:
        return short
    try:
        pieces = decode_header(short)
    except (HeaderParseError, binascii.Error, ValueError):
        return short
    said = (one if isinstance(one, str) else text_of(one, charset or "") for one, charset in pieces)
    return " ".join("".join(said).split())
