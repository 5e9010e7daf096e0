"""Rules under a running engine: broken and mended files, and a rule that is off for a while."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cowriegen import append_session
from tests.programkit import Daemon, cli, daemon, listed, until

pytestmark = pytest.mark.slow
LIMIT_S = 10.0
"""Ten times the second within which a saved rule is live."""
RULE = """\
rule_id: {id}
rule_version: 1
name: {name}
description: 'A rule of this test.'
applies_to: [command]
match: {{pattern: '{pattern}'}}
emits:
  - {{tactic: TA0007, technique_id: {technique}, confidence: 0.8}}
"""


def _rule(rule_id: str, pattern: str, technique: str) -> str:
    return RULE.format(id=rule_id, name=f"test_{rule_id.lower()}", pattern=pattern, technique=technique)


class Pot:
    """A growing log, the rules beside it and the engine that reads both."""

    def __init__(self, folder: Path) -> None:
        self.log, self.rules, self.data = folder / "cowrie.json", folder / "rules", folder / "data"
        self.log.touch()
        self.rules.mkdir()
        (self.rules / "a.yaml").write_text(_rule("A1", "alpha", "T1082"), "utf-8")
        (self.rules / "b.yaml").write_text(_rule("B1", "beta", "T1083"), "utf-8")
        self.engine: Daemon

    def tagged(self, address: str, *commands: str) -> set[str]:
        """The rules that fired on a session of ``commands`` from a new address, once it is tagged."""
        append_session(self.log, f"session-{address}", [*commands, "beta"], address)

        def rules() -> set[str]:
            return {row["rule_id"] for row in listed("tags", self.data, "--attacker", address)}

        until(lambda: "B1" in rules(), 30, f"B1 on {address}")
        return rules() - {"B1"}

    def rule(self, rule_id: str) -> dict[str, Any]:
        done = cli("rules", "list", "--json", "--data-dir", self.data)
        assert done.returncode == 0, done.stderr.decode()
        return next(row for row in json.loads(done.stdout) if row["rule_id"] == rule_id)


MODES = ("database", "filesystem")


@pytest.fixture(params=MODES)
def pot(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pot]:
    """An engine in each mode; the commands beside it are told of neither mode nor directory of rules."""
    made = Pot(tmp_path)
    arguments = ("--rules", made.rules, "--sensor", f"cowrie={made.log}")
    mode = {"DECNET_TTP_RULE_STORE_TYPE": request.param}
    with daemon(made.data, tmp_path / "engine.log", *arguments, surrounding=mode) as made.engine:
        until(lambda: cli("rules", "list", "--data-dir", made.data).returncode == 0, 30, "the rules")
        yield made


@pytest.mark.timeout(120)
def test_a_broken_rule_costs_no_other_and_is_live_when_mended(pot: Pot) -> None:
    assert pot.tagged("198.51.100.1", "alpha") == {"A1"}

    (pot.rules / "a.yaml").write_text(_rule("A1", "alpha", "T1082").replace("pattern:", "regx:"), "utf-8")
    error = until(lambda: pot.rule("A1")["error"], LIMIT_S, "the error in rules list")
    assert "a.yaml:6:" in error
    assert "regx" in error
    assert "a.yaml:6:" in pot.engine.said()
    assert pot.tagged("198.51.100.2", "alpha") == {"A1"}, "the last good version stays"

    (pot.rules / "a.yaml").write_text(_rule("A1", "gamma", "T1087"), "utf-8")
    until(lambda: not pot.rule("A1")["error"], LIMIT_S, "no error in rules list")
    assert pot.tagged("198.51.100.3", "gamma") == {"A1"}
    assert pot.tagged("198.51.100.4", "alpha") == set()
    tags = listed("tags", pot.data, "--attacker", "198.51.100.3")
    assert {row["technique_id"] for row in tags} == {"T1083", "T1087"}


@pytest.mark.timeout(120)
def test_a_rule_that_is_off_for_a_while_fires_again_by_itself(pot: Pot) -> None:
    done = cli("rules", "disable", "A1", "--for", "20s", "--reason", "test", "--data-dir", pot.data)
    assert done.returncode == 0, done.stderr.decode()
    until(lambda: pot.rule("A1")["state"] == "disabled", LIMIT_S, "disabled in rules list")
    assert pot.tagged("198.51.100.1", "alpha") == set()
    until(lambda: pot.rule("A1")["state"] == "enabled", 50, "enabled again in rules list")
    assert pot.tagged("198.51.100.2", "alpha") == {"A1"}


@pytest.mark.timeout(120)
def test_an_engine_on_an_empty_folder_waits_and_judges_everything_once_a_rule_comes(tmp_path: Path) -> None:
    made = Pot(tmp_path)
    kept = {path: path.read_text("utf-8") for path in made.rules.iterdir()}
    for path in kept:
        path.unlink()
    append_session(made.log, "early", ["alpha", "beta"], "198.51.100.1")
    with daemon(made.data, tmp_path / "engine.log", "--rules", made.rules, "--sensor", f"cowrie={made.log}"):
        until(lambda: _ttp(made.data)["status"] == "waiting_for_rules", 30, "it waits")
        until(lambda: listed("sessions", made.data), 30, "the session is stored all the same")
        until(lambda: _ttp(made.data)["lag"] > 0, 30, "its events wait in the stream")
        assert _ttp(made.data)["processed"] == 0
        assert listed("tags", made.data) == []
        for words in (("list",), ("disable", "A1")):
            assert b"no rules loaded yet" in cli("rules", *words, "--data-dir", made.data).stderr
        for path, text in kept.items():
            path.write_text(text, "utf-8")
        until(lambda: len(listed("tags", made.data)) == 2, 30, "both rules on the early session")
        until(lambda: _ttp(made.data)["status"] == "ok", 30, "well again")


def _ttp(data: Path) -> dict[str, Any]:
    rows = listed("workers", data)
    return next((row for row in rows if row["worker"] == "ttp"), {"status": "", "lag": 0})
