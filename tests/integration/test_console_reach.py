"""Every page by keys alone, in the order in which it is read; and nothing on it is said by colour alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.style import Style

from decnet.config import ConsoleSettings, Settings
from decnet_tui.app import DecnetApp
from decnet_tui.commands import COMMANDS
from decnet_tui.keymap import Keys
from decnet_tui.screens.alert import AlertLevel
from decnet_tui.screens.coverage import MatrixLevel
from decnet_tui.screens.levels import Level, LevelsView
from decnet_tui.screens.sections import SectionsView
from tests.consolekit import StoreSession, screen_text, shows
from tests.dbkit import open_repo
from tests.integration.test_console_flows import filled
from tests.integration.test_console_snapshots import (
    KEYS,
    NOW,
    applied,
    events,
    journalled,
    settled,
    suspected,
)

SIZES = [(80, 24), pytest.param((160, 48), marks=pytest.mark.slow)]
LEVELS = 4
"""How deep pages lie inside each other."""


@asynccontextmanager
async def console(folder: Path, size: tuple[int, int]) -> AsyncIterator[tuple[DecnetApp, Any]]:
    """A console with something in every view."""
    async with open_repo("sqlite", folder) as repo:
        await filled(repo, NOW)
        await journalled(repo)
        await suspected(repo)
        await applied(repo, folder)
        session = StoreSession(repo)
        session.bus.past = events()
        app = DecnetApp(Settings(console=ConsoleSettings(glyphs="ascii"), data_dir=folder), session=session)
        async with app.run_test(size=size) as pilot:
            await shows(app, pilot, lambda: app.view.name == "since" and app.view.count(), limit=20)
            yield app, pilot


async def pages(app: DecnetApp, pilot: Any) -> AsyncIterator[str]:
    """Every view, then the pages inside its lines, each inside the one before; named by the way there."""
    for key, name in KEYS:
        await pilot.press(key)
        await shows(app, pilot, settled(app, name), limit=20)
        yield name
        for _ in range(LEVELS):
            inside = next((one for at in standing(app) if isinstance(one := below(app, at), Level)), None)
            if inside is None:
                break
            app.enter(inside)
            await shows(app, pilot, lambda: app.view.loaded_at or not app.view.stored, limit=20)
            yield f"{name} > {' > '.join(app.view.crumbs())}"
        if isinstance(app.view, LevelsView):
            app.view.home()


def below(app: DecnetApp, at: int) -> object:
    app.view.cursor = at
    return app.view.below()


def standing(app: DecnetApp) -> list[int]:
    """The lines that the cursor can be on."""
    top = app.view.level if isinstance(app.view, LevelsView) else app.view
    if isinstance(top, SectionsView):
        return [n for n, entry in enumerate(top.entries) if entry.key is not None]
    return list(range(top.count())) if top.on_row else []


@contextmanager
def still(app: DecnetApp) -> Iterator[None]:
    """Nothing is read meanwhile, so that lines stand where they stand."""
    app.loader.due = lambda _: False  # type: ignore[method-assign]
    app.view.sync = lambda _: False  # type: ignore[method-assign]
    view = app.view
    try:
        yield
    finally:
        del app.loader.due, view.sync


@pytest.mark.parametrize("size", SIZES)
async def test_arrows_reach_every_line_of_every_page_in_order_and_tab_every_pane(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    seen = 0
    async with console(tmp_path, size) as (app, pilot):
        async for page in pages(app, pilot):
            seen += 1
            with still(app):
                await walks(app, pilot, page)
                await reaches_both_panes(app, pilot, page)
    assert seen >= 2 * len(KEYS) - 4, "most views have a page below"


async def walks(app: DecnetApp, pilot: Any, page: str) -> None:
    """Down from the first line to the last, each of them, and one back."""
    level = app.view.level if isinstance(app.view, LevelsView) else app.view
    grid = isinstance(level, MatrixLevel) and level.grid
    lines = list(range(len(level.cells(level.column)))) if grid else standing(app)
    await pilot.press("g")
    for line in lines:
        assert app.view.cursor == line, f"{page}: the next line"
        await pilot.press("down")
    if len(lines) > 1:
        await pilot.press("up")
        assert app.view.cursor == lines[-2], f"{page}: and back"


async def reaches_both_panes(app: DecnetApp, pilot: Any, page: str) -> None:
    """Tab goes from the list to the detail and back; on an alert's page, where it goes through the sides, an arrow does."""
    if not app.panes.detail.display:
        await pilot.press("v")
        await shows(app, pilot, lambda: app.panes.detail.display)
    parts = isinstance(app.view, LevelsView) and isinstance(app.view.level, AlertLevel)
    await pilot.press("right" if parts else "tab")
    assert app.panes.in_detail, f"{page}: to the detail"
    await pilot.press("tab")
    assert not app.panes.in_detail, f"{page}: back to the list"
    await pilot.press("escape")


