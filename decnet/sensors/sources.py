"""What turns the lines of one sensor into events: Cowrie logs and recorded bus events; pure.

OpenCanary's source is in a module of its own.

A source has state for the checkpoint and counts what it refuses, with the place of the newest.
"""

from __future__ import annotations

import hashlib
import json
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from decnet import ids
from decnet.bus.base import Event
from decnet.bus.topics import MAX_TOPIC_LENGTH
from decnet.config import SensorSpec, Settings, table_name
from decnet.errors import SensorError
from decnet.events.fields import epoch
from decnet.hostile import storable
from decnet.sensors.assembly import Assembler
from decnet.sensors.cowrie import is_cowrie, is_known, parse_object
from decnet.sensors.files.repeats import Repeats
from decnet.sensors.files.tailer import Line
from decnet.sensors.files.unwrap import Unwrapper
from decnet.sensors.progress import Progress
from decnet.sensors.values import Data, Refusal

EVIDENCE_ROOTS = frozenset(
    ("attacker", "credential", "identity", "email", "canary", "attribution", "ttp", "decky", "topology")
)
"""Roots a recording may publish to; ``system`` holds commands to workers and stays out."""
_ENVELOPE_BYTES = 1024
MAX_FOREIGN = 200
"""Files that are named as logs of another kind."""
MAX_OVERFULL = 10_000
"""Sessions that had no room for all of it and are known by name; one that goes on later is counted again then."""
MAX_UNKNOWN_IDS = 100
"""Names of unknown kinds that are counted each; a log can be made up."""


class Source(ABC):
    """Lines in, events out."""

    def __init__(self, since: float | None = None) -> None:
        self.since = since
        """Older lines are passed over (epoch seconds)."""
        self.lines = 0
        self.bad_utf8 = 0
        """Lines with bytes that are no UTF-8: read, with marks in their place."""
        self.cut = 0
        """Lines over the limit that lost the middles of their strings."""
        self.unknown = 0
        """Lines of a kind that no reader knows: kept, and counted by its name."""
        self.unknown_ids: Counter[str] = Counter()
        self.left_ids: Counter[str] = Counter()
        """Kinds of line that a table leaves out."""
        self.refused: Counter[str] = Counter()
        self.last_refusal = ""
        self.foreign: dict[str, str] = {}
        """Files of which nothing could be used so far, with the reason that their first line was refused for."""
        self.repeats = Repeats()
        """Facts that were read before."""
        self.newest: float | None = None
        """Newest log time, epoch seconds."""

    def feed(self, lines: Iterable[Line]) -> list[Event]:
        """The events that follow from some lines, in order."""
        events: list[Event] = []
        for line in lines:
            self.lines += 1
            if not line.data.isascii():
                self._check_utf8(line.data)
            for made in self._of(line):
                if isinstance(made, Refusal):
                    self.refuse(made.reason, f"{line.path}:{line.number}")
                    if line.number == 1 and len(self.foreign) < MAX_FOREIGN:
                        self.foreign[line.path] = made.reason
                else:
                    events += made
                    self.foreign.pop(line.path, None)
        return events

    def progress(self, now: float, *, watched: bool = True) -> list[Data]:
        """What running sessions do, as live news; none by default.

        ``now`` is seconds of a steady clock. Not ``watched``, while there is more to read, nothing is told.
        """
        return []

    def refuse(self, reason: str, place: str) -> None:
        """Counts one refused line."""
        self.refused[reason] += 1
        self.last_refusal = f"{place}: {reason}"

    def note_unknown(self, name: str) -> None:
        """Counts a kind by its name; of very many names only the number."""
        if name in self.unknown_ids or len(self.unknown_ids) < MAX_UNKNOWN_IDS:
            self.unknown_ids[name] += 1

    def _check_utf8(self, data: bytes) -> None:
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            self.bad_utf8 += 1

    def _saw(self, ts: float) -> bool:
        """Notes a time; whether the line is young enough."""
        self.newest = ts if self.newest is None else max(self.newest, ts)
        return self.since is None or ts >= self.since

    @abstractmethod
    def _of(self, line: Line) -> Iterator[list[Event] | Refusal]:
        """The events of one line, object by object, and why something in it gives none."""

    def end_all(self, reason: str = "eof") -> list[Event]:
        """Events for what is still open."""
        return []

    def at_rest(self, now: float) -> list[Event]:
        """Events that follow from the log having been silent until ``now`` (epoch seconds); the end was read before."""
        return []

    def to_state(self) -> Data:
        """Plain JSON for a checkpoint."""
        return {
            "lines": self.lines, "refused": dict(self.refused), "newest": self.newest,
            "last_refusal": self.last_refusal, "bad_utf8": self.bad_utf8, "unknown": self.unknown,
            "unknown_ids": dict(self.unknown_ids), "cut": self.cut, "repeats": self.repeats.to_state(),
            "foreign": self.foreign,
        }  # fmt: skip

    def restore(self, state: Data) -> None:
        """Takes up the state of :meth:`to_state`."""
        self.lines = int(state.get("lines", 0))
        self.refused = Counter(state.get("refused", {}))
        self.newest = state.get("newest")
        self.last_refusal = str(state.get("last_refusal", ""))
        self.bad_utf8 = int(state.get("bad_utf8", 0))
        self.unknown = int(state.get("unknown", 0))
        self.cut = int(state.get("cut", 0))
        self.unknown_ids = Counter(state.get("unknown_ids", {}))
        self.repeats.restore(state.get("repeats", {}))
        self.foreign = dict(state.get("foreign", {}))

    def use_names(self, token: Callable[[str], str]) -> None:  # noqa: B027  a recording has tokens already
        """Where the tokens of sensors' names come from."""

    def names(self) -> dict[str, str]:
        """Names of sensors that are not their own token → the token."""
        return {}

    def sessions(self) -> dict[str, int]:
        """How many sessions are open, and how many had to end early for want of room."""
        return {"open_sessions": 0, "evicted": 0, "homeless": 0, "unfinished": 0}

    def bounds(self) -> dict[str, int]:
        """What else was left out or came twice, and how often; how often a clock jumped."""
        return {
            "repeated": self.repeats.count, "given_up": 0, "overfull": 0, "commands_dropped": 0, "items_dropped": 0,
            "clock_jumps": 0, "left_out": 0, "not_derived": 0, "elements_dropped": 0,
        }  # fmt: skip

    def last_jump(self) -> str:
        """The last jump of a clock in words, with both times; empty when none jumped."""
        return ""


