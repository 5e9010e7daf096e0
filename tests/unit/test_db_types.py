"""Values at the database's edge: times, texts, numbers and JSON, at their limits; ids and keys that must not move."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import Dialect
from sqlalchemy.dialects import postgresql, sqlite

from decnet.db.rows.ttp import TTPTag
from decnet.db.types import MAX_INT, SafeFloat, SafeInt, SafeJson, SafeText, UtcTime, as_utc
from decnet.errors import SensorError
from decnet.ids import attacker_id, event_id, identity_id, normalize_ip, session_id, tag_id
from decnet.jsontext import Kept, dumps
from decnet.keyed import KEY_BYTES, KEY_FILE, keyed_hash, load_key

SQLITE = cast("Dialect", sqlite.dialect(json_serializer=dumps))  # type: ignore[no-untyped-call]
POSTGRES = cast("Dialect", postgresql.dialect(json_serializer=dumps))  # type: ignore[no-untyped-call]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [NOON, NOON.replace(tzinfo=None), NOON.timestamp(), int(NOON.timestamp()), "2026-01-01T12:00:00",
     "2026-01-01T14:00:00+02:00", NOON.astimezone(timezone(timedelta(hours=-5)))],
)  # fmt: skip
def test_every_way_to_write_a_time_is_one_aware_utc_time(value: Any) -> None:
    found = as_utc(value)
    assert found == NOON
    assert found is not None
    assert found.tzinfo is UTC
    stored = UtcTime().process_bind_param(value, SQLITE)
    assert stored == NOON.replace(tzinfo=None), "SQLite keeps a text without zone, which sorts right"
    assert UtcTime().process_bind_param(value, POSTGRES) == NOON
    assert UtcTime().process_result_value(stored, SQLITE) == NOON


def test_a_time_without_zone_is_utc_wherever_the_host_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        try:
            assert as_utc("2026-01-01T12:00:00") == as_utc(NOON.replace(tzinfo=None)) == NOON
            assert as_utc(NOON.timestamp()) == NOON
        finally:
            patch.undo()
            time.tzset()


@pytest.mark.parametrize("bad", [True, [], {}, b"x", "yesterday", 1e300, float("nan"), float("inf"), 2**70])
def test_what_is_no_time_is_one_kind_of_error(bad: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        as_utc(bad)


def test_no_time_stays_no_time() -> None:
    assert as_utc(None) is None
    assert UtcTime().process_bind_param(None, SQLITE) is None
    assert UtcTime().process_bind_param(None, POSTGRES) is None
    assert UtcTime().process_result_value(None, POSTGRES) is None
    assert as_utc(0) == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRES])
def test_numbers_are_clamped_at_63_bits(dialect: Dialect) -> None:
    bind = SafeInt().process_bind_param
    least = -(2**63)
    pairs: list[tuple[Any, int | None]] = [
        (2**63 - 1, MAX_INT), (2**63, MAX_INT), (2**63 - 2, 2**63 - 2), (least, least), (least - 1, least), (least + 1, least + 1),
        (1.9, 1), (float("inf"), MAX_INT), (float("-inf"), least), (1e300, MAX_INT), (float("nan"), None),
        (str(2**70), MAX_INT), (f"-{2**70}", least), ("9" * 5000, MAX_INT), ("12", 12), ("1x", None), ("12\n", None), ("", None),
        ("1.5", None), (None, None), ([], None), ({}, None), (b"1", None), (True, 1),
    ]  # fmt: skip
    for value, wanted in pairs:
        found = bind(value, dialect)
        assert found == wanted, repr(value)[:40]
        assert found is None or type(found) is int
    assert MAX_INT == 2**63 - 1


def test_floats_are_finite_or_nothing() -> None:
    bind = SafeFloat().process_bind_param
    assert [bind(v, SQLITE) for v in (1, 1.5, -2.5, 0)] == [1.0, 1.5, -2.5, 0.0]
    for bad in (True, None, "1.0", float("nan"), float("inf"), float("-inf"), 1e300, -1e300, 2**5000, []):
        assert bind(bad, SQLITE) is None
    assert bind(9.9e299, SQLITE) == 9.9e299


def test_texts_and_json_are_storable_the_same_way_for_both() -> None:
    for dialect in (SQLITE, POSTGRES):
        text, blob = SafeText().process_bind_param, SafeJson().process_bind_param
        assert text(None, dialect) is None
        assert text("a\x00b\ud800c\udfffd\x1b", dialect) == "a\ufffdb\ufffdc\ufffdd\x1b"
        assert text(5, dialect) == "5"
        assert text(["\x00"], dialect) == "['\\x00']"
        assert blob(None, dialect) is None
        assert blob(
            {"\x00": ["\ud800", 2**63, 2**63 - 1, -(2**63) - 1, -(2**63), float("nan")]}, dialect
        ) == {"\ufffd": ["\ufffd", str(2**63), 2**63 - 1, str(-(2**63) - 1), -(2**63), None]}
        deep: Any = "\x00"
        for _ in range(900):
            deep = [deep]
        json.dumps(blob(deep, dialect))
    assert type(SafeJson().load_dialect_impl(POSTGRES)).__name__.endswith("JSONB")
    assert not type(SafeJson().load_dialect_impl(SQLITE)).__name__.endswith("JSONB")


def tag(**more: Any) -> TTPTag:
    base = {"source_kind": "command", "source_id": "c", "attacker_uuid": "a", "tactic": "TA0002", "rule_id": "R1",
            "rule_version": 1, "technique_id": "T1059", "confidence": 0.5}  # fmt: skip
    return TTPTag(**{**base, **more})


def test_a_tag_is_refused_before_it_is_written() -> None:
    for confidence in (0.0, 1.0, 0, 1):
        assert tag(confidence=confidence).confidence == confidence
    for wrong in (-0.001, 1.001, None, "0.5", float("nan")):
        with pytest.raises(ValueError, match="confidence"):
            tag(confidence=wrong)
    with pytest.raises(ValueError, match="attacker_uuid or identity_uuid"):
        tag(attacker_uuid=None)
    assert tag(attacker_uuid=None, identity_uuid="i").identity_uuid == "i"
    with pytest.raises(TypeError, match="colour"):
        tag(colour="red")
    for key in ("source_kind", "source_id", "rule_id", "rule_version", "technique_id"):
        with pytest.raises(ValueError, match=f"needs {key}"):
            tag(**{key: None})
    assert tag(uuid="mine").uuid == "mine"
    assert tag().created_at.tzinfo is not None
    assert tag().uuid == tag_id("command", "c", "R1", 1, "T1059", None)


def test_a_tags_id_is_made_of_its_source_rule_version_and_technique_alone() -> None:
    base = tag().uuid
    changed: list[dict[str, Any]] = [
        {"source_kind": "payload"}, {"source_id": "d"}, {"rule_id": "R2"}, {"rule_version": 2},
        {"technique_id": "T1060"}, {"sub_technique_id": "T1059.004"},
    ]  # fmt: skip
    assert len({base, *(tag(**one).uuid for one in changed)}) == 7
    assert tag(tactic="TA0001", confidence=0.9, attacker_uuid="b", decky_id="d", session_id="s").uuid == base


def test_ids_never_move() -> None:
    """Stored rows and rows of tomorrow are the same rows: these values are in databases."""
    assert attacker_id("192.0.2.1") == "eba7b879-6504-5688-8b55-aab33dd222ba"
    assert identity_id("a") == "54104660-05a2-57f0-a79b-2e58f5250430"
    assert session_id("cowrie", "d", "s") == "27f89e6b-c28e-5d5f-9e27-62bc0c6e64ea"
    assert tag_id("command", "c", "R1", 1, "T1059", None) == "f4531d36-6e87-5a44-8011-aea5ff7430b1"
    assert event_id("recorder", "k") == "74f3523b52675185af4c104d31c9f583"
    assert attacker_id(" ::ffff:192.0.2.1 ") == attacker_id("192.0.2.1")
    assert normalize_ip("2001:DB8:0::1") == "2001:db8::1"
    assert normalize_ip("::ffff:192.0.2.1") == "192.0.2.1"
    assert normalize_ip(" no address ") == " no address "
    assert identity_id("a") != attacker_id("a")
    assert session_id("cowrie", "d", "s") != session_id("cowrie", "d|s", "")
    kinds = {
        session_id(*parts) for parts in (("a", "d", "s"), ("b", "d", "s"), ("a", "e", "s"), ("a", "d", "t"))
    }
    assert len(kinds) == 4
    assert event_id("recorder", "k") == event_id("recorder", "k", 1) != event_id("recorder", "k", 2)
    assert event_id("a", "k") != event_id("b", "k")
    assert len(event_id("a", "k")) == 32
    for lone in ("\ud800", "\x00"):
        assert attacker_id(lone) == attacker_id("\ufffd")


def test_equal_secrets_have_equal_hashes_under_one_key_and_kind_only() -> None:
    key = b"k" * KEY_BYTES
    same = keyed_hash(key, "password", "hunter2")
    assert same == keyed_hash(key, "password", "hunter2")
    assert len(same) == 64
    others = {
        keyed_hash(b"l" * KEY_BYTES, "password", "hunter2"),
        keyed_hash(key, "token", "hunter2"),
        keyed_hash(key, "password", "hunter3"),
        keyed_hash(key, "passwordh", "unter2"),
        keyed_hash(key, "password\ud800", "hunter2"),
    }
    assert len(others | {same}) == 6
    assert "hunter2" not in same
    assert len(keyed_hash(key, "password", "\ud800")) == 64


def test_the_key_is_made_once_private_and_whole(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    key = load_key(folder)
    assert len(key) == KEY_BYTES == 32
    assert load_key(folder) == key
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == [KEY_FILE], "no draft is left"
    assert load_key(tmp_path / "other") != key


def test_of_two_processes_the_first_ones_key_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one made its key between our look and our link."""
    first = b"f" * KEY_BYTES
    path = tmp_path / KEY_FILE
    looked: list[bool] = []
    honest = Path.exists

    def too_late(self: Path, **more: Any) -> bool:
        if self != path:
            return honest(self, **more)
        looked.append(True)
        path.write_bytes(first)
        return False

    monkeypatch.setattr(Path, "exists", too_late)
    assert load_key(tmp_path) == first
    assert looked
    assert [found.name for found in tmp_path.iterdir()] == [KEY_FILE]


