"""Actors and campaigns in the console: places, identities, kits; filters; pages that each way leads to, and their keys."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from decnet.config import ConsoleSettings, Settings
from decnet.db.repository import BaseRepository
from decnet.ids import attacker_id
from decnet_tui.app import DecnetApp
from decnet_tui.model.whereabouts import Whereabouts
from decnet_tui.screens.actor import ActorLevel
from decnet_tui.screens.campaigns import CampaignLevel, CampaignSessionsLevel
from decnet_tui.screens.levels import LevelsView
from tests.consolekit import StoreSession, screen_text, shows
from tests.dbkit import open_repo
from tests.integration.test_linked_lists import DROP, KEY, A, B, C, D, filled
from tests.linkrows import identity_of

SIZES = [(80, 24), (160, 48)]
AS = b"45.9.148.0\t45.9.148.255\t49981\tNL\tWORLDSTREAM\n185.220.101.0\t185.220.101.255\t149981\tDE\tTOR\n"


@pytest.fixture
async def repo(tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo("sqlite", tmp_path) as made:
        await filled(made)
        async with made.db.write() as session:  # nobody has judged these sessions: pages have no playbooks
            await session.execute(text("DELETE FROM session_story"))
        yield made


def app_on(repo: BaseRepository, folder: Path) -> DecnetApp:
    (folder / "intel").mkdir(exist_ok=True)
    (folder / "intel" / "asn.tsv").write_bytes(AS)
    settings = Settings(console=ConsoleSettings(glyphs="ascii"), data_dir=folder)
    session = StoreSession(repo)
    session.whereabouts = Whereabouts(settings)
    return DecnetApp(settings, session=session)


def level_of(app: DecnetApp) -> Any:
    assert isinstance(app.view, LevelsView)
    return app.view.level


def addresses(app: DecnetApp) -> set[str]:
    return {row["attacker_ip"] for row in level_of(app).rows}


async def typed(app: DecnetApp, pilot: Any, line: str) -> None:
    await pilot.press("backslash", "slash", *line, "enter")


@pytest.mark.parametrize("size", SIZES)
async def test_a_line_says_where_from_whose_and_which_kit(
    repo: BaseRepository, tmp_path: Path, size: tuple[int, int]
) -> None:
    app = app_on(repo, tmp_path)
    async with app.run_test(size=size) as pilot:
        await pilot.press("3")
        await shows(app, pilot, "AS49981")
        (line,) = (text for text in screen_text(app) if text[1:].startswith(f"{B} "))
        assert line.split()[:7] == [B, "NL", "AS49981", "-", "-", "2", f"i-{identity_of(A)[:4]}"]
        assert f"i-{identity_of(A)[:4]} 2 addr" in line
        assert f"c-{KEY[:4]}" in line or f"c-{DROP[:4]}" in line
        (alone,) = (text for text in screen_text(app) if text[1:].startswith(f"{D} "))
        assert f"i-{identity_of(D)[:4]}" in alone
        assert " addr" not in alone[:80]


async def test_filters_find_by_place_network_kit_and_by_any_id_of_an_identity(
    repo: BaseRepository, tmp_path: Path
) -> None:
    app = app_on(repo, tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await shows(app, pilot, "AS49981")
        for text, wanted in (
            ("country:NL", {A, B}),
            ("asn:49981", {A, B}),
            ("asn:AS149981", {C}),
            (f"campaign:c-{DROP[:6]}", {B, C}),
            (f"id:i-{identity_of(A)[:8]}", {A, B}),
            (f"id:{identity_of(B)}", {A, B}),
            (f"-id:i-{identity_of(A)[:8]}", {C, D}),
            ("technique:T1496", {B}),
        ):
            await typed(app, pilot, text)
            assert addresses(app) == wanted, text


async def test_the_page_tells_place_identity_reasons_and_what_speaks_against_and_leads_to_the_others(
    repo: BaseRepository, tmp_path: Path
) -> None:
    app = app_on(repo, tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await shows(app, pilot, "AS49981")
        app.open_in("actors", A)
        await pilot.press("enter")
        await shows(app, pilot, "OTHER ADDRESSES")
        text = "\n".join(screen_text(app))
        for part in (
            f"{A} i-{identity_of(A)[:8]} 2 addresses",
            f" {A}  NL  AS49981 WORLDSTREAM  [file",
            "seen 2026-05-06 .. 2026-05-06  2 sessions on 1 decoy",
            f"IDENTITY i-{identity_of(A)[:8]}  2 addresses  4.6",
            "+2.9 key ssh-rsa AAAA at 2 addresses",
            "+0.7 client SSH-2.0-Go at 3 addresses",
            "against: -0.5 both have a script, and not the same",
            f"CAMPAIGN c-{KEY[:8]}  2 addresses  key of mdrfckr",
        ):
            assert part in text, part
        assert level_of(app).current.key == "a2", (
            "the newest session, so that Enter opens it as it always did"
        )
        await pilot.press("k", "enter")
        await shows(app, pilot, lambda: level_of(app).row.get("attacker_ip") == B)
        await pilot.press("escape")
        assert level_of(app).row["attacker_ip"] == A


@pytest.mark.parametrize("size", SIZES)
async def test_campaigns_are_listed_and_their_page_has_members_reasons_and_sessions(
    repo: BaseRepository, tmp_path: Path, size: tuple[int, int]
) -> None:
    app = app_on(repo, tmp_path)
    async with app.run_test(size=size) as pilot:
        await pilot.press("9")
        await shows(app, pilot, "key of mdrfckr")
        rows = {row["campaign_uuid"]: row for row in level_of(app).rows}
        assert set(rows) == {KEY, DROP}
        (line,) = (text for text in screen_text(app) if f"c-{KEY[:8]}" in text[:12])
        assert line.split()[:8] == [*line.split()[:1], "2", "1", "3", "05-06", "mdb7.cn", "+1", "2"]
        await typed(app, pilot, f"ip:{C}")
        assert [row["campaign_uuid"] for row in level_of(app).rows] == [DROP]
        await typed(app, pilot, "host:mdb7")
        assert [row["campaign_uuid"] for row in level_of(app).rows] == [KEY]
        await pilot.press("enter")
        await shows(app, pilot, f"CAMPAIGN c-{KEY[:8]}  key of mdrfckr")
        level = level_of(app)
        sections: dict[str, list[Any]] = {}
        for entry in level.entries:
            if entry.key is not None:
                sections.setdefault(entry.section, []).append(entry.key)
        assert sections["sessions"] == ["a2", "b1", "a1"]
        assert [e.data["attacker_ip"] for e in level.entries if e.section == "addresses" and e.key] == [A, B]
        assert sections["identities"] == [identity_of(A)]
        shown = "\n".join("".join(text for text, _ in entry.line) for entry in level.entries)
        assert "key ssh-rsa AAAA  (at 2 addresses)" in shown
        assert "T1098      Account Manipulation" in shown
        await pilot.press("enter")
        await shows(app, pilot, lambda: isinstance(level_of(app), ActorLevel) and level_of(app).row)
        assert level_of(app).row["attacker_ip"] == A
        await pilot.press("escape", "i")
        await shows(app, pilot, lambda: level_of(app).loaded_at)
        assert isinstance(level_of(app), CampaignSessionsLevel)
        assert [row["session_id"] for row in level_of(app).rows] == ["a2", "b1", "a1"]
        await pilot.press("enter")
        await shows(app, pilot, "session a2")


async def test_an_empty_list_of_campaigns_says_what_makes_one(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        app = app_on(repo, tmp_path)
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.press("9")
            await shows(app, pilot, "one begins when two addresses have the same key")


async def test_a_campaign_that_is_no_more_says_so_on_its_page(repo: BaseRepository, tmp_path: Path) -> None:
    app = app_on(repo, tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("9")
        await shows(app, pilot, "key of mdrfckr")
        app.open_in("campaigns", "c-00000000")
        await shows(app, pilot, "it is no campaign until another")
        assert isinstance(level_of(app), CampaignLevel)
        for key in ("F", "i", "o", "b", "y", "enter"):
            await pilot.press(key)
        await pilot.press("escape", "escape", "escape")
        assert app.is_running


async def opened(app: DecnetApp, pilot: Any, who: str) -> None:
    """The page of an actor, from the list."""
    await pilot.press("3")
    await shows(app, pilot, "AS49981")
    app.open_in("actors", who)
    await pilot.press("enter")
    await shows(app, pilot, lambda: isinstance(level_of(app), ActorLevel) and level_of(app).row)


async def test_following_an_actor_follows_its_identity_as_it_grows_and_parts(
    repo: BaseRepository, tmp_path: Path
) -> None:
    app = app_on(repo, tmp_path)
    bus: Any = app.session.bus
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await shows(app, pilot, "AS49981")
        app.open_in("actors", B)
        await pilot.press("F")
        await shows(app, pilot, f"follow {B} 2 addr")
        assert addresses(app) == {A, B}
        assert app.following.scope is not None
        assert app.following.scope.covers_raw(f'{{"attacker_ip":"{A}"}}'.encode())
        assert not app.following.scope.covers_raw(f'{{"attacker_ip":"{C}"}}'.encode())

        await change(repo, C, into=A)
        bus.put("identity.merged", {"winner_uuid": identity_of(A), "loser_uuid": identity_of(C), "seq": 3})
        await shows(app, pilot, f"follow {B} 3 addr")
        assert app.following.scope.covers_raw(f'{{"attacker_ip":"{C}"}}'.encode())

        await change(repo, B, into=None)
        bus.put(
            "identity.unmerged", {"former_winner": identity_of(A), "resurrected": identity_of(B), "seq": 4}
        )
        await shows(
            app, pilot, lambda: app.following.scope is not None and app.following.scope.addresses == 1
        )
        assert app.following.scope.names == {B, attacker_id(B), identity_of(B)}, (
            "the one that was chosen stays"
        )
        bus.put("identity.merged", {"winner_uuid": "x", "loser_uuid": "y"})
        before = app.following.scope
        await shows(app, pilot, lambda: not app.feed.merges)
        assert app.following.scope is before


async def change(repo: BaseRepository, ip: str, into: str | None) -> None:
    """What linking made of an address."""
    async with repo._write() as session:
        await session.execute(
            text("UPDATE identity SET merged_into = :into WHERE identity_uuid = :own"),
            {"into": identity_of(into) if into else None, "own": identity_of(ip)},
        )


async def test_following_a_campaign_follows_its_addresses_and_says_how_many(
    repo: BaseRepository, tmp_path: Path
) -> None:
    app = app_on(repo, tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("9")
        await shows(app, pilot, "key of mdrfckr")
        app.open_in("campaigns", DROP)
        await pilot.press("F")
        await shows(app, pilot, f"follow c-{DROP[:8]} 2 addr")
        await pilot.press("3")
        await shows(app, pilot, lambda: level_of(app).rows and addresses(app) == {B, C})
        await pilot.press("9", "W", "y", "enter")
        await shows(app, pilot, "CAMPAIGN c-")
        await pilot.press("X")
        await shows(app, pilot, "X ignores an address: go to one of the campaign's")
        await pilot.press("F", "colon", *f"follow c-{KEY[:6]}", "enter")
        await shows(app, pilot, f"follow c-{KEY[:8]} 2 addr")
        await pilot.press("F", "colon", *f"follow i-{identity_of(A)[:6]}", "enter")
        await shows(app, pilot, f"follow i-{identity_of(A)[:8]} 2 addr")


async def test_two_are_said_to_be_one_hand_verified_journalled_and_undone(
    repo: BaseRepository, tmp_path: Path
) -> None:
    app = app_on(repo, tmp_path)
    pair = (attacker_id(C), attacker_id(D))
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("3")
        await shows(app, pilot, "AS49981")
        await pilot.press("colon", *"link", "enter", "y")
        await shows(app, pilot, "mark two actors with space")
        for ip in (C, D):
            app.open_in("actors", ip)
            await shows(app, pilot, lambda ip=ip: level_of(app).current["attacker_ip"] == ip)
            await pilot.press("space")
        await pilot.press("colon", *"link", "enter")
        await shows(app, pilot, "LINK ")
        await pilot.press(*"same shell history", "enter", "y")
        await shows(app, pilot, "the same: verified (kept; identities follow within seconds)")
        assert await repo.word_on_link(*pair) == (True, "same shell history")
        await pilot.press("U")
        await shows(app, pilot, "UNDO")
        await pilot.press("y")
        await shows(app, pilot, "as the evidence has it: verified")
        assert await repo.word_on_link(*pair) is None
        await pilot.press("colon", *f"unsay {C} {D}", "enter")
        await shows(app, pilot, f"nobody has said anything of {C} and {D}")
        await pilot.press("colon", *f"link {C} 192.0.2.250", "enter")
        await shows(app, pilot, "no identity 192.0.2.250")


async def test_on_an_actors_page_the_address_under_the_cursor_is_cut_off(
    repo: BaseRepository, tmp_path: Path
) -> None:
    app = app_on(repo, tmp_path)
    async with app.run_test(size=(100, 30)) as pilot:
        await opened(app, pilot, A)
        await pilot.press("colon", *"unlink", "enter", "y")
        await shows(app, pilot, "go to another address on an actor's page")
        await pilot.press("k", "colon", *"unlink", "enter")
        await shows(app, pilot, f"CUT {A} and {B}")
        await pilot.press("enter", "y")
        await shows(app, pilot, "not the same: verified")
        assert await repo.word_on_link(attacker_id(A), attacker_id(B)) == (False, "")


async def test_comparing_says_whether_two_are_linked_and_why(repo: BaseRepository, tmp_path: Path) -> None:
    app = app_on(repo, tmp_path)
    await repo.say_of_link(attacker_id(A), attacker_id(B), same=True, reason="one key", by="eve")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await shows(app, pilot, "AS49981")
        for ip in (A, B):
            app.open_in("actors", ip)
            await shows(app, pilot, lambda ip=ip: level_of(app).current["attacker_ip"] == ip)
            await pilot.press("space")
        await pilot.press("equals_sign")
        await shows(app, pilot, f"LINKED: both are i-{identity_of(A)[:8]}  2 addresses  4.6")
        shown = "\n".join(screen_text(app))
        assert "an operator said that they are the same: one key" in shown
        assert "+2.9 key ssh-rsa AAAA at 2 addresses" in shown
        rows = {row["what"]: row for row in level_of(app).rows}
        assert rows["identity"]["same"] == "same"
        assert rows["T1496 Resource Hijacking"]["same"] == "differs"
        await pilot.press("escape", "space")
        app.open_in("actors", D)
        await shows(app, pilot, lambda: level_of(app).current["attacker_ip"] == D)
        level_of(app).marked = {attacker_id(A), attacker_id(D)}
        await pilot.press("equals_sign")
        await shows(app, pilot, "NOT LINKED: two identities, nothing joins them")
        assert {row["what"]: row["same"] for row in level_of(app).rows}["campaigns"] == "unknown"


async def test_ignoring_an_actor_offers_all_addresses_of_its_identity(
    repo: BaseRepository, tmp_path: Path
) -> None:
    app = app_on(repo, tmp_path)
    async with app.run_test(size=(100, 30)) as pilot:
        await opened(app, pilot, A)
        await pilot.press("X", "y")
        await shows(app, pilot, f"IGNORE {A}")
        await pilot.press("tab", "right", "enter")
        await shows(app, pilot, f"ignore {A} and 1 more of i-{identity_of(A)[:8]}")
        await pilot.press("y")
        await shows(app, pilot, f"ignore 2 addresses of i-{identity_of(A)[:8]}: verified")
        assert {row["value"] for row in await repo.ignored_sources()} == {f"{A}/32", f"{B}/32"}
        await pilot.press("U", "y")
        await shows(app, pilot, "no longer: verified")
        assert await repo.ignored_sources() == []
        await pilot.press("escape")
        app.open_in("actors", D)
        await shows(app, pilot, lambda: level_of(app).current["attacker_ip"] == D)
        await pilot.press("X")
        await shows(app, pilot, f"IGNORE {D}")
        assert "this address" not in "\n".join(screen_text(app))


async def to_actor_from_list(app: DecnetApp, pilot: Any) -> None:
    await opened(app, pilot, B)


async def to_actor_from_campaign(app: DecnetApp, pilot: Any) -> None:
    await pilot.press("9")
    await shows(app, pilot, "key of mdrfckr")
    app.open_in("campaigns", DROP)
    await pilot.press("enter")
    await shows(app, pilot, "ADDRESSES 2")
    level = level_of(app)
    level.cursor = next(n for n, e in enumerate(level.entries) if e.data.get("attacker_ip") == B)
    level._moved = True
    await pilot.press("enter")
    await shows(app, pilot, lambda: isinstance(level_of(app), ActorLevel) and level_of(app).row)


async def to_session_from_actor(app: DecnetApp, pilot: Any) -> None:
    await to_actor_from_list(app, pilot)
    await pilot.press("enter")
    await shows(app, pilot, f"{B}  i-{identity_of(A)[:8]}  2 addresses")


async def to_session_from_campaign(app: DecnetApp, pilot: Any) -> None:
    await to_actor_from_campaign(app, pilot)
    await pilot.press("escape", "G", "enter")
    await shows(app, pilot, f"{B}  i-{identity_of(A)[:8]}  2 addresses")


async def to_session_from_sessions_of_campaign(app: DecnetApp, pilot: Any) -> None:
    await to_actor_from_campaign(app, pilot)
    await pilot.press("escape", "i")
    await shows(app, pilot, lambda: level_of(app).loaded_at)
    level_of(app).go_to("b2")
    await pilot.press("enter")
    await shows(app, pilot, f"{B}  i-{identity_of(A)[:8]}  2 addresses")


@pytest.mark.parametrize(
    "way",
    [
        to_actor_from_list,
        to_actor_from_campaign,
        to_session_from_actor,
        to_session_from_campaign,
        to_session_from_sessions_of_campaign,
    ],
)
async def test_whatever_way_led_to_a_page_each_key_acts_on_its_object(
    repo: BaseRepository, tmp_path: Path, way: Any
) -> None:
    app = app_on(repo, tmp_path)
    async with app.run_test(size=(100, 30)) as pilot:
        await way(app, pilot)
        assert B in "\n".join(screen_text(app)[2:5]), "the header names it"
        name, depth = app.view.name, app.view.depth
        await pilot.press("F")
        await shows(app, pilot, f"follow {B} 2 addr")
        assert app.following.scope is not None
        assert app.following.scope.anchor == attacker_id(B)
        await pilot.press("F", "b")
        assert app.view.name == "traffic"
        assert app.traffic.scope is not None
        assert app.traffic.scope.label == B
        await pilot.press("minus")
        assert (app.view.name, app.view.depth) == (name, depth)
        await pilot.press("i")
        await shows(app, pilot, lambda: app.view.depth == depth + 1 and level_of(app).loaded_at)
        assert {row["session_id"] for row in level_of(app).rows} == {"b1", "b2"}
        await pilot.press("escape", "X", "y")
        await shows(app, pilot, f"IGNORE {B}")
        await pilot.press("escape", "y")
        assert app.view.depth == depth


@pytest.mark.parametrize(("key", "row", "first"), [("3", B, "attacker_ip"), ("9", DROP, "campaign_uuid")])
async def test_a_page_is_copied_as_its_object_and_exported_with_its_lists(
    repo: BaseRepository, tmp_path: Path, key: str, row: str, first: str
) -> None:
    app = app_on(repo, tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(key)
        await shows(app, pilot, lambda: level_of(app).rows)
        app.open_in(app.view.name, row)
        await pilot.press("enter")
        await shows(app, pilot, lambda: level_of(app).row)
        assert json.loads(level_of(app).copy_text())[first] == row
        await pilot.press("e", "j")
        await shows(app, pilot, lambda: list((tmp_path / "exports").glob("*.jsonl")))
        (path,) = (tmp_path / "exports").glob("*.jsonl")
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        assert lines[0][first] == row
        assert {line["session_id"] for line in lines if line.get("section") == "sessions"} >= {"b2"}
        assert any(line.get("section") == "addresses" for line in lines)


async def test_the_search_finds_an_actor_by_what_it_typed_and_says_how_far_it_looked(
    repo: BaseRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = {row["attacker_ip"]: row["session_id"] for row in await repo.list_sessions(limit=0)}
    await repo.insert_commands(sessions[A], [{"id": "a1", "command_text": "Tftp -g x", "ts": 100.0}])
    await repo.insert_commands(sessions[B], [{"id": "b1", "command_text": "uname -a", "ts": 90.0}])
    app = app_on(repo, tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await shows(app, pilot, lambda: {A, B} <= addresses(app))
        everybody = addresses(app)
        await typed(app, pilot, "tftp")
        await shows(app, pilot, lambda: addresses(app) == {A})
        await typed(app, pilot, "-tftp")
        await shows(app, pilot, lambda: addresses(app) == everybody - {A})
        await typed(app, pilot, "commands:uname")
        await shows(app, pilot, lambda: addresses(app) == {B})
        await typed(app, pilot, "tf")
        await pilot.pause(0.6)
        assert addresses(app) == set(), "two letters stand in too many commands"
        monkeypatch.setattr("decnet.db.repository.lists.typed.LOOKED_AT", 1)
        await typed(app, pilot, "uname")
        await shows(app, pilot, "only the newest 1 command searched")
