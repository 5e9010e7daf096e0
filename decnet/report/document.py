"""What a report is made of: headings, paragraphs, tables and two kinds of plots, all of plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Heading:
    """Begins a chapter."""

    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Some sentences."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells. ``code`` are the columns (from 0) whose text is what somebody typed or a value of a machine's."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    code: frozenset[int] = frozenset()
    more: int = 0
    """Rows that are left out."""


@dataclass(frozen=True, slots=True)
class Bars:
    """Values by name, the greatest first; ``unit`` says what is counted."""

    title: str
    values: Sequence[tuple[str, int]]
    unit: str


@dataclass(frozen=True, slots=True)
class Columns:
    """Counts of spans that follow each other, each by its beginning; ``step_s`` is how long one is, in seconds."""

    title: str
    values: Sequence[tuple[datetime, int]]
    step_s: int
    unit: str


Block = Heading | Paragraph | Table | Bars | Columns


@dataclass(frozen=True, slots=True)
class Document:
    """A report: what it is about, the few sentences that everybody reads, and the rest."""

    title: str
    about: str
    made_at: datetime
    lead: Sequence[str]
    blocks: Sequence[Block]


def empty(block: Block) -> bool:
    """Whether there is nothing to show of a table or a plot."""
    return (isinstance(block, Table) and not block.rows) or (
        isinstance(block, (Bars, Columns)) and not any(count for _, count in block.values)
    )
