"""What every change keeps to, whoever makes it: write mode, journal first, send, read back, undo.

The suite asks the parts by their public names: a later implementation has to pass it as it stands.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from textual import events

from decnet.bus.base import Event
from decnet.config import ConsoleSettings, Settings
from decnet.db.repository import BaseRepository
from decnet.db.rows.attribution import MADE
from decnet.errors import BusError, DatabaseError, DecnetError
from decnet.ids import attacker_id
from decnet_tui.actions import changes, undo
from decnet_tui.actions.alerts import AlertRestored, AlertState
from decnet_tui.actions.backfill import Backfill, store_options
from decnet_tui.actions.changes import Change, Outcome, changed_since, perform
from decnet_tui.actions.desk import Desk
from decnet_tui.actions.fleet import IntervalChange, Rotation
from decnet_tui.actions.forms import Form, PlainForm
from decnet_tui.actions.links import LinkWord
from decnet_tui.actions.notes import NoteWritten
from decnet_tui.actions.rules import RuleChange
from decnet_tui.actions.sources import IgnoreAll, IgnoreSource, NoticeSource
from decnet_tui.actions.workers import LetterRetry, WorkerControl
from decnet_tui.actions.write_mode import WriteMode
from decnet_tui.app import DecnetApp
from decnet_tui.commands import CHANGES, COMMANDS
from decnet_tui.commands.base import Command
from decnet_tui.keymap import Keys
from decnet_tui.model import journal
from decnet_tui.model.access import RuleRow
from decnet_tui.model.feed import Feed
from decnet_tui.model.journal import End
from decnet_tui.widgets.prompt import Question
from tests.consolekit import Clock, FakeSession, StoreSession
from tests.dbkit import open_repo
from tests.integration.test_console_flows import filled

NOW = 1_700_000_000.0
MINUTES = 15.0


# --- write mode


def test_write_mode_is_off_until_it_is_started_and_ends_at_exactly_its_time() -> None:
    clock = Clock()
    write = WriteMode(MINUTES, clock=clock)
    assert (write.on, write.left, write.ended()) == (False, 0.0, False)
    write.start()
    assert (write.on, write.left) == (True, MINUTES * 60)
    clock.at += MINUTES * 60 - 0.001
    assert write.on
    assert not write.ended()
    clock.at = 1000.0 + MINUTES * 60
    assert (write.on, write.left) == (False, 0.0)
    assert write.ended()
    assert not write.ended(), "it is told once"


def test_write_mode_that_was_switched_off_did_not_run_out_and_a_new_start_counts_anew() -> None:
    clock = Clock()
    write = WriteMode(MINUTES, clock=clock)
    write.start()
    write.stop()
    clock.at += MINUTES * 60
    assert not write.on
    assert not write.ended()
    write.start()
    clock.at += MINUTES * 60 - 1
    write.start()
    clock.at += MINUTES * 60 - 1
    assert write.left == 1.0


def test_a_read_only_run_has_no_write_mode_at_all() -> None:
    write = WriteMode(MINUTES, never=True, clock=Clock())
    write.start()
    assert not write.on


# --- the desk: what is asked, and what is sent


class Screen:
    """What the desk stands in: it keeps what is said, asked and started."""

    def __init__(self, session: Any) -> None:
        self.session, self.feed, self.clock = session, Feed(), NOW
        self.said: list[tuple[str, bool, bool]] = []
        self.asked: list[Question] = []
        self.jobs: list[tuple[str, Any]] = []
        self.taken: list[str] = []
        self.reads = 0
        self.loader: Any = self
        self.view: Any = SimpleNamespace(stored=True)
        self.shown: Form | None = None
        self.problem: Exception | None = None

    def say(self, text: str, *, bad: bool = False, good: bool = False) -> None:
        self.said.append((text, bad, good))

    def ask(self, question: Question) -> None:
        self.asked.append(question)

    def show_form(self, form: Form, done: Callable[[Form, bool], None]) -> None:
        self.shown, self.done = form, done

    def work(self, job: Any, name: str) -> None:
        self.jobs.append((name, job))

    def read_now(self) -> None:
        self.reads += 1

    def now(self) -> float:
        return self.clock

    def take_key(self, event: events.Key) -> None:
        self.taken.append(event.key)

    async def load(self, view: Any) -> None:
        if self.problem is not None:
            raise self.problem


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def screen() -> Screen:
    return Screen(FakeSession())


def desk_of(screen: Screen, clock: Clock, *, read_only: bool = False) -> Desk:
    desk = Desk(screen, MINUTES, read_only=read_only)
    desk.write = WriteMode(MINUTES, never=read_only, clock=clock)
    return desk


class Asked(Form):
    """A form whose change is ready, unless ``over`` says what is wrong with it by now."""

    title = "T"
    over = ""

    def change(self, now: float) -> Change:
        if self.over:
            raise ValueError(self.over)
        return RuleChange("R0012", "disabled")

    def question(self) -> str:
        return "do it"


def test_write_mode_is_refused_with_words_in_a_read_only_run(screen: Screen, clock: Clock) -> None:
    desk = desk_of(screen, clock, read_only=True)
    desk.switch_write_mode(lambda: pytest.fail("nothing may follow"))
    assert screen.said == [("this run is --read-only", True, False)]
    assert not screen.asked
    assert not desk.write.on


@pytest.mark.parametrize("typed", ["n", "Y", "", "\r", "\x1b", " "])
def test_write_mode_takes_a_typed_y_and_nothing_else(screen: Screen, clock: Clock, typed: str) -> None:
    desk = desk_of(screen, clock)
    desk.switch_write_mode(lambda: pytest.fail("nothing may follow"))
    (question,) = screen.asked
    assert question.confirm
    assert question.answers == "y"
    question.done(False, typed)
    assert not desk.write.on
    assert screen.said[-1][0].startswith("still read-only")


def test_after_a_yes_write_mode_is_on_before_what_asked_for_it_goes_on(screen: Screen, clock: Clock) -> None:
    desk, seen = desk_of(screen, clock), []
    desk.switch_write_mode(lambda: seen.append(desk.write.on))
    screen.asked[0].done(True, "y")
    assert seen == [True]
    assert desk.write.left == MINUTES * 60
    desk.switch_write_mode()
    assert not desk.write.on
    assert screen.said[-1][0] == "read-only again"


def test_a_form_that_was_left_sends_nothing(screen: Screen, clock: Clock) -> None:
    desk = desk_of(screen, clock)
    desk.write.start()
    desk.propose(Asked())
    screen.done(screen.shown, False)  # type: ignore[arg-type]
    assert not screen.jobs
    assert screen.said[-1][0] == "nothing changed"


@pytest.mark.parametrize(("left", "sends"), [(0.001, True), (0.0, False), (-60.0, False)])
def test_write_mode_is_looked_at_again_when_the_form_is_sent(
    screen: Screen, clock: Clock, left: float, sends: bool
) -> None:
    desk = desk_of(screen, clock)
    desk.write.start()
    desk.propose(Asked())
    clock.at += MINUTES * 60 - left
    screen.done(screen.shown, True)  # type: ignore[arg-type]
    assert [name for name, _ in screen.jobs] == ["change"] * sends
    if not sends:
        assert screen.said[-1] == ("write mode ended meanwhile: nothing changed", True, False)


def test_write_mode_that_was_switched_off_while_the_form_was_open_sends_nothing(
    screen: Screen, clock: Clock
) -> None:
    desk = desk_of(screen, clock)
    desk.write.start()
    desk.propose(Asked())
    desk.switch_write_mode()
    screen.done(screen.shown, True)  # type: ignore[arg-type]
    assert not screen.jobs


def test_what_was_right_at_the_review_and_is_over_now_is_said_and_sends_nothing(
    screen: Screen, clock: Clock
) -> None:
    desk, form = desk_of(screen, clock), Asked()
    desk.write.start()
    form.over = "that moment is over"
    desk.propose(form)
    screen.done(form, True)
    assert not screen.jobs
    assert screen.said[-1] == ("nothing changed: that moment is over", True, False)


@pytest.mark.parametrize(
    ("keeps", "reports", "end"),
    [(True, True, End.VERIFIED), (True, False, End.SAVED), (False, True, End.REFUTED)],
)
async def test_only_what_is_verified_is_said_as_good(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, keeps: bool, reports: bool, end: End
) -> None:
    monkeypatch.setattr(RuleChange, "wait_s", 0.0)
    session = FakeSession(reports, keeps)
    screen = Screen(session)
    desk = desk_of(screen, clock)
    if reports:
        screen.feed.rule_news["R0012"] = (time.time() + 60, {"state": "disabled"})
    await desk._send(RuleChange("R0012", "disabled"))
    text, bad, good = screen.said[-1]
    assert text.startswith(f"R0012 disabled: {end.value}")
    assert (bad, good) == (end is not End.VERIFIED, end is End.VERIFIED)
    assert screen.reads == 1


def key(name: str, character: str | None = None) -> events.Key:
    return events.Key(name, character)


def test_what_is_typed_after_a_failed_yes_does_nothing_until_esc_or_enter(
    screen: Screen, clock: Clock
) -> None:
    for ending in ("escape", "enter"):
        desk = desk_of(screen, clock)
        desk.write.start()
        form = PlainForm("T", "q", [], RuleChange("R1", "enabled"))
        desk.propose(form)
        assert form.key("n", "n") == "cancel"
        screen.done(form, False)
        assert screen.said[-1][0] == "nothing changed; Esc or Enter goes on"
        assert [desk.swallows(k) for k in ("o", "Q", "y", ending, "o")] == [True, True, True, True, False]


def test_esc_and_enter_leave_a_question_at_once(screen: Screen, clock: Clock) -> None:
    for name in ("escape", "enter"):
        desk = desk_of(screen, clock)
        desk.write.start()
        form = PlainForm("T", "q", [], RuleChange("R1", "enabled"))
        desk.propose(form)
        assert form.key(name, "\r" if name == "enter" else None) == "cancel"
        screen.done(form, False)
        assert not desk.swallows("o")
        desk = desk_of(screen, clock)
        desk.switch_write_mode()
        screen.asked[-1].done(False, "\x1b" if name == "escape" else "\r")
        assert not desk.swallows("o")
        desk.switch_write_mode()
        screen.asked[-1].done(False, "x")
        assert desk.swallows("o")


async def test_keys_pressed_while_the_store_is_read_come_afterwards_in_order(
    screen: Screen, clock: Clock
) -> None:
    desk, done = desk_of(screen, clock), []
    view: Any = SimpleNamespace(name="rules", loaded_at=0.0, problem="")
    assert not desk.once_loaded(view, lambda: done.append(list(screen.taken)))
    assert desk.waiting
    desk.held += [key("a"), key("b")]
    (_, job), screen.jobs = screen.jobs[0], []
    await job()
    assert not desk.waiting
    assert done == [[]]
    assert screen.taken == ["a", "b"]
    assert desk.held == []
    for ready in (SimpleNamespace(loaded_at=1.0, problem=""), SimpleNamespace(loaded_at=0.0, problem="no")):
        assert desk.once_loaded(ready, done.clear)  # type: ignore[arg-type]
    screen.problem = RuntimeError("x")
    desk.once_loaded(view, done.clear)
    (_, job), screen.jobs = screen.jobs[0], []
    with pytest.raises(RuntimeError):
        await job()
    assert not desk.waiting, "keys do not wait for ever"


# --- commands: which of them need write mode

CHANGING = {
    "write", "rule.disable", "rule.enable", "rule.clip", "worker.control", "letter.retry", "undo", "source.ignore",
    "rule.backfill", "alert.ack", "alert.resolve", "alert.note", "source.note", "decky.mutate", "decky.interval",
    "identity.link", "identity.unlink", "identity.unsay",
}  # fmt: skip
"""All that alters rules, fleet, workers, alerts, letters or sources."""


def console(*, read_only: bool = False) -> DecnetApp:
    settings = Settings(console=ConsoleSettings(glyphs="ascii"))
    return DecnetApp(settings, session=FakeSession(), read_only=read_only)


def test_the_commands_that_change_something_are_these() -> None:
    assert CHANGES == CHANGING


def test_a_change_waits_for_write_mode_and_everything_else_does_not() -> None:
    app, ran, asked = console(), [], []
    app.desk.switch_write_mode = asked.append  # type: ignore[method-assign, assignment]

    def watched(command: Command) -> Command:
        return replace(command, run=lambda app, text: ran.append((command.id, text)))

    for command in COMMANDS:
        app.run_command(watched(command), "x")
    waiting = CHANGING - {"write"}
    assert {name for name, _ in ran} == {c.id for c in COMMANDS} - waiting
    assert len(asked) == len(waiting)
    ran.clear()
    app.write.start()
    for command in COMMANDS:
        app.run_command(watched(command), "x")
    assert ran == [(c.id, "x") for c in COMMANDS]


def test_what_waited_for_write_mode_is_done_with_its_words_and_only_while_it_is_on() -> None:
    app, ran, asked = console(), [], []
    app.desk.switch_write_mode = asked.append  # type: ignore[method-assign, assignment]
    command = replace(
        next(c for c in COMMANDS if c.id == "rule.disable"), run=lambda app, text: ran.append(text)
    )
    app.run_command(command, "R0012 1h")
    asked[0]()
    assert not ran, "it asks again when write mode is over by then"
    app.write.start()
    asked[0]()
    assert ran == ["R0012 1h"]


def test_a_read_only_run_knows_no_command_that_changes() -> None:
    app = console(read_only=True)
    assert app.write.never
    assert not [c.id for c in app.keys.commands if c.changes]
    assert {c.id for c in console().keys.commands} >= CHANGING
    assert Keys(COMMANDS, {}, CHANGES).find("W", "traffic") is None


async def test_what_follows_a_failed_yes_reaches_no_command() -> None:
    """The whole way through the app: neither a command nor a form takes what follows a failed yes."""
    session = FakeSession()
    app = console()
    app.session = session
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("W", "n", "4")
        assert app.view.name == "traffic"
        await pilot.press("Q")
        assert app.prompt.question is None
        await pilot.press("enter", "4")
        assert app.view.name == "rules"
    assert not session.bus.published


# --- plan, journal, send, verify


class Book:
    """A journal that fails on demand and keeps what was asked of it, in order."""

    def __init__(self, log: list[str], *breaks: str) -> None:
        self.log, self.breaks = log, breaks
        self.rows: list[dict[str, Any]] = []
        self.ended: list[tuple[int, str, str | None]] = []

    async def journal_add(self, **row: Any) -> int:
        if "add" in self.breaks:
            raise DatabaseError("disk full")
        self.log.append("journal")
        self.rows.append(row)
        return 7

    async def journal_end(self, entry: int, outcome: str, detail: str | None = None) -> None:
        if "end" in self.breaks:
            raise DatabaseError("disk full")
        self.log.append("end")
        self.ended.append((entry, outcome, detail))


class Probe(Change):
    """A change that says when each of its parts is asked."""

    kind, target, reason, undoes, wait_s = "probe", "t", "why", 3, 0.0
    what = "probing"

    def __init__(self, log: list[str], *, error: Exception | None = None, instead: str = "") -> None:
        self.log, self.error, self.instead = log, error, instead
        self.news: list[Outcome | None] = [Outcome(End.VERIFIED, "seen")]
        self.sent_at = 0.0

    async def before(self, session: Any) -> dict[str, Any]:
        self.log.append("before")
        return {"a": 1}

    def after(self) -> dict[str, Any]:
        return {"a": 2}

    async def send(self, session: Any) -> None:
        self.log.append("send")
        if self.error:
            raise self.error

    async def held(self, session: Any) -> str:
        self.log.append("held")
        return self.instead

    def reported(self, feed: Feed, sent_at: float) -> Outcome | None:
        self.log.append("news")
        self.sent_at = sent_at
        return self.news.pop(0) if self.news else None


def session_of(book: Book | None, *, opening: bool = False) -> Any:
    return SimpleNamespace(repo=book, operator="eve@console", opening=opening, bus=None)


async def test_the_order_is_plan_journal_send_read_back_news_and_the_journals_end() -> None:
    log: list[str] = []
    book = Book(log)
    outcome = await perform(session_of(book), Feed(), Probe(log))
    assert log == ["before", "journal", "send", "held", "news", "end"]
    assert book.rows == [
        {"operator": "eve@console", "kind": "probe", "target": "t", "what": "probing", "before": {"a": 1},
         "after": {"a": 2}, "reason": "why", "undoes": 3}
    ]  # fmt: skip
    assert book.ended == [(7, "verified", "seen")]
    assert outcome == Outcome(End.VERIFIED, "seen")


async def test_without_a_journal_row_nothing_is_sent() -> None:
    log: list[str] = []
    outcome = await perform(session_of(Book(log, "add")), Feed(), Probe(log))
    assert log == ["before"]
    assert outcome.end is End.REFUTED
    assert outcome.detail == "the journal cannot be written: disk full"
    assert isinstance(outcome.error, DatabaseError)


async def test_a_database_that_is_known_but_not_open_yet_is_waited_for() -> None:
    log: list[str] = []
    outcome = await perform(session_of(None, opening=True), Feed(), Probe(log))
    assert log == []
    assert outcome.end is End.REFUTED
    assert "not open yet" in outcome.detail


async def test_an_attachment_without_a_database_sends_without_a_journal() -> None:
    log: list[str] = []
    assert (await perform(session_of(None), Feed(), Probe(log))).end is End.VERIFIED
    assert log == ["send", "held", "news"]


@pytest.mark.parametrize("error", [DatabaseError("no"), BusError("no"), OSError("no"), DecnetError("no")])
async def test_what_store_or_bus_refuse_is_said_and_stands_in_the_journal(error: Exception) -> None:
    log: list[str] = []
    book = Book(log)
    outcome = await perform(session_of(book), Feed(), Probe(log, error=error))
    assert log == ["before", "journal", "send", "end"], "nothing is read back of what was not sent"
    assert (outcome.end, outcome.detail, outcome.error) == (End.REFUTED, "no", error)
    assert book.ended == [(7, "NOT APPLIED", "no")]


async def test_a_store_that_reads_back_something_else_is_not_applied_whatever_the_news() -> None:
    log: list[str] = []
    book = Book(log)
    outcome = await perform(session_of(book), Feed(), Probe(log, instead="the store reads back enabled"))
    assert log == ["before", "journal", "send", "held", "end"]
    assert outcome.text("R1 off") == "R1 off: NOT APPLIED (the store reads back enabled)"
    assert book.ended == [(7, "NOT APPLIED", "the store reads back enabled")]


async def test_a_journal_that_cannot_be_ended_takes_nothing_back() -> None:
    log: list[str] = []
    outcome = await perform(session_of(Book(log, "end")), Feed(), Probe(log))
    assert outcome.end is End.VERIFIED


@contextmanager
def time_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The clock and the sleep of :mod:`decnet_tui.actions.changes`."""
    at = SimpleNamespace(now=50.0, slept=0)

    async def sleep(seconds: float) -> None:
        at.now, at.slept = at.now + seconds, at.slept + 1

    monkeypatch.setattr(changes, "time", SimpleNamespace(time=lambda: NOW + at.now, monotonic=lambda: at.now))
    monkeypatch.setattr(changes, "asyncio", SimpleNamespace(sleep=sleep))
    yield at


