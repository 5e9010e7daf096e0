"""The object rule: a page's head names what it is about, and every key acts on that, whichever way led there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from decnet.config import ConsoleSettings, Settings
from decnet.db.repository import BaseRepository
from decnet.events.ttp import SEVERITIES
from decnet.ids import attacker_id, identity_id
from decnet_tui.actions.sources import IgnoreForm
from decnet_tui.app import DecnetApp
from decnet_tui.screens.actor import ActorLevel
from decnet_tui.screens.alert import AlertLevel
from decnet_tui.screens.evidence import SessionsLevel
from decnet_tui.screens.indicators import IndicatorsLevel
from decnet_tui.screens.session import SessionLevel
from tests.consolekit import StoreSession, screen_text, shows
from tests.dbkit import open_repo
from tests.rowkit import put

OURS, OTHER = "203.0.113.98", "198.51.100.13"
"""The source that every way leads to, and the one whose rows stand under the cursor of other views."""
US, THEM = attacker_id(OURS), attacker_id(OTHER)
NOW = time.time()
Way = Callable[[DecnetApp, Any], Awaitable[None]]


async def fill(repo: BaseRepository) -> None:
    """Two sources with a session each: ours did worse, the other was seen last."""
    for ip, severity, at in ((OURS, "high", NOW - 500), (OTHER, "low", NOW - 100)):
        uuid = attacker_id(ip)
        name = {OURS: "ours", OTHER: "other"}[ip]
        await put(repo, "attacker", {"attacker_uuid": uuid, "ip": ip, "first_seen": at, "last_seen": at})
        await put(
            repo, "identity", {"identity_uuid": identity_id(uuid), "attacker_uuid": uuid, "merged_into": None}
        )
        await put(repo, "session", {"session_id": f"{name}-session", "sensor_session": f"{name}-own", "attacker_uuid": uuid, "attacker_ip": ip,
                                    "decky_id": "d", "service": "ssh", "started_at": at, "ended_at": at + 9, "duration_s": 9.0, "command_count": 1,
                                    "tagged_at": at})  # fmt: skip
        await put(repo, "session_story", {"session_id": f"{name}-session", "attacker_uuid": uuid, "severity": severity, "rank": SEVERITIES.index(severity),
                                          "reason": "did it", "line": "l", "playbook": None, "seen_at": at, "ended_at": at + 9})  # fmt: skip
        await put(
            repo,
            "command",
            {
                "command_id": f"{name}-c",
                "session_id": f"{name}-session",
                "position": 0,
                "command_text": f"wget {name}",
                "ts": at + 1,
            },
        )
        await put(repo, "ttp_tag", {"uuid": name, "source_id": f"{name}-c", "attacker_uuid": uuid, "session_id": f"{name}-session", "technique_id": "T1548" if ip == OURS else "T1105",
                                    "tactic": "TA0004" if ip == OURS else "TA0011", "evidence": {"matched": "wget"}, "seen_at": at + 1, "created_at": at, "rule_id": "R1"})  # fmt: skip
    await put(repo, "attribution_alert", {"alert_id": "al", "identity_uuid": identity_id(US), "attacker_uuids": [US], "families": ["client"], "primitives": [],
                                          "sides": [["ours-session"], []], "ts": NOW, "explanation": {}})  # fmt: skip


@asynccontextmanager
async def console(folder: Path) -> AsyncIterator[tuple[DecnetApp, Any]]:
    async with open_repo("sqlite", folder) as repo:
        await fill(repo)
        settings = Settings(console=ConsoleSettings(glyphs="ascii"), data_dir=folder)
        app = DecnetApp(settings, session=StoreSession(repo))
        async with app.run_test(size=(100, 34)) as pilot:
            await shows(app, pilot, lambda: app.view.name == "since" and app.view.count(), limit=20)
            # the cursor of every other view stands on the other source
            await pilot.press("3")
            await shows(
                app, pilot, lambda: app.view.loaded_at and app.view.record().get("attacker_uuid") == THEM
            )
            yield app, pilot


def level_of(app: DecnetApp) -> Any:
    return app.view.level  # type: ignore[attr-defined]


# --- ways to the page of our session


async def by_since(app: DecnetApp, pilot: Any) -> None:
    await pilot.press("0")
    await shows(app, pilot, lambda: app.view.record().get("attacker_uuid") == US)
    await pilot.press("enter")


async def by_actor(app: DecnetApp, pilot: Any) -> None:
    app.open_in("actors", US)
    await shows(app, pilot, lambda: app.view.record().get("attacker_uuid") == US)
    await pilot.press("enter")
    await shows(app, pilot, lambda: isinstance(level_of(app), ActorLevel) and level_of(app).row)
    await pilot.press("enter")  # the sessions of its playbook
    await shows(app, pilot, lambda: isinstance(level_of(app), SessionsLevel) and app.view.count())
    await pilot.press("enter")


async def by_sessions(app: DecnetApp, pilot: Any) -> None:
    app.open_in("actors", US)
    await shows(app, pilot, lambda: app.view.record().get("attacker_uuid") == US)
    await pilot.press("i")
    await shows(app, pilot, lambda: app.view.depth == 2 and level_of(app).loaded_at)
    await pilot.press("enter")


async def by_search(app: DecnetApp, pilot: Any) -> None:
    await pilot.press("ctrl+f", *"wget ours", "enter")
    await shows(app, pilot, lambda: app.view.name == "found" and app.view.count())
    await pilot.press("enter")


async def by_alert(app: DecnetApp, pilot: Any) -> None:
    await pilot.press("2")
    await shows(app, pilot, app.view.count)
    await pilot.press("enter")
    await shows(app, pilot, lambda: app.view.opened and level_of(app).loaded_at and app.view.count())
    await pilot.press("enter")


async def by_coverage(app: DecnetApp, pilot: Any) -> None:
    app.open_in("coverage", "T1548")
    await shows(app, pilot, lambda: app.view.record().get("technique") == "T1548")
    await pilot.press("enter")
    await shows(app, pilot, lambda: app.view.opened and level_of(app).loaded_at and app.view.count())
    await pilot.press("enter")


async def by_name(app: DecnetApp, pilot: Any) -> None:
    await pilot.press("colon", *"actors ours-own", "enter")


async def by_command(app: DecnetApp, pilot: Any) -> None:
    await pilot.press("1", "colon", *"sessions ours-own", "enter")


WAYS = {
    way.__name__: way
    for way in (by_since, by_actor, by_sessions, by_search, by_alert, by_coverage, by_name, by_command)
}
"""A page that is added here (or a way to one) is held to the rule by the tests below."""


# --- what each key has to do there


async def follows(app: DecnetApp, pilot: Any) -> None:
    await pilot.press("F")
    await shows(app, pilot, lambda: app.following.scope is not None)
    assert OURS in app.following.scope.names  # type: ignore[union-attr]
    assert OTHER not in app.following.scope.names  # type: ignore[union-attr]


async def ignores(app: DecnetApp, pilot: Any) -> None:
    await pilot.press("X", "y")
    await shows(app, pilot, lambda: isinstance(app.form.form, IgnoreForm))
    assert f"IGNORE {OURS}" in "\n".join(screen_text(app))


async def shows_traffic(app: DecnetApp, pilot: Any) -> None:
    await pilot.press("b")
    assert app.view is app.traffic
    assert app.traffic.scope is not None
    assert app.traffic.scope.label == OURS


async def lists_sessions(app: DecnetApp, pilot: Any) -> None:
    await pilot.press("i")
    await shows(app, pilot, lambda: level_of(app).loaded_at and not isinstance(level_of(app), SessionLevel))
    assert {row["session_id"] for row in level_of(app).rows} == {"ours-session"}


async def goes_to_rules(app: DecnetApp, pilot: Any) -> None:
    level_of(app).go_to("ours-c")
    assert [tag["uuid"] for tag in level_of(app).tags()] == ["ours"]


async def lists_indicators(app: DecnetApp, pilot: Any) -> None:
    await pilot.press("d")
    await shows(app, pilot, lambda: isinstance(level_of(app), IndicatorsLevel) and level_of(app).loaded_at)
    assert OURS in level_of(app).copy_text()
    assert OTHER not in level_of(app).copy_text()


async def copies(app: DecnetApp, pilot: Any) -> None:
    level_of(app).go_to("ours-c")
    taken: list[str] = []
    app.copy = lambda text: taken.append(text) or len(text)  # type: ignore[method-assign,func-returns-value]
    await pilot.press("y")
    assert taken == ["wget ours"]


async def exports(app: DecnetApp, pilot: Any) -> None:
    rows = app.view.records()
    assert (rows[0]["session_id"], rows[0]["sensor_session"], rows[0]["attacker_ip"]) == (
        "ours-session",
        "ours-own",
        OURS,
    )
    assert OTHER not in repr(rows)


async def shows_coverage(app: DecnetApp, pilot: Any) -> None:
    await pilot.press("7")
    matrix = app.views["coverage"].matrix  # type: ignore[attr-defined]
    await shows(app, pilot, lambda: app.view.name == "coverage" and matrix.loaded_at)
    assert matrix.names == {US}
    assert [cell["technique"] for cell in app.view.records()] == ["T1548"]
    await pilot.press("enter")
    await shows(app, pilot, lambda: app.view.opened and level_of(app).loaded_at)
    assert {row["session_id"] for row in level_of(app).rows} == {"ours-session"}
    await pilot.press("escape", "escape")
    assert isinstance(level_of(app), SessionLevel), "back on the page"
    assert matrix.of is None


async def marks_read(app: DecnetApp, pilot: Any) -> None:
    await pilot.press("x")
    await shows(app, pilot, "read")
    since: Any = app.views["since"]
    assert since.marks.has(f"{US} ours-session")
    assert not since.marks.has(f"{THEM} other-session")


Does = Callable[[DecnetApp, Any], Awaitable[None]]
KEYS: Mapping[str, Does] = {
    "F": follows, "X": ignores, "b": shows_traffic, "i": lists_sessions, "o": goes_to_rules, "d": lists_indicators, "y": copies,
    "e": exports, "x": marks_read, "7": shows_coverage,
}  # fmt: skip


async def back_to(app: DecnetApp, pilot: Any, view: Any, depth: int) -> None:
    """The page as it was before a key."""
    if app.form.form is not None:
        await pilot.press("escape")
    if app.following.scope is not None:
        app.following.follow(None)
    app.traffic.set_scope(None)
    while view.depth > depth:
        view.back()
    app.show_view(view.name, remember=False)


async def each_acts(
    app: DecnetApp, pilot: Any, keys: Mapping[str, Does], stands: Callable[[], object]
) -> None:
    """Presses each key on the page of ours, which ``stands`` there again afterwards."""
    view, depth = app.view, app.view.depth
    for key, does in keys.items():
        head = "\n".join(screen_text(app)[2:5])
        assert OURS in head, f"{key}: the head names it"
        assert OTHER not in head
        await does(app, pilot)
        await back_to(app, pilot, view, depth)
        await shows(app, pilot, stands)


@pytest.mark.parametrize("way", WAYS)
async def test_on_a_session_by_whichever_way_each_key_acts_on_it(tmp_path: Path, way: str) -> None:
    async with console(tmp_path) as (app, pilot):
        await WAYS[way](app, pilot)
        await shows(
            app, pilot, lambda: isinstance(level_of(app), SessionLevel) and level_of(app).told is not None
        )
        await each_acts(app, pilot, KEYS, lambda: isinstance(level_of(app), SessionLevel))


@pytest.mark.parametrize("way", ["by_since", "by_search", "by_name"])
async def test_a_page_that_is_still_read_acts_on_nobody(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below it stands a row of the other source; keys pressed too soon must not be for that."""
    reading = asyncio.Event()

    async def slow(*_: object, **__: object) -> None:
        await reading.wait()

    async with console(tmp_path) as (app, pilot):
        monkeypatch.setattr(BaseRepository, "session_page", slow)
        await WAYS[way](app, pilot)
        await shows(app, pilot, lambda: app.view.name == "actors" and isinstance(level_of(app), SessionLevel))
        assert app.view.actor() is None
        await pilot.press("F")
        assert app.following.scope is None
        await pilot.press("i")
        assert isinstance(level_of(app), SessionLevel)
        await pilot.press("b")
        assert app.view.name == "actors"
        reading.set()


