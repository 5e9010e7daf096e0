"""Every file in a sensor's directory is read or named with the reason why it is not."""

from __future__ import annotations

import builtins
import errno
import gzip
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.config import SensorSettings, SensorSpec, Settings
from decnet.sensors.files.checkpoint import FileStore
from decnet.sensors.files.tailer import Tailer
from decnet.sensors.kinds import sniffer
from decnet.sensors.run import SensorRun
from tests.unit.test_sensor_cowrie import row

LIMITS = SensorSettings()
SURICATA = b'{"event_type": "alert", "flow_id": 7, "src_ip": "192.0.2.1"}\n'
CANARY = b'{"logtype": 2000, "node_id": "web", "src_host": "192.0.2.1", "utc_time": "2026-03-01 10:00:00.000001"}\n'
TTY = "a" * 64


class Bus:
    def __init__(self) -> None:
        self.events: list[Event] = []

    async def publish_events(self, events: list[Event]) -> None:
        self.events += events


def visit(n: int) -> bytes:
    return row("session.connect", n, session=f"s{n}", src_ip="192.0.2.1") + row(
        "command.input", n + 1, session=f"s{n}", input=f"echo {n}"
    )


def tailer(path: Path, kind: Any = "cowrie", **limits: Any) -> Tailer:
    return Tailer(path, SensorSettings(**limits), sniff=sniffer(kind))


async def status_of(path: Path, tmp_path: Path, kind: Any = "cowrie") -> dict[str, Any]:
    settings = Settings(data_dir=tmp_path / "data")
    spec = SensorSpec(kind=kind, path=path)
    run = SensorRun(spec, settings, b"k", Bus(), FileStore(tmp_path / "state"))  # type: ignore[arg-type]
    while await run.step():
        pass
    again = SensorRun(spec, settings, b"k", Bus(), FileStore(tmp_path / "state"))  # type: ignore[arg-type]
    await again.step()
    assert again.status()["passed_over"] == run.status()["passed_over"], "a restart forgets no name"
    return run.status()


async def test_whatever_lies_in_a_directory_is_read_or_named(tmp_path: Path) -> None:
    home = tmp_path / "log"
    (home / "tty").mkdir(parents=True)
    (home / "old").mkdir()
    (home / "downloads").mkdir()
    put = {
        "cowrie.json": visit(0), "cowrie.log": b"2026-03-01T10:00:00Z [HoneyPotSSHTransport,1] connection lost\n",
        "eve.json": SURICATA * 3, "canary.json": CANARY, "notes.txt": b"remember the milk\n", "core": b"\x7fELF\0\0\1\2" * 9,
        "empty.json": b"", "nothing": b"", ".cowrie.json.swp": b"b0VIM 8.2", TTY: b"\0\1" * 40,
        "20260301-100000-abc-1e.log": b"\3\0\0" * 20, "cowrie.json.1.zst": b"\x28\xb5\x2f\xfd" + b"x" * 50,
        "cowrie.json.2.lz4": b"\x04\x22\x4d\x18" + b"x" * 50, "half.json": b'{"eventid": "cow', "nul.json": b"\0" * 900,
        "zcopy.json": visit(0), "cowrie.sqlite": b"SQLite format 3\0" + b"\0" * 100,
    }  # fmt: skip
    for name, data in put.items():
        (home / name).write_bytes(data)
    (home / "odd name").write_bytes(visit(10))
    (home / "cowrie.json.old").write_bytes(visit(20))
    (home / "packed").write_bytes(gzip.compress(visit(30)))
    os.mkfifo(home / "pipe.json")
    os.symlink(home / "nowhere", home / "gone.txt")
    with zipfile.ZipFile(home / "cowrie.json.3.zip", "w") as archive:
        archive.writestr("cowrie.json", visit(40))
    status = await status_of(home, tmp_path)
    assert {Path(path).name: why for path, why in status["passed_over"].items()} == {
        "cowrie.log": "this is Cowrie's text log; the JSON log is cowrie.json", "eve.json": "this is a suricata log",
        "canary.json": "this is an opencanary log", "notes.txt": "no log of cowrie", "core": "binary",
        "empty.json": "empty", "nothing": "empty", ".cowrie.json.swp": "hidden: a file in the making, or an editor's",
        TTY: "a terminal recording: read with its session",
        "20260301-100000-abc-1e.log": "a terminal recording: read with its session",
        "cowrie.json.1.zst": "compressed by zstd, for which there is no reader here: unpack it",
        "cowrie.json.2.lz4": "compressed by lz4, for which there is no reader here: unpack it",
        "cowrie.json.3.zip": "a zip archive: unpack it", "cowrie.sqlite": "an SQLite database",
        "half.json": "its first line is not whole yet", "nul.json": "nothing but NUL bytes",
        "zcopy.json": f"a copy of {home / 'cowrie.json'}", "pipe.json": "not a regular file", "gone.txt": "missing",
        "tty": "a directory of terminal recordings: read with their sessions",
        "downloads": "a directory of files that attackers brought: never read as logs", "old": "a directory",
    }  # fmt: skip
    assert status["passed_over_count"] == len(status["passed_over"])
    assert status["open_sessions"] == 4, "cowrie.json, .old, and two whose names say nothing"
    assert status["state"] == "ok"


