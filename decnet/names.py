"""Names of sensors and deckies as tokens of a topic, no two of them the same one; pure.

A name is cleaned into letters, digits, ``-`` and ``_``. Where another name holds the result already, a digest of
the whole name is added. Which name holds which token is kept by the caller: the database, or a file beside a
sensor's checkpoint.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import lru_cache

DEFAULT_NAME = "cowrie"
"""Name of a sensor that gives none."""
MAX_TOKEN = 63
MAX_RAW = 256
"""Characters of a name that are kept as they are; a longer one ends in a digest of the whole."""
_DIGITS = (8, 16, 32)
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")


def bounded(name: str) -> str:
    """A name of bounded length that is still told from every other one."""
    return name if len(name) <= MAX_RAW else f"{name[:MAX_RAW]}…{_digest(name, 32)}"


@lru_cache(maxsize=1024)
def token_of(name: str) -> str:
    """A name as one topic token of at most 63 characters; different names may give the same one."""
    return _UNSAFE.sub("-", name[:MAX_RAW]).strip("-")[:MAX_TOKEN] or DEFAULT_NAME


def candidates(name: str) -> Iterator[str]:
    """Tokens that a name may have, the one to try first at the front."""
    token = token_of(name)
    yield token
    for digits in _DIGITS:
        yield f"{token[: MAX_TOKEN - digits - 1]}-{_digest(name, digits)}"


def surest(name: str) -> str:
    """The token that no other name comes to, whoever holds what."""
    *_, last = candidates(name)
    return last


def _digest(name: str, digits: int) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:digits]


class NameBook:
    """Which name holds which token, in memory; the first that comes to a token keeps it."""

    def __init__(self) -> None:
        self.tokens: dict[str, str] = {}
        self._held: set[str] = set()

    def take(self, name: str, token: str) -> None:
        """Notes that a name holds a token."""
        self.tokens[name] = token
        self._held.add(token)

    def token(self, name: str) -> str:
        """The token of a name, now and later."""
        known = self.tokens.get(name)
        if known is None:
            known = next((token for token in candidates(name) if token not in self._held), surest(name))
            self.take(name, known)
        return known
