"""No text reaches a widget that reads markup, and private parts of the framework stay in one module."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import decnet_tui
from decnet_tui.commands import COMMANDS
from decnet_tui.keymap import Keys
from decnet_tui.model import keys
from decnet_tui.model.keys import key

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


# --- keys in texts: the registry alone knows which key means what, and an operator may change it

IN_A_TEXT = re.compile(
    r"\b[Vv]iew \d|\b\d shows|(?:(?:^|[( ])(?:Enter|Esc)|(?:  |\()[A-Za-z=/\\]): [a-z]|\b[A-Z] (?:ends|works|on it|quits|follows|plays|tries|mutates|undoes)\b"
    r"|\bctrl\+p\b (?:shows|opens)"
)
"""How a text looks that holds a key itself."""


def texts(tree: ast.Module) -> Iterator[ast.Constant]:
    """String constants but docstrings."""
    said = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node


def test_no_text_holds_a_key() -> None:
    rooms = [path for path in SOURCES if path.parent.name != "launch"]
    found = [
        f"{path.relative_to(HERE)}:{node.lineno} {node.value}"
        for path in rooms
        for node in texts(ast.parse(path.read_text()))
        if IN_A_TEXT.search(str(node.value))
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "(view 2)",
        "6 shows whether",
        "Enter: page",
        "  i: sessions",
        "B on it in",
        "Q quits",
        "M mutates",
        "ctrl+p shows all",
    ],
)
def test_a_key_in_a_text_would_be_found(text: str) -> None:
    assert IN_A_TEXT.search(text)


def test_keys_in_texts_are_those_of_commands_that_exist() -> None:
    known, named = {command.id for command in COMMANDS}, set()
    for path in (p for p in SOURCES if p.name != "keys.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "key":
                (argument,) = node.args
                assert isinstance(argument, ast.Constant), f"{path.name}:{node.lineno}"
                named.add(argument.value)
    assert named <= known
    assert len(named) > 20


def test_a_text_names_the_key_that_the_operator_chose() -> None:
    keys.use(Keys(COMMANDS, {"follow": "ctrl+g", "filter.clear": ""}).names())
    assert (key("follow"), key("filter.clear"), key("open")) == ("ctrl+g", ":clear", "Enter")
    keys.use({})
    assert key("view.fleet") == "fleet", "where no console runs"
