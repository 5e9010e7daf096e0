"""Attackers: first sight, score, fingerprints, what others say of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from decnet.events.fields import Count, Epoch, Named, Percent
from decnet.events.record import FromAttacker


class Observed(FromAttacker, frozen=True, kw_only=True, omit_defaults=True):
    """``attacker.observed``: an attacker was seen on a decky for the first time."""

    decky_id: str | None = None
    service: str | None = None
    first_seen: Epoch | None = None


class Scored(FromAttacker, frozen=True, kw_only=True, omit_defaults=True):
    """``attacker.scored``: a threshold was crossed upwards; ``score`` is 0 to 100."""

    ALWAYS: ClassVar = ("event_count", "service_count", "decky_count", "credential_count")

    score: Percent
    threshold: Percent
    event_count: Count = 0
    service_count: Count = 0
    decky_count: Count = 0
    credential_count: Count = 0


class Fingerprinted(FromAttacker, frozen=True, kw_only=True, omit_defaults=True):
    """``attacker.fingerprinted``: ``type`` is the kind; its value stands in ``value`` or under the kind's own name."""

    ANCHORED_BY_IDENTITY: ClassVar = True
    TYPE_KEY: ClassVar = "type"
    NOT_ON_THE_WIRE: ClassVar = frozenset({"more"})

    type: Named
    decky_id: str | None = None
    session_id: str | None = None
    service: str | None = None
    value: str | None = None
    hassh: str | None = None
    version: str | None = None
    kex: list[str] = []
    hassh_algorithms: str | None = None
    key_algs: list[str] = []
    enc_algs: list[str] = []
    mac_algs: list[str] = []
    comp_algs: list[str] = []
    languages: list[str] = []
    jarm: str | None = None
    ja4: str | None = None
    ja4h: str | None = None
    h2: str | None = None
    """SETTINGS|WINDOW_UPDATE|PRIORITY|pseudo-header order."""
    quic: str | None = None
    tcpfp: str | None = None
    """window_options_mss_scale, as JA4T."""
    public_key: str | None = None
    client_var: str | None = None
    """An environment variable that the client set, ``NAME=value``."""
    ptr: str | None = None
    """The name that the address has in the DNS."""
    address: str | None = None
    addresses: list[str] = []
    method: str | None = None
    host: str | None = None
    raw_url: str | None = None
    status: int | None = None
    user_agent: str | None = None
    bytes_out: Count | None = None
    request_count: Count | None = None
    op_text: str | None = None
    note_text: str | None = None
    signals: list[str] = []
    more: dict[str, Any] = {}
    """Fields of a kind that nobody knows yet; on the wire they stand beside the others."""

    @classmethod
    def unknown_keys(cls, raw: Mapping[str, Any]) -> Iterable[str]:
        """None: a new kind of fingerprint has fields of its own, and they are kept."""
        return ()

    @classmethod
    def settled(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """An ``ipv6_leak`` may have its address in ``addr``; fields of new kinds go together."""
        known = dict(super().settled(raw))
        address = known.pop("addr", None)
        if known.get("address") is None and address is not None:
            known["address"] = address
        strange = known.keys() - (set(cls.__struct_fields__) - cls.NOT_ON_THE_WIRE)
        known["more"] = {key: known.pop(key) for key in sorted(strange)}
        return known

    def plain(self) -> dict[str, Any]:
        """With the fields of new kinds beside the others."""
        built = super().plain()
        return {**built.pop("more", {}), **built}


class IntelEnriched(FromAttacker, frozen=True, kw_only=True, omit_defaults=True):
    """``attacker.intel.enriched``: what providers say about an address; scores are 0 to 100."""

    ANCHORED_BY_IDENTITY: ClassVar = True

    aggregate_verdict: str = "unknown"
    providers: list[str] = []
    abuseipdb_score: Percent | None = None
    abuseipdb_categories: list[int] = []
    greynoise_classification: str | None = None
    greynoise_name: str | None = None
    greynoise_tags: list[str] = []
    feodo_listed: bool = False
    feodo_malware_family: str | None = None
    threatfox_listed: bool = False
    threatfox_threat_types: list[str] = []
    threatfox_ioc_types: list[str] = []
    threatfox_malware_families: list[str] = []
    urlhaus_listed: bool = False
    urlhaus_online: Count | None = None
    """URLs on the address that spread malware now."""
    urlhaus_threats: list[str] = []
    urlhaus_tags: list[str] = []
    ptr: str | None = None
    """The name that the address has in the DNS."""
