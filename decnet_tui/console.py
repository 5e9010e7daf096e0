"""Starts the console: attached to the engine of this host, or with one inside."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path

from decnet.bus.connection import read_connection
from decnet.config import Settings
from decnet.errors import DecnetError
from decnet.logs import configure_logging
from decnet_tui.demo import demo_settings, print_summary
from decnet_tui.headless import run_headless

DEMO_IDLE_S = 3.0


def has_terminal() -> bool:
    """Whether a full-screen program can run here."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


async def run_console(settings: Settings, *, attach: bool, demo: bool, read_only: bool) -> None:
    """Runs until the operator quits. Raises DecnetError."""
    with ExitStack() as stack:
        if demo:
            settings = stack.enter_context(demo_settings(settings))
        if has_terminal():
            await _full_screen(settings, attach=attach, demo=demo, read_only=read_only)
        elif demo:
            configure_logging(settings.log.format, "WARNING")
            await run_headless(settings, until_idle=DEMO_IDLE_S)
            await print_summary(settings)
        else:
            raise DecnetError("no terminal here: run with --headless, or read along with `decnet-tui watch`")


async def _full_screen(settings: Settings, *, attach: bool, demo: bool, read_only: bool) -> None:
    from decnet_tui import attach as sessions
    from decnet_tui.app import DecnetApp

    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _log_file(settings.data_dir / "console.log").open("a", encoding="utf-8") as log_file:
        configure_logging(settings.log.format, settings.log.level, log_file)
        if attach or read_connection(settings.data_dir) is not None:
            session = await sessions.attach(settings, url=settings.bus.url if attach else None)
        else:
            session = await sessions.start_inside(settings, demo=demo)
        try:
            await DecnetApp(settings, session=session, read_only=read_only).run_async()
        finally:
            await session.close()


_MAX_LOG_BYTES = 10 * 2**20


def _log_file(path: Path) -> Path:
    """The log file, private; a large one is moved aside first, so that two at most exist."""
    if path.exists() and path.stat().st_size > _MAX_LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    path.touch(mode=0o600, exist_ok=True)
    return path
