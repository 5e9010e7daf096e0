"""Planted logs, recorded and linked, as the commands tell of them: who is one, who shares a kit, who is apart."""

from __future__ import annotations

import asyncio
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from decnet.attribution.link_job import LinkJob
from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet_tui.cli.main import app
from tests.integration.test_linking_job import CASES, events_of, recorded

pytestmark = pytest.mark.slow


def told(place: Path, *words: str) -> Any:
    done = CliRunner().invoke(app, [*words, "--json", "--data-dir", str(place)])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


async def linked(place: Path, lines: list[dict[str, Any]]) -> None:
    repo = await BaseRepository.open(f"sqlite:///{place / 'decnet.sqlite'}")
    await recorded(repo, events_of(lines, place))
    await LinkJob(Settings()).run(repo)
    await repo.close()


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_planted_log_is_told_of_as_it_is(case: dict[str, Any], tmp_path: Path) -> None:
    asyncio.run(linked(tmp_path, case["lines"]))
    wanted = case["expect"]
    joined = told(tmp_path, "identities", "--joined", "--limit", "0")
    found = {frozenset(row["addresses"]) for row in joined}
    groups = {frozenset(group) for group in wanted["identities"]}
    assert groups <= found
    if wanted["no_identity_else"]:
        assert found == groups
    campaigns = told(tmp_path, "campaigns", "--limit", "0")
    parts = [frozenset(row["addresses"]) for row in campaigns]
    for group in wanted["campaigns"]:
        assert any(frozenset(group) <= part for part in parts), group
    apart = {frozenset(pair) for pair in wanted["apart"]}
    assert not [
        pair for row in joined for pair in combinations(row["addresses"], 2) if frozenset(pair) in apart
    ]

    for row in joined:
        assert row["confidence"] >= 3.0
        hard = [one for one in row["reasons"] if one["family"] in ("key", "host", "sha256", "tunnel")]
        assert hard, "nobody is joined by what many may share"
        page = told(tmp_path, "identity", row["identity_uuid"][:8])
        assert [one["attacker_ip"] for one in page["members"]] == row["addresses"]
        assert page["reasons"] == row["reasons"]
        assert {
            one["attacker_ip"]
            for one in told(tmp_path, "attackers", "--limit", "0")
            if one["identity_uuid"] == row["identity_uuid"]
        } == set(row["addresses"])
    for row in campaigns:
        assert row["sessions"] >= 1
        assert row["reasons"][0]["addresses"] >= 1
        assert set(row["addresses"]) == {
            one["attacker_ip"] for one in told(tmp_path, "attackers", "--campaign", row["campaign_uuid"], "--limit", "0")
        }  # fmt: skip
        assert (
            len(told(tmp_path, "sessions", "--campaign", row["campaign_uuid"], "--limit", "0"))
            == row["sessions"]
        )
        assert told(tmp_path, "campaign", row["campaign_uuid"][:8])["campaign_uuid"] == row["campaign_uuid"]
