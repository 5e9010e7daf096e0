"""``attackers``: where each is from, what it did at worst, its files, what others say; filters by place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from decnet.config import load_settings
from decnet.db.repository import BaseRepository
from decnet.ids import attacker_id
from decnet.intel.places import Places
from decnet_tui.model.attackers import attacker_rows
from decnet_tui.model.places import country_text, network_text
from tests.dbkit import KINDS, open_repo
from tests.rowkit import put

pytestmark = pytest.mark.asyncio(loop_scope="module")
T = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
IPS = ("185.220.101.4", "45.9.148.2", "45.9.148.3", "192.0.2.9", "no address")
FILES = {
    "country.csv": b"network,country,asn,as_name\n185.220.101.0/24,NL,60729,TORSERVERS\n45.9.148.0/24,DE,49981,WorldStream\n",
    "tor.txt": b"185.220.101.4\n",
}


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(T + seconds, UTC)


async def filled(repo: BaseRepository) -> None:
    """Five attackers: the first with three sessions, the second with an ignored one, the others with none."""
    for n, ip in enumerate(IPS):
        seen = {"first_seen": T + n, "last_seen": T + n}
        await put(repo, "attacker", {"attacker_uuid": attacker_id(ip), "ip": ip, **seen})
    for name, n, severity, rank, ignored in (
        ("a", 0, "high", 1, None), ("b", 0, "high", 1, None), ("c", 0, "low", 3, None), ("d", 1, "critical", 0, "x"), ("e", 1, "info", 4, None),
    ):  # fmt: skip
        uuid = attacker_id(IPS[n])
        session = {
            "session_id": name,
            "attacker_uuid": uuid,
            "attacker_ip": IPS[n],
            "started_at": T,
            "ignored_by": ignored,
        }
        await put(repo, "session", session)
        story = {
            "session_id": name,
            "attacker_uuid": uuid,
            "severity": severity,
            "rank": rank,
            "line": f"line {name}",
        }
        await put(repo, "session_story", {**story, "seen_at": moment(ord(name))})
        for value in (f"hash {name}", "hash of both"):
            await put(repo, "session_thing", {"session_id": name, "kind": "hash", "value": value})
        await put(repo, "session_thing", {"session_id": name, "kind": "host", "value": "h.example"})
    payload = {
        "ptr": "exit.example",
        "greynoise_classification": "malicious",
        "providers": ["greynoise", "dns"],
    }
    await put(repo, "attacker_intel", {"attacker_uuid": attacker_id(IPS[0]), "ts": T, "payload": payload})


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=KINDS)
async def repo(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path_factory.mktemp("told")) as opened:
        await filled(opened)
        yield opened


@pytest.fixture
def places(tmp_path: Path) -> Places:
    (tmp_path / "intel").mkdir()
    for name, data in FILES.items():
        (tmp_path / "intel" / name).write_bytes(data)
    return Places.of(load_settings(data_dir=tmp_path))


async def rows(repo: BaseRepository, places: Places, **asked: Any) -> dict[str, dict[str, Any]]:
    where = {name: asked.pop(name) for name in ("country", "asn") if name in asked}
    found = await attacker_rows(repo, places, {"limit": 100, **asked}, where)  # type: ignore[arg-type]
    return {row["attacker_ip"]: row for row in found}


async def test_a_row_tells_where_what_at_worst_with_which_files_and_what_others_say(
    repo: BaseRepository, places: Places
) -> None:
    found = await rows(repo, places, since=moment(0))
    row = found[IPS[0]]
    assert (row["country"], row["allocated"], row["asn"], row["as_name"], row["lists"]) == (
        "NL", False, 60729, "TORSERVERS", ["tor"],
    )  # fmt: skip
    assert (row["severity"], row["did"]) == ("high", "line b"), "the newest of the worst"
    assert row["files"] == ["hash a", "hash b", "hash c", "hash of both"]
    assert (row["ptr"], row["new"]) == ("exit.example", True)
    assert row["reputation"] == [
        {"source": "greynoise", "verdict": "classification malicious", "at": moment(0)}
    ]
    assert (country_text(row), network_text(row)) == ("NL", "AS60729 TORSERVERS")


async def test_sessions_of_ignored_sources_tell_nothing_unless_asked_for(
    repo: BaseRepository, places: Places
) -> None:
    assert (await rows(repo, places))[IPS[1]]["severity"] == "info"
    row = (await rows(repo, places, ignored=True))[IPS[1]]
    assert (row["severity"], row["did"]) == ("critical", "line d")
    assert row["files"] == ["hash d", "hash e", "hash of both"]


async def test_who_has_no_session_and_no_place_is_listed_all_the_same(
    repo: BaseRepository, places: Places
) -> None:
    found = await rows(repo, places, since=moment(-5))
    for ip in IPS[3:]:
        row = found[ip]
        empty = (
            row["country"],
            row["asn"],
            row["lists"],
            row["severity"],
            row["did"],
            row["files"],
            row["reputation"],
        )
        assert empty == (None, None, [], None, None, [], [])
        assert (country_text(row), network_text(row)) == ("", "")
    assert not any(row["new"] for row in (await rows(repo, places)).values()), "nothing is new since ever"


async def test_a_place_is_asked_for_before_the_list_is_cut(repo: BaseRepository, places: Places) -> None:
    assert set(await rows(repo, places, country="DE")) == {IPS[1], IPS[2]}
    assert list(await rows(repo, places, country="NL", limit=1)) == [IPS[0]], "the oldest of them all"
    assert list(await rows(repo, places, asn=49981, limit=1)) == [IPS[2]]
    assert await rows(repo, places, country="NL", asn=49981) == {}
