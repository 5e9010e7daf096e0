"""Names of sensors never collide, keep what they have, and are shown as their log wrote them."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from decnet.config import Settings
from decnet.db.repository import BaseRepository
from decnet.db.repository.runtime import names
from decnet.errors import DatabaseError, FleetError, SensorError
from decnet.ids import session_id
from decnet.mutator.queue import enqueue_op
from decnet.mutator.rows import Tools, apply_fleet
from decnet.names import MAX_RAW, MAX_TOKEN, NameBook, bounded, candidates, surest, token_of
from decnet.sensors import names as kept
from decnet.sensors.names import FileNames, RepoNames
from decnet.sensors.values import as_name
from decnet_tui.cli.sensors import rows_of
from tests.dbkit import KINDS, migrated_url
from tests.unit.test_sensor_cowrie import feed, make, of, row

COLLIDING = [("köder", "käder"), ("web.01", "web-01"), ("日本", "中国"), ("x" * 70 + "1", "x" * 70 + "2"),
             ("y" * 300 + "1", "y" * 300 + "2"), ("é", "cowrie"), ("-a-", "a")]  # fmt: skip
TOKEN = re.compile(r"[A-Za-z0-9_-]{1,63}\Z")


@pytest.fixture(params=KINDS)
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    async with migrated_url(request.param, tmp_path) as fresh:
        yield fresh


@pytest.mark.parametrize(("first", "second"), COLLIDING)
def test_two_names_that_clean_alike_are_two_sensors(first: str, second: str) -> None:
    book = NameBook()
    tokens = [book.token(bounded(name)) for name in (first, second)]
    assert tokens[0] == token_of(first), "the first keeps the name that it always had"
    assert tokens[1] != tokens[0]
    assert all(map(TOKEN.match, tokens))
    assert [book.token(bounded(name)) for name in (first, second)] == tokens, "and so it stays"


@given(st.lists(st.text(max_size=80), max_size=30, unique=True))
def test_no_two_names_share_a_token(names: list[str]) -> None:
    book = NameBook()
    tokens = [book.token(bounded(name)) for name in names]
    assert len(set(tokens)) == len(names)
    assert all(map(TOKEN.match, tokens))
    assert [book.token(bounded(name)) for name in names] == tokens


def test_a_name_that_looks_like_a_digest_takes_none_away() -> None:
    book = NameBook()
    _, suffixed, *_ = candidates("käder")
    assert book.token(suffixed) == suffixed
    assert book.token("köder") == "k-der"
    third = book.token("käder")
    assert third not in (suffixed, "k-der")
    assert len(third) > len(suffixed)


def test_a_long_name_is_told_from_every_other_one_and_cleans_as_it_always_did() -> None:
    assert bounded("x" * MAX_RAW) == "x" * MAX_RAW
    long = "é" * 300
    assert len(bounded(long)) < 300
    assert token_of(bounded(long)) == token_of(long[:MAX_RAW]) == "cowrie"
    assert as_name("z" * 5000) == bounded("z" * 5000)
    assert len(surest("x" * 300)) == MAX_TOKEN


def test_sessions_of_two_sensors_stay_apart_in_one_log() -> None:
    source = make()
    lines = [row("session.connect", at, sensor=name) for at, name in ((0, "köder"), (1, "käder"))]
    started = of(feed(source, b"".join(lines)), "session.started")
    assert [p["decky_id"] for p in started] == ["k-der", started[1]["decky_id"]]
    assert started[0]["session_id"] == session_id("cowrie", "k-der", "s1"), "the id that was always given"
    assert started[1]["decky_id"].startswith("k-der-")
    shown = source.names()
    assert shown == {"köder": "k-der", "käder": started[1]["decky_id"]}
    again = make()
    again.restore(json.loads(json.dumps(source.to_state())))
    assert again.names() == shown, "what is shown survives a restart"


async def test_the_first_writer_has_the_name_and_the_second_another_one(url: str) -> None:
    repos = [await BaseRepository.open(url) for _ in range(3)]
    try:
        asked = [repo.name_claim(name) for name in ("köder", "käder", "kïder") for repo in repos]
        found = await asyncio.gather(*asked)
        by_name = [found[i : i + 3] for i in (0, 3, 6)]
        assert all(len(set(tokens)) == 1 for tokens in by_name), "three engines at once agree"
        assert len({tokens[0] for tokens in by_name}) == 3
        assert "k-der" in {tokens[0] for tokens in by_name}
        stored = {r["name"]: r["token"] for r in await repos[0].names()}
        assert stored == dict(zip(("köder", "käder", "kïder"), (t[0] for t in by_name), strict=True))
        assert await repos[1].name_holder("k-der") in stored
        assert await repos[1].name_holder("nobody") is None
    finally:
        for repo in repos:
            await repo.close()


async def test_a_reading_thread_waits_for_its_name(url: str) -> None:
    repo = await BaseRepository.open(url)
    mine = RepoNames(repo, asyncio.get_running_loop())
    assert await asyncio.to_thread(mine.token, "köder") == "k-der"
    assert (await asyncio.to_thread(mine.token, "käder")).startswith("k-der-")
    await repo.close()
    assert mine.token("köder") == "k-der", "known already"
    with pytest.raises(DatabaseError):
        await asyncio.to_thread(mine.token, "new")


async def test_beyond_the_limit_a_name_is_its_own_digest(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "MAX_NAMES", 2)
    repo = await BaseRepository.open(url)
    assert [await repo.name_claim(n) for n in ("a", "b", "c")] == ["a", "b", surest("c")]
    assert [r["name"] for r in await repo.names()] == ["a", "b"]
    await repo.close()
    monkeypatch.setattr(kept, "MAX_NAMES", 1)
    mine = RepoNames(repo, asyncio.get_running_loop())
    mine._known["a"] = "a"
    assert mine.token("b") == surest("b"), "nor does one engine ask for ever"


def test_a_host_without_a_database_keeps_names_in_a_file(tmp_path: Path) -> None:
    first = FileNames(tmp_path / "sensors")
    tokens = {name: first.token(name) for name in ("köder", "käder", "plain")}
    assert tokens["köder"] == "k-der"
    assert tokens["plain"] == "plain"
    path = tmp_path / "sensors" / "names.json"
    assert json.loads(path.read_text()) == tokens
    assert path.stat().st_mode & 0o777 == 0o600
    again = FileNames(tmp_path / "sensors")
    assert again.token("käder") == tokens["käder"], "the order of the next start changes nothing"
    assert {name: again.token(name) for name in tokens} == tokens


def test_threads_that_ask_at_once_agree(tmp_path: Path) -> None:
    mine, found = FileNames(tmp_path), []
    work = [threading.Thread(target=lambda: found.append(mine.token("köder"))) for _ in range(8)]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert found == ["k-der"] * 8


def test_a_list_of_names_that_cannot_be_read_or_kept_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "names.json").write_text("[1]")
    with pytest.raises(SensorError, match=r"names\.json: not a readable list"):
        FileNames(tmp_path).token("a")
    (tmp_path / "names.json").unlink()
    mine = FileNames(tmp_path / "file" / "below")
    (tmp_path / "file").write_text("")
    with pytest.raises(SensorError, match=r"names\.json"):
        mine.token("a")
    monkeypatch.setattr(kept, "MAX_NAMES", 1)
    full = FileNames(tmp_path)
    assert (full.token("a"), full.token("b")) == ("a", surest("b"))


def fleet_of(*deckies: str, settings: Settings) -> tuple[object, Tools]:
    from decnet.mutator.fleet import parse_fleet

    tools = Tools.of(settings)
    rows = "".join(f"  - {{name: {name}, pool: [ssh, http, ftp]}}\n" for name in deckies)
    text_of = f"fleet: lab\nsubstrate: dry_run\ndeckies:\n{rows}"
    return parse_fleet(text_of, "f.yaml", tools.catalogue, tools.defaults), tools


async def test_a_decky_and_a_sensor_never_share_a_name(url: str, tmp_path: Path) -> None:
    repo = await BaseRepository.open(url)
    fleet, tools = fleet_of("web-01", "db-01", settings=Settings(data_dir=tmp_path))
    assert await repo.name_claim("web.01") == "web-01"
    with pytest.raises(FleetError, match=r"decky 'web-01': the sensor 'web\.01' is known under this name"):
        await apply_fleet(repo, fleet, tools)  # type: ignore[arg-type]
    assert await repo.deckies() == []
    fleet, _ = fleet_of("db-01", settings=Settings(data_dir=tmp_path))
    await apply_fleet(repo, fleet, tools)  # type: ignore[arg-type]
    assert await repo.name_holder("db-01") == "db-01"
    assert (await repo.name_claim("db.01")).startswith("db-01-")
    wish = {"pool": ["ssh", "http"], "substrate": "dry_run"}
    with pytest.raises(FleetError, match="known under this name"):
        await enqueue_op(repo, "lab", "add_decky", "web-01", wish, tools)
    async with repo.db.read() as session:
        assert (await session.execute(text("SELECT count(*) FROM mutation"))).scalar_one() == 0
    await repo.close()


def test_the_command_shows_a_name_as_its_log_wrote_it() -> None:
    told = {"kind": "cowrie", "path": "/x", "state": "ok", "names": [{"name": "k\x1b[2J", "token": "k-2J"}]}
    (shown,) = rows_of({"sensors": [told], "ts": 0.0, "state": "ok"}, 0.0, 10.0)
    assert shown["names"] == told["names"]
