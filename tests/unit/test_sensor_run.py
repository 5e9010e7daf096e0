"""A sensor at work: stored by the broker first, noted in the checkpoint after, and nothing lost in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.config import SensorSettings, SensorSpec, Settings
from decnet.errors import BusAuthError, BusFull, BusUnavailable, DatabaseError, SensorError
from decnet.logs import configure_logging
from decnet.sensors import run as run_module
from decnet.sensors.files.checkpoint import pack
from decnet.sensors.files.cutting import Line
from decnet.sensors.run import LINES_AT_ONCE, PROBLEMS_TOLD, REFUSALS_TOLD_S, SensorRun
from decnet.sensors.sources import SessionSource
from tests.unit.test_sensor_cowrie import KEY, row

LIMITS = SensorSettings(read_bytes=4096, max_line_bytes=1024, checkpoint_s=10, silent_s=100, poll_s=7)


class Clock:
    """Time that moves only when somebody says so, or sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self.cut: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now + 1_700_000_000

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        self.cut()


class Bus:
    """Takes events; fails with what it was told to fail with, one for each call."""

    def __init__(self, journal: list[str]) -> None:
        self.journal = journal
        self.events: list[Event] = []
        self.failures: list[Exception | None] = []
        self.poison: set[str] = set()
        self.gate: asyncio.Event | None = None

    async def publish_events(self, events: Sequence[Event]) -> None:
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            self.journal.append("refused")
            raise failure
        if any(e.topic in self.poison for e in events):
            raise ValueError("refused for good")
        if self.gate is not None:
            await self.gate.wait()
        self.journal.append(f"published {len(events)}")
        self.events += events

    async def put_blob(self, key: str, data: bytes) -> None:
        self.journal.append("blob")


class Store:
    """Checkpoints in memory."""

    def __init__(self, journal: list[str]) -> None:
        self.journal = journal
        self.states: dict[str, str] = {}
        self.failures: list[Exception] = []
        self.on_save: Callable[[], None] = lambda: None

    async def load(self, key: str) -> dict[str, Any] | None:
        self.journal.append("loaded")
        return json.loads(self.states[key]) if key in self.states else None

    async def save(self, key: str, state: dict[str, Any]) -> None:
        self.on_save()
        if self.failures:
            raise self.failures.pop(0)
        self.journal.append("saved")
        self.states[key] = json.dumps(state)


