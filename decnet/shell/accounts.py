"""Accounts that a session makes, and the lines that it runs as one of them.

Pure, line by line, bounded: a line costs two searches while no account was made. What a sensor knows of the log-in
itself is not here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from decnet.shell.carriers import skip_options
from decnet.shell.split import split_commands

MAX_ACCOUNTS = 64
"""Accounts of one session that are known; more are counted."""
REASON_CHARS = 80
_MAKES = re.compile(r"useradd|adduser|/etc/passwd|newusers")
_CHANGES = re.compile(r"\b(?:su|sudo|doas|runuser|login|ssh|setpriv|gosu|exit|logout)\b")
_ENTRY = re.compile(
    r"(?<![^\s'\"`|=])([a-z_][a-z0-9_.-]{0,31}\$?):[^:\s]{0,128}:\d{1,10}:\d{1,10}:[^:]{0,128}:[^:]{0,128}:"
)
"""A line of the password file: name, password, two numbers, words, home."""
_HERE = frozenset({"localhost", "127.0.0.1", "::1", "0", "127.1", "$HOSTNAME", "`hostname`", "$(hostname)"})
_ADD_VALUES = frozenset(
    {
        "-b", "-c", "-d", "-e", "-f", "-g", "-G", "-h", "-k", "-K", "-p", "-P", "-R", "-s", "-S", "-u", "-Z",
        "--base-dir", "--comment", "--gecos", "--home", "--home-dir", "--shell", "--uid", "--gid", "--groups", "--password",
        "--expiredate", "--inactive", "--ingroup", "--skel", "--root", "--prefix", "--conf", "--firstuid", "--lastuid",
    }
)  # fmt: skip
"""Options of useradd and adduser that take a value."""
_FLAGS_OF_ADDUSER = frozenset({"-S", "-D", "-H"})
"""Of BusyBox, where they take none."""
_AS_VALUES = frozenset(
    [
        "-c",
        "-s",
        "-u",
        "-g",
        "-G",
        "-w",
        "-p",
        "-o",
        "-i",
        "-F",
        "-L",
        "-R",
        "-b",
        "-e",
        "-h",
        "-C",
        "-D",
        "-T",
        "-l",
    ]
)
_SU_VALUES = frozenset({"-s", "--shell", "-g", "--group", "-G", "-w", "-h"})
_RUNS = re.compile("-[a-z]*c")
_ENDS = frozenset({"exit", "logout"})


class Accounts:
    """What is known of accounts in one session; :meth:`line` takes the next line in."""

    def __init__(self) -> None:
        self.made: dict[str, str] = {}
        """Name → how it was made, in words."""
        self.dropped = 0
        """Accounts that found no room."""
        self._acting: list[str] = []

    def line(self, text: str, number: int) -> str | None:
        """Why line ``number`` runs, wholly or in part, as an account that the session made; None when it does not."""
        acting = self._acting[-1] if self._acting else None
        if self.made and _CHANGES.search(text):
            acting = self._changed(text, acting)
        if _MAKES.search(text):
            for name in _made_by(text):
                self._note(name, f"made by line {number}: {text[:REASON_CHARS]}")
        return None if acting is None else f"as {acting}, {self.made[acting]}"

    def _note(self, name: str, how: str) -> None:
        if name in self.made:
            return
        if len(self.made) >= MAX_ACCOUNTS:
            self.dropped += 1
            return
        self.made[name] = how

    def _changed(self, text: str, acting: str | None) -> str | None:
        """Follows a line from account to account; the last one of ours that something of it runs as."""
        for words in _commands(text):
            name = words[0].rpartition("/")[2]
            if name in _ENDS and self._acting:
                self._acting.pop()
                continue
            found = _target(name, words[1:])
            if found is None:
                continue
            user, stays = found
            if user in self.made:
                acting = user
                self._acting += [user] if stays else []
        return acting


def _commands(text: str) -> Iterator[list[str]]:
    for command in split_commands(text).commands:
        words = list(command.words)
        while words and (
            "=" in words[0] or words[0].rpartition("/")[2] in ("nohup", "exec", "busybox", "env")
        ):
            words = words[1:]
        if words:
            yield words


def _made_by(text: str) -> Iterator[str]:
    """Names of the accounts that a line makes."""
    if "/etc/passwd" in text or "newusers" in text:
        yield from (found[1] for found in _ENTRY.finditer(text))
    for words in _commands(text):
        first = skip_options(words, 1, _AS_VALUES)[0] if words[0] in ("sudo", "doas") else 0
        name = words[first].rpartition("/")[2] if first < len(words) else ""
        if name in ("useradd", "adduser") and (user := _added(name, words[first + 1 :])):
            yield user


def _added(program: str, words: Sequence[str]) -> str:
    """The name that useradd or adduser is given; empty when it is none or not known."""
    values = _ADD_VALUES - _FLAGS_OF_ADDUSER if program == "adduser" else _ADD_VALUES
    names, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word.startswith("-") and len(word) > 1:
            skip = word in values
        else:
            names.append(word)
    name = names[0] if names else ""
    return "" if "$" in name else name[:32]


def _target(program: str, words: Sequence[str]) -> tuple[str, bool] | None:
    """The account that a program runs something as, and whether what follows runs as it too."""
    if program in ("su", "runuser", "login"):
        return _su(program, words)
    if program in ("sudo", "doas", "setpriv", "gosu"):
        return _sudo(program, words)
    return _ssh(words) if program == "ssh" else None


def _su(program: str, words: Sequence[str]) -> tuple[str, bool] | None:
    names: list[str] = []
    runs, rest = False, list(words)
    while rest:
        word = rest.pop(0)
        if word in ("-u", "--user"):
            runs, names, rest = True, [*names, *rest[:1]], rest[1:]
        elif word in ("-c", "--command") or (program != "login" and _RUNS.fullmatch(word)):
            runs, rest = True, rest[1:]
        elif word in _SU_VALUES:
            rest = rest[1:]
        elif not word.startswith("-"):
            names.append(word)
    return (names[0], not runs) if names else None


def _sudo(program: str, words: Sequence[str]) -> tuple[str, bool] | None:
    user, stays, rest = "", False, list(words)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word in ("-u", "--user", "--reuid") and rest:
            user = rest.pop(0)
        elif word.startswith(("--user=", "--reuid=")):
            user = word.partition("=")[2]
        elif word.startswith("-u") and not word.startswith("--"):
            user = word[2:]
        elif word in ("-i", "-s", "--login", "--shell"):
            stays = True
        elif word in _AS_VALUES and rest:
            rest.pop(0)
    if program == "gosu":
        user, rest = (rest[0], rest[1:]) if rest else ("", [])
    return (user, stays and not rest) if user else None


def _ssh(words: Sequence[str]) -> tuple[str, bool] | None:
    """Over to an account of this very host."""
    user, rest = "", list(words)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word in _AS_VALUES and rest:
            value = rest.pop(0)
            user = value if word == "-l" else user
    if not rest:
        return None
    name, _, host = rest[0].rpartition("@")
    return (name or user, len(rest) == 1) if host in _HERE and (name or user) else None
