"""Real sessions of two attackers of a Cowrie log, given one address: pairs whose truth is known.

Every session keeps its lines, its intervals and its time of day; it gets another day, another session id
and another source address. A side that has fewer sessions than are asked for repeats its own.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from decnet.ids import session_id

Record = dict[str, Any]
UNLINKED = "linking: {enabled: false}\n"
"""Settings that keep each address an identity of its own: the same few hands stand at many addresses here."""
FIRST_DAY = datetime.fromisoformat("2026-03-02T00:00:00+00:00")


@dataclass(slots=True)
class Mixed:
    """A mixed address: which native session is whose (0 or 1), and the lines."""

    address: str
    truth: dict[str, int] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)


def read_log(path: Path) -> list[Record]:
    """The records of a Cowrie log."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def sessions_of(records: Iterable[Record], *addresses: str, client: str | None = None) -> list[list[Record]]:
    """Sessions of some addresses in order of time; ``client`` asks for a text in the client's version."""
    found: dict[str, list[Record]] = {}
    for record in records:
        if record["src_ip"] in addresses:
            found.setdefault(record["session"], []).append(record)
    kept = [
        lines
        for lines in found.values()
        if client is None or any(client in str(r.get("version")) for r in lines)
    ]
    return sorted(kept, key=lambda lines: str(lines[0]["timestamp"]))


def without_hassh(sessions: Sequence[Sequence[Record]]) -> list[list[Record]]:
    """The sessions as a honeypot logs them that does not look at key exchanges."""
    return [[r for r in lines if r["eventid"] != "cowrie.client.kex"] for lines in sessions]


def mix(address: str, sides: Sequence[Sequence[Sequence[Record]]], count: int, seed: int) -> Mixed:
    """``count`` sessions of the sides in random turns, about two a day."""
    dice = random.Random(f"{address}-{seed}")
    out = Mixed(address)
    used = [0] * len(sides)
    for n in range(count):
        who = dice.randrange(len(sides))
        lines = sides[who][used[who] % len(sides[who])]
        used[who] += 1
        ident = f"{int(address.rpartition('.')[2]):04x}{seed:04x}{n:04x}"
        out.truth[ident] = who
        out.records += _moved(lines, FIRST_DAY + timedelta(days=n // 2), ident, address)
    return out


def _moved(lines: Sequence[Record], day: datetime, ident: str, address: str) -> list[Record]:
    began = datetime.fromisoformat(lines[0]["timestamp"])
    shift = timedelta(days=(day.date() - began.date()).days)
    out = []
    for record in lines:
        if record["eventid"] == "cowrie.log.closed":
            continue  # its recording is not beside the mixed log
        stamp = (datetime.fromisoformat(record["timestamp"]) + shift).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        out.append({**record, "timestamp": stamp, "session": ident, "src_ip": address})
    return out


def share_right(mixed: Mixed, sides: Sequence[Sequence[str]], sensors: Mapping[str, str]) -> float:
    """Share of sessions that an alert's ``sides`` (our session ids) put on the true side, whichever has which name.

    ``sensors`` is the sensor of each native session.
    """
    side = {ident: number for number, part in enumerate(sides) for ident in part}
    told = [
        (side.get(session_id("cowrie", sensors[native], native)), who) for native, who in mixed.truth.items()
    ]
    same = sum(own == who for own, who in told if own is not None)
    known = sum(own is not None for own, _ in told)
    return max(same, known - same) / known if known else 0.0


def write_log(path: Path, mixed: Iterable[Mixed]) -> None:
    """All mixed addresses as one Cowrie log in order of time."""
    records = sorted((r for one in mixed for r in one.records), key=lambda r: str(r["timestamp"]))
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
