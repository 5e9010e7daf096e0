"""Traffic: live events, newest last, one line a session; with filter, pause and tail.

Unfolded, each event has its line. What is derived from sessions is filtered at first.
"""

from __future__ import annotations

import json
import time
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

from rich.style import Style

from decnet_tui.model.event_kinds import kind_of
from decnet_tui.model.export import Sheet
from decnet_tui.model.feed import GAP_TOPIC, EventRow, Feed, Rates
from decnet_tui.model.filters import Filter, parse_filter
from decnet_tui.model.keys import key
from decnet_tui.model.lines import DAY_TOPIC, Lines
from decnet_tui.model.running import Running
from decnet_tui.model.scope import Of, Scope, scope_of
from decnet_tui.model.trends import bars
from decnet_tui.model.words import clock, counted
from decnet_tui.screens.base import TIME_WIDTHS, View
from decnet_tui.screens.session import SessionLevel
from decnet_tui.widgets import glyphs
from decnet_tui.widgets.states import severity_style
from decnet_tui.widgets.strips import BAD, FAINT, GOOD, KEY, PLAIN, WARN, Line, fit

NOISE = "-system.> -attacker.observation.> -attacker.observations -attribution.profile.state_changed -ttp.rule.fired.>"
"""What is derived from sessions, or about the engine: the sessions say it, or other views do."""
DEFAULT_FILTER = f"> {NOISE}"
SOURCE_WIDTH = 15
STATE_WIDTH = 8
PLACE_FROM, PLACE_WIDTH = 100, 16
"""Columns from which on a session's line names the decoy."""
LISTED = 200
"""Events of a session that its detail lists; the last ones."""
DIG_S = 0.012
"""Seconds that filtering the ring may take between two keys."""
DIG_ROWS = 1000


