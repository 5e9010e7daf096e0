"""Predicates of lifters and the bounds of what they read: thresholds, windows, lists, words, and who is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from decnet.delivered import delivered_pairs
from decnet.ttp.base import TaggerEvent
from decnet.ttp.lifter_registry import Finding, Lift, find_kind, known_kinds, lift_one, lifter_kind
from decnet.ttp.lifters import facts
from decnet.ttp.lifters.intel_maps import IntelMap, surest
from decnet.ttp.lifters.taggers import EmailLifter, _ages, _body_key, _body_row
from decnet.ttp.loader import load_bytes
from decnet.ttp.rule_engine import RuleEngine
from decnet.ttp.rules import CompiledRule, Emit, RuleState

BTC = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"
XMR = "4" + "A" + "1" * 93


def holds(kind: str, payload: dict[str, Any], **knobs: Any) -> Finding | None:
    found = known_kinds()[kind]
    return found.predicate(payload, found.knobs(**knobs))


def emit(technique: str, confidence: float) -> Emit:
    return Emit("TA0042", technique, None, confidence, technique, None)


@pytest.mark.parametrize(
    ("kind", "yes", "no"),
    [
        ("behavioral_beaconing", {"beacon_interval_s": 10, "beacon_jitter_pct": 0}, {"beacon_interval_s": 10, "beacon_jitter_pct": -0.01}),
        ("behavioral_beaconing", {"beacon_interval_s": 99, "beacon_jitter_pct": 0.1}, {"beacon_interval_s": 99}),
        ("behavioral_beaconing", {"beacon_interval_s": 99, "beacon_jitter_pct": 0.1}, {"beacon_jitter_pct": 0.1}),
        ("behavioral_data_destruction", {"op_text": "DROP TABLE x"}, {"note_text": "DROP TABLE x"}),
        ("behavioral_data_destruction", {"command_text": "rm -rf /*"}, {"command_text": "rm -rf ./x"}),
        ("behavioral_ransom_note", {"note_text": f"wallet {XMR}"}, {"note_text": f"wallet {XMR[:-1]}"}),
        ("behavioral_ransom_note", {"body_text": f"pay {BTC}"}, {"body_text": "pay", "note_text": BTC}),
        ("behavioral_ransom_note", {"body_markers": ["ransom", "btc_address"]}, {"body_markers": ["ransom"]}),
        ("behavioral_ransom_note", {"body_markers": ["xmr_address"], "subject": "decrypt now"}, {"body_markers": ["xmr_address"], "subject": "hi"}),
        ("behavioral_credentials_in_files", {"path": "/app/.env"}, {"path": "/app/.environment"}),
        ("behavioral_k8s_sa_token", {"signals": ["k8s_sa_token"]}, {"signals": ["docker_sock"]}),
        ("behavioral_docker_escape", {"signals": ["host_pid"]}, {"signals": ["k8s_sa_token"]}),
        ("behavioral_tftp_router_config", {"tftp_filename": "startup-config"}, {"path": "startup-config"}),
        ("email_open_relay", {"rcpt_count": 10, "from_domain": "a.x", "mail_from_domain": "b.x"}, {"rcpt_count": 10, "from_domain": "A.x.", "mail_from_domain": "a.x"}),
        ("email_open_relay", {"rcpt_count": 10, "from_domain": "a.x", "mail_from_domain": "b.x"}, {"rcpt_count": 10, "from_domain": "a.x", "mail_from_domain": ""}),
        ("email_open_relay", {"rcpt_count": 10, "from_domain": "a.x", "mail_from_domain": "b.x"}, {"rcpt_count": 10, "mail_from_domain": "b.x"}),
        ("email_mass_phish", {"rcpt_count": 25, "body_simhash": "ab", "simhash_age_s": 86_400}, {"rcpt_count": 25, "body_simhash": "ab", "simhash_age_s": 86_400.1}),
        ("email_mass_phish", {"rcpt_count": 25, "body_simhash": "ab", "simhash_age_s": 0}, {"rcpt_count": 25, "body_simhash": "ab", "simhash_age_s": -1}),
        ("email_mass_phish", {"rcpt_count": 25, "body_simhash": "ab", "simhash_age_s": 0}, {"rcpt_count": 25, "body_simhash": " ", "simhash_age_s": 0}),
        ("email_xmailer_kit", {"x_mailer": "GoPhish"}, {"subject": "GoPhish"}),
        ("email_idn_url", {"urls": ["a.XN--p1ai."]}, {"urls": ["axn--p1ai.x"]}),
        ("email_sender_masquerade", {"from_domain": "a", "return_path_domain": "b"}, {"from_domain": "a", "return_path_domain": "A"}),
        ("email_sender_masquerade", {"dkim_signed": True, "dkim_pass": False}, {"dkim_signed": True, "dkim_pass": None}),
        ("email_malicious_attachment", {"attachment_extensions": [".LNK"]}, {"attachment_extensions": ["pdf"]}),
        ("email_malicious_attachment", {"attachment_macros": True}, {"attachment_macros": 1}),
        ("email_malicious_attachment", {"html_smuggling": True}, {"html_smuggling": False}),
        ("email_malicious_attachment", {"mal_hash_match": True}, {}),
        ("email_malicious_attachment", {"attachment_password_protected": True}, {}),
        ("email_bec", {"subject": "Urgent", "body_markers": ["PAYROLL"]}, {"subject": "Urgent", "body_markers": ["ransom"]}),
        ("email_bec", {"subject": "Urgent", "body_markers": ["payroll"]}, {"subject": "hi", "body_markers": ["payroll"]}),
        ("canary_webdriver", {"navigator_webdriver": True}, {"navigator_webdriver": "true"}),
        ("canary_automation_hash", {"automation_hash": " Selenium "}, {"automation_hash": "firefox"}),
        ("canary_webrtc_leak", {"webrtc_geo_mismatch": True}, {"webrtc_geo_mismatch": None}),
        ("canary_tz_lang_mismatch", {"lang_country_mismatch": True}, {"lang_country_mismatch": False}),
        ("canary_platform_inconsistency", {"platform_mismatch": True}, {"platform_mismatch": False}),
        ("credential_valid_account_use", {"success": True, "prior_fail_count": 5}, {"success": False, "prior_fail_count": 5}),
        ("credential_valid_account_use", {"success": True, "prior_fail_count": 5}, {"success": "true", "prior_fail_count": 5}),
        ("credential_default_credentials", {"default_pair": True}, {"default_pair": 1}),
        ("intel_greynoise", {"greynoise_classification": " Malicious"}, {"greynoise_classification": "benign"}),
        ("intel_feodo", {"feodo_listed": True}, {"feodo_listed": False, "feodo_malware_family": "heodo"}),
        ("intel_threatfox", {"threatfox_listed": True, "threatfox_threat_types": ["Payload"]}, {"threatfox_listed": True, "threatfox_threat_types": ["?"]}),
        ("intel_threatfox", {"threatfox_listed": True, "threatfox_threat_types": ["payload"]}, {"threatfox_listed": None, "threatfox_threat_types": ["payload"]}),
        ("intel_abuseipdb", {"abuseipdb_score": 1, "abuseipdb_categories": [18]}, {"abuseipdb_score": 0.9, "abuseipdb_categories": [18]}),
        ("intel_abuseipdb", {"abuseipdb_score": 100, "abuseipdb_categories": [18]}, {"abuseipdb_score": 100, "abuseipdb_categories": "18"}),
        ("intel_abuseipdb", {"abuseipdb_score": 100, "abuseipdb_categories": [0] * 99 + [18]}, {"abuseipdb_score": 100, "abuseipdb_categories": [0] * 100 + [18]}),
        ("intel_aggregate_bump", {"aggregate_verdict": " MALICIOUS "}, {"aggregate_verdict": "suspicious"}),
        ("ipv6_link_local_leak", {"address": "[fe80::1]"}, {"address": "169.254.0.1"}),
        ("http_fingerprint_ja4", {"ja4": "t13d1516"}, {"ja4": "t13d1517"}),
        ("http_fingerprint_ja4", {"type": "ja4", "value": "t13d1516"}, {"type": "jarm", "value": "t13d1516"}),
        ("http_fingerprint_ja4", {"ja4": "beginsXYZ"}, {"ja4": "xbegins"}),
    ],
)  # fmt: skip
def test_predicates_hold_at_their_threshold_and_not_beside_it(
    kind: str, yes: dict[str, Any], no: dict[str, Any]
) -> None:
    knobs = {"signatures": ["t13d1516", "begins*"]} if kind.startswith("http_fingerprint") else {}
    assert holds(kind, yes, **knobs) is not None
    assert holds(kind, no, **knobs) is None


def test_knobs_switch_off_what_they_name() -> None:
    both = {
        "from_domain": "a",
        "return_path_domain": "b",
        "spf_pass": False,
        "dkim_signed": True,
        "dkim_pass": False,
    }
    found = holds("email_sender_masquerade", both)
    assert found is not None
    assert found.evidence["signals"] == ["domains_differ", "dkim_failed", "spf_failed"]
    assert found.evidence["headers"] == ["From", "Return-Path"]
    for knob, left in (("domains_differ", 2), ("dkim_failed", 2), ("spf_failed", 2)):
        rest = holds("email_sender_masquerade", both, **{knob: False})
        assert rest is not None
        assert len(rest.evidence["signals"]) == left
        assert knob not in rest.evidence["signals"]
    assert (
        holds("credential_default_credentials", {"default_pair": True, "success": False}, success_only=True)
        is None
    )
    assert holds("credential_default_credentials", {"default_pair": True, "success": True}, success_only=True)
    assert holds("intel_feodo", {"feodo_listed": True}, bare=False) is None
    assert (
        holds(
            "intel_threatfox",
            {"threatfox_listed": True, "threatfox_threat_types": ["payload"]},
            ignored=["PAYLOAD"],
        )
        is None
    )
    assert holds("email_bec", {"subject": "urgent", "body_markers": ["payroll"]}, least_markers=2) is None
    two = {"subject": "urgent", "body_markers": ["payroll", "invoice", "payroll"]}
    assert holds("email_bec", two, least_markers=2)
    assert holds("email_bec", two, least_markers=3) is None


def test_findings_say_the_measure_and_its_threshold_and_no_text_of_a_mail() -> None:
    assert facts.at_least({"n": 5}, "n", 5) == Finding("n", "5", {"metric": "n", "value": 5, "threshold": 5})
    assert facts.at_least({"n": 4.99}, "n", 5) is None
    assert facts.at_least({"n": True}, "n", 1) is None
    mail = {
        "rcpt_count": 30,
        "from_domain": "a.x",
        "mail_from_domain": "b.x",
        "body_simhash": "AB",
        "simhash_age_s": 1,
    }
    relay, phish = holds("email_open_relay", mail), holds("email_mass_phish", mail)
    assert relay is not None
    assert phish is not None
    assert (relay.text, relay.evidence["domains"]) == ("", ["a.x", "b.x"])
    assert (phish.text, phish.evidence["body_simhash"], phish.evidence["within_s"]) == ("", "ab", 86_400.0)
    encoded = holds("email_encoded_payload", {"body_base64_bytes": 4096})
    assert encoded is not None
    assert encoded.text == ""
    idn = holds("email_idn_url", {"urls": [f"xn--{i}.x" for i in range(30)]})
    assert idn is not None
    assert (idn.evidence["value"], len(idn.evidence["domains"])) == (30, 20)


def test_payloads_are_read_by_type_and_within_bounds() -> None:
    long = {
        "l": ["a"] * (facts.MAX_ITEMS + 1),
        "one": "x\0",
        "n": 1e300,
        "big": 9e299,
        "mixed": ["a", 5, None],
    }
    assert facts.MAX_ITEMS == 1000
    assert len(facts.texts(long, "l")) == 1000
    assert facts.texts(long, "one") == ["x\ufffd"]
    assert facts.texts(long, "mixed") == ["a"]
    assert facts.texts(long, "n") == []
    assert facts.number(long, "n") is None
    assert facts.number(long, "big") == 9e299
    assert facts.number({"n": False}, "n") is None
    assert facts.flag({"f": 1}, "f") is None
    assert facts.flag({"f": False}, "f") is False
    assert facts.text({"t": 5}, "t") == ""
    assert facts.domain({"d": " A.X. "}, "d") == "a.x"
    assert facts.sample("x" * 301) == "x" * 300
    found = facts.search(["b+"], {"a": "x", "t": ["x", "a" + "b" * 301]}, ["a", "t"])
    assert found is not None
    assert (found.field, len(found.text), found.evidence["span"]) == ("t", 300, [1, 302])
    assert [facts.link_local(a) for a in ("fe80::1%x", "[febf::]", "fec0::", "169.254.1.1", "x", "")] == [
        True, True, False, False, False, False
    ]  # fmt: skip


def test_of_one_technique_the_surest_tag_stays_in_the_order_of_first_sight() -> None:
    low, high, other = emit("T1583", 0.4), emit("T1583", 0.6), emit("T1588", 0.5)
    assert surest([low, other, high]) == (high, other)
    assert surest([high, other, low]) == (high, other)
    assert IntelMap("x", {"a": (low,), "b": (high,)}).emits(["a", "nothing", "b"]) == (high,)


def rule_of(kind: str, source: str, emits: str = "[]", more: str = "", rule_id: str = "L1") -> CompiledRule:
    text = (
        f"rule_id: {rule_id}\nrule_version: 1\nname: n\ndescription: d\napplies_to: [{source}]\n"
        f"match: {{kind: 'lifter:{kind}'{more}}}\nemits: {emits}\n"
    )
    rule, errors = load_bytes(text.encode(), f"{rule_id}.yaml")
    assert rule is not None, errors
    return rule


@pytest.mark.parametrize(
    ("confidence", "wanted"),
    [(0.79, 0.94), (0.8, 0.95), (0.81, 0.95), (0.95, 0.95), (0.97, 0.97), (0.0, 0.15)],
)
def test_a_verdict_raises_up_to_the_cap_and_takes_nothing_from_what_is_above(
    confidence: float, wanted: float
) -> None:
    kind = known_kinds()["intel_aggregate_bump"]
    assert kind.adjust is not None
    lift = Lift(rule_of("intel_feodo", "intel"), Finding("f"), (emit("T1583", confidence),))
    (raised,) = kind.adjust({}, kind.knobs(), [lift])
    assert raised.emits[0].confidence == pytest.approx(wanted)


def test_kinds_are_known_once_and_look_at_known_sources_only() -> None:
    with pytest.raises(ValueError, match="unknown source kinds"):
        lifter_kind("x_y", {"nothing"})
    with pytest.raises(ValueError, match="registered twice"):
        lifter_kind("email_bec", {"email"})(lambda payload, knobs: None)
    assert find_kind("lifter:email_bec") is known_kinds()["email_bec"]
    assert find_kind("lifter:nothing") is None
    assert known_kinds()["http_fingerprint_ja4"].lifter == "http_fingerprint"
    assert known_kinds()["email_bec"].lifter == "email"


def test_a_map_gives_its_own_tags_and_a_rule_its_own_and_scale_lowers_both() -> None:
    own = rule_of(
        "credential_reuse", "credential", "[{tactic: TA0006, technique_id: T1110, confidence: 0.8}]"
    )
    found = lift_one(own, {"reuse_count": 1})
    assert found is not None
    assert found.emits == own.emits
    assert lift_one(own, {"reuse_count": 0}) is None
    half = lift_one(
        rule_of("intel_abuseipdb", "intel"), {"abuseipdb_score": 50, "abuseipdb_categories": [18]}
    )
    assert half is not None
    assert [e.confidence for e in half.emits] == [0.4]


def test_a_disabled_lifter_rule_is_counted_and_evidence_fields_stand_beside() -> None:
    rule = rule_of(
        "credential_reuse",
        "credential",
        "[{tactic: TA0006, technique_id: T1110, confidence: 0.8}]\nevidence_fields: [service]",
    )
    engine = RuleEngine()
    engine.replace([rule], {})
    event = TaggerEvent("credential", "c", "a", payload={"reuse_count": 2, "service": "ssh"})
    (tag,) = engine.lift(event, "credential")
    assert tag.evidence == {
        "field": "reuse_count", "matched": "2", "metric": "reuse_count", "value": 2, "threshold": 1, "service": "ssh"
    }  # fmt: skip
    assert engine.lift(event, "email") == []
    engine.replace([rule], {"L1": RuleState("disabled")})
    assert engine.lift(event, "credential") == []
    assert engine.suppressed == {("L1", "disabled"): 1}


# -- mails before


def mail(name: str = "m", attacker: str | None = "a", **payload: Any) -> TaggerEvent:
    return TaggerEvent(
        "email", name, attacker, None, "s", "d", {"body_simhash": "AB", "ts": 5.0, "rcpt_count": 3} | payload
    )


@pytest.mark.parametrize(
    ("event", "remembered"),
    [
        (mail(), True),
        (mail(body_simhash=" "), False),
        (mail(attacker=None), False),
        (mail(body_simhash="a" * 128), True),
        (mail(body_simhash="a" * 129), False),
        (mail("m" * 200), True),
        (mail("m" * 201), False),
        (mail(attacker="a" * 200), True),
        (mail(attacker="a" * 201), False),
    ],
)
def test_a_mail_is_remembered_by_attacker_and_body_of_bounded_length(
    event: TaggerEvent, remembered: bool
) -> None:
    assert (_body_key(event) is not None) is remembered


def test_what_is_remembered_is_bounded_and_ages_are_between_neighbours() -> None:
    key = _body_key(mail())
    assert key == ("a", "ab")
    assert _body_row(mail(), key) == {
        "attacker_uuid": "a", "simhash": "ab", "source_id": "m", "ts": 5.0, "rcpt_count": 3, "session_id": "s", "decky_id": "d"
    }  # fmt: skip
    assert [_body_row(mail(ts=ts), key)["ts"] for ts in (-1, 1e12, "x", True)] == [0.0, 1e11, 0.0, 0.0]
    rows = [
        {"attacker_uuid": "a", "simhash": "ab", "source_id": n, "ts": ts}
        for n, ts in (("x", 1.0), ("y", 4.0), ("z", 9.0))
    ]
    ages = {key[2]: (age.age, age.after[2]) for key, age in _ages(rows).items()}
    assert ages == {"y": (3.0, "x"), "z": (5.0, "y")}


async def test_facts_that_a_lifter_sets_are_never_taken_from_the_event() -> None:
    prepared = await EmailLifter(RuleEngine()).prepared([mail(simhash_age_s=1.0)], None)
    assert [event.payload["simhash_age_s"] for event in prepared] == [None]


def test_default_pairs_are_texts(tmp_path: Path) -> None:
    assert ("root", "root") in delivered_pairs()
    assert all(isinstance(part, str) for pair in delivered_pairs() for part in pair)
