"""Lists and counts over a million stored tags, on both databases: what an operator waits for."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from decnet.db.repository import BaseRepository
from tests.bench.manytags import NOW, made, store
from tests.dbkit import KINDS, open_repo

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]
BAR_S, LAYER_S = 0.2, 1.0
TIMES = 5
DAY = NOW - timedelta(days=1)
ASKED: dict[str, Callable[[BaseRepository], Awaitable[Any]]] = {
    "tags": lambda repo: repo.list_tags(),
    "tags of a technique": lambda repo: repo.list_tags(technique="T1013"),
    "sessions": lambda repo: repo.list_sessions(),
    "attackers": lambda repo: repo.list_attackers(),
    "credentials": lambda repo: repo.list_credentials(),
    "new techniques of a day": lambda repo: repo.new_techniques(DAY),
    "sessions worth reading of a day": lambda repo: repo.sessions_worth_reading(DAY),
    "rules that fired in a day": lambda repo: repo.rule_fired_counts(DAY),
    "tags behind a technique": lambda repo: repo.tags_behind("T1013"),
    "coverage of a day": lambda repo: repo.technique_counts(DAY),
    "coverage of all": lambda repo: repo.technique_counts(),
    "playbooks of all": lambda repo: repo.list_playbooks(),
    "log-ins of all": lambda repo: repo.top_logins(),
    "tags of the commonest rule": lambda repo: repo.tags_of_rule("R0000"),
}


async def _took(ask: Callable[[BaseRepository], Awaitable[Any]], repo: BaseRepository, times: int) -> float:
    found = []
    for _ in range(times):
        started = time.perf_counter()
        assert await ask(repo)
        found.append(time.perf_counter() - started)
    return max(found)


@pytest.mark.parametrize("kind", KINDS)
async def test_lists_over_a_million_tags(kind: str, tmp_path: Path) -> None:
    async with open_repo(kind, tmp_path) as repo:
        await store(repo, made(100_000, 10_000, 10))
        took = {name: await _took(ask, repo, TIMES) for name, ask in ASKED.items()}
        layer = await _took(lambda repo: repo.tag_counts(), repo, TIMES)
    print(f"\n{kind}, worst of {TIMES} beyond the start of a program:")
    for name, seconds in (took | {"counts for a layer": layer}).items():
        print(f"  {name:36} {seconds * 1e3:8.0f} ms")
    assert {name: seconds for name, seconds in took.items() if seconds > BAR_S} == {}
    assert layer <= LAYER_S
