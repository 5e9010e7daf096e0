"""The page of an alert: what it holds and says, what becomes of it, and who wrote what about it; on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from decnet.config import ConsoleSettings, Settings
from decnet.db.repository import BaseRepository
from decnet.db.repository.attribution.alertpage import FIRST_LINES, LINE_CHARS
from decnet.db.repository.notes import MOST
from decnet.ids import attacker_id
from decnet_tui.app import DecnetApp
from tests.alertkit import BEGAN, DAY, IP, PATTERN, STRAY, WHO, two_in_turn
from tests.consolekit import StoreSession, screen_text, shows
from tests.dbkit import KINDS, open_repo

SETTINGS = Settings(console=ConsoleSettings(glyphs="ascii"))
HERS = [f"s{n:02}" for n, who in enumerate(PATTERN) if who == "b"]


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as made:
        yield made


@pytest.fixture
async def lite(tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo("sqlite", tmp_path) as made:
        yield made


# --- what the page holds


async def test_the_page_has_both_sides_with_what_was_measured(repo: BaseRepository) -> None:
    page = await repo.alert_page(await two_in_turn(repo))
    assert page is not None
    assert page["addresses"] == {WHO: IP}
    assert [len(side) for side in page["alert"]["sides"] or ()] == [PATTERN.count("a"), PATTERN.count("b")]
    first = page["sessions"][0]
    assert (first["lines"], first["logins"], first["recorded"]) == (
        ["nproc", "uname -a", "cd /tmp; wget x"],
        ["root/#a1b2"],
        False,
    )
    assert first["features"]["client"] == {"session.client": "ssh:a"}
    told = {item["family"]: item for item in (page["alert"]["explanation"] or {}).get("support", ())}
    assert (told["client"]["measured"], told["client"]["breaks"]) == (len(PATTERN), [])
    assert told["playbook"]["breaks"] == [f"s{STRAY:02}"]
    assert await repo.alert_page("none such") is None


async def test_secrets_are_clear_only_where_that_is_asked_for(repo: BaseRepository) -> None:
    page = await repo.alert_page(await two_in_turn(repo), clear=True)
    assert page is not None
    assert page["sessions"][0]["logins"] == ["root/pw-a"]


async def test_of_a_long_session_the_first_commands_are_read_and_each_is_cut(repo: BaseRepository) -> None:
    alert = await two_in_turn(repo)
    many = [
        {"id": f"x{k}", "command_text": f"{k:03}" + "y" * LINE_CHARS, "ts": BEGAN + 10 + k}
        for k in range(FIRST_LINES)
    ]
    await repo.insert_commands("s00", many)
    page = await repo.alert_page(alert)
    assert page is not None
    lines = page["sessions"][0]["lines"]
    assert len(lines) == FIRST_LINES
    assert max(map(len, lines)) == LINE_CHARS


# --- verdicts


async def test_a_verdict_is_kept_taken_back_and_brought_back(repo: BaseRepository) -> None:
    alert = await two_in_turn(repo)
    row = await repo.set_alert_state(alert, "resolved", "eve", "two_people")
    assert row is not None
    assert (row["state"], row["verdict"], row["resolved_by"]) == ("resolved", "two_people", "eve")
    made: Any = {
        name: row[name]
        for name in ("state", "verdict", "acknowledged_by", "acknowledged_at", "resolved_by", "resolved_at")
    }  # type: ignore[literal-required]
    again = await repo.set_alert_state(alert, "open", "bob")
    assert again is not None
    assert [again[name] for name in made] == ["open", None, None, None, None, None]  # type: ignore[literal-required]
    restored = await repo.restore_alert(alert, made)
    assert restored is not None
    assert {name: restored[name] for name in made} == made  # type: ignore[literal-required]
    assert await repo.restore_alert("none such", made) is None


@pytest.mark.parametrize(
    ("state", "verdict"),
    [("shut", None), ("resolved", "perhaps"), ("acknowledged", "wrong"), ("open", "wrong")],
)
async def test_only_a_resolved_alert_has_one_of_the_verdicts(
    lite: BaseRepository, state: str, verdict: str | None
) -> None:
    alert = await two_in_turn(lite)
    with pytest.raises(ValueError, match="alert"):
        await lite.set_alert_state(alert, state, "eve", verdict)


async def test_what_has_no_evidence_any_more_is_not_opened_again(repo: BaseRepository) -> None:
    alert = await two_in_turn(repo)
    await repo.set_alert_state(alert, "resolved", "eve", "wrong")
    (row,) = await repo.list_alerts()
    await repo.close_alerts([row["identity_uuid"]], "attribution")
    with pytest.raises(ValueError, match="stands no more"):
        await repo.set_alert_state(alert, "open", "eve")
    with pytest.raises(ValueError, match="stands no more"):
        await repo.restore_alert(alert, {"state": "acknowledged", "verdict": None, "acknowledged_by": "eve", "acknowledged_at": None,
                                         "resolved_by": None, "resolved_at": None})  # fmt: skip


# --- notes


async def test_notes_stand_in_order_by_what_they_are_about(repo: BaseRepository) -> None:
    for n in range(MOST + 1):
        await repo.note_add("alert", "a1", f"note {n}", "eve")
    await repo.note_add("source", "a1", "of the source", "bob")
    notes = await repo.notes_of("alert", "a1")
    assert [len(notes), notes[0]["body"], notes[-1]["body"]] == [MOST, "note 1", f"note {MOST}"]
    (other,) = await repo.notes_of("source", "a1")
    assert (other["body"], other["operator"]) == ("of the source", "bob")
    assert await repo.note_take_back(other["id"])
    assert not await repo.note_take_back(other["id"])
    for about, body in (("session", "x"), ("alert", "  ")):
        with pytest.raises(ValueError, match="note"):
            await repo.note_add(about, "a1", body, "eve")


async def test_notes_about_a_source_leave_with_it(repo: BaseRepository) -> None:
    other = attacker_id("198.51.100.1")
    await repo.upsert_attackers([(WHO, IP, BEGAN), (other, "198.51.100.1", BEGAN + 100 * DAY)])
    for about, target in (("source", WHO), ("source", other), ("alert", WHO)):
        await repo.note_add(about, target, "words", "eve")
    await repo.purge_older(BEGAN + 50 * DAY)
    assert await repo.notes_of("source", WHO) == []
    assert len(await repo.notes_of("source", other)) == len(await repo.notes_of("alert", WHO)) == 1


# --- on the screen


async def test_the_page_says_who_what_and_what_not(lite: BaseRepository) -> None:
    await two_in_turn(lite)
    app = DecnetApp(SETTINGS, session=StoreSession(lite))
    async with app.run_test(size=(80, 48)) as pilot:
        await pilot.press("2")
        await shows(app, pilot, IP)
        await pilot.press("enter")
        await shows(app, pilot, "first commands")
        text = "\n".join(screen_text(app))
    for words in (
        f"{IP}  OPEN", "20 sessions 03-01..03-10", "LIKELY several operators, or one with two toolkits", "In short: A SSH-2.0-Go",
        "A (10 sessions)", "B (10 sessions)", "SSH-2.0-PuTTY_Release_0.78", "root/#a1b2", "oracle/#b1b2", "20/20", "19/20 !",
        "hours UTC  03", "2s", "63s", "nproc, uname, cd", "w, id, tar", "objective mine", "days 03-01 AA",
        "side changed", "strength 10^", "asked: 10^", "shown as 0.5", f"in 1 of 20 sessions: s{STRAY:02}", "CANNOT TELL", "B!",
    ):  # fmt: skip
        assert words in text, words


async def test_at_24_lines_both_sides_and_a_session_are_seen_at_once_and_g_comes_back_to_them(
    lite: BaseRepository,
) -> None:
    await two_in_turn(lite)
    app = DecnetApp(SETTINGS, session=StoreSession(lite))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await shows(app, pilot, IP)
        await pilot.press("enter")
        for _ in range(2):
            await shows(app, pilot, "A (10 sessions)")
            await shows(app, pilot, ">  A  03-01 03:10:00")
            await pilot.press("G")
            await shows(app, pilot, ">  B  03-10 17:11:00")
            assert "A (10 sessions)" not in "\n".join(screen_text(app))
            await pilot.press("g")


async def test_tab_shows_one_side_and_the_session_under_the_cursor_opens(lite: BaseRepository) -> None:
    await two_in_turn(lite)
    app = DecnetApp(SETTINGS, session=StoreSession(lite))
    async with app.run_test(size=(80, 48)) as pilot:
        await pilot.press("2")
        await shows(app, pilot, IP)
        await pilot.press("enter")
        await shows(app, pilot, "side started")
        await pilot.press("tab", "tab")
        await shows(app, pilot, "B only")
        assert [one["session_id"] for one in app.view.records()[1:]] == HERS
        await pilot.press("down", "enter")
        await shows(app, pilot, f"session {HERS[1]}")
        await pilot.press("escape", "tab")
        await shows(app, pilot, "side started")


async def test_an_alert_is_acknowledged_with_three_keys(lite: BaseRepository) -> None:
    alert = await two_in_turn(lite)
    app = DecnetApp(SETTINGS, session=StoreSession(lite))
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(app, pilot, IP)
        app.write.start()
        keys = ["2", "a", "y"]
        await pilot.press(*keys)
        await shows(app, pilot, f"alert {IP} acknowledged: verified")
    row = await lite.get_alert(alert)
    assert row is not None
    assert (row["state"], row["acknowledged_by"], len(keys)) == ("acknowledged", "eve@console", 3)


async def test_a_verdict_is_chosen_noted_undone_and_reopened(lite: BaseRepository) -> None:
    alert = await two_in_turn(lite)
    app = DecnetApp(SETTINGS, session=StoreSession(lite))
    async with app.run_test(size=(80, 30)) as pilot:
        await pilot.press("2")
        await shows(app, pilot, IP)
        await pilot.press("enter")
        await shows(app, pilot, "CANNOT TELL")
        await pilot.press("R", "y", "enter")
        await shows(app, pilot, "what was found? two people / one, two tools / wrong")
        await pilot.press("right", "right", "tab", *"one man, two machines", "enter", "y")
        await shows(app, pilot, f"alert {IP} resolved: one, two tools: verified")
        await shows(app, pilot, "RESOLVED one, two tools by eve@console")
        await shows(app, pilot, "one man, two machines")
        await pilot.press("U", "y")
        await shows(app, pilot, f"alert {IP} open: verified")
        assert (await lite.get_alert(alert) or {})["verdict"] is None
        await pilot.press("R", "right", "enter", "y")
        await shows(app, pilot, "RESOLVED two people by")
        await pilot.press("R")
        await shows(app, pilot, "OPEN AGAIN the alert on")
        await pilot.press("y")
        await shows(app, pilot, f"alert {IP} open again: verified")
        await pilot.press("n", *"ask the night shift", "enter", "y")
        await shows(app, pilot, "eve@console: ask the night shift")
    assert [note["body"] for note in await lite.notes_of("alert", alert)] == [
        "one man, two machines",
        "ask the night shift",
    ]
    kinds = [row["kind"] for row in await lite.journal()]
    assert kinds == ["note", "alert.state", "alert.state", "alert.state", "alert.state"]


async def test_a_command_without_an_id_acts_on_no_hidden_alert(lite: BaseRepository) -> None:
    alert = await two_in_turn(lite)
    app = DecnetApp(SETTINGS, session=StoreSession(lite))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await shows(app, pilot, "v: for and against")
        app.write.start()
        await pilot.press("1", "colon", *"ack", "enter")
        await shows(app, pilot, "there is no alert under the cursor")
        await pilot.press("colon", *"ack nonsense", "enter")
        await shows(app, pilot, "no alert nonsense")
        await pilot.press("colon", *f"ack {alert[:8]}", "enter", "y")
        await shows(app, pilot, "acknowledged: verified")


@pytest.mark.parametrize(
    ("checked", "left", "words"),
    [(False, 40_000.0, "next look at all identities is in 11h"), (False, 0.0, "is due"), (True, 40_000.0, "No alert: no identity looks"),
     (False, "soon", "is due"), (False, True, "is due")],
)  # fmt: skip
async def test_before_the_first_look_nobody_says_that_there_is_no_alert(
    lite: BaseRepository, checked: bool, left: Any, words: str
) -> None:
    session = StoreSession(lite)
    app = DecnetApp(SETTINGS, session=session)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(app, pilot, lambda: session.bus.subs)
        session.bus.put("system.attribution.health", {"worker": "attribution", "state": "ok", "alerts_checked": checked, "next_check_s": left})  # fmt: skip
        await pilot.press("2")
        await shows(app, pilot, words)
