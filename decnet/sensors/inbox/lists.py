"""Exports of Feodo Tracker, ThreatFox, URLhaus, AbuseIPDB and GreyNoise: what each says of which address; pure.

JSON and CSV as they are downloaded. An entry that cannot be read costs itself. What is said is of the shape that the
services' answers have too.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from decnet.addresses import fold
from decnet.events.fields import epoch, number
from decnet.jsontext import loads
from decnet.sensors.values import MAX_NAME, Data, as_text

Entry = Mapping[str, Any]
SURE = 50
"""Least confidence (0 to 100) of a ThreatFox entry that counts as listing its address."""
MALICIOUS, SUSPICIOUS = 75, 25
"""Scores of AbuseIPDB's from which an address is called so."""
MAX_WORDS = 100
_RIOT = "RIOT"
_VERDICTS = ("malicious", "suspicious", "benign")
_ORDER = ("unknown", "benign", "suspicious", "malicious")


class Said(NamedTuple):
    """What a list says of one address: fields of ``attacker.intel.enriched``, and when (None where it does not say)."""

    address: str
    fields: Data
    ts: float | None


class Kind(NamedTuple):
    """One provider's export: what an entry has, and what it says."""

    name: str
    has: frozenset[str]
    read: Callable[[Entry], tuple[str | None, Data, Any]]
    """Address, fields, time; a field that is a list is joined over entries of one address."""


def said_of(text: str, most: int) -> tuple[str, list[Said], int, int]:
    """(provider, what it says by address, entries that could not be read, entries beyond ``most``).

    The provider is empty for a text that is no export of a known one.
    """
    kind: Kind | None = None
    found: dict[str, Said] = {}
    wrong = beyond = 0
    for count, entry in enumerate(_entries(text)):
        if count >= most:
            beyond += 1
            continue
        kind = kind or _kind_of(entry)
        address, fields, when = kind.read(entry) if kind else (None, {}, None)
        if kind is None or address is None:
            wrong += 1
        else:
            one = Said(address, {**fields, "providers": [kind.name]}, epoch(when))
            found[address] = _both(found[address], one) if address in found else one
    return (kind.name, list(found.values()), wrong, beyond) if kind else ("", [], 0, 0)


def _both(one: Said, two: Said) -> Said:
    """Two entries about one address: lists and counts together, the worse verdict, the newer time."""
    fields = dict(one.fields)
    for name, value in two.fields.items():
        known = fields.get(name)
        if isinstance(value, list) and isinstance(known, list):
            fields[name] = sorted({*known, *value})[:MAX_WORDS]
        elif name == "aggregate_verdict":
            fields[name] = max(str(known), value, key=_ORDER.index)
        elif name == "urlhaus_online":
            fields[name] = int(known or 0) + value
        else:
            fields[name] = known or value
    return Said(one.address, fields, max((ts for ts in (one.ts, two.ts) if ts is not None), default=None))


def _entries(text: str) -> Iterator[Entry]:
    """The entries of a text."""
    start = text.lstrip("\ufeff \t\r\n")
    return _json_entries(start) if start[:1] in ("{", "[") else _csv_entries(start)


def _json_entries(text: str) -> Iterator[Entry]:
    try:
        raw = loads(text)
    except (ValueError, RecursionError):
        lines = (line for line in text.splitlines() if line.strip())
        yield from _json_lines(lines)
        return
    yield from _flat(raw)


def _json_lines(lines: Iterable[str]) -> Iterator[Entry]:
    for line in lines:
        try:
            raw = loads(line)
        except (ValueError, RecursionError):
            raw = None
        yield raw if isinstance(raw, dict) else {}


def _flat(raw: Any) -> Iterator[Entry]:
    """Entries of a list, of lists by id, or under ``data``; an object that is none of these is one itself."""
    if isinstance(raw, dict):
        inner = raw.get("data")
        if isinstance(inner, (list, dict)):
            yield from _flat(inner)
        elif raw and all(isinstance(value, list) for value in raw.values()):
            for value in raw.values():
                yield from _flat(value)
        else:
            yield raw
    elif isinstance(raw, list):
        yield from (one if isinstance(one, dict) else {} for one in raw)


def _csv_entries(text: str) -> Iterator[Entry]:
    """Rows by the names of their columns; abuse.ch writes those into a comment."""
    names: list[str] = []
    lines = io.StringIO(text, newline="")
    try:
        for row in csv.reader(
            (line.lstrip("# ") if _is_head(line) else line for line in lines), skipinitialspace=True
        ):
            if not row or (row[0].startswith("#") and not names):
                continue
            if not names:
                names = [name.strip().lower().replace(" ", "_") for name in row]
            elif not row[0].startswith("#"):
                yield dict(zip(names, row, strict=False))
    except csv.Error:
        return


def _is_head(line: str) -> bool:
    return line.startswith("#") and line.count(",") >= 3


def _kind_of(entry: Entry) -> Kind | None:
    names = entry.keys()
    return next((kind for kind in KINDS if kind.has <= names), None)


