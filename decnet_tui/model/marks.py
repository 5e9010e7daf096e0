"""What an operator has read: marks of his own that stay, in a private file of the data directory.

What is marked is what a source did: one script of it, or a session that has none. A source that does something else is
unread again; one that goes on repeating itself is not.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from decnet.bus.connection import write_private

FILE_NAME = "read-marks.json"
MOST = 10_000
"""Marks of one operator that are kept; beyond, the oldest go."""


def mark_of(row: Mapping[str, Any]) -> str:
    """What marks a session as read, or a source by its worst session; empty for what is neither."""
    attacker, what = row.get("attacker_uuid"), row.get("playbook") or row.get("session_id")
    return f"{attacker} {what}" if attacker and what else ""


class Marks:
    """The marks of one operator. Without a folder they last as long as the console."""

    def __init__(self, data_dir: Path | None, operator: str) -> None:
        self._folder, self._operator = data_dir, operator
        self._kept: dict[str, float] = self._read()

    @property
    def lasting(self) -> bool:
        """Whether they are there the next time."""
        return self._folder is not None

    def has(self, mark: str) -> bool:
        """Whether it is read."""
        return mark in self._kept

    def turn(self, mark: str, now: float | None = None) -> bool:
        """Marks it as read, or takes that back; whether it is read now. Raises OSError when it could not be kept."""
        if mark in self._kept:
            del self._kept[mark]
        else:
            self._kept[mark] = time.time() if now is None else now
            while len(self._kept) > MOST:
                del self._kept[min(self._kept, key=self._kept.__getitem__)]
        self._write()
        return mark in self._kept

    def _read(self) -> dict[str, float]:
        own = self._all().get(self._operator)
        if not isinstance(own, dict):
            return {}
        return {str(mark): float(at) for mark, at in own.items() if isinstance(at, (int, float))}

    def _all(self) -> dict[str, Any]:
        if self._folder is None:
            return {}
        try:
            found = json.loads((self._folder / FILE_NAME).read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self) -> None:
        """Beside those of others, which another console may have changed meanwhile."""
        if self._folder is not None:
            write_private(self._folder / FILE_NAME, json.dumps({**self._all(), self._operator: self._kept}))
