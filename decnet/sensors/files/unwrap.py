"""Log lines become the JSON objects that a honeypot wrote, whatever carried them since; pure.

Logs come as they were written, and also as arrays, pretty-printed, with commas at their ends, through docker,
Kubernetes, syslog and journald, or out of Filebeat, Logstash, Elasticsearch and Splunk. Which object is an
event is for the reader to say (``wanted``). What cannot be unwrapped is named as what it looks like.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from decnet.sensors.files.carriers import (
    CARRIERS,
    GAP,
    Data,
    Wanted,
    behind_prefix,
    decoded,
    is_action,
    salvaged,
    split,
    within,
)  # fmt: skip

MAX_PARTS = 64
"""Streams whose unfinished pieces are kept at a time; the oldest goes first and is counted."""
BOM = b"\xef\xbb\xbf"
_COLOUR = re.compile(rb"\x1b\[[0-9;]*[A-Za-z]")
"""What ``jq -C`` paints with; within JSON it would be written otherwise."""
_CRI = re.compile(
    rb"(?P<time>\d{4}-\d\d-\d\dT\S+) (?P<stream>stdout|stderr) (?P<tag>[FP])(?::\S*)? (?P<text>.*)\Z",
    re.DOTALL,
)
_TOKENS = re.compile(rb'\\.|["{}\[\]]', re.DOTALL)
_NOTHING = re.compile(
    rb"""[\s\[\]},;]*\Z"""  # what is left of a list around objects
    rb"""|==> .* <==\s*\Z|--(?: .* --)?\s*\Z|```\w*\s*\Z"""  # marks of tail, grep, journalctl, Markdown
    rb"""|\s*_{0,2}[A-Z][A-Z0-9_]*=(?!.*\{)|.* \[s=[0-9a-f]+;i=[0-9a-f]+;""",  # journalctl -o export and verbose
    re.DOTALL,
)
"""Lines of whatever wrote the log down that hold nothing of it."""


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
    def torn_before_object(self) -> bool:
        """Whether no object can come next: the text was an object on a line of its own, and breaks off."""
        return self.parts[0].startswith(b'{"') and not self.parts[-1].rstrip().endswith((b",", b"[", b":"))

    @property
    def breaks_off(self) -> bool:
        """Whether the text is an object of one line that breaks off, and nothing says that it goes on."""
        return self.torn_before_object and not self.parts[-1].rstrip().endswith(b"{")

    @property
    def opens_list(self) -> bool:
        """Whether the text is no more than the opening of a list over lines (``{"logs": [``)."""
        return (
            len(self.parts) == 1 and self.parts[0].rstrip().endswith(b"[") and self.parts[0].count(b":") == 1
        )

    @property
    def whole(self) -> bool:
        """Whether every bracket has found its other half."""
        return self.depth <= 0 and not self.quoted


class Unwrapper:
    """Unwraps the lines of one sensor; unfinished pieces are kept for each file, ``max_bytes`` of each at most."""

    def __init__(
        self, wanted: Wanted, max_bytes: int, otherwise: str = "no_eventid", *, by_line: bool = False
    ) -> None:
        """``otherwise`` is the reason for an object that is no event and looks like nobody's.

        ``by_line``: the program writes an object a line, and one that breaks off with its line is broken.
        """
        self._wanted = wanted
        self._otherwise = otherwise
        self._by_line = by_line
        self._max_bytes = max_bytes
        self._open: dict[str, _Pending] = {}
        self.dropped = 0
        """Unfinished pieces that were given up: too long, or too many at a time."""

    def feed(self, path: str, data: bytes) -> Found:
        """What one line (without its newline) of a file holds."""
        data = data.removeprefix(BOM).strip(b"\0")
        if b"\x1b[" in data:
            data = _COLOUR.sub(b"", data)
        whole = decoded(data)
        if isinstance(whole, dict) and self._wanted(whole):
            return self._after_broken(path, Found((whole,)))
        if not data.strip() or (path not in self._open and (_NOTHING.match(data) or is_action(whole))):
            return Found()
        return self._carried(path, data, whole)

    def flush(self) -> Found:
        """What is whole in texts whose other end has not come; the rest of them goes on waiting."""
        events: list[Data] = []
        for key, pending in list(self._open.items()):
            found, left = salvaged(_glue(key).join(pending.parts), self._wanted)
            if found:
                events += found
                self._wait(key, left)
        return Found(tuple(events))

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
        if path not in self._open:
            return found
        opened = self._open[path].opens_list
        before = self._broken(path)
        return Found((*before, *found.events), "" if before or opened else "not_json")

    def _broken(self, path: str) -> list[Data]:
        """Gives up an unfinished text; what is whole in it."""
        return salvaged(_glue(path).join(self._open.pop(path).parts), self._wanted)[0]

    def _wait(self, key: str, left: bytes) -> None:
        """Keeps what is left of a text as its beginning."""
        del self._open[key]
        if not _NOTHING.match(left):
            self._open[key] = _Pending()
            self._open[key].add(left)

    def _carried(self, path: str, data: bytes, whole: Any) -> Found:
        """A line that is no event by itself: a carrier's, a part of a greater text, or something else."""
        if whole is not None and path not in self._open:
            carried = self._part_of_stream(path, whole)
            if carried is not None:
                return carried
            events = tuple(within(whole, self._wanted))
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
        if (ended := self._keep(key, text)) is not None:
            return ended
        if not last:
            return Found()
        return self.feed(key, b"".join(self._open.pop(key).parts))

    def _keep(self, key: str, data: bytes) -> Found | None:
        """Adds to an unfinished piece; what came of it when that made it too long."""
        pending = self._open.setdefault(key, _Pending())
        pending.add(data)
        while len(self._open) > MAX_PARTS:
            del self._open[next(iter(self._open))]
            self.dropped += 1
        if pending.size <= self._max_bytes:
            return None
        events, left = salvaged(_glue(key).join(pending.parts), self._wanted)
        self._wait(key, left)
        if events and len(left) <= self._max_bytes // 2:
            return Found(tuple(events))
        self._open.pop(key, None)
        self.dropped += 1
        return Found(tuple(events), "too_long")

    def _text(self, path: str, data: bytes) -> Found:
        """Text around or across lines: a list, commas, pretty-printed objects, a prefix of syslog's."""
        if path in self._open and data.startswith(b'{"') and self._open[path].torn_before_object:
            # Objects of one line each: the one before was torn, and this one is the next.
            before = self._broken(path)
            return Found((*before, *self._text(path, data).events), "not_json")
        if path not in self._open:
            carried, left = behind_prefix(data, self._wanted)
            if carried:
                return Found(tuple(carried), "not_json" if b"{" in left else "")
            data = data.lstrip(GAP)
            if not data.startswith(b"{"):
                return Found(reason=name_of_text(data)) if data else Found()
            objects, data = split(data)
            if objects:
                return self._and_then(path, objects, data)
        return self._goes_on(path, data)

    def _and_then(self, path: str, objects: list[Any], left: bytes) -> Found:
        """Whole objects at the beginning of a text; what is left of it may go on in the next line."""
        events = tuple(event for found in objects for event in within(found, self._wanted))
        if _NOTHING.match(left):
            return Found(events, "" if events else name_of(objects) or self._otherwise)
        after = self._goes_on(path, left) if left.startswith(b"{") else Found(reason="not_json")
        return Found(events + after.events, after.reason)

    def _goes_on(self, path: str, data: bytes) -> Found:
        if (ended := self._keep(path, data)) is not None:
            return ended
        if not self._open[path].whole:
            broken = self._by_line and self._open[path].breaks_off
            return Found(tuple(self._broken(path)), "not_json") if broken else Found()
        text = b"\n".join(self._open.pop(path).parts)
        value = decoded(text)
        objects, left = ([value], b"") if value is not None else split(text)
        events = [event for found in objects for event in within(found, self._wanted)]
        if not _NOTHING.match(left):
            events += salvaged(left, self._wanted)[0]
            return Found(tuple(events), "not_json")
        return Found(tuple(events), "" if events else name_of(objects) or self._otherwise)


def _glue(key: str) -> bytes:
    """What stood between the pieces of a text: nothing where a container's runtime cut a line."""
    return b"" if key.endswith(("#stdout", "#stderr")) else b"\n"


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
            rb"\d{4}-\d\d-\d\d[T ]\S+ (?:\[[^\]]*(?:HoneyPot|cowrie|SSHService|SSHChannel)"
            rb"|[0-9a-z]{2,12} (?:CMD:|INPUT|login attempt|New connection|Connection lost|Remote SSH|Command (?:not )?found))",
            re.IGNORECASE,
        ),
    ),
    ("web server", re.compile(rb'\S+ \S+ \S+ \[\d\d/\w{3}/\d{4}:[^\]]+\] "')),
    ("sshd", re.compile(rb"\w{3} [ \d]\d \d\d:\d\d:\d\d \S+ sshd\[")),
    ("table", re.compile(rb'(?:[^,;\t]+[,;\t])*"?(?:[\w.]+\.)?(?:eventid|logtype)"?(?:[,;\t]|\s*\Z)')),
    (
        "syslog",
        re.compile(rb"(?:<\d+>)?(?:1 )?(?:\w{3} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\S+) \S+ \S+?:? "),
    ),
)


HINTS = {
    "a_cowrie_text_log": "this is Cowrie's text log; the JSON log is cowrie.json",
    "a_web_server_log": "this is a web server's log",
    "a_sshd_log": "this is a log of sshd, not of a honeypot",
    "a_table_log": "this is a table with a column for each field; export it as JSON",
}
"""Reason → what to tell a person about the file."""


def name_of(value: Any) -> str:
    """What an object that is no event looks like, as a reason: ``a_suricata_log``; else nothing."""
    if isinstance(value, list):
        return name_of(value[0]) if value else ""
    if not isinstance(value, dict):
        return "not_object"
    for name, keys in _FOREIGN:
        if keys <= value.keys():
            return f"a_{name.replace(' ', '_')}_log"
    for key in CARRIERS:
        inner = value.get(key)
        if isinstance(inner, str) and (found := decoded(inner.encode("utf-8", "replace"))) is not None:
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
