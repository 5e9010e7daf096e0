"""The engine as a daemon: signals, systemd notification, ``--until-idle``."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from decnet.config import Settings
from decnet.engine import Engine
from decnet.errors import EngineError
from decnet.logs import get_logger
from decnet.runtime.progress import Progress
from decnet_tui.model.words import counted

log = get_logger(__name__)


def sd_notify(message: str) -> bool:
    """Sends ``message`` to systemd when it listens (NOTIFY_SOCKET); True when it was sent.

    It never waits: ten that nobody has read fill the socket, and an engine would stand still for it.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sock:
        try:
            sock.sendto(message.encode(), "\0" + address[1:] if address[0] == "@" else address)
        except OSError as error:
            log.warning("systemd does not listen", reason=error.strerror)
            return False
    return True


async def _watchdog(standing: Callable[[float], str]) -> None:
    """``WATCHDOG=1`` six times in the interval that systemd asks for, while ``standing`` says that all goes on.

    A process that is stopped for two thirds of the interval and goes on is alive in time.
    """
    usec = os.environ.get("WATCHDOG_USEC", "")
    if not usec.isdigit() or not int(usec):
        return
    pause_s, said = int(usec) / 6e6, ""
    while True:
        why = standing(pause_s)
        if not why:
            sd_notify("WATCHDOG=1")
        elif not said:
            log.error("no progress: the watchdog is not fed", reason=why)
        said = why
        await asyncio.sleep(pause_s)


class _Signals:
    """SIGTERM and SIGINT: the first asks, the second insists, also on the end of a start; SIGHUP reloads the rules.

    It comes from somebody who means it: a set that lost half of its rules, refused so far, counts then.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.stop = asyncio.Event()
        self.started = False
        self.starting: asyncio.Task[None] | None = None
        self._reload_waits = False
        self._insist: asyncio.Task[None] | None = None
        self._reload: asyncio.Task[None] | None = None

    def install(self) -> None:
        loop = asyncio.get_running_loop()
        for sig in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sig, self._asked)
        loop.add_signal_handler(signal.SIGHUP, self._hup)

    def begin(self) -> None:
        """The engine has started: what was asked for meanwhile is done now."""
        self.started = True
        if self._reload_waits:
            self._hup()

    def _asked(self) -> None:
        if self.stop.is_set() and self.started:
            log.warning("second signal: running batches are cut")
            self._insist = asyncio.get_running_loop().create_task(self.engine.supervisor.cut(), name="insist")
        elif self.stop.is_set() and self.starting is not None:
            log.warning("second signal: the start is cut")
            self.starting.cancel()
        self.stop.set()

    def _hup(self) -> None:
        if not self.started:
            self._reload_waits = True
            return
        self._reload_waits = False
        self._reload = asyncio.get_running_loop().create_task(self._reload_rules(), name="reload-rules")

    async def _reload_rules(self) -> None:
        try:
            await self.engine.rules.reload(allow_shrink=True)
            rules = self.engine.rules
            log.info("rules reloaded", rules=len(rules.rules()), errors=len(rules.errors()))
        except Exception:
            log.error("rules not reloaded", exc_info=True)


async def run_headless(settings: Settings, until_idle: float | None = None) -> None:
    """Runs the engine until a signal, or until it is idle for ``until_idle`` seconds.

    Raises EngineError that says what is stuck when idleness does not come.
    """
    engine = Engine(settings)
    signals = _Signals(engine)
    signals.install()  # first: the connection file tells others of us before the start is over
    await _started(engine, signals)
    signals.begin()
    sd_notify(f"READY=1\nSTATUS={counted(len(engine.supervisor.runners), 'worker')}")
    watchdog = asyncio.create_task(_watchdog(Progress(engine.supervisor).standing), name="watchdog")
    try:
        await _work(engine, signals.stop, until_idle)
    finally:
        sd_notify("STOPPING=1")
        watchdog.cancel()
        with suppress(asyncio.CancelledError):
            await watchdog
        await engine.stop()


async def _started(engine: Engine, signals: _Signals) -> None:
    """Starts the engine, unless a second signal cuts that. Raises as Engine.start, and EngineError when it was cut."""
    signals.starting = asyncio.create_task(engine.start(), name="start")
    try:
        await signals.starting
    except asyncio.CancelledError:
        if signals.starting.cancelled() and signals.stop.is_set():
            raise EngineError("ended by a second signal before it had started") from None
        raise


async def _work(engine: Engine, stop: asyncio.Event, until_idle: float | None) -> None:
    """Until a signal, idleness, or a bus that refuses us from the start. Raises EngineError for the last one."""
    refused = asyncio.create_task(engine.supervisor.refused.wait(), name="until-refused")
    asked = asyncio.create_task(stop.wait(), name="until-signal")
    tasks: list[asyncio.Task[Any]] = [refused, asked]
    idle = None
    if until_idle is not None:
        idle = asyncio.create_task(engine.until_idle(until_idle), name="until-idle")
        tasks.append(idle)
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if not task.done():
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if not refused.cancelled():
        raise EngineError("the bus refused the credentials: check bus.token, bus.user and bus.nkeys_seed")
    if idle is not None and idle.done() and not idle.cancelled():
        _judge(engine, idle.result())


def _judge(engine: Engine, stuck: str | None) -> None:
    """A run that ends by itself says whether all it was told to read was read. Raises EngineError."""
    if stuck:
        raise EngineError(f"no progress for 60 s, stuck: {stuck}")
    if unread := engine.unread_sensors():
        raise EngineError(f"not read: {'; '.join(unread)}; check the path after --sensor KIND=")
