"""The sensors worker: one background task for each configured log. It consumes nothing from the bus.

The logs of decoys that this engine starts itself are read too, as soon as there are any.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from decnet.bus.base import BaseBus
from decnet.config import SensorSpec, Settings
from decnet.errors import SensorError
from decnet.keyed import load_key
from decnet.logs import get_logger
from decnet.runtime.received import Received
from decnet.runtime.worker import Transaction, Worker
from decnet.sensors.files.checkpoint import CheckpointStore, FileStore, RepoStore
from decnet.sensors.run import SensorRun

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository

_log = get_logger(__name__)


class SensorsWorker(Worker):
    """Reads every log of the settings; ``store`` replaces the database as the place of checkpoints."""

    name = "sensors"
    topics = ()

    def __init__(self, settings: Settings, store: CheckpointStore | None = None) -> None:
        self._settings = settings
        self._store = store
        self._broken: dict[str, str] = {}
        self.runs: list[SensorRun] = []
        self._make: Callable[[SensorSpec], None] = lambda spec: None
        self._fleet_read = False

    async def start(self, repo: BaseRepository | None, bus: BaseBus) -> None:
        """Makes the runs. Raises SensorError when the key of the captured secrets cannot be had."""
        key = await asyncio.to_thread(load_key, self._settings.data_dir)
        store = self._store or self._default_store(repo)
        self.runs, self._broken, self._fleet_read = [], {}, False
        self._make = lambda spec: self._add(spec, key, bus, store)
        for spec in self._settings.sensors:
            self._make(spec)
        _log.info("sensors worker started", sensors=len(self.runs))

    def _default_store(self, repo: BaseRepository | None) -> CheckpointStore:
        return FileStore(self._settings.data_dir / "sensors") if repo is None else RepoStore(repo)

    def _add(self, spec: SensorSpec, key: bytes, bus: BaseBus, store: CheckpointStore) -> None:
        try:
            self.runs.append(SensorRun(spec, self._settings, key, bus, store))
        except SensorError as error:
            _log.warning("sensor not started", sensor=str(spec.path), error=str(error))
            self._broken[f"{spec.kind}={spec.path}"] = str(error)

    async def handle(self, batch: Sequence[Received], tx: Transaction) -> None:
        """Never called: this worker has no topics."""

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """One task for each sensor; the place in the settings is its number."""
        count = len(self._settings.sensors)
        tasks = {f"sensor-{i}": self._task(i) for i in range(count)}
        return {**tasks, "sensor-fleet": self._fleet}

    async def _fleet(self) -> None:
        """Waits for the first decoy of a fleet, then reads the logs of all of them."""
        while not self._fleet_due():  # noqa: ASYNC110  a directory that another worker makes
            await asyncio.sleep(self._settings.sensor.poll_s)
        if not self._fleet_read:
            self._make(SensorSpec(kind="opencanary", path=self._settings.fleet_logs_dir))
            self._fleet_read = True
        run = next(r for r in self.runs if r.spec.path == self._settings.fleet_logs_dir)
        await run.run()

    def _fleet_due(self) -> bool:
        """Whether there are logs of decoys that no configured sensor reads."""
        place = self._settings.fleet_logs_dir
        return place.is_dir() and place not in [spec.path for spec in self._settings.sensors]

    def _task(self, number: int) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            if number < len(self.runs):
                await self.runs[number].run()
            else:
                # A supervisor would start an ended task again and again.
                await asyncio.Event().wait()

        return run

    def status(self) -> list[dict[str, Any]]:
        """One row for each sensor: kind, path, state, age, bytes_behind, refused, reasons and more."""
        rows = [run.status() for run in self.runs]
        for name, error in self._broken.items():
            kind, _, path = name.partition("=")
            rows.append({"kind": kind, "path": path, "state": "unreadable", "problems": {path: error}})
        return rows

    def health(self) -> dict[str, Any]:
        """Sums over all sensors, the rows of :meth:`status`, and why the worker is not green."""
        rows = self.status()
        ages = [r["age"] for r in rows if r.get("age") is not None]
        return {
            "files": _total(rows, "files"),
            "bytes_behind": _total(rows, "bytes_behind"),
            "lines_read": _total(rows, "lines"),
            "lines_refused": _total(rows, "refused"),
            "lines_cut": _total(rows, "cut"),
            "lines_unknown": _total(rows, "unknown"),
            "lines_bad_utf8": _total(rows, "bad_utf8"),
            "events_published": _total(rows, "published"),
            "events_unpublishable": _total(rows, "unpublishable"),
            "sessions_open": _total(rows, "open_sessions"),
            "sessions_evicted": _total(rows, "evicted"),
            "lines_homeless": _total(rows, "homeless"),
            "lines_unfinished": _total(rows, "unfinished"),
            "last_line_age": min(ages, default=None),
            "sensors": rows,
            "degraded": _degraded(rows),
        }

    def at_end(self) -> bool:
        """Whether every sensor stands at the end of its files with all it read stored by the broker."""
        started = len(self.runs) + len(self._broken) >= len(self._settings.sensors)
        started = started and (self._fleet_read or not self._fleet_due())
        return started and all(run.at_end() for run in self.runs)

    async def end_open_sessions(self, reason: str = "eof") -> int:
        """Ends the sessions that are still open; the number of events that gave."""
        return sum([await run.end_open_sessions(reason) for run in self.runs])


def unread(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Sensors of :meth:`SensorsWorker.status` that cannot be read, with the reason."""
    return [
        f"{row['kind']}={row['path']}: {'; '.join(row.get('problems', {}).values()) or row['state']}"
        for row in rows
        if row["state"] in ("missing", "unreadable")
    ]


def _total(rows: Sequence[dict[str, Any]], key: str) -> int:
    return sum(int(row.get(key, 0)) for row in rows)


def _degraded(rows: Sequence[dict[str, Any]]) -> str:
    bad = [f"{row['path']}: {row['state']}" for row in rows if row["state"] in ("missing", "unreadable")]
    bad += [f"{row['path']}: {row['waiting']}" for row in rows if row.get("waiting")]
    return "; ".join(bad)[:500]
