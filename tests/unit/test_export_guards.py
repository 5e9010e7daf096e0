"""Exports at their limits: what a spreadsheet would run, how long a cell is, what a layer and a bundle count."""

from __future__ import annotations

import csv
import io
import json
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import stix2

from decnet.attack.catalogue import load_catalogue
from decnet.errors import ExportError
from decnet.export import stix_bundle
from decnet.export.tables import COLUMNS
from tests.unit.test_export import csv_of, json_of, layer_of, row


def cell(value: Any) -> str:
    (parsed,) = csv.DictReader(io.StringIO(csv_of([row(1, attacker_ip=value)])))
    return parsed["attacker_ip"]


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_what_a_spreadsheet_would_run_starts_with_an_apostrophe(first: str) -> None:
    assert cell(f"{first}cmd|' /C calc'!A0") == f"'{first}cmd|' /C calc'!A0"
    assert cell(f" {first}1") == f" {first}1"
    assert cell(f"x{first}1") == f"x{first}1"


def test_cells_hold_one_line_of_printable_text_of_bounded_length() -> None:
    assert cell("\t=1") == "\\t=1"
    assert cell("\r=1") == "\\r=1"
    assert cell("a\nb\x1b[2J\u202e") == "a\\nb\\e[2J\\u202e"
    assert cell(None) == ""
    assert cell(-1) == "-1", "a number is a number"
    assert cell(0.5) == "0.5"
    assert [len(cell("x" * n)) for n in (1999, 2000, 2001, 9000)] == [1999, 2000, 2000, 2000]
    assert cell('a,"b"') == 'a,"b"'


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        (datetime(2026, 1, 1, 14, tzinfo=timezone(timedelta(hours=2))), "2026-01-01T12:00:00+00:00"),
        (datetime(2026, 1, 1, 14, 0, 0, 5, UTC), "2026-01-01T14:00:00.000005+00:00"),
        ("2026-01-01 12:00:00.000000", "2026-01-01T12:00:00+00:00"),
        ("2026-01-01 12:00:00.500000", "2026-01-01T12:00:00.500000+00:00"),
        (None, ""),
    ],
)
def test_times_are_the_same_whichever_database_has_them(stored: Any, told: str) -> None:
    (parsed,) = csv.DictReader(io.StringIO(csv_of([row(1, seen_at=stored)])))
    assert parsed["seen_at"] == told
    assert json.loads(json_of([row(1, seen_at=stored)])[0])["seen_at"] == (told or None)


def test_one_cell_of_a_column_makes_no_other_one_safe() -> None:
    """A page is looked at by columns: each cell of one that holds anything doubtful is looked at by itself."""
    for odd in ("=1", "a\x1bb", "x" * 2001, "é\u202e", "", "a,b", '"', None):
        rows = [
            row(1, decky_id="web"),
            row(2, decky_id=odd),
            row(3, decky_id="-2"),
            row(4, decky_id="x" * 2000),
        ]
        found = [line["decky_id"] for line in csv.DictReader(io.StringIO(csv_of(rows)))]
        alone = [next(csv.DictReader(io.StringIO(csv_of([one]))))["decky_id"] for one in rows]
        assert found == alone
        assert (found[0], found[2], len(found[3])) == ("web", "'-2", 2000)


def test_a_table_has_its_header_and_the_columns_of_the_contract() -> None:
    assert csv_of([]) == ",".join(COLUMNS) + "\n"
    parsed = list(
        csv.DictReader(io.StringIO(csv_of([row(1), row(2, evidence=None), row(3, evidence=["x"])])))
    )
    assert [found["matched"] for found in parsed] == ["crontab -", "", ""]
    assert parsed[0]["rule_version"] == "1"
    assert tuple(parsed[0]) == COLUMNS
    (line,) = json_of(
        [
            row(
                1,
                attacker_ip="\ud800é",
                created_at=datetime(2026, 1, 1, 14, tzinfo=timezone(timedelta(hours=2))),
            )
        ]
    )
    assert line.endswith("}\n")
    assert line.isascii()
    assert json.loads(line)["created_at"] == "2026-01-01T12:00:00+00:00"


