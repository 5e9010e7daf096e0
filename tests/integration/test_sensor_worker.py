"""Logs on disk to events on a bus: rotations, crashes, a bus that goes away."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import shutil
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.config import SensorSettings, SensorSpec, Settings
from decnet.errors import BusAuthError, BusUnavailable
from decnet.logs import configure_logging
from decnet.sensors.files.checkpoint import FileStore
from decnet.sensors.files.tailer import Tailer
from decnet.sensors.replay import iter_events
from decnet.sensors.run import SensorRun
from decnet.sensors.worker import SensorsWorker

RECORDED = Path(__file__).parent.parent / "fixtures" / "cowrie" / "recorded" / "3.1"
LIMITS = SensorSettings(read_bytes=4096, max_line_bytes=8192, poll_s=0.01, checkpoint_s=0.01)


class ListBus:
    """Stands in for a bus: the publishing half, with a switch."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.blobs: dict[str, bytes] = {}
        self.up = True

    async def publish_events(self, events: Sequence[Event]) -> None:
        if not self.up:
            raise BusUnavailable("away")
        for event in events:
            if "poison" in event.payload:
                raise ValueError("refused for good")
        self.events += events

    async def put_blob(self, key: str, data: bytes) -> None:
        self.blobs[key] = data

    @property
    def ids(self) -> set[str]:
        return {e.id for e in self.events}


def texts(tailer: Tailer) -> list[str]:
    found = []
    while (batch := tailer.read()).consumed:
        found += [line.data.decode() for line in batch.lines]
    return found


def lines(first: int, last: int) -> str:
    return "".join(f'{{"n": {i}, "pad": "{"p" * 40}"}}\n' for i in range(first, last))


def numbers(tailer: Tailer) -> list[int]:
    return [json.loads(t)["n"] for t in texts(tailer)]


def tailer(path: Path, state: dict[str, Any] | None = None, start: str = "start") -> Tailer:
    made = Tailer(path, LIMITS, start)
    if state is not None:
        made.restore(json.loads(json.dumps(state)))
    return made


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("directory", [False, True])
@pytest.mark.parametrize("how", ["rename", "copytruncate", "gzip"])
def test_rotation_reads_every_line_once(tmp_path: Path, how: str, directory: bool, restart: bool) -> None:
    log = tmp_path / "cowrie.json"
    log.write_text(lines(0, 100))
    reader = tailer(tmp_path if directory else log)
    assert numbers(reader) == list(range(100))
    with log.open("a") as file:
        file.write(lines(100, 150))
    old = tmp_path / "cowrie.json.2026-01-01"
    if how == "copytruncate":
        shutil.copy(log, old)
        log.write_text(lines(150, 400))
    else:
        log.rename(old)
        log.write_text(lines(150, 400))
    if how == "gzip":
        (tmp_path / "cowrie.json.2026-01-01.gz").write_bytes(gzip.compress(old.read_bytes()))
        old.unlink()
    if restart:
        reader = tailer(tmp_path if directory else log, reader.to_state())
    assert numbers(reader) == list(range(100, 400))
    if old.exists():
        (tmp_path / "cowrie.json.2026-01-01.gz").write_bytes(gzip.compress(old.read_bytes()))
        assert numbers(reader) == []
        old.unlink()
    assert numbers(reader) == []
    assert reader.bytes_behind() == 0


def test_directory_is_read_oldest_first(tmp_path: Path) -> None:
    (tmp_path / "cowrie.json").write_text(lines(30, 40))
    (tmp_path / "cowrie.json.2026-01-02").write_text(lines(20, 30))
    (tmp_path / "cowrie.json.2026-01-01.gz").write_bytes(gzip.compress(lines(10, 20).encode()))
    (tmp_path / "cowrie.log").write_text("no json\n")
    assert numbers(tailer(tmp_path)) == list(range(10, 40))


def test_partial_last_line_waits_and_a_whole_object_does_not(tmp_path: Path) -> None:
    log = tmp_path / "cowrie.json"
    log.write_text('{"n": 0}\n{"n": 1')
    reader = tailer(log)
    assert numbers(reader) == [0]
    with log.open("a") as file:
        file.write("}")
    assert numbers(reader) == [1]
    with log.open("a") as file:
        file.write('\n{"n": 2}\n')
    batch = reader.read()
    assert [line.number for line in batch.lines] == [3]


