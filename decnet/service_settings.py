"""Settings of the services that may be asked about attackers: all off, and each says what leaves this host, and to whom.

They are sections of :mod:`decnet.config`; who asks, and how, is left to :mod:`decnet.intel.services`.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import ClassVar, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from decnet.section import Section


class ServiceSettings(Section):
    """A service that is asked about attackers. Off, no packet goes to it and its name is not looked up."""

    KEYLESS: ClassVar[bool] = False
    """Whether it answers without a key."""

    enabled: bool = False
    """Whether it is asked; see the section for what leaves this host, and to whom."""
    key: SecretStr | None = None
    """Key of your account there; it goes to the service's own host only."""
    base_url: str
    """Where it is; a mirror has the same paths. Without TLS on this host only."""
    proxy: SecretStr | None = None
    """Proxy for this service (http:// or https://); those of the environment are not used."""
    daily_budget: int = Field(ge=1)
    """Questions in one UTC day at most; what was asked is remembered over restarts."""
    timeout_s: float = Field(10.0, gt=0)
    """Seconds until an answer that is not there as a whole counts as failed."""

    @field_validator("key")
    @classmethod
    def _fits_a_header(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and not _KEY.fullmatch(key.get_secret_value()):
            raise ValueError("a key is up to 512 characters of ASCII without blanks")
        return key

    @field_validator("base_url")
    @classmethod
    def _safe_base(cls, url: str) -> str:
        parts = _url_parts(url)
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("write scheme, host and path only")
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _THIS_HOST):
            raise ValueError("a service is asked over https:// only")
        return url.rstrip("/")

    @field_validator("proxy")
    @classmethod
    def _known_proxy(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and _url_parts(url.get_secret_value()).scheme not in ("http", "https"):
            raise ValueError("a proxy is http://HOST:PORT or https://HOST:PORT")
        return url

    @model_validator(mode="after")
    def _has_its_key(self) -> Self:
        if self.enabled and self.key is None and not self.KEYLESS:
            raise ValueError("answers with a key only: set `key` too")
        return self


_URL = re.compile(r"[!-~]+")
_KEY = re.compile(r"[!-~]{1,512}")
_THIS_HOST = ("localhost", "127.0.0.1", "::1")


def _url_parts(url: str) -> SplitResult:
    """Raises ValueError, which does not repeat the text: there may be a password in it."""
    parts = None
    if _URL.fullmatch(url):
        with suppress(ValueError):  # a port that is none, brackets that do not close
            found = urlsplit(url)
            parts = found if found.hostname and found.port != 0 else None
    if parts is None:
        raise ValueError("is no URL with a host")
    return parts


class GreyNoiseSettings(ServiceSettings):
    """GreyNoise (community): whether an address scans everybody.

    Sent to api.greynoise.io: the address of each new attacker, one a request; with a key, who asks.
    """

    KEYLESS: ClassVar[bool] = True
    base_url: str = "https://api.greynoise.io"
    daily_budget: int = Field(50, ge=1)


class AbuseIpdbSettings(ServiceSettings):
    """AbuseIPDB: what an address was reported for in the last week, and its score. Nothing is reported there.

    Sent to api.abuseipdb.com: the address of each new attacker, one a request, and the key.
    """

    base_url: str = "https://api.abuseipdb.com"
    daily_budget: int = Field(1000, ge=1)


class VirusTotalSettings(ServiceSettings):
    """VirusTotal: how many engines know a file. Only its hash is sent, never the file.

    Sent to www.virustotal.com: the SHA-256 of each file that attackers brought, one a request, and the key. Who
    brought a file made for you alone can see there that somebody has it.
    """

    base_url: str = "https://www.virustotal.com"
    daily_budget: int = Field(500, ge=1)


class UrlhausSettings(ServiceSettings):
    """URLhaus (abuse.ch): whether an address, a URL or a file spreads malware.

    Sent to urlhaus-api.abuse.ch: addresses of attackers, whole URLs that files were fetched from, SHA-256 of files, one
    a request, and the key. URLs on hosts without a public name, and URLs with a log-in in them, are not sent.
    """

    base_url: str = "https://urlhaus-api.abuse.ch"
    daily_budget: int = Field(1000, ge=1)


class ThreatFoxSettings(ServiceSettings):
    """ThreatFox (abuse.ch): whether an address is known as part of malware's infrastructure.

    Sent to threatfox-api.abuse.ch: the address of each new attacker, one a request, and the key.
    """

    base_url: str = "https://threatfox-api.abuse.ch"
    daily_budget: int = Field(1000, ge=1)


class FeodoSettings(ServiceSettings):
    """Feodo Tracker (abuse.ch): the list of botnets' control servers, fetched as a whole and looked into here.

    Sent to feodotracker.abuse.ch: that you fetch the list; with a key, who asks. No address of any attacker.
    """

    KEYLESS: ClassVar[bool] = True
    base_url: str = "https://feodotracker.abuse.ch"
    daily_budget: int = Field(24, ge=1)
