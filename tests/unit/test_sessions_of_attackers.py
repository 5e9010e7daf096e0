"""Sessions as loaders, bots, miners and administrators type them: what each line must be tagged with, and what not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from decnet.home import packaged_rules_dir
from decnet.ttp.offline import OfflineTagger
from decnet.ttp.offline_sessions import tag_session

SESSIONS = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "sessions-of-attackers.json").read_text("utf-8")
)


@pytest.fixture(scope="module")
def tagger() -> OfflineTagger:
    return OfflineTagger(packaged_rules_dir())


def found(answer: dict[str, Any]) -> set[str]:
    return {tag["sub_technique_id"] or tag["technique_id"] for tag in answer["tags"]}


def amiss(session: dict[str, Any], tagger: OfflineTagger) -> list[tuple[str, set[str], set[str]]]:
    """Lines with the techniques that they lack, and those that they must not have."""
    lines = session["lines"]
    answer = tag_session(tagger, {"session": session["id"], "commands": [line["cmd"] for line in lines]})
    pairs = [(line, found(said)) for line, said in zip(lines, answer["commands"], strict=True)]
    told = [(line["cmd"], set(line["tags"]) - has, set(line["not"]) & has) for line, has in pairs]
    return [item for item in told if item[1] or item[2]]


@pytest.mark.parametrize("session", SESSIONS, ids=[session["id"] for session in SESSIONS])
def test_every_line_has_its_techniques_and_no_wrong_one(
    session: dict[str, Any], tagger: OfflineTagger
) -> None:
    assert amiss(session, tagger) == []


def test_a_line_that_lacks_a_technique_or_has_a_wrong_one_is_told(tagger: OfflineTagger) -> None:
    lines = [
        {"cmd": "uname -a", "tags": ["T1082", "T1105"], "not": []},
        {"cmd": "ps aux", "tags": [], "not": ["T1057"]},
    ]
    told = amiss({"id": "s", "lines": lines}, tagger)
    assert told == [("uname -a", {"T1105"}, set()), ("ps aux", set(), {"T1057"})]
