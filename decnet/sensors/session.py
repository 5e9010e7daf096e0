"""One honeypot session while its lines come in, and the payloads it ends with; pure.

Everything in it is bounded: what is beyond a bound is still counted. The object turns into plain
JSON and back, because open sessions are part of a sensor's checkpoint.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any

from decnet.config import SensorSettings
from decnet.events.lives import command_mark
from decnet.jsontext import encoded
from decnet.sensors.cowrie import Fact
from decnet.sensors.values import MAX_DATA, Data
from decnet.shell.joining import joined

MAX_LIST = 1000
MAX_USERNAMES = 200
OVERLAP = 256
_PIECE_BYTES = 98_304
_PIECE_CHARS = 8_192
_HEAD_BYTES = 12_288
_ITEM_COST = 256
_SAME_AGAIN = 32
_SAME_FILE = 8
"""Extras that are looked back at: what is said again and again is kept once."""
_LAST_COMMANDS = 8
"""Commands that what a program's end says may be about."""
_LISTS = ("commands", "joined", "inputs", "downloads", "uploads", "forwards", "exploits", "extras")
_ALWAYS = frozenset({"commands", "downloads", "uploads", "forwards"})
"""Lists that are told even when they are empty."""
_BY_TIME = (
    "commands", "downloads", "uploads", "forwards", "inputs", "exploits", "extras", "facts", "client", "usernames", "tty",
)  # fmt: skip
"""What depends on the order of facts."""
_TOLD = frozenset({"op_text", "note_text"})
"""Facts that are texts of which a session may have several."""
_WORDS = frozenset({"signals"})
"""Facts that are lists of words, of which a session has each once."""
MAX_WORDS = 64
"""Words of one of these lists that a session has."""
_TOLD_BYTES = 32_768
"""Of each of them, on the wire: they stand in every part of a session's end."""
MAX_LOG = 60_000
"""Lines of one session that are remembered; beyond, the order of arrival counts, and none is known again."""
_FREE_LINES = 1000
"""Lines that cost nothing but their text."""
_MADE_ANEW = frozenset({"times", "places", "placed"})
Entry = tuple[float, str, Data, bool, Data | None]
"""Time of a fact, its kind, what it says, whether it came after the session's end, what its line says beside it."""


def encoded_size(value: Any) -> int:
    """Bytes of a value on the wire (ASCII JSON)."""
    try:
        return len(encoded(value))
    except (ValueError, TypeError):  # what is no number is refused there, and only measured here
        return len(json.dumps(value, separators=(",", ":")))


def pieces(text: str, max_chars: int) -> list[str]:
    """``text`` in pieces that fit an event; neighbours overlap so that no short word is lost at a cut."""
    if len(text) <= max_chars and (len(text) <= _PIECE_CHARS or encoded_size(text) <= _PIECE_BYTES):
        return [text]
    size = min(max_chars, _PIECE_CHARS if encoded_size(text) > len(text) * 1.4 else _PIECE_BYTES)
    step = max(size - OVERLAP, 1)
    return [text[i : i + size] for i in range(0, max(len(text) - OVERLAP, 1), step)]


def _within(items: list[str], budget: int) -> list[str]:
    """The first items whose encoding fits the budget in bytes."""
    kept, used = [], 0
    for item in items:
        used += encoded_size(item) + 1
        if used > budget:
            break
        kept.append(item)
    return kept


