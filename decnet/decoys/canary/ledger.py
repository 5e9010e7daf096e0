"""What operators do with tokens: each change of a row is one transaction with the news of it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from decnet.bus import topics
from decnet.db.rows.canary import TokenRow
from decnet.errors import CanaryError
from decnet.events.canary import Placed, Revoked
from decnet.ids import event_id
from decnet.runtime.worker import transaction

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository

_PRODUCER = "canary"


async def mint(repo: BaseRepository, token: TokenRow) -> None:
    """Keeps a new token; from now on it counts. Raises CanaryError when its id is taken: mint another one then."""
    if not await repo.canary_add(token):
        raise CanaryError(f"the id {token['token_id']} is taken: mint another one")


async def placed(repo: BaseRepository, token: TokenRow, path: str, at: datetime) -> None:
    """Writes down where a token lies, and tells of it. Raises CanaryError for one that counts no longer."""
    said = Placed(token_id=token["token_id"], kind=token["kind"], decky_id=token["decky_id"], path=path)
    async with transaction(repo) as tx:
        if not await tx.repo.canary_placed(token["token_id"], path, at):
            raise CanaryError(f"{token['token_id']} was revoked")
        await _tell(tx, token, topics.CANARY_PLACED, said.build(), at)


async def revoked(repo: BaseRepository, token: TokenRow, reason: str | None, at: datetime) -> None:
    """A token counts no longer, and that is told. Raises CanaryError for one that was revoked before."""
    said = Revoked(token_id=token["token_id"], reason=reason)
    async with transaction(repo) as tx:
        if not await tx.repo.canary_revoked(token["token_id"], at):
            raise CanaryError(f"{token['token_id']} was revoked before")
        await _tell(tx, token, topics.CANARY_REVOKED, said.build(), at)


async def _tell(tx: Any, token: TokenRow, what: str, payload: dict[str, Any], at: datetime) -> None:
    ident = token["token_id"]
    moment = at.timestamp()
    await tx.bus.publish(
        topics.canary(ident, what),
        {**payload, "ts": moment},
        event_type=what,
        event_id=event_id(_PRODUCER, f"{ident}|{what}", str(moment)),
        ts=moment,
    )
