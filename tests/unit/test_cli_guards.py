"""What commands of the shell keep to: exit codes, bounds of what is typed, questions before what is final, files."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
from collections import namedtuple
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from structlog.testing import capture_logs
from typer.testing import CliRunner

from decnet.bus.base import Event
from decnet.config import SensorSpec, Settings
from decnet.errors import BusError, ConfigError, DatabaseError, DecnetError, EngineError, ExportError
from decnet_tui.actions.changes import Change, Outcome
from decnet_tui.actions.rules import RuleChange
from decnet_tui.cli import changing, common, doctor, fleet, main, purge, sensors, stream, unit, usage, worker
from decnet_tui.cli import target as target_file
from decnet_tui.cli.bar import Bar
from decnet_tui.launch import headless, playing
from decnet_tui.model.feed import Feed
from decnet_tui.model.journal import End
from tests.fuzzkit import obeyed
from tests.storekit import rule

NOW = 1_700_000_000.0
NASTY = "\x1b[2J\u202e\x9b31m"


def code_of(error: pytest.ExceptionInfo[Any]) -> int:
    return int(error.value.exit_code)


# --- exit codes


@pytest.mark.parametrize(
    ("error", "code"),
    [(ConfigError("no"), 2), (DecnetError("no"), 1), (DatabaseError("no"), 1), (BusError("no"), 1), (KeyboardInterrupt(), 130)],
)  # fmt: skip
def test_an_error_made_on_purpose_is_one_line_and_an_exit_code(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail() -> None:
        raise error

    with pytest.raises(typer.Exit) as found:
        common.run(fail)
    assert code_of(found) == code
    assert capsys.readouterr().err == ("" if code == 130 else "error: no\n")


def test_an_error_is_visible_text_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as found:
        common.fail(f"a{NASTY}\nb{NASTY}", 7)
    assert code_of(found) == 7
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 2
    assert not obeyed(said.err.replace("\n", ""))
    assert not obeyed(usage.line(SimpleNamespace(format_message=lambda: NASTY * 99, ctx=None)))


def test_a_command_waits_for_nothing_else_but_programming_errors_are_not_hidden() -> None:
    async def broken() -> None:
        raise RuntimeError("ours")

    async def fine() -> int:
        return 3

    assert common.run(fine) == 3
    with pytest.raises(RuntimeError):
        common.run(broken)


# --- what is typed


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("1s", 1), ("90s", 90), (" 15m ", 900), ("24h", 86_400), ("7d", 604_800), ("2w", 1_209_600), ("1h30m", 5400), ("1.5h", 5400), ("36500d", 36_500 * 86_400)]
)  # fmt: skip
def test_durations(text: str, seconds: int) -> None:
    assert common.parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    ["", "1", "s", "-1h", "+1h", "1y", "forever", "36501d", "999999999w", "9999999999s", "nan", "h1"],
)
def test_durations_that_are_none_or_longer_than_a_century(text: str) -> None:
    for parse in (common.parse_duration, common.parse_expiry, common.parse_since):
        with pytest.raises(typer.BadParameter, match=r"no duration|no time|too long"):
            parse(text)


def test_what_is_over_at_once_is_no_expiry() -> None:
    assert common.parse_expiry("1s") == timedelta(seconds=1)
    for text in ("0s", "0d"):
        with pytest.raises(typer.BadParameter, match="over at once"):
            common.parse_expiry(text)


def test_a_moment_is_an_age_or_a_date_and_without_a_zone_it_is_utc() -> None:
    assert common.parse_since(None) is None
    assert common.parse_since("2026-03-04") == datetime(2026, 3, 4, tzinfo=UTC)
    assert common.parse_since("2026-03-04T01:00+01:00") == datetime(2026, 3, 4, tzinfo=UTC)
    ago = common.parse_since("1h")
    assert ago is not None
    assert abs((datetime.now(UTC) - ago).total_seconds() - 3600) < 5


@pytest.mark.parametrize(("speed", "factor"), [("max", 0.0), ("1x", 1.0), ("0.5x", 0.5), ("10", 10.0)])
def test_speeds(speed: str, factor: float) -> None:
    assert stream._factor(speed) == factor


@pytest.mark.parametrize("speed", ["0", "0x", "-1x", "nan", "nanx", "inf", "infx", "", "x", "fast"])
def test_speeds_that_are_none(speed: str) -> None:
    with pytest.raises(typer.BadParameter, match="write max"):
        stream._factor(speed)


# --- what is printed


def test_cells_are_visible_and_bounded_and_json_is_ascii() -> None:
    moment = datetime(2026, 3, 4, 1, 2, 3, tzinfo=UTC)
    assert [common._cell(v) for v in (None, moment, 0.125, ["a", NASTY], "x" * 61, "x" * 60)] == [
        "-", "2026-03-04 01:02:03Z", "0.12", "a \\e[2J\\u202e\\x9b31m", "x" * 59 + "…", "x" * 60,
    ]  # fmt: skip
    assert common.to_json({"a": NASTY, "t": moment}).isascii()
    assert json.loads(common.to_json({"t": moment}))["t"] == "2026-03-04T01:02:03+00:00"


def test_a_table_is_visible_and_empty_ones_say_what_would_fill_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    common.print_rows([{"a": NASTY, "b": 1}, {"a": "x"}], ("a", "b"), False, "nothing")
    lines = capsys.readouterr().out.splitlines()
    assert not obeyed("".join(lines))
    assert lines[0].split() == ["a", "b"]
    assert lines[2].split() == ["x", "-"]
    common.print_rows([], ("a",), False, "nothing yet")
    common.print_rows([], ("a",), True, "nothing yet")
    assert capsys.readouterr().out == "nothing yet\n[]\n"


def test_progress_is_for_people_and_not_in_every_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    for shown in (False, True):
        written: list[str] = []
        at = SimpleNamespace(now=100.0)
        err = SimpleNamespace(isatty=lambda shown=shown: shown, write=written.append, flush=lambda: None)
        monkeypatch.setattr("decnet_tui.cli.bar.sys", SimpleNamespace(stderr=err))
        monkeypatch.setattr("decnet_tui.cli.bar.time", SimpleNamespace(monotonic=lambda at=at: at.now))
        with Bar("purge") as bar:
            bar.count("a", 2)
            at.now += 0.09
            bar.count("b", 3)
            at.now += 0.02
            bar.count("c", 4)
            at.now += 1
            bar.part(5, 0, "d")
        assert written == (
            ["\rpurge: 2 rows, a\x1b[K", "\rpurge: 9 rows, c\x1b[K", "\rpurge [" + "#" * 150 + "] 5/0 d\x1b[K", "\r\x1b[K"]
            if shown
            else []
        )  # fmt: skip


# --- the store of a command


class Repo:
    """A repository that says whether it was closed."""

    closed = 0

    @classmethod
    async def open(cls, url: str) -> Repo:
        return cls()

    async def close(self) -> None:
        type(self).closed += 1


async def test_a_command_closes_its_database_and_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DecnetError, match="no database in"):
        async with common.repository(Settings(data_dir=tmp_path)):
            pass
    named = tmp_path / "x"
    with pytest.raises(DecnetError, match=f"no database at {named}:"):
        async with common.repository(Settings(data_dir=tmp_path, db=f"sqlite:///{named}")):
            pass
    assert not named.exists(), "a name that was mistyped is no empty database"
    named.touch()
    monkeypatch.setattr("decnet.db.repository.BaseRepository", Repo)
    Repo.closed = 0
    with pytest.raises(KeyError):
        async with common.repository(Settings(data_dir=tmp_path, db=f"sqlite:///{named}")):
            raise KeyError
    assert Repo.closed == 1


# --- what is final


@pytest.mark.parametrize(
    ("sure", "tty", "answer", "goes_on"),
    [(False, True, True, True), (False, True, False, False), (True, True, False, True), (False, False, False, True)],
)  # fmt: skip
def test_a_person_is_asked_before_what_is_final_and_a_script_is_not(
    monkeypatch: pytest.MonkeyPatch, sure: bool, tty: bool, answer: bool, goes_on: bool
) -> None:
    asked: list[str] = []

    def confirm(question: str, *, err: bool) -> bool:
        assert err, "standard output is the command's answer"
        asked.append(question)
        return answer

    monkeypatch.setattr(typer, "confirm", confirm)
    terminal = SimpleNamespace(isatty=lambda: tty)
    monkeypatch.setattr(common, "sys", SimpleNamespace(stdin=terminal, stderr=terminal))
    if goes_on:
        common.confirm("all of it?", sure)
    else:
        monkeypatch.setattr(common, "fail", lambda message: (_ for _ in ()).throw(typer.Exit(1)))
        with pytest.raises(typer.Exit):
            common.confirm("all of it?", sure)
    assert asked == ["all of it?"] * (tty and not sure)


@pytest.mark.parametrize(("stdin", "stderr"), [(True, False), (False, True)])
def test_nobody_is_asked_who_cannot_see_or_answer(
    monkeypatch: pytest.MonkeyPatch, stdin: bool, stderr: bool
) -> None:
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: pytest.fail("nobody is there"))
    ends = SimpleNamespace(
        stdin=SimpleNamespace(isatty=lambda: stdin), stderr=SimpleNamespace(isatty=lambda: stderr)
    )
    monkeypatch.setattr(common, "sys", ends)
    common.confirm("all of it?", False)


class Old:
    """A store that is purged."""

    def __init__(self) -> None:
        self.before: list[datetime] = []

    async def purge_older(self, before: datetime, count: Any) -> dict[str, int]:
        self.before.append(before)
        return {"session": 2, "tag": 0}

    async def journal_add(self, **row: Any) -> int:
        assert row["kind"] == "purge"
        return 1

    async def journal_end(self, entry: int, outcome: str, detail: str | None) -> None:
        assert (entry, outcome, detail) == (1, "verified", "2 session deleted")


def test_a_purge_asks_first_and_deletes_what_is_older(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store, asked = Old(), []

    @asynccontextmanager
    async def opened(_: Settings) -> AsyncIterator[Old]:
        yield store

    def confirm(question: str, sure: bool) -> None:
        asked.append((question, sure))
        if not sure:
            raise typer.Exit(1)

    monkeypatch.setattr(common, "repository", opened)
    monkeypatch.setattr(common, "confirm", confirm)
    with pytest.raises(typer.Exit):
        purge.purge("90d")
    assert not store.before
    purge.purge("90d", yes=True)
    assert abs((datetime.now(UTC) - store.before[0]) - timedelta(days=90)) < timedelta(seconds=5)
    assert [sure for _, sure in asked] == [False, True]
    assert f"{store.before[0]:%Y-%m-%d %H:%M}" in asked[1][0]
    assert "2 session deleted" in capsys.readouterr().out
    with pytest.raises(typer.BadParameter):
        purge.purge("-1d", yes=True)


class Fleet:
    """A store with one decky and sessions on it."""

    def __init__(self, *, live: int = 0, wanted: bool = True) -> None:
        self.live, self.wanted = live, wanted
        self.since = 0.0

    async def decky_get(self, name: str) -> Any:
        return {"wanted": self.wanted} if name == "web-01" else None

    async def live_sessions(self, name: str, since: float) -> int:
        self.since = since
        return self.live


async def test_a_rotation_cuts_nobody_off_unless_it_is_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "time", SimpleNamespace(time=lambda: NOW))
    settings = Settings()
    store: Any = Fleet()
    await fleet._may_rotate(store, settings, "web-01", force=False)
    assert store.since == NOW - settings.mutator.quiet_session_s
    for live, words in ((1, "1 attacker session is live"), (2, "2 attacker sessions are live")):
        with pytest.raises(DecnetError, match=f"{words} on web-01"):
            await fleet._may_rotate(Fleet(live=live), settings, "web-01", force=False)  # type: ignore[arg-type]
        await fleet._may_rotate(Fleet(live=live), settings, "web-01", force=True)  # type: ignore[arg-type]
    for store, name in ((Fleet(wanted=False), "web-01"), (Fleet(), "other")):
        with pytest.raises(DecnetError, match=f"no decoy {name}"):
            await fleet._may_rotate(store, settings, name, force=True)


# --- how changes are made from a shell


class Session:
    """A command's session."""

    def __init__(self, *, live: bool) -> None:
        self.live, self.settings = live, Settings()


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("end", list(End))
async def test_a_change_that_was_not_applied_fails_the_command_and_no_other_does(
    monkeypatch: pytest.MonkeyPatch, live: bool, end: End
) -> None:
    async def perform(session: Any, feed: Feed, change: Change) -> Outcome:
        return Outcome(end, "why")

    async def with_news(session: Any, feed: Feed, change: Change) -> Outcome:
        return await perform(session, feed, change)

    monkeypatch.setattr(changing.changes, "perform", perform)
    monkeypatch.setattr(changing, "_with_news", with_news)
    change = RuleChange("R1", "disabled")
    session: Any = Session(live=live)
    if end is End.REFUTED:
        with pytest.raises(DecnetError, match=r"R1 disabled: NOT APPLIED \(why\)"):
            await changing.perform(session, change)
    else:
        assert (await changing.perform(session, change)).end is end
    assert (change.wait_s == 0.0) is not live, "without an engine no news come"


