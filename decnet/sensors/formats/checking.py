"""A table's file becomes a table, strictly: all that is wrong with it is told at once, each with its place; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

from decnet.documents import Document, Flaw, Path
from decnet.errors import MalformedEvent
from decnet.events.attacker import Fingerprinted
from decnet.events.record import Fault
from decnet.sensors.formats.emits import EMITS, FINGERPRINT, Emit
from decnet.sensors.formats.places import Reader
from decnet.sensors.formats.table import SCALES, Beside, Clock, Expected, Row, Shape, Table
from decnet.sensors.formats.values import Value, literal
from decnet.sensors.formats.valuespecs import NOTHING, conditions_of, hallmark_of, value_of
from decnet.yaml_places import parse_strict

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")
MAX_ROWS = 200
_NEEDED = ("format", "source", "detect", "time", "peer", "id", "rows", "sample", "expected")
_KEYS = (
    "format", "title", "source", "lines", "columns", "delimiter", "pattern", "detect", "beside", "time", "peer", "decky",
    "id", "per", "idle", "service", "kind", "rows", "leave", "rest", "without", "sample", "expected",
)  # fmt: skip
_SHAPES = ("json", "csv", "text", "zeek")
_ROW = ("when", "emit", "each", "anonymous")
_TIME = ("field", "as", "zone")
_EXPECTED = ("events", "refused", "left_out", "not_derived")
_ZONE = re.compile(r"([+-])(\d\d):(\d\d)\Z")
_NOT_PRINTS = frozenset({"http_request", "payload", "ipv6_leak"})
"""Types of ``attacker.fingerprinted`` that are no fingerprints."""
EVENTS = ("session", "fingerprint", "request", "credential")
"""What an expected event may be called."""


def check(text: str, file: str) -> tuple[Table | None, list[Flaw]]:
    """The table in the text of a file, or all that is wrong with it."""
    document, flaws = parse_strict(text, file)
    if document is None:
        return None, flaws
    if not isinstance(document.value, dict):
        return None, [*flaws, Flaw("a table is a mapping", document.value_place(()))]
    table = _Checker(document, flaws).table()
    return (table, []) if not flaws else (None, sorted(flaws, key=_order))


def _order(flaw: Flaw) -> tuple[int, int]:
    return flaw.place.line, flaw.place.column


class _Checker:
    """One document on its way to a table."""

    def __init__(self, document: Document, flaws: list[Flaw]) -> None:
        self._reader = Reader(document, flaws)
        self._said = self._reader.keys((), document.value, _KEYS, _NEEDED)
        self._file = document.file

    def table(self) -> Table:
        """The table; of no worth when there are flaws."""
        reader, said = self._reader, self._said
        shape = cast("Shape", reader.word(("lines",), said.get("lines", "json"), _SHAPES) or "json")
        kind = self._value("kind")
        rows = tuple(self._rows(kind))
        peer, service, clock = self._value("peer") or NOTHING, self._service(), self._clock()
        named = tuple(
            reader.each(("id",), said.get("id", ["?"]), lambda path, one: value_of(reader, path, one))
        )
        decky = self._value("decky")
        parts = [peer, service, *clock.values, *named, *([decky] if decky else []), *([kind] if kind else [])]
        return Table(
            name=self._name(),
            title=self._text("title") or str(said.get("format", "")),
            source=self._text("source"),
            file=self._file,
            shape=shape,
            detect=self._tests("detect"),
            clock=clock,
            peer=peer,
            session=named,
            service=service,
            rows=rows,
            decky=decky,
            kind=kind,
            per_s=reader.seconds(("per",), said["per"]) if "per" in said else 0.0,
            idle_s=reader.seconds(("idle",), said["idle"]) if "idle" in said else None,
            leave=self._leave(kind),
            beside=self._beside(),
            rest=reader.flag(("rest",), said.get("rest", True)),
            without=frozenset(reader.texts(("without",), said["without"]) if "without" in said else ()),
            **self._shape(shape),
            sample=self._text("sample", longest=65_536),
            expected=self._expected(),
            homes=frozenset().union(*(part.paths for part in parts)),
        )

    def _name(self) -> str:
        name = self._said.get("format")
        if not isinstance(name, str) or not NAME.match(name):
            self._reader.wrong(
                ("format",), "format is a name of small letters, digits and underscores, 40 at most"
            )
            return ""
        return name

    def _text(self, key: str, longest: int = 1_000) -> str:
        return self._reader.text((key,), self._said[key], longest=longest) if key in self._said else ""

    def _value(self, key: str) -> Value | None:
        return value_of(self._reader, (key,), self._said[key]) if key in self._said else None

    def _service(self) -> Value:
        """What the sessions are of; without a word the name of the format."""
        return self._value("service") or literal(str(self._said.get("format", "")))

    def _clock(self) -> Clock:
        reader = self._reader
        given = reader.keys(("time",), self._said.get("time", {}), _TIME, ("field",))
        fields = reader.texts(("time", "field"), given.get("field", "?"))
        how = reader.word(("time", "as"), given.get("as", "iso8601"), ("iso8601", *SCALES))
        values = tuple(value_of(reader, ("time", "field"), name) for name in fields)
        return Clock(values, SCALES.get(how), self._offset(given.get("zone", "+00:00")))

    def _offset(self, zone: Any) -> timedelta:
        found = _ZONE.match(zone) if isinstance(zone, str) else None
        if found is None or int(found[2]) > 14 or int(found[3]) > 59:
            self._reader.wrong(("time", "zone"), "zone is what local time is ahead of UTC: '+02:00'")
            return timedelta(0)
        return (-1 if found[1] == "-" else 1) * timedelta(hours=int(found[2]), minutes=int(found[3]))

    def _tests(self, key: str) -> tuple[Any, ...]:
        given = self._said.get(key)
        if isinstance(given, list):
            return tuple(
                self._reader.each((key,), given, lambda path, one: hallmark_of(self._reader, path, one))
            )
        return (hallmark_of(self._reader, (key,), given),) if key in self._said else ()

    def _beside(self) -> tuple[Beside, ...]:
        if "beside" not in self._said:
            return ()
        return tuple(self._reader.each(("beside",), self._said["beside"], self._one_beside))

    def _one_beside(self, path: Path, given: Any) -> Beside:
        test = hallmark_of(self._reader, path, given, ("why",))
        why = given.get("why") if isinstance(given, dict) else None
        return Beside(test, self._reader.text((*path, "why"), why))

    def _leave(self, kind: Value | None) -> dict[str, str]:
        if "leave" not in self._said:
            return {}
        given = self._said["leave"]
        if kind is None or not isinstance(given, dict) or not given:
            self._reader.wrong(("leave",), "leave is a mapping of kinds of line to why, and goes with kind")
            return {}
        return {name: self._reader.text(("leave", name), why) for name, why in given.items()}

    def _shape(self, shape: str) -> dict[str, Any]:
        """What only one shape of lines has."""
        reader, said, out = self._reader, self._said, dict[str, Any]()
        for key, wanted in (("columns", "csv"), ("delimiter", "csv"), ("pattern", "text")):
            if key in said and shape != wanted:
                reader.wrong((key,), f"'{key}' goes with lines: {wanted}")
            if key not in said and shape == wanted and key != "delimiter":
                reader.wrong(("lines",), f"lines: {wanted} needs {key}")
        if shape == "csv" and "columns" in said:
            out["columns"] = tuple(reader.each(("columns",), said["columns"], reader.text))
        if shape == "csv" and "delimiter" in said:
            out["delimiter"] = reader.word(("delimiter",), said["delimiter"], (",", ";", "\t", "|")) or ","
        if shape == "text" and "pattern" in said:
            out["pattern"] = reader.pattern(("pattern",), said["pattern"], groups=True)
            if out["pattern"] is not None and not out["pattern"].groupindex:
                reader.wrong(("pattern",), "a pattern with named groups: (?P<name>…)")
        return out

    def _rows(self, kind: Value | None) -> list[Row]:
        rows = self._reader.each(
            ("rows",),
            self._said.get("rows", ["?"]),
            lambda path, given: self._row(path, given, kind),
        )
        if len(rows) > MAX_ROWS:
            self._reader.wrong(("rows",), f"more than {MAX_ROWS} rows")
        return [row for row in rows if row is not None]

    def _row(self, path: Path, given: Any, kind: Value | None) -> Row | None:
        reader = self._reader
        name = given.get("emit") if isinstance(given, dict) else None
        if not isinstance(name, str) or name not in EMITS:
            reader.wrong((*path, "emit"), f"a row has an emit: one of {', '.join(EMITS)}")
            return None
        emit = EMITS[name]
        said = reader.keys(path, given, (*_ROW, *emit.words, *emit.fields))
        self._has_what_it_needs(path, name, emit, said)
        values = {key: value_of(reader, (*path, key), said[key]) for key in emit.fields if key in said}
        when = conditions_of(reader, (*path, "when"), said["when"]) if "when" in said else ()
        each = reader.text((*path, "each"), said["each"]) if "each" in said else None
        return Row(
            name,
            emit,
            when,
            values,
            self._words(path, name, said),
            each,
            _kinds(kind, said.get("when"), self._said.get("kind")),
            reader.flag((*path, "anonymous"), said["anonymous"]) if "anonymous" in said else False,
        )

    def _has_what_it_needs(self, path: Path, name: str, emit: Emit, said: Mapping[str, Any]) -> None:
        if emit.needs and not any(key in said for key in emit.needs):
            few = emit.needs if len(emit.needs) < 4 else (*emit.needs[:3], "…")
            self._reader.wrong(path, f"emit: {name} needs {' or '.join(few)}")

    def _words(self, path: Path, name: str, said: Mapping[str, Any]) -> dict[str, str]:
        """The words that the table fixes in a row; of a fingerprint whose kind it is."""
        out = {}
        for key, default in EMITS[name].words.items():
            if key in said:
                out[key] = self._reader.text((*path, key), said[key], longest=40)
            elif default is None:
                self._reader.wrong(path, f"missing key '{key}'")
            else:
                out[key] = default
        if name == FINGERPRINT and (kind := out.get("type")) and not _is_print(kind):
            self._reader.wrong((*path, "type"), f"type: {kind!r} is no kind of fingerprint")
        return out

    def _expected(self) -> Expected:
        reader = self._reader
        given = reader.keys(("expected",), self._said.get("expected", {}), _EXPECTED)
        events = given.get("events", [])
        for i, event in enumerate(events if isinstance(events, list) else []):
            called = event.get("event") if isinstance(event, dict) else None
            reader.word(("expected", "events", i, "event"), called, EVENTS)
        if not isinstance(events, list):
            reader.wrong(("expected", "events"), "events is a list")
            events = []
        counts = {key: self._counts(key, given[key]) for key in ("refused", "left_out") if key in given}
        number = given.get("not_derived", 0)
        if isinstance(number, bool) or not isinstance(number, int):
            reader.wrong(("expected", "not_derived"), "not_derived is a number")
            number = 0
        return Expected(
            tuple(events), counts.get("refused", {}), counts.get("left_out", {}), not_derived=number
        )

    def _counts(self, key: str, given: Any) -> dict[str, int]:
        good = isinstance(given, dict) and all(type(count) is int for count in given.values())
        if not good:
            self._reader.wrong(("expected", key), f"{key} is a mapping of reasons to numbers")
            return {}
        return dict(given)


def _kinds(kind: Value | None, when: Any, path: Any) -> frozenset[str] | None:
    """The kinds of line that a row is for, where it asks for them by the very path that tells kinds apart."""
    wanted = when.get(path) if kind is not None and isinstance(when, dict) and isinstance(path, str) else None
    if wanted is None or isinstance(wanted, dict):
        return None
    return frozenset(map(str, wanted if isinstance(wanted, list) else [wanted]))


def _is_print(name: str) -> bool:
    """Whether something may be the type of a fingerprint, with its value under its own name."""
    if not NAME.match(name) or name in _NOT_PRINTS:
        return False
    faults: list[Fault] = []
    try:
        built = Fingerprinted.parse({"attacker_ip": "192.0.2.1", "type": name, name: "x"}, faults).build()
    except MalformedEvent:
        return False
    return not faults and built.get(name) == "x"
