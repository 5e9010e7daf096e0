"""The shipped pack as a whole: size, shape of every rule, lint, coverage."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from decnet.attack.catalogue import load_catalogue
from decnet.home import packaged_rules_dir
from decnet.ttp.loader import load_bytes, load_dir
from decnet.ttp.rules import CompiledRule
from decnet.ttp.selftest import run_rule_tests
from decnet_tui.cli.coverage import coverage_layer, coverage_rows, external_lines
from decnet_tui.cli.main import app
from tests import rulelint as lint
from tests.democommands import demo_commands

PACK = load_dir(packaged_rules_dir())
OURS = [rule for rule in PACK.rules if rule.rule_id.startswith("R")]
SHELL_TACTICS = {"TA0002", "TA0003", "TA0004", "TA0005", "TA0006", "TA0007", "TA0008", "TA0009", "TA0010"} | {
    "TA0011",
    "TA0040",
}
RULE = """rule_id: {id}
rule_version: 1
name: x
description: d
applies_to: [command]
match: {{pattern: '{pattern}'}}
emits: [{{tactic: {tactic}, technique_id: {technique}, confidence: 0.8}}]
"""


def made(name: str, pattern: str, tactic: str = "TA0011", technique: str = "T1105") -> CompiledRule:
    rule, errors = load_bytes(
        RULE.format(id=name, pattern=pattern, tactic=tactic, technique=technique).encode(), f"{name}.yaml"
    )
    assert rule is not None, errors
    return rule


def test_the_pack_loads_and_is_large() -> None:
    assert not PACK.errors
    assert len(OURS) >= 200
    assert {emit.tactic for rule in OURS for emit in rule.emits} >= SHELL_TACTICS


@pytest.mark.parametrize("rule", OURS, ids=lambda rule: rule.rule_id)
def test_every_rule_explains_and_tests_itself(rule: CompiledRule) -> None:
    assert len(rule.description) > 20
    assert rule.references
    assert len(rule.tests_match) >= 3
    assert len(rule.tests_no_match) >= 3
    assert all(0.3 <= emit.confidence <= 0.95 for emit in rule.emits)
    assert Path(rule.file).name == f"{rule.rule_id}_{rule.name}.yaml"


def test_own_tests_hold() -> None:
    assert [str(error) for error in run_rule_tests(OURS)] == []


def test_session_rules_are_there() -> None:
    names = {rule.name for rule in OURS if rule.correlation is not None}
    assert names >= {
        "recon_burst",
        "download_chmod_run",
        "guessed_then_at_work",
        "cron_after_download",
        "clean_up_after_all",
    }


def test_the_pack_has_no_fault_on_its_own_examples() -> None:
    assert [str(error) for error in lint.lint(OURS, [])] == []


def test_no_rule_names_a_machine_or_a_person_of_anybody_real() -> None:
    """An address in a rule is one of the documentation ranges or a well-known service."""
    known = re.compile(
        r"(?:192\.0\.2|198\.51\.100|203\.0\.113|127\.0\.0|169\.254\.\d+|100\.100\.100|0\.0\.0|8\.8\.[48]|1\.[01]\.[01]|9\.9\.9|114\.114\.114)\."
    )
    for rule in OURS:
        for address in re.findall(r"\b\d{1,3}(?:\.\d{1,3}){3}\b", rule.source.replace("\\", "")):
            assert known.match(address), (rule.rule_id, address)


def test_the_pack_has_no_fault_on_what_attackers_typed() -> None:
    assert [str(error) for error in lint.lint(OURS, demo_commands())] == []


def test_every_rule_survives_other_names_and_places_or_says_why_not() -> None:
    assert [str(error) for error in lint.bound(OURS)] == []


def test_lint_finds_a_rule_that_knows_a_place() -> None:
    text = RULE.format(id="R1", pattern="^/tmp/", tactic="TA0002", technique="T1059")
    rule, _ = load_bytes(f"{text}tests: {{match: [/tmp/a]}}".encode(), "R1.yaml")
    assert rule is not None
    assert ["/opt/data/a" in fault.message for fault in lint.bound([rule])] == [True]


def test_lint_finds_a_rule_without_a_literal() -> None:
    faults = lint.without_literal([made("R1", r"\d+\s\w*"), made("R2", r"\bwget\b")])
    assert [fault.rule_id for fault in faults] == ["R1"]


def test_lint_finds_doubles_and_shadows() -> None:
    texts = ["wget a", "wget b", "wget c", "curl d"]
    faults = lint.lint([made("R1", "wget"), made("R2", "wge[t]")], texts)
    assert any(f.rule_id == "R2" and "exactly when R1" in f.message for f in faults)
    faults = lint.lint([made("R1", "wget|curl"), made("R2", "wget")], texts)
    assert [(f.rule_id, f.message.split(",")[0]) for f in faults] == [("R2", "covered by R1")]
    faults = lint.lint([made("R1", "wget|curl"), made("R2", "wget", "TA0007", "T1082")], texts)
    assert faults == []


def test_doubles_with_a_reason_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = [made("R1", "wget"), made("R2", "wge[t]", "TA0007", "T1082")]
    texts = ["wget a", "wget b", "wget c"]
    assert lint.lint(pair, texts)
    monkeypatch.setattr(lint, "TOGETHER", {frozenset(("R1", "R2")): "two sides of one command"})
    assert lint.lint(pair, texts) == []


def test_coverage_counts_rules_and_names_techniques() -> None:
    rules = [made("R1", "wget"), made("R2", "curl"), made("R3", "uname", "TA0007", "T1082")]
    rows = coverage_rows(rules, load_catalogue())
    assert [(row["technique"], row["rules"]) for row in rows] == [("T1082", ["R3"]), ("T1105", ["R1", "R2"])]
    assert rows[1]["name"] == "Ingress Tool Transfer"
    layer = coverage_layer(rules, load_catalogue())
    assert layer["domain"] == "enterprise-attack"
    assert {c["techniqueID"]: (c["score"], c["comment"]) for c in layer["techniques"]} == {
        "T1082": (1, "R3"),
        "T1105": (2, "R1 R2"),
    }


def test_the_coverage_command(tmp_path: Path) -> None:
    run, rules, target = CliRunner(), tmp_path / "rules", tmp_path / "layer.json"
    rules.mkdir()
    (rules / "R1.yaml").write_text(
        RULE.format(id="R1", pattern="wget", tactic="TA0011", technique="T1105"), "utf-8"
    )
    command = ["rules", "coverage", "--rules", str(rules)]
    table = run.invoke(app, command)
    assert table.exit_code == 0
    assert "Ingress Tool Transfer" in table.stdout
    assert "1 rule, 1 technique" in table.stdout
    as_json = json.loads(run.invoke(app, [*command, "--json"]).stdout)
    assert as_json == [
        {
            "technique": "T1105",
            "name": "Ingress Tool Transfer",
            "tactics": ["TA0011"],
            "confidence": 0.8,
            "rules": ["R1"],
            "external": [],
        }
    ]
    assert run.invoke(app, [*command, "--navigator", str(target)]).exit_code == 0
    assert json.loads(target.read_text())["techniques"]
    nowhere = run.invoke(app, [*command, "--navigator", str(tmp_path / "no" / "x.json")])
    assert nowhere.exit_code != 0
    assert run.invoke(app, ["rules", "coverage", "--rules", str(tmp_path / "none")]).exit_code != 0


def test_rules_that_nothing_of_ours_feeds_are_named_with_the_reason() -> None:
    (rule,) = [rule for rule in PACK.rules if rule.external is not None]
    assert rule.rule_id == "L0706"
    rows = coverage_rows(PACK.rules, load_catalogue())
    assert {row["technique"]: row["external"] for row in rows if row["external"]} == {"T1583.004": ["L0706"]}
    told = CliRunner().invoke(app, ["rules", "coverage"]).stdout
    assert "1 rule without a producer of ours:\n  L0706 jarm_c2: A JARM is taken by asking" in told
    assert external_lines([made("R1", "wget")]) == []


def test_the_shipped_pack_covers_what_a_shell_can_show() -> None:
    techniques = {row["technique"] for row in coverage_rows(OURS, load_catalogue())}
    assert len(techniques) >= 140
    assert techniques >= {"T1059.004", "T1105", "T1053.003", "T1098.004", "T1496.001", "T1552.005", "T1611"}
