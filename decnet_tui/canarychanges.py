"""Changes of canary tokens: minted, placed, revoked. The row is there before the file is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from decnet.decoys.canary import ledger
from decnet_tui.changes import Change, need_store
from decnet_tui.session import Session

if TYPE_CHECKING:
    from decnet.db.rows.canary import TokenRow


class TokenChange(Change):
    """A change of one token."""

    token: TokenRow

    @property
    def target(self) -> str:  # type: ignore[override]
        """The token."""
        return self.token["token_id"]

    async def before(self, session: Session) -> dict[str, Any] | None:
        """How it stood; None for one that is new."""
        return _told(await need_store(session).canary_token(self.target))


def _told(row: TokenRow | None) -> dict[str, Any] | None:
    """What the journal keeps of a token: nothing that would let anybody set it off."""
    if row is None:
        return None
    placed = row["placed_at"].isoformat() if row["placed_at"] else None
    return {"path": row["path"], "placed_at": placed, "revoked": row["revoked_at"] is not None}


@dataclass
class MintToken(TokenChange):
    """Keeps a new token."""

    token: TokenRow
    kind = "canary.mint"

    @property
    def what(self) -> str:
        """What it does."""
        return f"canary token {self.target} minted for {self.token['decky_id']}"

    def after(self) -> dict[str, Any]:
        """There, and not placed."""
        return {"path": self.token["path"], "placed_at": None, "revoked": False}

    async def send(self, session: Session) -> None:
        """Writes the row. Raises CanaryError, DatabaseError."""
        await ledger.mint(need_store(session), self.token)

    async def held(self, session: Session) -> str:
        """Empty when it is there."""
        found = await need_store(session).canary_token(self.target)
        return "" if found is not None else "the store does not have it"


@dataclass
class PlaceToken(TokenChange):
    """Puts its file into place (``put``), then writes down where it lies."""

    token: TokenRow
    path: str
    put: Callable[[], None]
    kind = "canary.place"

    @property
    def what(self) -> str:
        """What it does."""
        return f"canary token {self.target} placed at {self.path}"

    def after(self) -> dict[str, Any]:
        """Placed there."""
        return {"path": self.path, "revoked": False}

    async def send(self, session: Session) -> None:
        """Writes the file, then the row and the news. Raises CanaryError, DatabaseError."""
        self.put()
        await ledger.placed(need_store(session), self.token, self.path, datetime.now(UTC))

    async def held(self, session: Session) -> str:
        """Empty when the row says that path."""
        found = await need_store(session).canary_token(self.target)
        return "" if found is not None and found["path"] == self.path else "the store says another path"


@dataclass
class RevokeToken(TokenChange):
    """The token counts no longer."""

    token: TokenRow
    reason: str | None = None
    kind = "canary.revoke"

    @property
    def what(self) -> str:
        """What it does."""
        return f"canary token {self.target} revoked"

    def after(self) -> dict[str, Any]:
        """Revoked."""
        return {"revoked": True}

    async def send(self, session: Session) -> None:
        """Writes the row and the news. Raises CanaryError, DatabaseError."""
        await ledger.revoked(need_store(session), self.token, self.reason, datetime.now(UTC))

    async def held(self, session: Session) -> str:
        """Empty when it is revoked."""
        found = await need_store(session).canary_token(self.target)
        return "" if found is not None and found["revoked_at"] is not None else "the store has it as it was"
