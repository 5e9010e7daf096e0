"""Strict YAML: what is refused, at its limit, and the place of every key and value."""

from __future__ import annotations

import pytest

from decnet.errors import SourcePosition
from decnet.yaml_places import MAX_DEPTH, parse_strict


def flaws(text: str) -> list[str]:
    document, found = parse_strict(text, "f")
    assert found or document
    return [f"{flaw.place}: {flaw.message}" for flaw in found]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ["f:1:1: the file is empty"]),
        ("a: &x 1\n", ["f:1:4: anchor '&x' is not allowed"]),
        ("a: *x\n", ["f:1:4: alias '*x' is not allowed"]),
        ("a: &x [1]\nb: *x\n", ["f:1:4: anchor '&x' is not allowed", "f:2:4: alias '*x' is not allowed"]),
        ("a: 1\n---\nb: 2\n---\nc: 3\n", ["f:2:1: only one document a file"]),
        ("a: 1\na: 2\nb: {c: 1, c: 2}\n", ["f:2:1: duplicate key 'a'", "f:3:11: duplicate key 'c'"]),
        ("a: !!python/object:os.system x\n", ["f:1:4: tag 'tag:yaml.org,2002:python/object:os.system' is not allowed"]),
        ("a: !!binary aGk=\n", ["f:1:4: tag 'tag:yaml.org,2002:binary' is not allowed"]),
        ("? [a]\n: 1\n", ["f:1:3: a key must be plain text"]),
        ("a: [\n", ["f:2:1: not YAML: expected the node content, but found '<stream end>'"]),
        ("a: 1\nb: \x07\n", ["f:2:4: not YAML: unacceptable character #x0007: special characters are not allowed"]),
        ("\x07", ["f:1:1: not YAML: unacceptable character #x0007: special characters are not allowed"]),
        ("a: !!int x\n", ["f:1:4: bad value: invalid literal for int() with base 10: 'x'"]),
    ],
)  # fmt: skip
def test_what_is_refused_and_where(text: str, said: list[str]) -> None:
    assert flaws(text) == said


def test_nesting_is_bounded_to_the_level() -> None:
    assert MAX_DEPTH == 50
    assert flaws("[" * 50 + "]" * 50) == []
    assert flaws("[" * 51 + "]" * 51) == ["f:1:51: nesting over 50"]
    assert flaws("[" * 100_000)[-1] == "f:1:51: nesting over 50", "and what is deeper is not read on"
    wide = "- [[1]]\n" * 60
    assert flaws(wide) == [], "one beside the other is no nesting"


def test_words_that_look_like_something_else_stay_text() -> None:
    document, found = parse_strict("a: 2024-01-02\nb: =\nc: yes\nd: 0x10\n<<: 1\ne: null\nf: 1.5\n", "f")
    assert found == []
    assert document is not None
    assert document.value == {"a": "2024-01-02", "b": "=", "c": True, "d": 16, "<<": 1, "e": None, "f": 1.5}


def test_every_key_and_value_keeps_its_place_and_what_is_absent_the_nearest() -> None:
    document, _ = parse_strict("a:\n  b: [1, {c: 2}]\n", "f")
    assert document is not None
    assert document.key_place(("a", "b")) == SourcePosition("f", 2, 3)
    assert document.value_place(("a", "b", 1)) == SourcePosition("f", 2, 10)
    assert document.key_place(("a", "b", 1, "c")) == SourcePosition("f", 2, 11)
    assert document.key_place(("a", "b", 1, "missing", "deeper")) == SourcePosition("f", 2, 10)
    assert document.key_place(("nowhere",)) == SourcePosition("f", 1, 1)


def test_numeric_keys_are_text() -> None:
    document, found = parse_strict("1: a\ntrue: b\n", "f")
    assert (found, document and document.value) == ([], {"1": "a", "true": "b"})
