"""The table of ignored sources.

The marks themselves are columns of ``attacker`` and ``session``: lists look at those.
"""

from __future__ import annotations

from datetime import datetime

from decnet.db.schema.columns import Stored, moment, text, text_key


class IgnoredSource(Stored, table=True):
    """A network or a login name whose doings are left out of lists; ``expires_at`` is wall clock."""

    __tablename__ = "ignored_source"
    ignore_id: str = text_key()
    kind: str = text()
    value: str = text()
    reason: str | None = text(None)
    set_by: str | None = text(None)
    set_at: datetime = moment(nullable=False)
    expires_at: datetime | None = moment(None)
