"""Thirty kinds of broken rule files in one directory, the engine beside them, and the JSON Schema for editors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from decnet.ttp.base import TaggerEvent
from decnet.ttp.loader import load_bytes
from decnet.ttp.offline import OfflineTagger
from decnet.ttp.rule_engine import RuleEngine, RuleEngineTagger
from decnet.ttp.rule_schema import rendered, rule_schema, shipped
from decnet.ttp.store.impl.filesystem import FilesystemRuleStore
from decnet_tui.cli.rules import app
from tests.packkit import pack

GOOD = """rule_id: {id}
rule_version: 1
name: demo
description: d
applies_to: [command]
match: {{pattern: '\\bwget\\b'}}
emits:
  - {{tactic: TA0011, technique_id: T1105, confidence: 0.8}}
tests:
  match:
    - wget x
"""


def _changed(old: str, new: str) -> str:
    text = GOOD.format(id="B0000")
    assert old in text
    return text.replace(old, new, 1)


PATTERN, MATCH = "'\\bwget\\b'", "{pattern: '\\bwget\\b'}"
LIFTER = _changed("[command]", "[session]").split("tests:")[0]
BEACON = LIFTER.replace(MATCH, "{kind: 'lifter:behavioral_beaconing', knobs: {beacon_interval_s: 20}}")
BROKEN: dict[str, tuple[str | bytes, str, int]] = {
    "unknown_key": (_changed("name: demo", "name: demo\nnmae: x"), "unknown key 'nmae'", 4),
    "unknown_match_key": (_changed("pattern:", "regx:"), "unknown key 'regx'", 6),
    "wrong_type": (_changed("rule_version: 1", "rule_version: one"), "rule_version", 2),
    "missing_key": (_changed("name: demo\n", ""), "missing key 'name'", 1),
    "unknown_source_kind": (_changed("[command]", "[comand]"), "unknown source kind", 5),
    "unknown_lifter": (LIFTER.replace(MATCH, "{kind: 'lifter:nobody'}"), "unknown lifter", 6),
    "unknown_knob": (BEACON.replace("beacon_interval_s", "interval"), "unknown knob 'interval'", 6),
    "bad_knob": (BEACON.replace("20", "often"), "beacon_interval_s", 6),
    "foreign_kind": (BEACON.replace("[session]", "[command]"), "does not look at command", 5),
    "no_emits": (BEACON.split("emits:")[0] + "emits: []\n", "emits at least one", 7),
    "bad_pattern": (_changed(PATTERN, "'(a'"), "bad pattern", 6),
    "lookaround": (_changed(PATTERN, "'(?=x)y'"), "lookaround", 6),
    "back_reference": (_changed(PATTERN, "'(a)\\1'"), "back-references", 6),
    "confidence": (_changed("0.8", "1.8"), "confidence", 8),
    "duplicate_key": (_changed("name: demo", "name: demo\nname: demo"), "duplicate key 'name'", 4),
    "alias": (_changed("description: d", "description: *a"), "alias", 4),
    "anchor": (_changed("description: d", "description: &a d"), "anchor", 4),
    "too_large": (GOOD.format(id="B0000") + "#" * 262_144, "over 256 KiB", 1),
    "too_deep": (_changed("- wget x", "- " + "[" * 60 + "]" * 60), "nesting over 50", 11),
    "no_yaml": (_changed("description: d", "description: 'd"), "not YAML", 6),
    "not_utf8": (b"rule_id: B1\nname: \xff\n", "not UTF-8", 2),
    "empty": ("", "empty", 1),
    "a_list": ("- a\n", "a rule is a mapping", 1),
    "two_documents": (_changed("tests:", "---\ntests:"), "only one document", 9),
    "unknown_technique": (_changed("T1105", "T9999"), "unknown in ATT&CK", 8),
    "wrong_tactic": (_changed("TA0011", "TA0007"), "does not belong", 8),
    "two_emits_alike": (
        _changed("tests:", "  - {tactic: TA0011, technique_id: T1105, confidence: 0.5}\ntests:"),
        "two emits of one technique",
        8,
    ),
    "no_default_field": (_changed("[command]", "[session]"), "pattern needs a field", 6),
    "foreign_sub_technique": (
        _changed("technique_id: T1105", "technique_id: T1105, sub_technique_id: T1059.004"),
        "emits[0]: T1059.004 is no sub-technique of T1105",
        8,
    ),
    "two_forms": (_changed(MATCH, "{pattern: a, any: [{pattern: b}]}"), "exactly one of", 6),
    "bad_duration": (_changed(MATCH, "{pattern: a, window: {count: 2, within: 5x}}"), "duration", 6),
    "bad_cidr": (_changed(MATCH, "{field: src, op: cidr, value: 10.0.0/33}"), "address range", 6),
    "op_without_field": (_changed(MATCH, "{op: equals, value: a}"), "names its field", 6),
    "tag": (_changed("description: d", "description: !!python/name:os d"), "tag", 4),
    "control_character": (_changed("description: d", "description: \x07"), "not YAML", 4),
    "duplicate_id": (GOOD.format(id="G1"), "duplicate rule_id G1", 1),
    "own_test_fails": (GOOD.format(id="G9").replace("- wget x", "- ls"), "own test fails", 11),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("rules")
    for i in range(5):
        (made / f"a_good{i}.yaml").write_text(GOOD.format(id=f"G{i}"))
    for name, (text, _, _) in BROKEN.items():
        (made / f"{name}.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return made


def test_check_reports_every_kind_with_its_place_in_one_run(folder):
    assert len(BROKEN) >= 30
    done = CliRunner().invoke(app, ["check", str(folder)])
    assert done.exit_code == 1
    for name, (_, words, line) in BROKEN.items():
        mine = [text for text in done.output.splitlines() if f"/{name}.yaml:" in text]
        assert any(words in text for text in mine), (name, mine)
        places = {int(m[1]) for text in mine if (m := re.search(rf"/{name}\.yaml:(\d+):\d+: ", text))}
        assert line in places, (name, mine)
    as_json = CliRunner().invoke(app, ["check", str(folder), "--json"])
    rows = json.loads(as_json.output)
    assert {Path(row["file"]).stem for row in rows} == set(BROKEN)
    assert all(row["line"] and row["column"] and row["error"] for row in rows)


async def test_the_engine_runs_every_good_rule_of_that_directory(folder):
    store = FilesystemRuleStore(folder)
    tagger = RuleEngineTagger(store, RuleEngine())
    await tagger.load()
    tags = await tagger.tag(TaggerEvent("command", "c", "a", payload={"command_text": "wget x"}))
    assert {tag.rule_id for tag in tags} == {f"G{i}" for i in range(5)} | {"G9"}
    assert len({e.place.file for e in store.errors()}) == len(BROKEN) - 1
    assert len(OfflineTagger(folder).tag_line("wget x")) == 6


def test_the_shipped_schema_is_the_one_of_the_models():
    assert shipped().read_text() == rendered(), "run: python -m decnet.ttp.rule_schema"


def test_every_shipped_rule_fits_the_schema_and_broken_ones_do_not():
    schema = rule_schema()
    # One of each lifter's and every tenth of the others: the pure YAML parser takes its time.
    rules = pack().rules
    chosen = {r.lifter: r for r in rules if r.lifter} | dict(enumerate(rules[::10]))
    for rule in chosen.values():
        assert not _misfits(schema, schema, yaml.safe_load(rule.source)), rule.file
    for name in ("unknown_key", "unknown_match_key", "wrong_type", "missing_key", "confidence", "two_forms"):
        text = BROKEN[name][0]
        assert _misfits(schema, schema, yaml.safe_load(text)), name
    for name in ("unknown_source_kind", "unknown_lifter", "unknown_knob"):
        assert _misfits(schema, schema, yaml.safe_load(BROKEN[name][0])), name


_TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}


def _misfits(root: dict[str, Any], schema: dict[str, Any], value: Any) -> list[str]:
    """What of ``value`` does not fit; only the keywords that the rule schema uses."""
    if "$ref" in schema:
        return _misfits(root, root["$defs"][schema["$ref"].rpartition("/")[2]], value)
    out = _plain(schema, value)
    for group, wanted in (("anyOf", None), ("oneOf", 1)):
        fitting = sum(not _misfits(root, option, value) for option in schema.get(group, ()))
        if group in schema and (fitting != wanted if wanted else not fitting):
            out.append(f"{group}: {value!r}")
    for part in schema.get("allOf", ()):
        if not _misfits(root, part["if"], value):
            out += _misfits(root, part["then"], value)
    if isinstance(value, list):
        out += [m for item in value for m in _misfits(root, schema.get("items", {}), item)]
    if isinstance(value, dict):
        known = schema.get("properties", {})
        out += [m for key, item in value.items() for m in _misfits(root, known.get(key, {}), item)]
        if schema.get("additionalProperties") is False:
            out += [f"unknown {key}" for key in value.keys() - known.keys()]
    return out


def _plain(schema: dict[str, Any], value: Any) -> list[str]:
    kind = schema.get("type")
    if kind and (
        not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind in ("integer", "number"))
    ):
        return [f"{value!r} is no {kind}"]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    wrong = {
        "enum": "enum" in schema and value not in schema["enum"],
        "const": "const" in schema and value != schema["const"],
        "required": isinstance(value, dict) and not set(schema.get("required", ())) <= value.keys(),
        "pattern": isinstance(value, str) and not re.search(schema.get("pattern", ""), value),
        "range": number and not schema.get("minimum", value) <= value <= schema.get("maximum", value),
        "items": isinstance(value, list) and len(value) < schema.get("minItems", 0),
    }
    return [f"{name}: {value!r}" for name, bad in wrong.items() if bad]


def test_a_rule_bound_to_names_says_why() -> None:
    text = """rule_id: R1
rule_version: 1
name: x
description: d
applies_to: [command]
match: {pattern: xmrig}
emits: [{tactic: TA0040, technique_id: T1496, confidence: 0.8}]
literal_because: REASON
external: REASON
"""
    rule, errors = load_bytes(
        text.replace("REASON", "the name of the program is the evidence").encode(), "R1.yaml"
    )
    assert rule is not None, errors
    assert rule.literal_because == rule.external == "the name of the program is the evidence"
    for short in ("''", "because"):
        rule, errors = load_bytes(text.replace("REASON", short).encode(), "R1.yaml")
        assert rule is None
        assert ["literal_because" in str(errors[0]), "external" in str(errors[1])] == [True, True]
