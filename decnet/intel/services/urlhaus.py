"""URLhaus (abuse.ch): hosts, URLs and files that spread malware; pure.

It keeps what it ever knew, and addresses change hands: a host none of whose URLs is online is suspicious, not malicious.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from decnet.intel.services.base import (
    Answer,
    AnswerFault,
    Request,
    Service,
    Value,
    about_address,
    distinct,
    items,
    mapping,
    optional_word,
    same_address,
    text,
    word,
)

_ASKED: Final = {
    "address": ("host", "host"),
    "host": ("host", "host"),
    "url": ("url", "url"),
    "sha256": ("payload", "sha256_hash"),
}
"""Kind → what is asked for, and the name of its one field, sent and come back."""
_UNKNOWN: Final = "no_results"
_LONGEST = 4096


def _request(value: Value) -> Request:
    what, name = _ASKED[value.kind]
    return Request("POST", f"/v1/{what}/", form={name: value.text})


def _read(value: Value, status: int, body: Any) -> Answer:
    said = mapping(body)
    known = query_status(said, _UNKNOWN)
    if value.kind == "address":
        return _of_address(value, said) if known else about_address("urlhaus", False, "unknown")
    if not known:
        return Answer(False, {})
    if text(said.get(_ASKED[value.kind][1]), _LONGEST).strip() != value.text:
        raise AnswerFault("about_another")
    return Answer(True, {"urlhaus_listed": True, **_READERS[value.kind](said)})


def query_status(said: Mapping[str, Any], unknown: str) -> bool:
    """Whether abuse.ch knows what it was asked about. Raises AnswerFault where it did not look."""
    status = word(said.get("query_status"))
    if status not in ("ok", unknown):
        raise AnswerFault("refused" if "auth" in status else "wrong_shape")
    return status == "ok"


def _of_address(value: Value, said: Mapping[str, Any]) -> Answer:
    same_address(value, said.get("host"))
    fields = _of_host(said)
    verdict = "malicious" if fields["urlhaus_online"] else "suspicious"
    return about_address("urlhaus", True, verdict, urlhaus_listed=True, **fields)


def _of_host(said: Mapping[str, Any]) -> dict[str, Any]:
    urls = [mapping(one) for one in items(said.get("urls"))]
    online = sum(word(one.get("url_status")) == "online" for one in urls)
    return {"urlhaus_online": online, **_threats(urls)}


def _of_url(said: Mapping[str, Any]) -> dict[str, Any]:
    return {"urlhaus_online": int(word(said.get("url_status")) == "online"), **_threats([said])}


def _of_file(said: Mapping[str, Any]) -> dict[str, Any]:
    family = optional_word(said.get("signature"))
    return {} if family is None else {"urlhaus_malware_family": family}


def _threats(urls: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "urlhaus_threats": distinct(optional_word(one.get("threat")) for one in urls),
        "urlhaus_tags": distinct(tag for one in urls for tag in _tags(one.get("tags"))),
    }


def _tags(value: Any) -> Iterable[str | None]:
    return () if value is None else map(optional_word, items(value))


_READERS: Final = {"host": _of_host, "url": _of_url, "sha256": _of_file}
URLHAUS: Final = Service("urlhaus", frozenset(_ASKED), "Auth-Key", _request, _read)  # type: ignore[arg-type]
