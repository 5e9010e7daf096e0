"""The sensors worker: one background task for each configured log, and the door for what remote sensors send.

It is this worker that takes their events, and not the recorder or one more: they are what its own logs would have
given, so `stop` and `pause` mean both, its health lists both, and a site without it takes nothing in. A host
that is a remote sensor itself consumes nothing.

The logs of decoys that this engine starts itself are read too, as soon as there are any.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from decnet.bounds import bitten
from decnet.bus.base import BaseBus
from decnet.bus.topics import SENSOR
from decnet.config import INBOX, SensorSpec, Settings
from decnet.errors import SensorError
from decnet.keyed import load_key
from decnet.logs import get_logger
from decnet.mail.facts import BOUNDS as MAIL_BOUNDS
from decnet.runtime.received import Received
from decnet.runtime.worker import Transaction, Worker
from decnet.sensors.files.checkpoint import CheckpointStore, FileStore, RepoStore
from decnet.sensors.formats.shelf import shelf_of
from decnet.sensors.formats.values import CUT
from decnet.sensors.group import SensorGroup, is_top
from decnet.sensors.inbox.run import InboxRun, known_in
from decnet.sensors.inbox.source import Known
from decnet.sensors.names import FileNames, Names, RepoNames
from decnet.sensors.remote import RemoteIntake
from decnet.sensors.run import SensorRun
from decnet.sensors.sources import start_time

if TYPE_CHECKING:
    from decnet.db.repository import BaseRepository

_log = get_logger(__name__)
FLEET_LOOK_S = 2.0
"""Seconds between looks for the first decoy of a fleet, which takes longer than that to start."""
_TOTALS = {
    "files": "files", "bytes_behind": "bytes_behind", "lines_read": "lines", "lines_refused": "refused",
    "lines_cut": "cut", "lines_unknown": "unknown", "lines_bad_utf8": "bad_utf8", "lines_repeated": "repeated",
    "lines_joined": "joined_lines", "lines_homeless": "homeless", "lines_unfinished": "unfinished",
    "lines_given_up": "given_up", "events_published": "published", "events_unpublishable": "unpublishable",
    "sessions_open": "open_sessions", "sessions_evicted": "evicted", "sessions_overfull": "overfull",
    "recordings_missing": "recordings_missing", "recordings_too_large": "recordings_too_large",
    "rotations": "rotations", "truncations": "truncations", "files_vanished": "vanished",
    "bytes_lost": "lost_bytes", "commands_dropped": "commands_dropped", "items_dropped": "items_dropped",
    "clock_jumps": "clock_jumps", "files_passed_over": "passed_over_count", "lines_left_out": "left_out",
    "values_not_derived": "not_derived", "elements_dropped": "elements_dropped",
    "entries_refused": "entries_refused", "entries_beyond": "entries_beyond",
}  # fmt: skip
"""Figure of the worker → figure of each sensor that it is the sum of."""
_URGENT = ("path", "state", "truncations", "vanished", "lost_bytes")


class SensorsWorker(Worker):
    """Reads every log of the settings; ``store`` replaces the database as the place of checkpoints."""

    name = "sensors"
    brings_work = True

    def __init__(self, settings: Settings, store: CheckpointStore | None = None) -> None:
        self.topics = () if settings.bus.sensor else (f"{SENSOR}.>",)
        self._bus: BaseBus | None = None
        self.remote = RemoteIntake(settings.sensor.silent_s)
        self._settings = settings
        self._store = store
        self._broken: dict[str, str] = {}
        self.runs: list[SensorRun | SensorGroup] = []
        self._make: Callable[[SensorSpec], None] = lambda spec: None
        self._fleet_read = False
        self._known: Known | None = None
        self._faults: list[str] = []
        """What is wrong with the operator's tables of formats."""

    async def start(self, repo: BaseRepository | None, bus: BaseBus) -> None:
        """Makes the runs. Raises SensorError when the key of the captured secrets cannot be had."""
        self._bus = bus
        shared = self._settings.credentials.key_file
        key = await asyncio.to_thread(load_key, self._settings.data_dir, shared)
        store = self._store or self._default_store(repo)
        self.runs, self._broken, self._fleet_read = [], {}, False
        self._faults = await asyncio.to_thread(self._read_formats)
        names = self._names(repo)
        self._known = known_in(repo, asyncio.get_running_loop())
        self._make = lambda spec: self._add(spec, key, bus, store, names)
        for spec in self._settings.sensors:
            self._make(spec)
        _log.info("sensors worker started", sensors=len(self.runs))

    def _read_formats(self) -> list[str]:
        """What is wrong with the operator's tables, each with its place; told of once."""
        folder = self._settings.sensor.formats
        faults = (
            [] if folder is None else [f"{flaw.place}: {flaw.message}" for flaw in shelf_of(folder).errors]
        )
        for fault in faults:
            _log.warning("table of a format not read", error=fault)
        return faults

    def _default_store(self, repo: BaseRepository | None) -> CheckpointStore:
        return FileStore(self._settings.data_dir / "sensors") if repo is None else RepoStore(repo)

    def _names(self, repo: BaseRepository | None) -> Names:
        if repo is None:
            return FileNames(self._settings.data_dir / "sensors")
        return RepoNames(repo, asyncio.get_running_loop())

    def _add(self, spec: SensorSpec, key: bytes, bus: BaseBus, store: CheckpointStore, names: Names) -> None:
        def make(one: SensorSpec) -> SensorRun:
            if one.kind == INBOX:
                return InboxRun(one, self._settings, key, bus, store, names, self._known)
            return SensorRun(one, self._settings, key, bus, store, names)

        try:
            start_time(spec.start)
            top = spec.path != self._settings.fleet_logs_dir and is_top(spec)
            self.runs.append(SensorGroup(spec, self._settings, make) if top else make(spec))
        except SensorError as error:
            _log.warning("sensor not started", sensor=str(spec.path), error=str(error))
            self._broken[f"{spec.kind}={spec.path}"] = str(error)

    async def handle(self, batch: Sequence[Received], tx: Transaction) -> None:
        """What remote sensors sent. Raises BusError or DatabaseError, then it comes again."""
        assert self._bus is not None
        await self.remote.take(batch, tx, self._bus)

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """One task for each sensor; the place in the settings is its number."""
        count = len(self._settings.sensors)
        tasks = {f"sensor-{i}": self._task(i) for i in range(count)}
        return {**tasks, "sensor-fleet": self._fleet}

    async def _fleet(self) -> None:
        """Waits for the first decoy of a fleet, then reads the logs of all of them."""
        while not self._fleet_due():  # noqa: ASYNC110  a directory that another worker makes
            await asyncio.sleep(FLEET_LOOK_S)
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
        rows = [row for run in self.runs for row in _rows(run)]
        for name, error in self._broken.items():
            kind, _, path = name.partition("=")
            rows.append({"kind": kind, "path": path, "state": "unreadable", "problems": {path: error}})
        return rows

    def urgent(self) -> object:
        """What went wrong with a log: its state, lines refused for a new reason, what was truncated, gone or lost."""
        return tuple(
            (*(row.get(name) for name in _URGENT), *sorted(row.get("reasons") or ())) for row in self.status()
        )

    def health(self) -> dict[str, Any]:
        """Sums over all sensors, the rows of :meth:`status`, and why the worker is not green."""
        rows = self.status()
        ages = [r["age"] for r in rows if r.get("age") is not None]
        newest = [r["last_line_ts"] for r in rows if r.get("last_line_ts") is not None]
        return {
            "processed": _total(rows, "lines"),
            "lag": _total(rows, "bytes_behind"),
            "last_event_ts": max(newest, default=None),
            **{name: _total(rows, key) for name, key in _TOTALS.items()},
            "last_line_age": min(ages, default=None),
            **self.remote.figures(),
            "sensors": [*rows, *self.remote.rows()],
            "formats_failed": len(self._faults),
            **bitten(CUT, *MAIL_BOUNDS),
            "degraded": _degraded(rows, self._faults),
        }

    def at_end(self) -> bool:
        """Whether every sensor stands at the end of its files with all it read stored by the broker."""
        started = len(self.runs) + len(self._broken) >= len(self._settings.sensors)
        started = started and (self._fleet_read or not self._fleet_due())
        return started and all(run.at_end() for run in self.runs)

    async def end_open_sessions(self, reason: str = "eof") -> int:
        """Ends the sessions that are still open; the number of events that gave."""
        return sum([await run.end_open_sessions(reason) for run in self.runs])


def _rows(run: SensorRun | SensorGroup) -> list[dict[str, Any]]:
    return run.rows() if isinstance(run, SensorGroup) else [run.status()]


def unread(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Sensors of :meth:`SensorsWorker.status` that cannot be read, with the reason."""
    return [
        f"{row['kind']}={row['path']}: {'; '.join(row.get('problems', {}).values()) or row['state']}"
        for row in rows
        if row["state"] in ("missing", "unreadable")
    ]


def _total(rows: Sequence[dict[str, Any]], key: str) -> int:
    return sum(int(row.get(key, 0)) for row in rows)


def _degraded(rows: Sequence[dict[str, Any]], faults: Sequence[str]) -> str:
    bad = [*faults]
    bad += [f"{row['path']}: {row['state']}" for row in rows if row["state"] in ("missing", "unreadable")]
    bad += [f"{row['path']}: {row['waiting']}" for row in rows if row.get("waiting")]
    return "; ".join(bad)[:500]
