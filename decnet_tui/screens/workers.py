"""Health: what was lost, the sensors with what befell their files, database, bus, workers, dead letters; detail = the payload."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.style import Style

from decnet.db.rows.runtime import DeadLetterLine
from decnet.hostile import visible
from decnet.runtime.health import BUS, DATABASE, PARTS
from decnet_tui.model.access import Session, need_store
from decnet_tui.model.feed import Feed, WorkerModel
from decnet_tui.model.figures import LOSS, losses, notes, render_figure, troubles, works
from decnet_tui.model.words import clock, count_short, counted, end_of, span
from decnet_tui.screens.sections import Entry, SectionsView, heading
from decnet_tui.widgets.states import worker_state
from decnet_tui.widgets.strips import BAD, FAINT, GOOD, PLAIN, WARN, Line, fit
from decnet_tui.widgets.trend import trend_line

WORKERS, SENSORS, LETTERS, ENGINE = "workers", "sensors", "dead letters", "parts"
MAX_LETTERS = 200
MAX_NOTES = 400
PATH_ROOM = 24
"""Characters of a path at least; as many are left for a sensor's at 80 columns."""
MAX_CHANGES = 3
"""The newest rotations and truncations under a sensor; the detail has those that the sensor still tells of."""
LOST = "lost"
RATES = "rates"


