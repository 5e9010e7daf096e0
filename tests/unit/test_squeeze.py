"""Lines that are too long lose the middles of their strings, and nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.sensors.files.squeeze import MARK, Squeezer

LIMIT = 10_000
VALUES = st.recursive(
    st.text(max_size=60) | st.integers() | st.none(),
    lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(max_size=8), v, max_size=4),
    max_leaves=12,
)


def squeezed(line: bytes, cuts: list[int], head: int = 8, tail: int = 8) -> Squeezer:
    squeezer = Squeezer(LIMIT, head=head, tail=tail)
    places = sorted({min(c, len(line)) for c in cuts})
    for start, end in zip([0, *places], [*places, len(line)], strict=True):
        squeezer.feed(line[start:end])
    return squeezer


@given(VALUES, st.lists(st.integers(0, 500), max_size=6), st.booleans())
def test_any_json_in_any_pieces_stays_json_of_the_same_shape(
    value: object, cuts: list[int], ascii_only: bool
) -> None:
    line = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    whole, parts = squeezed(line, []), squeezed(line, cuts)
    assert whole.line() == parts.line()
    kept = json.loads(whole.line().decode("utf-8", "replace"))
    assert shape(kept) == shape(value)


def shape(value: object) -> object:
    """Lists with what is in them; of a dictionary only that it is one, since names lose their middles as well."""
    return [shape(item) for item in value] if isinstance(value, list) else type(value)


@pytest.mark.parametrize(("size", "cut"), [(15, 0), (16, 0), (17, 1), (1000, 984)])
def test_a_string_is_kept_whole_up_to_head_and_tail(size: int, cut: int) -> None:
    text = "".join(chr(97 + i % 26) for i in range(size))
    squeezer = squeezed(json.dumps({"input": text, "session": "s"}).encode(), [])
    kept = json.loads(squeezer.line())
    assert squeezer.cut == cut
    assert kept["session"] == "s"
    assert kept["input"] == (text if not cut else text[:8] + MARK.format(cut) + text[-8:])


def test_escapes_are_never_cut_in_two() -> None:
    for escape in ("\\u00e9", "\\n", '\\"', "\\\\", "\\ud83d\\ude00"):
        for before in range(20):
            line = ('{"a": "' + "x" * before + escape * 40 + '", "b": 1}').encode()
            for cut in range(0, len(line), 3):
                assert json.loads(squeezed(line, [cut]).line())["b"] == 1


def test_a_line_that_stays_too_long_is_given_up_just_over_the_limit() -> None:
    for size, failed in ((LIMIT, False), (LIMIT + 1, True)):
        line = b"[" + b"1" * (size - 2) + b"]"
        assert squeezed(line, []).failed is failed


def test_memory_stays_small_whatever_comes() -> None:
    squeezer = Squeezer(LIMIT, head=8, tail=8)
    squeezer.feed(b'{"input": "')
    for _ in range(100):
        squeezer.feed(b"A" * 100_000)
    squeezer.feed(b'", "session": "s"}')
    assert squeezer.cut == 100 * 100_000 - 16
    assert len(squeezer.line()) < 100
