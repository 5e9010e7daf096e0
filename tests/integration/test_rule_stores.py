"""Rule stores that follow their files: what editors do to them, states of other processes, restarts.

What needs no watching is in test_rule_store_conformance.py, driven by hand.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from decnet.bus.factory import get_bus
from decnet.config import load_settings
from decnet.errors import DecnetError, RuleStoreError
from decnet.ttp.rule_engine import RuleEngine
from decnet.ttp.rules import DEFAULT_STATE, RuleState
from decnet.ttp.store.base import RuleStore
from decnet.ttp.store.impl.database import DatabaseRuleStore
from decnet.ttp.store.impl.filesystem import FilesystemRuleStore
from tests.rowkit import define_rule
from tests.storekit import SAVES, STORES, Stores, rule, save, stores

OTHERS = ("X1", "X2", "X3", "X4", "X5")


PG = pytest.param("postgresql", marks=pytest.mark.slow)


@pytest.fixture(params=[*STORES, PG])
async def made(request, tmp_path: Path) -> AsyncIterator[Stores]:
    async with stores(request.param, tmp_path) as found:
        for name in OTHERS:
            (found.rules / f"{name}.yaml").write_text(rule(name))
        yield found


def versions(store: RuleStore) -> dict[str, int]:
    return {r.rule_id: r.rule_version for r in store.rules()}


async def test_each_way_to_save_is_one_change(made, tmp_path):
    for style in SAVES:
        (made.rules / f"{style}.yaml").write_text(rule(style))
        (tmp_path / f"{style}.new").write_text(rule(style, 2))
    async with made.running() as (store, heard):
        jobs = (
            asyncio.to_thread(save, style, made.rules, f"{style}.yaml", tmp_path / f"{style}.new")
            for style in SAVES
        )
        await asyncio.gather(*jobs)
        await heard.until(lambda: len(heard.by_rule) == len(SAVES))
        await asyncio.sleep(0.35)
        assert heard.kinds() == {style: ["definition"] for style in SAVES}
        assert {versions(store)[style] for style in SAVES} == {2}
        assert not store.errors()


async def test_what_is_no_edit_of_a_rule_is_no_change_and_no_log(made, caplog):
    async with made.running() as (store, heard):
        caplog.set_level(logging.INFO)
        caplog.clear()
        for name in (
            ".X1.yaml.swp",
            "X1.yaml~",
            "#X1.yaml#",
            "4913",
            ".X1.yaml.tmp",
            "X1.yaml.bak",
            "X-1.yaml",
        ):
            (made.rules / name).write_text("name: [")
        (made.rules / "X2.yaml").touch()
        (made.rules / "X3.yaml").rename(made.rules / "Y3.yml")
        (made.rules / "X4.yaml").write_text(rule("X4"))
        await asyncio.sleep(0.4)
        assert heard.kinds() == {}
        assert not store.errors()
        assert "swp" not in caplog.text
        assert len(store.rules()) == 5


async def test_created_deleted_renamed_away_and_renumbered(made):
    async with made.running() as (store, heard):
        (made.rules / "new.yaml").write_text(rule("N1"))
        (made.rules / "X1.yaml").unlink()
        (made.rules / "X2.yaml").rename(made.rules / "X2.yaml.off")
        (made.rules / "X3.yaml").write_text(rule("X3b"))
        await heard.until(lambda: len(heard.by_rule) == 5)
        await asyncio.sleep(0.35)
        assert heard.kinds() == {
            "N1": ["definition"],
            "X1": ["removed"],
            "X2": ["removed"],
            "X3": ["removed"],
            "X3b": ["definition"],
        }
        assert set(versions(store)) == {"N1", "X3b", "X4", "X5"}


async def test_a_second_file_with_an_id_costs_neither(made):
    async with made.running() as (store, heard):
        (made.rules / "A0.yaml").write_text(rule("X5", 9))
        (made.rules / "X4.yaml").write_text(rule("X5", 8))
        await heard.until(lambda: len(store.errors()) == 2)
        assert heard.kinds() == {}
        assert versions(store)["X5"] == 1
        assert versions(store)["X4"] == 1
        for number in (2, 3):  # whatever else is saved meanwhile
            (made.rules / "X1.yaml").write_text(rule("X1", number))
            await heard.until(lambda number=number: versions(store)["X1"] == number)
            assert (versions(store)["X4"], versions(store)["X5"]) == (1, 1)
        heard.by_rule.clear()
        (made.rules / "A0.yaml").unlink()
        (made.rules / "X4.yaml").write_text(rule("X4", 2))
        await heard.until(lambda: versions(store)["X4"] == 2)
        assert not store.errors()


async def test_broken_keeps_the_last_good_version_and_is_live_within_a_second_when_mended(made):
    async with made.running() as (store, heard):
        path = made.rules / "X1.yaml"
        path.write_text(rule("X1", 2).replace("pattern", "regx"))
        await heard.until(lambda: bool(store.errors()))
        assert versions(store)["X1"] == 1
        assert heard.kinds() == {}
        path.write_text(rule("X1", 3))
        start = asyncio.get_running_loop().time()
        await heard.until(lambda: versions(store)["X1"] == 3)
        assert asyncio.get_running_loop().time() - start < 1.0
        assert heard.kinds() == {"X1": ["definition"]}
        assert not store.errors()


async def test_an_empty_or_halved_set_is_refused(made):
    async with made.running() as (store, heard):
        for name in OTHERS[:3]:
            (made.rules / f"{name}.yaml").unlink()
        await heard.until(lambda: any("2 of 5" in str(e) for e in store.errors()))
        assert heard.kinds() == {}
        assert len(store.rules()) == 5
        await store.reload(allow_shrink=True)
        assert set(versions(store)) == {"X4", "X5"}
        assert not store.errors()
        shutil.rmtree(made.rules)
        await heard.until(lambda: any("0 of 2" in str(e) for e in store.errors()))
        await store.reload(allow_shrink=True)
        assert len(store.rules()) == 2
        made.rules.mkdir()
        (made.rules / "X4.yaml").write_text(rule("X4", 7))
        (made.rules / "X5.yaml").write_text(rule("X5"))
        await heard.until(lambda: versions(store).get("X4") == 7)
        await heard.until(lambda: not store.errors())
        (made.rules / "X5.yaml").write_text(rule("X5", 2))
        await heard.until(lambda: versions(store).get("X5") == 2)


async def test_the_directory_may_be_a_symlink_that_is_swapped(made, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    made.rules.rename(one)
    shutil.copytree(one, two)
    (two / "X1.yaml").write_text(rule("X1", 2))
    made.rules.symlink_to(one)
    async with made.running() as (store, heard):
        (tmp_path / "next").symlink_to(two)
        os.replace(tmp_path / "next", made.rules)
        await heard.until(lambda: "X1" in heard.by_rule, 2.0)
        (two / "X2.yaml").write_text(rule("X2", 2))
        await heard.until(lambda: "X2" in heard.by_rule, 2.0)
        assert versions(store)["X1"] == versions(store)["X2"] == 2
        assert heard.kinds() == {"X1": ["definition"], "X2": ["definition"]}


async def test_states_are_set_told_once_and_read_back(made):
    async with made.running() as (store, heard):
        assert await store.get_state("X1") == DEFAULT_STATE
        assert await store.get_state("no such rule") == DEFAULT_STATE
        await store.set_state("X1", RuleState("disabled", reason="noise", set_by="me"))
        assert (await store.get_state("X1")).reason == "noise"
        assert store.states()["X1"].state == "disabled"
        await store.set_state("unknown", RuleState("clipped", 0.4))
        assert (await store.get_state("unknown")).confidence_max == 0.4
        await asyncio.sleep(0.2)
        assert heard.kinds() == {"X1": ["state"], "unknown": ["state"]}
        (made.rules / "X1.yaml").write_text(rule("Z1"))
        (made.rules / "X6.yaml").write_text(rule("X1", 4))
        await heard.until(lambda: versions(store).get("X1") == 4)
        assert (await store.get_state("X1")).state == "disabled", "the state belongs to the id"


async def test_a_state_with_an_expiry_reverts_by_itself(made):
    async with made.running() as (store, heard):
        end = datetime.now(UTC) + timedelta(seconds=0.6)
        await store.set_state("X1", RuleState("disabled", expires_at=end))
        await heard.until(lambda: len(heard.by_rule["X1"]) == 2, 3.0)
        assert datetime.now(UTC) >= end
        assert [c.new_value.state for c in heard.by_rule["X1"]] == ["disabled", "enabled"]
        assert await store.get_state("X1") == DEFAULT_STATE
        await asyncio.sleep(0.3)
        assert len(heard.by_rule["X1"]) == 2


@pytest.mark.parametrize("hours", [-1, 1])
async def test_the_clock_jumps_by_an_hour(made, hours):
    store = made.make()
    await store.load_compiled()
    end = datetime.now(UTC) + timedelta(minutes=30)
    await store.set_state("X1", RuleState("disabled", expires_at=end))
    engine = RuleEngine()
    engine.replace(store.rules(), store.states())
    changes = store.subscribe_changes()
    moved = datetime.now(UTC) + timedelta(hours=hours)
    held = store.states()["X1"].effective(moved).state
    assert held == ("disabled" if hours < 0 else "enabled")
    assert await store.revert_expired(moved) == ([] if hours < 0 else ["X1"])
    assert await store.revert_expired(moved) == []
    late = end + timedelta(seconds=1)
    assert await store.revert_expired(late) == (["X1"] if hours < 0 else [])
    assert (await anext(changes)).new_value == DEFAULT_STATE


async def test_changes_between_load_and_the_first_read_are_not_lost(made):
    store = made.make()
    changes = store.subscribe_changes()
    await store.load_compiled()
    await store.set_state("X1", RuleState("disabled"))
    seen = []
    async with asyncio.timeout(3):
        while not any(c.change_kind == "state" for c in seen):
            seen.append(await anext(changes))
    assert seen[-1].rule_id == "X1"


async def test_an_own_failing_definition_row_or_file_blocks_no_other(made):
    (made.rules / "bad.yaml").write_bytes(b"\xff\xfe")
    async with made.running() as (store, _):
        assert len(store.rules()) == 5
        assert [e.place.file.endswith("bad.yaml") for e in store.errors()] == [True]


async def test_edits_and_states_are_published_once_for_all_engines(made):
    bus = get_bus("test", load_settings(bus={"type": "memory"}))
    await bus.connect()
    reloaded, states = bus.subscribe("ttp.rule.reloaded.*"), bus.subscribe("ttp.rule.state.*")
    async with reloaded, states, made.running() as (store, heard):
        store.bus = bus
        (made.rules / "X1.yaml").write_text(rule("X1", 2))
        (made.rules / "X2.yaml").unlink()
        await store.set_state("X3", RuleState("clipped", 0.5, reason="noise", set_by="me"))
        await heard.until(lambda: len(heard.by_rule) == 3)
        async with asyncio.timeout(3):
            news = {e.topic: e.payload async for e in _take(reloaded, 2)}
            state = await anext(_take(states, 1))
    assert news["ttp.rule.reloaded.X1"] == {"rule_id": "X1", "rule_version": 2, "deleted": False}
    assert news["ttp.rule.reloaded.X2"] == {"rule_id": "X2", "rule_version": None, "deleted": True}
    assert state.topic == "ttp.rule.state.X3"
    assert state.payload == {
        "rule_id": "X3",
        "state": "clipped",
        "confidence_max": 0.5,
        "expires_at": None,
        "reason": "noise",
        "set_by": "me",
        "auto_revert": False,
    }
    await bus.close()


async def _take(events, count: int):
    for _ in range(count):
        yield await anext(aiter(events))


# -- what only the database can do


async def test_the_news_of_several_engines_are_one_event_and_an_expiry_says_so(shared):
    bus = get_bus("test", load_settings(bus={"type": "memory"}))
    await bus.connect()
    states = bus.subscribe("ttp.rule.state.*")
    async with states, shared.running() as (one, heard), shared.running() as (two, _):
        one.bus = two.bus = bus
        await one.set_state(
            "X1", RuleState("disabled", expires_at=datetime.now(UTC) + timedelta(seconds=0.3))
        )
        await heard.until(lambda: len(heard.by_rule["X1"]) == 2)
        async with asyncio.timeout(3):
            seen = [e async for e in _take(states, 4)]
    assert len({e.id for e in seen}) == 2
    assert {(e.payload["state"], e.payload["auto_revert"]) for e in seen} == {
        ("disabled", False),
        ("enabled", True),
    }
    await bus.close()


@pytest.fixture(params=["sqlite", PG])
async def shared(request, tmp_path: Path) -> AsyncIterator[Stores]:
    async with stores(request.param, tmp_path) as found:
        for name in OTHERS:
            (found.rules / f"{name}.yaml").write_text(rule(name))
        yield found


async def test_without_a_repository_there_is_no_database_store(tmp_path):
    with pytest.raises(TypeError):
        DatabaseRuleStore(None, FilesystemRuleStore(tmp_path))


async def test_states_survive_a_restart_and_end_while_nobody_runs(shared):
    first = shared.make()
    await first.load_compiled()
    await first.set_state("X1", RuleState("disabled", reason="r"))
    await first.set_state("X2", RuleState("disabled", expires_at=datetime.now(UTC) + timedelta(seconds=0.2)))
    await first.give_up()
    await asyncio.sleep(0.3)
    second = shared.make()
    changes = second.subscribe_changes()
    await second.load_compiled()
    assert (await second.get_state("X1")).reason == "r"
    assert await second.get_state("X2") == DEFAULT_STATE
    assert await second.revert_expired() == ["X2"]
    assert (await anext(changes)).rule_id == "X2"
    third = shared.make()
    await third.load_compiled()
    assert await third.revert_expired() == []


ELSEWHERE = """
import asyncio, sys, time
from decnet.db.repository import BaseRepository