@pytest.mark.parametrize("size", SIZES)
async def test_every_action_of_a_footer_is_done_by_the_key_that_it_names(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    keys = Keys(COMMANDS)
    by_hint = {f"{keys.names()[c.id]} {c.foot}": c for c in COMMANDS if c.foot}
    async with console(tmp_path, size) as (app, pilot):
        async for page in pages(app, pilot):
            hints = screen_text(app)[-1].strip().split("  ")
            for hint in filter(None, map(str.strip, hints)):
                command = by_hint[hint]
                (key, *_) = keys.of(command)
                assert keys.find(key, app.view.keys_of()) in commands_of(hint), f"{page}: {hint}"


def commands_of(hint: str) -> list[Any]:
    names = Keys(COMMANDS).names()
    return [c for c in COMMANDS if c.foot and f"{names[c.id]} {c.foot}" == hint]


# --- colour says nothing alone


def cells(app: DecnetApp, width: int) -> Iterator[tuple[str, str, Style]]:
    """(sign of the line, text, style) of all that a page paints below line 3."""
    view = app.view
    for index in range(view.count()):
        for text, style in view.line(index, width):
            if text.strip():
                yield view.gutter(index), text.strip(), style
    for line in (*view.intro(width), *view.outro(width, 30)):
        for text, style in line:
            if text.strip():
                yield " ", text.strip(), style


async def test_nothing_on_a_page_is_said_by_colour_alone(tmp_path: Path) -> None:
    """The same text with the same sign in two colours would say two things to who sees colours, and one to others."""
    coloured = 0
    async with console(tmp_path, (160, 48)) as (app, pilot):
        async for page in pages(app, pilot):
            told: dict[tuple[str, str], set[str]] = defaultdict(set)
            for sign, text, style in cells(app, 159):
                name = style.color.name if style.color is not None else "default"
                told[sign, text].add(name)
                coloured += name in ("yellow", "blue")
            both = {key: colours for key, colours in told.items() if len(colours) > 1}
            assert not both, f"{page}: {both}"
    assert coloured > 12, "states have colours"


async def test_the_screen_says_the_same_without_colours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screens: list[list[str]] = []
    for number, no_color in enumerate((False, True)):
        folder = tmp_path / str(number)
        folder.mkdir()
        with monkeypatch.context() as patch:
            patch.setattr("time.time", lambda: NOW)
            for place in ("journal", "runtime.work"):
                patch.setattr(
                    f"decnet.db.repository.{place}.utcnow", lambda: datetime.fromtimestamp(NOW - 300, UTC)
                )
            patch.setattr("decnet.db.rows.ttp.utcnow", lambda: datetime.fromtimestamp(NOW - 40, UTC))
            if no_color:
                patch.setenv("NO_COLOR", "1")
            async with console(folder, (80, 24)) as (app, pilot):
                shown: list[str] = []
                for key, name in KEYS:
                    await pilot.press(key)
                    await shows(app, pilot, settled(app, name))
                    await pilot.pause(0.1)
                    shown += screen_text(app)[2:20]
                screens.append(shown)
    assert screens[0] == screens[1]
