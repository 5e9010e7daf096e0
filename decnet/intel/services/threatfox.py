"""ThreatFox (abuse.ch): whether an address is known as part of malware's infrastructure; pure.

It searches for text, so that asking for 1.2.3.4 finds 11.2.3.4 and 1.2.3.40 too: only what is about exactly the address
counts. Of what its reporters are less than half sure, nothing is told but that the address is suspicious.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from decnet.addresses import fold
from decnet.intel.services.base import (
    Answer,
    Request,
    Service,
    Value,
    about_address,
    distinct,
    items,
    mapping,
    optional_word,
    text,
    whole,
    word,
)
from decnet.intel.services.urlhaus import query_status

SURE: Final = 50
"""Least confidence (0 to 100) of an entry that counts as listing the address."""
_UNKNOWN: Final = "no_result"
_LONGEST = 4096


def _request(value: Value) -> Request:
    return Request(
        "POST", "/api/v1/", json={"query": "search_ioc", "search_term": value.text, "exact_match": False}
    )


def _read(value: Value, status: int, body: Any) -> Answer:
    said = mapping(body)
    entries = [mapping(one) for one in items(said.get("data"))] if query_status(said, _UNKNOWN) else []
    own = [one for one in entries if _address_of(one) == value.text]
    sure = [one for one in own if whole(one.get("confidence_level"), 0, 100) >= SURE]
    verdict = "malicious" if sure else "suspicious" if own else "unknown"
    return about_address(
        "threatfox",
        bool(own),
        verdict,
        threatfox_listed=bool(sure),
        threatfox_threat_types=distinct(word(one.get("threat_type")) for one in sure),
        threatfox_ioc_types=distinct(word(one.get("ioc_type")) for one in sure),
        threatfox_malware_families=distinct(optional_word(one.get("malware_printable")) for one in sure),
    )


def _address_of(entry: Mapping[str, Any]) -> str | None:
    """The address that an entry is about; None for one about a name or a file."""
    ioc = text(entry.get("ioc"), _LONGEST)
    if "://" not in ioc:
        return fold(ioc)
    try:
        host = urlsplit(ioc).hostname
    except ValueError:
        return None
    return fold(host) if host else None


THREATFOX: Final = Service("threatfox", frozenset({"address"}), "Auth-Key", _request, _read)
