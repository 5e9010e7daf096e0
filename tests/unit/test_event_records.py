"""Records: what is built is parsed again; what producers write differently is read; what is bad is named."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.errors import MalformedEvent
from decnet.events import canary, email, fields
from decnet.events.attacker import Fingerprinted, Observed
from decnet.events.credential import ReuseDetected
from decnet.events.examples import EXAMPLES
from decnet.events.fields import Epoch
from decnet.events.observation import Observation
from decnet.events.record import MAX_UNKNOWN, OTHERS, Fault, Record, unknown
from decnet.events.schema import schema_files, schemas_dir
from decnet.events.session import Auth, Command, Download, SessionEnded
from decnet.events.topics import RECORDS, record_of
from decnet.ids import attacker_id

IP = "203.0.113.5"
KEY: dict[str, Any] = {"session_id": "s1", "attacker_ip": IP, "ended_at": 1_700_000_000}

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: st.integers(1, 1000),
    float: st.floats(0, 1000, allow_nan=False),
    bool: st.booleans(),
    fields.Named: TEXT,
    fields.Seconds: st.floats(0, 1000),
    fields.Count: st.integers(0, 9),
    fields.Share: st.floats(0, 1),
    fields.Percent: st.floats(0, 100),
    fields.Domain: st.sampled_from(["", "example.org"]),
    fields.Sha256: st.just("ab" * 32),
    fields.Simhash: st.sampled_from(["", "0123abcd"]),
    email.Marker: st.sampled_from(["ransom", "invoice"]),
    canary.PeerKind: st.sampled_from(["client", "resolver"]),
    Epoch: st.floats(0, fields.LATEST).map(Epoch),
    Any: TEXT | st.integers(0, 9) | st.lists(TEXT, max_size=2),
}


def values(info: msgspec.inspect.Type | Any, kind: Any) -> st.SearchStrategy[Any]:
    """Values of an annotated type."""
    origin, args = getattr(kind, "__origin__", None), getattr(kind, "__args__", ())
    if kind in SCALARS:
        return SCALARS[kind]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return structs(kind)
    if origin is list:
        return st.lists(values(info, args[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(TEXT, values(info, args[1]), max_size=2)
    return st.one_of(*(st.none() if a is type(None) else values(info, a) for a in args))


def structs(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    given_fields = {f.name: values(None, f.type) for f in msgspec.structs.fields(kind)}
    if issubclass(kind, Record):
        for name in ("attacker_uuid", "identity_uuid"):
            if name in given_fields:
                given_fields[name] = TEXT
        if "attacker_ip" in given_fields:
            given_fields["attacker_ip"] = st.none() | st.ip_addresses(v=4).map(str)
        if kind is Observation:
            given_fields["value"] = TEXT
    built = st.fixed_dictionaries(given_fields)
    if "part" in given_fields:
        built = built.map(lambda d: {**d, "parts": max(d["part"], d["parts"])})
    return built.map(lambda d: kind(**d))


@pytest.mark.parametrize("record", sorted(set(RECORDS.values()), key=lambda r: f"{r.__module__}.{r.__name__}"), ids=lambda r: f"{r.__module__}.{r.__name__}")  # fmt: skip
def test_what_is_built_is_parsed_again(record: type[Record]) -> None:
    @given(structs(record))
    def round_trip(one: Record) -> None:
        built = one.build()
        faults: list[Fault] = []
        assert record.parse(built, faults) == one
        assert record.parse(json.loads(json.dumps(built))) == one
        assert faults == []

    round_trip()


def test_every_topic_finds_its_record_and_others_find_none() -> None:
    assert record_of("attacker.session.ended") is SessionEnded
    assert record_of("attacker.observation.motor.paste_burst_rate") is Observation
    assert record_of("canary.tok1.triggered") is RECORDS["canary.*.triggered"]
    assert [
        record_of(t) for t in ("decky.web.traffic", "attacker.observation", "canary.a.b.triggered", "x")
    ] == [None] * 4


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0.0), (1.5, 1.5), ("17", 17.0), ("2026-03-01T10:00:00Z", 1_772_359_200.0),
        ("2026-03-01T12:00:00+02:00", 1_772_359_200.0), ("2026-03-01 10:00:00", 1_772_359_200.0),
        (fields.LATEST, fields.LATEST), (fields.LATEST + 1, None), (-1, None), (True, None), ("soon", None),
        (float("nan"), None), (float("inf"), None), ([], None), (None, None),
    ],
)  # fmt: skip
def test_moments(value: Any, seconds: float | None) -> None:
    assert fields.epoch(value) == seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [(" 203.0.113.5 ", IP), ("::ffff:203.0.113.5", IP), ("2001:DB8::1", "2001:db8::1"), ("unknown", "unknown"), ("", None), (7, None)],
)  # fmt: skip
def test_addresses(value: Any, text: str | None) -> None:
    assert fields.address(value) == text


def test_an_attacker_is_named_by_its_id_or_else_by_its_address() -> None:
    assert fields.attacker_of({"attacker_uuid": "u", "attacker_ip": IP}) == ("u", IP)
    assert fields.attacker_of({"attacker_ip": f"::ffff:{IP}"}) == (attacker_id(IP), IP)
    assert fields.attacker_of({"attacker_uuid": 5}) == (None, None)
    with pytest.raises(MalformedEvent, match="neither attacker_uuid nor attacker_ip"):
        Observed.parse({"decky_id": "web"})


def test_commands_as_other_producers_write_them() -> None:
    commands = ["id", {"command_text": "w", "uuid": "u1"}, {"command_text": "ls", "command_id": "c1", "ts": "2026-03-01T10:00:00Z"}]  # fmt: skip
    ended = SessionEnded.parse({**KEY, "commands": commands})
    assert [(c.id, c.command_text, c.ts) for c in ended.commands] == [
        (None, "id", None), ("u1", "w", None), ("c1", "ls", 1_772_359_200.0),
    ]  # fmt: skip
    assert ended.attacker_uuid == attacker_id(IP)


def test_any_object_with_a_payload_is_read() -> None:
    assert SessionEnded.parse(SimpleNamespace(payload=KEY)) == SessionEnded.parse(KEY)


def test_a_bad_element_costs_itself_only_and_is_named() -> None:
    faults: list[Fault] = []
    commands = [
        {"command_text": "a"},
        {"command_text": "b", "ts": "soon"},
        {"command_text": 5},
        7,
        {"command_text": "c"},
    ]
    downloads = [{"url": "http://x/y"}, {"url": None}]
    ended = SessionEnded.parse({**KEY, "commands": commands, "downloads": downloads}, faults)
    assert [c.command_text for c in ended.commands] == ["a", "c"]
    assert ended.downloads == [Download(url="http://x/y")]
    assert [(f.path, f.value) for f in faults] == [
        ("commands[1].ts", "'soon'"), ("commands[2].command_text", "5"), ("commands[3]", "7"), ("downloads[1].url", "None"),
    ]  # fmt: skip
    assert str(faults[0]) == "commands[1].ts: expected a number or ISO time (it is 'soon')"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"session_id": None}, "session_id: expected `str`, got `null`"),
        ({"session_id": ""}, "session_id is empty"),
        ({"ended_at": "never"}, "ended_at: expected a number or ISO time"),
        ({"attacker_ip": None}, "neither attacker_uuid nor attacker_ip"),
        ({"part": 0}, "part 0 of 1"),
        ({"part": 2}, "part 2 of 1"),
        ({"part": 1, "parts": 100_001}, "part 1 of 100001"),
    ],
)
def test_without_its_key_fields_an_event_goes_whole(change: dict[str, Any], said: str) -> None:
    with pytest.raises(MalformedEvent, match=said.replace("`", ".")):
        SessionEnded.parse({**KEY, **change})
    SessionEnded.parse({**KEY, "part": 100_000, "parts": 100_000})


def test_a_bad_value_beside_the_key_fields_costs_itself_only() -> None:
    faults: list[Fault] = []
    auth = {"fail_count": 3, "success": "yes", "usernames": ["root"]}
    ended = SessionEnded.parse(
        {**KEY, "commands": {}, "duration_s": "long", "auth": auth, "signals": ["a", 5, "b", None]}, faults
    )
    assert (ended.commands, ended.duration_s, ended.signals) == ([], None, ["a", "b"])
    assert ended.auth == Auth(fail_count=3, usernames=["root"]), "what else it says is kept"
    assert sorted((f.path, f.value) for f in faults) == [
        ("auth.success", "'yes'"), ("commands", "{}"), ("duration_s", "'long'"), ("signals[1]", "5"), ("signals[3]", "None"),
    ]  # fmt: skip


def test_very_many_bad_elements_of_a_plain_list_take_the_list() -> None:
    for bad, kept in ((32, ["good"]), (33, [])):
        faults: list[Fault] = []
        assert SessionEnded.parse({**KEY, "signals": [*([5] * bad), "good"]}, faults).signals == kept
        assert len(faults) == bad


def test_keys_of_a_newer_producer_are_left_out_and_counted() -> None:
    before = unknown["Observed", "colour"]
    assert Observed.parse({"attacker_ip": IP, "colour": "red"}).build() == {
        "attacker_ip": IP,
        "attacker_uuid": attacker_id(IP),
    }
    assert unknown["Observed", "colour"] == before + 1


def test_what_upstream_names_differently() -> None:
    assert (
        Fingerprinted.parse({"attacker_ip": IP, "type": "ipv6_leak", "addr": "2001:db8::1"}).address
        == "2001:db8::1"
    )
    assert Fingerprinted.parse({"identity_uuid": "i", "type": "ja4", "ja4": "t13"}).attacker_uuid is None
    assert ReuseDetected.parse({"credential_id": "c", "attacker_uuids": ["a"]}).attacker_uuids == ["a"]
    with pytest.raises(MalformedEvent):
        ReuseDetected.parse({"credential_id": "c", "attacker_uuids": []})


def test_lists_are_each_records_own() -> None:
    first, second = (SessionEnded.parse(KEY) for _ in range(2))
    first.commands.append(Command(command_text="x"))
    assert second.commands == []


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from([*msgspec.structs.asdict(SessionEnded.parse(KEY)), "x"]), v, max_size=6), max_leaves=12))  # fmt: skip
def test_no_payload_does_worse_than_to_be_malformed(payload: Any) -> None:
    for record in set(RECORDS.values()):
        for body in (payload, {**KEY, **payload} if isinstance(payload, dict) else payload):
            with suppress(MalformedEvent):
                record.parse(body, [])


def test_no_address_of_a_person_passes_for_a_domain() -> None:
    faults: list[Fault] = []
    mail = {
        "attacker_ip": IP,
        "source_id": "m",
        "from_domain": "a@example.org",
        "rcpt_domains": ["x.org", "b@x.org"],
    }
    got = email.Received.parse(
        {**mail, "rcpt_count": -1, "body_sha256": "", "body_markers": ["ransom", "hello"]}, faults
    )
    assert (got.from_domain, got.rcpt_domains, got.rcpt_count, got.body_markers) == (
        "",
        ["x.org"],
        0,
        ["ransom"],
    )
    assert sorted(f.path for f in faults) == [
        "body_markers[1]",
        "from_domain",
        "rcpt_count",
        "rcpt_domains[1]",
    ]


def test_every_example_is_read_without_a_fault_and_every_kind_has_one() -> None:
    assert EXAMPLES.keys() == RECORDS.keys()
    before = unknown.total()
    for pattern, payload in EXAMPLES.items():
        faults: list[Fault] = []
        RECORDS[pattern].parse(payload, faults)
        assert faults == []
    assert unknown.total() == before


def test_the_shipped_schemas_are_those_of_the_records() -> None:
    shipped = {path.name: path.read_text("utf-8") for path in schemas_dir().glob("*.schema.json")}
    assert shipped == schema_files(), "run: make schemas"


def test_names_of_unknown_keys_are_bounded_and_the_rest_is_counted_together() -> None:
    strange: Counter[tuple[str, str]] = Counter()
    Observed.parse({"attacker_ip": IP, **{f"key{n}": n for n in range(MAX_UNKNOWN + 5)}}, None, strange)
    assert len(strange) == MAX_UNKNOWN + 1
    assert (strange.total(), strange["Observed", OTHERS]) == (MAX_UNKNOWN + 5, 5)


@pytest.mark.parametrize("pattern", sorted(RECORDS))
def test_an_element_that_cannot_be_read_leaves_the_rest_of_every_record_and_is_named(pattern: str) -> None:
    record, example = RECORDS[pattern], EXAMPLES[pattern]
    for name, kind in [
        (f.name, f.type) for f in msgspec.structs.fields(record) if f.name not in record.NOT_ON_THE_WIRE
    ]:
        if getattr(kind, "__origin__", None) is not list:
            continue
        faults: list[Fault] = []
        whole = [*example.get(name, [])]
        bad = "once" if kind.__args__ == (Epoch,) else 1.5
        got = record.parse({**example, name: [*whole, bad]}, faults)
        assert [fault.path.split(".")[0] for fault in faults] == [f"{name}[{len(whole)}]"]
        assert len(getattr(got, name)) == len(whole)
        assert got.build().keys() | {name} == record.parse(example).build().keys() | {name}


def test_fields_of_new_kinds_of_fingerprints_are_kept_as_they_came() -> None:
    sent = {"attacker_ip": IP, "attacker_uuid": attacker_id(IP), "type": "ja9", "ja9": "x", "more": [1]}
    got = Fingerprinted.parse(sent)
    assert (got.more, got.build()) == ({"ja9": "x", "more": [1]}, sent)


def test_what_is_absent_is_nothing_and_null_is_absent() -> None:
    assert SessionEnded.parse({**KEY, "commands": None, "downloads": None, "part": None, "auth": None}) == (
        SessionEnded.parse(KEY)
    )
