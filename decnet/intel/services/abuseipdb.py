"""AbuseIPDB, check: the score of an address and what its reports are about; pure. Nothing is reported there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from decnet.intel.services.base import (
    MAX_WORDS,
    Answer,
    AnswerFault,
    Request,
    Service,
    Value,
    about_address,
    flag,
    items,
    mapping,
    same_address,
    whole,
)

REPORTS_OF_DAYS: Final = 7
"""Age of reports that are asked for, in days: those of months about a busy address make an answer of megabytes."""
MALICIOUS, SUSPICIOUS = 75, 25
"""Scores from which an address is called so: the first is where AbuseIPDB advises to block, the second what it advises

as the least for a list of blocked addresses."""
_MOST_REPORTS = 10**9
_MOST_CATEGORY = 999


def _request(value: Value) -> Request:
    params = {"ipAddress": value.text, "maxAgeInDays": str(REPORTS_OF_DAYS), "verbose": "true"}
    return Request("GET", "/api/v2/check", params)


def _read(value: Value, status: int, body: Any) -> Answer:
    said = mapping(mapping(body).get("data"))
    same_address(value, said.get("ipAddress"))
    score = whole(said.get("abuseConfidenceScore"), 0, 100)
    reports = whole(said.get("totalReports"), 0, _MOST_REPORTS)
    trusted = said.get("isWhitelisted") is not None and flag(said.get("isWhitelisted"))
    return about_address(
        "abuseipdb",
        bool(score or reports or trusted),
        _verdict(score, trusted),
        abuseipdb_score=float(score),
        abuseipdb_categories=_categories(items(said.get("reports"))),
    )


def _categories(reports: Sequence[Any]) -> list[int]:
    found = {
        whole(category, 0, _MOST_CATEGORY) for report in map(mapping, reports) for category in _listed(report)
    }
    if len(found) > MAX_WORDS:
        raise AnswerFault("wrong_shape")
    return sorted(found)


def _listed(report: Mapping[str, Any]) -> Sequence[Any]:
    return items(report.get("categories"))


def _verdict(score: int, trusted: bool) -> str:
    if trusted:
        return "benign"
    return "malicious" if score >= MALICIOUS else "suspicious" if score >= SUSPICIOUS else "unknown"


ABUSEIPDB: Final = Service("abuseipdb", frozenset({"address"}), "Key", _request, _read)