class SessionSource(Source):
    """A log whose lines become sessions, in whatever they are wrapped."""

    def __init__(self, assembler: Assembler, unwrapper: Unwrapper, since: float | None = None) -> None:
        super().__init__(since)
        self.assembler = assembler
        self.unwrapper = unwrapper
        self._overfull: set[str] = set()
        self._overfull_before = 0
        self._progress = Progress()

    def progress(self, now: float, *, watched: bool = True) -> list[Data]:
        """See :mod:`decnet.sensors.progress`."""
        return self._progress.news(self.assembler.moved(), now, watched=watched)

    def feed(self, lines: Iterable[Line]) -> list[Event]:
        """The events that follow from some lines, in order; sessions that had no room for all of it are counted."""
        events = super().feed(lines)
        self._overfull |= {e.payload["session_id"] for e in events if _left_out(e.payload)}
        if len(self._overfull) > MAX_OVERFULL:
            self._overfull_before += len(self._overfull)
            self._overfull.clear()
        return events

    def bounds(self) -> dict[str, int]:
        """Facts that came again, unfinished texts that were given up, sessions with more in them than is kept."""
        overfull = self._overfull_before + len(self._overfull)
        made = self.assembler
        return {
            **super().bounds(),
            "repeated": self.repeats.count + made.repeated,
            "given_up": self.unwrapper.dropped,
            "overfull": overfull,
            "commands_dropped": made.commands_dropped,
            "items_dropped": made.items_dropped,
            "clock_jumps": made.jumps,
        }

    def _of(self, line: Line) -> Iterator[list[Event] | Refusal]:
        found = self.unwrapper.feed(line.path, line.data)
        for raw in found.events:
            yield self._one(raw)
        if found.reason:
            yield Refusal(found.reason)

    @abstractmethod
    def _one(self, raw: Data) -> list[Event] | Refusal:
        """The events of one object that a honeypot wrote."""

    def use_names(self, token: Callable[[str], str]) -> None:
        """Where the tokens of sensors' names come from."""
        self.assembler.name_token = token

    def names(self) -> dict[str, str]:
        """Names of sensors that are not their own token → the token."""
        return dict(self.assembler.names)

    def last_jump(self) -> str:
        """The last jump of a clock in words, with both times; empty when none jumped."""
        return self.assembler.jumped

    def sessions(self) -> dict[str, int]:
        """How many sessions are open, and how many had to end early for want of room."""
        made = self.assembler
        return {
            "open_sessions": made.open_sessions,
            "evicted": made.evicted,
            "homeless": made.homeless,
            "unfinished": self.unwrapper.unfinished,
        }

    def end_all(self, reason: str = "eof") -> list[Event]:
        """Ends every open session, after what is whole in a text that breaks off."""
        events: list[Event] = []
        for raw in self.unwrapper.flush().events:
            made = self._one(raw)
            if isinstance(made, Refusal):
                self.refuse(made.reason, "the end")
            else:
                events += made
        return events + self.assembler.end_all(reason)

    def to_state(self) -> Data:
        """Counters and open sessions."""
        return {
            **super().to_state(),
            "sessions": self.assembler.to_state(),
            "unfinished": self.unwrapper.to_state(),
            "given_up": self.unwrapper.dropped,
            "overfull": self._overfull_before + len(self._overfull),
        }

    def restore(self, state: Data) -> None:
        """Takes up the state of :meth:`to_state`."""
        super().restore(state)
        self.assembler.restore(state.get("sessions", {}))
        self.unwrapper.restore(state.get("unfinished", {}))
        self.unwrapper.dropped = int(state.get("given_up", 0))
        self._overfull_before = int(state.get("overfull", 0))


