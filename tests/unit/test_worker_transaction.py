"""What a worker publishes in a transaction: events that keep what they were given, written with the effects or not at all."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from decnet.bus.base import Event
from decnet.runtime.worker import Transaction, TxBus, transaction
from tests.dbkit import open_repo


async def test_an_event_keeps_its_id_and_its_time_and_gets_them_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1234.5)
    bus = TxBus()
    await bus.publish("ttp.tagged", {"n": 1}, event_type="tagged", event_id="given", ts=0.0)
    await bus.publish("ttp.tagged", {"n": 2})
    await bus.publish("ttp.tagged", {"n": 3})
    first, second, third = bus.events
    assert (first.topic, first.payload, first.type, first.id, first.ts) == (
        "ttp.tagged",
        {"n": 1},
        "tagged",
        "given",
        0.0,
    )
    assert (second.ts, second.type) == (1234.5, "")
    assert len({first.id, second.id, third.id}) == 3


async def test_effects_and_news_of_a_job_are_one_transaction(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        async with transaction(repo) as tx:
            await tx.repo.checkpoint_save("done", {})
            await tx.bus.publish("ttp.tagged", {"n": 1})
            assert await tx.repo.outbox_count() == 0
        assert [event.opened().payload for _, event in await repo.outbox_take(10)] == [{"n": 1}]
        with pytest.raises(RuntimeError):  # noqa: PT012
            async with transaction(repo) as tx:
                await tx.repo.checkpoint_save("undone", {})
                await tx.bus.publish("ttp.tagged", {"n": 2})
                raise RuntimeError("failed")
        assert await repo.outbox_count() == 1
        assert await repo.checkpoint_load("done") is not None
        assert await repo.checkpoint_load("undone") is None


def test_transactions_share_nothing() -> None:
    one, other = Transaction(None), Transaction(None)  # type: ignore[arg-type]
    event = Event("a.b", {}, id="x")
    one.defer(event)
    one.dead_letter(event, "hopeless")
    assert (one.deferred, [(d.event, d.reason) for d in one.dead]) == ({"x"}, [(event, "hopeless")])
    assert (other.deferred, other.dead, other.bus.events) == (set(), [], [])
