"""Linking over what is stored: by whatever engine, in whatever order, after whatever broke, the same identities."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from decnet.attribution import link_job, link_store
from decnet.attribution.link_job import LinkJob
from decnet.attribution.worker import AttributionWorker
from decnet.bus.base import Event
from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.errors import DatabaseError
from decnet.ids import attacker_id, identity_id
from decnet.recorder.worker import RecorderWorker
from decnet.runtime.worker import Transaction
from decnet.sensors.replay import iter_events
from tests.dbkit import KINDS, open_repo
from tests.rowkit import TABLES
from tests.wirekit import taken

CASES = json.loads((Path(__file__).parents[1] / "fixtures" / "cases" / "identities.json").read_text("utf-8"))
BY_NAME = {case["name"]: case for case in CASES}


async def rows_of(repo: BaseRepository, table: str) -> list[dict[str, Any]]:
    """All rows of a table."""
    async with repo.db.read() as session:
        return [dict(row) for row in (await session.execute(TABLES[table].select())).mappings()]


def events_of(lines: Sequence[dict[str, Any]], folder: Path) -> list[Event]:
    """What the sensor makes of a log."""
    log = folder / "cowrie.json"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return list(iter_events(log, Settings(data_dir=folder), []))


async def recorded(repo: BaseRepository, events: Sequence[Event], batch: int = 100) -> None:
    """Stores events as the recorder does."""
    recorder = RecorderWorker(Settings())
    for start in range(0, len(events), batch):
        async with repo.transaction() as bound:
            tx = Transaction(bound)
            await recorder.handle(taken(events[start : start + batch]), tx)
            assert tx.dead == []


async def identities(repo: BaseRepository) -> set[frozenset[str]]:
    """Identities of several addresses, as everybody reads them."""
    address = {row["attacker_uuid"]: row["ip"] for row in await rows_of(repo, "attacker")}
    groups: dict[str, set[str]] = {}
    for row in await rows_of(repo, "identity"):
        groups.setdefault(row["merged_into"] or row["identity_uuid"], set()).add(
            address[row["attacker_uuid"]]
        )
    return {frozenset(group) for group in groups.values() if len(group) > 1}


async def campaigns(repo: BaseRepository) -> set[frozenset[str]]:
    """The addresses of campaigns."""
    address = {row["attacker_uuid"]: row["ip"] for row in await rows_of(repo, "attacker")}
    roots = {
        row["root"]
        for row in await rows_of(repo, "link_group")
        if row["kind"] == "campaign" and row["campaign_uuid"] and row["addresses"] > 1
    }
    root_of = {row["term_id"]: row["campaign_root"] for row in await rows_of(repo, "link_term")}
    groups: dict[str, set[str]] = {root: set() for root in roots}
    for row in await rows_of(repo, "link_value"):
        if (root := root_of[row["term_id"]]) in roots:
            groups[root].add(address[row["attacker_uuid"]])
    return {frozenset(group) for group in groups.values()}


async def told(repo: BaseRepository, topic: str) -> list[dict[str, Any]]:
    """Payloads that wait in the outbox, oldest first."""
    waiting = [sealed.opened() for _, sealed in await repo.outbox_take(10_000)]
    return [event.payload for event in waiting if event.topic == topic]


def expected(case: dict[str, Any]) -> set[frozenset[str]]:
    return {frozenset(group) for group in case["expect"]["identities"]}


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
async def test_a_planted_log_that_was_recorded_is_linked(case: dict[str, Any], tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        await recorded(repo, events_of(case["lines"], tmp_path))
        await LinkJob(Settings()).run(repo)
        found = await identities(repo)
        if case["expect"]["no_identity_else"]:
            assert found == expected(case)
        assert expected(case) <= found
        parts = {
            frozenset(group) & whole
            for whole in await campaigns(repo)
            for group in case["expect"]["campaigns"]
        }
        assert {frozenset(group) for group in case["expect"]["campaigns"]} <= parts
        assert await repo.link_due_count() == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_an_identity_says_why_and_others_are_told(kind: str, tmp_path: Path) -> None:
    case = BY_NAME["key_trio"]
    async with open_repo(kind, tmp_path) as repo:
        await recorded(repo, events_of(case["lines"], tmp_path))
        await LinkJob(Settings()).run(repo)
        (group,) = expected(case)
        own = {identity_id(attacker_id(one)) for one in group}
        (why,) = await rows_of(repo, "identity_link")
        assert why["identity_uuid"] in own
        assert why["addresses"] == 3
        assert why["confidence"] >= 3.5
        assert {reason["family"] for reason in why["reasons"]} >= {"key"}
        assert all(reason["addresses"] >= 2 for reason in why["reasons"])
        merged = await told(repo, "identity.merged")
        assert len(merged) == 2
        assert {one["loser_uuid"] for one in merged} == own - {why["identity_uuid"]}
        assert {one["winner_uuid"] for one in merged} == {why["identity_uuid"]}
        assert all(one["reasons"] and one["seq"] > 0 and one["source"] == "linking" for one in merged)
        (formed,) = await told(repo, "campaign.formed")
        assert formed["campaign_uuid"] in {row["campaign_uuid"] for row in await rows_of(repo, "link_group")}
        assert formed["reasons"]


@pytest.mark.parametrize("kind", KINDS)
async def test_any_order_and_two_engines_that_take_turns_give_the_same(kind: str, tmp_path: Path) -> None:
    lines = [
        line
        for name in ("key_trio", "bridge", "tunnels")
        if name in BY_NAME
        for line in BY_NAME[name]["lines"]
    ]
    events = events_of(lines, tmp_path)
    async with open_repo("sqlite", tmp_path) as repo:
        await recorded(repo, events)
        await LinkJob(Settings()).run(repo)
        wanted, used = await identities(repo), await campaigns(repo)
    assert wanted
    shuffled = Random(7).sample(events, len(events))
    jobs = [LinkJob(Settings()), LinkJob(Settings())]
    async with open_repo(kind, tmp_path) as repo:
        for turn, start in enumerate(range(0, len(shuffled), 20)):
            await recorded(repo, shuffled[start : start + 20])
            await jobs[turn % 2].run(repo)  # each finds that the other wrote, and reads the rows again
        assert await identities(repo) == wanted
        assert await campaigns(repo) == used
        version = (await repo.link_version()).version
        await recorded(repo, shuffled)
        await jobs[0].run(repo)
        assert await identities(repo) == wanted
        assert (await repo.link_version()).version > version


async def test_a_write_that_fails_leaves_nothing_and_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = BY_NAME["key_trio"]
    async with open_repo("sqlite", tmp_path) as repo:
        await recorded(repo, events_of(case["lines"], tmp_path))
        job, publish = LinkJob(Settings()), link_store.publish

        async def breaks(*_args: Any) -> None:
            raise DatabaseError("disk full")

        monkeypatch.setattr(link_store, "publish", breaks)
        with pytest.raises(DatabaseError):
            await job.run(repo)
        assert await rows_of(repo, "link_address") == []
        assert await identities(repo) == set()
        assert await repo.link_due_count() > 0
        monkeypatch.setattr(link_store, "publish", publish)
        await job.run(repo)
        assert await identities(repo) == expected(case)
        assert len(await told(repo, "campaign.formed")) == 1, "what was not told is told now"


async def test_who_lost_the_lease_writes_nothing_over_what_another_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = BY_NAME["key_trio"]
    async with open_repo("sqlite", tmp_path) as repo:
        first, second = events_of(case["lines"][:40], tmp_path), events_of(case["lines"], tmp_path)
        await recorded(repo, first)
        one, other = LinkJob(Settings()), LinkJob(Settings())
        await one.run(repo)
        await recorded(repo, second)
        write = link_job.write

        async def late(*args: Any) -> int:
            monkeypatch.setattr(link_job, "write", write)
            await other.run(repo)  # it slept, and the lease ran out
            return await write(*args)

        monkeypatch.setattr(link_job, "write", late)
        with pytest.raises(DatabaseError, match="another engine linked since"):
            await one.run(repo)
        assert await identities(repo) == expected(case)
        merged = await told(repo, "identity.merged")
        assert len(merged) == 2, "nothing is told twice"


@pytest.mark.parametrize("kind", KINDS)
async def test_what_operators_say_stands_above_every_score_and_can_be_taken_back(
    kind: str, tmp_path: Path
) -> None:
    case = BY_NAME["key_trio"]
    async with open_repo(kind, tmp_path) as repo:
        await recorded(repo, events_of(case["lines"], tmp_path))
        job = LinkJob(Settings())
        await job.run(repo)
        (group,) = expected(case)
        one, *others = sorted(group)
        for other in others:
            await repo.say_of_link(
                attacker_id(one), attacker_id(other), same=False, reason="two hands", by="ann"
            )
        await job.run(repo)
        assert await identities(repo) == {group - {one}}
        assert [told_one["reasons"] for told_one in await told(repo, "identity.unmerged")]
        await LinkJob(Settings()).run(repo)
        assert await identities(repo) == {group - {one}}, "a restart forgets no word"
        for other in others:
            await repo.unsay_of_link(attacker_id(one), attacker_id(other))
        await job.run(repo)
        assert await identities(repo) == {group}


@pytest.mark.parametrize("kind", KINDS)
async def test_everything_read_anew_keeps_the_ids(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [line for name in ("key_trio", "bridge") for line in BY_NAME[name]["lines"]]
    async with open_repo(kind, tmp_path) as repo:
        events = events_of(lines, tmp_path)
        await recorded(repo, Random(3).sample(events, len(events)))
        job = LinkJob(Settings())
        await job.run(repo)
        before, named = {name: sorted(map(str, await rows_of(repo, name))) for name in KEPT}, await kits(repo)
        assert named
        told_before = await repo.outbox_take(10_000)
        monkeypatch.setattr(link_job, "BATCH", 7)
        wish = await repo.link_wish_relink()
        await job.run(repo)
        assert (await repo.link_version()).relinked == wish
        assert {name: sorted(map(str, await rows_of(repo, name))) for name in KEPT} == before
        assert await kits(repo) == named
        assert await repo.outbox_take(10_000) == told_before, "nobody is told of what did not change"


KEPT = ("identity", "link_address", "link_value", "link_session", "identity_link")


async def kits(repo: BaseRepository) -> set[tuple[str, str, int]]:
    """Campaigns by id, name and number of addresses; which of its assets stands for it is nobody's business."""
    rows = await rows_of(repo, "link_group")
    return {(row["campaign_uuid"], row["name"], row["addresses"]) for row in rows if row["campaign_uuid"]}


