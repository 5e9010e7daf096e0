"""Long work in turns: the same result, and others of the loop come to theirs in between."""

from __future__ import annotations

import asyncio

from decnet.turns import TURN, in_turns


async def test_others_run_between_the_turns() -> None:
    seen: list[int] = []
    made: list[int] = []

    def make(item: int) -> int:
        made.append(item)
        return 2 * item

    async def look() -> None:
        while len(made) < 4 * TURN:
            seen.append(len(made))
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    assert await in_turns(make, range(4 * TURN)) == [2 * item for item in range(4 * TURN)]
    await looking
    assert seen == [TURN, 2 * TURN, 3 * TURN]


async def test_few_items_take_no_turn() -> None:
    assert await in_turns(str, []) == []
    assert await in_turns(str, [1, 2]) == ["1", "2"]
