"""The ATT&CK matrix of what was seen: tactics in their order, techniques with their counts. Plain data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from decnet.attack.catalogue import TACTIC_ORDER as ORDER
from decnet.attack.catalogue import Catalogue
from decnet.db.rows.lists import TechniqueCount

LEVELS = 8
"""Steps of heat; each is three times the one before."""


@dataclass(frozen=True)
class Cell:
    """One technique under one tactic; ``tags`` 0 was never seen. ``technique`` may be a sub-technique."""

    tactic: str
    technique: str
    name: str
    tags: int = 0
    actors: int = 0
    last: datetime | None = None
    new: bool = False
    """Whether nobody had it before the span that is shown."""

    @property
    def heat(self) -> int:
        """0 (never seen) to 8, on a scale of powers of three."""
        step, limit = 0, 1
        while self.tags >= limit and step < LEVELS:
            step, limit = step + 1, limit * 3
        return step


@dataclass(frozen=True)
class Tactic:
    """One column: its cells, the most seen first, then those never seen by name."""

    tactic: str
    name: str
    cells: tuple[Cell, ...]

    @property
    def seen(self) -> tuple[Cell, ...]:
        """Cells that were seen."""
        return tuple(cell for cell in self.cells if cell.tags)


def matrix(rows: Iterable[TechniqueCount], catalogue: Catalogue) -> list[Tactic]:
    """The columns. Techniques never seen stand without their sub-techniques: 200 lines, not 700."""
    found: dict[str, list[Cell]] = defaultdict(list)
    for row in rows:
        technique = str(row["sub_technique_id"] or row["technique_id"])
        found[str(row["tactic"])].append(
            Cell(
                str(row["tactic"]),
                technique,
                catalogue.name(technique),
                int(row["tags"]),
                int(row["actors"]),
                row["last"],
                row["new"],
            )
        )
    others = [tactic for tactic in found if tactic not in ORDER]
    return [_column(tactic, found[tactic], catalogue) for tactic in (*ORDER, *sorted(others))]


def _column(tactic: str, cells: list[Cell], catalogue: Catalogue) -> Tactic:
    parents = {cell.technique.partition(".")[0] for cell in cells}
    unseen = [
        Cell(tactic, t.technique_id, t.name)
        for t in catalogue.techniques.values()
        if tactic in t.tactics
        and not t.revoked
        and "." not in t.technique_id
        and t.technique_id not in parents
    ]
    ordered = sorted(cells, key=lambda c: (-c.tags, c.technique)) + sorted(unseen, key=lambda c: c.name)
    return Tactic(tactic, catalogue.tactic_name(tactic), tuple(ordered))
