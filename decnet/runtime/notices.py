"""What of sessions and of the engine's own parts people should know of at once. Pure: events in, messages out.

Each is told when it begins, and again only after it was over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from decnet.bus.base import Event
from decnet.events.ttp import SEVERITIES

REMEMBERED = 10_000
"""Sessions whose severity is remembered: one that is judged again is told of again only if it got worse."""
BAD_SENSOR = {"silent": "sensor_silent", "missing": "sensor_failed", "unreadable": "sensor_failed"}
"""State of a sensor to the kind of message."""
_FULL, _DISK = ("disk full", "no space left"), "disk"
_OF_A_SESSION = ("session_id", "attacker_uuid", "decky_id", "severity", "severity_reason", "playbook")
Message = dict[str, Any]


class BadSessions:
    """Sessions from one severity on."""

    def __init__(self, least: str) -> None:
        self._worst = SEVERITIES.index(least)
        self._told: dict[str, int] = {}

    def messages(self, event: Event) -> list[Message]:
        """What ``ttp.session.judged`` is worth telling."""
        session, severity = event.payload.get("session_id"), event.payload.get("severity")
        if not isinstance(session, str) or severity not in SEVERITIES:
            return []
        rank = SEVERITIES.index(severity)
        if rank > self._worst or rank >= self._told.get(session, len(SEVERITIES)):
            return []
        self._told.pop(session, None)
        self._told[session] = rank
        if len(self._told) > REMEMBERED:
            del self._told[next(iter(self._told))]
        said = {name: event.payload.get(name) for name in _OF_A_SESSION}
        return [{"kind": "session_severity", "ts": event.ts, **said}]


class PartNews:
    """Sensors, workers and disks, by what their heartbeats say."""

    def __init__(self) -> None:
        self._bad: dict[tuple[str, str], dict[str, str]] = {}

    def messages(self, event: Event) -> list[Message]:
        """What ``system.<worker>.health`` is worth telling: what went wrong since the one before."""
        worker, host = event.topic.split(".")[1], str(event.payload.get("host"))
        troubles = {key: (kind, said) for key, kind, said in _troubles(event.payload)}
        before = self._bad.get((host, worker), {})
        known = before | {key: kind for key, kind in self._of_host(host).items() if key == _DISK}
        self._bad[host, worker] = {key: kind for key, (kind, _) in troubles.items()}
        return [
            {"kind": kind, "ts": event.ts, "worker": worker, "host": event.payload.get("host"), **said}
            for key, (kind, said) in troubles.items()
            if known.get(key) != kind
        ]

    def _of_host(self, host: str) -> dict[str, str]:
        """What is wrong with any worker of a host: a full disk is one, however many say so."""
        return {key: kind for (one, _), bad in self._bad.items() if one == host for key, kind in bad.items()}


def _troubles(health: Mapping[str, Any]) -> Iterator[tuple[str, str, Message]]:
    """What is wrong now: what of, the kind of message, and its words."""
    note = health.get("note")
    note = note if isinstance(note, str) else ""
    if any(words in note.lower() for words in _FULL):
        yield _DISK, "disk_full", {"note": note}
    elif health.get("state") == "failed":
        yield "worker", "worker_failed", {"note": note}
    rows = health.get("sensors")
    for row in rows if isinstance(rows, list) else ():
        kind = BAD_SENSOR.get(str(row.get("state"))) if isinstance(row, dict) else None
        if kind is not None:
            problems = row.get("problems")
            why = "; ".join(map(str, problems.values())) if isinstance(problems, dict) else ""
            sensor = {"sensor": row.get("path"), "sensor_kind": row.get("kind"), "state": row.get("state")}
            yield f"sensor|{row.get('kind')}|{row.get('path')}", kind, {**sensor, "note": why[:500]}
