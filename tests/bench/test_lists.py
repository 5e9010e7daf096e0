"""Lists, counts and exports over a million stored tags, on both databases: what an operator waits for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import make_url
from typer.testing import CliRunner

from decnet.db.repository import BaseRepository
from decnet.ids import attacker_id, identity_id
from decnet_tui.cli.main import app
from decnet_tui.model.since import gather
from decnet_tui.model.spans import Chosen
from tests.bench.manytags import NOW, made, store
from tests.dbkit import KINDS, migrated_url

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]
BAR_S, LAYER_S, ROWS_S = 0.2, 1.0, 100_000
SESSIONS, ADDRESSES, EACH = 100_000, 10_000, 10
TIMES = 5
DAY, WEEK, MONTH = (NOW - timedelta(days=days) for days in (1, 7, 30))
IP = "198.18.0.1"


class NoRules:
    """An engine without rules: what ``summary`` says of them comes from files."""

    async def list_rules(self) -> list[Any]:
        """None."""
        return []

    async def set_rule_state(self, rule_id: str, state: str, *_: Any, **__: Any) -> None:
        """Nothing is set here."""


async def actors(repo: BaseRepository) -> Any:
    """What the console's list of attackers asks for."""
    listed = await repo.list_attackers(limit=2_000)
    uuids = [row["attacker_uuid"] for row in listed]
    await repo.campaigns_by_attacker(uuids)
    await repo.identity_sizes([row["identity_uuid"] for row in listed if row["identity_uuid"]])
    return await repo.attackers_told(uuids)


async def evidence_of(repo: BaseRepository, *args: Any, **how: Any) -> Any:
    """The first of what may be indicators: as much as a screen looks through."""
    return await anext(repo.evidence(*args, **how))


async def alert(repo: BaseRepository) -> Any:
    """The page of the alert that is stored."""
    (row,) = await repo.list_alerts(limit=1)
    return await repo.alert_page(row["alert_id"])


