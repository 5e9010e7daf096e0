"""Plain mode, for ``--plain``, ``TERM=dumb`` and no terminal: the same feed as lines of text, until Ctrl-C.

No colour, no cursor movement, nothing drawn anew, no columns of blanks: a screen reader reads each line once. What the
header shows on a screen is a line of its own here, written when it changes. Commands are typed as lines too
(:mod:`decnet_tui.launch.asked`).
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from decnet.config import Settings
from decnet.hostile import visible
from decnet_tui.launch.asked import HELP, Asked
from decnet_tui.model.access import Session, store_errors
from decnet_tui.model.connection import Connection
from decnet_tui.model.feed import EventRow, Feed
from decnet_tui.model.filters import parse_filter
from decnet_tui.model.words import clock, counted
from decnet_tui.widgets import glyphs

TICK_S = 0.25
FILTER = "> -system.> -attacker.observation -attacker.observations -attribution.profile.state_changed -ttp.rule.fired"
"""Heartbeats show as state lines, when a state changes; what is derived of each event would drown the events."""


class PlainReader:
    """Turns a feed into lines: events that the filter shows, and states when they change."""

    def __init__(self, feed: Feed, connection: Connection, host: str) -> None:
        self._feed, self._connection, self._host = feed, connection, host
        self._filter = parse_filter(FILTER)
        self.held: Callable[[], bool] = lambda: False
        """Whether events wait: somebody reads an answer."""
        self._next = 0
        self._said: dict[str, str] = {}

    def lines(self, now: float) -> list[str]:
        """What is new since the last call."""
        if self.held():
            return self._states(now)
        fresh = self._feed.since(self._next)
        missed = self._feed.total - self._next - len(fresh)
        self._next = self._feed.total
        out = self._states(now)
        if missed:
            out.append(f"{clock(now)} ({counted(missed, 'event')} came faster than could be written)")
        shows = self._filter.shows
        return out + [_event(row) for row in fresh if shows(row.topic, row.source, row.summary, row.raw)]

    def _states(self, now: float) -> list[str]:
        out = []
        connected = "LIVE" if self._connection.live else "DISCONNECTED" if self._connection.retries else ""
        if connected and self._changed("", connected):
            out.append(f"{clock(now)} {visible(self._host, 40)} {connected}")
        for name, model in sorted(self._feed.workers.items()):
            state = model.status(now, self._feed.heartbeat_s)
            if self._changed(name, state):
                out.append(f"{clock(now)} worker {visible(name, 40)}: {state}")
        return out

    def _changed(self, key: str, value: str) -> bool:
        changed = self._said.get(key) != value
        self._said[key] = value
        return changed


def _event(row: EventRow) -> str:
    return f"{clock(row.ts)} {row.source}, {row.topic}: {row.summary}"


async def run_plain(settings: Settings, session: Session, out: TextIO | None = None) -> None:
    """Writes lines until SIGINT or SIGTERM. Raises BrokenPipeError when the reader of the output is gone."""
    glyphs.use(settings.console.glyphs, {})
    feed = Feed(settings.console.ring, settings.runtime.heartbeat_s)
    connection = Connection(session.bus, feed)
    await session.open_store()
    if session.repo is not None:
        with suppress(*store_errors()):
            feed.load_heartbeats(await session.repo.heartbeats())
    reader, stop, target = PlainReader(feed, connection, session.host), _stop(), out or sys.stdout
    asked = Asked(settings.data_dir, settings.db, lambda line: _say(target, line), stop)
    reader.held = lambda: asked.held
    if out is None and sys.stdin.isatty():
        asked.listen(sys.stdin.fileno())
        _say(target, HELP)
    gone: BrokenPipeError | None = None
    async with asyncio.TaskGroup() as group:
        jobs = [
            group.create_task(job, name=name)
            for name, job in (
                ("connection", connection.run()),
                ("watch", connection.watch()),
                ("asked", asked.run()),
            )
        ]
        try:
            await _write(reader, target, stop)
        except BrokenPipeError as error:
            gone = error  # raised after the group, which would wrap it
        finally:
            for job in jobs:
                job.cancel()
    if gone is not None:
        raise gone


def _say(out: TextIO, line: str) -> None:
    out.write(glyphs.plain(visible(line)) + "\n")
    out.flush()


def _stop() -> asyncio.Event:
    asked = asyncio.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signal_number, asked.set)
    return asked


async def _write(
    reader: PlainReader, out: TextIO, stop: asyncio.Event, now: Callable[[], float] = time.time
) -> None:
    while not stop.is_set():
        for line in reader.lines(now()):
            out.write(glyphs.plain(line) + "\n")
        out.flush()
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), TICK_S)