async def test_what_store_or_bus_raised_is_what_the_command_says(monkeypatch: pytest.MonkeyPatch) -> None:
    own = DatabaseError("disk full")

    async def perform(*_: Any) -> Outcome:
        return Outcome(End.REFUTED, "disk full", own)

    monkeypatch.setattr(changing.changes, "perform", perform)
    with pytest.raises(DatabaseError) as found:
        await changing.perform(Session(live=False), RuleChange("R1", "disabled"))  # type: ignore[arg-type]
    assert found.value is own


class Client:
    """A bus client; ``fails`` is what connecting raises."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.fails, self.closed = fails, 0

    async def connect(self) -> None:
        if self.fails is not None:
            raise self.fails

    async def close(self) -> None:
        self.closed += 1


async def test_a_bus_that_cannot_be_reached_is_closed_and_only_told_when_it_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = Client(BusError("refused"))
    monkeypatch.setattr(changing, "bus_settings", lambda settings, url: settings)
    monkeypatch.setattr(changing, "get_bus", lambda *_: client)
    assert await changing._bus(Settings(), needed=False) is None
    with pytest.raises(BusError):
        await changing._bus(Settings(), needed=True)
    assert client.closed == 2
    client.fails = None
    assert await changing._bus(Settings(), needed=True) is client
    assert client.closed == 2


async def test_a_session_closes_its_bus_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    monkeypatch.setattr(changing, "bus_settings", lambda settings, url: settings)
    monkeypatch.setattr(changing, "get_bus", lambda *_: client)

    @asynccontextmanager
    async def no_store(_: Settings) -> AsyncIterator[Any]:
        raise DatabaseError("gone")
        yield

    with pytest.raises(DatabaseError):
        async with changing.opened(Settings(), news=True, store=no_store):
            pass
    assert client.closed == 1


@pytest.mark.parametrize("end", list(End))
def test_steering_a_worker_succeeds_only_when_it_was_seen_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], end: End
) -> None:
    async def perform(settings: Settings, change: Change) -> Outcome:
        return Outcome(end)

    monkeypatch.setattr(worker, "_perform", perform)
    if end is End.VERIFIED:
        worker.worker("pause", "ttp")
        assert capsys.readouterr().out == "ttp pause: verified\n"
    else:
        with pytest.raises(typer.Exit) as found:
            worker.worker("pause", "ttp")
        assert code_of(found) == 1
    for wrong in (("explode", "ttp"), ("pause", "nobody")):
        with pytest.raises(typer.BadParameter):
            worker.worker(*wrong)


# --- watching and replaying


class Bus:
    """A bus with a past and a present."""

    def __init__(self, past: list[Event], live: list[Event]) -> None:
        self.past, self.live = past, live
        self.asked: list[int] = []
        self.batches: list[int] = []

    @asynccontextmanager
    async def _sub(self) -> AsyncIterator[Any]:
        async def events() -> AsyncIterator[Event]:
            for event in self.live:
                yield event

        yield events()

    def subscribe(self, _: str) -> Any:
        return self._sub()

    async def read_back(self, pattern: str, last: int) -> list[Event]:
        self.asked.append(last)
        return self.past[-last:]

    async def publish_events(self, events: list[Event]) -> None:
        self.batches.append(len(events))


async def test_a_watch_shows_each_event_once_and_only_what_was_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second, other = Event("ttp.x", {"a": NASTY}), Event("ttp.\u202ey", {}), Event("attacker.x", {})
    bus: Any = Bus([first], [first, second, other])
    await stream._follow(bus, "ttp.>", 1, False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert not obeyed("".join(lines))
    await stream._follow(bus, "ttp.>", 0, True)
    assert bus.asked == [1], "nothing is read back that nobody asked for"
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["topic"] for line in lines] == ["ttp.x", "ttp.\u202ey"]
    assert "".join(lines).isascii()


def test_a_watch_shows_an_event_that_is_too_deep(capsys: pytest.CaptureFixture[str]) -> None:
    deep: Any = "x"
    for _ in range(5_000):
        deep = [deep]
    for as_json in (False, True):
        stream._show(Event("ttp.x", {"v": deep}), as_json)
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(("count", "batches"), [(499, [499]), (500, [500]), (501, [500, 1]), (0, [])])
async def test_a_replay_publishes_in_batches_and_leaves_none_over(
    monkeypatch: pytest.MonkeyPatch, count: int, batches: list[int]
) -> None:
    events = [Event("a.b", {}, ts=NOW) for _ in range(count)]
    monkeypatch.setattr("decnet.sensors.replay.iter_events", lambda *_: iter(events))
    bus: Any = Bus([], [])
    assert await playing.play(bus, Settings(), Path("x"), 0.0, []) == count
    assert bus.batches == batches


async def test_a_replay_keeps_the_pace_but_waits_no_longer_than_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    times = [NOW, NOW + 10, NOW + 5, NOW + 12, NOW + 10_000]
    monkeypatch.setattr(
        "decnet.sensors.replay.iter_events", lambda *_: iter([Event("a.b", {}, ts=t) for t in times])
    )
    monkeypatch.setattr(playing, "asyncio", SimpleNamespace(sleep=sleep))
    bus: Any = Bus([], [])
    await playing.play(bus, Settings(), Path("x"), 2.0, [])
    assert slept == [0.0, 5.0, 0.0, 1.0, 60.0]
    slept.clear()
    await playing.play(bus, Settings(), Path("x"), 1.0, [], 2.0)
    assert slept == [0.0, 2.0, 0.0, 2.0, 2.0]
    bus.batches = bus.batches[:5]
    assert bus.batches == [1] * 5


def test_a_bus_that_was_named_comes_before_the_engines(tmp_path: Path) -> None:
    own = Settings(data_dir=tmp_path)
    with pytest.raises(DecnetError, match="no engine runs on"):
        stream.bus_settings(own, None)
    assert stream.bus_settings(own, "nats://a:1").bus.url == "nats://a:1"
    configured = Settings(data_dir=tmp_path, bus={"url": "nats://b:1"})  # type: ignore[arg-type]
    assert stream.bus_settings(configured, None).bus.url == "nats://b:1"


# --- starting


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would be started."""
    found: list[str] = []
    monkeypatch.setattr(main, "_headless", lambda *_: found.append("headless"))
    monkeypatch.setattr(main, "_console", lambda *_, **how: found.append(f"console {how['read_only']}"))
    return found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--until-idle", "1"], "goes with --headless"), (["--attach", "--headless"], "--attach goes with neither"),
        (["--attach", "--demo"], "--attach goes with neither"), (["--headless", "--read-only"], "--headless has none"),
        (["--headless", "--workers", " , "], "names none"), (["--headless", "--until-idle", "-1"], "greater than or equal to 0"),
    ],
)  # fmt: skip
def test_options_that_mean_nothing_together_are_refused(
    started: list[str], tmp_path: Path, words: list[str], said: str
) -> None:
    done = CliRunner().invoke(main.app, [*words, "--data-dir", str(tmp_path)])
    assert (done.exit_code, started) == (2, [])
    assert said in done.output


