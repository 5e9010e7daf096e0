"""What commands and console say of rules is what the engine does, whether it keeps them in a database or in files."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from decnet.bus.base import Event
from decnet.config import ConsoleSettings, Settings, load_settings
from decnet.db.repository import BaseRepository
from decnet.errors import DecnetError, RuleStoreError
from decnet.ttp.backfill import run_backfill
from decnet.ttp.rules import RuleState
from decnet.ttp.store.base import RuleStore
from decnet.ttp.store.factory import get_rule_store, reach_rule_store
from decnet.ttp.store.impl.ruleset import RuleSetFile
from decnet.ttp.store.impl.states import StateFile
from decnet_tui.app import DecnetApp
from decnet_tui.cli.main import app
from decnet_tui.journal import with_expiries
from decnet_tui.store import LOADING, StoredRules
from tests.consolekit import StoreSession, shows
from tests.dbkit import migrated
from tests.storekit import Wire, rule

KINDS = ("database", "filesystem")


class Host:
    """A data directory with its database and a folder of rules; an engine's rule store over them, when one runs."""

    def __init__(self, kind: str, folder: Path, repo: BaseRepository) -> None:
        self.kind, self.data, self.repo = kind, folder / "data", repo
        self.rules = folder / "rules"
        self.rules.mkdir()
        self.wire = Wire()
        self.store: RuleStore
        for name in ("X1", "X2"):
            self.write(name, rule(name))

    def write(self, name: str, text: str) -> None:
        (self.rules / f"{name}.yaml").write_text(text, "utf-8")

    def settings(self, **more: Any) -> Settings:
        kind = more.pop("kind", self.kind)
        ttp = {"rule_store_type": kind, "rescan_s": 0.2, "reload_debounce_s": 0.05}
        return load_settings(data_dir=self.data, rules=self.rules, ttp=ttp, **more)

    async def cli(self, *words: str, kind: str | None = None, rules: Path | None = None) -> Result:
        """A command in a process that knows the data directory and, if anything, its own settings."""
        where = ("--data-dir", str(self.data), "--rules", str(rules or self.rules))
        env = {"DECNET_TTP_RULE_STORE_TYPE": kind or self.kind, "DECNET_TTP__RULE_STORE_TYPE": "database"}
        return await asyncio.to_thread(CliRunner().invoke, app, [*words, *where], env=env)

    async def listed(self, **how: Any) -> dict[str, dict[str, Any]]:
        done = await self.cli("rules", "list", "--json", **how)
        assert done.exit_code == 0, done.output
        return {row["rule_id"]: row for row in json.loads(done.stdout)}

    async def beat(self, state: str = "ok", **more: Any) -> None:
        """The heartbeat of the engine's ttp worker."""
        payload = {
            "worker": "ttp",
            "ts": time.time(),
            "state": state,
            "pid": os.getpid(),
            "host": socket.gethostname(),
        }
        await self.repo.heartbeats_write({"ttp": {**payload, **self.store.where(), **more}})

    @asynccontextmanager
    async def engine(self, *, loaded: bool = True) -> AsyncIterator[RuleStore]:
        self.store = get_rule_store(self.settings(), repo=self.repo, bus=self.wire)  # type: ignore[arg-type]
        await self.store.hold()
        await self.beat()
        if loaded:
            await self.store.load_compiled()
        task = asyncio.create_task(self.store.follow()) if loaded else None
        try:
            yield self.store
        finally:
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            await self.store.close()
            await self.beat("stopped")

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():
                await asyncio.sleep(0.02)

    def in_force(self, rule_id: str) -> RuleState:
        return self.store.states().get(rule_id, RuleState()).effective()

    def told(self, rule_id: str) -> list[tuple[str, bool]]:
        """(state, by itself) of the news on the bus."""
        topic = f"ttp.rule.state.{rule_id}"
        return [(e.payload["state"], e.payload["auto_revert"]) for e in self.wire.events if e.topic == topic]


@pytest.fixture(params=KINDS)
async def host(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Host]:
    repo = await BaseRepository.open(await migrated(tmp_path / "data" / "decnet.sqlite"))
    yield Host(request.param, tmp_path, repo)
    await repo.close()


