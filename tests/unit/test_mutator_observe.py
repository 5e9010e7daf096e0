"""What really runs: differences by value, looks that come too late, probes that fail, what dead engines held; rows and news."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.errors import FleetError, SubstrateError
from decnet.mutator import events, observe
from decnet.mutator.fleet import parse_fleet
from decnet.mutator.observe import counts, free_dead, look, note, tend
from decnet.mutator.queue import enqueue_op
from decnet.mutator.rows import (
    Applied,
    Tools,
    apply_fleet,
    blocked,
    cause,
    leaves,
    refresh_status,
    set_interval,
)
from decnet.services import load_catalogue
from tests.mutatorkit import (
    LAB,
    LAB_UP,
    START,
    Clock,
    Last,
    World,
    calm,
    drain,
    engine,
    lab_repo,
    moment,
    news,
)

Row = dict[str, Any]
HOST = socket.gethostname()
NOBODY = 2**22 + 7
"""A number that no process has."""


class Lab:
    """The fleet of :data:`LAB`, up and idle, and one engine on it."""

    def __init__(self, repo: BaseRepository, settings: Settings, clock: Clock) -> None:
        self.repo, self.settings, self.clock = repo, settings, clock
        self.world = World()
        self.world.up = {name: list(services) for name, services in LAB_UP.items()}
        self.one = engine(repo, settings, self.world, f"{HOST}:{os.getpid()}:one")

    async def decky(self, name: str = "web") -> Row:
        row = await self.repo.decky_get(name)
        assert row is not None
        return row

    async def topology(self) -> Row:
        row = await self.repo.topology_get("lab")
        assert row is not None
        return row

    async def file(self, text: str = LAB, actor: str = "ann") -> Applied:
        tools = self.one.tools
        return await apply_fleet(self.repo, parse_fleet(text, "f", tools.catalogue), tools, actor=actor)


@pytest.fixture
async def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    clock = Clock(monkeypatch)
    async with lab_repo(tmp_path) as repo:
        clock.now = START + 100
        yield Lab(repo, calm(tmp_path), clock)


# --- looking -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("running", "status", "said"),
    [
        ([], "down", "runs nothing instead of http, ftp"),
        (["http"], "degraded", "runs http instead of http, ftp"),
        (["http", "ftp", "ssh"], "degraded", "runs http, ftp, ssh instead of http, ftp"),
    ],
)
async def test_a_difference_is_written_told_and_to_be_repaired(
    lab: Lab, running: list[str], status: str, said: str
) -> None:
    lab.world.up["web"] = running
    before = await lab.decky()
    await tend(lab.one)
    now = await lab.decky()
    assert (now["observed"], now["state"], now["since"], now["reason"]) == (
        running,
        status,
        moment(START + 100),
        said,
    )
    assert (now["pending"], now["failures"], now["retry_at"], now["cause"]) == (
        True,
        1,
        None,
        {"trigger": "repair"},
    )
    assert [now[key] for key in ("desired", "next_due", "last_mutated")] == [
        before[key] for key in ("desired", "next_due", "last_mutated")
    ]
    told = await news(lab.repo)
    assert told[0] == (
        "decky.web.state",
        {"decky": "web", "services": running, "status": status, "since": START + 100, "reason": said},
    )
    assert told[1] == ("topology.lab.status", {"state": "degraded", "reason": f"web: {said}"})
    await tend(lab.one)
    assert await news(lab.repo) == [], "told once"
    assert (await lab.decky("db"))["state"] == "running"


async def test_a_decoy_that_comes_back_by_itself_is_told_and_applied_anew_all_the_same(lab: Lab) -> None:
    lab.world.up["web"] = []
    await tend(lab.one)
    lab.world.up["web"] = ["ftp", "http"]
    await tend(lab.one)
    now = await lab.decky()
    assert (now["state"], now["pending"], now["failures"]) == ("running", True, 1)
    await drain(lab.one)
    assert ((await lab.decky())["pending"], (await lab.topology())["status"]) == (False, "active")


async def test_a_wish_that_is_open_keeps_its_own_reason_and_failures(lab: Lab) -> None:
    open_wish = {"pending": True, "failures": 4, "retry_at": START + 900, "reason": "port taken"}
    await lab.repo.decky_update("web", None, cause={"trigger": "operator"}, **open_wish)
    lab.world.up["web"] = ["http"]
    await tend(lab.one)
    now = await lab.decky()
    assert (now["observed"], now["failures"], now["retry_at"]) == (["http"], 4, moment(START + 900))
    assert (now["reason"], now["cause"]) == ("port taken", {"trigger": "operator"})


async def test_the_order_of_services_is_no_difference(lab: Lab) -> None:
    row = await lab.decky()
    await note(lab.one, row, ["ftp", "http"])
    assert await lab.decky() == row
    assert await news(lab.repo) == []


async def test_an_older_look_overrules_nobody(lab: Lab) -> None:
    old = await lab.decky()
    assert await lab.repo.decky_claim("web", "other", 60.0, lab.one.site)
    await note(lab.one, old, [])
    assert (await lab.decky())["observed"] == ["http", "ftp"], "somebody works on it"
    await lab.repo.decky_update(
        "web", None, lease_owner=None, observed=["http", "ssh"], desired=["http", "ssh"]
    )
    await note(lab.one, old, [])
    assert (await lab.decky())["observed"] == ["http", "ssh"], "somebody has worked on it meanwhile"
    await lab.repo.decky_delete("web")
    await note(lab.one, old, [])
    assert await lab.repo.decky_get("web") is None
    assert await news(lab.repo) == []


async def test_a_probe_that_fails_says_nothing_of_the_decoy(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.world.blind = {"web"}
    lab.world.up = {}
    before = await lab.decky()
    await look(lab.one, before)
    await tend(lab.one)
    assert await lab.decky() == before
    assert (await lab.decky("db"))["state"] == "down", "and the others are looked at all the same"

    async def none(_: object) -> dict[str, list[str]]:
        raise SubstrateError("the engine cannot be reached")

    lab.world.blind = set()
    monkeypatch.setattr(lab.world, "observe_many", none)
    await tend(lab.one)
    assert await lab.decky() == before


async def test_who_is_looked_at(lab: Lab) -> None:
    lab.world.up = {}
    await lab.repo.decky_update("web", None, last_mutated=None)
    assert await lab.repo.decky_claim("db", "other", 60.0, lab.one.site)
    await tend(lab.one)
    assert [row["observed"] for row in await lab.repo.deckies()] == [["redis"], ["http", "ftp"]], (
        "not up yet, and worked on"
    )
    lab.world.host_bound = True
    await lab.repo.leases_drop("other")
    await lab.repo.decky_update(
        "web", None, last_mutated=START, site="elsewhere:/data", site_until=START + 900
    )
    await lab.repo.decky_update("db", None, site=lab.one.site, site_until=START + 1)
    await tend(lab.one)
    rows = {row["name"]: row for row in await lab.repo.deckies()}
    assert rows["web"]["observed"] == ["http", "ftp"], (
        "the processes of another host cannot be seen from here"
    )
    assert rows["db"]["observed"] == []
    assert (rows["web"]["site_until"], rows["db"]["site_until"]) == (START + 900, lab.clock.now + 60), (
        "ours is renewed"
    )


async def test_counts_name_the_first_that_fails(lab: Lab) -> None:
    rows = [
        {"name": "a", "failures": 0, "pending": True, "reason": ""},
        {"name": "b", "failures": 2, "pending": True, "reason": "port taken"},
        {"name": "c", "failures": 1, "pending": False, "reason": "y" * 500},
    ]
    assert counts(rows) == {"deckies": 3, "pending": 2, "failing": 2, "reason": "b: port taken"}
    assert counts(rows[2:])["reason"] == "c: " + "y" * 197
    assert counts(rows[:1]) == {"deckies": 1, "pending": 1, "failing": 0, "reason": ""}
    assert counts([]) == {"deckies": 0, "pending": 0, "failing": 0, "reason": ""}
    assert await tend(lab.one) == {"deckies": 2, "pending": 0, "failing": 0, "reason": ""}


async def test_a_look_sets_the_status_of_every_fleet_right(lab: Lab) -> None:
    await lab.repo.topology_update("lab", status="degraded", reason="old")
    await tend(lab.one)
    assert ((await lab.topology())["status"], (await lab.topology())["reason"]) == ("active", "")


# --- who is dead ---------------------------------------------------------------------------------------------------


async def test_what_a_dead_engine_held_is_free_and_nothing_of_the_living(lab: Lab) -> None:
    owners = {"web": f"{HOST}:{NOBODY}:gone", "db": "elsewhere:1:x"}
    for name, owner in owners.items():
        assert await lab.repo.decky_claim(name, owner, 600.0, lab.one.site)
    await free_dead(lab.one)
    assert ((await lab.decky())["lease_owner"], (await lab.decky("db"))["lease_owner"]) == (
        None,
        "elsewhere:1:x",
    )


async def test_what_a_task_of_this_engine_left_is_free_but_not_what_it_works_on(lab: Lab) -> None:
    for name in ("web", "db"):
        assert await lab.repo.decky_claim(name, lab.one.owner, 600.0, lab.one.site)
    lab.one.working = {"db"}
    await free_dead(lab.one)
    assert ((await lab.decky())["lease_owner"], (await lab.decky())["lease_until"]) == (None, None)
    assert (await lab.decky("db"))["lease_owner"] == lab.one.owner


@pytest.mark.parametrize(
    ("kind", "target", "pending", "lease", "ends"),
    [
        ("update_decky", "web", False, -1.0, "applied"),
        ("update_decky", "web", False, 0.0, "applied"),
        ("update_decky", "web", False, 1.0, "applying"),
        ("update_decky", "web", False, None, "applied"),
        ("update_decky", "web", True, None, "applying"),
        ("update_decky", "gone", False, None, "failed"),
        ("attach_decky", "gone", False, None, "failed"),
        ("remove_decky", "gone", False, None, "applied"),
        ("add_network", "lan", False, None, "applied"),
        ("remove_network", "lan", False, None, "applied"),
        ("rotate", "web", False, None, "applying"),
    ],
)  # fmt: skip
async def test_an_operation_that_somebody_left_ends_when_its_decky_is_done(
    lab: Lab, kind: str, target: str, pending: bool, lease: float | None, ends: str
) -> None:
    until = None if lease is None else lab.clock.now + lease
    await lab.repo.mutation_add(
        {"mutation_id": "m", "kind": kind, "target": target, "topology_id": "lab", "payload": {}, "state": "applying", "lease_until": until}
    )  # fmt: skip
    await lab.repo.decky_update("web", None, pending=pending)
    await observe._end_left_ops(lab.one)
    row = await lab.repo.mutation_get("m")
    assert row is not None
    assert (row["state"], row["reason"]) == (ends, "the decky is gone" if ends == "failed" else "")
    told = [topic for topic, _ in await news(lab.repo)]
    assert told == ([] if ends == "applying" else [f"topology.lab.mutation.{ends}"])
    await observe.finish_op(lab.repo, row, "again")
    assert len(await news(lab.repo)) == (1 if ends == "applying" else 0), (
        "what has ended is told no second time"
    )


# --- rows ----------------------------------------------------------------------------------------------------------


async def test_an_interval_counts_from_the_last_rotation_and_is_never_in_the_past(lab: Lab) -> None:
    tools = lab.one.tools
    lab.clock.now = START + 1000
    await set_interval(lab.repo, "web", "30m", tools)
    assert ((await lab.decky())["next_due"], (await lab.decky())["mutate_interval"]) == (
        moment(START + 1800),
        "30m",
    )
    await set_interval(lab.repo, "web", "10s", tools)
    assert (await lab.decky())["next_due"] == moment(START + 1000)
    await set_interval(lab.repo, "web", "inherit", tools)
    assert ((await lab.decky())["next_due"], (await lab.decky())["mutate_interval"]) == (
        moment(START + 3600),
        "",
    )
    await set_interval(lab.repo, "web", "never", tools)
    assert (await lab.decky())["next_due"] is None
    assert tools.due_after({"last_mutated": None}, "", None) is None
    assert tools.due_after({"last_mutated": None}, "", {"mutate_interval": "1h"}) == START + 4600
    await lab.repo.decky_update("web", None, wanted=False)
    with pytest.raises(FleetError, match="no decky 'web'"):
        await set_interval(lab.repo, "web", "1h", tools)
    with pytest.raises(FleetError, match="no interval"):
        await set_interval(lab.repo, "db", "9s", tools)


async def test_applying_the_same_file_moves_nothing(lab: Lab) -> None:
    before = await lab.repo.deckies()
    lab.clock.now = START + 9000
    assert await lab.file() == Applied(unchanged=["web", "db"])
    assert await lab.repo.deckies() == before
    assert not await lab.repo.decky_candidates(lab.one.site, pending=True, limit=9)
    assert await news(lab.repo) == []


async def test_a_file_that_cannot_be_written_whole_writes_nothing(lab: Lab) -> None:
    before = (await lab.repo.deckies(), await lab.repo.topologies())
    stolen = LAB.replace("fleet: lab", "fleet: two").replace("name: db", "name: new")
    with pytest.raises(FleetError, match=r"^decky 'web' belongs to the fleet 'lab'$"):
        await lab.file(stolen)
    full = "fleet: two\nsubstrate: compose\ndeckies:\n  - {name: a, pool: [http], services: [http]}\n  - {name: b, pool: [http]}\n"
    with pytest.raises(FleetError, match=r"decky 'b': nothing else to choose: .*ports taken by others: http"):
        await lab.file(full)
    assert (await lab.repo.deckies(), await lab.repo.topologies()) == before


async def test_a_changed_decky_follows_a_left_out_one_goes_and_the_interval_is_inherited(lab: Lab) -> None:
    text = LAB.replace("services: [http, ftp]", "services: [http, ssh]").replace(
        "mutate_interval: 1h", "mutate_interval: 2h"
    )
    assert await lab.file(text) == Applied(changed=["web"], unchanged=["db"])
    now = await lab.decky()
    assert (now["desired"], now["pending"], now["cause"]) == (
        ["http", "ssh"],
        True,
        {"trigger": "operator", "actor": "ann"},
    )
    assert now["next_due"] == moment(START + 7200)
    assert (await lab.decky("db"))["next_due"] is None, "its own interval stands"
    assert (await lab.topology())["status"] == "deploying"
    less = "\n".join(line for line in text.splitlines() if "name: db" not in line) + "\n"
    assert (await lab.file(less)).removed == ["db"]
    gone = await lab.decky("db")
    assert (gone["wanted"], gone["pending"], gone["desired"], gone["cause"]["trigger"]) == (
        False,
        True,
        [],
        "retirement",
    )
    assert (await lab.file(less)).removed == [], "once"
    assert (await lab.file(LAB)).changed == ["web", "db"], "wanted again before it was gone"
    assert (await lab.decky("db"))["cause"]["trigger"] == "creation"
    assert (await lab.file("fleet: lab\ndeckies: []\n")).removed == ["db", "web"]
    assert (await lab.topology())["wanted"] is False


async def test_what_runs_stays_where_the_file_lets_it(lab: Lab) -> None:
    await lab.repo.decky_update("web", None, desired=["http", "ssh"], observed=["http", "ssh"])
    await lab.file(LAB.replace("pinned: [http]", "pinned: [http], networks: [dmz]"))
    assert (await lab.decky())["desired"] == ["http", "ssh"], (
        "the services named are those from before: a rotation stands"
    )
    await lab.file(LAB.replace("pinned: [http]", "pinned: [http, ftp]"))
    assert (await lab.decky())["desired"] == ["http", "ftp"], "it is not legal any more"


async def test_a_decky_that_changes_its_substrate_leaves_the_old_ones(lab: Lab) -> None:
    await lab.file(LAB.replace("name: db,", "name: db, substrate: compose,"))
    assert leaves(await lab.decky("db")) == ["dry_run"]
    await lab.file(LAB.replace("name: db,", "name: db, substrate: opencanary,").replace("mysql", "telnet"))
    assert leaves(await lab.decky("db")) == ["compose", "dry_run"]
    await lab.file(LAB)
    assert leaves(await lab.decky("db")) == ["compose", "opencanary"], "it never leaves the one it is on"
    assert cause("retirement", "ann", await lab.decky("db"))["leaves"] == ["compose", "opencanary"]
    assert cause("retirement", "ann", await lab.decky()) == {"trigger": "retirement", "actor": "ann"}


def test_a_port_is_blocked_by_address_transport_and_number() -> None:
    catalogue = load_catalogue()
    row = {
        "substrate": "compose",
        "address": "127.0.0.1",
        "pool": ["ftp", "sip", "own-01"],
        "ports": {"ftp": 5060},
    }
    assert blocked(row, {("127.0.0.1", "tcp", 5060)}, catalogue) == {"ftp"}
    assert blocked(row, {("127.0.0.1", "udp", 5060)}, catalogue) == {"sip"}
    assert blocked(row, {("127.0.0.2", "tcp", 5060), ("127.0.0.1", "tcp", 21)}, catalogue) == set()
    assert blocked({**row, "substrate": "dry_run"}, {("127.0.0.1", "tcp", 5060)}, catalogue) == set()


async def test_a_status_is_told_step_by_step_and_only_when_it_moves(lab: Lab) -> None:
    await lab.repo.decky_update("web", None, failures=1, reason="x" * 900)
    await lab.repo.decky_update("db", None, failures=1, reason="y", last_mutated=None)
    await lab.repo.decky_update("web", None, last_mutated=None)
    await refresh_status(lab.repo, "lab")
    told = [payload for _, payload in await news(lab.repo)]
    assert told == [{"state": "degraded", "reason": ""}, {"state": "failed", "reason": "db: y"}]
    await refresh_status(lab.repo, "lab")
    assert await news(lab.repo) == []
    await lab.repo.decky_update("db", None, failures=0)
    await refresh_status(lab.repo, "lab")
    topology = await lab.topology()
    assert (topology["status"], topology["reason"]) == ("failed", ("web: " + "x" * 900)[:500]), (
        "another reason, the same status"
    )
    assert await news(lab.repo) == []
    await refresh_status(lab.repo, "nowhere")


async def test_an_interval_alone_moves_no_decoy_and_networks_alone_do(lab: Lab) -> None:
    for kind, payload, follows in [
        ("update_decky", {"mutate_interval": "2h"}, False), ("attach_decky", {"network": "dmz"}, True), ("detach_decky", {"network": "dmz"}, True),
        ("update_decky", {"services": ["ftp", "http"]}, False), ("update_decky", {"services": ["http"]}, True),
    ]:  # fmt: skip
        lab.world.calls = []
        await enqueue_op(lab.repo, "lab", kind, "web", payload, lab.one.tools, requested_by="bob")
        await drain(lab.one)
        assert bool(lab.world.calls) is follows, payload


# --- news ----------------------------------------------------------------------------------------------------------


def test_events_by_value() -> None:
    row = {
        "mutation_id": "m",
        "target": "web",
        "trigger": "scheduled",
        "requested_by": "",
        "payload": None,
        "kind": "add_network",
        "topology_id": "lab",
    }
    plain = events.mutation(row, ["a"], ["b"], "applied")
    assert plain.topic == "decky.web.mutation"
    assert plain.payload == {
        "decky": "web", "old_services": ["a"], "new_services": ["b"], "trigger": "scheduled", "outcome": "applied", "mutation_id": "m",
    }  # fmt: skip
    full = events.mutation(
        {**row, "requested_by": "ann", "payload": {"request_id": "r"}}, [], [], "failed", "why"
    )
    assert {key: full.payload[key] for key in ("actor", "request_id", "reason")} == {
        "actor": "ann",
        "request_id": "r",
        "reason": "why",
    }
    assert plain.id == events.mutation(row, ["a"], ["b"], "applied").id, "told twice is one event"
    assert plain.id != events.mutation(row, ["a"], ["b"], "failed").id
    assert plain.id != events.mutation({**row, "mutation_id": "n"}, ["a"], ["b"], "applied").id
    one = events.state("web", ["a"], "running", 5.0)
    assert (one.topic, one.payload) == (
        "decky.web.state",
        {"decky": "web", "services": ["a"], "status": "running", "since": 5.0},
    )
    others = [events.state(*more) for more in (("db", ["a"], "running", 5.0), ("web", ["b"], "running", 5.0), ("web", ["a"], "down", 5.0), ("web", ["a"], "running", 5.5))]  # type: ignore[arg-type]  # fmt: skip
    assert len({one.id, *(event.id for event in others)}) == 5
    assert events.state("web", ["a"], "running", 5.0).id == one.id
    assert events.state("web", [], "down", 5.0, "gone").payload["reason"] == "gone"
    change = events.topology_change(row, "failed", "why")
    assert (change.topic, change.payload) == (
        "topology.lab.mutation.failed",
        {"mutation_id": "m", "op": "add_network", "payload": {}, "reason": "why"},
    )
    assert change.id != events.topology_change(row, "applied").id
    assert "reason" not in events.topology_change(row, "applied").payload


def test_tools_hold_the_defaults_of_the_settings(tmp_path: Path) -> None:
    settings = calm(tmp_path, substrate="compose", mutate_interval="2h", max_deckies=7)
    defaults = Tools(settings, load_catalogue(), Last(1)).defaults
    assert (defaults.substrate, defaults.mutate_interval, defaults.max_deckies) == ("compose", "2h", 7)
    assert type(Tools.of(settings).rng).__name__ == "SystemRandom", "nobody can foresee the next services"