def test_over_long_line_is_skipped_with_its_place(tmp_path: Path) -> None:
    log = tmp_path / "cowrie.json"
    log.write_text('{"n": 0}\n{"x": "' + "y" * 300_000 + '"}\n{"n": 1}\n')
    reader, places, found = tailer(log), [], []
    while (batch := reader.read()).consumed:
        places += batch.too_long
        found += [line.data for line in batch.lines]
    assert places == [f"{log}:2"]
    assert found == [b'{"n": 0}', b'{"n": 1}']


def test_start_end_skips_only_what_was_there(tmp_path: Path) -> None:
    log = tmp_path / "cowrie.json"
    log.write_text(lines(0, 10))
    reader = tailer(log, start="end")
    assert numbers(reader) == []
    with log.open("a") as file:
        file.write(lines(10, 12))
    assert numbers(reader) == [10, 11]


def test_missing_and_broken_files_cost_nothing_else(tmp_path: Path) -> None:
    reader = tailer(tmp_path / "none" / "cowrie.json")
    assert texts(reader) == []
    assert list(reader.problems.values()) == ["missing"]
    (tmp_path / "cowrie.json").write_text(lines(0, 3))
    whole = gzip.compress(lines(5, 500).encode())
    (tmp_path / "cowrie.json.1.gz").write_bytes(whole[:60])
    (tmp_path / "cowrie.json.2.gz").write_bytes(b"not gzip")
    reader = tailer(tmp_path)
    assert {0, 1, 2} <= set(numbers(reader))
    assert len(reader.problems) >= 1
    (tmp_path / "cowrie.json.1.gz").write_bytes(whole)
    numbers(reader)
    assert reader.bytes_behind() == 0


def config(tmp_path: Path, *paths: Path, kind: str = "cowrie") -> Settings:
    specs = tuple(SensorSpec(kind=kind, path=p) for p in paths)  # type: ignore[arg-type]
    return Settings(data_dir=tmp_path / "data", sensors=specs, sensor=LIMITS)


async def until_end(worker: SensorsWorker, seconds: float = 20.0) -> None:
    tasks = [asyncio.create_task(run()) for run in worker.background().values()]
    try:
        async with asyncio.timeout(seconds):
            while not worker.at_end():
                await asyncio.sleep(0.01)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def started(settings: Settings, bus: ListBus) -> SensorsWorker:
    worker = SensorsWorker(settings, FileStore(settings.data_dir / "sensors"))
    await worker.start(None, bus)  # type: ignore[arg-type]
    return worker


async def test_recording_goes_to_the_bus_with_its_keystrokes(tmp_path: Path) -> None:
    bus = ListBus()
    worker = await started(config(tmp_path, RECORDED / "cowrie.json"), bus)
    await until_end(worker)
    ended = [e.payload for e in bus.events if e.topic == "attacker.session.ended"]
    refs = [p["keystrokes_ref"] for p in ended if "keystrokes_ref" in p]
    assert len(ended) == 7
    assert refs
    assert set(refs) <= set(bus.blobs)
    assert not any("ttylog" in p for p in ended)
    assert worker.health()["lines_refused"] == 0
    assert worker.status()[0]["state"] == "ok"
    assert os.stat(tmp_path / "data" / "secret.key").st_mode & 0o777 == 0o600


async def test_killed_anywhere_ends_with_the_same_events(tmp_path: Path) -> None:
    log = tmp_path / "cowrie.json"
    shutil.copy(RECORDED / "cowrie.json", log)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "secret.key").write_bytes(b"k" * 32)
    settings = config(tmp_path, log)
    want = {e.id for e in iter_events(log, settings)}
    bus, dice = ListBus(), random.Random(5)
    for _ in range(12):
        worker = await started(settings, bus)
        for _ in range(dice.randrange(1, 6)):
            await worker.runs[0].step()
    worker = await started(settings, bus)
    await until_end(worker)
    await worker.end_open_sessions("eof")
    assert bus.ids == want
    again = ListBus()
    worker = await started(settings, again)
    await until_end(worker)
    assert not again.events


async def test_bus_away_holds_and_loses_nothing(tmp_path: Path) -> None:
    bus = ListBus()
    bus.up = False
    settings = config(tmp_path, RECORDED / "cowrie.json")
    worker = await started(settings, bus)
    with pytest.raises(TimeoutError):
        await until_end(worker, 0.3)
    assert worker.health()["degraded"]
    assert not worker.at_end()
    bus.up = True
    await until_end(worker)
    assert bus.ids == {e.id for e in iter_events(RECORDED / "cowrie.json", settings)}


