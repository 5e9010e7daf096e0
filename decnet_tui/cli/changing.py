"""How a command changes something: the console's way, over the engine of a data directory or its database alone.

Journal, send, read back and the news are :mod:`decnet_tui.actions.changes`; here is the session that they need in
a shell, and what a change that was refused means for the command.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from decnet.bus.base import BaseBus, Subscription
from decnet.bus.factory import get_bus
from decnet.bus.null import NullBus
from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.errors import BusError, ConfigError, DecnetError
from decnet_tui.actions import changes
from decnet_tui.cli import common
from decnet_tui.cli.stream import bus_settings
from decnet_tui.model.access import operator
from decnet_tui.model.feed import Feed
from decnet_tui.model.journal import End
from decnet_tui.model.rules import StoredRules
from decnet_tui.model.whereabouts import Whereabouts

if TYPE_CHECKING:
    from decnet.db.rows.fleet import MutationRow
    from decnet_tui.actions.fleet import Rotation
    from decnet_tui.actions.topology import TopologyOp

_ENDED = ("applied", "failed")
Store = Callable[[Settings], AbstractAsyncContextManager[BaseRepository]]


class ShellSession(StoredRules):
    """A :class:`decnet_tui.model.access.Session` for one command. ``live``: an engine is there and its news come."""

    demo = False
    engine_inside = False
    opening = False

    def __init__(self, settings: Settings, repo: BaseRepository, bus: BaseBus, *, live: bool) -> None:
        self.operator = operator("cli")
        super().__init__(settings, repo, self.operator, engine=common.reach(settings)[1] is not None)
        self.settings, self.live, self.bus = settings, live, bus
        self.repo: BaseRepository | None = repo
        self.store = repo
        self.host = socket.gethostname()
        self.keep_clear = settings.credentials.keep_clear
        self.whereabouts = Whereabouts(settings)

    async def open_store(self) -> None:
        """It is open."""


@asynccontextmanager
async def opened(
    settings: Settings, *, news: bool = False, engine: bool = False, store: Store = common.repository
) -> AsyncIterator[ShellSession]:
    """The session of a command. ``news``: on the bus if an engine runs; ``engine``: DecnetError if none does."""
    bus = await _bus(settings, needed=engine) if news or engine else None
    try:
        async with store(settings) as repo:
            yield ShellSession(settings, repo, bus or NullBus("cli"), live=bus is not None)
    finally:
        if bus is not None:
            await bus.close()


async def _bus(settings: Settings, *, needed: bool) -> BaseBus | None:
    """Connected to the engine; None when there is none and it is not ``needed``."""
    bus: BaseBus | None = None
    try:
        bus = get_bus("cli", bus_settings(settings, None))
        await bus.connect()
    except (BusError, ConfigError, DecnetError):
        if bus is not None:
            await bus.close()
        if needed:
            raise
        return None
    return bus


async def perform(session: ShellSession, change: changes.Change) -> changes.Outcome:
    """Does it, waiting for news only when an engine can tell some. Raises DecnetError when it was not applied."""
    feed = Feed(1000, session.settings.runtime.heartbeat_s)
    if session.live:
        outcome = await _with_news(session, feed, change)
    else:
        change.wait_s = 0.0
        outcome = await changes.perform(session, feed, change)
    if outcome.end is End.REFUTED:
        if isinstance(outcome.error, DecnetError):
            raise outcome.error
        raise DecnetError(outcome.text(change.what))
    return outcome


async def applied(settings: Settings, change: changes.Change) -> None:
    """Does it on the database alone, journal and all. Raises DecnetError when it was not applied."""
    async with opened(settings) as session:
        await perform(session, change)


async def queued(session: ShellSession, change: Rotation | TopologyOp, listed: str) -> MutationRow | None:
    """Puts a request into the mutator's queue and waits for its end for ``change.wait_s`` seconds (0: not at all).

    Its row as it is then, a failed one too. Raises DecnetError when it was not stored, and when it did not end in time
    or no engine is there to serve it; ``listed`` is the command that shows what became of it.
    """
    limit = change.wait_s
    refused: DecnetError | None = None
    try:
        await perform(session, change)
    except DecnetError as error:
        refused = error
    row = await session.store.mutation_get(change.stored) if change.stored else None
    state = row["state"] if row is not None else ""
    if refused is not None and state != "failed":
        raise refused
    if limit and not session.live:
        raise DecnetError("no engine runs here: the request is stored and served when one starts")
    if limit and state not in _ENDED:
        raise DecnetError(f"not done in {limit:.0f} s: see `{listed}`")
    return row


async def _with_news(session: ShellSession, feed: Feed, change: changes.Change) -> changes.Outcome:
    async with session.bus.subscribe(">") as news, asyncio.TaskGroup() as group:
        reading = group.create_task(_read(news, feed), name="news")
        try:
            return await changes.perform(session, feed, change)
        finally:
            reading.cancel()


async def _read(news: Subscription, feed: Feed) -> None:
    """Until it is cancelled, or the bus goes away: then no news come, and the change says so."""
    try:
        async for event in news:
            feed.add(event)
    except BusError:
        return
