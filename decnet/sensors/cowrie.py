"""One line of a Cowrie JSON log becomes one normalised fact; pure.

Strict about types (a fact's fields are what they say), tolerant about shapes: Cowrie changed the
names and types of several fields between 1.5 and 3.1, and attackers choose the text in them.
Putting facts together into sessions is left to :mod:`decnet.sensors.assembly`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, NamedTuple

from decnet.hostile import storable_text

MAX_NAME = 256
MAX_URL = 4096
MAX_ALGORITHMS = 128
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


def parse_line(line: bytes) -> Fact | Refusal:
    """The fact in one line without its newline. Never raises; bad UTF-8 is replaced, not refused."""
    try:
        raw = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return Refusal("not_json")
    if not isinstance(raw, dict):
        return Refusal("not_object")
    return parse_object(raw)


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
    if not eventid.startswith("cowrie."):
        return Refusal("not_cowrie")
    ts = parse_time(raw.get("timestamp", raw.get("time")))
    if ts is None:
        return Refusal("no_time")
    session = as_text(raw.get("session"), 128)
    if not session:
        return Refusal("no_session")
    kind, extract = _EVENTS.get(eventid[7:]) or (_OTHER if eventid[7:] in _UNREAD else _UNKNOWN)
    # In a forward's line the source is what the client claims.
    ip = None if kind == "forward" else _address(as_text(raw.get("src_ip"), 64))
    protocol = as_text(raw.get("protocol"), 32)
    sensor = as_text(raw.get("sensor"), MAX_NAME)
    return Fact(kind, ts, session, sensor or None, ip or None, protocol or None, extract(raw))


@lru_cache(maxsize=65_536)
def _address(text: str | None) -> str | None:
    """An IP address, or None for text that is none."""
    try:
        return None if text is None else str(ip_address(text.strip()))
    except ValueError:
        return None


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


def _nothing(_: Data) -> Data:
    return {}


def _unknown(_: Data) -> Data:
    return {"unknown": True}


def _client(raw: Data) -> Data:
    data: Data = {
        "version": _banner(raw.get("version")),
        "hassh": as_text(raw.get("hassh"), 64),
        "kex": _algorithms(raw.get("kexAlgs")),
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


def _file(raw: Data) -> Data:
    return {"url": as_text(raw.get("url"), MAX_URL) or "", "sha256": as_text(raw.get("shasum"), 64)}


def _upload(raw: Data) -> Data:
    name = as_text(raw.get("filename"), MAX_URL) or as_text(raw.get("destfile"), MAX_URL)
    return {"filename": name or "", "sha256": as_text(raw.get("shasum"), 64)}


def _forward(raw: Data) -> Data:
    return {"host": as_text(raw.get("dst_ip"), MAX_NAME) or "", "port": as_int(raw.get("dst_port"))}


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


_OTHER: tuple[str, Callable[[Data], Data]] = ("other", _nothing)
_UNKNOWN: tuple[str, Callable[[Data], Data]] = ("other", _unknown)
_UNREAD = frozenset({
    "session.params", "client.var", "log.open", "direct-tcpip.data", "direct-tcpip.ja4", "direct-tcpip.ja4h",
    "virustotal.scanfile", "virustotal.scanurl", "reversedns.connect", "greynoise.result", "abusedb.report",
})  # fmt: skip
"""Events of Cowrie that nothing is read from; any other one without a reader is counted as unknown."""
_EVENTS: dict[str, tuple[str, Callable[[Data], Data]]] = {
    "session.connect": ("connect", _connect),
    "client.version": ("client", _client),
    "client.kex": ("client", _client),
    "client.fingerprint": ("login", _login(False)),
    "client.size": ("size", _size),
    "login.success": ("login", _login(True)),
    "login.failed": ("login", _login(False)),
    "command.input": ("command", _command),
    "command.input/other": ("command", _command),
    "command.failed": ("result", _result(False)),
    "command.success": ("result", _result(True)),
    "session.file_download": ("download", _file),
    "session.file_download.failed": ("download", _file),
    "session.file_upload": ("upload", _upload),
    "direct-tcpip.request": ("forward", _forward),
    "log.closed": ("tty", _tty),
    "session.closed": ("closed", _closed),
}
