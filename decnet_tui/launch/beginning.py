"""How a console begins: it follows the bus, reads what was stored before it came, and shows what is new."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING

from decnet_tui.model import last_look
from decnet_tui.model.access import store_errors
from decnet_tui.model.feed import KNOWN_IPS
from decnet_tui.screens.since import SinceView

if TYPE_CHECKING:
    from decnet_tui.app import DecnetApp

STORE_WAIT_S, STORE_OPEN_S = 3.0, 10.0
"""Seconds that live events wait for the store to be read first, and that the first screen waits without them."""

LIVE_WAIT_S = 1.0
"""Seconds that the database waits for the bus; it has to tell its story without one too."""
COLLECT_S, QUIET_S = 120.0, 5.0
"""Seconds between full collections, and without a key before one."""
FULL_BY_ITSELF = 100_000
"""Middle collections until the interpreter makes a full one by itself: practically never."""


async def begin(app: DecnetApp) -> None:
    """Follows the bus; with stored data the first screen is what is new.

    Events wait for a store that is open, since it knows addresses; they do not wait for one to open.
    """
    late = app.session.opening
    if late:
        _follow_bus(app)
        await _until_live(app)
    stored = await _read_store(app)
    if not late:
        await _read_addresses(app)
        _follow_bus(app)
    await _show_news(app, stored)
    if late:
        await _read_addresses(app)
        if app.feed.name_sources():
            app.traffic.set_scope(app.scope)
    if not gc.isenabled():  # the program switched it off while it started; tests do not
        app.run_worker(_collect(app), name="collect")


async def _show_news(app: DecnetApp, stored: bool) -> None:
    """The first screen where something is stored, unless somebody went elsewhere meanwhile."""
    since = app.view_of(SinceView)
    since.start_with(last_look.read(app.settings.data_dir, app.session.operator), app.session.demo)
    if stored and not app.touched and app.loader.due(since):
        await app.loader.load(since)
    if stored and not app.touched:
        app.show_view(since.name)


async def _collect(app: DecnetApp) -> None:
    """Full collections while nobody types: with a full ring one takes a tenth of a second."""
    gc.freeze()  # what stands now stays; collections pass it by
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, FULL_BY_ITSELF)
    gc.enable()
    last = time.monotonic()
    while True:
        await asyncio.sleep(QUIET_S)
        now = time.monotonic()
        if now - last >= COLLECT_S and now - app.touched >= QUIET_S:
            gc.collect()
            last = now


async def _until_live(app: DecnetApp) -> None:
    """What goes by is seen first: the database's library takes as long to load as all the rest."""
    try:
        async with asyncio.timeout(LIVE_WAIT_S):
            await app.link.up.wait()
    except TimeoutError:
        return


def _follow_bus(app: DecnetApp) -> None:
    app.run_worker(app.link.run(), name="link")
    app.run_worker(app.link.watch(), name="link-watch")


async def _read_store(app: DecnetApp) -> bool:
    """Heartbeats of before we came; whether sessions are stored."""
    wait = STORE_OPEN_S if app.session.opening else STORE_WAIT_S
    try:
        await app.session.open_store()
        if (repo := app.session.repo) is None:
            return False
        app.loader.recount()
        async with asyncio.timeout(wait):
            app.feed.load_heartbeats(await repo.heartbeats())
            return bool(await repo.list_sessions(limit=1))
    except store_errors() as error:
        app.say(f"the database cannot be read: {str(error) or 'too slow'}", bad=True)
        return False


async def _read_addresses(app: DecnetApp) -> None:
    """Who is behind the ids that events name."""
    if (repo := app.session.repo) is None:
        return
    try:
        async with asyncio.timeout(STORE_WAIT_S):
            app.feed.load_addresses(await repo.list_attackers(limit=KNOWN_IPS))
    except store_errors() as error:
        app.say(f"the database cannot be read: {str(error) or 'too slow'}", bad=True)
