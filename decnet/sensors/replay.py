"""Events of recordings and honeypot logs, without an engine: what ``decnet-tui replay`` puts on the bus."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from decnet.bus.base import Event
from decnet.config import SensorSpec, Settings
from decnet.errors import SensorError
from decnet.keyed import load_key
from decnet.sensors.files.tailer import Batch, Tailer
from decnet.sensors.kinds import kind_of, looks_like, table_kind
from decnet.sensors.sources import Source, make_source


def iter_events(
    path: Path, settings: Settings | None = None, refused: list[str] | None = None
) -> Iterator[Event]:
    """The events of one file or directory: recorded bus events, or a honeypot's log (told apart by content).

    Sessions without a close line end as ``eof``; terminal recordings are left to who publishes. ``refused`` gets,
    at the end, what was wrong with lines and files. Raises SensorError when nothing can be read.
    """
    settings = settings or Settings()
    tailer = Tailer(Path(path), settings.sensor)
    try:
        first = tailer.read()
        kind = table_kind(first.lines, settings.sensor.formats) or kind_of(first.lines)
        if kind is None:
            why = tailer.problems.get(str(path)) or "neither recorded events nor a log that any reader knows"
            if said := looks_like(first.lines):
                why += f": {said}"
            raise SensorError(f"{path}: {why}")
        source = make_source(
            SensorSpec(kind=kind, path=Path(path)),
            settings,
            load_key(settings.data_dir, settings.credentials.key_file),
        )
        for batch in chain([first], _batches(tailer)):
            for place in batch.too_long:
                source.refuse("too_long", place)
            source.cut += len(batch.cut)
            yield from source.feed(batch.lines)
        yield from source.end_all("eof")
        if refused is not None:
            refused += _faults(source, tailer)
    finally:
        tailer.close()


def _faults(source: Source, tailer: Tailer) -> list[str]:
    """What could not be used: lines by reason with the place of the last one, and files."""
    faults = [f"{name}: {why}" for name, why in tailer.problems.items()]
    if count := sum(source.refused.values()):
        reasons = ", ".join(f"{reason} {number}" for reason, number in source.refused.items())
        faults.append(f"{count} lines refused ({reasons}), the last one {source.last_refusal}")
    if source.cut:
        faults.append(f"{source.cut} long lines lost the middles of their strings")
    if torn := source.sessions()["unfinished"] + tailer.torn:
        faults.append(f"{torn} lines are not finished")
    return faults


def _batches(tailer: Tailer) -> Iterator[Batch]:
    while (batch := tailer.read()).consumed:
        yield batch
