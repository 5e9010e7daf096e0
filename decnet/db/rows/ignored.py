"""Rows of ignored sources."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict


class IgnoredEntry(TypedDict):
    """A network (``cidr``) or a login name (``user``) that is left out of lists until it expires."""

    ignore_id: str
    kind: str
    value: str
    reason: str | None
    set_by: str | None
    set_at: datetime
    expires_at: datetime | None


class AddedEntry(IgnoredEntry):
    """An entry that was just added, with the number of stored sessions that it marked."""

    marked: int
