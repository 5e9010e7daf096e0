"""What an operator stumbled on in a night of use: each a test of the console over a real store."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from decnet.config import ConsoleSettings, Settings
from decnet.db.repository import BaseRepository
from decnet.ids import attacker_id, identity_id
from decnet.mutator.fleet import load_fleet
from decnet.mutator.rows import Tools, apply_fleet
from decnet_tui.app import DecnetApp
from decnet_tui.screens import VIEWS
from decnet_tui.screens.found import MAX_ROWS, FoundView
from decnet_tui.screens.ignored import IgnoredView
from decnet_tui.screens.loading import Loader
from tests.consolekit import StoreSession, screen_text, shows
from tests.dbkit import open_repo
from tests.integration.test_console_flows import IP, filled

NATIVE = "3e640b037364"
"""The honeypot's own id of a session."""


@pytest.fixture
async def repo(tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo("sqlite", tmp_path) as made:
        await filled(made, 1_764_000_000.0)
        session = {"session_id": "s2-0123456789", "sensor_session": NATIVE, "attacker_uuid": attacker_id(IP), "attacker_ip": IP,
                   "decky_id": "web-07", "service": "ssh", "protocol": "ssh", "started_at": 1_764_000_000.0}  # fmt: skip
        await made.upsert_session(session)
        yield made


def app_on(repo: BaseRepository, folder: Path, **console: Any) -> DecnetApp:
    settings = Settings(console=ConsoleSettings(glyphs="ascii", **console), data_dir=folder)
    return DecnetApp(settings, session=StoreSession(repo))


def typed(line: str) -> tuple[str, ...]:
    """A line of the command line, key by key."""
    return ("colon", *line, "enter")


async def ready(app: DecnetApp, pilot: Any) -> None:
    """Once the first screen has read the store."""
    await shows(app, pilot, lambda: app.view.name == "since" and app.view.loaded_at)


async def test_every_view_is_named_and_usable_at_the_smallest_size(
    repo: BaseRepository, tmp_path: Path
) -> None:
    app = app_on(repo, tmp_path)
    async with app.run_test(size=(60, 12)) as pilot:
        await ready(app, pilot)
        for view in VIEWS:
            await pilot.press(view.key)
            await shows(
                app,
                pilot,
                lambda view=view: app.view.name == view.name and "Reading" not in "".join(screen_text(app)),
            )
            await pilot.pause(0.15)
            lines = screen_text(app)
            assert all(len(line) == 60 for line in lines)
            assert f"{view.key}*" in lines[1], "line 2 says where one is"
            assert all(f"{other.key}" in lines[1] for other in VIEWS), "and where one can go"
            assert any(line.strip() for line in lines[3:-1])
            assert "? help" in lines[-1]


async def test_G_goes_to_the_last_line_of_every_view_and_g_to_the_first(
    repo: BaseRepository, tmp_path: Path
) -> None:
    app = app_on(repo, tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(app, pilot)
        for view in VIEWS:
            await pilot.press(view.key)
            await shows(app, pilot, lambda: app.view.loaded_at or not app.view.stored)
            shown = app.view
            if not shown.count() or not shown.on_row:
                continue
            first = shown.cursor
            await pilot.press("G")
            last = shown.cursor
            assert last == max(i for i in range(shown.count()) if _can_stand(app, i)), view.name
            assert "".join(text for text, _ in shown.line(last, 79)).strip()[:20] in "\n".join(
                screen_text(app)
            )
            await pilot.press("g")
            assert shown.cursor == first or view.name == "traffic"


def _can_stand(app: DecnetApp, index: int) -> bool:
    """Whether the cursor can be on a line: a heading is none."""
    entries = getattr(app.view, "entries", None)
    return entries is None or entries[index].key is not None


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (f"sessions {NATIVE}", ""),
        ("sessions s2-0123", ""),
        (f"actors {attacker_id(IP)[:8]}", IP),
        (f"actors {identity_id(attacker_id(IP))[:6]}", IP),
        (f"follow {attacker_id(IP)[:8]}", "following i-"),
        (f"follow {NATIVE}", f"following {IP}"),
        (f"follow i-{identity_id(attacker_id(IP))[:6]}", "following i-"),
        ("rules r0001", "R0001"),
    ],
)
async def test_what_the_screen_shows_of_an_id_names_it_on_the_command_line(
    line: str, wanted: str, repo: BaseRepository, tmp_path: Path
) -> None:
    app = app_on(repo, tmp_path)
    async with app.run_test(size=(120, 30)) as pilot:
        await ready(app, pilot)
        await pilot.press(*typed(line))
        if wanted:
            await shows(app, pilot, wanted)
        else:
            await shows(app, pilot, lambda: app.view.opened and getattr(app.view.actor(), "label", "") == IP)
        assert "shows no line" not in "\n".join(screen_text(app))


