"""Replaying a file: which kind it is, what comes out, what could not be used; and ``--sensor KIND=PATH``."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import typer

from decnet.config import SensorSettings, Settings
from decnet.errors import SensorError
from decnet.sensors.files.tailer import Batch, Line, Tailer
from decnet.sensors.kinds import kind_of
from decnet.sensors.replay import iter_events
from decnet_tui.cli.sensor_option import parse_sensor, parse_sensors
from tests.unit.test_sensor_cowrie import row
from tests.unit.test_sensor_run import visits

COWRIE = b'{"eventid": "x"}'
CANARY = b'{"logtype": 1, "node_id": "x"}'
EVENT = b'{"topic": "x"}'


def batch(*lines: bytes) -> Batch:
    return Batch([Line("f", i, 0, data) for i, data in enumerate(lines, 1)])


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ([COWRIE], "cowrie"), ([CANARY], "opencanary"), ([EVENT], "jsonl"), ([EVENT, COWRIE], "jsonl"), ([], None),
        ([b"junk", b"[1]", b'"eventid"', b"{}", b"[" * 100_000, CANARY, EVENT], "opencanary"), ([b'{"logtype": 1}'], None),
        ([b'{"eventid": 1, "topic": 2}'], "cowrie"), ([b'["topic"]', b'["eventid"]'], None), ([b'{"node_id": 1}'], None),
    ],
)  # fmt: skip
def test_the_first_line_that_tells_says_the_kind(lines: list[bytes], kind: str | None) -> None:
    assert kind_of(batch(*lines).lines) == kind


@pytest.mark.parametrize(("before", "kind"), [(999, "cowrie"), (1000, None)])
def test_only_the_first_lines_are_asked(before: int, kind: str | None) -> None:
    assert kind_of(batch(*[b"{}"] * before, COWRIE).lines) == kind


def test_sessions_without_a_close_line_end_with_the_file(tmp_path: Path) -> None:
    log = tmp_path / "cowrie.json"
    log.write_bytes(visits(0, 2) + row("session.closed", 5, session="s0"))
    ended = [e for e in iter_events(log, Settings(data_dir=tmp_path)) if e.topic == "attacker.session.ended"]
    assert [e.payload["end_reason"] for e in ended] == ["closed", "eof"]


def test_a_large_log_is_read_to_its_end_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, closed = tmp_path / "cowrie.json.gz", list[bool]()
    log.write_bytes(gzip.compress(visits(0, 300)))
    true_close = Tailer.close

    def close(self: Tailer) -> None:
        closed.append(True)
        true_close(self)

    monkeypatch.setattr(Tailer, "close", close)
    settings = Settings(data_dir=tmp_path, sensor=SensorSettings(read_bytes=4096, max_line_bytes=1024))
    events = list(iter_events(log, settings))
    assert sum(e.topic == "attacker.session.ended" for e in events) == 300
    assert len({e.id for e in events}) == len(events)
    before = len(closed)
    stream = iter_events(log, settings)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert len(closed) > before, "left in the middle, it lets go of its file"


def test_faults_are_told_at_the_end_by_reason(tmp_path: Path) -> None:
    good, refused = json.dumps({"topic": "email.received", "payload": {}}).encode(), list[str]()
    (tmp_path / "a.jsonl").write_bytes(good + b"\nx\ny\n{}\n" + b"z" * 2000 + b"\n")
    (tmp_path / "b.jsonl.gz").write_bytes(b"no gzip")
    settings = Settings(data_dir=tmp_path / "d", sensor=SensorSettings(max_line_bytes=1024))
    events = iter_events(tmp_path, settings, refused)
    assert len(list(events)) == 1
    place = f"{tmp_path / 'a.jsonl'}"
    assert refused[0].startswith(f"{tmp_path / 'b.jsonl.gz'}: ")
    assert refused[1:] == [
        f"4 lines refused (too_long 1, not_json 2, no_topic 1), the last one {place}:4: no_topic"
    ]
    clean: list[str] = []
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "a.jsonl").write_bytes(good + b"\n")
    assert len(list(iter_events(tmp_path / "c", settings, clean))) == 1
    assert clean == []


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "missing"), (b"plain text\n", "neither recorded events nor a log"), (b"", "neither")],
)
def test_what_cannot_be_read_is_an_error(tmp_path: Path, content: bytes | None, why: str) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SensorError, match=f"x.json: {why}"):
        list(iter_events(path, Settings(data_dir=tmp_path / "d")))


# --- --sensor KIND=PATH


@pytest.mark.parametrize(
    ("text", "kind", "path", "start"),
    [
        ("cowrie=/a/b.json", "cowrie", "/a/b.json", "start"),
        ("opencanary=/a,from=end", "opencanary", "/a", "end"),
        ("jsonl=/a,from=start", "jsonl", "/a", "start"),
        ("cowrie=/a=b,c.json,from=2026-01-02", "cowrie", "/a=b,c.json", "2026-01-02"),
        ("cowrie=/a,from=x,from=end", "cowrie", "/a,from=x", "end"),
    ],
)
def test_a_sensor_is_a_kind_a_path_and_a_start(text: str, kind: str, path: str, start: str) -> None:
    (spec,) = parse_sensors([text]) or ()
    assert (spec.kind, spec.path, spec.start) == (kind, Path(path), start)


def test_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/op")
    assert parse_sensor("cowrie=a.json").path == tmp_path / "a.json"
    assert parse_sensor("cowrie=~/a.json").path == Path("/home/op/a.json")
    assert parse_sensors(None) is parse_sensors([]) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("cowrie", "KIND=PATH"), ("cowrie=", "KIND=PATH"), ("=/a", "unknown kind"), ("Cowrie=/a", "unknown kind"),
        ("cowri=/a", "known: cowrie, opencanary, jsonl"), ("cowrie=/a,from=soon", "ISO date"), ("cowrie=/a,from=", "ISO date"),
    ],
)  # fmt: skip
def test_a_sensor_that_is_none_is_refused(text: str, why: str) -> None:
    with pytest.raises(typer.BadParameter, match=why):
        parse_sensor(text)
