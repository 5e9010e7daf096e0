"""How a console begins: it follows the bus, reads what was stored before it came, and shows what is new."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING

from decnet_tui import lastlook
from decnet_tui.feed import KNOWN_IPS
from decnet_tui.screens.since import SinceView
from decnet_tui.session import store_errors

if TYPE_CHECKING:
    from decnet_tui.app import DecnetApp

STORE_WAIT_S, STORE_OPEN_S = 1.0, 10.0
"""Seconds that live events wait for the store to be read first, and that the first screen waits without them."""

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
    stored = await _read_store(app)
    if not late:
        _follow_bus(app)
    elif app.feed.name_sources():
        app.traffic.set_scope(app.scope)
    if not gc.isenabled():  # the program switched it off while it started; tests do not
        app.run_worker(_collect(app), name="collect")
    since = app.view_of(SinceView)
    since.start_with(lastlook.read(app.settings.data_dir, app.session.operator), app.session.demo)
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


def _follow_bus(app: DecnetApp) -> None:
    app.run_worker(app.link.run(), name="link")
    app.run_worker(app.link.watch(), name="link-watch")


async def _read_store(app: DecnetApp) -> bool:
    """Heartbeats and addresses of before we came; whether sessions are stored."""
    wait = STORE_OPEN_S if app.session.opening else STORE_WAIT_S
    try:
        await app.session.open_store()
        if (repo := app.session.repo) is None:
            return False
        app.loader.recount()
        async with asyncio.timeout(wait):
            app.feed.load_heartbeats(await repo.heartbeats())
            app.feed.load_addresses(await repo.list_attackers(limit=KNOWN_IPS))
            return bool(await repo.list_sessions(limit=1))
    except store_errors() as error:
        app.say(f"the database cannot be read: {error or 'too slow'}", bad=True)
        return False
