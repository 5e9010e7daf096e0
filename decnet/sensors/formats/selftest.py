"""A table's own sample gives what the table expects of it: the test that every table carries.

Times count from the sample alone, so that the same lines give the same events on every host and every day.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from decnet.bus.base import Event
from decnet.config import Settings
from decnet.events.fields import epoch
from decnet.sensors.formats.shelf import lines_of
from decnet.sensors.formats.source import TableSource
from decnet.sensors.formats.table import Table
from decnet.sensors.values import Data

_KEY = hashlib.sha256(b"a sample").digest()
_NAMES = {"attacker.session.ended": "session", "credential.captured": "credential"}
_NOT_SHOWN = frozenset(
    {
        "attacker_uuid", "session_id", "source_id", "secret_hmac", "key_id", "piece", "lines", "span", "sensor_session",
    }
)  # fmt: skip
"""What says nothing about a table: made from its values, or from a key that is made anew for each trial."""


def faults_of(table: Table) -> list[str]:
    """What the sample gives otherwise than the table says, a line each; none when all is as it says."""
    source = TableSource(table, Settings(), _KEY)
    events = source.feed(lines_of(table.sample)) + source.end_all()
    found = [told for event in events if (told := summary(event)) is not None]
    faults = _differences(table, found)
    for name, is_so, wanted in (
        ("refused", dict(source.refused), dict(table.expected.refused)),
        ("left_out", dict(source.left_ids), dict(table.expected.left_out)),
        ("not_derived", source.not_derived, table.expected.not_derived),
        ("unknown kinds", dict(source.unknown_ids), {}),
    ):
        if is_so != wanted:
            faults.append(f"{name}: {is_so}, expected {wanted}")
    return faults


def _differences(table: Table, found: list[Data]) -> list[str]:
    """What of the events is otherwise; each that is expected stands for one, whatever the order of sessions' ends."""
    left, faults = list(found), []
    for number, wanted in enumerate(table.expected.events):
        match = next((one for one in left if fits(wanted, one)), None)
        if match is None:
            alike = next((one for one in left if one["event"] == wanted.get("event")), None)
            faults.append(
                f"events[{number}]: {_told(wanted)} is not there" + (f"; {_told(alike)} is" if alike else "")
            )
        else:
            left.remove(match)
    return faults + [f"not expected: {_told(one)}" for one in left]


def _told(one: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}: {value!r:.80}" for key, value in one.items())


def fits(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether an event has all that is expected of it."""
    return all(_same(key, value, found.get(key)) for key, value in wanted.items())


def _same(key: str, wanted: Any, found: Any) -> bool:
    if key == "ts" or key.endswith("_at"):
        return epoch(wanted) == epoch(found)
    if isinstance(wanted, dict):
        return isinstance(found, dict) and fits(wanted, found)
    if isinstance(wanted, list):
        pairs = zip(wanted, found, strict=False) if isinstance(found, list) else ()
        return (
            isinstance(found, list) and len(wanted) == len(found) and all(_same("", *pair) for pair in pairs)
        )
    return bool(wanted == found)


def summary(event: Event) -> Data | None:
    """What an event tells, in the words of a table's ``expected``; None for news that follows from others."""
    payload = event.payload
    name = _NAMES.get(event.topic, "")
    if event.topic == "attacker.fingerprinted":
        name = "request" if payload["type"] == "http_request" else "fingerprint"
    if not name:
        return None
    told: Data = {"event": name, **{k: v for k, v in payload.items() if k not in _NOT_SHOWN and _says(v)}}
    if name == "fingerprint":
        told["value"] = told.pop(payload["type"], None)
    if name == "session":
        told["commands"] = [command["command_text"] for command in payload["commands"]]
        told = {
            k: v for k, v in told.items() if k not in ("part", "parts", "protocol", "duration_s") and _says(v)
        }
    told["ts"] = datetime.fromtimestamp(event.ts, UTC).isoformat().replace("+00:00", "Z")
    return told


def _says(value: Any) -> bool:
    return value not in (None, "", 0, [], {}) or value is False
