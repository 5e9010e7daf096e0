"""One line of a log as its reader sees it: unwrapped, then read."""

from __future__ import annotations

from typing import Any

from decnet.sensors import cowrie, opencanary
from decnet.sensors.cowrie import Fact
from decnet.sensors.files.unwrap import Unwrapper
from decnet.sensors.opencanary import Visit
from decnet.sensors.values import Refusal

LIMIT = 1 << 22


def cowrie_line(line: bytes) -> Fact | Refusal:
    """The fact in one line of Cowrie's, or why there is none."""
    found: Fact | Refusal = _one(line, cowrie)
    return found


def opencanary_line(line: bytes) -> Visit | Refusal | None:
    """The visit in one line of OpenCanary's, or why there is none."""
    found: Visit | Refusal | None = _one(line, opencanary)
    return found


def _one(line: bytes, reader: Any) -> Any:
    wanted = reader.is_cowrie if reader is cowrie else reader.is_opencanary
    otherwise = "no_eventid" if reader is cowrie else "not_opencanary"
    found = Unwrapper(wanted, LIMIT, otherwise).feed("a", line)
    if found.events:
        return reader.parse_object(found.events[0])
    return Refusal(found.reason or "not_json")
