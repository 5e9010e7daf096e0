"""Window and sequence rules over both databases: any order, twice, several engines, late events, bounds."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.config import load_settings
from decnet.db.repository import BaseRepository
from decnet.runtime.worker import Transaction
from decnet.ttp.rules import RuleState
from decnet.ttp.store.factory import get_rule_store
from decnet.ttp.windows import slot_of
from decnet.ttp.worker import TtpWorker
from tests.dbkit import KINDS, open_repo
from tests.wirekit import taken

HEAD = """rule_version: 1
name: demo
description: d
emits:
  - {tactic: TA0007, technique_id: T1082, confidence: 0.8}
evidence_fields: [command_text]
"""
WINDOW = (
    "rule_id: W1\napplies_to: [command]\n"
    + HEAD
    + "match: {field: argv0, op: equals, value: uname, window: {count: 3, within: 60s, by: [attacker_uuid]}}\n"
)
SEQUENCE = (
    "rule_id: S1\napplies_to: [command, auth_attempt]\n"
    + HEAD
    + """match:
  sequence:
    within: 5m
    by: [attacker_uuid]
    steps:
      - {source_kind: auth_attempt, field: fail_count, op: gte, value: 3}
      - {source_kind: command, field: argv0, op: equals, value: wget}
      - {source_kind: command, pattern: '^chmod'}
