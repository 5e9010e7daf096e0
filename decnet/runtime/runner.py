"""One worker's life under supervision: start, batches, background tasks, pause, stop, restart."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from decnet.bus import topics
from decnet.bus.base import BaseBus, Consumer, Delivery
from decnet.bus.publish import publish_safely
from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.errors import BusError, DatabaseError, DiskFull
from decnet.logs import get_logger
from decnet.runtime.batch import BatchProcessor
from decnet.runtime.beats import StoredBeats, to_next
from decnet.runtime.dbwatch import DatabaseWatch
from decnet.runtime.health import WorkerStats, health_payload
from decnet.runtime.leases import OWNER
from decnet.runtime.worker import Job, Worker

log = get_logger(__name__)
ACTIONS = ("stop", "start", "restart", "pause", "resume")
"""Words that a worker obeys."""
MAX_BACKOFF_S = 60.0
FIRST_BEAT_S = 1.0
"""Pause after the first beat, in seconds; it doubles up to the interval."""
URGENT_LOOK_S = 2.0
"""Seconds until something urgent that a worker found shows: what is wrong is told within five."""
LEASE_LOOK_S = 0.2
"""Seconds between looks at a lease that is waited for."""
HALT_S = 0.25
"""Seconds that a worker which is to halt waits for events that are on their way."""
FIRST_EVENTS = 32
"""Events of the first batch of a life; each full one is followed by one of twice as many, up to the setting."""
LONGEST_FETCH_S = 30.0
"""Seconds that a worker waits for events at most: twice as long each time that none came."""
WAIT_LOOK_S = 0.2
"""Seconds between looks at a worker that lacks what it judges by."""


class WorkerRunner:
    """Runs one worker for ever; every task it makes ends with it."""

    def __init__(
        self,
        worker: Worker,
        repo: BaseRepository,
        bus: BaseBus,
        settings: Settings,
        wake: Callable[[], None],
        database: DatabaseWatch | None = None,
        beats: StoredBeats | None = None,
    ) -> None:
        """``wake`` is called after each commit; ``database`` and ``beats`` are those of the whole supervisor."""
        self.worker = worker
        self.repo = repo
        self.bus = bus
        self.settings = settings
        self.stats = WorkerStats()
        self.consumer: Consumer | None = None
        self.processor = BatchProcessor(worker, repo, settings, self.stats, wake)
        self.turns = 0
        """Times that it looked for events and worked off what there was."""
        self._state = "starting"
        self.begun = asyncio.Event()
        """Set when its first start is over, however that went."""
        self._wanted = "running"
        self._halt = asyncio.Event()
        self._go = asyncio.Event()
        self._go.set()
        self._changed = asyncio.Event()
        self._database = database or DatabaseWatch(repo)
        self._database.listen(self._changed.set)
        self._beats = beats or StoredBeats(repo)
        self._limit = FIRST_EVENTS
        self._patience_s = settings.runtime.batch_wait_s
        self._one_run: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def state(self) -> str:
        """ok, starting, waiting_for_bus, waiting_for_rules, failed, paused or stopped."""
        return self._state

    def _become(self, state: str) -> None:
        if state != "starting":
            self.begun.set()
        if state != self._state:
            self._state = state
            self._changed.set()

    def control(self, action: str) -> bool:
        """Carries out stop, start, restart, pause or resume; False for any other word.

        After :meth:`end` no word brings the worker back.
        """
        if action not in ACTIONS:
            return False
        if self._wanted != "ended":
            self._obey(action)
            log.info("worker control", worker=self.worker.name, action=action)
        return True

    def _obey(self, action: str) -> None:
        if action in ("stop", "pause"):
            self._wanted = "stopped" if action == "stop" else "paused"
            self._go.clear()
            self._halt.set()
        elif action in ("start", "resume"):
            self._wanted = "running"
            self._go.set()
        else:
            self._wanted = "running"
            self._go.set()
            self._halt.set()

    def end(self) -> None:
        """No further batch, no further life."""
        self._wanted = "ended"
        self._go.set()  # a paused one has to wake up for it
        self._halt.set()

    async def run(self) -> None:
        """Lives until :meth:`end`; a life that fails is followed by another after a pause."""
        try:
            await self._lives()
        finally:  # also when it was cut: the last beat tells the truth
            self._become("stopped")

    async def _lives(self) -> None:
        backoff = self.settings.runtime.restart_backoff_s
        while self._wanted != "ended":
            if not self._go.is_set():
                self._become(self._wanted)
                await self._go.wait()
                continue  # much may have been said before this wakes up
            self._halt.clear()
            try:
                await self._life()
                backoff = self.settings.runtime.restart_backoff_s
            except Exception:
                self._become("failed")
                self.stats.restarts += 1
                log.error("worker failed", worker=self.worker.name, retry_s=backoff, exc_info=True)
                await self._pause(backoff)
                backoff = min(backoff * 2, MAX_BACKOFF_S)

    async def _life(self) -> None:
        self._become("starting")
        self.stats.restarting.clear()
        self._limit, self._patience_s = FIRST_EVENTS, self.settings.runtime.batch_wait_s
        await self.worker.start(self.repo, self.bus)
        tasks = [
            asyncio.create_task(self._forever(name, body), name=f"{self.worker.name}:{name}")
            for name, body in self._bodies().items()
        ]
        self._become("ok")
        try:
            await self._consume()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.worker.stop()

    def _bodies(self) -> dict[str, Callable[[], Awaitable[None]]]:
        bodies = dict(self.worker.background())
        for job in self.worker.jobs:
            bodies[f"job-{job.name}"] = lambda job=job: self._every(job)  # type: ignore[misc]
        return bodies

    async def _forever(self, name: str, body: Callable[[], Awaitable[None]]) -> None:
        """A background task that ends is a fault: said, shown in health, started again."""
        backoff = self.settings.runtime.restart_backoff_s
        while True:
            try:
                await body()
                log.warning("background task ended", worker=self.worker.name, task=name)
            except Exception:
                log.warning("background task failed", worker=self.worker.name, task=name, exc_info=True)
            self.stats.restarting.add(name)
            self._changed.set()
            await asyncio.sleep(backoff)
            self.stats.restarting.discard(name)
            backoff = min(backoff * 2, MAX_BACKOFF_S)

    async def _every(self, job: Job) -> None:
        clock = asyncio.get_running_loop().time
        ended = clock()
        while True:
            await asyncio.sleep(ended + job.interval_s - clock())
            mark = self.repo.written.mark
            left = await self.run_job(job)
            ended = clock()
            if not left:
                await self.repo.written.after(mark, job.interval_s)

    async def run_job(self, job: Job, *, patient: bool = False) -> bool:
        """Runs a job now, unless another engine holds its lease; a ``patient`` caller waits for that one.

        False when there is nothing to do for it until a row is written. A lease of a job by data is held for its run only: whoever was killed in it blocks nobody for long. A lease
        keeps other engines out, not this one: its own runs wait for each other.
        """
        async with self._one_run[job.name]:
            return await self._run_job(job, patient)

    async def _run_job(self, job: Job, patient: bool) -> bool:
        if job.due is not None and not await job.due(self.repo):
            return False
        runtime = self.settings.runtime
        ttl = runtime.lease_s if job.by_data else max(job.interval_s * 2, runtime.lease_s)
        while job.lease is not None and not await self.repo.lease_acquire(job.lease, OWNER, ttl):
            if not patient:
                return True
            await asyncio.sleep(LEASE_LOOK_S)
        try:
            return await job.run(self.repo, self.bus) is not False
        finally:  # a job that failed blocks nobody either
            if job.lease is not None and job.by_data:
                await self.repo.lease_release(job.lease, OWNER)

    async def _consume(self) -> None:
        if not self.worker.topics:
            await self._halt.wait()
            return
        try:
            while not self._halt.is_set():
                await self._one_fetch()
                self.turns += 1
        finally:
            consumer, self.consumer = self.consumer, None
            if consumer is not None:
                with suppress(BusError):
                    await consumer.close()

    async def _one_fetch(self) -> None:
        runtime = self.settings.runtime
        try:
            if self.consumer is None:
                self.consumer = await self.bus.consume(self.worker.name, self.worker.topics)
            if lacking := self.worker.waiting_for():
                self._lacks(lacking)
                self._patience_s = runtime.batch_wait_s  # what comes back shows when a fetch is over
                await self._pause(WAIT_LOOK_S)
                return
            deliveries = await self._fetched(self.consumer)
            self._bus_is_back()
            if deliveries:
                with self.stats.batches.timed():
                    await self.processor.process(deliveries)
                self.stats.note = ""
        except BusError as error:
            self._patience_s = runtime.batch_wait_s
            self._bus_is_gone(error)
            await self._pause(runtime.restart_backoff_s)
        except DatabaseError as error:
            self.stats.note = (
                "disk full: nothing is acknowledged" if isinstance(error, DiskFull) else str(error)
            )
            self._changed.set()
            log.error("database trouble, batch kept", worker=self.worker.name, reason=str(error))
            await self._pause(runtime.restart_backoff_s)

    async def _fetched(self, consumer: Consumer) -> Sequence[Delivery]:
        """The next events, none after a while. Who halts it waits for a moment: what is on its way is still taken.

        A life begins with small batches, so that what waits for it shows soon.
        """
        runtime = self.settings.runtime
        limit = min(self._limit, runtime.batch_events)
        fetch = asyncio.create_task(consumer.fetch(limit, self._patience_s), name=f"{self.worker.name}:fetch")
        halt = asyncio.create_task(self._halt.wait(), name=f"{self.worker.name}:halt")
        try:
            await asyncio.wait({fetch, halt}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({fetch}, timeout=HALT_S)
            found = fetch.result() if fetch.done() else ()
        finally:
            for task in (fetch, halt):
                task.cancel()
            await asyncio.gather(fetch, halt, return_exceptions=True)
        least = runtime.batch_wait_s
        self._patience_s = least if found else min(2 * self._patience_s, max(LONGEST_FETCH_S, least))
        if len(found) == limit:
            self._limit = min(limit * 2, runtime.batch_events)
        return found

    def _lacks(self, what: str) -> None:
        """What is not taken waits in the stream: taken, it would count as judged."""
        state = f"waiting_for_{what}"
        if self._state != state:
            log.warning("worker waits, nothing is judged", worker=self.worker.name, waiting_for=what)
        self._become(state)

    def _bus_is_gone(self, error: BusError) -> None:
        if self._state != "waiting_for_bus":
            message = f"bus lost, {self.worker.without_bus}"
            log.warning(message, worker=self.worker.name, reason=str(error))
        self._become("waiting_for_bus")

    def _bus_is_back(self) -> None:
        if self._state == "waiting_for_bus":
            log.info("bus is back", worker=self.worker.name)
        if self._state != "failed" or self.consumer is not None:
            self._become("ok")

    async def _pause(self, seconds: float) -> None:
        """Waits, but not beyond a stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._halt.wait()

    async def heartbeats(self) -> None:
        """For ever: one beat at each change of state and every interval, on the bus and in the database.

        The first ones come sooner: who has just started an engine looks whether it reads.
        """
        interval = self.settings.runtime.heartbeat_s
        pause = min(FIRST_BEAT_S, interval)
        while True:
            self._changed.clear()
            told = self.worker.urgent()
            await self.beat()
            await self._until_beat(min(pause, to_next(interval)), told)
            pause = min(pause * 2, interval)

    async def _until_beat(self, seconds: float, told: object) -> None:
        """So long, or until the state or what is urgent is no longer as it was ``told``."""
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        while (left := until - clock()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left if told is None else min(left, URGENT_LOOK_S)):
                    await self._changed.wait()
                    return
            if self.worker.urgent() != told:
                return

    async def beat(self) -> None:
        """One heartbeat now."""
        await self._measure_lag()
        payload = health_payload(self.worker.name, self.shown_state(), self.stats, self.figures())
        if self._database.trouble:
            payload["note"] = self._database.trouble
        if self.bus.connected:  # else the database has it, and the loss of the bus was told once
            await publish_safely(self.bus, topics.system_health(self.worker.name), payload, "health")
        await self._beats.store(self.worker.name, payload)

    def shown_state(self) -> str:
        """The state as health says it: without bus, database or what it judges by, no worker is green."""
        if self._state == "ok" and self._database.trouble:
            return "waiting_for_database"
        if self._state in ("ok", "waiting_for_bus") and (lacking := self.worker.waiting_for()):
            return f"waiting_for_{lacking}"
        return "waiting_for_bus" if self._state == "ok" and not self.bus.connected else self._state

    def figures(self) -> dict[str, Any]:
        """The worker's own health fields."""
        try:
            return dict(self.worker.health())
        except Exception:
            log.warning("health fields failed", worker=self.worker.name, exc_info=True)
            return {"degraded": "its health cannot be read"}

    async def _measure_lag(self) -> None:
        if self.consumer is not None and self.bus.connected:
            with suppress(BusError):
                info = await self.consumer.info()
                self.stats.lag = info.pending + info.unacked
                if not self.stats.lag:  # somebody has worked off what the trouble was about
                    self.stats.note = ""
