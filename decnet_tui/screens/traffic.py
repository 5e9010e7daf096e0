"""Traffic: live events, newest last, with filter, pause and tail."""

from __future__ import annotations

import json
import time
from bisect import bisect_left
from typing import Any

from rich.style import Style

from decnet_tui.model.export import Sheet
from decnet_tui.model.feed import GAP_TOPIC, EventRow, Feed, Rates
from decnet_tui.model.filters import Filter, parse_filter
from decnet_tui.model.keys import key
from decnet_tui.model.scope import Scope, scope_of
from decnet_tui.model.trends import bars
from decnet_tui.model.words import clock, counted
from decnet_tui.screens.base import TIME_WIDTHS, View
from decnet_tui.widgets import glyphs
from decnet_tui.widgets.strips import BAD, FAINT, GOOD, KEY, PLAIN, WARN, Line, fit

DEFAULT_FILTER = "> -system.>"
SOURCE_WIDTH = 15
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
        self._next = 0
        self._paused_at = 0
        self._undug: list[EventRow] = []
        self._seek: int | None = None

    def sync(self, now: float) -> bool:
        """Takes in new events; nothing moves while paused."""
        dug = self._dig()
        if self.frozen is not None or self._next == self.feed.total:
            return dug
        fresh = self.feed.since(self._next)
        self._next = self.feed.total
        self._shown.extend(filter(self._keeps, fresh))
        self._trim()
        if self.tail:
            self.cursor = max(len(self._shown) - 1, 0)
        return True

    def _keeps(self, row: EventRow) -> bool:
        if row.topic == GAP_TOPIC:
            return True
        if self.scope is not None and not self.scope.covers_raw(row.raw):
            return False
        return self._filter.shows(row.topic, row.source, row.summary, row.raw)

    def _trim(self) -> None:
        """Forgets rows that left the ring; the cursor stays on its event."""
        first = self.feed.first_seq
        if self._shown and self._shown[0].seq < first:
            gone = bisect_left(self._shown, first, key=lambda row: row.seq)
            del self._shown[:gone]
            self.cursor = max(self.cursor - gone, 0)
            self.top = max(self.top - gone, 0)

    def set_filter(self, text: str) -> None:
        """Shows what fits from the whole ring; the cursor stays on its event or the next one after it."""
        self._apply(parse_filter(text))
        self.filter_text = text

    def _apply(self, wanted: Filter) -> None:
        if self._seek is None:
            self._seek = self._shown[self.cursor].seq if self.cursor < len(self._shown) else 0
        self._filter = wanted
        self._undug = self.frozen[:] if self.frozen is not None else list(self.feed.ring)
        self._shown = []
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
            found += len(kept)
            if time.perf_counter() >= deadline:
                break
        self._place(found)
        return True

    def _place(self, found: int) -> None:
        """The cursor onto its event after ``found`` older rows came in front."""
        if self.tail or self._seek is None:
            self.cursor = max(len(self._shown) - 1, 0) if self.tail else self.cursor + found
        else:
            self.cursor = bisect_left(self._shown, self._seek, key=lambda row: row.seq)
        self.top += found
        if not self._undug:
            self._seek = None
            self._trim()

    def set_scope(self, scope: Scope | None) -> None:
        """Shows what names one actor, or everything again."""
        self.scope = scope
        self._apply(self._filter)

    def pause(self) -> bool:
        """Pauses or goes on; whether it is paused now."""
        self.paused = not self.paused
        if self.paused:
            self.frozen = list(self.feed.ring)
            self._paused_at = self.feed.total
        else:
            self.frozen = None
            self._apply(self._filter)
        return self.paused

    def toggle_tail(self) -> None:
        """Stays at the newest event, or stops doing so."""
        self.tail = not self.tail
        if self.tail and self.frozen is None:
            self.cursor = max(self.count() - 1, 0)

    def move(self, by: int, rows: int) -> None:
        """Moving away from the newest line ends the tail; moving down onto it takes it up again."""
        self._seek = None
        super().move(by, rows)
        self.tail = by > 0 and self.frozen is None and self.cursor >= self.count() - 1

    def count(self) -> int:
        """Events shown."""
        return len(self._shown)

    def line(self, index: int, width: int) -> Line:
        """Time, topic, source, summary."""
        row = self._shown[index]
        if row.topic == GAP_TOPIC:
            return [(fit(f"{clock(row.ts)} {row.summary}", width), WARN)]
        stamp = clock(row.ts, self.time_format)
        topic_width = min(max(width * 3 // 10, 20), 40)
        return [
            (f"{stamp:>{TIME_WIDTHS[self.time_format]}} ", FAINT),
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
        """The filter, whether it moves, and how much of the ring is shown."""
        state = "tail" if self.tail else "held"
        if self.frozen is not None:
            state = f"PAUSED +{self.feed.total - self._paused_at} new"
        held = len(self.frozen) if self.frozen is not None else len(self.feed.ring)
        if self._undug:
            state += f"  {len(self._undug)} still to filter"
        left = f"topic {self._filter.topic_part}  text {self._filter.text_part}  {state}"
        if self.scope is not None:
            left += f"  follow {self.scope.title}"
        return left, f"{held - len(self._shown)} hidden  {len(self._shown)}/{held}"

    def detail_key(self) -> object:
        """The event under the cursor."""
        return self._shown[self.cursor].seq if self.cursor < len(self._shown) else None

    def detail(self) -> list[str]:
        """The event as JSON, one key a line."""
        if self.cursor >= len(self._shown):
            return []
        try:
            body = json.loads(self._shown[self.cursor].raw)
        except ValueError:
            return [self._shown[self.cursor].raw.decode(errors="replace")]
        return json.dumps(body, indent=1, ensure_ascii=False).split("\n")

    def copy_text(self) -> str:
        """The event's JSON on one line."""
        return self._shown[self.cursor].raw.decode(errors="replace") if self._shown else ""

    def record(self) -> dict[str, Any]:
        """The payload of the event under the cursor."""
        if self.cursor >= len(self._shown):
            return {}
        try:
            payload = json.loads(self._shown[self.cursor].raw).get("payload")
        except (ValueError, AttributeError):
            return {}
        return payload if isinstance(payload, dict) else {}

    def actor(self) -> Scope | None:
        """The actor that the event names, with the address its line shows."""
        payload = self.record()
        known = self.feed.address_of(payload.get("attacker_uuid"))
        return scope_of({"attacker_ip": known, **payload} if known else payload)

    def records(self) -> list[Any]:
        """The events shown, as the JSON that came."""
        return [row.raw for row in self._shown if row.topic != GAP_TOPIC]

    def sheet(self) -> Sheet:
        """Time, topic, source and summary of each."""
        rows = [
            (clock(row.ts, "date"), row.topic, row.source, row.summary)
            for row in self._shown
            if row.topic != GAP_TOPIC
        ]
        return Sheet(("time", "topic", "source", "summary"), rows)

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
