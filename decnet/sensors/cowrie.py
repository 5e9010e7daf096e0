"""One line of a Cowrie JSON log becomes one normalised fact; pure.

Strict about types (a fact's fields are what they say), tolerant about shapes: Cowrie changed the
names and types of several fields between 1.5 and 3.1, and attackers choose the text in them.
Putting facts together into sessions is left to :mod:`decnet.sensors.assembly`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from decnet.events.fields import epoch, integer, number
from decnet.hostile import storable
from decnet.sensors.opinions import ANSWERS, answer_of
from decnet.sensors.values import (
    MAX_DATA,
    MAX_NAME,
    MAX_URL,
    Data,
    Refusal,
    address,
    as_name,
    as_text,
    duration_of,
)  # fmt: skip

MAX_ALGORITHMS = 128
_SECRET_REALMS = frozenset({"passwd", "su", "sudo", "ssh", "scp", "sftp", "ftp", "login"})
"""Programs of the honeypot whose input is a password prompt: what is typed there is no command."""


class Fact(NamedTuple):
    """What one line says.

    ``ts`` is epoch seconds, ``sensor`` and ``src_ip`` are None when the line does not name them.
    A login's secret stands in ``data`` and must not leave the process.
    """

    kind: str
    ts: float
    session: str
    sensor: str | None
    src_ip: str | None
    protocol: str | None
    data: Data
    rest: Data | None = None
    """What else the line says: an extra (``eventid``, ``fields``) with the fields that ``data`` has no room for."""


def is_cowrie(raw: Mapping[str, Any]) -> bool:
    """Whether an object claims to be an event of Cowrie's."""
    return "eventid" in raw


def parse_object(raw: Data) -> Fact | Refusal:
    """The fact in one decoded log object. Never raises."""
    try:
        return _fact(raw)
    except RecursionError:
        # Just shallow enough to be decoded, a value can still be too deep to be written out as text.
        return Refusal("too_deep")


def _fact(raw: Data) -> Fact | Refusal:
    if isinstance(raw.get("timestamp"), dict):
        raw = _untyped(raw)
    eventid = raw.get("eventid")
    if not isinstance(eventid, str):
        return Refusal("no_eventid")
    name = _name_of(eventid)
    if not name:
        return Refusal("not_cowrie")
    ts = _moment(raw)
    if ts is None:
        return Refusal("no_time")
    session = as_text(raw.get("session"), 128)
    if not session:
        return Refusal("no_session")
    reader = EVENTS.get(name, _UNKNOWN)
    kind = reader.kind
    # In a forward's line the source is what the client claims.
    ip = None if kind in ("forward", "through") else address(as_text(raw.get("src_ip"), 64))
    protocol = as_text(raw.get("protocol"), 32)
    sensor = as_name(raw.get("sensor"))
    data = reader.read(raw)
    rest = reader.rest(raw, data)
    return Fact(kind, ts, session, sensor, ip or None, protocol or None, data, rest)


def _name_of(eventid: str) -> str:
    """The name of today of an event id; empty when it is none of Cowrie's."""
    if eventid[:-4] in ("KIPP", "COW"):
        return _OLD_IDS.get(eventid[-4:], "")
    name = eventid.removeprefix("cowrie.")
    return "" if name == eventid else name


def _untyped(raw: Data) -> Data:
    """An object without the types that MongoDB writes around its values when it exports them."""
    return {key: _value(value) for key, value in raw.items()}


def _value(value: Any) -> Any:
    while isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _TYPED:
        value = next(iter(value.values()))
    return value


def _moment(raw: Data) -> float | None:
    """When it happened: what the honeypot wrote, else what it or a shipper wrote beside it."""
    found = (_when(raw[name]) for name in _TIMES if raw.get(name) is not None)
    first = next((ts for ts in found if ts is not None), None)
    millis = number(raw.get("epoch")) if first is None else None
    return first if millis is None else epoch(millis / 1000.0)


