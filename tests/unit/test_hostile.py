"""Text becomes visible at one place: every character there is, and numbers that JSON can write but no one can print."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.bus.base import Event
from decnet.hostile import storable_text, visible
from decnet.ids import attacker_id, event_id, session_id
from decnet_tui.model.event_text import summarise
from decnet_tui.model.feed import KNOWN_WORKERS, Feed
from decnet_tui.model.since import Found, render
from decnet_tui.model.spans import Chosen
from decnet_tui.model.words import count_short, span
from tests.fuzzkit import ODD, TOPICS, Dice, Written, canary, obeyed, payloads
from tests.sincekit import nothing

HUGE = (10**400, -(10**4000), math.inf, -math.inf, math.nan, 1e308)


def test_no_character_of_unicode_is_obeyed_hidden_or_without_a_cell() -> None:
    """Judged by the tables of two width libraries, which this code does not use; plain letters stay as they are."""
    everything = "".join(map(chr, range(0x110000)))
    assert not obeyed(visible(everything))
    for kept in ("root", "漢字", "é", "한글", "Ω", "\u05d0", "🦊", "ﷺ", "\\e"):
        assert visible(kept) == kept


@given(st.text(), st.integers(0, 50))
def test_a_limit_is_kept(text: str, limit: int) -> None:
    assert len(visible(text, limit)) <= limit
    assert visible(visible(text)) == visible(text)


@pytest.mark.parametrize("value", HUGE)
def test_a_number_too_large_to_be_written_as_one_ends_nothing(value: Any) -> None:
    """One event with ``"duration_s": 1000…`` ended the console."""
    assert span(value)
    assert count_short(value)
    for topic in TOPICS:
        for key in ("duration_s", "confidence", "score", "event_count", "lag", "confidence_max"):
            assert not obeyed(summarise(topic, {key: value}))


@pytest.mark.parametrize("value", ODD, ids=lambda v: str(v)[:10])
def test_a_heartbeat_may_hold_anything(value: Any) -> None:
    """``"sensors": 0.5`` in a heartbeat ended the console's first screen."""
    feed = Feed()
    names = ("ts", "sensors", "state", "note", "lag", "processed", "degraded")
    feed.add(Event("system.ttp.health", dict.fromkeys(names, value), ts=100.0), now=100.0)
    model = feed.workers["ttp"]
    assert model.payload["ts"] is None or math.isfinite(float(model.payload["ts"]))
    beats = [{"worker": "ttp", "payload": model.payload}]
    render(Found(100.0, Chosen("all"), nothing(), heartbeats=beats))


def test_a_lone_surrogate_has_an_id_and_it_is_that_of_the_stored_text() -> None:
    """An ``attacker_ip`` with one was a dead letter, with its whole session."""
    for text in ("203.0.113.7\ud83d", "a\0b", "\udfff"):
        stored = storable_text(text)
        assert attacker_id(text) == attacker_id(stored)
        assert session_id("cowrie", text, text) == session_id("cowrie", stored, stored)
        assert event_id("sensor", text) == event_id("sensor", stored)
    assert attacker_id("203.0.113.7") == "6dd21fc3-121b-5123-aaa0-18e21dfe5b91"


def test_workers_that_no_one_runs_do_not_fill_the_memory() -> None:
    feed = Feed()
    for number in range(KNOWN_WORKERS * 3):
        feed.add(Event(f"system.w{number}.health", {"state": "ok"}, ts=1.0), now=1.0)
    assert len(feed.workers) == KNOWN_WORKERS


def test_what_is_written_to_a_terminal_is_taken_apart() -> None:
    """The judge of the acceptance tests sees what it is there to see."""
    written = Written(
        "a\x1b[2Jb\x1b]8;;http://x\x1b\\c\x1b]52;c;aGk=\x07\x9b\x1b[?1049h\x1bPq\x1b\\d\u202e".encode()
    )
    assert written.text == "abcd\u202e"
    assert {"CSI J", "OSC 8", "OSC 52", "'\\x9b'", "CSI ?1049h", "'P'"} == written.shapes.keys()
    assert (written.copied, written.modes) == (["aGk="], {"?1049": "h"})
    with pytest.raises(AssertionError):
        Written(b"\x1b[12")
    assert obeyed("ok\u202e\u200b\u1160\u00a0\x7f") == set("\u202e\u200b\u1160\u00a0\x7f")


def test_payloads_are_the_same_each_time_and_hold_their_canary() -> None:
    first, again = (list(payloads(300, Dice(5))) for _ in range(2))
    assert first == again
    assert all(
        json.loads(body)["payload"]["attacker_ip"].startswith(canary(n, Dice(1)))
        for n, (_, body) in enumerate(first)
    )
