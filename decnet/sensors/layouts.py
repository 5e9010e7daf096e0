"""Where logs lie below a top directory: T-Pot's, DShield's, a checkout of Cowrie, a volume of Docker's, anybody's.

A bounded walk that asks each file what it is. Folders with what attackers brought are never entered: a file in them
could pretend to be a log. What is not read is named, other honeypots by their name.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from decnet.sensors.files.listing import SNIFFED_BYTES, first_bytes, reason_of
from decnet.sensors.files.names import group_of, is_log_name
from decnet.sensors.files.opening import FAULTS, unreadable
from decnet.sensors.formats.shelf import NO_LOG, shelf_of
from decnet.sensors.kinds import Kind, sniffer

MAX_DEPTH = 8
MAX_ENTRIES = 20_000
"""Files and directories looked at below one top directory."""
TABLE = "table"
"""Stands for all formats that there are tables for."""
TOPS: dict[str, tuple[Kind, ...]] = {
    "tpot": (TABLE, "cowrie", "opencanary"),
    "dshield": ("cowrie", "opencanary"),
    TABLE: (TABLE,),
}
"""Kinds of sensor that are a top directory, and the kinds of log that are looked for below it, in this order."""
_CLOSED = {
    "tty": "terminal recordings: read with their sessions",
    "downloads": "files that attackers brought: never read as logs",
    "dl": "files that attackers brought: never read as logs",
    "binaries": "files that attackers brought: never read as logs",
    "filestore": "files that attackers brought: never read as logs",
    "extract_files": "files that attackers brought: never read as logs",
    "bistreams": "what attackers sent: never read as logs",
    "attacks": "what attackers sent: never read as logs",
    "payloads": "what attackers sent: never read as logs",
    "rtp": "what attackers sent: never read as logs",
    "roots": "the files that a honeypot shows",
    "honeyfs": "the files that a honeypot shows",
    "txtcmds": "the files that a honeypot shows",
    "node_modules": "programs",
    "site-packages": "programs",
}
_OTHERS = frozenset({
    "amun", "citrixhoneypot", "ddospot", "dicompot", "endlessh", "galah", "glastopf", "glutton", "go-pot", "h0neytr4p",
    "hellpot", "honeyaml", "honeypots", "honeypy", "honeysap", "ipphoney", "log4pot", "medpot", "miniprint", "rdpy",
    "snare", "tanner", "vnclowpot", "wordpot",
})  # fmt: skip
"""Honeypots that nothing here reads, by the names of their folders."""
_HOUSE = frozenset({"blackhole", "dshield", "elk", "ewsposter", "nginx", "spiderfoot", "uuid"})
"""Folders of the systems around them, which hold no honeypot's log."""
_DSHIELD = {
    "webhoneypot": "no reader for dshield's web honeypot yet",
    "dshield": "no reader for dshield's firewall log yet",
}
"""First letters of files of DShield's."""


@dataclass(slots=True)
class Layout:
    """What a walk found: places of logs, and what is passed over with the reason."""

    logs: list[tuple[Kind, Path]] = field(default_factory=list)
    passed: dict[str, str] = field(default_factory=dict)


class _Said(NamedTuple):
    """What a file is: a kind of log, or why it is none; nothing of both is not worth a word."""

    kind: Kind = ""
    why: str = ""


