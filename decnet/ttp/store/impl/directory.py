"""A rule directory over time: what changed since the last scan, with the last good version of bad files."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path

from watchfiles import awatch

from decnet.errors import Place, RuleError
from decnet.ttp.loader import MAX_FILE_BYTES, load_bytes, load_file, merge, rule_files
from decnet.ttp.rules import CompiledRule
from decnet.ttp.store.base import RuleChange

_GUARDED_FROM = 4


class RuleDirectory:
    """Scans by content hash; all compiling runs under one lock."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_FILE_BYTES) -> None:
        self.path = path.absolute()
        self.max_bytes = max_bytes
        self.by_id: dict[str, CompiledRule] = {}
        self.errors: list[RuleError] = []
        self._seen: dict[str, tuple[str, CompiledRule | None, list[RuleError]]] = {}
        self._lock = threading.Lock()

    def scan(self, *, allow_shrink: bool = False) -> list[RuleChange]:
        """Reads what changed and swaps the whole set at once; the changes by rule id."""
        with self._lock:
            seen = {path.name: self._read(path) for path in rule_files(self.path)}
            result = merge((rule, errors) for _, rule, errors in seen.values())
            fresh = {rule.rule_id: rule for rule in result.rules}
            if not allow_shrink and self._shrunk(len(fresh)):
                message = f"{len(fresh)} of {len(self.by_id)} rules left: refused, the old set stays"
                self.errors = [*result.errors, RuleError(message, Place(str(self.path)))]
                return []
            changes = _difference(self.by_id, fresh)
            self._seen, self.by_id, self.errors = seen, fresh, result.errors
            if not self.path.is_dir():
                self.errors = [*self.errors, RuleError("no such rule directory", Place(str(self.path)))]
            return changes

    def _shrunk(self, now: int) -> bool:
        before = len(self.by_id)
        return before > 0 and (not now or (before >= _GUARDED_FROM and now * 2 <= before))

    def _read(self, path: Path) -> tuple[str, CompiledRule | None, list[RuleError]]:
        known = self._seen.get(path.name)
        try:
            with path.open("rb") as handle:
                raw = handle.read(self.max_bytes + 1)
        except OSError:
            _, errors = load_file(path, max_bytes=self.max_bytes)
            return ("", known[1] if known else None, errors)
        digest = hashlib.sha256(raw).hexdigest()
        if known and known[0] == digest:
            return known
        if len(raw) > self.max_bytes:
            rule, errors = load_file(path, max_bytes=self.max_bytes)
        else:
            rule, errors = load_bytes(raw, str(path))
        # A bad file keeps its last good version.
        return digest, rule or (known[1] if known else None), errors

    async def hints(self, debounce_s: float, rescan_s: float) -> AsyncIterator[None]:
        """Yields when it is worth a scan: after a change settled, and every ``rescan_s`` seconds anyway."""
        while True:
            inode = self._inode()
            if inode is None:
                await asyncio.sleep(min(rescan_s, 0.5))
                yield
                continue
            watch = awatch(
                self.path,
                debounce=max(int(debounce_s * 1000), 50),
                step=50,
                rust_timeout=int(rescan_s * 1000),
                yield_on_timeout=True,
                recursive=False,
            )
            try:
                async for _ in watch:
                    yield
                    if self._inode() != inode:
                        break
            except (FileNotFoundError, RuntimeError):
                await asyncio.sleep(0.2)

    def _inode(self) -> tuple[int, int] | None:
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_dev, stat.st_ino


def _difference(old: dict[str, CompiledRule], new: dict[str, CompiledRule]) -> list[RuleChange]:
    changes = []
    for rule_id in sorted(old.keys() | new.keys()):
        rule, before = new.get(rule_id), old.get(rule_id)
        if rule is None:
            changes.append(RuleChange("removed", rule_id, None))
        elif before is None or before.content_hash != rule.content_hash:
            changes.append(RuleChange("definition", rule_id, rule))
    return changes
