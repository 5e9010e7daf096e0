"""What the evidence of a tag may hold, by source kind: nothing that names a person, no body, no password."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from decnet.hostile import storable

_NEVER = frozenset({"password", "passwords", "secret", "secrets", "pwd_text"})
_HIDDEN_MATCH = frozenset({"email", "canary_fingerprint"})
"""Kinds whose matched text is a header value or a script's answer: the text stays out."""


def checked_evidence(source_kind: str, why: Mapping[str, Any]) -> dict[str, Any]:
    """The part of ``why`` that may be stored, storable on both databases."""
    kept = {name: value for name, value in why.items() if name not in _NEVER}
    if source_kind in _HIDDEN_MATCH:
        kept.pop("matched", None)
    out: dict[str, Any] = storable(kept)
    return out
