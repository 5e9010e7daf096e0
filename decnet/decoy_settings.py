"""Settings of our own small decoys: all off, on loopback unless told otherwise, bounded in everything.

They are sub-sections of ``decoys`` in :mod:`decnet.config`; who listens is left to :mod:`decnet.decoys`.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from decnet.section import Networks, Section


class ListenerSettings(Section):
    """A decoy that listens. Off, no port is opened."""

    enabled: bool = False
    """Whether it listens."""
    host: str = "127.0.0.1"
    """Address it listens on; 0.0.0.0 or :: is every address of this host."""

    @field_validator("host")
    @classmethod
    def _is_an_address(cls, host: str) -> str:
        try:
            ip_address(host)
        except ValueError:
            raise ValueError(f"{host!r} is no address") from None
        return host


class CanaryHttpSettings(ListenerSettings):
    """Canary tokens over HTTP: links, pictures, pages, documents."""

    port: int = Field(8080, ge=1, le=65_535)
    """Port it listens on."""
    base_url: str | None = None
    """What tokens say where it is, as others reach it: http://HOST or http://HOST:PORT."""
    trusted_proxies: Networks = ()
    """Addresses and networks of your own proxies; X-Forwarded-For counts from these only."""
    max_connections: int = Field(256, ge=1)
    """Connections at once; more are closed and counted."""
    max_connections_peer: int = Field(16, ge=1)
    """Connections of one peer at once; more are closed and counted."""
    max_head_bytes: int = Field(16_384, ge=1024, le=65_536)
    """Longest request line with its headers, in bytes."""
    max_body_bytes: int = Field(16_384, ge=1024, le=1_048_576)
    """Longest body that is read, in bytes."""
    request_timeout_s: float = Field(10.0, gt=0)
    """Seconds within which a whole request has to come, and its answer to go."""

    @field_validator("base_url")
    @classmethod
    def _is_a_place(cls, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            parts = urlsplit(url)
            good = bool(_HOST.fullmatch(parts.hostname or "")) and parts.port != 0 and url.isprintable()
        except ValueError:
            good = False
        if not good or parts.scheme not in ("http", "https") or parts.path not in ("", "/"):
            raise ValueError("write http://HOST or http://HOST:PORT (or https://)")
        if parts.query or parts.fragment or parts.username is not None:
            raise ValueError("write scheme, host and port only")
        return url.rstrip("/")


class CanaryDnsSettings(ListenerSettings):
    """Canary tokens over DNS: names under one zone that is delegated to this host."""

    port: int = Field(5353, ge=1, le=65_535)
    """UDP and TCP port it listens on."""
    zone: str | None = None
    """The zone it answers for, such as c.example; it needs one to listen."""
    answer: str = "127.0.0.1"
    """IPv4 address that every name of the zone has."""
    per_second_peer: int = Field(20, ge=1)
    """Questions of one peer answered in a second; more are dropped and counted."""
    max_peers: int = Field(4096, ge=1)
    """Peers whose questions are counted at once; in a second with more, those of others are dropped and counted."""
    max_connections: int = Field(64, ge=1)
    """TCP connections at once; more are closed and counted."""
    max_connections_peer: int = Field(4, ge=1)
    """TCP connections of one peer at once; more are closed and counted."""
    tcp_timeout_s: float = Field(10.0, gt=0)
    """Seconds that a TCP connection may take in all."""

    @field_validator("zone")
    @classmethod
    def _is_a_name(cls, zone: str | None) -> str | None:
        if zone is None:
            return None
        name = zone.rstrip(".").lower()
        # A token's label, one before it, and their dots have to fit into the 253 of a name.
        if len(name) > _LONGEST_ZONE or not _HOST.fullmatch(name):
            raise ValueError(f"{zone!r} is no name of a zone")
        return name

    @field_validator("answer")
    @classmethod
    def _is_ipv4(cls, text: str) -> str:
        try:
            return str(IPv4Address(text))
        except ValueError:
            raise ValueError(f"{text!r} is no IPv4 address") from None

    @model_validator(mode="after")
    def _has_its_zone(self) -> CanaryDnsSettings:
        if self.enabled and self.zone is None:
            raise ValueError("answers for one zone: set `zone` too")
        return self


_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?:\.(?!-)[a-z0-9-]{1,63})*", re.IGNORECASE | re.ASCII)
_LONGEST_ZONE = 160
_LONGEST_HOST = 64
"""Characters of a host name: no more fit into the name of a certificate."""


class MailSettings(ListenerSettings):
    """The mail decoy: takes every message, sends none."""

    port: int = Field(2525, ge=1, le=65_535)
    """Port it listens on."""
    decky: str = "mail"
    """Name of the decky that it is, in events."""
    hostname: str = "mail.localdomain"
    """Host name that it greets with and that its certificate is for."""
    folder: Path | None = None
    """Where messages are kept; without it `mail` in the data directory."""
    known_bad: Path | None = None
    """File with SHA-256 of files that are known to be bad, one a line; for the inbox too."""
    max_message_bytes: int = Field(2**20, ge=1024, le=2**25)
    """Largest message, in bytes; a larger one is refused (552) and counted."""
    max_recipients: int = Field(100, ge=1)
    """Recipients of one message whose domains are kept; more are taken and counted."""
    max_connections: int = Field(128, ge=1)
    """Connections at once; more are refused (421) and counted."""
    max_connections_peer: int = Field(16, ge=1)
    """Connections of one peer (of IPv6: one /64) at once; more are refused (421) and counted."""
    max_messages: int = Field(100, ge=1)
    """Messages of one connection; then it is closed (421) and counted."""
    session_s: float = Field(120.0, gt=0)
    """Seconds that a connection may last in all."""
    max_folder_bytes: int = Field(2**30, ge=0)
    """Bytes of all kept messages; a message beyond is judged, not kept, and refused for now (452)."""

    @field_validator("hostname")
    @classmethod
    def _is_a_host(cls, name: str) -> str:
        if len(name) > _LONGEST_HOST or not _HOST.fullmatch(name):
            raise ValueError(f"{name!r} is no host name")
        return name

    @field_validator("decky")
    @classmethod
    def _is_a_segment(cls, name: str) -> str:
        if not name or any(char in ".*>" or char.isspace() for char in name):
            raise ValueError("a decky's name has no dot, star, > or white space")
        return name


class DecoySettings(Section):
    """Our own small decoys."""

    canary_http: CanaryHttpSettings = CanaryHttpSettings()
    """Canary tokens over HTTP; off."""
    canary_dns: CanaryDnsSettings = CanaryDnsSettings()
    """Canary tokens over DNS; off."""
    mail: MailSettings = MailSettings()
    """The mail decoy; off."""
    watch_keys: bool = False
    """Whether planted AWS and SSH keys that come back on your own decoys are a trip; off, no event is read for it."""
    max_waiting_hits: int = Field(10_000, ge=1)
    """Hits of canary tokens that wait to be stored; more are dropped and counted."""
    max_foreign_tokens: int = Field(1000, ge=0)
    """Tokens of other services' that are listed once a webhook told of them; trips of more are counted only."""
    max_window_triggers: int = Field(100, ge=1)
    """Peers that set one token off within 15 minutes and are told of; of more only the count is kept."""
