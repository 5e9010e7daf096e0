"""Feodo Tracker (abuse.ch): the list of botnets' control servers, fetched as a whole and looked into here; pure."""

from __future__ import annotations

from typing import Any, Final

from decnet.addresses import fold
from decnet.intel.services.base import (
    MAX_WORD,
    Answer,
    AnswerFault,
    Request,
    Service,
    Value,
    about_address,
    items,
    mapping,
    text,
    word,
)

LIST: Final = Value("list", "ipblocklist")
_SERVERS: Final = "servers"


def _request(value: Value) -> Request:
    return Request("GET", "/downloads/ipblocklist.json")


def _read(value: Value, status: int, body: Any) -> Answer:
    """All servers with their family; of one that stands there twice the first."""
    servers: dict[str, str] = {}
    for entry in map(mapping, items(body)):
        address = fold(text(entry.get("ip_address"), MAX_WORD))
        if address is None:
            raise AnswerFault("wrong_shape")
        servers.setdefault(address, word(entry.get("malware")))
    return Answer(True, {_SERVERS: servers})


def _asks(value: Value) -> Value:
    return LIST


def _pick(answer: Answer, value: Value) -> Answer:
    family = answer.said[_SERVERS].get(value.text)
    if family is None:
        return about_address("feodo", False, "unknown", feodo_listed=False)
    return about_address("feodo", True, "malicious", feodo_listed=True, feodo_malware_family=family)


FEODO: Final = Service("feodo", frozenset({"address"}), "Auth-Key", _request, _read, asks=_asks, pick=_pick)
