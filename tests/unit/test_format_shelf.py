"""Which tables there are: the shipped ones and the operator's; what is wrong with them is told and costs no other one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from decnet.config import SENSOR_KINDS, SensorSettings, SensorSpec, Settings
from decnet.errors import ConfigError, SensorError
from decnet.sensors.files.checkpoint import FileStore
from decnet.sensors.files.tailer import Line
from decnet.sensors.formats import shelf as shelf_module
from decnet.sensors.formats.shelf import MAX_FILE_BYTES, NO_LOG, load, shelf_of, shipped
from decnet.sensors.kinds import plain_kind, sniffer, table_kind
from decnet.sensors.replay import iter_events
from decnet.sensors.sources import make_source
from decnet.sensors.trying import try_file
from decnet.sensors.worker import SensorsWorker
from decnet_tui.cli import sensor_option
from tests.programkit import cli
from tests.tablekit import SMALL
from tests.unit.test_passed_over import Bus

SAMPLE = b'{"when": "2026-03-04T05:00:00Z", "who": "192.0.2.1", "sid": "a", "what": "cmd", "text": "id"}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "formats"
    place.mkdir()
    (place / "small.yaml").write_text(SMALL)
    return place


def settings(folder: Path, **more: Any) -> Settings:
    return Settings(data_dir=folder.parent / "data", sensor=SensorSettings(formats=folder), **more)


def test_tables_of_a_folder_come_first_and_take_the_place_of_shipped_ones(folder: Path) -> None:
    (folder / "p0f.yml").write_text(SMALL.replace("format: small", "format: p0f"))
    (folder / "notes.txt").write_text("no table")
    found = shelf_of(folder)
    assert list(found.tables)[:2] == ["p0f", "small"]
    assert found.own == {"p0f", "small"}
    assert found.tables["p0f"].file == str(folder / "p0f.yml")
    assert found.tables.keys() == shipped().tables.keys() | {"small"}
    assert found.errors == ()


def test_a_bad_table_costs_no_other_one_and_is_told_with_its_place(folder: Path) -> None:
    (folder / "bad.yaml").write_text(
        SMALL.replace("peer: who", "peer: []").replace("format: small", "format: bad")
    )
    (folder / "twice.yaml").write_text(SMALL)
    (folder / "raw.yaml").write_bytes(b"format: x\n\xff\n")
    (folder / "large.yaml").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    found = shelf_of(folder)
    assert "small" in found.tables
    assert [f"{flaw.place}: {flaw.message}" for flaw in found.errors] == [
        f"{folder}/bad.yaml:5:7: peer is a list that is not empty",
        f"{folder}/large.yaml: the file is over 256 KiB",
        f"{folder}/raw.yaml:2:1: not UTF-8",
        f"{folder}/twice.yaml: format: small is in {folder}/small.yaml too",
    ]
    with pytest.raises(
        SensorError,
        match=r"no table called nope; known: small, .*zeek, zeek_tsv; .*/bad.yaml:5:7: peer is a list",
    ):
        found.table("nope")


def test_files_at_and_over_their_bounds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = SMALL + "#" * (MAX_FILE_BYTES - len(SMALL))
    (folder / "small.yaml").write_text(text)
    assert load(folder / "small.yaml")[1] == []
    monkeypatch.setattr(shelf_module, "MAX_FILES", 2)
    (folder / "other.yaml").write_text(SMALL.replace("format: small", "format: other"))
    assert shelf_of(folder).errors == ()
    (folder / "third.yaml").write_text(SMALL.replace("format: small", "format: third"))
    (flaw,) = shelf_of(folder).errors
    assert flaw.message == "1 tables too many: not read"


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    found = shelf_of(tmp_path / "none")
    assert [flaw.message for flaw in found.errors] == ["cannot be read: No such file or directory"]
    assert found.tables.keys() == shipped().tables.keys()
    assert "cannot be read" in load(tmp_path / "none.yaml")[1][0].message


def test_a_file_is_known_by_its_first_telling_line(folder: Path) -> None:
    found = shelf_of(folder)
    assert found.which(b"starting up\n" + SAMPLE) == ("small", "")
    assert found.which(("\ufeff" + SAMPLE.decode()).encode("utf-16-le")) == ("small", "")
    assert found.which(SAMPLE, ["p0f"]) == ("", NO_LOG)
    assert found.which(b"plain text\n") == ("", NO_LOG)
    assert found.which(b"\0\1\2") == ("", "binary")
    assert found.which(b"") == ("", NO_LOG)
    assert found.which(b"[" * 100_000) == ("", NO_LOG)
    lines = b"x\n" * (shelf_module.SNIFFED_LINES - 1)
    assert found.which(lines + SAMPLE) == ("small", "")
    assert found.which(b"x\n" + lines + SAMPLE) == ("", NO_LOG)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (
            b'{"session_id": "a", "num_auth_attempts": 1}\n',
            "Heralding's sessions: their log-ins are in the CSV log",
        ),
        (
            b"timestamp,duration,session_id,source_ip,source_port,destination_ip,destination_port,protocol,num_auth_attempts\r\n",
            "Heralding's sessions: their log-ins are in the CSV log",
        ),
        (b"2026-03-04 05:21:00.000001,4,s1,203.0.113.82,40100,192.0.2.9,110,pop3,1\r\n", NO_LOG),
    ],
)
def test_logs_that_lie_beside_are_left_alone_with_the_reason(data: bytes, why: str) -> None:
    assert shipped().which(data) == ("", why)


def test_a_csv_log_without_the_line_of_names_is_known_by_its_records() -> None:
    record = b"2026-03-04 05:21:00.000001,a1,s1,203.0.113.82,40100,192.0.2.9,110,pop3,box,pw,\r\n"
    assert shipped().which(record) == ("heralding", "")
    assert shipped().which(record.replace(b"2026-03-04", b"soon")) == ("", NO_LOG)
    assert shipped().which(b"a,b,c\r\n") == ("", NO_LOG)


def test_kinds_of_sensors_name_their_table(folder: Path) -> None:
    assert plain_kind("table:small") == "table:small"
    with pytest.raises(SensorError, match="known: cowrie, opencanary, jsonl, table:NAME"):
        plain_kind("table")
    assert sniffer("table:small", folder)(SAMPLE) == ""
    assert sniffer("table:p0f")(SAMPLE) == NO_LOG
    with pytest.raises(SensorError, match="no table called small"):
        sniffer("table:small")
    assert table_kind([Line("l", 1, 0, SAMPLE)], folder) == "table:small"
    assert table_kind([Line("l", 1, 0, SAMPLE)], None) is None
    source = make_source(SensorSpec(kind="table:small", path=Path("/l")), settings(folder), b"k")
    assert source.feed([Line("l", 1, 0, SAMPLE)])


@pytest.mark.parametrize(
    "kind", ["tables", "table:", "table:Small", "table:a b", "cowrie:x", "", "table:" + "a" * 41]
)
def test_a_kind_that_is_none_is_refused_by_settings_and_command_line_alike(kind: str) -> None:
    with pytest.raises(ValueError, match="table:NAME"):
        SensorSpec(kind=kind, path=Path("/l"))
    with pytest.raises(Exception, match=r"table:NAME|KIND=PATH"):
        sensor_option.parse_sensor(f"{kind}=/l")


def test_the_command_line_knows_the_kinds_of_the_settings() -> None:
    assert sensor_option.KINDS == SENSOR_KINDS
    assert sensor_option.parse_sensor("table:p0f=/l").kind == "table:p0f"
    assert sensor_option.parse_sensor("table=/l,from=end").start == "end"


def test_the_settings_file_names_the_place_of_a_kind_that_is_none(tmp_path: Path) -> None:
    from decnet.config import load_settings

    (tmp_path / "c.yaml").write_text("sensors:\n  - {kind: tables, path: /l}\n")
    with pytest.raises(
        ConfigError, match=r"c.yaml:2:6: sensors.0.kind: 'tables' is none of cowrie, .*table:NAME"
    ):
        load_settings(tmp_path / "c.yaml")


# --- in the worker


async def worker_on(folder: Path, *specs: SensorSpec) -> SensorsWorker:
    worker = SensorsWorker(settings(folder, sensors=specs), FileStore(folder.parent / "s"))
    await worker.start(None, Bus())  # type: ignore[arg-type]
    for run in worker.runs:
        while await run.step():
            pass
    return worker


@pytest.mark.parametrize("how", ["table", "table:small"])
@pytest.mark.parametrize("what", ["directory", "file"])
async def test_a_log_is_read_by_whichever_table_fits_or_by_one_that_is_named(
    folder: Path, how: str, what: str
) -> None:
    place = folder.parent / "logs"
    place.mkdir()
    (place / "any name").write_bytes(SAMPLE)
    (place / "other.json").write_bytes(b'{"eventid": "cowrie.x"}\n')
    path = place if what == "directory" else place / "any name"
    worker = await worker_on(folder, SensorSpec(kind=how, path=path))
    health = worker.health()
    assert (health["lines_read"], health["lines_refused"], health["degraded"]) == (1, 0, "")
    assert worker.at_end()
    rows = [row for row in worker.status() if row.get("lines")]
    assert [row["kind"] for row in rows] == ["table:small"]
    if what == "directory":
        named = {path: why for row in worker.status() for path, why in row["passed_over"].items()}
        assert set(named) == {str(place / "other.json")}


async def test_a_file_that_no_table_reads_is_named(folder: Path) -> None:
    log = folder.parent / "x.log"
    log.write_bytes(b"plain\n")
    (row,) = (await worker_on(folder, SensorSpec(kind="table", path=log))).status()
    assert (row["state"], row["problems"]) == ("unreadable", {str(log): "no log that can be read below it"})
    assert row["passed_over"] == {str(log): "no log that any reader knows"}


async def test_faults_of_the_operators_tables_are_in_health(folder: Path) -> None:
    (folder / "bad.yaml").write_text("format: 7\n")
    worker = await worker_on(folder)
    health = worker.health()
    assert health["formats_failed"] == len(shelf_of(folder).errors) > 1
    assert health["degraded"].startswith(f"{folder}/bad.yaml:1:1: ")
    (folder / "bad.yaml").unlink()
    assert (await worker_on(folder)).health()["formats_failed"] == 0


async def test_a_table_that_is_not_there_is_a_sensor_that_cannot_be_read(folder: Path) -> None:
    (row,) = (await worker_on(folder, SensorSpec(kind="table:nope", path=folder / "l"))).status()
    assert row["state"] == "unreadable"
    assert "no table called nope" in next(iter(row["problems"].values()))


# --- replay and commands


def test_a_log_of_a_format_is_replayed(folder: Path) -> None:
    log = folder.parent / "l"
    log.write_bytes(SAMPLE)
    events = list(iter_events(log, settings(folder)))
    assert [e.topic for e in events][-1] == "attacker.session.ended"


def test_a_file_is_tried_without_writing_anything(folder: Path) -> None:
    log = folder.parent / "l"
    log.write_bytes(SAMPLE + b"broken\n")
    before = sorted(folder.parent.rglob("*"))
    tried = try_file(log, settings(folder))
    assert (tried.kind, tried.lines, tried.whole, dict(tried.refused)) == (
        "table:small",
        2,
        True,
        {"not_json": 1},
    )
    assert tried.last_refusal == f"{log}:2: not_json"
    assert sorted(folder.parent.rglob("*")) == before
    log.write_bytes(SAMPLE * 60)
    part = try_file(
        log, Settings(sensor=SensorSettings(formats=folder, read_bytes=4096, max_line_bytes=1024))
    )
    assert not part.whole
    with pytest.raises(SensorError, match="a directory: name a file in it"):
        try_file(folder, settings(folder))
    with pytest.raises(SensorError, match="no such file"):
        try_file(folder / "none", settings(folder))
    log.write_bytes(b"plain\n")
    with pytest.raises(SensorError, match="no reader takes it"):
        try_file(log, settings(folder))


def test_the_commands_tell_people_and_machines_the_same(folder: Path) -> None:
    log = folder.parent / "l"
    log.write_bytes(SAMPLE.replace(b'"id"', b'"id \\u001b[2J\\u202e"') + b"broken\n")
    said = cli("sensors", "try", log, "--formats", folder)
    text = said.stdout.decode()
    assert said.returncode == 0
    assert f"{log}: table:small, 2 lines" in text
    assert "commands=['id \\x1b[2J\\u202e']" in text
    assert "refused: not_json 1" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    found = json.loads(cli("sensors", "try", log, "--formats", folder, "--json").stdout)
    assert (found["kind"], found["event_count"], found["refused"]) == ("table:small", 1, {"not_json": 1})
    assert found["events"][0]["commands"] == ["id \x1b[2J\u202e"]
    listed = json.loads(cli("sensors", "formats", "--formats", folder, "--json").stdout)
    assert {row["format"]: row["own"] for row in listed["formats"]}["small"] is True
    assert [row["format"] for row in listed["formats"] if not row["own"]] == list(shipped().tables)
    assert listed["errors"] == []
    assert b"own  small" in cli("sensors", "formats", "--formats", folder).stdout


def test_a_table_of_ones_own_is_checked_with_its_own_test(folder: Path) -> None:
    good = cli("sensors", "try", folder / "small.yaml")
    assert (good.returncode, good.stdout.decode()) == (
        0, f"{folder}/small.yaml: small: the sample gives the 1 event it says\n",
    )  # fmt: skip
    (folder / "small.yaml").write_text(SMALL.replace("commands: [id]", "commands: [ls]"))
    wrong = cli("sensors", "try", folder / "small.yaml")
    assert wrong.returncode == 1
    assert (
        "small.yaml: events[0]: event: 'session', attacker_ip: '192.0.2.1', commands: ['ls'] is not there; event"
        in wrong.stderr.decode()
    )
    (folder / "small.yaml").write_text(SMALL.replace("peer: who", "peers: who"))
    bad = cli("sensors", "try", folder / "small.yaml", "--json")
    assert bad.returncode == 1
    assert json.loads(bad.stdout)["errors"][1].startswith(f"{folder}/small.yaml:5:1: unknown key 'peers'")
    listed = cli("sensors", "formats", "--formats", folder)
    assert listed.returncode == 1
    assert f"x {folder}/small.yaml:1:1: missing key 'peer'" in listed.stdout.decode()


def test_a_file_that_nobody_reads_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "l").write_bytes(b"plain\n")
    for name, why in (("l", "no reader takes it"), ("none", "no such file")):
        said = cli("sensors", "try", tmp_path / name)
        assert (said.returncode, said.stdout) == (1, b"")
        assert said.stderr.decode().splitlines()[0].startswith("error: ")
        assert why in said.stderr.decode()
