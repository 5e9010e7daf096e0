"""Command lines as a shell would see them: simple commands, words, what wrappers run, decoded text.

Nothing is executed or expanded. The work is linear in the length of the line, and every bound that
bites is reported, so that the caller can still judge the raw line whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from decnet.shell.decode import decoded_texts
from decnet.shell.split import KEYWORDS, MAX_NESTING, MAX_TOKENS, Command, Splitter, split_commands
from decnet.shell.wrappers import LOOKED_THROUGH, SHELLS, look_through

MAX_VIEWS = 256
MAX_DECODED = 65_536
MAX_VIEW_TEXT = 196_608
"""Characters in all views beside the line itself."""

ViewKind = Literal["line", "command", "decoded"]

_SIMPLE = re.compile(r"[^\n;|&'\"\\$`<>()#=]*\Z")
_EXECS = frozenset({"-exec", "-execdir", "-ok", "-okdir"})
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd]")


@dataclass(frozen=True, slots=True)
class View:
    """One text that rules look at; ``argv`` is what remains after wrappers, argv0 its base name."""

    kind: ViewKind
    text: str
    argv: tuple[str, ...] = ()

    @property
    def argv0(self) -> str:
        """Base name of the program really run, empty when there is none."""
        return self.argv[0].rpartition("/")[2] if self.argv else ""


@dataclass(frozen=True, slots=True)
class Views:
    """The views of one line, the whole line first; ``capped`` when a bound cut some off."""

    views: tuple[View, ...]
    capped: bool = False


def views(line: str) -> Views:
    """All views of ``line``: itself, its simple commands from left to right, its decoded texts."""
    if _SIMPLE.match(line):
        words = line.split()
        if not words or not _runs_another(words[0]):
            return Views((View("line", line, tuple(words)),))
    return _Builder().build(line)


def _runs_another(word: str) -> bool:
    """Whether a command that begins so may hold the words of another one."""
    return word in KEYWORDS or word[0] == "{" or word.rpartition("/")[2] in LOOKED_THROUGH


class _Builder:
    """Collects distinct views within the bounds."""

    def __init__(self) -> None:
        self.found: dict[str, View] = {}
        self.capped = False
        self.tokens = MAX_TOKENS
        self.room = MAX_VIEW_TEXT

    def build(self, line: str) -> Views:
        self._commands(line, 0)
        first = next(iter(self.found.values()), None)
        whole = View("line", line, first.argv if first else ())
        decoded, capped = decoded_texts(line, MAX_DECODED)
        self.capped |= capped
        for text in decoded:
            self._add(View("decoded", text, _plain_argv(text)))
            if not _is_binary(text[:4096]):
                self._commands(text, 0, "decoded")
        self.found.pop(line, None)
        return Views((whole, *self.found.values()), self.capped)

    def _add(self, view: View) -> None:
        if view.text in self.found:
            return
        if len(self.found) >= MAX_VIEWS - 1 or len(view.text) > self.room:
            self.capped = True
            return
        self.found[view.text] = view
        self.room -= len(view.text)

    def _commands(self, text: str, depth: int, kind: ViewKind = "command") -> None:
        splitter = Splitter(text, self.tokens)
        commands = splitter.run()
        self.tokens = splitter.tokens
        self.capped |= splitter.capped
        for command in commands:
            if len(self.found) >= MAX_VIEWS - 1:
                self.capped = True
                return
            rest, script = look_through(command.words)
            text = " ".join((command.text, *" ".join(command.more).split()))
            self._add(View(kind, text, tuple(rest)))
            if rest and len(rest) < len(command.words):
                self._add(View(kind, " ".join(rest), tuple(rest)))
            if rest and rest[0].endswith("find"):
                self._found(rest, kind)
            for inner in (script, *_scripts(command, rest)):
                if inner:
                    self._script(inner, depth, kind)

    def _found(self, words: list[str], kind: ViewKind) -> None:
        """What find runs on the files that it finds."""
        rest = iter(words)
        for word in rest:
            if word in _EXECS and (inner := list(takewhile(lambda w: w not in (";", "+"), rest))):
                self._add(View(kind, " ".join(inner), tuple(look_through(inner)[0])))

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
    commands, _ = split_commands(text[:4096])
    return tuple(look_through(commands[0].words)[0]) if commands else ()
