"""What the sensors would make of a file, without an engine: which reader takes it, and the first events.

Nothing is published and nothing is written; only the beginning of the file is read.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from decnet.bus.base import Event
from decnet.config import SensorSpec, Settings
from decnet.errors import SensorError
from decnet.sensors.files.tailer import Tailer
from decnet.sensors.kinds import kind_of, looks_like, table_kind
from decnet.sensors.sources import make_source


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of the beginning of a file; counts are of its lines."""

    kind: str
    """Kind of sensor, as ``--sensor`` takes it."""
    lines: int
    whole: bool
    """Whether that was all of the file."""
    events: tuple[Event, ...]
    refused: Mapping[str, int]
    last_refusal: str
    left_out: Mapping[str, int]
    unknown: Mapping[str, int]
    not_derived: int
    elements_dropped: int


def try_file(path: Path, settings: Settings) -> Tried:
    """Reads the beginning of a log (``sensor.read_bytes``) and ends its sessions there.

    Raises SensorError for a file that cannot be read or that no reader takes, with the reason.
    """
    if not path.is_file():
        raise SensorError(f"{path}: {'a directory: name a file in it' if path.is_dir() else 'no such file'}")
    tailer = Tailer(path, settings.sensor)
    try:
        batch = tailer.read()
        kind = table_kind(batch.lines, settings.sensor.formats) or kind_of(batch.lines)
        if kind is None:
            why = tailer.problems.get(str(path)) or tailer.passed.get(str(path)) or looks_like(batch.lines)
            raise SensorError(f"{path}: no reader takes it{f': {why}' if why else ''}")
        source = make_source(SensorSpec(kind=kind, path=path), settings, secrets.token_bytes(32))
        for place in batch.too_long:
            source.refuse("too_long", place)
        events = source.feed(batch.lines) + source.end_all("eof")
        bounds = source.bounds()
        return Tried(
            kind,
            source.lines + len(batch.too_long),
            tailer.bytes_behind() == 0,
            tuple(events),
            dict(source.refused),
            source.last_refusal,
            dict(source.left_ids),
            dict(source.unknown_ids),
            bounds["not_derived"],
            bounds["elements_dropped"],
        )
    finally:
        tailer.close()
