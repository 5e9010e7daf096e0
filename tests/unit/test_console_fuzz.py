"""Ten thousand hostile payloads: nothing that a terminal could obey in any line, detail, copy or export; random keys."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
import sqlite3
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.config import ConsoleSettings, Settings
from decnet_tui.app import DecnetApp
from decnet_tui.model import export
from decnet_tui.model.feed import Feed
from decnet_tui.screens.base import TextView, wrapped
from decnet_tui.screens.traffic import TrafficView
from decnet_tui.screens.workers import WorkersView
from decnet_tui.widgets.clipboard import osc52
from decnet_tui.widgets.strips import strip_of
from tests.consolekit import StoreSession, pressed, screen_text, shows
from tests.dbkit import open_repo
from tests.integration.test_console_flows import filled
from tests.rowkit import define_rule

COUNT = 10_000
HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
PIECES = (
    "\x1b]52;c;aGk=\x07", "\x1b]8;;http://203.0.113.1\x1b\\x", "\x1b[2J\x1b[H", "\x1bP+q\x1b\\", "\x9b31m", "\x9d0;t\x9c", "\x00", "\r\n",
    "\x08\x08", "\u202e", "\u2066", "\u200b", "\u200f", "\u2028", "\ufeff", "\U000e0041", "e\u0301\u0301\u0301", "\ud800", "漢字", "🦊", "é",
    "[@click=app.quit]x[/]", "[/x]", "[link=http://203.0.113.1]y[/link]", "{0}", "%s%n", "\t", "root", " ", "a" * 50,
)  # fmt: skip
TOPICS = (
    "attacker.observed", "attacker.session.started", "attacker.session.ended", "attacker.scored", "credential.captured", "email.received",
    "ttp.tagged", "ttp.rule.fired.T1105", "ttp.rule.state.R0001", "attribution.profile.state_changed", "attribution.profile.multi_actor_suspected",
    "identity.formed", "identity.merged", "canary.triggered", "decky.web-01.mutation", "decky.web-01.state", "system.ttp.health",
    "system.sensors.health", "system.deadletter.ttp", "topology.changed", "new.family.of.topics",
)  # fmt: skip
KEYS = (
    "attacker_ip", "attacker_uuid", "identity_uuid", "attacker_uuids", "session_id", "decky_id", "service", "username", "rule_ids", "rule_id",
    "primitive", "new_state", "families", "confidence", "commands", "winner_uuid", "loser_uuid", "worker", "state", "note", "reason", "sensors",
    "request_id", "outcome", "old_services", "new_services", "topic", "degraded", "lag", "processed", "ts", "url", "sha256",
)  # fmt: skip


def text(dice: random.Random) -> str:
    return "".join(dice.choice(PIECES) for _ in range(dice.randint(1, 6)))


def value(dice: random.Random, depth: int = 0) -> Any:
    """Any JSON value."""
    kind = dice.randrange(9 if depth < 3 else 5)
    if kind < 3:
        return text(dice)
    if kind < 5:
        return dice.choice((None, True, -1, 2**70, 1e308, 0.5, "", "0"))
    if kind < 7:
        return [value(dice, depth + 1) for _ in range(dice.randint(0, 4))]
    return {text(dice): value(dice, depth + 1) for _ in range(dice.randint(0, 4))}


def payload(dice: random.Random) -> dict[str, Any]:
    """Known and unknown keys with values of any type."""
    known = {key: value(dice) for key in dice.sample(KEYS, dice.randint(1, 8))}
    return {**known, text(dice): value(dice)}


def obeyed(shown: str) -> set[str]:
    """Characters that a terminal could obey, or hides."""
    return {c for c in shown if not " " <= c <= "~" and unicodedata.category(c) in HIDDEN}


@pytest.mark.slow
def test_no_payload_reaches_a_pane_a_copy_or_an_export(tmp_path: Path) -> None:
    dice = random.Random(20_260_304)
    feed = Feed()
    traffic, detail = TrafficView(feed), TextView(feed)
    for i in range(COUNT):
        feed.add(
            Event(dice.choice(TOPICS), payload(dice), id=f"{i:032x}", ts=dice.choice((1.0, 1e9, 1e18, -5.0)))
        )
    while traffic.sync(0.0):
        pass
    assert len(feed.ring) == COUNT
    traffic.set_filter("")
    while traffic.sync(0.0):
        pass
    bad = {c for n in range(traffic.count()) for c in obeyed(strip_of(traffic.line(n, 159), 160).text)}
    traffic.fold()
    assert sum(1 for _ in traffic.records()) == COUNT, "unfolded every event has its line"
    for i in range(traffic.count()):
        traffic.cursor = i
        bad |= obeyed(strip_of(traffic.line(i, 159), 160).text)
        detail.show(wrapped(traffic.detail(), 50))
        for n in range(min(detail.count(), 30)):
            strip = strip_of(detail.line(n, 50), 50)
            bad |= obeyed(strip.text)
            assert strip.cell_length == 50
            assert not any(
                segment.style is None or segment.style.link or segment.style.meta for segment in strip
            )
        if i % 10 == 0:
            sequence = osc52(traffic.copy_text(), tmux=bool(i % 20))
            (encoded,) = re.findall(r"52;c;([A-Za-z0-9+/=]*)", sequence)
            copied = base64.b64decode(encoded)
            bad |= obeyed(copied.decode())
    assert not bad
    asyncio.run(_exported(traffic, tmp_path))


async def _exported(traffic: TrafficView, folder: Path) -> None:
    path, count = await export.write(folder, traffic.to_export(), "json")
    lines = path.read_text("ascii").splitlines()
    assert len(lines) == count == COUNT
    assert not any(obeyed(line) for line in lines)
    assert all(json.loads(line)["topic"] for line in lines[:100])


def test_no_notice_heartbeat_or_dead_letter_is_obeyed() -> None:
    dice = random.Random(5)
    feed = Feed()
    workers = WorkersView(feed)
    for i in range(150):
        feed.add(Event(dice.choice(TOPICS[10:]), payload(dice), id=f"{i:032x}", ts=float(i)), now=float(i))
        for name in ("sensors", "ttp", text(dice)[:20]):
            feed.add(
                Event(f"system.{name}.health", payload(dice), id=f"{name}{i}", ts=float(i)), now=float(i)
            )
        workers.sync(float(i))
        for n in range(workers.count()):
            assert not obeyed(strip_of(workers.line(n, 119), 120).text)
    assert feed.notices


async def fill(repo: Any, dice: random.Random) -> None:
    """A store in which everything that attackers and files can name is hostile."""
    await filled(repo, 1e9)
    for i in range(20):
        nasty = text(dice).replace("\ud800", "").replace("\x00", "")
        await repo.insert_commands("s1", [{"id": f"h{i}", "command_text": nasty, "ts": 1e9 + i}])
        await define_rule(repo, f"R9{i:03}", 1, nasty, nasty, f"{nasty}.yaml", nasty if i % 2 else None)
        await repo.dead_letter_add("ttp", "attacker.observed", nasty, 7, nasty.encode("utf-8", "replace"))
        entry = await repo.journal_add(
            operator=nasty,
            kind=nasty,
            target=nasty,
            what=nasty,
            before={nasty: nasty},
            after=None,
            reason=nasty,
        )
        await repo.journal_end(entry, nasty, nasty)


@pytest.mark.slow
async def test_a_hostile_store_is_shown_in_every_view_and_level(tmp_path: Path) -> None:
    dice = random.Random(11)
    async with open_repo("sqlite", tmp_path) as repo:
        await fill(repo, dice)
        app = DecnetApp(
            Settings(console=ConsoleSettings(glyphs="unicode"), data_dir=tmp_path), session=StoreSession(repo)
        )
        async with app.run_test(size=(120, 30)) as pilot:
            await shows(app, pilot, lambda: app.view.name == "since")
            for key in "012345678":
                await pilot.press(key)
                await shows(app, pilot, lambda: "Reading ..." not in "\n".join(screen_text(app)))
                for step in (
                    "down",
                    "down",
                    "enter",
                    "enter",
                    "down",
                    "down",
                    "y",
                    "escape",
                    "escape",
                    "escape",
                    "e", "j", "e", "c", "e", "t",
                ):  # fmt: skip
                    await pilot.press(step)
                    shown = "".join(screen_text(app))
                    assert not obeyed(shown), (key, step)
        made = list((tmp_path / "exports").iterdir())
        assert {path.suffix for path in made} == {".jsonl", ".csv", ".txt"}
        for path in made:
            text = path.read_text("ascii" if path.suffix == ".jsonl" else "utf-8")
            assert not any(obeyed(line) for line in text.split("\n"))


ALL_KEYS = [chr(c) for c in range(33, 127) if chr(c) != "Q"]
NAMED = (
    "up",
    "down",
    "left",
    "right",
    "enter",
    "escape",
    "tab",
    "space",
    "pageup",
    "pagedown",
    "home",
    "end",
    "ctrl+p",
    "ctrl+c",
    "backspace",
)


def contents(path: Path) -> list[str]:
    """Every row of a SQLite file."""
    with sqlite3.connect(path) as connection:
        return list(connection.iterdump())


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
async def test_random_keys_of_a_read_only_console_change_nothing(tmp_path: Path, seed: int) -> None:
    """The contract's sixty seconds stand in the acceptance tests; this is the same without a terminal, faster."""
    dice = random.Random(seed)
    async with open_repo("sqlite", tmp_path) as repo:
        await filled(repo, 1e9)
        (database,) = tmp_path.glob("*.sqlite")
        session = StoreSession(repo)
        settings = Settings(console=ConsoleSettings(glyphs="ascii"), data_dir=tmp_path / "data")
        app = DecnetApp(settings, session=session, read_only=True)
        async with app.run_test(size=(80, 24)) as pilot:
            await shows(app, pilot, lambda: app.view.name == "since")
            before = contents(database)
            for _ in range(60 if seed == 1 else 400):
                for key in dice.choices((*ALL_KEYS, *NAMED), k=20):
                    app.take_key(pressed(key))
                await pilot.pause()
            assert app.is_running
            assert not app.write.on
            await pilot.pause(0.3)  # an export that was begun comes to its end
        assert session.bus.published == []
        assert contents(database) == before
        data = tmp_path / "data"
        assert (sorted(p.name for p in data.iterdir()) if data.exists() else []) in ([], ["exports"])
