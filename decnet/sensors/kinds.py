"""The kinds of log that are read, and which one the first bytes of a file belong to; pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from decnet.config import table_name
from decnet.errors import SensorError
from decnet.sensors.cowrie import is_cowrie
from decnet.sensors.files.carriers import Wanted
from decnet.sensors.files.cutting import Line, wide
from decnet.sensors.files.listing import Sniff
from decnet.sensors.files.unwrap import HINTS, Unwrapper
from decnet.sensors.formats.shelf import shelf_of
from decnet.sensors.opencanary import is_opencanary

Kind = str
"""One of :data:`KINDS`, or ``table:NAME`` for a format that a table reads."""
KINDS: dict[Kind, Wanted] = {
    "cowrie": is_cowrie,
    "opencanary": is_opencanary,
    "jsonl": lambda raw: "topic" in raw,
}
_SNIFFED_LINES = 1000
_LOOKED_AT = 100
"""Lines of a log of nobody's that are asked what they look like."""
_SNIFFED_BYTES = 1 << 20


def plain_kind(name: str) -> Kind:
    """A kind by its name. Raises SensorError for one that is not a log's."""
    if name in KINDS or table_name(name):
        return name
    raise SensorError(f"{name[:40]}: not a kind of log; known: {', '.join(KINDS)}, table:NAME")


def kind_of(lines: Iterable[Line]) -> Kind | None:
    """The kind of log that the first telling one of some lines belongs to."""
    readers = {kind: Unwrapper(wanted, _SNIFFED_BYTES) for kind, wanted in KINDS.items()}
    for line, _ in zip(lines, range(_SNIFFED_LINES), strict=False):
        for kind, reader in readers.items():
            if reader.feed(line.path, line.data).events:
                return kind
    return next((kind for kind, reader in readers.items() if reader.flush().events), None)


def looks_like(lines: Iterable[Line]) -> str:
    """What lines of nobody's look like, by the first one that says so; empty when none does."""
    reader = Unwrapper(is_cowrie, _SNIFFED_BYTES)
    said = (foreign(reader.feed(line.path, line.data).reason) for line in islice(lines, _LOOKED_AT))
    return next((text for text in said if text), "")


def table_kind(lines: Iterable[Line], formats: Path | None) -> Kind | None:
    """The kind of log that some lines belong to by the tables: the shipped ones, and those in ``formats``."""
    data = b"\n".join(line.data for line in islice(lines, _SNIFFED_LINES))
    name, _ = shelf_of(formats).which(data)
    return f"table:{name}" if name else None


def sniffer(kind: Kind, formats: Path | None = None) -> Sniff:
    """What tells a log of a kind from any other file by its first bytes.

    ``formats`` is the folder with the operator's tables. Raises SensorError for a table that is not there.
    """
    if name := table_name(kind):
        shelf = shelf_of(formats)
        shelf.table(name)
        return lambda data: shelf.which(data, [name])[1]

    def ask(data: bytes) -> str:
        if (encoding := wide(data)) is not None:
            data = data.decode(encoding, "replace").encode()
        reader, named = Unwrapper(KINDS[kind], _SNIFFED_BYTES), ""
        for text in data.split(b"\n")[:_SNIFFED_LINES]:
            found = reader.feed("", text)
            if found.events:
                return ""
            named = named or found.reason * found.reason.startswith("a_")
        return foreign(named) if named else "binary" if b"\0" in data else f"no log of {kind}"

    return ask


def foreign(reason: str) -> str:
    """A reason such as ``a_suricata_log`` in words; empty for one that names nothing."""
    if not reason.startswith("a_"):
        return ""
    name = reason.removeprefix("a_").replace("_", " ")
    return HINTS.get(reason) or f"this is {'an' if name[0] in 'aeiou' else 'a'} {name}"
