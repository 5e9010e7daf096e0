"""Who waits for rows: hears of each commit, asks nobody in vain, and shares its looks with all others who wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from decnet.db.written import Written
from tests.clockkit import in_skipped_time, now


class Others:
    """Other processes; counts who looks for what they wrote."""

    def __init__(self) -> None:
        self.wrote, self.takes_s = False, 0.0
        self.looks: list[float] = []
        self.written = Written(self.look)

    async def look(self) -> bool:
        self.looks.append(now() - 1000)
        wrote, self.wrote = self.wrote, False
        await asyncio.sleep(self.takes_s)
        return wrote


async def moment(waited: asyncio.Task[int], then: Callable[[], None] = lambda: None) -> float:
    """Does something in half a second; the second in which a wait is over."""
    await asyncio.sleep(0.5)
    then()
    await waited
    return now() - 1000


@in_skipped_time
async def test_a_commit_of_this_process_ends_every_wait_at_once() -> None:
    written = Others().written
    first, second = (asyncio.create_task(written.after(0, every)) for every in (1.0, 7.0))
    assert await moment(first, written.note) == 0.5
    assert await moment(second) == 1.0
    assert await written.after(0, 5.0) == 1, "what was committed before is not waited for"
    assert now() == 1001.0


@in_skipped_time
async def test_a_commit_of_another_process_is_heard_of_within_the_time_asked_for() -> None:
    others = Others()
    others.takes_s = 0.25
    waited = asyncio.create_task(others.written.after(0, 2.0))

    def write() -> None:
        others.wrote = True

    assert await moment(waited, write) == 2.25
    assert others.looks == [0.0, 2.0]


@in_skipped_time
async def test_all_who_wait_share_their_looks() -> None:
    others = Others()
    others.takes_s = 0.01
    waits = [asyncio.create_task(others.written.after(0, every)) for every in (1.0, 1.0, 2.0, 5.0)]
    await asyncio.sleep(10.5)
    assert [round(at, 2) for at in others.looks] == [float(n) for n in range(11)]
    others.written.note()
    assert await asyncio.gather(*waits) == [1, 1, 1, 1]


@in_skipped_time
async def test_a_wait_ends_after_the_most_that_it_may_take() -> None:
    others = Others()
    assert await others.written.after(0, 1.0, 3.5) == 0
    assert now() == 1003.5
    assert others.looks == [0.0, 1.0, 2.0, 3.0]
    assert await others.written.after(0, 1.0, 0.0) == 0
    assert len(others.looks) == 4


@in_skipped_time
async def test_a_look_that_is_broken_off_was_none() -> None:
    others = Others()
    others.takes_s = 5.0
    first = asyncio.create_task(others.written.after(0, 60.0))
    await asyncio.sleep(1.0)
    first.cancel()
    second = asyncio.create_task(others.written.after(0, 60.0))
    await asyncio.sleep(1.0)
    assert others.looks == [0.0, 1.0], "the next one looks at once"
    second.cancel()
