"""Workers: the last heartbeat of each, the sensors, the dead letters; detail = the whole payload."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.style import Style

from decnet.hostile import visible
from decnet_tui import glyphs
from decnet_tui.changes import need_store
from decnet_tui.feed import Feed, WorkerModel
from decnet_tui.screens.sections import Entry, SectionsView, heading
from decnet_tui.session import Session
from decnet_tui.times import count_short, span
from decnet_tui.widgets.strips import BAD, FAINT, GOOD, PLAIN, WARN, Line, fit

WORKERS, SENSORS, LETTERS = "workers", "sensors", "dead letters"
MAX_LETTERS = 200
_SAID = frozenset(
    {"worker", "ts", "pid", "host", "state", "processed", "failed", "dead_lettered", "lag"}
    | {"last_event_ts", "degraded", "note", "sensors"}
)
_EARLY, _KIND, _UTF8 = (
    "sessions ended early for want of room",
    "lines of an unknown kind",
    "lines not in UTF-8",
)
_HOMELESS = "remarks on sessions not known"
_UNFINISHED = "lines not finished"
_REFUSED, _OPEN = "events the bus refused for good", "sessions open"
_WORDS = {
    "sessions_evicted": _EARLY, "evicted": _EARLY, "lines_unknown": _KIND, "unknown": _KIND,
    "lines_cut": "long lines cut", "cut": "long lines cut", "lines_homeless": _HOMELESS, "homeless": _HOMELESS, "lines_unfinished": _UNFINISHED, "unfinished": _UNFINISHED, "lines_bad_utf8": _UTF8, "bad_utf8": _UTF8,
    "events_unpublishable": _REFUSED, "unpublishable": _REFUSED,
    "malformed": "events that could not be read", "element_faults": "elements that could not be read",
    "unknown_keys": "keys that nobody knows",
    "sessions_open": _OPEN, "open_sessions": _OPEN, "publish_failures": "publish failures",
}  # fmt: skip
"""Counts of the sensors worker, and of one sensor, that are told of in words, and only when there are any."""


def state_text(model: WorkerModel, now: float, heartbeat_s: float) -> tuple[str, Style]:
    """State as glyph and word."""
    return state_of(model.status(now, heartbeat_s))


def state_of(state: str) -> tuple[str, Style]:
    """Glyph, word and style of a worker's or a sensor's state."""
    g = glyphs.current()
    known: dict[str, tuple[str, Style]] = {
        "ok": (f"{g.on} ok", GOOD),
        "degraded": (f"{g.stale} degraded", WARN),
        "stale": (f"{g.stale} stale", BAD),
        "failed": (f"{g.failed} failed", BAD),
        "paused": (f"{g.off} paused", WARN),
        "waiting_for_bus": (f"{g.partly} no bus", WARN),
        "stopped": (f"{g.off} stopped", WARN),
        "starting": (f"{g.busy} starting", WARN),
        "stopping": (f"{g.busy} stopping", WARN),
        "silent": (f"{g.stale} silent", BAD),
        "missing": (f"{g.stale} missing", BAD),
        "unreadable": (f"{g.stale} unreadable", BAD),
    }
    return known.get(state, (f"{g.unknown} {visible(state, 9)}", BAD))


class WorkersView(SectionsView):
    """All workers ever heard of, the sensors, and what was given up."""

    name = "workers"
    title = "Workers"
    key = "6"
    says = "Workers, sensors and dead letters"
    stored = True
    roots = ("system",)

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.letters: list[Mapping[str, Any]] = []
        self._second = 0

    async def fetch(self, session: Session) -> list[Mapping[str, Any]]:
        """The dead letters. Raises what the store raises."""
        return list(await need_store(session).dead_letters(None, MAX_LETTERS))

    def load(self, data: list[Mapping[str, Any]]) -> None:
        """The dead letters."""
        self.problem, self.loaded_at = "", time.monotonic()
        self.letters = data
        self._second = 0

    def sync(self, now: float) -> bool:
        """Once a second, since ages grow."""
        if self.paused or int(now) == self._second:
            return False
        self._second = int(now)
        self.put(self._entries(now))
        return True

    def _entries(self, now: float) -> list[Entry]:
        if not self.feed.workers and not self.letters:
            return []
        return [*self._workers(now), *self._sensors(), *self._letters()]

    def _workers(self, now: float) -> list[Entry]:
        head = (
            f"{'worker':<11} {'state':<12} {'age':>6} {'done':>5} {'fail':>4} {'lag':>5} {'dead':>4}  notes"
        )
        rows = [heading(WORKERS, head, [(head, FAINT)])]
        for name in sorted(self.feed.workers):
            model = self.feed.workers[name]
            state = model.status(now, self.feed.heartbeat_s)
            bad = state not in ("ok", "stopped", "paused")
            rows.append(
                Entry(
                    WORKERS, name, _worker_line(model, state, now), {**model.payload, "worker": name}, bad=bad
                )
            )
        return rows

    def _sensors(self) -> list[Entry]:
        sensors = self.feed.sensors()
        if not sensors:
            return []
        head = f"{'sensor':<11} {'state':<12} {'last':>6} {'lines':>6} {'behind':>6} {'refused':>7}  path"
        rows = [heading(SENSORS, head, [(head, FAINT)])]
        for row in sensors:
            bad = str(row.get("state")) != "ok"
            rows.append(Entry(SENSORS, str(row.get("path")), _sensor_line(row), row, bad=bad))
        return rows

    def _letters(self) -> list[Entry]:
        if self.problem:
            return [heading(LETTERS, f"dead letters: {self.problem}")]
        if not self.letters:
            return [heading(LETTERS, "", [("no dead letters", FAINT)])]
        head = f"{'letter':<7} {'age':>6} {'worker':<11} {'topic':<28} reason"
        rows = [heading(LETTERS, head, [(head, FAINT)])]
        return rows + [Entry(LETTERS, r["id"], _letter_line(r), r, bad=True) for r in self.letters]

    def detail(self) -> list[str]:
        """Counts that are worth a word, then what is behind the entry."""
        entry = self.current
        counted = entry is not None and entry.section in (WORKERS, SENSORS)
        return [*(_words(entry.data) if entry is not None and counted else []), *super().detail()]

    def empty(self, width: int) -> list[str]:
        """Silence."""
        return [
            "No heartbeat yet.",
            f"Workers report every {self.feed.heartbeat_s:.0f}s. decnet-tui doctor looks.",
        ]

    def status(self) -> tuple[str, str]:
        """How many are well."""
        well, known = self.feed.worker_counts(time.time())
        silent = self.feed.silent_sensors()
        more = f"  {silent} sensors not ok" if silent else ""
        return (
            f"{self.filter_part()}  {well} of {known} ok{' beside the bus' * ('bus' in self.feed.workers)}{more}",
            self.shown_counts(),
        )


def _worker_line(model: WorkerModel, state: str, now: float) -> Line:
    text, style = state_of(state)
    p = model.payload
    numbers = f" {span(model.age(now)):>6} {_count(p, 'processed'):>5} {_count(p, 'failed'):>4}"
    numbers += f" {_count(p, 'lag'):>5} {_count(p, 'dead_lettered'):>4}  "
    return [
        (fit(model.name, 11) + " ", PLAIN),
        (f"{text:<12}", style),
        (numbers, PLAIN),
        (visible(_notes(p), 400), PLAIN),
    ]


def _sensor_line(row: Mapping[str, Any]) -> Line:
    text, style = state_of(str(row.get("state")))
    age = row.get("age")
    last = span(age) if isinstance(age, (int, float)) else "never"
    numbers = (
        f" {last:>6} {_count(row, 'lines'):>6} {_count(row, 'bytes_behind'):>6} {_count(row, 'refused'):>7}  "
    )
    reasons = row.get("reasons")
    why = " ".join(f"{k} {v}" for k, v in reasons.items()) if isinstance(reasons, Mapping) else ""
    told = "  ".join(_words(row))
    where = visible(f"{row.get('path')}  {row.get('waiting') or ''} {why}  {told}".rstrip(), 400)
    return [
        (fit(str(row.get("kind")), 11) + " ", PLAIN),
        (f"{text:<12}", style),
        (numbers, PLAIN),
        (where, PLAIN),
    ]


def _letter_line(row: Mapping[str, Any]) -> Line:
    age = span(time.time() - row["ts"].timestamp())
    head = f"{row['id']:<7} {age:>6} {fit(row['worker'], 11)} {fit(row['topic'], 28)} "
    return [(head, PLAIN), (visible(row["reason"], 400), WARN)]


def _count(payload: Mapping[str, object], key: str) -> str:
    value = payload.get(key)
    return count_short(value) if isinstance(value, (int, float)) else "-"


def _words(payload: Mapping[str, object]) -> list[str]:
    """The counts of a worker or a sensor that are more than nothing, in plain words."""
    found = [(_total(payload.get(key)), words) for key, words in _WORDS.items()]
    return [f"{value} {words}" for value, words in found if value > 0]


def _total(value: object) -> int:
    """A count, or the sum of counts by kind."""
    if isinstance(value, Mapping):
        return sum(number for number in value.values() if isinstance(number, int))
    return value if isinstance(value, int) else 0


def _notes(payload: Mapping[str, object]) -> str:
    """Why it is degraded first, then the worker's own figures."""
    plain = [(k, v) for k, v in payload.items() if k not in _SAID and k not in _WORDS]
    own = [f"{k} {v}" for k, v in plain if isinstance(v, (int, float, str))]
    reason = payload.get("degraded") or payload.get("note")
    return "  ".join([*([str(reason)] if reason else []), *_words(payload), *own])
