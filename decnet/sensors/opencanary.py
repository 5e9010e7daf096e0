"""OpenCanary's JSON log: its lines become facts, and its connections visits.

OpenCanary never says when a connection ends, and a scanner opens a new one for every try. A session is
therefore a visit: what one address does to one port of one decky until it has been quiet for
``probe_idle_s``. Passwords leave as keyed hashes only. Putting facts together is left to
:mod:`decnet.sensors.assembly`.
"""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from decnet.addresses import fold
from decnet.bus.base import Event
from decnet.config import SensorSettings, Settings
from decnet.events.fields import epoch, integer
from decnet.hostile import storable, storable_text
from decnet.sensors.cowrie import Fact
from decnet.sensors.details import SECRET, without_secrets
from decnet.sensors.files.unwrap import Unwrapper
from decnet.sensors.requests import REQUEST, RequestAssembler
from decnet.sensors.sources import SessionSource
from decnet.sensors.values import (
    MAX_DATA,
    MAX_NAME,
    MAX_URL,
    Data,
    Refusal,
    as_name,
    as_text,
)  # fmt: skip

KIND = "opencanary"
VISITS_OF_ONE = 8
"""Visits of one address to one port that are remembered: an older log may be read beside a newer one."""
_MAX_SECRET = 65_536
_MAX_COMMAND = 1 << 20
_REST_S = 5.0
"""A live log may be this much behind the clock, in seconds, before its silence counts."""
_NOT_SUPPLIED = "<not supplied>"
_VNC_UNKNOWN = "<Password was not in the common list>"
_UNKNOWN = "unknown"


class Visit(NamedTuple):
    """What one line says: facts as (kind, data) of a service, at a time, by an address."""

    ts: float
    decky: str
    src_ip: str | None
    port: int
    service: str
    facts: tuple[tuple[str, Data], ...]


def is_opencanary(raw: Mapping[str, Any]) -> bool:
    """Whether an object claims to be a line of OpenCanary's."""
    return "logtype" in raw and ("node_id" in raw or "logdata" in raw)


def parse_object(raw: Data) -> Visit | Refusal | None:
    """The visit in one decoded line; None for OpenCanary's talk about itself. Never raises."""
    try:
        return _visit(raw)
    except RecursionError:
        # Just shallow enough to be decoded, a value can still be too deep to be written out as text.
        return Refusal("too_deep")


