"""The nonce of a page's script: who reports has fetched the script from the same address a moment before.

It hangs on the peer and the minute, not on the token: a page of a known token and one of an unknown token are the
same bytes.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

MINUTE_S: Final = 60
LIVES: Final = 10
"""Minutes for which a nonce counts."""
_DIGITS = 32


def nonce_of(key: bytes, peer: str, at: float) -> str:
    """The nonce for a peer at a moment (epoch seconds)."""
    return _nonce(key, peer, int(at // MINUTE_S))


def _nonce(key: bytes, peer: str, minute: int) -> str:
    text = f"canary-report\0{peer}\0{minute}".encode("utf-8", "replace")
    return hmac.new(key, text, hashlib.sha256).hexdigest()[:_DIGITS]


def is_good(key: bytes, peer: str, at: float, nonce: str) -> bool:
    """Whether that peer was given the nonce within the last :data:`LIVES` minutes."""
    if len(nonce) != _DIGITS or not nonce.isascii():
        return False
    now = int(at // MINUTE_S)
    return any(hmac.compare_digest(_nonce(key, peer, now - back), nonce) for back in range(LIVES + 1))
