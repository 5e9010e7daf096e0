"""A line of Cowrie's GreyNoise plug-in, from the log to tags, beside what others said of the same address before."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from decnet.config import Settings, load_settings
from decnet.db.repository import BaseRepository
from decnet.engine import Engine
from decnet.ids import attacker_id
from decnet.ttp.backfill import run_backfill

pytestmark = pytest.mark.slow
IDLE_S = 0.4
LOG = Path(__file__).parent.parent / "fixtures" / "cowrie" / "handmade" / "plugins.json"
IP = "192.0.2.77"
A = attacker_id(IP)
AT = datetime(2026, 3, 5, 10, tzinfo=UTC).timestamp()
FEED: dict[str, Any] = {
    "attacker_ip": IP, "providers": ["abuseipdb", "feodo", "threatfox"], "aggregate_verdict": "malicious",
    "abuseipdb_score": 90, "abuseipdb_categories": [18], "feodo_listed": True, "threatfox_listed": True,
    "threatfox_threat_types": ["botnet_cc"],
}  # fmt: skip
MERGED = {
    **FEED, "attacker_uuid": A, "abuseipdb_score": 64.0, "greynoise_classification": "malicious", "greynoise_name": "unknown",
    "providers": ["abuseipdb", "feodo", "greynoise", "threatfox"],
}  # fmt: skip
RULES = {"L0201": "T1110", "L0202": "T1595", "L0203": "T1071.001", "L0204": "T1071"}


def settings_of(folder: Path, *workers: str) -> Settings:
    said = folder / "feed.jsonl"
    said.write_text(
        json.dumps({"topic": "attacker.intel.enriched", "payload": FEED, "ts": AT - 86_400}) + "\n"
    )
    return load_settings(
        data_dir=folder / "data",
        bus={"type": "memory"},
        workers=workers,
        ttp_rule_store_type="filesystem",
        sensors=[{"kind": "cowrie", "path": str(LOG)}, {"kind": "jsonl", "path": str(said)}],
    )


async def ran(settings: Settings) -> None:
    engine = Engine(settings)
    await engine.start()
    try:
        assert await engine.until_idle(IDLE_S) is None
    finally:
        await engine.stop(5.0)


async def stored(settings: Settings) -> BaseRepository:
    """The database as a reader finds it when no engine runs."""
    return await BaseRepository.open(settings.db_url)


async def intel_tags(repo: BaseRepository) -> dict[str, tuple[str, float]]:
    rows = [row for row in await repo.list_tags(limit=0) if row["source_kind"] == "intel"]
    assert {(row["attacker_ip"], row["source_id"]) for row in rows} <= {(IP, A)}
    return {
        row["rule_id"]: (row["sub_technique_id"] or row["technique_id"], round(row["confidence"], 3))
        for row in rows
    }


async def test_a_line_of_greynoise_is_tagged_and_erases_nothing_that_others_said(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "sensors", "recorder", "ttp")
    await ran(settings)
    repo = await stored(settings)
    try:
        assert await repo.intel_of([A]) == [(AT + 3, MERGED)]
        tags = await intel_tags(repo)
        assert {rule: technique for rule, (technique, _) in tags.items()} == RULES
        # Whichever is judged first: the look-up itself, or all that is stored when the session ends.
        assert tags["L0201"][1] in (0.87, 0.662), "L0205: surer by the verdict of all"
        assert {hit["kind"] for hit in await repo.find("GreyNoise classification is malicious")} == {"other"}
        assert {(hit["kind"], hit["attacker_ip"]) for hit in await repo.find("botnet_cc")} == {("intel", IP)}
        before = [row["uuid"] for row in await repo.list_tags(limit=0)]
    finally:
        await repo.close()
    await ran(settings)
    repo = await stored(settings)
    try:
        assert sorted(row["uuid"] for row in await repo.list_tags(limit=0)) == sorted(before)
        assert await repo.intel_of([A]) == [(AT + 3, MERGED)], "read again it changes nothing"
    finally:
        await repo.close()


async def test_back_fill_judges_the_merged_answer_whole(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "sensors", "recorder")
    await ran(settings)
    repo = await stored(settings)
    try:
        assert await intel_tags(repo) == {}
        start, end = (datetime.fromtimestamp(AT + s, UTC) for s in (-90_000, 90_000))
        await run_backfill(start, end, None, repo=repo, settings=settings)
        tags = await intel_tags(repo)
        assert {rule: technique for rule, (technique, _) in tags.items()} == RULES
        assert tags["L0201"][1] == pytest.approx(0.8 * 0.64 + 0.15), (
            "by the newest score, on the categories of the look-up"
        )
        assert tags["L0202"][1] == pytest.approx(0.35 + 0.15), (
            "a classification without a tag, and the verdict of all"
        )
    finally:
        await repo.close()
