"""Every shipped rule is reached: by Cowrie's own lines through sensor, recorder and ttp, or by a recorded event.

One engine run for all. A rule that nothing can reach fails the build.
"""

from __future__ import annotations

import json
import textwrap
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from decnet.config import Settings, load_settings
from decnet.engine import Engine
from decnet.events.record import Fault
from decnet.events.topics import record_of
from decnet.ids import attacker_id, identity_id
from decnet.ttp.lifter_registry import known_kinds
from decnet.ttp.rules import CompiledRule
from tests.ruledrive import EVENTS, CowrieLog, examples, recorded_addresses, scripted, shipped

RULES = shipped()
IDLE_S = 0.4
CANARY = EVENTS.parent / "cases" / "11-opencanary-detail.txt"
CANARY_ADDRESSES = ("192.0.2.7", "2001:db8::5")


def _log() -> CowrieLog:
    log = CowrieLog()
    scripted(log)
    examples(log, RULES)
    return log


def _settings(folder: Path, log: CowrieLog) -> Settings:
    path = folder / "cowrie.json"
    path.write_text(log.text(), "utf-8")
    recorded = [{"kind": "jsonl", "path": str(file)} for file in sorted(EVENTS.glob("*.jsonl"))]
    return load_settings(
        data_dir=folder / "data",
        bus={"type": "memory"},
        workers=("sensors", "recorder", "ttp"),
        ttp_rule_store_type="filesystem",
        sensors=[
            {"kind": "cowrie", "path": str(path)},
            {"kind": "opencanary", "path": str(CANARY)},
            *recorded,
        ],
    )


async def _tags(settings: Settings) -> list[dict[str, Any]]:
    engine = Engine(settings)
    await engine.start()
    try:
        assert await engine.until_idle(IDLE_S) is None
        health = engine.supervisor.runners["ttp"].worker.health()
        assert health["rules_loaded"] == len(RULES)
        assert not health["rules_failed"]
        assert not health["rule_failures"]
        return await engine.repo.list_tags(limit=1_000_000)
    finally:
        await engine.stop(1.0)


def _producers(log: CowrieLog) -> dict[str, str]:
    """Anchor of a tag → what produced the evidence."""
    found = recorded_addresses() | {attacker_id(ip): "cowrie" for ip in log.addresses}
    found |= {attacker_id(ip): "opencanary" for ip in CANARY_ADDRESSES}
    return found | {identity_id(uuid): name for uuid, name in found.items()}


def _reached(tags: list[dict[str, Any]], producers: dict[str, str]) -> dict[str, set[str]]:
    reached: dict[str, set[str]] = defaultdict(set)
    for tag in tags:
        anchor = tag["attacker_uuid"] or tag["identity_uuid"]
        reached[tag["rule_id"]].add(producers[anchor])
    return reached


def _adjusts(rule: CompiledRule) -> bool:
    return rule.lifter is not None and known_kinds()[rule.lifter].adjust is not None


def _raised(tags: list[dict[str, Any]]) -> bool:
    """Whether the event with a malicious verdict gave surer tags than its twin without one."""
    plain, bumped = (attacker_id(f"203.0.113.{number}") for number in (50, 54))
    sure = {who: [t["confidence"] for t in tags if t["attacker_uuid"] == who] for who in (plain, bumped)}
    return bool(sure[plain]) and min(sure[bumped]) > max(sure[plain])


def _shown(reached: dict[str, set[str]]) -> str:
    by_producer: dict[str, list[str]] = defaultdict(list)
    for rule, producers in reached.items():
        by_producer[" + ".join(sorted(producers))].append(rule)
    names = {rule.rule_id: rule.name for rule in RULES}
    lists = (
        f"{producer}: " + ", ".join(f"{rule} {names[rule]}" for rule in sorted(rules))
        for producer, rules in sorted(by_producer.items())
    )
    return "\n".join(textwrap.fill(text, 110, subsequent_indent="  ") for text in lists)


async def test_every_rule_fires(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = _log()
    tags = await _tags(_settings(tmp_path, log))
    reached = _reached(tags, _producers(log))
    for rule in RULES:
        if _adjusts(rule) and _raised(tags):
            reached[rule.rule_id].add("recorded intel.jsonl")
    with capsys.disabled():
        print(f"\n{_shown(reached)}")
    assert {rule.rule_id for rule in RULES} - reached.keys() == set()


@pytest.mark.parametrize("path", sorted(EVENTS.glob("*.jsonl")), ids=lambda path: path.stem)
def test_recorded_events_have_the_documented_shape(path: Path) -> None:
    for line in path.read_text("utf-8").splitlines():
        event = json.loads(line)
        record = record_of(event["topic"])
        if record is not None:
            faults: list[Fault] = []
            record.parse(event["payload"], faults)
            assert faults == []
