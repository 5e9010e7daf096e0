"""What others say of an address, in words; for views and commands alike. Knows no terminal."""

from __future__ import annotations

from datetime import UTC, datetime

from decnet.db.rows.intel import StoredAnswer
from decnet.events.intel import Answer
from decnet.hostile import visible

ABOUT_ALL = frozenset({"providers", "aggregate_verdict"})
"""Fields of a service's answer that say who answered and what it comes to."""


def told_by(answer: Answer) -> str:
    """One answer as text: its fields without the provider's name, lists as their members."""
    said = {name.removeprefix(f"{answer.provider}_"): value for name, value in answer.said.items()}
    texts = {
        name: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in said.items()
    }
    return (
        "  ".join(visible(f"{name} {text}", 200) for name, text in texts.items() if text) or "nothing known"
    )


def told_of_file(row: StoredAnswer) -> str:
    """What a service said of a file or a URL, with the day on which it was asked."""
    said = {key: value for key, value in (row["said"] or {}).items() if key not in ABOUT_ALL}
    words = told_by(Answer(row["service"], row["at"], said)).replace("  ", ", ")
    day = datetime.fromtimestamp(row["at"], UTC)
    return f"{row['service']}={words if row['known'] else 'not known there'} (asked {day:%Y-%m-%d})"
