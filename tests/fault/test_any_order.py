"""Publish, work, die, reload and toggle in any order: what is stored is what was published, judged by the rules of the time.

A state machine draws the order and makes a failing one short. After each run all is worked off, and held against a model of
a few lines: sessions once each, tags of exactly the rules that were in force when a batch was committed, no dead letter,
news only of tags that are there.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from decnet.bus.base import Delivery, Event
from decnet.bus.memory import Broker, MemoryBus
from decnet.config import Settings, load_settings
from decnet.db.repository import BaseRepository
from decnet.recorder.worker import RecorderWorker
from decnet.runtime.batch import BatchProcessor
from decnet.runtime.health import WorkerStats
from decnet.runtime.received import Received
from decnet.runtime.worker import Transaction, Worker
from decnet.ttp.rules import RuleState
from decnet.ttp.store.factory import get_rule_store
from decnet.ttp.worker import TtpWorker
from tests.dbkit import migrated
from tests.storekit import rule as rule_text

T = TypeVar("T")
RULES = {"R0001": "wget", "R0002": "uname", "R0003": "crontab"}
LINES = ("wget http://203.0.113.9/a", "uname -a", "crontab -l", "ls")
EXAMPLES = max(12, int(os.environ.get("DECNET_FUZZ_EXAMPLES", "0")) // 25)
WORKERS = ("recorder", "ttp")


class Killed(BaseException):
    """The process is gone."""


class Dying:
    """A delivery whose acknowledgement never leaves the process."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

    def __getattr__(self, name: str) -> Any:
        return getattr(self._delivery, name)

    async def ack(self) -> None:
        raise Killed


class Life:
    """One worker of one process, with its rules if it has any."""

    def __init__(self, name: str, repo: BaseRepository, bus: MemoryBus, given: Settings) -> None:
        self.name, self.repo, self.bus = name, repo, bus
        self.store = get_rule_store(given, repo=repo, bus=bus) if name == "ttp" else None
        self.worker: Worker = RecorderWorker(given) if self.store is None else TtpWorker(self.store, given)
        self.processor = BatchProcessor(self.worker, repo, given, WorkerStats(), lambda: None)
        self.tasks: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        await self.worker.start(self.repo, self.bus)
        if self.store is not None:
            bodies = (
                self.worker.background().items()
            )  # the sweep would judge what waits at a moment of its own
            self.tasks = [asyncio.create_task(body()) for name, body in bodies if name.startswith("watch-")]  # type: ignore[arg-type]
        self.consumer = await self.bus.consume(self.name, self.worker.topics)

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.store is not None:
            await self.store.close()

    async def fetch(self) -> Sequence[Delivery]:
        return await self.consumer.fetch(100, 0.03)


