"""docs/faults.md is what the marks of the tests say, and every test of a fault has a mark and a control."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.fault import table
from tests.fault.table import KEYS, PAGE, ROOT, cases_of, missing, page, rows

ROWS = rows()


def test_the_page_is_what_the_tests_say() -> None:
    assert PAGE.read_text("utf-8") == page(ROWS), "python -m tests.fault.table"


def test_every_control_is_there() -> None:
    assert missing(ROWS) == []


def test_every_test_of_a_fault_is_marked_or_is_the_control_of_one_that_is() -> None:
    known = {row.test for row in ROWS} | {control for row in ROWS for control in row.controls}
    found = [
        f"{path.relative_to(ROOT).as_posix()}::{name}"
        for path in sorted(Path(table.__file__).parent.glob("test_*.py"))
        for name, _ in cases_of(importlib.import_module(f"tests.fault.{path.stem}"))
    ]
    assert [test for test in found if test not in known] == []


@pytest.mark.parametrize("without", KEYS)
def test_a_mark_says_all_of_it(without: str) -> None:
    said = {key: "x" for key in KEYS if key != without}
    with pytest.raises(ValueError, match="a mark of a fault says"):
        table._row((), said, "tests/fault/test_a.py::test_a", soak=False)


def test_a_control_that_is_not_there_is_named() -> None:
    def row(control: str) -> table.Row:
        said = {**dict.fromkeys(KEYS, "x"), "control": control}
        return table._row((), said, "tests/unit/test_fault_table.py::test_every_control_is_there", soak=True)

    both = row("test_a_mark_says_all_of_it, mutant no-such")
    assert len(both.controls) == 2
    assert missing([both]) == [f"{both.test}: no control mutant no-such"]
    good = [row("itself"), row("test_a_mark_says_all_of_it"), row("mutant runtime-ack-before-commit")]
    bad = [row("test_nothing"), row("mutant no-such"), row("tests/none.py::test_nothing")]
    assert missing(good) == []
    assert len(missing(bad)) == 3
    assert "(soak)" in page(good)
    assert "the test itself" in page(good[:1])
