"""Events of recordings and honeypot logs, without an engine: what ``decnet-tui replay`` puts on the bus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Literal

from decnet.bus.base import Event
from decnet.config import SensorSpec, Settings
from decnet.errors import SensorError
from decnet.keyed import load_key
from decnet.sensors.sources import Source, make_source
from decnet.sensors.tailer import Batch, Tailer

_SNIFFED_LINES = 1000


def iter_events(path: Path, settings: Settings | None = None) -> Iterator[Event]:
    """The events of one file or directory: recorded bus events, or a log of Cowrie or OpenCanary (told apart by content).

    Sessions without a close line end as ``eof``. Raises SensorError when nothing can be read.
    """
    settings = settings or Settings()
    tailer = Tailer(Path(path), settings.sensor)
    try:
        first = tailer.read()
        kind = detect(first)
        if kind is None:
            why = (
                tailer.problems.get(str(path)) or "neither recorded events nor a log of Cowrie or OpenCanary"
            )
            raise SensorError(f"{path}: {why}")
        source = make_source(SensorSpec(kind=kind, path=Path(path)), settings, load_key(settings.data_dir))
        for batch in chain([first], _batches(tailer)):
            yield from source.feed(batch.lines)
        yield from _last(source)
    finally:
        tailer.close()


def detect(batch: Batch) -> Literal["cowrie", "opencanary", "jsonl"] | None:
    """The kind of log that the first telling line belongs to."""
    for line in batch.lines[:_SNIFFED_LINES]:
        try:
            raw = json.loads(line.data)
        except (ValueError, RecursionError):
            continue
        if isinstance(raw, dict) and "eventid" in raw:
            return "cowrie"
        if isinstance(raw, dict) and "logtype" in raw and "node_id" in raw:
            return "opencanary"
        if isinstance(raw, dict) and "topic" in raw:
            return "jsonl"
    return None


def _batches(tailer: Tailer) -> Iterator[Batch]:
    while (batch := tailer.read()).consumed:
        yield batch


def _last(source: Source) -> list[Event]:
    return [_without_tty(e) for e in source.end_all("eof")]


def _without_tty(event: Event) -> Event:
    event.payload.pop("ttylog", None)
    return event
