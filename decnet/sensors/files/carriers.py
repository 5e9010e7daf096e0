"""What carries the events of a honeypot within one decoded value or one line of text; pure.

Shippers, stores and exports each keep the line they carry under a key of their own, often as text that is JSON
again. Which object is an event is for the reader to say (``wanted``); lines that go together are put together by
:mod:`decnet.sensors.files.unwrap`.
"""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from decnet.jsontext import loads

Data = dict[str, Any]
Wanted = Callable[[Mapping[str, Any]], bool]

MAX_DEPTH = 16
"""Wrappers within wrappers that are looked into."""
MAX_FAMILIES = 16
"""Beginnings of dotted names that are taken off to see whether an event is left."""
MAX_PREFIX = 512
"""Bytes that may stand before an object on a line."""
MAX_MISSES = 64
"""Braces in a row from which no object begins, when what is whole is looked for in a broken text."""
CARRIERS = (
    "_source", "log", "message", "MESSAGE", "event", "original", "event.original", "log.original", "json", "_raw",
    "result", "results", "line", "body", "Body", "raw", "msg", "data", "hits", "fields", "cowrie", "opencanary",
    "full_message", "short_message", "messages", "Messages", "values", "value", "@message", "logEvents", "events",
    "records", "Records", "record", "logs", "entries", "entry", "textPayload", "jsonPayload", "map", "content", "payload",
)  # fmt: skip
"""Keys under which what is carried is kept, the likeliest first; where none of them holds any, all others are asked."""
_ACTIONS = frozenset({"index", "create", "update", "delete"})
"""What stands on a line of its own before each object of a bulk load."""
_TRAILING_COMMA = re.compile(rb'"(?:[^"\\]|\\.)*+"|,(?=\s*[}\]])', re.DOTALL)
_STARTS = re.compile(rb'"?[{\[]')
_AFTER = b", \t\r\n;'`|)"
"""What may stand behind an object on its line."""
_DECODER = json.JSONDecoder()
GAP = b" \t\r\n,[];"
"""What stands between the objects of a list, and around them."""


def decoded(data: bytes) -> Any:
    """The object, list or quoted text that some text is; None when it is none of them.

    Commas too many are forgiven, and Python's way of writing a dictionary is understood.
    """
    text = data.strip()
    if not text.startswith((b"{", b"[", b'"{', b'"[')):
        return None
    for attempt in (_plain, _forgiving, _pythonic):
        found = attempt(text)
        if found is not None:
            return found
    return None


