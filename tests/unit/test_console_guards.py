"""The console's own guards: the link to the bus, when the store is read, pacing, playback, files, attaching."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from decnet.bus.base import Event
from decnet.bus.connection import Connection, write_connection
from decnet.config import Settings
from decnet.errors import BusError, DatabaseError, DecnetError, EngineError
from decnet_tui import (
    attach,
    clipboard,
    console,
    export,
    glyphs,
    journal,
    lastlook,
    link,
    loading,
    plain,
    playback,
)
from decnet_tui.changes import need_store
from decnet_tui.console import How
from decnet_tui.feed import Feed
from decnet_tui.filters import Filter, FilterError, parse_filter
from decnet_tui.link import Link
from decnet_tui.loading import BADGE_S, EVERY_S, SOON_S, Loader
from decnet_tui.pacing import GIVE_UP_S, LAST_S, Pace
from decnet_tui.plain import PlainReader
from decnet_tui.playback import (
    LONGEST_PAUSE_S,
    MAX_OUTPUT,
    PIECE,
    SEQUENCE,
    SPEEDS,
    Player,
    frames_of,
    screen_size,
)
from decnet_tui.scope import scope_of
from decnet_tui.screens.base import TextView, View
from decnet_tui.session import operator, store_errors
from decnet_tui.store import RepositoryRules, effective_state, epoch
from decnet_tui.summary import short
from tests.consolekit import FakeBus, FakeSession, FakeSubscription
from tests.fuzzkit import obeyed
from tests.unit.test_console_playback import recording, shown

NOW = 1_700_000_000.0


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self, at: float = 1000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


# --- the link


class Lossy(FakeSubscription):
    """A subscription that ends after its events; ``lost`` is what it could not hand over."""

    def __init__(self, events: list[Event], lost: int) -> None:
        super().__init__()
        self.events, self.lost = events, lost

    async def __anext__(self) -> Event:
        if not self.events:
            raise BusError("gone")
        return self.events.pop(0)


class Line(FakeBus):
    """A bus whose subscriptions are given one after the other."""

    def __init__(self, *subs: Lossy) -> None:
        super().__init__()
        self.waiting = list(subs)
        self.past = []
        self.reads = 0

    def subscribe(self, _: str) -> FakeSubscription:
        if not self.waiting:
            raise BusError("no more")
        return self.waiting.pop(0)

    async def read_back(self, _: str, limit: int) -> list[Event]:
        assert limit == link.READ_BACK
        self.reads += 1
        return self.past


async def follow(line: Link) -> None:
    with pytest.raises(BusError):
        await line._follow()
    line._following = False
    line._lost()


async def test_what_was_lost_is_counted_over_all_subscriptions() -> None:
    bus = Line(Lossy([Event("a.b", {})], 3), Lossy([Event("a.b", {})], 0), Lossy([Event("a.b", {})], 4))
    feed = Feed()
    line = Link(bus, feed, Clock())  # type: ignore[arg-type]
    seen = []
    for _ in range(3):
        await follow(line)
        seen.append(feed.lost)
    assert seen == [3, 3, 7]


async def test_events_that_were_read_back_and_come_live_too_are_one() -> None:
    first, second = Event("ttp.rule.state.R1", {"auto_revert": True}), Event("a.c", {})
    bus = Line(Lossy([first, second], 0), Lossy([Event("a.d", {})], 0))
    bus.past = [first]
    feed = Feed()
    line = Link(bus, feed, Clock())  # type: ignore[arg-type]
    await follow(line)
    assert [row.topic for row in feed.ring] == ["ttp.rule.state.R1", "a.c"]
    assert not feed.notices, "what was read back is no news"
    await follow(line)
    assert bus.reads == 1
    assert [row.topic for row in feed.ring][2:] == [link_gap(feed), "a.d"]


def link_gap(feed: Feed) -> str:
    """The topic of the line that says that something is missing."""
    return next(row.topic for row in feed.ring if "connection lost" in row.summary)


async def test_a_gap_is_told_with_its_length_after_a_first_connection_only() -> None:
    clock = Clock()
    feed = Feed()
    line = Link(Line(), feed, clock)  # type: ignore[arg-type]
    line._lost()
    clock.at += 5
    assert (line.down_for(), line.live) == (5.0, False)
    line._returned()
    assert (feed.total, line.down_for(), line.up.is_set()) == (0, 0.0, True)
    line._lost()
    clock.at += 3
    line._lost()
    clock.at += 4
    line.retries = 2
    line._returned()
    assert feed.ring[-1].summary.startswith("--- connection lost for 7s")
    assert (line.retries, line.down_for()) == (0, 0.0)


async def test_it_waits_longer_each_time_and_never_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 7:
            raise asyncio.CancelledError

    fake = SimpleNamespace(sleep=sleep, Event=asyncio.Event)
    monkeypatch.setattr(link, "asyncio", fake)
    line = Link(Line(), Feed(), Clock())  # type: ignore[arg-type]
    with pytest.raises(asyncio.CancelledError):
        await line.run()
    assert slept == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert (line.retries, line.live) == (6, False)


async def test_the_watch_sees_a_transport_that_went_and_came_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, feed, seen = Clock(), Feed(), []
    bus = Line()
    line = Link(bus, feed, clock)  # type: ignore[arg-type]
    steps = iter([False, False, True, True])

    async def sleep(seconds: float) -> None:
        assert seconds == 0.5
        seen.append((line.live, line.retries, feed.total))
        try:
            bus.connected = next(steps)
        except StopIteration:
            raise asyncio.CancelledError from None
        clock.at += 3

    monkeypatch.setattr(link, "asyncio", SimpleNamespace(sleep=sleep))
    line._was_up = line._following = True
    with pytest.raises(asyncio.CancelledError):
        await line.watch()
    assert seen == [(True, 0, 0), (False, 1, 0), (False, 2, 0), (True, 0, 1), (True, 0, 1)]
    line._following, bus.connected = False, False
    assert not line.live


async def test_a_burst_lets_the_loop_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[float] = []

    async def sleep(seconds: float) -> None:
        turns.append(seconds)

    monkeypatch.setattr(link, "asyncio", SimpleNamespace(sleep=sleep, Event=asyncio.Event))
    bus = Line(Lossy([Event("a.b", {}) for _ in range(60)], 0))
    await follow(Link(bus, Feed(), Clock()))  # type: ignore[arg-type]
    assert turns == [0, 0]


# --- reading the store


class Stored(TextView):
    """A view over the store that keeps what it is given."""

    name, stored, roots = "stored", True, ("ttp",)

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.levels = 1
        self.error: Exception | None = None
        self.loads: list[Any] = []

    @property
    def depth(self) -> int:
        return self.levels

    async def fetch(self, session: Any) -> Any:
        if self.error is not None:
            raise self.error
        return "data"

    def load(self, data: Any) -> None:
        self.loads.append(data)
        self.loaded_at, self.problem = 1.0, ""


def loader() -> tuple[Loader, Stored, Clock, Feed, Any]:
    feed, clock, session = Feed(), Clock(), FakeSession()
    return Loader(session, feed, clock), Stored(feed), clock, feed, session


async def test_a_view_is_read_when_it_is_shown_and_then_every_few_seconds() -> None:
    load, view, clock, _, _ = loader()
    assert load.due(view)
    assert not load.due(view), "one read at a time"
    await load.load(view)
    assert view.loads == ["data"]
    for step, due in ((EVERY_S - 0.01, False), (0.01, True)):
        clock.at += step
        assert load.due(view) is due


async def test_news_make_it_read_soon_but_not_at_once() -> None:
    load, view, clock, feed, _ = loader()
    assert load.due(view)
    await load.load(view)
    feed.add(Event("attacker.x", {}), now=NOW)
    clock.at += SOON_S
    assert not load.due(view), "news of another family"
    feed.add(Event("ttp.x", {}), now=NOW)
    clock.at += -SOON_S + SOON_S - 0.01
    assert not load.due(view)
    clock.at += 0.01
    assert load.due(view)
    await load.load(view)
    clock.at += SOON_S
    assert not load.due(view), "the same news"


async def test_a_level_that_one_comes_back_to_is_read_again() -> None:
    load, view, clock, _, _ = loader()
    view.levels = 2
    assert load.due(view)
    await load.load(view)
    clock.at += 0.1
    assert not load.due(view)
    view.levels = 1
    assert load.due(view)
    await load.load(view)
    assert not load.due(view)


@pytest.mark.parametrize("what", ["paused", "not stored", "opening"])
def test_what_stands_still_or_has_no_store_is_not_read(what: str) -> None:
    load, view, _, _, session = loader()
    view.paused, view.stored, session.opening = what == "paused", what != "not stored", what == "opening"  # type: ignore[misc]
    assert not load.due(view)


@pytest.mark.parametrize(
    "error",
    [DatabaseError("gone\x1b[2J"), OSError("gone"), OperationalError("SELECT", {}, Exception("gone"))],
)
async def test_a_database_that_goes_away_is_said_and_asked_again(error: Exception) -> None:
    load, view, clock, _, _ = loader()
    assert load.due(view)
    await load.load(view)
    clock.at += EVERY_S
    assert load.due(view)
    view.error = error
    await load.load(view)
    assert "gone" in view.problem
    assert not obeyed(view.problem)
    assert len(view.problem) <= 300
    assert view.loads == ["data"]
    clock.at += EVERY_S
    assert load.due(view), "it is not left for busy"
    view.error = None
    await load.load(view)
    assert (view.problem, len(view.loads)) == ("", 2)


async def test_a_view_that_was_never_read_is_tried_again_soon_and_not_in_every_frame() -> None:
    load, view, clock, _, _ = loader()
    view.error = DatabaseError("x" * 1000)
    assert load.due(view)
    await load.load(view)
    assert len(view.problem) == 300
    for step, due in ((0.0, False), (SOON_S - 0.01, False), (0.01, True)):
        clock.at += step
        assert load.due(view) is due


async def test_what_comes_for_a_view_that_is_paused_by_then_is_left() -> None:
    load, view, _, _, _ = loader()
    assert load.due(view)
    view.paused = True
    await load.load(view)
    assert view.loads == []
    view.paused = False
    load.due(view)
    view.error = RuntimeError("a fault of ours")
    with pytest.raises(RuntimeError):
        await load.load(view)
    assert not load._seen["stored"].running


class Alerts:
    """A store that lists open alerts, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def list_alerts(self, *, state: str, limit: int) -> list[int]:
        assert (state, limit) == ("open", 0)
        if self.error is not None:
            raise self.error
        return [1, 2]