def test_a_layer_counts_and_names_at_most_ten_rules() -> None:
    for count, more in ((9, False), (10, False), (11, True)):
        rows = [row(n, rule_id=f"R{n:04}", identity_uuid=f"i{n % 2}") for n in range(count)]
        _, found = layer_of(rows)["techniques"]
        assert found["score"] == count
        assert found["comment"].startswith(f"{count} tags of 2 identities by R0000, ")
        assert found["comment"].endswith(" …") == more
        assert found["comment"].count("R0") == min(count, 10)
    layer = layer_of(
        [row(1, "T1059\x1b", None, rule_id="\x1b[2J", tactic="TA9999")],
        name="n\x1b" * 200,
        description="d\n" * 3000,
    )
    (found,) = layer["techniques"]
    assert "\x1b" not in found["comment"]
    assert "tactic" not in found, "one that the catalogue does not know"
    assert (len(layer["name"]), len(layer["description"])) == (200, 2000)
    assert "\x1b" not in layer["name"]
    assert layer["versions"]["attack"] == load_catalogue().release.split(".")[0]
    by = layer_of([row(1, identity_uuid=None), row(2, identity_uuid=None, attacker_uuid="b")])
    assert by["techniques"][1]["comment"].startswith("2 tags of 2 identities")
    opened = [c.get("showSubtechniques") for c in layer_of([row(1), row(2, "T1105", None)])["techniques"]]
    assert opened == [True, None, None], "the parent alone, without a score"
    assert layer_of([])["gradient"]["maxValue"] == 1


def bundle(*rows: dict[str, Any]) -> dict[str, list[Any]]:
    out: dict[str, list[Any]] = {}
    for found in stix2.parse(stix_bundle(rows)).objects:
        out.setdefault(found.type, []).append(found)
    return out


def test_a_bundle_says_between_when_and_when_how_sure_and_how_often() -> None:
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
    objects = bundle(
        row(1, confidence=0.4, created_at=noon + timedelta(minutes=5)),
        row(2, confidence=0.854, created_at=noon, session_id="s1"),
        row(
            3,
            confidence=0.1,
            created_at=noon + timedelta(minutes=9),
            seen_at=noon + timedelta(minutes=7),
            rule_id="R9\x1b",
        ),
        row(4, identity_uuid=None, attacker_uuid="b", attacker_ip="not an address", session_id=None),
    )
    first, second = sorted(objects["threat-actor"], key=lambda actor: actor.name)
    assert [actor.name for actor in (first, second)] == ["honeypot identity b", "honeypot identity i"]
    assert (second.first_seen, second.last_seen) == (noon, noon + timedelta(minutes=7))
    assert second.aliases == ["203.0.113.7"]
    assert "last_seen" not in first
    uses = {u.source_ref: u for u in objects["relationship"] if u.relationship_type == "uses"}
    mine = uses[second.id]
    assert (mine.confidence, mine.created, mine.modified) == (85, noon, noon + timedelta(minutes=7))
    assert mine.description == "3 tags by R0003, R9\\e"
    (observed,) = objects["observed-data"]
    assert (observed.number_observed, observed.first_observed) == (2, noon), "two sessions"
    (pattern,) = objects["attack-pattern"]
    assert pattern.external_references[0].url.startswith("https://attack.mitre.org/")
    assert [o.type for o in bundle(row(1, "T9999", None))["attack-pattern"]] == ["attack-pattern"], (
        "an unknown one too"
    )
    assert first.created_by_ref == objects["identity"][0].id


def test_without_the_library_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stix2", None)
    with pytest.raises(ExportError, match="pip install"):
        stix_bundle([])
