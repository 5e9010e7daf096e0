"""The envelope on the wire: what survives the trip, what is malformed, what is made storable."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decnet.bus.base import SCHEMA_VERSION, Event
from decnet.errors import MalformedEvent

TOPIC = "attacker.observed"
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def body(**fields: Any) -> bytes:
    return json.dumps({"payload": {}, **fields}).encode()


def strange(value: Any) -> bool:
    """Whether something in ``value`` is what no database stores."""
    if isinstance(value, dict):
        return any(strange(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return any(map(strange, value))
    if isinstance(value, str):
        return "\0" in value or any("\ud800" <= char <= "\udfff" for char in value)
    if isinstance(value, float):
        return not abs(value) < float("inf")
    return isinstance(value, int) and not -(2**63) <= value < 2**63


def test_the_publishers_id_time_version_and_type_survive_the_trip() -> None:
    event = Event(TOPIC, {"a": [1, None, "é"]}, type="kind", id="abc", ts=12.5, v=3)
    found = Event.from_bytes(TOPIC, event.to_bytes(), {"trace": "1"})
    assert found == event
    assert dict(found.headers) == {"trace": "1"}


@settings(max_examples=40)
@given(
    payload=st.dictionaries(st.text(), _json, max_size=3), kind=st.text(max_size=8), ts=st.floats(-1e14, 1e14)
)
def test_any_payload_survives_as_ascii_unless_no_database_stores_it(
    payload: dict[str, Any], kind: str, ts: float
) -> None:
    if strange(payload):
        payload = {}
    event = Event(TOPIC, payload, type=kind.replace("\0", ""), ts=ts)
    assert event.to_bytes().isascii()
    assert Event.from_bytes(TOPIC, event.to_bytes()) == event


def test_the_topic_is_the_transports_never_the_bodys() -> None:
    assert Event.from_bytes(TOPIC, body(topic="identity.merged")).topic == TOPIC


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\x00\xff",
        b"nothing",
        b"[]",
        b'"x"',
        b"1",
        b"null",
        b"{}",
        b'{"payload": []}',
        b'{"payload": null}',
        b'{"payload": "x"}',
        b"[" * 100_000,
        b'{"payload": {"x": ' + b"1" * 5000 + b"}}",
        body(id=1),
        body(id=None),
        body(type=1),
        body(type=None),
        body(v="1"),
        body(v=1.0),
        body(v=True),
        body(v=None),
        body(ts="now"),
        body(ts=True),
        body(ts=[]),
        body(ts=1e15),
        body(ts=-1e15),
        body(ts=float("nan")),
        body(ts=float("inf")),
    ],
)
def test_a_body_that_is_no_envelope_is_malformed(bad: bytes) -> None:
    with pytest.raises(MalformedEvent):
        Event.from_bytes(TOPIC, bad)


def test_the_time_of_an_event_is_bounded_and_a_number() -> None:
    assert Event.from_bytes(TOPIC, body(ts=999_999_999_999_999)).ts == 999_999_999_999_999.0
    assert Event.from_bytes(TOPIC, body(ts=-0.5)).ts == -0.5
    assert isinstance(Event.from_bytes(TOPIC, body(ts=3)).ts, float)


def test_what_a_body_leaves_out_is_filled_in() -> None:
    before = time.time()
    one, other = Event.from_bytes(TOPIC, body()), Event.from_bytes(TOPIC, body(id=""))
    assert before <= one.ts <= time.time()
    assert (one.v, one.type) == (SCHEMA_VERSION, "")
    assert len(one.id) == len(other.id) == 32
    assert one.id != other.id
    assert dict(one.headers) == {}


def test_headers_take_no_part_in_equality() -> None:
    one = Event(TOPIC, {}, id="a", ts=1.0, headers={"trace": "1"})
    assert one == Event(TOPIC, {}, id="a", ts=1.0)
    assert "trace" not in repr(one)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (r'"a\u0000"', "a\ufffd"),
        (r'"\ud800"', "\ufffd"),
        (r'"\uD800"', "\ufffd"),
        (r'"\uDFFF"', "\ufffd"),
        (r'"\ud83d\ude00"', "\U0001f600"),
        ("NaN", None),
        ("Infinity", None),
        ("-Infinity", None),
        ("1e400", None),
        ("-1E400", None),
        ("1e+400", None),
        ("1.25E+0999", None),
        ("0." + "5" * 60 + "e999", None),
        ("1e99", 1e99),
        ("1e-400", 0.0),
        ('"1e400"', "1e400"),
        ('"x:1e400"', "x:1e400"),
        (str(2**63 - 1), 2**63 - 1),
        (str(2**63), str(2**63)),
        (str(-(2**63)), -(2**63)),
        (str(-(2**63) - 1), str(-(2**63) - 1)),
    ],
)
@pytest.mark.parametrize(
    "around", ['{"payload":{"x":%s}}', '{"payload":{"x":[%s]}}', '{"payload":{"x":[0,%s]}}']
)
@pytest.mark.parametrize("blank", ["", " ", "\n", "\t", "\r"])
def test_what_no_database_stores_is_made_storable(
    written: str, kept: object, around: str, blank: str
) -> None:
    text = (around % (blank + written)).encode()
    found = Event.from_bytes(TOPIC, text).payload["x"]
    assert (found[-1] if isinstance(found, list) else found) == kept


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-32-be"])
def test_json_of_another_encoding_hides_nothing(encoding: str) -> None:
    text = (
        '{"payload":{"x":"\\u0000","y":"\\ud800","z":NaN,"n":1'
        + "0" * 30
        + '},"id":"a\\u0000","type":"\\ud800"}'
    )
    event = Event.from_bytes(TOPIC, text.encode(encoding))
    assert event.payload == {"x": "\ufffd", "y": "\ufffd", "z": None, "n": "1" + "0" * 30}
    assert (event.id, event.type) == ("a\ufffd", "\ufffd")


def test_ids_and_types_are_made_storable_too() -> None:
    event = Event.from_bytes(TOPIC, b'{"payload":{},"id":"\\u0000","type":"\\udc00"}')
    assert (event.id, event.type) == ("\ufffd", "\ufffd")


def test_an_infinite_number_is_found_behind_text_that_looks_like_one() -> None:
    event = Event.from_bytes(
        TOPIC, b'{"payload":{"a":"1e400","b":"x9e+999","c":1e400,"d":"' + b"9" * 30 + b'"}}'
    )
    assert event.payload == {"a": "1e400", "b": "x9e+999", "c": None, "d": "9" * 30}


def test_an_id_or_a_hash_is_no_great_number() -> None:
    digits = "1" * 40
    event = Event.from_bytes(TOPIC, body(payload={"id": digits, "deep": json.loads("[" * 60 + "]" * 60)}))
    assert event.payload["id"] == digits
    assert str(event.payload["deep"]).count("[") == 60  # not walked through: nothing in it was doubtful


_pieces = st.sampled_from(
    [b"{", b"}", b"[", b"]", b":", b",", b'"', b"payload", b'"payload":{', b'"x":', b"\\u0000", b"\\ud800", b"\xed\xa0\x80", b"NaN", b"1e999", b"9" * 20, b"\x00", b"-"]
)  # fmt: skip


@given(pieces=st.lists(st.one_of(_pieces, st.binary(max_size=3)), max_size=10), whole=st.booleans())
def test_no_body_ends_in_another_error_or_in_what_no_database_stores(
    pieces: list[bytes], whole: bool
) -> None:
    middle = b"".join(pieces)
    text = b'{"payload":{"x":[%s]}}' % middle if whole else middle
    try:
        event = Event.from_bytes(TOPIC, text)
    except MalformedEvent:
        return
    assert not strange([event.payload, event.id, event.type, event.ts])