async def test_recorded_events_and_one_poisoned_event(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    rows = [{"topic": "attacker.observed", "payload": {"n": i}, "id": f"{i:032x}", "ts": 5} for i in range(3)]
    rows[1]["payload"] = {"poison": True}
    log.write_text("".join(json.dumps(r) + "\n" for r in rows) + "junk\n")
    bus = ListBus()
    worker = await started(config(tmp_path, log, kind="jsonl"), bus)
    await until_end(worker)
    assert [e.id for e in bus.events] == [f"{0:032x}", f"{2:032x}"]
    assert worker.status()[0]["reasons"] == {"not_json": 1}
    assert worker.status()[0]["unpublishable"] == 1
    assert len(list(iter_events(log, config(tmp_path)))) == 3


async def test_missing_file_is_reported_and_taken_up_when_it_comes(tmp_path: Path) -> None:
    log, bus = tmp_path / "logs" / "cowrie.json", ListBus()
    worker = await started(config(tmp_path, log), bus)
    await until_end(worker)
    assert worker.status()[0]["state"] == "missing"
    log.parent.mkdir()
    shutil.copy(RECORDED / "cowrie.json", log)
    await worker.runs[0].step()
    await until_end(worker)
    assert len([e for e in bus.events if e.topic == "attacker.session.ended"]) == 7


async def test_refused_lines_are_told_with_the_place_of_the_newest(tmp_path: Path) -> None:
    out = StringIO()
    configure_logging("json", stream=out)
    log = tmp_path / "cowrie.json"
    log.write_text('no json\n{"eventid": 5}\n[1]\n')
    settings = Settings(data_dir=tmp_path, sensor=LIMITS)
    store = FileStore(tmp_path / "state")
    for _ in range(2):  # the second one starts where the first one ended
        run = SensorRun(SensorSpec(kind="cowrie", path=log), settings, b"k", ListBus(), store)  # type: ignore[arg-type]
        while await run.step():
            pass
        assert run.status()["last_refusal"] == f"{log}:3: not_object"
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(t["event"], t["count"], t["last"]) for t in told] == [
        ("lines refused", 3, f"{log}:3: not_object")
    ]


async def test_a_bus_that_refuses_the_sensor_holds_it_and_is_named(tmp_path: Path) -> None:
    class Refusing(ListBus):
        async def publish_events(self, events: Sequence[Event]) -> None:
            raise BusAuthError("refused the credentials")

    log = tmp_path / "cowrie.json"
    shutil.copy(RECORDED / "cowrie.json", log)
    settings = Settings(data_dir=tmp_path, sensor=LIMITS)
    bus: Any = Refusing()
    run = SensorRun(SensorSpec(kind="cowrie", path=log), settings, b"k", bus, FileStore(tmp_path / "s"))
    task = asyncio.create_task(run.run())
    async with asyncio.timeout(10):
        while not run.waiting:
            await asyncio.sleep(0.01)
    assert not task.done()
    assert run.status()["waiting"] == "refused the credentials"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_log_that_is_not_there_is_told_of_once_and_so_is_its_coming(tmp_path: Path) -> None:
    out = StringIO()
    configure_logging("json", stream=out)
    log, bus = tmp_path / "cowrie.json", ListBus()
    settings = Settings(data_dir=tmp_path, sensor=LIMITS)
    worker = SensorsWorker(settings.model_copy(update={"sensors": (SensorSpec(kind="cowrie", path=log),)}), FileStore(tmp_path / "s"))  # fmt: skip
    await worker.start(None, bus)  # type: ignore[arg-type]
    for _ in range(3):
        await worker.runs[0].step()
    log.write_text("")
    await worker.runs[0].step()
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(t["event"], t.get("reason")) for t in told if "log c" in t["event"]] == [
        ("log cannot be read", "missing"), ("log can be read again", None)
    ]  # fmt: skip


def test_replay_says_what_it_could_not_use(tmp_path: Path) -> None:
    log = tmp_path / "e.jsonl"
    log.write_text('{"topic": "attacker.observed", "payload": {}}\nxx\n' + "a" * 300_000 + "\n")
    refused: list[str] = []
    assert len(list(iter_events(log, config(tmp_path), refused))) == 1
    assert len(refused) == 1
    assert "2 lines refused" in refused[0]
    assert f"{log}:" in refused[0]
