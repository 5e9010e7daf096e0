"""Compiled rules that are kept: the same rules as the files say, and nothing of what anybody else could have written."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from decnet.attack import catalogue
from decnet.attack.catalogue import load_catalogue, use_bundle
from decnet.home import packaged_rules_dir
from decnet.ttp import compiling, kept
from decnet.ttp.kept import FILE_NAME, KeptRules
from decnet.ttp.loader import LoadResult, load_bytes, load_dir
from decnet.ttp.offline import OfflineTagger
from decnet.ttp.plain import from_plain, to_plain
from decnet.ttp.rules import CompiledRule
from decnet.ttp.selftest import run_rule_tests

PACK = load_dir(packaged_rules_dir())
HEAD = "rule_version: 1\nname: demo\ndescription: d\n"
EMITS = "emits: [{tactic: TA0011, technique_id: T1105, confidence: 0.8}]\n"
PLAIN = "applies_to: [command]\nmatch: {pattern: wget}\ntests: {match: [wget x], no_match: [ls]}\n"
OTHERS = {
    "window": "applies_to: [command]\nmatch: {pattern: x, window: {count: 2, within: 60s, distinct: argv0}}\n",
    "steps": (
        "applies_to: [command, login]\nmatch: {sequence: {within: 5m, steps: ["
        "{pattern: a, source_kind: command}, {op: cidr, field: ip, value: [10.0.0.0/8]}]}}\n"
    ),
    "groups": (
        "applies_to: [command]\nmatch: {all: [{any: [{pattern: a}, {op: gt, field: n, value: 1.5}]},"
        " {not: {op: exists, field: pwd}}], scope: line}\n"
        "literal_because: names one program that has no other name\n"
    ),
}


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A directory with one rule."""
    folder = tmp_path / "rules"
    folder.mkdir()
    write(folder, "R1")
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where rules are kept."""
    return tmp_path / "cache"


def write(folder: Path, rule_id: str, body: str = PLAIN) -> None:
    (folder / f"{rule_id}.yaml").write_text(f"rule_id: {rule_id}\n{HEAD}{body}{EMITS}")


def load(rules: Path, place: Path | None) -> LoadResult:
    known = KeptRules(place)
    result = load_dir(rules, kept=known)
    known.save()
    return result


def ids(result: LoadResult) -> list[str]:
    return [rule.rule_id for rule in result.rules]


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are compiled from now on."""
    names: list[str] = []
    real = compiling.compiled

    def spy(raw: bytes, name: str, known: Any) -> Any:
        names.append(Path(name).stem)
        return real(raw, name, known)

    monkeypatch.setattr(compiling, "compiled", spy)
    return names


def back(rule: CompiledRule) -> CompiledRule:
    return from_plain(json.loads(json.dumps(to_plain(rule))), rule.source, rule.file, rule.content_hash)


def test_every_rule_of_the_pack_comes_back_as_it_was() -> None:
    assert len(PACK.rules) > 350
    for rule in PACK.rules:
        again = back(rule)
        assert again == rule
        assert to_plain(again) == to_plain(rule)
        assert (again.source, again.test_places) == (rule.source, rule.test_places)
        assert (again.condition is None) is (rule.condition is None)
        assert run_rule_tests([again]) == []


@pytest.mark.parametrize("body", OTHERS.values(), ids=OTHERS)
def test_what_the_pack_has_not_comes_back_too(body: str) -> None:
    if "login" in body:
        body = body.replace("login", "auth_attempt")
    rule, errors = load_bytes(f"rule_id: R1\n{HEAD}{body}{EMITS}".encode(), "R1.yaml")
    assert rule is not None, errors
    assert back(rule) == rule
    assert to_plain(back(rule)) == to_plain(rule)
    assert back(rule).correlation is None or back(rule).correlation.within_s == rule.correlation.within_s  # type: ignore[union-attr]


def test_kept_rules_say_the_same_of_commands_and_events(place: Path) -> None:
    fresh = OfflineTagger(packaged_rules_dir(), kept=place)
    known = OfflineTagger(packaged_rules_dir(), kept=place)
    texts = [
        t for rule in PACK.rules for t in (*rule.tests_match, *rule.tests_no_match) if isinstance(t, str)
    ]
    payloads = [
        json.dumps({"source_kind": kind, "payload": t})
        for rule in PACK.rules
        for t in (*rule.tests_match, *rule.tests_no_match)
        for kind in rule.applies_to
        if isinstance(t, dict)
    ]
    assert len(texts) > 1000
    assert len(payloads) > 20
    for line in (*texts, *payloads):
        assert known.answer(line) == fresh.answer(line)


def test_what_is_kept_is_not_compiled_again(rules: Path, place: Path, compilations: list[str]) -> None:
    assert ids(load(rules, place)) == ["R1"]
    write(rules, "R2")
    assert ids(load(rules, place)) == ["R1", "R2"]
    assert ids(load(rules, place)) == ["R1", "R2"]
    assert compilations == ["R1", "R2"]
    assert ids(load(rules, None)) == ["R1", "R2"]
    assert compilations == ["R1", "R2", "R1", "R2"], "without a folder nothing is kept"


