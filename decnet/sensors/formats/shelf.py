"""The tables there are: the shipped ones, and those of the operator's folder, which come first.

One bad file costs no other table; all that is wrong with all of them is told at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from itertools import islice
from pathlib import Path

from decnet.documents import Flaw
from decnet.errors import SensorError, SourcePosition
from decnet.sensors.files.cutting import Line, wide
from decnet.sensors.files.unwrap import Unwrapper
from decnet.sensors.formats.checking import check
from decnet.sensors.formats.records import cells_of, is_header
from decnet.sensors.formats.table import Table
from decnet.sensors.formats.values import Scope
from decnet.sensors.formats.zeekrecords import ZeekRecords
from decnet.sensors.values import Data, Refusal

MAX_FILE_BYTES = 262_144
MAX_FILES = 200
"""Tables in the operator's folder that are read."""
SNIFFED_LINES = 1_000
SNIFFED_BYTES = 1 << 20
ENDINGS = (".yaml", ".yml")
NO_LOG = "no log that any table reads"


@dataclass(frozen=True, slots=True)
class Shelf:
    """Tables by name, in the order in which they are asked, and what is wrong with files that gave none."""

    tables: dict[str, Table]
    errors: tuple[Flaw, ...] = ()
    own: frozenset[str] = field(default_factory=frozenset)
    """Names of the operator's tables."""

    def table(self, name: str) -> Table:
        """A table by its name. Raises SensorError for one that is not there, with the reason if its file is bad."""
        if name in self.tables:
            return self.tables[name]
        bad = "".join(f"; {flaw.place}: {flaw.message}" for flaw in self.errors)
        raise SensorError(f"no table called {name[:40]}; known: {', '.join(self.tables)}{bad}")

    def which(self, data: bytes, names: Iterable[str] | None = None) -> tuple[str, str]:
        """Of which of some tables (of all by default) the first bytes of a file are: its name, or why it has none."""
        asked = [self.tables[name] for name in (self.tables if names is None else names)]
        if (encoding := wide(data)) is not None:
            data = data.decode(encoding, "replace").encode()
        lines = data.split(b"\n")[:SNIFFED_LINES]
        found, why = _by_objects(asked, lines)
        if found or why:
            return found, why
        for table in asked:
            if table.shape == "csv" and (why := _left_alone(table, lines)):
                return "", why
            if table.shape != "json" and _fits(table, lines):
                return table.name, ""
        return "", "binary" if b"\0" in data else NO_LOG


def _by_objects(tables: list[Table], lines: list[bytes]) -> tuple[str, str]:
    """The table of the first object that one of them takes, or why the objects are left alone."""
    alone = ""

    def wanted(raw: object) -> bool:
        nonlocal alone
        if not isinstance(raw, dict):
            return False
        alone = alone or next((why for table in tables if (why := table.left_alone(raw))), "")
        return bool(alone) or any(table.is_one(raw) for table in tables if table.shape == "json")

    reader = Unwrapper(wanted, SNIFFED_BYTES)
    for line in lines:
        for event in reader.feed("", line).events:
            if alone:
                return "", alone
            return next(one.name for one in tables if one.shape == "json" and one.is_one(event)), ""
    return "", ""


def _left_alone(table: Table, lines: list[bytes]) -> str:
    """Why a table of columns is left alone, by the names of its columns; empty when it is not."""
    cells = (
        cells_of(lines[0].decode("utf-8", "replace").removesuffix("\r"), table.delimiter) if lines else None
    )
    return table.left_alone({cell: cell for cell in cells}) if cells else ""


def _fits(table: Table, lines: list[bytes]) -> bool:
    """Whether one of some lines is of a table of text or of columns: time and address can be read."""
    if table.shape == "zeek":
        return _is_zeeks(table, lines)
    texts = (line.decode("utf-8", "replace").removesuffix("\r") for line in lines)
    return any(_is_one(table, text) for text in texts if text.strip())


def _is_zeeks(table: Table, lines: list[bytes]) -> bool:
    """Whether a record below a head of Zeek's is of a table."""
    records = ZeekRecords()
    for number, line in enumerate(lines, 1):
        for found in records.feed(Line("", number, 0, line)) if line else ():
            if isinstance(found, Refusal):
                return False
            return table.is_one(found) and table.clock.read(Scope(found)) is not None
    return False


def _is_one(table: Table, text: str) -> bool:
    if table.shape == "text":
        match = table.pattern.search(text)
        raw: Data = {} if match is None else {k: v for k, v in match.groupdict().items() if v is not None}
    else:
        cells = cells_of(text, table.delimiter)
        if cells is None or len(cells) < 2:
            return False
        if is_header(cells, table.columns):
            return True
        raw = dict(zip(table.columns, cells, strict=False)) if len(cells) <= len(table.columns) else {}
    return bool(raw) and table.is_one(raw) and table.clock.read(Scope(raw)) is not None


def lines_of(text: str, path: str = "sample") -> Iterator[Line]:
    """The lines of a text as the tailer gives them."""
    offset = 0
    for number, line in enumerate(text.encode("utf-8", "replace").split(b"\n"), 1):
        if line and not line.isspace():
            yield Line(path, number, offset, line)
        offset += len(line) + 1


@cache
def shipped() -> Shelf:
    """The tables that come with the package. Raises SensorError for one that is wrong: then the package is broken."""
    tables = {}
    for file in sorted(files("decnet.sensors.formats").iterdir(), key=lambda one: one.name):
        if not file.name.endswith(ENDINGS):
            continue
        table, flaws = check(file.read_text("utf-8"), file.name)
        if table is None:
            raise SensorError("\n".join(f"{flaw.place}: {flaw.message}" for flaw in flaws))
        tables[table.name] = table
    return Shelf(tables)


def shelf_of(folder: Path | None) -> Shelf:
    """The shipped tables and those of a folder, which come first; an absent folder is an error of its own."""
    if folder is None:
        return shipped()
    own, errors = dict[str, Table](), list[Flaw]()
    try:
        found = sorted(path for path in folder.iterdir() if path.name.endswith(ENDINGS) and path.is_file())
    except OSError as error:
        place = SourcePosition(str(folder))
        return Shelf(shipped().tables, (Flaw(f"cannot be read: {error.strerror or error}", place),))
    for path in islice(found, MAX_FILES):
        table, flaws = load(path)
        errors += flaws
        if table is not None and table.name in own:
            errors.append(
                Flaw(f"format: {table.name} is in {own[table.name].file} too", SourcePosition(str(path)))
            )
        elif table is not None:
            own[table.name] = table
    if len(found) > MAX_FILES:
        errors.append(
            Flaw(f"{len(found) - MAX_FILES} tables too many: not read", SourcePosition(str(folder)))
        )
    return Shelf(
        {**own, **{k: v for k, v in shipped().tables.items() if k not in own}}, tuple(errors), frozenset(own)
    )


def load(path: Path) -> tuple[Table | None, list[Flaw]]:
    """The table in a file, or what is wrong with it."""
    place = SourcePosition(str(path))
    try:
        with path.open("rb") as handle:
            raw = handle.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        return None, [Flaw(f"cannot be read: {error.strerror or error}", place)]
    if len(raw) > MAX_FILE_BYTES:
        return None, [Flaw(f"the file is over {MAX_FILE_BYTES // 1024} KiB", place)]
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return None, [Flaw("not UTF-8", SourcePosition(str(path), raw[: error.start].count(b"\n") + 1, 1))]
    return check(text, str(path))
