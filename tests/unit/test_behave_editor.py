"""The line editor: what stands on the line after all corrections."""

from __future__ import annotations

import pytest

from decnet.behave.keys import Line, read_keys
from tests.behavekit import Tape

LEFT, RIGHT, UP, DOWN, DELETE = "\x1b[D", "\x1b[C", "\x1b[A", "\x1b[B", "\x1b[3~"


def lines_of(*chunks: str, before: tuple[str, ...] = ()) -> list[Line]:
    """The lines of a session in which every chunk is one input record."""
    tape = Tape()
    for text in before:
        tape.line(text)
    for chunk in chunks:
        tape.raw(chunk.encode("latin-1"))
        if chunk.endswith("\r"):
            tape.answer()
    return read_keys(tape.done()).lines


def typed(text: str) -> list[str]:
    return list(text)


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([*"lx", "\x7f", "s", "\r"], "ls"),
        ([*"sl", "\x08", "\x08", *"ls", "\r"], "ls"),
        ([*"s", LEFT, "l", "\r"], "ls"),
        ([*"lls", LEFT, LEFT, LEFT, DELETE, "\r"], "ls"),
        ([*"ls -l", "\x01", DELETE, "\r"], "s -l"),
        ([*"s -l", "\x01", "l", "\x05", "a", "\r"], "ls -la"),
        ([*"wrong", "\x15", *"ls", "\r"], "ls"),
        ([*"ls wrong", "\x17", *"-l", "\r"], "ls -l"),
        ([*"ls wrong", "\x01", "\x1bf", "\x0b", "\r"], "ls"),
        ([*"one two", "\x15", "x ", "\x19", "\r"], "x one two"),
        ([*"sl", "\x14", "\r"], "ls"),
        ([*"one two", "\x1bb", "\x1bd", *"three", "\r"], "one three"),
        ([*"one two", "\x1b[1;5D", *"x", "\r"], "one xtwo"),
        ([*"ls", "\x1bOH", "a", "\x1bOF", "z", "\r"], "alsz"),
        (["\x1b[200~ls -la /tmp\x1b[201~", "\r"], "ls -la /tmp"),
        (["ls", "\x1b", "[D", "x", "\r"], "lsx"),  # an Escape on its own, then plain keys far later
        (["l", "\xc3\xa4", "\x7f", "s", "\r"], "ls"),  # one backspace takes a letter of two bytes
        ([*"ls", "\x0c", "\r"], "ls"),
    ],
)
def test_a_corrected_line_is_what_was_meant(chunks: list[str], expected: str) -> None:
    if expected == "lsx":
        expected = "ls[Dx"
    assert [line.text for line in lines_of(*chunks)] == [expected]


def test_a_sequence_cut_in_two_chunks_is_one_key() -> None:
    tape = Tape().raw(b"s").raw(b"\x1b").raw(b"[D", 0.001).raw(b"l").raw(b"\r").answer()
    assert [line.text for line in read_keys(tape.done()).lines] == ["ls"]


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([UP, "\r"], "id"),
        ([UP, UP, "\r"], "uname -a"),
        ([UP, UP, DOWN, "\r"], "id"),
        ([UP, UP, "\x7f", "r", "\r"], "uname -r"),
        (["\x10", "\r"], "id"),
        (["\x12", *"una", "\r"], "uname -a"),
        (["\x12", *"una", "\x07", *"ls", "\r"], "ls"),
        ([*"cat ", "\x1b.", "\r"], "cat id"),
    ],
)
def test_history(chunks: list[str], expected: str) -> None:
    lines = lines_of(*chunks, before=("uname -a", "id"))
    assert lines[-1].text == expected
    assert lines[-1].recalled == (expected != "ls")


def test_older_history_than_the_session_is_not_guessed() -> None:
    line = lines_of(UP, "\r")[0]
    assert (line.text, line.recalled, line.unsure) == ("", True, True)


def test_ctrl_c_gives_a_line_up() -> None:
    lines = lines_of(*"rm -rf", "\x03", *"ls", "\r")
    assert [(line.kind, line.text) for line in lines] == [("abandoned", ""), ("command", "ls")]