def _word(value: Any) -> str | None:
    text = as_text(value, MAX_NAME)
    return text.strip() or None if text else None


def _words(value: Any) -> list[str]:
    parts = value if isinstance(value, list) else str(value or "").split(",")
    return sorted({word for part in parts if (word := _word(part)) and word.lower() != "none"})[:MAX_WORDS]


def _host(value: Any) -> str | None:
    """The address in an indicator: itself, with a port, or the host of a URL; None for anything else."""
    text = as_text(value, 4096)
    if not text:
        return None
    if "://" not in text:
        return fold(text.strip())
    try:
        host = urlsplit(text.strip()).hostname
    except ValueError:
        return None
    return fold(host) if host else None


def _feodo(entry: Entry) -> tuple[str | None, Data, Any]:
    said: Data = {"feodo_listed": True, "aggregate_verdict": "malicious"}
    if family := _word(entry.get("malware")):
        said["feodo_malware_family"] = family
    when = entry.get("last_online") or entry.get("first_seen") or entry.get("first_seen_utc")
    return _host(entry.get("ip_address") or entry.get("dst_ip")), said, when


def _threatfox(entry: Entry) -> tuple[str | None, Data, Any]:
    sure = (number(entry.get("confidence_level")) or 0) >= SURE
    said: Data = {"threatfox_listed": sure, "aggregate_verdict": "malicious" if sure else "suspicious"}
    if sure:
        said["threatfox_threat_types"] = _words([entry.get("threat_type")])
        said["threatfox_ioc_types"] = _words([entry.get("ioc_type")])
        said["threatfox_malware_families"] = _words([entry.get("malware_printable")])
    when = entry.get("last_seen_utc") or entry.get("first_seen_utc") or entry.get("first_seen")
    return _host(entry.get("ioc_value") or entry.get("ioc")), said, when


def _urlhaus(entry: Entry) -> tuple[str | None, Data, Any]:
    online = int(_word(entry.get("url_status")) == "online")
    said: Data = {
        "urlhaus_listed": True,
        "urlhaus_online": online,
        "urlhaus_threats": _words([entry.get("threat")]),
        "urlhaus_tags": _words(entry.get("tags")),
        "aggregate_verdict": "malicious" if online else "suspicious",
    }
    return _host(entry.get("url")), said, entry.get("last_online") or entry.get("dateadded")


def _abuseipdb(entry: Entry) -> tuple[str | None, Data, Any]:
    score = number(
        entry.get(
            "abuseconfidencescore", entry.get("abuseConfidenceScore", entry.get("abuse_confidence_score"))
        )
    )
    if score is None or not 0 <= score <= 100:
        return None, {}, None
    verdict = "malicious" if score >= MALICIOUS else "suspicious" if score >= SUSPICIOUS else "unknown"
    said: Data = {"abuseipdb_score": score, "aggregate_verdict": verdict}
    reports = entry.get("reports")
    listed = (
        [one.get("categories") for one in reports if isinstance(one, dict)]
        if isinstance(reports, list)
        else []
    )
    numbers = {
        n for one in listed if isinstance(one, list) for n in one if isinstance(n, int) and 0 <= n < 1000
    }
    if numbers:
        said["abuseipdb_categories"] = sorted(numbers)[:MAX_WORDS]
    when = entry.get("lastReportedAt") or entry.get("last_reported_at") or entry.get("lastreportedat")
    return _host(entry.get("ipAddress") or entry.get("ipaddress") or entry.get("ip")), said, when


def _greynoise(entry: Entry) -> tuple[str | None, Data, Any]:
    word = (_word(entry.get("classification")) or "unknown").lower()
    riot = str(entry.get("riot")).lower() == "true"
    said: Data = {
        "greynoise_classification": word,
        "aggregate_verdict": word if word in _VERDICTS else "unknown",
    }
    if name := _word(entry.get("name") or entry.get("actor")):
        said["greynoise_name"] = name
    if tags := [*_words(entry.get("tags")), *([_RIOT] if riot else [])]:
        said["greynoise_tags"] = tags
    return _host(entry.get("ip")), said, entry.get("last_seen")


KINDS = (
    Kind("feodo", frozenset({"ip_address", "malware"}), _feodo),
    Kind("feodo", frozenset({"dst_ip", "dst_port", "malware"}), _feodo),
    Kind("threatfox", frozenset({"ioc_value", "threat_type"}), _threatfox),
    Kind("threatfox", frozenset({"ioc", "threat_type"}), _threatfox),
    Kind("urlhaus", frozenset({"url", "threat", "url_status"}), _urlhaus),
    Kind("abuseipdb", frozenset({"ipAddress", "abuseConfidenceScore"}), _abuseipdb),
    Kind("abuseipdb", frozenset({"ipaddress", "abuseconfidencescore"}), _abuseipdb),
    Kind("abuseipdb", frozenset({"ip", "abuse_confidence_score"}), _abuseipdb),
    Kind("greynoise", frozenset({"ip", "classification"}), _greynoise),
)
"""The exports that are known, by the names that their entries have."""
