"""What the quick way writes is what the standard library writes, and refuses what that refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.jsontext import encoded, loads

_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(_ANY)
def test_what_is_written_is_ascii_and_reads_as_it_was(value: Any) -> None:
    text = encoded(value)
    assert text.isascii()
    assert json.loads(text) == value
    assert loads(text) == value


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        {"a": [1, float("-inf")]},
        {"a": None, "b": [None, [float("nan")]]},
        (None, float("nan")),
    ],
)
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        encoded(value)


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(TypeError):
        encoded({"a": object()})


@pytest.mark.parametrize(
    "value",
    [
        "\ud800",
        "é\x00",
        2**70,
        {"null": None},
        {"a": None, "b": [None, 1.5, {"c": True}]},
        {1: "a"},
        [None, (1, None)],
    ],
)
def test_what_only_the_standard_library_writes_is_left_to_it(value: Any) -> None:
    assert encoded(value) == json.dumps(value, separators=(",", ":")).encode()
