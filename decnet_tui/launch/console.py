"""Starts the console: attached to the engine of this host, or with one inside; on a screen or plain."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from decnet.bus.connection import read_connection
from decnet.config import Settings
from decnet.errors import DecnetError, EngineError
from decnet.home import with_database
from decnet.logs import configure_logging, get_logger
from decnet_tui.launch.hangup import TerminalWatch, terminal_fd
from decnet_tui.model import last_look

if TYPE_CHECKING:
    from decnet_tui.launch.attach import ConsoleSession

log = get_logger(__name__)
DEMO_IDLE_S = 3.0
START_S = 30.0
"""Seconds that an engine left behind may take to be there."""
_FRAMES_S = "200"
"""The framework waits so long (a 200th of a second) before it paints: its own 60th is a third of the budget."""
_MAX_LOG_BYTES = 10 * 2**20


@dataclass(frozen=True)
class How:
    """How the console is started. ``attach`` is None for "if one runs", ``""`` for the engine of this data

    directory and a URL for a bus elsewhere.
    """

    attach: str | None = None
    demo: bool = False
    span: Path | None = None
    """A recorded span of a bus that the demo plays in the place of its own recording."""
    plain: bool = False
    """Lines of text on whatever terminal there is."""
    read_only: bool = False


def has_terminal() -> bool:
    """Whether a full-screen program can run here."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


async def run_console(settings: Settings, how: How) -> None:
    """Runs until the operator quits. Raises DecnetError."""
    screen = has_terminal() and not how.plain
    if screen:
        _starting("starting ...")
    with ExitStack() as stack:
        if how.demo:
            from decnet_tui.launch.demo import demo_settings, make_fleet, print_summary

            paced = screen or how.plain or sys.stdout.isatty()
            settings = stack.enter_context(demo_settings(settings, how.span, paced=paced))
            if how.span is None:
                await make_fleet(settings)
        if screen:
            leave = await _full_screen(settings, how)
        elif how.demo and not how.plain and not sys.stdout.isatty():
            configure_logging(settings.log.format, "WARNING")
            from decnet_tui.launch.headless import run_headless

            await run_headless(settings, until_idle=DEMO_IDLE_S)
            await print_summary(settings)
            return
        else:
            await _plain(settings, how)
            return
        if leave:
            print_left_behind(settings, start_behind(settings, sys.argv))


def _starting(text: str) -> None:
    """One line while modules load and the engine starts, gone before the screen is taken."""
    sys.stdout.write(f"\r{text}\x1b[K")
    sys.stdout.flush()


async def _plain(settings: Settings, how: How) -> None:
    from decnet_tui.launch.plain import run_plain

    async with _session(settings, how) as session:
        await run_plain(settings, session)


async def _full_screen(settings: Settings, how: How) -> bool:
    """Whether the operator wants the engine to go on without a console."""
    os.environ.setdefault("TEXTUAL_FPS", _FRAMES_S)
    gc.disable()  # until the console stands: start-up leaves no garbage, and collections were a sixth of it
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    with TerminalWatch(terminal_fd(), lambda: loop.call_soon_threadsafe(task.cancel)) as terminal:
        try:
            return await _shown(settings, how)
        except asyncio.CancelledError:
            if terminal.gone:
                raise EngineError("the terminal is gone") from None
            raise


async def _shown(settings: Settings, how: How) -> bool:
    from decnet_tui.app import DecnetApp

    async with _session(settings, how) as session:
        _starting("")
        app = DecnetApp(settings, session=session, read_only=how.read_only)
        wanted = await app.run_async()
        if app.return_code:
            raise EngineError("the console ended by a fault of its own; what it says stands above")
        if wanted is not None and not how.read_only:  # who did not leave by himself has not looked
            last_look.write(settings.data_dir, session.operator)
        return wanted == "headless"


@asynccontextmanager
async def _session(settings: Settings, how: How) -> AsyncIterator[ConsoleSession]:
    """A session with its log in a file: a screen, and plain lines too, belong to the events."""
    from decnet_tui.launch import attach

    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _log_file(settings.data_dir / "console.log").open("a", encoding="utf-8") as log_file:
        configure_logging(settings.log.format, settings.log.level, log_file)
        if how.attach is not None or read_connection(settings.data_dir) is not None:
            session = attach.attach(settings, url=how.attach or None)
        else:
            session = await attach.start_inside(settings, demo=how.demo)
        playing = _play(session, settings, how.span) if how.span is not None else None
        try:
            yield session
        finally:
            if playing is not None:
                playing.cancel()
                await asyncio.gather(playing, return_exceptions=True)
            await session.close()


def _play(session: ConsoleSession, settings: Settings, span: Path) -> asyncio.Task[None]:
    """Begins to put a recorded span on the bus; what is wrong with it stands in the log."""
    from decnet_tui.launch.demo import play_span

    async def play() -> None:
        try:
            await play_span(session, settings, span)
        except DecnetError as error:
            log.error("the recorded span cannot be played", file=str(span), reason=str(error))

    return asyncio.create_task(play(), name="demo-span")


def start_behind(settings: Settings, argv: Sequence[str]) -> int:
    """Starts the same engine as a daemon of its own session; its pid. Raises EngineError when it does not come."""
    command = [sys.executable, "-m", "decnet_tui", *_for_a_daemon(argv[1:]), "--headless"]
    log_path = _log_file(settings.data_dir / "engine.log")
    with log_path.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own program with its own arguments
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env=with_database(settings.db),
        )  # fmt: skip
    deadline = time.monotonic() + START_S
    while (found := read_connection(settings.data_dir)) is None or found.pid != process.pid:
        if process.poll() is not None or time.monotonic() > deadline:
            raise EngineError(f"the engine did not start again: see {log_path}")
        time.sleep(0.1)
    return process.pid


def _for_a_daemon(arguments: Sequence[str]) -> Iterator[str]:
    """The arguments without what is the console's alone, and without the database, which goes by the environment."""
    rest = iter(arguments)
    for one in rest:
        if one == "--db":
            next(rest, None)
        elif one != "--read-only" and not one.startswith("--db="):
            yield one


def print_left_behind(settings: Settings, pid: int) -> None:
    """Says how to come back and how to end it."""
    sys.stdout.write(
        f"The engine runs headless (pid {pid}, log {settings.data_dir / 'engine.log'}).\n"
        f"Attach with `decnet-tui --data-dir {settings.data_dir}`, end it with `kill {pid}`.\n"
    )


def _log_file(path: Path) -> Path:
    """The log file, private; a large one is moved aside first, so that two at most exist."""
    if path.exists() and path.stat().st_size > _MAX_LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    path.touch(mode=0o600, exist_ok=True)
    return path
