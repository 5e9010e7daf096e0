"""What every rule store promises, driven by hand: no watching, no waiting, two owners by turns."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from decnet.bus.publish import publish_failures
from decnet.config import load_settings
from decnet.errors import BusError, DatabaseError, RuleStoreError
from decnet.ids import event_id
from decnet.runtime.leases import OWNER
from decnet.ttp.rules import DEFAULT_STATE, RuleState
from decnet.ttp.store.base import RuleStore
from decnet.ttp.store.factory import get_rule_store
from decnet.ttp.store.impl import database as database_module
from decnet.ttp.store.impl.database import LEASE, DatabaseRuleStore
from decnet.ttp.store.impl.filesystem import FilesystemRuleStore
from tests.rowkit import define_rule
from tests.storekit import STORES, Stores, Told, Wire, rule, stores

IDS = ("X1", "X2", "X3", "X4", "X5")
SOON = timedelta(hours=1)
MICRO = timedelta(microseconds=1)


def fill(found: Stores) -> Stores:
    for name in IDS:
        (found.rules / f"{name}.yaml").write_text(rule(name))
    return found


PG = pytest.param("postgresql", marks=pytest.mark.slow)


@pytest.fixture(params=[*STORES, PG])
async def made(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    async with stores(request.param, tmp_path) as found:
        yield fill(found)


@pytest.fixture(params=["sqlite", PG])
async def shared(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    async with stores(request.param, tmp_path) as found:
        yield fill(found)


@pytest.fixture
async def lite(tmp_path: Path) -> AsyncIterator[Stores]:
    async with stores("sqlite", tmp_path) as found:
        yield fill(found)


async def opened(found: Stores) -> tuple[RuleStore, Told]:
    store = found.make()
    await store.load_compiled()
    return store, Told(store)


async def look(store: Any) -> None:
    """What following would do at once: the states and rules of others."""
    await (store.tail() if isinstance(store, DatabaseRuleStore) else store.take_states())


def versions(store: RuleStore) -> dict[str, int]:
    return {r.rule_id: r.rule_version for r in store.rules()}


def written(found: Stores, **rules: str) -> None:
    for name, text in rules.items():
        (found.rules / f"{name}.yaml").write_text(text)


# -- states


async def test_a_state_is_read_back_whole_by_every_store_and_told_once(made: Stores) -> None:
    one, heard = await opened(made)
    two, other = await opened(made)
    end = datetime.now(UTC).replace(microsecond=123456) + SOON
    state = RuleState("clipped", 0.45, end, "noise", "me", end - 2 * SOON)
    await one.set_state("X1", state)
    await look(two)
    for store in (one, two):
        assert await store.get_state("X1") == state
        assert store.states()["X1"] == state
        assert await store.get_state("unheard of") == DEFAULT_STATE
    assert heard.take() == other.take() == [("state", "X1")]
    await look(one)
    await look(two)
    await one.set_state("X1", state)
    await look(two)
    assert heard.take() == other.take() == [], "the same state is no change"
    before = datetime.now(UTC)
    await one.set_state("X2", RuleState("disabled"))
    told = (await two.get_state("X2")).set_at
    assert told is not None
    assert before <= told <= datetime.now(UTC)


async def test_of_two_writers_the_last_one_holds_for_both(made: Stores) -> None:
    one, heard = await opened(made)
    two, other = await opened(made)
    await one.set_state("X1", RuleState("disabled", set_by="one"))
    await two.set_state("X1", RuleState("clipped", 0.5, set_by="two"))
    await two.set_state("X2", RuleState("disabled", set_by="two"))
    await one.set_state("X3", RuleState("disabled", set_by="one"))
    await look(two)
    for store in (one, two):
        assert {r: s.set_by for r, s in store.states().items()} == {"X1": "two", "X2": "two", "X3": "one"}
    assert [c.new_value.set_by for c in heard.changes() if c.rule_id == "X1"] == ["one", "two"]
    assert [c.new_value.set_by for c in other.changes() if c.rule_id == "X1"][-1] == "two"


async def test_a_state_ends_exactly_at_its_time_and_once_for_all(made: Stores) -> None:
    one, heard = await opened(made)
    two, other = await opened(made)
    one.bus, two.bus = Wire(), Wire()  # type: ignore[assignment]
    end = datetime.now(UTC) + SOON
    await one.set_state("X1", RuleState("disabled", expires_at=end, reason="r", set_by="me"))
    await look(two)
    heard.take(), other.take()
    assert await one.revert_expired(end - MICRO) == []
    assert heard.take() == []
    assert await one.revert_expired(end) == ["X1"]
    assert await one.revert_expired(end) == await two.revert_expired(end) == []
    assert heard.changes()[0].new_value == other.changes()[0].new_value == DEFAULT_STATE
    assert "X1" not in {r for r, s in one.states().items() if s != DEFAULT_STATE}
    assert await two.get_state("X1") == DEFAULT_STATE
    assert [(e.payload["state"], e.payload["auto_revert"]) for e in one.bus.events] == [
        ("disabled", False),
        ("enabled", True),
    ]
    assert one.bus.events[0].payload["expires_at"] == end.isoformat()
    assert (one.bus.events[0].payload["reason"], one.bus.events[0].payload["set_by"]) == ("r", "me")


async def test_a_state_that_was_set_anew_is_not_ended_by_who_saw_the_old_one(made: Stores) -> None:
    one, _ = await opened(made)
    two, _ = await opened(made)
    end = datetime.now(UTC) + SOON
    await one.set_state("X1", RuleState("disabled", expires_at=end))
    await look(two)
    await one.set_state("X1", RuleState("disabled", expires_at=end + SOON, set_by="later"))
    assert await two.revert_expired(end) == []
    assert (await two.get_state("X1")).set_by == "later"
    assert two.states()["X1"].set_by == "later"


async def test_states_survive_a_restart_and_those_that_ended_meanwhile_end_once(made: Stores) -> None:
    one, _ = await opened(made)
    await one.set_state("X1", RuleState("disabled", reason="r", set_by="me"))
    await one.set_state("X2", RuleState("disabled", expires_at=datetime.now(UTC) - MICRO))
    two, heard = await opened(made)
    assert (two.states()["X1"].reason, two.states()["X1"].set_by) == ("r", "me")
    assert (await two.get_state("X1")).state == "disabled"
    assert await two.get_state("X2") == DEFAULT_STATE, (
        "an ended state counts for nothing, with or without an engine"
    )
    assert await two.revert_expired() == ["X2"]
    assert heard.take() == [("state", "X2")]
    three, _ = await opened(made)
    assert await three.revert_expired() == []
    assert (await three.get_state("X1")).state == "disabled"


async def test_a_state_stays_with_the_id_of_a_rule_that_is_deleted(made: Stores) -> None:
    store, heard = await opened(made)
    await store.set_state("X1", RuleState("disabled"))
    (made.rules / "X1.yaml").unlink()
    await store.reload()
    assert "X1" not in versions(store)
    assert heard.take() == [("state", "X1"), ("removed", "X1")]
    written(made, again=rule("X1", 4))
    await store.reload()
    assert versions(store)["X1"] == 4
    assert (await store.get_state("X1")).state == "disabled"


# -- definitions


async def test_a_file_that_is_half_written_keeps_the_old_rule_until_it_is_whole(made: Stores) -> None:
    store, heard = await opened(made)
    before = store.version
    whole = rule("X1", 2)
    for cut in (0, 10, len(whole) - 20):
        written(made, X1=whole[:cut])
        await store.reload()
        assert versions(store) == dict.fromkeys(IDS, 1)
        assert {Path(error.place.file).name for error in store.errors()} == {"X1.yaml"}
    assert heard.take() == []
    assert store.version == before
    written(made, X1=whole)
    await store.reload()
    assert versions(store)["X1"] == 2
    assert store.errors() == []
    assert heard.take() == [("definition", "X1")]
    assert store.version == before + 1
    await store.reload()
    assert store.version == before + 1
    assert heard.take() == []


async def test_many_edits_of_one_look_are_one_change_each_in_order_of_the_ids(made: Stores) -> None:
    store, heard = await opened(made)
    written(made, X4=rule("X4", 2), X2=rule("X2", 2), N1=rule("N1"))
    (made.rules / "X3.yaml").unlink()
    await store.reload()
    assert sorted(heard.take()) == [
        ("definition", "N1"), ("definition", "X2"), ("definition", "X4"), ("removed", "X3")
    ]  # fmt: skip
    assert versions(store) == {"N1": 1, "X1": 1, "X2": 2, "X4": 2, "X5": 1}


async def test_half_of_the_rules_may_not_go_unasked_and_all_of_them_never(made: Stores) -> None:
    store, heard = await opened(made)
    for name in ("X1", "X2"):
        (made.rules / f"{name}.yaml").unlink()
    await store.reload()
    assert len(store.rules()) == 3, "three of five may stay"
    written(made, X1=rule("X1"))
    await store.reload()
    heard.take()
    for name in ("X3", "X4"):
        (made.rules / f"{name}.yaml").unlink()
    await store.reload()
    assert len(store.rules()) == 4, "two of four are half"
    assert any("2 of 4" in str(error) for error in store.errors())
    await store.reload(allow_shrink=True)
    assert set(versions(store)) == {"X1", "X5"}
    assert sorted(heard.take()) == [("removed", "X3"), ("removed", "X4")]
    shutil.rmtree(made.rules)
    await store.reload(allow_shrink=True)
    assert set(versions(store)) == {"X1", "X5"}, "an empty set counts never"
    assert any("0 of 2" in str(error) for error in store.errors())
    assert heard.take() == []


async def test_a_bus_that_is_away_costs_the_news_and_not_the_change(made: Stores) -> None:
    store, heard = await opened(made)
    store.bus = Wire(BusError("away"))  # type: ignore[assignment]
    before = publish_failures["BusError"]
    await store.set_state("X1", RuleState("disabled"))
    written(made, X2=rule("X2", 2), X3=rule("X3", 2))
    await store.reload()
    assert store.states()["X1"].state == "disabled"
    assert versions(store)["X2"] == 2
    assert len(heard.take()) == 3
    assert publish_failures["BusError"] == before + 3
    store.bus.down = None  # type: ignore[attr-defined]
    await store.set_state("X4", RuleState("disabled"))
    assert [e.payload["rule_id"] for e in store.bus.events] == ["X4"], "what was lost is not told late"  # type: ignore[attr-defined]


# -- the file of states


async def test_a_state_file_that_cannot_be_used_stops_no_reader_and_every_writer(tmp_path: Path) -> None:
    path = tmp_path / "data" / "rule_state.json"
    (tmp_path / "rules").mkdir()
    store = FilesystemRuleStore(tmp_path / "rules", states=path)
    await store.set_state("X1", RuleState("disabled"))
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir() if "lock" not in p.name] == [path.name], "no draft stays"
    for text in ("[1]", "{", "\xff"):
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(RuleStoreError):
            await store.set_state("X1", RuleState("enabled"))
        assert path.read_bytes() == text.encode("latin-1"), "nothing is written over what cannot be read"
        assert (await store.get_state("X1")).state == "disabled"
        other = FilesystemRuleStore(tmp_path / "rules", states=path)
        assert await other.load_compiled() == []
        assert await other.get_state("X1") == DEFAULT_STATE
    path.unlink()
    path.mkdir()
    with pytest.raises(RuleStoreError):
        await store.set_state("X1", RuleState("enabled"))


async def test_a_bad_entry_in_the_state_file_costs_no_other(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(
        '{"A": {"state": "clipped"}, "B": 5, "C": {"state": "disabled", "expires_at": "2026-01-01T00:00:00"},'
        ' "D": {"state": "disabled", "later": 1}}'
    )
    store = FilesystemRuleStore(tmp_path, states=tmp_path / "s.json")
    with capture_logs() as logs:
        await store.load_compiled()
    assert set(store.states()) == {"D"}
    assert sorted(log["rule_id"] for log in logs if log["log_level"] == "warning") == ["A", "B", "C"]


async def test_following_goes_on_when_the_states_are_away_for_a_moment(tmp_path: Path) -> None:
    store = FilesystemRuleStore(tmp_path, states=tmp_path / "s.json", states_s=0.001)
    heard = Told(store)
    (tmp_path / "s.json").write_text("{")
    task = asyncio.create_task(store._follow_states())
    await asyncio.sleep(0.02)
    (tmp_path / "s.json").write_text('{"D": {"state": "disabled"}}')
    async with asyncio.timeout(5):
        while not store.states():
            await asyncio.sleep(0.002)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert heard.take() == [("state", "D")]


def test_the_settings_choose_the_store_and_its_bounds(tmp_path: Path) -> None:
    settings = load_settings(
        data_dir=tmp_path, rules=tmp_path, ttp={"rule_store_type": "filesystem", "rescan_s": 7.0}
    )
    store = get_rule_store(settings)
    assert isinstance(store, FilesystemRuleStore)
    assert store._file.path == tmp_path / "rule_state.json"
    assert (store.rescan_s, store.debounce_s, store.directory.max_bytes) == (7.0, 0.2, 262_144)
    assert FilesystemRuleStore(tmp_path, states_s=60).states_s == 1.0, "a state counts within a second"
    with pytest.raises(TypeError):
        get_rule_store(load_settings(data_dir=tmp_path, rules=tmp_path))


# -- the database: one writer, many readers


def dead_owner(monkeypatch: pytest.MonkeyPatch, says: BaseException | None) -> None:
    def kill(pid: int, signal: int) -> None:
        assert signal == 0
        if says is not None:
            raise says

    monkeypatch.setattr(os, "kill", kill)


HOST = OWNER.partition(":")[0]


@pytest.mark.parametrize(
    ("owner", "says", "dead"),
    [
        (f"{HOST}:4711:abc", ProcessLookupError(), True),
        (f"{HOST}:4711:abc", PermissionError(), False),
        (f"{HOST}:4711:abc", None, False),
        (f"{HOST}:4711:abc", OverflowError(), False),
        ("elsewhere:4711:abc", ProcessLookupError(), False),
        (f"{HOST}:x:abc", ProcessLookupError(), False),
        (HOST, ProcessLookupError(), False),
    ],
)
async def test_only_a_process_of_this_host_that_is_gone_loses_its_lease(
    lite: Stores, monkeypatch: pytest.MonkeyPatch, owner: str, says: BaseException | None, dead: bool
) -> None:
    """A process of another user answers with PermissionError: it lives."""
    dead_owner(monkeypatch, says)
    assert await lite.repo.lease_acquire(LEASE, owner, 600)
    store, _ = await opened(lite)
    assert store.feeding is dead
    assert await lite.repo.lease_owner(LEASE) == (store.owner if dead else owner)


async def test_of_two_stores_one_feeds_and_giving_up_gives_away_only_what_is_ones_own(shared: Stores) -> None:
    one, _ = await opened(shared)
    two, _ = await opened(shared)
    assert (one.feeding, two.feeding) == (True, False)
    await two.give_up()
    assert await shared.repo.lease_owner(LEASE) == one.owner
    written(shared, X1=rule("X1", 2))
    await two.reload()
    assert versions(two)["X1"] == 1, "who does not hold the lease feeds nothing"
    await one.give_up()
    assert not one.feeding
    assert await two._hold_lease()
    await two.reload()
    await look(one)
    assert versions(two)["X1"] == versions(one)["X1"] == 2
    assert not await one._hold_lease()


async def test_who_lost_the_lease_meanwhile_writes_nothing(shared: Stores) -> None:
    one, _ = await opened(shared)
    two = shared.make()
    assert isinstance(two, DatabaseRuleStore)
    await shared.repo.lease_release(LEASE, one.owner)  # as if it had stalled for longer than the lease
    await two.load_compiled()
    assert one.feeding
    assert two.feeding
    before = await shared.repo.rule_change_seq()
    written(shared, X1=rule("X1", 9))
    await one.feed()
    assert await shared.repo.rule_change_seq() == before
    assert not one.feeding
    assert await shared.repo.lease_owner(LEASE) == two.owner


async def test_the_lease_is_held_as_long_as_was_said(lite: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    store = lite.make()
    seen: list[tuple[str, str, float]] = []
    real = lite.repo.lease_acquire

    async def spy(name: str, owner: str, ttl_s: float) -> bool:
        seen.append((name, owner, ttl_s))
        return await real(name, owner, ttl_s)

    monkeypatch.setattr(lite.repo, "lease_acquire", spy)
    await store.load_compiled()
    assert seen == [("ttp-rules", store.owner, 1.5)]
    assert store.owner.startswith(OWNER)
    assert store.owner != lite.make().owner


async def test_a_start_with_an_empty_folder_takes_no_rule_away(shared: Stores) -> None:
    one, _ = await opened(shared)
    await one.give_up()
    for path in shared.rules.iterdir():
        path.unlink()
    two, _ = await opened(shared)
    assert two.feeding
    assert versions(two) == dict.fromkeys(IDS, 1)
    assert any("0 of 5" in str(error) for error in two.errors())
    await two.give_up()
    written(shared, X1=rule("X1", 2))
    three, _ = await opened(shared)
    assert versions(three) == {"X1": 2}, "another directory may hold fewer rules"
    assert three.errors() == []


async def test_a_change_that_could_not_be_read_whole_is_read_again(
    lite: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, heard = await opened(lite)
    await lite.repo.rule_state_set("X1", state="disabled")
    real = lite.repo.rule_state_get

    async def away(_: str) -> None:
        raise DatabaseError("away")

    monkeypatch.setattr(lite.repo, "rule_state_get", away)
    with pytest.raises(DatabaseError):
        await store.tail()
    monkeypatch.setattr(lite.repo, "rule_state_get", real)
    await store.tail()
    assert heard.take() == [("state", "X1")]
    await store.tail()
    assert heard.take() == []


async def test_what_several_engines_tell_of_one_change_is_one_event(shared: Stores) -> None:
    one, _ = await opened(shared)
    two, _ = await opened(shared)
    one.bus, two.bus = Wire(), Wire()  # type: ignore[assignment]
    await one.set_state("X1", RuleState("disabled"))
    written(shared, X2=rule("X2", 2))
    await one.reload()
    await two.tail()
    seq = await shared.repo.rule_change_seq()
    ids = [event.id for event in one.bus.events]
    assert sorted(ids) == sorted(event.id for event in two.bus.events)
    assert event_id("rules", "definition|X2", seq) in ids
    assert len(set(ids)) == 2


async def test_bad_rows_block_no_other_and_what_is_in_force_stays(shared: Stores) -> None:
    store, heard = await opened(shared)
    await store.give_up()
    await define_rule(shared.repo, "X1", 5, "n", "rule_id: [", "x.yaml", None)
    await define_rule(shared.repo, "X2", 5, "n", rule("Q9"), "y.yaml", None)
    await define_rule(shared.repo, "W1", 1, "n", rule("W1"), "w.yaml", None)
    await define_rule(shared.repo, "E1", 0, "", "", "e.yaml", "e.yaml:3:4: wrong\ne.yaml:5:1: too")
    await shared.repo.rule_state_set("X3", state="clipped", confidence_max=None)
    await shared.repo.rule_state_set("X4", state="disabled")
    await store.tail()
    assert versions(store) == {**dict.fromkeys(IDS, 1), "W1": 1}
    assert sorted(heard.take()) == [("definition", "W1"), ("state", "X4")]
    texts = [str(error) for error in store.errors()]
    assert any("the row of X2 holds Q9" in text for text in texts)
    assert [error.message for error in store.errors() if error.place.file == "e.yaml"] == [
        "3:4: wrong",
        "5:1: too",
    ]
    assert store._states.get("X3") is None


async def test_only_rows_that_differ_are_written_and_nothing_is_read_twice_for_nothing(lite: Stores) -> None:
    one, _ = await opened(lite)
    seq = await lite.repo.rule_change_seq()
    assert seq == len(IDS)
    await one.feed(at_start=True)
    assert await lite.repo.rule_change_seq() == seq
    await define_rule(lite.repo, "X1", 7, "n", rule("X1", 7), "elsewhere.yaml", None)
    await one.feed()
    await one.tail()
    assert versions(one)["X1"] == 1, "rows that another hand changed are made those of the files again"
    rows = {row["rule_id"]: row for row in await lite.repo.rule_definitions()}
    assert rows["X1"]["file"] == str(lite.rules / "X1.yaml")


async def test_a_broken_file_is_listed_with_its_last_good_rule_or_under_its_name(shared: Stores) -> None:
    one, _ = await opened(shared)
    written(shared, X1="broken: [", new="also broken: [")
    await one.reload()
    rows = {row["rule_id"]: row for row in await shared.repo.rule_definitions()}
    assert rows["X1"]["yaml"] == rule("X1")
    assert "X1.yaml" in rows["X1"]["error"]
    assert (rows["new.yaml"]["version"], rows["new.yaml"]["yaml"]) == (0, "")
    await one.give_up()
    two, _ = await opened(shared)
    assert versions(two) == dict.fromkeys(IDS, 1), "a start keeps the last good version of a broken file"
    written(shared, X1=rule("X1", 3))
    (shared.rules / "new.yaml").unlink()
    await two.reload()
    rows = {row["rule_id"]: row for row in await shared.repo.rule_definitions()}
    assert rows["X1"]["error"] is None
    assert "new.yaml" not in rows
    assert versions(two)["X1"] == 3


async def test_states_are_looked_for_once_a_second_at_the_latest(lite: Stores) -> None:
    fs = FilesystemRuleStore(lite.rules)
    assert DatabaseRuleStore(lite.repo, fs, tail_s=60.0).tail_s == 1.0
    assert DatabaseRuleStore(lite.repo, fs, tail_s=0.25).tail_s == 0.25


class _Stop(Exception):
    pass


def pauses(monkeypatch: pytest.MonkeyPatch, count: int, then: Any = None) -> list[float]:
    """Turns of a loop that sleeps: notes how long it would, and ends it at the last."""
    seen: list[float] = []

    async def sleep(seconds: float) -> None:
        seen.append(seconds)
        if then is not None:
            await then(len(seen))
        if len(seen) == count:
            raise _Stop

    monkeypatch.setattr(database_module.asyncio, "sleep", sleep)
    return seen


async def test_the_lease_is_renewed_three_times_as_often_as_it_ends(
    lite: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that is away is asked again; who gets the lease later feeds at once."""
    assert await lite.repo.lease_acquire(LEASE, "elsewhere:1:abc", 600)
    store = lite.make()
    assert isinstance(store, DatabaseRuleStore)
    asked, real = [0], lite.repo.lease_acquire

    async def acquire(name: str, owner: str, ttl_s: float) -> bool:
        asked[0] += 1
        if asked[0] == 1:
            raise DatabaseError("away")
        return await real(name, owner, ttl_s)

    async def freed(turn: int) -> None:
        if turn == 2:
            assert store.rules() == ()
            await lite.repo.lease_release(LEASE, "elsewhere:1:abc")

    monkeypatch.setattr(lite.repo, "lease_acquire", acquire)
    monkeypatch.setattr(store.fs, "debounce_s", 0.0)
    seen = pauses(monkeypatch, 6, freed)
    with pytest.raises(_Stop):
        await store._renew()
    assert [s for s in seen if s] == [0.5] * len([s for s in seen if s])
    assert store.feeding
    assert versions(store) == dict.fromkeys(IDS, 1)


