"""Ids as people type them: whole, or the beginning that a screen shows."""

from __future__ import annotations

LEAST_CHARS = 4
"""Characters that name an id when no other one begins with them; the repository goes by the same number."""


def names(text: str, *ids: str | None) -> bool:
    """Whether a text is one of some ids, or the beginning of one; an address has to stand there whole."""
    wanted = text.lower()
    if any(one is not None and wanted == one.lower() for one in ids):
        return True
    beginning = len(wanted) >= LEAST_CHARS and "." not in wanted and ":" not in wanted
    return beginning and any(one is not None and one.lower().startswith(wanted) for one in ids)