@pytest.mark.parametrize(("size", "fine"), [(0, False), (31, False), (32, True), (33, True)])
def test_a_key_that_is_too_short_is_none(tmp_path: Path, size: int, fine: bool) -> None:
    (tmp_path / KEY_FILE).write_bytes(b"k" * size)
    if fine:
        assert load_key(tmp_path) == b"k" * size
        return
    with pytest.raises(SensorError, match="shorter than 32"):
        load_key(tmp_path)
    assert (tmp_path / KEY_FILE).read_bytes() == b"k" * size, "it is never replaced in silence"


def test_a_key_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SensorError, match="No space left"):
        load_key(tmp_path)
    assert list(tmp_path.iterdir()) == []


BOUND = [
    (UtcTime(), [NOON, NOON.replace(microsecond=6), NOON.replace(tzinfo=None), NOON.timestamp(), "2026-01-01T14:00:00+02:00",
     NOON.astimezone(timezone(timedelta(hours=-5))), datetime(9, 1, 1, tzinfo=UTC), None]),
    (SafeText(), ["", "a", "a\0b", "\ud800", "\u00e9", 7, True, None, KEY_FILE]),
    (SafeInt(), [0, -1, MAX_INT, MAX_INT + 1, -MAX_INT - 1, -MAX_INT - 2, True, "12", "x", 1.5, float("nan"), float("-inf"), None]),
    (SafeJson(), [Kept({"a": [1, "\u00e9"]}), Kept(), {"a": "\0"}, [2**70], "x", None]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "values"), BOUND, ids=lambda part: type(part).__name__)
@pytest.mark.parametrize("dialect", [SQLITE, POSTGRES], ids=lambda dialect: dialect.name)
def test_the_short_way_of_a_value_ends_where_the_long_one_does(
    kind: Any, values: list[Any], dialect: Dialect
) -> None:
    short = kind.dialect_impl(dialect).bind_processor(dialect)
    long = super(type(kind), kind.dialect_impl(dialect)).bind_processor(dialect)
    for value in values:
        found, wanted = short(value), long(value) if long else value
        assert (found, type(found)) == (wanted, type(wanted))