async def test_looking_at_rows_goes_on_after_a_database_that_was_away(
    lite: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, heard = await opened(lite)
    await lite.repo.rule_state_set("X1", state="disabled", expires_at=datetime.now(UTC) - MICRO)
    real, calls = lite.repo.rule_changes_since, [0]

    async def since(seq: int) -> Sequence[Any]:
        calls[0] += 1
        if calls[0] == 1:
            raise DatabaseError("away")
        return await real(seq)

    monkeypatch.setattr(lite.repo, "rule_changes_since", since)
    seen = pauses(monkeypatch, 3)
    with pytest.raises(_Stop):
        await store.tail_db(0.25)
    assert seen == [0.125] * 3, "and as long for a commit of somebody else"
    assert heard.take() == [("state", "X1"), ("state", "X1")], "taken over, then ended"


async def test_rows_to_which_nobody_writes_are_not_read_and_states_end_all_the_same(
    lite: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, heard = await opened(lite)
    real, calls = lite.repo.rule_changes_since, [0]

    async def since(seq: int) -> Sequence[Any]:
        calls[0] += 1
        return await real(seq)

    monkeypatch.setattr(lite.repo, "rule_changes_since", since)
    task = asyncio.create_task(store.tail_db(0.02))
    await asyncio.sleep(0.3)
    assert calls == [2], "once at its beginning, and once since the first look for commits cannot compare"
    soon = datetime.now(UTC) + timedelta(seconds=0.3)
    await lite.repo.rule_state_set("X1", state="disabled", expires_at=soon)
    await asyncio.sleep(0.1)
    assert heard.take() == [("state", "X1")]
    assert calls == [3]
    await asyncio.sleep(0.5)
    assert heard.take() == [("state", "X1")], "its time is over"
    calls[0] = 0
    await asyncio.sleep(0.2)
    assert calls == [0]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_rows_that_another_hand_changed_are_made_those_of_the_files_soon(shared: Stores) -> None:
    async with shared.running() as (store, _):
        await asyncio.sleep(
            1.5
        )  # the files were looked at once more when their watch began, and will not be soon
        await define_rule(shared.repo, "X1", 7, "n", rule("X1", 7), "elsewhere.yaml", None)
        async with asyncio.timeout(3):
            while True:
                rows = {row["rule_id"]: row for row in await shared.repo.rule_definitions()}
                if rows["X1"]["file"] == str(shared.rules / "X1.yaml") and versions(store)["X1"] == 1:
                    break
                await asyncio.sleep(0.02)


async def test_files_are_fed_after_each_hint_by_who_holds_the_lease_and_an_outage_ends_nothing(
    lite: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, heard = await opened(lite)
    real, turns = lite.repo.rule_changes_since, list[str]()

    async def away(_: int) -> Sequence[Any]:
        monkeypatch.setattr(lite.repo, "rule_changes_since", real)
        raise DatabaseError("away")

    async def hints() -> AsyncIterator[None]:
        for version, (turn, feeding) in enumerate((("away", True), ("fed", True), ("not ours", False)), 2):
            turns.append(turn)
            written(lite, X1=rule("X1", version))
            store.feeding = feeding
            if turn == "away":
                monkeypatch.setattr(lite.repo, "rule_changes_since", away)
            yield

    monkeypatch.setattr(store.fs, "hints", hints)
    monkeypatch.setattr(store.fs, "debounce_s", 0.0)
    monkeypatch.setattr(store.fs, "rescan_s", 0.01)
    await store._follow_files()
    assert turns == ["away", "fed", "not ours"]
    assert versions(store)["X1"] == 3
    assert [kind for kind, _ in heard.take()] == ["definition"] * 2, (
        "what was away is tried again without a hint"
    )


async def test_who_listens_no_more_gets_nothing_more(made: Stores) -> None:
    store = made.make()
    changes = store.subscribe_changes()
    await store.load_compiled()
    await store.set_state("X1", RuleState("disabled"))
    assert (await anext(changes)).rule_id == "X1"
    await changes.aclose()  # type: ignore[attr-defined]
    assert store._queues == []
    assert store._unsent == [], "without a bus there is no news"


async def test_the_end_of_following_gives_the_lease_back(
    lite: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = await opened(lite)

    async def fails() -> None:
        raise _Stop

    monkeypatch.setattr(store, "_renew", fails)
    with pytest.raises(ExceptionGroup):
        await store.sync_from_filesystem()
    assert not store.feeding
    assert await lite.repo.lease_owner(LEASE) is None


async def test_a_set_time_is_kept_and_a_missing_one_is_now(lite: Stores) -> None:
    store, _ = await opened(lite)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    await store.set_state("X1", replace(RuleState("disabled"), set_at=at))
    assert (await lite.repo.rule_state_get("X1"))["set_at"] == at
