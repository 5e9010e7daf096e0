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

from decnet.sensors.files.listing import SNIFFED_BYTES, first_bytes, reason_of
from decnet.sensors.files.names import group_of, is_log_name
from decnet.sensors.files.opening import FAULTS, unreadable
from decnet.sensors.kinds import Kind, sniffer

MAX_DEPTH = 8
MAX_ENTRIES = 20_000
"""Files and directories looked at below one top directory."""
TOPS: dict[str, tuple[Kind, ...]] = {"tpot": ("cowrie", "opencanary"), "dshield": ("cowrie", "opencanary")}
"""Kinds of sensor that are a top directory, and the kinds of log that are looked for below it."""
_CLOSED = {
    "tty": "terminal recordings: read with their sessions",
    "downloads": "files that attackers brought: never read as logs",
    "dl": "files that attackers brought: never read as logs",
    "honeyfs": "the files that a honeypot shows",
    "txtcmds": "the files that a honeypot shows",
    "node_modules": "programs",
    "site-packages": "programs",
}
_OTHERS = frozenset({
    "adbhoney", "amun", "beelzebub", "ciscoasa", "citrixhoneypot", "conpot", "ddospot", "dicompot",
    "dionaea", "elasticpot", "endlessh", "fatt", "galah", "glastopf", "glutton", "go-pot", "h0neytr4p",
    "hellpot", "heralding", "honeyaml", "honeypots", "honeypy", "honeysap", "honeytrap", "ipphoney",
    "log4pot", "mailoney", "medpot", "miniprint", "p0f", "rdpy", "redishoneypot", "sentrypeer", "snare",
    "suricata", "tanner", "vnclowpot", "wordpot", "zeek",
})  # fmt: skip
"""Honeypots and sniffers, by the names of their folders."""
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


class Finder:
    """Walks below one top directory; what a file is, is asked again only when it has changed."""

    def __init__(self, top: Path, kinds: Sequence[Kind]) -> None:
        self._top = top
        self._asks = {kind: sniffer(kind) for kind in kinds}
        self._said: dict[str, tuple[tuple[int, int], Kind | str]] = {}

    def look(self) -> Layout:
        """What is there now. Raises OSError when the top directory cannot be listed."""
        layout, left = Layout(), MAX_ENTRIES
        waiting = deque([(self._top, 0)])
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
            if said in self._asks:
                kind = next(kind for kind in self._asks if kind == said)
                found[kind] = found.get(kind, 0) + 1
            elif said:
                passed[entry.path] = said
        layout.logs += [(kind, folder) for kind in found]
        if found:  # its own sensor names the other files
            passed = {path: why for path, why in passed.items() if Path(path).is_dir()}
        layout.passed |= passed
        return below

    def _file(self, entry: os.DirEntry[str]) -> Kind | str:
        """The kind of log that a file is, or why it is none; empty for what is not worth a word."""
        for start, why in _DSHIELD.items():
            if entry.name.startswith(start):
                return why
        try:
            info = entry.stat()
        except OSError as error:
            return reason_of(error)
        if not stat.S_ISREG(info.st_mode):
            return "no regular file"
        mark = (info.st_size, info.st_mtime_ns)
        known = self._said.get(entry.path)
        if known is None or (known[0] != mark and known[1] not in self._asks):
            known = self._said[entry.path] = (mark, self._asked(entry.path, entry.name, info.st_size))
        return known[1]

    def _asked(self, path: str, name: str, size: int) -> Kind | str:
        if not size:
            return self._by_name(name) or "empty"
        try:
            data = first_bytes(path)[:SNIFFED_BYTES]
        except FAULTS as error:
            return reason_of(error)
        if why := unreadable(data):
            return why
        said = [(kind, ask(data)) for kind, ask in self._asks.items()]
        mine = [kind for kind, no in said if not no]
        named = [no for _, no in said if no.startswith("this is")]
        return (mine or named or [f"no log of {' or '.join(self._asks)}"])[0]

    def _by_name(self, name: str) -> Kind | str:
        """What an empty file is going to be."""
        starts = (kind for kind in self._asks if group_of(name).startswith(kind) and is_log_name(name))
        return next(starts, "")


def _closed(name: str) -> str:
    """Why a folder is not entered; empty when it is."""
    if name.startswith("."):
        return "hidden"
    if name in _OTHERS:
        return f"no reader for {name} yet"
    return "no honeypot's log" if name in _HOUSE else _CLOSED.get(name, "")
