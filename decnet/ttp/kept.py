"""Compiled rules, kept from one start to the next: parsing and checking their files takes longer than all that follows.

Kept is plain data by the hash of a file's bytes (:mod:`decnet.ttp.plain`), only of files without an error. Who can write
it could put other rules in force than the files say. So it counts only where this user alone can write, as this user's
rules and programs do; what is damaged, what another version of this program kept, and what was made by another
catalogue, counts for nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import re2

from decnet import __version__
from decnet.attack.catalogue import mark_of_bundle
from decnet.ttp.matcher import know_literals, known_literals
from decnet.ttp.plain import from_plain, to_plain
from decnet.ttp.rules import CompiledRule

FILE_NAME = "rules.json"
MAX_BYTES = 32 << 20
"""A larger file is neither read nor written."""
MAX_KEPT = 5_000
"""Rules kept at most; those that nobody asked for this time go first."""
_OWN_FOLDERS = (".", "attack", "shell", "ttp", "ttp/lifters", "_data/schemas")
_DIGEST_CHARS = 64


class KeptRules:
    """What is kept in a folder; without one nothing is. One thread at a time."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._kept: dict[str, Any] | None = None
        self._asked: dict[str, Any] = {}
        self._has_news = False
        self._literals = 0
        self._made_by = ""

    def rule(self, raw: bytes, name: str) -> CompiledRule | None:
        """The rule in these bytes of a file called ``name``; None when it is not kept."""
        digest = hashlib.sha256(raw).hexdigest()
        found = self._entries().get(digest)
        if found is None:
            return None
        try:
            rule = from_plain(found, raw.decode(), name, digest)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        self._asked[digest] = found
        return rule

    def keep(self, raw: bytes, rule: CompiledRule) -> None:
        """Keeps a rule that was compiled of these bytes."""
        if self.folder is not None:
            self._asked[hashlib.sha256(raw).hexdigest()] = to_plain(rule)
            self._has_news = True

    @property
    def has_news(self) -> bool:
        """Whether a rule was compiled that was not kept before."""
        return self._has_news

    def save(self) -> None:
        """Writes what is new since the last time, in one step; what cannot be written is compiled anew at the next start."""
        literals = known_literals()
        if self.folder is None or not (self._has_news or len(literals) > self._literals):
            return
        entries = self._entries()
        self._has_news, self._literals = False, len(literals)
        if self._made_by != _made_by():
            return
        rules = list({**self._asked, **entries}.items())[:MAX_KEPT]
        body = {"made_by": self._made_by, "literals": literals, "rules": dict(rules)}
        with suppress(OSError, ValueError, RecursionError):
            text = json.dumps(body, separators=(",", ":")).encode()
            text = hashlib.sha256(text).hexdigest().encode() + text
            if len(text) <= MAX_BYTES:
                _write(self.folder, text)

    def _entries(self) -> Mapping[str, Any]:
        if self._kept is None:
            self._kept, self._made_by = {}, _made_by()
            with suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
                self._take(_read(self.folder) if self.folder is not None else b"")
        return self._kept

    def _take(self, text: bytes) -> None:
        """Takes what a file holds. Raises what a text raises that is none of ours."""
        digest, text = text[:_DIGEST_CHARS], text[_DIGEST_CHARS:]
        if hashlib.sha256(text).hexdigest().encode() != digest:
            return
        body = json.loads(text)
        if body["made_by"] != self._made_by:
            return
        literals = {str(pattern): bool(has) for pattern, has in body["literals"].items()}
        self._kept = dict(body["rules"])
        self._literals = len(literals)
        know_literals(literals)


def _made_by() -> str:
    return f"{_program()} {mark_of_bundle()}"


@cache
def _program() -> str:
    """What tells this version of the program, and of what it compiles with, from any other: sizes and times of its files."""
    told = hashlib.sha256(f"{__version__} {sys.version}".encode())
    for path in _sources():
        with suppress(OSError):
            found = path.stat()
            told.update(f"{path} {found.st_size} {found.st_mtime_ns}\n".encode())
    return told.hexdigest()


def _sources() -> Iterator[Path]:
    top = Path(__file__).resolve().parent.parent  # by whatever way it was found
    for folder in _OWN_FOLDERS:
        with suppress(OSError), os.scandir(top / folder) as found:
            yield from sorted(Path(one.path) for one in found if one.is_file())
    libraries = Path(re2.__file__).resolve().parent.parent
    yield libraries  # its time changes with each library that comes or goes


def _private(found: os.stat_result) -> bool:
    """Whether it is this user's, and nobody else can write to it."""
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _read(folder: Path) -> bytes:
    """The file. Raises OSError when there is none, or when it or its folder is not this user's alone."""
    if not _private(folder.stat()):
        raise PermissionError(str(folder))
    handle = os.open(folder / FILE_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not (stat.S_ISREG(found.st_mode) and _private(found) and found.st_size <= MAX_BYTES):
            raise PermissionError(str(folder / FILE_NAME))
        return file.read(MAX_BYTES)


def _write(folder: Path, text: bytes) -> None:
    """Replaces the file. Raises OSError, also when the folder is not this user's alone."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _private(folder.stat()):
        raise PermissionError(str(folder))
    draft = folder / f"{FILE_NAME}.{os.getpid()}.new"
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(text)
    draft.replace(folder / FILE_NAME)