@dataclass(slots=True)
class Session:
    """State of one session; times are epoch seconds of the log, ``size_bytes`` is an estimate."""

    session_id: str
    decky_id: str
    native_id: str
    started_at: float
    last_ts: float
    first_ts: float | None = None
    """Its earliest line; ``started_at`` may be earlier, as the duration in the close line tells."""
    variant: str = ""
    """What tells it from another session with the same id of the honeypot's."""
    piece: str = ""
    """What tells this part from others of the same session that were put together by themselves; of its first line."""
    late: bool = False
    """Begun after an end of the session was published: all its lines are late ones."""
    ends: int = 0
    """How often its end was published."""
    fact_is_late: bool = False
    """Whether the line being taken in comes after an end, and does not merely go on where the session stood."""
    ip: str | None = None
    protocol: str | None = None
    announced: bool = False
    connected: bool = False
    """Its first line was seen."""
    connected_at: float | None = None
    """What that line says of the time."""
    lines: int = 0
    at_line: int = 0
    """The reader's count of lines when its newest one came."""
    size_bytes: int = 1024
    log: list[Entry] = field(default_factory=list)
    """Its lines as they came: what comes twice counts once, and what came in another order can be put right."""
    times: set[float] = field(default_factory=set)
    """Times of the lines in the log."""
    places: dict[float, list[int]] = field(default_factory=dict)
    """Time → lines of the log; made when a time comes again."""
    placed: int = 0
    """How many lines of the log are in ``places``."""
    disordered: bool = False
    """A fact came after a later one since the lists were put together."""
    sealed: bool = False
    """Not all facts are in the log: the order of arrival counts."""
    commands: list[Data] = field(default_factory=list)
    command_count: int = 0
    numbered: int = 0
    """Commands that are named after their place."""
    commands_dropped: int = 0
    client: Data = field(default_factory=dict)
    fail_count: int = 0
    failed_at: list[float] = field(default_factory=list)
    """Times of failed log-ins, for adding up what is known in pieces."""
    login: bool = False
    default_pair: bool = False
    """Whether a log-in that was let in is one that devices are delivered with."""
    usernames: list[str] = field(default_factory=list)
    downloads: list[Data] = field(default_factory=list)
    uploads: list[Data] = field(default_factory=list)
    forwards: list[Data] = field(default_factory=list)
    inputs: list[Data] = field(default_factory=list)
    exploits: list[Data] = field(default_factory=list)
    extras: list[Data] = field(default_factory=list)
    facts: Data = field(default_factory=dict)
    """Fields of the end that decoys other than shells have."""
    dropped: int = 0
    """Things other than commands that found no room."""
    tty: Data = field(default_factory=dict)
    requests: int = 0
    """HTTP requests told of on their own."""
    closed_at: float | None = None
    duration: float | None = None
    ended: str | None = None
    """End reason last published, None while open."""

    def to_state(self) -> Data:
        """What plain JSON is made of for a checkpoint, at once: the lists are the session's own."""
        return {name: getattr(self, name) for name in _KEPT}

    @classmethod
    def from_state(cls, state: Data) -> Session:
        """The session of :meth:`to_state`; keys of other versions are left out."""
        known = {f.name for f in fields(cls)}
        session = cls(**{k: v for k, v in state.items() if k in known})
        session.times = {entry[0] for entry in session.log}
        session.sealed = session.sealed or "log" not in state
        return session

    @property
    def service(self) -> str:
        """Service and protocol of the session: what the log says, SSH where it does not."""
        return self.protocol or "ssh"

    @property
    def joined(self) -> list[Data]:
        """Commands that were logged as several lines, as the shell saw them; named after their first line."""
        found = joined([command["command_text"] for command in self.commands])
        parts = [(self.commands[one.first : one.last + 1], one.text) for one in found[:MAX_LIST]]
        return [
            {
                "id": f"{lines[0]['id']}+{len(lines) - 1}",
                "command_text": text,
                "lines": [line["id"] for line in lines],
                "ts": lines[0]["ts"],
            }
            for lines, text in parts
            if encoded_size(text) <= _PIECE_BYTES
        ]

    def has(self, fact: Fact, said: Data) -> bool:
        """Whether this very line was taken in; ``said`` is what :meth:`absorb` was given for the log."""
        return any(_holds(rest, fact.rest) for rest in self.told_before(fact, said))

    def told_before(self, fact: Fact, said: Data) -> list[Data | None]:
        """What the lines say beside it that told the same at the same moment."""
        if fact.ts not in self.times:
            return []
        ts, kind = fact.ts, fact.kind
        for place in range(self.placed, len(self.log)):
            self.places.setdefault(self.log[place][0], []).append(place)
        self.placed = len(self.log)
        same = (self.log[place] for place in self.places[ts])
        return [entry[4] for entry in same if entry[1] == kind and entry[2] == said]

    def absorb(self, fact: Fact, limits: SensorSettings, said: Data | None = None) -> None:
        """Takes one line in; ``said`` stands in the log for what must not (a secret)."""
        ts = fact.ts
        self.lines += 1
        late = self.late or (self.ends > 0 and (self.closed_at is not None or ts < self.last_ts))
        self.fact_is_late = late
        if ts >= self.last_ts:
            self.last_ts = ts
        else:
            self.disordered = True
        if self.first_ts is None or ts < self.first_ts:
            self.first_ts = ts
            self.started_at = min(self.started_at, ts)
        if fact.src_ip and (self.ip is None or (fact.kind == "connect" and not self.announced)):
            self.ip = fact.src_ip
        if fact.protocol and not self.protocol:
            self.protocol = fact.protocol
        handler = _HANDLERS.get(fact.kind)
        lost = self.commands_dropped + self.dropped
        if handler:
            handler(self, fact, limits)
        if fact.rest:
            self._beside(fact, fact.rest, limits)
        kept = lost == self.commands_dropped + self.dropped
        entry = (ts, fact.kind, fact.data if said is None else said, late, fact.rest)
        if kept and len(self.log) < _FREE_LINES and fact.kind not in _UNCHARGED:
            self.log.append(entry)
            self.times.add(ts)
        else:
            self._note(entry, kept, limits)

    def _note(self, entry: Entry, kept: bool, limits: SensorSettings) -> None:
        """Remembers a line; when one is not remembered, the order of arrival counts from now on."""
        cost = 0
        if entry[1] in _UNCHARGED:
            cost = len(entry[2].get("text", ""))
        elif len(self.log) >= _FREE_LINES:
            cost = _ITEM_COST
        if kept and len(self.log) < MAX_LOG and self.size_bytes + cost <= limits.max_session_bytes:
            self.size_bytes += cost
            self.log.append(entry)
            self.times.add(entry[0])
        else:
            self.sealed = True

    def in_right_order(self, limits: SensorSettings) -> None:
        """Puts the lists together anew, by time, when a fact came after a later one; what was dropped stays so."""
        if not self.disordered or self.sealed:
            return
        told = Session(self.session_id, self.decky_id, self.native_id, self.started_at, self.started_at)
        told.ip = self.ip
        for ts, kind, data, late, rest in sorted(self.log, key=lambda entry: entry[0]):
            told.fact_is_late = late
            fact = Fact(kind, ts, "", None, None, None, data, rest)
            if kind in _HANDLERS and kind not in _UNORDERED:
                _HANDLERS[kind](told, fact, limits)
            if rest:
                told._beside(fact, rest, limits)
        for name in _BY_TIME:
            setattr(self, name, getattr(told, name))
        self.failed_at.sort()
        self.disordered = False

    def _room(self, items: list[Data], limit: int, cost: int, limits: SensorSettings) -> bool:
        if len(items) >= limit or self.size_bytes + cost > limits.max_session_bytes:
            return False
        self.size_bytes += cost + _ITEM_COST
        return True

    def _connect(self, fact: Fact, _: SensorSettings) -> None:
        self.connected = True
        self.connected_at = fact.ts
        self.started_at = fact.ts if self.first_ts is None else self.first_ts
        if not self.protocol and fact.data.get("dst_port") in (23, 2223):
            self.protocol = "telnet"

    def _client(self, fact: Fact, _: SensorSettings) -> None:
        for key in ("version", "hassh", "kex"):
            if (value := fact.data.get(key)) is None:
                continue
            self.client.setdefault(key, _within(value, _HEAD_BYTES) if isinstance(value, list) else value)

    def _size(self, fact: Fact, _: SensorSettings) -> None:
        if fact.data:
            self.client["size"] = dict(fact.data)

    def _login(self, fact: Fact, _: SensorSettings) -> None:
        if fact.data["success"]:
            self.login = True
        else:
            self.fail_count += 1
            if len(self.failed_at) < MAX_LIST:
                self.failed_at.append(fact.ts)
        name = fact.data["username"]
        if name not in self.usernames and len(self.usernames) < MAX_USERNAMES:
            self.usernames.append(name)
            self.size_bytes += len(name)

    def _command(self, fact: Fact, limits: SensorSettings) -> None:
        if fact.data.get("hidden"):
            return
        number = self._number(fact)
        self.command_count += 1
        for k, text in enumerate(pieces(fact.data["text"], limits.max_text)):
            if not self._room(self.commands, limits.max_commands, len(text), limits):
                self.commands_dropped += 1
                return
            ident = f"{self.session_id}#cmd{number}" + (f".{k}" if k else "")
            self.commands.append({"id": ident, "command_text": text, "ts": fact.ts})

    def _number(self, fact: Fact) -> str:
        """What names a command in its session: its place, or of a late line what it says and when."""
        if not self.fact_is_late:
            place = self.numbered
            self.numbered += 1
            return str(place)
        return command_mark(fact.ts, fact.data["text"])

    def _result(self, fact: Fact, limits: SensorSettings) -> None:
        """A part that was not found makes its command a failed one; a later good part does not undo it.

        A program of which no command has told is kept as what was logged.
        """
        text = fact.data["text"].strip()
        last = self.commands[-1] if self.commands else {"command_text": ""}
        if text and text in last["command_text"]:
            last["success"] = fact.data["success"] and last.get("success", True)
        elif text and not any(text.split()[0] in c["command_text"] for c in self.commands[-_LAST_COMMANDS:]):
            name = "success" if fact.data["success"] else "failed"
            told = {"eventid": f"cowrie.command.{name}", "fields": {"input": text[:MAX_DATA]}}
            self._extra(fact._replace(data=told), limits)

    def _item(self, items: list[Data], fact: Fact, limits: SensorSettings) -> None:
        self._keep(items, dict(fact.data), limits)

    def _keep(self, items: list[Data], item: Data, limits: SensorSettings) -> None:
        cost = sum(len(v) for v in item.values() if isinstance(v, str))
        if item in items[-8:]:
            return
        if self._room(items, MAX_LIST, cost, limits):
            items.append(item)
        else:
            self.dropped += 1

    def _file(self, items: list[Data], fact: Fact, limits: SensorSettings) -> None:
        """A file with the time when it came first; the same one again within a few says nothing new."""
        if not any(
            fact.data == {key: item[key] for key in item if key != "ts"} for item in items[-_SAME_FILE:]
        ):
            self._keep(items, {**fact.data, "ts": fact.ts}, limits)

    def _download(self, fact: Fact, limits: SensorSettings) -> None:
        self._file(self.downloads, fact, limits)

    def _upload(self, fact: Fact, limits: SensorSettings) -> None:
        self._file(self.uploads, fact, limits)

    def _forward(self, fact: Fact, limits: SensorSettings) -> None:
        """A redirect or a tunnel tells where the connection asked for last really went."""
        moved, last = "new_ip" in fact.data, self.forwards[-1] if self.forwards else {"host": None}
        if moved and all(last.get(name, value) == value for name, value in fact.data.items()):
            last.update(fact.data)
        else:
            self._item(self.forwards, fact, limits)

    def _through(self, fact: Fact, limits: SensorSettings) -> None:
        """What went through a connection belongs to the newest request for it that has none of it yet."""
        data = fact.data
        own: Data = {name: data[name] for name in ("data", "ja4", "ja4h") if name in data}
        for item in reversed(self.forwards):
            same = (item["host"], item["port"]) == (data["host"], data["port"]) or not data["host"]
            if same and not own.keys() & item.keys():
                cost = sum(map(len, own.values()))
                if self.size_bytes + cost > limits.max_session_bytes:
                    self.dropped += 1
                else:
                    item.update(own)
                    self.size_bytes += cost
                return
        self._keep(self.forwards, dict(data), limits)

    def _input(self, fact: Fact, limits: SensorSettings) -> None:
        if not fact.data.get("hidden"):
            for text in pieces(fact.data.get("text", ""), limits.max_text):
                self._keep(self.inputs, {**fact.data, "text": text, "ts": fact.ts}, limits)

    def _exploit(self, fact: Fact, limits: SensorSettings) -> None:
        """A successful one is a log-in, and what it was to run is a command."""
        self._keep(self.exploits, {**fact.data, "ts": fact.ts}, limits)
        if fact.data["success"]:
            self.login = True
            name = fact.data.get("username", "")
            if name and name not in self.usernames and len(self.usernames) < MAX_USERNAMES:
                self.usernames.append(name)
        if text := fact.data.get("command"):
            self._command(fact._replace(data={"text": text}), limits)

    def _extra(self, fact: Fact, limits: SensorSettings) -> None:
        own = {name: fact.data[name] for name in ("eventid", "fields")}
        if any(own == {name: item[name] for name in own} for item in self.extras[-_SAME_AGAIN:]):
            return
        self._keep(self.extras, {**own, "ts": fact.ts}, limits)

    def _beside(self, fact: Fact, rest: Data, limits: SensorSettings) -> None:
        """What a line says beside its fact; an address that is the session's own says nothing."""
        fields = {key: value for key, value in rest["fields"].items() if key != "src_ip" or value != self.ip}
        if fields:
            self._extra(fact._replace(data={**rest, "fields": fields}), limits)

    def _fact(self, fact: Fact, limits: SensorSettings) -> None:
        """What a decoy counts (numbers add up), was told to do (one a line) or was asked for (the first counts); words are kept each."""
        for name, value in fact.data.items():
            if isinstance(value, int):
                self.facts[name] = self.facts.get(name, 0) + value
            elif name in _TOLD:
                self._tell(name, value, limits)
            elif name in _WORDS:
                words = sorted({*self.facts.get(name, ()), *value})
                self.dropped += max(len(words) - MAX_WORDS, 0)
                self.facts[name] = words[:MAX_WORDS]
            else:
                self.facts.setdefault(name, value)

    def _tell(self, name: str, text: str, limits: SensorSettings) -> None:
        """Adds an operation or a note to those before it, each different one once; what finds no room is counted."""
        told = self.facts.get(name, "")
        if text in told.split("\n"):
            return
        whole = f"{told}\n{text}" if told else text
        if encoded_size(whole) > _TOLD_BYTES or self.size_bytes + len(text) > limits.max_session_bytes:
            self.dropped += 1
            if told:
                return
            text = whole = text[: _TOLD_BYTES // 6]  # however it is written on the wire
        self.facts[name] = whole
        self.size_bytes += len(text)

    def _unknown_command(self, fact: Fact, limits: SensorSettings) -> None:
        """Kippo tells a program that it does not know instead of the command, or after it."""
        text = fact.data["text"].strip()
        if not (self.commands and text and text in self.commands[-1]["command_text"]):
            self._command(fact, limits)
        self._result(fact, limits)

    def _tty(self, fact: Fact, _: SensorSettings) -> None:
        """The largest recording counts; one marked duplicate holds the timings of another session."""
        data = fact.data
        if data["path"] and not data["duplicate"] and data["size"] >= self.tty.get("size", 0):
            self.tty = {"path": data["path"], "size": data["size"]}

    def _closed(self, fact: Fact, _: SensorSettings) -> None:
        self.closed_at = fact.ts
        self.duration = fact.data["duration"]
        if self.duration is not None and not self.connected:
            self.started_at = max(min(self.started_at, fact.ts - self.duration), 0.0)

    def payloads(self, reason: str, head: Data, max_bytes: int) -> list[Data]:
        """The ``attacker.session.ended`` payloads, one for each part of at most ``max_bytes``.

        ``head`` is what identifies the session; ``reason`` counts only without a close line.
        """
        base = {**head, **self._totals(reason)}
        groups = self._packed(max_bytes - encoded_size(base) - 512)
        parts = [
            {
                **base,
                "part": i,
                "parts": len(groups),
                **{name: items for name, items in g.items() if items or name in _ALWAYS},
            }
            for i, g in enumerate(groups, start=1)
        ]
        if self.tty:
            parts[-1]["ttylog"] = self.tty["path"]
        return parts

    def _totals(self, reason: str) -> Data:
        end = self.last_ts if self.closed_at is None else self.closed_at
        span = max(end - self.started_at, 0.0)
        return {
            "started_at": self.started_at,
            "ended_at": end,
            "end_reason": "closed" if self.closed_at is not None else reason,
            "duration_s": span if self.duration is None else self.duration,
            "command_count": self.command_count,
            "commands_dropped": self.commands_dropped,
            **self.facts,
            "sensor_session": self.native_id,
            "lines": self.lines,
            "span": [self.started_at if self.first_ts is None else self.first_ts, self.last_ts],
            **({"piece": self.piece} if self.piece else {}),
            **({"failed_at": self.failed_at} if self.failed_at else {}),
            **({"items_dropped": self.dropped} if self.dropped else {}),
            "client": {"version": None, "hassh": None, "kex": [], "size": None, **self.client},
            "auth": {
                "fail_count": self.fail_count,
                "success": self.login,
                **({"default_pair": True} if self.default_pair else {}),
                "usernames": _within(self.usernames, _HEAD_BYTES),
            },
        }

    def _packed(self, budget: int) -> list[Data]:
        """Lists dealt out to parts in order; commands first, so that the last part has the rest."""
        groups: list[Data] = [{name: [] for name in _LISTS}]
        used = 0
        for name in _LISTS:
            for item in getattr(self, name):
                size = encoded_size(item) + 1
                if used and used + size > budget:
                    groups.append({n: [] for n in _LISTS})
                    used = 0
                groups[-1][name].append(item)
                used += size
        return groups


def _holds(kept: Data | None, rest: Data | None) -> bool:
    """Whether what a line says beside its fact is said already: shippers add fields, and some lines come by two."""
    return not rest or (kept is not None and kept["fields"].items() >= rest["fields"].items())


_KEPT = tuple(f.name for f in fields(Session) if f.name not in _MADE_ANEW)
_UNORDERED = frozenset({"connect", "closed"})
_UNCHARGED = frozenset({"result", "unknown_command"})
"""Kinds whose text only the log holds."""
_HANDLERS: dict[str, Any] = {
    "connect": Session._connect,
    "client": Session._client,
    "size": Session._size,
    "login": Session._login,
    "command": Session._command,
    "result": Session._result,
    "download": Session._download,
    "upload": Session._upload,
    "forward": Session._forward,
    "through": Session._through,
    "input": Session._input,
    "exploit": Session._exploit,
    "extra": Session._extra,
    "var": Session._extra,
    "ptr": Session._extra,
    "intel": Session._extra,
    "fact": Session._fact,
    "unknown_command": Session._unknown_command,
    "tty": Session._tty,
    "closed": Session._closed,
}
