"""Ten sessions of administrators who mean well: exactly what is tagged of them on a decoy, and for each why that is right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from decnet.ttp.offline import OfflineTagger
from decnet.ttp.offline_sessions import tag_session

SESSIONS = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "cases" / "administrators.json").read_text("utf-8")
)


@pytest.fixture(scope="module")
def tagger() -> OfflineTagger:
    return OfflineTagger(Path(__file__).parents[2] / "rules" / "ttp")


@pytest.mark.parametrize("case", SESSIONS, ids=[case["session"] for case in SESSIONS])
def test_an_administrators_session_has_these_tags_and_no_others(
    case: dict[str, Any], tagger: OfflineTagger
) -> None:
    answer = tag_session(
        tagger, {"session": case["session"], "commands": [line["cmd"] for line in case["lines"]]}
    )
    found = {
        command["input"]: sorted(
            {f"{tag['rule_id']} {tag['sub_technique_id'] or tag['technique_id']}" for tag in command["tags"]}
        )
        for command in answer["commands"]
    }
    assert found == {line["cmd"]: line["tags"] for line in case["lines"]}
    assert answer["session_tags"] == []


def test_every_session_says_why_and_most_of_what_an_administrator_does_is_not_tagged() -> None:
    assert len(SESSIONS) == 10
    assert all(case["why"].endswith(".") for case in SESSIONS)
    lines = [line for case in SESSIONS for line in case["lines"]]
    assert sum(not line["tags"] for line in lines) > len(lines) / 2
