"""What a row of a table can give, which values it takes, and of which type each has to be; pure.

The facts are those of Cowrie's and OpenCanary's readers, so that sessions, credentials and tags come about as theirs do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from decnet.bounds import bit
from decnet.events.fields import number
from decnet.sensors.formats.values import CUT, MAX_TEXT, Underived, plain, within
from decnet.sensors.requests import REQUEST
from decnet.sensors.values import MAX_NAME, MAX_URL, Data

MAX_NOTE = 8_192
"""Characters kept of an operation and of a note."""
MAX_SECRET = 65_536
MOST = 2**53
"""Greatest count that is believed: sums of many still fit into 63 bits."""
_TRUE, _FALSE = (
    frozenset({"true", "yes", "1", "success"}),
    frozenset({"false", "no", "0", "failure", "failed"}),
)
Coerce = Callable[[Any], Any]


def _text(limit: int) -> Coerce:
    def coerce(value: Any) -> str | None:
        text = plain(value, limit + 1)
        return within(text, limit) if text else None

    return coerce


def count(value: Any) -> int | None:
    """A whole number from 0 to :data:`MOST`, from a number or its text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if 0 <= value <= MOST else None
    found = number(value)
    return int(found) if found is not None and 0 <= found <= MOST else None


def seconds(value: Any) -> float | None:
    """A span of time in seconds; none beyond three centuries."""
    found = number(value)
    return found if found is not None and 0 <= found < 1e10 else None


def flag(value: Any) -> bool | None:
    """True or false, also as a word."""
    if isinstance(value, bool):
        return value
    word = str(value).lower() if isinstance(value, (str, int)) else ""
    return True if word in _TRUE else False if word in _FALSE else None


_NAME, _URL, _NOTE = _text(MAX_NAME), _text(MAX_URL), _text(MAX_NOTE)
_SECRET, _COMMAND = _text(MAX_SECRET), _text(MAX_TEXT)
_HASH = _text(64)


@dataclass(frozen=True, slots=True)
class Emit:
    """One thing that a row can give.

    ``fields`` are the values that it takes, ``needs`` those of which one has to say something, ``words`` the ones
    that the table itself fixes with their defaults. ``build`` makes the data of a fact of the kind ``fact``.
    """

    fact: str
    fields: Mapping[str, Coerce]
    needs: tuple[str, ...]
    build: Callable[[Data], Data]
    words: Mapping[str, str | None]


def _same(said: Data) -> Data:
    return said


def _login(said: Data) -> Data:
    return {
        "username": said.get("username") or "",
        "secret": said.get("password"),
        "secret_kind": said["secret_kind"],
        "success": said.get("success") is True,
    }


def _request(said: Data) -> Data:
    """A request names at least what every one has, so that two of them can be told apart."""
    return {"method": "", "user_agent": "", "host": "", **said}


def _file(said: Data) -> Data:
    return {"url": "", "sha256": None, **said}


def _upload(said: Data) -> Data:
    return {"filename": "", "sha256": None, **said}


def _exploit(said: Data) -> Data:
    return {**said, "success": said.get("success") is True}


def _closed(said: Data) -> Data:
    return {"duration": said.get("duration")}


def _connect(said: Data) -> Data:
    return {"dst_port": None}


_COUNTS = ("bytes_out", "request_count", "rows_read", "bytes_read", "llmnr_poison_count")
_TOLD: Mapping[str, Coerce] = {"op_text": _NOTE, "note_text": _NOTE}
MAX_SIGNALS = 16
"""Words of a session's ``signals`` that one line gives."""


def signals(value: Any) -> list[str] | None:
    """Words with blanks between them."""
    words = (plain(value, MAX_NAME) or "").split()
    bit(CUT, len(words) - MAX_SIGNALS)
    return words[:MAX_SIGNALS] or None


_SESSION: Mapping[str, Coerce] = {
    **_TOLD,
    "signals": signals,
    "path": _URL,
    "tftp_filename": _URL,
    **dict.fromkeys(_COUNTS, count),
}
FINGERPRINT: Final = "fingerprint"
EMITS: Final[Mapping[str, Emit]] = {
    FINGERPRINT: Emit(
        FINGERPRINT,
        {"value": _NAME, "version": _NAME, "hassh_algorithms": _URL},
        ("value",),
        _same,
        {"type": None},
    ),
    "http_request": Emit(
        REQUEST,
        {"raw_url": _URL, "method": _text(32), "host": _NAME, "user_agent": _URL, "status": count, **_TOLD},
        ("raw_url",),
        _request,
        {},
    ),
    "login": Emit(
        "login",
        {"username": _NAME, "password": _SECRET, "success": flag},
        ("username", "password"),
        _login,
        {"secret_kind": "password"},
    ),
    "command": Emit("command", {"text": _COMMAND}, ("text",), _same, {}),
    "session": Emit("fact", _SESSION, tuple(_SESSION), _same, {}),
    "connect": Emit("connect", {}, (), _connect, {}),
    "client": Emit("client", {"version": _NAME, "hassh": _HASH}, ("version", "hassh"), _same, {}),
    "download": Emit(
        "download",
        {"url": _URL, "sha256": _HASH, "outfile": _URL, "destfile": _URL},
        ("url", "sha256"),
        _file,
        {},
    ),
    "upload": Emit(
        "upload",
        {"filename": _URL, "sha256": _HASH, "outfile": _URL, "destfile": _URL},
        ("filename", "sha256"),
        _upload,
        {},
    ),
    "exploit": Emit(
        "exploit",
        {"cve": _NAME, "name": _NAME, "value": _URL, "success": flag},
        ("cve", "name", "value"),
        _exploit,
        {},
    ),
    "closed": Emit("closed", {"duration": seconds}, (), _closed, {}),
}
"""Word behind ``emit:`` → what it gives."""


def taken(emit: Emit, read: Mapping[str, Any], words: Mapping[str, str]) -> Data | Underived | None:
    """The data of a fact out of values as they were read; None when what it needs is not there."""
    said: Data = {}
    for name, value in read.items():
        if isinstance(value, Underived):
            if name in emit.needs:
                return value
            continue
        made = None if value is None else emit.fields[name](value)
        if made is not None:
            said[name] = made
    if emit.needs and not any(said.get(name) is not None for name in emit.needs):
        return None
    return emit.build({**words, **said})
