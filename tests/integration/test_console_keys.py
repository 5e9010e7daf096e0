"""The footer tells the truth: a key that stands in it does something with the line under the cursor, others do not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from decnet.config import ConsoleSettings, Settings
from decnet.ids import attacker_id
from decnet_tui.app import DecnetApp
from decnet_tui.commands import COMMANDS
from decnet_tui.commands.base import Command
from decnet_tui.screens.actors import ActorsView
from decnet_tui.screens.levels import Level, LevelsView
from decnet_tui.screens.session import SessionLevel
from tests.consolekit import StoreSession, shows
from tests.dbkit import open_repo
from tests.integration.test_console_flows import IP, filled
from tests.integration.test_console_snapshots import (
    KEYS,
    NOW,
    applied,
    events,
    journalled,
    settled,
    suspected,
)

LINES = 8
"""Lines of each view that are looked at."""
ELSEWHERE = {"quit", "help", "command", "palette", "filter", "write"}
"""What works on no line: it opens a question or another view anyhow."""
DONE = (
    "copied ",
    "exported ",
    "paused",
    "span: ",
    "following ",
    "everybody is shown again",
    "read",
    "unread",
    "line ",
)
"""How the message begins of what was done."""


def state(app: DecnetApp) -> object:
    """All that a key may change at once."""
    view, asked = app.view, app.prompt.question is not None
    form, opened, tail = app.form.form is not None, app.panes.opened, app.traffic.tail
    return view.name, view.depth, view.paused, tail, form, asked, opened, app.following.scope


def did_something(app: DecnetApp, command: Command, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Runs a command, puts everything back, and tells whether it did what it is for."""
    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(app, "say", lambda text, **_: said.append(text))
        patch.setattr(
            app, "work", lambda job, name, **_: said.append("exported ") if name == "export" else None
        )
        before, view, cursor = state(app), app.view, app.view.cursor
        levels = list(view.levels) if isinstance(view, LevelsView) else []
        scope = app.following.scope
        command.run(app, "")
        after = state(app)
        app.form.form = app.prompt.question = None
        app.screen.remove_class("asking-form", "asking")
        if view.paused:
            view.pause()
        if app.following.scope is not scope:
            app.following.follow(scope, anew=False)
        if isinstance(view, LevelsView):
            view.levels[:] = levels
        else:
            app.view_of(ActorsView).home()  # a level of a view without levels opens there
        app.show_view(view.name, remember=False)
        view.came_from, view.cursor = "", cursor
    return after != before or any(text.startswith(DONE) for text in said)


def lines_of(app: DecnetApp) -> Iterator[int]:
    """The cursor on one line after the other."""
    for at in range(min(app.view.count(), LINES)):
        app.view.cursor = at
        if app.view.on_row:
            yield at


async def levels_of(app: DecnetApp, pilot: Any) -> Iterator[str]:
    """The view, then the levels inside its first lines, one inside the other."""
    yield app.view.name  # type: ignore[misc]
    for _ in range(4):
        inside = next((b for _ in lines_of(app) if isinstance(b := app.view.below(), Level)), None)
        if inside is None:
            return
        app.enter(inside)
        await shows(app, pilot, lambda: app.view.loaded_at or not app.view.stored)
        yield f"{app.view.name} > {inside.crumb}"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(console=ConsoleSettings(glyphs="ascii"), data_dir=tmp_path)


def session_of(app: DecnetApp) -> str:
    """The session that is open or under the cursor."""
    level = app.view.level if isinstance(app.view, LevelsView) else app.view
    return level.session_id if isinstance(level, SessionLevel) else str(app.view.record().get("session_id"))


async def test_a_key_stands_in_the_footer_exactly_while_it_does_something(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: set[str] = set()
    wrong: list[str] = []
    played: set[str] = set()
    async with open_repo("sqlite", tmp_path) as repo:
        await filled(repo, NOW)
        recorded = {
            "session_id": "s2",
            "attacker_uuid": attacker_id(IP),
            "attacker_ip": IP,
            "keystrokes_ref": "k",
        }
        await repo.upsert_session(
            {**recorded, "started_at": NOW - 40, "ended_at": NOW - 30, "command_count": 0}
        )
        await repo.upsert_recording("k", "s2", b"tty")
        await journalled(repo)
        await suspected(repo)
        await applied(repo, tmp_path)
        session = StoreSession(repo)
        session.bus.past = events()
        app = DecnetApp(settings, session=session)
        async with app.run_test(size=(80, 24)) as pilot:
            await shows(app, pilot, lambda: app.view.name == "since" and app.view.count())
            app.set_interval = None  # type: ignore[assignment, method-assign]
            for key, name in KEYS:
                await pilot.press(key)
                await shows(app, pilot, settled(app, name))
                async for level in levels_of(app, pilot):  # type: ignore[attr-defined]
                    for at in lines_of(app):
                        shown = {c.id for c in COMMANDS if stands(app, c)}
                        works = {
                            c.id
                            for c in COMMANDS
                            if could_stand(app, c) and did_something(app, c, monkeypatch)
                        }
                        looked_at |= shown
                        if "watch" in shown:
                            played.add(session_of(app))
                        if shown - ELSEWHERE != works - ELSEWHERE:
                            wrong.append(
                                f"{level} line {at}: shown {sorted(shown - works)}, not shown {sorted(works - shown)}"
                            )
                        app.view.cursor = at
    assert not wrong, "\n".join(wrong)
    assert played == {"s2"}, "the one session with a recording"
    assert looked_at >= {
        "open",
        "copy",
        "export",
        "follow",
        "fired",
        "watch",
        "rule.tags",
        "rule.disable",
        "decky.interval",
        "alert.ack",
    }


def could_stand(app: DecnetApp, command: Command) -> bool:
    return bool(command.foot) and command.works_in(app.view.keys_of()) and command.id not in ELSEWHERE


def stands(app: DecnetApp, command: Command) -> bool:
    return could_stand(app, command) and command.does_something(app)
