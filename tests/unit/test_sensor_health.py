"""What the sensors worker says of itself, to the last figure, and how the console says it."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.config import SensorSettings, SensorSpec, Settings
from decnet.mail.facts import BOUNDS
from decnet.sensors import worker as worker_module
from decnet.sensors.files.checkpoint import FileStore, RepoStore
from decnet.sensors.worker import SensorsWorker, unread
from decnet_tui.model.feed import Feed
from decnet_tui.screens.workers import WorkersView
from tests.unit.test_console_models import text_of
from tests.unit.test_sensor_cowrie import row
from tests.unit.test_sensor_run import Bus, Store, visits

NOW = 1_700_000_000.0
WHEN = datetime(2023, 11, 14, tzinfo=UTC)


class FakeRun:
    """Stands in for a sensor at work."""

    def __init__(self, path: str = "/l", end: bool = True, **status: Any) -> None:
        self.spec = SimpleNamespace(path=Path(path))
        self.end = end
        self.ended: list[str] = []
        self.was_run = 0
        self._status = {"kind": "cowrie", "path": path, "state": "ok", "age": None, **status}

    def status(self) -> dict[str, Any]:
        return self._status

    def at_end(self) -> bool:
        return self.end

    async def end_open_sessions(self, reason: str) -> int:
        self.ended.append(reason)
        return 3

    async def run(self) -> None:
        self.was_run += 1


def worker_of(*runs: FakeRun, sensors: int | None = None) -> SensorsWorker:
    count = len(runs) if sensors is None else sensors
    specs = tuple(SensorSpec(kind="cowrie", path=Path(f"/{i}")) for i in range(count))
    made = SensorsWorker(Settings(sensors=specs, data_dir=Path("/none")))
    made.runs = list(runs)  # type: ignore[arg-type]
    return made


def test_health_is_the_sum_of_all_sensors() -> None:
    first = FakeRun("/a", files=1, bytes_behind=10, lines=100, refused=3, published=7, unpublishable=2, age=50.0,
                    unknown=5, bad_utf8=6, open_sessions=8, evicted=9, repeated=2, given_up=1, overfull=3, rotations=4,
                    truncations=2, vanished=1, lost_bytes=70, joined_lines=2, recordings_missing=5,
                    recordings_too_large=1, passed_over_count=6, last_line_ts=5.0, commands_dropped=3, items_dropped=4,
                    clock_jumps=1, left_out=4, not_derived=5, elements_dropped=6, entries_refused=7, entries_beyond=8)  # fmt: skip
    second = FakeRun("/b", files=2, bytes_behind=20, lines=200, refused=1, published=1, unpublishable=1, age=9.5,
                     unknown=1, bad_utf8=1, open_sessions=1, evicted=1, rotations=1, last_line_ts=9.0,
                     left_out=1, not_derived=1, elements_dropped=1)  # fmt: skip
    health = worker_of(first, second, FakeRun("/c")).health()
    rows = health.pop("sensors")
    for name in ("values_cut", *BOUNDS):
        assert health.pop(name) >= 0  # of the whole process, not of these sensors
    assert [r["path"] for r in rows] == ["/a", "/b", "/c"]
    assert health == {
        "files": 3, "bytes_behind": 30, "lines_read": 300, "lines_refused": 4, "lines_unknown": 6, "lines_bad_utf8": 7,
        "events_published": 8, "events_unpublishable": 3, "sessions_open": 9, "sessions_evicted": 10, "lines_homeless": 0, "lines_unfinished": 0, "lines_cut": 0,
        "processed": 300, "lag": 30, "last_event_ts": 9.0, "lines_repeated": 2, "lines_joined": 2, "lines_given_up": 1,
        "sessions_overfull": 3, "recordings_missing": 5, "recordings_too_large": 1, "rotations": 5, "truncations": 2,
        "files_vanished": 1, "bytes_lost": 70, "files_passed_over": 6, "last_line_age": 9.5, "degraded": "",
        "commands_dropped": 3, "items_dropped": 4, "clock_jumps": 1, "lines_left_out": 5, "values_not_derived": 6,
        "elements_dropped": 7, "formats_failed": 0, "entries_refused": 7, "entries_beyond": 8,
        "remote_sensors": 0, "remote_events": 0, "remote_refused": 0, "remote_recordings_missing": 0,
    }  # fmt: skip
    assert worker_of(FakeRun("/c")).health()["last_line_age"] is None


def test_why_the_worker_is_not_green() -> None:
    runs = [FakeRun("/a", state="missing"), FakeRun("/b", state="silent"), FakeRun("/c", state="unreadable"),
            FakeRun("/d", waiting="stream full"), FakeRun("/e", waiting="")]  # fmt: skip
    assert worker_of(*runs).health()["degraded"] == "/a: missing; /c: unreadable; /d: stream full"
    assert len(worker_of(FakeRun("/" + "x" * 600, state="missing")).health()["degraded"]) == 500


def test_sensors_that_cannot_be_read_are_named_with_the_reason() -> None:
    rows = [FakeRun("/a", state="missing").status(), FakeRun("/b", state="silent").status(), FakeRun("/d").status(),
            FakeRun("/c", state="unreadable", problems={"/c/x": "Permission denied", "/c/y": "missing"}).status()]  # fmt: skip
    assert unread(rows) == ["cowrie=/a: missing", "cowrie=/c: Permission denied; missing"]


def test_the_end_is_reached_when_every_sensor_has_started_and_stands_at_its_end() -> None:
    assert worker_of(FakeRun(), FakeRun()).at_end()
    assert not worker_of(FakeRun(), FakeRun(end=False)).at_end()
    assert not worker_of(FakeRun(), sensors=2).at_end()
    broken = worker_of(FakeRun(), sensors=2)
    broken._broken["cowrie=/x"] = "no date"
    assert broken.at_end()


async def test_every_sensor_has_its_task_and_ends_its_sessions() -> None:
    runs = [FakeRun("/a"), FakeRun("/b")]
    worker = worker_of(*runs)
    assert await worker.end_open_sessions("eof") == 6
    assert [run.ended for run in runs] == [["eof"], ["eof"]]
    tasks = worker.background()
    assert list(tasks) == ["sensor-0", "sensor-1", "sensor-fleet"]
    await tasks["sensor-1"]()
    assert [run.was_run for run in runs] == [0, 1]


async def test_the_task_of_a_sensor_that_did_not_start_rests(tmp_path: Path) -> None:
    specs = (
        SensorSpec(kind="cowrie", path=tmp_path / "a", start="soon"),
        SensorSpec(kind="cowrie", path=tmp_path / "b"),
    )
    worker = SensorsWorker(Settings(sensors=specs, data_dir=tmp_path / "data"))
    await worker.start(None, Bus([]))  # type: ignore[arg-type]
    assert [run.spec.path.name for run in worker.runs] == ["b"]
    bad = worker.status()[-1]
    assert (bad["kind"], bad["path"], bad["state"]) == ("cowrie", str(tmp_path / "a"), "unreadable")
    assert "from=soon" in bad["problems"][str(tmp_path / "a")]
    assert unread([bad]) == [f"cowrie={tmp_path / 'a'}: from=soon: neither start, end nor an ISO date"]
    task = asyncio.ensure_future(worker.background()["sensor-1"]())
    for _ in range(3):
        await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    await worker.start(None, Bus([]))  # type: ignore[arg-type]
    assert (len(worker.runs), len(worker.status())) == (1, 2), "started anew, nothing stands twice"


async def test_checkpoints_are_in_the_database_or_without_one_in_a_folder(tmp_path: Path) -> None:
    repo, store = object(), FileStore(tmp_path)
    worker = SensorsWorker(Settings(data_dir=tmp_path))
    assert isinstance(worker._default_store(repo), RepoStore)  # type: ignore[arg-type]
    made = worker._default_store(None)
    assert isinstance(made, FileStore)
    assert made._dir == tmp_path / "sensors"
    assert SensorsWorker(Settings(data_dir=tmp_path), store)._store is store


async def test_logs_of_own_decoys_are_read_once_there_are_any_and_by_one_sensor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path)
    worker, slept = SensorsWorker(settings, Store([])), list[float]()  # type: ignore[arg-type]
    await worker.start(None, Bus([]))  # type: ignore[arg-type]
    assert worker.at_end(), "without decoys there is nothing to wait for"

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            settings.fleet_logs_dir.mkdir(parents=True)
            assert not worker.at_end()

    monkeypatch.setattr(worker_module, "asyncio", SimpleNamespace(sleep=sleep, to_thread=asyncio.to_thread))
    monkeypatch.setattr(worker_module.SensorRun, "run", FakeRun.run)
    monkeypatch.setattr(worker_module.SensorRun, "was_run", 0, raising=False)
    for _ in range(2):  # a supervisor starts an ended task again
        await worker.background()["sensor-fleet"]()
    assert slept == [worker_module.FLEET_LOOK_S] * 2
    assert [(run.spec.kind, run.spec.path) for run in worker.runs] == [
        ("opencanary", settings.fleet_logs_dir)
    ]
    assert worker.runs[0].was_run == 2  # type: ignore[attr-defined]
    own = SensorSpec(kind="opencanary", path=settings.fleet_logs_dir)
    assert not SensorsWorker(settings.model_copy(update={"sensors": (own,)}))._fleet_due()


async def test_figures_of_a_real_log_reach_the_heartbeat_and_the_screen(tmp_path: Path) -> None:
    log = tmp_path / "cowrie.json"
    log.write_bytes(visits(0, 4) + row("brand.new", 5, session="s3") + b'{"x": "\xff"}\n')
    spec = SensorSpec(kind="cowrie", path=log)
    settings = Settings(data_dir=tmp_path, sensors=(spec,), sensor=SensorSettings(max_open_sessions=2))
    bus = Bus([])
    bus.poison = {"attacker.session.ended"}
    store = Store([])
    worker = SensorsWorker(settings, store)  # type: ignore[arg-type]
    await worker.start(None, bus)  # type: ignore[arg-type]
    while await worker.runs[0].step():
        pass
    assert list(store.states) == [f"cowrie={log}"], "the store that was given is used"
    health = json.loads(json.dumps(worker.health()))
    told = {
        k: health[k]
        for k in (
            "sessions_evicted",
            "sessions_open",
            "lines_unknown",
            "lines_bad_utf8",
            "events_unpublishable",
        )
    }
    assert told == {
        "sessions_evicted": 2, "sessions_open": 2, "lines_unknown": 1, "lines_bad_utf8": 1, "events_unpublishable": 2,
    }  # fmt: skip
    shown = screen({"state": "ok", **health})
    for words in WORDS:
        assert shown.count(words) >= 2, "once for the worker, once for the sensor"


WORDS = (
    "2 sessions ended early for want of room",
    "2 sessions open",
    "1 line of an unknown kind",
    "1 line not in UTF-8",
    "2 events the bus refused for good",
)


def view_of(payload: dict[str, Any]) -> WorkersView:
    feed = Feed()
    feed.add(Event("system.sensors.health", payload, ts=NOW), now=NOW)
    view = WorkersView(feed)
    view.load(
        [{"id": 3, "worker": "ttp", "topic": "a.b", "reason": "bad", "ts": WHEN, "seq": 1, "evicted": 5}]
    )
    view.sync(NOW)
    return view


def screen(payload: dict[str, Any]) -> str:
    view = view_of(payload)
    return "\n".join(text_of(view, i, 400) for i in range(view.count()))


FIGURES = {"evicted": 4, "unknown": 5, "bad_utf8": 6, "unpublishable": 7, "open_sessions": 8}


def test_details_begin_with_the_counts_that_are_worth_a_word() -> None:
    sensor = {"kind": "cowrie", "path": "/l", "state": "ok", **FIGURES}
    view = view_of({"state": "ok", "sessions_evicted": 1, "lines_unknown": 0, "sensors": [sensor]})
    assert view.detail()[:6] == [
        "4 sessions ended early for want of room", "7 events the bus refused for good", "5 lines of an unknown kind",
        "6 lines not in UTF-8", "8 sessions open", "{",
    ]  # fmt: skip
    view.move(1, 20)
    assert view.detail()[:2] == ["1 session ended early for want of room", "{"]
    view.move(1, 20)
    assert view.detail()[0] == "{", "a dead letter has none"
    view.put([])
    assert view.detail() == []


def test_counts_of_nothing_are_not_told() -> None:
    sensor = {"kind": "cowrie", "path": "/l", "state": "ok", **dict.fromkeys(FIGURES, 0)}
    zeros = dict.fromkeys(
        ("sessions_evicted", "sessions_open", "lines_unknown", "lines_bad_utf8", "events_unpublishable"), 0
    )
    view = view_of({"state": "ok", **zeros, "bytes_behind": 0, "sensors": [sensor]})
    text = "\n".join(text_of(view, i, 400) for i in range(view.count()))
    assert not [words for words in WORDS if words[2:] in text]
    assert "evicted" not in text
    assert "bytes behind" not in text
    assert text.startswith("lost or limited  dead letters: 1 event given up\n")
    assert view.detail()[0] == "{"


def test_counts_that_are_no_numbers_are_not_told() -> None:
    sensor = {
        "kind": "cowrie",
        "path": "/l",
        "state": "ok",
        **dict.fromkeys(FIGURES, "\x1b[2J9"),
        "evicted": None,
    }
    assert "sessions" not in screen({"state": "ok", "sessions_open": "many", "sensors": [sensor]})
