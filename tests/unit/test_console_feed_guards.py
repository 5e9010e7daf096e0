"""The feed at its limits: what is kept and counted of events that anybody may name, and what of it is shown."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.ids import attacker_id
from decnet_tui.launch.plain import PlainReader
from decnet_tui.model import feed as feeds
from decnet_tui.model.event_text import LIMIT, SOURCE_LIMIT, short, source_of, summarise
from decnet_tui.model.feed import (
    DEEP,
    KNOWN_MUTATIONS,
    KNOWN_ROOTS,
    KNOWN_RULES,
    KNOWN_WORKERS,
    RATE_SECONDS,
    Feed,
    Rates,
)
from decnet_tui.model.words import clock, count_short, span
from decnet_tui.screens.header import Badges, health_line, shown_line, strip_lines, views_line
from decnet_tui.screens.traffic import TrafficView
from decnet_tui.screens.workers import WorkersView
from decnet_tui.widgets import glyphs
from decnet_tui.widgets.strips import strip_of
from tests.consolekit import use_usual_keys
from tests.fuzzkit import CONTROLS, FORMATS, MARKUP, SEQUENCES, obeyed

NOW = 1_700_000_000.0


@pytest.fixture(autouse=True)
def _usual_keys() -> None:
    use_usual_keys()


PARTS = tuple(
    dict.fromkeys(
        part for part in (*CONTROLS, *SEQUENCES, *FORMATS, *MARKUP, "\ud800") if part not in (".", "")
    )
)
ROOTS = (
    "attacker.{}", "{}.x", "ttp.rule.state.{}", "ttp.rule.reloaded.{}", "system.{}.health", "system.deadletter.{}",
    "decky.{}.mutation", "canary.{}.triggered", "attribution.profile.{}",
)  # fmt: skip


class Connection:
    """A connection that stands."""

    live = True
    retries = 0


@pytest.fixture(autouse=True)
def unicode_glyphs() -> Any:
    """Without stand-ins for what is not ASCII, which would hide a character that was let through."""
    glyphs.use("unicode", {})
    yield
    glyphs.use("ascii", {})


@pytest.mark.parametrize("shape", ROOTS)
def test_a_topic_is_shown_as_visible_text_wherever_it_stands(shape: str) -> None:
    """Topics come from subjects, and those from whoever may publish."""
    feed = Feed()
    traffic, workers = TrafficView(feed), WorkersView(feed)
    reader = PlainReader(feed, Connection(), "host\x1b[2J")  # type: ignore[arg-type]
    for part in PARTS:
        topic = shape.format(part)
        feed.add(Event(topic, {"auto_revert": True, "worker": part, "state": part}, ts=NOW), now=NOW)
        row = feed.ring[-1]
        assert not obeyed(row.topic + row.source + row.summary), topic
        assert "\u202e" not in row.topic
    shown: list[str] = []
    traffic.set_filter("")
    traffic.sync(NOW)
    workers.sync(NOW)
    shown += [strip_of(traffic.line(i, 119), 120).text for i in range(traffic.count())]
    shown += [strip_of(workers.line(i, 119), 120).text for i in range(workers.count())]
    shown += [strip_of(line, 120).text for line in strip_lines(feed, NOW, 120)]
    shown += reader.lines(NOW)
    assert traffic.count() == len(PARTS)
    assert not obeyed("".join(shown))


def test_a_right_to_left_override_in_a_topic_is_written_out() -> None:
    feed = Feed()
    feed.add(Event("attacker.\u202eobserved\x9b2J", {}), now=NOW)
    assert feed.ring[-1].topic == "attacker.\\u202eobserved\\x9b2J"
    feed.add(Event("a." + "b" * 300, {}), now=NOW)
    assert len(feed.ring[-1].topic) == 255


@pytest.mark.parametrize("count", [9, 10, 11, 25])
def test_the_ring_holds_as_many_as_it_says(count: int) -> None:
    feed = Feed(ring=10)
    for n in range(count):
        feed.add(Event("a.b", {"n": n}), now=NOW)
    held = min(count, 10)
    assert (len(feed.ring), feed.total, feed.first_seq) == (held, count, count - held)
    assert [row.seq for row in feed.since(0)] == list(range(count - held, count))
    assert [row.seq for row in feed.since(count - 1)] == [count - 1]
    assert feed.since(count) == feed.since(count + 1) == []


def test_known_workers_stay_up_to_date_when_there_is_no_room_for_others() -> None:
    feed = Feed()
    for n in range(KNOWN_WORKERS + 1):
        feed.add(Event(f"system.w{n}.health", {"state": "ok"}, ts=NOW), now=NOW)
    assert len(feed.workers) == KNOWN_WORKERS
    assert f"w{KNOWN_WORKERS - 1}" in feed.workers
    feed.add(Event("system.w0.health", {"state": "failed"}, ts=NOW + 1), now=NOW + 1)
    assert feed.workers["w0"].payload["state"] == "failed"


def test_mutations_are_known_by_their_request_and_the_oldest_leaves() -> None:
    feed = Feed()
    for n in range(KNOWN_MUTATIONS):
        feed.add(Event("decky.w.mutation", {"request_id": f"r{n}"}), now=NOW)
    assert (len(feed.mutations), "r0" in feed.mutations) == (KNOWN_MUTATIONS, True)
    feed.add(Event("decky.w.mutation", {"request_id": "x" * 500}), now=NOW)
    assert (len(feed.mutations), "r0" in feed.mutations) == (KNOWN_MUTATIONS, False)
    assert "x" * 128 in feed.mutations
    for payload in ({"request_id": 7}, {}):
        feed.add(Event("decky.w.mutation", payload), now=NOW)
    feed.add(Event("decky.w.state", {"request_id": "state"}), now=NOW)
    assert len(feed.mutations) == KNOWN_MUTATIONS
    assert "state" not in feed.mutations


def test_news_of_rules_are_bounded_and_a_rule_that_speaks_again_is_the_newest() -> None:
    feed = Feed()
    for n in range(KNOWN_RULES):
        feed.add(Event(f"ttp.rule.state.R{n}", {"state": "disabled"}), now=NOW)
    feed.add(Event("ttp.rule.state.R0", {"state": "enabled"}), now=NOW + 1)
    feed.add(Event("ttp.rule.state.new", {"state": "enabled"}), now=NOW + 2)
    assert len(feed.rule_news) == KNOWN_RULES
    assert "R0" in feed.rule_news
    assert "R1" not in feed.rule_news
    assert feed.rule_news["R0"] == (NOW + 1, {"state": "enabled"})
    assert feed.rules_version == KNOWN_RULES + 2


def test_families_of_topics_are_bounded_and_known_ones_go_on_counting() -> None:
    feed = Feed()
    for n in range(KNOWN_ROOTS + 1):
        feed.add(Event(f"r{n}.x", {}), now=NOW)
    assert (len(feed.by_root), len(feed.root_rates)) == (KNOWN_ROOTS, KNOWN_ROOTS)
    feed.add(Event("r0.x", {}), now=NOW)
    feed.add(Event(f"r{KNOWN_ROOTS}.x", {}), now=NOW)
    assert (feed.by_root["r0"], f"r{KNOWN_ROOTS}" in feed.by_root) == (2, False)
    assert feed.root_rates["r0"].current == 2


def test_addresses_are_remembered_up_to_a_number_and_made_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "KNOWN_IPS", 2)
    feed = Feed()
    feed.load_addresses([{"attacker_uuid": f"u{n}", "attacker_ip": f"192.0.2.{n}\x1b"} for n in range(3)])
    assert feed.address_of("u1") == "192.0.2.1\\e"
    assert feed.address_of("u2") is None
    for wrong in ({"attacker_uuid": 1, "attacker_ip": "x"}, {"attacker_uuid": "u", "attacker_ip": 1}):
        Feed().load_addresses([wrong])
    assert feed.address_of(["u0"]) is None


def test_letters_merges_and_notices_keep_the_newest() -> None:
    feed = Feed()
    for n in range(201):
        feed.add(Event("system.deadletter.ttp", {"n": n}), now=NOW + n)
        feed.add(Event("identity.merged", {"winner_uuid": f"w{n}", "loser_uuid": "l"}), now=NOW)
        feed.add(Event("attribution.profile.multi_actor_suspected", {"confidence": n}), now=NOW)
    assert (len(feed.dead_letters), len(feed.merges), len(feed.notices)) == (200, 200, 20)
    assert feed.dead_letters[0] == (NOW + 1, {"n": 1, "worker": "ttp"})
    assert feed.merges[-1] == ("w200", "l")
    assert "confidence 200.00" in feed.notices[-1]


def test_an_alert_is_told_when_it_comes_and_not_when_it_is_read_back() -> None:
    feed = Feed()
    alert = Event(
        "attribution.profile.multi_actor_suspected", {"attacker_ip": "192.0.2.1", "confidence": "x"}
    )
    feed.add(alert, live=False, now=NOW)
    assert not feed.notices
    feed.add(alert, now=NOW)
    assert list(feed.notices) == ["multi-actor alert: 192.0.2.1 confidence ?  (2 shows it)"]
    feed.add(Event("ttp.rule.state.R1", {"auto_revert": True}), now=NOW)
    assert "multi-actor" in feed.notices[-1], "the alert is what is shown"


def test_events_of_the_past_make_no_rate() -> None:
    feed = Feed()
    feed.add(Event("a.b", {}), live=False, now=NOW)
    assert (feed.rates.current, feed.root_rates, feed.by_root["a"]) == (0, {}, 1)


def test_a_heartbeat_from_the_future_counts_from_now_and_an_equal_one_wins() -> None:
    feed = Feed()
    feed.add(Event("system.ttp.health", {"state": "ok"}, ts=NOW + 900), now=NOW)
    assert feed.workers["ttp"].seen_at == NOW
    feed.add(Event("system.ttp.health", {"state": "failed"}, ts=NOW), now=NOW)
    assert feed.workers["ttp"].payload["state"] == "failed"
    feed.add(Event("system.ttp.health", {"state": "ok"}, ts=NOW - 0.1), now=NOW)
    assert feed.workers["ttp"].payload["state"] == "failed"
    assert feed.workers_version == 2
    for topic in ("system.ttp.health.x", "system.ttp", "system.ttp.control", "x.ttp.health"):
        feed.add(Event(topic, {"state": "paused"}, ts=NOW + 1), now=NOW + 1)
    assert feed.workers["ttp"].payload["state"] == "failed"


@pytest.mark.parametrize(
    ("said", "kept"), [(NOW, NOW), (0, 0), (1e15, None), (-1e15, None), (math.inf, None), ("x", None), ([], None), (None, None)]
)  # fmt: skip
def test_the_time_in_a_heartbeat_is_a_time_or_nothing(said: Any, kept: Any) -> None:
    feed = Feed()
    feed.add(Event("system.ttp.health", {"ts": said}, ts=NOW), now=NOW)
    assert feed.workers["ttp"].payload["ts"] == kept


@pytest.mark.parametrize(
    ("payload", "age", "status"),
    [
        ({}, 30.0, "ok"), ({}, 30.01, "stale"), ({"state": "paused"}, 30.0, "paused"), ({"state": "paused"}, 31.0, "stale"),
        ({"state": "stopped"}, 9e9, "stopped"), ({"state": "odd"}, 0.0, "odd"), ({"state": "locked"}, 0.0, "locked"), ({"state": "ok", "degraded": "x"}, 0.0, "degraded"),
        ({"state": "failed", "degraded": "x"}, 0.0, "failed"), ({"state": "waiting_for_bus"}, 0.0, "waiting_for_bus"),
        ({"state": "waiting_for_rules"}, 0.0, "waiting_for_rules"), ({"state": "waiting_for_database"}, 0.0, "waiting_for_database"),
        ({"state": "starting"}, 0.0, "starting"), ({"state": "stopping"}, 0.0, "stopping"),
    ],
)  # fmt: skip
def test_the_state_of_a_worker_and_when_it_is_stale(payload: Any, age: float, status: str) -> None:
    feed = Feed(heartbeat_s=10.0)
    feed.add(Event("system.ttp.health", payload, ts=NOW), now=NOW)
    assert feed.workers["ttp"].status(NOW + age, 10.0) == status
    assert feed.worker_counts(NOW + age) == (int(status == "ok"), 1)
    assert feed.workers["ttp"].age(NOW - 5) == 0.0


def test_bus_and_database_are_no_workers_and_silent_sensors_are_counted() -> None:
    feed = Feed()
    feed.add(Event("system.bus.health", {"state": "failed"}, ts=NOW), now=NOW)
    feed.add(Event("system.database.health", {"state": "locked"}, ts=NOW), now=NOW)
    assert feed.worker_counts(NOW) == (0, 0)
    rows = [{"state": "ok"}, {"state": None}, {"state": "missing"}, {"state": "silent"}, "odd", 7]
    feed.add(Event("system.sensors.health", {"sensors": rows}, ts=NOW), now=NOW)
    assert (len(feed.sensors()), feed.silent_sensors()) == (4, 2)
    assert Feed().sensors() == []


def test_stored_heartbeats_without_a_name_or_a_body_are_none() -> None:
    feed = Feed()
    feed.load_heartbeats(
        [
            {"worker": "ttp", "payload": "x", "ts": NOW},
            {"worker": "", "payload": {}, "ts": NOW},
            {"payload": {}},
        ]
    )
    assert not feed.workers
    feed.load_heartbeats([{"worker": "ttp", "payload": {}, "ts": None}])
    assert feed.workers["ttp"].seen_at == 0.0


def test_rates_close_one_slot_a_second_and_forget_after_a_minute() -> None:
    rates = Rates()
    for _ in range(7):
        rates.add(NOW)
    assert (rates.per_second, rates.current) == (0, 7)
    rates.roll(NOW + 0.99)
    assert rates.current == 7
    rates.roll(NOW + 1)
    assert (rates.per_second, rates.current, rates.peak) == (7, 0, 7)
    rates.roll(NOW + 0.5)
    assert rates.per_second == 7, "a clock that goes back closes nothing"
    rates.roll(NOW + RATE_SECONDS)
    assert rates.peak == 7
    rates.roll(NOW + RATE_SECONDS + 1)
    assert rates.peak == 0
    rates.add(NOW + 2 * RATE_SECONDS)
    rates.roll(NOW + 10**9)
    assert (rates.peak, len(rates.slots)) == (0, RATE_SECONDS)


def test_a_name_is_given_to_events_that_had_none_and_to_no_other() -> None:
    feed = Feed()
    feed.add(Event("attacker.x", {"attacker_uuid": "u"}), now=NOW)
    feed.add(Event("attacker.x", {"attacker_uuid": "other"}), now=NOW)
    feed.add(Event("attacker.x", {"decky_id": "web"}), now=NOW)
    feed.load_addresses([{"attacker_uuid": "u", "attacker_ip": "192.0.2.1"}])
    assert feed.name_sources() == 1
    assert [row.source for row in feed.ring] == ["192.0.2.1", "at:other", "web"]
    assert feed.name_sources() == 0


def nest(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


def at_depth(frames: int, do: Callable[[], None]) -> None:
    """Does it deeper in the stack."""
    at_depth(frames - 1, do) if frames else do()


@pytest.mark.parametrize("levels", [DEEP - 1, DEEP, 900, 950, 970, 990, 5_000])
def test_a_payload_that_could_just_be_read_can_be_shown(levels: int) -> None:
    """One event of 950 levels, which a reader of JSON takes near the top of the stack, ended the console."""
    feed = Feed()
    view = TrafficView(feed)

    def show() -> None:
        feed.add(
            Event("a.b", {"v": nest(levels), "attacker_uuid": nest(levels), "w": {"x": 1}}, ts=NOW), now=NOW
        )
        view.sync(NOW)
        assert view.detail()
        assert view.record()["w"] == {"x": 1}
        feed.name_sources()

    at_depth(60, show)
    raw = json.loads(feed.ring[-1].raw)
    assert (raw["payload"]["v"] == nest(levels)) is (levels < DEEP)
    assert (raw["topic"], raw["ts"]) == ("a.b", NOW)


def test_many_values_side_by_side_are_not_deep() -> None:
    feed = Feed()
    payload = {"commands": [{"a": [n]} for n in range(500)]}
    feed.add(Event("a.b", payload), now=NOW)
    assert json.loads(feed.ring[-1].raw)["payload"] == payload


def test_an_event_that_is_no_json_is_kept_as_it_would_be_stored() -> None:
    feed = Feed()
    feed.add(Event("a.b", {"v": {"a": math.nan}}, ts=math.nan), now=NOW)
    assert json.loads(feed.ring[-1].raw)["payload"] == {"v": {"a": None}}
    assert feed.ring[-1].ts == 0.0
    feed.add_gap(12.4, NOW)
    assert feed.ring[-1].summary.startswith("--- connection lost for 12s")
    assert feed.ring[-1].topic == feeds.GAP_TOPIC


# --- what the header says of it


def line_text(line: Any) -> str:
    return "".join(text for text, _ in line)


def header(feed: Feed, link: Any, **over: Any) -> str:
    badges = Badges(**{"host": "sensor-01", "demo": False, "write_left": 0.0, **over})
    return line_text(health_line(feed, link, badges, NOW, 120))


class Down:
    """A connection that is gone."""

    live, retries = False, 3

    def down_for(self) -> float:
        return 12.0


class Connecting:
    live, retries = False, 0

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def down_for(self) -> float:
        return self.seconds


def test_the_header_says_what_was_lost_and_whether_anything_comes() -> None:
    feed = Feed()
    assert "LIVE 0/s lost 0" in header(feed, Connection())
    feed.lost = 42
    assert "LIVE 0/s lost 42" in header(feed, Connection())
    assert "DISCONNECTED 12s (retry 3) lost 42" in header(feed, Down())
    assert "connecting" in header(feed, Connecting(0.99))
    assert "DISCONNECTED 1s (retry 0)" in header(feed, Connecting(1.0))


def test_the_header_says_write_mode_alerts_sensors_and_whom_one_follows() -> None:
    feed = Feed()
    assert header(feed, Connection()).rstrip().endswith("RO  22:13:20Z")
    assert "RW 9s" in header(feed, Connection(), write_left=9.5)
    assert "ALERTS" not in header(feed, Connection())
    feed.alerts_open = 3
    rows = [{"state": "missing"}]
    feed.add(Event("system.sensors.health", {"sensors": rows}, ts=NOW), now=NOW)
    text = header(feed, Connection(), demo=True, follow="a\u202eb")
    assert "workers 1/1" in text
    assert "sensors 1" in text
    assert "ALERTS 3" in text
    assert "DEMO" in text
    assert "follow a\\u202eb" in text
    assert not obeyed(header(feed, Connection(), host="h\x1b[2J", follow="\x9b2J"))


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_the_head_fits_its_width_and_marks_the_view(width: int) -> None:
    view = TrafficView(Feed())
    assert len(line_text(views_line("traffic", width))) <= width
    assert "1*Traffic" in line_text(views_line("traffic", width)) or width < 80
    view.pause()
    assert "PAUSED" in line_text(shown_line(view, width))


# --- summaries and numbers


def test_summaries_and_sources_end_at_their_limits() -> None:
    long = "x" * 500
    assert len(summarise("new.topic", {"k": long, "l": long, "m": long, "n": long, "o": long})) == LIMIT
    assert len(source_of("a.b", {"attacker_ip": long}, {})) == SOURCE_LIMIT
    assert len(source_of("decky." + long + ".x", {}, {})) == SOURCE_LIMIT
    assert len(source_of("a.b", {"decky_id": long}, {})) == SOURCE_LIMIT
    assert source_of("a.b", {"attacker_uuid": "0123456789"}, {}) == "at:01234567"
    assert source_of("a.b", {"identity_uuid": "0123456789", "attacker_uuid": "u"}, {}) == "id:01234567"
    assert source_of("a.b", {"attacker_uuids": ["u", "v"]}, {"u": "192.0.2.1"}) == "192.0.2.1 +1"
    assert source_of("a.b", {"attacker_uuids": ["u"]}, {"u": "192.0.2.1"}) == "192.0.2.1"
    assert source_of("system.deadletter.ttp", {}, {}) == "ttp"
    assert short("\x1b23456789") == "\\e234567"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"), (0, "0s"), (99.9, "99s"), (100, "1m40s"), (5999, "99m59s"), (6000, "1h40m"), (359_999, "99h59m"), (360_000, "4d"),
        (1e300, "99999d"), (math.inf, "99999d"),
    ],
)  # fmt: skip
def test_a_duration_has_at_most_six_characters(seconds: float, text: str) -> None:
    assert span(seconds) == text
    assert len(text) <= 6


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (9999, "9999"), (10_000, "10k"), (999_499, "999k"), (1_000_000, "1M"), (1_000_000_000, "1G"), (1e300, "999G"),
     (-5000, "-999"), (math.nan, "?")],
)  # fmt: skip
def test_a_number_has_at_most_five_characters(value: float, text: str) -> None:
    assert count_short(value) == text
    assert len(text) <= 5


def test_a_moment_that_no_calendar_has_is_a_question() -> None:
    assert (clock(NOW), clock(NOW, "date"), clock(NOW - 5, "age", NOW)) == (
        "22:13:20",
        "2023-11-14 22:13:20",
        "5s",
    )
    assert clock(1e18) == clock(math.nan) == clock(math.inf) == "?"


def test_what_is_sent_otherwise_is_read_as_the_engine_reads_it() -> None:
    feed = Feed()
    feed.add(
        Event("attacker.observed", {"attacker_ip": "::ffff:192.0.2.7", "first_seen": "2026-03-04T05:06:07Z"})
    )
    assert feed.ring[-1].source == "192.0.2.7"
    feed.add(Event("attacker.observed", {"attacker_uuid": attacker_id("192.0.2.7")}))
    assert feed.ring[-1].source == "192.0.2.7", "the id of the address was learned"


def test_what_cannot_be_read_says_so_and_is_shown_all_the_same() -> None:
    feed = Feed()
    feed.add(Event("attacker.session.ended", {"decky_id": "pot", "commands": 3}))
    row = feed.ring[-1]
    assert row.summary.startswith("unreadable: payload: ")
    assert "pot" in row.summary
    assert b'"commands":3' in row.raw
    feed.add(Event("decky.web.traffic", {"n": 1}))
    assert feed.ring[-1].summary == "n=1", "topics without a record are shown as they are"