@pytest.mark.parametrize(
    ("words", "what"),
    [(["--headless", "--until-idle", "0"], "headless"), (["--headless", "--demo"], "headless"), (["--read-only"], "console True"),
     (["--attach", "--read-only"], "console True"), (["--demo"], "console False")],
)  # fmt: skip
def test_options_that_go_together(started: list[str], tmp_path: Path, words: list[str], what: str) -> None:
    done = CliRunner().invoke(main.app, [*words, "--data-dir", str(tmp_path)])
    assert (done.exit_code, started) == (0, [what]), done.output


# --- exports


def written(target: Path, pieces: Iterable[str]) -> None:
    with target_file.written_to(target) as write:
        for piece in pieces:
            write(piece)


def test_an_export_is_private_and_replaces_the_old_file_in_one_step(tmp_path: Path) -> None:
    target = tmp_path / "tags.csv"
    target.write_text("old")
    target.chmod(0o644)

    def pieces() -> Iterator[str]:
        yield "new"
        assert target.read_text() == "old", "not before all is written"
        (draft,) = (p for p in tmp_path.iterdir() if p != target)
        assert stat.S_IMODE(draft.stat().st_mode) == 0o600
        yield "\n"

    written(target, pieces())
    assert target.read_text() == "new\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["tags.csv"]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("x")]
)
def test_an_export_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: BaseException
) -> None:
    target = tmp_path / "tags.csv"
    target.write_text("old")

    def pieces() -> Iterator[str]:
        yield "half"
        raise error

    wanted = ExportError if isinstance(error, OSError) else type(error)
    with pytest.raises(wanted):
        written(target, pieces())
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["tags.csv"]


