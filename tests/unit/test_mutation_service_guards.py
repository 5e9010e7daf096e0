"""Changes carried out, with two engines raced by hand at every step: who may settle, what a failure leaves, what waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.errors import DatabaseError, SubstrateError
from decnet.mutator import service as service_module
from decnet.mutator.apply import apply_change
from decnet.mutator.context import Job, Outcome
from decnet.mutator.fleet import parse_fleet
from decnet.mutator.observe import free_dead
from decnet.mutator.queue import enqueue_op, request_rotation
from decnet.mutator.rows import apply_fleet
from decnet.mutator.service import MutationService
from decnet.mutator.substrate.base import Target
from tests.mutatorkit import (
    LAB,
    LAB_UP,
    START,
    Clock,
    World,
    calm,
    drain,
    engine,
    fails,
    lab_repo,
    moment,
    news,
)

Row = dict[str, Any]


class Lab:
    """The fleet of :data:`LAB`, up and idle, and two engines on it."""

    def __init__(self, repo: BaseRepository, settings: Settings, clock: Clock) -> None:
        self.repo, self.settings, self.clock = repo, settings, clock
        self.world = World()
        self.world.up = {name: list(services) for name, services in LAB_UP.items()}
        self.one = engine(repo, settings, self.world, "host-a:1:one")
        self.two = engine(repo, settings, self.world, "host-b:1:two")

    async def decky(self, name: str = "web") -> Row:
        row = await self.repo.decky_get(name)
        assert row is not None
        return row

    async def mutation(self, key: str) -> Row:
        row = await self.repo.mutation_get(key)
        assert row is not None
        return row

    async def ask(self, name: str = "web", **more: Any) -> Row:
        return await self.mutation(await request_rotation(self.repo, name, **more))

    async def op(self, kind: str, target: str, payload: Row | None = None) -> str:
        return await enqueue_op(self.repo, "lab", kind, target, payload, self.one.tools, requested_by="ann")

    async def state(self, key: str) -> str:
        return str((await self.mutation(key))["state"])

    async def topics(self) -> list[tuple[str, str | None]]:
        """Topic and outcome, status or state of the news so far; takes them."""
        told = await news(self.repo)
        return [(t, p.get("outcome", p.get("status", p.get("state")))) for t, p in told]


@pytest.fixture
async def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    clock = Clock(monkeypatch)
    async with lab_repo(tmp_path) as repo:
        clock.now = START + 100
        yield Lab(repo, calm(tmp_path), clock)


async def begun(made: MutationService, row: Row) -> Job:
    job = await made.begin_request(row)
    assert isinstance(job, Job)
    return job


# --- two owners ----------------------------------------------------------------------------------------------------


async def test_who_lost_the_lease_during_apply_settles_nothing_and_the_second_owners_work_stands(
    lab: Lab,
) -> None:
    row = await lab.ask(request_id="r")

    async def stolen(_: Target) -> None:
        lab.clock.now += lab.one.lease_s + 1
        assert await lab.two.serve_one(), "the lease has run out: the other engine goes on with the row"

    lab.world.during = stolen
    assert await lab.one.serve_one()
    assert (lab.one.rotations, lab.two.rotations) == (0, 1)
    done = await lab.decky()
    assert (done["pending"], done["state"], done["lease_owner"]) == (False, "running", None)
    assert done["last_mutated"] == moment(lab.clock.now)
    assert await lab.state(row["mutation_id"]) == "applied"
    told = [topic for topic, _ in await lab.topics() if topic.startswith("decky.")]
    assert told == ["decky.web.mutation", "decky.web.state"], "told once"


async def test_who_lost_the_lease_leaves_the_change_to_whom_holds_it_now(lab: Lab) -> None:
    row = await lab.ask()
    theirs: list[Job] = []

    async def stolen(_: Target) -> None:
        lab.clock.now += lab.one.lease_s + 1
        waiting = await lab.repo.decky_candidates(lab.two.site, pending=True, limit=9)
        assert waiting == ["web"]
        async with lab.two.changing() as tx:
            decky = await tx.decky_claim("web", lab.two.owner, lab.two.lease_s, lab.two.site)
            assert decky is not None
            open_row = await lab.two._open_row(tx, "web")
            assert open_row is not None
            theirs.append(await lab.two._resumed(tx, decky, open_row))

    lab.world.during = stolen
    assert await lab.one.serve_one()
    now = await lab.decky()
    assert (now["pending"], now["observed"], now["lease_owner"]) == (True, ["http", "ftp"], lab.two.owner)
    assert now["last_mutated"] == moment(START)
    held = await lab.mutation(row["mutation_id"])
    assert (held["state"], held["lease_owner"], held["lease_until"]) == (
        "pending",
        lab.two.owner,
        lab.clock.now + lab.two.lease_s,
    )
    assert [topic for topic, _ in await lab.topics() if topic.startswith("decky.")] == []
    assert (await lab.two.carry_out(theirs[0])).applied
    assert await lab.state(row["mutation_id"]) == "applied"


async def test_a_failure_of_who_lost_the_lease_is_nobodys_failure(lab: Lab) -> None:
    row = await lab.ask()

    async def stolen(_: Target) -> None:
        lab.clock.now += lab.one.lease_s + 1
        assert await lab.repo.decky_claim("web", lab.two.owner, 60.0, lab.two.site)
        lab.world.faults = [fails()]

    lab.world.during = stolen
    assert await lab.one.serve_one()
    now = await lab.decky()
    assert (now["failures"], now["retry_at"], now["reason"], now["lease_owner"]) == (
        0,
        None,
        "",
        lab.two.owner,
    )
    assert (now["state"], await lab.state(row["mutation_id"])) == ("running", "pending")
    assert [topic for topic, _ in await lab.topics() if topic.startswith("decky.")] == []


async def test_one_request_is_claimed_by_one_engine(lab: Lab) -> None:
    row = await lab.ask()
    job = await begun(lab.one, row)
    assert await lab.two.begin_request(row) is False
    assert await lab.one.begin_request(row) is False, "nor by another lane of the same engine"
    assert not await lab.two.serve_one()
    lab.clock.now += lab.one.lease_s
    assert await lab.two.begin_request(row) is False, "a lease holds to its last moment"
    lab.clock.now += 1
    assert await begun(lab.two, row), "then it is taken over"
    assert job.mutation["lease_until"] == START + 100 + lab.one.lease_s


async def test_a_finished_request_that_was_seen_waiting_is_not_done_again(lab: Lab) -> None:
    row = await lab.ask()
    assert await lab.one.serve_one()
    calls = list(lab.world.calls)
    assert await lab.two.begin_request(row) is False
    assert (await lab.decky())["lease_owner"] is None, "the decky is free again"
    assert not await lab.two.take_up(row)
    assert lab.world.calls == calls
    failed = await lab.ask("db")
    lab.world.faults = [fails()]
    assert await lab.one.serve_one()
    assert await lab.two.begin_request(failed) is False
    assert await lab.state(failed["mutation_id"]) == "failed"


async def test_a_second_request_waits_for_the_first_and_is_then_a_rotation_of_its_own(lab: Lab) -> None:
    first, second = await lab.ask(request_id="1"), await lab.ask(request_id="2")
    job = await begun(lab.one, first)
    assert not await lab.two.serve_one()
    assert await lab.state(second["mutation_id"]) == "enqueued"
    assert (await lab.one.carry_out(job)).applied
    assert await lab.two.serve_one()
    done = [await lab.mutation(row["mutation_id"]) for row in (first, second)]
    assert [row["state"] for row in done] == ["applied", "applied"]
    assert done[1]["outcome"]["old"] == done[0]["outcome"]["new"] != done[1]["outcome"]["new"]


async def test_an_interrupted_change_goes_first_and_the_request_stays_in_the_queue(lab: Lab) -> None:
    first = await lab.ask(request_id="1")
    job = await begun(lab.one, first)
    await lab.repo.leases_drop(lab.one.owner)
    second = await lab.ask(request_id="2")
    resumed = await begun(lab.two, second)
    assert resumed.mutation["mutation_id"] == first["mutation_id"]
    assert (resumed.old, resumed.new) == (job.old, job.new)
    assert await lab.state(second["mutation_id"]) == "enqueued"
    held = await lab.mutation(first["mutation_id"])
    assert (held["lease_owner"], held["lease_until"]) == (lab.two.owner, lab.clock.now + lab.two.lease_s)
    assert (await lab.decky())["lease_owner"] == lab.two.owner


async def test_a_due_decky_is_rotated_once_by_two_engines_that_both_saw_it(lab: Lab) -> None:
    lab.clock.now = START + 3600
    job = await lab.one.begin_rotation("web")
    assert isinstance(job, Job)
    await lab.one.carry_out(job)
    assert not await lab.two.begin_rotation("web")
    await lab.repo.decky_update("web", None, next_due=START + 3600)
    again = await lab.two.begin_rotation("web")
    assert isinstance(again, Job), "as if the row of the first had been lost"
    await lab.two.carry_out(again)
    rotations = await lab.repo.mutations(target="web", states=("applied",), since=START + 1)
    assert len(rotations) == 1, "one slot of the schedule is one row"


async def test_a_lease_lives_longer_than_the_change_it_is_for(lab: Lab) -> None:
    assert lab.one.lease_s == lab.settings.mutator.apply_timeout_s + 60 == 360
    row = await lab.ask()
    job = await begun(lab.one, row)
    assert (await lab.decky())["lease_until"] == lab.clock.now + 360
    assert "web" in lab.one.working
    await lab.one.carry_out(job)
    assert lab.one.working == set()


# --- what came meanwhile -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wish",
    [
        {"desired": ["http"]},
        {"networks": ["dmz"]},
        {"spec": {"name": "web", "address": "127.0.0.9"}},
        {"wanted": False},
    ],
)
async def test_a_wish_that_came_meanwhile_stays_open(lab: Lab, wish: Row) -> None:
    row = await lab.ask()
    job = await begun(lab.one, row)
    await lab.repo.decky_update(
        "web", None, pending=True, cause={"trigger": "operator", "actor": "bob"}, **wish
    )
    assert (await lab.one.carry_out(job)).applied
    now = await lab.decky()
    assert (now["pending"], now["state"], now["failures"]) == (True, "pending", 0)
    assert now["cause"] == {"trigger": "operator", "actor": "bob"}
    assert set(now["observed"]) == set(job.new)
    assert now["lease_owner"] is None
    assert await lab.state(row["mutation_id"]) == "applied"
    assert ("decky.web.state", "pending") in await lab.topics()


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("attach_decky", {"network": "dmz"}),
        ("remove_decky", None),
        ("update_decky", {"services": ["http", "ftp"]}),
    ],
)
async def test_an_operation_that_came_meanwhile_is_applied_only_when_it_is_done(
    lab: Lab, kind: str, payload: Row | None
) -> None:
    job = await begun(lab.one, await lab.ask())
    key = await lab.op(kind, "web", payload)
    assert await lab.two.serve_one(operators_only=True)
    assert await lab.state(key) == "applying"
    assert (await lab.one.carry_out(job)).applied
    assert await lab.state(key) == "applying", "what has just been done is not what it asked for"
    await drain(lab.two)
    assert await lab.state(key) == "applied"
    if kind == "remove_decky":
        assert await lab.repo.decky_get("web") is None


async def test_a_decky_that_is_wanted_again_while_it_goes_is_not_forgotten(lab: Lab) -> None:
    await lab.op("remove_decky", "db")

    async def again(_: Target) -> None:
        await lab.repo.decky_update("db", None, wanted=True, desired=["mysql"], pending=True)

    lab.world.during = again
    assert await lab.one.serve_one()
    now = await lab.decky("db")
    assert (now["wanted"], now["pending"], now["observed"]) == (True, True, [])
    await drain(lab.one)
    assert lab.world.up["db"] == ["mysql"]


# --- success and failure, by value ---------------------------------------------------------------------------------


async def test_a_success_by_value(lab: Lab) -> None:
    row = await lab.ask(request_id="r", requested_by="ann", reason="drill")
    await lab.repo.decky_update("web", None, failures=3, reason="port taken", retry_at=START)
    lab.clock.now = START + 500
    assert await lab.one.serve_one()
    now = await lab.decky()
    assert now["observed"] == now["desired"] == ["http", "ssh"]
    assert (now["pending"], now["state"], now["failures"], now["reason"], now["retry_at"]) == (
        False,
        "running",
        0,
        "",
        None,
    )
    assert (now["cause"], now["lease_owner"], now["lease_until"]) == (None, None, None)
    assert (now["since"], now["last_mutated"], now["next_due"]) == (
        moment(START + 500),
        moment(START + 500),
        moment(START + 4100),
    )
    done = await lab.mutation(row["mutation_id"])
    assert (done["state"], done["reason"], done["outcome"]) == (
        "applied",
        "",
        {"old": ["http", "ftp"], "new": ["http", "ssh"]},
    )
    assert (done["finished_at"], done["lease_owner"]) == (moment(START + 500), None)
    assert done["payload"] == {"request_id": "r", "old": ["http", "ftp"], "new": ["http", "ssh"]}
    assert done["topology_id"] == "lab"
    assert (lab.one.rotations, lab.one.failures) == (1, 0)
    told = await news(lab.repo)
    assert [topic for topic, _ in told] == [
        "topology.lab.status", "decky.web.mutation", "decky.web.state", "topology.lab.status",
    ]  # fmt: skip
    assert told[1][1] == {
        "decky": "web", "old_services": ["http", "ftp"], "new_services": ["http", "ssh"], "trigger": "operator",
        "outcome": "applied", "mutation_id": row["mutation_id"], "actor": "ann", "request_id": "r",
    }  # fmt: skip
    assert told[2][1] == {
        "decky": "web",
        "services": ["http", "ssh"],
        "status": "running",
        "since": START + 500,
    }


async def test_a_failure_by_value(lab: Lab) -> None:
    row = await lab.ask(request_id="r", requested_by="ann")
    before = await lab.decky()
    lab.world.faults = [fails("x" * 900)]
    assert await lab.one.serve_one()
    now = await lab.decky()
    assert (now["failures"], now["state"], now["reason"], now["pending"]) == (1, "failed", "x" * 500, True)
    assert now["retry_at"] == moment(lab.clock.now + 30)
    assert (now["lease_owner"], now["lease_until"]) == (None, None)
    for key in ("observed", "last_mutated", "next_due", "site"):
        assert now[key] == before[key], f"{key} is what it was"
    assert lab.world.up["web"] == ["http", "ftp"]
    done = await lab.mutation(row["mutation_id"])
    assert (done["state"], done["reason"]) == ("failed", "x" * 500)
    assert done["outcome"] == {"old": ["http", "ftp"], "new": ["http", "ssh"], "retry_s": 30.0}
    assert (lab.one.rotations, lab.one.failures) == (0, 1)
    told = await news(lab.repo)
    (payload,) = [payload for topic, payload in told if topic.startswith("decky.")]
    assert (payload["outcome"], payload["reason"], payload["actor"]) == ("failed", "x" * 500, "ann")
    assert told[-1][1]["state"] == "degraded"
    assert not await lab.two.serve_one(), "not before its time"
    for failures, wait in [(2, 60), (3, 120)]:
        lab.clock.now = now["retry_at"].timestamp()
        lab.world.faults = [fails()]
        assert await lab.one.serve_one(), "and at its very moment"
        now = await lab.decky()
        assert (now["failures"], now["retry_at"]) == (failures, moment(lab.clock.now + wait))
    assert lab.one.failures == 3


async def test_a_retry_keeps_the_wish_and_whose_it_was(lab: Lab) -> None:
    lab.world.faults = [fails()]
    row = await lab.ask(request_id="r", requested_by="ann")
    assert await lab.one.serve_one()
    await news(lab.repo)
    lab.clock.now += 3600
    assert await lab.two.serve_one()
    again, first = await lab.repo.mutations(target="web", since=START + 1)
    assert (first["mutation_id"], first["state"], again["state"]) == (row["mutation_id"], "failed", "applied")
    assert (again["kind"], again["trigger"], again["requested_by"]) == ("rotate", "operator", "ann")
    (payload,) = [p for topic, p in await news(lab.repo) if topic == "decky.web.mutation"]
    assert (payload["outcome"], payload["request_id"], payload["actor"]) == ("applied", "r", "ann")
    assert (await lab.decky())["observed"] == ["http", "ssh"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (fails("port taken"), "port taken"),
        (RuntimeError("odd"), "RuntimeError: odd"),
        (TimeoutError(), "not done in 300 s"),
    ],
)
async def test_whatever_a_substrate_raises_is_a_failure_with_its_reason(
    lab: Lab, fault: Exception, reason: str
) -> None:
    row = await lab.ask()
    lab.world.faults = [fault]
    assert await lab.one.serve_request(row["mutation_id"]) == Outcome(
        False, ["http", "ftp"], ["http", "ssh"], reason
    )
    assert lab.one.working == set()


async def test_a_substrate_that_does_not_end_is_cut_at_its_time(tmp_path: Path, lab: Lab) -> None:
    async def for_ever(_: Target) -> None:
        await asyncio.Event().wait()

    hasty = engine(lab.repo, calm(tmp_path, apply_timeout_s=0.01), lab.world, "host-a:1:hasty")
    lab.world.during = for_ever
    row = await lab.ask()
    async with asyncio.timeout(5):
        assert (await hasty.serve_request(row["mutation_id"])).reason == "not done in 0 s"
    assert await lab.state(row["mutation_id"]) == "failed"


async def test_what_does_not_run_what_it_should_is_a_failure(lab: Lab) -> None:
    real = lab.world.observe

    async def other(decky: Target) -> list[str]:
        return [name for name in await real(decky) if name != "http"]

    lab.world.observe = other  # type: ignore[method-assign]
    row = await lab.ask()
    outcome = await lab.one.serve_request(row["mutation_id"])
    assert outcome.reason == "runs ssh instead of http, ssh"
    now = await lab.decky()
    assert (now["observed"], now["pending"]) == (["ssh"], True), "what really runs is noted all the same"
    lab.world.up.clear()
    lab.world.observe = real  # type: ignore[method-assign]


async def test_a_database_that_fails_ends_the_step_and_the_next_one_goes_on(lab: Lab) -> None:
    row = await lab.ask()

    async def gone(_: Target) -> None:
        raise DatabaseError("gone")

    lab.world.during = gone
    with pytest.raises(DatabaseError):
        await lab.one.serve_one()
    assert lab.one.working == set()
    assert await lab.state(row["mutation_id"]) == "pending", "a failure of ours is not the decoy's"
    assert (await lab.decky())["failures"] == 0
    await free_dead(lab.one)
    assert (await lab.decky())["lease_owner"] is None
    assert await lab.one.serve_one()
    assert await lab.state(row["mutation_id"]) == "applied"


async def test_a_repair_moves_no_clock_and_tells_no_mutation(lab: Lab) -> None:
    await lab.repo.decky_update(
        "web", None, pending=True, observed=[], failures=1, cause={"trigger": "repair"}
    )
    before = await lab.decky()
    assert await lab.one.serve_one()
    now = await lab.decky()
    assert (now["next_due"], now["last_mutated"]) == (before["next_due"], before["last_mutated"])
    assert (now["observed"], now["failures"], now["pending"]) == (["http", "ftp"], 0, False)
    assert [topic for topic, _ in await lab.topics() if topic.startswith("decky.")] == ["decky.web.state"]
    (row,) = await lab.repo.mutations(target="web", limit=1)
    assert (row["kind"], row["trigger"], row["state"]) == ("repair", "repair", "applied")


async def test_a_retired_decky_is_gone_when_its_decoy_is_and_not_before(lab: Lab) -> None:
    key = await lab.op("remove_decky", "db")
    lab.world.faults = [fails("does not end")]
    await news(lab.repo)
    assert await lab.one.serve_one()
    now = await lab.decky("db")
    assert (now["wanted"], now["failures"], now["observed"]) == (False, 1, ["redis"])
    assert await lab.state(key) == "failed"
    await news(lab.repo)
    lab.clock.now += 3600
    await lab.repo.decky_update("web", None, next_due=None)
    assert await lab.one.serve_one()
    assert await lab.repo.decky_get("db") is None
    assert [call for call in lab.world.calls if call[1] == "db"] == [("remove", "db"), ("remove", "db")]
    told = await lab.topics()
    assert [entry for entry in told if entry[0].startswith("decky.")] == [
        ("decky.db.mutation", "applied"), ("decky.db.state", "retired"),
    ]  # fmt: skip


async def test_a_host_that_runs_a_decoy_is_noted_with_the_time_it_counts_as_alive(lab: Lab) -> None:
    lab.world.host_bound = True
    await lab.ask()
    assert await lab.one.serve_one()
    now = await lab.decky()
    assert (now["site"], now["site_until"]) == (lab.one.site, lab.clock.now + 60)
    lab.world.host_bound = False
    await lab.ask()
    assert await lab.one.serve_one()
    assert ((await lab.decky())["site"], (await lab.decky())["site_until"]) == (None, None)


@pytest.mark.parametrize(("observe_s", "lease_s"), [(1.0, 60.0), (15.0, 60.0), (16.0, 64.0), (600.0, 2400.0)])
def test_a_site_lives_for_four_looks_and_a_minute_at_least(
    lab: Lab, tmp_path: Path, observe_s: float, lease_s: float
) -> None:
    assert engine(lab.repo, calm(tmp_path, observe_s=observe_s), lab.world).site_lease_s == lease_s


async def test_a_decoy_leaves_its_old_substrate_before_it_comes_up_on_the_new_one(lab: Lab) -> None:
    old = World()
    old.up = {"web": ["http", "ftp"]}
    lab.one.substrates = {**lab.one.substrates, "compose": old}
    cause = {"trigger": "operator", "actor": "", "leaves": ["compose"]}
    await lab.repo.decky_update("web", None, pending=True, cause=cause)
    old.faults = [fails("cannot remove")]
    assert await lab.one.serve_one()
    assert lab.world.calls == [], "two decoys with one name never run at once"
    assert (await lab.decky())["cause"] == cause, "what is still to be left is not forgotten"
    lab.clock.now += 60
    assert await lab.one.serve_one()
    assert (old.calls, lab.world.calls) == ([("remove", "web"), ("remove", "web")], [("apply", "web")])
    assert (await lab.decky())["cause"] is None


async def test_a_wish_that_was_fulfilled_meanwhile_is_not_done_again(lab: Lab) -> None:
    assert not await lab.one.begin_pending("web"), "another engine was faster"
    assert await lab.repo.lease_owners() == set()
    assert not await lab.one.begin_pending("nobody")
    assert await lab.repo.decky_claim("web", lab.two.owner, 60.0, lab.two.site)
    await lab.repo.decky_update("web", None, pending=True)
    assert not await lab.one.begin_pending("web")
    assert lab.world.calls == []


async def test_a_row_of_a_change_under_way_says_who_is_at_it_and_since_when(lab: Lab) -> None:
    seen: list[Row] = []

    async def watch(_: Target) -> None:
        seen.extend(await lab.repo.mutations(states=("pending",)))

    lab.world.during = watch
    why = {"trigger": "creation", "actor": "ann", "payload": {"request_id": "r"}}
    await lab.repo.decky_update("web", None, pending=True, observed=[], cause=why)
    assert await lab.one.serve_one()
    (row,) = seen
    assert (row["kind"], row["trigger"], row["requested_by"], row["topology_id"]) == (
        "creation",
        "creation",
        "ann",
        "lab",
    )
    assert (row["lease_owner"], row["lease_until"]) == (lab.one.owner, lab.clock.now + 360)
    assert row["started_at"] == moment(lab.clock.now)
    assert row["payload"] == {"request_id": "r", "old": [], "new": ["http", "ftp"]}


async def test_a_rotation_differs_from_what_runs_and_not_from_what_was_wished_for(lab: Lab) -> None:
    await lab.repo.decky_update("db", None, desired=["mysql"], pending=True, retry_at=START + 900, failures=1)
    row = await lab.ask("db")
    assert await lab.one.serve_one()
    assert (await lab.mutation(row["mutation_id"]))["outcome"] == {"old": ["redis"], "new": ["mysql"]}


async def test_a_repair_that_fails_is_no_mutation_either(lab: Lab) -> None:
    await lab.repo.decky_update("web", None, pending=True, failures=1, cause={"trigger": "repair"})
    lab.world.faults = [fails("port taken")]
    assert await lab.one.serve_one()
    assert [topic for topic, _ in await lab.topics() if topic.startswith("decky.")] == []
    now = await lab.decky()
    assert (now["failures"], now["retry_at"]) == (2, moment(lab.clock.now + 60))


@pytest.mark.parametrize("how", ["file", "update", "remove"])
async def test_a_new_wish_of_an_operator_is_tried_at_once_whatever_failed_before(lab: Lab, how: str) -> None:
    failing = {"pending": True, "failures": 9, "retry_at": START + 9e5, "reason": "port taken"}
    await lab.repo.decky_update("web", None, **failing)
    if how == "file":
        tools = lab.one.tools
        await apply_fleet(
            lab.repo, parse_fleet(LAB.replace("[http, ftp]", "[http, ssh]"), "f", tools.catalogue), tools
        )
        now = await lab.decky()
        assert (now["failures"], now["retry_at"], now["reason"]) == (0, None, "")
    else:
        payload = {"services": ["http", "ssh"]} if how == "update" else None
        await lab.op(f"{how}_decky", "web", payload)
    assert await lab.one.serve_one()
    assert len(lab.world.calls) == 1
    row = await lab.repo.decky_get("web")
    assert (row is None) if how == "remove" else (row is not None and row["failures"] == 0)


# --- refusals ------------------------------------------------------------------------------------------------------


async def test_a_request_for_no_decky_is_answered_and_leaves_nothing_leased(lab: Lab) -> None:
    row = await lab.ask("n" * 100, request_id="r")
    assert await lab.one.serve_one()
    done = await lab.mutation(row["mutation_id"])
    assert (done["state"], done["reason"]) == ("failed", f"no decky '{'n' * 70}' in the fleet")
    assert done["outcome"] == {"old": [], "new": []}
    (told,) = await news(lab.repo)
    assert (told[0], told[1]["outcome"], told[1]["request_id"]) == (
        f"decky.{'n' * 100}.mutation",
        "failed",
        "r",
    )
    hostile = await lab.ask("a.b.*.>")
    assert await lab.one.serve_one()
    assert await lab.state(hostile["mutation_id"]) == "failed"
    assert await news(lab.repo) == [], "a name that is no topic token has no topic"
    assert await lab.repo.lease_owners() == set()
    assert not await lab.one.serve_one()


async def test_a_decky_on_its_way_out_takes_no_request(lab: Lab) -> None:
    await lab.repo.decky_update("db", None, wanted=False, pending=True, desired=[])
    row = await lab.ask("db")
    assert await lab.one.serve_one(operators_only=True)
    done = await lab.mutation(row["mutation_id"])
    assert (done["state"], done["reason"]) == ("failed", "no decky 'db' in the fleet")
    assert done["outcome"] == {"old": ["redis"], "new": ["redis"]}
    assert (await lab.decky("db"))["lease_owner"] is None
    assert await lab.repo.decky_claim("db", "x", 60.0, "s")
    again = await lab.ask("db")
    assert await lab.one.serve_one(operators_only=True), "leased by another, it is refused as well"
    assert await lab.state(again["mutation_id"]) == "failed"


async def test_nothing_else_to_choose_refuses_a_request_and_only_postpones_the_clock(lab: Lab) -> None:
    await lab.repo.decky_update("web", None, pool=["http", "ftp"], pinned=["http", "ftp"])
    row = await lab.ask()
    assert await lab.one.serve_one()
    done = await lab.mutation(row["mutation_id"])
    assert done["state"] == "failed"
    assert done["reason"].startswith("nothing else to choose: pool http, ftp")
    now = await lab.decky()
    assert (now["pending"], now["failures"], now["lease_owner"], now["state"]) == (False, 0, None, "running")
    await news(lab.repo)
    lab.clock.now = START + 3600
    assert await lab.one.serve_one()
    now = await lab.decky()
    assert (now["next_due"], now["pending"], now["failures"]) == (moment(START + 7200), False, 0)
    assert now["reason"].startswith("nothing else to choose")
    assert (now["lease_owner"], now["lease_until"]) == (None, None)
    assert await news(lab.repo) == []
    assert lab.world.calls == []


async def test_a_port_that_another_decky_wants_or_has_is_not_chosen(lab: Lab) -> None:
    tools = lab.one.tools
    own = "fleet: own\nsubstrate: compose\ndeckies:\n" + "".join(
        f"  - {{name: d{i}, pool: [ftp, ssh, http], services: [{name}]}}\n"
        for i, name in enumerate(["ftp", "ssh"])
    )
    await apply_fleet(lab.repo, parse_fleet(own, "f", tools.catalogue), tools)
    await drain(lab.one)
    row = await lab.ask("d0")
    assert await lab.one.serve_one()
    assert (await lab.mutation(row["mutation_id"]))["outcome"]["new"] == ["http"]
    await lab.repo.decky_update("d1", None, desired=["ftp"])
    row = await lab.ask("d0")
    assert await lab.one.serve_one()
    assert "ports taken by others: ftp, ssh" in (await lab.mutation(row["mutation_id"]))["reason"]


# --- order and the clock -------------------------------------------------------------------------------------------


async def test_operators_go_first_then_open_wishes_then_the_clock(lab: Lab) -> None:
    await lab.repo.decky_update("web", None, next_due=START)
    await lab.repo.decky_update("db", None, pending=True, cause={"trigger": "repair"})
    row = await lab.ask("nobody")
    assert await lab.one.serve_one(operators_only=True)
    assert await lab.state(row["mutation_id"]) == "failed"
    assert not await lab.one.serve_one(operators_only=True), "the first lane does nothing else"
    assert await lab.one.anything_pending()
    assert lab.world.calls == []
    assert await lab.one.serve_one()
    assert not await lab.one.anything_pending()
    assert await lab.one.serve_one()
    assert lab.world.calls == [("apply", "db"), ("apply", "web")]
    assert not await lab.one.serve_one()


async def test_the_clock_strikes_at_the_interval_and_not_before_and_a_restart_rotates_nothing(
    lab: Lab,
) -> None:
    assert await lab.one.seconds_to_next() == pytest.approx(START + 3600 - lab.clock.now)
    for now in (START + 100, START + 3599.5):
        lab.clock.now = now
        assert not await engine(lab.repo, lab.settings, lab.world).serve_one(), "the moment is in the row"
    lab.clock.now = START + 3600
    assert await lab.one.seconds_to_next() == 0.0
    assert await lab.one.serve_one()
    assert lab.world.calls == [("apply", "web")]
    lab.clock.now = START + 50_000
    assert await lab.one.seconds_to_next() == 0.0, "never less than nothing"
    await lab.repo.decky_update("web", None, next_due=None)
    assert await lab.one.seconds_to_next() is None


@pytest.mark.parametrize(
    ("began", "ended", "quiet", "waits"),
    [(3600, None, True, True), (3601, None, True, False), (5, 1, True, False), (5, None, False, False)],
)
async def test_an_attacker_at_work_holds_the_clock_back(
    lab: Lab, tmp_path: Path, began: float, ended: float | None, quiet: bool, waits: bool
) -> None:
    lab.clock.now = START + 3600
    made = engine(lab.repo, calm(tmp_path, quiet=quiet), lab.world)
    for key in ("s1", "s2"):
        times = {"started_at": lab.clock.now - began, "ended_at": lab.clock.now - ended if ended else None}
        await lab.repo.upsert_session({"session_id": key, "attacker_uuid": "a", "decky_id": "web", **times})
    assert await made.serve_one()
    now = await lab.decky()
    if not waits:
        assert lab.world.calls == [("apply", "web")]
        return
    assert (lab.world.calls, now["reason"]) == ([], "rotation waits: 2 live attacker sessions")
    assert (now["next_due"], now["lease_owner"], now["lease_until"]) == (moment(START + 3660), None, None)
    assert not await made.serve_one()
    await lab.ask()
    assert await made.serve_one(), "an operator may"
    assert lab.world.calls == [("apply", "web")]


async def test_a_request_for_a_decky_that_another_engine_has_waits_for_its_lease_and_then_says_so(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await lab.repo.decky_claim("web", "other", 60_000.0, lab.two.site)
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(service_module.asyncio, "sleep", pause)
    monkeypatch.setattr(service_module, "_LOOK_S", 90.0)
    row = await lab.ask()
    outcome = await lab.one.serve_request(row["mutation_id"])
    assert outcome == Outcome(False, reason="the decky is being changed by another engine; the request waits")
    assert pauses == [90.0] * 4, "as long as a lease lives"
    assert await lab.state(row["mutation_id"]) == "enqueued"
    await lab.repo.leases_drop("other")
    outcome = await lab.one.serve_request(row["mutation_id"])
    assert outcome == Outcome(True, ["http", "ftp"], ["http", "ssh"])
    assert (await lab.one.serve_request("nothing")).applied is False


# --- operations ----------------------------------------------------------------------------------------------------


async def test_operations_of_one_fleet_are_done_one_after_the_other(lab: Lab) -> None:
    first = await lab.op("update_decky", "web", {"services": ["http", "ssh"]})
    second = await lab.op("add_network", "lan")
    assert await lab.repo.decky_claim("web", lab.two.owner, 60.0, lab.two.site)
    assert await lab.one.serve_one(operators_only=True)
    assert [await lab.state(key) for key in (first, second)] == ["applying", "enqueued"]
    assert not await lab.two.serve_one(operators_only=True), "the second waits for the first"
    assert not await lab.two.begin_op(await lab.mutation(first)), "which nobody begins again"
    await lab.repo.decky_update("web", None, lease_owner=None)
    assert await lab.one.serve_one()
    assert await lab.one.serve_one()
    assert [await lab.state(key) for key in (first, second)] == ["applied", "applied"]
    told = [
        (topic.rpartition(".")[2], p["mutation_id"])
        for topic, p in await news(lab.repo)
        if ".mutation." in topic
    ]
    assert told == [
        ("enqueued", first), ("enqueued", second), ("applying", first), ("applied", first), ("applying", second), ("applied", second),
    ]  # fmt: skip
    stale = await lab.mutation(second)
    assert not await lab.two.begin_op({**stale, "state": "enqueued"}), "one that has ended is not begun again"
    assert await lab.state(second) == "applied"


async def test_an_operation_is_checked_again_on_the_state_of_its_moment(lab: Lab) -> None:
    key = await lab.op("attach_decky", "web", {"network": "office"})
    await lab.repo.topology_update("lab", networks=["dmz"])
    before = await lab.decky()
    assert await lab.one.serve_one()
    done = await lab.mutation(key)
    assert (done["state"], done["reason"]) == ("failed", "unknown network 'office'")
    assert await lab.decky() == before
    assert [topic.rpartition(".")[2] for topic, _ in await news(lab.repo)] == [
        "enqueued",
        "applying",
        "failed",
    ]


async def test_an_operation_whose_decky_fails_ends_with_its_reason_and_is_tried_again_as_a_wish(
    lab: Lab,
) -> None:
    key = await lab.op(
        "update_decky", "web", {"services": ["http", "ssh"], "mutate_interval": "2h", "pinned": ["http"]}
    )
    lab.world.faults = [fails("port taken")]
    assert await lab.one.serve_one()
    done = await lab.mutation(key)
    assert (done["state"], done["reason"]) == ("failed", "port taken")
    now = await lab.decky()
    assert (now["desired"], now["observed"], now["pending"]) == (["http", "ssh"], ["http", "ftp"], True)
    assert (now["mutate_interval"], now["next_due"]) == ("2h", moment(START + 7200))
    lab.clock.now += 60
    assert await lab.one.serve_one()
    assert (await lab.decky())["observed"] == ["http", "ssh"]
    assert await lab.state(key) == "failed"


async def test_an_operation_that_leaves_the_decoy_as_it_is_ends_at_once(lab: Lab) -> None:
    key = await lab.op("update_decky", "web", {"mutate_interval": "inherit", "pinned": []})
    assert await lab.one.serve_one()
    assert (await lab.state(key), lab.world.calls) == ("applied", [])
    now = await lab.decky()
    assert (now["pinned"], now["mutate_interval"], now["pending"]) == ([], "", False)
    key = await lab.op("add_network", "lan")
    assert await lab.one.serve_one()
    topology = await lab.repo.topology_get("lab")
    assert topology is not None
    assert (await lab.state(key), topology["networks"]) == ("applied", ["dmz", "lan", "office"])


async def test_who_fails_is_named_by_the_status_of_the_fleet_which_mends_itself(lab: Lab) -> None:
    row = await lab.ask()
    lab.world.faults = [fails("port taken")]
    assert await lab.one.serve_one()
    topology = await lab.repo.topology_get("lab")
    assert topology is not None
    assert (topology["status"], topology["reason"]) == ("degraded", "web: port taken")
    told = [payload for topic, payload in await news(lab.repo) if topic == "topology.lab.status"]
    assert told[-1] == {"state": "degraded", "reason": "web: port taken"}
    lab.clock.now += 60
    assert await lab.one.serve_one()
    topology = await lab.repo.topology_get("lab")
    assert topology is not None
    assert (topology["status"], topology["reason"]) == ("active", "")
    assert await lab.state(row["mutation_id"]) == "failed"
    assert time.time() < START, "no clock but the test's own was asked"


async def test_an_error_of_the_substrate_type_is_told_as_it_is(lab: Lab) -> None:
    assert issubclass(SubstrateError, Exception)
    job = await begun(lab.one, await lab.ask())
    lab.world.faults = [fails("a\u202eb")]
    assert await apply_change(lab.one.substrates, job, lab.one.settings.apply_timeout_s) == ([], "a\u202eb")
