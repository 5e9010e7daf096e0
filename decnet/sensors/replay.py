"""Events of recordings and honeypot logs, without an engine: what ``decnet-tui replay`` puts on the bus."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Literal

from decnet.bus.base import Event
from decnet.config import SensorSpec, Settings
from decnet.errors import SensorError
from decnet.keyed import load_key
from decnet.sensors.cowrie import is_cowrie
from decnet.sensors.files.carriers import Wanted
from decnet.sensors.files.tailer import Batch, Tailer
from decnet.sensors.files.unwrap import HINTS, Unwrapper
from decnet.sensors.opencanary import is_opencanary
from decnet.sensors.sources import Source, make_source

_SNIFFED_LINES = 1000
_LOOKED_AT = 100
"""Lines of a log of nobody's that are asked what they look like."""
_SNIFFED_BYTES = 1 << 20
Kind = Literal["cowrie", "opencanary", "jsonl"]
_KINDS: dict[Kind, Wanted] = {
    "cowrie": is_cowrie,
    "opencanary": is_opencanary,
    "jsonl": lambda raw: "topic" in raw,
}


def iter_events(
    path: Path, settings: Settings | None = None, refused: list[str] | None = None
) -> Iterator[Event]:
    """The events of one file or directory: recorded bus events, or a log of Cowrie or OpenCanary (told apart by content).

    Sessions without a close line end as ``eof``; terminal recordings are left to who publishes. ``refused`` gets,
    at the end, what was wrong with lines and files. Raises SensorError when nothing can be read.
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
            why += _looks_like(first)
            raise SensorError(f"{path}: {why}")
        source = make_source(SensorSpec(kind=kind, path=Path(path)), settings, load_key(settings.data_dir))
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
    if torn := source.sessions()["unfinished"]:
        faults.append(f"{torn} lines are not finished")
    return faults


def detect(batch: Batch) -> Kind | None:
    """The kind of log that the first telling line belongs to."""
    readers = {kind: Unwrapper(wanted, _SNIFFED_BYTES) for kind, wanted in _KINDS.items()}
    for line in batch.lines[:_SNIFFED_LINES]:
        for kind, reader in readers.items():
            if reader.feed(line.path, line.data).events:
                return kind
    return next((kind for kind, reader in readers.items() if reader.flush().events), None)


def _looks_like(batch: Batch) -> str:
    """What a log that is none of ours looks like, by its first line that says so."""
    reader = Unwrapper(is_cowrie, _SNIFFED_BYTES)
    for line in batch.lines[:_LOOKED_AT]:
        reason = reader.feed(line.path, line.data).reason
        if reason.startswith("a_"):
            return f": {HINTS.get(reason, 'it looks like ' + reason.replace('_', ' '))}"
    return ""


def _batches(tailer: Tailer) -> Iterator[Batch]:
    while (batch := tailer.read()).consumed:
        yield batch