# --- the pages of an actor and of an alert: the same keys are about the same one


async def to_actor_by_list(app: DecnetApp, pilot: Any) -> None:
    app.open_in("actors", US)
    await shows(app, pilot, lambda: app.view.record().get("attacker_uuid") == US)
    await pilot.press("enter")


async def to_actor_by_name(app: DecnetApp, pilot: Any) -> None:
    await pilot.press("colon", *f"actors {OURS}", "enter")
    await shows(
        app, pilot, lambda: app.view.name == "actors" and app.view.record().get("attacker_uuid") == US
    )
    await pilot.press("enter")


async def to_alert(app: DecnetApp, pilot: Any) -> None:
    await pilot.press("2")
    await shows(app, pilot, app.view.count)
    await pilot.press("enter")


async def lists_them_all(app: DecnetApp, pilot: Any) -> None:
    await pilot.press("i")
    await shows(app, pilot, lambda: isinstance(level_of(app), SessionsLevel) and app.view.count())
    assert {row["attacker_ip"] for row in level_of(app).rows} == {OURS}


PAGES: dict[str, tuple[Way, type[Any]]] = {
    "actor by list": (to_actor_by_list, ActorLevel),
    "actor by name": (to_actor_by_name, ActorLevel),
    "alert": (to_alert, AlertLevel),
}
PAGE_KEYS = {"F": follows, "X": ignores, "b": shows_traffic, "i": lists_them_all, "d": lists_indicators}


@pytest.mark.parametrize("page", PAGES)
async def test_on_the_page_of_an_actor_or_an_alert_each_key_acts_on_it(tmp_path: Path, page: str) -> None:
    way, level = PAGES[page]
    async with console(tmp_path) as (app, pilot):
        await way(app, pilot)
        await shows(app, pilot, lambda: isinstance(level_of(app), level) and level_of(app).loaded_at)
        await each_acts(
            app, pilot, PAGE_KEYS, lambda: isinstance(level_of(app), level) and OURS in screen_text(app)[3]
        )
