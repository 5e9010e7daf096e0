"""Command lines as a shell would see them: simple commands, words, what wrappers run, decoded text.

Nothing is executed or expanded. The work is linear in the length of the line, and every bound that
bites is reported, so that the caller can still judge the raw line whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from decnet.shell.carriers import CARRIERS, carried
from decnet.shell.decode import decoded_texts
from decnet.shell.split import KEYWORDS, MAX_NESTING, MAX_TOKENS, Command, split_commands
from decnet.shell.wrappers import LOOKED_THROUGH, SHELLS, look_through

MAX_VIEWS = 256
MAX_DECODED = 65_536
MAX_VIEW_TEXT = 196_608
"""Characters in all views beside the line itself."""

ViewKind = Literal["line", "command", "decoded"]

_SIMPLE = re.compile(r"[^\n;|&'\"\\$`<>()#=]*\Z")
_RUNS_ANOTHER = KEYWORDS | LOOKED_THROUGH | CARRIERS
_JOINTS = re.compile(
    r"""(?<=\w)(?:''|"")(?=\w)|(?<=\w)\$[@*](?=\w)|(?<=[a-z])\\(?=[a-mo-su-w])|(?<=[a-z])(['"])(\w{1,8})\1(?=[a-z])"""
)
"""What stands inside a word only to split it."""
_SPLITS = re.compile(r"""\w(?:''|""|\$[@*]|\\[a-z]|['"]\w{1,8}['"])\w?""")
_PLACE = re.compile(r"/(?:etc|proc|sys|dev|root|home|var|boot|usr|tmp|opt|srv|run)(?:/[\w.-]+){0,4}/?\Z")
_RELATIVE = re.compile(r"[\w.*?\[][\w./*?\[\]-]*\Z")
_ON_FILES = frozenset(
    ("cat", "head", "tail", "less", "more", "tac", "strings", "xxd", "od", "base64", "cp", "mv", "rm", "ls")
)
"""Programs whose words are files, so that a relative one can be read by its path."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd]")


class View(NamedTuple):
    """One text that rules look at; ``argv`` is what remains after wrappers, argv0 its base name."""

    kind: ViewKind
    text: str
    argv: tuple[str, ...] = ()
    number: int = 0
    """Which command of the line it shows, from 1; 0 for a line of several. Views of one command share it."""
    piped: bool = False
    """Whether another program reads its output; of a line of several whether that of the first is read."""

    @property
    def argv0(self) -> str:
        """Base name of the program really run, empty when there is none."""
        return self.argv[0].rpartition("/")[2] if self.argv else ""


class Views(NamedTuple):
    """The views of one line, the whole line first; ``capped`` when a bound cut some off."""

    views: tuple[View, ...]
    capped: bool = False


def views(line: str) -> Views:
    """All views of ``line``: itself, its simple commands from left to right, its decoded texts."""
    if _SIMPLE.match(line):
        words = line.split()
        if not words or not _runs_another(words[0]):
            return Views(_plain_views(line, words))
    return _Builder().build(line)


def _plain_views(line: str, words: list[str]) -> tuple[View, ...]:
    """The line, and its command when blanks are all that tells them apart."""
    whole, plain = View("line", line, tuple(words), 1), " ".join(words)
    return (whole,) if plain in (line, "") else (whole, View("command", plain, whole.argv, 1))


def _runs_another(word: str) -> bool:
    """Whether a command that begins so may hold the words of another one."""
    return word[0] == "{" or word.rpartition("/")[2] in _RUNS_ANOTHER


def _joined(line: str) -> str:
    """The line without what only splits words: ``w''get x|sh`` reads ``wget x|sh``."""
    if not _SPLITS.search(line):
        return line
    return _JOINTS.sub(r"\2", line)


class _Builder:
    """Collects distinct views within the bounds."""

    def __init__(self) -> None:
        self.found: dict[str, View] = {}
        self.capped = False
        self.tokens = MAX_TOKENS
        self.room = MAX_VIEW_TEXT
        self.number = 0
        self.piped = False

    def build(self, line: str) -> Views:
        self._commands(line, 0)
        first = next(iter(self.found.values()), None)
        whole = View("line", line, first.argv if first else (), 0, first is not None and first.piped)
        decoded, capped = decoded_texts(line, MAX_DECODED)
        self.capped |= capped
        for text in decoded:
            self.number += 1
            self._add("decoded", text, _plain_argv(text))
            if not _is_binary(text[:4096]):
                self._commands(text, 0, "decoded")
        lines = [whole]
        if (joined := _joined(line)) != line:
            lines.append(whole._replace(text=joined))
        for i, view in enumerate(lines):
            if (same := self.found.pop(view.text, None)) is not None:
                lines[i] = view._replace(number=same.number)
        out = (*lines, *self.found.values())
        return Views(out[:MAX_VIEWS], self.capped or len(out) > MAX_VIEWS)

    def _add(self, kind: ViewKind, text: str, argv: Sequence[str]) -> None:
        if text in self.found:
            return
        if len(self.found) >= MAX_VIEWS - 1 or len(text) > self.room:
            self.capped = True
            return
        self.found[text] = View(kind, text, tuple(argv), self.number, self.piped)
        self.room -= len(text)

    def _commands(self, text: str, depth: int, kind: ViewKind = "command") -> None:
        commands, _, capped, self.tokens = split_commands(text, self.tokens)
        self.capped |= capped
        place = ""
        for command, after in zip(commands, (*commands[1:], None), strict=False):
            if len(self.found) >= MAX_VIEWS - 1:
                self.capped = True
                return
            rest, script = look_through(command.words)
            self.number += 1
            self.piped = after is not None and after.fed and after.inner == command.inner
            text = " ".join((command.text, *" ".join(command.more).split()))
            self._add(kind, text, rest)
            if (plain := " ".join(command.words)) != text:
                self._add(kind, plain, rest)
            self._run(rest, script, depth, kind)
            place = self._at_place(rest, place, kind)
            for inner in _scripts(command, rest):
                self._script(inner, depth, kind)

    def _run(self, rest: list[str], script: str | None, depth: int, kind: ViewKind) -> None:
        """What is left behind the wrappers, and what that runs in its turn."""
        if rest:
            self._add(kind, " ".join(rest), rest)
        if script:
            self._script(script, depth, kind)
        if not rest or rest[0].rpartition("/")[2] not in CARRIERS:
            return
        found = carried(rest)
        for text in found.scripts:
            self._script(text, depth, kind)
        for words in found.words:
            if depth >= MAX_NESTING:
                self.capped = True
            else:
                rest, script = look_through(words)
                self._add(kind, " ".join(words), rest)
                self._run(rest, script, depth + 1, kind)

    def _at_place(self, rest: list[str], place: str, kind: ViewKind) -> str:
        """Where the next command works, when that gives names a meaning; this one's files by their paths."""
        name = rest[0].rpartition("/")[2] if rest else ""
        if name in ("cd", "pushd"):
            return rest[1].rstrip("/") if len(rest) == 2 and _PLACE.match(rest[1]) else ""
        if place and name in _ON_FILES:
            full = [rest[0], *(f"{place}/{word}" if _RELATIVE.match(word) else word for word in rest[1:])]
            if full != rest:
                self._add(kind, " ".join(full), full)
        return place

    def _script(self, script: str, depth: int, kind: ViewKind) -> None:
        if depth >= MAX_NESTING:
            self.capped = True
        else:
            self._commands(script, depth + 1, kind)


def _scripts(command: Command, rest: list[str]) -> list[str]:
    """What a shell reads from here-documents and here-strings."""
    if not rest or rest[0].rpartition("/")[2] not in SHELLS:
        return []
    return [*command.more, *([command.given] if command.given else [])]


def _is_binary(text: str) -> bool:
    """Whether decoded text is a program's bytes, which are no commands: more than one control in sixteen."""
    return len(_CONTROL.findall(text)) * 16 > len(text)


def _plain_argv(text: str) -> tuple[str, ...]:
    commands = split_commands(text[:4096]).commands
    return tuple(look_through(commands[0].words)[0]) if commands else ()
