"""The console over a real store: changes with their ends, journal, undo, two consoles, search, follow, read-only."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.config import ConsoleSettings, Settings
from decnet.db.repository import BaseRepository
from decnet.db.rows.ttp import TTPTag
from decnet.errors import DatabaseError
from decnet.ids import attacker_id
from decnet_tui.actions.rules import RuleChange
from decnet_tui.actions.workers import LetterRetry, WorkerControl
from decnet_tui.app import DecnetApp
from decnet_tui.screens.journal import JournalView
from decnet_tui.screens.since import SinceView
from tests.consolekit import FakeSession, StoreSession, pressed, screen_text, shows
from tests.dbkit import open_repo
from tests.rowkit import define_rule

IP = "203.0.113.7"
YAML = "emits:\n  - {technique_id: T1105, confidence: 0.85}\n"


def settings_in(folder: Path) -> Settings:
    return Settings(console=ConsoleSettings(glyphs="ascii"), data_dir=folder)


async def filled(repo: BaseRepository, now: float) -> None:
    """One attacker with a session, a command, a tag; two rules, one of them broken; a dead letter."""
    uuid = attacker_id(IP)
    await repo.upsert_attacker(uuid, IP, now - 60)
    await repo.ensure_stub_identity_for_attacker(uuid)
    times = {"started_at": now - 60, "ended_at": now - 20, "duration_s": 40.0}
    await repo.upsert_session(
        {"session_id": "s1", "attacker_uuid": uuid, "attacker_ip": IP, "decky_id": "web-07", "service": "ssh",
         "protocol": "ssh", "command_count": 1, "end_reason": "closed", **times}
    )  # fmt: skip
    await repo.insert_commands("s1", [{"id": "c1", "command_text": "wget http://x/y.sh", "ts": now - 50}])
    tag = TTPTag(source_kind="command", source_id="c1", attacker_uuid=uuid, session_id="s1", tactic="TA0011",
                 technique_id="T1105", confidence=0.8, rule_id="R0001", rule_version=1)  # fmt: skip
    await repo.insert_tags([tag])
    await define_rule(repo, "R0001", 1, "ingress_tool_transfer", YAML, "R0001.yaml")
    await define_rule(repo, "R0002", 1, "", "", "R0002.yaml", "R0002.yaml:3:1: unknown key 'regx'")
    letter = Event("attacker.observed", {"x": 1}, id="dead", ts=now - 900)
    await repo.dead_letter_add("ttp", letter.topic, "ValueError: no", 7, letter.to_bytes())


@asynccontextmanager
async def store(folder: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo("sqlite", folder) as repo:
        await filled(repo, time.time())
        yield repo


async def disable(app: DecnetApp, pilot: Any, how: str = "disable R0001 10m noisy") -> None:
    await pilot.press("4")
    await shows(app, pilot, "R0001")
    await pilot.press("colon", *how.replace(" ", "\n").replace("\n", " "), "enter")
    if not app.write.on:
        await pilot.press("y")
    await pilot.press("enter", "y")


async def test_the_first_screen_is_what_is_new_and_each_line_opens_its_view(tmp_path: Path) -> None:
    async with store(tmp_path) as repo:
        app = DecnetApp(settings_in(tmp_path), session=StoreSession(repo))
        async with app.run_test(size=(100, 40)) as pilot:
            await shows(app, pilot, "R0002 failed to load")
            text = "\n".join(screen_text(app))
            for word in (
                "sources 1   sessions 1   got in 0",
                "READ FIRST  1 of 1 shown",
                IP,
                "not judged yet",
            ):
                assert word in text
            since = app.view_of(SinceView)
            since.cursor = next(i for i, e in enumerate(since.entries) if e.key == "R0002")
            await pilot.press("enter")
            await shows(app, pilot, "unknown key 'regx'") if app.size.width >= 120 else await shows(
                app, pilot, ">R0002"
            )
            await pilot.press("0", "s")
            await shows(app, pilot, "the last 24h")


async def test_a_demo_begins_on_what_happened_and_fills_what_has_nothing_stored_begins_live(
    tmp_path: Path,
) -> None:
    """What a demo plays is stored within seconds; of an engine nobody knows when somebody comes."""
    repo = await BaseRepository.open(settings_in(tmp_path).db_url)
    try:
        live, demo = StoreSession(repo), StoreSession(repo)
        demo.demo = True
        app = DecnetApp(settings_in(tmp_path), session=live)
        async with app.run_test(size=(80, 24)) as pilot:
            await shows(app, pilot, "No event yet")
        app = DecnetApp(settings_in(tmp_path), session=demo)
        async with app.run_test(size=(80, 24)) as pilot:
            await shows(app, pilot, "sources 0   sessions 0")
            assert app.view.name == "since"
            await filled(repo, time.time())
            app.feed.by_root["attacker"] += 1
            await shows(app, pilot, "READ FIRST  1 of 1 shown")
    finally:
        await repo.close()


async def test_disable_is_verified_journalled_and_undone_exactly(tmp_path: Path) -> None:
    async with store(tmp_path) as repo:
        await repo.rule_state_set("R0001", state="clipped", confidence_max=0.4, reason="before", set_by="bob")
        app = DecnetApp(settings_in(tmp_path), session=StoreSession(repo))
        async with app.run_test(size=(100, 30)) as pilot:
            await disable(app, pilot)
            await shows(app, pilot, "R0001 disabled: verified")
            await shows(app, pilot, "- OFF")
            await pilot.press("8")
            await shows(app, pilot, "+ verified")
            await pilot.press("U")
            await shows(app, pilot, "back to state clipped  max 0.4  reason before")
            await pilot.press("y")
            await shows(app, pilot, "R0001 clipped to 0.40: verified")
        state = (await repo.rule_states())["R0001"]
        assert (state["state"], state["confidence_max"], state["reason"]) == ("clipped", 0.4, "before")
        newest, oldest = await repo.journal()
        assert (newest["undoes"], newest["outcome"]) == (oldest["id"], "verified")
        assert (oldest["reason"], oldest["operator"]) == ("noisy", "eve@console")


async def test_a_rule_is_disabled_for_an_hour_with_nine_keys(tmp_path: Path) -> None:
    async with store(tmp_path) as repo:
        app = DecnetApp(settings_in(tmp_path), session=StoreSession(repo))
        async with app.run_test(size=(80, 24)) as pilot:
            app.write.start()
            keys, typed = ["4", "slash", "enter", "D", "tab", "enter", "y"], ["R0001", "noisy"]
            await pilot.press(keys[0])
            await shows(app, pilot, "R0001")
            await pilot.press(keys[1], *typed[0], *keys[2:5], *typed[1], *keys[5:])
            await shows(app, pilot, "R0001 disabled: verified")
        state = (await repo.rule_states())["R0001"]
        assert (state["state"], state["reason"]) == ("disabled", "noisy")
        assert state["expires_at"] is not None
        assert 3590 < state["expires_at"].timestamp() - time.time() <= 3600
        assert len(keys) <= 9


@pytest.mark.parametrize(
    ("reports", "breaks", "word"), [(False, False, "saved, not yet reported"), (True, True, "NOT APPLIED")]
)
async def test_a_silent_engine_and_a_broken_store_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reports: bool, breaks: bool, word: str
) -> None:
    monkeypatch.setattr(RuleChange, "wait_s", 0.2)
    async with store(tmp_path) as repo:
        session = StoreSession(repo)
        session.reports = reports

        async def refuse(*_: object, **__: object) -> None:
            raise DatabaseError("disk full")

        if breaks:
            monkeypatch.setattr(session, "set_rule_state", refuse)
        app = DecnetApp(settings_in(tmp_path), session=session)
        async with app.run_test(size=(100, 30)) as pilot:
            await disable(app, pilot)
            await shows(app, pilot, word)
        (row,) = await repo.journal()
        assert row["outcome"] == word


async def test_two_consoles_on_one_engine_see_each_others_changes(tmp_path: Path) -> None:
    async with store(tmp_path) as repo:
        eve, bob = StoreSession(repo), StoreSession(repo, "bob@console")
        bob.bus = eve.bus
        first, second = (DecnetApp(settings_in(tmp_path), session=s) for s in (eve, bob))
        async with first.run_test(size=(100, 30)) as one, second.run_test(size=(100, 30)) as two:
            await two.press("4")
            await shows(second, two, "R0001")
            await two.press("W", "y", "D")
            await shows(second, two, "DISABLE R0001")
            await disable(first, one)
            await shows(first, one, "verified")
            await shows(second, two, "changed meanwhile by eve@console", limit=1.5)
            await two.press("escape")
            await shows(second, two, "- OFF", limit=1.0)


async def test_a_worker_is_steered_and_its_heartbeat_is_the_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with store(tmp_path) as repo:
        session = StoreSession(repo)
        app = DecnetApp(settings_in(tmp_path), session=session)
        async with app.run_test(size=(100, 30)) as pilot:
            await pilot.press("6")
            await shows(app, pilot, lambda: session.bus.subs)
            session.bus.put("system.ttp.health", {"worker": "ttp", "state": "ok", "ts": time.time()})
            await shows(app, pilot, "+ ok")
            await pilot.press("S", "y", *"pause", "enter", "y")
            await shows(app, pilot, lambda: session.bus.published)
            assert session.bus.published[0][0] == "system.ttp.control"
            session.bus.put("system.ttp.health", {"worker": "ttp", "state": "paused", "ts": time.time()})
            await shows(app, pilot, "ttp pause: verified")
            monkeypatch.setattr(WorkerControl, "wait_s", 0.2)
            await pilot.press("S", *"stop", "enter", "y")
            await shows(app, pilot, "ttp stop: UNKNOWN")


async def test_a_dead_letter_goes_on_the_bus_again_once_the_broker_forgot_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LetterRetry, "wait_s", 0.2)
    async with store(tmp_path) as repo:
        session = StoreSession(repo)
        app = DecnetApp(settings_in(tmp_path), session=session)
        async with app.run_test(size=(100, 30)) as pilot:
            await pilot.press("6")
            await shows(app, pilot, "ValueError: no")
            await pilot.press("colon", *"retry 1", "enter", "y")
            await shows(app, pilot, "RETRY dead letter 1")
            await pilot.press("y")
            await shows(app, pilot, "the broker still knows dead letter 1")
            monkeypatch.setattr("decnet_tui.actions.workers.DUPLICATE_WINDOW_S", 0.0)
            await pilot.press("colon", *"retry 1", "enter", "y")
            await shows(app, pilot, "no new failure within")
        assert session.bus.published == [("attacker.observed", {"x": 1})]
        assert await repo.dead_letters() == []


async def test_a_source_is_ignored_and_that_is_undone(tmp_path: Path) -> None:
    async with store(tmp_path) as repo:
        app = DecnetApp(settings_in(tmp_path), session=StoreSession(repo))
        async with app.run_test(size=(100, 30)) as pilot:
            await shows(app, pilot, IP)
            await pilot.press("1")
            await shows(app, pilot, "new      first seen")
            await pilot.press("X", "y")
            await shows(app, pilot, f"IGNORE {IP}")
            await pilot.press("enter", "y")
            await shows(app, pilot, f"ignore {IP}: verified")
            assert [row["value"] for row in await repo.ignored_sources()] == [f"{IP}/32"]
            await pilot.press("U", "y")
            await shows(app, pilot, "no longer: verified")
            assert await repo.ignored_sources() == []


async def test_search_follow_and_traffic_of_an_actor(tmp_path: Path) -> None:
    async with store(tmp_path) as repo:
        session = StoreSession(repo)
        session.bus.past += [Event("attacker.observed", {"attacker_ip": "198.51.100.9"})]
        app = DecnetApp(settings_in(tmp_path), session=session)
        async with app.run_test(size=(100, 30)) as pilot:
            await pilot.press("ctrl+f", *"y.sh", "enter")
            await shows(app, pilot, "wget http://x/y.sh")
            await pilot.press("F")
            await shows(app, pilot, f"following {IP} in all views")
            await pilot.press("1")
            await shows(app, pilot, lambda: app.traffic.count() == 1)
            assert f"follow {IP}" in screen_text(app)[0]
            await pilot.press("F")
            await shows(app, pilot, lambda: app.traffic.count() == 2)
            await pilot.press("minus", "b")
            await shows(app, pilot, lambda: app.view is app.traffic and app.traffic.count() == 1)
            await pilot.press("backslash")
            assert app.traffic.count() == 2


async def test_without_a_database_only_traffic_and_workers_work_and_the_others_say_so(tmp_path: Path) -> None:
    session = FakeSession()

    async def refuse() -> list[Any]:
        raise DatabaseError("attached without a database: start the console with --db")

    session.list_rules = refuse  # type: ignore[method-assign]
    app = DecnetApp(settings_in(tmp_path), session=session)
    async with app.run_test(size=(100, 30)) as pilot:
        await shows(app, pilot, "new      first seen")
        for view in app.views.values():
            if view.key and view.name not in ("traffic", "workers"):
                await pilot.press(view.key)
                await shows(app, pilot, "without a database")
                assert "--db" in "\n".join(screen_text(app)), view.name


@pytest.mark.slow
@pytest.mark.fault(
    fault="any keys in a console that was started with --read-only",
    guard="no command that changes is known to it",
    control="mutant console-read-only-keeps-commands",
    figure="random keys publish nothing and write exports alone",
)
async def test_read_only_random_keys_publish_nothing_and_write_nothing_but_exports(tmp_path: Path) -> None:
    dice = random.Random(5)
    (tmp_path / "db").mkdir()
    async with store(tmp_path / "db") as repo:
        session = StoreSession(repo)
        writes: list[str] = []
        for name in ("rule_state_set", "journal_add", "ignore_add", "dead_letter_delete", "set_alert_state"):
            setattr(repo, name, lambda *_, _name=name, **__: writes.append(_name))
        app = DecnetApp(settings_in(tmp_path / "data"), session=session, read_only=True)
        keys = [
            *"abcdefghijklmnoprstuvwxyz0123456789/?:;<>=-+ABCDEFGHIJKLMNOPRSTUVWXYZ",
            "enter",
            "tab",
            "up",
            "down",
        ]
        async with app.run_test(size=(100, 30)) as pilot:
            for _ in range(100):
                for key in (*dice.choices(keys, k=12), "escape"):
                    app.take_key(pressed(key))
                await pilot.pause()
            assert app.is_running
            assert not app.write.on
        assert not session.bus.published
        assert not writes
        assert await repo.journal() == []
    found = {p.relative_to(tmp_path / "data").parts[0] for p in (tmp_path / "data").rglob("*")}
    assert found <= {"exports"}


async def test_the_journal_names_no_row_that_cannot_be_undone(tmp_path: Path) -> None:
    async with store(tmp_path) as repo:
        await repo.journal_add(
            operator="bob", kind="worker.control", target="ttp", what="ttp stop", before=None, after=None
        )
        app = DecnetApp(settings_in(tmp_path), session=StoreSession(repo))
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.press("8")
            await shows(app, pilot, lambda: app.view_of(JournalView).count() == 1)
            await pilot.press("U", "y")
            await shows(app, pilot, "cannot be undone: ttp stop: nothing takes it back")
