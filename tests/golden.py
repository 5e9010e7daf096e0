"""Ids that were given out once: of every event, and of every row that has a derived key.

``python -m tests.golden`` writes ``fixtures/golden-ids.json`` from the code as it is; that is right only when
new evidence is added. An id that changes is evidence stored twice on somebody's data directory.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import text

from decnet.bus.base import BaseBus
from decnet.config import Settings, load_settings
from decnet.engine import Engine
from decnet.home import packaged_demo_dir
from decnet.keyed import KEY_FILE

FIXTURES = Path(__file__).parent / "fixtures"
GOLDEN = FIXTURES / "golden-ids.json"
IDLE_S = 0.4
ROWS = {
    "attacker": "attacker_uuid",
    "identity": "identity_uuid || '|' || coalesce(attacker_uuid, '')",
    "session": "session_id || '|' || coalesce(attacker_uuid, '')",
    "session_part": "session_id || '|' || part",
    "command": "command_id",
    "credential": "credential_id",
    "fingerprint": "fingerprint_id",
    "recording": "key",
    "observation": "observation_id",
    "ttp_tag": "DISTINCT source_kind || '|' || source_id",
    "attribution_alert": "alert_id",
}
"""Table → what names a row of it; of tags the evidence that they stand on, since rules come and go."""
EVENTS = (
    "attacker.observed",
    "attacker.session.>",
    "attacker.fingerprinted",
    "attacker.intel.enriched",
    "credential.captured",
    "identity.formed",
)
Ids = dict[str, list[str]]


def sensors() -> list[dict[str, str]]:
    """The demo and every log and recording among the fixtures."""
    cowrie = [packaged_demo_dir() / "cowrie.json", *sorted((FIXTURES / "cowrie").rglob("*.json"))]
    events = sorted((FIXTURES / "events").glob("*.jsonl"))
    return [{"kind": "cowrie", "path": str(p)} for p in cowrie] + [
        {"kind": "jsonl", "path": str(p)} for p in events
    ]


def settings(folder: Path, sensor: dict[str, str]) -> Settings:
    """One engine for one source, so that no other one's clock has a say."""
    data = folder / "data"
    data.mkdir(mode=0o700)
    (data / KEY_FILE).write_bytes(hashlib.sha256(b"golden").digest())
    return load_settings(
        data_dir=data,
        bus={"type": "memory"},
        workers=("sensors", "recorder", "behave", "ttp", "attribution"),
        ttp_rule_store_type="filesystem",
        sensors=[sensor],
    )


async def ids_of(folder: Path, sensor: dict[str, str]) -> Ids:
    """Every id that one source leads to, by table and by root of the topic."""
    engine = Engine(settings(folder, sensor))
    await engine.start()
    try:
        assert await engine.until_idle(IDLE_S) is None
        rows, events = await _rows(engine), await _events(engine.bus)
    finally:
        await engine.stop(5.0)
    found = {f"event {topic}": sorted(ids) for topic, ids in events.items()}
    return {name: ids for name, ids in sorted({**rows, **found}.items()) if ids}


async def _events(bus: BaseBus) -> dict[str, set[str]]:
    """Ids of what is on the stream, by topic; of observations the rows tell."""
    events: dict[str, set[str]] = {}
    consumer = await bus.consume("golden", EVENTS)
    while deliveries := await consumer.fetch(500, 0.2):
        for delivery in deliveries:
            await delivery.ack()
            if delivery.event is not None:
                events.setdefault(delivery.topic, set()).add(delivery.event.id)
    return events


async def _rows(engine: Engine) -> Ids:
    out: Ids = {}
    async with engine.repo.db.read() as session:
        for table, key in ROWS.items():
            found = await session.execute(text(f"SELECT {key} FROM {table}"))
            out[table] = sorted(str(row[0]) for row in found)
    return out


def short(ids: Ids) -> dict[str, Any]:
    """Of long lists the number and a digest: enough to see which one moved, and small enough to keep."""
    return {
        name: found
        if len(found) <= 12
        else {"count": len(found), "sha256": hashlib.sha256("\n".join(found).encode()).hexdigest()}
        for name, found in ids.items()
    }


def name_of(sensor: dict[str, str]) -> str:
    """A source's place below the fixtures, or ``demo``."""
    path = Path(sensor["path"])
    return str(path.relative_to(FIXTURES)) if path.is_relative_to(FIXTURES) else "demo"


def _all() -> dict[str, Any]:
    out = {}
    for sensor in sensors():
        with tempfile.TemporaryDirectory() as folder:  # a loop each: the memory bus belongs to its loop
            out[name_of(sensor)] = short(asyncio.run(ids_of(Path(folder), sensor)))
    return out


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(_all(), indent=1, sort_keys=True) + "\n", "utf-8")
