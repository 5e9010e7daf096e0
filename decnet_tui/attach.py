"""The console's session: over the engine inside this process, or attached to one that runs elsewhere."""

from __future__ import annotations

import getpass
import socket
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from decnet.bus.base import BaseBus
from decnet.bus.connection import read_connection
from decnet.bus.factory import get_bus
from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.errors import DecnetError, EngineError
from decnet_tui.session import RuleRow
from decnet_tui.store import RepositoryRules

if TYPE_CHECKING:
    from decnet.engine import Engine


def operator() -> str:
    """Who sits at this terminal, for ``set_by``."""
    try:
        return f"{getpass.getuser()}@console"
    except (KeyError, OSError):
        return "console"


class ConsoleSession:
    """Bus, database and rules of one console; ends with :meth:`close`."""

    def __init__(
        self, bus: BaseBus, repo: BaseRepository | None, *, demo: bool, engine: Engine | None
    ) -> None:
        self.bus = bus
        self.repo = repo
        self.demo = demo
        self.engine_inside = engine is not None
        self._engine = engine
        self.host = socket.gethostname()
        self.operator = operator()
        self._rules = RepositoryRules(repo, self.operator) if repo is not None else None
        self._undo = AsyncExitStack()

    async def list_rules(self) -> list[RuleRow]:
        """As the engine's database holds them. Raises DecnetError without a database."""
        return await self._access().list_rules()

    async def set_rule_state(
        self,
        rule_id: str,
        state: str,
        confidence_max: float | None = None,
        expires_at: float | None = None,
        reason: str | None = None,
    ) -> None:
        """Writes a state. Raises DecnetError without a database."""
        await self._access().set_rule_state(rule_id, state, confidence_max, expires_at, reason)

    def _access(self) -> RepositoryRules:
        if self._rules is None:
            raise DecnetError("attached without a database: start the console with --db")
        return self._rules

    async def played(self, seconds: float) -> None:
        """Returns when the engine inside has been idle for ``seconds``. Raises EngineError when it is stuck."""
        if self._engine is not None and (stuck := await self._engine.until_idle(seconds)):
            raise EngineError(f"stuck: {stuck}")

    async def close(self) -> None:
        """Ends the attachment, or the engine inside."""
        await self._undo.aclose()


async def start_inside(settings: Settings, *, demo: bool) -> ConsoleSession:
    """An engine in this process and a bus client of the console's own. Raises as Engine.start."""
    from decnet.engine import Engine  # here: an attachment starts without it, and faster

    engine = Engine(settings)
    await engine.start()
    session = ConsoleSession(get_bus("console", engine.settings), engine.repo, demo=demo, engine=engine)
    session._undo.push_async_callback(engine.stop)
    session._undo.push_async_callback(session.bus.close)
    return session


async def attach(settings: Settings, *, url: str | None = None) -> ConsoleSession:
    """An attachment to the engine of the data directory, or to the bus at ``url``.

    Raises DecnetError when there is none, BusError or DatabaseError when it cannot be reached.
    """
    found = read_connection(settings.data_dir)
    if url:
        bus = settings.bus.model_copy(update={"url": url})
    elif found is not None:
        bus = found.bus_settings(settings.bus)
    else:
        raise DecnetError(
            f"no engine runs on {settings.data_dir}: start `decnet-tui`, or name a bus: --attach URL"
        )
    db_url = settings.db or (found.db_url if found and not url else None)
    session = ConsoleSession(
        get_bus("console", settings.model_copy(update={"bus": bus})),
        await BaseRepository.open(db_url) if db_url else None,
        demo=False,
        engine=None,
    )
    if session.repo is not None:
        session._undo.push_async_callback(session.repo.close)
    session._undo.push_async_callback(session.bus.close)
    return session
