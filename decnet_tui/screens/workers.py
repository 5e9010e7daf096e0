"""Workers: the last heartbeat of each, its age and what it means; detail = the whole health payload."""

from __future__ import annotations

import json
import time

from rich.style import Style

from decnet_tui.feed import Feed, WorkerModel
from decnet_tui.screens.base import View, count_short, span
from decnet_tui.widgets.strips import BAD, FAINT, GOOD, PLAIN, WARN, Line, fit

_STATES: dict[str, tuple[str, Style]] = {
    "ok": ("+ ok", GOOD),
    "degraded": ("! degraded", WARN),
    "stale": ("! stale", BAD),
    "failed": ("x failed", BAD),
    "paused": ("- paused", WARN),
    "waiting_for_bus": ("~ no bus", WARN),
    "stopped": ("- stopped", WARN),
}
_SAID = frozenset(
    {"worker", "ts", "pid", "host", "state", "processed", "failed"}
    | {"dead_lettered", "lag", "last_event_ts", "degraded"}
)


def state_text(model: WorkerModel, now: float, heartbeat_s: float) -> tuple[str, Style]:
    """State as glyph and word."""
    return _STATES[model.status(now, heartbeat_s)]


class WorkersView(View):
    """All workers ever heard of, by name."""

    name = "workers"
    title = "Workers"

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.rows: list[WorkerModel] = []
        self._version = -1

    def sync(self, now: float) -> bool:
        """Takes in heartbeats."""
        if self._version == self.feed.workers_version:
            return False
        self._version = self.feed.workers_version
        self._select()
        return True

    def _select(self) -> None:
        words = self.filter_text.lower().split()
        known = [self.feed.workers[name] for name in sorted(self.feed.workers)]
        self.rows = [w for w in known if all(word in f"{w.name} {w.payload}".lower() for word in words)]

    def set_filter(self, text: str) -> None:
        """Workers that hold every word in name or health."""
        super().set_filter(text)
        self._select()

    def count(self) -> int:
        """Workers shown."""
        return len(self.rows)

    def titles(self, width: int) -> Line | None:
        """Column titles."""
        head = (
            f" {'worker':<11} {'state':<10} {'age':>6} {'done':>5} {'fail':>4} {'lag':>5} {'dead':>4}  notes"
        )
        return [(head, FAINT)]

    def line(self, index: int, width: int) -> Line:
        """One worker."""
        model, now = self.rows[index], time.time()
        state, style = state_text(model, now, self.feed.heartbeat_s)
        p = model.payload
        numbers = f" {span(model.age(now)):>6} {_count(p, 'processed'):>5} {_count(p, 'failed'):>4}"
        numbers += f" {_count(p, 'lag'):>5} {_count(p, 'dead_lettered'):>4}  "
        return [
            (fit(model.name, 11) + " ", PLAIN),
            (f"{state:<10}", style),
            (numbers, PLAIN),
            (_notes(p), PLAIN),
        ]

    def empty(self, width: int) -> list[str]:
        """Filtered away, or silence."""
        if self.feed.workers:
            return [f"No worker holds: {self.filter_text}", "\\ clears the filter"]
        return [
            "No heartbeat yet.",
            f"Workers report every {self.feed.heartbeat_s:.0f}s. decnet-tui doctor looks.",
        ]

    def status(self) -> tuple[str, str]:
        """How many are well."""
        well, known = self.feed.worker_counts(time.time())
        hidden = len(self.feed.workers) - len(self.rows)
        return (
            f"text {self.filter_text or '-'}  {well} of {known} ok",
            f"{hidden} hidden  {len(self.rows)} shown",
        )

    def detail_key(self) -> object:
        """The worker and its heartbeat."""
        row = self.rows[self.cursor] if self.cursor < len(self.rows) else None
        return None if row is None else (row.name, row.seen_at)

    def detail(self) -> list[str]:
        """The health payload as JSON."""
        if self.cursor >= len(self.rows):
            return []
        return json.dumps(self.rows[self.cursor].payload, indent=1, ensure_ascii=False, default=str).split(
            "\n"
        )


def _count(payload: dict[str, object], key: str) -> str:
    value = payload.get(key)
    return count_short(value) if isinstance(value, (int, float)) else "-"


def _notes(payload: dict[str, object]) -> str:
    """Why it is degraded first, then the worker's own figures."""
    own = [f"{k} {v}" for k, v in payload.items() if k not in _SAID and isinstance(v, (int, float, str))]
    reason = payload.get("degraded")
    return "  ".join([*([str(reason)] if reason else []), *own])
