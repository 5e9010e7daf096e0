"""Who asks services, how often, and when it is told: one at a time on a database, within one budget, once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from decnet.config import load_settings
from decnet.db.repository import BaseRepository
from decnet.db.repository.runtime.work import FAR_S
from decnet.db.rows.intel import DueQuestion, StoredAnswer
from decnet.ids import attacker_id
from decnet.intel import asking
from decnet.intel.asking import LEASE, MAX_TRIES, Asker, LeaseLost
from decnet.intel.services.governor import DAY_S
from tests import servicekit as kit
from tests.askkit import section
from tests.dbkit import KINDS, open_repo
from tests.httpkit import Server, reply, serving
from tests.rowkit import TABLES
from tests.servicekit import ADDRESS, SHA256

START = 20_000 * DAY_S + 3600.0


class World:
    """Askers on one database with one clock, and the server that they ask."""

    def __init__(self, repo: BaseRepository, server: Server) -> None:
        self.repo, self.server, self.now = repo, server, START
        self.askers: list[Asker] = []

    def asker(self, owner: str = "one", *names: str, lease_s: float = 15.0, **more: Any) -> Asker:
        on = dict.fromkeys(names or ("greynoise",), section(self.server.base, **more))
        settings = load_settings(runtime={"lease_s": lease_s}, **on)
        made = Asker(settings, self.repo, owner=owner, clock=lambda: self.now)
        self.askers.append(made)
        return made

    async def note(self, *values: str, service: str = "greynoise", kind: str = "address") -> None:
        await self.repo.intel_due_add(
            DueQuestion(
                service=service, kind=kind, value=value, attacker_uuid=attacker_id(value) if kind == "address" else None,
                ts=float(n), tries=0, not_before=0.0,
            )
            for n, value in enumerate(values)
        )  # fmt: skip

    async def told(self) -> list[dict[str, Any]]:
        return [json.loads(sealed.body) for _, sealed in await self.repo.outbox_take(100)]

    async def left(self, service: str = "greynoise") -> list[tuple[str, int, float]]:
        rows = await self.repo.intel_due_take(service, float("1e12"), 100)
        return [(row["value"], row["tries"], row["not_before"]) for row in rows]

    def answers(self, *values: str) -> None:
        for value in values:
            self.server.answers[f"/v3/community/{value}"] = reply(200, {**kit.GREYNOISE_SEEN, "ip": value})


@pytest.fixture(params=KINDS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with open_repo(request.param, tmp_path) as repo, serving() as server:
        made = World(repo, server)
        yield made
        server.hold = None
        for asker in made.askers:
            await asker.close()


IPS = ("91.92.93.1", "91.92.93.2", "91.92.93.3", "91.92.93.4")


async def test_an_answer_is_told_once_with_the_time_at_which_it_was_given(world: World) -> None:
    world.answers(ADDRESS)
    await world.note(ADDRESS)
    asker = world.asker()
    assert await asker.run() == 1
    (event,) = await world.told()
    assert event["ts"] == START
    assert event["payload"] == {
        "attacker_uuid": attacker_id(ADDRESS), "attacker_ip": ADDRESS, "aggregate_verdict": "malicious", "providers": ["greynoise"],
        "greynoise_classification": "malicious", "greynoise_name": "unknown",
    }  # fmt: skip
    assert (await world.left(), asker.told, asker.ready, asker.waiting) == ([], 1, 0, {})
    assert await asker.run() == 0


async def test_what_is_said_of_a_file_is_kept_and_told_of_nobodys_address(world: World) -> None:
    world.server.answers[f"/api/v3/files/{SHA256}"] = reply(200, kit.VIRUSTOTAL)
    await world.note(SHA256, service="virustotal", kind="sha256")
    assert await world.asker("one", "virustotal").run() == 1
    assert await world.told() == []
    (row,) = await world.repo.intel_said_of(SHA256)
    assert (row["known"], row["said"]["virustotal_malicious"] if row["said"] else None) == (True, 41)


async def test_the_newest_is_asked_about_first_and_the_budget_is_one_for_all(world: World) -> None:
    world.answers(*IPS)
    await world.note(*IPS)
    one, two = (world.asker(name, daily_budget=3) for name in ("one", "two"))
    await two.look()
    assert two.desk.until("greynoise") is None
    assert await one.run() == 3
    # Two at a time are under way: which of these arrives first is nobody's promise.
    assert sorted(asked.target.rpartition("/")[2] for asked in world.server.asked) == [*IPS[1:]]
    assert await two.run() == 0, "it takes over what the other one has used"
    assert [value for value, _, _ in await world.left()] == [IPS[0]]
    assert (two.desk.health()["services"]["greynoise"]["left_today"], two.waiting) == (0, {"greynoise": 1})
    assert await world.asker("after a restart", daily_budget=3).run() == 0
    world.now += DAY_S
    assert await two.run() == 1
    assert len(world.server.asked) == 4


async def test_of_two_engines_one_asks_and_the_other_one_waits(world: World) -> None:
    world.answers(ADDRESS)
    await world.note(ADDRESS)
    one, two = world.asker("one"), world.asker("two")
    world.server.hold = asyncio.Event()
    asking_one = asyncio.create_task(one.run())
    await world.server.arrived.wait()
    assert await two.run() == 0
    assert two.ready == 1, "it sees what waits"
    world.server.hold.set()
    assert await asking_one == 1
    assert await two.run() == 0
    assert (len(world.server.asked), len(await world.told())) == (1, 1)
    assert await world.repo.lease_acquire(LEASE, "three", 1.0), "the lease is given back"


async def test_who_lost_the_lease_sends_nothing_more_and_tells_nothing(world: World) -> None:
    world.answers(*IPS)
    await world.note(*IPS)
    one = world.asker("one", lease_s=0.3)
    world.server.hold = asyncio.Event()
    running = asyncio.create_task(one.run())
    await world.server.arrived.wait()
    async with world.repo.db.write() as session:  # as if this one had been stopped until its lease ran out
        table = TABLES["lease"]
        until = time.time() + FAR_S / 2  # one far beyond is free
        await session.execute(table.update().values(owner="two", expires_at=until))
    with pytest.raises(LeaseLost):
        await running
    asked = len(world.server.asked)
    world.server.hold.set()
    await asyncio.gather(*one.desk._running.values(), return_exceptions=True)  # none, but for a fault
    assert asked <= 2, "no more than were under way"
    assert len(world.server.asked) == asked
    assert (await world.told(), len(await world.left())) == ([], 4)
    assert await world.repo.lease_owner(LEASE) == "two", "another one's lease is not given back"


async def test_after_a_crash_before_it_was_told_an_answer_is_told_without_asking_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.answers(ADDRESS)
    await world.note(ADDRESS)
    first = world.asker("one")

    async def crash(*_: Any) -> int:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(first, "_settle", crash)
        with pytest.raises(RuntimeError, match="killed"):
            await first.run()
    assert (await world.told(), len(await world.left())) == ([], 1)
    world.now += 3600
    assert await world.asker("two").run() == 1
    (event,) = await world.told()
    assert event["ts"] == START, "the time of the answer, not of the telling"
    assert len(world.server.asked) == 1


async def test_a_question_that_another_one_took_back_is_not_told_of(world: World) -> None:
    world.answers(*IPS[:2])
    await world.note(*IPS[:2])
    world.server.hold = asyncio.Event()
    running = asyncio.create_task(world.asker().run())
    await world.server.arrived.wait()
    await world.repo.intel_due_done([("greynoise", "address", IPS[0])])
    world.server.hold.set()
    assert await running == 1
    assert [event["payload"]["attacker_ip"] for event in await world.told()] == [IPS[1]]


async def test_an_answer_is_told_and_its_question_taken_back_together_or_not_at_all(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.answers(ADDRESS)
    await world.note(ADDRESS)

    async def full(*_: Any) -> None:
        raise RuntimeError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(BaseRepository, "outbox_add_many", full)
        with pytest.raises(RuntimeError, match="disk full"):
            await world.asker().run()
    assert (await world.told(), len(await world.left())) == ([], 1)
    assert await world.asker().run() == 1
    assert (len(await world.told()), len(world.server.asked)) == (1, 1)


async def test_what_is_known_already_is_not_asked_again_whoever_asked(world: World) -> None:
    world.answers(ADDRESS)
    await world.note(ADDRESS)
    assert await world.asker("one").run() == 1
    await world.note(ADDRESS)
    assert await world.asker("two").run() == 1
    first, second = await world.told()
    assert first["id"] == second["id"], "one answer has one id"
    assert len(world.server.asked) == 1
    world.now += DAY_S
    await world.note(ADDRESS)
    assert await world.asker("three").run() == 1
    assert len(world.server.asked) == 2


async def test_one_list_answers_all_questions_also_after_a_restart(world: World) -> None:
    world.server.answers["/downloads/ipblocklist.json"] = reply(200, kit.FEODO)
    await world.note(ADDRESS, "91.92.93.95", service="feodo")
    assert await world.asker("one", "feodo").run() == 2
    await world.note(kit.OTHER, service="feodo")
    assert await world.asker("two", "feodo").run() == 1
    told = {
        event["payload"]["attacker_ip"]: event["payload"].get("feodo_malware_family")
        for event in await world.told()
    }
    assert told == {ADDRESS: "QakBot", "91.92.93.95": None, kit.OTHER: "Pikabot"}
    assert len(world.server.asked) == 1


async def test_after_a_failure_the_service_rests_also_over_a_restart_and_the_others_are_asked(
    world: World,
) -> None:
    world.server.answers[f"/v3/community/{ADDRESS}"] = reply(429, {}, Retry_After="600")
    world.server.answers["/downloads/ipblocklist.json"] = reply(200, kit.FEODO)
    await world.note(ADDRESS)
    await world.note(ADDRESS, service="feodo")
    one = world.asker("one", "greynoise", "feodo")
    assert await one.run() == 1
    assert await world.left() == [(ADDRESS, 1, START + 60)]
    health = one.desk.health()["services"]["greynoise"]
    assert (health["faults"], health["last_fault"], health["rests_until"]) == (
        {"rate_limited": 1}, "rate_limited", START + 600,
    )  # fmt: skip
    world.answers(ADDRESS)
    world.now = START + 599
    two = world.asker("two", "greynoise", "feodo")
    assert (await one.run(), await two.run(), two.ready) == (0, 0, 0)
    world.now = START + 600
    assert await two.run() == 1
    assert [asked.target for asked in world.server.asked].count(f"/v3/community/{ADDRESS}") == 2


async def test_what_is_not_believed_is_tried_again_later_and_given_up_in_the_end(world: World) -> None:
    world.server.answers[f"/v3/community/{ADDRESS}"] = reply(200, {**kit.GREYNOISE_SEEN, "ip": kit.OTHER})
    await world.note(ADDRESS)
    asker = world.asker()
    for n in range(1, MAX_TRIES):
        assert await asker.run() == 0
        assert await world.left() == [(ADDRESS, n, world.now + 60.0 * 2 ** (n - 1))]
        world.now += 7 * 3600
    assert await asker.run() == 1
    assert (await world.left(), await world.told(), asker.given_up) == ([], [], 1)
    assert asker.desk.health()["services"]["greynoise"]["faults"] == {"about_another": MAX_TRIES}


async def test_a_service_that_is_away_for_days_costs_no_question(world: World) -> None:
    world.server.answers[f"/v3/community/{ADDRESS}"] = reply(500)
    await world.note(ADDRESS)
    asker = world.asker()
    for _ in range(12):
        await asker.run()
        world.now += 7 * 3600
    ((value, tries, _),) = await world.left()
    assert (value, tries) == (ADDRESS, 12)
    world.answers(ADDRESS)
    assert await asker.run() == 1


async def test_too_many_questions_cost_the_oldest_and_are_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "MAX_DUE", 3)
    world.answers(*IPS)
    await world.note(*IPS)
    asker = world.asker()
    assert await asker.run() == 3
    assert asker.dropped == 1
    assert {one["payload"]["attacker_ip"] for one in await world.told()} == set(IPS[1:])


async def test_a_question_that_may_not_be_asked_any_more_is_taken_back_unasked(world: World) -> None:
    await world.note("10.1.2.3")
    asker = world.asker()
    assert await asker.run() == 1
    assert (await world.left(), await world.told(), world.server.asked) == ([], [], [])
    assert asker.desk.health()["not_asked"]["special_address"] == 1


async def test_a_person_waits_for_the_engine_and_uses_the_same_budget(world: World) -> None:
    world.answers(ADDRESS)
    person = world.asker("person", daily_budget=1)
    assert await world.repo.lease_acquire(LEASE, "engine", 60.0)
    waits = asyncio.create_task(person.ask_now("address", ADDRESS, None))
    await asyncio.sleep(0)
    assert world.server.asked == []
    await world.repo.lease_release(LEASE, "engine")
    (outcome,) = await waits
    assert outcome.answer is not None
    assert await world.told() == [], "of an address that is no attacker's nothing is told"
    await world.note(ADDRESS, IPS[0])
    engine = world.asker("engine", daily_budget=1)
    assert await engine.run() == 0
    assert len(world.server.asked) == 1
    (outcome,) = await person.ask_now("address", ADDRESS, attacker_id(ADDRESS))
    assert (outcome.at, len(await world.told()), len(world.server.asked)) == (START, 1, 1)


async def test_a_person_does_not_wait_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PATIENCE_S", 0.01)
    assert await world.repo.lease_acquire(LEASE, "engine", 60.0)
    with pytest.raises(TimeoutError):
        await world.asker("person").ask_now("address", ADDRESS, None)
    assert world.server.asked == []


async def test_a_question_that_this_version_asks_nobody_holds_up_no_other(world: World) -> None:
    world.answers(ADDRESS)
    await world.note(ADDRESS)
    await world.note(SHA256, kind="sha256")
    await world.note("x", kind="colour")
    assert await world.asker().run() == 3
    assert [event["payload"]["attacker_ip"] for event in await world.told()] == [ADDRESS]
    assert await world.left() == []


async def test_an_answer_that_another_version_kept_is_told_as_far_as_it_is_known(world: World) -> None:
    said = {"providers": ["greynoise"], "greynoise_classification": "malicious", "greynoise_colour": "red"}
    await world.repo.intel_keep(
        [],
        [StoredAnswer(service="greynoise", kind="address", value=ADDRESS, at=START, known=True, said=said)],
    )
    await world.note(ADDRESS)
    assert await world.asker().run() == 1
    (event,) = await world.told()
    assert event["payload"]["greynoise_classification"] == "malicious"
    assert "greynoise_colour" not in event["payload"]
    assert world.server.asked == []


async def test_a_list_is_read_from_the_database_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.server.answers["/downloads/ipblocklist.json"] = reply(200, kit.FEODO)
    monkeypatch.setattr(asking, "AT_A_TIME", 1)
    read: list[Any] = []
    real = BaseRepository.intel_stored

    async def stored(repo: BaseRepository, questions: Any) -> Any:
        read.append(questions)
        return await real(repo, questions)

    monkeypatch.setattr(BaseRepository, "intel_stored", stored)
    await world.note(*IPS, service="feodo")
    assert await world.asker("one", "feodo").run() == 4
    assert read == [[("feodo", "list", "ipblocklist")]]
