"""Feed, filter, form and keys: plain data."""

from __future__ import annotations

import pytest

from decnet.bus.base import Event
from decnet_tui.actions.forms import parse_duration
from decnet_tui.actions.rule_form import RuleForm
from decnet_tui.actions.rules import RuleChange
from decnet_tui.commands import COMMANDS
from decnet_tui.keymap import Keys, problems
from decnet_tui.model.access import RuleRow
from decnet_tui.model.feed import KNOWN_ROOTS, KNOWN_RULES, Feed
from decnet_tui.model.filters import FilterError, parse_filter
from decnet_tui.screens.traffic import TrafficView
from decnet_tui.widgets.clipboard import MAX_BYTES, osc52
from tests.consolekit import use_usual_keys

NOW = 1_700_000_000.0


@pytest.fixture(autouse=True)
def _usual_keys() -> None:
    use_usual_keys()


def row(**over: object) -> RuleRow:
    base: RuleRow = {
        "rule_id": "R0001",
        "name": "n",
        "state": "enabled",
        "confidence_max": None,
        "expires_at": None,
        "yaml": "emits:\n  - {confidence: 0.85}\n",
    }
    return {**base, **over}  # type: ignore[typeddict-item]


def health(worker: str, ts: float, **payload: object) -> Event:
    return Event(f"system.{worker}.health", {"worker": worker, "state": "ok", **payload}, ts=ts)


def test_what_a_remote_sensor_says_is_shown_once_it_was_taken() -> None:
    feed = Feed()
    feed.add(Event("sensor.east.attacker.observed", {}), now=NOW)
    feed.add(Event("attacker.observed", {}), now=NOW)
    assert [row.topic for row in feed.ring] == ["attacker.observed"]


def test_ring_is_bounded_and_numbers_go_on() -> None:
    feed = Feed(ring=100)
    for _ in range(250):
        feed.add(Event("attacker.observed", {}), now=NOW)
    assert (len(feed.ring), feed.total, feed.first_seq) == (100, 250, 150)
    assert [r.seq for r in feed.since(248)] == [248, 249]


def test_worker_is_stale_after_three_missed_beats() -> None:
    feed = Feed(heartbeat_s=10)
    feed.add(health("ttp", NOW), now=NOW)
    assert feed.workers["ttp"].status(NOW + 30, 10) == "ok"
    assert feed.workers["ttp"].status(NOW + 31, 10) == "stale"
    feed.add(health("ttp", NOW + 40, degraded="no rules loaded"), now=NOW + 40)
    assert feed.workers["ttp"].status(NOW + 41, 10) == "degraded"
    assert feed.worker_counts(NOW + 41) == (0, 1)


def test_an_older_heartbeat_from_the_database_does_not_win() -> None:
    feed = Feed()
    feed.add(health("ttp", NOW), now=NOW)
    feed.load_heartbeats([{"worker": "ttp", "payload": {"state": "failed"}, "ts": NOW - 5}])
    assert feed.workers["ttp"].status(NOW, 10) == "ok"


def test_a_clock_that_was_set_back_does_not_freeze_a_worker() -> None:
    """Its last beat seems to be from the future: it is no news, and the next one counts."""
    feed = Feed(heartbeat_s=10)
    feed.add(health("ttp", NOW), now=NOW)
    assert feed.workers["ttp"].status(NOW - 600, 10) == "ok"
    assert feed.workers["ttp"].status(NOW - 601, 10) == "stale"
    feed.add(health("ttp", NOW - 600, degraded="x"), now=NOW - 600)
    assert feed.workers["ttp"].seen_at == NOW, "an older beat, as far as anybody can tell"
    feed.add(health("ttp", NOW - 3600, degraded="x"), now=NOW - 3600)
    assert feed.workers["ttp"].status(NOW - 3599, 10) == "degraded"


def test_a_rule_that_comes_back_by_itself_is_told_once_and_never_from_the_past() -> None:
    feed = Feed()
    back = Event("ttp.rule.state.R0001", {"state": "enabled", "auto_revert": True})
    feed.add(back, now=NOW, live=False)
    feed.add(Event("ttp.rule.state.R0002", {"state": "disabled", "auto_revert": False}), now=NOW)
    assert not feed.notices
    feed.add(back, now=NOW)
    assert list(feed.notices) == ["R0001 is enabled again: its time is over  (8 shows it)"]


def test_a_changed_rule_offers_to_judge_the_past_by_it() -> None:
    feed = Feed()
    changed = Event("ttp.rule.reloaded.R0001", {"rule_id": "R0001", "rule_version": 2, "deleted": False})
    feed.add(changed, now=NOW, live=False)
    feed.add(Event("ttp.rule.reloaded.R0002", {"rule_id": "R0002", "deleted": True}), now=NOW)
    assert not feed.notices
    feed.add(changed, now=NOW)
    assert list(feed.notices) == ["R0001 was changed: B on it in view 4 judges the past by it"]


def test_address_is_remembered_for_events_that_name_the_attacker_by_id() -> None:
    feed = Feed()
    feed.add(Event("attacker.observed", {"attacker_uuid": "a", "attacker_ip": "203.0.113.7"}), now=NOW)
    feed.add(Event("credential.captured", {"attacker_uuid": "a"}), now=NOW)
    assert feed.ring[-1].source == "203.0.113.7"