class Scene:
    """A log, a bus, a store and a clock, and the sensors made of them."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "cowrie.json"
        self.journal: list[str] = []
        self.clock, self.bus, self.store = Clock(), Bus(self.journal), Store(self.journal)

    def run(self, kind: str = "cowrie", **limits: Any) -> SensorRun:
        settings = Settings(sensor=LIMITS.model_copy(update=limits))
        spec = SensorSpec(kind=kind, path=self.log)  # type: ignore[arg-type]
        return SensorRun(spec, settings, KEY, self.bus, self.store)  # type: ignore[arg-type]

    def since(self) -> list[str]:
        """What has happened since the last question."""
        found = list(self.journal)
        self.journal.clear()
        return found

    def topics(self) -> list[str]:
        return [e.topic.removeprefix("attacker.") for e in self.bus.events]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    made = Scene(tmp_path)
    monkeypatch.setattr(run_module, "time", made.clock)
    slow = SimpleNamespace(sleep=made.clock.sleep, to_thread=asyncio.to_thread, Lock=asyncio.Lock)
    monkeypatch.setattr(run_module, "asyncio", slow)
    return made


@pytest.fixture
def told() -> StringIO:
    out = StringIO()
    configure_logging("json", stream=out)
    return out


def said(out: StringIO, event: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, out.getvalue().splitlines()) if line["event"] == event]


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


async def settled(run: SensorRun) -> None:
    while await run.step():
        pass


def visits(first: int, last: int) -> bytes:
    return b"".join(
        row("session.connect", i, session=f"s{i}", src_ip=f"192.0.2.{i % 200}") for i in range(first, last)
    )


# --- stored first, noted after


async def test_the_checkpoint_is_written_after_the_broker_has_stored_what_was_read(scene: Scene) -> None:
    scene.log.write_bytes(visits(0, 3))
    run = scene.run()
    assert not run.at_end()
    assert await run.step() is True
    assert scene.since() == ["loaded", "published 6", "saved"]
    assert not run.at_end()
    assert await run.step() is False
    assert scene.since() == []
    assert run.at_end()
    assert run.published == 6
    later = scene.run()
    await settled(later)
    assert scene.since() == ["loaded"]
    assert (later.published, later.at_end()) == (0, True)


async def test_while_the_bus_is_away_nothing_is_noted_and_nothing_is_lost(
    scene: Scene, told: StringIO
) -> None:
    scene.log.write_bytes(visits(0, 3))
    scene.bus.failures = [
        BusUnavailable("away"),
        BusFull("full"),
        BusAuthError("not you"),
        BusUnavailable(""),
    ]
    run, waited = scene.run(), []
    scene.clock.cut = lambda: waited.append((run.waiting, run.status()["waiting"], run.at_end()))
    await run.step()
    assert scene.since() == ["loaded", *["refused"] * 4, "published 6", "saved"]
    assert waited == [(w, w, False) for w in ("away", "full", "not you", "BusUnavailable")]
    assert (run.waiting, run.published) == ("", 6)
    assert len(said(told, "holding the checkpoint until the bus takes events")) == 1
    assert len(said(told, "bus is back")) == 1


async def test_the_pause_before_another_try_doubles_up_to_the_longest_and_starts_anew(scene: Scene) -> None:
    scene.log.write_bytes(visits(0, 1))
    scene.bus.failures = [BusUnavailable("away")] * 8
    run = scene.run()
    await run.step()
    assert scene.clock.slept == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    scene.clock.slept.clear()
    append(scene.log, visits(1, 2))
    scene.bus.failures = [BusUnavailable("away")]
    await run.step()
    assert scene.clock.slept == [0.1]


async def test_cut_off_while_the_bus_is_away_what_waits_is_published_later_and_once(scene: Scene) -> None:
    scene.log.write_bytes(visits(0, 3))

    def cut() -> None:
        raise asyncio.CancelledError

    run = scene.run()
    scene.bus.failures, scene.clock.cut = [BusUnavailable("away")], cut
    with pytest.raises(asyncio.CancelledError):
        await run.step()
    assert scene.store.states == {}
    assert not run.at_end()
    append(scene.log, visits(3, 4))
    scene.clock.cut = lambda: None
    await settled(run)
    assert [e.payload["attacker_ip"] for e in scene.bus.events][::2] == [f"192.0.2.{i}" for i in range(4)]
    assert scene.since() == ["loaded", "refused", "loaded", "published 8", "saved"]


async def test_many_events_go_out_in_parts_and_a_part_that_was_stored_goes_out_once(scene: Scene) -> None:
    scene.log.write_bytes(visits(0, 600))
    run = scene.run(read_bytes=2**20)
    scene.bus.failures = [None, BusUnavailable("away"), None]
    await run.step()
    assert scene.since() == ["loaded", "published 500", "refused", "published 200", "published 100", "saved"]
    assert run.published == len({e.id for e in scene.bus.events}) == 800
    append(scene.log, visits(600, 1200))
    scene.clock.slept.clear()
    scene.bus.failures = [BusUnavailable("away"), BusUnavailable("away"), None, BusUnavailable("away")]
    await run.step()
    assert scene.since() == ["refused", "refused", "published 500", "refused", "published 100"]
    assert scene.clock.slept == [0.1, 0.2, 0.1]


async def test_what_a_log_begins_with_goes_out_before_the_rest_is_looked_at(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.log.write_bytes(visits(0, 2 * LINES_AT_ONCE + 1))
    run = scene.run(read_bytes=2**20)
    fed: list[tuple[int, int]] = []
    real = SessionSource.feed

    def feed(self: SessionSource, lines: Sequence[Line]) -> list[Event]:
        fed.append((len(lines), len(scene.bus.events)))
        return real(self, lines)

    monkeypatch.setattr(SessionSource, "feed", feed)
    await run.step()
    assert [count for count, _ in fed] == [LINES_AT_ONCE, LINES_AT_ONCE, 1]
    assert [out > 0 for _, out in fed] == [False, True, True]
    assert fed[2][1] > fed[1][1], "each part is out before the next is looked at"


async def test_a_fault_while_reading_makes_it_begin_again_at_the_checkpoint(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.log.write_bytes(visits(0, 2))
    run = scene.run()
    await settled(run)
    append(scene.log, visits(2, 3))

    def torn(_lines: object) -> list[Event]:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(run.source, "feed", torn)
        with pytest.raises(asyncio.CancelledError):
            await run.step()
    scene.since()
    await settled(run)
    assert scene.since() == ["loaded", "published 2", "saved"]
    assert len({e.id for e in scene.bus.events}) == len(scene.bus.events) == 6
    assert run.source.lines == 3


@pytest.mark.parametrize("error", [DatabaseError("locked"), SensorError("disk full")])
async def test_a_checkpoint_that_cannot_be_saved_is_saved_later(
    scene: Scene, told: StringIO, error: Exception
) -> None:
    scene.log.write_bytes(visits(0, 1))
    scene.store.failures = [error, error]
    run = scene.run()
    await run.step()
    await run.step()
    assert scene.since() == ["loaded", "published 2"]
    assert not run.at_end()
    await run.step()
    assert scene.since() == ["saved"]
    assert run.at_end()
    assert [line["error"] for line in said(told, "checkpoint not saved")] == [str(error)] * 2


async def test_checkpoints_of_a_busy_log_are_not_written_more_often_than_wanted(scene: Scene) -> None:
    scene.log.write_bytes(visits(0, 200))
    run = scene.run()
    for at, events in ((0.0, ["loaded", "saved"]), (0.5, []), (9.4, []), (9.999, []), (10.0, ["saved"]), (19.9, []), (20.0, ["saved"])):  # fmt: skip
        scene.clock.now = 1000.0 + at
        assert await run.step() is True
        assert [what for what in scene.since() if "published" not in what] == events


async def test_a_dear_checkpoint_is_written_less_often(scene: Scene) -> None:
    scene.log.write_bytes(visits(0, 200))

    def slow() -> None:
        scene.clock.now += 2.0

    run, scene.store.on_save = scene.run(), slow
    await run.step()
    assert scene.clock.now == 1002.0
    assert "saved" in scene.since()
    for at, saved in ((39.9, False), (40.0, True)):
        scene.clock.now = 1002.0 + at
        await run.step()
        assert ("saved" in scene.since()) is saved


async def test_at_its_end_a_log_is_noted_at_once(scene: Scene) -> None:
    scene.log.write_bytes(visits(0, 1))
    run = scene.run()
    await run.step()
    append(scene.log, visits(1, 2))
    await run.step()
    assert scene.since() == ["loaded", "published 2", "saved", "published 2"]
    assert await run.step() is False
    assert scene.since() == ["saved"]
    await run.step()
    assert scene.since() == []


# --- ends


async def test_open_sessions_end_once_and_that_is_noted(scene: Scene) -> None:
    scene.log.write_bytes(visits(0, 2))
    run = scene.run()
    await settled(run)
    scene.since()
    scene.bus.failures = [BusUnavailable("away")]
    assert await run.end_open_sessions("eof") == 2
    assert scene.since() == ["refused", "published 2", "saved"]
    assert [e.payload["end_reason"] for e in scene.bus.events[-2:]] == ["eof", "eof"]
    assert await run.end_open_sessions("eof") == 0
    assert scene.since() == []
    assert await scene.run().end_open_sessions("eof") == 0
    assert scene.since() == ["loaded"]


async def test_sessions_of_the_last_run_can_be_ended_without_reading(scene: Scene) -> None:
    scene.log.write_bytes(visits(0, 2))
    await settled(scene.run())
    assert await scene.run().end_open_sessions("eof") == 2


async def test_ending_waits_for_the_round_that_is_on(scene: Scene) -> None:
    scene.log.write_bytes(visits(0, 1))
    scene.bus.gate = asyncio.Event()
    run = scene.run()
    working = asyncio.create_task(run.run())
    while not run._pending:  # the round waits for the bus
        await asyncio.sleep(0)
    ending = asyncio.create_task(run.end_open_sessions("eof"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert [e.topic for e in run._pending] == ["attacker.observed", "attacker.session.started"]
    scene.bus.gate.set()
    assert await ending == 1
    assert scene.topics() == ["observed", "session.started", "session.ended"]
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def test_a_run_looks_again_after_a_pause_and_lets_go_of_its_files(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.log.write_bytes(visits(0, 1))
    run, closed = scene.run(), list[bool]()

    def cut() -> None:
        if len(scene.clock.slept) == 3:
            raise asyncio.CancelledError

    scene.clock.cut = cut
    await run.step()
    monkeypatch.setattr(run.tailer, "close", lambda: closed.append(True))
    with pytest.raises(asyncio.CancelledError):
        await run.run()
    assert scene.clock.slept == [7, 7, 7]
    assert closed == [True]


async def test_silence_ends_visits_only_when_the_log_was_read_to_its_end(scene: Scene) -> None:
    raw = {
        "logtype": 2000,
        "node_id": "d1",
        "src_host": "192.0.2.7",
        "dst_port": 21,
        "logdata": {"USERNAME": "x"},
    }
    lines = [
        json.dumps({**raw, "utc_time": f"2023-01-01 00:00:{i:02d}", "pad": "p" * 300}) for i in range(30)
    ]
    scene.log.write_text("\n".join(lines) + "\n")
    run, moved = scene.run("opencanary"), []
    while True:
        moved.append(await run.step())
        if not moved[-1]:
            break
        assert "session.ended" not in scene.topics()
    assert len(moved) > 2
    assert scene.topics().count("session.ended") == 1
    assert "saved" in scene.since()


# --- refusals of the bus, recordings


async def test_one_event_that_the_bus_refuses_for_good_does_not_hold_up_the_others(
    scene: Scene, told: StringIO
) -> None:
    scene.log.write_bytes(
        visits(0, 1) + row("login.failed", 1, session="s0", username="u", password="hunter22")
    )
    scene.bus.poison = {"attacker.session.started"}
    run = scene.run()
    await settled(run)
    assert [e.topic for e in scene.bus.events] == ["attacker.observed", "credential.captured"]
    assert (run.published, run.unpublishable) == (2, 1)
    assert (run.status()["published"], run.status()["unpublishable"]) == (2, 1)
    assert run.at_end()
    (line,) = said(told, "event refused")
    assert (line["topic"], line["error"]) == ("attacker.session.started", "refused for good")
    assert "hunter22" not in told.getvalue()


async def test_a_recording_is_stored_before_the_event_that_names_it(scene: Scene) -> None:
    (scene.log.parent / "tty").mkdir()
    (scene.log.parent / "tty" / ("a" * 64)).write_bytes(b"keys")
    data = visits(0, 1) + row("log.closed", 1, session="s0", ttylog="tty/" + "a" * 64, size=4)
    scene.log.write_bytes(data + row("session.closed", 2, session="s0"))
    run = scene.run()
    await run.step()
    assert scene.since() == ["loaded", "blob", "published 3", "saved"]
    assert "keystrokes_ref" in scene.bus.events[-1].payload
    assert not any("ttylog" in e.payload for e in scene.bus.events)


# --- checkpoints that are no good


def source_state(**more: Any) -> dict[str, Any]:
    return {"lines": 1, "refused": {}, "newest": None, "sessions": {}, **more}


@pytest.mark.parametrize(
    "state",
    [
        {}, {"v": 1}, {"v": 1, "source": "%%%"}, {"v": 1, "source": 5}, {**pack({"files": []}, source_state()), "v": 2},
        pack({"files": [{}]}, source_state()), pack({"files": 5}, source_state()), pack({"files": [5]}, source_state()),
        pack({"files": []}, []), pack({"files": []}, source_state(lines="x")), pack({"files": []}, source_state(sessions=[])),  # type: ignore[arg-type]
        pack({"files": []}, source_state(sessions={"open": [{}]})), pack({"files": []}, source_state(sessions={"clocks": {"d1": 5}})),
    ],
)  # fmt: skip
async def test_a_checkpoint_that_is_no_good_ends_the_sensor_and_is_not_written_over(
    scene: Scene, state: dict[str, Any]
) -> None:
    scene.log.write_bytes(visits(0, 1))
    key = f"cowrie={scene.log}"
    scene.store.states[key] = json.dumps(state)
    with pytest.raises(SensorError, match="checkpoint"):
        await scene.run().step()
    assert json.loads(scene.store.states[key]) == state
    assert scene.bus.events == []


# --- what is told


async def test_refused_lines_are_told_of_together_and_not_too_often(scene: Scene, told: StringIO) -> None:
    assert REFUSALS_TOLD_S == 10
    run = scene.run()
    for at, lines in ((0.0, b"x\n" * 3), (1.0, b"y\n"), (REFUSALS_TOLD_S - 0.1, b"z\n"), (REFUSALS_TOLD_S, b"\n"), (50.0, b"\n")):  # fmt: skip
        scene.clock.now = 1000.0 + at
        append(scene.log, lines)
        await settled(run)
    assert [(line["count"], line["last"]) for line in said(told, "lines refused")] == [
        (3, f"{scene.log}:3: not_json"), (2, f"{scene.log}:5: not_json"),
    ]  # fmt: skip
    append(scene.log, b'{"password": "hunter22"}\n' + b"hunter22" * 200 + b"\n")
    await settled(run)
    assert run.status()["reasons"] == {"not_json": 5, "no_eventid": 1, "too_long": 1}
    assert run.status()["last_refusal"] == f"{scene.log}:8: no_eventid", (
        "the lines that are too long come first"
    )
    assert run.status()["refused"] == 7
    scene.clock.now += 100
    await settled(run)
    assert "hunter22" not in told.getvalue()
    again = scene.run()
    await settled(again)
    assert again.status()["reasons"] == run.status()["reasons"]
    assert len(said(told, "lines refused")) == 3, "what the last run told of is not news"


async def test_files_that_cannot_be_read_are_told_of_once_and_only_some(scene: Scene, told: StringIO) -> None:
    assert PROBLEMS_TOLD == 10
    scene.log = scene.log.parent / "logs"
    scene.log.mkdir()
    for i in range(PROBLEMS_TOLD + 2):
        (scene.log / f"a{i:02d}.json.gz").write_bytes(b"no gzip")
    run = scene.run()
    for _ in range(3):
        await run.step()
    assert len(said(told, "log cannot be read")) == PROBLEMS_TOLD
    assert len(run.status()["problems"]) == 10
    assert run.status()["state"] == "unreadable"
    for path in scene.log.iterdir():
        path.unlink()
    await run.step()
    await run.step()
    assert len(said(told, "log can be read again")) == 1


async def test_the_state_of_a_sensor(scene: Scene) -> None:
    run = scene.run()
    await run.step()
    assert run.status()["state"] == "missing"
    assert (run.status()["age"], run.status()["last_line_ts"]) == (None, None)
    scene.log.write_bytes(visits(0, 1) + row("brand.new", 3) + b"\xff\n")
    scene.clock.now = 2000.0
    await run.step()
    status = run.status()
    newest = 1_600_000_003.0
    assert status == {
        "repeated": 0, "commands_dropped": 0, "items_dropped": 0, "clock_jumps": 0, "last_jump": "",
        "left_out": 0, "left_ids": {}, "not_derived": 0, "elements_dropped": 0, "entries_refused": 0, "entries_beyond": 0,
        "kind": "cowrie", "path": str(scene.log), "state": "ok", "age": 1_700_002_000 - newest, "last_line_ts": newest,
        "files": 1, "bytes_behind": 0, "lines": 3, "refused": 1, "reasons": {"not_json": 1},
        "last_refusal": f"{scene.log}:3: not_json", "bad_utf8": 1, "cut": 0, "unknown": 1, "unknown_ids": {"cowrie.brand.new": 1},
        "open_sessions": 1, "evicted": 0, "homeless": 1, "unfinished": 0, "names": [], "given_up": 0, "overfull": 0,
        "problems": {}, "passed_over": {}, "passed_over_count": 0, "stale": {}, "rotations": 0, "truncations": 0,
        "vanished": 0, "lost_bytes": 0, "joined_lines": 0, "changes": [], "recordings_missing": 0,
        "recordings_too_large": 0, "published": 2, "unpublishable": 0, "waiting": "",
    }  # fmt: skip
    for at, state in ((2100.0, "ok"), (2100.1, "silent")):
        scene.clock.now = at
        await run.step()
        assert run.status()["state"] == state
    append(scene.log, visits(5, 6))
    await run.step()
    assert run.status()["state"] == "ok"
    scene.clock.now = -(10**9)
    assert run.status()["age"] == 0.0, "a log of tomorrow is not younger than now"
    run.tailer.problems = {"/gone": "missing"}
    assert run.status()["state"] == "unreadable", "one of several is gone"


async def test_sessions_that_had_to_end_early_are_told_of(scene: Scene) -> None:
    scene.log.write_bytes(visits(0, 5))
    run = scene.run(max_open_sessions=2)
    await settled(run)
    assert (run.status()["evicted"], run.status()["open_sessions"]) == (3, 2)
    again = scene.run(max_open_sessions=2)
    await settled(again)
    assert (again.status()["evicted"], again.status()["open_sessions"]) == (3, 2)


async def test_lines_that_were_cut_are_counted(scene: Scene) -> None:
    run = scene.run(max_line_bytes=100_000)
    long = {
        "eventid": "cowrie.command.input",
        "session": "s",
        "timestamp": 1_600_000_000,
        "input": "A" * 200_000,
    }
    append(scene.log, json.dumps(long).encode() + b"\n")
    await settled(run)
    status = run.status()
    assert (status["cut"], status["refused"], status["lines"]) == (1, 0, 1)


async def test_a_sensor_that_waits_for_a_name_takes_no_thread_from_what_gives_it(scene: Scene) -> None:
    """On two cores all that is not said otherwise shares six threads: that many sensors waited for each other for ever."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    scene.log.write_bytes(visits(0, 1))
    run = scene.run()
    asked: list[int] = []

    def name() -> str:
        return "given"

    def claims(lines: Sequence[Any]) -> list[Event]:
        asked.append(len(lines))
        given = asyncio.run_coroutine_threadsafe(asyncio.to_thread(name), loop).result(20)
        assert given == "given"
        return []

    run._fresh()
    run._loaded = True
    run.source.feed = claims  # type: ignore[method-assign, assignment]
    await run.step()
    assert asked == [1]
