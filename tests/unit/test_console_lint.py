"""No text reaches a widget that reads markup, and private parts of the framework stay in one module."""

from __future__ import annotations

import ast
from pathlib import Path

import decnet_tui

HERE = Path(decnet_tui.__file__).parent
SOURCES = [p for p in HERE.rglob("*.py") if "cli" not in p.relative_to(HERE).parts]
MARKUP = {"Static", "Label", "DataTable", "Tree", "RichLog", "Log", "Markdown", "notify", "LoadingIndicator"}


def test_no_widget_that_reads_markup() -> None:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = {getattr(node, "id", None), getattr(node, "attr", None)}
            assert not names & MARKUP, f"{path.name}:{getattr(node, 'lineno', 0)}"


def test_segments_are_made_in_one_place() -> None:
    users = {p.name for p in SOURCES if "Segment(" in p.read_text()}
    assert users == {"strips.py"}


def test_the_driver_is_touched_in_one_place() -> None:
    assert {p.name for p in SOURCES if "._driver" in p.read_text()} == {"clipboard.py"}


def test_textual_still_has_the_private_driver() -> None:
    from decnet.config import Settings
    from decnet_tui.app import DecnetApp
    from tests.consolekit import FakeSession

    assert hasattr(DecnetApp(Settings(), session=FakeSession()), "_driver")
