"""Whether a session read a bait: its commands against the places where tokens lie. Pure.

What is looked for is a program that is given the file, by its path, by a name in the directory that the session is
in, or by a pattern; a directory that is packed or copied whole is read whole. Programs that only list, name or
remove files read none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from decnet.db.rows.canary import BaitReadRow, TokenRow
from decnet.db.types import as_utc
from decnet.events.session import Command, SessionEnded, SessionProgress
from decnet.shell.files import HOME, resolved
from decnet.shell.split import split_commands
from decnet.shell.views import views

_NO_READERS: Final = frozenset(
    [
        "ls",
        "dir",
        "vdir",
        "stat",
        "test",
        "[",
        "rm",
        "rmdir",
        "unlink",
        "shred",
        "touch",
        "chmod",
        "chown",
        "chgrp",
        "chattr",
        "mkdir",
        "echo",
        "printf",
        "which",
        "whereis",
        "locate",
        "find",
        "ln",
        "mv",
        "tee",
        "basename",
        "dirname",
        "realpath",
        "readlink",
        "file",
        "mount",
        "umount",
        "history",
        "exit",
    ]
)
_TREES: Final = frozenset(
    ("tar", "rsync", "7z", "7za", "zip", "cp", "scp", "grep", "egrep", "fgrep", "rgrep", "rg")
)
_ALWAYS_TREES: Final = frozenset(("tar", "rsync", "7z", "7za", "rgrep", "rg"))
_INTO: Final = frozenset(("cp", "scp", "rsync", "install"))
"""Programs whose last word is where the copy goes."""
_WHOLE = re.compile(r"-\w*[rRa]\w*|--recursive|--archive", re.ASCII)


class Opened(NamedTuple):
    """A bait's path that a command read, and which command it was, by its place."""

    path: str
    place: int


def opened(texts: Iterable[str], paths: Sequence[str]) -> Iterator[Opened]:
    """What some commands of one session, in their order, read of some absolute paths."""
    cwd = HOME
    known = {path: re.compile(rf"(?<![\w./-]){re.escape(path)}(?![\w/-]|\.\w)") for path in paths}
    for place, text in enumerate(texts):
        for operator, target in _redirections(text):
            if operator == "<" and (path := resolved(target, cwd)) in known:
                yield Opened(path, place)
        for view in views(text).views:
            if view.kind == "line" and view.number == 0:
                continue
            name, words = view.argv0, list(view.argv[1:])
            if name in ("cd", "pushd"):
                cwd = resolved(words[0], cwd) if words else HOME
                continue
            if name in _NO_READERS:
                continue
            yield from (Opened(path, place) for path in _of_program(name, words, cwd, known))


def _redirections(text: str) -> Iterator[tuple[str, str]]:
    if "<" in text:
        for command in split_commands(text).commands:
            yield from command.redirects


def _of_program(name: str, words: list[str], cwd: str, known: dict[str, re.Pattern[str]]) -> Iterator[str]:
    files = words[:-1] if name in _INTO and "-f" not in words else words
    whole = name in _ALWAYS_TREES or (name in _TREES and any(map(_WHOLE.fullmatch, words)))
    for path, pattern in known.items():
        if any(_names(word, path, pattern, cwd, whole) for word in files):
            yield path


def _names(word: str, path: str, pattern: re.Pattern[str], cwd: str, whole: bool) -> bool:
    if pattern.search(word):
        return True
    if word.startswith("-"):
        return False
    place = resolved(word, cwd)
    if place == path or (whole and path.startswith(place.rstrip("/") + "/")):
        return True
    return "*" in place and place.count("/") == path.count("/") and fnmatchcase(path, place)


def reads_of(
    record: SessionEnded | SessionProgress, ts: float, laid: Iterable[TokenRow]
) -> Iterator[BaitReadRow]:
    """The baits that a session read on its decky, each once, at its first time; ``ts`` stands in for a command's own."""
    here = [token for token in laid if token["decky_id"] == record.decky_id and token["path"]]
    if not here or not record.commands:
        return
    by_path: dict[str, list[TokenRow]] = {}
    for token in here:
        by_path.setdefault(str(token["path"]), []).append(token)
    told: set[str] = set()
    for found in opened((command.command_text for command in record.commands), list(by_path)):
        command = record.commands[found.place]
        at = as_utc(command.ts if command.ts is not None else ts)
        for token in by_path[found.path]:
            if token["token_id"] not in told and at is not None and token["minted_at"] <= at:
                told.add(token["token_id"])
                yield {
                    "token_id": token["token_id"],
                    "session_id": record.session_id,
                    "command_id": _ident(command, record, found.place),
                    "attacker_uuid": record.attacker,
                    "attacker_ip": record.attacker_ip,
                    "decky_id": token["decky_id"],
                    "path": found.path,
                    "at": at,
                }


def _ident(command: Command, record: SessionEnded | SessionProgress, place: int) -> str:
    return command.id or f"{record.session_id}#cmd{place}"