@pytest.mark.parametrize("kind", ["cowrie", "opencanary"])
def test_a_file_whose_name_says_nothing_is_read_if_its_content_says_it_is_a_log(
    tmp_path: Path, kind: str
) -> None:
    mine, theirs = (visit(0), CANARY) if kind == "cowrie" else (CANARY, visit(0))
    (tmp_path / "out.log").write_bytes(b"starting up\n" + mine)
    (tmp_path / "other.log").write_bytes(theirs)
    (tmp_path / "utf16.txt").write_bytes(("\ufeff" + mine.decode()).encode("utf-16-le"))
    reader = tailer(tmp_path, kind)
    read = {Path(line.path).name for line in reader.read().lines} | {
        Path(x.path).name for x in reader.read().lines
    }
    assert read == {"out.log", "utf16.txt"}
    assert list(reader.passed) == [str(tmp_path / "other.log")]
    assert reader.passed[str(tmp_path / "other.log")].startswith("this is a")


def test_what_a_file_is_is_asked_again_when_it_has_changed(tmp_path: Path) -> None:
    (tmp_path / "later").write_bytes(b"nothing yet\n")
    reader = tailer(tmp_path)
    assert reader.read().lines == []
    assert reader.passed == {str(tmp_path / "later"): "no log of cowrie"}
    (tmp_path / "later").write_bytes(visit(0))
    assert len(reader.read().lines) == 2
    assert reader.passed == {}


@pytest.mark.parametrize("over", [0, 1, 7])
def test_files_beyond_the_limit_are_counted_and_told(tmp_path: Path, over: int) -> None:
    for i in range(5 + over):
        (tmp_path / f"{i:02}.json").write_bytes(visit(i * 10))
    reader = tailer(tmp_path, max_files=5)
    reader.scan()
    assert (reader.files, reader.over) == (5, over)
    assert reader.passed == ({str(tmp_path): f"too many files: {over} were not looked at"} if over else {})


async def test_files_that_are_passed_over_are_counted_beyond_those_that_are_named(tmp_path: Path) -> None:
    home = tmp_path / "log"
    home.mkdir()
    for i in range(60):
        (home / f"{i}.txt").write_bytes(b"no log\n")
    status = await status_of(home, tmp_path)
    assert (len(status["passed_over"]), status["passed_over_count"]) == (50, 60)


async def test_rotated_neighbours_of_a_named_file_are_told_of(tmp_path: Path) -> None:
    home = tmp_path / "log"
    home.mkdir()
    (home / "cowrie.json").write_bytes(visit(0))
    (home / "cowrie.json.1").write_bytes(visit(10))
    (home / "cowrie.json~").write_bytes(visit(20))
    (home / "unrelated").write_bytes(b"x")
    status = await status_of(home / "cowrie.json", tmp_path)
    assert status["passed_over"] == {
        str(
            home / "cowrie.json.1"
        ): "there before the sensor began, and not asked for: give it the directory",
        str(home / "cowrie.json~"): "its name is not that of a rotated cowrie.json",
    }


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cowrie.json").write_bytes(visit(0))
    opened = builtins.open

    def refused(path: Any, *more: Any, **how: Any) -> Any:
        """As for an ordinary user; root, who runs this too, may read everything."""
        if str(path).endswith("cowrie.json"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, *more, **how)

    monkeypatch.setattr(builtins, "open", refused)
    reader = tailer(tmp_path)
    reader.scan()
    assert reader.problems == {str(tmp_path / "cowrie.json"): "Permission denied"}


async def test_a_log_of_another_kind_is_named_until_a_line_of_it_is_of_use(tmp_path: Path) -> None:
    home = tmp_path / "log"
    home.mkdir()
    (home / "mixed.json").write_bytes(SURICATA)
    settings = Settings(data_dir=tmp_path / "data")
    run = SensorRun(
        SensorSpec(kind="cowrie", path=home),
        settings,
        b"k",
        Bus(),
        FileStore(tmp_path / "s"),  # type: ignore[arg-type]
    )
    await run.step()
    assert run.status()["passed_over"] == {str(home / "mixed.json"): "this is a suricata log"}
    with (home / "mixed.json").open("ab") as file:
        file.write(visit(0))
    await run.step()
    assert run.status()["passed_over"] == {}
    assert run.status()["reasons"] == {"a_suricata_log": 1}
    assert json.loads(json.dumps(run.status()))["lines"] == 3