def test_an_export_goes_through_no_link_and_to_no_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("kept")
    target = tmp_path / "tags.csv"
    target.symlink_to(outside)
    (tmp_path / f".tags.csv.{os.getpid()}").symlink_to(outside)
    with pytest.raises(ExportError, match="File exists"):
        written(target, ["x"])
    written(target, ["x"])
    assert (outside.read_text(), target.read_text(), target.is_symlink()) == ("kept", "x", False)
    with pytest.raises(ExportError):
        written(tmp_path / "no" / "tags.csv", ["x"])


# --- doctor


def test_the_doctor_ends_with_one_only_when_something_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def ok(_: Settings) -> doctor.Finding:
        return "database", "ok", NASTY

    for results, code in ((("ok", "WARN"), 0), (("ok", "FAIL"), 1), (("FAIL", "ok"), 1)):
        checks = tuple(lambda _, r=r: ("subject", r, "detail") for r in results)
        monkeypatch.setattr(doctor, "_CHECKS", checks)
        monkeypatch.setattr(doctor, "_database", ok)
        monkeypatch.setattr(doctor, "_bus", ok)
        for more in ([], ["--json"]):
            done = CliRunner().invoke(main.app, ["doctor", "--data-dir", str(tmp_path), *more])
            assert done.exit_code == code
            assert not obeyed(done.output.replace("\n", ""))


