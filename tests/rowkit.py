"""Rows put into tables and read out of them as they are, for tests of what statements do with them.

One database serves a module: :func:`emptied` makes it as good as new in milliseconds.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from decnet.db.repository import BaseRepository
from decnet.db.rows.ttp import RuleText
from decnet.db.tables import every_table

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TABLES = every_table()
FILL: dict[str, dict[str, Any]] = {
    "credential": {"attacker_uuid": "nobody"},
    "fingerprint": {"attacker_uuid": "nobody", "kind": "hassh"},
    "observation": {"primitive": "p", "evidence_ref": "?"},
    "attacker_intel": {"version": "1"},
    "intel_answer": {"service": "greynoise", "kind": "address", "known": True},
    "intel_due": {"service": "greynoise", "kind": "address", "tries": 0, "not_before": 0.0},
    "email_body": {"attacker_uuid": "nobody", "simhash": "h", "rcpt_count": 1},
    "dead_letter": {"worker": "w", "topic": "t", "reason": "r", "body": b""},
    "mutation": {"kind": "rotate", "target": "d", "state": "applied", "created_at": 1.0, "trigger": "operator",
                 "requested_by": "", "reason": ""},
    "ttp_tag": {"source_kind": "command", "source_id": "c", "tactic": "TA0002", "technique_id": "T1059", "rule_id": "R1",
                "rule_version": 1, "confidence": 0.5, "attack_release": "", "mitre_url": "", "attacker_uuid": "nobody"},
    "bait_read": {"command_id": "c", "decky_id": "d", "path": "/p"},
    "canary_trigger": {"token_id": "t", "peer": "203.0.113.1", "peer_kind": "client", "via": "http", "first_at": NOW, "hits": 1},
    "link_session": {"attacker_uuid": "nobody", "term_id": "t"},
    "session_part": {"generation": "g", "part": 1, "parts": 1, "digest": "d"},
    "behave_part": {"generation": "g", "part": 1, "parts": 1},
    "ttp_part": {"generation": "g", "part": 1, "parts": 1, "keep_until": 1.0},
    "behave_session": {"attacker_uuid": "a", "rank": "1", "version": 1, "started_at": 1.0, "ended_at": 1.0},
    "session_feature": {"attacker_uuid": "a", "identity_uuid": "i", "ended_at": 1.0, "rank": "1"},
    "command": {"command_text": "id"},
    "session_story": {"severity": "low", "rank": 3, "reason": "r", "line": "l", "seen_at": NOW, "ended_at": 1.0, "lines": 1},
    "session_thing": {"kind": "hash", "value": "v", "seen_at": NOW},
    "recording": {"data": b"tty"},
    "producer_due": {"consumer": "recorder", "seq": 1, "since": 1.0, "until": 1.0},
    "announcement": {"ts": 1.0},
    "attribution_state": {"primitive": "p", "state": "stable", "confidence": 1.0, "observation_count": 1, "seq": 1},
    "attribution_past": {"primitive": "p", "state": "stable", "seq": 1},
    "identity_link": {"confidence": 4.0, "addresses": 2},
    "multi_actor_evidence": {"version": 1, "due": False, "suspected": True},
    "attribution_alert": {"ordinal": 1, "revision": 1, "confidence": 1.0, "state": "open", "standing": True, "ts": 1.0},
    "ignored_source": {"kind": "cidr", "value": "192.0.2.0/24", "set_at": 1.0},
    "journal": {"ts": 1.0, "operator": "o", "kind": "k", "target": "t", "what": "w", "outcome": "sent"},
    "rule_change": {"rule_id": "R1", "kind": "state", "ts": 1.0},
    "worker_heartbeat": {"ts": 1.0},
}  # fmt: skip
"""What a row needs besides what a test is about."""


async def put(repo: BaseRepository, table: str, *rows: dict[str, Any]) -> None:
    async with repo.db.write() as session:
        for row in rows:
            own = {"letter_key": uuid4().hex} if table == "dead_letter" else {}
            await session.execute(TABLES[table].insert().values({**FILL.get(table, {}), **own, **row}))


async def left(repo: BaseRepository, table: str, column: str) -> set[Any]:
    async with repo.db.read() as session:
        return set((await session.execute(TABLES[table].select())).scalars(column))


async def rows_of(repo: BaseRepository, table: str, key: str) -> dict[Any, dict[str, Any]]:
    """The rows of a table by one of its columns."""
    async with repo.db.read() as session:
        found = (await session.execute(TABLES[table].select())).mappings()
        return {row[key]: dict(row) for row in found}


async def emptied(repo: BaseRepository) -> BaseRepository:
    """The same database without a row, but for the version that wrote it."""
    async with repo.db.write() as session:
        for name, table in TABLES.items():
            if name != "schema_meta":
                await session.execute(table.delete())
    return repo


async def define_rule(
    repo: BaseRepository,
    rule_id: str,
    version: int,
    name: str,
    yaml: str,
    file: str,
    error: str | None = None,
) -> bool:
    """Stores one definition of a rule; whether it was not stored just so before."""
    row: RuleText = {"version": version, "name": name, "yaml": yaml, "file": file, "error": error}
    return bool(await repo.upsert_rule_definitions({rule_id: row}))