async def test_the_badge_counts_after_news_after_a_while_and_when_it_is_asked_to() -> None:
    load, _, clock, feed, session = loader()
    session.repo = Alerts()
    assert load.badge_due()
    assert not load.badge_due()
    await load.load_badge()
    assert feed.alerts_open == 2
    for step, due in ((BADGE_S - 0.01, False), (0.01, True)):
        clock.at += step
        assert load.badge_due() is due
    await load.load_badge()
    load.recount()
    assert load.badge_due()
    session.repo = Alerts(DatabaseError("gone"))
    await load.load_badge()
    assert feed.alerts_open is None, "unknown is not none"
    feed.add(Event("attribution.x", {}), now=NOW)
    clock.at += SOON_S - 0.01
    assert not load.badge_due()
    clock.at += 0.01
    assert load.badge_due()
    session.repo = None
    await load.load_badge()
    assert feed.alerts_open is None


def test_a_store_that_is_not_there_says_what_to_do() -> None:
    session = FakeSession()
    with pytest.raises(DecnetError, match="--db URL"):
        need_store(session)
    session.opening = True
    with pytest.raises(DecnetError, match="not open yet"):
        need_store(session)
    session.repo = object()
    assert need_store(session) is session.repo
    assert {DecnetError, OSError} < set(store_errors())