class WorkersView(SectionsView):
    """All workers ever heard of, the sensors, and what was given up."""

    name = "workers"
    title = "Health"
    key = "6"
    says = "Health: sensors, database, bus, workers, dead letters"
    stored = True
    roots = ("system",)

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.letters: list[DeadLetterLine] = []
        self._second = 0

    async def fetch(self, session: Session) -> list[DeadLetterLine]:
        """The dead letters. Raises what the store raises."""
        return await need_store(session).dead_letters(None, MAX_LETTERS)

    def load(self, data: list[DeadLetterLine]) -> None:
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
        return [
            self._lost(),
            *self._sensors(),
            *self._parts(now),
            *self._workers(now),
            *self._letters(),
            *self._rates(),
        ]

    def _rates(self) -> list[Entry]:
        """The last day by the hour."""
        if not self.feed.trends:
            return []
        return [
            heading(RATES, "the last 24 h, by the hour"),
            *(
                Entry(
                    RATES, trend.name, trend_line(trend), {"rate": trend.label, "hours": list(trend.counts)}
                )
                for trend in self.feed.trends
            ),
        ]

    def _lost(self) -> Entry:
        """The first line answers the first question."""
        lost = [f"{name}: {', '.join(said)}" for name, said in self.feed.losses().items()]
        if self.letters:
            lost.append(f"dead letters: {render_figure('dead_lettered', len(self.letters), LOSS)}")
        text = (
            f"lost or limited  {'; '.join(lost)}"
            if lost
            else "nothing lost: no line, event or session was refused, cut or dropped"
        )
        return heading(LOST, text, [(visible(text, MAX_NOTES), BAD if lost else GOOD)])

    def _parts(self, now: float) -> list[Entry]:
        """Database and bus, each with the cause where it is not well."""
        known = [name for name in (DATABASE, BUS) if name in self.feed.workers]
        if not known:
            return []
        head = f"{'engine':<11} {'state':<12} {'age':>6}  what is the matter, and its figures"
        rows = [heading(ENGINE, head, [(head, FAINT)])]
        for name in known:
            model = self.feed.workers[name]
            state = model.status(now, self.feed.heartbeat_s)
            line: Line = [
                (fit(name, 11) + " ", PLAIN),
                (f"{worker_state(state)[0]:<12}", worker_state(state)[1]),
                (f" {span(model.age(now)):>6}  ", PLAIN),
                (_told_of(model.payload), PLAIN if state == "ok" else WARN),
            ]
            bad = state not in ("ok", "stopped")
            rows.append(Entry(ENGINE, name, line, {**model.payload, "worker": name}, bad=bad))
        return rows

    def _workers(self, now: float) -> list[Entry]:
        head = f"{'worker':<11} {'state':<12} {'age':>6} {'handled':>7} {'failed':>6} {'waiting':>7} {'given up':>8}  notes"
        rows = [heading(WORKERS, head, [(head, FAINT)])]
        for name in sorted(self.feed.workers.keys() - PARTS):
            model = self.feed.workers[name]
            state = model.status(now, self.feed.heartbeat_s)
            bad = state not in ("ok", "stopped", "paused")
            data = {**model.payload, "worker": name}
            rows.append(Entry(WORKERS, name, _worker_line(model, state, now), data, bad=bad))
        return rows if len(rows) > 1 else []

    def _sensors(self) -> list[Entry]:
        """A line for each, and below it what befell its files lately and why lines were refused."""
        sensors = self.feed.sensors()
        if not sensors:
            return []
        head = f"{'sensor':<11} {'state':<12} {'last':>6} {'lines':>6} {'behind':>6} {'refused':>7}  path"
        rows = [heading(SENSORS, head, [(head, FAINT)])]
        for row in sensors:
            bad = str(row.get("state")) != "ok"
            rows.append(Entry(SENSORS, str(row.get("path")), _sensor_line(row), row, bad=bad))
            rows += [
                heading(SENSORS, "", [(visible(text, MAX_NOTES), style)]) for text, style in _befell(row)
            ]
        return rows

    def _letters(self) -> list[Entry]:
        if self.problem:
            return [heading(LETTERS, f"dead letters: {self.problem}")]
        if not self.letters:
            return [heading(LETTERS, "", [("no dead letters", FAINT)])]
        head = f"{'letter':<7} {'age':>6} {'worker':<11} {'topic':<28} reason"
        rows = [heading(LETTERS, head, [(head, FAINT)])]
        return rows + [Entry(LETTERS, r["id"], _letter_line(r), r, bad=True) for r in self.letters]

    def line(self, index: int, width: int) -> Line:
        """A sensor's path has the room that the rest leaves, and is cut in front."""
        entry = self.entries[index]
        if entry.section == SENSORS and entry.key is not None:
            return _sensor_line(entry.data, width)
        return super().line(index, width)

    def detail(self) -> list[str]:
        """Counts that are worth a word, then what is behind the entry."""
        entry = self.current
        counts = entry is not None and entry.section in (WORKERS, SENSORS, ENGINE)
        words = (
            [*losses(entry.data), *troubles(entry.data), *works(entry.data)]
            if entry is not None and counts
            else []
        )
        return [*words, *super().detail()]

    def empty(self, width: int) -> list[str]:
        """Silence."""
        return [
            "No heartbeat yet.",
            f"Workers report every {span(self.feed.heartbeat_s)}. decnet-tui doctor looks.",
        ]

    def status(self) -> tuple[str, str]:
        """How many are well."""
        well, known = self.feed.worker_counts(time.time())
        silent = self.feed.silent_sensors()
        more = f"  {counted(silent, 'sensor')} not ok" if silent else ""
        model = self.feed.workers.get("bus")
        bus = " and the bus" * (
            model is not None and model.status(time.time(), self.feed.heartbeat_s) == "ok"
        )
        counts = (
            f"{'all ' * (known > 1)}{counted(known, 'worker')}{bus}"
            if well == known
            else f"{well} of {counted(known, 'worker')}"
        )
        return f"{self.filter_part()}  {counts} ok{more}", self.shown_counts()


def _worker_line(model: WorkerModel, state: str, now: float) -> Line:
    text, style = worker_state(state)
    p = model.payload
    numbers = f" {span(model.age(now)):>6} {_count(p, 'processed'):>7} {_count(p, 'failed'):>6}"
    numbers += f" {_count(p, 'lag'):>7} {_count(p, 'dead_lettered'):>8}  "
    return [
        (fit(model.name, 11) + " ", PLAIN),
        (f"{text:<12}", style),
        (numbers, PLAIN),
        ("  ".join(notes(p))[:MAX_NOTES], PLAIN),
    ]