def test_another_byte_in_a_file_is_another_rule(rules: Path, place: Path, compilations: list[str]) -> None:
    load(rules, place)
    path = rules / "R1.yaml"
    path.write_bytes(path.read_bytes().replace(b"0.8", b"0.7"))
    assert load(rules, place).rules[0].emits[0].confidence == 0.7
    path.write_bytes(path.read_bytes().replace(b"0.7", b"0.8"))
    assert load(rules, place).rules[0].emits[0].confidence == 0.8
    assert compilations == ["R1", "R1"], "what was there before is still known"


def test_the_same_bytes_under_another_name_have_that_name(rules: Path, place: Path) -> None:
    load(rules, place)
    (rules / "R1.yaml").rename(rules / "other.yaml")
    (rule,) = load(rules, place).rules
    assert {Path(place.file).name for place in rule.test_places.values()} == {"other.yaml"}
    assert Path(rule.file).name == "other.yaml"


def test_a_file_with_an_error_is_read_each_time(rules: Path, place: Path, compilations: list[str]) -> None:
    write(rules, "R2", PLAIN.replace("wget}", "'(?=a)'}"))
    for _ in range(2):
        result = load(rules, place)
        assert ids(result) == ["R1"]
        assert ["lookaround" in str(error) for error in result.errors] == [True]
    assert compilations == ["R1", "R2", "R2"]


def test_what_is_kept_is_for_its_owner_only(rules: Path, place: Path) -> None:
    load(rules, place)
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE((place / FILE_NAME).stat().st_mode) == 0o600
    assert [path.name for path in place.iterdir()] == [FILE_NAME], "no draft is left"


