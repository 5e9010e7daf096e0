"""What may be asked about at all: public addresses, hosts with a public name, URLs on such hosts, hashes of files; pure.

Whatever is not plainly public stays here: private and documentation addresses, names of an inner network, URLs with
a log-in in them. The spelling that comes out is the one that is sent, cached and compared with.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from decnet.addresses import fold, special
from decnet.intel.services.base import Kind, Value

NOT_ASKED: Final = (
    "no_value",
    "special_address",
    "inner_name",
    "log_in",
    "empty_file",
    "own_network",
    "ignored_source",
)
"""Why something is not asked about, all there are: the names of counters.

The last two are the operator's: ``intel.own_networks``, and sources that are ignored.
"""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_EMPTY: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_NAME = re.compile(
    r"(?=.{4,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])"
)
_INNER: Final = frozenset(
    [
        "local",
        "localhost",
        "lan",
        "internal",
        "intranet",
        "corp",
        "home",
        "private",
        "test",
        "example",
        "invalid",
        "onion",
        "arpa",
    ]
)
"""Last labels that no public name has, or that say that it stays inside (RFC 2606, 6761, 6762, 8375)."""
_INNER_NAMES = re.compile(r"(?:.*\.)?example\.(?:com|net|org)")
_SCHEMES: Final = ("http", "https", "ftp", "tftp")
MAX_URL: Final = 2048
_URL = re.compile(rf"[!-~]{{1,{MAX_URL}}}")


class Unaskable(ValueError):
    """Something that is not asked about; ``reason`` is one of :data:`NOT_ASKED`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def value_of(kind: Kind, text: str) -> Value:
    """Something as it is asked about; a host that is an address is asked as one. Raises Unaskable."""
    if kind == "address":
        return _address(text)
    if kind == "sha256":
        return _hash(text)
    if kind == "host":
        return _host(text)
    return _url(text) if kind == "url" else _refuse("no_value")


def host_of(value: Value) -> str | None:
    """The host that is asked about with a value: an address or a name; None for a file."""
    if value.kind == "url":
        return urlsplit(value.text).hostname
    return value.text if value.kind in ("address", "host") else None


def _refuse(reason: str) -> Value:
    raise Unaskable(reason)


def _address(text: str) -> Value:
    address = fold(text)
    if address is None:
        return _refuse("no_value")
    return _refuse("special_address") if special(address) else Value("address", address)


def _hash(text: str) -> Value:
    found = text.strip().lower()
    if not _SHA256.fullmatch(found):
        return _refuse("no_value")
    return _refuse("empty_file") if found == _EMPTY else Value("sha256", found)


def _host(text: str) -> Value:
    if fold(text) is not None:
        return _address(text)
    name = text.strip().lower().rstrip(".")
    if name.rpartition(".")[2] in _INNER or _INNER_NAMES.fullmatch(name):
        return _refuse("inner_name")
    if not _NAME.fullmatch(name):
        return _refuse("no_value")
    return Value("host", name)


def _url(text: str) -> Value:
    """A URL without its fragment, which no server is ever sent."""
    url = text.strip().partition("#")[0]
    try:
        parts = urlsplit(url) if _URL.fullmatch(url) else None
        readable = parts is not None and parts.port != 0
    except ValueError:
        parts, readable = None, False
    if parts is None or not readable or parts.scheme not in _SCHEMES or not parts.hostname:
        return _refuse("no_value")
    if "@" in parts.netloc:
        return _refuse("log_in")
    _host(parts.hostname)
    return Value("url", url)
