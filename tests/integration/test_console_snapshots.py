"""What the views look like, as text: both glyph sets, narrow and wide. DECNET_SNAPSHOTS=write writes them anew."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest

from decnet.bus.base import Event
from decnet.config import ConsoleSettings, Settings
from decnet.ids import attacker_id, identity_id
from decnet.mutator.fleet import load_fleet
from decnet.mutator.rows import Tools, apply_fleet
from decnet_tui.app import DecnetApp
from decnet_tui.screens.journal import JournalView
from tests.consolekit import StoreSession, screen_text, shows
from tests.dbkit import open_repo
from tests.integration.test_console_flows import IP, filled
from tests.linkrows import campaign, visit

FOLDER = Path(__file__).parent.parent / "fixtures" / "console"
NOW = datetime(2026, 3, 4, 14, 2, 11, tzinfo=UTC).timestamp()
KEYS = (
    ("0", "since"),
    ("1", "traffic"),
    ("2", "alerts"),
    ("3", "actors"),
    ("4", "rules"),
    ("5", "fleet"),
    ("6", "workers"),
    ("7", "coverage"),
    ("8", "journal"),
    ("9", "campaigns"),
)
FLEET = """\
fleet: lab
substrate: dry_run
mutate_interval: never
deckies:
  - {name: web-07, archetype: web-server, services: [http]}
  - {name: db-02, pool: [redis, mysql], services: [redis]}
"""
CASES = [
    ((80, 24), "ascii"),
    ((80, 24), "unicode"),
    pytest.param((120, 30), "ascii", marks=pytest.mark.slow),
    pytest.param((120, 30), "unicode", marks=pytest.mark.slow),
    ((160, 48), "unicode"),
    pytest.param((160, 48), "ascii", marks=pytest.mark.slow),
    ((60, 12), "ascii"),
]
INDICATORS = "indicators of a session"
PAGES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("page of an alert", ("2", "enter"), "alerts"),
    ("page of an actor", ("3", "enter"), "actors"),
    ("page of a session", ("colon", *"sessions s1", "enter"), "actors"),
    (INDICATORS, ("d",), "actors"),
    ("page of a campaign", ("9", "enter"), "campaigns"),
    ("sessions of a campaign", ("i",), "campaigns"),
    ("tags of a technique", ("7", "enter"), "coverage"),
    ("tags of a rule", ("4", "o"), "actors"),
    ("what a search found", ("colon", *"find wget", "enter"), "found"),
    ("since, one day", ("colon", *"since 2026-03-04", "enter"), "since"),
    ("ignored sources", ("colon", *"ignored", "enter"), "ignored"),
    ("help", ("question_mark",), "ignored"),
)
"""Pages below the views: how one comes to each from the one before, and the view that it is in."""
FLAT = frozenset({"found", "since", "ignored"})
"""Views without a key of their own, or that show something else: no page below one."""


def events() -> list[Event]:
    """Traffic of one attacker, of a worker, and a line that would like to be obeyed."""
    session = {"attacker_ip": IP, "session_id": "s1", "decky_id": "web-07", "service": "ssh"}
    rows: list[tuple[str, dict[str, Any]]] = [
        ("attacker.session.started", session),
        ("credential.captured", {"attacker_ip": IP, "username": "root\x1b[2J漢", "success": False, "service": "ssh"}),
        ("ttp.rule.fired.T1105", {"attacker_ip": IP, "rule_ids": ["R0001"], "session_id": "s1", "technique_id": "T1105"}),
        ("attribution.profile.state_changed", {"identity_uuid": "7c1e9a02", "primitive": "cognitive.x", "new_state": "stable", "seq": 1, "ts": NOW - 4}),
        ("system.sensors.health", {"worker": "sensors", "state": "ok", "ts": NOW - 3, "processed": 12, "sensors": [
            {"kind": "cowrie", "path": "/var/log/cowrie.json", "state": "silent", "age": 90_000, "lines": 812, "bytes_behind": 0,
             "refused": 2, "reasons": {"bad json": 2}}]}),
        ("system.ttp.health", {"worker": "ttp", "state": "degraded", "ts": NOW - 4, "processed": 99, "lag": 7, "note": "no rules"}),
    ]  # fmt: skip
    return [Event(topic, payload, id=f"{i:032x}", ts=NOW - 9 + i) for i, (topic, payload) in enumerate(rows)]


async def journalled(repo: Any) -> None:
    shared = {
        "operator": "eve@console",
        "kind": "rule.state",
        "target": "R0001",
        "before": {"state": "enabled"},
    }
    ended = {"state": "disabled", "expires_at": NOW - 60}
    first = await repo.journal_add(**shared, what="R0001 disabled", after=ended, reason="own scanner")
    await repo.journal_end(first, "verified", "store and engine agree")
    second = await repo.journal_add(**shared, what="R0001 clipped to 0.40", after={"state": "clipped"})
    await repo.journal_end(second, "NOT APPLIED", "disk full")


async def suspected(repo: Any) -> None:
    """An alert on the attacker."""
    why = {"claim": "several operators, or one with two toolkits", "score": 12.3, "threshold": 4.2, "sessions": 9, "switches": 5,
           "support": [{"family": "client", "agreement": 1.0}], "against": ["typing is alike"], "cannot_tell": ["two people alike"]}  # fmt: skip
    await repo.raise_alert({"identity_uuid": identity_id(attacker_id(IP)), "attacker_uuids": [attacker_id(IP)], "families": ["client", "tempo"],
                            "primitives": ["session.client"], "sides": [["s1"], ["s2"]], "confidence": 0.6, "ts": NOW - 90, "explanation": why})  # fmt: skip


async def applied(repo: Any, folder: Path) -> None:
    """Two deckies that are wanted and do not run yet."""
    (folder / "fleet.yaml").write_text(FLEET, "utf-8")
    tools = Tools.of(Settings())
    await apply_fleet(repo, load_fleet(folder / "fleet.yaml", tools.catalogue, tools.defaults), tools)


async def ignored(repo: Any) -> None:
    """A scanner of one's own, for a while, and one for good."""
    until = datetime.fromtimestamp(NOW + 7_200, UTC)
    await repo.ignore_add("198.51.100.0/24", reason="own scanner", set_by="eve@console", expires_at=until)
    await repo.ignore_add("192.0.2.9", reason="a partner's", set_by="bob@console")


