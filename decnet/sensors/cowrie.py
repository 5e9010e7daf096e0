"""One line of a Cowrie JSON log becomes one normalised fact; pure.

Strict about types (a fact's fields are what they say), tolerant about shapes: Cowrie changed the
names and types of several fields between 1.5 and 3.1, and attackers choose the text in them.
Putting facts together into sessions is left to :mod:`decnet.sensors.assembly`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from decnet.addresses import fold
from decnet.hostile import storable, storable_text
from decnet.names import bounded

MAX_NAME = 256
_LONGEST_NAME = 65_536
MAX_URL = 4096
MAX_ALGORITHMS = 128
MAX_DATA = 16_384
"""Characters kept of what was sent through a forwarded connection, and of one field of an extra."""
_LATEST = 253_402_300_799.0
_SECRET_REALMS = frozenset({"passwd", "su", "sudo", "ssh", "scp", "sftp", "ftp", "login"})
"""Programs of the honeypot whose input is a password prompt: what is typed there is no command."""

Data = dict[str, Any]


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


class Refusal(NamedTuple):
    """Why a line gives no fact; ``reason`` is a short fixed word."""

    reason: str


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
    eventid = raw.get("eventid")
    if not isinstance(eventid, str):
        return Refusal("no_eventid")
    name = (
        _OLD_IDS.get(eventid[-4:], "") if eventid[:-4] in ("KIPP", "COW") else eventid.removeprefix("cowrie.")
    )
    if not name or name == eventid:
        return Refusal("not_cowrie")
    ts = parse_time(raw.get("timestamp", raw.get("time")))
    if ts is None:
        return Refusal("no_time")
    session = as_text(raw.get("session"), 128)
    if not session:
        return Refusal("no_session")
    kind, extract = EVENTS.get(name) or ("extra", _extra)
    # In a forward's line the source is what the client claims.
    ip = None if kind in ("forward", "through") else _address(as_text(raw.get("src_ip"), 64))
    protocol = as_text(raw.get("protocol"), 32)
    sensor = as_name(raw.get("sensor"))
    return Fact(kind, ts, session, sensor, ip or None, protocol or None, extract(raw))


@lru_cache(maxsize=65_536)
def _address(text: str | None) -> str | None:
    """An IP address, or None for text that is none."""
    return None if text is None else fold(text)


def parse_time(value: Any) -> float | None:
    """Epoch seconds of ISO text (no zone means UTC) or of a number; None when it is no time."""
    number = None if isinstance(value, str) and "T" in value else as_number(value)
    if number is None and isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
            number = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
    return number if number is not None and 0 <= number <= _LATEST else None


def as_text(value: Any, limit: int) -> str | None:
    """Storable text of at most ``limit`` characters; None for null and booleans."""
    if isinstance(value, str):
        return storable_text(value[:limit])
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return str(value)[:limit]
    return storable_text(json.dumps(value, default=str)[:limit])


def as_name(value: Any) -> str | None:
    """The name of a sensor; of a very long one the beginning and what tells it from others."""
    text = as_text(value, _LONGEST_NAME)
    return bounded(text) if text else None


def as_number(value: Any) -> float | None:
    """A finite number from a number or from its text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def as_int(value: Any) -> int | None:
    """A whole number of at most 31 bits."""
    number = as_number(value)
    return int(number) if number is not None and abs(number) < 2**31 else None


def duration_of(raw: Data) -> float | None:
    """Seconds from ``duration`` (number or text, seconds) or ``duration_ms`` (milliseconds)."""
    seconds = as_number(raw.get("duration"))
    if seconds is None:
        millis = as_number(raw.get("duration_ms"))
        seconds = None if millis is None else millis / 1000.0
    return seconds if seconds is not None and 0 <= seconds < 1e10 else None


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
    return {"dst_port": as_int(raw.get("dst_port"))}


def _login(success: bool) -> Callable[[Data], Data]:
    def extract(raw: Data) -> Data:
        key = as_text(raw.get("fingerprint") or raw.get("key"), 65_536)
        return {
            "username": as_text(raw.get("username"), MAX_NAME) or "",
            "secret": key or as_text(raw.get("password"), 65_536),
            "secret_kind": "publickey" if key else "password",
            "success": success,
        }

    return extract


def _command(raw: Data) -> Data:
    realm = as_text(raw.get("realm"), 64)
    if realm and realm.lower() in _SECRET_REALMS:
        return {"hidden": True}
    text = as_text(raw.get("input"), 1 << 22)
    if text is None:
        message = raw.get("message")
        text = as_text(message[5:], 1 << 22) if isinstance(message, str) and message[:5] == "CMD: " else ""
    return {"text": text}


def _result(success: bool) -> Callable[[Data], Data]:
    def extract(raw: Data) -> Data:
        return {"text": as_text(raw.get("input"), 1 << 22) or "", "success": success}

    return extract


def _said(**given: Any) -> Data:
    """Fields that say something: what a line does not tell stays out."""
    return {name: value for name, value in given.items() if value is not None and value != ""}