def _plain(text: bytes) -> Any:
    try:
        return loads(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def _forgiving(text: bytes) -> Any:
    better = _without_commas(text)
    return None if better == text else _plain(better)


def _without_commas(text: bytes) -> bytes:
    """A text without the commas that stand before the end of an object or a list."""
    return _TRAILING_COMMA.sub(lambda match: b"" if match[0] == b"," else match[0], text)


def _pythonic(text: bytes) -> Any:
    if not re.match(rb"\[?\s*\{\s*u?'", text):
        return None
    try:
        found = ast.literal_eval(text.decode("utf-8", "replace"))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return found if isinstance(found, (dict, list)) else None


def within(value: Any, wanted: Wanted, depth: int = 0) -> Iterator[Data]:
    """The events in a decoded value, in order; text that is JSON is looked into as well."""
    if depth > MAX_DEPTH:
        return
    if isinstance(value, dict):
        yield from _in_object(value, wanted, depth)
    elif isinstance(value, list):
        if (text := _bytes_of(value)) is not None:
            yield from _in_text(text, wanted, depth)
            return
        for item in value:
            yield from within(item, wanted, depth + 1)
    elif isinstance(value, str) and "{" in value:
        yield from _in_text(value.encode("utf-8", "surrogatepass"), wanted, depth)


def _in_object(value: Data, wanted: Wanted, depth: int) -> Iterator[Data]:
    if wanted(value):
        yield value
        return
    marked = {key[1:]: inner for key, inner in value.items() if key[:1] == "_"}
    if wanted(marked):
        # Graylog marks the fields of its senders.
        yield {**{k: v for k, v in value.items() if k == "timestamp"}, **marked}
        return
    for key in CARRIERS:
        if key in value:
            inner = _alone(value[key]) if key == "fields" else value[key]
            if found := list(within(inner, wanted, depth + 1)):
                yield from found
                return
    if (flat := _flattened(value, wanted)) is not None:
        yield flat
        return
    for key, inner in value.items():
        if key not in CARRIERS:
            yield from within(inner, wanted, depth + 1)


def _flattened(value: Data, wanted: Wanted) -> Data | None:
    """The event whose fields all stand under one dotted name (``json.eventid``), as tables and flat indexes do."""
    families = dict.fromkeys(key.rpartition(".")[0] for key in value if "." in key)
    for family in list(families)[:MAX_FAMILIES]:
        start = f"{family}."
        own = {key.removeprefix(start): inner for key, inner in value.items() if key.startswith(start)}
        if wanted(own):
            return own
    return None


def _alone(value: Any) -> Any:
    """Fields as Elasticsearch answers with them: each as a list, most of them of one."""
    if not isinstance(value, dict) or not all(isinstance(inner, list) for inner in value.values()):
        return value
    return {
        key: inner[0] if len(inner) == 1 else inner
        for key, inner in value.items()
        if not key.endswith(".keyword")
    }


def _bytes_of(value: list[Any]) -> bytes | None:
    """Text that journald wrote as numbers, since it holds more than printable characters."""
    if len(value) < 2 or not all(isinstance(item, int) and 0 <= item < 256 for item in value):
        return None
    return bytes(value)


def _in_text(text: bytes, wanted: Wanted, depth: int) -> Iterator[Data]:
    inner = decoded(text)
    yield from (
        within(inner, wanted, depth + 1) if inner is not None else behind_prefix(text, wanted, depth)[0]
    )


def behind_prefix(data: bytes, wanted: Wanted, depth: int = 0) -> tuple[list[Data], bytes]:
    """The events behind a prefix (syslog, journald, any logger, a cell of a table), and what is left after them."""
    text = data.rstrip(_AFTER)
    alone = text.lstrip(GAP).startswith(b"{")  # nothing stands before it
    for start in () if alone else _STARTS.finditer(text, 0, MAX_PREFIX):
        value = decoded(text[start.start() :])
        objects, left = ([value], b"") if value is not None else split(text[start.start() :])
        if found := [event for one in objects for event in within(one, wanted, depth + 1)]:
            return found, left
    return (_cells(text, wanted, depth) if b'{""' in text else []), b""


def _cells(text: bytes, wanted: Wanted, depth: int) -> list[Data]:
    """The events in the cells of a line of a CSV file."""
    line = text.decode("utf-8", "replace")
    for mark in (",", ";", "\t"):
        try:
            cells = next(csv.reader([line], delimiter=mark), [])
        except csv.Error:
            continue
        found = [event for cell in cells for event in within(decoded(cell.encode()), wanted, depth + 1)]
        if found:
            return found
    return []


def is_action(value: Any) -> bool:
    """Whether an object is the line that a bulk load has before each object."""
    return isinstance(value, dict) and len(value) == 1 and bool(value.keys() & _ACTIONS) and isinstance(next(iter(value.values())), dict)  # fmt: skip


def split(text: bytes) -> tuple[list[Any], bytes]:
    """The objects that stand one after the other in a text, and what is left of it after them.

    Between them there may be white space, commas and the brackets of one list around all.
    """
    objects: list[Any] = []
    rest = text.decode("utf-8", "replace")
    pos = _past_gap(rest, 0)
    while pos < len(rest):
        try:
            found, pos = _DECODER.raw_decode(rest, pos)
        except (ValueError, RecursionError):
            better = _without_commas(rest[pos:].encode("utf-8", "replace")).decode("utf-8", "replace")
            if better == rest[pos:]:
                break
            rest, pos = better, 0
            continue
        objects.append(found)
        pos = _past_gap(rest, pos)
    return objects, rest[pos:].encode("utf-8", "replace")


_BETWEEN = GAP.decode()


def _past_gap(text: str, pos: int) -> int:
    while pos < len(text) and text[pos] in _BETWEEN:
        pos += 1
    return pos


def salvaged(text: bytes, wanted: Wanted) -> tuple[list[Data], bytes]:
    """The whole events in a text that is broken or not finished, and what is left after the last of them."""
    rest = text.decode("utf-8", "replace")
    events: list[Data] = []
    pos = last = misses = 0
    while (pos := rest.find("{", pos)) >= 0 and misses < MAX_MISSES:
        try:
            value, end = _DECODER.raw_decode(rest, pos)
        except (ValueError, RecursionError):
            pos, misses = pos + 1, misses + 1
            continue
        if found := list(within(value, wanted)):
            events += found
            last, misses = end, 0
        pos = end
    return events, rest[last:].encode("utf-8", "replace")


_BREAKS = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\Z)|\}\s*,\s*(?=\{)', re.DOTALL)


def break_of(data: bytes, limit: int) -> int:
    """The last place at most ``limit`` bytes into a text that stands between two objects of a list; 0: none."""
    last = 0
    for match in _BREAKS.finditer(data):
        if match.end() > limit:
            break
        if match[0][:1] == b"}":
            last = match.end()
    return last
