"""Playbooks: sessions that do the same have one id, whatever their files, hosts and numbers are called.

A session is a list of *plays*, one for each simple command in the order of the script:

* the base name of the program that is really run (behind ``sudo``, ``busybox`` and their like), in lower case, when it
  is one that systems come with; every other name, among them all files of the session, is ``own``;
* its options, in their order, digits written ``#``, values left out (``-O``, ``--no-check-certificate``, ``-c#``);
  one longer than 24 characters is ``-*``;
* no argument at all: they are names, addresses, hashes and texts.

Assignments, shell keywords and empty lines are no plays. What came or was tried beside the commands is one play a
kind, before them: ``+upload``, ``+download``, ``+forward``, ``+exploit`` with its CVE. Plays that follow each other
over and over, alone or as a group of up to 12, count once. The id is ``pb-`` and 12 hexadecimal digits of the SHA-256
of all that, so rules and their versions have no part in it; a session without plays has none.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from decnet.shell.known import COMMANDS
from decnet.shell.split import KEYWORDS, MAX_NESTING, split_commands
from decnet.shell.wrappers import look_through

VERSION = "1"
"""Of the definition above; part of the id."""
OWN = "own"
LONGEST_CYCLE = 12
"""Steps of a group that is looked for as a repeated one."""
FOLDS = 4
"""How deep groups of groups are folded."""
_OPTION_CHARS = 24
_CACHED_CHARS = 1000
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=")
_DIGITS = re.compile(r"\d+")


class Simple(NamedTuple):
    """One simple command of a line: its text as :mod:`decnet.shell.script` names it, and the words really run."""

    text: str
    words: tuple[str, ...]
    program: str
    """Base name of the program."""
    play: str
    """The command without the names, hosts, hashes and counts in it."""


def simple(text: str, words: Sequence[str]) -> Simple:
    """A simple command of these words, at least one."""
    program = words[0].rpartition("/")[2] or words[0]
    return Simple(text, tuple(words), program, _play(program.lower(), words))


def simples(line: str) -> tuple[Simple, ...]:
    """The simple commands of a line, those in the text given to a shell too."""
    return _known(line) if len(line) <= _CACHED_CHARS else tuple(_simples(line, 0))


@lru_cache(maxsize=8192)
def _known(line: str) -> tuple[Simple, ...]:
    return tuple(_simples(line, 0))


def _simples(line: str, depth: int) -> Iterator[Simple]:
    for command in split_commands(line)[0]:
        words, script = look_through(command.words)
        if script is not None and depth < MAX_NESTING:
            yield from _simples(script, depth + 1)
        elif words and words[0] and not (_ASSIGNMENT.match(words[0]) or words[0] in KEYWORDS):
            yield simple(" ".join((command.text, *" ".join(command.more).split())), words)


def _play(name: str, words: Sequence[str]) -> str:
    if name not in COMMANDS:
        return OWN
    return " ".join((name, *(_option(word) for word in words[1:] if len(word) > 1 and word[0] == "-")))


def _option(word: str) -> str:
    option = word.partition("=")[0]
    return _DIGITS.sub("#", option) if len(option) <= _OPTION_CHARS else "-*"


def folded(items: Sequence[str]) -> list[str]:
    """The items without what is repeated right after itself, alone or as a group; linear."""
    return [items[place] for first, length, _ in groups(items) for place in range(first, first + length)]


def groups(items: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Groups of items in order: where one starts, how long it is, how often it follows itself."""
    at = 0
    while at < len(items):
        length, times = _repeated(items, at)
        yield at, length, times
        at += length * times


def _repeated(items: Sequence[str], at: int) -> tuple[int, int]:
    """The shortest group from a place on that is repeated right after itself; one item once when there is none."""
    head, rest = items[at], items[at + 1 : at + 1 + LONGEST_CYCLE]
    for length, item in enumerate(rest, 1):
        if item != head:
            continue
        group = items[at : at + length]
        times = 1
        while items[at + times * length : at + (times + 1) * length] == group:
            times += 1
        if times > 1:
            return length, times
    return 1, 1


def playbook_id(plays: Iterable[str]) -> str | None:
    """The id of the playbook of a session's plays; None for none."""
    steps = list(plays)
    for _ in range(FOLDS):
        before = len(steps)
        steps = folded(steps)
        if len(steps) == before:
            break
    if not steps:
        return None
    told = "\n".join((VERSION, *steps)).encode("utf-8", "surrogatepass")
    return f"pb-{hashlib.sha256(told).hexdigest()[:12]}"
