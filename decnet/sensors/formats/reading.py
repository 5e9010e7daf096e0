"""One decoded line and a table give facts; pure. Never raises, whatever the line holds.

Putting facts together into sessions is left to the assembler, fingerprints to :mod:`decnet.sensors.formats.prints`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from decnet.addresses import fold
from decnet.hostile import storable, storable_text
from decnet.sensors.details import SECRET, without_secrets
from decnet.sensors.formats.emits import FINGERPRINT, taken
from decnet.sensors.formats.table import Row, Table
from decnet.sensors.formats.values import Scope, Underived, lookup, plain, within
from decnet.sensors.values import MAX_DATA, MAX_NAME, Data, Refusal, as_name, as_text

MAX_FIELDS = 200
"""Fields of one line that are kept beside its facts."""
MAX_LEVELS = 8
"""Objects within each other whose fields are kept one by one; what is deeper is kept as the text of it."""
MAX_ID = 200
_STEP_S = 1e-6
"""Elements of one line follow each other by a microsecond, so that each has a moment of its own."""


@dataclass(slots=True)
class Reading:
    """What one line says: facts of a session, and fingerprints of who sent it."""

    ts: float
    decky: str
    ip: str | None
    session: str
    service: str
    kind: str
    facts: list[tuple[str, float, Data]] = field(default_factory=list)
    """Kind, time and data of each."""
    prints: list[tuple[str, Data]] = field(default_factory=list)
    """Type and fields of each."""
    known: bool = True
    """Whether any row is for lines of this kind."""
    not_derived: int = 0
    """Values from which the wanted one does not follow."""
    dropped: int = 0
    """Elements of lists and fields beyond the bounds, or of a shape that nobody reads."""

    @property
    def says_nothing(self) -> bool:
        """Whether the line has none of what its rows are for."""
        return not self.facts and not self.prints


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A line that its table leaves out, by its kind."""

    kind: str


def read(table: Table, line: Data, max_elements: int) -> Reading | LeftOut | Refusal:
    """What a line gives; of a list in it ``max_elements`` elements at most."""
    try:
        return _read(table, line, max_elements)
    except RecursionError:
        # Just shallow enough to be decoded, a value can still be too deep to be written out as text.
        return Refusal("too_deep")
    except ValueError:
        # A number of more digits than can be written out.
        return Refusal("too_large")


def _read(table: Table, line: Data, max_elements: int) -> Reading | LeftOut | Refusal:
    scope = Scope(line)
    kind = None if table.kind is None else plain(table.kind.read(scope), 64)
    if kind is not None and kind in table.leave:
        return LeftOut(kind)
    ts = table.clock.read(scope)
    if ts is None:
        return Refusal("no_time")
    rows = table.rows_of(kind)
    text = plain(table.peer.read(scope), MAX_NAME)
    ip = None if text is None else fold(text)
    if ip is None:
        rows = [row for row in rows if row.anonymous]
    decky = None if table.decky is None else as_name(table.decky.read(scope))
    service = plain(table.service.read(scope), 32)
    reading = Reading(
        ts, decky or table.name, ip, _session(table, scope, ts), service or table.name, kind or table.name
    )
    _take_rows(reading, rows, scope, max_elements)
    if ip is None and reading.says_nothing:
        return Refusal("no_peer")
    reading.known = (
        table.kind is None or any(row.kinds is not None for row in rows) or not reading.says_nothing
    )
    if reading.facts or not reading.known:
        if not reading.session:
            return Refusal("no_session")
        if table.rest or not reading.known:
            _keep_rest(reading, table, line, rows)
    return reading


def _session(table: Table, scope: Scope, ts: float) -> str:
    """The name of a line's session; empty where nothing names it."""
    named = [plain(value.read(scope), MAX_NAME) for value in table.session]
    if not any(named):
        return ""
    if table.per_s:
        named.append(str(int(ts // table.per_s * table.per_s)))
    return _short("|".join(text or "" for text in named))


def _short(text: str) -> str:
    """A text of at most :data:`MAX_ID` characters that no other one becomes."""
    if len(text) <= MAX_ID:
        return text
    digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()
    return f"{text[: MAX_ID - len(digest) - 1]}~{digest}"


def _take_rows(reading: Reading, rows: list[Row], scope: Scope, max_elements: int) -> None:
    """Takes what each row gives of which the conditions hold."""
    for row in rows:
        for number, one in enumerate(_scopes(reading, row, scope, max_elements)):
            if all(condition.holds(one) for condition in row.when):
                _take(reading, row, one, reading.ts + number * _STEP_S)


def _scopes(reading: Reading, row: Row, scope: Scope, max_elements: int) -> Iterator[Scope]:
    """The line, or for a row of a list each element of it."""
    if row.each is None:
        yield scope
        return
    elements = _elements(lookup(scope.line, row.each))
    if elements is None:
        reading.dropped += 1
        return
    reading.dropped += max(len(elements) - max_elements, 0)
    for element in elements[:max_elements]:
        yield Scope(scope.line, element)


def _elements(found: Any) -> list[Any] | None:
    """A list, or an object of lists of which the first items go together; None for anything else that is there."""
    if found is None:
        return []
    if isinstance(found, list):
        return found
    if not isinstance(found, dict):
        return None
    lists = {key: value if isinstance(value, list) else [value] for key, value in found.items()}
    longest = max(map(len, lists.values()), default=0)
    return [{key: items[i] for key, items in lists.items() if i < len(items)} for i in range(longest)]


def _take(reading: Reading, row: Row, scope: Scope, ts: float) -> None:
    data = taken(row.emit, {name: value.read(scope) for name, value in row.values.items()}, row.words)
    if isinstance(data, Underived):
        reading.not_derived += 1
    elif data is not None and row.emit.fact == FINGERPRINT:
        reading.prints.append((data.pop("type"), data))
    elif data is not None:
        reading.facts.append((row.emit.fact, ts, data))


def _keep_rest(reading: Reading, table: Table, line: Data, rows: list[Row]) -> None:
    """Keeps what no row took with the session, but nothing that gets somebody in."""
    homes = (table.homes | table.without).union(*(row.paths for row in rows))
    kept: Data = {}
    for path, value in _leaves(line, "", 0):
        if path in homes or SECRET.search(path):
            continue
        text = value if isinstance(value, bool) else as_text(without_secrets(value), MAX_DATA + 1)
        if text in (None, "", "[]", "{}"):
            continue
        if len(kept) >= MAX_FIELDS:
            reading.dropped += 1
            continue
        kept[path[:MAX_NAME]] = text if isinstance(text, bool) else within(text or "", MAX_DATA)
    if kept:
        named = {"eventid": f"{table.name}.{storable_text(reading.kind)}", "fields": storable(kept)}
        # Before a line that closes the session: nothing comes after that.
        reading.facts.insert(0, ("extra", reading.ts, named))


def _leaves(value: Data, start: str, level: int) -> Iterator[tuple[str, Any]]:
    """Every field of an object by its dotted path, those of objects in it as well."""
    for key, inner in value.items():
        path = f"{start}{key}"
        if isinstance(inner, dict) and inner and level < MAX_LEVELS:
            yield from _leaves(inner, f"{path}.", level + 1)
        else:
            yield path, inner
