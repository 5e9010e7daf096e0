"""Tables for tests: a small one that works, and what a source makes of lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from decnet.bus.base import Event
from decnet.config import SensorSettings, Settings
from decnet.sensors.files.tailer import Line
from decnet.sensors.formats.checking import check
from decnet.sensors.formats.source import TableSource
from decnet.sensors.formats.table import Table

KEY = b"k" * 32
SMALL = """\
format: small
source: https://example.org/small
detect: {has: [when, who]}
time: {field: when}
peer: who
id: [sid]
rows:
  - {when: {what: cmd}, emit: command, text: text}
  - {when: {what: login}, emit: login, username: user, password: secret}
  - {when: {what: end}, emit: closed}
sample: |
  {"when": "2026-03-04T05:00:00Z", "who": "192.0.2.1", "sid": "a", "what": "cmd", "text": "id"}
expected:
  events:
    - {event: session, attacker_ip: 192.0.2.1, commands: [id]}
"""


def made(text: str) -> Table:
    """The table of a text without faults."""
    table, flaws = check(text, "t.yaml")
    assert table is not None, [f"{flaw.place}: {flaw.message}" for flaw in flaws]
    return table


def with_rows(rows: str, **keys: str) -> Table:
    """A table like the small one with other rows (YAML, one a line), and other top keys."""
    head, _, tail = SMALL.partition("rows:\n")
    sample = tail[tail.index("sample:") :]
    for key, value in keys.items():
        lines = [line for line in head.splitlines() if not line.startswith(f"{key}:")]
        head = "\n".join([*lines, f"{key}: {value}"]) + "\n"
    return made(f"{head}rows:\n" + "".join(f"  - {row}\n" for row in rows.splitlines()) + sample)


def source(table: Table, **sensor: Any) -> TableSource:
    """A source with limits of its own."""
    return TableSource(table, Settings(sensor=SensorSettings(**sensor)), KEY)


def line(at: float = 0.0, **said: Any) -> bytes:
    """A line of the small table."""
    return json.dumps({"when": 1_772_600_400.0 + at, "who": "192.0.2.1", "sid": "a", **said}).encode()


def fed(made_source: TableSource, lines: Sequence[bytes], path: str = "log", first: int = 1) -> list[Event]:
    """The events of some lines of one file."""
    return made_source.feed(Line(path, i, 1, data) for i, data in enumerate(lines, first))


def of(events: Sequence[Event], topic: str) -> list[dict[str, Any]]:
    """The payloads of one topic."""
    return [event.payload for event in events if event.topic == topic]


def ended(made_source: TableSource, lines: Sequence[bytes]) -> list[dict[str, Any]]:
    """The ends of the sessions in some lines, the open ones too."""
    return of(fed(made_source, lines) + made_source.end_all(), "attacker.session.ended")
