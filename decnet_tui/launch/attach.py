"""The console's session: over the engine inside this process, or attached to one that runs elsewhere."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from importlib import import_module
from typing import TYPE_CHECKING

from decnet.bus.base import BaseBus
from decnet.bus.connection import read_connection
from decnet.bus.factory import get_bus
from decnet.config import Settings
from decnet.errors import DecnetError, EngineError
from decnet_tui.model.access import RuleRow, operator
from decnet_tui.model.rules import EngineRules, StoredRules
from decnet_tui.model.whereabouts import Whereabouts

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository
    from decnet.engine import Engine
    from decnet_tui.model.access import RuleAccess


class ConsoleSession:
    """Bus, database and rules of one console; ends with :meth:`close`."""

    def __init__(
        self,
        bus: BaseBus,
        settings: Settings,
        *,
        demo: bool = False,
        engine: Engine | None = None,
        db_url: str | None = None,
        local: bool = True,
    ) -> None:
        """Over the engine inside, or attached: then the database at ``db_url`` waits for :meth:`open_store`.

        ``local``: the data directory of ``settings`` is that of the engine.
        """
        self.bus = bus
        self.repo: BaseRepository | None = None
        self.demo = demo
        self.engine_inside = engine is not None
        self._engine = engine
        self.host = socket.gethostname()
        self.operator = operator("console")
        self._db_url = db_url
        self._settings, self._local = settings, local
        self.keep_clear = settings.credentials.keep_clear
        self.whereabouts = Whereabouts(settings)
        self._rules: RuleAccess | None = None
        self._undo = AsyncExitStack()
        self._hold(None if engine is None else engine.repo)

    def _hold(self, repo: BaseRepository | None) -> None:
        self.repo = repo
        if repo is None:
            self._rules = None
        elif self._engine is not None:
            self._rules = EngineRules(self._engine.rules, repo, self.operator)
        else:
            self._rules = StoredRules(self._settings, repo, self.operator, engine=True, local=self._local)

    @property
    def opening(self) -> bool:
        """Whether there is a database that is not open yet."""
        return self.repo is None and self._db_url is not None

    async def open_store(self) -> None:
        """Opens the database of an attachment, once. Raises DatabaseError; the session is without one then.

        Its library is loaded beside the event loop: the first screen does not wait for it.
        """
        url = self._db_url
        if self.repo is not None or url is None:
            return
        try:
            module = await asyncio.to_thread(import_module, "decnet.db.repository")
            await asyncio.to_thread(import_module, "decnet.ttp.store.factory")
            repo = await module.BaseRepository.open(url)
        except BaseException:
            self._db_url = None
            raise
        self._undo.push_async_callback(repo.close)
        self._hold(repo)

    async def list_rules(self) -> list[RuleRow]:
        """As the engine's store holds them. Raises DecnetError without a database, or when they cannot be reached."""
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

    def _access(self) -> RuleAccess:
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
    session = ConsoleSession(get_bus("console", engine.settings), engine.settings, demo=demo, engine=engine)
    session._undo.push_async_callback(engine.stop)
    session._undo.push_async_callback(session.bus.close)
    return session


def attach(settings: Settings, *, url: str | None = None) -> ConsoleSession:
    """An attachment to the engine of the data directory, or to the bus at ``url``; its store is not open yet.

    Raises DecnetError when there is none.
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
        settings,
        db_url=db_url,
        local=not url,
    )
    session._undo.push_async_callback(session.bus.close)
    return session
