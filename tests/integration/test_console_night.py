"""One night's log in the console: the break-in stands first, and few keys lead to its page, its indicators, its like."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from decnet.config import ConsoleSettings, Settings, load_settings
from decnet.db.repository import BaseRepository
from decnet_tui.app import DecnetApp
from decnet_tui.cli.main import app as program
from decnet_tui.model.marks import FILE_NAME
from decnet_tui.screens.since import SinceView
from tests import nightkit
from tests.consolekit import StoreSession, screen_text, shows
from tests.nightkit import BROKE_IN, INTRUDER, SCANNER, SESSIONS, SSHD, VISITOR

SIZES = [(80, 24), (160, 48)]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("night")
    asyncio.run(nightkit.night_in(folder, time.time() - 8 * 3600))
    return folder


@pytest.fixture
def folder(stored: Path, tmp_path: Path) -> Path:
    """A data directory of one test's own: marks and exports go there."""
    for file in stored.glob("decnet.sqlite*"):
        shutil.copy(file, tmp_path / file.name)
    return tmp_path


def settings_in(folder: Path) -> Settings:
    return load_settings(data_dir=folder, console=ConsoleSettings(glyphs="ascii"))


@asynccontextmanager
async def console(
    folder: Path, size: tuple[int, int] = (80, 24), **how: Any
) -> AsyncIterator[tuple[DecnetApp, Any]]:
    """A console that stands on its first view."""
    settings = settings_in(folder)
    repo = await BaseRepository.open(settings.db_url)
    try:
        app = DecnetApp(settings, session=StoreSession(repo), **how)
        async with app.run_test(size=size) as pilot:
            await shows(app, pilot, lambda: app.view.name == "since" and app.view.count(), limit=20)
            yield app, pilot
    finally:
        await repo.close()


def is_page_of(app: DecnetApp, source: str) -> bool:
    """Whether the page of a session of a source stands on the screen, read."""
    return level_of(app).told is not None and level_of(app).attacker == nightkit.A[source]


class Keys:
    """Counts keys; waits for what a key has to bring."""

    def __init__(self, app: DecnetApp, pilot: Any) -> None:
        self.app, self.pilot, self.pressed = app, pilot, 0

    async def press(self, key: str, look: str | Callable[[], object] = "") -> None:
        self.pressed += 1
        await self.pilot.press(key)
        if look:
            await shows(self.app, self.pilot, look, limit=20)


def level_of(app: DecnetApp) -> Any:
    return app.view.level  # type: ignore[attr-defined]


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    taken: list[str] = []
    monkeypatch.setattr(DecnetApp, "copy", lambda self, text: taken.append(text) or len(text))
    return taken


def asked(folder: Path, *words: str) -> str:
    done = CliRunner().invoke(program, [*words, "--data-dir", str(folder)])
    assert done.exit_code == 0, done.output
    return done.stdout


# --- what it must show


@pytest.mark.parametrize("size", SIZES)
async def test_the_break_in_stands_first_and_its_indicators_are_copied_in_two_keys(
    folder: Path, copied: list[str], size: tuple[int, int]
) -> None:
    async with console(folder, size) as (app, pilot):
        screen = screen_text(app)
        assert f"sources 6   sessions {SESSIONS}" in screen[3]
        first = next(n for n, line in enumerate(screen) if "READ FIRST" in line) + 1
        assert INTRUDER in screen[first]
        assert "HIGH uploaded and ran sshd 94f2e4d8 (first time anywhere)" in screen[first + 1]
        assert SCANNER in screen[first + 2]
        assert "583 sessions" in screen[first + 2]
        assert "12 scripts" in screen[first + 3]
        assert VISITOR in screen[first + 4]
        assert "+3 sources that only knocked" in screen[first + 6]
        keys = Keys(app, pilot)
        await keys.press("d", "all 4 indicators")
        await keys.press("y", lambda: copied)
        assert keys.pressed <= 5
    assert copied[0].splitlines() == [
        f"ip {INTRUDER}", f"sha256 {SSHD}", "path /root/.7088625799880323584/sshd", "cred root/#eec9"
    ]  # fmt: skip


