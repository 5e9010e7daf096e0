"""Lifter predicates at their default thresholds, the intel maps, the payload schemas, the shipped rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_type_hints

import pytest
from pydantic import ValidationError

from decnet.bus.base import Event
from decnet.errors import ConfigError, MalformedEvent
from decnet.home import packaged_rules_dir
from decnet.ids import attacker_id
from decnet.ttp.evidence import EVIDENCE
from decnet.ttp.lifter_registry import Finding, known_kinds
from decnet.ttp.lifters.intel_maps import PROVIDERS, intel_dir, read_map, shipped_map
from decnet.ttp.lifters.taggers import all_lifters
from decnet.ttp.loader import load_bytes
from decnet.ttp.rule_engine import RuleEngine
from decnet.ttp.selftest import run_rule_tests
from tests.ruledrive import shipped
from tests.wirekit import judged

XMR = "4" + "A" + "1" * 93
SHIPPED = [rule for rule in shipped() if rule.lifter is not None]
MAIL = {"from_domain": "a.example", "mail_from_domain": "b.example"}


def holds(kind: str, payload: dict[str, Any], **knobs: Any) -> Finding | None:
    found = known_kinds()[kind]
    return found.predicate(payload, found.knobs(**knobs))


@pytest.mark.parametrize(
    ("kind", "at", "below"),
    [
        ("behavioral_beaconing", {"beacon_interval_s": 10, "beacon_jitter_pct": 0.15}, {"beacon_interval_s": 9.9, "beacon_jitter_pct": 0.15}),
        ("behavioral_beaconing", {"beacon_interval_s": 10, "beacon_jitter_pct": 0}, {"beacon_interval_s": 10, "beacon_jitter_pct": 0.151}),
        ("behavioral_exfil_over_web", {"bytes_out": 1048576}, {"bytes_out": 1048575}),
        ("behavioral_exfil_over_web", {"request_count": 50}, {"request_count": 49}),
        ("behavioral_db_mass_read", {"rows_read": 10_000}, {"rows_read": 9_999}),
        ("behavioral_db_mass_read", {"bytes_read": 5 * 2**20}, {"bytes_read": 5 * 2**20 - 1}),
        ("behavioral_llmnr_poisoning", {"llmnr_poison_count": 1}, {"llmnr_poison_count": 0}),
        ("behavioral_ransom_note", {"body_text": f"pay 1 XMR to {XMR}"}, {"body_text": f"donations: {XMR}"}),
        ("behavioral_ransom_note", {"note_text": "decrypt: bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"}, {"note_text": "decrypt"}),
        ("email_open_relay", {"rcpt_count": 10, **MAIL}, {"rcpt_count": 9, **MAIL}),
        ("email_mass_phish", {"rcpt_count": 25, "body_simhash": "ab", "simhash_age_s": 0}, {"rcpt_count": 24, "body_simhash": "ab", "simhash_age_s": 0}),
        ("email_encoded_payload", {"body_base64_bytes": 4096}, {"body_base64_bytes": 4095}),
        ("canary_tz_lang_mismatch", {"tz_mismatch_zones": 3}, {"tz_mismatch_zones": 2}),
        ("canary_tz_lang_mismatch", {"tz_mismatch_zones": ["A", "B", "C"]}, {"tz_mismatch_zones": ["A", "B", "B"]}),
        ("identity_password_spraying", {"account_count": 3}, {"account_count": 2}),
        ("credential_auth_brute_generic", {"fail_count": 5}, {"fail_count": 4}),
        ("credential_auth_brute_generic", {"fail_count": 5, "window_s": 300}, {"fail_count": 5, "window_s": 301}),
        ("credential_password_guessing", {"secret_count": 5}, {"secret_count": 4}),
        ("credential_reuse", {"reuse_count": 1}, {"reuse_count": 0}),
        ("credential_valid_account_use", {"success": True, "prior_fail_count": 5}, {"success": True, "prior_fail_count": 4}),
        ("ipv6_link_local_leak", {"address": "fe80::1%eth0"}, {"address": "fd00::1"}),
        ("ipv6_link_local_leak", {"addresses": ["::1", "febf:ffff::"]}, {"addresses": ["fec0::"]}),
    ],
)  # fmt: skip
def test_default_thresholds(kind: str, at: dict[str, Any], below: dict[str, Any]) -> None:
    assert holds(kind, at) is not None
    assert holds(kind, below) is None


@pytest.mark.parametrize("value", ["10000", True, None, float("nan"), float("inf"), [10_000], {"n": 1}])
def test_what_is_no_number_reaches_no_threshold(value: Any) -> None:
    assert holds("behavioral_db_mass_read", {"rows_read": value}) is None


def test_absent_dkim_and_spf_have_not_failed() -> None:
    plain = {"from_domain": "a.example"}
    assert holds("email_sender_masquerade", plain) is None
    assert holds("email_sender_masquerade", plain | {"dkim_signed": False, "dkim_pass": False}) is None
    assert holds("email_sender_masquerade", plain | {"spf_pass": None}) is None
    assert holds("email_sender_masquerade", plain | {"dkim_signed": True, "dkim_pass": False}) is not None
    assert holds("email_sender_masquerade", {"spf_pass": False}) is not None


def test_knobs_move_thresholds_and_wrong_ones_are_refused() -> None:
    assert holds("email_open_relay", {"rcpt_count": 3, **MAIL}, rcpt_count=3) is not None
    for kind, knobs in (
        ("email_open_relay", {"rcpt_count": "3"}),
        ("email_open_relay", {"rcpt": 3}),
        ("behavioral_data_destruction", {"patterns": ["(?=x)"]}),
        ("behavioral_beaconing", {"beacon_jitter_pct": 2}),
    ):
        with pytest.raises(ValidationError):
            known_kinds()[kind].knobs.model_validate(knobs)


def test_abuseipdb_is_as_sure_as_its_score() -> None:
    payload = {"abuseipdb_score": 50, "abuseipdb_categories": [18, 22, 18, 4711, "18", True]}
    found = holds("intel_abuseipdb", payload)
    assert found is not None
    assert found.emits is not None
    assert found.scale == 0.5
    assert [(e.technique_id, e.confidence) for e in found.emits] == [("T1110", 0.8)]
    above = holds("intel_abuseipdb", payload | {"abuseipdb_score": 10**9})
    assert above is not None
    assert above.scale == 1


def test_greynoise_without_a_tag_counts_half() -> None:
    bare = holds(
        "intel_greynoise", {"greynoise_classification": "Malicious", "greynoise_tags": ["unheard of"]}
    )
    tagged = holds("intel_greynoise", {"greynoise_classification": "malicious", "greynoise_tags": ["Mirai"]})
    assert bare is not None
    assert tagged is not None
    assert (bare.scale, tagged.scale) == (0.5, 1.0)
    assert bare.emits == shipped_map("greynoise").bare


def test_greynoise_words_begin_words() -> None:
    def techniques(tag: str) -> set[str]:
        found = holds("intel_greynoise", {"greynoise_classification": "malicious", "greynoise_tags": [tag]})
        assert found is not None
        return {emit.technique_id for emit in found.emits or ()} if found.scale == 1 else set()

    assert techniques("SSH Bruteforcer") == {"T1110"}
    assert techniques("Apache Log4j RCE Attempt") == {"T1190"}
    assert techniques("CVE-2021-44228") == {"T1190"}
    assert techniques("Mozilla Observatory") == set()
    assert techniques("Tor Exit Node") == {"T1090"}
    assert techniques("Monitor exit") == set()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_intel_maps_speak_the_catalogue(provider: str) -> None:
    known = read_map(intel_dir() / f"{provider}.yaml")
    assert known.provider == provider
    assert all(0 < e.confidence <= 1 and e.url for emits in known.entries.values() for e in emits)


def test_a_wrong_map_names_everything_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    entry = "  - {match: %s, name: n, emits: [{tactic: TA0007, technique_id: %s, confidence: 0.5}]}\n"
    head = "provider: x\nsource: https://example.org\nentries:\n"
    path.write_text(head + entry % ("a", "T9999") + entry % ("b", "T1105") + entry % ("B", "T1082"))
    with pytest.raises(
        ConfigError, match=r"T9999 is unknown.*T1105 does not belong to TA0007.*'B' stands twice"
    ):
        read_map(path)
    path.write_text("entries: 1")
    with pytest.raises(ConfigError, match="no intel map"):
        read_map(path)


def test_every_kind_has_a_shipped_rule_and_every_rule_passes_its_tests() -> None:
    assert {rule.lifter for rule in SHIPPED} == known_kinds().keys()
    assert len(SHIPPED) >= 35
    assert not run_rule_tests(SHIPPED)
    for rule in SHIPPED:
        assert rule.description
        assert rule.references
        assert rule.tests_match
        assert rule.tests_no_match
        assert (packaged_rules_dir() / f"{rule.rule_id}_{rule.name}.yaml").is_file()


def test_evidence_takes_every_field_that_a_shipped_rule_names() -> None:
    for rule in shipped():
        known = {name for kind in rule.applies_to for name in get_type_hints(EVIDENCE[kind])}
        assert set(rule.evidence_fields) <= known, rule.rule_id


def test_every_kind_lies_within_its_lifter() -> None:
    lifters = {lifter.name: lifter.HANDLES for lifter in all_lifters(RuleEngine())}
    for kind in known_kinds().values():
        assert kind.source_kinds <= lifters[kind.lifter]


def test_rules_of_a_lifter_are_checked_at_load() -> None:
    rule = (packaged_rules_dir() / "L0301_open_relay.yaml").read_text("utf-8")
    for old, new, words in (
        ("lifter:email_open_relay", "lifter:email_nothing", "unknown lifter"),
        ("rcpt_count: 10\n", "rcpt_cuont: 10\n", "unknown knob 'rcpt_cuont'"),
        ("applies_to: [email]", "applies_to: [session]", "does not look at session"),
    ):
        loaded, errors = load_bytes(rule.replace(old, new, 1).encode(), "L.yaml")
        assert loaded is None
        assert any(words in error.message and error.place.line for error in errors), [str(e) for e in errors]


@pytest.mark.parametrize(
    ("topic", "payload", "kind", "source", "attacker"),
    [
        ("attacker.fingerprinted", {"attacker_uuid": "a", "type": "jarm", "jarm": "07d"}, "http_fingerprint", "a#jarm#07d", "a"),
        ("attacker.fingerprinted", {"attacker_uuid": "a", "type": "ja4", "value": "t13"}, "http_fingerprint", "a#ja4#t13", "a"),
        ("attacker.fingerprinted", {"attacker_uuid": "a", "type": "tcpfp", "tcpfp": "1_2"}, "http_fingerprint", "a#tcpfp#1_2", "a"),
        ("attacker.fingerprinted", {"attacker_uuid": "a", "type": "hassh", "hassh": "b5"}, "http_fingerprint", "a#hassh#b5", "a"),
        ("attacker.fingerprinted", {"attacker_uuid": "a", "type": "ipv6_leak", "address": "fe80::1"}, "ipv6_leak", "a#ipv6_leak#fe80::1", "a"),
        ("attacker.intel.enriched", {"attacker_ip": "203.0.113.1"}, "intel", attacker_id("203.0.113.1"), attacker_id("203.0.113.1")),
        ("canary.tok.triggered", {"attacker_uuid": "a", "trigger_id": "t"}, "canary_fingerprint", "t", "a"),
        ("canary.tok.triggered", {"attacker_uuid": "a"}, "canary_fingerprint", "tok#a", "a"),
        ("email.received", {"attacker_uuid": "a", "source_id": "m"}, "email", "m", "a"),
        ("identity.merged", {"winner_uuid": "i", "loser_uuid": "j"}, "identity", "i", None),
        ("credential.reuse.detected", {"attacker_uuids": ["b", "a"], "credential_id": "c"}, "credential", "c", "a"),
        ("credential.captured", {"attacker_uuid": "a", "session_id": "s", "secret_hmac": "h"}, "credential", "s#h", "a"),
        ("credential.captured", {"attacker_uuid": "a", "secret_hmac": "h"}, "credential", "a#h", "a"),
        ("attacker.observed", {"attacker_uuid": "a"}, "session", "e1", "a"),
    ],
)  # fmt: skip
def test_events_become_their_kind(
    topic: str, payload: dict[str, Any], kind: str, source: str, attacker: str | None
) -> None:
    first = judged(Event(topic, payload, id="e1"))[0]
    assert (first.source_kind, first.source_id, first.attacker_uuid) == (kind, source, attacker)


@pytest.mark.parametrize(
    "topic", ["canary.tok.placed", "canary.tok.revoked", "canary.triggered", "attacker.scored"]
)
def test_other_news_is_not_judged(topic: str) -> None:
    assert judged(Event(topic, {"attacker_uuid": "a", "token_id": "tok", "score": 1, "threshold": 1})) == []


def test_an_identity_needs_no_address_and_no_event_goes_without_an_anchor() -> None:
    (event,) = judged(Event("email.received", {"identity_uuid": "i", "attacker_ip": "203.0.113.1"}, ts=5.0))
    assert (event.attacker_uuid, event.identity_uuid, event.payload["ts"]) == (
        attacker_id("203.0.113.1"),
        "i",
        5.0,
    )
    with pytest.raises(MalformedEvent, match="neither attacker_uuid nor attacker_ip"):
        judged(Event("email.received", {"subject": "x"}))


def test_a_bare_pattern_over_intel_sees_the_verdict() -> None:
    payload = {"attacker_uuid": "a", "aggregate_verdict": "malicious"}
    (event,) = judged(Event("attacker.intel.enriched", payload))
    assert event.payload["verdict"] == "malicious"
