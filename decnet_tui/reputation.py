"""What others say of an address, in words; for views and commands alike. Knows no terminal."""

from __future__ import annotations

from decnet.events.intel import Answer
from decnet.hostile import visible


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
