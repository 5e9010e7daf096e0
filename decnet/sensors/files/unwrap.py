"""Log lines become the JSON objects that a honeypot wrote, whatever carried them since; pure.

Logs come as they were written, and also as arrays, pretty-printed, with commas at their ends, through docker,
Kubernetes, syslog and journald, or out of Filebeat, Logstash, Elasticsearch and Splunk. Which object is an
event is for the reader to say (``wanted``). What cannot be unwrapped is named as what it looks like.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Data = dict[str, Any]
Wanted = Callable[[Mapping[str, Any]], bool]

MAX_DEPTH = 6
"""Wrappers within wrappers that are looked into."""
MAX_PARTS = 64
"""Streams whose unfinished pieces are kept at a time; the oldest goes first and is counted."""
BOM = b"\xef\xbb\xbf"
_CARRIERS = (
    "_source", "log", "message", "MESSAGE", "event", "original", "json", "_raw", "result", "line", "body", "raw",
    "msg", "data", "hits", "fields", "cowrie", "opencanary",
)  # fmt: skip
"""Keys under which shippers keep what they carry, the likeliest first."""
_CRI = re.compile(
    rb"(?P<time>\d{4}-\d\d-\d\dT\S+) (?P<stream>stdout|stderr) (?P<tag>[FP])(?::\S*)? (?P<text>.*)\Z",
    re.DOTALL,
)
_TOKENS = re.compile(rb'\\.|["{}\[\]]', re.DOTALL)
_PUNCTUATION = frozenset((b"[", b"]", b",", b"],", b"[]", b"];"))


@dataclass(frozen=True, slots=True)
class Found:
    """What one line gave: ``events`` in order, and why something in it is none (a short fixed word), or empty."""

    events: tuple[Data, ...] = ()
    reason: str = ""


@dataclass(slots=True)
class _Pending:
    """Text that is not finished, with how many brackets of it are open and whether it stands within a string.

    Each piece is looked through once, when it comes.
    """

    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    depth: int = 0
    quoted: bool = False

    def add(self, data: bytes) -> None:
        """Takes a piece in."""
        self.parts.append(data)
        self.size += len(data) + 1
        for token in _TOKENS.finditer(data):
            char = token[0]
            if char == b'"':
                self.quoted = not self.quoted
            elif not self.quoted and len(char) == 1:
                self.depth += 1 if char in b"{[" else -1

    @property
    def whole(self) -> bool:
        """Whether every bracket has found its other half."""
        return self.depth <= 0 and not self.quoted


class Unwrapper:
    """Unwraps the lines of one sensor; unfinished pieces are kept for each file, ``max_bytes`` of each at most."""

    def __init__(self, wanted: Wanted, max_bytes: int, otherwise: str = "no_eventid") -> None:
        """``otherwise`` is the reason for an object that is no event and looks like nobody's."""
        self._wanted = wanted
        self._otherwise = otherwise
        self._max_bytes = max_bytes
        self._open: dict[str, _Pending] = {}
        self.dropped = 0
        """Unfinished pieces that were given up: too long, or too many at a time."""

    def feed(self, path: str, data: bytes) -> Found:
        """What one line (without its newline) of a file holds."""
        data = data.removeprefix(BOM).lstrip(b"\0")
        whole = _object(data)
        if isinstance(whole, dict) and self._wanted(whole):
            return self._after_broken(path, Found((whole,)))
        if not data.strip() or (data.strip() in _PUNCTUATION and path not in self._open):
            return Found()
        return self._carried(path, data, whole)

    @property
    def unfinished(self) -> int:
        """Texts that wait for their other end: a line being written, or one that was torn."""
        return len(self._open)

    def to_state(self) -> Data:
        """Plain JSON for a checkpoint."""
        return {path: [part.decode("latin-1") for part in p.parts] for path, p in self._open.items()}

    def restore(self, state: Mapping[str, Sequence[str]]) -> None:
        """Takes up the state of :meth:`to_state`."""
        for path, parts in state.items():
            pending = self._open[path] = _Pending()
            for part in parts:
                pending.add(part.encode("latin-1"))

    def _after_broken(self, path: str, found: Found) -> Found:
        """A whole event on a line of its own ends whatever was left unfinished before it."""
        if self._open.pop(path, None) is None:
            return found
        return Found(found.events, "not_json")

    def _carried(self, path: str, data: bytes, whole: Any) -> Found:
        """A line that is no event by itself: a carrier's, a part of a greater text, or something else."""
        if whole is not None and path not in self._open:
            carried = self._part_of_stream(path, whole)
            if carried is not None:
                return carried
            events = tuple(self._within(whole, 0))
            return Found(events) if events else Found(reason=name_of(whole) or self._otherwise)
        if (cri := _CRI.match(data)) is not None:
            return self._piece(f"{path}#{cri['stream'].decode()}", cri["text"], last=cri["tag"] == b"F")
        return self._text(path, data)

    def _part_of_stream(self, path: str, whole: Any) -> Found | None:
        """Docker's json-file cuts long lines: the pieces of one line end with the one that has its newline."""
        if not (isinstance(whole, dict) and isinstance(whole.get("log"), str) and "stream" in whole):
            return None
        text = whole["log"].encode("utf-8", "surrogatepass")
        return self._piece(f"{path}#{whole['stream']}", text.removesuffix(b"\n"), last=text.endswith(b"\n"))

    def _piece(self, key: str, text: bytes, *, last: bool) -> Found:
        """One piece of a line that a container's runtime may have cut."""
        pending = self._open.get(key)
        if last and pending is None:
            return self.feed(key, text)
        if not self._keep(key, text):
            return Found(reason="too_long")
        if not last:
            return Found()
        return self.feed(key, b"".join(self._open.pop(key).parts))

    def _keep(self, key: str, data: bytes) -> bool:
        """Adds to an unfinished piece; False when that is given up."""
        pending = self._open.setdefault(key, _Pending())
        pending.add(data)
        if pending.size > self._max_bytes:
            del self._open[key]
            self.dropped += 1
            return False
        while len(self._open) > MAX_PARTS:
            del self._open[next(iter(self._open))]
            self.dropped += 1
        return True

    def _text(self, path: str, data: bytes) -> Found:
        """Text around or across lines: a list, commas, pretty-printed objects, a prefix of syslog's."""
        if data.startswith(b'{"') and path in self._open and self._open[path].parts[0].startswith(b'{"'):
            # Objects of one line each: the one before was torn, and this one is the next.
            del self._open[path]
            return Found(self._text(path, data).events, "not_json")
        if path not in self._open:
            if carried := self._after_prefix(data):
                return Found(tuple(carried))
            data = data.lstrip(_GAP)
            if not data.startswith(b"{"):
                return Found(reason=name_of_text(data)) if data else Found()
        if not self._keep(path, data):
            return Found(reason="too_long")
        if not self._open[path].whole:
            return Found()
        objects, good = split(b"\n".join(self._open.pop(path).parts))
        events = tuple(event for found in objects for event in self._within(found, 0))
        return Found(
            events, "not_json" if not good else "" if events else name_of(objects) or self._otherwise
        )

    def _after_prefix(self, data: bytes) -> list[Data]:
        """The event behind a prefix (syslog, journald, any logger): the text from a brace on to the end."""
        start = data.find(b"{")
        while 0 < start < 512:
            found = _object(data[start:].rstrip(b", \t\r"))
            if found is not None:
                return list(self._within(found, 0))
            start = data.find(b"{", start + 1)
        return []

    def _within(self, value: Any, depth: int) -> Iterator[Data]:
        """The events in a decoded value, in order; text that is JSON is looked into as well."""
        if depth > MAX_DEPTH:
            return
        if isinstance(value, dict):
            if self._wanted(value):
                yield value
                return
            for key in _CARRIERS:
                if key in value and (found := list(self._within(value[key], depth + 1))):
                    yield from found
                    return
        elif isinstance(value, list):
            for item in value:
                yield from self._within(item, depth + 1)
        elif isinstance(value, str) and "{" in value:
            text = value.encode("utf-8", "surrogatepass")
            inner = _object(text)
            yield from self._within(inner, depth + 1) if inner is not None else self._after_prefix(text)


