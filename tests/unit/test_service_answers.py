"""What is sent to each service, what its answers say, and that nothing of a hostile one is believed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decnet.events.attacker import IntelEnriched
from decnet.events.intel import PARTS, Part, merged, newest, parts_of
from decnet.events.record import Fault
from decnet.hostile import visible
from decnet.intel.services import abuseipdb
from decnet.intel.services.base import MAX_WORD, MAX_WORDS, REASONS, Answer, AnswerFault, Request, Value
from decnet.intel.services.catalogue import SERVICES
from decnet.service_settings import ServiceSettings
from decnet.ttp.base import TaggerEvent
from decnet.ttp.rule_engine import RuleEngine
from tests import servicekit as kit
from tests.ruledrive import shipped
from tests.servicekit import ADDRESS, HOST, OTHER, SHA256, URL, changed, leaves

ABOUT = Value("address", ADDRESS)
FILE, LINK, NAME = Value("sha256", SHA256), Value("url", URL), Value("host", HOST)
ENGINE = RuleEngine()
ENGINE.replace([rule for rule in shipped() if rule.lifter is not None], {})
NAMED = {**kit.URLHAUS_HOST, "host": HOST}
GOOD: list[tuple[str, Value, int, Any]] = [
    ("greynoise", ABOUT, 200, kit.GREYNOISE_SEEN),
    ("greynoise", ABOUT, 404, kit.GREYNOISE_UNSEEN),
    ("abuseipdb", ABOUT, 200, kit.ABUSEIPDB),
    ("virustotal", FILE, 200, kit.VIRUSTOTAL),
    ("virustotal", FILE, 404, kit.VIRUSTOTAL_UNKNOWN),
    ("urlhaus", ABOUT, 200, kit.URLHAUS_HOST),
    ("urlhaus", NAME, 200, NAMED),
    ("urlhaus", LINK, 200, kit.URLHAUS_URL),
    ("urlhaus", FILE, 200, kit.URLHAUS_FILE),
    ("urlhaus", ABOUT, 200, kit.URLHAUS_UNKNOWN),
    ("threatfox", ABOUT, 200, kit.THREATFOX),
    ("threatfox", ABOUT, 200, kit.THREATFOX_UNKNOWN),
    ("feodo", ABOUT, 200, kit.FEODO),
]


def read(name: str, value: Value, status: int, body: Any) -> Answer:
    service = SERVICES[name]
    assert status in service.statuses
    assert value.kind in service.kinds
    return service.pick(service.read(service.asks(value), status, body), value)


def reason(name: str, value: Value, status: int, body: Any) -> str:
    with pytest.raises(AnswerFault) as caught:
        read(name, value, status, body)
    return caught.value.reason


def understood(name: str, said: Mapping[str, Any]) -> bool:
    """Whether the answer about an address is an event without a fault or a key that nobody knows."""
    faults: list[Fault] = []
    strange: Counter[tuple[str, str]] = Counter()
    record = IntelEnriched.parse({"attacker_ip": ADDRESS, **said}, faults, strange)
    return (record.providers, faults, dict(strange)) == ([name], [], {})


def test_every_service_has_a_section_of_settings_of_its_name() -> None:
    sections = {one.__name__.removesuffix("Settings").lower() for one in ServiceSettings.__subclasses__()}
    assert sections == set(SERVICES)


@pytest.mark.parametrize(
    ("name", "value", "sent", "header"),
    [
        ("greynoise", ABOUT, Request("GET", f"/v3/community/{ADDRESS}"), "key"),
        (
            "abuseipdb",
            ABOUT,
            Request("GET", "/api/v2/check", {"ipAddress": ADDRESS, "maxAgeInDays": "7", "verbose": "true"}),
            "Key",
        ),
        ("virustotal", FILE, Request("GET", f"/api/v3/files/{SHA256}"), "x-apikey"),
        ("urlhaus", ABOUT, Request("POST", "/v1/host/", form={"host": ADDRESS}), "Auth-Key"),
        ("urlhaus", NAME, Request("POST", "/v1/host/", form={"host": HOST}), "Auth-Key"),
        ("urlhaus", LINK, Request("POST", "/v1/url/", form={"url": URL}), "Auth-Key"),
        ("urlhaus", FILE, Request("POST", "/v1/payload/", form={"sha256_hash": SHA256}), "Auth-Key"),
        (
            "threatfox",
            ABOUT,
            Request(
                "POST",
                "/api/v1/",
                json={"query": "search_ioc", "search_term": ADDRESS, "exact_match": False},
            ),
            "Auth-Key",
        ),
        ("feodo", ABOUT, Request("GET", "/downloads/ipblocklist.json"), "Auth-Key"),
    ],
)
def test_what_is_sent_is_the_value_and_nothing_else(
    name: str, value: Value, sent: Request, header: str
) -> None:
    service = SERVICES[name]
    assert service.request(service.asks(value)) == sent
    assert service.key_header == header


def test_greynoise_tells_classification_and_name() -> None:
    assert read("greynoise", ABOUT, 200, kit.GREYNOISE_SEEN) == Answer(
        True,
        {
            "providers": ["greynoise"],
            "aggregate_verdict": "malicious",
            "greynoise_classification": "malicious",
            "greynoise_name": "unknown",
        },
    )


def test_a_service_that_harms_nobody_is_told_as_such() -> None:
    body = {**kit.GREYNOISE_SEEN, "noise": False, "riot": True, "classification": "benign", "name": "DNS"}
    said = read("greynoise", ABOUT, 200, body).said
    assert (said["aggregate_verdict"], said["greynoise_name"], said["greynoise_tags"]) == (
        "benign",
        "DNS",
        ["RIOT"],
    )


@pytest.mark.parametrize("word", ["unknown", "brand-new"])
def test_a_classification_that_is_no_verdict_gives_none(word: str) -> None:
    said = read("greynoise", ABOUT, 200, {**kit.GREYNOISE_SEEN, "classification": word}).said
    assert (said["aggregate_verdict"], said["greynoise_classification"]) == ("unknown", word)


def test_an_address_that_greynoise_never_saw_is_answered_as_unknown() -> None:
    unseen = Answer(False, {"providers": ["greynoise"], "aggregate_verdict": "unknown"})
    assert read("greynoise", ABOUT, 404, kit.GREYNOISE_UNSEEN) == unseen
    assert read("greynoise", ABOUT, 200, kit.GREYNOISE_UNSEEN) == unseen
    assert reason("greynoise", ABOUT, 404, kit.GREYNOISE_SEEN) == "wrong_shape"


def test_abuseipdb_tells_its_score_and_every_category_once() -> None:
    assert read("abuseipdb", ABOUT, 200, kit.ABUSEIPDB) == Answer(
        True,
        {
            "providers": ["abuseipdb"],
            "aggregate_verdict": "malicious",
            "abuseipdb_score": 100.0,
            "abuseipdb_categories": [14, 18, 22],
        },
    )


@pytest.mark.parametrize(
    ("score", "trusted", "verdict"),
    [
        (abuseipdb.MALICIOUS, False, "malicious"),
        (abuseipdb.MALICIOUS - 1, None, "suspicious"),
        (abuseipdb.SUSPICIOUS, False, "suspicious"),
        (abuseipdb.SUSPICIOUS - 1, False, "unknown"),
        (100, True, "benign"),
    ],
)
def test_the_score_decides_the_verdict_unless_the_address_is_trusted(
    score: int, trusted: bool | None, verdict: str
) -> None:
    body = changed(kit.ABUSEIPDB, ("data", "abuseConfidenceScore"), score)
    answer = read("abuseipdb", ABOUT, 200, changed(body, ("data", "isWhitelisted"), trusted))
    assert answer.said["aggregate_verdict"] == verdict


def test_an_address_that_nobody_reported_clears_what_was_reported_before() -> None:
    body = {"data": {"ipAddress": ADDRESS, "abuseConfidenceScore": 0, "totalReports": 0, "reports": []}}
    answer = read("abuseipdb", ABOUT, 200, body)
    assert not answer.known
    before, after = (
        parts_of(ts, said)
        for ts, said in (
            (1.0, read("abuseipdb", ABOUT, 200, kit.ABUSEIPDB).said),
            (2.0, answer.said),
        )
    )
    now = merged({**before, **after}).payload
    assert (now["abuseipdb_score"], now["abuseipdb_categories"], now["aggregate_verdict"]) == (
        0.0,
        [],
        "unknown",
    )


def test_virustotal_tells_how_many_engines_know_a_file_and_no_verdict_of_an_address() -> None:
    assert read("virustotal", FILE, 200, kit.VIRUSTOTAL) == Answer(
        True,
        {
            "virustotal_malicious": 41,
            "virustotal_engines": 61,
            "virustotal_label": "trojan.mirai/linux",
        },
    )
    assert read("virustotal", FILE, 404, kit.VIRUSTOTAL_UNKNOWN) == Answer(False, {})


def test_a_file_without_a_family_has_counts_only() -> None:
    body = changed(kit.VIRUSTOTAL, ("data", "attributes", "popular_threat_classification"), {})
    assert set(read("virustotal", FILE, 200, body).said) == {"virustotal_malicious", "virustotal_engines"}


def test_urlhaus_tells_of_an_address_what_it_spreads_now() -> None:
    assert read("urlhaus", ABOUT, 200, kit.URLHAUS_HOST) == Answer(
        True,
        {
            "providers": ["urlhaus"],
            "aggregate_verdict": "malicious",
            "urlhaus_listed": True,
            "urlhaus_online": 1,
            "urlhaus_threats": ["malware_download"],
            "urlhaus_tags": ["Mirai", "elf"],
        },
    )


def test_a_host_that_spreads_nothing_any_more_is_suspicious_only() -> None:
    body = changed(kit.URLHAUS_HOST, ("urls", 0, "url_status"), "offline")
    said = read("urlhaus", ABOUT, 200, body).said
    assert (said["aggregate_verdict"], said["urlhaus_online"]) == ("suspicious", 0)


def test_urlhaus_tells_of_names_urls_and_files_without_a_verdict_of_an_address() -> None:
    threats = {"urlhaus_threats": ["malware_download"], "urlhaus_listed": True}
    assert read("urlhaus", NAME, 200, NAMED).said == {
        **threats,
        "urlhaus_online": 1,
        "urlhaus_tags": ["Mirai", "elf"],
    }
    assert read("urlhaus", LINK, 200, kit.URLHAUS_URL).said == {
        **threats,
        "urlhaus_online": 0,
        "urlhaus_tags": ["elf"],
    }
    assert read("urlhaus", FILE, 200, kit.URLHAUS_FILE).said == {
        "urlhaus_listed": True,
        "urlhaus_malware_family": "Mirai",
    }
    assert read("urlhaus", FILE, 200, kit.URLHAUS_UNKNOWN) == Answer(False, {})
    unknown = {"providers": ["urlhaus"], "aggregate_verdict": "unknown"}
    assert read("urlhaus", ABOUT, 200, kit.URLHAUS_UNKNOWN) == Answer(False, unknown)


def test_threatfox_tells_only_what_is_about_exactly_this_address_and_sure_enough() -> None:
    assert read("threatfox", ABOUT, 200, kit.THREATFOX) == Answer(
        True,
        {
            "providers": ["threatfox"],
            "aggregate_verdict": "malicious",
            "threatfox_listed": True,
            "threatfox_threat_types": ["botnet_cc", "payload_delivery"],
            "threatfox_ioc_types": ["ip:port", "url"],
            "threatfox_malware_families": ["Bashlite", "Mirai"],
        },
    )
    nothing = read("threatfox", Value("address", OTHER), 200, kit.THREATFOX)
    assert (nothing.known, nothing.said["threatfox_listed"], nothing.said["aggregate_verdict"]) == (
        False,
        False,
        "unknown",
    )


def test_an_entry_that_its_reporter_is_not_sure_of_lists_nobody() -> None:
    body = {"query_status": "ok", "data": [kit.THREATFOX["data"][2]]}  # type: ignore[index]
    answer = read("threatfox", ABOUT, 200, body)
    assert answer.known
    assert (answer.said["aggregate_verdict"], answer.said["threatfox_listed"]) == ("suspicious", False)
    assert answer.said["threatfox_threat_types"] == []


def test_an_ipv6_address_is_found_in_whatever_spelling() -> None:
    six = Value("address", "2a0b:f4c0::1")
    entries = [
        {"ioc": ioc, "threat_type": "botnet_cc", "ioc_type": kind, "confidence_level": 75}
        for ioc, kind in [("[2A0B:F4C0:0::1]:443", "ip:port"), ("http://[2a0b:f4c0::1]/x", "url")]
    ]
    said = read("threatfox", six, 200, {"query_status": "ok", "data": entries}).said
    assert said["threatfox_ioc_types"] == ["ip:port", "url"]


def test_feodos_list_tells_who_stands_on_it_and_who_does_not() -> None:
    assert read("feodo", ABOUT, 200, kit.FEODO) == Answer(
        True,
        {
            "providers": ["feodo"],
            "aggregate_verdict": "malicious",
            "feodo_listed": True,
            "feodo_malware_family": "QakBot",
        },
    )
    absent = {"providers": ["feodo"], "aggregate_verdict": "unknown", "feodo_listed": False}
    assert read("feodo", Value("address", "91.92.93.95"), 200, kit.FEODO) == Answer(False, absent)
    assert read("feodo", ABOUT, 200, []) == Answer(False, absent)


def fired(*answers: tuple[str, Any]) -> dict[str, float]:
    """Rules of the pack that fire on answers as they are stored together, with their greatest confidence."""
    parts: Mapping[str, Part] = {}
    for name, body in answers:
        parts = newest(parts, parts_of(1.0, read(name, ABOUT, 200, body).said))
    tags = ENGINE.lift(TaggerEvent("intel", "s", "a", payload=merged(parts).payload), "intel")
    best: dict[str, float] = {}
    for tag in tags:
        best[tag.rule_id] = max(best.get(tag.rule_id, 0.0), tag.confidence)
    return best


@pytest.mark.parametrize(
    ("name", "body", "rule"),
    [
        ("abuseipdb", kit.ABUSEIPDB, "L0201"),
        ("greynoise", kit.GREYNOISE_SEEN, "L0202"),
        ("feodo", kit.FEODO, "L0203"),
        ("threatfox", kit.THREATFOX, "L0204"),
    ],
)
def test_what_a_service_answers_makes_the_shipped_rule_fire(name: str, body: Any, rule: str) -> None:
    assert set(fired((name, body))) == {rule}


def test_what_all_say_fires_all_rules_and_a_malicious_verdict_of_one_makes_the_others_surer() -> None:
    unsure = changed(kit.ABUSEIPDB, ("data", "abuseConfidenceScore"), 60)
    alone = fired(("abuseipdb", unsure))
    both = fired(("abuseipdb", unsure), ("urlhaus", kit.URLHAUS_HOST))
    assert both["L0201"] == pytest.approx(alone["L0201"] + 0.15)
    together = fired(
        ("abuseipdb", kit.ABUSEIPDB),
        ("greynoise", kit.GREYNOISE_SEEN),
        ("feodo", kit.FEODO),
        ("threatfox", kit.THREATFOX),
    )
    assert set(together) == {"L0201", "L0202", "L0203", "L0204"}


@pytest.mark.parametrize(
    ("name", "status", "body"),
    [
        ("greynoise", 404, kit.GREYNOISE_UNSEEN),
        ("threatfox", 200, kit.THREATFOX_UNKNOWN),
        ("feodo", 200, []),
        ("urlhaus", 200, kit.URLHAUS_UNKNOWN),
    ],
)
def test_that_nothing_is_known_fires_no_rule_and_clears_what_was_said_before(
    name: str, status: int, body: Any
) -> None:
    bad = {
        "greynoise": kit.GREYNOISE_SEEN,
        "threatfox": kit.THREATFOX,
        "feodo": kit.FEODO,
        "urlhaus": kit.URLHAUS_HOST,
    }
    before = parts_of(1.0, read(name, ABOUT, 200, bad[name]).said)
    after = merged(newest(before, parts_of(2.0, read(name, ABOUT, status, body).said))).payload
    assert after["aggregate_verdict"] == "unknown"
    assert ENGINE.lift(TaggerEvent("intel", "s", "a", payload=after), "intel") == []


@pytest.mark.parametrize(("name", "value", "status", "body"), GOOD)
def test_what_is_said_of_an_address_is_an_event_that_everybody_understands(
    name: str, value: Value, status: int, body: Any
) -> None:
    said = read(name, value, status, body).said
    if value.kind == "address":
        assert understood(name, said)
        fields = set(said) - {"providers", "aggregate_verdict"}
        assert fields <= set(IntelEnriched.__struct_fields__)
        assert {PARTS[field][0] for field in fields} <= {name}


@pytest.mark.parametrize(
    ("name", "value", "status", "body"),
    [
        ("greynoise", ABOUT, 200, {**kit.GREYNOISE_SEEN, "ip": OTHER}),
        ("greynoise", ABOUT, 404, {**kit.GREYNOISE_UNSEEN, "ip": OTHER}),
        ("abuseipdb", ABOUT, 200, changed(kit.ABUSEIPDB, ("data", "ipAddress"), OTHER)),
        ("virustotal", FILE, 200, changed(kit.VIRUSTOTAL, ("data", "id"), "b" * 64)),
        ("urlhaus", ABOUT, 200, {**kit.URLHAUS_HOST, "host": OTHER}),
        ("urlhaus", LINK, 200, {**kit.URLHAUS_URL, "url": URL + "x"}),
        ("urlhaus", FILE, 200, {**kit.URLHAUS_FILE, "sha256_hash": "b" * 64}),
        ("urlhaus", NAME, 200, kit.URLHAUS_HOST),
    ],
)
def test_an_answer_about_another_is_none(name: str, value: Value, status: int, body: Any) -> None:
    assert reason(name, value, status, body) == "about_another"


@pytest.mark.parametrize("name", ["urlhaus", "threatfox"])
@pytest.mark.parametrize(
    ("status", "why"),
    [("unknown_auth_key", "refused"), ("http_post_expected", "wrong_shape"), ("", "wrong_shape")],
)
def test_a_question_that_abuse_ch_did_not_take_is_no_answer(name: str, status: str, why: str) -> None:
    assert reason(name, ABOUT, 200, {"query_status": status}) == why


def test_a_404_of_somebody_else_does_not_mean_unknown() -> None:
    assert reason("greynoise", ABOUT, 404, {"error": "no such page"}) == "wrong_shape"
    assert reason("virustotal", FILE, 404, {"error": {"code": "WrongPath"}}) == "wrong_shape"


def test_names_of_the_greatest_length_are_read_and_longer_ones_are_not() -> None:
    longest = {**kit.GREYNOISE_SEEN, "name": "n" * MAX_WORD}
    assert read("greynoise", ABOUT, 200, longest).said["greynoise_name"] == "n" * MAX_WORD
    assert reason("greynoise", ABOUT, 200, {**longest, "name": "n" * (MAX_WORD + 1)}) == "hostile_text"


def test_as_many_names_as_somebody_may_have_are_read_and_more_are_not() -> None:
    most = changed(kit.URLHAUS_HOST, ("urls", 0, "tags"), [f"t{i}" for i in range(MAX_WORDS)])
    assert len(read("urlhaus", ABOUT, 200, most).said["urlhaus_tags"]) == MAX_WORDS
    more = changed(kit.URLHAUS_HOST, ("urls", 0, "tags"), [f"t{i}" for i in range(MAX_WORDS + 1)])
    assert reason("urlhaus", ABOUT, 200, more) == "wrong_shape"
    kinds = changed(kit.ABUSEIPDB, ("data", "reports", 0, "categories"), list(range(MAX_WORDS + 1)))
    assert reason("abuseipdb", ABOUT, 200, kinds) == "wrong_shape"


NAMES_ASKED = sorted(
    {str(path[-1]) for *_, body in GOOD for path in leaves(body) if path and isinstance(path[-1], str)}
)
"""Every key of every answer."""
HOSTILE: list[Any] = [
    None, True, False, -1, 0, 3.5, 10**30, float("nan"), float("inf"), "", "\x1b[31mred\x1b[0m", "\u202eevil", "a\x00b",
    "\ud800", "x" * 100_000, [], {}, [[]], [None], {"a": 1}, "127.0.0.1", "ok",
]  # fmt: skip


def clean(value: Any) -> bool:
    """Whether a JSON value has only text that a terminal shows as it is, and numbers that are numbers."""
    if isinstance(value, str):
        return visible(value) == value and len(value) <= MAX_WORD
    if isinstance(value, dict):
        return all(clean(key) and clean(each) for key, each in value.items())
    if isinstance(value, list):
        return len(value) <= MAX_WORDS and all(map(clean, value))
    return isinstance(value, bool) or (isinstance(value, (int, float)) and 0 <= value <= 10**9)


@pytest.mark.parametrize(("name", "value", "status", "body"), GOOD)
def test_with_anything_else_at_any_place_an_answer_is_none_or_harmless(
    name: str, value: Value, status: int, body: Any
) -> None:
    faults: set[str] = set()
    for path in leaves(body):
        for hostile in HOSTILE:
            try:
                answer = read(name, value, status, changed(body, path, hostile))
            except AnswerFault as fault:
                faults.add(fault.reason)
                continue
            assert clean(dict(answer.said)), (path, hostile)
            json.dumps(answer.said, allow_nan=False)
            if value.kind == "address":
                assert understood(name, answer.said), path
    assert "wrong_shape" in faults, "the body itself is checked at least"
    assert faults <= set(REASONS)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([ADDRESS, SHA256, URL]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES_ASKED), inner, max_size=6)
    ),
    max_leaves=20,
)


@settings(max_examples=300)
@given(st.sampled_from(GOOD), JSON)
def test_any_json_at_all_is_an_answer_or_a_fault(good: tuple[str, Value, int, Any], body: Any) -> None:
    name, value, status, _ = good
    try:
        said = dict(read(name, value, status, body).said)
    except AnswerFault as fault:
        said = {fault.reason: REASONS.index(fault.reason)}
    assert clean(said)
