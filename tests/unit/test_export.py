"""Exports: the shape other tools read, the same bundle twice, and nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from typing import Any

import stix2
from hypothesis import given
from hypothesis import strategies as st

from decnet.attack.catalogue import load_catalogue
from decnet.db.rows.lists import TAG_COLUMNS
from decnet.export import (
    Known,
    OneKnown,
    csv_cells,
    csv_head,
    csv_page,
    json_page,
    navigator_layer,
    one_known,
    seen_in,
    stix_bundle,
)
from decnet.export.known import NOTHING


def row(number: int, technique: str = "T1053", sub: str | None = "T1053.003", **more: Any) -> dict[str, Any]:
    return {
        "uuid": f"u{number}", "attacker_ip": "203.0.113.7", "attacker_uuid": "a", "identity_uuid": "i", "session_id": f"s{number}",
        "decky_id": "d", "tactic": "TA0003", "technique_id": technique, "sub_technique_id": sub, "technique_name": "Cron",
        "confidence": 0.8, "rule_id": "R0003", "rule_version": 1, "evidence": {"matched": "crontab -"}, "source_kind": "command",
        "source_id": f"c{number}", "created_at": datetime(2026, 11, 21, 12, number, tzinfo=UTC), **more,
    }  # fmt: skip


def page_of(
    rows: list[dict[str, Any]], known: Known = NOTHING
) -> tuple[list[tuple[Any, ...]], dict[Any, OneKnown]]:
    """Rows as tables take them: a page as it is stored, and what is known of whom it names."""
    page, whose = [], {}
    for number, one in enumerate(rows):
        who = (f"{one['attacker_uuid']}#{number}", one["identity_uuid"])
        whose[who] = one_known(one["attacker_uuid"], one["attacker_ip"], one["identity_uuid"], known)
        stored = {
            "attack_release": "",
            "seen_at": None,
            **one,
            "attacker_uuid": who[0],
            "evidence": json.dumps(one["evidence"]),
        }
        for name in ("seen_at", "created_at"):
            if isinstance(moment := stored[name], datetime):
                stored[name] = moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
        page.append(tuple(stored[name] for name in TAG_COLUMNS))
    return page, whose


def csv_of(rows: list[dict[str, Any]], known: Known = NOTHING) -> str:
    page, whose = page_of(rows, known)
    cells = {pair: csv_cells(pair[0], one) for pair, one in whose.items()}
    return csv_head() + csv_page(page, cells, load_catalogue().name)


def json_of(rows: list[dict[str, Any]], known: Known = NOTHING) -> list[str]:
    return list(json_page(*page_of(rows, known), load_catalogue().name))


def layer_of(rows: Any, **more: Any) -> dict[str, Any]:
    return navigator_layer(seen_in(rows), **more)


def test_a_layer_scores_techniques_by_tactic() -> None:
    rows = [row(1), row(2), row(3, tactic="TA0002"), row(4, "T1105", None, tactic="TA0011")]
    layer = layer_of(rows, description="all")
    assert layer["domain"] == "enterprise-attack"
    assert layer["versions"]["layer"] == "4.5"
    assert {(c["techniqueID"], c["tactic"]): c.get("score") for c in layer["techniques"]} == {
        ("T1053", "execution"): None,
        ("T1053.003", "execution"): 1,
        ("T1053", "persistence"): None,
        ("T1053.003", "persistence"): 2,
        ("T1105", "command-and-control"): 1,
    }
    assert layer["gradient"]["maxValue"] == 2


def test_parents_of_sub_techniques_are_open_when_the_layer_is_loaded() -> None:
    """Case 25-navigator: layer format 4.5 folds sub-techniques unless their parent, in the same tactic, says otherwise."""
    rows = [
        row(1, "T1059", "T1059.004"),
        row(2, "T1059", None),
        row(3, "T1059", "T1059.006", tactic="TA0005"),
        row(4, "T1105", None),
    ]
    opened = {
        (c["techniqueID"], c["tactic"]): c.get("showSubtechniques") for c in layer_of(rows)["techniques"]
    }
    assert opened == {
        ("T1059", "persistence"): True, ("T1059.004", "persistence"): None, ("T1059", "defense-evasion"): True,
        ("T1059.006", "defense-evasion"): None, ("T1105", "persistence"): None,
    }  # fmt: skip


def test_an_empty_layer_is_a_layer() -> None:
    assert layer_of([])["techniques"] == []


def test_a_bundle_is_valid_and_the_same_twice() -> None:
    rows = [
        row(1),
        row(2, "T1105", None),
        row(3, attacker_ip="2001:db8::1"),
        row(4, attacker_ip="no address"),
    ]
    text = stix_bundle(rows)
    assert text == stix_bundle(list(reversed(rows)))
    bundle = stix2.parse(text)
    kinds = [obj.type for obj in bundle.objects]
    assert kinds.count("attack-pattern") == 2
    assert kinds.count("threat-actor") == 1
    assert kinds.count("ipv4-addr") == kinds.count("ipv6-addr") == 1
    uses = [obj for obj in bundle.objects if obj.type == "relationship" and obj.relationship_type == "uses"]
    assert {obj.confidence for obj in uses} == {80}


def test_an_empty_bundle_names_its_author_only() -> None:
    assert [obj.type for obj in stix2.parse(stix_bundle([])).objects] == ["identity"]


def test_old_evidence_is_dated_by_its_session() -> None:
    old = datetime(2018, 3, 4, tzinfo=UTC)
    (actor,) = [
        o for o in stix2.parse(stix_bundle([row(1, seen_at=old)])).objects if o.type == "threat-actor"
    ]
    assert actor.first_seen == old


@given(st.text(max_size=200))
def test_no_text_leaves_its_cell_or_runs(text: str) -> None:
    lines = csv_of([row(1, evidence={"matched": text}, attacker_ip=text)])
    parsed = list(csv.DictReader(io.StringIO(lines)))
    assert len(parsed) == 1
    assert not parsed[0]["matched"].startswith(("=", "+", "-", "@"))
    assert lines.count("\n") == 2
    (line,) = json_of([row(1, attacker_ip=text)])
    assert line.isascii()
    assert json.loads(line)["attacker_ip"] == text