def _told_of(payload: Mapping[str, Any]) -> str:
    """The cause, then the figures that are worth a word."""
    told = [str(payload.get("note") or ""), *losses(payload), *troubles(payload), *works(payload)]
    return visible("  ".join(part for part in told if part), MAX_NOTES)


def _befell(row: Mapping[str, Any]) -> list[tuple[str, Style]]:
    """What is wrong with its files, the last refusal, and its newest rotations and truncations."""
    lines: list[tuple[str, Style]] = []
    problems = row.get("problems")
    for path, why in problems.items() if isinstance(problems, Mapping) else ():
        if str(why) != str(row.get("state")):
            lines.append((f"  ! {end_of(str(path), PATH_ROOM)}: {why}", BAD))
    if row.get("refused") and row.get("last_refusal"):
        lines.append((f"  refused last: {row['last_refusal']}", WARN))
    changes = row.get("changes")
    newest = changes[-MAX_CHANGES:][::-1] if isinstance(changes, list) else []
    return [*lines, *(_change(change) for change in newest if isinstance(change, Mapping))]


def _change(change: Mapping[str, Any]) -> tuple[str, Style]:
    """One rotation or truncation: when, what, of which file, and how many bytes went with it unread."""
    at, unread = change.get("ts"), change.get("unread_bytes")
    when = clock(at, "date")[5:] if isinstance(at, (int, float)) else "-"
    lost = f", {counted(unread, 'byte')} unread" if isinstance(unread, int) and unread else ""
    to = f" to {end_of(str(change['to']), PATH_ROOM)}" if change.get("to") else ""
    return (
        f"  {when} {change.get('what')}{lost}  {end_of(str(change.get('path')), PATH_ROOM)}{to}",
        BAD if lost else FAINT,
    )


def _sensor_line(row: Mapping[str, Any], width: int = 0) -> Line:
    """How a sensor is; its path whole, or in so many columns with what is wrong behind it."""
    text, style = worker_state(str(row.get("state")))
    age = row.get("age")
    last = span(age) if isinstance(age, (int, float)) else "never"
    head: Line = [
        (fit(str(row.get("kind")), 11) + " ", PLAIN),
        (f"{text:<12}", style),
        (
            f" {last:>6} {_count(row, 'lines'):>6} {_count(row, 'bytes_behind'):>6} {_count(row, 'refused'):>7}  ",
            PLAIN,
        ),
    ]
    told = _told_of_sensor(row)
    room = width - sum(len(part) for part, _ in head) - (len(told) + 2 if told else 0)
    path = visible(row.get("path"), MAX_NOTES)
    where = end_of(path, max(room, PATH_ROOM)) if width else path
    return [*head, (f"{where}  {told}".rstrip(), PLAIN)]


def _told_of_sensor(row: Mapping[str, Any]) -> str:
    """What it waits for, why lines were refused, and the figures that are worth a word."""
    reasons = row.get("reasons")
    why = " ".join(f"{k} {v}" for k, v in reasons.items()) if isinstance(reasons, Mapping) else ""
    figures = [*losses({**row, "refused": 0}), *troubles(row), *works({**row, "files": 0, "bytes_behind": 0})]
    told = (str(row.get("waiting") or ""), why, *figures)
    return visible("  ".join(part for part in told if part), MAX_NOTES)


def _letter_line(row: DeadLetterLine) -> Line:
    age = span(time.time() - row["ts"].timestamp())
    head = f"{row['id']:<7} {age:>6} {fit(row['worker'], 11)} {fit(row['topic'], 28)} "
    return [(head, PLAIN), (visible(row["reason"], 400), WARN)]


def _count(payload: Mapping[str, object], key: str) -> str:
    value = payload.get(key)
    return count_short(value) if isinstance(value, (int, float)) else "-"
