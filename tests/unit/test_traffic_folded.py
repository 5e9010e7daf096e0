"""Traffic by session: one line each with what it did, dates between days, and nothing of it moves while paused."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.events.examples import EXAMPLES
from decnet.ids import attacker_id
from decnet_tui.model import event_times
from decnet_tui.model.event_kinds import WIDTH, kind_of
from decnet_tui.model.event_text import summarise
from decnet_tui.model.event_times import happened_at
from decnet_tui.model.feed import EventRow, Feed
from decnet_tui.model.lines import DAY_TOPIC, Lines
from decnet_tui.model.running import TECHNIQUES, TEXT_LIMIT
from decnet_tui.model.scope import Of
from decnet_tui.screens.session import SessionLevel
from decnet_tui.screens.traffic import LISTED, NOISE, TrafficView
from decnet_tui.widgets import glyphs
from decnet_tui.widgets.strips import Line
from tests.consolekit import use_usual_keys

NOON = 1_772_366_400.0
DAY = 86_400.0
IP, OTHER = "203.0.113.7", "203.0.113.8"


@pytest.fixture(autouse=True)
def _usual_keys() -> None:
    use_usual_keys()
    glyphs.use("ascii", {})


def line_text(line: Line) -> str:
    return "".join(text for text, _ in line)


def said(feed: Feed, topic: str, session: str, ts: float = NOON, ip: str = IP, **payload: Any) -> None:
    known = {"session_id": session, "attacker_ip": ip, "attacker_uuid": attacker_id(ip)}
    feed.add(Event(topic, {**known, **payload}, ts=ts), now=ts)


def ran(feed: Feed, session: str, *texts: str, first: int = 0, ts: float = NOON, ip: str = IP) -> None:
    commands = [{"command_text": text, "ts": ts} for text in texts]
    said(
        feed, "attacker.session.progress", session, ts, ip,
        seq=1, commands=commands, decky_id="web-07", service="ssh", **{"from": first},
    )  # fmt: skip


def view_of(feed: Feed) -> TrafficView:
    view = TrafficView(feed)
    view.sync(NOON)
    return view


def lines_of(view: TrafficView, width: int = 79) -> list[str]:
    return [line_text(view.line(n, width)) for n in range(view.count())]


def test_a_session_is_one_line_that_says_what_it_did_so_far() -> None:
    feed = Feed()
    said(feed, "attacker.session.started", "s1", decky_id="web-07", service="ssh")
    view = view_of(feed)
    assert "no command yet" in lines_of(view)[0]
    said(feed, "credential.captured", "s1", username="root", secret_hmac="ab" * 32, success=True)
    view.sync(NOON)
    assert "login root/#abab accepted" in lines_of(view)[0]
    ran(feed, "s1", "uname -a", "wget http://x/a")
    said(feed, "ttp.tagged", "s1", techniques_added=["T1082", "T1105"], tag_uuids=["a", "b"])
    view.sync(NOON)
    (line,) = lines_of(view)
    assert line.startswith(f"12:00:00 {IP:<15} open ")
    assert "2 cmds: wget http://x/a" in line
    assert line.endswith(" T1105 +1")
    assert len(line) <= 79
    assert "web-07 ssh" in lines_of(view, 140)[0]
    said(feed, "attacker.session.ended", "s1", ended_at=NOON, duration_s=9.0, command_count=3)
    view.sync(NOON)
    assert " ended " in lines_of(view)[0]
    said(feed, "ttp.session.judged", "s1", severity="high", severity_reason="ran", story_line="ran")
    view.sync(NOON)
    assert " high " in lines_of(view)[0]
    assert "3 cmds: wget http://x/a" in lines_of(view)[0]
    assert view.status()[1] == "0 hidden  6/6"


def test_a_goodbye_is_told_only_where_nothing_else_was_said() -> None:
    feed = Feed()
    ran(feed, "s1", "id", "exit")
    ran(feed, "s1", "exit", first=2)
    ran(feed, "s2", "logout")
    ran(feed, "s3", "exit 1")
    told = feed.running.told
    assert [told[name].did for name in ("s1", "s2", "s3")] == ["3 cmds: id", "1 cmd", "1 cmd: exit 1"]


def test_what_was_uploaded_tells_more_than_the_login_and_less_than_a_command() -> None:
    feed = Feed()
    fact = [{"kind": "upload", "what": "sshd", "ts": NOON}]
    said(feed, "attacker.session.progress", "s1", seq=1, facts=fact)
    said(feed, "credential.captured", "s1", username="root", success=True)
    assert feed.running.told["s1"].did == "upload sshd"
    ran(feed, "s1", "./sshd")
    said(feed, "attacker.session.ended", "s1", ended_at=NOON, uploads=[{"filename": "b", "sha256": "0" * 64}])
    assert feed.running.told["s1"].did == "1 cmd: ./sshd"
    said(feed, "attacker.session.ended", "s2", ended_at=NOON, downloads=[{"url": "http://x/y"}])
    assert feed.running.told["s2"].did == "download http://x/y"
    said(feed, "attacker.session.ended", "s3", ended_at=NOON)
    assert feed.running.told["s3"].did == "no command"


def test_of_a_session_whose_events_are_gone_its_tags_and_verdict_are_told_and_no_more() -> None:
    feed = Feed()
    said(feed, "ttp.tagged", "s1", techniques_added=["T1105"], tag_uuids=["a"])
    assert feed.running.told["s1"].did == "began before these events", "nobody knows here what it typed"
    said(feed, "credential.captured", "s1", username="root", success=True)
    said(feed, "ttp.session.judged", "s1", severity="high", severity_reason="ran sshd", story_line="s")
    assert (feed.running.told["s1"].state, feed.running.told["s1"].did) == ("high", "ran sshd")
    ran(feed, "s2", "id")
    said(feed, "ttp.session.judged", "s2", severity="low", severity_reason="looked", story_line="s")
    assert feed.running.told["s2"].did == "1 cmd: id"


def test_the_detail_of_a_session_says_why_it_is_judged_so_however_many_events_follow() -> None:
    feed = Feed()
    ran(feed, "a", "rm -f /tmp/x")
    view = view_of(feed)
    assert not [line for line in view.detail() if line.startswith("high")]
    said(
        feed, "ttp.session.judged", "a", severity="high", severity_reason="uploaded and ran x", story_line="s"
    )
    for n in range(LISTED + 1):
        said(feed, "attacker.observation.motor.input_modality", "a", value=n)
    view.sync(NOON)
    detail = view.detail()
    assert "high: uploaded and ran x" in detail[: detail.index("its events:")]
    assert "1 cmd: rm -f /tmp/x" in detail


@pytest.mark.parametrize("count", [TECHNIQUES, TECHNIQUES + 1])
def test_techniques_of_a_session_are_bounded_and_counted_once(count: int) -> None:
    feed = Feed()
    for n in range(count):
        said(feed, "ttp.tagged", "s1", techniques_added=[f"T{n:04}", f"T{n:04}", "T0000"], tag_uuids=["a"])
    assert len(feed.running.told["s1"].techniques) == TECHNIQUES
    assert feed.running.told["s1"].tagged.endswith(f" +{TECHNIQUES - 1}")


@pytest.mark.parametrize(
    "payload",
    [
        {"session_id": 7}, {"session_id": ""}, {"session_id": None}, {"session_id": ["s1"]},
    ],
)  # fmt: skip
def test_what_names_no_session_is_a_line_of_its_own(payload: dict[str, Any]) -> None:
    feed = Feed()
    feed.add(Event("decky.x.state", payload, ts=NOON), now=NOON)
    assert feed.running.told == {}
    assert feed.ring[-1].session == ""


@pytest.mark.parametrize("bad", [None, "x", [1], {"a": 1}, 10**400, float("nan"), float("inf"), -1, True])
def test_odd_values_are_told_without_a_fault(bad: Any) -> None:
    feed = Feed()
    for topic in ("progress", "ended"):
        keys = ("seq", "from", "commands", "facts", "command_count", "duration_s", "uploads", "ended_at")
        said(feed, f"attacker.session.{topic}", "s1", **dict.fromkeys(keys, bad))
    said(feed, "credential.captured", "s1", username=bad, secret_hmac=bad, success=bad)
    said(feed, "ttp.tagged", "s1", techniques_added=bad)
    said(feed, "ttp.session.judged", "s1", severity=bad)
    (line,) = lines_of(view_of(feed))
    assert len(line) <= 79


def test_text_of_attackers_is_visible_and_short_on_a_session_s_line() -> None:
    feed = Feed()
    ran(feed, "s\x1b[2J1", "\x1b]52;c;aGk=\x07" + "x" * 5000)
    (told,) = feed.running.told.values()
    assert "\x1b" not in told.session_id + told.text
    assert len(told.text) <= TEXT_LIMIT
    view = view_of(feed)
    assert "\x1b" not in view.copy_text()
    below = view.below()
    assert isinstance(below, SessionLevel)
    assert below.session_id == "s\x1b[2J1", "asked for as it was sent"


def test_a_session_is_forgotten_with_its_last_event_in_the_ring() -> None:
    feed = Feed(ring=100)
    for n in range(250):
        said(feed, "attacker.session.started", f"s{n}")
        said(feed, "credential.captured", f"s{n}", username="x", success=False)
    assert list(feed.running.told) == [f"s{n}" for n in range(200, 250)]
    feed.add_gap(1.0, NOON)
    assert "s200" in feed.running.told, "one of its two events is there"
    feed.add_gap(1.0, NOON)
    assert "s200" not in feed.running.told
    assert len(feed.running._held) == 49


def plain(rows: list[EventRow], folded: bool) -> list[int]:
    """The rule itself: every event, or of each session the newest."""
    newest = {row.session: row.seq for row in rows}
    return [row.seq for row in rows if not folded or not row.session or newest[row.session] == row.seq]


def pieces(dice: random.Random, rows: list[EventRow]) -> list[list[EventRow]]:
    out = []
    while rows:
        step = dice.randint(1, 7)
        out.append(rows[:step])
        rows = rows[step:]
    return out


@pytest.mark.parametrize("folded", [True, False])
def test_lines_are_the_same_whatever_came_in_which_pieces(folded: bool) -> None:
    dice = random.Random(7)
    for _ in range(100):
        names = ["", "a", "b", "c", "d"]
        rows = [EventRow(n, NOON + DAY * (n // 9), "t", "", "", b"{}", dice.choice(names)) for n in range(40)]
        first, last = sorted(dice.sample(range(1, 40), 2))
        lines = Lines(folded)
        for piece in pieces(dice, rows[first:last]):
            lines.extend(piece)
        for piece in reversed(pieces(dice, rows[:first])):
            before = len(lines.rows)
            assert lines.prepend(piece) == len(lines.rows) - before
        for piece in pieces(dice, rows[last:]):
            lines.extend(piece)
        gone = dice.randint(0, 20)
        lines.trim(gone)
        shown = [row for row in lines.rows if row.topic != DAY_TOPIC]
        assert [row.seq for row in shown] == [seq for seq in plain(rows, folded) if seq >= gone]
        for row in shown:
            assert lines.rows[lines.place_of(row)] is row
        wanted = []
        for n, row in enumerate(shown):
            if n and shown[n - 1].ts // DAY != row.ts // DAY:
                wanted.append(DAY_TOPIC)
            wanted.append("t")
        found = [row.topic for row in lines.rows]
        assert found[found[0] == DAY_TOPIC :] == wanted, "no two dates together, none at the end"


def test_a_date_stands_between_days_and_is_nothing_to_stand_on() -> None:
    feed = Feed()
    for n in range(3):
        feed.add(Event("attacker.observed", {"attacker_ip": IP}, ts=NOON + n * DAY), now=NOON)
    view = view_of(feed)
    assert [line_text(view.line(n, 40))[:17] for n in (1, 3)] == ["-- 2026-03-02 UTC", "-- 2026-03-03 UTC"]
    assert len(line_text(view.line(1, 40))) == 40
    stood = [view.cursor]
    for _ in range(4):
        view.move(-1, 20)
        stood.append(view.cursor)
    assert stood == [4, 2, 0, 0, 0]
    view.move(1, 20)
    assert view.cursor == 2
    view.cursor = 1
    assert (view.record(), view.detail(), view.copy_text(), view.actor(), view.below()) == (
        {},
        [],
        "",
        None,
        None,
    )
    assert len(view.records()) == len(view.sheet().rows) == 3


@pytest.mark.parametrize("ts", [float("nan"), float("inf"), -float("inf"), 1e300, -5.0])
def test_a_time_that_is_none_makes_no_fault(ts: float) -> None:
    feed = Feed()
    for moment in (NOON, ts, ts, NOON):
        feed._append(moment, "a.b", "-", "x", b"{}")
    assert len(lines_of(view_of(feed))) <= 7


def test_the_cursor_stays_on_its_session_and_the_newest_is_below() -> None:
    feed = Feed()
    view = view_of(feed)
    for name in ("a", "b", "c"):
        ran(feed, name, name)
    view.sync(NOON)
    assert (view.cursor, view.count()) == (2, 3), "it tails"
    view.move(-1, 20)
    ran(feed, "a", "again", first=1)
    view.sync(NOON)
    assert [view.session and view.session.session_id, view.cursor] == ["b", 0]
    ran(feed, "b", "again", first=1)
    view.sync(NOON)
    assert [view.session and view.session.session_id, view.cursor] == ["b", 2]
    assert view.fold() == "one line an event"
    assert view.record()["session_id"] == "b"
    assert (view.count(), view.session) == (5, None)
    view.move(-4, 20)
    assert view.record()["commands"][0]["command_text"] == "a"
    view.fold()
    assert view.session is not None
    assert view.session.session_id == "a", "the session of the event"


def test_paused_the_line_of_a_session_says_what_it_said() -> None:
    feed = Feed()
    ran(feed, "a", "one")
    view = view_of(feed)
    view.pause()
    before = lines_of(view)
    ran(feed, "a", "two", first=1)
    ran(feed, "b", "other")
    view.sync(NOON)
    assert lines_of(view) == before
    view.fold(), view.fold()
    assert lines_of(view) == before
    assert "its events:" in view.detail()
    assert "two" not in repr(view.detail())
    view.pause()
    assert len(lines_of(view)) == 2
    assert "2 cmds: two" in lines_of(view)[0]


def test_noise_is_hidden_at_first_counted_and_shown_by_a_key() -> None:
    feed = Feed()
    ran(feed, "a", "one")
    for topic in ("attacker.observation.motor.x", "attacker.observations", "ttp.rule.fired.T1105", "system.ttp.health",
                  "attribution.profile.state_changed", "attribution.profile.multi_actor_suspected"):  # fmt: skip
        feed.add(Event(topic, {"identity_uuid": "7"}, ts=NOON), now=NOON)
    view = view_of(feed)
    assert view.status() == ("tail  by session (z)  noise hidden (n)", "5 hidden  2/7")
    assert any("several people suspected" in line for line in lines_of(view)), "an alert is no noise"
    assert view.turn_noise() is False
    assert view.count() == 7
    assert view.status() == ("tail  by session (z)  topic >  text -  noise shown (n)", "0 hidden  7/7")
    view.set_filter("one")
    assert view.turn_noise() is True
    assert view.filter_text == f"one {NOISE}"
    assert view.status()[0] == "tail  by session (z)  topic >  text one  noise hidden (n)"
    assert view.turn_noise() is False
    assert view.filter_text == "one"
    view.set_filter(view.own_filter)
    assert view.hides_noise


def test_a_filter_shows_the_sessions_of_which_an_event_fits() -> None:
    feed = Feed()
    ran(feed, "a", "wget http://x")
    ran(feed, "a", "id", first=1)
    ran(feed, "b", "id")
    view = view_of(feed)
    view.set_filter("wget")
    (line,) = lines_of(view)
    assert "2 cmds: id" in line, "the session whole"


def test_every_key_acts_on_the_session_of_the_line() -> None:
    feed = Feed()
    ran(feed, "a", "id")
    feed.add(Event("ttp.session.judged", {"session_id": "a", "severity": "low", "severity_reason": "r", "story_line": "s"},
                   ts=NOON), now=NOON)  # fmt: skip
    view = view_of(feed)
    assert view.record()["attacker_uuid"] == attacker_id(IP)
    actor = view.actor()
    assert actor is not None
    assert actor.label == IP
    assert view.indicators_of() == Of("session a", session="a")
    assert view.copy_text().split("  ")[1:4] == [IP, "a", "web-07 ssh"]
    (record,) = view.records()
    assert (record["session_id"], record["commands"], record["source"]) == ("a", 1, IP)
    json.dumps(record)
    assert view.sheet().rows[0][1:] == (IP, "a", "web-07 ssh", "low", "1 cmd: id", "")
    view.fold()
    assert view.below() is None, "an event opens its detail"
    assert isinstance(view.records()[0], bytes)
    assert len(view.sheet().rows[0]) == 4


@pytest.mark.parametrize("count", [LISTED, LISTED + 1])
def test_the_detail_of_a_session_lists_its_last_events(count: int) -> None:
    feed = Feed()
    for n in range(count):
        ran(feed, "a", f"c{n}", first=n)
    detail = view_of(feed).detail()
    at = detail.index("its events:")
    listed = [line for line in detail[at:] if " attacker.session.progress " in line]
    assert len(listed) == LISTED
    assert ("... 1 before these" in detail) == (count > LISTED)


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        (
            {
                "commands": [
                    {"command_text": "w", "ts": NOON - 90.0},
                    {"command_text": "id", "ts": NOON - 60.0},
                ]
            },
            NOON - 60.0,
        ),
        ({"facts": [{"kind": "download", "what": "x", "ts": NOON - 30.0}]}, NOON - 30.0),
        ({"commands": [{"command_text": "w"}]}, NOON),
        ({"commands": [{"command_text": "w", "ts": NOON + 5.0}]}, NOON),
        ({"commands": [{"command_text": "w", "ts": "nonsense"}, 7, None], "facts": "x"}, NOON),
        ({"commands": [{"command_text": "w", "ts": float("nan")}]}, NOON),
    ],
)
def test_news_of_a_running_session_stand_at_the_time_of_what_they_tell(
    told: dict[str, Any], shown: float
) -> None:
    """A log that is read later tells of what was then."""
    assert happened_at("attacker.session.progress", told, NOON) == shown
    assert happened_at("attacker.session.ended", told, NOON) == NOON
    feed = Feed()
    said(feed, "attacker.session.progress", "s1", NOON, seq=1, **told)
    assert [row.ts for row in feed.ring] == [shown]


LATER = NOON + 20 * DAY


@pytest.mark.parametrize("topic", ["ttp.tagged", "ttp.session.judged", "ttp.rule.fired.T1105"])
def test_what_is_said_of_a_session_later_stands_at_the_session_s_own_time(topic: str) -> None:
    """A log of three weeks ago is judged now: its sessions stay where they were."""
    feed = Feed()
    ran(feed, "a", "id", ts=NOON)
    ran(feed, "b", "w", ts=NOON + 60.0)
    said(feed, "attacker.session.ended", "a", NOON + 5.0)
    said(
        feed,
        topic,
        "a",
        LATER,
        severity="low",
        severity_reason="looked",
        story_line="s",
        technique_id="T1105",
    )
    assert [row.ts for row in feed.ring] == [NOON, NOON + 60.0, NOON + 5.0, NOON + 5.0]
    assert feed.running.told["a"].last == NOON + 5.0
    assert not [row for row in Lines(True, list(feed.ring)).rows if row.topic == DAY_TOPIC]


@pytest.mark.parametrize(
    ("topic", "who", "shown"),
    [
        ("ttp.tagged", {"attacker_uuid": attacker_id(IP), "session_id": None}, NOON + 9.0),
        ("ttp.tagged", {"attacker_uuid": attacker_id(IP), "session_id": "gone"}, NOON + 9.0),
        ("ttp.tagged", {"attacker_uuid": attacker_id(OTHER)}, LATER),
        ("ttp.tagged", {"attacker_uuid": 7}, LATER),
        ("attribution.profile.state_changed", {"attacker_uuids": [attacker_id(OTHER), attacker_id(IP), 7]}, NOON + 9.0),
        ("attribution.profile.state_changed", {"attacker_uuids": "x"}, LATER),
        ("identity.merged", {"attacker_uuid": attacker_id(IP)}, LATER),
        ("ttp.rule.state.R0001", {"attacker_uuid": attacker_id(IP)}, LATER),
    ],
)  # fmt: skip
def test_what_is_said_of_no_session_stands_at_its_attacker_s_newest_time_and_a_decision_at_its_own(
    topic: str, who: dict[str, Any], shown: float
) -> None:
    feed = Feed()
    feed.add(Event("attacker.observed", {"attacker_uuid": attacker_id(IP)}, ts=NOON + 9.0), now=NOON)
    feed.add(Event("credential.captured", {"attacker_uuid": attacker_id(IP)}, ts=NOON), now=NOON)
    feed.add(Event("attacker.scored", {"attacker_uuid": attacker_id(IP)}, ts=LATER), now=NOON)
    feed.add(Event(topic, who, ts=LATER), now=NOON)
    assert feed.ring[-1].ts == shown


def test_of_an_attacker_that_was_stored_before_we_came_the_time_is_known() -> None:
    feed = Feed()
    seen = datetime.fromtimestamp(NOON, UTC)
    feed.load_addresses(
        [
            {"attacker_uuid": "a", "attacker_ip": IP, "last_seen": seen},
            {"attacker_uuid": "b", "last_seen": None},
        ]
    )
    for name in ("a", "b"):
        feed.add(Event("ttp.tagged", {"attacker_uuid": name}, ts=LATER), now=NOON)
    assert [row.ts for row in feed.ring] == [NOON, LATER]


@pytest.mark.parametrize(("others", "shown"), [(2, NOON), (3, LATER)])
def test_times_of_attackers_are_bounded_and_the_longest_silent_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, others: int, shown: float
) -> None:
    monkeypatch.setattr(event_times, "KNOWN_TIMES", 3)
    feed = Feed()
    for name in ("first", "a", "first", *(f"x{n}" for n in range(others))):
        feed.add(Event("attacker.observed", {"attacker_uuid": name}, ts=NOON), now=NOON)
    feed.add(Event("ttp.tagged", {"attacker_uuid": "first"}, ts=LATER), now=NOON)
    assert feed.ring[-1].ts == shown


@pytest.mark.parametrize("ts", [float("nan"), float("inf"), -float("inf")])
def test_a_time_that_is_none_is_nobody_s_newest(ts: float) -> None:
    feed = Feed()
    for moment in (ts, NOON, ts):
        known = {"session_id": "a", "attacker_uuid": attacker_id(IP)}
        feed.add(Event("attacker.session.started", known, ts=moment), now=NOON)
    said(feed, "ttp.tagged", "a", LATER)
    assert feed.ring[-1].ts == NOON
    feed.add(Event("ttp.tagged", {"attacker_uuid": attacker_id(IP)}, ts=LATER), now=NOON)
    assert feed.ring[-1].ts == NOON


@pytest.mark.parametrize(
    ("pattern", "kind", "words"),
    [
        ("attacker.observed", "new", "first seen on web-01 ssh"),
        ("attacker.fingerprinted", "client", "ja4 t13i190800_9dc949149365_97f8aa674fd9"),
        ("attacker.intel.enriched", "intel", "malicious, asked abuseipdb"),
        ("attacker.scored", "scored", "51.2, over 50.0 now: 40 events"),
        ("credential.reuse.detected", "reuse", "one secret used 1x on 2 targets"),
        ("email.received", "mail", "mail-01 smtp from example.org to 1 address: Invoice"),
        ("identity.formed", "who", "identity i-a2d9dd1f begins"),
        ("campaign.identity.assigned", "kit", "i-f0a1 has the kit of c-c297: key SHA256:abc at 3 addresses"),
        ("canary.*.placed", "canary", "placed http /srv/report.docx on web-01"),
        ("attribution.profile.multi_actor_suspected", "alert", "several people suspected 0.70: motor; 2 primitives"),
        ("ttp.tagged", "tagged", "1 tag T1105"),
        ("ttp.rule.state.*", "rule", "R0001 disabled by ann noisy"),
        ("ttp.rule.reloaded.*", "rule", "R0001 was changed, version 2"),
        ("ttp.rule.suppressed", "rule", "R0001 3 matches not tagged in 60s: disabled"),
        ("decky.*.state", "decoy", "running telnet"),
        ("decky.*.mutate_request", "decoy", "ann asks for other services: known to scanners"),
        ("decky.*.mutation", "decoy", "telnet -> ftp operator applied"),
        ("topology.*.mutation.*", "topology", "attach applied"),
        ("topology.*.status", "topology", "ready"),
        ("system.deadletter.*", "given up", "attacker.observed: neither attacker_uuid"),
    ],
)  # fmt: skip
def test_a_line_of_no_session_says_what_happened_in_words(pattern: str, kind: str, words: str) -> None:
    parts = pattern.split(".")
    topic = ".".join(("applied" if n > 1 else "x1") if part == "*" else part for n, part in enumerate(parts))
    feed = Feed()
    feed.add(Event(topic, {**EXAMPLES[pattern], "session_id": None}, ts=NOON), now=NOON)
    view = view_of(feed)
    view.set_filter(">")
    (line,) = lines_of(view, 120)
    assert line[25:34] == f"{kind:<9}"
    assert line[34:].strip().startswith(words)
    assert topic not in line


def test_every_kind_of_event_has_a_word_that_fits_and_odd_ones_make_no_fault() -> None:
    for pattern, payload in EXAMPLES.items():
        topic = pattern.replace("*", "x").replace(">", "x")
        assert 0 < len(kind_of(topic)) <= WIDTH
        for bad in (None, 7, "x", ["x"], [None], {"a": 1}, 1e400, True):
            assert isinstance(summarise(topic, dict.fromkeys(payload, bad)), str)
    assert kind_of("nonsense.of.somebody") == "nonsense"
