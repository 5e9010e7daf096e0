"""Does the engine get on? What stands still is told to whoever watches from outside, who starts it again.

A database that somebody else locks, or that is away, is waited for and no reason to begin anew; one whose writer does
not come back is, and so is a worker that never ends a batch.
"""

from __future__ import annotations

from collections.abc import Hashable

from decnet.runtime.runner import WorkerRunner
from decnet.runtime.supervisor import Supervisor

WRITER_S = 45.0
"""Seconds that the database's writer may take for heartbeats; a locked database answers within ten."""
MISSED_BEATS = 4
"""With long pauses between heartbeats the writer has as many of them."""
BATCH_S = 600.0
"""Seconds that a worker may take for one batch."""


class Progress:
    """Looks at one supervisor from time to time.

    Seconds are those between looks, so that a process that was stopped and goes on has lost none.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._seen: dict[str, tuple[Hashable, float]] = {}
        self._writer_s = max(WRITER_S, MISSED_BEATS * supervisor.settings.runtime.heartbeat_s)

    def standing(self, since_s: float) -> str:
        """What stands still, in words; empty while all goes on. ``since_s``: seconds since the look before."""
        beats, database = self._supervisor.beats, self._supervisor.database
        looks = database.looks if database.trouble else 0
        for_s = self._unchanged("database", (beats.ended, looks), since_s)
        if for_s > self._writer_s:
            return f"the writer of the database has not answered for {for_s:.0f} s"
        for name, runner in self._supervisor.runners.items():
            for_s = self._unchanged(name, _mark(runner), since_s)
            if for_s > BATCH_S and runner.state == "ok" and runner.worker.topics:
                return f"worker {name} has had one batch in hand for {for_s:.0f} s"
        return ""

    def _unchanged(self, name: str, mark: Hashable, since_s: float) -> float:
        """Seconds for which a mark has been the same."""
        before, for_s = self._seen.get(name, (mark, -since_s))
        for_s = for_s + since_s if before == mark else 0.0
        self._seen[name] = (mark, for_s)
        return for_s


def _mark(runner: WorkerRunner) -> Hashable:
    return runner.turns, runner.state, runner.stats.processed, runner.stats.failed