def test_names_from_the_bus_are_bounded_and_the_newest_rules_stay() -> None:
    feed = Feed()
    for n in range(KNOWN_RULES + 50):
        feed.add(Event(f"root{n}.x", {}, "", f"r{n}", 1.0))
        feed.add(Event(f"ttp.rule.state.R{n}", {"state": "disabled"}, "", f"s{n}", 1.0))
    assert len(feed.by_root) == len(feed.root_rates) == KNOWN_ROOTS
    assert feed.by_root["ttp"] == KNOWN_RULES + 50
    assert len(feed.rule_news) == KNOWN_RULES
    assert f"R{KNOWN_RULES + 49}" in feed.rule_news


def test_rates_roll_over_silent_seconds() -> None:
    feed = Feed()
    for _ in range(5):
        feed.add(Event("attacker.observed", {}), now=NOW)
    feed.rates.roll(NOW + 1)
    assert (feed.rates.per_second, feed.rates.peak) == (5, 5)
    feed.rates.roll(NOW + 3)
    assert (feed.rates.per_second, feed.rates.peak) == (0, 5)


@pytest.mark.parametrize(
    ("text", "topic", "shown"),
    [
        ("", "system.ttp.health", True),
        ("> -system.>", "system.ttp.health", False),
        ("> -system.>", "ttp.tagged", True),
        ("+ttp.>,-ttp.tagged", "ttp.tagged", False),
        ("ttp.rule", "ttp.rule.fired.T1105", True),
        ("203.0.113.7", "ttp.tagged", True),
        ("-203.0.113.7", "ttp.tagged", False),
        ("WGET", "ttp.tagged", True),
        ("wget nothing", "ttp.tagged", False),
    ],
)
def test_filter(text: str, topic: str, shown: bool) -> None:
    assert parse_filter(text).shows(topic, "203.0.113.7", "wget x") is shown


@pytest.mark.parametrize("text", ["ttp..x", "ttp.>.x", "nosuch.>", "-", "+", "ttp.a*"])
def test_filter_errors_name_the_part(text: str) -> None:
    with pytest.raises(FilterError, match=r"\w"):
        parse_filter(text)


def test_paused_view_stands_still_while_the_ring_is_overwritten() -> None:
    feed = Feed(ring=100)
    view = TrafficView(feed)
    for i in range(50):
        feed.add(Event("ttp.tagged", {"n": i}), now=NOW)
    view.sync(NOW)
    view.pause()
    before = [view.line(i, 80) for i in range(view.count())]
    for _ in range(1000):
        feed.add(Event("ttp.tagged", {}), now=NOW)
    assert view.sync(NOW) is False
    assert [view.line(i, 80) for i in range(view.count())] == before
    assert "+1000 new" in view.status()[0]
    view.pause()
    assert view.count() == 100


def test_cursor_stays_on_its_event_while_the_ring_moves() -> None:
    feed = Feed(ring=100)
    view = TrafficView(feed)
    for i in range(100):
        feed.add(Event("ttp.tagged", {"n": i}), now=NOW)
    view.sync(NOW)
    view.move(-10, 20)
    at = view.detail_key()
    for _ in range(30):
        feed.add(Event("ttp.tagged", {}), now=NOW)
    view.sync(NOW)
    assert view.detail_key() == at


@pytest.mark.parametrize(
    ("text", "seconds"), [("5s", 5), ("1h30m", 5400), ("2d", 172_800), ("forever", None)]
)
def test_durations(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "h", "-1h", "0s", "1y", "99999999d"])
def test_bad_durations(text: str) -> None:
    with pytest.raises(ValueError, match=r"dur|how long"):
        parse_duration(text)


def test_clip_above_the_base_is_refused() -> None:
    form = RuleForm(row(), "C")
    assert form.value("max") == "0.80"
    for key in "0.9":
        form.key(key, key)
    form.key("enter", None)
    assert form.step == "edit"
    assert "0.85" in form.error


def test_a_paste_never_confirms() -> None:
    form = RuleForm(row(), "D")
    form.key("enter", None)
    form.paste("y")
    assert form.step == "confirm"
    assert form.key("x", "x") == "cancel"


def test_change_agrees_only_with_what_was_sent() -> None:
    change = RuleChange("R0001", "disabled", None, NOW, None)
    assert change.agrees(row(state="disabled", expires_at=NOW))
    assert not change.agrees(row(state="disabled", expires_at=None))
    assert not change.agrees(row())


def test_keymap_has_no_clash_and_reports_one() -> None:
    assert problems(COMMANDS, {}) == []
    assert problems(COMMANDS, {"pause": "f"}) == ["keymap: f is bound to pause and tail"]
    assert "unknown action" in problems(COMMANDS, {"nosuch": "x"})[0]
    assert "cannot be used" in problems(COMMANDS, {"pause": "ctrl+a"})[0]


@pytest.mark.parametrize("view", ["traffic", "rules", "workers", "help"])
def test_footer_fits_80_columns(view: str) -> None:
    assert len(Keys(COMMANDS).footer(view)) <= 80


def test_a_command_that_does_nothing_here_gives_its_room_in_the_footer_to_others() -> None:
    line = Keys(COMMANDS).footer("rules", 60, lambda command: not command.id.startswith("rule."))
    assert line == "/ filter  F follow  : cmd  p pause  Enter open  ? help"


def test_copy_is_capped_and_wrapped_for_tmux() -> None:
    assert len(osc52("x" * 10_000_000, tmux=False)) < MAX_BYTES * 2
    assert osc52("\x1b]", tmux=True).startswith("\x1bPtmux;\x1b\x1b]52;c;")