async def test_a_rule_is_disabled_by_its_name_alone_never_by_a_hidden_row(
    repo: BaseRepository, tmp_path: Path
) -> None:
    app = app_on(repo, tmp_path)
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(app, pilot)
        await pilot.press("4")
        await shows(app, pilot, lambda: app.view.on_row)
        await pilot.press("3")
        await shows(app, pilot, lambda: app.view.loaded_at)
        await pilot.press(*typed("disable"), "y")
        await shows(app, pilot, "D, E and C change the rule under the cursor in view 4")
        assert app.form.form is None
        await pilot.press(*typed("disable r0001"))
        await shows(app, pilot, "DISABLE R0001")


async def test_ignored_sources_stand_in_the_console_with_their_ends(
    repo: BaseRepository, tmp_path: Path
) -> None:
    app = app_on(repo, tmp_path)
    await repo.ignore_add("192.0.2.0/24", reason="own scanner", set_by="bob@cli")
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(app, pilot)
        await pilot.press("3")
        await shows(app, pilot, IP)
        await pilot.press("X", "y")
        await shows(app, pilot, f"IGNORE {IP}")
        assert "[7d]" in "\n".join(screen_text(app)), "not for ever, unless one says so"
        await pilot.press("enter", "y")
        await shows(app, pilot, "verified")
        await pilot.press(*typed("ignored"))
        await shows(app, pilot, lambda: app.view_of(IgnoredView).count() == 2)
        lines = "\n".join(screen_text(app))
        for word in (f"{IP}/32", " 6d ", "never", "own scanner", "bob@cli"):
            assert word in lines
        assert app.view.record()["value"] == f"{IP}/32", "what ends first stands first"
        await pilot.press("E", "enter", "y") if not app.write.on else await pilot.press("E", "y")
        await shows(app, pilot, lambda: app.view_of(IgnoredView).count() == 1)
        await pilot.press("escape")
        assert app.view.name == "actors"


async def test_hits_beyond_those_that_are_shown_are_counted_and_each_has_its_own_time(
    repo: BaseRepository, tmp_path: Path
) -> None:
    many = [{"id": f"m{n}", "command_text": f"needle {n}", "ts": 1000.0 + n} for n in range(MAX_ROWS + 3)]
    await repo.insert_commands("s1", many)
    app = app_on(repo, tmp_path)
    async with app.run_test(size=(120, 30)) as pilot:
        await ready(app, pilot)
        await pilot.press("ctrl+f", *"needle", "enter")
        await shows(app, pilot, f"the newest {MAX_ROWS} of {MAX_ROWS + 3} hits")
        found = app.view_of(FoundView)
        assert found.count() == MAX_ROWS
        assert [row["ts"].timestamp() for row in found.rows[:2]] == [1502.0, 1501.0]
        assert found.copy_text() == "needle 502", "a copy is the thing itself"


async def test_a_view_is_saved_with_its_filter_order_and_columns_and_shown_again(
    repo: BaseRepository, tmp_path: Path
) -> None:
    shared = {
        "rules-that-fire": "rules sort=-fired_24h filter=state:on",
        "odd": "nowhere filter=",
        "bad": "rules sort=-colour filter=",
    }
    app = app_on(repo, tmp_path, saved=shared)
    async with app.run_test(size=(120, 30)) as pilot:
        await ready(app, pilot)
        await pilot.press("3")
        await shows(app, pilot, IP)
        await pilot.press("c", "ctrl+u", *"attacker_ip did last_seen", "enter")
        await pilot.press("slash", *IP, "enter", "greater_than_sign")
        await pilot.press(*typed("save mine"))
        await shows(app, pilot, "saved as mine")
        await pilot.press("backslash", "1", *typed("load mine"))
        assert (app.view.name, app.view.filter_text) == ("actors", IP)
        assert app.view.level.sort_by == "attacker_ip"
        await pilot.press(*typed("load rules-that-fire"))
        await shows(app, pilot, lambda: app.view.name == "rules" and app.view.filter_text == "state:on")
        assert app.view.descending
        for name, why in (
            ("odd", "no view is called nowhere"),
            ("bad", "no column colour"),
            ("none", "nothing is saved as none"),
        ):
            await pilot.press(*typed(f"load {name}"))
            await shows(app, pilot, why)
    again = app_on(repo, tmp_path)
    async with again.run_test(size=(120, 30)) as pilot:
        await ready(again, pilot)
        await pilot.press("3")
        await shows(again, pilot, IP)
        assert [c.id for c, _ in again.view.level.layout(160)] == ["attacker_ip", "did", "last_seen"], (
            "columns are kept"
        )


