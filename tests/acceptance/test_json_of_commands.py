"""JSON of the lists: an array of objects with the keys and types that are promised, ASCII only, on a directory that the demo has filled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

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
}
"""Command → keys of its rows: ``name``, ``name:type`` (text without one), ``?`` where it may be null. Others may stand beside."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("json") / "data"
    done = cli("--headless", "--demo", "--until-idle", "0.5", "--data-dir", made, timeout=100)
    assert done.returncode == 0, done.stderr
    return made


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


def test_a_row_that_is_not_as_promised_is_noticed() -> None:
    assert misfits({"a": "x", "b": 1, "c": None}, "a b:count c?") == []
    assert misfits({"a": 1, "b": True, "c": None}, "a b:count c d") == [
        "a is 1, no text",
        "b is True, no count",
        "c is null",
        "no d",
    ]
