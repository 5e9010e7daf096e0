"""The shipped tables: each gives what it says of its own sample, is known by it alone, and says where its format is described."""

from __future__ import annotations

import json
import random
import re
from importlib.resources import files
from pathlib import Path

import pytest

from decnet.bus.base import Event
from decnet.config import Settings
from decnet.sensors.formats.selftest import faults_of
from decnet.sensors.formats.shelf import lines_of, shipped
from decnet.sensors.formats.source import TableSource
from decnet.sensors.formats.table import Table
from tests.tablekit import KEY
from tests.wirekit import judged

TABLES = shipped().tables
WANTED = {
    "suricata_eve", "p0f", "fatt", "dionaea", "heralding", "adbhoney", "elasticpot", "redishoneypot", "beelzebub", "conpot",
    "sentrypeer", "honeytrap", "zeek", "zeek_tsv", "mailoney", "mailoney_text", "ciscoasa",
}  # fmt: skip
every = pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)


def events_of(table: Table, text: str) -> list[Event]:
    source = TableSource(table, Settings(), KEY)
    return source.feed(lines_of(text)) + source.end_all()


def test_all_programs_that_are_to_be_read_have_a_table() -> None:
    assert set(TABLES) == WANTED
    assert {files("decnet.sensors.formats").joinpath(f"{name}.yaml").is_file() for name in WANTED} == {True}


@every
def test_the_sample_of_a_table_gives_what_it_expects(table: Table) -> None:
    assert faults_of(table) == []
    assert table.expected.events, "a sample that gives nothing shows nothing"


@every
def test_every_row_of_a_table_is_shown_by_its_sample(table: Table) -> None:
    """A row that the sample does not reach could be wrong, and nobody would see it."""
    from decnet.sensors.formats import reading

    reached = set()
    true_take = reading._take

    def take(read: reading.Reading, row: object, scope: object, ts: float) -> None:
        before = len(read.facts) + len(read.prints)
        true_take(read, row, scope, ts)  # type: ignore[arg-type]
        if len(read.facts) + len(read.prints) > before:
            reached.add(id(row))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "_take", take)
        events_of(table, table.sample)
    assert [number for number, row in enumerate(table.rows) if id(row) not in reached] == []


@every
def test_a_table_knows_its_own_log_and_no_other_one_does(table: Table) -> None:
    data = table.sample.encode()
    assert shipped().which(data) == (table.name, "")
    others = [name for name in TABLES if name != table.name and shipped().which(data, [name])[0]]
    assert others == []


@every
def test_a_table_says_where_its_format_is_described(table: Table) -> None:
    assert table.source.startswith("https://")
    assert table.title


@every
def test_no_password_of_a_sample_leaves_the_sensor(table: Table) -> None:
    secrets = ("hunter2", "a@b", "p4ssw0rd", 'p"w', "second", "$vnc$", "secret", "dGVzdA")
    told = json.dumps([event.payload for event in events_of(table, table.sample)])
    kept = told.replace("secret_hmac", "").replace("secret_kind", "").replace("a@relay", "")
    assert [secret for secret in secrets if secret in kept] == []


@every
def test_what_a_table_gives_is_taken_by_who_judges_it(table: Table) -> None:
    """Every event is one of its topic's record, with an id that its data give."""
    once, again = (events_of(table, table.sample) for _ in range(2))
    assert [(e.id, e.payload) for e in once] == [(e.id, e.payload) for e in again]
    for event in once:
        judged(event)


@every
def test_the_order_of_the_lines_makes_no_difference(table: Table) -> None:
    """Ids and what sessions say; a CSV record of two lines and its header stay together."""
    lines = table.sample.splitlines()
    if table.shape == "zeek":  # a record stays below its head; heads with theirs may come in any order
        head, records = "", re.split(r"\n(?=#separator)", table.sample)
    elif table.shape == "csv":
        head, records = lines[0], ["\n".join(lines[1:3]), *lines[3:]]
    else:
        head, records = "", lines
    whole = told(events_of(table, table.sample))
    rng = random.Random(7)
    for _ in range(5):
        rng.shuffle(records)
        assert told(events_of(table, "\n".join([head, *records]))) == whole


def told(events: list[Event]) -> dict[str, object]:
    """What is left of events once they are stored: the latest end of a session, one row for each other id."""
    last: dict[str, object] = {}
    for event in events:
        if event.topic == "attacker.session.ended":
            plain = {k: v for k, v in event.payload.items() if k not in ("piece", "lines")}
            last[event.payload["session_id"]] = json.dumps(plain, sort_keys=True)
        elif event.topic == "attacker.fingerprinted" and "value" not in event.payload:
            kind = event.payload["type"]
            key = (
                event.payload.get("source_id")
                or f"{event.payload['attacker_uuid']}|{kind}|{event.payload.get(kind)}"
            )
            last[key] = ""
        elif event.topic == "credential.captured":
            last[event.id] = json.dumps(event.payload, sort_keys=True)
    return last


def test_the_tables_are_in_the_package(tmp_path: Path) -> None:
    """A wheel takes what lies in the package's own folder; that is where they are looked for."""
    import decnet.sensors.formats as package

    folder = Path(str(package.__file__)).parent
    assert {path.stem for path in folder.glob("*.yaml")} == WANTED