def _when(given: Any) -> float | None:
    """Epoch seconds of a time as text, or as a count of seconds or of any thousandth part of them."""
    count = None if isinstance(given, str) and "T" in given else number(given)
    while count is not None and count >= _MILLIS:
        given = count = count / 1000.0
    return epoch(given)


class Reader(NamedTuple):
    """How the fields of one event are read, and which of them have their home in the fact (``homes``)."""

    kind: str
    read: Callable[[Data], Data]
    homes: frozenset[str]

    def rest(self, raw: Data, data: Data) -> Data | None:
        """What the line says that the fact does not hold, or None."""
        if self.kind in _WHOLE:
            return None
        left = self._left(raw, data)
        if not left and not raw.get("isError"):
            return None
        told = {
            str(value) for key, value in data.items() if key not in _NOT_TOLD and self.kind not in _PASSING
        }
        own = {key: raw[key] for key in left if str(raw[key]) not in told}
        found = _own_fields(own)
        if raw.get("isError"):
            found["isError"] = raw["isError"]
        return {"eventid": str(raw.get("eventid"))[:MAX_NAME], "fields": found} if found else None

    def _left(self, raw: Data, data: Data) -> set[str]:
        """Names of fields that have no home."""
        left = raw.keys() - self.homes
        if self.kind in ("forward", "through") or not _is_address(raw.get("src_ip")):
            left |= raw.keys() & {"src_ip"}
        if self.kind == "connect":
            left |= raw.keys() & {"uuid"}
            left |= {"sensor"} if _renamed(raw.get("sensor")) else set()
        elif self.kind == "client" and data.get("hassh"):
            left -= _OFFERED
        elif self.kind == "size" and not data:
            left |= raw.keys() & {"width", "height"}
        return left


def _is_address(value: Any) -> bool:
    """Whether an attacker's address can be read; what stands in its place is kept where it cannot."""
    return address(as_text(value, 64)) is not None


def _renamed(sensor: Any) -> bool:
    """Whether a sensor's name does not stand in the decky's as it is."""
    return isinstance(sensor, str) and not _TOKEN.fullmatch(sensor)


def _own_fields(raw: Data) -> Data:
    """Fields as they are stored; nothing that is empty, and no secret."""
    kept: Data = {}
    for key, value in raw.items():
        if value is None or value == "" or _SECRET.search(str(key)):
            continue
        name = str(key)[:MAX_NAME]
        kept[name] = value if isinstance(value, (bool, int, float)) else as_text(value, MAX_DATA)
    stored: Data = storable(kept)
    return stored


def _banner(value: Any) -> str | None:
    """A client banner without the ``b'…'`` that old versions wrote around it."""
    text = as_text(value, MAX_NAME)
    for mark in ("b'", 'b"', "'", '"'):
        if text and text.startswith(mark) and text.endswith(mark[-1]) and len(text) > len(mark):
            return text[len(mark) : -1]
    return text


def _algorithms(value: Any) -> list[str]:
    """Algorithm names in the client's order, from a list or comma separated text."""
    items = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    texts = (_banner(item) for item in items[:MAX_ALGORITHMS])
    return [text.strip() for text in texts if text]


def _client(raw: Data) -> Data:
    data: Data = {
        "version": _banner(raw.get("version")),
        "hassh": as_text(raw.get("hassh"), 64),
        "kex": _algorithms(raw.get("kexAlgs")),
        "hassh_algorithms": as_text(raw.get("hasshAlgorithms"), MAX_URL),
        "key_algs": _algorithms(raw.get("keyAlgs")),
        "enc_algs": _algorithms(raw.get("encCS")),
        "mac_algs": _algorithms(raw.get("macCS")),
        "comp_algs": _algorithms(raw.get("compCS")),
        "languages": _algorithms(raw.get("langCS")),
    }
    return {k: v for k, v in data.items() if v}


def _connect(raw: Data) -> Data:
    return {"dst_port": integer(raw.get("dst_port"))}  # the port tells the service; it stays in the rest


