"""What is sure to stand in everything that a pattern matches, as far as it serves to choose a pre-filter."""

from __future__ import annotations

import pytest

from decnet.patterns import compile_pattern
from decnet.ttp.conditions import Every, Pattern
from decnet.ttp.literals import ATOM, surely_holds

HELD = [
    ("", 0),
    ("abc", 3),
    ("abc|ab", 2),
    ("(?i)/etc/group", 10),
    (r"(?i)^(?:\S*/)?(?:cat|ed|head)(?:\s|$)", 2),
    (r"(?:/etc/passwd|/etc/shadow)", 11),
    (r"a(?:bcd)?ef", 2),
    (r"a(?:bcd){0,3}ef", 2),
    (r"a(?P<n>bcd)ef", 6),
    (r"abc?", 2),
    (r"ab\d+cde", 3),
    (r"ab[c)|(]de", 2),
    (r"a\.b\$c\|d\(e", 9),
    (r"(?:\s-[^-\s]{0,20}d|\s--directory\s)", 1),
    ("(" * 300 + "abcd" + ")" * 300, 4),
]


@pytest.mark.parametrize(("pattern", "characters"), HELD)
def test_the_longest_text_of_the_shortest_alternative_counts(pattern: str, characters: int) -> None:
    assert surely_holds(pattern) == characters


def test_of_conditions_that_all_hold_the_one_with_a_text_is_looked_for() -> None:
    """However much longer the other one is: without a text it would be searched on every line."""
    program = r"(?i)^(?:\S*/)?(?:cat|ed|egrep|emacs|fgrep|grep|head|less|more|nano|tail)(?:\s|$)"
    parts = [Pattern("command_text", one, compile_pattern(one)) for one in (program, "/etc/x")]
    assert len(program) > len("/etc/x")
    assert surely_holds(program) < ATOM <= surely_holds("/etc/x")
    for order in (parts, parts[::-1]):
        assert Every(tuple(order)).prefilters("command") == ["(?m:/etc/x)"]
