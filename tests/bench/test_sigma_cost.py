"""What imported Sigma rules cost a command beside the pack: medians over attackers' lines and over everyday ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from decnet.home import packaged_rules_dir
from decnet.ttp import matcher
from decnet.ttp.loader import load_bytes, load_dir
from decnet.ttp.matcher import RuleIndex
from decnet.ttp.rules import CompiledRule
from decnet.ttp.sigma.importing import Importer
from tests.bench.test_rule_pack_cost import medians_us
from tests.sigmakit import PUBLIC

CORPORA = PUBLIC.parent / "corpora"
MOST_TIMES = 1.5
MOST_LINES = 4000
pytestmark = [
    pytest.mark.bench,
    pytest.mark.skipif(not (PUBLIC.is_dir() and CORPORA.is_dir()), reason=f"no public rules or lines beside {PUBLIC}"),
]  # fmt: skip


@pytest.fixture(scope="module")
def indexes() -> list[RuleIndex]:
    """The pack, and the pack with all that is carried over."""
    pack = [r for r in load_dir(packaged_rules_dir()).rules if "command" in r.applies_to and r.lifter is None]
    carried: list[CompiledRule] = []
    for one in Importer().run(PUBLIC / "linux_process_creation"):
        for name, text in one.files.items():
            rule, errors = load_bytes(text.encode(), name)
            assert rule is not None, errors
            carried.append(rule)
    assert len(carried) >= 97
    return [RuleIndex(pack), RuleIndex([*pack, *carried])]


@pytest.mark.parametrize("corpus", ["honeypot_commands.dev.jsonl", "benign.dev.jsonl"])
def test_imported_rules_cost_a_command_at_most_half_as_much_again(
    corpus: str, indexes: list[RuleIndex], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of lines that were never seen before, as for the pack itself."""
    monkeypatch.setattr(matcher, "_REMEMBERED_CHARS", -1)
    rows = Path(CORPORA / corpus).read_text("utf-8").splitlines()
    lines = sorted({json.loads(row)["command"] for row in rows})
    lines = lines[:: -(-len(lines) // MOST_LINES)]
    pack, both = medians_us(indexes, lines)
    print(
        f"{corpus}: {len(lines)} lines, pack {pack:.1f} us, with Sigma {both:.1f} us, ratio {both / pack:.2f}"
    )
    assert both <= MOST_TIMES * pack
