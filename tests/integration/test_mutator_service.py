"""Rotation on both databases: what is written, told, retried, held back, and done once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.errors import FleetError
from decnet.mutator import mutate_all, mutate_decky
from decnet.mutator.apply import apply_change
from decnet.mutator.observe import free_dead, look, tend
from decnet.mutator.queue import enqueue_op, request_rotation
from decnet.mutator.rows import set_interval
from decnet.mutator.service import MutationService
from tests.dbkit import KINDS, open_repo
from tests.mutatorkit import FLEET, Scripted, applied, drain, fails, make_due, news, service_for, settings_for


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for(tmp_path)


@pytest.fixture
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(getattr(request, "param", "sqlite"), tmp_path) as opened:
        yield opened


both = pytest.mark.parametrize("repo", KINDS, indirect=True)
"""What leans on a claim, a lock or a JSON column; the rest says the same on either."""


@pytest.fixture
def substrate(settings: Settings) -> Scripted:
    return Scripted(settings.data_dir / "dry")


@pytest.fixture
async def service(repo: BaseRepository, settings: Settings, substrate: Scripted) -> MutationService:
    made = service_for(repo, settings, substrate)
    await applied(repo, settings)
    await drain(made)
    return made


async def services(repo: BaseRepository, name: str) -> tuple[list[str], list[str], str]:
    row = await repo.decky_get(name)
    assert row is not None
    return row["desired"], row["observed"], row["state"]


async def test_a_fleet_comes_up(repo: BaseRepository, service: MutationService) -> None:
    assert await services(repo, "web-01") == (["http", "ftp"], ["http", "ftp"], "running")
    told = await news(repo)
    assert [payload["state"] for topic, payload in told if topic == "topology.lab.status"] == [
        "deploying",
        "active",
    ]
    made = [(t, p) for t, p in told if t.startswith("decky.web-01.")]
    assert [topic for topic, _ in made] == ["decky.web-01.mutation", "decky.web-01.state"]
    assert made[0][1]["trigger"] == "creation"
    assert (made[0][1]["old_services"], made[0][1]["new_services"]) == ([], ["http", "ftp"])
    assert made[1][1]["services"] == ["http", "ftp"]
    row = await repo.decky_get("web-01")
    assert row is not None
    assert 1500 < (row["next_due"] - row["last_mutated"]).total_seconds() < 2100
    db = await repo.decky_get("db-01")
    assert db is not None
    assert db["next_due"] is None


@both
async def test_a_rotation(repo: BaseRepository, service: MutationService, settings: Settings) -> None:
    await news(repo)
    outcome = await mutate_decky("web-01", repo, trigger="operator", settings=settings, service=service)
    assert outcome.applied
    assert outcome.old == ["http", "ftp"]
    assert "http" in outcome.new
    assert "ftp" not in outcome.new
    desired, observed, _ = await services(repo, "web-01")
    assert set(desired) == set(observed) == set(outcome.new)
    told = await news(repo)
    assert [topic for topic, _ in told if topic.startswith("decky.")] == [
        "decky.web-01.mutation",
        "decky.web-01.state",
    ]
    assert told[0][0] == "topology.lab.status", "deploying while it is under way"
    (row,) = await repo.mutations(target="web-01", limit=1)
    assert (row["state"], row["kind"], row["trigger"]) == ("applied", "rotate", "operator")
    assert row["outcome"] == {"old": ["http", "ftp"], "new": list(outcome.new)}


async def test_due_and_requested_in_one_pass_and_an_unknown_name(
    repo: BaseRepository, service: MutationService, settings: Settings
) -> None:
    await news(repo)
    await make_due(repo, "web-01")
    rest = await mutate_all(repo, only={"db-01", "nobody"}, settings=settings, service=service)
    told = {(topic, payload["outcome"], payload["trigger"]) for topic, payload in await news(repo) if topic.endswith(".mutation")}  # fmt: skip
    assert told == {
        ("decky.web-01.mutation", "applied", "scheduled"),
        ("decky.db-01.mutation", "applied", "operator"),
        ("decky.nobody.mutation", "failed", "operator"),
    }
    assert rest is not None
    assert 1400 < rest < 2100


async def test_force_rotates_all(repo: BaseRepository, service: MutationService, settings: Settings) -> None:
    before = {name: (await services(repo, name))[1] for name in ("web-01", "db-01")}
    await mutate_all(repo, force=True, settings=settings, service=service)
    for name, old in before.items():
        assert (await services(repo, name))[1] != old


async def test_no_fleet_is_no_error(repo: BaseRepository, settings: Settings) -> None:
    assert await mutate_all(repo, settings=settings, service=service_for(repo, settings)) is None


@both
async def test_a_failure_is_told_and_tried_again(repo: BaseRepository, service: MutationService, substrate: Scripted) -> None:  # fmt: skip
    await news(repo)
    substrate.faults["web-01"] = [fails("image missing: x"), RuntimeError("odd")]
    key = await request_rotation(repo, "web-01", requested_by="ann", request_id="r1")
    assert await service.serve_one()
    row = await repo.mutation_get(key)
    assert row is not None
    assert (row["state"], row["reason"]) == ("failed", "image missing: x")
    desired, observed, state = await services(repo, "web-01")
    assert observed == ["http", "ftp"], "what runs is what ran"
    assert (desired != observed, state) == (True, "failed")
    told = await news(repo)
    assert not [topic for topic, _ in told if topic.endswith(".state")]
    failed = next(payload for topic, payload in told if topic == "decky.web-01.mutation")
    assert (failed["outcome"], failed["request_id"], failed["actor"], failed["reason"]) == ("failed", "r1", "ann", "image missing: x")  # fmt: skip
    assert [p["state"] for t, p in told if t == "topology.lab.status"] == ["deploying", "degraded"]
    await _until_settled(repo, service, "web-01")
    assert (await services(repo, "web-01"))[1:] == (desired, "running")
    told = await news(repo)
    outcomes = [p["outcome"] for t, p in told if t == "decky.web-01.mutation"]
    assert outcomes == ["failed", "applied"]
    assert [p["state"] for t, p in told if t == "topology.lab.status"][-1] == "active"


async def _until_settled(repo: BaseRepository, service: MutationService, name: str) -> None:
    async with asyncio.timeout(10):
        while (row := await repo.decky_get(name)) and row["pending"]:
            await drain(service)
            await asyncio.sleep(0.02)


async def test_an_attacker_at_work_is_not_disturbed_by_the_clock(
    repo: BaseRepository, service: MutationService, settings: Settings, substrate: Scripted
) -> None:
    session = {
        "session_id": "s1",
        "attacker_uuid": "a",
        "attacker_ip": "192.0.2.1",
        "decky_id": "web-01",
        "service": "ssh",
    }
    await repo.upsert_session({**session, "protocol": "ssh", "started_at": time.time() - 60})
    substrate.applied.clear()
    await make_due(repo, "web-01")
    await drain(service)
    assert substrate.applied == []
    row = await repo.decky_get("web-01")
    assert row is not None
    assert "live attacker session" in row["reason"]
    assert row["next_due"].timestamp() > time.time()
    assert (await mutate_decky("web-01", repo, settings=settings, service=service)).applied, "an operator may"


async def test_a_session_that_was_never_closed_holds_nothing_back_for_ever(repo: BaseRepository, service: MutationService) -> None:  # fmt: skip
    session = {
        "session_id": "s1",
        "attacker_uuid": "a",
        "decky_id": "web-01",
        "started_at": time.time() - 7200,
    }
    await repo.upsert_session(session)
    await make_due(repo, "web-01")
    await drain(service)
    assert (await services(repo, "web-01"))[1] != ["http", "ftp"]


async def test_applying_again_changes_nothing_and_absence_retires(
    repo: BaseRepository, service: MutationService, settings: Settings, substrate: Scripted
) -> None:
    await mutate_decky("web-01", repo, settings=settings, service=service)
    running = (await services(repo, "web-01"))[1]
    done = await applied(repo, settings)
    assert done.unchanged == ["web-01", "db-01"]
    await drain(service)
    assert (await services(repo, "web-01"))[1] == running
    await news(repo)
    less = FLEET.replace(
        "  - {name: db-01, pool: [redis, mysql, ssh], services: [redis], mutate_interval: never}\n", ""
    )
    assert (await applied(repo, settings, less)).removed == ["db-01"]
    await drain(service)
    assert substrate.removed == ["db-01"]
    assert await repo.decky_get("db-01") is None
    told = await news(repo)
    assert [(t, p.get("trigger"), p.get("status")) for t, p in told if t.startswith("decky.db-01")] == [
        ("decky.db-01.mutation", "retirement", None), ("decky.db-01.state", None, "retired"),
    ]  # fmt: skip
    await applied(repo, settings, "fleet: lab\ndeckies: []\n")
    await drain(service)
    states = [p["state"] for t, p in await news(repo) if t == "topology.lab.status"]
    assert states == ["tearing_down", "torn_down"]
    await applied(repo, settings)
    await drain(service)
    assert (await services(repo, "db-01"))[1] == ["redis"]


async def test_a_change_of_the_file_moves_only_its_decky(
    repo: BaseRepository, service: MutationService, settings: Settings, substrate: Scripted
) -> None:
    substrate.applied.clear()
    done = await applied(repo, settings, FLEET.replace("services: [redis]", "services: [mysql]"))
    assert (done.changed, done.unchanged) == (["db-01"], ["web-01"])
    await drain(service)
    assert substrate.applied == [("db-01", ("mysql",))]
    with pytest.raises(FleetError, match="belongs to the fleet 'lab'"):
        await applied(repo, settings, FLEET.replace("fleet: lab", "fleet: other"))


async def test_a_decky_that_moves_to_another_substrate_leaves_the_old_one(
    repo: BaseRepository, tmp_path: Path
) -> None:
    settings = settings_for(tmp_path, retry_backoff_s=600, retry_backoff_max_s=600)
    made = service_for(repo, settings)
    old, new = Scripted(settings.data_dir / "old"), Scripted(settings.data_dir / "new")
    made.substrates = {"dry_run": old, "opencanary": new}
    await applied(repo, settings)
    await drain(made)
    moved = FLEET.replace("name: db-01,", "name: db-01, substrate: opencanary,")
    new.faults["db-01"] = [fails()]
    await applied(repo, settings, moved)
    await drain(made)
    assert await request_rotation(repo, "db-01")
    await _until_settled(repo, made, "db-01")
    await drain(made)
    assert "db-01" in old.removed
    assert [name for name, _ in new.applied] == ["db-01"]
    row = await repo.decky_get("db-01")
    assert row is not None
    assert (row["substrate"], row["cause"]) == ("opencanary", None)


async def test_intervals(repo: BaseRepository, service: MutationService) -> None:
    await set_interval(repo, "db-01", "1h", service.tools)
    row = await repo.decky_get("db-01")
    assert row is not None
    assert 3000 < row["next_due"].timestamp() - time.time() < 4200
    await set_interval(repo, "db-01", "never", service.tools)
    row = await repo.decky_get("db-01")
    assert row is not None
    assert row["next_due"] is None
    with pytest.raises(FleetError, match="no interval"):
        await set_interval(repo, "db-01", "soon", service.tools)
    with pytest.raises(FleetError, match="no decky 'x'"):
        await set_interval(repo, "x", "1h", service.tools)


async def test_a_decoy_that_died_is_seen_and_comes_back(
    repo: BaseRepository, service: MutationService, substrate: Scripted
) -> None:
    await news(repo)
    substrate.died.add("db-01")
    await tend(service)
    assert (await services(repo, "db-01"))[1:] == ([], "down")
    told = await news(repo)
    assert [(t, p.get("status", p.get("state"))) for t, p in told] == [("decky.db-01.state", "down"), ("topology.lab.status", "degraded")]  # fmt: skip
    await drain(service)
    assert (await services(repo, "db-01")) == (["redis"], ["redis"], "running")
    told = await news(repo)
    assert [(t, p.get("status", p.get("state"))) for t, p in told] == [("decky.db-01.state", "running"), ("topology.lab.status", "active")]  # fmt: skip


async def test_an_older_look_does_not_overrule_a_newer_change(
    repo: BaseRepository, service: MutationService, settings: Settings
) -> None:
    old = await repo.decky_get("web-01")
    assert old is not None
    await mutate_decky("web-01", repo, settings=settings, service=service)
    await look(service, old)
    desired, observed, state = await services(repo, "web-01")
    assert (set(desired), state) == (set(observed), "running")


async def test_a_wish_that_comes_meanwhile_is_not_lost(
    repo: BaseRepository, service: MutationService, settings: Settings, substrate: Scripted
) -> None:
    substrate.delay_s = 0.3
    under_way = asyncio.create_task(mutate_decky("web-01", repo, settings=settings, service=service))
    async with asyncio.timeout(5):
        while "web-01" not in service.working:
            await asyncio.sleep(0.01)
    await applied(repo, settings, FLEET.replace("services: [http, ftp]", "services: [http, ssh]"))
    assert (await under_way).applied
    row = await repo.decky_get("web-01")
    assert row is not None
    assert row["pending"]
    await drain(service)
    assert (await services(repo, "web-01"))[1] == ["http", "ssh"]


@both
async def test_engines_on_one_database_rotate_once_each(repo: BaseRepository, settings: Settings) -> None:
    names = [f"d-{i:02}" for i in range(20)]
    rows = "".join(f"  - {{name: {name}, pool: [ssh, ftp, http, redis]}}\n" for name in names)
    await applied(repo, settings, f"fleet: big\nsubstrate: dry_run\nmutate_interval: 1h\ndeckies:\n{rows}")
    substrate = Scripted(settings.data_dir / "dry", delay_s=0.02)
    every = [service_for(repo, settings, substrate, owner=f"host-{i}:1:x", seed=i) for i in range(2)]
    await asyncio.gather(*(drain(s) for s in every for _ in range(3)))
    assert sorted(name for name, _ in substrate.applied) == names
    substrate.applied.clear()
    await news(repo)
    await make_due(repo, *names)
    await request_rotation(repo, names[0], request_id="same")
    await request_rotation(repo, names[0], request_id="same")
    await asyncio.gather(*(drain(s) for s in every for _ in range(3)))
    changes = [topic for topic, _ in await news(repo) if topic.endswith(".mutation")]
    assert len(changes) == len(set(changes)) == len(names), (
        "a request resets the clock, so nothing is rotated twice"
    )
    assert len(substrate.applied) == len(names)


@both
async def test_work_of_a_dead_engine_is_taken_over(
    repo: BaseRepository, service: MutationService, settings: Settings, substrate: Scripted
) -> None:
    """As after a kill between apply and commit: the decoy runs the new services, the rows say it is under way."""
    import socket

    gone = f"{socket.gethostname()}:{2**22 + 7}:dead"
    dying = service_for(repo, settings, substrate, owner=gone)
    row = await repo.mutation_get(await request_rotation(repo, "web-01", request_id="r"))
    assert row is not None
    job = await dying.begin_request(row)
    assert not isinstance(job, bool)
    assert job is not None
    await apply_change(dying.substrates, job, dying.settings.apply_timeout_s)
    assert not await service.serve_one(), "a lease is a lease"
    await news(repo)
    await free_dead(service)
    await drain(service)
    desired, observed, _ = await services(repo, "web-01")
    assert set(desired) == set(observed) == set(job.new)
    done = await repo.mutation_get(row["mutation_id"])
    assert done is not None
    assert done["state"] == "applied"
    assert [p["request_id"] for t, p in await news(repo) if t == "decky.web-01.mutation"] == ["r"]


@both
async def test_operations_in_order(
    repo: BaseRepository, service: MutationService, substrate: Scripted
) -> None:
    await news(repo)
    tools = service.tools

    async def ask(kind: str, target: str, payload: dict[str, object] | None = None) -> str:
        return await enqueue_op(repo, "lab", kind, target, payload, tools, requested_by="ann")

    first = await ask("add_network", "office")
    second = await ask("add_decky", "ftp-01", {"pool": ["ftp", "ssh"], "services": ["ftp"], "substrate": "dry_run", "networks": ["office"]})  # fmt: skip
    with pytest.raises(FleetError, match="a decky 'ftp-01' already"):
        await ask("add_decky", "ftp-01", {"pool": ["ftp"]})
    third = await ask("update_decky", "ftp-01", {"services": ["ssh"], "mutate_interval": "2h"})
    with pytest.raises(FleetError, match="no fleet 'x'"):
        await enqueue_op(repo, "x", "add_network", "y", None, tools)
    await drain(service)
    assert (await services(repo, "ftp-01"))[1] == ["ssh"]
    told = [(topic.rpartition(".")[2], payload["mutation_id"]) for topic, payload in await news(repo) if topic.startswith("topology.lab.mutation")]  # fmt: skip
    assert told == [
        ("enqueued", first), ("enqueued", second), ("enqueued", third),
        ("applying", first), ("applied", first), ("applying", second), ("applied", second), ("applying", third), ("applied", third),
    ]  # fmt: skip
    substrate.faults["web-01"] = [fails("port taken")]
    fourth = await ask("update_decky", "web-01", {"services": ["http", "ssh"]})
    fifth = await ask("remove_decky", "ftp-01")
    await drain(service)
    await _until_settled(repo, service, "web-01")
    ended = {key: await repo.mutation_get(key) for key in (fourth, fifth)}
    assert {key: row and row["state"] for key, row in ended.items()} == {fourth: "failed", fifth: "applied"}
    assert (await services(repo, "web-01"))[1] == ["http", "ssh"], "it was tried again"
    assert await repo.decky_get("ftp-01") is None


async def test_an_operation_that_became_impossible_changes_nothing(
    repo: BaseRepository, service: MutationService, settings: Settings
) -> None:
    key = await enqueue_op(repo, "lab", "update_decky", "db-01", {"services": ["mysql"]}, service.tools)
    await applied(repo, settings, FLEET.replace("pool: [redis, mysql, ssh]", "pool: [redis, ssh]"))
    await drain(service)
    row = await repo.mutation_get(key)
    assert row is not None
    assert (row["state"], "'mysql' is not in the pool" in row["reason"]) == ("failed", True)
    assert (await services(repo, "db-01"))[1] == ["redis"]


async def test_the_queue_is_bounded(repo: BaseRepository, settings: Settings, tmp_path: Path) -> None:
    small = settings_for(tmp_path, max_queued=2)
    made = service_for(repo, small)
    await applied(repo, small)
    for name in ("a", "b"):
        await enqueue_op(repo, "lab", "add_network", name, None, made.tools)
    with pytest.raises(FleetError, match="2 changes wait"):
        await enqueue_op(repo, "lab", "add_network", "c", None, made.tools)


async def test_two_deckies_do_not_choose_one_port(repo: BaseRepository, settings: Settings) -> None:
    fleet = "fleet: one\nsubstrate: opencanary\ndeckies:\n" + "".join(
        f"  - {{name: d{i}, pool: [ssh, ftp, http, redis]}}\n" for i in range(3)
    )
    made = service_for(
        repo, settings.model_copy(update={"mutator": settings.mutator.model_copy(update={"max_services": 1})})
    )
    await applied(repo, made.tools.settings, fleet)
    await drain(made)
    for _ in range(6):
        await mutate_all(repo, force=True, settings=made.tools.settings, service=made)
        running = [row["observed"][0] for row in await repo.deckies()]
        assert len(set(running)) == 3, running