def _visit(raw: Data) -> Visit | Refusal | None:
    logtype = integer(raw.get("logtype"))
    if logtype is None or isinstance(raw.get("node_id"), (dict, list, bool)):
        return Refusal("not_opencanary")
    if 1000 <= logtype < 2000:
        return None
    # Before 0.6 there was no utc_time, and local_time was UTC.
    ts = next((ts for name in _TIMES if (ts := epoch(raw.get(name))) is not None), None)
    if ts is None:
        return Refusal("no_time")
    reader = _LOGTYPES.get(logtype) or _probe(_FAMILIES.get(logtype // 1000, _UNKNOWN))
    service, data = reader.service, raw.get("logdata")
    said = data if isinstance(data, dict) else {} if data in (None, "") else {"logdata": data}
    beside = {key: value for key, value in raw.items() if key not in _SHARED}
    if (ip := _address(raw.get("src_host"))) is None:
        beside["src_host"] = raw.get("src_host")  # what cannot be read stays as it is
    facts = [*reader.read(said, logtype), *_details({**beside, **said}, logtype, reader.homes)]
    node = as_name(raw.get("node_id")) or KIND
    return Visit(ts, node, ip, integer(raw.get("dst_port")) or 0, service, tuple(facts))


def _address(value: Any) -> str | None:
    return fold(value) if isinstance(value, str) else None


def _text(data: Data, *keys: str, limit: int = MAX_NAME) -> str:
    """The first of some fields that says anything."""
    for key in keys:
        text = as_text(data.get(key), limit)
        if text and text != _NOT_SUPPLIED:
            return text
    return ""


Facts = list[tuple[str, Data]]


def _touched(_data: Data, _logtype: int) -> Facts:
    return [("connect", {"dst_port": None})]


def _tried(data: Data, logtype: int) -> Facts:
    """Of a log type without a reader: a log-in attempt if somebody gave a password, else that it was touched."""
    names = {str(key).lower(): key for key in data}
    given: Data = {name: data[names[name]] for name in ("username", "password") if name in names}
    return _login(given, logtype) if "password" in given else _touched(data, 0)


def _attempt(user: str, secret: str | None, kind: str = "password") -> tuple[str, Data]:
    return ("login", {"username": user, "secret": secret, "secret_kind": kind, "success": False})


def _login(data: Data, _logtype: int) -> Facts:
    user = _text(data, "USERNAME", "UserName", "username")
    given = [
        data[key]
        for key in ("PASSWORD", "Password", "password")
        if data.get(key) not in (None, _NOT_SUPPLIED)
    ]
    secret = as_text(given[0], _MAX_SECRET) if given else None
    return [_attempt(user, secret)] if user or secret else _touched(data, 0)


def _ssh_version(data: Data, _logtype: int) -> Facts:
    version = _text(data, "REMOTEVERSION")
    quoted = version[:2] in ("b'", 'b"') and version[-1:] == version[1]
    return [("client", {"version": version[2:-1] if quoted else version})] if version else _touched(data, 0)


def _ssh_login(data: Data, logtype: int) -> Facts:
    """A log-in attempt, and by what."""
    client = _ssh_version(data, logtype) if _text(data, "REMOTEVERSION") else []
    return [*client, *_login(data, logtype)]


def _http(data: Data, logtype: int) -> Facts:
    method = _text(data, "REQUEST_TYPE", limit=32) or {3001: "POST"}.get(logtype, "GET")
    request = {
        "raw_url": _text(data, "PATH", limit=MAX_URL) or "/",
        "user_agent": _text(data, "USERAGENT", limit=MAX_URL),
        "method": method,
        "host": _text(data, "HOSTNAME"),
    }
    tried = _login(data, logtype) if logtype == 3001 else []
    return [(REQUEST, request), ("fact", {"request_count": 1}), *tried, *_basic(data.get("HEADERS"))]


def _basic(headers: Any) -> Facts:
    """The log-in attempt in the headers of a request."""
    pairs = headers.items() if isinstance(headers, dict) else headers if isinstance(headers, list) else ()
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or str(pair[0]).lower() != "authorization":
            continue
        value = pair[1][0] if isinstance(pair[1], list) and pair[1] else pair[1]
        scheme, _, token = str(value)[:_MAX_SECRET].partition(" ")
        if scheme.lower() == "basic" and ":" in (told := _unpacked(token)):
            user, _, secret = told.partition(":")
            return [_attempt(storable_text(user[:MAX_NAME]), storable_text(secret))]
    return []


def _unpacked(token: str) -> str:
    try:
        return base64.b64decode(token.strip(), validate=True).decode("utf-8", "replace")
    except ValueError:
        return ""


def _proxy(data: Data, logtype: int) -> Facts:
    return [("fact", {"request_count": 1}), *_login(data, logtype)]


def _sip(data: Data, _logtype: int) -> Facts:
    return [*_touched(data, 0), ("fact", {"request_count": 1})]


def _vnc(data: Data, _logtype: int) -> Facts:
    secret = _text(data, "VNC Password", limit=_MAX_SECRET)
    return [_attempt("", secret if secret and secret != _VNC_UNKNOWN else None)]


def _community(data: Data, _logtype: int) -> Facts:
    secret = _text(data, "COMMUNITY_STRING", limit=_MAX_SECRET)
    return [_attempt("", secret, "community")] if secret else _touched(data, 0)


def _redis(data: Data, _logtype: int) -> Facts:
    """A command; a password in it is a log-in attempt and does not stay in the command."""
    command, rest = _text(data, "CMD", limit=_MAX_COMMAND), _text(data, "ARGS", limit=_MAX_COMMAND)
    words, name = rest.split(" "), command.upper()
    if name == "HELLO" and len(words) >= 4 and words[1].upper() == "AUTH":
        return [_attempt(words[2], " ".join(words[3:]))]
    if name == "AUTH" and rest:
        user, _, secret = rest.partition(" ")
        return [_attempt(user, secret) if secret else _attempt("", user)]
    return [("command", {"text": f"{command} {rest}".strip()})] if command else _touched(data, 0)


def _git(data: Data, _logtype: int) -> Facts:
    repository = _text(data, "REPO", limit=MAX_URL)
    return [("command", {"text": f"git-upload-pack {repository}"})] if repository else _touched(data, 0)


def _mongodb(data: Data, _logtype: int) -> Facts:
    action = _text(data, "action")
    if action == "mongodb.auth_attempt":
        return _login(data, 0)
    if action == "mongodb.command":
        text = f"{_text(data, 'command')} {_text(data, 'query', limit=_MAX_COMMAND)}"
        return [("command", {"text": text.strip()})]
    return _touched(data, 0)


def _details(data: Data, logtype: int, homes: frozenset[str]) -> Facts:
    """What a line says beside the log-in, request or command that it is; a secret is none of it."""
    own = {
        str(key)[:MAX_NAME]: value if value is True else as_text(without_secrets(value), MAX_DATA)
        for key, value in data.items()
        if not SECRET.search(str(key)) and key not in homes
    }
    fields = storable({key: value for key, value in own.items() if value and value != _NOT_SUPPLIED})
    return [("extra", {"eventid": f"{KIND}.{logtype}", "fields": fields})] if fields else []


def _smb(data: Data, _logtype: int) -> Facts:
    """A file on a share that was opened, by whom."""
    name = _text(data, "FILENAME", limit=MAX_URL)
    return [*_touched(data, 0), ("fact", {"path": name})] if name else _touched(data, 0)


def _tftp(data: Data, _logtype: int) -> Facts:
    name = _text(data, "FILENAME", limit=MAX_URL)
    return (
        [*_touched(data, 0), ("fact", {"tftp_filename": name, "path": name})] if name else _touched(data, 0)
    )


def _llmnr(data: Data, _logtype: int) -> Facts:
    """Somebody answered a question for a name that nobody has."""
    return [*_touched(data, 0), ("fact", {"llmnr_poison_count": 1})]


_TIMES = ("utc_time", "local_time", "timestamp", "@timestamp")
"""Where the time stands, the honeypot's own first; the last two are a shipper's."""
_SHARED = frozenset(
    {
        "dst_host", "dst_port", "local_time", "local_time_adjusted", "logdata", "logtype", "node_id", "src_host",
        "src_port", "utc_time", "timestamp", "@timestamp", "message",
    }
)  # fmt: skip
"""What every line has beside its data."""
_FAMILIES = {
    2: "ftp", 3: "http", 4: "ssh", 5: "portscan", 6: "telnet", 7: "httpproxy", 8: "mysql", 9: "mssql", 10: "tftp",
    11: "ntp", 12: "vnc", 13: "snmp", 14: "rdp", 15: "sip", 16: "git", 17: "redis", 18: "tcp", 19: "llmnr",
    20: "mongodb",
}  # fmt: skip
"""Thousands of a log type to the service; what has no reader below is a probe."""


class _Reader(NamedTuple):
    """Which service a log type is of, how it is read, and which fields of its data have their home in the facts."""

    service: str
    read: Callable[[Data, int], Facts]
    homes: frozenset[str] = frozenset()


def _reader(service: str, read: Callable[[Data, int], Facts], homes: str) -> _Reader:
    return _Reader(service, read, frozenset(homes.split()))


def _probe(service: str) -> _Reader:
    return _Reader(service, _tried)


_LOGIN = "USERNAME PASSWORD UserName Password username"
_HTTP = _reader("http", _http, f"PATH USERAGENT HOSTNAME REQUEST_TYPE {_LOGIN}")
_LOGTYPES: dict[int, _Reader] = {
    2000: _reader("ftp", _login, _LOGIN),
    3000: _HTTP,
    3001: _HTTP,
    3002: _HTTP,
    3003: _HTTP,
    4001: _reader("ssh", _ssh_version, "REMOTEVERSION"),
    4002: _reader("ssh", _ssh_login, f"REMOTEVERSION {_LOGIN}"),
    5000: _Reader("smb", _smb),
    6001: _reader("telnet", _login, _LOGIN),
    7001: _reader("httpproxy", _proxy, _LOGIN),
    8001: _reader("mysql", _login, _LOGIN),
    9001: _reader("mssql", _login, _LOGIN),
    9002: _reader("mssql", _login, _LOGIN),
    9003: _probe("mysql"),
    10001: _Reader("tftp", _tftp),
    12001: _Reader("vnc", _vnc),
    13001: _Reader("snmp", _community),
    14001: _reader("rdp", _login, _LOGIN),
    15001: _Reader("sip", _sip),
    16001: _reader("git", _git, "REPO"),
    17001: _reader("redis", _redis, "CMD ARGS"),
    19001: _Reader("llmnr", _llmnr),
    20001: _reader("mongodb", _mongodb, "action username command query"),
}


class OpenCanarySource(SessionSource):
    """An OpenCanary JSON log, or a directory with one for each decky."""

    def __init__(self, settings: Settings, key: bytes, since: float | None = None) -> None:
        limits = _limits(settings.sensor)
        clear = settings.credentials.keep_clear
        made = RequestAssembler(limits, key, settings.bus.max_event_bytes, KIND, keep_clear=clear)
        unwrapper = Unwrapper(is_opencanary, settings.sensor.max_line_bytes, "not_opencanary")
        super().__init__(made, unwrapper, since)
        self._idle_s = settings.sensor.probe_idle_s
        self._max_visits = settings.sensor.max_open_sessions
        self._visits: OrderedDict[tuple[str, str, int, str], list[tuple[str, float, float]]] = OrderedDict()
        """Who, where → names, first and last times of the visits, the one touched last first."""

    def _one(self, raw: Data) -> list[Event] | Refusal:
        visit = parse_object(raw)
        if visit is None:
            return []
        if isinstance(visit, Refusal):
            return visit
        if not self._saw(visit.ts) or self.repeats.seen((raw.get("logtype"), *visit)):
            return []
        self._count_unknown(raw, visit)
        native, new = self._native(visit)
        events: list[Event] = []
        for kind, detail in (*visit.facts, *(_connection(raw) if new else ())):
            fact = Fact(kind, visit.ts, native, visit.decky, visit.src_ip, visit.service, detail)
            events += self.assembler.feed(fact)
        return events

    def _count_unknown(self, raw: Data, visit: Visit) -> None:
        if visit.service == _UNKNOWN:
            self.unknown += 1
            self.note_unknown(f"{KIND}.{integer(raw.get('logtype'))}")

    def _native(self, visit: Visit) -> tuple[str, bool]:
        """The name of a visit (who, where, and when it began), and whether it is new."""
        key = (visit.decky, visit.src_ip or "", visit.port, visit.service)
        several = self._visits.pop(key, [])
        near = (v for v in several if visit.ts - v[2] <= self._idle_s and v[1] - visit.ts <= self._idle_s)
        known, new = next(near, None), False
        if known is None:
            name, new = f"{key[1]}|{visit.port}|{visit.service}|{visit.ts:.6f}", True
            known = (name, visit.ts, visit.ts)
        else:
            several.remove(known)
        newest = (known[0], min(known[1], visit.ts), max(known[2], visit.ts))
        self._visits[key] = [newest, *several[: VISITS_OF_ONE - 1]]
        if len(self._visits) > self._max_visits:
            self._visits.popitem(last=False)
        return newest[0], new

    def at_rest(self, now: float) -> list[Event]:
        """Ends visits that have been quiet too long by now: a live log that is silent says that time went by."""
        return self.assembler.quiet_since(now - self._idle_s - _REST_S)

    def to_state(self) -> Data:
        """Counters, visits and open sessions."""
        return {
            **super().to_state(),
            "visits": [[*key, *visit] for key, several in self._visits.items() for visit in several],
        }

    def restore(self, state: Data) -> None:
        """Takes up the state of :meth:`to_state`."""
        super().restore(state)
        for decky, ip, port, service, native, *times in state.get("visits", ()):
            known = self._visits.setdefault((decky, ip, int(port), service), [])
            known.append((native, float(times[0]), float(times[-1])))  # one time: of a version before


def _connection(raw: Data) -> Facts:
    """Between which places a visit began."""
    fields = {key: as_text(raw.get(key), MAX_NAME) for key in ("dst_host", "dst_port", "src_port")}
    said = {key: value for key, value in fields.items() if value and value != "-1"}
    return [("extra", {"eventid": f"{KIND}.connection", "fields": said})] if said else []


def _limits(settings: SensorSettings) -> SensorSettings:
    """Visits are over sooner than Cowrie's sessions, and are not taken up again much later."""
    idle = settings.probe_idle_s
    return settings.model_copy(update={"idle_session_s": idle, "reopen_s": min(idle, settings.reopen_s)})
