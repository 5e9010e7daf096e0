"""The secret part of a token: 26 characters of Crockford's base32 in lower case, 130 random bits, never sequential."""

from __future__ import annotations

import re
import secrets
from typing import Final

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH: Final = 26
_SLUG = re.compile(f"[{ALPHABET}]{{{LENGTH}}}", re.ASCII)


def new_slug() -> str:
    """A fresh one."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def slug_in(text: str) -> str | None:
    """The slug that a text is, whatever its case; None for anything else."""
    folded = text.lower() if len(text) == LENGTH and text.isascii() else ""
    return folded if _SLUG.fullmatch(folded) else None