class Finder:
    """Walks below one top directory; what a file is, is asked again only when it has changed."""

    def __init__(self, top: Path, kinds: Sequence[Kind], formats: Path | None = None) -> None:
        """``formats`` is the folder with the operator's tables, where tables are asked."""
        self._top = top
        self._shelf = shelf_of(formats) if TABLE in kinds else None
        self._asks = {kind: sniffer(kind, formats) for kind in kinds if kind != TABLE}
        self._none = "no log that any reader knows" if self._shelf else f"no log of {' or '.join(self._asks)}"
        self._said: dict[str, tuple[tuple[int, int], _Said]] = {}

    def look(self) -> Layout:
        """What is there now; of a top that is a file, what it is. Raises OSError when it cannot be listed."""
        layout, left = Layout(), MAX_ENTRIES
        waiting = deque([(self._top, 0)])
        if self._top.is_file():
            self._alone(layout)
            waiting.clear()
        while waiting:
            folder, depth = waiting.popleft()
            try:
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError as error:
                if folder == self._top:
                    raise
                layout.passed[str(folder)] = reason_of(error)
                continue
            if len(entries) > left:
                layout.passed[str(folder)] = f"too many files: more than {MAX_ENTRIES} below {self._top}"
                entries = entries[:left]
            left -= len(entries)
            below = self._folder(folder, entries, layout)
            waiting += ((path, depth + 1) for path in below if self._deep(path, depth, layout))
        return layout

    def _alone(self, layout: Layout) -> None:
        """A file that was named itself."""
        said = self._asked(str(self._top), self._top.name, self._top.stat().st_size)
        if said.kind:
            layout.logs.append((said.kind, self._top))
        elif said.why:
            layout.passed[str(self._top)] = said.why

    @staticmethod
    def _deep(path: Path, depth: int, layout: Layout) -> bool:
        if depth < MAX_DEPTH:
            return True
        layout.passed[str(path)] = f"more than {MAX_DEPTH} directories down"
        return False

    def _folder(self, folder: Path, entries: list[os.DirEntry[str]], layout: Layout) -> list[Path]:
        """Takes in the files of one folder; the folders below that are worth entering."""
        below: list[Path] = []
        found: dict[Kind, int] = {}
        passed: dict[str, str] = {}
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if why := _closed(entry.name):
                    passed[entry.path] = why
                else:
                    below.append(Path(entry.path))
                continue
            said = self._file(entry)
            if said.kind:
                found[said.kind] = found.get(said.kind, 0) + 1
            elif said.why:
                passed[entry.path] = said.why
        layout.logs += [(kind, folder) for kind in found]
        if found:  # its own sensor names the other files
            passed = {path: why for path, why in passed.items() if Path(path).is_dir()}
        layout.passed |= passed
        return below

    def _file(self, entry: os.DirEntry[str]) -> _Said:
        """What one file of a directory is."""
        for start, why in _DSHIELD.items():
            if entry.name.startswith(start):
                return _Said(why=why)
        try:
            info = entry.stat()
        except OSError as error:
            return _Said(why=reason_of(error))
        if not stat.S_ISREG(info.st_mode):
            return _Said(why="no regular file")
        mark = (info.st_size, info.st_mtime_ns)
        known = self._said.get(entry.path)
        if known is None or (known[0] != mark and not known[1].kind):
            known = self._said[entry.path] = (mark, self._asked(entry.path, entry.name, info.st_size))
        return known[1]

    def _asked(self, path: str, name: str, size: int) -> _Said:
        if not size:
            return self._by_name(name)
        try:
            data = first_bytes(path)[:SNIFFED_BYTES]
        except FAULTS as error:
            return _Said(why=reason_of(error))
        if why := unreadable(data):
            return _Said(why=why)
        table, alone = self._shelf.which(data) if self._shelf else ("", "")
        if table:
            return _Said(f"{TABLE}:{table}")
        said = [(kind, ask(data)) for kind, ask in self._asks.items()]
        if mine := [kind for kind, no in said if not no]:
            return _Said(mine[0])
        named = [no for _, no in said if no.startswith("this is")]
        told = [alone] if alone not in ("", NO_LOG) else []
        return _Said(why=(told or named or [self._none])[0])

    def _by_name(self, name: str) -> _Said:
        """What an empty file is going to be."""
        starts = (kind for kind in self._asks if group_of(name).startswith(kind) and is_log_name(name))
        return _Said(next(starts, ""), "empty")


def _closed(name: str) -> str:
    """Why a folder is not entered; empty when it is."""
    if name.startswith("."):
        return "hidden"
    if name in _OTHERS:
        return f"no reader for {name} yet"
    return "no honeypot's log" if name in _HOUSE else _CLOSED.get(name, "")
