"""When a tag was seen: the time of the command, session or aggregate behind it, never that of the tagging."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.db.rows.ttp import TTPTag
from decnet.events.fields import LATEST
from decnet.ttp.base import TaggerEvent
from decnet.ttp.seen import moment_of, stamp
from tests.wirekit import judged

MADE = datetime(2026, 1, 2, tzinfo=UTC)
ENDED = "attacker.session.ended"


def tag(kind: str, source: str) -> TTPTag:
    return TTPTag(
        source_kind=kind, source_id=source, attacker_uuid="a", tactic="TA0002", technique_id="T1059", confidence=0.9,
        rule_id="R1", rule_version=1, created_at=MADE,
    )  # fmt: skip


def seen(event: Event, kind: str, source: str) -> float:
    """The time that a tag of one of the events gets, epoch seconds."""
    made = tag(kind, source)
    stamp([made], [(tagged, moment_of(event)) for tagged in judged(event)])
    assert made.created_at == MADE
    assert made.seen_at is not None
    return made.seen_at.timestamp()


def ended(**more: Any) -> Event:
    payload: dict[str, Any] = {
        "session_id": "s",
        "attacker_uuid": "a",
        "started_at": 100.0,
        "ended_at": 900.0,
    }
    return Event(ENDED, payload | more, "session.ended", "e", 900.0)


def test_a_tag_without_evidence_of_a_time_is_seen_when_it_is_made() -> None:
    assert tag("command", "c").seen_at == MADE


def test_a_command_is_seen_when_it_was_typed() -> None:
    commands = [{"id": "c1", "command_text": "id", "ts": 500.0}, {"id": "c2", "command_text": "w", "ts": "1970-01-01T00:10:00Z"}]  # fmt: skip
    event = ended(commands=commands)
    assert seen(event, "command", "c1") == 500.0
    assert seen(event, "command", "c2") == 600.0


def test_what_a_session_holds_without_a_time_is_seen_at_its_start() -> None:
    """Whatever the event's own time: a sweep sends it years later."""
    event = ended(
        commands=[{"id": "c1", "command_text": "id"}],
        auth={"fail_count": 3},
        downloads=[{"url": "http://h/x"}],
    )
    payload = next(t.source_id for t in judged(event) if t.source_kind == "payload")
    for kind, source in (("session", "s"), ("command", "c1"), ("auth_attempt", "s"), ("payload", payload)):
        assert seen(event, kind, source) == 100.0, kind


def test_an_event_without_a_start_is_seen_when_it_happened() -> None:
    event = Event(
        "attacker.fingerprinted", {"attacker_uuid": "a", "type": "ja4", "value": "x"}, "", "e", 77.0
    )
    assert seen(event, "http_fingerprint", "a#ja4#x") == 77.0


def test_an_aggregate_is_seen_in_the_minutes_that_it_counts() -> None:
    made = tag("auth_attempt", "a#auth#2")
    event = TaggerEvent("auth_attempt", "a#auth#2", "a", payload={"window_start": 600.0, "ts": 5.0})
    stamp([made], [(event, 9999.0)])
    assert made.seen_at == datetime.fromtimestamp(600, UTC)


@pytest.mark.parametrize(("ts", "kept"), [(0.0, True), (LATEST, True), (-1.0, False), (LATEST + 1, False)])
def test_a_time_that_no_calendar_has_changes_nothing(ts: float, kept: bool) -> None:
    made = tag("command", "c")
    stamp([made], [(TaggerEvent("command", "c", "a"), ts)])
    assert (made.seen_at != MADE) is kept


def test_only_tags_of_the_same_source_and_kind_are_stamped() -> None:
    made = [tag("command", "c"), tag("session", "c"), tag("command", "other")]
    stamp(made, [(TaggerEvent("command", "c", "a"), 5.0)])
    assert [t.seen_at != MADE for t in made] == [True, False, False]