# --- pacing


def test_an_answer_counts_as_lost_only_after_its_time() -> None:
    clock, asked = Clock(), []
    pace = Pace(lambda: asked.append(1), clock)
    pace.answered()
    pace.frame()
    assert not pace.free
    clock.at += GIVE_UP_S
    assert not pace.free
    pace.frame()
    assert len(asked) == 1
    clock.at += 0.01
    assert pace.free
    pace.frame()
    assert len(asked) == 2
    pace.answered()
    assert pace.free


async def test_leaving_waits_as_long_as_the_last_answer_may_take() -> None:
    clock = Clock()
    pace = Pace(lambda: None, clock)
    await pace.finish()
    assert pace.free
    pace = Pace(lambda: None, clock)
    pace.frame()
    clock.at += LAST_S
    leaving = asyncio.create_task(pace.finish())
    await asyncio.sleep(0)
    assert not leaving.done()
    pace.answered()
    await leaving


def test_eight_frames_a_second_at_most() -> None:
    from decnet_tui.app import TICK_S

    assert TICK_S == 1 / 8


# --- playback


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ("19x4", (20, 5)), ("20x5", (20, 5)), ("21x6", (21, 6)), ("200x100", (200, 100)), ("201x101", (200, 100)), ("0x0", (20, 5)),
        ("80X24", (80, 24)), ("-5x10", (80, 24)), ("80x24x1", (80, 24)), ("99999x99999", (200, 100)), ("999999x99999", (80, 24)), ("", (80, 24)),
    ],
)  # fmt: skip
def test_a_screen_has_a_size_that_can_be_drawn(size: str, wanted: tuple[int, int]) -> None:
    assert screen_size(size) == wanted


def test_output_is_played_up_to_a_size_and_a_pause_up_to_a_length() -> None:
    half = MAX_OUTPUT // 2
    frames, cut = frames_of(recording((1.0, b"z" * half), (2.0, b"z" * half)))
    assert (sum(len(f.data) for f in frames), cut) == (MAX_OUTPUT, False)
    frames, cut = frames_of(recording((1.0, b"z" * half), (2.0, b"z" * half), (3.0, b"z")))
    assert (sum(len(f.data) for f in frames), cut) == (MAX_OUTPUT, True)
    at = [
        frame.at for frame in frames_of(recording((10.0, b"a"), (12.5, b"b"), (16.0, b"c"), (15.0, b"d")))[0]
    ]
    assert at == [0.0, 2.5, 2.5 + LONGEST_PAUSE_S, 2.5 + LONGEST_PAUSE_S], "and never back"


