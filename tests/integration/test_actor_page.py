"""What all sessions of one attacker amount to, its page, notes and comparing; on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from decnet.config import ConsoleSettings, Settings
from decnet.db.repository import BaseRepository
from decnet.db.repository.lists import amounts, struck
from decnet.ids import attacker_id, identity_id
from decnet.intel.places import Places
from decnet_tui.app import DecnetApp
from decnet_tui.cli import session as session_command
from decnet_tui.cli.attacker import attacker_page, lines_of
from decnet_tui.model.actor_page import NEW_S, is_new
from decnet_tui.screens.actor import ActorLevel
from tests.consolekit import StoreSession, screen_text, shows
from tests.dbkit import KINDS, open_repo
from tests.rowkit import put

SETTINGS = Settings(console=ConsoleSettings(glyphs="ascii"))
IP, OTHER = "88.13.24.103", "198.51.100.77"
WHO, SHE = attacker_id(IP), attacker_id(OTHER)
SHA = "dc4ca971" + "0" * 56
BEGAN = datetime(2026, 3, 1, 23, 50, tzinfo=UTC)


async def filled(repo: BaseRepository) -> BaseRepository:
    """Two days of one source: a script that ran eight times, one that ran once, log-ins alone; another one with its client."""
    for uuid, ip in ((WHO, IP), (SHE, OTHER)):
        await put(
            repo,
            "attacker",
            {"attacker_uuid": uuid, "ip": ip, "first_seen": BEGAN, "last_seen": BEGAN + timedelta(hours=2)},
        )
        await put(repo, "identity", {"identity_uuid": identity_id(uuid), "attacker_uuid": uuid})
    kinds = [("pb-fetch1", "high", 1, "fetch+run", ["access", "deliver"])] * 8
    kinds += [("pb-looks2", "low", 3, "recon", ["access", "recon"])] + [
        (None, "info", 4, "knock", ["access"])
    ] * 3
    for n, (playbook, severity, rank, line, phases) in enumerate(kinds):
        name, at = f"s{n:02}", BEGAN + timedelta(minutes=2 * n)
        files = (
            [{"sha256": SHA, "url": "http://evil.example/x/backdoor.elf"}]
            if playbook == "pb-fetch1"
            else None
        )
        await put(repo, "session", {
            "session_id": name, "attacker_uuid": WHO, "attacker_ip": IP, "decky_id": "web-01", "service": "ssh", "protocol": "ssh",
            "started_at": at, "ended_at": at, "duration_s": 1.0, "command_count": 2, "downloads": files,
            "client": {"version": "SSH-2.0-paramiko_4.0.0" if n else "SSH-2.0-Go"}})  # fmt: skip
        await put(repo, "session_story", {
            "session_id": name, "attacker_uuid": WHO, "severity": severity, "rank": rank, "reason": "r", "line": line,
            "playbook": playbook, "story": [{"phase": phase} for phase in [*phases, phases[0]]], "seen_at": at})  # fmt: skip
        await put(repo, "credential", {"credential_id": f"c{n}", "attacker_uuid": WHO, "session_id": name, "username": "root",
                                       "secret_hmac": f"{n % 2}abc" + "0" * 60, "secret": f"pw{n % 2}", "success": n % 2 == 1})  # fmt: skip
        if files:
            await put(repo, "session_thing", {"session_id": name, "kind": "hash", "value": SHA, "seen_at": at},
                      {"session_id": name, "kind": "host", "value": "evil.example", "seen_at": at})  # fmt: skip
    for n in range(3):
        await put(repo, "ttp_tag", {"uuid": f"t{n}", "attacker_uuid": WHO, "session_id": "s00", "source_id": f"x{n}",
                                    "technique_id": "T1105" if n else "T1059", "sub_technique_id": None if n else "T1059.004",
                                    "seen_at": BEGAN, "created_at": BEGAN})  # fmt: skip
    await put(repo, "link_term", {"term_id": "client|go", "family": "client", "value": "SSH-2.0-Go"},
              {"term_id": "network|x", "family": "network", "value": "88.13.24.0"})  # fmt: skip
    for uuid in (WHO, SHE):
        await put(
            repo,
            "link_value",
            {"attacker_uuid": uuid, "term_id": "client|go"},
            {"attacker_uuid": uuid, "term_id": "network|x"},
        )
    return repo


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as made:
        yield await filled(made)


@pytest.fixture
async def lite(tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo("sqlite", tmp_path) as made:
        yield await filled(made)


async def test_all_sessions_of_a_source_amount_to_this(repo: BaseRepository) -> None:
    page = await repo.actor_page(IP, sessions=5)
    assert page is not None
    told = page["amounts"]
    assert (len(page["sessions"]), told["judged"], page["attacker"]["session_count"]) == (5, 12, 12)
    assert dict(told["stages"]) == {"access": 12, "deliver": 8, "recon": 1}, (
        "a session counts once for a phase"
    )
    assert [(one["playbook"], one["sessions"], one["severity"], one["session_id"]) for one in told["playbooks"]] == [
        ("pb-fetch1", 8, "high", "s07"), ("pb-looks2", 1, "low", "s08"), (None, 3, "info", "s11"),
    ]  # fmt: skip
    assert dict(told["days"]) == {"2026-03-01": 5, "2026-03-02": 7}
    assert list(told["clients"].items()) == [("SSH-2.0-paramiko_4.0.0", 11), ("SSH-2.0-Go", 1)]
    assert told["logins"] == {"tried": 12, "let_in": 6, "top": [("root/#1abc", 6, 6), ("root/#0abc", 6, 0)]}
    assert told["files"] == [{"sha256": SHA, "name": "backdoor.elf", "sessions": 8}]
    assert dict(told["hosts"]) == {"evil.example": 8}
    assert dict(told["techniques"]) == {"T1105": 2, "T1059.004": 1}
    assert told["shared"] == [{"family": "client", "value": "SSH-2.0-Go", "addresses": 2}], (
        "a /24 says nothing to people"
    )
    assert (await repo.amounts_of(WHO, clear=True))["logins"]["top"][0][0] == "root/pw1"
    assert await repo.actor_page("192.0.2.250", sessions=5) is None


async def test_of_very_many_sessions_the_newest_stories_count(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(amounts, "JUDGED", 4)
    told = await repo.amounts_of(WHO)
    assert told["judged"] == 4
    assert [(one["playbook"], one["sessions"]) for one in told["playbooks"]] == [("pb-looks2", 1), (None, 3)]


async def recorded(repo: BaseRepository, session: str, **seen: str) -> None:
    """What behave says of the keys of a session: its modality, its cadence, or both."""
    names = {"modality": "motor.input_modality", "cadence": "motor.keystroke_cadence"}
    for n, (kind, value) in enumerate(sorted(seen.items())):
        await put(repo, "observation", {"observation_id": f"{session}-{kind}", "evidence_ref": f"session:{session}#{kind}", "primitive": names[kind], "value": value,
                                        "session_id": session, "attacker_uuid": WHO, "confidence": 0.5 + n / 10,
                                        "ts": float(session[1:])})  # fmt: skip


async def test_who_struck_the_keys_is_told_of_a_session_and_of_its_source(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    await recorded(repo, "s00", modality="typed", cadence="steady")
    await recorded(repo, "s01", modality="pasted", cadence="machine")
    await recorded(repo, "s02", modality="pasted", cadence="machine")
    await recorded(repo, "s03", cadence="bursty")
    await recorded(repo, "s04", modality="pasted")
    page, seen = await repo.session_page("s01"), await repo.session_page("s00")
    assert page is not None
    assert seen is not None
    assert page.struck == {
        "modality": "pasted",
        "cadence": "machine",
        "confidence": 0.5,
        "protocol": page.payload["protocol"],
    }
    assert seen.struck is not None
    assert seen.struck["confidence"] == 0.6, "of the modality"
    assert (await repo.session_page("s05")).struck is None  # type: ignore[union-attr]
    told = (await repo.actor_page(IP, sessions=1) or {"struck": []})["struck"]
    assert [(one["modality"], one["cadence"], one["sessions"]) for one in told] == [
        ("pasted", "machine", 2), (None, "bursty", 1), ("pasted", None, 1), ("typed", "steady", 1),
    ]  # fmt: skip
    monkeypatch.setattr(struck, "NEWEST", 1)
    told = await repo.struck_by(WHO)
    assert [(one["modality"], one["cadence"], one["sessions"]) for one in told] == [
        (None, "bursty", 1), ("pasted", None, 1),
    ]  # fmt: skip
    assert await repo.struck_by(SHE) == []


async def test_pages_and_commands_say_who_struck_the_keys_and_why(lite: BaseRepository) -> None:
    await recorded(lite, "s07", modality="pasted", cadence="machine")
    await recorded(lite, "s06", modality="typed", cadence="steady")
    said = "by a script: whole lines at a time  0.50"
    app = DecnetApp(SETTINGS, session=StoreSession(lite))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await shows(app, pilot, IP)
        await pilot.press("enter")
        await shows(
            app, pilot, "keys     by a script 1, typed by hand 1 of 2 recorded: whole lines at a time"
        )
        await pilot.press("enter")
        await shows(app, pilot, "1s     2     0 s07")
        await pilot.press("enter")
        await shows(app, pilot, f"keys {said}")
    told = session_command.told_of(await lite.session_page("s07"))  # type: ignore[arg-type]
    assert f"{'keys':<15} {said}" in list(session_command.lines_of(told))
    page = await attacker_page(lite, Places.of(SETTINGS), IP)
    assert "keys     by a script 1, typed by hand 1 of 2 recorded: whole lines at a time" in list(
        lines_of(page)
    )


async def test_one_who_did_nothing_has_nothing(repo: BaseRepository) -> None:
    page = await repo.actor_page(SHE, sessions=5)
    assert page is not None
    told = page["amounts"]
    assert told["logins"] == {"tried": 0, "let_in": 0, "top": []}
    assert not any(
        told[name] for name in ("stages", "playbooks", "days", "clients", "files", "hosts", "techniques")
    )  # type: ignore[literal-required]


async def test_the_page_tells_it_in_lines_and_a_playbook_opens_its_sessions(lite: BaseRepository) -> None:
    app = DecnetApp(SETTINGS, session=StoreSession(lite))
    async with app.run_test(size=(80, 36)) as pilot:
        await pilot.press("3")
        await shows(app, pilot, IP)
        app.open_in("actors", WHO)
        await shows(app, pilot, lambda: app.view.record().get("attacker_ip") == IP)
        await pilot.press("enter")
        await shows(app, pilot, "PLAYBOOKS (same commands grouped) 3")
        text = "\n".join(screen_text(app))
        for words in (
            "seen 2026-03-01 .. 2026-03-02  12 sessions on 1 decoy  HIGH", "does     fetch+run", "clients  SSH-2.0-paramiko_4.0.0 x11  SSH-2.0-Go x1 (at 2 addresses)", "logins   6 of 12 tries let in: root/#1abc x6",
            "days     03-01 5  03-02 7", "stages   access 12  deliver 8  recon 1", "files    dc4ca971 backdoor.elf x8",
            "hosts    evil.example x8", "technq   2 (7 matrix): T1105 2  T1059.004 1", "like     client SSH-2.0-Go at 2", "high         8",
            "fetch+run", "no script",
        ):  # fmt: skip
            assert words in text, words
        level: Any = app.view.level  # type: ignore[attr-defined]
        assert (level.current.section, level.current.key) == ("playbooks", "pb-fetch1")
        await pilot.press("enter")
        await shows(app, pilot, "8/8")
        assert {row["session_id"] for row in app.view.records()} == {f"s{n:02}" for n in range(8)}
        await pilot.press("escape", "j", "j", "enter")
        await shows(app, pilot, "3/3")


async def test_a_note_on_a_source_stands_on_its_page(lite: BaseRepository) -> None:
    app = DecnetApp(SETTINGS, session=StoreSession(lite))
    async with app.run_test(size=(80, 36)) as pilot:
        await pilot.press("3")
        await shows(app, pilot, IP)
        app.open_in("actors", WHO)
        await shows(app, pilot, lambda: app.view.record().get("attacker_ip") == IP)
        app.write.start()
        await pilot.press("n", *"asked their provider", "enter", "y")
        await shows(app, pilot, f"note on {IP}: verified")
        await pilot.press("enter")
        await shows(app, pilot, "eve@console: asked their provider")
        await pilot.press("n", *"they answered", "enter", "y")
        await shows(app, pilot, "eve@console: they answered")
    assert [note["body"] for note in await lite.notes_of("source", WHO)] == [
        "asked their provider",
        "they answered",
    ]


async def test_what_one_of_two_has_not_is_unknown_and_never_the_same(lite: BaseRepository) -> None:
    app = DecnetApp(SETTINGS, session=StoreSession(lite))
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.press("3")
        await shows(app, pilot, OTHER)
        app.open_in("actors", SHE)
        await shows(app, pilot, lambda: app.view.record().get("attacker_ip") == OTHER)
        await pilot.press("space")
        app.open_in("actors", WHO)
        await shows(app, pilot, lambda: app.view.record().get("attacker_ip") == IP)
        await pilot.press("enter")
        await shows(app, pilot, lambda: isinstance(app.view.level, ActorLevel) and app.view.level.row)  # type: ignore[attr-defined]
        await pilot.press("equals_sign")
        await shows(app, pilot, f"{IP} = {OTHER}")
        await shows(app, pilot, "log-ins let in")
        rows = {row["what"]: (row["one"], row["two"], row["same"]) for row in app.view.records()}
    assert rows["clients"] == ("SSH-2.0-Go SSH-2.0-paramiko_4.0.0", "-", "unknown")
    assert rows["country"] == ("-", "-", "unknown"), "nothing and nothing are not the same"
    assert rows["sessions"] == ("12", "0", "differs")
    assert rows["T1105 Ingress Tool Transfer"] == ("yes", "no", "differs")


@pytest.mark.parametrize(("seconds", "new"), [(NEW_S, True), (NEW_S + 1, False), (0, True)])
def test_a_source_is_new_for_a_day(seconds: float, new: bool) -> None:
    assert is_new(BEGAN, BEGAN.timestamp() + seconds) is new


def test_a_source_without_a_time_is_not_new() -> None:
    assert not is_new(None, 0.0)