def result(finding: doctor.Finding) -> str:
    return finding[1]


async def test_the_doctor_looks_at_each_thing_that_an_engine_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path / "d", rules=tmp_path)
    assert result(doctor._data_dir(settings)) == "ok"
    settings.data_dir.mkdir(mode=0o700)
    for mode, wanted in ((0o700, "ok"), (0o701, "WARN"), (0o740, "WARN")):
        settings.data_dir.chmod(mode)
        assert result(doctor._data_dir(settings)) == wanted
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    assert result(doctor._data_dir(settings)) == "FAIL"
    sensor = SensorSpec(kind="cowrie", path=tmp_path)
    seen = Settings(sensors=(sensor,))
    assert result(await doctor._sensors(seen)) == "FAIL"
    monkeypatch.undo()
    assert result(await doctor._sensors(seen)) == "ok"
    assert result(await doctor._sensors(settings)) == "WARN"
    assert result(doctor._rules(settings)) == "FAIL"
    (tmp_path / "a.yaml").touch()
    assert result(doctor._rules(settings)) == "FAIL", "a file that does not load is no rule"
    (tmp_path / "b.yaml").write_text(rule("R1"), "utf-8")
    assert doctor._rules(settings)[1:] == (
        "WARN",
        f"1 rule in {tmp_path}, 1 file does not load: see `decnet-tui rules check`",
    )
    (tmp_path / "a.yaml").unlink()
    assert result(doctor._rules(settings)) == "ok"


