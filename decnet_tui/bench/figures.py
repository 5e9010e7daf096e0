"""The figures: what is measured, in which unit, beside which floor, and how much is wished for.

Every floor is measured in the same run on the same disk. A bar is what a quiet machine of two cores should show.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, TypedDict

from decnet.bus.nats.floor import messages_a_second
from decnet_tui.bench import floors, made

THREE = "sensors,recorder,ttp"
ALL = ""
"""Which workers an engine runs; none named are all."""


class Figure(TypedDict):
    """One row of the table."""

    figure: str
    value: float
    unit: str
    floor: str | None
    """What the parts do without us."""
    floor_value: float | None
    ratio: float | None
    """How many times slower (or larger) than the floor."""
    bar: float | None
    met: bool | None
    """Whether the bar is met; None without one."""


class _Bar(NamedTuple):
    value: float
    more: bool
    """Whether more is better."""


BARS = {
    "sessions, three workers": _Bar(700, more=True),
    "sessions, all workers": _Bar(250, more=True),
    "log lines, three workers": _Bar(9_000, more=True),
    "log lines, all workers": _Bar(4_000, more=True),
    "disk a line, three workers": _Bar(1_700, more=False),
    "disk a line, all workers": _Bar(2_500, more=False),
    "tag, distinct lines": _Bar(22_000, more=True),
    "tag, usual lines": _Bar(110_000, more=True),
    "start of --version": _Bar(0.1, more=False),
    "start of tag": _Bar(0.5, more=False),
    "start of a list": _Bar(0.35, more=False),
}


class Bench:
    """One run of everything in a folder of its own."""

    def __init__(self, folder: Path, sessions: int, lines: int, runs: int) -> None:
        """``runs`` measurements of each figure: the median counts."""
        self.folder, self.sessions, self.lines, self.runs = folder, sessions, lines, runs
        self.floors: dict[str, tuple[float, str]] = {}
        self.data = folder
        """What the last engine left: lists are asked of it."""
        self._number = 0

    def figures(self) -> Iterator[Figure]:
        """All of them, each as soon as it is measured."""
        log = self.folder / "cowrie.json"
        log.write_text("".join(f"{line}\n" for line in made.log_lines(self.sessions)), "utf-8")
        raw = log.stat().st_size / (self.sessions * made.LINES)
        yield from self._floors(log, raw)
        for words, workers in (("three workers", THREE), ("all workers", ALL)):
            yield from self._engine(log, words, workers)
        yield from self._tagging()
        yield from self._starts()

    def _floors(self, log: Path, raw: float) -> Iterator[Figure]:
        decoded = self._median(lambda: floors.decoded_and_inserted(log, self._new()))
        self.floors["sessions"] = decoded / made.LINES, "decode and insert"
        self.floors["log lines"] = decoded, "decode and insert"
        self.floors["disk a line"] = raw, "the line itself"
        yield self._figure("floor: lines decoded and inserted", decoded, "/s")
        rows = self._median(lambda: floors.rows_written(self._new(), 20 * self.lines // 10))
        yield self._figure("floor: rows into SQLite", rows, "/s")
        messages = self._median(lambda: asyncio.run(messages_a_second(self._new(), self.lines)))
        yield self._figure("floor: JetStream messages fetched and acknowledged", messages, "/s")

    def _engine(self, log: Path, words: str, workers: str) -> Iterator[Figure]:
        took = [self._ran(log, workers) for _ in range(self.runs)]
        seconds = median(one["seconds"] for one in took)
        last = took[-1]
        if last["sessions"] != self.sessions:
            raise RuntimeError(f"{last['sessions']} sessions were stored of {self.sessions}")
        lines = self.sessions * made.LINES
        yield self._figure(f"sessions, {words}", self.sessions / seconds, "/s", "sessions")
        yield self._figure(f"log lines, {words}", lines / seconds, "/s", "log lines")
        yield self._figure(f"tags, {words}", last["tags"] / seconds, "/s")
        yield self._figure(f"start, {words}", median(one["start_s"] for one in took), "s")
        yield self._figure(f"memory, {words}", max(one["rss_mb"] for one in took), "MB")
        yield self._figure(f"disk a line, {words}", last["disk_bytes"] / lines, "bytes", "disk a line")

    def _ran(self, log: Path, workers: str) -> dict[str, Any]:
        self.data = self._new()
        command = [sys.executable, "-m", "decnet_tui.bench.engine_run", str(log), str(self.data), workers]
        done = subprocess.run(command, capture_output=True, check=True, env=_surroundings())  # noqa: S603  our own module
        return dict(json.loads(done.stdout))

    def _tagging(self) -> Iterator[Figure]:
        empty = self._median(lambda: _seconds("tag", self._file([])))
        for words, make in (("distinct", made.distinct_commands), ("usual", made.usual_commands)):
            lines = list(make(self.lines))
            file = self._file(lines)
            self.floors["tag"] = floors.lines_answered(lines), "read and answer"
            took = self._median(lambda file=file: _seconds("tag", file))  # type: ignore[misc]
            yield self._figure(f"tag, {words} lines", self.lines / max(took - empty, 1e-3), "/s", "tag")
        self.floors["start"] = self._median(floors.bare_start), "Python alone"
        yield self._figure("start of tag", empty, "s", "start")

    def _starts(self) -> Iterator[Figure]:
        yield self._figure("start of --version", self._median(lambda: _seconds("--version")), "s", "start")
        arguments = ("sessions", "--limit", "1", "--data-dir", str(self.data))
        yield self._figure("start of a list", self._median(lambda: _seconds(*arguments)), "s", "start")

    def _figure(self, name: str, value: float, unit: str, beside: str = "") -> Figure:
        floor, words = self.floors.get(beside, (None, None))
        bar = BARS.get(name)
        ratio = None if floor is None else floor / value if unit == "/s" else value / floor
        met = None if bar is None else value >= bar.value if bar.more else value <= bar.value
        return {
            "figure": name, "value": value, "unit": unit, "floor": words, "floor_value": floor, "ratio": ratio,
            "bar": bar.value if bar else None, "met": met,
        }  # fmt: skip

    def _median(self, measure: Callable[[], float]) -> float:
        return median(measure() for _ in range(self.runs))

    def _new(self) -> Path:
        self._number += 1
        folder = self.folder / f"run-{self._number}"
        folder.mkdir(mode=0o700)
        return folder

    def _file(self, lines: list[str]) -> str:
        path = self._new() / "lines.txt"
        path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        return str(path)


def _seconds(*arguments: str) -> float:
    """Seconds that a command takes, from the shell's point of view. Raises CalledProcessError."""
    started = time.perf_counter()
    subprocess.run(  # noqa: S603  our own module
        [sys.executable, "-m", "decnet_tui", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=_surroundings(),
        check=True,
    )
    return time.perf_counter() - started


def _surroundings() -> dict[str, str]:
    """The environment of an installed program, which finds its byte code: pip writes it, a checkout may be told not to."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