async def test_what_is_shown_is_exported_with_its_columns_and_a_name_that_says_what_it_is(
    repo: BaseRepository, tmp_path: Path
) -> None:
    app = app_on(repo, tmp_path)
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(app, pilot)
        await pilot.press("3")
        await shows(app, pilot, IP)
        await pilot.press("c", "ctrl+u", *"attacker_ip session_count", "enter", "i")
        await shows(app, pilot, "web-07")
        await pilot.press("escape", "e", "c")
        await shows(app, pilot, lambda: list((tmp_path / "exports").glob("actors-2*.csv")))
        (path,) = (tmp_path / "exports").glob("*.csv")
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        assert rows[:2] == [["attacker_ip", "session_count"], [IP, "2"]]
        await pilot.press("i", *typed("export text"))
        await shows(app, pilot, lambda: list((tmp_path / "exports").glob(f"actors-{IP}*.txt")))
        await pilot.press(*typed("export xls"))
        await shows(app, pilot, "not as xls")
        await pilot.press("e", "n")
        await shows(app, pilot, "nothing exported")


async def test_a_click_opens_the_wheel_scrolls_and_nothing_is_answered_by_the_mouse(
    repo: BaseRepository, tmp_path: Path
) -> None:
    app = app_on(repo, tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(app, pilot)
        await pilot.click("#head", offset=(screen_text(app)[1].index("3 Actors"), 1))
        await shows(app, pilot, lambda: app.view.name == "actors" and IP in "\n".join(screen_text(app)))
        row = next(y for y, line in enumerate(screen_text(app)) if IP in line) - 3
        await pilot.click("#list", offset=(10, row - 1))
        assert not app.view.opened, "titles are nothing to open"
        await pilot.press("slash")
        await pilot.click("#list", offset=(10, row))
        assert not app.view.opened, "something is asked"
        await pilot.press("escape")
        await pilot.click("#list", offset=(10, row))
        await shows(app, pilot, lambda: app.view.opened)
        await pilot.press("escape", "1")
        for _ in range(40):
            app.session.bus.put("attacker.observed", {"attacker_ip": IP})
        await shows(app, pilot, lambda: app.traffic.count() > 30)
        await pilot.press("g")
        app.panes.main._wheel(3)
        assert app.traffic.cursor == 3
        await pilot.press(*typed("mouse"))
        assert not app.mouse.on


async def test_colours_change_while_it_runs_and_are_those_of_the_settings(
    repo: BaseRepository, tmp_path: Path
) -> None:
    app = app_on(repo, tmp_path, theme="light")
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(app, pilot)
        assert _colours(app) == {"#fbfbf8"}
        await pilot.press(*typed("theme dark"))
        await pilot.pause(0.2)
        assert _colours(app) == {"#12161c"}
        await pilot.press(*typed("theme pink"))
        await shows(app, pilot, "themes: terminal dark light contrast none")
        await pilot.press(*typed("theme terminal"))


def _colours(app: DecnetApp) -> set[str]:
    strips = app.screen._compositor.render_strips()
    return {s.style.bgcolor.name for strip in strips for s in strip if s.style and s.style.bgcolor}


async def test_a_decoy_of_a_dry_run_never_says_that_it_runs(repo: BaseRepository, tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(
        "fleet: lab\nsubstrate: dry_run\ndeckies:\n  - {name: web-07, archetype: web-server, services: [http]}\n"
    )
    tools = Tools.of(Settings())
    await apply_fleet(repo, load_fleet(tmp_path / "fleet.yaml", tools.catalogue, tools.defaults), tools)
    (row,) = await repo.deckies()
    app = app_on(repo, tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(app, pilot)
        await pilot.press("5")
        await shows(app, pilot, "pending")
        fleet = app.views["fleet"]
        fleet.load(
            ([{**row, "observed": ["http"], "pending": False, "state": "running", "hits": 0, "live": 0}], [])
        )  # type: ignore[arg-type]
        app.repaint()
        text = "\n".join(screen_text(app))
        assert "~ dry run" in text
        assert "running" not in text


async def test_rates_of_the_day_are_there_after_a_start_and_read_again_now_and_then(
    repo: BaseRepository, tmp_path: Path
) -> None:
    await repo.hours_write({"events": 7}, {"refused|cowrie|/log": 2})
    app = app_on(repo, tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(app, pilot)
        await shows(app, pilot, lambda: app.feed.trends)
        counts = {trend.name: trend.counts[-1] for trend in app.feed.trends}
        assert (counts["events"], counts["refused"]) == (7, 2)
        await pilot.press("6", "G")
        await shows(app, pilot, "lines refused")
    clock = [1000.0]
    loader = Loader(app.session, app.feed, lambda: clock[0])
    due = []
    for at in (1000.0, 1001.0):
        clock[0] = at
        due.append(loader.trends_due())
    await loader.load_trends()
    for at in (1029.9, 1030.0):
        clock[0] = at
        due.append(loader.trends_due())
    assert due == [True, False, False, True]
