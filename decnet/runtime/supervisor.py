"""The one supervisor: starts workers, the outbox relay and the control listener; ends them in two stages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from decnet.bus.base import BaseBus
from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.errors import BusAuthError, BusError
from decnet.logs import get_logger
from decnet.runtime.beats import StoredBeats
from decnet.runtime.dbwatch import DatabaseWatch
from decnet.runtime.relay import OutboxRelay
from decnet.runtime.runner import WorkerRunner
from decnet.runtime.worker import Worker

log = get_logger(__name__)
OTHERS_S = 10.0
"""Seconds that a worker which brings work waits for the others to start."""
DEADLINE_S = 10.0
"""Seconds that a task may take to end after it was cut."""


class Supervisor:
    """Runs ``workers`` over one bus and one repository until :meth:`stop`."""

    def __init__(
        self, workers: Sequence[Worker], repo: BaseRepository, bus: BaseBus, settings: Settings
    ) -> None:
        self.repo = repo
        self.bus = bus
        self.settings = settings
        self.relay = OutboxRelay(repo, bus, settings)
        self.database = DatabaseWatch(repo)
        self.beats = StoredBeats(repo, self.database)
        self.runners = {
            w.name: WorkerRunner(w, repo, bus, settings, repo.written.note, self.database, self.beats)
            for w in workers
        }
        self.refused = asyncio.Event()
        """Set when the bus refused the credentials of the very first connection: waiting will not help."""
        self._lives: list[asyncio.Task[None]] = []
        self._services: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Starts everything; returns at once. A bus that is away is waited for in the background."""
        self._serve("bus-connect", self._connect)
        self._serve("outbox-relay", self.relay.run)
        self._serve("control", self._control)
        self._serve("database-watch", self.database.run)
        for name, runner in self.runners.items():
            self._serve(f"{name}:heartbeat", runner.heartbeats)
            life = self._after_the_others(runner) if runner.worker.brings_work else runner.run()
            self._lives.append(asyncio.create_task(life, name=f"{name}:life"))

    async def _after_the_others(self, bringing: WorkerRunner) -> None:
        """What waits in a log would take the processor from those that still load what they judge it by."""
        others = [runner.begun.wait() for runner in self.runners.values() if not runner.worker.brings_work]
        with suppress(TimeoutError):
            async with asyncio.timeout(OTHERS_S):
                await asyncio.gather(*others)
        await bringing.run()

    def serve(self, name: str, body: Callable[[], Awaitable[None]]) -> None:
        """Adds a service of the engine's own, kept alive like the others."""
        self._serve(name, body)

    def _serve(self, name: str, body: Callable[[], Awaitable[None]]) -> None:
        self._services.append(asyncio.create_task(self._kept(name, body), name=name))

    async def _kept(self, name: str, body: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await body()
                return
            except BusError as error:
                log.debug("service waits for the bus", service=name, reason=str(error))
            except Exception:
                log.error("service failed", service=name, exc_info=True)
            await asyncio.sleep(self.settings.runtime.restart_backoff_s)

    async def _connect(self) -> None:
        """Until the first connection; afterwards the adapter reconnects by itself."""
        try:
            await self.bus.connect()
        except BusAuthError as error:
            if not self.refused.is_set():
                log.error("bus refuses the credentials", reason=str(error))
                self.refused.set()
            raise

    async def _control(self) -> None:
        async with self.bus.subscribe("system.*.control") as sub:
            async for event in sub:
                runner = self.runners.get(event.topic.split(".")[1])
                if runner is not None and not runner.control(str(event.payload.get("action"))):
                    log.warning(
                        "unknown control action", topic=event.topic, action=str(event.payload.get("action"))
                    )

    async def stop(self, grace_s: float | None = None) -> None:
        """Lets running batches end within ``grace_s`` seconds, then cuts them; the last beats say stopped."""
        grace = self.settings.runtime.grace_s if grace_s is None else grace_s
        for runner in self.runners.values():
            runner.end()
        await self._finish(self._lives, grace)
        try:
            await asyncio.gather(*(runner.beat() for runner in self.runners.values()))
        finally:
            await self._finish(self._services, 0)
            await self.beats.close()

    async def _finish(self, tasks: list[asyncio.Task[None]], grace: float) -> None:
        if tasks and grace > 0:
            await asyncio.wait(tasks, timeout=grace)
        for task in tasks:
            task.cancel()
        done, hung = await asyncio.wait(tasks, timeout=DEADLINE_S) if tasks else (set(), set())
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("task ended badly", exc_info=error)
        for task in hung:
            log.error("task does not end and is left behind", task=task.get_name())
        tasks.clear()

    async def cut(self) -> None:
        """The second stage at once: cancels every life."""
        await self._finish(self._lives, 0)


async def run_until(supervisor: Supervisor, shutdown: asyncio.Event) -> None:
    """Runs ``supervisor`` until ``shutdown`` is set; ends it clean on cancellation as well."""
    await supervisor.start()
    try:
        await shutdown.wait()
    finally:
        await supervisor.stop()