def _left_out(payload: Data) -> bool:
    """Whether an event says that its session had more in it than was kept."""
    return bool(payload.get("items_dropped") or payload.get("commands_dropped"))


class CowrieSource(SessionSource):
    """A Cowrie JSON log."""

    def __init__(self, settings: Settings, key: bytes, since: float | None = None) -> None:
        clear = settings.credentials.keep_clear
        made = Assembler(settings.sensor, key, settings.bus.max_event_bytes, keep_clear=clear)
        super().__init__(made, Unwrapper(is_cowrie, settings.sensor.max_line_bytes), since)

    def _one(self, raw: Data) -> list[Event] | Refusal:
        fact = parse_object(raw)
        if isinstance(fact, Refusal):
            return fact
        if not self._saw(fact.ts) or self.repeats.seen(tuple(fact)):
            return []
        if fact.kind == "extra" and not is_known(fact.data["eventid"]):
            self.unknown += 1
            self.note_unknown(fact.data["eventid"])
        return self.assembler.feed(fact)


def recorded_event(line: bytes, max_bytes: int = 262_144) -> Event | Refusal:
    """The event in one recorded line ``{topic, payload, type?, id?, ts?}``. Never raises.

    Without an id the line itself gives it, so that reading it again publishes the same one.
    """
    try:
        raw = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return Refusal("not_json")
    if not isinstance(raw, dict):
        return Refusal("not_object")
    topic, payload = raw.get("topic"), raw.get("payload")
    reason = _topic_fault(topic)
    if reason or not isinstance(payload, dict):
        return Refusal(reason or "no_payload")
    try:
        event = Event(str(topic), storable(payload), **_envelope(raw, line))
    except RecursionError:
        # Just shallow enough to be decoded, a value can still be too deep to be written out as text.
        return Refusal("too_deep")
    return Refusal("too_large") if len(event.to_bytes()) > max_bytes - _ENVELOPE_BYTES else event


def _topic_fault(topic: Any) -> str:
    """Why a topic cannot be published to; empty when it can."""
    if not isinstance(topic, str):
        return "no_topic"
    tokens = topic.split(".")
    printable = topic.isascii() and topic.isprintable()
    if len(topic) > MAX_TOPIC_LENGTH or len(tokens) < 2 or not all(tokens) or not printable:
        return "bad_topic"
    if any(c in topic for c in "*> "):
        return "bad_topic"
    if tokens[0] not in EVIDENCE_ROOTS or tokens[-1] == "mutate_request":
        return "command_topic"
    return ""


def _envelope(raw: Data, line: bytes) -> Data:
    given, kind = raw.get("id"), raw.get("type")
    usable = isinstance(given, str) and given.isascii() and given.isalnum() and len(given) <= 64
    ts = epoch(raw.get("ts"))
    return {
        "id": given if usable else ids.event_id("jsonl", hashlib.sha256(line).hexdigest()),
        "type": storable(kind[:128]) if isinstance(kind, str) else "",
        "ts": time.time() if ts is None else ts,
    }


class JsonlSource(Source):
    """Recorded bus events, one envelope a line."""

    def __init__(self, settings: Settings, since: float | None = None) -> None:
        super().__init__(since)
        self._max_bytes = settings.bus.max_event_bytes

    def _of(self, line: Line) -> Iterator[list[Event] | Refusal]:
        event = recorded_event(line.data, self._max_bytes)
        if isinstance(event, Refusal):
            yield event
        elif self._saw(event.ts):
            yield [event]


def make_source(spec: SensorSpec, settings: Settings, key: bytes) -> Source:
    """The source of a sensor spec. Raises SensorError for a start that is not known."""
    since = start_time(spec.start)
    if spec.kind == "cowrie":
        return CowrieSource(settings, key, since)
    if spec.kind == "jsonl":
        return JsonlSource(settings, since)
    if name := table_name(spec.kind):
        from decnet.sensors.formats.shelf import shelf_of
        from decnet.sensors.formats.source import TableSource

        return TableSource(shelf_of(settings.sensor.formats).table(name), settings, key, since)
    from decnet.sensors.opencanary import OpenCanarySource

    return OpenCanarySource(settings, key, since)


def start_time(start: str) -> float | None:
    """Epoch seconds of a ``from=DATE``; None for start and end. Raises SensorError for anything else."""
    if start in ("start", "end"):
        return None
    ts = epoch(start)
    if ts is None:
        raise SensorError(f"from={start[:40]}: neither start, end nor an ISO date")
    return ts