def _login(success: bool) -> Callable[[Data], Data]:
    def extract(raw: Data) -> Data:
        key = as_text(raw.get("fingerprint") or raw.get("key"), 65_536)
        return {
            "username": as_text(raw.get("username"), MAX_NAME) or "",
            "secret": key or as_text(raw.get("password"), 65_536),
            "secret_kind": "publickey" if key else "password",
            "success": success,
            **_said(public_key=as_text(raw.get("fingerprint") or raw.get("key"), MAX_NAME)),
        }

    return extract


def _command(raw: Data) -> Data:
    if _is_prompt(raw):
        return {"hidden": True}
    text = as_text(raw.get("input"), 1 << 22)
    if text is None:
        message = raw.get("message")
        text = as_text(message[5:], 1 << 22) if isinstance(message, str) and message[:5] == "CMD: " else ""
    return {"text": text}


def _result(success: bool) -> Callable[[Data], Data]:
    def extract(raw: Data) -> Data:
        text = as_text(raw.get("input"), 1 << 22) or ""
        if _is_prompt(raw):
            return {"text": "", "success": success, "hidden": True}
        return {"text": text, "success": success}

    return extract


def _is_prompt(raw: Data) -> bool:
    """Whether what was typed answers a program that asks for a password."""
    realm = as_text(raw.get("realm"), 64)
    return bool(realm) and str(realm).lower() in _SECRET_REALMS


def _said(**given: Any) -> Data:
    """Fields that say something: what a line does not tell stays out."""
    return {name: value for name, value in given.items() if value is not None and value != ""}


def _input(raw: Data) -> Data:
    if _is_prompt(raw):
        return {"hidden": True}
    return _said(realm=as_text(raw.get("realm"), 64), text=as_text(raw.get("input"), 1 << 22))


def _copies(raw: Data) -> Data:
    """Where a file was kept, and where the attacker wanted it."""
    return _said(
        outfile=as_text(raw.get("outfile"), MAX_URL),
        destfile=as_text(raw.get("destfile"), MAX_URL),
        duplicate=raw.get("duplicate") if isinstance(raw.get("duplicate"), bool) else None,
    )


def _file(raw: Data) -> Data:
    url, digest = as_text(raw.get("url"), MAX_URL) or "", as_text(raw.get("shasum"), 64)
    return {"url": url, "sha256": digest, **_copies(raw)}


def _failed_file(raw: Data) -> Data:
    return {**_file(raw), "failed": True, **_said(error=as_text(raw.get("error"), MAX_URL))}


def _upload(raw: Data) -> Data:
    name = as_text(raw.get("filename"), MAX_URL) or as_text(raw.get("destfile"), MAX_URL)
    return {"filename": name or "", "sha256": as_text(raw.get("shasum"), 64), **_copies(raw)}


def _forward(raw: Data) -> Data:
    return {
        "host": as_text(raw.get("dst_ip"), MAX_NAME) or "",
        "port": integer(raw.get("dst_port")),
        **_said(
            orig_ip=as_text(raw.get("orig_ip", raw.get("src_ip")), MAX_NAME),
            orig_port=integer(raw.get("orig_port", raw.get("src_port"))),
            new_ip=as_text(raw.get("new_ip"), MAX_NAME),
            new_port=integer(raw.get("new_port")),
        ),
    }


def _through(raw: Data) -> Data:
    """What was sent through a connection that the honeypot was asked for."""
    return {
        "host": as_text(raw.get("dst_ip"), MAX_NAME) or "",
        "port": integer(raw.get("dst_port")),
        **_said(
            data=as_text(raw.get("data"), MAX_DATA),
            ja4=as_text(raw.get("ja4"), MAX_NAME),
            ja4h=as_text(raw.get("ja4h"), MAX_NAME),
        ),
    }


def _exploit(success: bool) -> Callable[[Data], Data]:
    def extract(raw: Data) -> Data:
        return _said(
            cve=as_text(raw.get("cve"), MAX_NAME),
            name=as_text(raw.get("name"), MAX_NAME),
            value=as_text(raw.get("value", raw.get("original_username")), MAX_URL),
            username=as_text(raw.get("username"), MAX_NAME),
            command=as_text(raw.get("attempted_command"), 1 << 22),
        ) | {"success": success}

    return extract


