"""What an engine with the filesystem store judges by, for the other processes of its host.

The rules lie in files that everybody can read, but which of them are in force only the engine knows: it keeps
the last good version of a broken file, refuses a halved set and may follow another directory. So it writes its
set beside the file of states. The set counts only while its writer lives, which a lock tells: a process that was
killed holds none.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from decnet.errors import RuleStoreError
from decnet.logs import get_logger
from decnet.ttp.store.base import RuleListing

_log = get_logger(__name__)
FILE_NAME = "rules_in_force.json"
LOCK_NAME = "rules_in_force.lock"
_TRIES, _TRY_S = 20, 0.05
"""A reader asks by taking the lock for a moment: the engine tries for a second."""


class RuleSetFile:
    """The set of rules in force in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._lock: int | None = None

    def hold(self) -> bool:
        """Takes the lock for this process, for as long as it lives; what an earlier one left is gone then.

        False, with a warning, when another engine has it.
        """
        if self._lock is not None:
            return True
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(self.path.with_name(LOCK_NAME), os.O_RDWR | os.O_CREAT, 0o600)
        for _ in range(_TRIES):
            if _taken(lock, fcntl.LOCK_EX):
                self._lock = lock
                self.path.unlink(missing_ok=True)
                return True
            time.sleep(_TRY_S)
        os.close(lock)
        _log.warning("another engine says which rules are in force here", folder=str(self.path.parent))
        return False

    def publish(self, rules: Sequence[RuleListing]) -> None:
        """Replaces the set in one step; only who holds the lock writes. A failure is a warning: judging goes on."""
        if self._lock is None:
            return
        draft = self.path.with_name(f"{FILE_NAME}.{os.getpid()}.new")
        try:
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as out:
                json.dump([asdict(rule) for rule in rules], out)
            draft.replace(self.path)
        except OSError as error:
            _log.warning("rules in force not written", path=str(self.path), reason=str(error))

    def release(self) -> None:
        """Gives the lock back; the set goes with it."""
        if self._lock is not None:
            self.path.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def held(self) -> bool:
        """Whether an engine judges by files here."""
        try:
            with self.path.with_name(LOCK_NAME).open("rb") as lock:
                return not _taken(lock.fileno(), fcntl.LOCK_SH)
        except OSError:
            return False

    def read(self) -> list[RuleListing] | None:
        """The rules in force; none while its writer is on its way to load them, None without such an engine.

        Raises RuleStoreError for a set that cannot be read.
        """
        if not self.held():
            return None
        try:
            rows = json.loads(self.path.read_text("utf-8"))
            return [RuleListing(**row) for row in rows]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as error:
            raise RuleStoreError(f"{self.path}: rules in force not readable: {error}") from error


def _taken(lock: int, how: int) -> bool:
    """Whether the lock is this process's now."""
    with suppress(BlockingIOError):
        fcntl.flock(lock, how | fcntl.LOCK_NB)
        return True
    return False