async def test_news_are_waited_for_until_exactly_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    with time_of(monkeypatch) as at:
        monkeypatch.setattr(changes, "_POLL_S", 0.5)
        log: list[str] = []
        change = Probe(log)
        change.news, change.wait_s = [], 2.0
        outcome = await perform(session_of(Book(log)), Feed(), change)
        assert outcome.end is End.SAVED
        assert (at.slept, log.count("news"), at.now) == (4, 5, 52.0)
        change.news, log[:] = [None, None, None, None, Outcome(End.VERIFIED)], []
        assert (await perform(session_of(Book(log)), Feed(), change)).end is End.VERIFIED, (
            "at the limit itself"
        )
        assert log.count("news") == 5


async def test_news_count_from_the_moment_before_it_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with time_of(monkeypatch) as at:
        log: list[str] = []
        change = Probe(log)

        async def slow(session: Any) -> None:
            at.now += 10

        change.send = slow  # type: ignore[method-assign]
        await perform(session_of(Book(log)), Feed(), change)
        assert change.sent_at == NOW + 50.0


# --- each change, over a real store


def link_word(same: bool | None, reason: str | None = "one shell history") -> LinkWord:
    one, other = "192.0.2.1", "192.0.2.2"
    return LinkWord(one, other, (attacker_id(one), attacker_id(other)), same, reason)


