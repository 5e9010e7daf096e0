"""How a console begins: it follows the bus, reads what was stored before it came, and shows what is new."""

from __future__ import annotations

import asyncio
import gc
import time
from functools import partial
from typing import Protocol

from decnet_tui.commands.context import Context
from decnet_tui.model import last_look
from decnet_tui.model.access import store_errors
from decnet_tui.model.connection import Connection
from decnet_tui.model.feed import KNOWN_IPS
from decnet_tui.model.marks import Marks
from decnet_tui.screens.loading import Loader
from decnet_tui.screens.since import SinceView
from decnet_tui.screens.traffic import TrafficView

STORE_WAIT_S, STORE_OPEN_S = 3.0, 10.0
"""Seconds that live events wait for the store to be read first, and that the first screen waits without them."""

LIVE_WAIT_S = 1.0
"""Seconds that the database waits for the bus; it has to tell its story without one too."""
COLLECT_S, QUIET_S = 120.0, 5.0
"""Seconds between full collections, and without a key before one."""
FULL_BY_ITSELF = 100_000
"""Middle collections until the interpreter makes a full one by itself: practically never."""


class Beginning(Context, Protocol):
    """The console while it begins."""

    connection: Connection
    loader: Loader
    touched: float
    """When the last key came (monotonic seconds); 0 before the first."""


async def begin(console: Beginning) -> None:
    """Follows the bus; with stored data the first screen is what is new.

    Events wait for a store that is open, since it knows addresses; they do not wait for one to open.
    """
    late = console.session.opening
    if late:
        _follow_bus(console)
        await _until_live(console)
    stored = await _read_store(console)
    if not late:
        await _read_addresses(console)
        _follow_bus(console)
    await _show_news(console, stored)
    if late:
        await _read_addresses(console)
        if console.feed.name_sources():
            console.view_of(TrafficView).set_scope(console.following.scope)
    if not gc.isenabled():  # the program switched it off while it started; tests do not
        console.work(partial(_collect, console), "collect")


async def _show_news(console: Beginning, stored: bool) -> None:
    """The first screen where something is stored, unless somebody went elsewhere meanwhile.

    What a demo plays is stored within seconds: it begins there, and fills.
    """
    since = console.view_of(SinceView)
    folder, operator = console.settings.data_dir, console.session.operator
    marks = Marks(None if console.desk.write.never else folder, operator)
    since.start_with(last_look.read(folder, operator), console.session.demo, marks)
    stored |= console.session.demo and console.session.repo is not None
    if stored and not console.touched and console.loader.due(since):
        await console.loader.load(since)
    if stored and not console.touched:
        console.show_view(since.name)


async def _collect(console: Beginning) -> None:
    """Full collections while nobody types: with a full ring one takes a tenth of a second."""
    gc.freeze()  # what stands now stays; collections pass it by
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, FULL_BY_ITSELF)
    gc.enable()
    last = time.monotonic()
    while True:
        await asyncio.sleep(QUIET_S)
        now = time.monotonic()
        if now - last >= COLLECT_S and now - console.touched >= QUIET_S:
            gc.collect()
            last = now


async def _until_live(console: Beginning) -> None:
    """What goes by is seen first: the database's library takes as long to load as all the rest."""
    try:
        async with asyncio.timeout(LIVE_WAIT_S):
            await console.connection.up.wait()
    except TimeoutError:
        return


def _follow_bus(console: Beginning) -> None:
    console.work(console.connection.run, "connection")
    console.work(console.connection.watch, "connection-watch")


async def _read_store(console: Beginning) -> bool:
    """Heartbeats of before we came; whether sessions are stored."""
    wait = STORE_OPEN_S if console.session.opening else STORE_WAIT_S
    try:
        await console.session.open_store()
        if (repo := console.session.repo) is None:
            return False
        console.loader.recount()
        async with asyncio.timeout(wait):
            console.feed.load_heartbeats(await repo.heartbeats())
            return bool(await repo.list_sessions(limit=1))
    except store_errors() as error:
        console.say(f"the database cannot be read: {str(error) or 'too slow'}", bad=True)
        return False


async def _read_addresses(console: Beginning) -> None:
    """Who is behind the ids that events name."""
    if (repo := console.session.repo) is None:
        return
    try:
        async with asyncio.timeout(STORE_WAIT_S):
            console.feed.load_addresses(await repo.list_attackers(limit=KNOWN_IPS))
    except store_errors() as error:
        console.say(f"the database cannot be read: {str(error) or 'too slow'}", bad=True)
