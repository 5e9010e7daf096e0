"""What a line says beside its facts is kept with the session, but nothing that gets somebody in; pure."""

from __future__ import annotations

import re
from typing import Any

SECRET = re.compile(r"pass|secret|community|token|auth_data|authorization|cookie", re.IGNORECASE)
"""Names of fields and headers whose values get somebody in."""
_MAX_DEPTH = 8


def without_secrets(value: Any, depth: int = 0) -> Any:
    """A value without the headers and fields in it that hold passwords."""
    if depth > _MAX_DEPTH:
        return None
    if isinstance(value, dict):
        known = ((k, v) for k, v in value.items() if not SECRET.search(str(k)))
        return {k: without_secrets(v, depth + 1) for k, v in known}
    if isinstance(value, list):
        pair = len(value) == 2 and isinstance(value[0], str) and SECRET.search(value[0])
        return [value[0]] if pair else [without_secrets(item, depth + 1) for item in value]
    return value
