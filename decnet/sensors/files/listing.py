"""Which files of a sensor's path are looked at, in which order, and which are passed over and why.

A name that says "log" is enough. Of a file with any other name the first bytes are asked; whoever reads a kind of
log says what is one (``Sniff``). Nothing in a directory is passed over without a word.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from decnet.sensors.files.names import group_of, is_log_name, reading_order
from decnet.sensors.files.opening import FAULTS, after_padding, opened, unreadable

Sniff = Callable[[bytes], str]
"""Takes the first bytes of a file; empty for a log of the kind that is wanted, else why it is none."""
SNIFFED_BYTES = 65_536
RECORDING = re.compile(r"(?:[0-9a-f]{64}|\d{8}-\d{6}-[\w-]{1,64}\.log)\Z", re.ASCII)
"""What Cowrie calls its terminal recordings."""
_FOLDERS = {
    "tty": "a directory of terminal recordings: read with their sessions",
    "downloads": "a directory of files that attackers brought: never read as logs",
    "dl": "a directory of files that attackers brought: never read as logs",
}
_EMPTY = "empty"
MISSING = "missing"


@dataclass(slots=True)
class Listed:
    """The paths that may be logs, in reading order; the others with the reason; and what is wrong."""

    paths: list[str] = field(default_factory=list)
    passed: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    over: int = 0
    """Files beyond the limit, not looked at."""


class Listing:
    """Lists one sensor's path again and again; what a file's first bytes say is remembered until it changes."""

    def __init__(
        self, path: Path, max_files: int, sniff: Sniff | None = None, *, by_content: bool = False
    ) -> None:
        """``by_content``: every file is asked, since logs of several kinds lie side by side under any name."""
        self._path = path
        self._max = max_files
        self._sniff = sniff
        self._by_content = by_content
        self._said: dict[str, tuple[tuple[int, ...], str]] = {}

    def look(self) -> Listed:
        """What is there now."""
        listed = Listed()
        try:
            if self._path.is_dir():
                self._directory(listed)
            else:
                self._single(listed)
        except OSError as error:
            listed.problems[str(self._path)] = reason_of(error)
        return listed

    def _directory(self, listed: Listed) -> None:
        names = os.listdir(self._path)
        logs = sorted((n for n in names if self._is_log(n)), key=reading_order)
        others = sorted(set(names) - set(logs))
        chosen = logs[: self._max]
        for name in others[: max(self._max - len(logs), 0)]:
            why = self._why_not(os.path.join(self._path, name), name)
            if why:
                listed.passed[str(self._path / name)] = why
            else:
                chosen.append(name)
        listed.over = max(len(names) - self._max, 0)
        if listed.over:
            listed.passed[str(self._path)] = f"too many files: {listed.over} were not looked at"
        listed.paths = [str(self._path / name) for name in sorted(chosen, key=reading_order)]
        self._said = {path: said for path, said in self._said.items() if path in listed.passed or not said[1]}

    def _is_log(self, name: str) -> bool:
        """Whether a name alone is enough."""
        return not self._by_content and is_log_name(name)

    def _single(self, listed: Listed) -> None:
        base, folder = self._path.name, self._path.parent
        names = os.listdir(folder)
        mine = [n for n in names if n != base and group_of(n) == base]
        if base in names or self._path.exists():
            mine.append(base)
        else:
            listed.problems[str(self._path)] = MISSING
        for name in names:
            if name.startswith(base) and name not in mine and group_of(name) != base:
                listed.passed[str(folder / name)] = f"its name is not that of a rotated {base}"
        listed.paths = [str(folder / name) for name in sorted(mine, key=reading_order)]

    def _why_not(self, path: str, name: str) -> str:
        """Why a file whose name says nothing is no log; empty when its content says that it is one."""
        try:
            info = os.stat(path)
        except OSError as error:
            return reason_of(error)
        if stat.S_ISDIR(info.st_mode):
            return _FOLDERS.get(name, "a directory")
        if not stat.S_ISREG(info.st_mode):
            return "no regular file"
        if name.startswith("."):
            return "hidden: a file in the making, or an editor's"
        if not info.st_size:
            return _EMPTY
        mark = (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)
        known = self._said.get(path)
        if known is None or (known[0] != mark and known[1]):  # once a log, always a log
            known = self._said[path] = (mark, self._asked(path, name))
        return known[1]

    def _asked(self, path: str, name: str) -> str:
        try:
            data = first_bytes(path)
        except FAULTS as error:
            return reason_of(error)
        if not data:
            return "nothing but NUL bytes"
        if why := unreadable(data):
            return why
        if self._sniff is not None and not (why := self._sniff(data)):
            return ""
        if RECORDING.match(name):
            return "a terminal recording: read with its session"
        return why or "its name is not that of a log"


def first_bytes(path: str) -> bytes:
    """The first bytes of a file that say something, unpacked. Raises ``FAULTS``."""
    handle, _ = opened(path)
    with handle:
        head, _ = after_padding(handle)
        return head + handle.read(SNIFFED_BYTES)


def reason_of(error: BaseException) -> str:
    """What went wrong with a file, in a few words."""
    if isinstance(error, FileNotFoundError):
        return MISSING
    text = getattr(error, "strerror", None) or str(error)
    return text[:200] or type(error).__name__
