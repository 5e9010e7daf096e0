"""Passwords and numbers in baits, derived from the slug: nobody learns the slug from them, and none has to be kept."""

from __future__ import annotations

import base64
import hashlib


def derived(slug: str, what: str, count: int = 32) -> bytes:
    """``count`` bytes that hang on slug and name."""
    return hashlib.shake_256(f"decnet-bait\0{what}\0{slug}".encode()).digest(count)


def word(slug: str, what: str, length: int) -> str:
    """Letters and digits of that length."""
    raw = base64.b64encode(derived(slug, what, length * 2)).decode()
    return "".join(char for char in raw if char.isalnum())[:length]


def key_text(slug: str, what: str) -> str:
    """32 bytes in base64, as WireGuard writes keys."""
    return base64.b64encode(derived(slug, what)).decode()
