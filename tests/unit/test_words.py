"""The words for times, durations and counts: singular and plural right, and made in one place."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

import decnet_tui
from decnet_tui.model import words

HERE = Path(decnet_tui.__file__).parent
SOURCES = [path for path in HERE.rglob("*.py") if "bench" not in path.parts]
NOUNS = re.compile(
    r" (?:address(?:es)?|actors?|alerts?|attackers?|bytes?|campaigns?|commands?|decoys?|downloads?|errors?|events?|files?|heartbeats?|hits?|"
    r"identit(?:y|ies)|letters?|lines?|rows?|rules?|sensors?|sessions?|sources?|tags?|techniques?|times?|workers?)\b"
)


@pytest.mark.parametrize(
    ("number", "one", "many", "text"),
    [
        (0, "command", "", "0 commands"), (1, "command", "", "1 command"), (2, "command", "", "2 commands"),
        (1, "identity", "identities", "1 identity"), (3, "identity", "identities", "3 identities"), (None, "event", "", "? events"),
    ],
)  # fmt: skip
def test_a_count_has_the_right_number(number: int | None, one: str, many: str, text: str) -> None:
    assert words.counted(number, one, many) == text


def test_moments_are_told_in_utc_wherever_they_are_from() -> None:
    east = datetime(2026, 3, 1, 1, 2, 3, tzinfo=timezone(timedelta(hours=9)))
    assert (words.day(east), words.stamp(east)) == ("2026-02-28", "2026-02-28 16:02:03")
    assert (words.day(None), words.stamp(None)) == ("-", "-")
    assert words.clock(east.astimezone(UTC).timestamp(), "date") == words.stamp(east)


def test_a_session_that_has_not_ended_is_open() -> None:
    assert (words.lasted(None, 5.0), words.lasted(east := 1.0, 65.0), words.lasted(east, None)) == (
        "open",
        "65s",
        "0s",
    )


def counts(source: str) -> Iterator[str]:
    """Numbers that stand in a text with a noun behind them, whatever the number is."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.JoinedStr):
            continue
        for before, after in zip(node.values, node.values[1:], strict=False):
            spoken = isinstance(before, ast.FormattedValue) and isinstance(after, ast.Constant)
            if spoken and not is_text(before.value) and NOUNS.match(str(after.value)):  # type: ignore[attr-defined]
                yield f"{node.lineno}: {{{ast.unparse(before.value)}}}{after.value}"  # type: ignore[attr-defined]


TEXTS = {"visible", "key", "join", "short", "counted", "upper", "clock", "_text", "_listed", "_ago", "_sizes"}
"""Functions that give texts."""


def is_text(node: ast.expr) -> bool:
    """Whether a value is plainly no count: made by a function for texts, a constant, or a word of a row."""
    if isinstance(node, ast.IfExp):
        return is_text(node.body) and is_text(node.orelse)
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Constant) and node.slice.value == "unasked"
    if isinstance(node, ast.Attribute):
        return node.attr in ("stale", "unasked")
    if isinstance(node, ast.Name):
        return node.id.isupper()
    called = node.func if isinstance(node, ast.Call) else None
    name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
    return isinstance(node, ast.Constant) or name in TEXTS


def test_counts_are_put_into_words_in_one_place() -> None:
    found = [f"{path.relative_to(HERE)}:{each}" for path in SOURCES for each in counts(path.read_text())]
    assert found == []


def test_a_count_without_its_number_would_be_found() -> None:
    assert list(counts('f"{count} sessions of {len(rows)} rules"')) == [
        "1: {count} sessions of ",
        "1: {len(rows)} rules",
    ]
    assert not list(counts("f\"{visible(name)} events {counted(2, 'tag')} of it\""))
