"""An observation whose attacker never comes is a dead letter after the limit, blocks nobody, and can be tried again."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from decnet.attribution.worker import AttributionWorker
from decnet.bus.factory import get_bus
from decnet.bus.memory import MemoryBus
from decnet.config import AttributionSettings, BusSettings, RuntimeSettings, Settings
from decnet.db.repository import BaseRepository
from decnet.db.schema.columns import table_of
from decnet.db.schema.runtime import DeadLetter
from decnet.db.types import utcnow
from decnet.ids import attacker_id, identity_id
from decnet.recorder.worker import RecorderWorker
from decnet.runtime import batch
from decnet.runtime.supervisor import Supervisor
from decnet_tui.actions.workers import retry_letter
from tests.dbkit import migrated

P = "cognitive.inter_command_latency_class"
LATE, KNOWN = "203.0.113.1", "203.0.113.2"
T = 1_700_000_000.0


def observed(ip: str, ref: str) -> dict[str, Any]:
    ended = {"start_ts": T, "end_ts": T + 1}
    return {
        "attacker_ip": ip,
        "primitive": P,
        "value": "fast",
        "confidence": 0.9,
        "window": ended,
        "ts": T,
        "evidence_ref": ref,
    }


async def until(found: Any) -> Any:
    async with asyncio.timeout(30):
        while not (value := await found()):
            await asyncio.sleep(0.01)
        return value


async def test_given_up_after_the_limit_tried_again_and_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "DEFER_S", 0.01)
    settings = Settings(
        data_dir=tmp_path,
        bus_type="memory",
        runtime=RuntimeSettings(batch_wait_s=0.02, heartbeat_s=5, restart_backoff_s=0.02, tail_db_s=0.05),
        attribution=AttributionSettings(observation_wait=0.2),
        bus=BusSettings(max_ack_pending=4),
    )
    repo = await BaseRepository.open(await migrated(tmp_path / "x.sqlite"))
    bus = get_bus("test", settings)
    await bus.connect()
    supervisor = Supervisor([RecorderWorker(settings), AttributionWorker(settings)], repo, bus, settings)
    await supervisor.start()
    topic = f"attacker.observation.{P}"
    for number in range(8):  # twice what the broker delivers without an answer
        await bus.publish(topic, observed(LATE, f"late-{number}"), event_id=f"l{number}")
    await bus.publish("attacker.observed", {"attacker_ip": KNOWN, "first_seen": T})
    await bus.publish(topic, observed(KNOWN, "known"), event_id="k")
    await until(lambda: repo.get_attribution_state(identity_id(attacker_id(KNOWN)), P))
    letters = await until(lambda: _all_eight(repo))
    reasons = {letter["reason"] for letter in letters}
    assert all(letter["worker"] == "attribution" for letter in letters)
    assert "its attacker stayed unknown for 0.2 s" in reasons
    assert all("unknown" in reason for reason in reasons)
    await bus.publish("attacker.observed", {"attacker_ip": LATE, "first_seen": T})
    await until(lambda: repo.ensure_stub_identity_for_attacker(attacker_id(LATE)))
    async with repo.db.write() as session:  # as old as the broker's window of duplicates
        await session.execute(update(table_of(DeadLetter)).values(ts=utcnow() - timedelta(hours=1)))
    assert isinstance(bus, MemoryBus)
    bus.broker.ids.clear()  # that window is over there, too
    for letter in letters:
        await retry_letter(repo, bus, letter["id"])
    await until(lambda: _all_observed(repo))
    assert await repo.dead_letters() == []
    await supervisor.stop()
    await bus.close()
    await repo.close()


async def _all_eight(repo: BaseRepository) -> list[dict[str, Any]]:
    letters = await repo.dead_letters()
    return letters if len(letters) == 8 else []


async def _all_observed(repo: BaseRepository) -> bool:
    rows = await repo.observations_for_identity_primitive(identity_id(attacker_id(LATE)), P)
    return len(rows) == 8
