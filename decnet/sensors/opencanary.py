"""OpenCanary's JSON log: its lines become facts, and its connections visits.

OpenCanary never says when a connection ends, and a scanner opens a new one for every try. A session is
therefore a visit: what one address does to one port of one decky until it has been quiet for
``probe_idle_s``. Passwords leave as keyed hashes only. Putting facts together is left to
:mod:`decnet.sensors.assembly`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any, NamedTuple

from decnet import ids
from decnet.bus import topics
from decnet.bus.base import Event
from decnet.config import SensorSettings, Settings
from decnet.hostile import storable
from decnet.sensors.assembly import Assembler
from decnet.sensors.cowrie import (
    MAX_DATA,
    MAX_NAME,
    MAX_URL,
    Data,
    Fact,
    Refusal,
    as_int,
    as_text,
    parse_time,
)
from decnet.sensors.files.unwrap import Unwrapper
from decnet.sensors.session import Session
from decnet.sensors.sources import SessionSource

KIND = "opencanary"
MAX_REQUESTS = 200
"""Different HTTP requests told of one visit; the visit itself goes on."""
_MAX_SECRET = 65_536
_MAX_COMMAND = 1 << 20
_REST_S = 5.0
"""A live log may be this much behind the clock, in seconds, before its silence counts."""
_NOT_SUPPLIED = "<not supplied>"
_VNC_UNKNOWN = "<Password was not in the common list>"
_DETAIL = "request"
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
    return "logtype" in raw and "node_id" in raw


def parse_object(raw: Data) -> Visit | Refusal | None:
    """The visit in one decoded line; None for OpenCanary's talk about itself. Never raises."""
    try:
        return _visit(raw)
    except RecursionError:
        # Just shallow enough to be decoded, a value can still be too deep to be written out as text.
        return Refusal("too_deep")


