"""One sensor at work: read, assemble, publish, checkpoint, in that order and for ever.

The checkpoint moves only after the broker has stored what was read. Whatever is read twice after a
crash gives the same events with the same ids.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from decnet.bus import topics
from decnet.bus.base import BaseBus, Event
from decnet.bus.publish import publish_safely
from decnet.config import SensorSpec, Settings, table_name
from decnet.errors import BusError, DatabaseError, SensorError
from decnet.logs import get_logger
from decnet.sensors.files.changes import Changes
from decnet.sensors.files.checkpoint import CheckpointStore, State, pack, sensor_key, unpack
from decnet.sensors.files.cutting import Batch, Line
from decnet.sensors.files.tailer import Tailer
from decnet.sensors.kinds import foreign, plain_kind, sniffer
from decnet.sensors.names import Names
from decnet.sensors.recordings import TOO_LARGE, attach_recording
from decnet.sensors.sources import Source, make_source
from decnet.sensors.threads import in_reader

_log = get_logger(__name__)
_PROGRESS = topics.attacker(topics.ATTACKER_SESSION_PROGRESS)
LINES_AT_ONCE = 500
"""Lines after which what follows from them is published, so that what a log begins with shows soon."""
_PUBLISH_SLICE = 500
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_SAVE_SHARE = 20
"""A checkpoint may cost one part in this many of the time."""
PROBLEMS_TOLD = 10
"""Files of one sensor that are told of at once at most."""
PASSED_TOLD = 50
"""Files passed over that are named; of more the number is told."""
REFUSALS_TOLD_S = 10.0
"""Seconds between warnings about refused lines at least: a log may be nothing else."""


class Tail(Protocol):
    """What reads the files of a sensor; see :class:`decnet.sensors.files.tailer.Tailer`."""

    problems: dict[str, str]
    passed: dict[str, str]
    over: int
    changes: Changes

    @property
    def files(self) -> int: ...
    @property
    def torn(self) -> int: ...
    def read(self) -> Batch: ...
    def bytes_behind(self) -> int: ...
    def stale(self, seconds: float) -> dict[str, float]: ...
    def to_state(self) -> State: ...
    def restore(self, state: State) -> None: ...
    def close(self) -> None: ...


class SensorRun:
    """State and loop of one sensor spec."""

    def __init__(
        self,
        spec: SensorSpec,
        settings: Settings,
        key: bytes,
        bus: BaseBus,
        store: CheckpointStore,
        names: Names | None = None,
    ) -> None:
        """``names`` keeps the names of sensors; without it each run has its own."""
        self.spec = spec
        self._settings = settings
        self._secret = key
        self._bus = bus
        self._store = store
        self._names = names
        self._lock = asyncio.Lock()
        self._pending: list[Event] = []
        self._loaded = False
        self._at_end = False
        self._dirty = False
        self._next_save = 0.0
        self._last_read = time.monotonic()
        self._told_at = float("-inf")
        self._problems: dict[str, str] = {}
        self._jumped = ""
        self.unsaved = ""
        """Why the checkpoint could not be saved; empty when it could."""
        self.waiting = ""
        """Why publishing is on hold; empty when it is not."""
        self.published = 0
        self.unpublishable = 0
        self.recordings_missing = 0
        self.recordings_too_large = 0
        self._fresh()

    def _fresh(self) -> None:
        spec = self.spec
        sensor, kind = self._settings.sensor, plain_kind(spec.kind)
        ask, by_content = sniffer(kind, sensor.formats), bool(table_name(kind))
        self.tailer: Tail = Tailer(spec.path, sensor, spec.start, ask, by_content=by_content)
        self.source: Source = make_source(spec, self._settings, self._secret)
        self._begin()

    def _begin(self) -> None:
        """Begins with a fresh tailer and a fresh source."""
        if self._names is not None:
            self.source.use_names(self._names.token)
        self._told = 0
        self._changes = 0

    async def run(self) -> None:
        """Works until cancelled. Raises SensorError or DatabaseError for a checkpoint that is no good."""
        try:
            while True:
                if not await self.turn():
                    await asyncio.sleep(self._settings.sensor.poll_s)
        finally:
            await asyncio.to_thread(self.tailer.close)

    async def turn(self) -> bool:
        """One round, while nobody ends the sessions; False when there was nothing to read."""
        async with self._lock:
            return await self.step()

    async def step(self) -> bool:
        """One round; False when there was nothing to read."""
        if not self._loaded:
            await self._load()
        await self._flush()
        # Cut here by a cancellation, memory could be ahead of the bus: then the checkpoint is read again.
        self._loaded = False
        try:
            consumed, lines = await in_reader(self._read)
            for start in range(0, len(lines), LINES_AT_ONCE):
                some = lines[start : start + LINES_AT_ONCE]
                self._pending = await in_reader(partial(self.source.feed, some))
                await self._flush()
        except (DatabaseError, SensorError):
            self._at_end = False  # a name could not be claimed: the lines are read again
            raise
        self._log_news()
        if not consumed:
            self._pending = self.source.at_rest(time.time())
        self._loaded = True
        changed, self._changes = self.tailer.changes.count != self._changes, self.tailer.changes.count
        self._dirty = self._dirty or consumed > 0 or changed or bool(self._pending)
        await self._flush()
        behind = self.tailer.bytes_behind() > 0
        for payload in self.source.progress(time.monotonic(), watched=not behind):
            await publish_safely(self._bus, _PROGRESS, payload, "progress")
        if self._dirty and (not consumed or time.monotonic() >= self._next_save):
            await self._save()
        self._at_end = not consumed
        return consumed > 0

    async def end_open_sessions(self, reason: str = "eof") -> int:
        """Ends every open session and waits until that is stored; the number of events."""
        async with self._lock:
            if not self._loaded:
                await self._load()
            await self._flush()
            self._pending = self.source.end_all(reason)
            count = len(self._pending)
            await self._flush()
            if count:
                await self._save()
            return count

    def at_end(self) -> bool:
        """Whether everything on disk was read, published and stored at the last look."""
        return self._at_end and not self._pending and not self._dirty

    async def _load(self) -> None:
        self._fresh()
        self._pending = []
        state = await self._store.load(sensor_key(self.spec))
        if state is not None:
            self._restore(state)
            self._told = sum(self.source.refused.values())
            self._changes = self.tailer.changes.count
            self._jumped = self.source.last_jump()
        self._loaded = True

    def _restore(self, state: State) -> None:
        files, source = unpack(state)
        try:
            self.tailer.restore(files)
            self.source.restore(source)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise SensorError(f"damaged checkpoint: {error}") from error

    def _read(self) -> tuple[int, Sequence[Line]]:
        """How many bytes were taken, and the lines in them."""
        batch = self.tailer.read()
        for place in batch.too_long:
            self.source.refuse("too_long", place)
        self.source.cut += len(batch.cut)
        if batch.lines:
            self._last_read = time.monotonic()
        return batch.consumed, batch.lines

    def _log_news(self) -> None:
        """What of the lines just read is worth a word."""
        self._log_refusals()
        self._log_problems()
        self._log_jump()

    def _log_refusals(self) -> None:
        """One warning for many lines: how many since the last one, and the newest with its place."""
        count, now = sum(self.source.refused.values()), time.monotonic()
        if count > self._told and now >= self._told_at + REFUSALS_TOLD_S:
            _log.warning("lines refused", count=count - self._told, last=self.source.last_refusal)
            self._told, self._told_at = count, now

    def _log_jump(self) -> None:
        """A clock that went far ahead or back is told of once, with both times."""
        jumped = self.source.last_jump()
        if jumped and jumped != self._jumped:
            _log.warning("clock of a sensor jumped", sensor=str(self.spec.path), jump=jumped)
        self._jumped = jumped

    def _log_problems(self) -> None:
        """A file that cannot be read is told of once, and once more when nothing is wrong any longer."""
        now = dict(self.tailer.problems)
        for path, why in list(now.items())[:PROBLEMS_TOLD]:
            if self._problems.get(path) != why:
                _log.warning("log cannot be read", path=path, reason=why)
        if self._problems and not now:
            _log.info("log can be read again", sensor=str(self.spec.path))
        self._problems = now

    async def _save(self) -> None:
        started = time.monotonic()
        state = await asyncio.to_thread(
            lambda: pack({"path": str(self.spec.path), **self.tailer.to_state()}, self.source.to_state())
        )
        try:
            await self._store.save(sensor_key(self.spec), state)
            self._dirty, self.unsaved = False, ""
        except (DatabaseError, SensorError) as error:
            self.unsaved = f"checkpoint not saved: {error}"
            _log.warning("checkpoint not saved", sensor=str(self.spec.path), error=str(error))
        cost = time.monotonic() - started
        self._next_save = time.monotonic() + max(self._settings.sensor.checkpoint_s, cost * _SAVE_SHARE)

    async def _flush(self) -> None:
        """Publishes what is pending, however long the bus is away."""
        pause = _FIRST_PAUSE_S
        while self._pending:
            try:
                await self._publish(self._pending[:_PUBLISH_SLICE])
            except BusError as error:
                self._hold(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
                continue
            del self._pending[:_PUBLISH_SLICE]
            pause = _FIRST_PAUSE_S
            if self.waiting:
                _log.info("bus is back", sensor=str(self.spec.path))
                self.waiting = ""

    def _hold(self, error: BusError) -> None:
        if not self.waiting:
            _log.warning("holding the checkpoint until the bus takes events", sensor=str(self.spec.path))
        self.waiting = str(error) or type(error).__name__

    async def _publish(self, events: list[Event]) -> None:
        for event in events:
            if "ttylog" in event.payload:
                log, limit = self.spec.path, self._settings.sensor.max_tty_bytes
                why = await attach_recording(event, self._bus, log, limit)
                self.recordings_missing += bool(why)
                self.recordings_too_large += why == TOO_LARGE
        try:
            await self._bus.publish_events(events)
            self.published += len(events)
        except ValueError:
            await self._one_by_one(events)

    async def _one_by_one(self, events: list[Event]) -> None:
        """One event that the bus refuses for good must not hold up the others."""
        for event in events:
            try:
                await self._bus.publish_events([event])
                self.published += 1
            except ValueError as error:
                self.unpublishable += 1
                _log.error("event refused", topic=event.topic, id=event.id, error=str(error))

    def status(self) -> dict[str, Any]:
        """What ``decnet-tui sensors`` shows; ages in seconds, None where no line was seen."""
        source, tailer, problems = self.source, self.tailer, dict(self.tailer.problems)
        newest, changes, passed = source.newest, self.tailer.changes, self._passed()
        return {
            "kind": self.spec.kind,
            "path": str(self.spec.path),
            "state": self._state(problems),
            "age": None if newest is None else max(time.time() - newest, 0.0),
            "last_line_ts": newest,
            "files": tailer.files,
            "bytes_behind": tailer.bytes_behind(),
            "lines": source.lines,
            "refused": sum(source.refused.values()),
            "reasons": dict(source.refused),
            "last_refusal": source.last_refusal,
            "bad_utf8": source.bad_utf8,
            "cut": source.cut,
            "unknown": source.unknown,
            "unknown_ids": dict(source.unknown_ids.most_common(20)),
            "left_ids": dict(source.left_ids.most_common(20)),
            **source.sessions(),
            "names": [{"name": name, "token": token} for name, token in source.names().items()],
            **source.bounds(),
            "last_jump": source.last_jump(),
            "unfinished": source.sessions()["unfinished"] + tailer.torn,
            "problems": dict(list(problems.items())[:PROBLEMS_TOLD]),
            "passed_over": dict(list(passed.items())[:PASSED_TOLD]),
            "passed_over_count": len(passed) + max(tailer.over - 1, 0),
            "stale": tailer.stale(self._settings.sensor.silent_s),
            "rotations": changes.rotations,
            "truncations": changes.truncations,
            "vanished": changes.vanished,
            "lost_bytes": changes.lost_bytes,
            "joined_lines": changes.joined,
            "changes": list(changes.latest),
            "published": self.published,
            "unpublishable": self.unpublishable,
            "recordings_missing": self.recordings_missing,
            "recordings_too_large": self.recordings_too_large,
            "waiting": self.waiting or self.unsaved,
        }

    def _passed(self) -> dict[str, str]:
        """Path → why it is not read, or why nothing in it can be used."""
        named = {path: foreign(reason) or reason for path, reason in self.source.foreign.items()}
        return {**named, **self.tailer.passed}

    def _state(self, problems: dict[str, str]) -> str:
        if "missing" in problems.values() and not self.tailer.files:
            return "missing"
        if problems:
            return "unreadable"
        silent = time.monotonic() - self._last_read > self._settings.sensor.silent_s
        return "silent" if silent else "ok"