async def test_a_campaign_keeps_the_id_that_it_was_given_when_all_is_read_anew(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        await recorded(repo, events_of(BY_NAME["key_trio"]["lines"], tmp_path))
        job, table = LinkJob(Settings()), TABLES["link_group"]
        await job.run(repo)
        async with repo.db.write() as session:
            given = table.update().where(table.c.campaign_uuid.is_not(None)).values(campaign_uuid="of-old")
            await session.execute(given)
        await repo.link_wish_relink()
        await job.run(repo)
        assert {uuid for uuid, _, _ in await kits(repo)} == {"of-old"}


async def test_evidence_that_is_no_longer_any_parts_who_was_joined_by_it(tmp_path: Path) -> None:
    case = BY_NAME["key_trio"]
    async with open_repo("sqlite", tmp_path) as repo:
        await recorded(repo, events_of(case["lines"], tmp_path))
        job = LinkJob(Settings())
        await job.run(repo)
        async with repo.db.write() as session:
            await session.execute(TABLES["command"].delete())
            nothing = dict.fromkeys(("downloads", "uploads", "extras", "joined", "inputs"))
            await session.execute(TABLES["session"].update().values(nothing))
        await repo.link_wish_relink()
        await job.run(repo)
        assert await identities(repo) == set()
        assert len(await told(repo, "identity.unmerged")) == 2
        assert await rows_of(repo, "identity_link") == []


async def test_who_was_purged_is_forgotten(tmp_path: Path) -> None:
    case = BY_NAME["key_trio"]
    async with open_repo("sqlite", tmp_path) as repo:
        await recorded(repo, events_of(case["lines"], tmp_path))
        job = LinkJob(Settings())
        await job.run(repo)
        await repo.purge_older(4_000_000_000)
        await job.run(repo)
        for name in ("link_address", "link_value", "identity_link", "link_gone", "link_session", "link_due"):
            assert await rows_of(repo, name) == [], name


async def test_a_session_that_changes_while_it_is_linked_stays_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        await recorded(repo, events_of(BY_NAME["key_trio"]["lines"], tmp_path))
        marks = await repo.link_due(3)
        again = marks[0]
        await repo.link_mark([again.session_id])
        await repo.link_done(marks)
        left = await repo.link_due(10_000)
        assert [(one.session_id, one.seq) for one in left if one.session_id == again.session_id] == [
            (again.session_id, again.seq + 1)
        ]
        assert not {one.session_id for one in marks[1:]} & {one.session_id for one in left}


async def test_sessions_without_an_address_are_counted_and_link_nobody(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        for n in range(3):
            who = attacker_id(f"unknown:{n}")
            await repo.upsert_sessions(
                [{"session_id": f"s{n}", "attacker_uuid": who, "attacker_ip": "unknown", "ended_at": 5.0 + n}]
            )
        await repo.link_mark(["s0", "s1", "s2", "s-never-stored"])
        job = LinkJob(Settings())
        await job.run(repo)
        assert job.health()["sessions_without_address"] == 3
        assert await rows_of(repo, "link_address") == []
        assert await repo.link_due_count() == 0


async def test_log_ins_that_come_after_the_end_of_their_session_count(tmp_path: Path) -> None:
    events = events_of(BY_NAME["login_list"]["lines"], tmp_path)
    tried = [one for one in events if one.topic == "credential.captured"]
    async with open_repo("sqlite", tmp_path) as repo:
        job = LinkJob(Settings())
        await recorded(repo, [one for one in events if one.topic != "credential.captured"])
        await job.run(repo)
        assert not any(row["logins"] for row in await rows_of(repo, "link_address"))
        await recorded(repo, tried)
        await job.run(repo)
        assert any(row["logins"] for row in await rows_of(repo, "link_address"))


async def test_the_lease_is_renewed_at_a_third_of_its_time_and_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        now = [1000.0]
        monkeypatch.setattr(link_job.time, "monotonic", lambda: now[0])
        job = LinkJob(Settings())
        await job.run(repo)
        (first,) = [row for row in await rows_of(repo, "lease") if row["name"] == link_job.LEASE]
        await job.run(repo)
        assert [row for row in await rows_of(repo, "lease") if row["name"] == link_job.LEASE] == [first]
        now[0] += job.ttl / 3
        await job.run(repo)
        (later,) = [row for row in await rows_of(repo, "lease") if row["name"] == link_job.LEASE]
        assert later["expires_at"] > first["expires_at"]
        await job.leave(repo)
        assert await repo.lease_acquire(link_job.LEASE, "another", 5.0)
        await job.run(repo)
        assert job.mine is False


async def test_who_links_keeps_its_lease_while_there_is_nothing_to_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        job, asked = LinkJob(Settings()), list[str]()
        job.ttl = 0.3
        acquire = repo.lease_acquire

        async def noted(name: str, owner: str, ttl_s: float) -> bool:
            asked.append(name)
            return await acquire(name, owner, ttl_s)

        monkeypatch.setattr(repo, "lease_acquire", noted)
        keeper = asyncio.create_task(job.keep(repo))
        await asyncio.sleep(0.35)
        assert asked == [], "whoever does not link keeps nothing"
        await job.run(repo)
        await asyncio.sleep(1.0)
        assert 3 <= len(asked) <= 12
        assert not await acquire(link_job.LEASE, "another", 5.0), "it would have run out"
        keeper.cancel()
        await asyncio.sleep(0.4)
        assert await acquire(link_job.LEASE, "another", 5.0)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_run_says_whether_anything_is_left_to_do(kind: str, tmp_path: Path) -> None:
    async with open_repo(kind, tmp_path) as repo:
        job = LinkJob(Settings())
        assert await job.run(repo) is False
        await recorded(repo, events_of(BY_NAME["key_trio"]["lines"], tmp_path))
        assert await job.run(repo) is False
        assert await repo.link_due_count() == 0
        await job.leave(repo)
        assert await repo.lease_acquire(link_job.LEASE, "another", 60.0)
        assert await job.run(repo) is True, "the other one may go"
        assert await LinkJob(Settings(linking={"enabled": False})).run(repo) is False


async def test_rows_that_contradict_each_other_are_made_anew_and_that_is_told(tmp_path: Path) -> None:
    case = BY_NAME["key_trio"]
    async with open_repo("sqlite", tmp_path) as repo:
        await recorded(repo, events_of(case["lines"], tmp_path))
        job = LinkJob(Settings())
        await job.run(repo)
        before = await kits(repo)
        async with repo.db.write() as session:
            await session.execute(TABLES["link_term"].delete().where(TABLES["link_term"].c.family == "key"))
        again = LinkJob(Settings())
        with pytest.raises(DatabaseError, match="contradict"):
            await again.run(repo)
        assert again.health()["linking_contradictions"] == 1
        await again.run(repo)
        assert await identities(repo) == expected(case)
        assert {row["family"] for row in await rows_of(repo, "link_term")} >= {"key"}
        assert {uuid for uuid, _, _ in await kits(repo)} == {uuid for uuid, _, _ in before}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_merge_of_others_yields_to_an_operators_word_and_comes_back_with_it(
    kind: str, tmp_path: Path
) -> None:
    async with open_repo(kind, tmp_path) as repo:
        await recorded(repo, events_of(BY_NAME["common_client"]["lines"], tmp_path))
        job = LinkJob(Settings())
        await job.run(repo)
        assert await identities(repo) == set()
        one, other = sorted(row["address"] for row in await rows_of(repo, "link_address"))[:2]
        pair = (attacker_id(one), attacker_id(other))
        await repo.merge_identities(*map(identity_id, pair), seq=1)
        assert await identities(repo) == {frozenset({one, other})}
        await repo.say_of_link(*pair, same=False, reason="no", by="ann")
        await job.run(repo)
        assert await identities(repo) == set()
        await repo.unsay_of_link(*pair)
        await job.run(repo)
        assert await identities(repo) == {frozenset({one, other})}


async def test_what_changes_for_everybody_is_followed_in_time_and_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        await recorded(repo, events_of(BY_NAME["key_hub"]["lines"], tmp_path))
        worker = AttributionWorker(Settings())
        monkeypatch.setattr(link_job, "BUSY_S", 0.0)
        due = await repo.link_due_count()
        assert await worker.owed(repo) == f"{due} sessions to link", "also before the job has looked"
        off = AttributionWorker(Settings(linking={"enabled": False}))
        assert await off.owed(repo) == ""
        await worker.links.run(repo)
        assert await worker.owed(repo) == ""
        assert worker.health()["linking_behind"] is True
        assert worker.unfinished() == "links to follow"
        await worker.links.run(repo)
        assert worker.health()["linking_behind"] is False
        assert worker.unfinished() == ""
        found = await identities(repo)
        fresh = LinkJob(Settings())
        await repo.link_wish_relink()
        await fresh.run(repo)
        assert await identities(repo) == found