def test_speeds_end_at_their_ends_and_time_at_the_length() -> None:
    player = Player(recording((1.0, b"a"), (2.0, b"b")))
    assert [player.faster(1) for _ in range(4)] == [2.0, 5.0, 20.0, 20.0]
    assert [player.faster(-1) for _ in range(6)][-2:] == [0.5, 0.5]
    assert SPEEDS[0] == 0.5
    player.advance(-100)
    assert player.at == 0.0
    player.advance(100)
    assert (player.at, player.ended) == (player.length, True)
    player.restart()
    assert (player.at, player.ended, shown(player)) == (0.0, False, "")
    player.paused = True
    player.advance(100)
    assert player.at == 0.0


def test_one_tick_emulates_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()

    def counted() -> float:
        clock.at += 0.004
        return clock.at

    monkeypatch.setattr(playback, "time", SimpleNamespace(perf_counter=counted))
    player = Player(recording((1.0, b"z" * PIECE * 10)))
    ticks = 0
    while not player.ended:
        assert player.advance(0)
        ticks += 1
        assert player._offset <= PIECE * 2 * ticks
    assert ticks == 5
    assert not player.advance(0)


def test_a_sequence_that_does_not_end_swallows_only_so_much() -> None:
    for pieces, swallowed in ((SEQUENCE, True), (SEQUENCE + 1, False)):
        begun = b"\x1b]0;" + b"t" * (PIECE * pieces - 4)
        player = Player(recording((1.0, begun), (1.0, b"shown")))
        while not player.ended:
            player.advance(1)
        assert ("shown" in shown(player)) is not swallowed, pieces


def test_marks_are_jumped_to_after_the_last_and_from_the_first_again() -> None:
    player = Player(recording((1.0, b"a"), (2.0, b"b"), (3.0, b"c")), marks=[3.0, 2.0])
    assert [player.next_mark() for _ in range(3)] == [2.0, 3.0, 2.0]
    assert Player(recording((1.0, b"a"))).next_mark() is None
    assert Player(b"", marks=[1.0]).next_mark() is None
    player.seek(99.0)
    assert player.at == player.length
    player.seek(0.0)
    assert player.at == 0.0


# --- plain mode


@asynccontextmanager
async def plain_session() -> AsyncIterator[FakeSession]:
    yield FakeSession()


