"""Public Sigma rules, which lie beside the checkout and are no part of it: how many are carried over, and whether they say the same."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from decnet.ttp.loader import load_bytes
from decnet.ttp.matcher import Failures, RuleIndex
from decnet.ttp.rules import CompiledRule
from decnet.ttp.selftest import run_rule_tests
from decnet.ttp.sigma.importing import Imported, Importer
from decnet_tui.cli.main import app
from tests.sigmakit import PUBLIC, reference

LINUX = PUBLIC / "linux_process_creation"
pytestmark = pytest.mark.skipif(not LINUX.is_dir(), reason=f"no public Sigma rules in {PUBLIC}")


@pytest.fixture(scope="module")
def told() -> list[Imported]:
    return list(Importer().run(LINUX))


def rules_of(told: list[Imported]) -> dict[str, CompiledRule]:
    """File of a Sigma rule → the rule that it became."""
    found = {}
    for one in told:
        for name, text in one.files.items():
            rule, errors = load_bytes(text.encode(), name)
            assert rule is not None, errors
            found[one.where] = rule
    return found


def test_four_of_five_linux_rules_are_carried_over_and_the_rest_says_why(told: list[Imported]) -> None:
    carried = [one for one in told if one.files]
    assert len(told) >= 100
    assert len(carried) >= 0.8 * len(told), Counter(one.reason for one in told)
    assert all(bool(one.reason) is not bool(one.files) for one in told)


def test_each_carried_rule_passes_its_examples_and_nearly_all_have_one(told: list[Imported]) -> None:
    rules = list(rules_of(told).values())
    assert run_rule_tests(rules) == []
    assert sum(bool(rule.tests_match) for rule in rules) >= 0.95 * len(rules)


def test_every_carried_rule_says_of_every_example_what_sigma_says(told: list[Imported]) -> None:
    rules = rules_of(told)
    lines = sorted(
        {str(line) for rule in rules.values() for line in (*rule.tests_match, *rule.tests_no_match)}
    )
    assert len(lines) >= 100
    differ = []
    for where, rule in rules.items():
        said = yaml.safe_load(Path(where).read_text(encoding="utf-8"))
        index = RuleIndex([rule])
        for line in lines:
            ours = bool(index.hits("command", {"command_text": line}, Failures())[0])
            if ours != reference(said, line):
                differ.append((rule.name, line, ours))
    assert differ == []


def test_the_command_writes_rules_that_check_and_a_second_run_changes_nothing(tmp_path: Path) -> None:
    out, where, some = tmp_path / "out", ["--data-dir", str(tmp_path / "data")], tmp_path / "in"
    some.mkdir()
    for path in sorted(LINUX.glob("*.yml"))[::6]:
        (some / path.name).symlink_to(path)
    first = CliRunner().invoke(app, ["rules", "import-sigma", str(some), "-o", str(out), "--json", *where])
    assert first.exit_code == 0, first.output
    rows = json.loads(first.stdout)
    assert {row["carried"] for row in rows} == {True, False}
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert "rule.schema.json" in before
    again = CliRunner().invoke(app, ["rules", "import-sigma", str(some), "-o", str(out), *where])
    assert again.exit_code == 0, again.output
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    checked = CliRunner().invoke(app, ["rules", "check", str(out), *where])
    assert (checked.exit_code, checked.output.splitlines()[-1]) == (0, f"{len(before) - 1} rules, 0 errors")
