"""The fast YAML parser and the slow one are one to whoever reads a file: values, places, flaws."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from decnet import yaml_places
from decnet.yaml_places import MAX_DEPTH, Document, Flaw, parse_strict

RULES = sorted((Path(__file__).parents[2] / "rules" / "ttp").glob("*.y*ml"))
HOSTILE = {
    "flow": "[" * 300_000,
    "maps": "{a: " * 200_000,
    "blocks": "- " * 200_000,
    "keys": "? " * 100_000,
    "anchor": "a: &x 1\nb: *x\n",
    "tab": "a: \t- b",
    "colon": "a: b: c",
    "nul": "\x00",
    "surrogate": "a: \ud800",
    "documents": "a: 1\n---\nb: 2\n",
    "tag": "a: !!python/object x",
    "quote": "'" * 9999,
    "indent": "a:\n   - b\n  - c",
    "bom": "\ufeffa: 1",
    "separator": "a: \u2028b",
    "beyond": "a: 'ünï\U0001f600' # x\nb: 1",
    "empty": "",
    "comment": "# nothing",
}
ALPHABET = st.text(st.sampled_from("ab1 \n:-[]{}'\"#&*!|>?,\t\u00fc"), max_size=60)


def slowly(text: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Document | None, list[Flaw]]:
    with monkeypatch.context() as patch:
        patch.setattr(yaml_places, "_FAST", None)
        return parse_strict(text, "f")


def test_the_fast_parser_is_there() -> None:
    assert yaml_places._FAST is yaml.CSafeLoader


def test_every_rule_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    for path in RULES:
        text = path.read_text("utf-8")
        assert parse_strict(text, "f") == slowly(text, monkeypatch), path.name


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_is_hostile_reads_the_same(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_strict(text, "f") == slowly(text, monkeypatch)


def test_depth_is_refused_by_both_at_the_same_place(monkeypatch: pytest.MonkeyPatch) -> None:
    for depth in (MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1):
        text = "[" * depth + "]" * depth
        document, flaws = parse_strict(text, "f")
        assert (document, flaws) == slowly(text, monkeypatch)
        assert bool(flaws) == (depth > MAX_DEPTH)


@settings(max_examples=1000)
@given(ALPHABET)
def test_a_text_of_any_kind_says_the_same(text: str) -> None:
    fast = parse_strict(text, "f")
    with pytest.MonkeyPatch.context() as patch:
        slow = slowly(text, patch)
    if fast[1]:
        assert fast == slow
    elif slow[1]:  # libyaml lets a little more through (``>#``), and nothing that has a value
        assert fast[0] is not None
    else:
        values = [None if document is None else document.value for document, _ in (fast, slow)]
        assert values[0] == values[1]