class Gone(io.StringIO):
    """An output whose reader went away."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


async def test_plain_mode_ends_when_the_reader_of_its_output_is_gone() -> None:
    session = FakeSession()
    with pytest.raises(BrokenPipeError):
        await plain.run_plain(Settings(), session, Gone())


class Broken:
    """A database that cannot be read."""

    async def heartbeats(self) -> list[Any]:
        raise DatabaseError("gone")


async def test_plain_mode_lives_without_a_database_and_stops_when_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = FakeSession()
    session.repo = Broken()
    asked = asyncio.Event()
    asked.set()
    monkeypatch.setattr(plain, "_stop", lambda: asked)
    out = io.StringIO()
    await asyncio.wait_for(plain.run_plain(Settings(), session, out), 5)
    assert out.getvalue() == ""


def test_plain_mode_says_that_the_bus_is_gone_and_is_back() -> None:
    feed, state = Feed(), SimpleNamespace(live=False, retries=0)
    reader = PlainReader(feed, state, "host")  # type: ignore[arg-type]
    said = []
    for live, retries in ((False, 0), (True, 0), (True, 0), (False, 1), (False, 2), (True, 0)):
        state.live, state.retries = live, retries
        said += [line.split(maxsplit=1)[1] for line in reader.lines(NOW)]
    assert said == ["host LIVE", "host DISCONNECTED", "host LIVE"]


# --- files


async def test_an_export_never_writes_over_another_and_never_outside_its_folder(tmp_path: Path) -> None:
    first, _ = await export.write(tmp_path, "traffic", [])
    stamp = first.stem
    outside = tmp_path / "outside"
    outside.write_text("kept")
    for number in range(1, 4):
        (first.parent / f"{stamp}-{number}.jsonl").symlink_to(outside)
    for number in (0, 4):
        descriptor, path = export._fresh(first.parent, stamp if number else f"new-{stamp}")
        os.close(descriptor)
        assert path.name == (f"{stamp}-4.jsonl" if number else f"new-{stamp}.jsonl")
    assert outside.read_text() == "kept"
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert stat.S_IMODE(first.parent.stat().st_mode) == 0o700


async def test_a_folder_that_is_full_of_exports_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(*_: Any) -> int:
        raise FileExistsError

    monkeypatch.setattr(export.os, "open", taken)
    with pytest.raises(FileExistsError, match="too many exports"):
        export._fresh(tmp_path, "x")


async def test_an_export_holds_one_record_a_line_and_nothing_that_is_obeyed(tmp_path: Path) -> None:
    path, count = await export.write(tmp_path, "x", [{"a": "\u202e\n\x1b"}, b'{"b":1}'])
    assert count == 2
    assert path.read_bytes() == b'{"a": "\\u202e\\n\\u001b"}\n{"b":1}\n'


@pytest.mark.parametrize("size", [clipboard.MAX_BYTES - 1, clipboard.MAX_BYTES, clipboard.MAX_BYTES + 1])
def test_a_copy_ends_at_its_limit(size: int) -> None:
    sequence = clipboard.osc52("x" * size, tmux=False)
    assert sequence.startswith("\x1b]52;c;")
    assert sequence.endswith("\a")
    assert len(base64.b64decode(sequence[7:-1])) == min(size, clipboard.MAX_BYTES)


def test_a_copy_is_visible_text_line_by_line_and_bounded_after_that_too() -> None:
    sequence = clipboard.osc52("a\x1b[2J\n\u202eb", tmux=False)
    assert base64.b64decode(sequence[7:-1]) == b"a\\e[2J\n\\u202eb"
    long = clipboard.osc52("\u202e" * clipboard.MAX_BYTES, tmux=False)
    assert len(base64.b64decode(long[7:-1])) == clipboard.MAX_BYTES
    inside = clipboard.osc52("x", tmux=True)
    assert inside == "\x1bPtmux;\x1b\x1b]52;c;eA==\a\x1b\\"


def test_only_a_terminal_is_asked_where_its_cursor_is() -> None:
    written: list[str] = []
    driver = SimpleNamespace(write=written.append, flush=lambda: written.append("flush"))
    for headless in (True, False):
        clipboard.ask_position(SimpleNamespace(is_headless=headless, _driver=driver))  # type: ignore[arg-type]
    assert written == ["\x1b[6n", "flush"]
    assert clipboard.copy(SimpleNamespace(_driver=None), "abc") == 3  # type: ignore[arg-type]
    assert clipboard.copy(SimpleNamespace(_driver=driver), "a" * 70_000) == clipboard.MAX_BYTES  # type: ignore[arg-type]


def test_the_last_look_is_private_and_each_operators_own(tmp_path: Path) -> None:
    lastlook.write(tmp_path, "eve", NOW)
    path = tmp_path / lastlook.FILE_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lastlook.write(tmp_path, "bob", NOW + 5)
    assert (lastlook.read(tmp_path, "eve"), lastlook.read(tmp_path, "bob")) == (NOW, NOW + 5)
    for text in ("[1]", '{"eve": "x"}', "", "\udcff".encode("utf-8", "surrogateescape").decode("latin-1")):
        path.write_text(text)
        assert lastlook.read(tmp_path, "eve") is None
    lastlook.write(tmp_path, "eve")
    assert json.loads(path.read_text()).keys() == {"eve"}


# --- starting and leaving


class FakeApp:
    """The app as it ends: ``result`` and ``return_code`` are what it leaves."""

    result: str | None = "quit"
    code = 0

    def __init__(self, settings: Settings, *, session: Any, read_only: bool) -> None:
        self.return_code = self.code

    async def run_async(self) -> str | None:
        return self.result


@pytest.mark.parametrize(
    ("result", "read_only", "looked", "headless"),
    [("quit", False, True, False), ("headless", False, True, True), ("quit", True, False, False), (None, False, False, False)],
)  # fmt: skip
async def test_the_last_look_moves_when_an_operator_left_who_could_have_seen(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    result: Any,
    read_only: bool,
    looked: bool,
    headless: bool,
) -> None:
    await left(monkeypatch)
    monkeypatch.setattr(FakeApp, "result", result)
    settings = Settings(data_dir=tmp_path)
    assert await console._full_screen(settings, How(read_only=read_only)) is headless
    assert (lastlook.read(tmp_path, "eve@console") is not None) is looked


async def left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The full screen without a screen."""

    @asynccontextmanager
    async def session(*_: Any) -> AsyncIterator[FakeSession]:
        yield FakeSession()

    monkeypatch.setattr("decnet_tui.app.DecnetApp", FakeApp)
    monkeypatch.setattr(console, "_session", session)
    monkeypatch.setattr(console, "gc", SimpleNamespace(disable=lambda: None))
    monkeypatch.setattr(console, "_starting", lambda text: None)


