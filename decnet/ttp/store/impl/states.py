"""Rule states in one JSON file that all processes of a host share: changed under a lock, replaced in one step."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from decnet.errors import RuleStoreError
from decnet.logs import get_logger
from decnet.ttp.rules import RuleState

_log = get_logger(__name__)
FILE_NAME = "rule_state.json"
_TIMES = ("expires_at", "set_at")
_NAMES = ("state", "confidence_max", *_TIMES, "reason", "set_by")


class StateFile:
    """States by rule id in ``path``; kept in this process only where that is None."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._kept: dict[str, RuleState] = {}

    def read(self) -> dict[str, RuleState]:
        """All states, ended ones too; a bad one is left out. RuleStoreError for a file that cannot be read."""
        if self.path is None:
            return dict(self._kept)
        try:
            entries = json.loads(self.path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise RuleStoreError(f"{self.path}: rule states not readable: {error}") from error
        if not isinstance(entries, dict):
            raise RuleStoreError(f"{self.path}: rule states not readable: no mapping")
        return {rule_id: state for rule_id, row in entries.items() if (state := _state(rule_id, row))}

    def put(self, rule_id: str, state: RuleState) -> None:
        """Stores one state. RuleStoreError when it is not stored."""
        with self._locked():
            self._write({**self.read(), rule_id: state})

    def end(self, rule_id: str, expires_at: datetime) -> bool:
        """Takes away a state whose time is over; False when another was first or the state is another one now."""
        with self._locked():
            known = self.read()
            if rule_id not in known or known[rule_id].expires_at != expires_at:
                return False
            del known[rule_id]
            self._write(known)
            return True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time; the lock is a file of its own, since the other one is replaced."""
        if self.path is None:
            yield
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self.path.with_name(f"{self.path.name}.lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise RuleStoreError(f"{self.path}: rule states not stored: {error}") from error

    def _write(self, states: Mapping[str, RuleState]) -> None:
        if self.path is None:
            self._kept = dict(states)
            return
        draft = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        try:
            text = json.dumps({rule_id: _entry(state) for rule_id, state in sorted(states.items())}, indent=1)
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as out:
                out.write(text.encode("utf-8", "replace"))
                out.flush()
                os.fsync(out.fileno())
            draft.replace(self.path)
        finally:
            draft.unlink(missing_ok=True)


def _entry(state: RuleState) -> dict[str, Any]:
    """The state as JSON values; times are ISO 8601."""
    values = {name: getattr(state, name) for name in _NAMES}
    return {name: v.isoformat() if isinstance(v, datetime) else v for name, v in values.items()}


def _state(rule_id: str, entry: Any) -> RuleState | None:
    """The state in an entry; None, with one warning, for an entry that makes none."""
    try:
        values = {name: entry.get(name) for name in _NAMES}
        times = {name: datetime.fromisoformat(values[name]) for name in _TIMES if values[name] is not None}
        return RuleState(**{**values, **times})
    except (AttributeError, TypeError, ValueError) as error:
        _log.warning("bad rule state in the file", rule_id=rule_id, reason=str(error))
        return None