async def test_commands_show_and_steer_what_the_engine_has(host: Host) -> None:
    async with host.engine():
        assert {r: row["state"] for r, row in (await host.listed()).items()} == {
            "X1": "enabled",
            "X2": "enabled",
        }
        done = await host.cli("rules", "disable", "X1", "--for", "1h", "--reason", "noisy")
        assert done.exit_code == 0, done.output
        assert done.stdout.startswith("X1 disabled until ")
        await host.until(lambda: host.in_force("X1").state == "disabled")
        await host.until(lambda: host.told("X1") == [("disabled", False)])
        shown = (await host.listed())["X1"]
        assert (shown["state"], shown["reason"]) == ("disabled", "noisy")
        assert shown["set_by"].endswith("@cli")
        assert "disabled" in (await host.cli("rules", "show", "X1")).stdout
        assert (await host.cli("rules", "clip", "X2", "--max", "0.4")).exit_code == 0
        await host.until(lambda: host.in_force("X2").confidence_max == 0.4)
        assert (await host.cli("rules", "enable", "X1")).exit_code == 0
        await host.until(lambda: host.in_force("X1").state == "enabled")
        unknown = await host.cli("rules", "disable", "X9")
        assert (unknown.exit_code, "no rule X9" in unknown.stderr) == (1, True)
    journal = [(row["target"], (row["after"] or {})["state"]) for row in await host.repo.journal()]
    assert journal == [("X1", "enabled"), ("X2", "clipped"), ("X1", "disabled")]


async def test_a_state_ends_by_the_clock_for_engine_list_and_journal(host: Host) -> None:
    async with host.engine():
        assert (await host.cli("rules", "disable", "X1", "--for", "1s")).exit_code == 0
        await host.until(lambda: ("enabled", True) in host.told("X1"))
        assert host.in_force("X1").state == "enabled"
        assert (await host.listed())["X1"]["state"] == "enabled"
        ended = [row for row in with_expiries(await host.repo.journal()) if row["outcome"] == "by itself"]
        assert [(row["target"], row["what"]) for row in ended] == [("X1", "X1 enabled again")]


async def test_a_state_that_is_set_without_an_engine_counts_from_its_start(host: Host) -> None:
    assert set(await host.listed()) == {"X1", "X2"}, "the files, which the next engine loads"
    assert (await host.cli("rules", "disable", "X2")).exit_code == 0
    assert (await host.listed())["X2"]["state"] == "disabled"
    async with host.engine():
        assert host.in_force("X2").state == "disabled"


async def test_a_broken_file_is_listed_with_the_rule_that_is_still_in_force_and_can_be_switched_off(
    host: Host,
) -> None:
    async with host.engine():
        host.write("X1", rule("X1").replace("pattern:", "regx:"))
        host.write("Y", "rule_id: [")
        await host.until(lambda: len({e.place.file for e in host.store.errors()}) == 2)
        listed = await host.listed()
        while listed["X1"]["error"] is None:
            listed = await host.listed()
        assert "X1.yaml:6:" in listed["X1"]["error"]
        assert (listed["X1"]["state"], listed["Y.yaml"]["state"]) == ("enabled", "failed")
        assert (await host.cli("rules", "disable", "X1")).exit_code == 0
        await host.until(lambda: host.in_force("X1").state == "disabled")


async def test_the_engines_own_rules_and_store_count_whatever_the_commands_settings_say(
    host: Host, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "Z.yaml").write_text(rule("Z9"), "utf-8")
    wrong = KINDS[host.kind == "database"]
    async with host.engine():
        assert set(await host.listed(kind=wrong, rules=other)) == {"X1", "X2"}
        assert (await host.cli("rules", "disable", "X1", kind=wrong, rules=other)).exit_code == 0
        await host.until(lambda: host.in_force("X1").state == "disabled")
        assert (await host.cli("rules", "disable", "Z9", kind=wrong, rules=other)).exit_code == 1


async def test_in_the_first_seconds_list_and_disable_say_the_same(host: Host) -> None:
    async with host.engine(loaded=False):
        for words in (("list",), ("list", "--json"), ("show", "X1"), ("disable", "X1")):
            done = await host.cli("rules", *words)
            assert (done.exit_code, done.stdout) == (1, ""), words
            assert LOADING in done.stderr, words
        with pytest.raises(RuleStoreError, match="no rules are loaded"):
            await run_backfill(*_span(), repo=host.repo, settings=host.settings())
    async with host.engine():
        assert set(await host.listed()) == {"X1", "X2"}


def _span() -> tuple[datetime, datetime]:
    return datetime.fromtimestamp(0, UTC), datetime.fromtimestamp(1, UTC)


