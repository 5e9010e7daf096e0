"""Hostile lines in the log of every format cost themselves only, and each is counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.config import SensorSpec, Settings
from decnet.sensors.files.checkpoint import FileStore
from decnet.sensors.formats.shelf import shipped
from decnet.sensors.formats.table import Table
from decnet.sensors.run import SensorRun
from tests.unit.test_format_tables import told
from tests.unit.test_passed_over import Bus
from tests.wirekit import parsed

TABLES = shipped().tables
ODD = (
    b"[" * 100_000, b'{"a":' * 50_000, b'{"n": ' + b"9" * 10_000 + b"}", b"\0\0\0", b"\xff\xfe\xfd", b'{"\\ud800": "\\udfff\\u0000"}', b"{}",
    b"null", b"[]", b"[1, 2]", b'"text"', b"NaN", b'{"a": NaN, "b": 1e999}', b"x" * 5_000, b"{'a': __import__('os')}",
)  # fmt: skip
"""Lines that no program writes."""
SILENT = 4
"""NULs, brackets alone (twice) and a line that goes on with the broken one before it are no lines of their own."""
VALUES: tuple[Any, ...] = (
    None, True, -1, 10**400, 1e308, "", "\0\ud800", "x" * 100_000, [], {}, [[[]]], {"a": {"b": {}}}, ["x", {"y": 1}], "\u202e\x1b[2J",
)  # fmt: skip


async def read(table: Table, lines: list[bytes], tmp_path: Path) -> tuple[list[Event], dict[str, Any]]:
    """The events of a file and what its sensor says of it, with all sessions ended."""
    log = tmp_path / "log"
    log.write_bytes(b"\n".join(lines) + b"\n")
    bus = Bus()
    spec = SensorSpec(kind=f"table:{table.name}", path=log)
    run = SensorRun(spec, Settings(data_dir=tmp_path / "data"), b"k", bus, FileStore(tmp_path / "state"))  # type: ignore[arg-type]
    while await run.step():
        pass
    await run.end_open_sessions()
    return bus.events, run.status()


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
async def test_odd_lines_cost_themselves_only(table: Table, tmp_path: Path) -> None:
    good = table.sample.encode().rstrip(b"\n").split(b"\n")
    (tmp_path / "plain").mkdir()
    events, status = await read(table, good, tmp_path / "plain")
    # Between the last two lines: in a CSV log a record goes over lines before that.
    mixed = [*good[:-1], *ODD, good[-1]]
    (tmp_path / "mixed").mkdir()
    more, worse = await read(table, mixed, tmp_path / "mixed")
    assert told(more) == told(events)
    counted = worse["refused"] - status["refused"] + worse["unfinished"] + worse["given_up"]
    assert counted >= len(ODD) - SILENT, worse["reasons"]
    assert parsed(more)[1] == []


@pytest.mark.parametrize(
    "table", [t for t in TABLES.values() if t.shape == "json"], ids=lambda table: table.name
)
async def test_odd_values_in_the_places_of_a_table_cost_their_line_at_most(
    table: Table, tmp_path: Path
) -> None:
    """Every field of a line, one after the other, holds every odd value: what comes is taken by everybody."""
    lines = [line for line in table.sample.splitlines() if line.startswith('{"')] or [
        json.dumps({"timestamp": "2026-03-04T05:37:00", "src_ip": "203.0.113.1", "payload_printable": "x"})
    ]
    odd: list[bytes] = []
    for number, line in enumerate(lines[:3]):
        shown = json.loads(line)
        odd += [json.dumps({**shown, key: value, "n": number}).encode() for key in shown for value in VALUES]
    events, status = await read(table, odd, tmp_path)
    assert parsed(events)[1] == []
    assert status["unpublishable"] == 0
    json.dumps([event.payload for event in events], allow_nan=False)
    assert status["lines"] == len(odd)


@pytest.mark.parametrize("name", ["suricata_eve", "heralding", "mailoney_text"])
async def test_a_line_of_ten_megabytes_costs_itself_only(name: str, tmp_path: Path) -> None:
    table = TABLES[name]
    good = table.sample.encode().rstrip(b"\n").split(b"\n")
    (tmp_path / "plain").mkdir()
    events, _ = await read(table, good, tmp_path / "plain")
    long = {
        "suricata_eve": b'{"event_type": "alert", "flow_id": 1, "src_ip": "192.0.2.1", "x": "%s"}',
        "heralding": b"2026-03-04 05:21:00,a1,s9,192.0.2.1,1,192.0.2.9,22,ssh,root,%s,",
        "mailoney_text": b"[1772602560.25][203.0.113.9:1] EHLO %s",
    }[name] % (b"A" * 10_000_000)
    (tmp_path / "mixed").mkdir()
    more, status = await read(table, [*good, long, good[-1]], tmp_path / "mixed")
    assert told(more) == told(events)
    assert (status["cut"], status["reasons"].get("too_long", 0)) == (
        (1, 0) if name == "suricata_eve" else (0, 1)
    )