def _var(raw: Data) -> Data:
    name, value = as_text(raw.get("name"), MAX_NAME), as_text(raw.get("value"), MAX_URL)
    return {**_extra(raw), "client_var": f"{name or ''}={value or ''}"}


def _ptr(raw: Data) -> Data:
    return {**_extra(raw), **_said(ptr=as_text(raw.get("ptr"), MAX_NAME))}


def _intel(raw: Data) -> Data:
    """What a provider says, in its own words too where the answer was read out of them."""
    kept, message = _extra(raw), as_text(raw.get("message"), MAX_DATA)
    if message and answer_of(kept["eventid"], {"message": message}):
        kept["fields"]["message"] = message
    return kept


def _extra(raw: Data) -> Data:
    """An event without a home of its own, with everything in it that is its own.

    What it says in words is kept where the fields do not say it.
    """
    own = {key: value for key, value in raw.items() if key not in _SHARED}
    if "USERAUTH_REQUEST" in str(own.get("packet")):
        own.pop("payload", None)  # the bytes of a log-in
    kept = _own_fields(own)
    message = as_text(raw.get("message"), MAX_DATA)
    secret = len(kept) < sum(1 for value in own.values() if value not in (None, ""))
    if message and not secret and not any(str(value) in message for value in kept.values()):
        kept["message"] = message
    if raw.get("isError"):
        kept["isError"] = raw["isError"]
    return {"eventid": str(raw.get("eventid"))[:MAX_NAME], "fields": kept}


def _size(raw: Data) -> Data:
    width, height = integer(raw.get("width")), integer(raw.get("height"))
    return {} if width is None or height is None else {"width": width, "height": height}


def _tty(raw: Data) -> Data:
    return {
        "path": as_text(raw.get("ttylog"), MAX_URL) or "",
        "size": integer(raw.get("size")) or 0,
        "duplicate": raw.get("duplicate") is True,
    }


def _closed(raw: Data) -> Data:
    return {"duration": duration_of(raw)}


_SHARED = frozenset(
    {
        "eventid", "timestamp", "time", "epoch", "@timestamp", "sensor", "session", "src_ip", "protocol", "message",
        "uuid", "format", "system", "isError",
    }
)  # fmt: skip
"""What every line of Cowrie has beside its own fields; the last three are the words of its logging framework."""
_TYPED = frozenset({"$date", "$numberInt", "$numberLong", "$numberDouble", "$oid"})
_TIMES = ("timestamp", "time", "@timestamp")
"""Where the time stands, the honeypot's own first."""
_MILLIS = 1e12
"""A time from here on (the year 33658 in seconds) is one in milliseconds."""
_WHOLE = frozenset({"extra", "var", "ptr", "intel"})
"""Kinds of fact that hold their whole line."""
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,63}")
_SECRET = re.compile(r"(?:^|[_.-])pass(?:word|wd|phrase|code)?s?$|secret|\bpw$", re.IGNORECASE)
"""Fields that hold what an attacker typed to get in: none is kept in clear."""


def _reader(kind: str, read: Callable[[Data], Data], homes: str = "") -> Reader:
    return Reader(kind, read, _SHARED | frozenset(homes.split()))