def _visit(raw: Data) -> Visit | Refusal | None:
    logtype = as_int(raw.get("logtype"))
    if logtype is None or not isinstance(raw.get("node_id"), str):
        return Refusal("not_opencanary")
    if 1000 <= logtype < 2000:
        return None
    # Before 0.6 there was no utc_time, and local_time was UTC.
    ts = parse_time(raw.get("utc_time", raw.get("local_time")))
    if ts is None:
        return Refusal("no_time")
    service, extract = _LOGTYPES.get(logtype) or (_FAMILIES.get(logtype // 1000, _UNKNOWN), _touched)
    data = raw.get("logdata")
    said = data if isinstance(data, dict) else {}
    facts = [*extract(said, logtype), *_details(said, logtype)]
    node = as_text(raw["node_id"], MAX_NAME) or KIND
    return Visit(
        ts, node, _address(raw.get("src_host")), as_int(raw.get("dst_port")) or 0, service, tuple(facts)
    )


def _address(value: Any) -> str | None:
    try:
        return str(ip_address(value.strip())) if isinstance(value, str) else None
    except ValueError:
        return None


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


def _attempt(user: str, secret: str | None, kind: str = "password") -> tuple[str, Data]:
    return ("login", {"username": user, "secret": secret, "secret_kind": kind, "success": False})


def _login(data: Data, _logtype: int) -> Facts:
    user = _text(data, "USERNAME", "UserName", "username")
    given = [data[key] for key in ("PASSWORD", "Password") if data.get(key) not in (None, _NOT_SUPPLIED)]
    secret = as_text(given[0], _MAX_SECRET) if given else None
    return [_attempt(user, secret)] if user or secret else _touched(data, 0)


def _ssh_version(data: Data, _logtype: int) -> Facts:
    version = _text(data, "REMOTEVERSION")
    quoted = version[:2] in ("b'", 'b"') and version[-1:] == version[1]
    return [("client", {"version": version[2:-1] if quoted else version})] if version else _touched(data, 0)


def _http(data: Data, logtype: int) -> Facts:
    method = _text(data, "REQUEST_TYPE", limit=32) or {3001: "POST"}.get(logtype, "GET")
    request = {
        "raw_url": _text(data, "PATH", limit=MAX_URL) or "/",
        "user_agent": _text(data, "USERAGENT", limit=MAX_URL),
        "method": method,
        "host": _text(data, "HOSTNAME"),
    }
    tried = _login(data, logtype) if logtype == 3001 else []
    return [(_DETAIL, request), *tried]


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
        return [_attempt(_text(data, "username"), None)]
    if action == "mongodb.command":
        text = f"{_text(data, 'command')} {_text(data, 'query', limit=_MAX_COMMAND)}"
        return [("command", {"text": text.strip()})]
    return _touched(data, 0)


def _details(data: Data, logtype: int) -> Facts:
    """What a line says beside the log-in, request or command that it is; a secret is none of it."""
    if logtype in _TOLD:
        return []
    own = {
        str(key)[:MAX_NAME]: as_text(value, MAX_DATA)
        for key, value in data.items()
        if not _SECRET.search(str(key))
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


_SECRET = re.compile(r"pass|secret|community|token", re.IGNORECASE)
_FAMILIES = {
    2: "ftp", 3: "http", 4: "ssh", 5: "portscan", 6: "telnet", 7: "httpproxy", 8: "mysql", 9: "mssql", 10: "tftp",
    11: "ntp", 12: "vnc", 13: "snmp", 14: "rdp", 15: "sip", 16: "git", 17: "redis", 18: "tcp", 19: "llmnr",
    20: "mongodb",
}  # fmt: skip
"""Thousands of a log type to the service; what has no reader below is a probe."""

_LOGTYPES: dict[int, tuple[str, Callable[[Data, int], Facts]]] = {
    2000: ("ftp", _login),
    3000: ("http", _http),
    3001: ("http", _http),
    3002: ("http", _http),
    3003: ("http", _http),
    4001: ("ssh", _ssh_version),
    4002: ("ssh", _login),
    5000: ("smb", _smb),
    6001: ("telnet", _login),
    7001: ("httpproxy", _login),
    8001: ("mysql", _login),
    9001: ("mssql", _login),
    9002: ("mssql", _login),
    9003: ("mysql", _touched),
    10001: ("tftp", _tftp),
    12001: ("vnc", _vnc),
    13001: ("snmp", _community),
    14001: ("rdp", _login),
    16001: ("git", _git),
    17001: ("redis", _redis),
    19001: ("llmnr", _llmnr),
    20001: ("mongodb", _mongodb),
}


_TOLD = frozenset(
    {
        2000,
        3000,
        3001,
        3002,
        3003,
        4001,
        4002,
        6001,
        7001,
        8001,
        9001,
        9002,
        12001,
        13001,
        14001,
        16001,
        17001,
        20001,
    }
)
"""Log types whose reader tells all there is; of the others the rest is kept beside."""


class _CanaryAssembler(Assembler):
    """Tells HTTP requests as well, each once in a visit."""

    def _news(self, session: Session, fact: Fact) -> list[Event]:
        if fact.kind != _DETAIL:
            return super()._news(session, fact)
        request = fact.data
        text = json.dumps([request[key] for key in ("method", "raw_url", "user_agent")])
        digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        mark = f"{session.session_id}#http-{digest}"
        if session.requests >= MAX_REQUESTS or not self._first_time(mark):
            return []
        session.requests += 1
        payload = {**self._head(session), "type": "http_request", "source_id": mark, **request}
        topic = topics.attacker(topics.ATTACKER_FINGERPRINTED)
        return [Event(topic, payload, "http_request", ids.event_id("sensors", mark), fact.ts)]


class OpenCanarySource(SessionSource):
    """An OpenCanary JSON log, or a directory with one for each decky."""

    def __init__(self, settings: Settings, key: bytes, since: float | None = None) -> None:
        limits = _limits(settings.sensor)
        clear = settings.credentials.keep_clear
        made = _CanaryAssembler(limits, key, settings.bus.max_event_bytes, KIND, keep_clear=clear)
        unwrapper = Unwrapper(is_opencanary, settings.sensor.max_line_bytes, "not_opencanary")
        super().__init__(made, unwrapper, since)
        self._idle_s = settings.sensor.probe_idle_s
        self._max_visits = settings.sensor.max_open_sessions
        self._visits: OrderedDict[tuple[str, str, int, str], tuple[str, float]] = OrderedDict()

    def _one(self, raw: Data) -> list[Event] | Refusal:
        visit = parse_object(raw)
        if visit is None:
            return []
        if isinstance(visit, Refusal):
            return visit
        if not self._saw(visit.ts):
            return []
        self.unknown += visit.service == _UNKNOWN
        native = self._native(visit)
        events: list[Event] = []
        for kind, detail in visit.facts:
            fact = Fact(kind, visit.ts, native, visit.decky, visit.src_ip, visit.service, detail)
            events += self.assembler.feed(fact)
        return events

    def _native(self, visit: Visit) -> str:
        """The name of a visit: who, where, and when it began."""
        key = (visit.decky, visit.src_ip or "", visit.port, visit.service)
        known = self._visits.pop(key, None)
        if known is None or visit.ts - known[1] > self._idle_s:
            known = (f"{key[1]}|{visit.port}|{visit.service}|{visit.ts:.6f}", visit.ts)
        self._visits[key] = (known[0], max(known[1], visit.ts))
        if len(self._visits) > self._max_visits:
            self._visits.popitem(last=False)
        return known[0]

    def at_rest(self, now: float) -> list[Event]:
        """Ends visits that have been quiet too long by now: a live log that is silent says that time went by."""
        return self.assembler.quiet_since(now - self._idle_s - _REST_S)

    def to_state(self) -> Data:
        """Counters, visits and open sessions."""
        return {**super().to_state(), "visits": [[*key, *value] for key, value in self._visits.items()]}

    def restore(self, state: Data) -> None:
        """Takes up the state of :meth:`to_state`."""
        super().restore(state)
        for decky, ip, port, service, native, ts in state.get("visits", ()):
            self._visits[(decky, ip, int(port), service)] = (native, float(ts))


def _limits(settings: SensorSettings) -> SensorSettings:
    """Visits are over sooner than Cowrie's sessions, and are not taken up again much later."""
    idle = settings.probe_idle_s
    return settings.model_copy(update={"idle_session_s": idle, "reopen_s": min(idle, settings.reopen_s)})