async def test_the_console_lists_switches_off_and_undoes_as_the_engine_does(host: Host) -> None:
    settings = host.settings(console=ConsoleSettings(glyphs="ascii"))
    async with host.engine():
        session = StoreSession(host.repo, settings=settings)
        session.reports = False
        host.wire.publish_events = _to_console(session)  # type: ignore[method-assign]
        console = DecnetApp(settings, session=session)
        async with console.run_test(size=(100, 30)) as pilot:
            await pilot.press("4")
            await shows(console, pilot, "X1")
            await pilot.press("colon", *"disable X1 10m noisy", "enter", "y", "enter", "y")
            await shows(console, pilot, "X1 disabled: verified")
            assert host.in_force("X1").state == "disabled"
            await shows(console, pilot, "- OFF")
            await pilot.press("8")
            await shows(console, pilot, "+ verified")
            await pilot.press("U", "y")
            await shows(console, pilot, "X1 enabled: verified")
            assert host.in_force("X1").state == "enabled"


def _to_console(session: StoreSession) -> Callable[[list[Event]], Any]:
    async def publish(events: list[Event]) -> None:
        for event in events:
            session.bus.put(event.topic, event.payload)

    return publish


# -- files: elsewhere, killed, two at once


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[Host]:
    repo = await BaseRepository.open(await migrated(tmp_path / "data" / "decnet.sqlite"))
    yield Host("filesystem", tmp_path, repo)
    await repo.close()


async def test_files_of_another_host_are_named_and_nothing_is_written_or_shown(
    files: Host, tmp_path: Path
) -> None:
    async with files.engine():
        await files.beat(host="sensor-9", rule_states="/there/rule_state.json", pid=1)
        here = load_settings(data_dir=tmp_path / "mine", rules=files.rules)
        rules = StoredRules(here, files.repo, "eve", engine=True, local=False)
        named = r"the engine on sensor-9 keeps .* in /there: .* --data-dir /there"
        with pytest.raises(DecnetError, match=named):
            await rules.list_rules()
        with pytest.raises(DecnetError, match=named):
            await rules.set_rule_state("X1", "disabled")
        with pytest.raises(RuleStoreError, match=named):
            await run_backfill(*_span(), repo=files.repo, settings=here)
        assert await files.repo.rule_states() == {}
        console = DecnetApp(here, session=StoreSession(files.repo, settings=here))
        async with console.run_test(size=(140, 30)) as pilot:
            await pilot.press("4")
            await shows(console, pilot, "the engine on sensor-9 keeps rules and their states")
    assert (await reach_rule_store(here, files.repo)).kind == "database", (
        "an engine that stopped decides nothing"
    )


async def test_a_set_counts_only_while_its_engine_lives(files: Host) -> None:
    inside = RuleSetFile(files.data)
    assert inside.read() is None
    async with files.engine() as store:
        assert [row.rule_id for row in inside.read() or ()] == ["X1", "X2"]
        assert not RuleSetFile(files.data).hold(), "one engine a data directory"
        told = await reach_rule_store(files.settings(kind="database"), None)
        assert told == ("filesystem", True), "the lock alone tells, with no database to ask"
        (files.data / "rules_in_force.json").write_text("{", "utf-8")
        with pytest.raises(RuleStoreError, match="rules in force not readable"):
            inside.read()
        assert [row.rule_id for row in await store.listing()] == ["X1", "X2"]
    assert inside.read() is None
    assert not inside.held()


def test_writers_at_the_same_moment_lose_no_state(tmp_path: Path) -> None:
    path, count = tmp_path / "rule_state.json", 12
    start = threading.Barrier(2)

    def write(lane: int) -> None:
        file = StateFile(path)
        start.wait()
        for number in range(count):
            file.put(f"R{lane}{number:02}", RuleState("disabled"))

    lanes = [threading.Thread(target=write, args=(lane,)) for lane in range(2)]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    assert sorted(StateFile(path).read()) == [f"R{lane}{n:02}" for lane in range(2) for n in range(count)]


async def test_a_file_of_states_that_cannot_be_read_is_an_error_of_the_store_and_of_every_list(
    files: Host,
) -> None:
    async with files.engine() as store:
        (files.data / "rule_state.json").write_text("{", "utf-8")
        await files.until(lambda: any("not readable" in str(e) for e in store.errors()))
        done = await files.cli("rules", "list")
        assert done.exit_code == 1
        assert "rule states not readable" in done.stderr
        (files.data / "rule_state.json").write_text("{}", "utf-8")
        await files.until(lambda: not store.errors())
