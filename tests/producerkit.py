"""The cases of producers: what goes in, and what has to come out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CASES = Path(__file__).parent / "fixtures" / "cases" / "producers.json"


def case(ident: str) -> dict[str, Any]:
    """One case by its id."""
    found: dict[str, Any] = next(one for one in json.loads(CASES.read_text())["cases"] if one["id"] == ident)
    return found
