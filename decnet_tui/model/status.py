"""How things stand at this moment, in one screen: engine, sensors, workers, alerts, and what needs a person. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from decnet.runtime.health import PARTS
from decnet_tui.model.words import ago, counted

WELL = frozenset({"ok", "paused", "starting"})
"""States of a worker that ask nobody for anything; a pause is somebody's wish."""
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Status:
    """What is known. ``pid`` is that of the engine, None when none runs; ages are seconds."""

    pid: int | None
    workers: Sequence[Row]
    """Rows of ``workers``, the bus and the database among them."""
    sensors: Sequence[Row]
    alerts: Sequence[str]
    """The open ones, by what their actors are called."""
    dead_letters: int
    rules: Sequence[str]
    """Errors of rules that do not load, a line each."""

    def needs(self) -> list[str]:
        """What a person has to look at, the most urgent first; nothing when all is well."""
        if self.pid is None:
            return ["no engine runs on this data directory: start `decnet-tui --headless`", *self._alerts()]
        return [*self._sensors(), *self._workers(), *self._alerts(), *self._letters(), *self._rules()]

    def _sensors(self) -> list[str]:
        bad = [row for row in self.sensors if row.get("state") != "ok"]
        return [
            f"sensor {row.get('path')} is {row.get('state')}, last line {ago(row.get('age_s'))}"
            for row in bad
        ]

    def _workers(self) -> list[str]:
        bad = [row for row in self.workers if row.get("status") not in WELL]
        named = [
            (f"the {row['worker']}" if row["worker"] in PARTS else f"worker {row['worker']}", row)
            for row in bad
        ]
        return [f"{name} is {row['status']}  {row.get('note') or ''}".rstrip() for name, row in named]

    def _alerts(self) -> list[str]:
        return [f"open alert on {name}: `decnet-tui alerts`" for name in self.alerts]

    def _letters(self) -> list[str]:
        if not self.dead_letters:
            return []
        return [f"{counted(self.dead_letters, 'dead letter')}: `decnet-tui deadletters`"]

    def _rules(self) -> list[str]:
        return [f"rule {line}" for line in self.rules]

    def lines(self) -> list[str]:
        """The screen."""
        own = [row for row in self.workers if row["worker"] not in PARTS]
        parts = "  ".join(
            f"{row['worker']} {row['status']}" for row in self.workers if row["worker"] in PARTS
        )
        well = sum(row["status"] == "ok" for row in own)
        needs = self.needs()
        return [
            f"engine   {'runs, pid ' + str(self.pid) if self.pid is not None else 'none runs here'}  {parts}".rstrip(),
            f"workers  {well} of {len(own)} ok" + "".join(f"  {r['worker']} {r['status']}" for r in own if r["status"] != "ok"),
            *(self._sensor_lines() or ["sensors  none: give the engine a log with --sensor cowrie=PATH"]),
            f"alerts   {len(self.alerts)} open",
            f"letters  {self.dead_letters} dead",
            "",
            *(["needs you:", *(f"  ! {text}" for text in needs)] if needs else ["nothing needs you"]),
        ]  # fmt: skip

    def _sensor_lines(self) -> list[str]:
        return [
            f"sensors  {row.get('kind')} {row.get('path')}  {row.get('state')}, last line {ago(row.get('age_s'))}"
            for row in self.sensors
        ]

    def row(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "engine": {"running": self.pid is not None, "pid": self.pid},
            "workers": [{name: row.get(name) for name in ("worker", "status", "age_s", "note")} for row in self.workers],
            "sensors": [{name: row.get(name) for name in ("kind", "path", "state", "age_s")} for row in self.sensors],
            "alerts_open": len(self.alerts),
            "dead_letters": self.dead_letters,
            "rules_failed": list(self.rules),
            "needs_you": self.needs(),
        }  # fmt: skip
