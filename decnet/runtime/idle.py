"""When is there nothing left to do? Asked by ``--until-idle``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol

from decnet.errors import BusError
from decnet.runtime.runner import WorkerRunner
from decnet.runtime.supervisor import Supervisor

STUCK_S = 60.0
"""Seconds without any progress, with work left, after which waiting is given up."""
START_S = 300.0
"""Seconds that a worker's start may take before it counts as no progress."""
_LOOK_S = 0.25


class Source(Protocol):
    """What reads logs, as far as idleness is concerned."""

    def at_end(self) -> bool:
        """Whether all there is has been read, published and stored."""
        ...

    def health(self) -> dict[str, Any]:
        """Counters that move while reading goes on."""
        ...


class IdleWatch:
    """Watches sensors, consumers, retries and the outbox of one supervisor."""

    def __init__(
        self,
        supervisor: Supervisor,
        source: Source | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``clock`` gives seconds that only grow."""
        self.supervisor = supervisor
        self.source = source
        self._clock = clock

    async def wait(self, seconds: float) -> str | None:
        """Returns None after ``seconds`` of idleness on end, else what has been stuck for a minute."""
        idle_since: float | None = None
        mark, began = None, self._clock()
        moved = began
        while True:
            work, now = await self.work_left(), self._clock()
            idle_since = None if work else now if idle_since is None else idle_since
            if idle_since is not None and now - idle_since >= seconds:
                return None
            if (fresh := self._progress(work)) != mark:
                mark, moved = fresh, now
            if self._starting() and now - began < START_S:
                moved = now
            if work and now - moved > STUCK_S:
                return "; ".join(f"{what}: {left}" for what, left in work.items())
            await asyncio.sleep(_LOOK_S)

    def _starting(self) -> bool:
        """Whether a worker is on its way: a first start reads hundreds of rules, on a busy machine for long."""
        return any(runner.state == "starting" for runner in self.supervisor.runners.values())

    def _progress(self, work: dict[str, str]) -> tuple[Any, ...]:
        counts = [(r.stats.processed, r.stats.dead_lettered) for r in self.supervisor.runners.values()]
        read = self.source.health().get("bytes_behind") if self.source else None
        return (*counts, read, tuple(work.items()))

    async def work_left(self) -> dict[str, str]:
        """What is unfinished, by the part that has it; empty when idle."""
        left: dict[str, str] = {}
        if self.source is not None and not self.source.at_end():
            left["sensors"] = "not at the end of their files, or not all of it is stored by the broker"
        if not left:
            for name, runner in self.supervisor.runners.items():
                own = runner.worker.unfinished() or await runner.worker.owed(self.supervisor.repo)
                if text := own or (await self._backlog(runner) if runner.worker.topics else ""):
                    left[name] = text
        if not left and (rows := await self.supervisor.repo.outbox_count()):
            left["outbox"] = f"{rows} rows not relayed"
        return left

    async def _backlog(self, runner: WorkerRunner) -> str:
        if runner.consumer is None:
            return f"no consumer yet ({runner.state})"
        try:
            info = await runner.consumer.info()
        except BusError as error:
            return str(error)
        if info.pending or info.unacked:
            return f"{info.pending} pending, {info.unacked} unacknowledged"
        waiting = await self.supervisor.repo.failures_waiting(runner.worker.name)
        return f"{waiting} waiting for a retry" if waiting else ""
