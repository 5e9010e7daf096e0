"""The words for an alert's state, verdict and odds; one place for console and commands. Knows no terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

VERDICTS: Mapping[str, str] = {
    "two_people": "two people",
    "one_two_tools": "one, two tools",
    "wrong": "wrong",
}
"""What an operator may find, as it is stored and as it is said; the repository has the same names."""


def verdict_named(text: str) -> str:
    """The stored name of a verdict that is said, or begun. Raises ValueError that lists them."""
    cleaned = text.strip().lower().replace("-", " ").replace("_", " ")
    for names in (VERDICTS.values(), (name.replace("_", " ") for name in VERDICTS)):
        found = [
            name for name, said in zip(VERDICTS, names, strict=True) if cleaned and said.startswith(cleaned)
        ]
        if len(found) == 1:
            return found[0]
    raise ValueError(f"what was found? {' / '.join(VERDICTS.values())}")


def closed_as(row: Mapping[str, Any]) -> str:
    """``resolved: two people``, or the state alone."""
    verdict = VERDICTS.get(str(row.get("verdict")))
    return f"{row['state']}: {verdict}" if verdict else str(row["state"])


def odds(power: object) -> str:
    """Odds, of which the power of ten is known: ``10^12 to 1``."""
    if not isinstance(power, (int, float)) or power != power:  # noqa: PLR0124 - not a number
        return "?"
    return f"10^{power:.0f} to 1" if abs(power) >= 10 else f"10^{power:.1f} to 1"