UNTOUCHED: Any = {**dict.fromkeys(MADE), "state": "open"}


def every_change(letter: Any, alert_id: str) -> list[Change]:
    """One of each kind that the console has, ready to be sent."""
    return [
        RuleChange("R0001", "disabled", None, None, "noisy"),
        AlertState(alert_id, "203.0.113.7", "acknowledged"),
        NoteWritten("alert", alert_id, "203.0.113.7", "seen"),
        AlertState(alert_id, "203.0.113.7", "resolved", "a script", "wrong"),
        AlertRestored(alert_id, "203.0.113.7", UNTOUCHED),
        IgnoreSource("192.0.2.0/24"),
        NoticeSource("198.51.100.9"),
        IgnoreAll("i-1", ("192.0.2.1", "192.0.2.2"), True, None, "ours"),
        link_word(True),
        IntervalChange("web-01", "12h", Settings()),
        Rotation("web-01", 0.0),
        WorkerControl("ttp", "pause"),
        LetterRetry(letter),
        Backfill("R0001", "7d"),
    ]


async def stocked(repo: BaseRepository) -> list[Change]:
    """A store in which each change finds what it is about."""
    await filled(repo, time.time())
    await repo.ignore_add("198.51.100.9", reason=None, set_by="bob", expires_at=None)
    alert = {"alert_id": "a1", "identity_uuid": "i", "attacker_uuids": [], "sides": [["s1"]], "families": [], "primitives": [],
             "confidence": 0.6, "explanation": {}, "ts": time.time()}  # fmt: skip
    await repo.raise_alert(alert)
    found = every_change(
        (await repo.dead_letters(None, 0))[0], str((await repo.list_alerts())[0]["alert_id"])
    )
    for change in found:
        change.wait_s = 0.0
    return found


