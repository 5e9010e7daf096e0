"""The table of faults: one TOML file an area, one ``[[mutant]]`` a fault.

A mutant names the promise it breaks (``guard``), the text it replaces (``find``, which stands exactly once
in ``file``) and the tests that have to fail. ``survives`` explains one that nothing can notice.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault; paths are relative to the root of the tree."""

    id: str
    guard: str
    file: str
    find: str
    replace: str
    tests: tuple[str, ...]
    area: str
    survives: str = ""

    def faulty(self, root: Path = ROOT) -> str:
        """The text of the file with the fault in it. Raises ValueError when ``find`` is not there once."""
        text = (root / self.file).read_text("utf-8")
        if (times := text.count(self.find)) != 1:
            raise ValueError(f"{self.id}: its text stands {times} times in {self.file}")
        if self.find == self.replace:
            raise ValueError(f"{self.id}: changes nothing")
        return text.replace(self.find, self.replace)


def load(folder: Path = FOLDER) -> list[Mutant]:
    """All mutants, by area and as they stand in its file. Raises TypeError for a key that is none."""
    out = []
    for path in sorted(folder.glob("*.toml")):
        rows = tomllib.loads(path.read_text("utf-8"))["mutant"]
        out += [Mutant(**{**row, "tests": tuple(row["tests"]), "area": path.stem}) for row in rows]
    return out
