"""The bounds of what is seen in a command line: each at its edge, and told when it bites."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from decnet.shell import decode as shell_decode
from decnet.shell import views as shell_views
from decnet.shell.decode import MAX_TEXTS, decoded_texts
from decnet.shell.split import MAX_NESTING, MAX_TOKENS, ansi_c, split_commands
from decnet.shell.views import MAX_DECODED, MAX_VIEW_TEXT, MAX_VIEWS, View, views
from decnet.shell.wrappers import look_through


def texts(line: str, kind: str = "command") -> list[str]:
    return [view.text for view in views(line).views if view.kind == kind]


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_the_bounds_are_those_of_the_design() -> None:
    assert (MAX_NESTING, MAX_VIEWS, MAX_DECODED, MAX_TOKENS, MAX_VIEW_TEXT) == (
        3,
        256,
        65_536,
        10_000,
        196_608,
    )


@pytest.mark.parametrize(("count", "capped"), [(254, False), (255, False), (256, True)])
def test_a_line_has_256_views_with_itself(count: int, capped: bool) -> None:
    found = views("".join(f"a{i};" for i in range(count)))
    assert found.capped is capped
    assert len(found.views) == min(count, 255) + 1


def test_a_view_that_is_there_already_takes_no_room() -> None:
    found = views("a;" * 300)
    assert [view.text for view in found.views] == ["a;" * 300, "a"]
    assert not found.capped


@pytest.mark.parametrize(("over", "capped"), [(-1, False), (0, False), (1, True)])
def test_views_hold_so_much_text_together(monkeypatch: pytest.MonkeyPatch, over: int, capped: bool) -> None:
    monkeypatch.setattr(shell_views, "MAX_VIEW_TEXT", 10)
    found = views("x" * 4 + ";" + "y" * (6 + over))
    assert found.capped is capped
    assert found.views[0].text == "x" * 4 + ";" + "y" * (6 + over), "the line itself is whole in any case"
    assert len(found.views) == (2 if capped else 3)


@pytest.mark.parametrize(("tokens", "capped"), [(4, True), (5, False), (6, False)])
def test_tokens_are_looked_at_up_to_their_bound(
    monkeypatch: pytest.MonkeyPatch, tokens: int, capped: bool
) -> None:
    monkeypatch.setattr(shell_views, "MAX_TOKENS", tokens)
    found = views("a b;c")
    assert found.capped is capped
    assert split_commands("a b;c", tokens).tokens == max(tokens - 5, 0)


def test_tokens_of_scripts_within_count_for_the_whole_line() -> None:
    line = "sh -c 'a b'; c"
    needed = 6 + 3  # words and the blanks between them; quoted text, separators
    for bound, capped in ((needed, False), (needed - 1, True)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shell_views, "MAX_TOKENS", bound)
            assert views(line).capped is capped, bound


@pytest.mark.parametrize(("depth", "capped"), [(1, False), (3, False), (4, True)])
def test_substitutions_are_followed_three_deep(depth: int, capped: bool) -> None:
    line = "echo " + "$(a " * depth + "deepest" + ")" * depth
    assert split_commands(line).capped is capped
    assert views(line).capped is capped


@pytest.mark.parametrize(("depth", "capped"), [(3, False), (4, True)])
def test_scripts_in_scripts_are_followed_three_deep(depth: int, capped: bool) -> None:
    line = "wget x"
    for _ in range(depth):
        line = "eval " + line
    found = views(line)
    assert found.capped is capped
    assert found.views[0].text == line


@pytest.mark.parametrize(("size", "capped"), [(99, False), (100, False), (101, True)])
def test_decoded_text_is_cut_at_its_bound(size: int, capped: bool) -> None:
    line = f"echo {encoded('x' * size)} | base64 -d"
    assert decoded_texts(line, 100) == (["x" * min(size, 100)], capped)


def test_the_room_for_decoded_texts_is_shared() -> None:
    line = f"echo {encoded('a' * 60)} | base64 -d; echo {encoded('b' * 60)} | base64 -d"
    assert decoded_texts(line, 100) == (["a" * 60, "b" * 40], True)
    assert decoded_texts(line, 120) == (["a" * 60, "b" * 60], False)
    assert decoded_texts(line, 60) == (["a" * 60], True)
    twice = f"echo {encoded('a' * 60)} | base64 -d; " * 2
    assert decoded_texts(twice, 60) == (["a" * 60], False), "the same text takes no more room"


@pytest.mark.parametrize(("count", "capped"), [(3, False), (4, True)])
def test_so_many_literals_are_decoded_in_a_line(
    monkeypatch: pytest.MonkeyPatch, count: int, capped: bool
) -> None:
    assert MAX_TEXTS == 1024
    monkeypatch.setattr(shell_decode, "MAX_TEXTS", 3)
    line = "; ".join(f"echo {encoded(f'text {i}')} | base64 -d" for i in range(count))
    assert decoded_texts(line, 1000) == ([f"text {i}" for i in range(3)], capped)


@pytest.mark.parametrize(("controls", "script"), [(1, True), (2, False)])
def test_decoded_bytes_of_a_program_are_no_script(controls: int, script: bool) -> None:
    """One control in sixteen characters is still a script."""
    text = ("\x01" * controls + ";wget x;" + "y" * 16)[:16]
    line = f"echo {encoded(text)} | base64 -d"
    assert ("wget x" in texts(line, "decoded")) is script


@pytest.mark.parametrize(
    ("words", "rest", "script"),
    [
        ("sudo -u root wget x", "wget x", None),
        ("sudo -n wget x", "wget x", None),
        ("sudo -u root", "sudo -u root", None),
        ("nohup", "nohup", None),
        ("timeout 5 wget x", "wget x", None),
        ("timeout -k 1 5m wget x", "wget x", None),
        ("timeout wget 5", "wget 5", None),
        ("nice 5 x", "5 x", None),
        ("env A=1 wget", "wget", None),
        ("A=1 then wget", "wget", None),
        ("A+=1 wget", "wget", None),
        ("xargs - x", "- x", None),
        ("command -v x", "command -v x", None),
        ("command -p x", "x", None),
        ("eval a b", "a b", "a b"),
        ("sh -c a b", "sh -c a b", "a"),
        ("bash -lc a", "bash -lc a", "a"),
        ("bash --rc a", "bash --rc a", None),
        ("su -c a root", "su -c a root", "a"),
        ("sh -x -x -x -x -x -x -c a", "sh -x -x -x -x -x -x -c a", "a"),
        ("sh -x -x -x -x -x -x -x -c a", "sh -x -x -x -x -x -x -x -c a", None),
        ("sh -c", "sh -c", None),
    ],
)
def test_what_really_runs_is_found_behind_what_runs_it(words: str, rest: str, script: str | None) -> None:
    assert look_through(words.split()) == (rest.split(), script)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (r"\x41\x4", "A\x04"), (r"\101\7", "A\x07"), (r"\777", "\xff"), (r"\u0041", "A"), (r"\n\t\r\a\b\e\v\f", "\n\t\r\a\b\x1b\v\f"),
        (r"\q\\", "q\\"), ("plain", "plain"),
    ],
)  # fmt: skip
def test_escapes_of_ansi_quotes(text: str, shown: str) -> None:
    assert ansi_c(text) == shown


@pytest.mark.parametrize(
    ("line", "commands"),
    [
        ("a\\;b", ["a;b"]),
        ('a "b\\"c;d"', ['a b"c;d']),
        ("a 'b\\';c", ["a b\\", "c"]),
        ("a #b;c", ["a"]),
        ("a#b;c", ["a#b", "c"]),
        ("a # b\nc", ["a", "c"]),
        ("if a; then b; else c; fi", ["a", "b", "c"]),
        ("a 2>&1 >x b", ["a 2>&1 >x b"]),
        ("{wget,x,y}", ["wget x y"]),
        ("cp x{,.bak}", ["cp x{,.bak}"]),
        ("a | b |& c & d && e || f ;; g", list("abcdefg")),
        ("a $(b $(c)) d", ["a $(b $(c)) d", "b $(c)", "c"]),
        ("a `b` c", ["a `b` c", "b"]),
        ("a ) b", ["a", "b"]),
        ('a "b', ["a b"]),
        ('a "b\nc', ["a b", "c"]),
        ('a "b\nc" d', ["a b c d"]),
        ("cat <<E\nx;y\nE\nz", ["cat <<E", "z"]),
        ("cat <<-E\nx\n\tE\nz", ["cat <<-E", "z"]),
        ("cat <<'E'\nx\nEE\nE\nz", ["cat <<E", "z"]),
        ("cat <<E", ["cat <<E"]),
        ("w$@get x", ["wget x"]),
        ("a$@ b", ["a$@ b"]),
        ("a${IFS}b", ["a b"]),
        ("a$IFSb", ["a$IFSb"]),
    ],
)
def test_a_line_is_cut_as_a_shell_would(line: str, commands: list[str]) -> None:
    found = split_commands(line)
    assert not found.capped
    assert [command.text for command in found.commands] == commands


def test_here_documents_are_text_of_their_command_and_a_shells_script() -> None:
    assert "wget x" in texts("bash <<E\nwget x\nE\nid")
    assert "wget x" not in texts("cat <<E\nwget x\nE\nid")
    assert "cat <<E wget x" in texts("cat <<E\nwget x\nE\nid")
    assert "id" in texts("cat <<E\nwget x\nE\nid")
    assert "wget x" in texts("bash <<< 'wget x'")
    assert "wget x" not in texts("cat <<< 'wget x'")


def test_what_find_runs_is_a_command_of_its_own() -> None:
    line = "find / -exec sudo wget x ; -execdir rm {} + -ok ls"
    found = {view.text: view.argv for view in views(line.replace(";", "\\;")).views}
    assert found["sudo wget x"] == ("wget", "x")
    assert found["rm {}"] == ("rm", "{}")
    assert found["ls"] == ("ls",)


def test_the_program_is_the_base_name_of_the_first_word() -> None:
    assert View("line", "", ("/usr/bin/wget", "x")).argv0 == "wget"
    assert View("line", "").argv0 == ""
    assert [view.argv0 for view in views("/bin/wget x").views] == ["wget"]
    assert views("").views == (View("line", "", (), 1),)
    assert views("   ").views == (View("line", "   ", (), 1),)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("echo aGk= | base64 -d", ["hi"]),
        ("echo aGk= | base64", []),
        ("echo aGk | base64 -d", ["hi"]),
        ("echo aGkxx | base64 --decode", ["hi1"]),
        ("echo 6869 | xxd -r -p", ["hi"]),
        ("echo 6869 | xxd", []),
        ("echo 686 | xxd -r -p", []),
        ("base64 -d <<< aGk=", ["hi"]),
        ("cat <<< aGk= ; base64 -d", []),
        ("echo aGk= | openssl base64 -d", ["hi"]),
        ("echo aGk= | /usr/bin/base64 -di", ["hi"]),
        ("{echo,aGk=}|{base64,-d}", ["hi"]),
        ("echo 'id' | sh", ["id"]),
        ("echo 'id' | sudo bash -x", ["id"]),
        ("echo 'id' | shred", []),
        ("echo id", []),
        ("cat | sh", []),
    ],
)  # fmt: skip
def test_literals_are_decoded_as_the_tool_would(line: str, found: list[Any]) -> None:
    assert decoded_texts(line, 1000) == (found, False)


def test_one_escape_in_a_plain_word_is_no_literal_and_two_are() -> None:
    assert decoded_texts(r"ls \x41", 100) == ([], False)
    assert decoded_texts(r"ls \x41\x42", 100)[0] == ["AB"]
    assert "echo A" in decoded_texts(r"echo \x41", 100)[0]