def dump(folder: Path) -> list[str]:
    (path,) = folder.glob("*.sqlite")
    with sqlite3.connect(path) as database:
        return list(database.iterdump())


async def test_no_change_of_any_kind_is_sent_without_its_row_in_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        kinds = await stocked(repo)
        session = StoreSession(repo)
        started: list[Any] = []

        async def refuse(**_: Any) -> int:
            raise DatabaseError("disk full")

        async def start(*command: Any, **_: Any) -> Any:
            started.append(command)

        monkeypatch.setattr(repo, "journal_add", refuse)
        monkeypatch.setattr("asyncio.create_subprocess_exec", start)
        before = dump(tmp_path)
        for change in kinds:
            outcome = await perform(session, Feed(), change)
            assert outcome.end is End.REFUTED, change.kind
            assert "the journal cannot be written" in outcome.detail
        assert dump(tmp_path) == before
        assert not session.bus.published
        assert not started


async def test_each_change_finds_its_row_in_the_journal_when_it_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decnet_tui.actions.workers.DUPLICATE_WINDOW_S", 0.0)
    async with open_repo("sqlite", tmp_path) as repo:
        session = StoreSession(repo)
        for change in await stocked(repo):
            if change.kind in ("decky.interval", "rule.backfill"):
                continue  # no decoy here, no program there
            sent: Callable[[Any], Awaitable[None]] = change.send

            async def watched(
                session: Any, change: Change = change, sent: Callable[[Any], Awaitable[None]] = sent
            ) -> None:
                (row,) = await repo.journal(limit=1)
                assert (row["kind"], row["outcome"], row["target"]) == (change.kind, "sent", change.target)
                await sent(session)

            change.send = watched  # type: ignore[method-assign]
            outcome = await perform(session, Feed(), change)
            (row,) = await repo.journal(limit=1)
            assert (row["operator"], row["reason"], row["what"]) == (
                "eve@console",
                change.reason,
                change.what,
            )
            assert row["outcome"] == outcome.end.value != "sent"
            assert outcome.end is not End.REFUTED, (change.kind, outcome)