async def test_from_the_page_of_the_session_too(folder: Path, copied: list[str]) -> None:
    async with console(folder) as (app, pilot):
        keys = Keys(app, pilot)
        await keys.press("enter", "uploaded and ran sshd")
        await keys.press("d", "all 4 indicators")
        await keys.press("y", lambda: copied)
        assert keys.pressed <= 5
        assert f"sha256 {SSHD}" in copied[0]
        await keys.press("j")
        await keys.press("j")
        await keys.press("y", lambda: len(copied) == 2)
    assert copied[1] == SSHD, "on a line of its own it is that line's"


async def test_each_job_takes_at_most_so_many_keys(folder: Path) -> None:
    """Open tonight's worst session 2, follow an attacker 2, find a hash 3 and its text; from wherever one is."""
    async with console(folder) as (app, pilot):
        for began in ("1", "4", "8"):
            await pilot.press(began)
            keys = Keys(app, pilot)
            await keys.press("0")
            await keys.press("enter", "uploaded and ran sshd")
            assert keys.pressed <= 2
            assert level_of(app).session_id == BROKE_IN
            await pilot.press("escape")
        await pilot.press("1")
        keys = Keys(app, pilot)
        await keys.press("0")
        await keys.press("F", f"follow {INTRUDER}")
        assert keys.pressed <= 2
        await pilot.press("F", "1")
        keys = Keys(app, pilot)
        await keys.press("ctrl+f")
        await pilot.press(*"94f2e4d8")
        await keys.press("enter", SSHD[:30])
        assert keys.pressed <= 3
        assert app.view.record()["session_id"] == BROKE_IN


def test_the_same_by_the_command_line(folder: Path) -> None:
    told = json.loads(asked(folder, "summary", "--json"))
    first = told["read_first"][0]
    assert (first["attacker_ip"], first["severity"], first["sessions"], first["playbooks"]) == (
        INTRUDER,
        "high",
        1,
        1,
    )
    assert first["severity_reason"] == "uploaded and ran sshd 94f2e4d8"
    assert [row["attacker_ip"] for row in told["read_first"][:3]] == [INTRUDER, SCANNER, VISITOR]
    assert (told["totals"]["sources"], told["totals"]["sessions"], told["totals"]["files"]) == (
        6,
        SESSIONS,
        1,
    )
    assert not any(
        told["new_in_history"][name] for name in ("files", "hosts", "keys", "credentials", "techniques")
    ), "a first import makes nothing new"
    assert not any(row["new"] for row in told["read_first"])
    rows = json.loads(asked(folder, "iocs", "--session", first["session_id"], "--json"))
    assert [(row["kind"], row["value"]) for row in rows][1] == ("sha256", SSHD)
    assert json.loads(asked(folder, "iocs", "--attacker", INTRUDER, "--json")) == rows
    text = asked(folder, "summary")
    assert text.index(INTRUDER) < text.index(SCANNER)
    everything = asked(folder, "iocs", "--since", "24h", "--csv").splitlines()
    assert everything[0] == "kind,value,name,sessions,sources,first,last,session_id"
    assert {line.split(",")[0] for line in everything[1:]} == {"ip", "sha256", "url", "host", "path", "cred"}
    assert "host    evil.example" in asked(folder, "iocs", "--kind", "host")


# --- the first view


async def test_marks_of_what_is_read_stay_and_unread_is_gone_to(folder: Path) -> None:
    async with console(folder) as (app, pilot):
        await shows(app, pilot, "3 unread")
        await pilot.press("x")
        await shows(app, pilot, "2 unread")
        await pilot.press("u")
        assert app.view.record()["attacker_ip"] == SCANNER
        await pilot.press("enter")
        await shows(app, pilot, lambda: level_of(app).told is not None)
        await pilot.press("x")
        await shows(app, pilot, "read")
        await pilot.press("u")
        await shows(app, pilot, lambda: level_of(app).told and level_of(app).attacker == nightkit.A[VISITOR])
        await pilot.press("escape")
        await shows(app, pilot, "1 unread")
    async with console(folder) as (app, pilot):
        await shows(app, pilot, "1 unread")
        await pilot.press("x")
        await shows(app, pilot, "2 unread"), "the mark is taken back"


async def test_read_only_keeps_marks_for_this_run_alone(folder: Path) -> None:
    async with console(folder, read_only=True) as (app, pilot):
        await pilot.press("x")
        await shows(app, pilot, "read (for this run)")
        await shows(app, pilot, "2 unread")
    assert not (folder / FILE_NAME).exists()


