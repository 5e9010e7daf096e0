"""Events of messages that several consumers are given: decoded and parsed once, and never mixed up."""

from __future__ import annotations

import json

import pytest

from decnet.bus.base import Event
from decnet.bus.nats import decoded as module
from decnet.bus.nats.decoded import Decoded
from decnet.errors import MalformedEvent
from decnet.events.session import SessionEnded
from decnet.runtime import received as parsing
from decnet.runtime.received import Parsing

TOPIC = "attacker.session.ended"


def body(n: int, size: int = 0) -> bytes:
    return json.dumps({"id": f"e{n}", "ts": 1.0, "payload": {"n": n, "x": "y" * size}}).encode()


def test_a_body_is_decoded_once_and_another_topic_or_body_is_another_event() -> None:
    known = Decoded()
    first = known.event(TOPIC, body(1), {"trace": "1"})
    assert known.event(TOPIC, bytes(bytearray(body(1))), None) is first
    assert known.event("identity.formed", body(1), None).topic == "identity.formed"
    assert known.event(TOPIC, body(2), None).payload["n"] == 2


def test_what_is_malformed_is_not_kept() -> None:
    known = Decoded()
    for _ in range(2):
        with pytest.raises(MalformedEvent):
            known.event(TOPIC, b"[]", None)


def test_events_and_bytes_are_kept_up_to_their_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVENTS_KEPT", 3)
    monkeypatch.setattr(module, "BYTES_KEPT", 10 * len(body(1)))
    known = Decoded()
    events = [known.event(TOPIC, body(n), None) for n in range(4)]
    assert [known.event(TOPIC, body(n), None) is events[n] for n in (3, 2, 1)] == [True] * 3
    zero = known.event(TOPIC, body(0), None)
    assert zero is not events[0]
    huge = known.event(TOPIC, body(9, 20 * len(body(1))), None)
    assert huge.payload["n"] == 9, "one that is over the limit by itself is decoded all the same"
    assert known.event(TOPIC, body(0), None) is not zero, "and leaves nothing of the others"


def event(n: int) -> Event:
    return Event(
        TOPIC,
        {"session_id": f"s{n}", "attacker_ip": "192.0.2.7", "decky_id": "d", "ended_at": 2.0, "other": 1},
        id=f"e{n}",
    )


def test_an_event_is_parsed_once_for_all_workers_with_what_nobody_knows_in_it() -> None:
    once = Parsing()
    given = event(1)
    one, strange = once.received(given)
    again, same = once.received(given)
    assert again is one
    assert isinstance(one.record, SessionEnded)
    assert strange == same
    assert sum(strange.values()) == 1


def test_one_that_only_looks_like_it_is_parsed_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "PARSED_KEPT", 2)
    once = Parsing()
    events = [event(n) for n in range(4)]
    found = [once.received(given)[0] for given in events]
    assert once.received(events[3])[0] is found[3]
    assert once.received(events[0])[0] is not found[0], "forgotten"
    assert once.received(event(3))[0] is not found[3]
    with pytest.raises(MalformedEvent):
        once.received(Event(TOPIC, {}, id="x"))