ASKED: dict[str, Callable[[BaseRepository], Awaitable[Any]]] = {
    "tags": lambda repo: repo.list_tags(),
    "tags of a technique": lambda repo: repo.list_tags(technique="T1013"),
    "tags of an attacker": lambda repo: repo.list_tags(attacker=IP),
    "sessions": lambda repo: repo.list_sessions(),
    "sessions with a technique": lambda repo: repo.list_sessions(technique="T1013"),
    "attackers": lambda repo: repo.list_attackers(),
    "attackers with a technique": lambda repo: repo.list_attackers(technique="T1013"),
    "actors of the console": actors,
    "identities": lambda repo: repo.list_identities(),
    "credentials": lambda repo: repo.list_credentials(),
    "new techniques of a day": lambda repo: repo.new_techniques(DAY),
    "since a day": lambda repo: repo.since(DAY, NOW),
    "since a week": lambda repo: repo.since(WEEK, NOW),
    "since a month": lambda repo: repo.since(MONTH, NOW),
    "since of everything": lambda repo: repo.since(0.0, NOW),
    "one day": lambda repo: repo.since(WEEK, WEEK + timedelta(days=1)),
    "summary of a day": lambda repo: gather(
        repo, NoRules(), Chosen("a day", DAY.timestamp()), 10.0, now=NOW.timestamp()
    ),
    "summary of everything": lambda repo: gather(
        repo, NoRules(), Chosen("everything", 0.0), 10.0, now=NOW.timestamp()
    ),
    "the page of a session": lambda repo: repo.session_page("s0050000"),
    "indicators of a source": lambda repo: evidence_of(repo, attacker=IP),
    "indicators of a day": lambda repo: evidence_of(repo, DAY, at_once=5_000),
    "page of an attacker": lambda repo: repo.actor_page(IP, sessions=200),
    "page of an alert": alert,
    "rules by use": lambda repo: repo.rule_uses(NOW - timedelta(minutes=5)),
    "rules that fired in a day": lambda repo: repo.rule_fired_counts(DAY),
    "tags behind a technique": lambda repo: repo.tags_behind("T1013"),
    "tags behind a technique of a day": lambda repo: repo.tags_behind("T1013", since=DAY),
    "tags of the commonest rule": lambda repo: repo.tags_of_rule("R0000"),
    "coverage of a day": lambda repo: repo.technique_counts(DAY),
    "coverage of one day by its tags": lambda repo: repo.technique_counts(DAY, until=NOW),
    "coverage of three days": lambda repo: repo.technique_counts(NOW - timedelta(days=3)),
    "coverage of a day a week ago": lambda repo: repo.technique_counts(WEEK, until=WEEK + timedelta(days=1)),
    "coverage of a week": lambda repo: repo.technique_counts(WEEK),
    "coverage of a month": lambda repo: repo.technique_counts(MONTH),
    "coverage of all": lambda repo: repo.technique_counts(),
    "coverage of an actor": lambda repo: repo.technique_counts(None, [IP]),
    "counts for a layer": lambda repo: repo.tag_counts(),
    "playbooks of all": lambda repo: repo.list_playbooks(),
    "log-ins of all": lambda repo: repo.top_logins(),
    "sources of all": lambda repo: repo.sources(),
    "rates of two days": lambda repo: repo.hourly(
        int(NOW.timestamp() // 3600) - 47, int(NOW.timestamp() // 3600)
    ),
    "sessions by decoy": lambda repo: repo.sessions_by_decky(),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=KINDS)
async def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A database with a million tags."""
    async with migrated_url(request.param, tmp_path_factory.mktemp("many")) as url:
        repo = await BaseRepository.open(url)
        await store(repo, made(SESSIONS, ADDRESSES, EACH))
        sides = [[f"s{n:07}" for n in range(begin, 64, 2)] for begin in (0, 1)]
        await repo.raise_alert({
            "identity_uuid": identity_id(attacker_id(IP)), "attacker_uuids": [attacker_id(IP)], "families": [], "primitives": [],
            "sides": sides, "confidence": 0.6, "ts": NOW, "explanation": {}})  # fmt: skip
        await repo.close()
        if request.param == "postgresql":  # its own housekeeping, which has had a month for so many
            connection = await asyncpg.connect(url)
            await connection.execute("VACUUM ANALYZE")
            await connection.close()
        yield url


async def _worst(ask: Callable[[BaseRepository], Awaitable[Any]], repo: BaseRepository) -> float:
    found = []
    for _ in range(TIMES):
        started = time.perf_counter()
        assert await ask(repo)
        found.append(time.perf_counter() - started)
    return max(found)


def _told(url: str, title: str, took: Mapping[str, float]) -> None:
    print(f"\n{make_url(url).get_backend_name()}, {title}:")
    for name, seconds in took.items():
        print(f"  {name:36} {seconds * 1e3:8.0f} ms")


@pytest.mark.asyncio(loop_scope="module")
async def test_lists_over_a_million_tags(url: str) -> None:
    repo = await BaseRepository.open(url)
    try:
        assert attacker_id(IP) in {row["attacker_uuid"] for row in await repo.list_attackers(attacker=IP)}
        took = {name: await _worst(ask, repo) for name, ask in ASKED.items()}
    finally:
        await repo.close()
    _told(url, f"worst of {TIMES} beyond the start of a program", took)
    assert {name: seconds for name, seconds in took.items() if seconds > BAR_S} == {}


@pytest.mark.asyncio(loop_scope="module")
async def test_exports_of_a_million_tags(url: str, tmp_path: Path) -> None:
    """Everything that the command does beyond the start of a program: the database is opened, the file is written."""
    took = {}
    for what in ("navigator", "csv"):
        words = ["export", what, "-o", str(tmp_path / what), "--data-dir", str(tmp_path), "--db", url]
        started = time.perf_counter()
        done = await asyncio.to_thread(CliRunner().invoke, app, words)
        took[what] = time.perf_counter() - started
        assert done.exit_code == 0, done.output
        assert f"{SESSIONS * EACH} tags to" in done.stderr
    rate = SESSIONS * EACH / took["csv"]
    _told(url, f"exports of {SESSIONS * EACH} tags, {rate:,.0f} lines of CSV a second", took)
    assert took["navigator"] <= LAYER_S
    assert rate >= ROWS_S