async def main(url):
    repo = await BaseRepository.open(url)
    await repo.rule_state_set("X1", state="clipped", confidence_max=0.5, set_by="cli")
    await repo.rule_state_set("X2", state="disabled", expires_at=time.time() + 0.5, set_by="cli")
    await repo.rule_state_set("no such rule", state="disabled")
    await repo.close()

asyncio.run(main(sys.argv[1]))
"""


async def test_another_process_sets_states_that_hold_and_end(shared):
    url = shared.repo.db.url.render_as_string(hide_password=False)
    async with shared.running() as (store, heard):
        done = await asyncio.create_subprocess_exec(sys.executable, "-c", ELSEWHERE, url)
        assert await done.wait() == 0
        await heard.until(lambda: "X1" in heard.by_rule and len(heard.by_rule["X2"]) == 2)
        assert store.states()["X1"].confidence_max == 0.5
        assert (await store.get_state("X1")).set_by == "cli"
        assert [c.new_value.state for c in heard.by_rule["X2"]] == ["disabled", "enabled"]
        assert heard.kinds()["no such rule"] == ["state"]
        assert await shared.repo.rule_state_get("X2") is None


async def test_a_bad_state_row_blocks_no_other(shared):
    async with shared.running() as (store, heard):
        await shared.repo.rule_state_set("X1", state="clipped", confidence_max=None)
        await shared.repo.rule_state_set("X2", state="nonsense")
        await shared.repo.rule_state_set("X3", state="disabled")
        await heard.until(lambda: "X3" in heard.by_rule)
        assert heard.kinds() == {"X3": ["state"]}
        assert store.states().get("X1") is None


async def test_a_bad_definition_row_blocks_no_other(shared):
    async with shared.running() as (store, heard):
        await define_rule(shared.repo, "X1", 5, "n", "rule_id: [", "x.yaml", None)
        await define_rule(shared.repo, "X2", 5, "n", rule("Q9"), "y.yaml", None)
        await define_rule(shared.repo, "W1", 1, "n", rule("W1"), "w.yaml", None)
        await heard.until(lambda: "W1" in heard.by_rule)
        assert versions(store)["X1"] == 1
        assert versions(store)["X2"] == 1


async def test_two_engines_with_two_directories_do_not_fight(shared, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for name in (*OTHERS, "O1"):
        (other / f"{name}.yaml").write_text(rule(name, 3))
    two = Stores(shared.kind, other, shared.repo)
    async with shared.running() as (one, _), two.running() as (follower, heard):
        assert one.feeding
        assert not follower.feeding
        assert versions(follower) == dict.fromkeys(OTHERS, 1)
        (shared.rules / "X1.yaml").write_text(rule("X1", 2))
        await heard.until(lambda: "X1" in heard.by_rule)
        (other / "X2.yaml").write_text(rule("X2", 8))
        (shared.rules / "X5.yaml").unlink()
        (shared.rules / "X4.yaml").write_text("broken: [")
        await heard.until(lambda: "X5" in heard.by_rule)
        assert heard.kinds() == {"X1": ["definition"], "X5": ["removed"]}
        await heard.until(lambda: any("X4" in str(e) for e in follower.errors()))
        assert versions(follower)["X4"] == 1
        changes = await shared.repo.rule_changes_since(0)
        await asyncio.sleep(0.35)
        assert await shared.repo.rule_changes_since(0) == changes


async def test_the_next_engine_feeds_when_the_first_is_gone(shared, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(shared.rules, other)
    (other / "X1.yaml").write_text(rule("X1", 4))
    two = Stores(shared.kind, other, shared.repo)
    async with shared.running():
        pass
    async with two.running() as (store, _):
        assert store.feeding
        assert versions(store)["X1"] == 4


async def test_the_lease_of_a_killed_process_is_taken_over(shared):
    from decnet.runtime.leases import OWNER
    from decnet.ttp.store.impl.database import LEASE

    gone = await asyncio.create_subprocess_exec("true")
    await gone.wait()
    host = OWNER.partition(":")[0]
    assert await shared.repo.lease_acquire(LEASE, f"{host}:{gone.pid}:abc", 600)
    store = shared.make()
    await store.load_compiled()
    assert store.feeding
    await shared.repo.lease_release(LEASE, store.owner)
    assert await shared.repo.lease_acquire(LEASE, "elsewhere:1:abc", 600)
    other = shared.make()
    await other.load_compiled()
    assert not other.feeding
    assert len(other.rules()) == 5


async def test_files_edited_while_nobody_runs_win_and_a_broken_one_keeps_its_last_good_version(shared):
    first = shared.make()
    await first.load_compiled()
    await first.give_up()
    (shared.rules / "X1.yaml").write_text(rule("X1", 2))
    (shared.rules / "X2.yaml").write_text("broken")
    await shared.repo.rule_state_set("X3", state="disabled")
    second = shared.make()
    await second.load_compiled()
    assert versions(second) == {"X1": 2, "X2": 1, "X3": 1, "X4": 1, "X5": 1}
    assert second.states()["X3"].state == "disabled"
    assert second.errors()


async def test_a_state_that_cannot_be_written_is_an_error_and_one_that_cannot_be_read_is_none(shared):
    store = shared.make()
    await store.load_compiled()
    await store.set_state("X1", RuleState("disabled"))
    await shared.repo.close()
    with pytest.raises(RuleStoreError):
        await store.set_state("X1", RuleState("enabled"))
    assert (await store.get_state("X1")).state == "disabled"
    with pytest.raises(DecnetError):
        await store.tail()