async def test_a_mark_that_cannot_be_kept_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "read-marks.json")

    monkeypatch.setattr("decnet_tui.model.marks.write_private", full)
    async with console(folder) as (app, pilot):
        await pilot.press("x")
        await shows(app, pilot, "the mark could not be kept: No space left on device")


async def test_those_that_only_knocked_unfold_and_fold(folder: Path) -> None:
    async with console(folder) as (app, pilot):
        await pilot.press("G")
        assert app.view.current.key == "knocked"  # type: ignore[attr-defined]
        await pilot.press("space")
        await shows(app, pilot, nightkit.KNOCKERS[1])
        await pilot.press("space")
        await shows(app, pilot, "+3 sources that only knocked")


async def test_a_day_or_another_span_is_asked_for_by_name(folder: Path) -> None:
    async with console(folder) as (app, pilot):
        await pilot.press("colon", *"since 2020-02-03", "enter")
        await shows(app, pilot, "the day 2020-02-03 (UTC)")
        await shows(app, pilot, "Nothing happened")
        await pilot.press("colon", *"since 7d", "enter")
        await shows(app, pilot, INTRUDER)
        await pilot.press("colon", *"since 30th", "enter")
        await shows(app, pilot, "'30th' is no span: write 24h, 7d, today")
        await pilot.press("s")
        await shows(app, pilot, "everything that is stored")


# --- the page of a session


@pytest.mark.parametrize("size", SIZES)
async def test_the_page_has_log_in_client_steps_cause_strip_indicators_and_like(
    folder: Path, size: tuple[int, int]
) -> None:
    async with console(folder, size) as (app, pilot):
        await pilot.press("enter")
        await shows(app, pilot, "IOCs of this session: 4")
        text = "\n".join(screen_text(app))
        for word in (
            INTRUDER, "web-07 ssh", "session 1 of 1", f"its own id {BROKE_IN}", "client SSH-2.0-Go", "login root/#eec9, try 1 ok",
            "HIGH: uploaded and ran sshd 94f2e4d8", "--IN-", "DROP    put sshd  94f2e4d8d443  new file", "T1105",
            "ARM     chmod +x", f"sha256 {SSHD}", "like it  pb-", "0 sessions before",
        ):  # fmt: skip
            assert word in text, word
        await pilot.press("j", "j")
        await shows(app, pilot, "why T1059.004 Unix Shell, Execution")
        await shows(app, pilot, "because: the sensor saw sshd come (uploaded)")
        await pilot.press("enter")
        await shows(app, pilot, "confidence 0.85")


async def test_a_tag_shows_what_it_matched_and_the_line_that_it_rests_on(folder: Path) -> None:
    async with console(folder) as (app, pilot):
        await pilot.press("colon", *"actors", "enter")
        await shows(app, pilot, lambda: app.view.loaded_at)
        app.open_in("actors", "scan0008")
        await shows(app, pilot, lambda: app.view.opened and level_of(app).told)
        page = level_of(app)
        assert page.told.payload["session_id"] == "scan0008"
        ran = next(n for n, row in enumerate(page.rows) if row["what"].startswith("./"))
        page.cursor = ran
        await shows(app, pilot, "m goes there")
        await pilot.press("m")
        await shows(app, pilot, "what the tag rests on")
        assert page.current["what"].startswith("wget http://evil.example/")
        await shows(app, pilot, "~~~ matched here")


async def test_the_next_and_the_previous_of_the_list_that_led_here(folder: Path) -> None:
    async with console(folder) as (app, pilot):
        await pilot.press("enter")
        await shows(app, pilot, lambda: level_of(app).told)
        for key, source in (("]", SCANNER), ("]", VISITOR), ("[", SCANNER), ("[", INTRUDER)):
            await pilot.press({"]": "right_square_bracket", "[": "left_square_bracket"}[key])
            await shows(app, pilot, partial(is_page_of, app, source))
        await pilot.press("left_square_bracket")
        await shows(app, pilot, "this is the first one")
        assert level_of(app).attacker == nightkit.A[INTRUDER]
        await pilot.press("escape")
        assert app.view is app.view_of(SinceView)
        assert app.view.record()["attacker_ip"] == INTRUDER, "the list is where its page was"
        await pilot.press("right_square_bracket")
        await shows(app, pilot, "works in view 3")