def lied(place: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """What somebody who can write there would leave: all is right but the rule."""
    text = (place / FILE_NAME).read_bytes()[64:]
    body = json.loads(text)
    change(body)
    text = json.dumps(body).encode()
    (place / FILE_NAME).write_bytes(hashlib.sha256(text).hexdigest().encode() + text)


def disarm(body: dict[str, Any]) -> None:
    for entry in body["rules"].values():
        entry["condition"] = ["pattern", "command_text", "never"]


def is_armed(rules: Path, place: Path) -> bool:
    return bool(OfflineTagger(rules, kept=place).tag_command("wget x"))


def test_a_lie_of_this_user_is_believed_or_the_tests_below_say_nothing(rules: Path, place: Path) -> None:
    load(rules, place)
    lied(place, disarm)
    assert not is_armed(rules, place)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_passed_over(rules: Path, place: Path, mode: int) -> None:
    load(rules, place)
    lied(place, disarm)
    (place / FILE_NAME).chmod(mode)
    assert is_armed(rules, place)
    assert stat.S_IMODE((place / FILE_NAME).stat().st_mode) == 0o600, "and replaced"


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_folder_that_others_can_write_is_passed_over(rules: Path, place: Path, mode: int) -> None:
    load(rules, place)
    lied(place, disarm)
    lies = (place / FILE_NAME).read_bytes()
    place.chmod(mode)
    assert is_armed(rules, place)
    assert (place / FILE_NAME).read_bytes() == lies, "nothing is written there either"


def test_a_file_of_another_user_is_passed_over(
    rules: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(rules, place)
    lied(place, disarm)
    found = os.stat(place).st_uid
    monkeypatch.setattr(os, "geteuid", lambda: found + 1)
    assert is_armed(rules, place)


def test_a_link_is_not_followed_and_a_pipe_is_not_waited_for(
    rules: Path, place: Path, tmp_path: Path
) -> None:
    load(rules, place)
    lied(place, disarm)
    (place / FILE_NAME).rename(tmp_path / "elsewhere")
    (place / FILE_NAME).symlink_to(tmp_path / "elsewhere")
    assert is_armed(rules, place)
    (place / FILE_NAME).unlink()
    os.mkfifo(place / FILE_NAME, 0o600)
    assert is_armed(rules, place)
    assert (place / FILE_NAME).is_file()


def test_what_another_version_kept_is_passed_over(
    rules: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(rules, place)
    lied(place, disarm)
    monkeypatch.setattr(kept, "_program", lambda: "another")
    assert is_armed(rules, place)
    monkeypatch.undo()
    lied(place, disarm)
    assert is_armed(rules, place), "the newer one's counts for nothing here"


def test_a_change_of_the_compiler_is_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "loader.py"
    source.write_text("x")
    monkeypatch.setattr(kept, "_sources", lambda: iter([source]))
    said = set()
    for text in ("x", "xx"):
        source.write_text(text)
        said.add(kept._program.__wrapped__())
    os.utime(source, ns=(1, 1))
    said.add(kept._program.__wrapped__())
    assert len(said) == 3


def test_the_sources_are_those_that_make_rules() -> None:
    names = {"/".join(path.parts[-2:]) for path in kept._sources()}
    wanted = {
        "ttp/compiling.py",
        "ttp/schema.py",
        "ttp/conditions.py",
        "ttp/plain.py",
        "decnet/yaml_places.py",
    }
    assert wanted <= names
    assert "lifters/behavioral.py" in names


def test_rules_by_another_catalogue_are_not_kept_ones(
    rules: Path, place: Path, tmp_path: Path, compilations: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "_bundle", lambda path, stamp: load_shipped())
    load_shipped = catalogue._shipped
    bundle = tmp_path / "bundle.json"
    bundle.write_text("{}")
    load(rules, place)
    use_bundle(bundle)
    try:
        load(rules, place)
        load(rules, place)
        bundle.write_text("{ }")
        load(rules, place)
    finally:
        use_bundle(None)
    assert compilations == ["R1"] * 3
    load_dir(rules, catalogue=load_catalogue(), kept=KeptRules(place))
    assert compilations == ["R1"] * 4, "a catalogue that is handed over is not the process's own"


def test_a_catalogue_that_changes_meanwhile_spoils_nothing(
    rules: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = KeptRules(place)
    load_dir(rules, kept=known)
    monkeypatch.setattr(kept, "mark_of_bundle", lambda: "another")
    known.save()
    assert not (place / FILE_NAME).exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: b"",
        lambda text: text[:-1],
        lambda text: text[:63],
        lambda text: text.replace(b"wget", b"wgot"),
        lambda text: b"0" * 64 + text[64:],
        lambda text: signed(b"[" * 100_000),
        lambda text: signed(b"[]"),
        lambda text: signed(b"null"),
        lambda text: signed(b"\xff"),
        lambda text: signed(b'{"made_by": 1}'),
    ],
)
def test_damage_costs_time_and_nothing_else(
    rules: Path, place: Path, damage: Callable[[bytes], bytes], compilations: list[str]
) -> None:
    load(rules, place)
    whole = (place / FILE_NAME).read_bytes()
    (place / FILE_NAME).write_bytes(damage(whole))
    assert ids(load(rules, place)) == ["R1"]
    assert compilations == ["R1", "R1"]
    assert ids(load(rules, place)) == ["R1"]
    assert compilations == ["R1", "R1"], "it is kept anew"


def signed(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode() + text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("condition", ["boom", 1]),
        ("condition", ["pattern"]),
        ("condition", ["op", "ip", "cidr", "no address"]),
        ("condition", ["op", "ip", "__import__", "os"]),
        ("condition", 7),
        ("emits", [[1]]),
        ("emits", None),
        ("knobs", 3),
        ("places", [["match"]]),
        ("applies_to", 4),
        ("correlation", [1]),
        ("rule_id", None),
    ],
)
def test_an_entry_that_is_no_rule_is_compiled_from_its_file(
    rules: Path, place: Path, key: str, value: Any, compilations: list[str]
) -> None:
    load(rules, place)

    def change(body: dict[str, Any]) -> None:
        for entry in body["rules"].values():
            if value is None:
                del entry[key]
            else:
                entry[key] = value

    lied(place, change)
    assert is_armed(rules, place)
    assert compilations == ["R1", "R1"]


def test_a_file_at_the_limit_is_read_and_one_byte_more_is_not(
    rules: Path, place: Path, monkeypatch: pytest.MonkeyPatch, compilations: list[str]
) -> None:
    load(rules, place)
    size = (place / FILE_NAME).stat().st_size
    monkeypatch.setattr(kept, "MAX_BYTES", size)
    load(rules, place)
    assert compilations == ["R1"]
    monkeypatch.setattr(kept, "MAX_BYTES", size - 1)
    load(rules, place)
    assert compilations == ["R1", "R1"]
    (place / FILE_NAME).unlink()
    load(rules, place)
    assert not (place / FILE_NAME).exists(), "nor is one written"


def test_the_rules_asked_for_stay_when_there_are_too_many(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MAX_KEPT", 3)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    for number in range(3):
        write(tmp_path / "a", f"A{number}")
    for number in range(2):
        write(tmp_path / "b", f"B{number}")
    load(tmp_path / "a", place)
    load(tmp_path / "b", place)
    body = json.loads((place / FILE_NAME).read_bytes()[64:])
    found = sorted(entry["rule_id"] for entry in body["rules"].values())
    assert (len(found), found[1:]) == (3, ["B0", "B1"])


def test_where_nothing_can_be_written_all_goes_on(rules: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert ids(load(rules, tmp_path / "file" / "cache")) == ["R1"]


def test_literals_that_are_told_wrongly_change_no_answer(rules: Path, place: Path) -> None:
    load(rules, place)
    OfflineTagger(rules, kept=place)

    def turn(body: dict[str, Any]) -> None:
        body["literals"] = {pattern: not has for pattern, has in body["literals"].items()}

    lied(place, turn)
    assert is_armed(rules, place)
