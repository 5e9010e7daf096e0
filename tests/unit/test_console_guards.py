"""The console's own limits: playback, states at their end, the journal, filters, scopes, cursors."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from decnet.errors import DecnetError
from decnet.hostile import MAX_DEPTH
from decnet.ttp.rules import RuleState
from decnet.ttp.store.base import RuleListing
from decnet_tui.actions import forms
from decnet_tui.model import connection, event_text, feed, journal, playback
from decnet_tui.model.event_text import short
from decnet_tui.model.feed import Feed
from decnet_tui.model.filters import Filter, FilterError, parse_filter
from decnet_tui.model.playback import (
    LONGEST_PAUSE_S,
    MAX_OUTPUT,
    PIECE,
    SEQUENCE,
    SPEEDS,
    Player,
    frames_of,
    screen_size,
)
from decnet_tui.model.rules import effective_state, listed, made_state
from decnet_tui.model.scope import scope_of
from decnet_tui.screens import loading
from decnet_tui.screens.base import View
from decnet_tui.widgets import clipboard, glyphs, pacing, prompt
from tests.consolekit import Clock
from tests.fuzzkit import obeyed
from tests.unit.test_console_playback import recording, shown

NOW = 1_700_000_000.0


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


# --- rules and journal at their times


@pytest.mark.parametrize(("expires", "state"), [(NOW, "enabled"), (NOW + 0.1, "clipped"), (None, "clipped")])
def test_a_state_holds_until_exactly_its_end(expires: float | None, state: str) -> None:
    ends = None if expires is None else datetime.fromtimestamp(expires, UTC)
    found = effective_state(RuleState("clipped", 0.4, ends, "r", "bob"), NOW)
    assert found["state"] == state
    over = state == "enabled"
    assert (found["confidence_max"], found["expires_at"], found["set_by"]) == (
        (None, None, None) if over else (0.4, expires, "bob")
    )


async def test_a_rule_that_never_loaded_has_no_state_that_one_could_change() -> None:
    class Store:
        async def listing(self, *, running: bool) -> list[RuleListing]:
            assert running
            return [
                RuleListing("R2", 0, "", "r2.yaml", "", "bad"),
                RuleListing("R1", 3, "n", "r1.yaml", "x", "old kept"),
            ]

        async def stored_states(self) -> dict[str, RuleState]:
            return dict.fromkeys(("R1", "R2"), RuleState("disabled"))

    class Fired:
        async def rule_fired_counts(self, since: float) -> dict[str, int]:
            return {"R1": 5}

    first, second = await listed(Store(), Fired())  # type: ignore[arg-type]
    assert (first["rule_id"], first["state"], first["fired_24h"], first["rule_version"]) == (
        "R1",
        "disabled",
        5,
        3,
    )
    assert (second["rule_id"], second["state"], second["fired_24h"]) == ("R2", "failed", 0)


def test_a_state_that_is_none_is_an_error_that_is_told() -> None:
    with pytest.raises(DecnetError, match="needs confidence_max"):
        made_state("clipped", None, None, None, "eve")
    assert made_state("clipped", 0.4, NOW, "why", "eve").expires_at == datetime.fromtimestamp(NOW, UTC)


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
            "expired",
        )


# --- filters and scopes


def test_verdicts_on_topics_are_remembered_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decnet_tui.model.filters._VERDICTS", 3)
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


def test_the_limits_of_the_console_are_these() -> None:
    """Other tests ask at the limit, wherever it lies; here is where."""
    assert (forms.MAX_TEXT, prompt.MAX_TEXT, clipboard.MAX_BYTES) == (200, 400, 65_536)
    assert forms.MAX_SECONDS == 3650 * 86_400
    assert (feed.KNOWN_IPS, feed.KNOWN_RULES, feed.KNOWN_WORKERS, feed.KNOWN_MUTATIONS, feed.KNOWN_ROOTS) == (
        20_000,
        2_000,
        200,
        200,
        32,
    )
    assert (feed.DEEP, feed.RATE_SECONDS, Feed().ring.maxlen) == (100, 60, 50_000)
    assert (playback.MAX_OUTPUT, playback.LONGEST_PAUSE_S, playback.SEQUENCE, playback.PIECE) == (
        4 * 2**20,
        3.0,
        64,
        64,
    )
    assert (pacing.GIVE_UP_S, pacing.LAST_S, connection.READ_BACK) == (3.0, 0.5, 500)
    assert (event_text.LIMIT, event_text.SOURCE_LIMIT, MAX_DEPTH) == (240, 45, 32)
