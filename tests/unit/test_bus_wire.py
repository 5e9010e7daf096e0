"""What may go on the wire: sizes at, below and above the limit, ids, headers, names, keys, patterns."""

from __future__ import annotations

import string
from typing import Any

import pytest

from decnet.bus.base import Event, Sealed
from decnet.bus.wire import (
    HEADER_OVERHEAD,
    MAX_BLOB_BYTES,
    MSG_ID_HEADER,
    check_blob,
    check_consumer_name,
    check_pattern,
    check_topic,
    incoming_headers,
    new_event,
    outgoing,
)
from decnet.config import BusSettings

LIMIT = BusSettings().max_event_bytes
ENDED = "attacker.session.ended"


def event(size: int, headers: dict[str, str] | None = None) -> Event:
    """An event whose body and headers count as ``size`` bytes."""
    headers = headers or {}
    small = Event(ENDED, {"x": ""}, id="abc", ts=1.0, headers=headers)
    travel = {**headers, MSG_ID_HEADER: "abc"}
    block = HEADER_OVERHEAD + sum(len(key) + len(value) + 4 for key, value in travel.items())
    filler = "y" * (size - block - len(small.to_bytes()))
    return Event(ENDED, {"x": filler}, id="abc", ts=1.0, headers=headers)


def test_an_event_is_256_kib_at_most() -> None:
    assert LIMIT == 256 * 1024


@pytest.mark.parametrize("headers", [{}, {"traceparent": "00-" + "a" * 300, "b": ""}])
def test_body_and_headers_together_are_held_to_the_limit(headers: dict[str, str]) -> None:
    for size in (LIMIT - 1, LIMIT):
        body, sent = outgoing(event(size, headers), LIMIT)
        block = b"NATS/1.0\r\n" + b"".join(b"%s: %s\r\n" % (k.encode(), v.encode()) for k, v in sent.items())
        assert len(body) + len(block) + 2 <= size
    with pytest.raises(ValueError, match=f"event of {LIMIT + 1} bytes .* limit of {LIMIT}"):
        outgoing(event(LIMIT + 1, headers), LIMIT)


def once(given: Event) -> str:
    """The header by which the server knows an event again."""
    return outgoing(given, LIMIT)[1][MSG_ID_HEADER]


def test_what_waited_in_the_outbox_goes_out_as_the_event_would() -> None:
    given = event(500, {"traceparent": "00-a"})
    sealed = Sealed(ENDED, given.to_bytes(), given.headers)
    assert outgoing(sealed, LIMIT) == outgoing(given, LIMIT)
    assert (sealed.opened(), sealed.opened().headers, sealed.id) == (given, given.headers, "abc")
    with pytest.raises(ValueError, match="over the limit of 499"):
        outgoing(sealed, 499)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"v":1,"payload":{}}', b'{"id":7,"payload":{}}', b"\xff"]
)
def test_a_damaged_body_of_the_outbox_is_refused_and_not_waited_for(body: bytes) -> None:
    with pytest.raises(ValueError, match="not an event id"):
        outgoing(Sealed(ENDED, body), LIMIT)


def test_every_event_carries_what_the_duplicate_window_knows_it_by() -> None:
    assert once(Event(ENDED, {}, id="abc", ts=1.0)) == once(Event(ENDED, {}, id="abc", ts=2.0))
    assert once(Event(ENDED, {}, id="abc")).startswith("abc:")
    assert once(Event("decky.web.traffic", {}, id="d")).startswith("d:")


def test_another_payload_under_the_same_id_is_another_thing() -> None:
    said: list[dict[str, Any]] = [{}, {"n": 1}, {"n": 2}, {"payload": {}}, {'"payload":': 1}]
    assert len({once(Event(ENDED, payload, type='"payload":', id="abc")) for payload in said}) == len(said)
    assert once(Event(ENDED, {"n": 1}, type='x"payload":{', id="abc")) == once(
        Event(ENDED, {"n": 1}, id="abc")
    )


@pytest.mark.parametrize("name", ["Nats-Rollup", "nats-msg-id", "NATS-Expected-Last-Sequence"])
def test_headers_for_the_server_are_ours_alone(name: str) -> None:
    headers = {name: "all", "trace": "1"}
    assert outgoing(Event(ENDED, {}, id="abc", headers=headers), LIMIT)[1] == {
        "trace": "1",
        "Nats-Msg-Id": once(Event(ENDED, {}, id="abc")),
    }
    assert incoming_headers(headers) == {"trace": "1"}
    assert incoming_headers({name: "all"}) is None
    assert incoming_headers({}) is None
    assert incoming_headers(None) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("", "x"),
        ("a b", "x"),
        ("a:", "x"),
        ("k" * 65, "x"),
        ("é", "x"),
        ("k\n", "x"),
        ("k", "a\r\nb"),
        ("k", "a\nb"),
        ("k", "a\x00"),
        ("k", "é"),
        ("k", "\x7f"),
        ("k", "\u202e"),
    ],
)
def test_headers_that_could_upset_the_protocol_are_refused(key: str, value: str) -> None:
    with pytest.raises(ValueError, match="not a header"):
        outgoing(Event(ENDED, {}, headers={key: value}), LIMIT)


