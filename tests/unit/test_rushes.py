"""Many sessions a minute: the busiest minute of each hour, whatever is told first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from decnet.db.repository import BaseRepository
from decnet.ttp import rushes
from decnet.ttp.rushes import FEWEST, HOUR_S, Rushes, rush_events
from tests.dbkit import KINDS, open_repo
from tests.rowkit import put

A, B, T = "a", "b", 100 * HOUR_S


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as opened:
        yield opened


def told(starts: list[float], since: float = 0.0) -> list[tuple[str, int, float]]:
    found = Rushes(A)
    found.take(starts)
    return [
        (e.source_id, e.payload["sessions_a_minute"], e.payload["window_start"]) for e in found.events(since)
    ]


def test_a_minute_is_sixty_seconds_and_ends_before_the_next_begins() -> None:
    assert told([T + 6.0 * n for n in range(FEWEST)]) == [("a#rush#100", 10, T)]
    assert told([T + 6.0 * n for n in range(FEWEST + 1)]) == [("a#rush#100", 10, T)], (
        "at 60 s the first is gone"
    )
    assert told([T + 7.0 * n for n in range(100)]) == []
    assert told([T + 1.0 * n for n in range(FEWEST - 1)]) == []


def test_a_minute_over_the_edge_of_an_hour_counts_whole_and_belongs_to_the_later_one() -> None:
    starts = [T - 5.0 + n for n in range(12)]
    assert told(starts) == [("a#rush#100", 12, T - 5.0)]
    assert told(starts, T + HOUR_S) == []
    assert told([*starts, *(T + HOUR_S + n / 2 for n in range(30))]) == [
        ("a#rush#100", 12, T - 5.0),
        ("a#rush#101", 30, T + HOUR_S),
    ]


async def test_rows_give_the_hours_that_a_mark_can_have_changed_over_pages(
    repo: BaseRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[dict[str, Any]] = [
        {"session_id": f"s{n:02}", "attacker_uuid": A, "started_at": T - 10.0 + (n // 2)} for n in range(40)
    ]
    few = [{"session_id": f"f{n}", "attacker_uuid": B, "started_at": T + n} for n in range(FEWEST - 1)]
    await put(repo, "session", *rows, *few, {"session_id": "x", "attacker_uuid": A})
    marks: Any = [{"attacker_uuid": who, "since": T, "until": T + 1.0} for who in (A, B)]
    for page in (7, 20_000):
        monkeypatch.setattr(rushes, "PAGE", page)
        (event,) = await rush_events(repo, marks)
        assert (event.source_id, event.attacker_uuid) == ("a#rush#100", A)
        assert event.payload == {"attacker_uuid": A, "sessions_a_minute": 40, "window_start": T - 10.0}
    assert await rush_events(repo, [{**marks[0], "since": T + HOUR_S, "until": T + HOUR_S}]) == []
