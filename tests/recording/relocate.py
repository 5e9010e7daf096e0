"""Move a recording to other dates and addresses, without changing anything inside a session. Pure functions.

Each recorded session was made from a loopback address of its own; a ``Move`` says which address that becomes,
how far the session is shifted and what its decoy is called. All time stamps of one session move by the same
whole number of seconds, in the JSON log and in its terminal recording alike, so every interval stays as it
was.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.recording import ttylog

Event = dict[str, Any]
LOG_CLOSED = "cowrie.log.closed"
STAMP = "%Y-%m-%dT%H:%M:%S.%fZ"
SSH_PORT, TELNET_PORT = 2222, 2223
"""What the decoys' ports, which were free ones of the recording machine, become."""
NAMESPACE = uuid.UUID("6f1f1a1e-7d0b-5e0c-9a55-0d1c0a11dec0")


@dataclass(frozen=True, slots=True)
class Move:
    """What happens to one session."""

    source: str
    """The address that the attacker gets."""
    decoy: str
    """The address that the decoy gets."""
    shift: timedelta
    """Whole seconds."""


@dataclass(frozen=True, slots=True)
class Tty:
    """A terminal recording after its move, and the session that it is of."""

    name: str
    content: bytes
    session: str


@dataclass(frozen=True, slots=True)
class Recording:
    """Events in order of time, and terminal recordings by sensor and name."""

    events: list[Event]
    ttys: dict[tuple[str, str], bytes]


def when(event: Event) -> datetime:
    """The event's time, naive UTC."""
    return datetime.strptime(event["timestamp"], STAMP)


def starts(events: Iterable[Event]) -> dict[str, tuple[str, datetime]]:
    """Source address and time of the first line, by session."""
    found: dict[str, tuple[str, datetime]] = {}
    for event in events:
        found.setdefault(event["session"], (event["src_ip"], when(event)))
    return found


def relocate(recording: Recording, moves: Mapping[str, Move]) -> tuple[list[Event], dict[str, bytes]]:
    """Events in order of time and terminal recordings by name, each session moved as ``moves`` says.

    Sessions without a move are dropped. The recordings of all sensors end up in one directory, where a name
    (that is, an input) occurs once: it stays with the earliest session that has one, and the others become
    ``duplicate``.
    """
    kept = [event for event in recording.events if event["session"] in moves]
    ttys = _move_ttys(kept, recording.ttys, moves)
    moved = sorted(
        (_move_event(e, moves[e["session"]], ttys) for e in kept), key=lambda e: str(e["timestamp"])
    )
    owners: dict[str, str] = {}
    for event in moved:
        if event["eventid"] == LOG_CLOSED and not event["duplicate"]:
            owners.setdefault(event["shasum"], event["session"])
            event["duplicate"] = owners[event["shasum"]] != event["session"]
    return moved, {tty.name: tty.content for tty in ttys.values() if owners[tty.name] == tty.session}


def _move_ttys(
    events: Iterable[Event], ttys: Mapping[tuple[str, str], bytes], moves: Mapping[str, Move]
) -> dict[tuple[str, str], Tty]:
    """By sensor and old name; a recording moves with the session whose times are inside it."""
    moved: dict[tuple[str, str], Tty] = {}
    for event in events:
        if event["eventid"] == LOG_CLOSED and not event["duplicate"]:
            key, session = (event["sensor"], event["shasum"]), event["session"]
            moved[key] = Tty(*_move_tty(ttys[key], event["src_ip"], moves[session]), session)
    return moved


def _move_tty(content: bytes, source: str, move: Move) -> tuple[str, bytes]:
    shift = int(move.shift.total_seconds()) * ttylog.MICROSECONDS
    old, new = source.encode(), move.source.encode()
    records = [
        ttylog.Record(r.operation, r.direction, r.at + shift, r.data.replace(old, new))
        for r in ttylog.read(content)
    ]
    return ttylog.input_hash(records), ttylog.write(records)


def _move_event(event: Event, move: Move, ttys: Mapping[tuple[str, str], Tty]) -> Event:
    changed = {**event, **_new_endpoint(event, move)}
    changed["timestamp"] = (when(event) + move.shift).strftime(STAMP)
    changed["src_ip"] = move.source
    changed["uuid"] = str(uuid.uuid5(NAMESPACE, event["sensor"]))
    if event["eventid"] == LOG_CLOSED:
        tty = ttys[event["sensor"], event["shasum"]]
        changed["shasum"] = tty.name
        changed["ttylog"] = event["ttylog"].replace(event["shasum"], tty.name)
        if not event["duplicate"]:
            changed["size"] = ttylog.output_size(ttylog.read(tty.content))
    changed["message"] = _new_message(event, changed)
    return changed


def _new_endpoint(event: Event, move: Move) -> Event:
    """Decoy address and port, where the event tells the decoy's and not a forward's destination."""
    if event.get("dst_ip") != "127.0.0.1":
        return {}
    return {"dst_ip": move.decoy, "dst_port": TELNET_PORT if event["protocol"] == "telnet" else SSH_PORT}


def _new_message(event: Event, changed: Event) -> str:
    message = str(event["message"]).replace(event["src_ip"], changed["src_ip"])
    if "dst_ip" in event:
        message = message.replace(
            f"{event['dst_ip']}:{event['dst_port']}", f"{changed['dst_ip']}:{changed['dst_port']}"
        )
    if event["eventid"] == LOG_CLOSED:
        message = message.replace(event["shasum"], changed["shasum"])
    return message


def to_lines(events: Iterable[Event]) -> str:
    """JSON lines as Cowrie writes them."""
    return "".join(json.dumps(event, separators=(",", ":")) + "\n" for event in events)