@pytest.mark.parametrize(("free", "wanted"), [(512 * 2**20 - 1, "WARN"), (512 * 2**20, "ok")])
def test_the_doctor_wants_room(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, wanted: str
) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert result(doctor._disk(Settings(data_dir=tmp_path / "a" / "b"))) == wanted


@pytest.mark.parametrize(
    ("version", "wanted"), [((3, 34, 9), "FAIL"), ((3, 35, 0), "ok"), ((3, 45, 1), "ok")]
)
def test_the_doctor_wants_a_database_that_returns_rows(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], wanted: str
) -> None:
    monkeypatch.setattr(doctor, "sqlite3", SimpleNamespace(sqlite_version_info=version, sqlite_version="x"))
    assert result(doctor._sqlite(Settings())) == wanted


Size = namedtuple("Size", "columns lines")


@pytest.mark.parametrize(
    ("size", "tty", "term", "wanted"),
    [((60, 12), True, "xterm", "ok"), ((59, 12), True, "xterm", "WARN"), ((60, 11), True, "xterm", "WARN"), ((80, 24), False, "xterm", "WARN"),
     ((80, 24), True, "dumb", "WARN")],
)  # fmt: skip
def test_the_doctor_wants_a_terminal_of_a_size(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], tty: bool, term: str, wanted: str
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(doctor, "shutil", SimpleNamespace(get_terminal_size=lambda: Size(*size)))
    monkeypatch.setattr(doctor, "sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: tty)))
    assert result(doctor._terminal(Settings())) == wanted


async def test_the_doctor_opens_the_database_and_knocks_at_the_bus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path)
    assert (await doctor._database(settings))[2] == "none yet (made at the first start)"
    assert (await doctor._bus(settings))[1] == "ok"

    class Refused:
        @classmethod
        async def open(cls, url: str) -> None:
            raise DatabaseError("newer schema")

    (tmp_path / "decnet.sqlite").touch()
    monkeypatch.setattr(doctor, "BaseRepository", Refused)
    assert await doctor._database(settings) == ("database", "FAIL", "newer schema")
    client = Client(BusError("refused"))
    monkeypatch.setattr(doctor, "bus_settings", lambda settings, url: settings)
    monkeypatch.setattr(doctor, "get_bus", lambda **_: client)
    assert await doctor._bus(settings) == ("bus", "FAIL", "refused")
    client.fails = None
    assert result(await doctor._bus(settings)) == "ok"
    assert client.closed == 2


