"""``docs/faults.md``: what can go wrong, what holds against it, and the test that shows it; made of the tests' own marks.

    python -m tests.fault.table

A row is ``@pytest.mark.fault(fault=..., guard=..., control=..., figure=...)`` on a test. ``control`` is what fails once
the guard is taken away: a test (of the same file, or ``path::name``), ``mutant ID`` (a row of tests/mutants), or
``itself`` where the test does both; several with commas between them.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.mutants.table import load

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "faults.md"
KEYS = ("fault", "guard", "control", "figure")
_MARKED = "pytest.mark.fault("
_MUTANT = "mutant "
_HEAD = """# Faults

What can go wrong, what holds against it, and how that is known. Written by `python -m tests.fault.table` from the marks
of the tests; do not edit. A control is what fails once the guard is taken away: a test of its own, or a fault of
[tests/mutants](../tests/mutants) (`make mutants`). Tests with (soak) run at a fiftieth of their size in `make check` and
at full size in `make soak`; figures are those of the full size.

| fault | guard | test | control | figure |
|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One fault; ``test`` and ``controls`` are ``path::name`` below the root of the tree, or a mutant's name."""

    fault: str
    guard: str
    controls: tuple[str, ...]
    figure: str
    test: str
    soak: bool


def rows() -> list[Row]:
    """All of them, by file and as they stand in it. Raises ValueError for a mark that says too little or too much."""
    found: list[Row] = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if _MARKED in path.read_text("utf-8"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found += _of(importlib.import_module(name), path.relative_to(ROOT).as_posix())
    return found


def cases_of(module: ModuleType) -> list[tuple[str, Any]]:
    """The tests of a module by their names, as they stand in it."""
    own = [
        (name, it)
        for name, it in vars(module).items()
        if name.startswith("test_") and getattr(it, "__module__", "") == module.__name__
    ]
    return sorted(own, key=lambda found: found[1].__code__.co_firstlineno)


def _of(module: ModuleType, path: str) -> Iterator[Row]:
    common = getattr(module, "pytestmark", [])
    shared = {mark.name for mark in (common if isinstance(common, list) else [common])}
    for name, test in cases_of(module):
        marks = getattr(test, "pytestmark", [])
        soak = "soak" in shared | {mark.name for mark in marks}
        for mark in marks:
            if mark.name == "fault":
                yield _row(mark.args, mark.kwargs, f"{path}::{name}", soak)


def _row(args: tuple[Any, ...], said: dict[str, Any], test: str, soak: bool) -> Row:
    if args or sorted(said) != sorted(KEYS) or not all(isinstance(v, str) and v for v in said.values()):
        raise ValueError(f"{test}: a mark of a fault says {', '.join(KEYS)}")
    if any(set("|\n") & set(value) for value in said.values()):
        raise ValueError(f"{test}: a mark of a fault is a row of a table")
    controls = tuple(_placed(one, test) for one in said["control"].split(", "))
    return Row(said["fault"], said["guard"], controls, said["figure"], test, soak)


def _placed(control: str, test: str) -> str:
    """A control with the file that it is in."""
    if control == "itself":
        return test
    if control.startswith(_MUTANT) or "::" in control:
        return control
    return f"{test.partition('::')[0]}::{control}"


def missing(found: list[Row]) -> list[str]:
    """Controls that are not there."""
    mutants = {mutant.id for mutant in load()}
    return [
        f"{row.test}: no control {control}"
        for row in found
        for control in row.controls
        if not _is_there(control, mutants)
    ]


def _is_there(control: str, mutants: set[str]) -> bool:
    if control.startswith(_MUTANT):
        return control.removeprefix(_MUTANT) in mutants
    path, _, name = control.partition("::")
    file = ROOT / path
    return file.is_file() and f"def {name}(" in file.read_text("utf-8")


def page(found: list[Row]) -> str:
    """The text of ``docs/faults.md``."""
    return _HEAD + "".join(_line(row) for row in found)


def _line(row: Row) -> str:
    test = f"{_linked(row.test)}{' (soak)' if row.soak else ''}"
    shown = ", ".join(_shown(control, row.test) for control in row.controls)
    return f"| {row.fault} | {row.guard} | {test} | {shown} | {row.figure} |\n"


def _shown(control: str, test: str) -> str:
    if control == test:
        return "the test itself"
    return f"`{control}`" if control.startswith(_MUTANT) else _linked(control)


def _linked(place: str) -> str:
    path, _, name = place.partition("::")
    return f"[{name}](../{path})"


def main() -> int:
    """Writes the page; 1 when a control is not there."""
    found = rows()
    if wrong := missing(found):
        print("\n".join(wrong), file=sys.stderr)
        return 1
    PAGE.write_text(page(found), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