class TrafficView(View):
    """The ring through a filter. Paused, it shows the ring as it was."""

    name = "traffic"
    title = "Traffic"
    key = "1"
    says = "Traffic: live events"
    filtered = True
    own_filter = DEFAULT_FILTER

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.tail = True
        self.frozen: list[EventRow] | None = None
        self._filter = parse_filter(DEFAULT_FILTER)
        self.filter_text = DEFAULT_FILTER
        self._shown: list[EventRow] = []
        self._lines = Lines(folded=True)
        self._told = feed.running.told
        """What the sessions did; as it was, while nothing moves."""
        self._next = 0
        self._paused_at = 0
        self._undug: list[EventRow] = []
        self._seek: EventRow | None = None

    @property
    def folded(self) -> bool:
        """Whether a session has one line."""
        return self._lines.folded

    @property
    def current(self) -> EventRow | None:
        """The event under the cursor, of a session its newest; None on a date."""
        rows = self._lines.rows
        row = rows[self.cursor] if 0 <= self.cursor < len(rows) else None
        return None if row is None or row.topic == DAY_TOPIC else row

    @property
    def session(self) -> Running | None:
        """The session whose line the cursor is on."""
        row = self.current
        return self._session_of(row) if row is not None else None

    def _session_of(self, row: EventRow) -> Running | None:
        return self._told.get(row.session) if self.folded and row.session else None

    def sync(self, now: float) -> bool:
        """Takes in new events; nothing moves while paused."""
        dug = self._dig()
        if self.frozen is not None or self._next == self.feed.total:
            return dug
        fresh = self.feed.since(self._next)
        self._next = self.feed.total
        kept = list(filter(self._keeps, fresh))
        self._shown.extend(kept)
        with_it = self.current
        self._lines.extend(kept)
        self._trim()
        self._stay_on(with_it)
        return True

    def _stay_on(self, row: EventRow | None) -> None:
        """The cursor on its event or session again, wherever that stands now; at the end while it tails."""
        if self.tail:
            self.cursor = max(self.count() - 1, 0)
        elif row is not None:
            moved = self._lines.place_of(row) - self.cursor
            self.cursor += moved
            self.top = max(self.top + moved, 0)

    def _keeps(self, row: EventRow) -> bool:
        if row.topic == GAP_TOPIC:
            return True
        if self.scope is not None and not self.scope.covers_raw(row.raw):
            return False
        return self._filter.shows(row.topic, row.source, row.summary, row.raw)

    def _trim(self) -> None:
        """Forgets rows that left the ring."""
        first = self.feed.first_seq
        if self._shown and self._shown[0].seq < first:
            del self._shown[: bisect_left(self._shown, first, key=lambda row: row.seq)]
            self._lines.trim(first)

    def set_filter(self, text: str) -> None:
        """Shows what fits from the whole ring; the cursor stays on its event or the next one after it."""
        self._apply(parse_filter(text))
        self.filter_text = text

    @property
    def hides_noise(self) -> bool:
        """Whether the filter leaves out what is derived."""
        return self.filter_text.endswith(NOISE)

    def turn_noise(self) -> bool:
        """Shows what is derived, or hides it; whether it is hidden now. The rest of the filter stays."""
        rest = self.filter_text.removesuffix(NOISE).strip()
        self.set_filter((rest or ">") if self.hides_noise else f"{rest or '>'} {NOISE}")
        return self.hides_noise

    def fold(self) -> str:
        """One line a session, or one an event. The cursor stays on its event or session."""
        row = self.current
        self._lines = Lines(not self.folded, self._shown)
        self._stay_on(row)
        return "one line a session" if self.folded else "one line an event"

    def _apply(self, wanted: Filter) -> None:
        if self._seek is None:
            self._seek = self.current
        self._filter = wanted
        self._undug = self.frozen[:] if self.frozen is not None else list(self.feed.ring)
        self._shown, self._lines = [], Lines(self.folded)
        self.cursor = 0
        if self.frozen is None:
            self._next = self.feed.total
        self._dig()

    def _dig(self) -> bool:
        """Filters what is not filtered yet, newest first, for as long as a key may wait; whether it found any.

        Filtering a full ring at once would hold up the next key.
        """
        if not self._undug:
            return False
        deadline, found = time.perf_counter() + DIG_S, 0
        while self._undug:
            piece, self._undug = self._undug[-DIG_ROWS:], self._undug[:-DIG_ROWS]
            kept = list(filter(self._keeps, piece))
            self._shown[:0] = kept
            found += self._lines.prepend(kept)
            if time.perf_counter() >= deadline:
                break
        self._place(found)
        return True

    def _place(self, found: int) -> None:
        """The cursor onto its event after ``found`` older rows came in front."""
        if self.tail:
            self.cursor = max(self.count() - 1, 0)
        else:
            self.cursor = self._lines.place_of(self._seek) if self._seek is not None else self.cursor + found
        self.top += found
        if not self._undug:
            self._seek = None
            at = self.current
            self._trim()
            self._stay_on(at)

    def set_scope(self, scope: Scope | None) -> None:
        """Shows what names one actor, or everything again."""
        self.scope = scope
        self._apply(self._filter)

    def pause(self) -> bool:
        """Pauses or goes on; whether it is paused now."""
        self.paused = not self.paused
        if self.paused:
            self.frozen = list(self.feed.ring)
            self._told = dict(self.feed.running.told)
            self._paused_at = self.feed.total
        else:
            self.frozen, self._told = None, self.feed.running.told
            self._apply(self._filter)
        return self.paused

    def toggle_tail(self) -> None:
        """Stays at the newest event, or stops doing so."""
        self.tail = not self.tail
        if self.tail and self.frozen is None:
            self.cursor = max(self.count() - 1, 0)

    def move(self, by: int, rows: int) -> None:
        """Moving away from the newest line ends the tail; moving down onto it takes it up again.

        A date is no line to stand on.
        """
        self._seek = None
        super().move(by, rows)
        if 0 < self.cursor < self.count() - 1 and self._lines.rows[self.cursor].topic == DAY_TOPIC:
            super().move(1 if by > 0 else -1, rows)
        self.tail = by > 0 and self.frozen is None and self.cursor >= self.count() - 1

    def count(self) -> int:
        """Lines shown."""
        return len(self._lines.rows)

    def line(self, index: int, width: int) -> Line:
        """Of an event time, topic, source, summary; of a session what it did so far; of a day its date."""
        row = self._lines.rows[index]
        if row.topic == DAY_TOPIC:
            rule = glyphs.current().rule
            return [(f"{rule * 2} {row.summary} UTC {rule * max(width - 18, 0)}", FAINT)]
        if row.topic == GAP_TOPIC:
            return [(fit(f"{clock(row.ts)} {row.summary}", width), WARN)]
        head: Line = [(f"{clock(row.ts, self.time_format):>{TIME_WIDTHS[self.time_format]}} ", FAINT)]
        session = self._session_of(row)
        if session is not None:
            return [*head, *_session_line(session, width - len(head[0][0]))]
        if self.folded:
            return [*head, *_news_line(row, width - len(head[0][0]))]
        topic_width = min(max(width * 3 // 10, 20), 40)
        return [
            *head,
            (fit(row.topic, topic_width) + " ", _style_of(row.topic)),
            (fit(row.source, SOURCE_WIDTH) + " ", KEY),
            (row.summary, PLAIN),
        ]

    def empty(self, width: int) -> list[str]:
        """Nothing received, or all of it hidden."""
        if self.feed.total and self.scope is not None:
            return [
                f"No event here names {self.scope.label}.",
                f"{key('filter.clear')} clears the filter, {key('follow')} follows everybody again",
            ]
        if self.feed.total and self.filter_text != DEFAULT_FILTER:
            return [
                f"hidden by the filter {self.filter_text}: {counted(len(self.feed.ring), 'event')}",
                f"{key('filter.clear')} clears the filter, {key('filter')} changes it",
            ]
        beats = len(self.feed.ring)
        hidden = f", but {counted(beats, 'heartbeat')} behind the filter" if beats else ""
        return [
            f"No event yet{hidden}.",
            "Events appear here as soon as a sensor reads a honeypot log:",
            "  start with --sensor cowrie=/path/to/cowrie.json, or look at --demo",
            f"{key('view.workers')} shows whether the workers run.",
        ]

    def status(self) -> tuple[str, str]:
        """How it is folded, the filter, whether it moves; and how much of the ring is hidden."""
        state = "tail" if self.tail else "held"
        if self.frozen is not None:
            state = f"PAUSED +{self.feed.total - self._paused_at} new"
        held = len(self.frozen) if self.frozen is not None else len(self.feed.ring)
        if self._undug:
            state += f"  {len(self._undug)} still to filter"
        fold = f"by {'session' if self.folded else 'event'} ({key('zoom')})"
        left = "  ".join([state, fold, *self._filter_words()])
        if self.scope is not None:
            left += f"  follow {self.scope.title}"
        return left, f"{held - len(self._shown)} hidden  {len(self._shown)}/{held}"

    def _filter_words(self) -> Iterator[str]:
        """The filter as typed; its part against noise in a word."""
        noise = self.hides_noise
        shown = parse_filter(self.filter_text.removesuffix(NOISE)) if noise else self._filter
        if not noise or shown.include not in ((), (">",)) or shown.exclude or shown.tests:
            yield f"topic {shown.topic_part}  text {shown.text_part}"
        yield f"noise {'hidden' if noise else 'shown'} ({key('noise')})"

    # --- what keys are for

    def below(self) -> View | None:
        """The page of the session."""
        row = self.current
        return (
            SessionLevel(self.feed, self._id_of(row))
            if row is not None and self.session is not None
            else None
        )

    def _id_of(self, row: EventRow) -> str:
        """The id as it was sent: what is shown may stand for characters that cannot be."""
        return str(_payload(row).get("session_id") or row.session)

    def detail_key(self) -> object:
        """The event under the cursor."""
        row = self.current
        return None if row is None else (row.seq, self.folded)

    def detail(self) -> list[str]:
        """The event as JSON, one key a line; of a session what it did, and its events, before that."""
        row = self.current
        if row is None:
            return []
        session = self.session
        told = (
            [] if session is None else [*_told_lines(session), *self._events_of(row), "", "its newest event:"]
        )
        try:
            body = json.loads(row.raw)
        except ValueError:
            return [*told, row.raw.decode(errors="replace")]
        return told + json.dumps(body, indent=1, ensure_ascii=False).split("\n")

    def _events_of(self, row: EventRow) -> list[str]:
        """All that the ring has of a session, noise included."""
        ring = self.frozen if self.frozen is not None else self.feed.ring
        found = [
            f"{clock(one.ts, self.time_format)} {one.topic} {one.summary}"
            for one in ring
            if one.session == row.session
        ]
        left = len(found) - LISTED
        return ["", "its events:", *([f"... {left} before these"] if left > 0 else []), *found[-LISTED:]]

    def copy_text(self) -> str:
        """The event's JSON on one line; of a session its line with its whole id."""
        row, session = self.current, self.session
        if row is None:
            return ""
        if session is None:
            return row.raw.decode(errors="replace")
        parts = (f"{clock(row.ts, 'date')}Z", *_cells(session))
        return "  ".join(part for part in parts if part)

    def record(self) -> dict[str, Any]:
        """The payload of the event under the cursor; of a session with who it is of."""
        row, session = self.current, self.session
        if row is None:
            return {}
        payload = _payload(row)
        if session is None:
            return payload
        known = {"attacker_uuid": session.attacker_uuid, "attacker_ip": session.attacker_ip}
        return {**{name: value for name, value in known.items() if value}, **payload}

    def actor(self) -> Scope | None:
        """The actor that the event names, with the address its line shows."""
        payload = self.record()
        known = self.feed.address_of(payload.get("attacker_uuid"))
        return scope_of({"attacker_ip": known, **payload} if known else payload)

    def indicators_of(self) -> Of | None:
        """Of a session its own."""
        row = self.current
        if row is None or self.session is None:
            return super().indicators_of()
        return Of(f"session {row.session[:8]}", session=self._id_of(row))

    def records(self) -> list[Any]:
        """The events shown, as the JSON that came; folded, the sessions and what belongs to none."""
        return [
            row.raw if (session := self._session_of(row)) is None else {"ts": row.ts, **session._asdict()}
            for row in self._listed()
        ]

    def sheet(self) -> Sheet:
        """Time, topic, source and summary of each; folded, what the lines of sessions say."""
        if not self.folded:
            rows = [(clock(row.ts, "date"), row.topic, row.source, row.summary) for row in self._listed()]
            return Sheet(("time", "topic", "source", "summary"), rows)
        folded: list[tuple[str, ...]] = []
        for row in self._listed():
            session = self._session_of(row)
            cells = (row.source, "", "", row.topic, row.summary, "") if session is None else _cells(session)
            folded.append((clock(row.ts, "date"), *cells))
        return Sheet(("time", "source", "session", "where", "state", "did", "techniques"), folded)

    def _listed(self) -> Iterator[EventRow]:
        return (row for row in self._lines.rows if row.topic not in (GAP_TOPIC, DAY_TOPIC))

    def rate_line(self, width: int) -> Line:
        """The last minute as a line of bars."""
        rates = self.feed.rates
        tail = f"  peak {rates.peak}/s  ring {len(self.feed.ring)}/{self.feed.ring.maxlen}"
        return [
            (f" {rates.per_second:>5}/s ", PLAIN),
            (sparkline(rates, max(width - len(tail) - 11, 1)), GOOD),
            (tail, FAINT),
        ]


def sparkline(rates: Rates, room: int) -> str:
    """The last seconds as bars, newest at the right; any event at all gives a bar."""
    return bars(list(rates.slots)[-room:], glyphs.current().spark, rates.peak)


def _style_of(topic: str) -> Style:
    if topic.startswith(("attribution.profile.multi", "system.deadletter", "canary.")):
        return BAD
    return WARN if topic.startswith("ttp.") else PLAIN


def _news_line(row: EventRow, room: int) -> Line:
    """An event of no session under the columns of those: who, what kind of event, and what it says."""
    place = " " * (PLACE_WIDTH + 1) if room >= PLACE_FROM else ""
    return [
        (fit(row.source, SOURCE_WIDTH) + " ", KEY),
        (fit(kind_of(row.topic), STATE_WIDTH) + " ", FAINT),
        (place + row.summary, _style_of(row.topic)),
    ]


def _session_line(session: Running, room: int) -> Line:
    """Who, how it stands, where, what it did; the techniques at the end."""
    style = severity_style(session.severity)
    tagged = f" {session.tagged}" if session.tagged else ""
    place = f"{fit(session.where, PLACE_WIDTH)} " if room >= PLACE_FROM else ""
    left = max(room - SOURCE_WIDTH - STATE_WIDTH - len(place) - len(tagged) - 2, 0)
    return [
        (fit(session.source, SOURCE_WIDTH) + " ", KEY),
        (fit(session.state, STATE_WIDTH) + " ", style),
        (place + fit(session.did, left), PLAIN),
        (tagged, WARN),
    ]


def _cells(session: Running) -> tuple[str, ...]:
    """A session as a row of a table, without its time."""
    return (
        session.source,
        session.session_id,
        session.where,
        session.state,
        session.did,
        " ".join(session.techniques),
    )


def _told_lines(session: Running) -> list[str]:
    took = f", took {session.took}" if session.took else ""
    return [
        f"session {session.session_id}",
        f"{session.source}  {session.where}",
        f"began {clock(session.began, 'date')}Z  {session.state}{took}",
        session.did,
        *([f"{session.state}: {session.reason}"] if session.reason else []),
        *([f"techniques {' '.join(session.techniques)}"] if session.techniques else []),
    ]


def _payload(row: EventRow) -> dict[str, Any]:
    try:
        payload = json.loads(row.raw).get("payload")
    except (ValueError, AttributeError):
        return {}
    return payload if isinstance(payload, dict) else {}
