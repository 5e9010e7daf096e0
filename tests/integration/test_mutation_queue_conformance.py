"""What every queue of changes promises: added once, claimed by one, ended once, in order, taken over when a lease ends.

An implementation takes part by an entry in KINDS of the database kit. Two owners are raced by hand, the clock is
set by hand: a change of the statements, or another database, has to pass all of this.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from decnet.db.repository import BaseRepository
from decnet.db.repository import fleet as repo_fleet
from decnet.errors import FleetError
from decnet.mutator.queue import enqueue_op, request_key, request_rotation
from decnet.mutator.rows import Tools
from tests.dbkit import KINDS, open_repo
from tests.mutatorkit import applied, settings_for

START = 1_800_000_000.0
HERE, THERE = "host-1:/data", "host-2:/data"
Row = dict[str, Any]


class Clock:
    """The time as the queue sees it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = START
        monkeypatch.setattr(repo_fleet, "time", SimpleNamespace(time=lambda: self.now))
        monkeypatch.setattr(repo_fleet, "utcnow", lambda: at(self.now))


def at(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as opened:
        yield opened


def change(key: str, **more: Any) -> Row:
    return {"mutation_id": key, "kind": "rotate", "target": "web", "payload": {}, "state": "enqueued", **more}


async def get(repo: BaseRepository, key: str) -> Row:
    row = await repo.mutation_get(key)
    assert row is not None
    return row


async def keys(repo: BaseRepository, **how: Any) -> list[str]:
    return [row["mutation_id"] for row in await repo.mutations(**how)]


def decky(name: str, **more: Any) -> Row:
    plain = {
        "name": name,
        "topology_id": "lab",
        "pool": ["ftp"],
        "desired": ["ftp"],
        "observed": ["ftp"],
        "substrate": "dry_run",
    }
    plain |= {"address": "127.0.0.1", "state": "running", "since": START, "pending": False, "wanted": True}
    return {**plain, **more}


# --- changes -------------------------------------------------------------------------------------------------------


async def test_a_change_is_added_once_and_the_first_one_stands(repo: BaseRepository, clock: Clock) -> None:
    assert await repo.mutation_add(change("a", requested_by="ann"))
    clock.now += 5
    assert not await repo.mutation_add(change("a", requested_by="bob", state="applied"))
    row = await get(repo, "a")
    assert (row["state"], row["requested_by"], row["created_at"]) == ("enqueued", "ann", at(START))
    assert (row["trigger"], row["reason"], row["lease_owner"], row["finished_at"]) == (
        "operator",
        "",
        None,
        None,
    )
    assert await repo.mutation_get("b") is None


async def test_one_of_two_owners_gets_a_change_and_keeps_it_until_its_lease_ends(
    repo: BaseRepository, clock: Clock
) -> None:
    await repo.mutation_add(change("a"))
    first = await repo.mutation_claim("a", "pending", "one", 60.0)
    assert first is not None
    assert (first["state"], first["lease_owner"], first["lease_until"]) == ("pending", "one", START + 60)
    assert first["started_at"] == at(START)
    assert await repo.mutation_claim("a", "pending", "two", 60.0) is None
    assert await repo.mutation_claim("a", "pending", "one", 60.0) is None, "not even its owner claims twice"
    clock.now = START + 60
    assert await repo.mutation_claim("a", "pending", "two", 60.0) is None, "it holds to its last moment"
    clock.now = START + 60.5
    assert await repo.mutation_claim("a", "applying", "two", 60.0) is None, (
        "from one kind of work to the other is no step"
    )
    second = await repo.mutation_claim("a", "pending", "two", 60.0)
    assert second is not None
    assert (second["lease_owner"], second["lease_until"]) == ("two", START + 120.5)
    assert await repo.mutation_claim("a", "pending", "one", 60.0) is None, "who lost it comes too late"
    assert await repo.mutation_claim("nothing", "pending", "one", 60.0) is None


async def test_a_change_ends_once_from_any_open_state_and_is_never_taken_up_again(
    repo: BaseRepository, clock: Clock
) -> None:
    for state in ("enqueued", "pending", "applying"):
        await repo.mutation_add(change(state, state=state, lease_owner="one", lease_until=START + 60))
        clock.now += 1
        assert await repo.mutation_finish(state, "failed", "port taken", {"old": ["ftp"]})
        row = await get(repo, state)
        assert (row["state"], row["reason"], row["outcome"]) == ("failed", "port taken", {"old": ["ftp"]})
        assert (row["lease_owner"], row["lease_until"], row["finished_at"]) == (None, None, at(clock.now))
        clock.now += 3600
        assert not await repo.mutation_finish(state, "applied", "", {}), (
            "the second owner's word comes too late"
        )
        for into in ("pending", "applying", "failed", "enqueued"):
            assert await repo.mutation_claim(state, into, "two", 60.0) is None
        assert await get(repo, state) == row
    await repo.mutation_add(change("good"))
    assert await repo.mutation_finish("good", "applied", "", {})
    assert not await repo.mutation_finish("good", "failed", "late", {})
    assert (await get(repo, "good"))["state"] == "applied"
    assert not await repo.mutation_finish("nothing", "applied", "", {})
    assert repo_fleet.OPEN_STATES == ("enqueued", "pending", "applying")


async def test_what_a_dead_owner_held_is_free_at_once_and_nothing_of_others(
    repo: BaseRepository, clock: Clock
) -> None:
    for key, owner in (("a", "dead"), ("b", "alive")):
        await repo.mutation_add(change(key, target=key))
        assert await repo.mutation_claim(key, "pending", owner, 600.0)
        await repo.decky_put(decky(key))
        assert await repo.decky_claim(key, owner, 600.0, HERE)
    await repo.decky_put(decky("c"))
    assert await repo.decky_claim("c", "third", 600.0, HERE)
    assert await repo.lease_owners() == {"dead", "alive", "third"}
    await repo.leases_drop("dead")
    assert await repo.lease_owners() == {"alive", "third"}
    assert ((await get(repo, "a"))["lease_until"], (await get(repo, "a"))["state"]) == (None, "pending")
    assert await repo.mutation_claim("a", "pending", "two", 60.0)
    assert await repo.decky_claim("a", "two", 60.0, HERE)
    assert await repo.mutation_claim("b", "pending", "two", 60.0) is None
    assert await repo.decky_claim("b", "two", 60.0, HERE) is None


async def test_changes_come_in_their_order_and_by_what_is_asked_for(
    repo: BaseRepository, clock: Clock
) -> None:
    for number, (state, target, fleet) in enumerate(
        [
            ("enqueued", "web", "lab"),
            ("pending", "db", "lab"),
            ("enqueued", "web", "two"),
            ("applied", "db", None),
        ]
    ):
        clock.now = START + number
        await repo.mutation_add(change(f"m{number}", state=state, target=target, topology_id=fleet))
    assert await keys(repo) == ["m3", "m2", "m1", "m0"]
    assert await keys(repo, newest_first=False) == ["m0", "m1", "m2", "m3"]
    assert await keys(repo, limit=1) == ["m3"]
    assert await keys(repo, limit=1, newest_first=False) == ["m0"]
    assert await keys(repo, states=("enqueued",)) == ["m2", "m0"]
    assert await keys(repo, states=("enqueued", "pending"), target="web", topology_id="lab") == ["m0"]
    assert await keys(repo, target="db") == ["m3", "m1"]
    assert await keys(repo, topology_id="two") == ["m2"]
    assert await keys(repo, since=START + 2) == ["m3", "m2"], "the moment itself counts"
    assert await keys(repo, states=()) == []
    assert await repo.mutation_backlog() == 2
    await repo.mutation_claim("m0", "pending", "one", 60.0)
    assert await repo.mutation_backlog() == 1
    for number in range(4, 104):
        await repo.mutation_add(change(f"m{number}"))
    assert (len(await keys(repo)), len(await keys(repo, limit=0))) == (100, 104)
    await repo.mutation_update("m0", payload={"x": 1})
    assert ((await get(repo, "m0"))["payload"], (await get(repo, "m2"))["payload"]) == ({"x": 1}, {})


# --- deckies -------------------------------------------------------------------------------------------------------


async def test_one_of_two_owners_gets_a_decky_and_only_who_holds_it_writes(
    repo: BaseRepository, clock: Clock
) -> None:
    await repo.decky_put(decky("web"))
    first = await repo.decky_claim("web", "one", 60.0, HERE)
    assert first is not None
    assert (first["name"], first["lease_owner"], first["lease_until"]) == ("web", "one", START + 60)
    assert await repo.decky_claim("web", "two", 60.0, HERE) is None
    assert await repo.decky_update("web", "one", reason="mine")
    assert not await repo.decky_update("web", "two", reason="stolen")
    clock.now = START + 60
    assert await repo.decky_claim("web", "two", 60.0, HERE) is None, "it holds to its last moment"
    clock.now = START + 61
    assert await repo.decky_claim("web", "two", 60.0, HERE)
    assert not await repo.decky_update("web", "one", reason="late"), (
        "the lease was stolen: its word counts no more"
    )
    assert await repo.decky_update("web", "two", reason="two")
    row = await repo.decky_get("web")
    assert row is not None
    assert (row["reason"], row["lease_owner"], row["lease_until"]) == ("two", "two", START + 121)
    assert await repo.decky_update("web", None, lease_owner=None), "without an owner it is written as it is"
    assert not await repo.decky_update("nothing", None, reason="x")
    assert await repo.decky_claim("nothing", "one", 60.0, HERE) is None


async def test_a_decky_is_due_at_the_very_moment_and_claimed_for_it_once(
    repo: BaseRepository, clock: Clock
) -> None:
    await repo.decky_put(decky("web", next_due=START + 10))
    await repo.decky_put(decky("new", next_due=START, pending=True))
    await repo.decky_put(decky("off"))
    clock.now = START + 9.5
    assert await repo.decky_candidates(HERE, pending=False, limit=9) == []
    assert await repo.decky_claim("web", "one", 60.0, HERE, due=True) is None
    clock.now = START + 10
    assert await repo.decky_candidates(HERE, pending=False, limit=9) == ["web"]
    assert await repo.decky_claim("web", "one", 60.0, HERE, due=True)
    await repo.decky_update("web", "one", next_due=START + 20, lease_owner=None, lease_until=None)
    assert await repo.decky_claim("web", "two", 60.0, HERE, due=True) is None, (
        "the other engine saw it due as well"
    )
    assert await repo.decky_claim("new", "one", 60.0, HERE, due=True) is None, "a wish goes before the clock"
    assert await repo.decky_claim("off", "one", 60.0, HERE, due=True) is None, "no interval, no rotation"
    assert await repo.decky_claim("off", "one", 60.0, HERE), "but a request may"


async def test_who_may_be_worked_on_now_and_in_which_order(repo: BaseRepository, clock: Clock) -> None:
    wishes = {
        "a": START + 10,
        "b": START - 5,
        "c": None,
        "d": START,
        "leased": None,
        "theirs": None,
        "gone": START - 9,
    }
    for name, retry in wishes.items():
        await repo.decky_put(decky(name, pending=True, retry_at=retry))
    await repo.decky_update("leased", None, lease_owner="x", lease_until=START + 5)
    await repo.decky_update("theirs", None, site=THERE, site_until=START + 5)
    await repo.decky_update("gone", None, site=THERE, site_until=START - 1)
    await repo.decky_update("b", None, site=HERE, site_until=START - 1)

    async def ready(**how: Any) -> set[str]:
        return set(await repo.decky_candidates(HERE, pending=True, limit=99, **how))

    assert await ready() == {"b", "c", "d", "gone"}
    assert await ready(force=True) == {"a", "b", "c", "d", "gone"}
    assert await ready(only=["a", "c", "leased"]) == {"c"}
    timed = [name for name in await repo.decky_candidates(HERE, pending=True, limit=99) if name != "c"]
    assert timed == ["gone", "b", "d"], "the oldest first"
    assert len(await repo.decky_candidates(HERE, pending=True, limit=2)) == 2
    clock.now = START + 5
    assert await ready() == {"b", "c", "d", "gone"}, "a lease and a site live to their last moment"
    clock.now = START + 10
    assert await ready() == {"a", "b", "c", "d", "gone", "leased", "theirs"}
    assert await repo.decky_candidates(HERE, pending=False, limit=99) == []
    assert await repo.decky_claim("theirs", "one", 60.0, HERE)


async def test_decoys_of_another_living_site_are_not_claimed(repo: BaseRepository, clock: Clock) -> None:
    await repo.decky_put(decky("web", site=THERE, site_until=START + 60))
    await repo.decky_put(decky("db", site=HERE, site_until=START + 60))
    assert await repo.decky_claim("web", "one", 9.0, HERE) is None
    assert await repo.decky_claim("web", "one", 9.0, THERE)
    await repo.decky_update("web", None, lease_owner=None, lease_until=None)
    await repo.site_renew(THERE, START + 120)
    clock.now = START + 90
    assert await repo.decky_claim("web", "one", 9.0, HERE) is None, "it was renewed"
    row = await repo.decky_get("db")
    assert row is not None
    assert row["site_until"] == START + 60, "and only its own"
    clock.now = START + 121
    assert await repo.decky_claim("web", "one", 9.0, HERE), "a site that is gone is taken over"


async def test_the_next_moment_is_the_earliest_wish_or_rotation(repo: BaseRepository, clock: Clock) -> None:
    assert await repo.decky_next_time() is None
    await repo.decky_put(decky("a", next_due=START + 50))
    await repo.decky_put(decky("never"))
    assert await repo.decky_next_time() == at(START + 50)
    await repo.decky_put(decky("b", pending=True, retry_at=START + 30, next_due=START + 5))
    assert await repo.decky_next_time() == at(START + 30), (
        "while a wish is tried again the clock does not count"
    )
    await repo.decky_delete("b")
    assert await repo.decky_next_time() == at(START + 50)


async def test_counts_of_a_fleet_and_what_others_listen_on(repo: BaseRepository) -> None:
    empty = {"deckies": 0, "pending": 0, "failing": 0, "running": 0, "reason": None}
    assert await repo.topology_tally("lab") == empty
    await repo.decky_put(decky("a", failures=2, reason="port taken", pending=True))
    await repo.decky_put(decky("b", failures=1, reason="x", last_mutated=START))
    await repo.decky_put(
        decky("c", last_mutated=START, pending=True, substrate="compose", ports={"ftp": 2121})
    )
    await repo.decky_put(decky("d", topology_id="two", failures=9, substrate="compose", address="127.0.0.2"))
    assert await repo.topology_tally("lab") == {
        "deckies": 3,
        "pending": 2,
        "failing": 2,
        "running": 2,
        "reason": "a: port taken",
    }
    assert [row["name"] for row in await repo.deckies("lab")] == ["a", "b", "c"]
    assert [row["name"] for row in await repo.deckies()] == ["a", "b", "c", "d"]
    (other,) = await repo.deckies_at("127.0.0.1", "a")
    assert other == {"address": "127.0.0.1", "ports": {"ftp": 2121}, "desired": ["ftp"], "observed": ["ftp"]}
    assert await repo.deckies_at("127.0.0.1", "c") == [], "a dry run listens nowhere"
    await repo.topology_put(
        {"topology_id": "lab", "status": "pending", "substrate": "dry_run", "mutate_interval": "never"}
    )
    await repo.topology_put(
        {"topology_id": "two", "status": "pending", "substrate": "dry_run", "mutate_interval": "never"}
    )
    await repo.topology_update("lab", status="active")
    assert [(row["topology_id"], row["status"]) for row in await repo.topologies()] == [
        ("lab", "active"),
        ("two", "pending"),
    ]


async def test_live_sessions_are_those_that_began_in_time_and_have_not_ended(repo: BaseRepository) -> None:
    session = {"attacker_uuid": "x", "decky_id": "web"}
    for key, began, ended, name in [
        ("a", START, None, "web"), ("b", START - 1, None, "web"), ("c", START + 5, START + 6, "web"), ("d", START + 5, None, "db"),
    ]:  # fmt: skip
        await repo.upsert_session(
            {**session, "session_id": key, "started_at": began, "ended_at": ended, "decky_id": name}
        )
    assert await repo.live_sessions("web", START) == 1
    assert await repo.live_sessions("web", at(START) - timedelta(seconds=1)) == 2
    assert await repo.live_sessions("web", START + 1) == 0
    assert await repo.live_by_decky(START) == {"web": 1, "db": 1}
    assert await repo.live_by_decky(at(START) - timedelta(seconds=1)) == {"web": 2, "db": 1}
    assert await repo.live_by_decky(START + 6) == {}


# --- what is enqueued ----------------------------------------------------------------------------------------------


async def test_a_request_twice_is_one_and_each_decky_has_its_own(repo: BaseRepository) -> None:
    first = await request_rotation(repo, "web", request_id="r", requested_by="ann", reason="drill")
    assert (
        await request_rotation(repo, "web", request_id="r", requested_by="bob")
        == first
        == request_key("web", "r")
    )
    assert await request_rotation(repo, "db", request_id="r") != first
    assert await request_rotation(repo, "web", request_id="s") != first
    assert await request_rotation(repo, "web") != await request_rotation(repo, "web"), (
        "without an id each is one"
    )
    assert await repo.mutation_backlog() == 5
    row = await get(repo, first)
    assert (row["kind"], row["state"], row["trigger"], row["payload"]) == (
        "rotate",
        "enqueued",
        "operator",
        {"request_id": "r"},
    )
    assert (row["requested_by"], row["reason"], row["target"]) == ("ann", "drill", "web")
    await repo.mutation_finish(first, "applied", "", {})
    assert await request_rotation(repo, "web", request_id="r") == first
    assert (await get(repo, first))["state"] == "applied", (
        "a finished request that comes again is not done again"
    )


async def test_a_request_from_outside_is_bounded(repo: BaseRepository) -> None:
    key = await request_rotation(
        repo, "n" * 900, request_id="r" * 900, requested_by="b" * 900, reason="y" * 900
    )
    row = await get(repo, key)
    assert [len(row[name]) for name in ("target", "requested_by", "reason")] == [255, 500, 500]
    assert row["payload"] == {"request_id": "r" * 128}
    assert await request_rotation(repo, "n" * 900, request_id="r" * 128) == key


async def test_an_operation_is_checked_on_what_the_queue_will_have_made(
    repo: BaseRepository, tmp_path: Path
) -> None:
    settings = settings_for(tmp_path, max_queued=3)
    tools = Tools.of(settings)
    await applied(repo, settings)
    await repo.outbox_delete([key for key, _ in await repo.outbox_take(100)])
    await request_rotation(repo, "web-01")

    async def ask(kind: str, target: str, payload: Row | None = None, fleet: str = "lab") -> str:
        return await enqueue_op(
            repo, fleet, kind, target, payload, tools, requested_by="a" * 600, reason="why"
        )

    with pytest.raises(FleetError, match="unknown network 'office'"):
        await ask("attach_decky", "web-01", {"network": "office"})
    first = await ask("add_network", "office")
    second = await ask("attach_decky", "web-01", {"network": "office"})
    with pytest.raises(FleetError, match="already attached"):
        await ask("attach_decky", "web-01", {"network": "office"})
    for fleet in ("nowhere", "../lab", ""):
        with pytest.raises(FleetError, match="no fleet"):
            await ask("add_network", "x", fleet=fleet)
    assert await repo.mutation_claim(first, "applying", "one", 60.0), (
        "one under way still counts and still holds"
    )
    third = await ask("remove_decky", "db-01")
    with pytest.raises(FleetError, match=r"^3 changes wait already$"):
        await ask("add_network", "x")
    assert await keys(repo, topology_id="lab", newest_first=False) == [first, second, third]
    told = [(event.topic, event.opened().payload["mutation_id"]) for _, event in await repo.outbox_take(100)]
    assert told == [("topology.lab.mutation.enqueued", key) for key in (first, second, third)], (
        "a refused one is not told"
    )
    row = await get(repo, second)
    assert (row["kind"], row["payload"], row["state"]) == ("attach_decky", {"network": "office"}, "enqueued")
    assert (len(row["requested_by"]), row["reason"]) == (500, "why")
    await repo.mutation_finish(first, "applied", "", {})
    await repo.topology_update("lab", networks=["dmz", "office"])
    await ask("add_network", "x")
