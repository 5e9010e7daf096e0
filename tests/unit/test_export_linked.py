"""Exports with who belongs together and where from: values, valid objects, the same ids twice, and hostile text in names."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from typing import Any

import stix2
from hypothesis import given
from hypothesis import strategies as st

from decnet.db.rows.linking import ListedCampaign, ListedIdentity
from decnet.export import Known, stix_bundle
from decnet.export.navigator import LayerRow
from tests.unit.test_export import csv_of, json_of, layer_of, row

AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
JOINED: ListedIdentity = {
    "identity_uuid": "i", "addresses": ["203.0.113.7", "203.0.113.8"], "attacker_uuids": ["a", "b"], "confidence": 4.6,
    "reasons": [{"family": "key", "value": "ssh-rsa AAAA", "addresses": 2, "weight": 2.9}],
    "against": [{"family": "script", "weight": -0.5}], "merged_into": None, "state": "joined",
}  # fmt: skip
ALONE: ListedIdentity = {
    **JOINED, "identity_uuid": "alone", "addresses": ["198.51.100.1"], "attacker_uuids": ["c"], "reasons": [], "state": "own",
}  # fmt: skip
KIT: ListedCampaign = {
    "campaign_uuid": "2979a1b2-0000-5000-8000-000000000000", "name": "key of mdrfckr", "addresses": ["203.0.113.7", "198.51.100.1"],
    "attacker_uuids": ["a", "c"], "identities": ["alone", "elsewhere", "i"], "sessions": 3, "first_seen": AT, "last_seen": AT,
    "payload_hosts": ["mdb7.cn", "198.51.100.77"], "hashes": ["f00d"], "techniques": ["T1105"],
    "reasons": [{"family": "key", "value": "ssh-rsa AAAA", "addresses": 2, "steps": []}],
}  # fmt: skip
KNOWN = Known(
    {
        "203.0.113.7": {"country": "NL", "allocated": True, "asn": 49981, "as_name": "WorldStream"},
        "198.51.100.1": {"country": "DE", "allocated": False, "asn": None, "as_name": None},
    },
    {"i": JOINED, "alone": ALONE},
    {KIT["campaign_uuid"]: KIT},
    {"a": [KIT["campaign_uuid"]], "c": [KIT["campaign_uuid"]]},
)
ROWS = [
    row(1),
    row(2, attacker_ip="198.51.100.1", attacker_uuid="c", identity_uuid="alone"),
    row(3, attacker_ip="192.0.2.1", attacker_uuid="d", identity_uuid="d"),
]


def objects(known: Known = KNOWN, rows: list[Any] = ROWS) -> list[Any]:
    return list(stix2.parse(stix_bundle(rows, known)).objects)


def relations(found: list[Any]) -> set[tuple[str, str, str]]:
    """Kind and name of both ends of each relationship."""
    by_id = {one.id: one for one in found}

    def name(ident: str) -> str:
        one = by_id[ident]
        return str(one.get("name") or one.get("value") or one.get("number") or one.type)

    return {
        (f"{by_id[one.source_ref].type} {name(one.source_ref)}", one.relationship_type, f"{by_id[one.target_ref].type} {name(one.target_ref)}")
        for one in found if one.type == "relationship"
    }  # fmt: skip


def test_a_bundle_says_who_is_one_of_which_campaign_and_where_from() -> None:
    found = objects()
    kit, joined = "campaign key of mdrfckr", "intrusion-set honeypot identity i"
    alone = "threat-actor honeypot identity alone"
    assert {
        one
        for one in relations(found)
        if one[1] not in ("related-to",) and not one[0].startswith("threat-actor")
    } == {
        (joined, "attributed-to", "threat-actor honeypot identity i"),
        (kit, "attributed-to", joined),
        (kit, "attributed-to", alone),
        (kit, "uses", "attack-pattern Ingress Tool Transfer"),
        (kit, "uses", "infrastructure mdb7.cn"),
        (kit, "uses", "infrastructure 198.51.100.77"),
        ("infrastructure mdb7.cn", "consists-of", "domain-name mdb7.cn"),
        ("infrastructure 198.51.100.77", "consists-of", "ipv4-addr 198.51.100.77"),
        ("ipv4-addr 203.0.113.7", "located-at", "location NL"),
        ("ipv4-addr 203.0.113.7", "belongs-to", "autonomous-system WorldStream"),
        ("ipv4-addr 198.51.100.1", "located-at", "location DE"),
    }
    kinds = [one.type for one in found]
    assert (kinds.count("intrusion-set"), kinds.count("campaign"), kinds.count("threat-actor")) == (1, 1, 3)


def test_a_bundle_says_where_an_actor_fetched_from_and_claims_no_more() -> None:
    found = objects(Known(hosts={"a": ["mdb7.cn"], "elsewhere": ["other.cn"]}))
    assert ("threat-actor honeypot identity i", "uses", "infrastructure mdb7.cn") in relations(found)
    (host,) = [one for one in found if one.type == "infrastructure"]
    assert (host.name, host.infrastructure_types) == ("mdb7.cn", ["unknown"])
    assert host.description == "Files were fetched from here; it may be anybody's server."


def test_a_bundle_says_why_and_what_it_does_not_say() -> None:
    found = {one.type: one for one in objects()}
    why = found["intrusion-set"]
    assert why.aliases == ["203.0.113.7", "203.0.113.8"]
    assert why.description.startswith(
        "Strength 10^4.6: +2.9 key ssh-rsa AAAA at 2 addresses. Against: -0.5 script."
    )
    assert found["campaign"].description.startswith("One kit, perhaps of many hands")
    assert found["campaign"].aliases == ["c-2979a1b2"]
    places = {
        one.description
        for one in objects()
        if one.type == "relationship" and one.relationship_type == "located-at"
    }
    assert places == {"the address was allocated there", "by a file of addresses"}


def test_a_bundle_is_the_same_twice_and_keeps_the_ids_that_it_had() -> None:
    assert stix_bundle(ROWS, KNOWN) == stix_bundle(list(reversed(ROWS)), KNOWN)
    ids = [one.id for one in objects()]
    assert len(ids) == len(set(ids))
    assert {one.id for one in objects(Known())} < set(ids)


def test_a_host_that_attacked_too_stands_there_once() -> None:
    kit: ListedCampaign = {**KIT, "payload_hosts": ["203.0.113.7"]}
    found = objects(KNOWN._replace(campaigns={KIT["campaign_uuid"]: kit}))
    assert [one.type for one in found if one.get("value") == "203.0.113.7"] == ["ipv4-addr"]


def test_tables_have_country_network_campaigns_and_addresses_at_their_end() -> None:
    first, second, third = csv.DictReader(io.StringIO(csv_of(ROWS, KNOWN)))
    added = ("country", "allocated", "asn", "as_name", "campaigns", "identity_addresses")
    assert [first[name] for name in added] == [
        "NL", "True", "49981", "WorldStream", KIT["campaign_uuid"], "203.0.113.7 203.0.113.8",
    ]  # fmt: skip
    assert [second[name] for name in added] == ["DE", "False", "", "", KIT["campaign_uuid"], "198.51.100.1"]
    assert [third[name] for name in added] == ["", "False", "", "", "", ""]
    assert tuple(first)[-len(added) :] == added
    told = json.loads(json_of(ROWS, KNOWN)[0])
    assert [told[name] for name in added] == [
        "NL", True, 49981, "WorldStream", [KIT["campaign_uuid"]], ["203.0.113.7", "203.0.113.8"],
    ]  # fmt: skip


def test_a_layer_names_who_where_from_and_of_which_campaign() -> None:
    layer = layer_of(ROWS, beside=KNOWN)
    assert layer["metadata"] == [
        {"name": "identity", "value": "i: 203.0.113.7 203.0.113.8"},
        {"name": "campaign", "value": f"{KIT['campaign_uuid']} key of mdrfckr: 2 addresses"},
        {"name": "country", "value": "DE 1"},
        {"name": "country", "value": "NL (alloc) 1"},
        {"name": "network", "value": "AS49981 WorldStream"},
    ]
    (cell,) = [cell for cell in layer["techniques"] if cell.get("score")]
    assert cell["comment"] == "3 tags of 3 identities by R0003; DE 1, NL (alloc) 1; 1 campaign"
    assert layer_of(ROWS)["metadata"] == []


def test_a_layer_says_how_much_it_leaves_out() -> None:
    places: Any = {
        f"n{n}": {"country": None, "allocated": False, "asn": n + 1, "as_name": "x"} for n in range(203)
    }
    rows: list[LayerRow] = [row(1, attacker_ip=ip) for ip in places]  # type: ignore[misc]
    told = layer_of(rows, beside=Known(places))["metadata"]
    assert (len(told), told[-1]) == (
        201,
        {"name": "more", "value": "3 not shown: export csv or jsonl has them"},
    )


@given(st.text(max_size=80))
def test_no_name_of_theirs_breaks_out(text: str) -> None:
    kit: ListedCampaign = {
        **KIT, "name": text, "payload_hosts": [text], "reasons": [{"family": text, "value": text, "addresses": 2, "steps": [text]}],
    }  # fmt: skip
    one: ListedIdentity = {
        **JOINED, "addresses": [text], "reasons": [{"family": text, "value": text, "addresses": 2, "weight": 1.0}],
    }  # fmt: skip
    known = KNOWN._replace(
        identities={"i": one},
        campaigns={KIT["campaign_uuid"]: kit},
        places={"203.0.113.7": {"country": "NL", "allocated": False, "asn": 1, "as_name": text}},
    )
    for found in objects(known):
        for value in (
            *(found.get(name) or "" for name in ("name", "description", "value")),
            *(found.get("aliases") or ()),
        ):
            assert all(char.isprintable() for char in str(value)), value
    (line,) = csv.DictReader(io.StringIO(csv_of(ROWS[:1], known)))
    assert not line["as_name"].startswith(("=", "+", "-", "@"))
    assert not line["identity_addresses"].startswith(("=", "+", "-", "@"))
    layer = json.dumps(layer_of(ROWS, beside=known), ensure_ascii=False)
    assert layer.isprintable()