_OFFERED = frozenset({"hasshAlgorithms", "keyAlgs", "encCS", "macCS", "compCS", "langCS"})
"""What is told with the fingerprint that stands for it."""
_NOT_TOLD = frozenset(
    {"secret", "public_key", "hassh_algorithms", "key_algs", "enc_algs", "mac_algs", "comp_algs", "languages"}
)
"""Parts of a fact that its session does not keep."""
_PASSING = frozenset({"connect", "tty", "closed"})
"""Kinds of fact of which a session keeps none of the fields as they are."""
_KEX = _reader("client", _client, "version hassh kexAlgs")
_LOGIN = "username password"
_FORWARD = _reader("forward", _forward, "dst_ip dst_port orig_ip orig_port src_port new_ip new_port")
_THROUGH = _reader("through", _through, "dst_ip dst_port data ja4 ja4h")
_EXPLOIT = "cve name value username attempted_command"
_FILE = "url shasum outfile destfile duplicate"
_EXTRA = _reader("extra", _extra)
_UNKNOWN = _EXTRA
EVENTS: dict[str, Reader] = {
    "session.connect": _reader("connect", _connect),
    "session.closed": _reader("closed", _closed, "duration duration_ms"),
    "session.input": _reader("input", _input, "realm input"),
    "session.file_download": _reader("download", _file, _FILE),
    "session.file_download.failed": _reader("download", _failed_file, f"{_FILE} error"),
    "session.file_upload": _reader("upload", _upload, "filename shasum outfile destfile duplicate"),
    "client.version": _KEX,
    "client.kex": _KEX,
    "client.fingerprint": _reader("login", _login(False), "username"),
    "client.size": _reader("size", _size, "width height"),
    "client.var": _reader("var", _var),
    "login.success": _reader("login", _login(True), _LOGIN),
    "login.failed": _reader("login", _login(False), _LOGIN),
    "command.input": _reader("command", _command, "input"),
    "command.input/other": _reader("command", _command, "input"),
    "command.failed": _reader("result", _result(False), "input"),
    "command.success": _reader("result", _result(True), "input"),
    "command.unknown": _reader("unknown_command", _result(False), "input"),
    "direct-tcpip.request": _FORWARD,
    "direct-tcpip.redirect": _FORWARD,
    "direct-tcpip.tunnel": _FORWARD,
    "direct-tcpip.data": _THROUGH,
    "direct-tcpip.ja4": _THROUGH,
    "direct-tcpip.ja4h": _THROUGH,
    "tunnelproxy-tcpip.data": _THROUGH,
    "telnet.exploit_attempt": _reader("exploit", _exploit(success=False), _EXPLOIT),
    "telnet.exploit_success": _reader("exploit", _exploit(success=True), _EXPLOIT),
    "log.closed": _reader("tty", _tty),
    "reversedns.connect": _reader("ptr", _ptr),
    **dict.fromkeys(ANSWERS, _reader("intel", _intel)),
    **dict.fromkeys(
        (
            "session.params", "client.malformed_packet", "command.chpasswd", "telnet.option", "telnet.error", "log.open",
            "reversedns.forward", "virustotal.scanfile", "virustotal.scanurl", "abuseipdb.started",
            "abuseipdb.reportfail", "abuseipdb.ratelimited", "abuseipdb.wakeup",
            "urlhaus.submitted", "malwarebazaar.submitted", "threatjammer.reportedips", "threatjammer.reportfail",
            "proxy.backend_connected", "proxy.backend_connect_error", "proxy.backend_disconnected",
            "proxy.client_disconnect", "proxy.ssh", "pool_client",
        ),
        _EXTRA,
    ),
}  # fmt: skip
"""Every event of Cowrie's own reference (docs/OUTPUT, 2.3 to 3.1) → kind of fact, how its fields are read, which have a home.

One that is not here is kept as an extra and counted by its id.
"""
_OLD_IDS = {
    "0001": "session.connect", "0002": "login.success", "0003": "login.failed", "0004": "log.open",
    "0005": "command.input", "0006": "command.unknown", "0007": "session.file_download", "0008": "command.input",
    "0009": "client.version", "0010": "client.size", "0011": "session.closed", "0012": "log.closed",
    "0013": "client.var", "0014": "direct-tcpip.request", "0015": "direct-tcpip.data",
    "0016": "client.fingerprint", "0017": "session.file_upload",
}  # fmt: skip
"""Numbers of Kippo (KIPP) and of Cowrie's first versions (COW) → today's names."""


def is_known(eventid: str) -> bool:
    """Whether an event id is one of Cowrie's reference."""
    return _name_of(eventid) in EVENTS