async def test_a_change_whose_row_is_something_else_by_now_is_not_held(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        await stocked(repo)
        session = StoreSession(repo)
        alert = str((await repo.list_alerts())[0]["alert_id"])
        acknowledged, ignored = AlertState(alert, "L", "acknowledged"), IgnoreSource("192.0.2.0/24")
        noticed, interval = NoticeSource("198.51.100.9"), IntervalChange("web-01", "12h", Settings())
        rule = RuleChange("R0001", "disabled")
        assert await acknowledged.held(session) == "the store reads back open"
        assert await AlertState("none", "L", "resolved").held(session) == "the store reads back no such alert"
        assert await ignored.held(session) == "the store does not have it"
        assert await noticed.held(session) == "the store still has it"
        assert await interval.held(session) == "the store reads back no such decoy"
        assert await rule.held(session) == "the store reads back enabled"
        assert await RuleChange("R9", "disabled").held(session) == "the store reads back no such rule"
        for change in (acknowledged, ignored, noticed, rule):
            await change.send(session)
            assert await change.held(session) == "", change.kind
        for change in (
            AlertState("none", "L", "resolved"),
            AlertRestored("none", "L", UNTOUCHED),
            NoteWritten("alert", alert, "L", " "),
            IgnoreSource("192.0.2.999"),
        ):
            with pytest.raises(DecnetError):
                await change.send(session)
        note = NoteWritten("alert", alert, "L", "seen")
        assert await note.held(session) == "the store does not read it back"
        await note.send(session)
        assert await note.held(session) == ""
        restored = AlertRestored(alert, "L", UNTOUCHED)
        assert await restored.held(session) == "the store reads back acknowledged"
        assert (
            await AlertRestored("none", "L", UNTOUCHED).held(session) == "the store reads back no such alert"
        )
        await AlertState(alert, "L", "resolved", None, "wrong").send(session)
        assert (
            await AlertState(alert, "L", "resolved").held(session) == "the store reads back resolved: wrong"
        )
        with pytest.raises(DecnetError, match="resolved already"):
            await acknowledged.send(session)


def rule_row(**over: Any) -> RuleRow:
    base = {"rule_id": "R0012", "state": "enabled", "confidence_max": None, "expires_at": None}
    return {**base, **over}  # type: ignore[typeddict-item, return-value]


@pytest.mark.parametrize(
    ("over", "stale"),
    [
        ({}, False),
        ({"reason": "other", "fired_24h": 99}, False),
        ({"state": "disabled"}, True),
        ({"confidence_max": 0.4}, True),
        ({"expires_at": NOW}, True),
    ],
)
async def test_a_rule_that_somebody_else_changed_meanwhile_is_not_written(over: Any, stale: bool) -> None:
    session = FakeSession()
    session.repo = Book([])
    session.row |= RuleRow(set_by="bob", **over)
    change = RuleChange("R0012", "clipped", 0.3, None, "noisy", expected=rule_row())
    change.wait_s = 0.0
    outcome = await perform(session, Feed(), change)
    assert (outcome.end is End.REFUTED) is stale
    if stale:
        assert outcome.detail == f"changed meanwhile by bob: now {session.row['state']}"
        assert (session.row["state"], session.row["confidence_max"]) == (
            over.get("state", "enabled"),
            over.get("confidence_max"),
        )
        assert session.repo.ended == [(7, "NOT APPLIED", outcome.detail)]


async def test_a_rule_that_is_gone_is_not_written() -> None:
    session = FakeSession()
    session.repo = Book([])
    change = RuleChange("R0099", "disabled", expected=rule_row(rule_id="R0099"))
    outcome = await perform(session, Feed(), change)
    assert (outcome.end, outcome.detail) == (End.REFUTED, "this rule is gone")


def test_a_rule_state_agrees_in_every_part_and_expiries_within_a_second() -> None:
    change = RuleChange("R0012", "clipped", 0.4, NOW)
    row = rule_row(state="clipped", confidence_max=0.4, expires_at=NOW)
    assert change.agrees(row)
    assert change.agrees({**row, "expires_at": NOW + 1.0})
    assert not change.agrees({**row, "expires_at": NOW + 1.01})
    assert not change.agrees({**row, "confidence_max": 0.41})
    assert not change.agrees({**row, "confidence_max": None})
    assert not change.agrees({**row, "state": "disabled"})
    assert not change.agrees(None)


def test_news_of_a_rule_prove_only_their_own_rule_state_and_time() -> None:
    feed, change = Feed(), RuleChange("R0012", "disabled")
    assert change.reported(feed, NOW) is None
    for at, rule, state, proves in (
        (NOW - 0.1, "R0012", "disabled", False),
        (NOW, "R0012", "enabled", False),
        (NOW, "R0013", "disabled", False),
        (NOW, "R0012", "disabled", True),
    ):
        feed.rule_news = {rule: (at, {"state": state})}
        assert (change.reported(feed, NOW) is not None) is proves, (at, rule, state)


@pytest.mark.parametrize(
    ("action", "state", "ts", "proves"),
    [
        ("pause", "paused", NOW, True), ("pause", "paused", NOW - 0.1, False), ("pause", "ok", NOW, False),
        ("stop", "stopped", NOW, True), ("stop", "ok", NOW, False), ("start", "ok", NOW, True),
        ("start", "stopped", NOW, False), ("resume", "degraded", NOW, True), ("restart", "failed", NOW, False),
        ("restart", "waiting_for_bus", NOW, True),
    ],
)  # fmt: skip
def test_a_heartbeat_proves_what_was_asked_of_its_worker_only_when_it_is_newer(
    action: str, state: str, ts: float, proves: bool
) -> None:
    feed = Feed()
    feed.add(Event("system.ttp.health", {"state": state, "ts": ts}, ts=NOW + 5), now=NOW + 5)
    outcome = WorkerControl("ttp", action).reported(feed, NOW)
    assert (outcome is not None and outcome.end is End.VERIFIED) is proves
    assert WorkerControl("sensors", action).reported(feed, NOW) is None
    assert WorkerControl("ttp", action).silence().end is End.UNKNOWN


@pytest.mark.parametrize(
    ("at", "topic", "worker", "again"),
    [(NOW, "a.b", "ttp", True), (NOW - 0.1, "a.b", "ttp", False), (NOW, "a.c", "ttp", False), (NOW, "a.b", "x", False)],
)  # fmt: skip
def test_a_letter_failed_again_when_its_own_worker_says_so_afterwards(
    at: float, topic: str, worker: str, again: bool
) -> None:
    feed = Feed()
    feed.dead_letters.append((at, {"topic": topic, "worker": worker, "reason": "no\x1b"}))
    outcome = LetterRetry({"id": 1, "topic": "a.b", "worker": "ttp"}).reported(feed, NOW)
    assert (outcome is not None) is again
    if outcome is not None:
        assert (outcome.end, outcome.detail) == (End.REFUTED, "it failed again: no\\e")


def test_a_rotation_is_known_by_its_own_request_and_silence_is_never_success() -> None:
    feed, change = Feed(), Rotation("web-01", 5.0)
    told = {"outcome": "applied", "old_services": ["ssh"], "new_services": ["ftp"]}
    feed.mutations["other"] = told
    assert change.reported(feed, NOW) is None
    feed.mutations[change.request_id] = told
    assert change.reported(feed, NOW) == Outcome(End.VERIFIED, "ssh -> ftp")
    feed.mutations[change.request_id] = {"outcome": "failed", "reason": "no\x1b"}
    assert change.reported(feed, NOW) == Outcome(End.REFUTED, "no\\e")
    assert change.silence().end is End.UNKNOWN
    assert Rotation("web-01", 0.0).silence().end is End.SAVED


async def test_a_rotation_without_a_bus_is_sent_by_its_row_or_not_at_all(tmp_path: Path) -> None:
    session = FakeSession()

    async def refuse(*_: Any, **__: Any) -> None:
        raise BusError("gone")

    session.bus.publish = refuse
    with pytest.raises(BusError):
        await Rotation("web-01", 0.0).send(session)
    async with open_repo("sqlite", tmp_path) as repo:
        session.repo = repo
        change = Rotation("web-01", 0.0, "drill")
        await change.send(session)
        row = await repo.mutation_get(change.stored)
        assert row is not None
        assert (row["requested_by"], row["payload"]["request_id"]) == ("eve@console", change.request_id)


class Letters:
    """One dead letter, its broker, and the order of what is done to them."""

    def __init__(self, age: float, *, breaks: bool = False) -> None:
        from datetime import UTC, datetime

        event = Event("attacker.observed", {"x": 1}, id="dead")
        self.row = {"id": 1, "topic": event.topic, "worker": "ttp", "body": event.to_bytes(), "path": None, "value": None,
                    "ts": datetime.fromtimestamp(NOW - age, UTC)}  # fmt: skip
        self.log: list[str] = []
        self.breaks = breaks

    async def dead_letter_get(self, number: int) -> Any:
        return self.row if number == 1 else None

    async def publish_events(self, found: list[Event]) -> None:
        if self.breaks:
            raise BusError("full")
        self.log.append(f"publish {found[0].id}")

    async def dead_letter_delete(self, number: int) -> None:
        self.log.append(f"delete {number}")


async def test_a_letter_leaves_the_store_only_after_the_bus_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from decnet_tui.actions import workers

    monkeypatch.setattr(workers, "time", SimpleNamespace(time=lambda: NOW))
    window = workers.DUPLICATE_WINDOW_S
    letters = Letters(window)
    await workers.retry_letter(letters, letters, 1)
    assert letters.log == ["publish dead", "delete 1"], "under its own id, exactly when the broker forgot it"
    young = Letters(window - 1)
    with pytest.raises(DecnetError, match="try again in 1s"):
        await workers.retry_letter(young, young, 1)
    broken = Letters(window, breaks=True)
    with pytest.raises(BusError):
        await workers.retry_letter(broken, broken, 1)
    assert young.log == broken.log == []
    with pytest.raises(DecnetError, match="no dead letter 2"):
        await workers.retry_letter(letters, letters, 2)
    torn = Letters(window)
    torn.row["body"] = b"{"
    with pytest.raises(DecnetError, match="no event and never will be"):
        await workers.retry_letter(torn, torn, 1)
    assert torn.log == []


class Program:
    """The back-fill command as a child process."""

    def __init__(self, code: int | None, out: bytes = b"", err: bytes = b"") -> None:
        self.returncode, self.out, self.err, self.killed = code, out, err, False

    async def communicate(self) -> tuple[bytes, bytes]:
        if self.returncode is None:
            raise KeyboardInterrupt
        return self.out, self.err

    def kill(self) -> None:
        self.killed = True


async def test_a_back_fill_says_how_it_ended_and_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[tuple[str, ...]] = []
    program = Program(0, b'{"judged": 3, "tags": 2, "superseded": 1, "replaced": 4}')

    async def start(*command: str, env: Mapping[str, str], **_: Any) -> Program:
        commands.append(command)
        assert env["DECNET_DB"] == "postgresql://me:secret@db.example/decnet"
        return program

    monkeypatch.setattr("asyncio.create_subprocess_exec", start)
    settings = Settings(db="postgresql://me:secret@db.example/decnet")
    change = Backfill("R0001", "7d", store_options(settings), settings.db)
    await change.send(FakeSession())
    where = ("--data-dir", str(settings.data_dir), "--rules", str(settings.rules))
    assert commands[0][3:] == ("backfill", "--json", "--since", "7d", "--rule", "R0001", *where)
    outcome = change.reported(Feed(), NOW)
    assert outcome is not None
    assert outcome.detail == "3 events judged, 2 new tags, 1 superseded, 4 replaced"
    for code, out, err, said in (
        (1, b"", b"warning\nerror: no\x1b database\n", "error: no\\e database"),
        (2, b"", b"", "no reason given"),
        (0, b"nothing", b"", "without a report"),
        (0, b"7", b"", "without a report"),
    ):
        program = Program(code, out, err)
        with pytest.raises(DecnetError, match=said.replace("\\", "\\\\")):
            await change.send(FakeSession())
        assert not program.killed
    program = Program(None)
    with pytest.raises(KeyboardInterrupt):
        await change.send(FakeSession())
    assert program.killed


# --- undo


async def state_of(repo: BaseRepository) -> tuple[Any, ...]:
    rules = (await repo.rule_states()).get("R0001") or {}
    sources = [(row["value"], row["reason"]) for row in await repo.ignored_sources()]
    word = await repo.word_on_link(*link_word(None).attackers)
    return rules.get("state"), rules.get("confidence_max"), rules.get("reason"), sources, word


async def test_undo_restores_what_was_there_once_and_is_journalled_itself(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        await filled(repo, time.time())
        await repo.rule_state_set("R0001", state="clipped", confidence_max=0.4, reason="old", set_by="bob")
        await repo.ignore_add("198.51.100.9", reason="ours", set_by="bob", expires_at=None)
        session = StoreSession(repo)
        start = await state_of(repo)
        made: list[Change] = [
            RuleChange("R0001", "disabled", None, time.time() + 3600, "noisy"),
            IgnoreSource("192.0.2.0/24", None, "scanner"),
            NoticeSource("198.51.100.9"),
            IgnoreAll("i-1", ("192.0.2.1", "192.0.2.2", "198.51.100.9"), True, None, "ours"),
            link_word(True),
        ]
        for change in made:
            change.wait_s = 0.0
            assert (await perform(session, Feed(), change)).end is not End.REFUTED
            assert await state_of(repo) != start
            entries = await repo.journal()
            entry = undo.last_undoable(entries, "eve@console")
            assert entry is not None
            assert entry["id"] == entries[0]["id"]
            back = undo.undo_of(entry)
            back.wait_s = 0.0
            assert (await perform(session, Feed(), back)).end is not End.REFUTED
            assert await state_of(repo) == start, change.kind
            (row,) = await repo.journal(limit=1)
            assert row["undoes"] == entry["id"]
            assert undo.last_undoable(await repo.journal(), "eve@console") is None


async def test_undo_is_refused_where_somebody_changed_the_target_since(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        await filled(repo, time.time())
        session = StoreSession(repo)
        made: list[tuple[Change, Change]] = [
            (
                RuleChange("R0001", "disabled", None, None, "noisy"),
                RuleChange("R0001", "clipped", 0.3, None, "bob's"),
            ),
            (IgnoreSource("192.0.2.0/24", None, "scanner"), NoticeSource("192.0.2.0/24")),
            (IgnoreAll("i-1", ("192.0.2.1", "192.0.2.2")), NoticeSource("192.0.2.2")),
            (link_word(True), link_word(False)),
        ]
        for mine, theirs in made:
            for change in (mine, theirs):
                change.wait_s = 0.0
                assert (await perform(session, Feed(), change)).end is not End.REFUTED
            found = next(e for e in await repo.journal() if e["what"] == mine.what and not e["undoes"])
            held = await state_of(repo)
            back = undo.undo_of(found)
            back.wait_s = 0.0
            outcome = await perform(session, Feed(), back)
            assert outcome.end is End.REFUTED
            assert outcome.detail.startswith("it was changed since: now ")
            assert await state_of(repo) == held, "nothing is written over"
            (row,) = await repo.journal(limit=1)
            assert (row["undoes"], row["outcome"], row["detail"]) == (
                found["id"],
                "NOT APPLIED",
                outcome.detail,
            )


@pytest.mark.parametrize(
    ("left", "now", "same"),
    [
        ({"state": "disabled", "reason": "x"}, {"state": "disabled", "reason": None}, True),
        ({"state": "disabled"}, {"state": "enabled"}, False),
        ({"confidence_max": 0.4}, {"confidence_max": 0.4000001}, True),
        ({"confidence_max": 0.4}, {"confidence_max": 0.41}, False),
        ({"state": "disabled", "expires_at": 4e9}, {"state": "disabled", "expires_at": 4e9 + 1}, True),
        ({"state": "disabled", "expires_at": 4e9}, {"state": "disabled", "expires_at": 4e9 + 2}, False),
        ({"state": "disabled", "expires_at": 10.0}, {"state": "enabled", "expires_at": None}, True),
        ({"state": "disabled", "expires_at": 10.0}, {"state": "clipped", "expires_at": None}, False),
        ({"ignored": True, "expires_at": 10.0}, {"ignored": False}, True),
        ({"ignored": True, "expires_at": 10.0}, {"ignored": True, "expires_at": None}, False),
        ({"mutate_interval": "45m"}, None, False),
    ],
)
def test_what_ended_by_itself_was_changed_by_nobody(
    left: dict[str, Any], now: dict[str, Any] | None, same: bool
) -> None:
    assert (changed_since(left, now) == "") is same


def entry(**over: Any) -> dict[str, Any]:
    base = {"id": 1, "operator": "eve", "kind": "rule.state", "target": "R1", "what": "x", "outcome": "verified",
            "before": {"state": "enabled"}, "after": {"state": "disabled"}, "undoes": None}  # fmt: skip
    return {**base, **over}


@pytest.mark.parametrize(
    "kind",
    ["worker.control", "deadletter.retry", "note", "decky.mutate", "rule.backfill", "fleet.apply"],
)  # fmt: skip
def test_what_has_no_way_back_says_so(kind: str) -> None:
    assert undo.undoable(entry(kind=kind)) == "nothing takes it back"


def test_a_row_is_undone_by_its_own_operator_once_and_only_when_it_was_applied() -> None:
    assert undo.undoable(entry()) == ""
    assert undo.undoable(entry(outcome="NOT APPLIED")) == "it was not applied"
    assert "not known" in undo.undoable(entry(before=None))
    assert undo.undoable(entry(operator=journal.NOBODY)) == "it came by itself"
    older, newer = entry(id=1), entry(id=2)
    assert undo.last_undoable([newer, older], "eve") is newer
    assert undo.last_undoable([entry(id=3, undoes=2), newer, older], "eve") is older
    assert undo.last_undoable([entry(id=2, outcome="NOT APPLIED"), older], "eve") is older
    assert undo.last_undoable([newer], "bob") is None


def test_undoing_a_state_that_would_be_over_by_now_gives_the_rules_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from decnet_tui.actions import rules

    monkeypatch.setattr(rules, "time", SimpleNamespace(time=lambda: NOW))
    former = {"state": "clipped", "confidence_max": 0.4, "expires_at": NOW, "reason": "r"}
    over = undo.undo_of(entry(before=former)).after()
    assert over == {"state": "enabled", "confidence_max": None, "expires_at": None, "reason": None}
    still = {**former, "expires_at": NOW + 0.1}
    assert undo.undo_of(entry(before=still)).after() == still
