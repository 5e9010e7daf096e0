"""What the console needs of the engine or of an attachment to one; implemented elsewhere."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Protocol, TypedDict

from decnet.bus.base import BaseBus
from decnet.errors import DecnetError

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet_tui.model.whereabouts import Whereabouts


def operator(where: str) -> str:
    """Who gives orders here, for the journal and ``set_by``: the login name at ``where`` (console, cli)."""
    try:
        return f"{getpass.getuser()}@{where}"
    except (KeyError, OSError):
        return where


def store_errors() -> tuple[type[Exception], ...]:
    """What reading and writing the store may raise; asked for only when something is raised.

    The database library takes long to load, and the first screen does not wait for it.
    """
    from sqlalchemy.exc import SQLAlchemyError

    return (DecnetError, OSError, SQLAlchemyError)


class RuleRow(TypedDict, total=False):
    """One line of the Rules view. Times are epoch seconds; ``error`` holds load errors with their place."""

    rule_id: str
    rule_version: int | None
    name: str
    state: str
    confidence_max: float | None
    expires_at: float | None
    reason: str | None
    set_by: str | None
    file: str | None
    error: str | None
    fired_24h: int
    yaml: str


class RuleAccess(Protocol):
    """Rules as the store holds them."""

    async def list_rules(self) -> list[RuleRow]:
        """All rules, bad files included. Raises DatabaseError."""
        ...

    async def set_rule_state(
        self,
        rule_id: str,
        state: str,
        confidence_max: float | None = None,
        expires_at: float | None = None,
        reason: str | None = None,
    ) -> None:
        """Writes a state (enabled, disabled, clipped). Raises when it was not written."""
        ...


class Session(RuleAccess, Protocol):
    """One console session."""

    bus: BaseBus
    repo: BaseRepository | None
    demo: bool
    engine_inside: bool
    host: str
    operator: str
    whereabouts: Whereabouts
    """Where addresses are, by the files of this host."""
    keep_clear: bool
    """Whether captured secrets are shown in clear text, where that was kept."""

    @property
    def opening(self) -> bool:
        """Whether the database is known but not open yet."""
        ...

    async def open_store(self) -> None:
        """Opens the database that an attachment knows of; once. Raises what opening it raises."""
        ...


def need_store(session: Session) -> BaseRepository:
    """The repository. Raises DecnetError that says what to do when there is none."""
    if session.repo is None:
        if session.opening:
            raise DecnetError("the database is not open yet")
        raise DecnetError("attached without a database: start the console with --db URL")
    return session.repo
