"""A log that a table reads: its lines become sessions, credentials, requests and fingerprints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from decnet.bus.base import Event
from decnet.config import SensorSettings, Settings
from decnet.events.lives import Life
from decnet.sensors.assembly import SessionKey
from decnet.sensors.cowrie import Fact
from decnet.sensors.files.tailer import Line
from decnet.sensors.files.unwrap import Unwrapper
from decnet.sensors.formats.prints import Prints
from decnet.sensors.formats.reading import LeftOut, Reading, read
from decnet.sensors.formats.records import CsvRecords, Records, TextRecords
from decnet.sensors.formats.table import Table
from decnet.sensors.formats.zeekrecords import ZeekRecords
from decnet.sensors.requests import RequestAssembler
from decnet.sensors.session import Session
from decnet.sensors.sources import SessionSource
from decnet.sensors.values import Data, Refusal

REST_S = 5.0
"""A live log may be this much behind the clock, in seconds, before its silence counts."""
MAX_LEFT = 100
"""Kinds of line that are counted by name where they are left out."""


class _TableAssembler(RequestAssembler):
    """Names commands by what they say and when: in which order lines are read makes no difference."""

    def _fresh(self, key: SessionKey, base: SessionKey, fact: Fact, life: Life | None) -> Session:
        session = super()._fresh(key, base, fact, life)
        session.late = True
        return session


class TableSource(SessionSource):
    """A log of one format."""

    def __init__(self, table: Table, settings: Settings, key: bytes, since: float | None = None) -> None:
        sensor = settings.sensor
        clear = settings.credentials.keep_clear
        limits = _limits(table, sensor)
        made = _TableAssembler(limits, key, settings.bus.max_event_bytes, table.name, keep_clear=clear)
        unwrapper = Unwrapper(table.is_one, sensor.max_line_bytes, f"not_{table.name}", by_line=True)
        super().__init__(made, unwrapper, since)
        self.table = table
        self._max_elements = sensor.max_elements
        self._idle_s = limits.idle_session_s
        self._prints = Prints()
        self._records = _records(table, sensor)
        self.left_out = 0
        """Lines that the table leaves out, or that have nothing of what it is for."""
        self.not_derived = 0
        """Values from which the wanted one does not follow."""
        self.dropped = 0
        """Elements of lists and fields beyond the bounds."""

    def _of(self, line: Line) -> Iterator[list[Event] | Refusal]:
        if self._records is None:
            yield from super()._of(line)
            return
        for found in self._records.feed(line):
            yield found if isinstance(found, Refusal) else self._one(found)

    def _one(self, raw: Data) -> list[Event] | Refusal:
        found = read(self.table, raw, self._max_elements)
        if isinstance(found, Refusal):
            return found
        if isinstance(found, LeftOut):
            self._leave_out(found.kind)
            return []
        if not self._saw(found.ts) or self.repeats.seen(_said(found)):
            return []
        self.not_derived += found.not_derived
        self.dropped += found.dropped
        if not found.known:
            self.unknown += 1
            self.note_unknown(f"{self.table.name}.{found.kind}")
        elif found.says_nothing and not found.not_derived:
            self._leave_out(f"{found.kind}, with nothing in it")
        return self._events(found)

    def _events(self, found: Reading) -> list[Event]:
        events: list[Event] = []
        for kind, ts, data in found.facts:
            fact = Fact(kind, ts, found.session, found.decky, found.ip, found.service, data)
            events += self.assembler.feed(fact)
        if found.prints and found.ip is not None:
            decky = self.assembler.name_token(found.decky)
            told = (self._prints.event(decky, found.ip, kind, data, found.ts) for kind, data in found.prints)
            events += [event for event in told if event is not None]
        return events

    def _leave_out(self, kind: str) -> None:
        self.left_out += 1
        if kind in self.left_ids or len(self.left_ids) < MAX_LEFT:
            self.left_ids[kind] += 1

    def at_rest(self, now: float) -> list[Event]:
        """Ends sessions that have been quiet too long by now: a live log that is silent says that time went by."""
        return self.assembler.quiet_since(now - self._idle_s - REST_S)

    def bounds(self) -> dict[str, int]:
        """With what the table leaves out, and what is beyond its bounds."""
        found = super().bounds()
        given_up = 0 if self._records is None else self._records.dropped
        return {
            **found,
            "given_up": found["given_up"] + given_up,
            "left_out": self.left_out,
            "not_derived": self.not_derived,
            "elements_dropped": self.dropped,
        }

    def sessions(self) -> dict[str, int]:
        """With records whose end has not come."""
        found = super().sessions()
        waiting = 0 if self._records is None else self._records.unfinished
        return {**found, "unfinished": found["unfinished"] + waiting}

    def to_state(self) -> Data:
        """Counters, open sessions, unfinished records, what was told of whom."""
        return {
            **super().to_state(),
            "prints": self._prints.to_state(),
            "records": {} if self._records is None else self._records.to_state(),
            "left_out": self.left_out,
            "left_ids": dict(self.left_ids),
            "not_derived": self.not_derived,
            "elements_dropped": self.dropped,
        }

    def restore(self, state: Data) -> None:
        """Takes up the state of :meth:`to_state`."""
        super().restore(state)
        self._prints.restore(state.get("prints", {}))
        if self._records is not None:
            self._records.restore(state.get("records", {}))
        self.left_out = int(state.get("left_out", 0))
        self.left_ids = Counter(state.get("left_ids", {}))
        self.not_derived = int(state.get("not_derived", 0))
        self.dropped = int(state.get("elements_dropped", 0))


def _said(found: Reading) -> tuple[object, ...]:
    """What a line says, to know it again."""
    return (found.ts, found.decky, found.ip, found.session, found.facts, found.prints, found.not_derived)


def _records(table: Table, sensor: SensorSettings) -> Records | None:
    """What makes objects of lines; None for JSON, which is unwrapped like every honeypot's."""
    if table.shape == "csv":
        return CsvRecords(table, sensor.max_line_bytes, sensor.max_record_lines)
    if table.shape == "zeek":
        return ZeekRecords()
    return TextRecords(table) if table.shape == "text" else None


def _limits(table: Table, settings: SensorSettings) -> SensorSettings:
    """Sessions are over as soon as their table says, and are not taken up again much later."""
    idle = settings.probe_idle_s if table.idle_s is None else table.idle_s
    return settings.model_copy(update={"idle_session_s": idle, "reopen_s": min(idle, settings.reopen_s)})