def test_a_header_name_has_64_characters_at_most() -> None:
    assert outgoing(Event(ENDED, {}, headers={"k" * 64: "v"}), LIMIT)[1]["k" * 64] == "v"


def test_an_id_has_1_to_200_visible_characters() -> None:
    for good in ("x", "x" * 199, "x" * 200, "".join(sorted(string.printable[:94]))):
        assert once(Event(ENDED, {}, id=good)).rpartition(":")[0] == good
    for bad in ("", "x" * 201, "a b", "a\n", "a\x00", "é", "\x7f", "a\r\nNats-Rollup: all"):
        with pytest.raises(ValueError, match="not an event id"):
            outgoing(Event(ENDED, {}, id=bad), LIMIT)


def deep(levels: int) -> dict[str, Any]:
    payload: dict[str, Any] = {}
    for _ in range(levels):
        payload = {"x": payload}
    return payload


@pytest.mark.parametrize(
    "payload", [{"x": object()}, {"x": float("nan")}, {"x": float("inf")}, {("a",): 1}, deep(100_000)]
)
def test_a_payload_that_is_no_json_is_a_value_error(payload: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        outgoing(Event(ENDED, payload), LIMIT)


def test_a_bad_topic_is_refused_before_a_client_library_sees_it() -> None:
    with pytest.raises(ValueError, match="not a topic"):
        outgoing(Event("a.*", {}), LIMIT)


@pytest.mark.parametrize(
    "bad",
    ["", ".", "a.", ".a", "a..b", "*", "a.>", "a*", "a b", "a\t", "a\n", "\x00", "a\x1f", "a\x7f", "\ud800"],
)
def test_topics_that_are_none(bad: str) -> None:
    with pytest.raises(ValueError):
        check_topic(bad)


def test_a_subject_has_255_characters_at_most() -> None:
    for size in (254, 255):
        assert check_topic("x" * size) == "x" * size
        assert check_pattern("x" * size) == "x" * size
    for check in (check_topic, check_pattern):
        with pytest.raises(ValueError):
            check("x" * 256)


@pytest.mark.parametrize("good", [">", "*", "a", "a.>", "*.*", "a.*.b.>", "attacker.session.ended"])
def test_patterns_that_can_be_subscribed_to(good: str) -> None:
    assert check_pattern(good) == good


@pytest.mark.parametrize(
    "bad", ["", "a..b", ">.a", "a.>.b", "a.>.>", "a*", "*a", "a>", "a b", "a.\n", "\x00", "a.\x7f", "\udfff"]
)
def test_patterns_that_cannot(bad: str) -> None:
    with pytest.raises(ValueError):
        check_pattern(bad)


def test_a_durable_has_a_name_of_1_to_100_plain_characters() -> None:
    for good in ("t", "ttp_2-A", "x" * 99, "x" * 100):
        assert check_consumer_name(good) == good
    for bad in ("", "x" * 101, "a.b", "a b", "a*", "a>", "a/b", "é", "a\n"):
        with pytest.raises(ValueError, match="not a consumer name"):
            check_consumer_name(bad)


def test_a_blob_has_8_mib_at_most() -> None:
    assert MAX_BLOB_BYTES == 8 * 2**20
    for size in (0, MAX_BLOB_BYTES - 1, MAX_BLOB_BYTES):
        check_blob("0" * 64, bytes(size))
    with pytest.raises(ValueError, match="over the limit"):
        check_blob("0" * 64, bytes(MAX_BLOB_BYTES + 1))


@pytest.mark.parametrize(
    "key", ["", "0" * 63, "0" * 65, "A" * 64, "g" * 64, "0" * 64 + "\n", "../" + "0" * 61]
)
def test_the_key_of_a_blob_is_a_sha256_in_hex(key: str) -> None:
    with pytest.raises(ValueError, match="not a sha256"):
        check_blob(key)


def test_what_the_publisher_gives_is_what_the_event_has() -> None:
    given = new_event("a.b", {"n": 1}, "kind", "abc", 12.5)
    assert (given.topic, given.payload, given.type, given.id, given.ts) == (
        "a.b",
        {"n": 1},
        "kind",
        "abc",
        12.5,
    )
    one, other = (new_event("a.b", {}, "", None, None) for _ in range(2))
    assert one.id != other.id
    assert one.ts > 0
    assert new_event("a.b", {}, "", None, 0.0).ts == 0.0
