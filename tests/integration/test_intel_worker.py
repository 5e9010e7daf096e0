"""From a honeypot's log through services to tags, with a server on loopback that speaks as they do, and as they should not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from decnet.ids import tag_id
from tests.askkit import ANSWERS, NAMES, PATHS, A, lines, log_of, ran, settings_for, stored
from tests.httpkit import serving
from tests.servicekit import ADDRESS, SHA256, URL

pytestmark = pytest.mark.slow
TAGS = {
    ("L0201", "T1110", None), ("L0201", "T1595", "T1595.001"), ("L0202", "T1595", None),
    ("L0203", "T1071", "T1071.001"), ("L0203", "T1566", "T1566.002"), ("L0204", "T1071", None),
    ("L0204", "T1608", "T1608.001"),
}  # fmt: skip
IDS = {tag_id("intel", A, rule, 1, technique, sub) for rule, technique, sub in TAGS}


async def test_what_services_say_of_a_new_attacker_becomes_intel_and_tags(tmp_path: Path) -> None:
    log_of(tmp_path / "cowrie.json", lines())
    began = time.time()
    async with serving(ANSWERS) as server:
        settings = settings_for(tmp_path, server.base, *NAMES)
        health = await ran(settings)
        asked = sorted(one.target for one in server.asked)
        await ran(settings)
        assert len(server.asked) == len(asked), "nobody is asked again after a restart"
    assert asked == sorted([*PATHS.values(), "/v1/url/", "/v1/payload/"])
    assert {name: one["asked"] for name, one in health["services"].items()} == {
        **dict.fromkeys(NAMES, 1),
        "urlhaus": 3,
    }
    assert (health["answers_told"], health["questions_waiting"], health["degraded"]) == (5, 0, "")
    repo = await stored(settings)
    try:
        ((ts, payload),) = await repo.intel_of([A])
        assert began <= ts <= time.time()
        assert payload["providers"] == ["abuseipdb", "feodo", "greynoise", "threatfox", "urlhaus"]
        assert (payload["abuseipdb_score"], payload["feodo_malware_family"], payload["aggregate_verdict"]) == (
            100.0, "QakBot", "malicious",
        )  # fmt: skip
        rows = [row for row in await repo.list_tags(limit=0) if row["source_kind"] == "intel"]
        assert {(r["rule_id"], r["technique_id"], r["sub_technique_id"]) for r in rows} == TAGS
        assert {row["uuid"] for row in rows} == IDS
        said = {(row["service"], row["value"]): row["known"] for row in await repo.intel_said_of(SHA256)}
        assert said == {("urlhaus", SHA256): True, ("virustotal", SHA256): True}
        assert [row["service"] for row in await repo.intel_said_of(URL)] == ["urlhaus"]
        assert [row["service"] for row in await repo.intel_said_of(ADDRESS)] == [
            "abuseipdb", "greynoise", "threatfox", "urlhaus",
        ]  # fmt: skip
    finally:
        await repo.close()
