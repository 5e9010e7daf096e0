"""VirusTotal, files: how many engines call a file malicious, by its hash; pure. No file is ever sent.

Its answers are about a file, so they say no verdict of the address that brought it. The names under which others
sent a file in are written by whoever sent it, and are not read.
"""

from __future__ import annotations

from typing import Any, Final

from decnet.intel.services.base import (
    Answer,
    AnswerFault,
    Request,
    Service,
    Value,
    mapping,
    optional_word,
    text,
    whole,
)

_COUNTED: Final = ("malicious", "suspicious", "undetected", "harmless")
"""Results of engines that looked; the others did not get to it."""
_MOST_ENGINES = 10_000
_NOT_FOUND: Final = "NotFoundError"


def _request(value: Value) -> Request:
    return Request("GET", f"/api/v3/files/{value.text}")


def _read(value: Value, status: int, body: Any) -> Answer:
    if status == 404:
        if mapping(mapping(body).get("error")).get("code") != _NOT_FOUND:
            raise AnswerFault("wrong_shape")
        return Answer(False, {})
    data = mapping(mapping(body).get("data"))
    if text(data.get("id"), 64).lower() != value.text:
        raise AnswerFault("about_another")
    attributes = mapping(data.get("attributes"))
    stats = mapping(attributes.get("last_analysis_stats"))
    counts = {name: whole(stats.get(name), 0, _MOST_ENGINES) for name in _COUNTED}
    said: dict[str, Any] = {
        "virustotal_malicious": counts["malicious"],
        "virustotal_engines": sum(counts.values()),
    }
    label = optional_word(
        mapping(attributes.get("popular_threat_classification", {})).get("suggested_threat_label")
    )
    return Answer(True, said if label is None else {**said, "virustotal_label": label})


VIRUSTOTAL: Final = Service(
    "virustotal", frozenset({"sha256"}), "x-apikey", _request, _read, statuses=frozenset({200, 404})
)
