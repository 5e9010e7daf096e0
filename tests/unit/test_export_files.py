"""Files and sightings in a STIX bundle, and MISP events: what they say, in valid objects, the same twice, no hostile text loose."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import stix2
from hypothesis import given
from hypothesis import strategies as st

from decnet.attack.catalogue import load_catalogue
from decnet.export import Known, misp_event, stix_bundle
from decnet.export.misp import EXAMPLES, galaxy_tag
from decnet.export.stixfiles import BROUGHT, REFERENCES
from tests.unit.test_export import row as export_row
from tests.unit.test_export_linked import KIT, KNOWN

AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
FILE, OTHER = "ab" * 32, "cd" * 32
HOSTS = {"a": ["mdb7.cn", "198.51.100.77", "[2001:db8::1]", "x y", "\x1b]0;x", "-"]}


def row(number: int, **more: Any) -> Any:
    return export_row(number, **{"seen_at": AT.replace(minute=number % 60), **more})


def known(**more: Any) -> Known:
    campaign = {**KIT, "hashes": ["f00d", OTHER]}
    given_ = {
        "campaigns": {KIT["campaign_uuid"]: campaign},
        "hosts": HOSTS,
        "hashes": {"a": [FILE, "none", FILE.upper()]},
        **more,
    }
    return KNOWN._replace(**given_)  # type: ignore[arg-type]


ROWS = [row(n) for n in range(8)] + [row(9, technique="T1105", sub=None, confidence=0.5)]


def objects(rows: list[Any] | None = None, of: Known | None = None) -> list[Any]:
    """Read strictly: what STIX 2.1 does not know is an error."""
    return list(
        stix2.parse(stix_bundle(rows or ROWS, of or known()), allow_custom=False, version="2.1").objects
    )


def kind(name: str, found: list[Any]) -> list[Any]:
    return [one for one in found if one.type == name]


def test_a_file_is_malware_of_who_brought_it() -> None:
    found = objects()
    files = {one.id: one for one in kind("file", found)}
    malware = {one.id: one for one in kind("malware", found)}
    assert {one.hashes["SHA-256"] for one in files.values()} == {FILE, OTHER}, "what is no SHA-256 is none"
    assert {one.name for one in malware.values()} == {f"file {FILE[:16]}", f"file {OTHER[:16]}"}
    for one in malware.values():
        assert (one.is_family, one.malware_types, one.description) == (False, ["unknown"], BROUGHT)
        assert one.sample_refs[0] in files
    uses = {(one.source_ref.partition("--")[0], malware[one.target_ref].name) for one in kind("relationship", found)
            if one.relationship_type == "uses" and one.target_ref in malware}  # fmt: skip
    assert uses == {("threat-actor", f"file {FILE[:16]}"), ("campaign", f"file {OTHER[:16]}")}


def test_a_sighting_says_how_often_and_leads_back_to_tags_and_sessions() -> None:
    found = objects()
    by_id = {one.id: one for one in found}
    sightings = {by_id[one.sighting_of_ref].name: one for one in kind("sighting", found)}
    assert set(sightings) == {"Cron", "Ingress Tool Transfer", f"file {FILE[:16]}"}
    cron = sightings["Cron"]
    assert (cron.count, cron.first_seen, cron.last_seen) == (8, AT, AT.replace(minute=7))
    assert [by_id[one].type for one in cron.observed_data_refs] == ["observed-data"]
    assert [by_id[one].name for one in cron.where_sighted_refs] == ["decnet-tui"]
    assert [one.external_id for one in cron.external_references] == [f"u{n}" for n in range(REFERENCES)]
    assert cron.external_references[0].description == "rule R0003, session s0: crontab -"


def test_a_bundle_with_files_is_the_same_twice_whatever_the_order() -> None:
    assert stix_bundle(ROWS, known()) == stix_bundle(list(reversed(ROWS)), known())


# --- MISP

CATEGORIES = {
    "ip-src": {"Network activity", "Payload delivery", "External analysis"},
    "ip-dst": {"Network activity", "Payload delivery", "External analysis"},
    "hostname": {"Network activity", "Payload delivery", "External analysis"},
    "sha256": {"Payload delivery", "Artifacts dropped", "Payload installation", "External analysis"},
    "campaign-name": {"Attribution"},
    "text": {"Internal reference", "External analysis", "Other", "Attribution"},
}
"""Types of attributes that are used, with categories that MISP lets them have: describeTypes.json."""
ATTRIBUTE = {
    "uuid",
    "type",
    "category",
    "value",
    "comment",
    "to_ids",
    "distribution",
    "timestamp",
    "first_seen",
    "last_seen",
    "Tag",
}


def check(event: dict[str, Any]) -> list[dict[str, Any]]:
    """The format as the MISP standard's core document has it."""
    assert set(event) == {"Event"}
    inside = event["Event"]
    assert set(inside) == {
        "uuid", "info", "date", "timestamp", "threat_level_id", "analysis", "distribution", "published", "Orgc", "Tag", "Attribute",
    }  # fmt: skip
    UUID(inside["uuid"])
    UUID(inside["Orgc"]["uuid"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", inside["date"])
    assert (inside["published"], inside["distribution"]) == (False, "0"), "nothing is shared by itself"
    assert inside["threat_level_id"] in "1234"
    assert inside["analysis"] in "012"
    for one in inside["Attribute"]:
        assert set(one) <= ATTRIBUTE
        UUID(one["uuid"])
        assert one["category"] in CATEGORIES[one["type"]]
        assert isinstance(one["to_ids"], bool)
        assert one["value"]
        if "timestamp" in one:
            assert one["timestamp"].isdigit()
            assert datetime.fromisoformat(one["first_seen"]) <= datetime.fromisoformat(one["last_seen"])
    uuids = [one["uuid"] for one in inside["Attribute"]]
    assert len(set(uuids)) == len(uuids)
    return list(inside["Attribute"])


def test_an_event_holds_addresses_hosts_files_campaigns_and_techniques() -> None:
    event = misp_event(ROWS, known(), info="Attackers")
    found = check(event)
    values = {(one["type"], one["value"]): one for one in found}
    address = values["ip-src", "203.0.113.7"]
    assert address["to_ids"] is True
    assert address["comment"] == "9 sessions, NL, AS49981"
    assert (address["first_seen"], address["last_seen"]) == (
        "2026-11-21T12:00:00.000000+00:00",
        "2026-11-21T12:09:00.000000+00:00",
    )
    assert {value for kind_, value in values if kind_ == "hostname"} == {"mdb7.cn"}, "what is no name is none"
    assert {value for kind_, value in values if kind_ == "ip-dst"} == {"198.51.100.77", "2001:db8::1"}
    assert values["hostname", "mdb7.cn"]["to_ids"] is False, "it may be anybody's server"
    assert {value for kind_, value in values if kind_ == "sha256"} == {FILE}
    assert values["campaign-name", "key of mdrfckr"]["comment"].startswith(
        "one kit, perhaps of many hands; 2 addresses"
    )
    assert [one["name"] for one in event["Event"]["Tag"]] == [galaxy_tag("T1053.003"), galaxy_tag("T1105")]
    texts = [one for one in found if one["type"] == "text"]
    assert len(texts) == EXAMPLES + 1
    assert texts[0]["value"] == "T1053.003 in session s0: crontab -"
    assert texts[0]["comment"] == "rule R0003, tag u0"
    assert texts[0]["Tag"] == [{"name": 'misp-galaxy:mitre-attack-pattern="Cron - T1053.003"'}]


def test_an_event_is_the_same_twice_and_json() -> None:
    assert misp_event(ROWS, known()) == misp_event(list(reversed(ROWS)), known())
    assert json.loads(json.dumps(misp_event(ROWS, known()))) == misp_event(ROWS, known())


def test_an_event_of_nothing_is_one() -> None:
    assert check(misp_event([])) == []


@given(st.text())
def test_no_text_of_theirs_breaks_out_of_an_event(text: str) -> None:
    of = known(hosts={"a": [text]}, hashes={"a": [text]}, campaigns={"c": {**KIT, "name": text}})
    for one in check(
        misp_event(
            [row(1, attacker_ip=text, session_id=text, rule_id=text, evidence={"matched": text})],
            of,
            info=text,
        )
    ):
        assert one["value"].isprintable()
        assert one["comment"].isprintable()


@pytest.mark.parametrize("technique", ["T1105", "T1059.004", "T1053.003"])
def test_a_galaxy_tag_names_the_technique_as_attack_does(technique: str) -> None:
    assert (
        galaxy_tag(technique)
        == f'misp-galaxy:mitre-attack-pattern="{load_catalogue().name(technique)} - {technique}"'
    )
