"""Inputs made of good ones: cut, doubled, spliced, repeated, with words of the grammar put in; shrunk when one fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import strategies as st

MAX_BYTES = 40_000
Edit = Callable[[bytes], bytes]


@st.composite
def mutated(draw: st.DrawFn, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """One input."""
    data = draw(st.sampled_from(seeds) | st.binary(max_size=80))
    for _ in range(draw(st.integers(0, 6))):
        data = _edited(draw, data, seeds, words)[:MAX_BYTES]
    return data


def _edited(draw: st.DrawFn, data: bytes, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    kind = draw(st.sampled_from(["cut", "double", "word", "word", "byte", "splice", "repeat", "nest"]))
    begin = draw(st.integers(0, len(data)))
    end = min(begin + draw(st.integers(0, 60)), len(data))
    if kind == "cut":
        return data[:begin] + data[end:]
    if kind == "double":
        return data[:end] + data[begin:]
    if kind == "word":
        return data[:begin] + draw(st.sampled_from(words)) + data[begin:]
    if kind == "byte":
        return data[:begin] + draw(st.binary(min_size=1, max_size=3)) + data[begin + 1 :]
    if kind == "splice":
        other = draw(st.sampled_from(seeds))
        return data[:begin] + other[draw(st.integers(0, len(other))) :]
    piece = data[begin:end] or draw(st.sampled_from(words))
    times = draw(st.integers(1, 300))
    if kind == "repeat":
        return data[:begin] + piece * times + data[end:]
    return data[:begin] + piece * times + data[begin:end] + piece[::-1] * times + data[end:]
