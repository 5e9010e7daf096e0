"""A sensor that is a top directory: finds the logs below it and reads each place like a sensor of its own.

Where the logs lie is looked up again from time to time, since honeypots are installed later.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from decnet.config import SensorSpec, Settings
from decnet.logs import get_logger
from decnet.sensors.files.listing import reason_of
from decnet.sensors.files.names import is_log_name
from decnet.sensors.kinds import Kind, plain_kind
from decnet.sensors.layouts import TOPS, Finder, Layout
from decnet.sensors.run import PASSED_TOLD, SensorRun

_log = get_logger(__name__)
LOOK_S = 30.0
"""Seconds between walks below the top directory."""

MakeRun = Callable[[SensorSpec], SensorRun]


def is_top(spec: SensorSpec) -> bool:
    """Whether a sensor's path is a directory with the logs somewhere below it, not in it."""
    if spec.kind in TOPS:
        return True
    try:
        return spec.path.is_dir() and not any(is_log_name(entry.name) for entry in spec.path.iterdir())
    except OSError:
        return False


class SensorGroup:
    """The sensors below one top directory; they take turns."""

    def __init__(self, spec: SensorSpec, settings: Settings, make: MakeRun) -> None:
        self.spec = spec
        self._settings = settings
        self._make = make
        self._kinds: tuple[Kind, ...] = TOPS.get(spec.kind) or (plain_kind(spec.kind),)
        self._finder = Finder(spec.path, self._kinds, settings.sensor.formats)
        self._layout = Layout()
        self._problem = ""
        self._next_look = 0.0
        self._looked = False
        self.runs: dict[tuple[str, Path], SensorRun] = {}
        if spec.kind not in TOPS:  # what comes later may well come here
            self._add(plain_kind(spec.kind), spec.path)

    async def run(self) -> None:
        """Works until cancelled. Raises what its sensors raise."""
        try:
            while True:
                if not await self.step():
                    await asyncio.sleep(self._settings.sensor.poll_s)
        finally:
            for run in self.runs.values():
                await asyncio.to_thread(run.tailer.close)

    async def step(self) -> bool:
        """One round of all sensors; False when none had anything to read."""
        if time.monotonic() >= self._next_look:
            await self.look()
        return any([await run.turn() for run in list(self.runs.values())])

    async def look(self) -> None:
        """Walks below the top directory and begins to read what is new there."""
        self._next_look = time.monotonic() + LOOK_S
        try:
            self._layout, self._problem = await asyncio.to_thread(self._finder.look), ""
        except OSError as error:
            self._problem = reason_of(error)
        for kind, folder in self._layout.logs:
            self._add(kind, folder)
        self._looked = True

    def _add(self, kind: Kind, folder: Path) -> None:
        if (kind, folder) not in self.runs:
            spec = SensorSpec(kind=kind, path=folder, start=self.spec.start)
            self.runs[kind, folder] = self._make(spec)
            _log.info("log found", sensor=str(self.spec.path), kind=kind, path=str(folder))

    def at_end(self) -> bool:
        """Whether it has looked, and every sensor stands at its end."""
        return self._looked and all(run.at_end() for run in self.runs.values())

    async def end_open_sessions(self, reason: str = "eof") -> int:
        """Ends every open session and waits until that is stored; the number of events."""
        return sum([await run.end_open_sessions(reason) for run in self.runs.values()])

    def rows(self) -> list[dict[str, Any]]:
        """A row for each place with logs, and one for the top directory that says what is passed over."""
        rows = [run.status() for run in self.runs.values()]
        read = [folder for _, folder in self.runs]
        for row in rows:
            row["passed_over"] = {
                path: why
                for path, why in row["passed_over"].items()
                if not any(Path(path) in (folder, *folder.parents) for folder in read)
            }
            row["passed_over_count"] = max(row["passed_over_count"], len(row["passed_over"]))
        passed = self._layout.passed
        if self.spec.kind not in TOPS and len(rows) == 1 and not self._problem:
            return rows
        return [{**self._row(), "passed_over": dict(list(passed.items())[:PASSED_TOLD]),
                 "passed_over_count": len(passed)}, *(r for r in rows if self._worth(r))]  # fmt: skip

    def _worth(self, row: dict[str, Any]) -> bool:
        """The top directory itself is no place with logs as long as there are none in it."""
        return bool(row["path"] != str(self.spec.path) or row["files"] or row["lines"])

    def _row(self) -> dict[str, Any]:
        path, found = str(self.spec.path), bool(self._layout.logs)
        why = self._problem or ("" if found or not self._looked else "no log that can be read below it")
        return {
            "kind": self.spec.kind,
            "path": path,
            "state": "missing" if self._problem == "missing" else "unreadable" if why else "ok",
            "age": None,
            "problems": {path: why} if why else {},
        }