def _object(data: bytes) -> Any:
    """The object or list in some text; None when it is neither."""
    if data.strip()[:1] not in (b"{", b"["):
        return None
    try:
        return json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


_GAP = b" \t\r\n,[];"
_DECODER = json.JSONDecoder()


def split(text: bytes) -> tuple[list[Any], bool]:
    """The objects that stand one after the other in a text, and whether that is all there is.

    Between them there may be white space, commas and the brackets of one list around all.
    """
    objects: list[Any] = []
    rest = text.decode("utf-8", "replace").lstrip(_GAP.decode())
    while rest:
        try:
            found, end = _DECODER.raw_decode(rest)
        except (ValueError, RecursionError):
            return objects, False
        objects.append(found)
        rest = rest[end:].lstrip(_GAP.decode())
    return objects, True


_FOREIGN: tuple[tuple[str, frozenset[str]], ...] = (
    ("cowrie", frozenset({"eventid", "session"})),
    ("opencanary", frozenset({"logtype", "node_id"})),
    ("suricata", frozenset({"event_type", "flow_id"})),
    ("zeek", frozenset({"uid", "id.orig_h"})),
    ("dionaea", frozenset({"connection", "credentials"})),
    ("dionaea", frozenset({"connection", "src_ip", "dst_port"})),
    ("honeytrap", frozenset({"attack_connection"})),
    ("heralding", frozenset({"auth_attempts", "session_id"})),
    ("recorded events", frozenset({"topic", "payload"})),
)
"""What other programs' logs have in them, by the keys of one object."""
_TEXTS: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    (
        "cowrie text",
        re.compile(
            rb"\d{4}-\d\d-\d\d[T ]\S+ \[[^\]]*(?:HoneyPot|cowrie|SSHService|SSHChannel)", re.IGNORECASE
        ),
    ),
    ("web server", re.compile(rb'\S+ \S+ \S+ \[\d\d/\w{3}/\d{4}:[^\]]+\] "')),
    ("sshd", re.compile(rb"\w{3} [ \d]\d \d\d:\d\d:\d\d \S+ sshd\[")),
    (
        "syslog",
        re.compile(rb"(?:<\d+>)?(?:1 )?(?:\w{3} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\S+) \S+ \S+?:? "),
    ),
)


def name_of(value: Any) -> str:
    """What an object that is no event looks like, as a reason: ``a_suricata_log``; else nothing."""
    if isinstance(value, list):
        return name_of(value[0]) if value else ""
    if not isinstance(value, dict):
        return "not_object"
    for name, keys in _FOREIGN:
        if keys <= value.keys():
            return f"a_{name.replace(' ', '_')}_log"
    for key in _CARRIERS:
        inner = value.get(key)
        if isinstance(inner, str) and (found := _object(inner.encode("utf-8", "replace"))) is not None:
            return name_of(found)
        if isinstance(inner, dict):
            return name_of(inner)
    return ""


def name_of_text(data: bytes) -> str:
    """What text that is no JSON looks like, as a reason; else ``not_json``."""
    for name, pattern in _TEXTS:
        if pattern.match(data):
            return f"a_{name.replace(' ', '_')}_log"
    return "not_json"
