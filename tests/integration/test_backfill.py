"""Back-fill on both databases: the same tags as live, once; raised versions supersede; progress adds up."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from decnet.bus.base import Event
from decnet.bus.null import NullBus
from decnet.config import Settings, load_settings
from decnet.db.repository import BaseRepository
from decnet.errors import RuleStoreError
from decnet.recorder.worker import RecorderWorker
from decnet.runtime.worker import Transaction, transaction
from decnet.ttp.backfill import Progress, run_backfill
from decnet.ttp.store.factory import get_rule_store
from decnet.ttp.worker import TtpWorker
from tests.dbkit import KINDS, open_repo
from tests.wirekit import taken

START, END = datetime.fromtimestamp(0, UTC), datetime.fromtimestamp(1e9, UTC)
IP = "203.0.113.1"
RULE = """rule_id: R9001
rule_version: 1
name: fetch
description: A file is fetched.
applies_to: [command]
match: {field: argv0, op: equals, value: wget}
emits: [{tactic: TA0011, technique_id: T1105, confidence: 0.8}]
tests: {match: ["wget http://203.0.113.9/x"], no_match: ["ls"]}
"""
FILE_RULE = """rule_id: R9002
rule_version: 1
name: file_came
description: A file came by URL.
applies_to: [payload]
match: {field: url, op: startswith, value: "http://"}
emits: [{tactic: TA0011, technique_id: T1105, confidence: 0.7}]
tests: {match: [{url: "http://h/x"}], no_match: [{url: "ftp://h/x"}]}
"""


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as opened:
        yield opened


def rules(tmp_path: Path, *texts: str) -> Settings:
    folder = tmp_path / "rules"
    folder.mkdir(exist_ok=True)
    for text in texts:
        found = re.search("rule_id: (.*)", text)
        assert found is not None
        (folder / f"{found[1]}.yaml").write_text(text)
    return load_settings(data_dir=tmp_path, rules=folder)


def session(n: int) -> Event:
    commands = [{"id": f"s{n}c0", "command_text": "wget http://203.0.113.9/x", "ts": 1.0 + n}]
    payload = {
        "session_id": f"s{n}",
        "attacker_ip": IP,
        "decky_id": "d",
        "started_at": 1.0,
        "ended_at": 100.0 + n,
    }
    payload |= {"commands": commands, "command_count": 1, "uploads": [{"filename": "/tmp/a", "sha256": None}]}
    payload |= {"downloads": [{"url": "http://203.0.113.9/x", "sha256": None}], "auth": {"fail_count": 2}}
    return Event("attacker.session.ended", payload, "", f"e{n}", 100.0 + n)


def credential(n: int) -> Event:
    payload = {"attacker_ip": IP, "session_id": f"s{n}", "username": "root", "secret_hmac": f"h{n}"}
    return Event(
        "credential.captured", {**payload, "secret_kind": "password", "success": False}, "", f"c{n}", 90.0 + n
    )


async def live(repo: BaseRepository, settings: Settings, events: list[Event]) -> None:
    """What an engine does with events: rows, then tags."""
    await store(repo, events)
    worker = TtpWorker(get_rule_store(settings, repo=repo), settings)
    await worker.start(repo, NullBus())
    async with transaction(repo) as tx:
        await worker.handle(taken(events), tx)


async def store(repo: BaseRepository, events: list[Event]) -> None:
    async with repo.transaction() as bound:
        await RecorderWorker(load_settings()).handle(taken(events), Transaction(bound))


async def shown(repo: BaseRepository) -> set[tuple[str, str, int]]:
    return {(row["source_id"], row["rule_id"], row["rule_version"]) for row in await repo.list_tags(limit=0)}


async def test_what_was_tagged_live_gains_nothing(repo: BaseRepository, tmp_path: Path) -> None:
    settings = rules(tmp_path, RULE, FILE_RULE)
    events = [session(n) for n in range(3)] + [credential(n) for n in range(5)]
    await live(repo, settings, events)
    before = await shown(repo)
    assert {rule for _, rule, _ in before} == {"R9001", "R9002"}
    report = await run_backfill(START, END, repo=repo, settings=settings)
    assert (report.tags, report.superseded, report.rules) == (0, 0, 2)
    assert await shown(repo) == before


async def test_what_was_never_tagged_gets_what_live_gives(repo: BaseRepository, tmp_path: Path) -> None:
    settings = rules(tmp_path, RULE, FILE_RULE)
    events = [session(n) for n in range(120)]
    await store(repo, events)
    seen: list[Progress] = []
    report = await run_backfill(START, END, repo=repo, settings=settings, progress=seen.append)
    assert report.tags == 240
    assert len(await shown(repo)) == 240
    assert (seen[-1].done, seen[-1].total, seen[-1].tags) == (report.judged, report.judged, 240)
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert await repo.untagged_count() == 0
    news = [event.topic for _, event in await repo.outbox_take(1000)]
    assert news.count("ttp.tagged") == 120
    again = await run_backfill(START, END, repo=repo, settings=settings)
    assert again.tags == 0
    assert await repo.outbox_count() == len(news)


async def test_some_rules_do_not_make_a_session_tagged(repo: BaseRepository, tmp_path: Path) -> None:
    """Else the sweep would pass over it, and the other rules would never see it."""
    settings = rules(tmp_path, RULE, FILE_RULE)
    await store(repo, [session(1)])
    assert (await run_backfill(START, END, ["R9001"], repo=repo, settings=settings)).tags == 1
    assert await repo.untagged_count() == 1
    assert (await run_backfill(START, END, repo=repo, settings=settings)).tags == 1
    assert await repo.untagged_count() == 0


BUMP = """rule_id: L9002
rule_version: 1
name: bump
description: The verdict of all together.
applies_to: [intel]
match: {kind: "lifter:intel_aggregate_bump", knobs: {raise_by: 0.1}}
emits: []
"""
SEEN = """rule_id: R9003
rule_version: 1
name: seen
description: A provider says malicious.
applies_to: [intel]
match: {field: aggregate_verdict, op: equals, value: malicious}
emits: [{tactic: TA0043, technique_id: T1595, confidence: 0.5}]
"""


async def test_some_rules_have_the_confidence_that_they_have_live(
    repo: BaseRepository, tmp_path: Path
) -> None:
    settings = rules(tmp_path, SEEN, BUMP)
    payload = {"attacker_ip": IP, "aggregate_verdict": "malicious"}
    await store(repo, [Event("attacker.intel.enriched", payload, "", "i1", 50.0)])
    report = await run_backfill(START, END, ["R9003"], repo=repo, settings=settings)
    assert (report.tags, report.rules) == (1, 1)
    assert [round(row["confidence"], 3) for row in await repo.list_tags(limit=0)] == [0.6]


async def test_a_raised_version_supersedes_the_older_tag(repo: BaseRepository, tmp_path: Path) -> None:
    settings = rules(tmp_path, RULE, FILE_RULE)
    await live(repo, settings, [session(1), session(2)])
    newer = RULE.replace("rule_version: 1", "rule_version: 2")
    (file,) = (path for path in settings.rules.iterdir() if path.read_text("utf-8") == RULE)
    file.write_text(newer, "utf-8")
    half = END - timedelta(seconds=1e9 - 101.5)
    report = await run_backfill(START, half, ["R9001"], repo=repo, settings=settings)
    assert (report.tags, report.superseded, report.rules) == (1, 1, 1)
    found = {(source, version) for source, rule, version in await shown(repo) if rule == "R9001"}
    assert found == {("s1c0", 2), ("s2c0", 1)}, "only the span, and no superseded tag"
    assert (await run_backfill(START, END, ["R9001"], repo=repo, settings=settings)).superseded == 1
    assert await repo.rule_fired_counts(0.0) == {"R9001": 2, "R9002": 2}


async def test_an_unknown_rule_is_one_clear_error(repo: BaseRepository, tmp_path: Path) -> None:
    with pytest.raises(RuleStoreError, match="R7777"):
        await run_backfill(START, END, ["R7777"], repo=repo, settings=rules(tmp_path, RULE))
