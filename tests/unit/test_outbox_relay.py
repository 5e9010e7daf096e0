"""The outbox relay: under its lease, in row order, deleted after the broker has it; nothing holds up the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import pytest

from decnet.bus.base import Event
from decnet.bus.wire import outgoing
from decnet.config import RuntimeSettings, Settings
from decnet.errors import BusFull, BusUnavailable, DatabaseError
from decnet.runtime.leases import OWNER
from decnet.runtime.relay import OutboxRelay
from tests.clockkit import in_skipped_time, now, unwritten


class World:
    """Repository and bus in one, with everything that was asked of them in order."""

    connected = True

    def __init__(self, count: int) -> None:
        self.rows = {n: Event("ttp.tagged", {"n": n}, id=f"e{n}") for n in range(1, count + 1)}
        self.log: list[tuple[Any, ...]] = []
        self.mine = True
        self.written = unwritten()
        self.errors: list[Exception] = []
        self.letters: list[tuple[str, str, str, int, bytes]] = []

    def relay(self, **runtime: Any) -> OutboxRelay:
        return OutboxRelay(self, self, Settings(runtime=RuntimeSettings(**runtime)))  # type: ignore[arg-type]

    async def outbox_count(self) -> int:
        self.log.append(("count", now() - 1000))
        if self.errors and isinstance(self.errors[0], DatabaseError):
            raise self.errors.pop(0)
        return len(self.rows)

    async def lease_acquire(self, name: str, owner: str, ttl_s: float) -> bool:
        self.log.append(("lease", name, owner, ttl_s))
        return self.mine

    async def outbox_take(self, limit: int) -> list[tuple[int, Event]]:
        self.log.append(("take", limit))
        return sorted(self.rows.items())[:limit]

    async def publish_events(self, events: Sequence[Event]) -> None:
        if self.errors:
            raise self.errors.pop(0)
        for event in events:
            outgoing(event, 1000)
        self.log.append(("publish", [event.payload.get("n") for event in events]))

    async def outbox_delete(self, ids: Iterable[int]) -> None:
        gone = list(ids)
        self.log.append(("delete", gone))
        for row in gone:
            del self.rows[row]

    async def dead_letter_add(self, worker: str, topic: str, reason: str, seq: int, body: bytes) -> int:
        self.log.append(("bury", seq))
        self.letters.append((worker, topic, reason, seq, body))
        return seq

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Self]:
        self.log.append(("begin",))
        yield self
        self.log.append(("commit",))

    def done(self) -> list[tuple[Any, ...]]:
        return [entry for entry in self.log if entry[0] in ("publish", "delete", "bury")]


@in_skipped_time
async def test_a_long_backlog_is_counted_once_a_second_and_never_believed_to_be_empty() -> None:
    world = World(9)
    relay = world.relay(outbox_batch=2)
    for left in (7, 5):
        assert await relay.relay_once() == 2
        assert relay.backlog == left
    assert [entry for entry in world.log if entry[0] == "count"] == [("count", 0.0)]
    await asyncio.sleep(1.0)
    world.rows |= {n: Event("ttp.tagged", {"n": n}, id=f"e{n}") for n in (10, 11)}
    assert await relay.relay_once() == 2
    assert relay.backlog == 5, "what came meanwhile is in"
    while await relay.relay_once():
        pass
    assert (relay.backlog, world.rows) == (0, {})
    world.rows[12] = Event("ttp.tagged", {"n": 12}, id="e12")
    assert await relay.relay_once() == 1, "an empty outbox is looked at each time"


@in_skipped_time
async def test_rows_are_published_in_order_and_deleted_only_afterwards() -> None:
    world = World(5)
    relay = world.relay(outbox_batch=3, lease_s=7.0)
    assert await relay.relay_once() == 3
    assert world.log == [
        ("count", 0.0),
        ("lease", "outbox", OWNER, 7.0),
        ("take", 3),
        ("publish", [1, 2, 3]),
        ("begin",),
        ("delete", [1, 2, 3]),
        ("commit",),
    ]
    assert relay.backlog == 2
    assert await relay.relay_once() == 2
    assert (relay.backlog, world.rows) == (0, {})


@in_skipped_time
async def test_without_the_lease_nothing_is_taken() -> None:
    world = World(2)
    world.mine = False
    relay = world.relay()
    assert await relay.relay_once() == 0
    assert [entry[0] for entry in world.log] == ["count", "lease"]
    assert relay.backlog == 2, "the backlog is everybody's"


@in_skipped_time
async def test_with_nothing_to_do_the_lease_is_not_asked_for() -> None:
    world = World(0)
    assert await world.relay().relay_once() == 0
    assert world.log == [("count", 0.0)]


@pytest.mark.parametrize("error", [BusUnavailable("gone"), BusFull("full")])
@in_skipped_time
async def test_what_the_broker_did_not_take_stays(error: Exception) -> None:
    world = World(2)
    world.errors = [error]
    relay = world.relay()
    with pytest.raises(type(error)):
        await relay.relay_once()
    assert (list(world.rows), world.done(), relay.backlog) == ([1, 2], [], 2)


@in_skipped_time
async def test_trouble_is_waited_out() -> None:
    world = World(2)
    world.errors = [BusUnavailable("gone"), DatabaseError("gone")]
    running = asyncio.create_task(world.relay(restart_backoff_s=3.0).run())
    await asyncio.sleep(5.5)
    assert [entry for entry in world.log if entry[0] == "count"] == [("count", 0.0), ("count", 3.0)]
    await asyncio.sleep(1)
    assert world.done() == [("publish", [1, 2]), ("delete", [1, 2])]
    running.cancel()


@in_skipped_time
async def test_it_goes_on_while_there_is_work_and_looks_again_when_a_row_is_written() -> None:
    world = World(3)
    relay = world.relay(outbox_batch=2, tail_db_s=4.0)
    running = asyncio.create_task(relay.run())
    await asyncio.sleep(0.5)
    assert [entry[1] for entry in world.log if entry[0] == "publish"] == [[1, 2], [3]]
    world.log.clear()
    await asyncio.sleep(1)
    world.written.note()
    await asyncio.sleep(100)
    assert world.log == [("count", 1.5)], "an outbox to which nobody writes is not counted"
    running.cancel()


@in_skipped_time
async def test_rows_that_wait_for_another_engines_lease_are_looked_at_again_and_again() -> None:
    world = World(3)
    world.mine = False
    running = asyncio.create_task(world.relay(tail_db_s=4.0).run())
    await asyncio.sleep(9)
    assert [entry for entry in world.log if entry[0] == "count"] == [("count", n) for n in (0.0, 4.0, 8.0)]
    world.mine = True
    await asyncio.sleep(4)
    assert world.rows == {}, "nobody wrote: a lease runs out in silence"
    running.cancel()


@in_skipped_time
async def test_news_that_no_bus_takes_is_buried_and_holds_up_nothing() -> None:
    world = World(4)
    world.rows[2] = Event("ttp.tagged", {"n": 2, "much": "x" * 2000}, id="e2")
    world.rows[3] = Event("no topic", {"n": 3}, id="e3")
    relay = world.relay()
    assert await relay.relay_once() == 4
    assert world.done() == [
        ("publish", [1]), ("publish", [4]), ("bury", 2), ("bury", 3), ("delete", [1, 2, 3, 4])
    ]  # fmt: skip
    assert world.log[-5:] == [("begin",), ("bury", 2), ("bury", 3), ("delete", [1, 2, 3, 4]), ("commit",)]
    (_, topic, reason, *_), second = world.letters
    assert (topic, "over the limit" in reason) == ("ttp.tagged", True)
    assert second[0] == "outbox"
    assert second[3:] == (
        3,
        Event("no topic", {"n": 3}, id="e3", ts=world.letters and _ts(second[4])).to_bytes(),
    )
    assert relay.backlog == 0


def _ts(body: bytes) -> float:
    return Event.from_bytes("x", body).ts
