"""Counts by the hour, on both databases: what was counted by processes, and what stands in rows of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from decnet.db.repository import BaseRepository
from decnet.db.repository.runtime.hours import HOUR_S, hour_of
from decnet.ids import attacker_id
from decnet.runtime.beats import StoredBeats
from tests.dbkit import KINDS, open_repo

H = 490_000
"""An hour in 2025."""
A, B = "refused|cowrie|/a", "refused|cowrie|/b"


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as opened:
        yield opened


def at_hour(monkeypatch: pytest.MonkeyPatch, hour: int) -> None:
    moment = datetime.fromtimestamp(hour * HOUR_S + 1800, UTC)
    monkeypatch.setattr("decnet.db.repository.runtime.hours.utcnow", lambda: moment)


async def test_events_add_up_and_counters_tell_by_how_much_they_rose(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    for hour, more, levels in (
        (H - 30, {}, {A: 100}), (H, {"events": 5}, {A: 103}), (H, {"events": 2}, {A: 102, B: 4}), (H + 1, {}, {A: 103}),
        (H + 2, {"events": 1}, {A: 110}), (H + 3, {}, {A: 6}),
    ):  # fmt: skip
        at_hour(monkeypatch, hour)
        await repo.hours_write(more, levels)
    found = await repo.hourly(H - 1, H + 3)
    assert found["events"] == [0, 7, 0, 1, 0]
    assert found["refused"] == [0, 3 + 4, 0, 7, 6], (
        "what a counter stood at before is no news; one that fell began anew"
    )
    assert await repo.hourly(H, H) == {"events": [7], "refused": [7], "sessions": [0], "sources": [0]}


async def test_sessions_and_sources_count_by_when_they_were_and_ignored_ones_do_not(
    repo: BaseRepository,
) -> None:
    begin = float(H * HOUR_S)
    for n, at in enumerate((begin - 0.001, begin, begin + HOUR_S - 0.001, begin + HOUR_S)):
        uuid = attacker_id(f"192.0.2.{n}")
        await repo.upsert_attacker(uuid, f"192.0.2.{n}", at)
        await repo.upsert_session({"session_id": f"s{n}", "attacker_uuid": uuid, "attacker_ip": f"192.0.2.{n}", "decky_id": "d",
                                   "service": "ssh", "protocol": "ssh", "started_at": at})  # fmt: skip
    assert (await repo.hourly(H - 1, H + 1))["sessions"] == [1, 2, 1]
    assert (await repo.hourly(H, H))["sources"] == [2]
    await repo.ignore_add("192.0.2.1")
    found = await repo.hourly(H - 1, H + 1)
    assert (found["sessions"], found["sources"]) == ([1, 1, 1], [1, 1, 1])


async def test_a_purge_keeps_what_a_counter_stood_at(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    for hour, level in ((H, 10), (H + 1, 20), (H + 2, 25), (H + 3, 27)):
        at_hour(monkeypatch, hour)
        await repo.hours_write({"events": 1}, {A: level})
    done = await repo.purge_older(float((H + 2) * HOUR_S))
    assert done["hour_count"] == 2, "one hour of each name"
    assert (await repo.hourly(H + 2, H + 3))["refused"] == [5, 2]
    assert (await repo.hourly(H, H + 3))["events"] == [0, 1, 1, 1]


def beat(published: object, refused: object) -> dict[str, dict[str, Any]]:
    sensors = [{"kind": "cowrie", "path": "/a", "refused": refused}, "torn", {"refused": None}]
    return {"sensors": {"events_published": published, "sensors": sensors}, "ttp": {"processed": 3}}


async def test_heartbeats_count_the_hours_and_a_restart_counts_nothing_twice(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_hour(monkeypatch, H)
    first, again = StoredBeats(repo), StoredBeats(repo)
    for published, refused in ((0, 0), (7, 2), (7, 2), (9, 3)):
        await first.store("sensors", beat(published, refused)["sensors"])
    for published, refused in ((None, "x"), (0, 3), (4, 5)):
        await again.store("sensors", beat(published, refused)["sensors"])
    found = await repo.hourly(H, H)
    assert (found["events"], found["refused"]) == ([9 + 4], [5])
    for each in (first, again):
        await each.close()


def test_an_hour_is_a_whole_number_since_the_epoch() -> None:
    assert [hour_of(ts) for ts in (0.0, 3599.9, 3600.0)] == [0, 0, 1]
