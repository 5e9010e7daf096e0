"""Markdown for generated pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def cell(text: str) -> str:
    """A text as a cell: one line, bars escaped."""
    return " ".join(text.split()).replace("|", "\\|").replace("``", "`")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, empty for none."""
    found = [list(row) for row in rows]
    if not found:
        return ""
    lines = [head, ["---"] * len(head), *found]
    return "".join(f"| {' | '.join(map(cell, line))} |\n" for line in lines) + "\n"


def anchor(title: str) -> str:
    """What a title is called in a link, as forges make it."""
    kept = "".join(c for c in title.lower() if c.isalnum() or c in " -_")
    return kept.replace(" ", "-")
