"""The console's end of the bus and of the store: what is counted and told, when it is read, how fast it is painted."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from decnet.bus.base import Event
from decnet.errors import BusError, DatabaseError, DecnetError
from decnet_tui.model import connection
from decnet_tui.model.access import need_store, store_errors
from decnet_tui.model.connection import Connection
from decnet_tui.model.feed import Feed
from decnet_tui.screens.base import TextView
from decnet_tui.screens.loading import BADGE_S, EVERY_S, SOON_S, Loader
from decnet_tui.widgets.pacing import GIVE_UP_S, LAST_S, Pace
from tests.consolekit import Clock, FakeBus, FakeSession, FakeSubscription
from tests.fuzzkit import obeyed

NOW = 1_700_000_000.0


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
        assert limit == connection.READ_BACK
        self.reads += 1
        return self.past


async def follow(line: Connection) -> None:
    with pytest.raises(BusError):
        await line._follow()
    line._following = False
    line._lost()


async def test_what_was_lost_is_counted_over_all_subscriptions() -> None:
    bus = Line(Lossy([Event("a.b", {})], 3), Lossy([Event("a.b", {})], 0), Lossy([Event("a.b", {})], 4))
    feed = Feed()
    line = Connection(bus, feed, Clock())  # type: ignore[arg-type]
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
    line = Connection(bus, feed, Clock())  # type: ignore[arg-type]
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
    line = Connection(Line(), feed, clock)  # type: ignore[arg-type]
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
    monkeypatch.setattr(connection, "asyncio", fake)
    line = Connection(Line(), Feed(), Clock())  # type: ignore[arg-type]
    with pytest.raises(asyncio.CancelledError):
        await line.run()
    assert slept == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert (line.retries, line.live) == (6, False)


async def test_the_watch_sees_a_transport_that_went_and_came_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, feed, seen = Clock(), Feed(), []
    bus = Line()
    line = Connection(bus, feed, clock)  # type: ignore[arg-type]
    steps = iter([False, False, True, True])

    async def sleep(seconds: float) -> None:
        assert seconds == 0.5
        seen.append((line.live, line.retries, feed.total))
        try:
            bus.connected = next(steps)
        except StopIteration:
            raise asyncio.CancelledError from None
        clock.at += 3

    monkeypatch.setattr(connection, "asyncio", SimpleNamespace(sleep=sleep))
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

    monkeypatch.setattr(connection, "asyncio", SimpleNamespace(sleep=sleep, Event=asyncio.Event))
    bus = Line(Lossy([Event("a.b", {}) for _ in range(60)], 0))
    await follow(Connection(bus, Feed(), Clock()))  # type: ignore[arg-type]
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
    for step, due in ((EVERY_S - 0.01, False), (0.01, True), (EVERY_S, False)):
        clock.at += step
        assert load.due(view) is due, "and not while it is being read"


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


@pytest.mark.parametrize(("took", "waits"), [(0.1, SOON_S), (0.5, 2.0), (100.0, EVERY_S)])
async def test_what_takes_long_to_read_is_read_less_often_for_news(took: float, waits: float) -> None:
    load, view, clock, feed, _ = loader()
    began = clock.at
    assert load.due(view)
    fetch = view.fetch

    async def slow(session: Any) -> Any:
        clock.at += took
        return await fetch(session)

    view.fetch = slow  # type: ignore[method-assign]
    await load.load(view)
    feed.add(Event("ttp.x", {}), now=NOW)
    clock.at = began + waits - 0.01
    assert not load.due(view)
    clock.at = began + waits
    assert load.due(view)


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
