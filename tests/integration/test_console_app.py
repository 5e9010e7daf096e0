"""The console with a pilot: every view at every size, pause, filter, the form, hostile text."""

from __future__ import annotations

import base64
import random
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from decnet.config import ConsoleSettings, Settings
from decnet_tui.actions.rules import RuleChange
from decnet_tui.app import DecnetApp
from decnet_tui.screens.traffic import DEFAULT_FILTER
from decnet_tui.widgets.clipboard import osc52 as real_osc52
from tests.consolekit import FakeSession, screen_text

SETTINGS = Settings(console=ConsoleSettings(glyphs="ascii"))
SIZES = [(80, 24), (120, 30), (160, 48)]


@pytest.mark.parametrize("size", SIZES)
async def test_every_view_fills_its_size_and_nothing_more(size: tuple[int, int]) -> None:
    app = DecnetApp(SETTINGS, session=FakeSession())
    async with app.run_test(size=size) as pilot:
        for key, word in (
            ("1", "Traffic"),
            ("4", "ingress_tool"),
            ("6", "No heartbeat"),
            ("question_mark", "this help"),
        ):
            await pilot.press(key)
            await pilot.pause(0.3)
            lines = screen_text(app)
            assert len(lines) == size[1]
            assert all(len(line) == size[0] for line in lines)
            assert word in "\n".join(lines)
            assert "sensor-01 LIVE" in lines[0]
            assert lines[0].endswith("Z")
            assert "help" in lines[-1]


async def test_too_small_says_so() -> None:
    app = DecnetApp(SETTINGS, session=FakeSession())
    async with app.run_test(size=(50, 10)) as pilot:
        await pilot.pause(0.3)
        lines = [line for line in screen_text(app) if line.strip()]
        assert lines == ["50x10: needs 60x12; still receiving".ljust(50)]


async def test_filter_explains_while_typing_and_escape_restores() -> None:
    app = DecnetApp(SETTINGS, session=FakeSession())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("slash", "space", *"ttp..x")
        await pilot.pause(0.2)
        assert "empty part" in "\n".join(screen_text(app))
        await pilot.press("escape")
        assert app.traffic.filter_text == DEFAULT_FILTER


async def test_a_new_filter_replaces_the_old_one_and_may_go_on_from_it() -> None:
    app = DecnetApp(SETTINGS, session=FakeSession())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("slash", *"curl", "enter")
        assert app.traffic.filter_text == "curl"
        await pilot.press("slash")
        await pilot.pause(0.1)
        assert "now: curl" in "\n".join(screen_text(app)), "what is replaced is said"
        await pilot.press(*"wget", "enter")
        assert app.traffic.filter_text == "wget"
        await pilot.press("slash", "enter")
        assert app.traffic.filter_text == "wget", "nothing typed is nothing changed"
        await pilot.press("slash", "up", *" -ssh", "enter")
        assert app.traffic.filter_text == "wget -ssh"
        await pilot.press("backslash")
        assert app.traffic.filter_text == DEFAULT_FILTER, "back to the view's own"


async def test_a_slash_in_a_filter_begins_an_expression_whatever_comes_first() -> None:
    session = FakeSession()
    app = DecnetApp(SETTINGS, session=session)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.2)
        for text in ("wget x", "tftp y", "curl z"):
            session.bus.put("ttp.rule.fired.T1105", {"attacker_ip": "203.0.113.7", "rule_ids": [text]})
        await pilot.pause(0.3)
        await pilot.press("slash", *"/wget|tftp/", "enter")
        assert (app.view.name, app.traffic.filter_text, app.traffic.count()) == ("traffic", "/wget|tftp/", 2)


async def test_a_key_that_no_event_has_is_refused_with_those_that_there_are() -> None:
    app = DecnetApp(SETTINGS, session=FakeSession())
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.press("slash", *"sesion:3e64", "enter")
        await pilot.pause(0.1)
        said = "\n".join(screen_text(app))
        assert app.prompt.question is not None, "it is still asked"
        for word in ("no event has sesion", "perhaps session", "there are ip attacker id rule session"):
            assert word in said


async def test_a_failed_confirmation_of_quitting_swallows_what_is_typed_on() -> None:
    app = DecnetApp(SETTINGS, session=FakeSession())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("Q", *"no4")
        assert app.view.name != "rules", "the rest of a word is no command"
        assert app.desk.swallowing
        await pilot.press("escape", "4")
        assert app.view.name == "rules"


