"""A rule directory over time: what changed since the last scan, with the last good version of bad files.

Looking (read, compile) and swapping are two steps, so that a set can be judged before it counts.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from watchfiles import Change, awatch

from decnet.errors import RuleError, SourcePosition
from decnet.logs import get_logger
from decnet.ttp.kept import KeptRules
from decnet.ttp.loader import FILE_NAME, MAX_FILE_BYTES, load_bytes, load_file, merge, rule_files
from decnet.ttp.rules import CompiledRule
from decnet.ttp.store.base import RuleChange

_log = get_logger(__name__)
_GUARDED_FROM = 4
_LOOK_S = 1.0
"""Seconds between looks at what gives no event when it changes: the directory itself, and links in it."""
_WATCHES_WITH = "anyio._backends._asyncio"
"""What the watch would load at its first turn, on the event loop."""
_BLIND_FROM = 2
"""Watches in a row that could not begin, after which there is none to be had."""
READ_ALL = 12
"""Every so many rescans the files are read, whatever their stamps say; the others cost a stamp a file."""


class Seen(NamedTuple):
    """One file: the hash of its bytes, its rule (the last good one of a bad file) and its errors."""

    digest: str
    rule: CompiledRule | None
    errors: tuple[RuleError, ...]


class Plan(NamedTuple):
    """What a look found: files by name, rules by id, errors. Not in force yet."""

    seen: dict[str, Seen]
    rules: dict[str, CompiledRule]
    errors: tuple[RuleError, ...]

    def digests(self) -> dict[str, str]:
        """The content hash of each file: two looks that agree in it saw the same."""
        return {name: seen.digest for name, seen in self.seen.items()}


class RuleDirectory:
    """Scans by content hash; all compiling runs under one lock."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_FILE_BYTES, kept: Path | None = None) -> None:
        """``kept`` is the folder in which compiled rules are kept for the next start."""
        self.path = path.absolute()
        self.max_bytes = max_bytes
        self._kept = KeptRules(kept)
        self.by_id: dict[str, CompiledRule] = {}
        self.errors: list[RuleError] = []
        self._seen: dict[str, Seen] = {}
        self._looked: dict[str, Seen] = {}
        self._lock = threading.Lock()
        self._has_links = False
        self._unwatched = False
        """Whether files were links at the last look at their stamps."""

    def look(self) -> Plan:
        """Reads and compiles what changed; nothing is swapped yet."""
        with self._lock:
            seen = {path.name: found for path in rule_files(self.path) if (found := self._read(path))}
            self._looked = seen
            self._kept.save()
            result = merge((s.rule, list(s.errors)) for s in sorted(seen.values(), key=self._owner_first))
            rules = {rule.rule_id: rule for rule in result.rules}
            return Plan(seen, {**self._orphans(seen, rules), **rules}, tuple(result.errors))

    def news(self, plan: Plan) -> bool:
        """Whether the files differ from what is in force."""
        return plan.digests() != self.digests()

    def digests(self) -> dict[str, str]:
        """The content hash of each file in force."""
        return {name: seen.digest for name, seen in self._seen.items()}

    def swap(self, plan: Plan, *, allow_shrink: bool = False) -> list[RuleChange]:
        """Puts a plan in force; the changes by rule id. A halved set is refused unless allowed, an empty one anyway."""
        with self._lock:
            refused = shrunk(len(self.by_id), len(plan.rules), asked_for=allow_shrink)
            if refused:
                self.errors = [*plan.errors, RuleError(refused, SourcePosition(str(self.path)))]
                return []
            changes = difference(self.by_id, plan.rules)
            self._seen, self.by_id, self.errors = plan.seen, plan.rules, list(plan.errors)
            if not self.path.is_dir():
                self.errors = [
                    *self.errors,
                    RuleError("no such rule directory", SourcePosition(str(self.path))),
                ]
            return changes

    def scan(self, *, allow_shrink: bool = False) -> list[RuleChange]:
        """Looks and swaps at once."""
        return self.swap(self.look(), allow_shrink=allow_shrink)

    def _owner_first(self, seen: Seen) -> tuple[bool, str]:
        """A file that has an id keeps it when a second file claims it."""
        if seen.rule is None:
            return True, ""
        holder = self.by_id.get(seen.rule.rule_id)
        return holder is None or holder.file != seen.rule.file, seen.rule.file

    def _orphans(self, seen: dict[str, Seen], rules: dict[str, CompiledRule]) -> dict[str, CompiledRule]:
        """Rules in force of files that now claim an id of another file, for as long as they do."""
        found = (s.rule for s in seen.values() if s.rule is not None)
        lost = {rule.file for rule in found if rules[rule.rule_id].file != rule.file}
        return {rule_id: rule for rule_id, rule in self.by_id.items() if rule.file in lost}

    def _read(self, path: Path) -> Seen | None:
        """What a file holds now; None when it is gone after all."""
        last = self._seen.get(path.name)
        good = last.rule if last else None
        try:
            with path.open("rb") as handle:
                raw = handle.read(self.max_bytes + 1)
        except FileNotFoundError:
            return None
        except OSError:
            return Seen("", good, tuple(load_file(path, max_bytes=self.max_bytes)[1]))
        digest = hashlib.sha256(raw).hexdigest()
        for known in (last, self._looked.get(path.name)):
            if known and known.digest == digest:
                return known
        if len(raw) > self.max_bytes:
            rule, errors = load_file(path, max_bytes=self.max_bytes)
        else:
            rule, errors = load_bytes(raw, str(path), kept=self._kept)
        return Seen(digest, rule or good, tuple(errors))

    async def hints(self, debounce_s: float, rescan_s: float) -> AsyncIterator[None]:
        """Yields when a look is worth it: once the watch has begun, after a change, and now and then anyway.

        A change that gives no event shows in the stamps, which are looked at every ``rescan_s`` seconds; what does not
        even show there is found by the look after READ_ALL of these.
        """
        await asyncio.to_thread(import_module, _WATCHES_WITH)
        failed = 0
        while True:
            stamp, looked, looks = await asyncio.to_thread(self._stamp), time.monotonic(), READ_ALL
            if self._inode() is None:
                await asyncio.sleep(_LOOK_S)
                yield
                continue
            watch = awatch(
                self.path,
                watch_filter=_of_rules,
                debounce=max(int(debounce_s * 1000), 50),
                step=50,
                rust_timeout=int(min(_LOOK_S, rescan_s) * 1000),
                yield_on_timeout=True,
                recursive=False,
            )
            inode = self._inode()
            try:
                async for found in watch:
                    failed = 0
                    due = looks >= READ_ALL or time.monotonic() - looked >= rescan_s
                    if found or due or self._has_links:
                        now = await asyncio.to_thread(self._stamp)
                        looks += due
                        looked = time.monotonic() if found or due else looked
                        if found or now != stamp or looks >= READ_ALL:
                            stamp, looks = now, 0
                            yield
                    if self._inode() != inode:
                        yield
                        break
            except FileNotFoundError:
                await asyncio.sleep(0.2)
            except (OSError, RuntimeError) as error:
                failed += 1
                if failed < _BLIND_FROM or self._inode() != inode:  # the directory may have gone meanwhile
                    await asyncio.sleep(0.2)
                    continue
                self._say_unwatched(error, rescan_s)
                yield
                await asyncio.sleep(rescan_s)

    def _say_unwatched(self, error: Exception, rescan_s: float) -> None:
        """Once: a system that has no watches left gives none to whoever asks again."""
        if not self._unwatched:
            why = f"rule files cannot be watched, they are looked at every {rescan_s:g} s"
            _log.warning(why, path=str(self.path), reason=str(error))
        self._unwatched = True

    def _inode(self) -> tuple[int, int] | None:
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_dev, stat.st_ino

    def _stamp(self) -> object:
        """Cheap sign of change: names, sizes, times and inodes; with many files too dear for the event loop."""
        try:
            with os.scandir(self.path) as found:
                entries = [e for e in found if FILE_NAME.match(e.name)]
            self._has_links = any(e.is_symlink() for e in entries)
            return self._inode(), sorted(map(_mark, entries))
        except OSError:
            return None