async def linked(repo: Any) -> None:
    """A campaign of the attacker's address and of one that nobody has seen."""
    await campaign(repo, "wget-kit", "host", "x", [IP, "203.0.113.8"])
    await visit(repo, "s-kit", IP, "host|x", NOW - 3600, host=["x"], techniques=["T1105"])


def nothing_is_lacking(lines: list[str], size: tuple[int, int]) -> None:
    """No line over the width, no cut word in the fixed lines or titles, no empty box, keys in the last line."""
    assert len(lines) == size[1]
    assert {len(line) for line in lines} <= {size[0], size[0] - 1}
    fixed = [*lines[: 3 if size[0] >= 80 else 2], lines[-1]]  # at 60x12 what is hidden has the room
    assert not [line for line in fixed if "\u2026" in line or "~" in line]
    assert any(line.strip() for line in lines[3:-1])
    assert "? help" in lines[-1]


def settled(app: DecnetApp, name: str) -> Callable[[], object]:
    """Whether a view has read the store and painted what it read; health takes that over with its next sync."""
    view = app.views[name]
    return lambda: (
        (view.loaded_at or not view.stored)
        and getattr(view, "_second", True)
        and "Reading ..." not in "\n".join(screen_text(app))
    )


def page_settled(app: DecnetApp) -> Callable[[], object]:
    """Whether the page on the screen has been read and painted."""
    return lambda: (
        app.view.depth > 1 and app.view.level.loaded_at and "Reading" not in "\n".join(screen_text(app))  # type: ignore[attr-defined]
    )


@pytest.mark.parametrize(("size", "glyphs"), CASES)
async def test_views(
    size: tuple[int, int],
    glyphs: Literal["ascii", "unicode"],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.setattr("decnet.db.repository.journal.utcnow", lambda: datetime.fromtimestamp(NOW - 300, UTC))
    monkeypatch.setattr(
        "decnet.db.repository.runtime.work.utcnow", lambda: datetime.fromtimestamp(NOW - 500, UTC)
    )
    monkeypatch.setattr("decnet.db.repository.ignored.utcnow", lambda: datetime.fromtimestamp(NOW - 700, UTC))
    monkeypatch.setattr("decnet.db.rows.ttp.utcnow", lambda: datetime.fromtimestamp(NOW - 40, UTC))
    async with open_repo("sqlite", tmp_path) as repo:
        await filled(repo, NOW)
        await journalled(repo)
        await suspected(repo)
        await applied(repo, tmp_path)
        await linked(repo)
        await ignored(repo)
        session = StoreSession(repo)
        session.bus.past = events()
        settings = Settings(console=ConsoleSettings(glyphs=glyphs), data_dir=tmp_path)
        app = DecnetApp(settings, session=session)
        seen, pages = [], []
        async with app.run_test(size=size) as pilot:
            await shows(app, pilot, lambda: app.feed.total >= len(events()) and app.view.name == "since")
            await shows(app, pilot, "ALERTS 1")
            for key, name in KEYS:
                await pilot.press(key)
                await shows(app, pilot, settled(app, name))
                await pilot.pause(0.15)
                lines = screen_text(app)
                nothing_is_lacking(lines, size)
                seen += [f"--- {name}", *(line.rstrip() for line in lines)]
            assert app.view_of(JournalView).count() == 3
            for title, keys, name in PAGES:
                await pilot.press(*keys)
                if title != "help":
                    await shows(app, pilot, lambda name=name: app.view.name == name)
                    await shows(app, pilot, settled(app, name) if name in FLAT else page_settled(app))
                await pilot.pause(0.15)
                lines = screen_text(app)
                assert len(lines) == size[1]
                assert title != INDICATORS or "> indicators of session s1" in lines[2], (
                    "what it is about, at any width"
                )
                pages += [f"--- {title}", *(line.rstrip() for line in lines)]
    compare(FOLDER / f"{size[0]}x{size[1]}-{glyphs}.txt", "\n".join(seen) + "\n")
    compare(FOLDER / f"pages-{size[0]}x{size[1]}-{glyphs}.txt", "\n".join(pages) + "\n")


def compare(path: Path, text: str) -> None:
    if os.environ.get("DECNET_SNAPSHOTS") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    if "ascii" in path.name:
        assert text.isascii()
    assert text.splitlines() == path.read_text("utf-8").splitlines()