async def test_pause_keeps_receiving() -> None:
    session = FakeSession()
    app = DecnetApp(SETTINGS, session=session)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.2)
        await pilot.press("p")
        for _ in range(50):
            session.bus.put("ttp.tagged", {})
        await pilot.pause(0.8)
        assert "PAUSED +50 new" in screen_text(app)[2]
        await pilot.press("p")
        assert app.traffic.count() == 51


async def disable(pilot: Any) -> None:
    await pilot.press("4")
    await pilot.pause(0.3)
    await pilot.press("D", "y")
    await pilot.pause(0.1)
    await pilot.press(*"5s", "tab", *"noisy", "enter", "y")
    await pilot.pause(0.6)


@pytest.mark.parametrize(
    ("reports", "keeps", "word"),
    [(True, True, "verified"), (False, True, "saved, not yet reported"), (True, False, "NOT APPLIED")],
)
async def test_disable_says_what_became_of_it(
    monkeypatch: pytest.MonkeyPatch, reports: bool, keeps: bool, word: str
) -> None:
    monkeypatch.setattr(RuleChange, "wait_s", 0.2)
    session = FakeSession(reports, keeps)
    app = DecnetApp(SETTINGS, session=session)
    async with app.run_test(size=(80, 24)) as pilot:
        await disable(pilot)
        assert word in screen_text(app)[-2]
        if keeps:
            assert "- OFF" in "\n".join(screen_text(app))
            assert session.row["reason"] == "noisy"


async def test_read_only_changes_nothing() -> None:
    session = FakeSession()
    app = DecnetApp(SETTINGS, session=session, read_only=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await disable(pilot)
        assert session.row["state"] == "enabled"
        assert "disable" not in screen_text(app)[-1]


async def test_quit_asks_when_the_engine_is_inside() -> None:
    app = DecnetApp(SETTINGS, session=FakeSession())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("Q", "n")
        assert app.is_running
        await pilot.press("Q", "y")
    assert not app.is_running


@pytest.mark.parametrize("count", [400, pytest.param(10_000, marks=pytest.mark.slow)])
async def test_hostile_text_is_shown_and_never_obeyed(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[str] = []

    def record(text: str, *, tmux: bool) -> str:
        copied.append(real_osc52(text, tmux=tmux))
        return ""

    monkeypatch.setattr("decnet_tui.widgets.clipboard.osc52", record)
    dice = random.Random(7)
    nasty = "\x1b]52;c;aGk=\x07\x9b31m\u202e\u200b\u2066\x00\r\n[@click=app.bell][/x]é漢\ud800"
    session = FakeSession()
    app = DecnetApp(SETTINGS.model_copy(update={"data_dir": tmp_path}), session=session)
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.pause(0.2)
        for i in range(count):
            if i % 500 == 499:
                await pilot.pause(0.05)
            text = "".join(dice.choice(nasty) for _ in range(60))
            session.bus.put("credential.captured", {"username": text, "attacker_ip": text, text: [text]})
            session.bus.put("system.ttp.health", {"state": text, "degraded": text, text: text})
        keys = [v.key for v in app.views.values() if v.key]
        for key in (*keys, "1", "y", "e", "j", "e", "c", "F", "6", "enter", "escape", "y", "e", "t", "4"):
            await pilot.press(key)
            await pilot.pause(0.02)
            app._tick()  # what came since, without waiting for its turn
            await pilot.pause()
            lines = screen_text(app)
            bad = {
                c for line in lines for c in line if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")
            }
            assert not bad
    assert copied
    for text in copied:
        assert not _obeyed(base64.b64decode(text[7:-1]).decode())
    for path in (tmp_path / "exports").iterdir():
        text = path.read_text("ascii" if path.suffix == ".jsonl" else "utf-8")
        assert not any(_obeyed(line) for line in text.split("\n"))


def _obeyed(text: str) -> set[str]:
    """Characters that a terminal could obey; a copy may have line ends."""
    return {c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}


@pytest.mark.slow
async def test_a_paused_screen_stands_still_while_200000_events_arrive() -> None:
    session = FakeSession()
    app = DecnetApp(SETTINGS, session=session)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.3)
        for i in range(300):
            session.bus.put("ttp.tagged", {"n": i})
        await pilot.pause(0.5)
        await pilot.press("p")
        before = screen_text(app)[3:20]
        for _ in range(200):
            for i in range(1000):
                session.bus.put("ttp.tagged", {"n": i})
            await pilot.pause(0.02)
        while app.feed.total < 200_301:
            await pilot.pause(0.1)
        await pilot.pause(0.7)
        assert screen_text(app)[3:20] == before
        assert "PAUSED +200000 new" in screen_text(app)[2]
