"""What attackers wrote, at the limits: each class of character, lengths, depths and numbers."""

from __future__ import annotations

import json
import math
from typing import Any, ClassVar

import pytest

from decnet.hostile import MAX_DEPTH, storable, storable_text, visible
from tests.fuzzkit import obeyed


def nest(levels: int, leaf: Any = "x", *, mapping: bool = False) -> Any:
    """``levels`` lists (or mappings) around a leaf."""
    for _ in range(levels):
        leaf = {"k": leaf} if mapping else [leaf]
    return leaf


def depth_of(value: Any) -> int:
    levels = 0
    while isinstance(value, (list, dict)):
        value, levels = (value["k"] if isinstance(value, dict) else value[0]), levels + 1
    return levels


@pytest.mark.parametrize("mapping", [False, True])
def test_a_value_is_kept_to_the_last_level_and_is_text_below_it(mapping: bool) -> None:
    whole = nest(MAX_DEPTH + 1, mapping=mapping)
    same = storable(whole) == whole
    assert same  # not compared in the assertion: explaining where such values differ takes minutes
    cut = storable(nest(MAX_DEPTH + 2, mapping=mapping))
    assert depth_of(cut) == MAX_DEPTH + 1
    for _ in range(MAX_DEPTH + 1):
        cut = cut["k"] if mapping else cut[0]
    assert cut == ("{'k': 'x'}" if mapping else "['x']")


@pytest.mark.parametrize("levels", [34, 900, 3_200, 20_000])
def test_depth_fails_nothing(levels: int) -> None:
    """A payload of 900 levels is what JSON readers let through; it must not fail the batch that it is in."""
    kept = storable({"a": nest(levels), "b": 1})
    assert depth_of(kept["a"]) <= MAX_DEPTH + 1
    assert kept["b"] == 1
    assert len(json.dumps(kept)) < 1_200
    assert not obeyed(visible(nest(levels), 80))


def test_what_lies_too_deep_is_cut_to_a_thousand_characters() -> None:
    leaf = storable(nest(MAX_DEPTH + 1, ["y" * 5000]))
    for _ in range(MAX_DEPTH + 1):
        leaf = leaf[0]
    assert leaf == "['" + "y" * 998


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (2**63 - 1, 2**63 - 1), (2**63, str(2**63)), (-(2**63), -(2**63)), (-(2**63) - 1, str(-(2**63) - 1)), (True, True), (None, None),
        (0.5, 0.5), (1e308, 1e308), (math.inf, None), (-math.inf, None), ((1, 2), [1, 2]), (frozenset({3}), [3]), ({1: "a"}, {"1": "a"}),
        ({"a\0": "b\ud800"}, {"a\ufffd": "b\ufffd"}), ("\0", "\ufffd"), ("\ud83d\ude00", "\ufffd\ufffd"), ("\U0001f600é", "\U0001f600é"),
        (b"x", "b'x'"),
    ],
)  # fmt: skip
def test_what_both_databases_take(value: Any, kept: Any) -> None:
    found = storable(value)
    assert found == kept
    assert type(found) is type(kept)


def test_no_number_is_stored_as_none_of_a_kind() -> None:
    assert storable(math.nan) is None
    assert storable(10**5000) == "(int that cannot be written out)"
    assert visible(10**5000) == "(int that cannot be written out)"
    assert storable_text("plain\0") == "plain\ufffd"


@pytest.mark.parametrize(
    ("char", "shown"),
    [
        ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"), ("\x1b", "\\e"), ("\0", "\\0"), ("\x07", "\\x07"), ("\x08", "\\x08"), ("\x1f", "\\x1f"),
        ("\x7f", "\\x7f"), ("\x80", "\\x80"), ("\x85", "\\x85"), ("\x9b", "\\x9b"), ("\x9f", "\\x9f"), ("\xa0", "\\xa0"), ("\xad", "\\xad"),
        ("\u0301", "\\u0301"), ("\u0903", "\\u0903"), ("\u20dd", "\\u20dd"), ("\u061c", "\\u061c"), ("\u115f", "\\u115f"), ("\u1160", "\\u1160"),
        ("\u11ff", "\\u11ff"), ("\ud7b0", "\\ud7b0"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029"), ("\u200b", "\\u200b"), ("\u200f", "\\u200f"),
        ("\u202a", "\\u202a"), ("\u202e", "\\u202e"), ("\u2066", "\\u2066"), ("\u2069", "\\u2069"), ("\u2800", "\\u2800"), ("\u3000", "\\u3000"),
        ("\u3164", "\\u3164"), ("\uffa0", "\\uffa0"), ("\ufeff", "\\ufeff"), ("\ufe0f", "\\ufe0f"), ("\ud800", "\\ud800"), ("\udfff", "\\udfff"),
        ("\ue000", "\\ue000"), ("\ufffe", "\\ufffe"), ("\U000e0001", "\\U000e0001"), ("\U0001f1e6", "\\U0001f1e6"), ("\U0001f3fb", "\\U0001f3fb"),
        ("\U0010fffe", "\\U0010fffe"),
        (" ", " "), ("~", "~"), ("\xa1", "\xa1"), ("é", "é"), ("漢", "漢"), ("\u10ff", "\u10ff"), ("\u1200", "\u1200"), ("\U0001f3fa", "\U0001f3fa"),
        ("\U0001f400", "\U0001f400"), ("[red]x[/]", "[red]x[/]"),
    ],
)  # fmt: skip
def test_each_class_of_character_is_written_out_or_stays(char: str, shown: str) -> None:
    assert visible(char) == shown
    assert visible(f"a{char}b") == f"a{shown}b"


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("abcde", 5, "abcde"), ("abcdef", 5, "abcd…"), ("abcde", 6, "abcde"), ("ab", 1, "…"), ("ab", 0, ""), ("", 0, ""), ("a", 0, ""),
        ("\x1b\x1b", 4, "\\e\\e"), ("\x1b\x1b", 3, "\\e…"), ("\u202e", 5, "\\u20…"), ("\u202e", 6, "\\u202e"), ("a" * 9, None, "a" * 9),
        (None, 5, ""), (0, 5, "0"), (False, 9, "False"), ([1], 9, "[1]"),
    ],
)  # fmt: skip
def test_a_cut_is_marked_and_only_made_beyond_the_limit(text: Any, limit: int | None, shown: str) -> None:
    assert visible(text, limit) == shown


def test_a_long_text_with_a_limit_costs_no_more_than_the_limit() -> None:
    class Counted(str):
        """Text that tells how much of it was looked at."""

        taken: ClassVar[list[int]] = []

        def __getitem__(self, part: Any) -> str:
            Counted.taken.append(part.stop)
            return str.__getitem__(self, part)

    assert visible(Counted("\x1b" * 1_000_000), 10) == "\\e" * 4 + "\\…"
    assert Counted.taken == [11]