async def test_a_console_that_failed_has_seen_nothing_and_says_so_by_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await left(monkeypatch)
    monkeypatch.setattr(FakeApp, "code", 1)
    monkeypatch.setattr(FakeApp, "result", None)
    with pytest.raises(EngineError, match="a fault of its own"):
        await console._full_screen(Settings(data_dir=tmp_path), How())
    assert lastlook.read(tmp_path, "eve@console") is None


@pytest.mark.parametrize(
    ("stdin", "stdout", "term", "screen"),
    [(True, True, "xterm", True), (False, True, "xterm", False), (True, False, "xterm", False), (True, True, "dumb", False),
     (True, True, None, False)],
)  # fmt: skip
def test_a_full_screen_needs_a_terminal_at_both_ends(
    monkeypatch: pytest.MonkeyPatch, stdin: bool, stdout: bool, term: str | None, screen: bool
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: stdin))
    monkeypatch.setattr("sys.stdout", SimpleNamespace(isatty=lambda: stdout))
    monkeypatch.delenv("TERM", raising=False)
    if term:
        monkeypatch.setenv("TERM", term)
    assert console.has_terminal() is screen


def test_a_log_file_is_private_and_two_at_most_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_MAX_LOG_BYTES", 10)
    path = console._log_file(tmp_path / "console.log")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for size, moved in ((10, False), (11, True)):
        path.write_text("x" * size)
        console._log_file(path)
        assert (tmp_path / "console.log.1").exists() is moved
    assert path.read_text() == ""
    path.write_text("y" * 11)
    console._log_file(path)
    assert (tmp_path / "console.log.1").read_text() == "y" * 11
    assert {p.name for p in tmp_path.iterdir()} == {"console.log", "console.log.1"}


class Process:
    """An engine that was started; ``code`` is how it ended."""

    pid = 4242

    def __init__(self, code: int | None) -> None:
        self.code = code

    def poll(self) -> int | None:
        return self.code


def start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, process: Process, found: list[Any], clock: Clock
) -> list[str]:
    """Starts it behind; the command that was run."""
    commands: list[list[str]] = []

    def popen(command: list[str], **how: Any) -> Process:
        assert how["start_new_session"]
        commands.append(command)
        return process

    def sleep(seconds: float) -> None:
        clock.at += seconds

    monkeypatch.setattr(console.subprocess, "Popen", popen)
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=clock, sleep=sleep))
    monkeypatch.setattr(console, "read_connection", lambda _: found.pop(0) if len(found) > 1 else found[0])
    argv = ["decnet-tui", "--read-only", "--sensor", "cowrie=/x"]
    assert console.start_behind(Settings(data_dir=tmp_path), argv) == 4242
    return commands[0][3:]


def test_an_engine_left_behind_is_waited_for_by_its_own_pid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    found = [None, SimpleNamespace(pid=1), SimpleNamespace(pid=4242)]
    command = start(tmp_path, monkeypatch, Process(None), found, clock)
    assert command == ["--sensor", "cowrie=/x", "--headless"]
    assert clock.at == pytest.approx(1000.2)
    with pytest.raises(EngineError, match="did not start again"):
        start(tmp_path, monkeypatch, Process(1), [None], Clock())
    late = Clock()
    with pytest.raises(EngineError, match=r"engine\.log"):
        start(tmp_path, monkeypatch, Process(None), [SimpleNamespace(pid=1)], late)
    assert late.at == pytest.approx(1000 + console.START_S, abs=0.2)


# --- attaching


class Opened:
    """A repository that can be opened and closed, or not."""

    opened = 0
    closed = 0
    fails = False

    @classmethod
    async def open(cls, url: str) -> Opened:
        if cls.fails:
            raise DatabaseError("no such host")
        cls.opened += 1
        return cls()

    async def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> type[Opened]:
    monkeypatch.setattr("decnet.db.repository.BaseRepository", Opened)
    Opened.opened, Opened.closed, Opened.fails = 0, 0, False
    return Opened


async def test_a_store_is_opened_once_and_closed_with_the_session(opened: type[Opened]) -> None:
    session = attach.ConsoleSession(FakeBus(), db_url="sqlite:///x")  # type: ignore[arg-type]
    assert session.opening
    with pytest.raises(DecnetError, match="without a database"):
        await session.list_rules()
    await session.open_store()
    await session.open_store()
    assert (opened.opened, session.opening, session.repo is not None) == (1, False, True)
    await session.close()
    assert opened.closed == 1


async def test_a_store_that_cannot_be_opened_leaves_an_attachment_without_one(opened: type[Opened]) -> None:
    opened.fails = True
    session = attach.ConsoleSession(FakeBus(), db_url="sqlite:///x")  # type: ignore[arg-type]
    with pytest.raises(DatabaseError):
        await session.open_store()
    assert (session.opening, session.repo) == (False, None)
    await session.open_store()
    await session.close()
    assert opened.closed == 0
    assert not attach.ConsoleSession(FakeBus()).opening  # type: ignore[arg-type]