def _mark(entry: os.DirEntry[str]) -> tuple[str | int, ...]:
    """Name, times, size and inode; the name alone of a file that is just gone, or of a link to nothing.

    The time of the last change of the inode cannot be set by whoever sets the other one back.
    """
    try:
        stat = entry.stat()
    except OSError:
        return (entry.name,)
    return entry.name, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino


def _of_rules(_change: Change, path: str) -> bool:
    return FILE_NAME.match(Path(path).name) is not None


def shrunk(before: int, now: int, *, asked_for: bool = False) -> str | None:
    """Why a set of ``now`` rules may not replace one of ``before``; None when it may."""
    if before and not now:
        return f"0 of {before} rules left: refused, the old set stays"
    if not asked_for and before >= _GUARDED_FROM and now * 2 <= before:
        return (
            f"{now} of {before} rules left: refused, the old set stays; SIGHUP to the engine takes this one"
        )
    return None


def difference(old: dict[str, CompiledRule], new: dict[str, CompiledRule]) -> list[RuleChange]:
    """The changes from one set to another, by rule id; the same content is none."""
    changes = []
    for rule_id in sorted(old.keys() | new.keys()):
        rule, before = new.get(rule_id), old.get(rule_id)
        if rule is None:
            changes.append(RuleChange("removed", rule_id, None))
        elif before is None or before.content_hash != rule.content_hash:
            changes.append(RuleChange("definition", rule_id, rule))
    return changes