# --- sensors


@pytest.mark.parametrize(
    ("state", "age", "shown"),
    [("ok", 0.0, "missing"), ("ok", 31.0, "worker stale"), ("stopped", 0.0, "worker stopped"), ("failed", 0.0, "worker failed"),
     ("paused", 0.0, "missing")],
)  # fmt: skip
def test_a_sensor_of_a_worker_that_is_gone_is_not_known_to_be_well(
    state: str, age: float, shown: str
) -> None:
    payload = {
        "state": state,
        "ts": NOW - age,
        "sensors": [{"path": "/l", "state": "missing", "last_line_ts": NOW - 60}, "odd"],
    }
    (row,) = sensors.rows_of(payload, NOW, 10.0)
    assert (row["state"], row["age_s"]) == (shown, 60.0)
    assert sensors.rows_of({**payload, "sensors": "odd"}, NOW, 10.0) == []
    (bare,) = sensors.rows_of({**payload, "sensors": [{"last_line_ts": "x"}]}, NOW, 10.0)
    assert (bare["age_s"], bare["last_line"]) == (None, None)


# --- the daemon


class Heard:
    """A datagram socket that systemd would listen on."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.sent: list[tuple[bytes, Any]] = []

    def __call__(self, *_: Any) -> Heard:
        return self

    def __enter__(self) -> Heard:
        return self

    def __exit__(self, *_: object) -> None: ...

    def sendto(self, message: bytes, address: Any) -> None:
        if self.fails:
            raise FileNotFoundError(2, "No such file")
        self.sent.append((message, address))


@pytest.mark.parametrize(
    ("address", "sent"), [("", None), ("relative", None), ("/run/x", "/run/x"), ("@abstract", "\0abstract")]
)
def test_systemd_is_told_where_it_listens(
    monkeypatch: pytest.MonkeyPatch, address: str, sent: str | None
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    heard = Heard()
    monkeypatch.setattr(headless.socket, "socket", heard)
    assert headless.sd_notify("READY=1") is (sent is not None)
    assert heard.sent == ([(b"READY=1", sent)] if sent else [])
    if sent:
        monkeypatch.setattr(headless.socket, "socket", Heard(fails=True))
        assert not headless.sd_notify("READY=1"), "a socket that is gone ends nothing"


@pytest.mark.parametrize(
    ("usec", "pause"), [("3000000", 0.5), ("60000000", 10.0), ("", None), ("0", None), ("x", None)]
)
async def test_the_watchdog_is_fed_six_times_in_its_interval(
    monkeypatch: pytest.MonkeyPatch, usec: str, pause: float | None
) -> None:
    slept: list[float] = []
    told: list[str] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            raise asyncio.CancelledError

    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setattr(headless, "sd_notify", told.append)
    monkeypatch.setattr(headless, "asyncio", SimpleNamespace(sleep=sleep))
    looks: list[float] = []

    def standing(since_s: float) -> str:
        looks.append(since_s)
        return ""

    if pause is None:
        await headless._watchdog(standing)
        assert slept == []
    else:
        with pytest.raises(asyncio.CancelledError):
            await headless._watchdog(standing)
        assert (slept, looks, told) == ([pause] * 2, [pause] * 2, ["WATCHDOG=1"] * 2)


async def test_the_watchdog_is_not_fed_while_something_stands_still_and_that_is_said_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    answers = ["", "the writer", "the writer", ""]

    async def sleep(seconds: float) -> None:
        if not answers:
            raise asyncio.CancelledError

    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    monkeypatch.setattr(headless, "sd_notify", told.append)
    monkeypatch.setattr(headless, "asyncio", SimpleNamespace(sleep=sleep))
    with capture_logs() as logged, pytest.raises(asyncio.CancelledError):
        await headless._watchdog(lambda since_s: answers.pop(0))
    assert told == ["WATCHDOG=1"] * 2
    assert [entry["reason"] for entry in logged] == ["the writer"]


class Rules:
    """Rules that are read again."""

    def __init__(self, fails: bool) -> None:
        self.fails = fails
        self.reloads: list[bool] = []

    async def reload(self, *, allow_shrink: bool) -> None:
        self.reloads.append(allow_shrink)
        if self.fails:
            raise RuntimeError("bad files")

    def rules(self) -> list[int]:
        return [1]

    errors = rules


class Engine:
    """An engine as signals and the end of the work see it."""

    def __init__(
        self, *, stuck: str | None = None, unread: list[str] | None = None, fails: bool = False
    ) -> None:
        self.stuck, self.unread = stuck, unread or []
        self.refused = asyncio.Event()
        self.supervisor = self
        self.rules = Rules(fails)
        self.cuts = 0

    async def cut(self) -> None:
        self.cuts += 1

    async def until_idle(self, seconds: float) -> str | None:
        return self.stuck

    def unread_sensors(self) -> list[str]:
        return self.unread


async def test_the_first_signal_asks_and_the_second_insists_once_it_has_started() -> None:
    engine = Engine()
    signals = headless._Signals(engine)  # type: ignore[arg-type]
    signals._asked()
    signals._asked()
    assert signals.stop.is_set()
    assert signals._insist is None, "nothing runs yet that could be cut"
    signals.begin()
    signals._asked()
    assert signals._insist is not None
    await signals._insist
    assert engine.cuts == 1


async def test_a_second_signal_cuts_a_start_that_does_not_end() -> None:
    class Slow(Engine):
        undone = False

        async def start(self) -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                self.undone = True

    engine = Slow()
    signals = headless._Signals(engine)  # type: ignore[arg-type]
    loop = asyncio.get_running_loop()
    loop.call_later(0.01, signals._asked)
    loop.call_later(0.02, signals._asked)
    with pytest.raises(EngineError, match="second signal"):
        await headless._started(engine, signals)  # type: ignore[arg-type]
    assert engine.undone


async def test_one_signal_lets_a_start_come_to_its_end() -> None:
    class Soon(Engine):
        up = False

        async def start(self) -> None:
            await asyncio.sleep(0.05)
            self.up = True

    engine = Soon()
    signals = headless._Signals(engine)  # type: ignore[arg-type]
    asyncio.get_running_loop().call_later(0.01, signals._asked)
    await headless._started(engine, signals)  # type: ignore[arg-type]
    assert engine.up


@pytest.mark.parametrize("fails", [False, True])
async def test_rules_are_read_again_on_demand_once_the_engine_has_started(fails: bool) -> None:
    engine = Engine(fails=fails)
    signals = headless._Signals(engine)  # type: ignore[arg-type]
    signals.begin()
    assert signals._reload is None
    signals.started = False
    signals._hup()
    assert signals._reload is None
    signals.begin()
    assert signals._reload is not None
    await signals._reload
    assert engine.rules.reloads == [True], "who asks for it means a smaller set too"


async def test_the_handlers_stand_for_the_signals_that_end_and_reload(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed: dict[Any, Any] = {}
    monkeypatch.setattr(
        headless.asyncio,
        "get_running_loop",
        lambda: SimpleNamespace(add_signal_handler=installed.__setitem__),
    )
    signals = headless._Signals(Engine())  # type: ignore[arg-type]
    signals.install()
    assert set(installed) == {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    assert installed[signal.SIGHUP] == signals._hup


async def test_a_run_ends_well_only_when_all_was_read() -> None:
    stop = asyncio.Event()
    await headless._work(Engine(), stop, 1.0)  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="stuck: ttp"):
        await headless._work(Engine(stuck="ttp"), stop, 1.0)  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="not read: /l"):
        await headless._work(Engine(unread=["/l"]), stop, 1.0)  # type: ignore[arg-type]
    refused = Engine()
    refused.refused.set()
    with pytest.raises(EngineError, match="refused the credentials"):
        await headless._work(refused, stop, None)  # type: ignore[arg-type]
    stop.set()
    await headless._work(Engine(unread=["/l"]), stop, None)  # type: ignore[arg-type]


# --- the unit


@pytest.mark.parametrize(
    ("text", "word"),
    [("plain", "plain"), ("with space", '"with space"'), ("50%", "50%%"), ("a$b", '"a$$b"'), ('a"b', '"a\\"b"'), ("a\\b", '"a\\\\b"'), ("a\nExecStop=x", '"a\\nExecStop=x"'), ("%S/decnet-tui", "%S/decnet-tui")],
)  # fmt: skip
def test_a_word_of_a_unit_is_what_was_meant(text: str, word: str) -> None:
    assert unit._word(text) == word
