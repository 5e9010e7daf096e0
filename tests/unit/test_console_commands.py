"""What the console's commands refuse before any form opens, and what they hand to the form."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.config import Settings
from decnet.errors import DatabaseError
from decnet.ids import identity_id
from decnet_tui.actions.forms import Form, PlainForm
from decnet_tui.actions.rule_form import RuleForm
from decnet_tui.actions.workers import LetterRetry, WorkerForm
from decnet_tui.app import DecnetApp
from decnet_tui.commands import alerts, changing, fleet, hunting, leaving
from decnet_tui.launch.demo import demo_settings
from decnet_tui.model.feed import Feed
from decnet_tui.model.scope import scope_of
from decnet_tui.screens.session import SessionLevel
from decnet_tui.screens.traffic import TrafficView, sparkline
from decnet_tui.widgets.strips import PLAIN, fit, spread, strip_of
from tests.consolekit import FakeSession
from tests.fuzzkit import FORMATS, SEQUENCES, obeyed

NOW = 1_700_000_000.0


class Console:
    """The app as commands see it: views by class, the feed, what is said and proposed."""

    def __init__(self, **views: Any) -> None:
        self.feed, self.settings, self.session = Feed(), Settings(), FakeSession()
        self.said: list[tuple[str, bool]] = []
        self.proposed: list[Form] = []
        self.questions: list[Any] = []
        self.ended: list[str] = []
        self.desk = SimpleNamespace(
            once_loaded=lambda view, then: True, refused=lambda said, typed: self.said.append((said, False))
        )
        self.shown = SimpleNamespace(
            current=None, chosen=None, letters=[], rule=lambda rule_id: None, fired_recently=lambda rule_id: 3,
            find=lambda name: None, named=lambda text: None, decoy=lambda name: None, decoy_here=None, record=dict,
            actor=lambda: None, **views,
        )  # fmt: skip
        self.view: Any = self.shown

    def view_of(self, _: type) -> Any:
        return self.shown

    def say(self, text: str, *, bad: bool = False, good: bool = False) -> None:
        self.said.append((text, bad))

    def propose(self, form: Form) -> None:
        self.proposed.append(form)

    def ask(self, question: Any) -> None:
        self.questions.append(question)

    def now(self) -> float:
        return NOW

    def work(self, job: Any, name: str, **_: Any) -> None:
        pytest.fail(f"{name} is begun")

    def leave(self, result: str) -> None:
        self.ended.append(result)


def app(found: Console) -> Any:
    return found


ALERT = {"alert_id": "a1", "identity_uuid": "7c1e9a02", "attacker_uuids": [], "sides": [["s1", "s2"], ["s3"]], "standing": True,
         "verdict": None}  # fmt: skip


@pytest.mark.parametrize(
    ("verb", "state", "opens"),
    [("acknowledge", "open", True), ("acknowledge", "acknowledged", False), ("acknowledge", "resolved", False), ("resolve", "open", True),
     ("resolve", "acknowledged", True), ("resolve", "resolved", True), ("note", "resolved", True)],
)  # fmt: skip
def test_an_alert_is_only_asked_about_what_it_is_not_already(verb: str, state: str, opens: bool) -> None:
    console = Console()
    console.view = console.shown
    console.shown.chosen = {**ALERT, "state": state}
    alerts.handle(verb, app(console), "")
    assert bool(console.proposed) is opens
    assert bool(console.said) is not opens
    if verb == "resolve" and opens:
        again = "it is resolved now" if state == "resolved" else "its 3 sessions"
        assert again in console.proposed[0].effect()[0]


def test_an_alert_whose_evidence_is_gone_stays_resolved() -> None:
    console = Console()
    console.view = console.shown
    console.shown.chosen = {**ALERT, "state": "resolved", "standing": False}
    alerts.handle("resolve", app(console), "")
    assert not console.proposed
    assert "stands no more" in console.said[0][0]


def test_a_command_without_a_name_never_acts_on_a_row_that_is_hidden() -> None:
    """What is on the screen is meant: its own row, or what its line names."""
    console = Console()
    rule_row = {
        "rule_id": "R1",
        "name": "n",
        "state": "enabled",
        "error": None,
        "yaml": "emits: [{confidence: 0.5}]",
    }
    decoy = {"name": "web-01", "observed": ["ssh"]}
    alert = {**ALERT, "state": "open"}
    letter = SimpleNamespace(key=3, section="dead letters")
    console.shown.letters = [{"id": 3, "worker": "ttp", "topic": "a.b", "reason": "no"}]
    console.feed.add(Event("system.mutator.health", {"state": "ok"}, ts=NOW), now=NOW)
    cases: list[tuple[Any, str, Any, dict[str, Any]]] = [
        (partial(changing.rule, "D"), "current", rule_row, {"rule_id": "R1"}),
        (hunting.backfill, "current", rule_row, {"rule_id": "R1"}),
        (partial(alerts.handle, "resolve"), "chosen", alert, alert),
        (fleet.mutate, "decoy_here", decoy, {"decky_id": "web-01"}),
        (fleet.interval, "decoy_here", decoy, {"decky_id": "web-01"}),
        (changing.retry_letter, "current", letter, {}),
    ]
    for command, attribute, row, named in cases:
        setattr(console.shown, attribute, row)
        console.shown.find = console.shown.decoy = lambda name, row=row: row
        for record, proposes in (({}, False), (named, bool(named))):
            console.view = SimpleNamespace(record=lambda record=record: dict(record), actor=lambda: None)
            command(app(console), "")
            assert len(console.proposed) == proposes, (command, record)
            console.proposed.clear()
        console.view = console.shown
        command(app(console), "")
        assert len(console.proposed) == 1, command
        console.proposed.clear()
        setattr(console.shown, attribute, None)


def test_without_a_line_there_is_nothing_to_change() -> None:
    console = Console()
    for command in (
        partial(alerts.handle, "resolve"), partial(changing.rule, "D"), changing.worker, changing.retry_letter, fleet.mutate, fleet.interval,
        hunting.backfill,
    ):  # fmt: skip
        command(app(console), "")
        command(app(console), "none such")
    assert not console.proposed
    assert len(console.said) == 14


@pytest.mark.parametrize(
    ("state", "age", "opens"),
    [(None, 0, False), ("ok", 30.0, True), ("ok", 30.1, False), ("degraded", 0, True), ("paused", 0, False), ("failed", 0, False),
     ("starting", 0, False), ("stopped", 0, False)],
)  # fmt: skip
def test_a_rotation_is_refused_at_once_when_the_mutator_cannot_answer(
    state: str | None, age: float, opens: bool
) -> None:
    console = Console()
    console.shown.decoy_here = {"name": "web-01", "observed": ["ssh"]}
    if state == "degraded":
        console.feed.add(Event("system.mutator.health", {"degraded": "x"}, ts=NOW - age), now=NOW)
    elif state:
        console.feed.add(Event("system.mutator.health", {"state": state}, ts=NOW - age), now=NOW)
    fleet.mutate(app(console), "")
    assert bool(console.proposed) is opens
    if opens:
        assert console.proposed[0].change(NOW).wait_s == console.settings.mutator.apply_timeout_s
    else:
        text, bad = console.said[0]
        assert bad
        assert text.startswith(
            f"the mutator is {'unknown' if state is None else 'stale' if age > 30 else state}"
        )


def test_a_rule_that_never_loaded_has_no_form_and_words_go_into_its_fields() -> None:
    console = Console()
    row = {"rule_id": "R1", "name": "n", "state": "failed", "error": "bad", "yaml": ""}
    console.shown.rule = lambda rule_id: row if rule_id == "R1" else None
    changing.rule("D", app(console), "R1 1h why not")
    assert not console.proposed
    assert console.said[0][1]
    row |= {"state": "enabled", "error": "the new text is bad", "yaml": "emits: [{confidence: 0.5}]"}
    changing.rule("C", app(console), "R1 0.30 2h why not")
    (form,) = console.proposed
    assert isinstance(form, RuleForm)
    assert [field.value for field in form.fields] == ["0.30", "2h", "why not"]
    assert (form.fired, form.floor) == (3, console.settings.ttp.floor)


def test_the_bus_is_no_worker_that_one_could_steer() -> None:
    console = Console()
    for name in ("bus", "ttp"):
        console.feed.add(Event(f"system.{name}.health", {"state": "ok", "lag": 7}, ts=NOW), now=NOW)
    changing.worker(app(console), "bus stop")
    assert not console.proposed
    changing.worker(app(console), "ttp stop")
    (form,) = console.proposed
    assert isinstance(form, WorkerForm)
    assert form.value("action") == "stop"
    assert "7 events wait" in form.effect()[0]


def test_a_letter_is_tried_again_by_its_number() -> None:
    console = Console()
    console.shown.letters = [{"id": 3, "worker": "ttp", "topic": "a.b", "reason": "no"}]
    changing.retry_letter(app(console), "4")
    assert console.said == [("no dead letter 4", True)]
    changing.retry_letter(app(console), "3")
    (form,) = console.proposed
    assert isinstance(form, PlainForm)
    assert isinstance(form.change(NOW), LetterRetry)


class Journal:
    """A journal that is read, or not."""

    def __init__(self, rows: list[dict[str, Any]], error: Exception | None = None) -> None:
        self.rows, self.error = rows, error

    async def journal(self) -> list[dict[str, Any]]:
        if self.error is not None:
            raise self.error
        return self.rows


def row(**over: Any) -> dict[str, Any]:
    base = {"id": 1, "operator": "eve@console", "kind": "rule.state", "target": "R1", "what": "R1 off", "outcome": "verified",
            "before": {"state": "enabled"}, "after": {"state": "disabled", "expires_at": NOW}, "undoes": None}  # fmt: skip
    return {**base, **over}


@pytest.mark.parametrize(
    ("rows", "wanted", "said"),
    [
        ([row()], "", ""), ([row()], "1", ""), ([row()], "2", "no change 2"), ([row(operator="bob@console")], "", "you have changed nothing"),
        ([row(operator="bob@console")], "1", ""), ([row(kind="worker.control")], "1", "cannot be undone"),
        ([row(outcome="NOT APPLIED")], "1", "it was not applied"), ([], "", "you have changed nothing"),
    ],
)  # fmt: skip
async def test_undo_takes_back_the_own_last_change_or_the_line_that_was_named(
    rows: list[dict[str, Any]], wanted: str, said: str
) -> None:
    console = Console()
    console.session.repo = Journal(rows)
    await changing._undo(app(console), wanted)
    if said:
        assert said in console.said[0][0]
        assert not console.proposed
    else:
        (form,) = console.proposed
        assert form.effect() == ["from state disabled  until 2023-11-14 22:13:20Z", "back to state enabled"]
        assert form.change(NOW).undoes == 1


async def test_undo_without_a_journal_says_so() -> None:
    console = Console()
    await changing._undo(app(console), "")
    console.session.repo = Journal([], DatabaseError("gone"))
    await changing._undo(app(console), "")
    assert console.said == [
        ("without a database there is no journal to undo from", True),
        ("the journal cannot be read: gone", True),
    ]
    assert not console.proposed


@pytest.mark.parametrize(
    ("inside", "demo", "asks", "answers"), [(False, False, False, ""), (True, True, True, "y"), (True, False, True, "yh")]
)  # fmt: skip
def test_leaving_asks_only_when_the_engine_goes_too(
    inside: bool, demo: bool, asks: bool, answers: str
) -> None:
    console = Console()
    console.session.engine_inside, console.session.demo = inside, demo
    leaving.quit_console(app(console), "")
    assert (bool(console.questions), bool(console.ended)) == (asks, not asks)
    if asks:
        (question,) = console.questions
        assert question.confirm
        assert question.answers == answers
        question.done(False, "n")
        assert not console.ended
        question.done(True, "y")
        assert console.ended


# --- the app itself


def real() -> DecnetApp:
    found = DecnetApp(Settings(), session=FakeSession())
    found.repaint = lambda: None  # type: ignore[method-assign]
    return found


def test_news_are_said_once_and_the_bell_rings_only_when_it_is_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for wanted in (False, True):
        found, said, rung = real(), [], []
        monkeypatch.setattr(found, "say", lambda text, said=said, **how: said.append((text, how)))
        monkeypatch.setattr(found, "bell", lambda rung=rung: rung.append(1))
        found.settings = found.settings.model_copy(
            update={"console": found.settings.console.model_copy(update={"bell": wanted})}
        )
        found.feed.notices += ["first", "last"]
        found._take_news()
        found._take_news()
        assert said == [("last", {"bad": True})]
        assert len(rung) == wanted


def test_a_merge_keeps_whom_one_follows_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    found, said = real(), []
    monkeypatch.setattr(found, "say", lambda text, **_: said.append(text))
    found.feed.merges.append(("w", "l"))
    found._take_news()
    assert (found.following.scope, said) == (None, [])
    found.following.follow(scope_of({"attacker_uuid": "a", "identity_uuid": "l"}))
    found.feed.merges += [("x", "y"), ("winner-1234", "l")]
    said.clear()
    found._take_news()
    assert found.following.scope is not None
    assert found.following.scope.names == {"a", "l", "winner-1234"}
    assert said[-1] == "l was merged into winner-1: following both"
    assert all(view.scope is found.following.scope for view in found.views.values())
    assert not found.feed.merges


def test_a_parting_leaves_those_whom_one_followed_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    found, said = real(), []
    monkeypatch.setattr(found, "say", lambda text, **_: said.append(text))
    own = identity_id("a")
    found.feed.partings.append((own, "w"))
    found._take_news()
    assert (found.following.scope, said) == (None, [])
    for row in ({"attacker_uuid": "a"}, {"attacker_uuid": "a", "identity_uuid": "w"}):
        found.following.follow(scope_of(row))
        found.feed.merges.append(("w", own))
        found._take_news()
        found.feed.partings += [("x", "y"), (own, "w")]
        found._take_news()
        assert found.following.scope is not None
        assert found.following.scope.names == {"a", own}, "whether it was merged before or after"
        assert said[-1].startswith(f"{own[:8]} is no longer one with w: following ")
    found.following.follow(scope_of({"attacker_uuid": "a"}))
    found.feed.merges.append((own, "l"))
    found.feed.partings.append(("l", own))
    found._take_news()
    assert found.following.scope is not None
    assert found.following.scope.names == {"a", own}
    assert all(view.scope is found.following.scope for view in found.views.values())


def test_a_message_is_visible_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    found, shown = real(), []
    monkeypatch.setattr(found, "_lines", lambda id: SimpleNamespace(show=shown.append))
    found.say("".join((*SEQUENCES, *FORMATS)) * 5)
    ((text, _),) = shown[0]
    assert not obeyed(text)
    assert len(text) == 400


# --- strips, traffic, sessions


@pytest.mark.parametrize("width", [0, 1, 5, 40])
def test_a_strip_is_as_wide_as_it_is_asked_to_be_and_styled(width: int) -> None:
    for text in ("", "abc", "漢字漢字", "x" * 100, "".join(SEQUENCES)):
        strip = strip_of([(text, PLAIN)], width)
        assert strip.cell_length == width
        assert not obeyed(strip.text)
        assert all(segment.style is not None for segment in strip)


def test_what_stands_at_the_left_gives_way() -> None:
    left, right = [("a" * 30, PLAIN)], [("right", PLAIN)]
    for width in (6, 10, 40):
        text = "".join(part for part, _ in spread(left, right, width))
        assert len(text) == max(width, 6)
        assert text.endswith("right")
    assert (fit("abc", 5), fit("abcdef", 5), fit("abcde", 5)) == ("abc  ", "abcd…", "abcde")


def test_the_rate_has_a_bar_for_any_event_at_all() -> None:
    feed = Feed()
    feed.rates.slots.extend([0, 1, 100, 50])
    bars = sparkline(feed.rates, 4)
    assert bars[0] == " "
    assert " " not in bars[1:]
    assert len(sparkline(feed.rates, 10)) == 10


def test_traffic_that_cannot_be_read_is_shown_as_it_came() -> None:
    feed = Feed()
    view = TrafficView(feed)
    assert (view.detail(), view.copy_text(), view.record(), view.records(), view.detail_key()) == (
        [],
        "",
        {},
        [],
        None,
    )
    feed._append(NOW, "a.b", "-", "x", b"{\xff")
    feed._append(NOW, "a.b", "-", "x", b'["no mapping"]')
    feed.add_gap(5, NOW)
    view.sync(NOW)
    view.move(-100, 10)
    assert view.detail() == ["{\ufffd"]
    assert view.record() == {}
    view.move(1, 10)
    assert view.record() == {}
    assert len(view.records()) == 2, "the gap is no event"


def test_a_demo_takes_its_directory_along_unless_it_was_given(tmp_path: Path) -> None:
    with demo_settings(Settings()) as played:
        place = played.data_dir
        assert place.is_dir()
    assert not place.exists()
    places: list[Path] = []

    def fail() -> None:
        with demo_settings(Settings()) as played:
            places.append(played.data_dir)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not places[0].exists()
    with demo_settings(Settings(data_dir=tmp_path)) as played:
        assert played.data_dir == tmp_path
    assert tmp_path.exists()


def test_before_a_session_is_read_nobody_says_that_it_has_no_recording() -> None:
    level = SessionLevel(Feed(), "s1")
    for known, said in ((None, "w: play"), (True, "w: play"), (False, "no recording")):
        level.has_recording = known
        assert level.about().endswith(said)
