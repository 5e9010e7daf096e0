"""GreyNoise, community: whether an address scans everybody, and what it is known for; pure.

It knows no tags; its list of services that harm nobody (RIOT) becomes one, as in the lines of Cowrie's plug-in.
"""

from __future__ import annotations

from typing import Any, Final

from decnet.intel.services.base import (
    Answer,
    AnswerFault,
    Request,
    Service,
    Value,
    about_address,
    flag,
    mapping,
    optional_word,
    same_address,
    word,
)

RIOT: Final = "RIOT"
_VERDICTS: Final = ("malicious", "suspicious", "benign")
"""Classifications that are a verdict; any other one (``unknown``) says that there is none."""


def _request(value: Value) -> Request:
    return Request("GET", f"/v3/community/{value.text}")


def _read(value: Value, status: int, body: Any) -> Answer:
    said = mapping(body)
    same_address(value, said.get("ip"))
    noise, riot = flag(said.get("noise")), flag(said.get("riot"))
    if status == 404 and (noise or riot):
        raise AnswerFault("wrong_shape")
    if not noise and not riot:
        return about_address("greynoise", False, "unknown")
    classification = word(said.get("classification")).lower()
    return about_address(
        "greynoise",
        True,
        classification if classification in _VERDICTS else "unknown",
        greynoise_classification=classification,
        greynoise_name=optional_word(said.get("name")),
        greynoise_tags=[RIOT] if riot else None,
    )


GREYNOISE: Final = Service(
    "greynoise", frozenset({"address"}), "key", _request, _read, statuses=frozenset({200, 404})
)
