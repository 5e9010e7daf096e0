"""Claims on deckies and changes, at the very moment a lease ends and with two owners, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from decnet.db.repository import BaseRepository
from decnet.db.repository import fleet as repo_fleet
from tests.dbkit import KINDS, open_repo
from tests.rowkit import emptied, put, rows_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
T = NOW.timestamp()
TICK = 0.5


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=KINDS)
async def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path_factory.mktemp("fleet")) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def repo(database: BaseRepository, monkeypatch: pytest.MonkeyPatch) -> BaseRepository:
    """Empty, and the clock stands."""
    monkeypatch.setattr(repo_fleet, "time", SimpleNamespace(time=lambda: T))
    monkeypatch.setattr(repo_fleet, "utcnow", lambda: NOW)
    return await emptied(database)


def decky(name: str, **more: Any) -> dict[str, Any]:
    base = {"name": name, "topology_id": "t", "substrate": "process", "address": "192.0.2.1", "state": "running",
            "reason": "", "mutate_interval": "", "wanted": True, "pending": True, "failures": 0, "since": NOW}  # fmt: skip
    return {**base, **more}


LEASES: dict[str, tuple[dict[str, Any], bool]] = {
    "free": ({}, True),
    "leased": ({"lease_owner": "b", "lease_until": T + TICK}, False),
    "leased until now": ({"lease_owner": "b", "lease_until": T}, False),
    "lease ran out": ({"lease_owner": "b", "lease_until": T - TICK}, True),
    "our own lease is held too": ({"lease_owner": "a", "lease_until": T + TICK}, False),
    "our site": ({"site": "here", "site_until": T + TICK}, True),
    "our site, long silent": ({"site": "here", "site_until": T - 1000}, True),
    "another live site": ({"site": "there", "site_until": T + TICK}, False),
    "another site until now": ({"site": "there", "site_until": T}, False),
    "a dead site is taken over": ({"site": "there", "site_until": T - TICK}, True),
    "a site that never said until when": ({"site": "there"}, False),
    "a dead site that is leased": (
        {"site": "there", "site_until": T - TICK, "lease_owner": "b", "lease_until": T + TICK}, False,
    ),
    "a live site whose lease ran out": (
        {"site": "there", "site_until": T + TICK, "lease_owner": "b", "lease_until": T - TICK}, False,
    ),
}  # fmt: skip


async def test_who_may_take_a_decky(repo: BaseRepository) -> None:
    await put(repo, "decky", *(decky(name, **row) for name, (row, _) in LEASES.items()))
    free = {name for name, (_, wanted) in LEASES.items() if wanted}
    for pending in (True, False):
        names = await repo.decky_candidates("here", pending=pending, limit=50, force=True)
        assert set(names) == (free if pending else set())
    for name in LEASES:
        row = await repo.decky_claim(name, "a", 30.0, "here")
        assert (row is not None) == (name in free), name
        if row is not None:
            assert (row["lease_owner"], row["lease_until"]) == ("a", T + 30.0)
            assert row["name"] == name
    stored = await rows_of(repo, "decky", "name")
    for name in LEASES.keys() - free:
        assert stored[name]["lease_owner"] == LEASES[name][0].get("lease_owner"), (
            "a refused claim writes nothing"
        )
    for name in free:
        assert await repo.decky_claim(name, "b", 30.0, "here") is None, "of two the first has it"
    assert await repo.decky_claim("no such decky", "a", 30.0, "here") is None


DUE: dict[str, tuple[dict[str, Any], bool]] = {
    "due since long": ({"next_due": NOW - timedelta(hours=1)}, True),
    "due now": ({"next_due": NOW}, True),
    "due in a moment": ({"next_due": NOW + timedelta(seconds=1)}, False),
    "never due": ({"next_due": None}, False),
    "due but a wish comes first": ({"next_due": NOW - timedelta(hours=1), "pending": True}, False),
    "due but another one has it": (
        {"next_due": NOW - timedelta(hours=1), "lease_owner": "b", "lease_until": T + TICK}, False,
    ),
}  # fmt: skip


async def test_a_rotation_is_claimed_only_while_it_is_due(repo: BaseRepository) -> None:
    await put(repo, "decky", *(decky(name, **{"pending": False, **row}) for name, (row, _) in DUE.items()))
    due = [name for name, (_, wanted) in DUE.items() if wanted]
    assert await repo.decky_candidates("here", pending=False, limit=50) == due
    for name, (_, wanted) in DUE.items():
        row = await repo.decky_claim(name, "a", 30.0, "here", due=True)
        assert (row is not None) == wanted, name
    assert await repo.decky_claim("due in a moment", "a", 30.0, "here") is not None, "by hand at any time"


async def test_a_wish_is_tried_again_when_its_time_has_come_oldest_first(repo: BaseRepository) -> None:
    times = {
        "b": NOW - timedelta(seconds=2),
        "a": NOW,
        "c": NOW + timedelta(seconds=1),
        "e": NOW - timedelta(seconds=2),
    }
    await put(repo, "decky", *(decky(name, retry_at=when) for name, when in times.items()))
    await put(repo, "decky", decky("rest", pending=False))
    assert await repo.decky_candidates("here", pending=True, limit=50) == ["b", "e", "a"]
    assert await repo.decky_candidates("here", pending=True, limit=2) == ["b", "e"]
    assert await repo.decky_candidates("here", pending=True, limit=50, force=True) == ["b", "e", "a", "c"]
    assert await repo.decky_candidates("here", pending=True, limit=50, only=["a", "c"]) == ["a"]
    assert await repo.decky_candidates("here", pending=True, limit=50, only=[]) == []
    await put(repo, "decky", decky("never tried"))
    assert "never tried" in await repo.decky_candidates("here", pending=True, limit=50)


async def test_an_owner_writes_only_while_it_holds_the_lease(repo: BaseRepository) -> None:
    await put(repo, "decky", decky("d"), decky("other"))
    assert await repo.decky_claim("d", "a", 30.0, "here") is not None
    assert not await repo.decky_update("d", owner="b", reason="stolen")
    assert await repo.decky_update("d", owner="a", reason="mine")
    assert await repo.decky_update("d", reason="by anybody")
    assert not await repo.decky_update("no such decky", reason="x")
    await repo.decky_update("d", owner="a", lease_owner="b")
    assert not await repo.decky_update("d", owner="a", reason="too late")
    stored = await rows_of(repo, "decky", "name")
    assert (stored["d"]["reason"], stored["other"]["reason"]) == ("by anybody", "")


async def test_the_next_moment_is_a_retry_of_wishes_or_the_due_time_of_the_rest(repo: BaseRepository) -> None:
    assert await repo.decky_next_time() is None
    late = NOW + timedelta(hours=5)
    await put(repo, "decky", decky("a", pending=False), decky("b", pending=False, next_due=late))
    assert await repo.decky_next_time() == late
    await put(repo, "decky", decky("c", retry_at=late - timedelta(hours=1), next_due=NOW))
    assert await repo.decky_next_time() == late - timedelta(hours=1)
    await put(repo, "decky", decky("d", pending=False, next_due=NOW, retry_at=NOW - timedelta(hours=9)))
    found = await repo.decky_next_time()
    assert found == NOW
    assert found is not None
    assert found.tzinfo is not None


async def test_a_site_renews_its_own_and_a_dead_owner_is_freed_everywhere(repo: BaseRepository) -> None:
    mine = {"site": "here", "site_until": T, "lease_owner": "a", "lease_until": T}
    theirs = {"site": "there", "site_until": T, "lease_owner": "b", "lease_until": T}
    await put(repo, "decky", decky("m", **mine), decky("t", **theirs), decky("n"))
    await put(
        repo,
        "mutation",
        change("1", lease_owner="a", lease_until=T),
        change("2", lease_owner="c", lease_until=T),
    )
    await repo.site_renew("here", T + 60)
    stored = await rows_of(repo, "decky", "name")
    assert [stored[n]["site_until"] for n in ("m", "t", "n")] == [T + 60, T, None]
    assert await repo.lease_owners() == {"a", "b", "c"}
    await repo.leases_drop("a")
    assert await repo.lease_owners() == {"b", "c"}
    stored = await rows_of(repo, "decky", "name")
    assert (stored["m"]["lease_owner"], stored["m"]["lease_until"]) == (None, None)
    assert (stored["t"]["lease_owner"], stored["t"]["lease_until"]) == ("b", T)


def change(key: str, **more: Any) -> dict[str, Any]:
    base = {
        "mutation_id": key,
        "kind": "rotate",
        "target": "d",
        "state": "enqueued",
        "topology_id": "t",
        "created_at": NOW,
    }
    return {**base, **more}


CHANGES: dict[str, tuple[dict[str, Any], bool]] = {
    "enqueued": ({}, True),
    "enqueued, lease left behind": ({"lease_owner": "b", "lease_until": T + TICK}, True),
    "applying": ({"state": "applying", "lease_owner": "b", "lease_until": T + TICK}, False),
    "applying until now": ({"state": "applying", "lease_owner": "b", "lease_until": T}, False),
    "applying, ran out": ({"state": "applying", "lease_owner": "b", "lease_until": T - TICK}, True),
    "applying, freed": ({"state": "applying"}, True),
    "pending": ({"state": "pending"}, False),
    "applied": ({"state": "applied"}, False),
    "failed, lease ran out": ({"state": "failed", "lease_owner": "b", "lease_until": T - TICK}, False),
}


async def test_who_may_take_a_change(repo: BaseRepository) -> None:
    await put(repo, "mutation", *(change(name, **row) for name, (row, _) in CHANGES.items()))
    assert await repo.mutation_backlog() == 2
    for name, (_, wanted) in CHANGES.items():
        row = await repo.mutation_claim(name, "applying", "a", 30.0)
        assert (row is not None) == wanted, name
        if row is not None:
            assert (row["state"], row["lease_owner"], row["lease_until"]) == ("applying", "a", T + 30.0)
            assert row["started_at"] == NOW
            assert await repo.mutation_claim(name, "applying", "b", 30.0) is None, "of two the first has it"
    assert await repo.mutation_backlog() == 0


async def test_a_change_ends_once(repo: BaseRepository) -> None:
    for state in ("enqueued", "pending", "applying"):
        await put(repo, "mutation", change(state, state=state, lease_owner="a", lease_until=T))
        assert await repo.mutation_finish(state, "applied", "done", {"n": 1})
        assert not await repo.mutation_finish(state, "failed", "too late", {"n": 2})
        row = await repo.mutation_get(state)
        assert row is not None
        assert (row["state"], row["reason"], row["outcome"]) == ("applied", "done", {"n": 1})
        assert (row["lease_owner"], row["lease_until"], row["finished_at"]) == (None, None, NOW)
    assert not await repo.mutation_finish("no such change", "applied", "", {})
    assert repo_fleet.OPEN_STATES == ("enqueued", "pending", "applying")


async def test_a_change_is_added_once_and_listed_within_limits(repo: BaseRepository) -> None:
    assert await repo.mutation_add(change("1", reason="first"))
    assert not await repo.mutation_add(change("1", reason="second"))
    await repo.mutation_add(change("2", target="e", topology_id="u", state="failed"))
    await repo.mutation_add(change("3", created_at=NOW + timedelta(seconds=1)))
    row = await repo.mutation_get("1")
    assert row is not None
    assert (row["reason"], row["requested_by"], row["trigger"]) == ("first", "", "operator")

    async def ids(**options: Any) -> list[str]:
        return [row["mutation_id"] for row in await repo.mutations(**options)]

    assert await ids() == ["3", "2", "1"]
    assert await ids(newest_first=False) == ["1", "2", "3"]
    assert await ids(limit=2) == ["3", "2"]
    assert await ids(limit=0) == ["3", "2", "1"]
    assert await ids(states=["failed"]) == ["2"]
    assert await ids(states=[]) == []
    assert await ids(target="e") == ["2"]
    assert await ids(topology_id="t") == ["3", "1"]
    assert await ids(since=NOW) == ["3", "2", "1"]
    assert await ids(since=NOW + timedelta(seconds=1)) == ["3"]
    await repo.mutation_update("1", reason="changed")
    assert [row["reason"] for row in await repo.mutations()] == ["", "", "changed"]


async def test_sessions_that_would_be_cut_off_are_counted(repo: BaseRepository) -> None:
    def session(key: str, start: float, **more: Any) -> dict[str, Any]:
        return {"session_id": key, "decky_id": "d", "started_at": start, **more}

    await put(
        repo, "session",
        session("before", T - 1), session("at", T), session("after", T + 1),
        session("ended", T + 1, ended_at=T + 2), session("elsewhere", T + 1, decky_id="e"),
    )  # fmt: skip
    assert await repo.live_sessions("d", T) == 2
    assert await repo.live_sessions("d", NOW) == 2
    assert await repo.live_sessions("none", 0.0) == 0


async def test_a_tally_counts_and_names_one_reason(repo: BaseRepository) -> None:
    empty = await repo.topology_tally("t")
    assert empty == {"deckies": 0, "pending": 0, "failing": 0, "running": 0, "reason": None}
    await put(
        repo, "decky",
        decky("b", failures=1, reason="no port"), decky("a", failures=2, reason="no disk", last_mutated=NOW),
        decky("c", pending=False, last_mutated=NOW, reason="not a failure"), decky("x", topology_id="u", failures=1),
    )  # fmt: skip
    tally = await repo.topology_tally("t")
    assert tally == {"deckies": 3, "pending": 2, "failing": 2, "running": 2, "reason": "a: no disk"}


async def test_others_at_an_address_leave_oneself_and_dry_runs_out(repo: BaseRepository) -> None:
    await put(
        repo, "decky",
        decky("me", ports={"ssh": 22}), decky("you", ports={"ssh": 23}), decky("dry", substrate="dry_run", ports={"ssh": 24}),
        decky("far", address="192.0.2.2", ports={"ssh": 25}),
    )  # fmt: skip
    found = await repo.deckies_at("192.0.2.1", "me")
    assert [row["ports"] for row in found] == [{"ssh": 23}]
    assert set(found[0]) == {"address", "ports", "desired", "observed"}


async def test_whole_rows_are_replaced_and_history_outlives_a_decky(repo: BaseRepository) -> None:
    topology = {
        "topology_id": "t",
        "status": "active",
        "reason": "",
        "substrate": "process",
        "mutate_interval": "1h",
        "wanted": True,
    }
    await repo.topology_put(topology)
    await repo.topology_put({**topology, "status": "degraded"})
    await repo.topology_put({**topology, "topology_id": "s"})
    await repo.topology_update("t", reason="why")
    assert [(row["topology_id"], row["status"], row["reason"]) for row in await repo.topologies()] == [
        ("s", "active", ""), ("t", "degraded", "why"),
    ]  # fmt: skip
    row = await repo.topology_get("t")
    assert row is not None
    assert row["updated_at"] == NOW
    assert await repo.topology_get("u") is None
    for name in ("b", "a"):
        await repo.decky_put(decky(name, reason="first"))
    await repo.decky_put(decky("a", reason="second", topology_id="u"))
    assert [(row["name"], row["reason"]) for row in await repo.deckies()] == [("a", "second"), ("b", "first")]
    assert [row["name"] for row in await repo.deckies("u")] == ["a"]
    await repo.mutation_add(change("1", target="a"))
    await repo.decky_delete("a")
    assert await repo.decky_get("a") is None
    assert await repo.decky_get("b") is not None
    assert len(await repo.mutations(target="a")) == 1
    async with repo.transaction() as bound:
        await bound.fleet_lock()
