"""``stats``: what was seen of most attackers; counts, ranks, limits, spans, ignored sources; on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from decnet.config import load_settings
from decnet.db.repository import BaseRepository
from decnet.db.repository.lists import stats as module
from decnet.ids import attacker_id
from decnet.intel.places import Places
from decnet_tui.cli.stats import KINDS, stats_of
from tests.dbkit import KINDS as DATABASES
from tests.dbkit import open_repo
from tests.rowkit import TABLES, put

pytestmark = pytest.mark.asyncio(loop_scope="module")
T = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
IPS = ("45.9.148.2", "45.9.148.3", "185.220.101.4", "192.0.2.9", "45.9.148.99")
IGNORED = 4
COUNTRIES = (
    b"network,country,asn,as_name\n185.220.101.0/24,NL,60729,TORSERVERS\n45.9.148.0/24,DE,49981,WorldStream\n"
)


async def visit(repo: BaseRepository, name: str, n: int, **more: Any) -> None:
    """One session of an attacker, with a log-in, a client, a URL and a file."""
    uuid, mark = attacker_id(IPS[n]), "x" if n == IGNORED else None
    urls = more.pop("urls", ["http://h.example/a"])
    session = {
        "session_id": name,
        "attacker_uuid": uuid,
        "attacker_ip": IPS[n],
        "started_at": T + n,
        "ignored_by": mark,
    }
    downloads = [{"url": url} for url in urls] + [{"url": "", "destfile": "/tmp/x"}]
    await put(
        repo,
        "session",
        {**session, "client": {"version": more.get("client", "SSH-2.0-Go")}, "downloads": downloads},
    )
    await put(repo, "session_thing", {"session_id": name, "kind": "hash", "value": more.get("file", "f")})
    login = {"username": "root", "secret_hmac": more.get("secret", "aaaa11"), "secret": more.get("clear")}
    await put(
        repo,
        "credential",
        {"credential_id": name, "attacker_uuid": uuid, **login, "first_seen": T + n, "last_seen": T + n},
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=DATABASES)
async def repo(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path_factory.mktemp("stats")) as opened:
        for n, ip in enumerate(IPS):
            mark = "x" if n == IGNORED else None
            await put(opened, "attacker", {"attacker_uuid": attacker_id(ip), "ip": ip, "ignored_by": mark})
        await visit(opened, "a", 0)
        await visit(opened, "b", 0, urls=["http://h.example/a", "http://h.example/a", "http://h.example/b"])
        await visit(opened, "c", 1, client="SSH-2.0-x", secret="bbbb22", clear="pw")
        await visit(opened, "d", 2, urls=[], file="g")
        await visit(opened, "e", 3, secret="bbbb22")
        await visit(
            opened, "f", IGNORED, file="of the ignored", secret="cccc33", urls=["http://ignored.example/"]
        )
        yield opened


@pytest.fixture
def places(tmp_path: Path) -> Places:
    (tmp_path / "intel").mkdir()
    (tmp_path / "intel" / "c.csv").write_bytes(COUNTRIES)
    return Places.of(load_settings(data_dir=tmp_path))


def listed(top: Any) -> list[tuple[str, int, int]]:
    return [(one["value"], one["attackers"], one["times"]) for one in top["top"]]


async def test_most_attackers_first_then_most_times(repo: BaseRepository, places: Places) -> None:
    told = await stats_of(repo, places, None, 10, clear=False)
    assert tuple(told) == KINDS
    assert listed(told["countries"]) == [("DE", 2, 3), ("(documentation address)", 1, 1), ("NL", 1, 1)]
    assert listed(told["networks"])[0] == ("AS49981 WorldStream", 2, 3)
    assert listed(told["users"]) == [("root", 4, 5)]
    assert listed(told["passwords"]) == [("root/#aaaa", 2, 3), ("root/#bbbb", 2, 2)]
    assert listed(told["clients"]) == [("SSH-2.0-Go", 3, 4), ("SSH-2.0-x", 1, 1)]
    assert listed(told["urls"]) == [("http://h.example/a", 3, 4), ("http://h.example/b", 1, 1)]
    assert listed(told["hashes"]) == [("f", 3, 4), ("g", 1, 1)]
    assert told["keys"] == {"of": 0, "top": []}
    assert listed(told["hours"]) == [("03:00", 4, 5)]


async def test_hours_are_those_of_utc(repo: BaseRepository, places: Places) -> None:
    late = datetime(2026, 1, 2, 23, 59, 59, tzinfo=UTC)
    await put(
        repo, "session", {"session_id": "late", "attacker_uuid": attacker_id(IPS[0]), "started_at": late}
    )
    try:
        assert listed(await repo.top_hours()) == [("03:00", 4, 5), ("23:00", 1, 1)]
        assert listed(await repo.top_hours(late)) == [("23:00", 1, 1)]
        assert (await repo.top_hours(limit=1))["of"] == 2
    finally:
        async with repo.db.write() as session:
            await session.execute(TABLES["session"].delete().where(TABLES["session"].c.session_id == "late"))


async def test_clear_text_stands_only_where_it_is_asked_for_and_was_kept(
    repo: BaseRepository, places: Places
) -> None:
    told = await stats_of(repo, places, None, 10, clear=True)
    assert {value for value, _, _ in listed(told["passwords"])} == {"root/#aaaa", "root/pw"}


async def test_a_limit_says_of_how_many(repo: BaseRepository, places: Places) -> None:
    told = await stats_of(repo, places, None, 1, clear=False)
    assert {name: (one["of"], len(one["top"])) for name, one in told.items() if one["of"] > 1} == {
        "countries": (3, 1), "networks": (3, 1), "passwords": (2, 1), "clients": (2, 1), "urls": (2, 1), "hashes": (2, 1),
    }  # fmt: skip
    every = await stats_of(repo, places, None, 0, clear=False)
    assert all(one["of"] == len(one["top"]) for one in every.values())


async def test_only_what_is_of_the_span_counts(repo: BaseRepository, places: Places) -> None:
    told = await stats_of(repo, places, datetime.fromtimestamp(T + 2, UTC), 10, clear=False)
    assert listed(told["countries"]) == [("(documentation address)", 1, 1), ("NL", 1, 1)]
    assert listed(told["users"]) == [("root", 2, 2)]
    assert listed(told["urls"]) == [("http://h.example/a", 1, 1)]


async def test_pages_of_sessions_leave_none_out(
    repo: BaseRepository, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = await repo.top_urls()
    for page in (1, 2, 5):
        monkeypatch.setattr(module, "_PAGE", page)
        assert await repo.top_urls() == whole