def connection(**over: Any) -> Connection:
    return Connection(**{"bus_url": "nats://127.0.0.1:1", "db_url": "sqlite:///own", "token": "t", **over})


async def test_an_attachment_takes_the_engine_that_runs_or_says_that_none_does(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with pytest.raises(DecnetError, match="no engine runs on"):
        attach.attach(settings)
    path = write_connection(tmp_path, connection())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    session = attach.attach(settings)
    assert (session._db_url, session.engine_inside, session.opening) == ("sqlite:///own", False, True)
    await session.close()
    other = attach.attach(settings, url="nats://127.0.0.1:2")
    assert other._db_url is None, "the database of another engine is not this one's"
    await other.close()
    named = attach.attach(Settings(data_dir=tmp_path, db="sqlite:///named"), url="nats://127.0.0.1:2")
    assert named._db_url == "sqlite:///named"
    await named.close()


def test_the_file_of_an_engine_that_is_gone_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(error: type[Exception]) -> None:
        def kill(pid: int, number: int) -> None:
            raise error

        monkeypatch.setattr("decnet.bus.connection.os.kill", kill)

    write_connection(tmp_path, connection(mark=""))
    answer(ProcessLookupError)
    with pytest.raises(DecnetError, match="no engine runs"):
        attach.attach(Settings(data_dir=tmp_path))
    answer(PermissionError)
    assert attach.attach(Settings(data_dir=tmp_path)) is not None, "another user's process is one that lives"


async def test_an_engine_inside_that_is_stuck_says_so() -> None:
    session = attach.ConsoleSession(FakeBus())  # type: ignore[arg-type]
    await session.played(1.0)

    async def stuck(seconds: float) -> str:
        return "ttp has 3 events"

    session._engine = SimpleNamespace(until_idle=stuck)  # type: ignore[assignment]
    with pytest.raises(EngineError, match="stuck: ttp has 3 events"):
        await session.played(1.0)


def test_an_operator_without_a_name_is_still_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("uid")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert operator("console") == "console"


# --- rules and journal at their times


@pytest.mark.parametrize(("expires", "state"), [(NOW, "enabled"), (NOW + 0.1, "clipped"), (None, "clipped")])
def test_a_state_holds_until_exactly_its_end(expires: float | None, state: str) -> None:
    held = {"state": "clipped", "confidence_max": 0.4, "expires_at": expires, "reason": "r", "set_by": "bob"}
    found = effective_state(held, NOW)
    assert found["state"] == state
    over = state == "enabled"
    assert (found["confidence_max"], found["expires_at"], found["set_by"]) == (
        (None, None, None) if over else (0.4, expires, "bob")
    )


def test_times_of_the_store_are_epoch_seconds_whatever_they_are() -> None:
    moment = datetime(2023, 11, 14, 22, 13, 20)  # as a database without zones gives it
    assert epoch(moment) == epoch(moment.replace(tzinfo=UTC)) == NOW
    assert (epoch(7), epoch(None), epoch("x")) == (7.0, None, None)


async def test_a_rule_that_never_loaded_has_no_state_that_one_could_change() -> None:
    class Rules:
        async def rule_definitions(self) -> list[dict[str, Any]]:
            return [
                {"rule_id": "R2", "error": "bad"}, {"rule_id": "R1", "version": 3, "yaml": "x", "error": "old kept"},
            ]  # fmt: skip

        async def rule_states(self) -> dict[str, Any]:
            return {"R1": {"state": "disabled"}, "R2": {"state": "disabled"}}

        async def rule_fired_counts(self, since: float) -> dict[str, int]:
            return {"R1": 5}

    first, second = await RepositoryRules(Rules(), "eve").list_rules()  # type: ignore[arg-type]
    assert (first["rule_id"], first["state"], first["fired_24h"], first["rule_version"]) == (
        "R1",
        "disabled",
        5,
        3,
    )
    assert (second["rule_id"], second["state"], second["fired_24h"]) == ("R2", "failed", 0)


def rule_entry(number: int, at: float, **over: Any) -> dict[str, Any]:
    base = {"id": number, "ts": datetime.fromtimestamp(at, UTC), "operator": "eve", "kind": "rule.state", "target": "R1", "what": "x",
            "after": {"state": "disabled", "expires_at": NOW + 60}, "outcome": "verified"}  # fmt: skip
    return {**base, **over}


@pytest.mark.parametrize(
    ("entries", "now", "told"),
    [
        ([rule_entry(1, NOW)], NOW + 59.9, False),
        ([rule_entry(1, NOW)], NOW + 60, True),
        ([rule_entry(2, NOW + 59), rule_entry(1, NOW)], NOW + 59.5, False),
        ([rule_entry(2, NOW + 60, after=None), rule_entry(1, NOW)], NOW + 100, True),
        ([rule_entry(2, NOW + 59.9, after=None), rule_entry(1, NOW)], NOW + 100, False),
        ([rule_entry(2, NOW + 30, after=None, target="R2"), rule_entry(1, NOW)], NOW + 100, True),
        ([rule_entry(2, NOW + 30, after=None, kind="x"), rule_entry(1, NOW)], NOW + 100, True),
        ([rule_entry(1, NOW, outcome="NOT APPLIED")], NOW + 100, False),
        ([rule_entry(1, NOW, after={"expires_at": "x"})], NOW + 100, False),
    ],
)
def test_the_journal_tells_of_an_end_that_came_by_itself_and_of_no_other(
    entries: list[dict[str, Any]], now: float, told: bool
) -> None:
    rows = [row for row in journal.with_expiries(entries, now) if row["operator"] == journal.NOBODY]
    assert len(rows) == told
    if told:
        assert (rows[0]["ts"].timestamp(), rows[0]["target"], rows[0]["outcome"]) == (
            NOW + 60,
            "R1",
            "by itself",
        )


# --- filters and scopes


def test_verdicts_on_topics_are_remembered_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decnet_tui.filters._VERDICTS", 3)
    found = parse_filter("> -system.>")
    for n in range(10):
        assert found.shows_topic(f"a.b{n}")
        assert not found.shows_topic(f"system.b{n}")
        assert len(found._seen) <= 3


@pytest.mark.parametrize("text", ["/a{1000}{1000}{1000}/", "/(/", "/(?P<x/"])
def test_a_regex_that_would_cost_too_much_or_is_none_is_explained(text: str) -> None:
    with pytest.raises(FilterError, match=r"\w"):
        parse_filter(text)


def test_a_filter_that_shows_everything_shows_rows_too() -> None:
    assert Filter().shows_row({})
    assert Filter().shows("a.b", "", "")
    mixed = parse_filter("ttp.> -curl")
    assert mixed.shows("ttp.x", "s", "wget")
    assert not mixed.shows("ttp.x", "s", "CURL it")
    assert not mixed.shows("attacker.x", "s", "wget")


def test_a_scope_covers_whole_names_only() -> None:
    scope = scope_of({"attacker_uuid": "abc", "identity_uuid": "def", "attacker_uuids": ["ghi", None]})
    assert scope is not None
    assert scope.names == {"abc", "def", "ghi"}
    assert scope.covers_raw(b'{"a":"abc"}')
    assert not scope.covers_raw(b'{"a":"abcd"}')
    assert scope.covers([None, ["x", "ghi"]])
    assert not scope.covers(["abcd", ["x"], None])
    hostile = scope_of({"attacker_ip": "203.0.113.7\u202e" + "x" * 100})
    assert hostile is not None
    assert len(hostile.label) == 45
    assert not obeyed(hostile.label)
    assert short(None) == ""


# --- what every view keeps to


class Rows(View):
    name = "rows"

    def __init__(self, rows: int) -> None:
        super().__init__(Feed())
        self.number = rows

    def sync(self, now: float) -> bool:
        return False

    def count(self) -> int:
        return self.number

    def line(self, index: int, width: int) -> Any:
        return []


def test_the_cursor_and_the_offset_stay_within_the_rows() -> None:
    view = Rows(10)
    for by, cursor, top in ((3, 3, 0), (1, 4, 1), (100, 9, 6), (-1, 8, 6), (-4, 4, 4), (-100, 0, 0)):
        view.move(by, 4)
        assert (view.cursor, view.top) == (cursor, top), by
    view.move(100, 4)
    view.number = 5
    view.settle(4)
    assert (view.cursor, view.top) == (4, 1)
    view.number = 0
    view.settle(4)
    assert (view.cursor, view.top) == (0, 0)


@pytest.mark.parametrize(
    ("environ", "name"),
    [({"LANG": "x.UTF-8"}, "unicode"), ({"LANG": "x.UTF-8", "TERM": "linux"}, "ascii"), ({"LC_CTYPE": "de.UTF-8"}, "unicode")],
)  # fmt: skip
def test_glyphs_are_what_the_terminal_can_show(environ: dict[str, str], name: str) -> None:
    assert glyphs.use("auto", environ).name == name
    assert glyphs.use("ascii", environ).name == "ascii"


def test_loading_knows_its_times() -> None:
    assert (loading.EVERY_S, loading.BADGE_S, loading.SOON_S) == (5.0, 15.0, 0.5)
