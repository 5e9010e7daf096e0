"""Ranges in flat arrays say what a plain list of them would say, whatever their order and overlaps."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.intel.ranges import Builder, Ranges, bounds_of, number_of, span_of

RANGES = 20_000
SMALL = st.integers(0, 40)
BASES = {
    "v4": number_of("10.0.0.0"),
    "v6": number_of("2001:db8::"),
    "edge": number_of("2001:db8:0:0:ffff:ffff:ffff:ffe8"),
}


def made(*texts: str) -> Ranges:
    builder = Builder()
    for value, text in enumerate(texts):
        builder.add(*bounds_of(text), value)
    return builder.made()


@given(
    st.lists(st.tuples(SMALL, SMALL, st.integers(0, 3)), max_size=14),
    st.sampled_from(sorted(BASES)),
    st.randoms(),
)
def test_the_range_that_begins_last_counts_in_every_order(
    given_ranges: list[tuple[int, int, int]], base: str, chance: random.Random
) -> None:
    shift = BASES[base]
    ranges = [(min(a, b), max(a, b), value) for a, b, value in given_ranges]
    chance.shuffle(ranges)
    builder = Builder()
    for start, end, value in ranges:
        builder.add(shift + start, shift + end, value)
    found = builder.made()
    for point in range(-1, 42):
        holding = sorted((-start, end, value) for start, end, value in ranges if start <= point <= end)
        assert found.at(shift + point) == (holding[0][2] if holding else -1), point


def test_nested_ranges_answer_by_the_innermost() -> None:
    found = made("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3")
    asked = (
        "9.255.255.255",
        "10.0.0.0",
        "10.1.0.0",
        "10.1.2.2",
        "10.1.2.3",
        "10.1.2.4",
        "10.1.3.0",
        "10.2.0.0",
        "11.0.0.0",
    )
    assert [found.at(number_of(ip)) for ip in asked] == [-1, 0, 1, 2, 3, 2, 1, 0, -1]
    assert len(found) == 7, "each part of what lies around stands for itself"


def test_what_was_given_twice_is_counted_and_the_value_met_first_counts() -> None:
    builder = Builder()
    for value in (1, 0, 1, 1):
        builder.add(*bounds_of("192.0.2.0/24"), value)
    builder.add(*bounds_of("192.0.2.128/25"), 5)
    found = builder.made()
    assert (builder.doubled, builder.contradicted, builder.overlapping) == (0, 3, 1)
    assert [found.at(number_of(ip)) for ip in ("192.0.2.1", "192.0.2.200")] == [0, 5]
    again = Builder()
    again.add(1, 2, 7)
    again.add(1, 2, 7)
    again.made()
    assert (again.doubled, again.contradicted) == (1, 0)


def test_neighbours_of_one_value_become_one_range() -> None:
    builder = Builder()
    for n in range(256):
        builder.add(*bounds_of(f"198.18.{n}.0/24"), 0)
    assert len(builder) == 256
    found = builder.made()
    assert len(found) == 1
    assert found.covered_v4 == 65_536


def test_ipv4_and_its_ipv6_spelling_are_one_address() -> None:
    found = made("::ffff:192.0.2.0/120", "198.51.100.7")
    assert number_of("::ffff:192.0.2.9") == number_of("192.0.2.9")
    assert [found.at(number_of(ip)) for ip in ("192.0.2.9", "::ffff:c633:6407", "192.0.3.0")] == [0, 1, -1]


def test_a_wide_network_of_ipv6_holds_no_ipv4_address() -> None:
    found = made("::/8")
    assert [
        found.at(number_of(ip)) for ip in ("::5", "::fffe:0:0", "::1:0:0:0", "0.0.0.0", "255.255.255.255")
    ] == [0, 0, 0, -1, -1]
    assert found.covered_v4 == 0


def test_ends_of_the_number_space_are_in_their_ranges() -> None:
    found = made("255.255.255.255", "0.0.0.0", "ffff::/16", "::")
    asked = ("255.255.255.255", "0.0.0.0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::", "::1")
    assert [found.at(number_of(ip)) for ip in asked] == [0, 1, 2, 3, -1]
    assert made().at(0) == -1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no address"), ("host", "no address"), ("1.2.3", "no address"), ("1.2.3.4.5", "no address"), ("256.1.1.1", "no address"),
        ("1.2.3.4\0", "no address"), ("1.2.3.٤", "no address"), ("fe80::1%eth0", "no address"), ("1.2.3.4/33", "no prefix length"),
        ("::/129", "no prefix length"), ("1.2.3.4/", "no prefix length"), ("1.2.3.4/-1", "no prefix length"), ("1.2.3.4/+8", "no prefix length"),
        ("1.2.3.4/٨", "no prefix length"), ("1.2.3.4/255.0.0.0", "no prefix length"), ("0.0.0.0/0", "covers every address"),
        ("::/0", "covers every address"), ("1.2.3.4/00", "covers every address"), ("1.2.3.4/8/8", "no prefix length"),
        ("010.1.1.1", "no address"),
    ],
)  # fmt: skip
def test_what_is_no_network_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        bounds_of(text)


@pytest.mark.parametrize(
    ("first", "last", "why"),
    [
        ("1.2.3.4", "1.2.3.3", "reversed range"), ("2001::2", "2001::1", "reversed range"), ("1.2.3.4", "2001::1", "one family to the other"),
        ("0.0.0.0", "255.255.255.255", "covers every address"), ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "covers every address"),
    ],
)  # fmt: skip
def test_what_is_no_range_says_why(first: str, last: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        span_of(first, last)


def test_bits_of_the_host_and_zeros_in_front_are_no_fault() -> None:
    assert bounds_of("192.0.2.9/24") == bounds_of("192.0.2.0/24") == span_of("192.0.2.0", "192.0.2.255")
    assert bounds_of("001.002.003.004") == bounds_of("1.2.3.4")


def test_a_range_takes_36_bytes_and_less_than_120_while_it_is_built() -> None:
    tracemalloc.start()
    try:
        builder = Builder()
        for n in range(0, 2 * RANGES, 2):
            start = 0x0100_0000 + n * 128 + (0xFFFF << 32)
            builder.add(start, start + 127, n % 5_000)
        found = builder.made()
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(found), found.nbytes) == (RANGES, 36 * RANGES)
    assert now < 50 * RANGES
    assert peak < 120 * RANGES
    assert found.at(number_of("1.0.0.127")) == 0
    assert found.at(number_of("1.0.0.128")) == -1
