"""The triggers that hits of a batch may belong to, read at once; and what became of them, written at once.

The rows of the tokens are locked by then, so that nobody else adds to them meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from decnet.db.rows.canary import TokenRow, TriggerRow

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository


class Standing:
    """What is known, and what is new, of the tokens of one batch."""

    def __init__(self, repo: BaseRepository) -> None:
        self._repo = repo
        self._newest: dict[tuple[str, str], TriggerRow] = {}
        self._changed: dict[str, TriggerRow] = {}
        self._tokens: dict[str, TokenRow] = {}
        self.first_trips: dict[str, Mapping[str, Any]] = {}
        """Tokens that nobody had set off before, with what is told of that."""

    async def read(self, pairs: Iterable[tuple[str, str]], since: datetime) -> None:
        """Looks up the newest triggers of some tokens and peers that began after ``since``."""
        for trigger in await self._repo.canary_standing(sorted(set(pairs)), since):
            self._newest[trigger["token_id"], trigger["peer"]] = trigger

    def newest(self, token_id: str, peer: str, since: datetime) -> TriggerRow | None:
        """The newest trigger of a token by a peer, if it began after ``since``."""
        found = self._newest.get((token_id, peer))
        return found if found is not None and found["first_at"] > since else None

    def keep(self, trigger: TriggerRow) -> None:
        """A trigger that is new, or another one than it was."""
        key = (trigger["token_id"], trigger["peer"])
        known = self._newest.get(key)
        if known is None or trigger["first_at"] >= known["first_at"]:
            self._newest[key] = trigger
        self._changed[trigger["trigger_id"]] = trigger

    def count(self, token: TokenRow) -> None:
        """A token whose counts are others than they were."""
        self._tokens[token["token_id"]] = token

    async def seen(self, token_id: str, *, peer: str | None = None, label: str | None = None) -> bool:
        """Whether a trigger of the token, stored or of this batch, has that peer or that label."""
        own = [one for one in self._changed.values() if one["token_id"] == token_id]
        if any(
            (peer is None or one["peer"] == peer) and (label is None or one["label"] == label) for one in own
        ):
            return True
        return await self._repo.canary_seen(token_id, peer=peer, label=label)

    async def reports(self, token_id: str, peer: str) -> list[object]:
        """The time zones that the browsers of a peer told of, over all triggers of a token."""
        told = {row["trigger_id"]: row["report"] for row in await self._repo.canary_reports(token_id, peer)}
        told |= {
            ident: one["report"]
            for ident, one in self._changed.items()
            if (one["token_id"], one["peer"]) == (token_id, peer)
        }
        return [report.get("tz") for report in told.values() if isinstance(report, dict)]

    async def write(self) -> None:
        """Writes all that is new."""
        await self._repo.canary_triggers_keep(list(self._changed.values()))
        await self._repo.canary_counts(list(self._tokens.values()))
