"""Settings of who else is told: webhooks, syslog, files. None by default.

They are the section ``publish`` of :mod:`decnet.config`; what is told, and how, is left to :mod:`decnet.runtime`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, SecretStr, field_validator

from decnet.section import Section

NOTICES = "notice.>"
SYSLOG_SCHEMES = ("udp", "tcp", "tls", "unix")
MIN_SECRET = 16
"""Characters of a secret at least: a short one can be guessed from a signature."""
_MAX_TOPIC = 200


class TargetSettings(Section):
    """One target."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")
    """What it is called in health and logs."""
    topics: tuple[str, ...] = Field((NOTICES,), min_length=1)
    """What it is told: patterns of topics as on the bus; `notice.>` is what `--notify` tells."""

    @field_validator("topics")
    @classmethod
    def _are_patterns(cls, topics: tuple[str, ...]) -> tuple[str, ...]:
        for topic in topics:
            tokens = topic.split(".")
            whole = topic.isascii() and topic.isprintable() and " " not in topic and len(topic) <= _MAX_TOPIC
            if not whole or "" in tokens or ">" in tokens[:-1]:
                raise ValueError(f"{topic[:60]!r} is no pattern of topics")
            if any(len(token) > 1 and set(token) & {"*", ">"} for token in tokens):
                raise ValueError(f"{topic[:60]!r}: * and > stand for whole tokens")
        return topics


class WebhookSettings(TargetSettings):
    """A URL that takes JSON by HTTPS POST."""

    kind: Literal["webhook"]
    url: SecretStr
    """Where to; https:// only. It may hold a token, so it is shown nowhere."""
    secret: SecretStr
    """What bodies are signed with (HMAC-SHA256); the receiver has it too."""
    private: bool = False
    """Whether the host may be in a private network or this one; without it only public addresses are connected to."""
    tls_ca: Path | None = None
    """CA file of the receiver; without it those of the system."""
    timeout_s: float = Field(10.0, gt=0)
    """Seconds until an answer that is not there counts as none."""

    @field_validator("url")
    @classmethod
    def _is_https(cls, url: SecretStr) -> SecretStr:
        parts = _parts(url.get_secret_value())
        if parts.scheme != "https":
            raise ValueError("only https:// is posted to")
        if parts.username is not None or parts.fragment:
            raise ValueError("write scheme, host, path and query only")
        return url

    @field_validator("secret")
    @classmethod
    def _is_long(cls, secret: SecretStr) -> SecretStr:
        if len(secret.get_secret_value()) < MIN_SECRET:
            raise ValueError(f"a secret has {MIN_SECRET} characters or more")
        return secret


class SyslogSettings(TargetSettings):
    """A syslog server (RFC 5424): over UDP, TCP, TLS (RFC 5425) or a socket of this host."""

    kind: Literal["syslog"]
    address: str
    """udp://HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT or unix:///dev/log."""
    facility: int = Field(13, ge=0, le=23)
    """Facility; 13 is log audit."""
    tls_ca: Path | None = None
    """CA file of the server; without it those of the system."""
    timeout_s: float = Field(10.0, gt=0)
    """Seconds until a connection that is not there counts as none."""

    @field_validator("address")
    @classmethod
    def _is_a_place(cls, address: str) -> str:
        scheme, _, path = address.partition("://")
        if scheme == "unix" and path.startswith("/"):
            return address
        parts = _parts(address)
        if (
            scheme not in SYSLOG_SCHEMES
            or parts.port is None
            or parts.path
            or parts.query
            or parts.username is not None
        ):
            raise ValueError("write udp://HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT or unix:///dev/log")
        return address


class FileSettings(TargetSettings):
    """A file of JSON lines."""

    kind: Literal["file"]
    path: Path
    """The file, mode 0600; full ones are beside it, as `.1`, `.2` and so on."""
    max_bytes: int = Field(16 * 2**20, ge=65_536)
    """Size at which a new one begins, in bytes."""
    keep: int = Field(4, ge=1, le=100)
    """Full files that are kept."""


class PublishSettings(Section):
    """Who else is told. What waits is stored, and tried again until it gets through."""

    targets: tuple[
        Annotated[WebhookSettings | SyslogSettings | FileSettings, Field(discriminator="kind")], ...
    ] = ()
    """Webhooks, syslog servers, files."""
    keep_s: float = Field(3 * 86_400.0, gt=0)
    """Seconds for which a message waits for its target; then it is given up and counted."""
    max_waiting: int = Field(10_000, ge=1)
    """Messages that wait for one target at most; what comes then is dropped and counted."""
    batch: int = Field(100, ge=1, le=1000)
    """Messages of one target in one round."""
    retry_s: float = Field(5.0, gt=0)
    """First pause after a round that failed, in seconds; doubles up to the next one."""
    retry_max_s: float = Field(600.0, gt=0)
    """Longest pause, in seconds."""

    @field_validator("targets")
    @classmethod
    def _have_names_of_their_own(
        cls, targets: tuple[WebhookSettings | SyslogSettings | FileSettings, ...]
    ) -> tuple[WebhookSettings | SyslogSettings | FileSettings, ...]:
        names = [target.name for target in targets]
        if len(set(names)) < len(names):
            raise ValueError("two targets have one name")
        return targets


def _parts(url: str) -> SplitResult:
    """Raises ValueError, which does not repeat the text: there may be a token in it."""
    try:
        parts = urlsplit(url)
        sound = (
            bool(parts.hostname)
            and parts.port != 0
            and url.isascii()
            and url.isprintable()
            and " " not in url
        )
    except ValueError:
        sound = False
    if not sound:
        raise ValueError("is no URL with a host")
    return parts