"""
)


def ended(session: str, ts: float, commands: list[tuple[float, str]], fails: int = 0) -> Event:
    payload: dict[str, Any] = {
        "session_id": session,
        "attacker_ip": "203.0.113.1",
        "decky_id": "d",
        "ended_at": ts,
        "commands": [{"id": f"{session}-{t:g}", "command_text": c, "ts": t} for t, c in commands],
        "auth": {"fail_count": fails, "success": True, "usernames": ["root"], "ts": ts},
    }
    return Event("attacker.session.ended", payload, ts=ts)


async def worker_of(repo: BaseRepository, folder: Path) -> TtpWorker:
    rules = folder / "rules"
    rules.mkdir(exist_ok=True)
    (rules / "w.yaml").write_text(WINDOW)
    (rules / "s.yaml").write_text(SEQUENCE)
    settings = load_settings(data_dir=folder, rules=rules)
    worker = TtpWorker(get_rule_store(settings, repo=repo), settings)
    for engine in worker.tagger.iter_watchables():
        await engine.load()
    assert worker.health()["rules_loaded"] == 2
    return worker


async def feed(worker: TtpWorker, repo: BaseRepository, events: list[Event]) -> list[str]:
    async with repo.transaction() as bound:
        tx = Transaction(bound)
        await worker.handle(taken(events), tx)
        return [e.topic for e in tx.bus.events if e.topic != "ttp.session.judged"]


async def tags_of(repo: BaseRepository, rule: str) -> list[dict[str, Any]]:
    return [row for row in await repo.list_tags(limit=0) if row["rule_id"] == rule]


@pytest.fixture(params=KINDS)
async def repo(request, tmp_path):
    async with open_repo(request.param, tmp_path) as opened:
        yield opened


UNAMES = [ended(f"s{i}", float(i), [(float(i), "uname -a")]) for i in range(3)]


async def test_one_tag_at_the_event_that_completes_it(repo, tmp_path):
    worker = await worker_of(repo, tmp_path)
    assert "ttp.tagged" in await feed(worker, repo, UNAMES)
    assert await feed(worker, repo, UNAMES) == []
    (tag,) = await tags_of(repo, "W1")
    assert tag["source_id"] == "s2-2"
    assert tag["session_id"] == "s2"
    assert tag["evidence"]["sources"] == ["s0-0", "s1-1", "s2-2"]
    assert tag["evidence"]["command_text"] == "uname -a"
    assert worker.health()["windows_fired"] == 1


@pytest.mark.parametrize("seed", range(4))
async def test_any_order_and_twice(repo, tmp_path, seed):
    worker = await worker_of(repo, tmp_path)
    events = [*UNAMES, ended("q", 9.0, [(10.0, "wget x"), (11.0, "chmod a")], fails=4)]
    events = list(events * 2)
    random.Random(seed).shuffle(events)
    for event in events:
        await feed(worker, repo, [event])
    assert [t["source_id"] for t in await tags_of(repo, "W1")] == ["s2-2"]
    (tag,) = await tags_of(repo, "S1")
    assert (tag["source_kind"], tag["source_id"], tag["evidence"]["sources"]) == (
        "command",
        "q-11",
        ["q", "q-10", "q-11"],
    )
    assert tag["evidence"]["steps"] == ["4", "wget", "chmod"]


async def test_a_late_event_moves_no_tag(repo, tmp_path):
    worker = await worker_of(repo, tmp_path)
    await feed(worker, repo, [ended(f"s{t}", t, [(t, "uname")]) for t in (1.0, 3.0, 5.0)])
    assert await feed(worker, repo, [ended("late", 2.0, [(2.0, "uname")])]) == []
    assert [t["source_id"] for t in await tags_of(repo, "W1")] == ["s5.0-5"]
    more = [ended(f"m{t}", t, [(t, "uname")]) for t in (66.0, 67.0, 68.0)]
    await feed(worker, repo, more)
    assert {t["source_id"] for t in await tags_of(repo, "W1")} == {"s5.0-5", "m68.0-68"}


async def test_engines_side_by_side_agree(repo, tmp_path):
    workers = [await worker_of(repo, tmp_path) for _ in range(3)]
    events = [ended(f"s{i:02}", float(i), [(float(i), "uname")]) for i in range(12)]
    first = await asyncio.gather(*(feed(workers[i % 3], repo, [e]) for i, e in enumerate(events)))
    second = await asyncio.gather(*(feed(workers[(i + 1) % 3], repo, [e]) for i, e in enumerate(events)))
    (tag,) = await tags_of(repo, "W1")
    completing = tag["source_id"]
    # Which three come first is the order of the transactions; what they give is one tag, told once, for all.
    assert completing in {f"s{i:02}-{i}" for i in range(2, 12)}
    parts = tag["evidence"]["sources"]
    assert (parts[-1], len(parts), parts) == (completing, tag["evidence"]["count"], sorted(parts))
    assert len(parts) >= 3
    assert (tag["session_id"], tag["evidence"]["within_s"]) == (completing.partition("-")[0], 60.0)
    assert [topic for told in first for topic in told] == ["ttp.tagged"]
    assert not any(second)
    assert sum(worker.health()["windows_fired"] for worker in workers) == 1
    assert sum(worker.health()["tags_inserted"] for worker in workers) == 1
    assert (
        len(
            await repo.window_fires(
                [slot_of(workers[0].windows[0].engine.snapshot().rules.by_id["W1"], [tag["attacker_uuid"]])]
            )
        )
        == 1
    )


async def test_two_engines_by_turns_give_the_tag_of_the_third_event_once(repo, tmp_path):
    """Each engine sees what the other has counted; the one that completes it tells, the other stays silent."""
    one, two = await worker_of(repo, tmp_path), await worker_of(repo, tmp_path)
    assert await feed(one, repo, UNAMES[:1]) == []
    assert await feed(two, repo, UNAMES[1:2]) == []
    assert (await feed(one, repo, UNAMES[2:])).count("ttp.tagged") == 1
    for worker in (two, one):
        assert await feed(worker, repo, UNAMES) == []
    assert [t["source_id"] for t in await tags_of(repo, "W1")] == ["s2-2"]
    assert (one.health()["windows_fired"], two.health()["windows_fired"]) == (1, 0)
    assert await feed(two, repo, [ended("s62", 62.0, [(62.0, "uname")])]) == [], (
        "a minute of rest has its end in it"
    )
    assert len(await tags_of(repo, "W1")) == 1


async def test_a_disabled_rule_counts_nothing(repo, tmp_path):
    worker = await worker_of(repo, tmp_path)
    assert worker.store
    await worker.store.set_state("W1", RuleState("disabled"))
    for engine in worker.tagger.iter_watchables():
        await engine.load()
    await feed(worker, repo, UNAMES)
    assert not await tags_of(repo, "W1")
    assert not await repo.window_marks([])
    assert worker.health()["suppressed"] == 3


async def test_a_restart_keeps_what_was_counted(repo, tmp_path):
    first = await worker_of(repo, tmp_path)
    await feed(first, repo, UNAMES[:2])
    second = await worker_of(repo, tmp_path)
    await feed(second, repo, UNAMES[2:])
    assert [t["source_id"] for t in await tags_of(repo, "W1")] == ["s2-2"]


async def test_a_flood_is_bounded_and_old_hits_go(repo, tmp_path):
    worker = await worker_of(repo, tmp_path)
    for k in range(3):
        lines = [(k * 1000.0 + i / 100, "uname") for i in range(1000)]
        await feed(worker, repo, [ended(f"s{k}", k * 1000.0, lines)])
    (engine,) = worker.windows
    assert engine.dropped >= 2000
    assert await repo.purge_window_hits(0.0) == 0
    assert 0 < await repo.purge_window_hits(4e9) <= 600
    assert len(await tags_of(repo, "W1")) == 3
