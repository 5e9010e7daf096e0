"""The files of one session: how each came, from where, at which line, and what became of it; pure and bounded."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

MAX_FILES = 512
"""Files of one session that are known; what is beyond is counted."""
MAX_PENDING = 512
"""Names that were run before anything of them came."""
HOME = "/root"
Origin = str
"""How a file came: fetched, uploaded, written, copied, extracted, compiled, chmodded; that it was executed."""
EXECUTED: Origin = "executed"
"""What becomes of a file, of whatever origin, when it is run."""


@dataclass(slots=True)
class File:
    """One file that the session has to do with."""

    path: str
    origins: dict[Origin, str] = field(default_factory=dict)
    """How it came → the reason in words, with the line."""
    trivial: bool = False
    """A few bytes that were written to see whether that can be done."""
    executable: bool = False
    removed: bool = False
    runs: int = 0

    @property
    def name(self) -> str:
        """Its base name."""
        return posixpath.basename(self.path)


def resolved(name: str, cwd: str) -> str:
    """The absolute path of a name, without ``.`` and ``..``."""
    if name == "~" or name.startswith("~/"):
        name = HOME + name[1:]
    path = posixpath.normpath(posixpath.join(cwd, name))
    return "/" + path.lstrip("/")


class Files:
    """Files by path, with an index of base names."""

    def __init__(self) -> None:
        self.dropped = 0
        """Files beyond the bound."""
        self._by_path: dict[str, File] = {}
        self._by_name: dict[str, list[File]] = defaultdict(list)
        self._unpacked: dict[str, str] = {}
        """Directories into which an archive was unpacked → the reason."""

    def __iter__(self) -> Iterator[File]:
        return iter(self._by_path.values())

    def came(self, path: str, origin: Origin, reason: str) -> File | None:
        """Notes how a file came; None beyond the bound."""
        known = self._by_path.get(path)
        if known is None:
            if len(self._by_path) >= MAX_FILES:
                self.dropped += 1
                return None
            known = self._by_path[path] = File(path)
            self._by_name[known.name].append(known)
        known.origins.setdefault(origin, reason)
        known.removed = False
        return known

    def at(self, path: str) -> File | None:
        """The file of a path."""
        return self._by_path.get(path)

    def named(self, name: str) -> File | None:
        """The newest file with a base name."""
        found = self._by_name.get(name)
        return found[-1] if found else None

    def matching(self, pattern: str) -> list[File]:
        """The files that a pattern of absolute paths is for; ``*`` stays within a directory."""
        parts = pattern.count("/")
        return [f for f in self if f.path.count("/") == parts and fnmatchcase(f.path, pattern)]

    def below(self, directory: str) -> list[File]:
        """The files in a directory and below it."""
        top = directory.rstrip("/") + "/"
        return [f for f in self if f.path.startswith(top)]

    def unpack(self, directory: str, reason: str) -> None:
        """Notes that an archive of the session was unpacked into a directory; of the root, anything would be its."""
        if len(self._unpacked) < MAX_FILES and directory != "/":
            self._unpacked.setdefault(directory, reason)

    def unpacked(self, path: str) -> str:
        """Why a path may come from an archive of the session; empty when it does not."""
        while path != "/":
            path = posixpath.dirname(path)
            if reason := self._unpacked.get(path):
                return reason
        return ""


def origins_of(files: Iterable[File]) -> dict[Origin, str]:
    """How some files came, each way once, with the first reason."""
    found: dict[Origin, str] = {}
    for file in files:
        for origin, reason in file.origins.items():
            found.setdefault(origin, reason)
    return found
