"""Bytes of a connection → one request, by h11; and the bytes of its answer. Pure.

One request is answered on a connection: what follows it is nobody's, so nothing can be smuggled behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import formatdate
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final, Literal, NamedTuple

import h11

from decnet.decoys.http.answers import Answer
from decnet.ids import normalize_ip

Trouble = Literal["tls", "malformed", "head_too_long", "body_too_long"]
Network = IPv4Network | IPv6Network
_TLS_HELLO: Final = b"\x16"
_HEAD_TOO_LONG: Final = 431
_VERSIONS: Final = (b"1.0", b"1.1")
MAX_FORWARDED: Final = 64
"""Addresses that are read of X-Forwarded-For, from its end."""


class Request(NamedTuple):
    """One whole request."""

    method: str
    target: bytes
    user_agent: bytes
    forwarded: tuple[bytes, ...]
    body: bytes


class Reading:
    """The bytes of one connection as they come, until there is a request or a trouble."""

    def __init__(self, max_head: int, max_body: int) -> None:
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=max_head)
        self._max_head, self._max_body = max_head, max_body
        self._fed = 0
        self._head: h11.Request | None = None
        self._body = bytearray()
        self.trouble: Trouble | None = None

    def feed(self, data: bytes) -> Request | None:
        """The next bytes (none: the peer has ended); a request as soon as it is whole. Afterwards ``trouble`` says why not."""
        if not self._fed and data.startswith(_TLS_HELLO):
            self.trouble = "tls"
            return None
        self._fed += len(data)
        try:
            self._connection.receive_data(data)
            return self._next()
        except h11.RemoteProtocolError as error:
            too_long = error.error_status_hint == _HEAD_TOO_LONG
            self.trouble = "head_too_long" if too_long else "malformed"
            return None

    def _next(self) -> Request | None:
        while True:
            event = self._connection.next_event()
            if isinstance(event, h11.Request):
                self._head = event
                if event.http_version not in _VERSIONS:
                    self.trouble = "malformed"
                    return None
                if self._fed - len(self._connection.trailing_data[0]) > self._max_head:
                    self.trouble = "head_too_long"
                    return None
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > self._max_body:
                    self.trouble = "body_too_long"
                    return None
            elif isinstance(event, h11.EndOfMessage):
                return self._request()
            elif isinstance(event, h11.ConnectionClosed):
                self.trouble = "malformed"
                return None
            else:  # needs more data
                return None

    def _request(self) -> Request:
        head = self._head
        assert head is not None
        agents = [value for name, value in head.headers if name == b"user-agent"]
        forwarded = tuple(value for name, value in head.headers if name == b"x-forwarded-for")
        method = head.method.decode("ascii", "replace")
        return Request(
            method, bytes(head.target), bytes(agents[0]) if agents else b"", forwarded, bytes(self._body)
        )


def packed(answer: Answer, at: float, *, with_body: bool) -> bytes:
    """The bytes of an answer at a moment (epoch seconds); no header names a product."""
    phrase = {200: "OK", 403: "Forbidden", 404: "Not Found"}[answer.status]
    head = (
        f"HTTP/1.1 {answer.status} {phrase}\r\n"
        f"Date: {formatdate(at, usegmt=True)}\r\n"
        f"Content-Type: {answer.kind}\r\n"
        f"Content-Length: {len(answer.body)}\r\n"
        "Cache-Control: no-store\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + (answer.body if with_body else b"")


def peer_of(peer: str, forwarded: Sequence[bytes], proxies: Sequence[Network]) -> str:
    """Who asks, in the canonical form: the last address of X-Forwarded-For that is no proxy of ours, if a proxy says so."""
    found = normalize_ip(peer)
    if not _trusted(found, proxies):
        return found
    said = [part.strip() for value in forwarded for part in value.decode("latin-1").split(",")]
    for text in reversed(said[-MAX_FORWARDED:]):
        try:
            address = str(ip_address(normalize_ip(text)))
        except ValueError:
            return found
        found = address
        if not _trusted(found, proxies):
            return found
    return found


def _trusted(address: str, proxies: Sequence[Network]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in proxies)