class Machine(RuleBasedStateMachine):
    """See the module's text."""

    acks_first = False
    """For the control: the guard that is taken away."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="decnet-order-"))
        self.published: dict[str, list[str]] = {}
        self.expected: set[tuple[str, str]] = set()
        self.done: set[str] = set()
        """Sessions that were judged and committed."""
        self.off: set[str] = set()
        self.files = set(RULES)
        self.run(self.begin())

    def run(self, work: Awaitable[T]) -> T:
        async def whole() -> T:
            return await work

        return self.runner.run(whole())

    async def begin(self) -> None:
        rules = self.folder / "rules"
        rules.mkdir()
        for ident in RULES:
            self.write(ident)
        self.given = load_settings(
            data_dir=self.folder / "data",
            rules=rules,
            ttp_rule_store_type="filesystem",
            ttp={"rescan_s": 3600.0},
        )
        bus = self.given.bus.model_copy(update={"type": "memory", "ack_wait_s": 0.02})
        self.bus = MemoryBus(settings=bus, broker=Broker(bus))
        await self.bus.connect()
        self.repo = await BaseRepository.open(await migrated(self.folder / "data" / "x.sqlite"))
        self.lives = {name: await self.born(name) for name in WORKERS}

    def write(self, ident: str) -> None:
        text = rule_text(ident).replace(r"\bwget\b", rf"\b{RULES[ident]}\b")
        (self.folder / "rules" / f"{ident}.yaml").write_text(text, "utf-8")

    async def born(self, name: str) -> Life:
        life = Life(name, self.repo, self.bus, self.given)
        await life.begin()
        return life

    # --- what happens

    @rule(lines=st.lists(st.sampled_from(LINES), max_size=3), again=st.booleans())
    def publish(self, lines: list[str], again: bool) -> None:
        ident = f"s{len(self.published)}"
        self.published[ident] = lines
        for number in range(1 + again):
            self.run(self.bus.publish_events([ended(ident, lines, f"{ident}-{number}")]))

    @rule(name=st.sampled_from(WORKERS))
    def work(self, name: str) -> None:
        self.run(self.worked(name))

    @rule(
        name=st.sampled_from(WORKERS),
        committed=st.booleans(),
        lines=st.lists(st.sampled_from(LINES), max_size=2),
    )
    def die(self, name: str, committed: bool, lines: list[str]) -> None:
        """In the middle of a batch, before or after it is committed; there is always one."""
        self.publish(lines, False)
        self.run(self.killed(name, committed))

    @rule(ident=st.sampled_from(sorted(RULES)))
    def toggle(self, ident: str) -> None:
        self.off ^= {ident}
        self.run(self.toggled(ident))

    @precondition(lambda self: len(self.files) > 2)
    @rule(ident=st.sampled_from(sorted(RULES)))
    def remove(self, ident: str) -> None:
        if ident in self.files:
            self.files.discard(ident)
            (self.folder / "rules" / f"{ident}.yaml").unlink()
            self.run(self.reloaded())

    @rule()
    def restore(self) -> None:
        for ident in set(RULES) - self.files:
            self.write(ident)
        self.files = set(RULES)
        self.run(self.reloaded())

    # --- how

    async def worked(self, name: str) -> int:
        life = self.lives[name]
        batch = await life.fetch()
        if batch:
            await life.processor.process(batch)
            self.judged(name, batch)
        return len(batch)

    async def killed(self, name: str, committed: bool) -> None:
        life = self.lives[name]
        batch = await life.fetch()
        if self.acks_first:
            for delivery in batch:
                await delivery.ack()
        if not committed:
            handle = life.worker.handle

            async def last(some: Sequence[Received], tx: Transaction) -> None:
                await handle(some, tx)
                raise Killed

            life.worker.handle = last  # type: ignore[method-assign]
        elif batch:
            self.judged(name, batch)
        try:
            if batch:
                await life.processor.process([Dying(delivery) for delivery in batch])  # type: ignore[misc]
        except Killed:
            pass
        await life.end()
        self.lives[name] = await self.born(name)
        if name == "ttp":
            await self.in_force()

    def judged(self, name: str, batch: Sequence[Delivery]) -> None:
        """The model: what a committed batch leaves."""
        if name != "ttp":
            return
        for delivery in batch:
            if delivery.event is not None and delivery.topic == "attacker.session.ended":
                self.done.add(delivery.event.payload["session_id"])
                for command in delivery.event.payload["commands"]:
                    for ident in self.files - self.off:
                        if RULES[ident] in command["command_text"]:
                            self.expected.add((command["id"], ident))

    async def toggled(self, ident: str) -> None:
        store = self.lives["ttp"].store
        assert store is not None
        await store.set_state(ident, RuleState("disabled" if ident in self.off else "enabled"))
        await self.in_force()

    async def reloaded(self) -> None:
        store = self.lives["ttp"].store
        assert store is not None
        await store.reload(allow_shrink=True)
        await self.in_force()

    async def in_force(self) -> None:
        """The worker has taken over what the store has: a batch that comes now is judged by it."""
        worker = self.lives["ttp"].worker
        assert isinstance(worker, TtpWorker)
        deadline = time.monotonic() + 10
        while True:
            (engine,) = [one.engine for one in worker._engines()]
            now = engine.snapshot()
            on = {
                compiled.rule_id for compiled in now.rules.rules if not is_off(now.states, compiled.rule_id)
            }
            if on == self.files - self.off:
                return
            assert time.monotonic() < deadline, (on, self.files, self.off)
            await asyncio.sleep(0.005)

    # --- the end

    def teardown(self) -> None:
        try:
            self.run(self.settled())
        finally:
            self.run(self.closed())
            self.runner.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    async def settled(self) -> None:
        for name in WORKERS:
            quiet = 0
            while quiet < 2:  # what was not acknowledged comes again after 20 ms
                quiet = 0 if await self.worked(name) else quiet + 1
        sessions = await self.repo.list_sessions(limit=0)
        assert sorted(row["session_id"] for row in sessions) == sorted(self.published)
        assert self.done == set(self.published)
        tags = await self.repo.list_tags(limit=0)
        assert sorted((tag["source_id"], tag["rule_id"]) for tag in tags) == sorted(self.expected)
        assert await self.repo.dead_letters() == []
        known = {tag["uuid"] for tag in tags}
        for _, sealed in await self.repo.outbox_take(10_000):
            event = sealed.opened()
            if event.topic == "ttp.tagged":
                assert set(event.payload["tag_uuids"]) <= known

    async def closed(self) -> None:
        for life in self.lives.values():
            await life.end()
        await self.repo.close()
        await self.bus.close()


def is_off(states: Any, ident: str) -> bool:
    state = states.get(ident)
    return state is not None and state.state == "disabled"


def ended(ident: str, lines: list[str], event_id: str) -> Event:
    at = 1_700_000_000.0 + int(ident[1:])
    payload = {
        "session_id": ident, "attacker_uuid": "a", "attacker_ip": "203.0.113.7", "decky_id": "web", "service": "ssh", "protocol": "ssh",
        "started_at": at, "ended_at": at + 9, "end_reason": "closed", "duration_s": 9.0, "part": 1, "parts": 1, "command_count": len(lines),
        "commands": [{"id": f"{ident}-c{number}", "command_text": line, "ts": at + number} for number, line in enumerate(lines)],
    }  # fmt: skip
    return Event("attacker.session.ended", payload, "ended", event_id, at + 9)


def searched(machine: type[Machine], examples: int) -> None:
    how = settings(
        max_examples=examples, stateful_step_count=14, deadline=None, database=None, derandomize=examples < 1000,
        suppress_health_check=list(HealthCheck), print_blob=False,
    )  # fmt: skip
    run_state_machine_as_test(machine, settings=how)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.fault(
    fault="publishing, working, deaths in the middle of a batch, reloads of rules and toggles, in any order",
    guard="an acknowledgement after the commit; derived ids; one snapshot of rules for a batch",
    control="test_an_acknowledgement_before_the_commit_is_found",
    figure="12 orders of 14 steps (200 by `make fuzz`): sessions once, tags of exactly the rules in force",
)
def test_any_order_of_work_deaths_and_changes_gives_what_was_published() -> None:
    searched(Machine, EXAMPLES)


@pytest.mark.parametrize(("name", "committed"), [("recorder", False), ("ttp", False)])
def test_an_acknowledgement_before_the_commit_is_found(name: str, committed: bool) -> None:
    """One death is enough, once the guard is gone; without that it changes nothing."""
    for acks_first in (False, True):
        machine = Machine()
        machine.acks_first = acks_first
        machine.publish(["wget http://203.0.113.9/a"], False)
        machine.die(name, committed, ["uname -a"])
        if not acks_first:
            machine.teardown()
            continue
        with pytest.raises(AssertionError):
            machine.teardown()


@pytest.mark.fault(
    fault="a rule that is off and judged by all the same",
    guard="states that are followed; the model of the state machine sees it",
    control="itself",
    figure="found in one session",
)
def test_a_rule_that_is_judged_by_although_it_is_off_is_found() -> None:
    machine = Machine()
    machine.toggle("R0001")
    machine.off.clear()  # the model does not know
    machine.publish(["wget http://203.0.113.9/a"], False)
    with pytest.raises(AssertionError):
        machine.teardown()