def _input(raw: Data) -> Data:
    realm = as_text(raw.get("realm"), 64)
    if realm and realm.lower() in _SECRET_REALMS:
        return {"hidden": True}
    return _said(realm=realm, text=as_text(raw.get("input"), 1 << 22))


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
        "port": as_int(raw.get("dst_port")),
        **_said(
            orig_ip=as_text(raw.get("orig_ip"), MAX_NAME),
            orig_port=as_int(raw.get("orig_port")),
            new_ip=as_text(raw.get("new_ip"), MAX_NAME),
            new_port=as_int(raw.get("new_port")),
        ),
    }


def _through(raw: Data) -> Data:
    """What was sent through a connection that the honeypot was asked for."""
    return {
        "host": as_text(raw.get("dst_ip"), MAX_NAME) or "",
        "port": as_int(raw.get("dst_port")),
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


def _extra(raw: Data) -> Data:
    """An event without a home of its own, with everything in it that is its own."""
    own = {
        str(key)[:MAX_NAME]: value for key, value in raw.items() if key not in _SHARED and value is not None
    }
    own = {
        key: value if isinstance(value, (bool, int, float)) else as_text(value, MAX_DATA)
        for key, value in own.items()
    }
    return {"eventid": str(raw.get("eventid"))[:MAX_NAME], "fields": storable(own)}


def _size(raw: Data) -> Data:
    width, height = as_int(raw.get("width")), as_int(raw.get("height"))
    return {} if width is None or height is None else {"width": width, "height": height}


def _tty(raw: Data) -> Data:
    return {
        "path": as_text(raw.get("ttylog"), MAX_URL) or "",
        "size": as_int(raw.get("size")) or 0,
        "duplicate": raw.get("duplicate") is True,
    }


def _closed(raw: Data) -> Data:
    return {"duration": duration_of(raw)}


_SHARED = frozenset(
    {"eventid", "timestamp", "time", "sensor", "session", "src_ip", "protocol", "message", "uuid"}
)
"""What every line of Cowrie has beside its own fields."""
EVENTS: dict[str, tuple[str, Callable[[Data], Data]]] = {
    "session.connect": ("connect", _connect),
    "session.closed": ("closed", _closed),
    "session.params": ("extra", _extra),
    "session.input": ("input", _input),
    "session.file_download": ("download", _file),
    "session.file_download.failed": ("download", _failed_file),
    "session.file_upload": ("upload", _upload),
    "client.version": ("client", _client),
    "client.kex": ("client", _client),
    "client.fingerprint": ("login", _login(False)),
    "client.size": ("size", _size),
    "client.var": ("var", _var),
    "client.malformed_packet": ("extra", _extra),
    "login.success": ("login", _login(True)),
    "login.failed": ("login", _login(False)),
    "command.input": ("command", _command),
    "command.input/other": ("command", _command),
    "command.failed": ("result", _result(False)),
    "command.success": ("result", _result(True)),
    "command.unknown": ("unknown_command", _result(False)),
    "command.chpasswd": ("extra", _extra),
    "direct-tcpip.request": ("forward", _forward),
    "direct-tcpip.redirect": ("forward", _forward),
    "direct-tcpip.tunnel": ("forward", _forward),
    "direct-tcpip.data": ("through", _through),
    "direct-tcpip.ja4": ("through", _through),
    "direct-tcpip.ja4h": ("through", _through),
    "tunnelproxy-tcpip.data": ("through", _through),
    "telnet.exploit_attempt": ("exploit", _exploit(success=False)),
    "telnet.exploit_success": ("exploit", _exploit(success=True)),
    "telnet.option": ("extra", _extra),
    "telnet.error": ("extra", _extra),
    "log.open": ("extra", _extra),
    "log.closed": ("tty", _tty),
    "reversedns.connect": ("ptr", _ptr),
    "reversedns.forward": ("extra", _extra),
    "virustotal.scanfile": ("extra", _extra),
    "virustotal.scanurl": ("extra", _extra),
    "greynoise.result": ("extra", _extra),
    "abuseipdb.started": ("extra", _extra),
    "abuseipdb.reportedip": ("extra", _extra),
    "abuseipdb.reportfail": ("extra", _extra),
    "abuseipdb.ratelimited": ("extra", _extra),
    "abuseipdb.wakeup": ("extra", _extra),
    "urlhaus.submitted": ("extra", _extra),
    "proxy.backend_connected": ("extra", _extra),
    "proxy.backend_connect_error": ("extra", _extra),
    "proxy.backend_disconnected": ("extra", _extra),
    "proxy.client_disconnect": ("extra", _extra),
    "proxy.ssh": ("extra", _extra),
}
"""Every event of Cowrie's own reference (docs/OUTPUT, 2.3 to 3.1) → kind of fact, and how its fields are read.

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
    return eventid.removeprefix("cowrie.") in EVENTS or eventid[-4:] in _OLD_IDS