def test_ctrl_d_on_an_empty_line_leaves() -> None:
    facts = read_keys(Tape().line("id").raw(b"\x04").done())
    assert facts.end_of_input
    assert not read_keys(Tape().raw(b"x").raw(b"\x04").done()).end_of_input


@pytest.mark.parametrize(
    "echo",
    [
        [b"wd"],
        [*[b"\x1b[1D", b"\x1b[1P"] * 5, b"ls passwd"],
        [b"\x08\x08\x08\x08\x08\x1b[Kls passwd"],
    ],
)
def test_tab_completion_is_read_from_the_echo(echo: list[bytes]) -> None:
    stem = "ls pass" if echo == [b"wd"] else "ls pa"
    tape = Tape().keys(stem).raw(b"\t")
    for chunk in echo:
        tape.out(chunk, 0.001)
    lines = read_keys(tape.keys("\r").answer().done()).lines
    assert (lines[0].text, lines[0].unsure) == ("ls passwd", False)


def test_a_list_of_candidates_leaves_the_line_unsure() -> None:
    tape = Tape().keys("ls p").raw(b"\t").out(b"\r\npasswd  profile\r\nroot@web-01:~# ls p").keys("\r")
    assert read_keys(tape.answer().done()).lines[0].unsure


def test_vi_keys() -> None:
    tape = Tape().keys("ls wrong").raw(b"\x1b", 0.3).keys("0", first=0.4).keys("wdwi-la").raw(b"\r").answer()
    facts = read_keys(tape.done())
    assert facts.vi_keys >= 3
    assert facts.lines[0].text == "ls -la"


@pytest.mark.parametrize("prompt", [b"Password: ", b"[sudo] password for bob: ", "Contraseña: ".encode()])
def test_what_is_typed_at_a_password_prompt_is_not_read(prompt: bytes) -> None:
    tape = (
        Tape().keys("sudo id\r").out(b"\r\n").out(prompt).keys("hunter2\r").answer("uid=0(root)").line("ls")
    )
    facts = read_keys(tape.done())
    assert [line.text for line in facts.lines] == ["sudo id", "ls"]
    assert facts.live == len("sudo idls")


def test_an_editor_takes_keys_that_are_no_commands() -> None:
    tape = Tape().keys("vi x\r").out(b"\x1b[?1049h\x1b[2J~\r\n~\r\n").keys("iwget evil\rrm x\r").raw(b"\x1b")
    tape.keys(":wq\r", first=0.3).out(b"\x1b[?1049l").out(b"\r\nroot@web-01:~# ").line("id")
    assert [line.text for line in read_keys(tape.done()).lines] == ["vi x", "id"]


def test_text_for_cat_is_no_command() -> None:
    tape = (
        Tape()
        .keys("cat > x\r")
        .out(b"\r\n")
        .keys("wget evil\r")
        .out(b"\r\n")
        .raw(b"\x04")
        .out(b"root@web-01:~# ")
    )
    assert [line.text for line in read_keys(tape.line("id").done()).lines] == ["cat > x", "id"]


def test_python_takes_keys_until_the_shell_is_back() -> None:
    tape = Tape().keys("python3\r").out(b"\r\nPython 3.11\r\n>>> ").keys("import os\r").out(b"\r\n>>> ")
    tape.keys("exit()\r").answer().line("id")
    assert [line.text for line in read_keys(tape.done()).lines] == ["python3", "id"]


def test_lines_typed_ahead_are_commands() -> None:
    tape = (
        Tape().keys("sleep 5\r").out(b"\r\n").keys("id\r").out(b"\r\n").keys("ls\r").answer("x").answer("y")
    )
    assert [line.text for line in read_keys(tape.done()).lines] == ["sleep 5", "id", "ls"]


def test_several_pasted_lines_are_several_commands() -> None:
    facts = read_keys(Tape().raw(b"ls\rid\runame -a\r").answer().done())
    assert [line.text for line in facts.lines] == ["ls", "id", "uname -a"]
    assert facts.live == 0
    assert facts.pastes == 1


def test_return_and_newline_are_one_end() -> None:
    assert [line.text for line in lines_of("ls\r\n", "id\r\n")] == ["ls", "id"]
