"""A million tags, made by rule: 10,000 addresses, 100,000 sessions of a month with ten tags each, most of a few techniques."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from decnet.db.repository import BaseRepository
from decnet.db.tables import table as table_of
from decnet.ids import attacker_id, identity_id

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAYS = 30
TECHNIQUES = 120
AT_ONCE = 5_000
Rows = Iterator[tuple[str, dict[str, Any]]]


def made(sessions: int, addresses: int, tags_each: int) -> Rows:
    """Rows by table, those that others name first."""
    uuids = [attacker_id(f"198.{18 + n // 65536}.{n // 256 % 256}.{n % 256}") for n in range(addresses)]
    for n, uuid in enumerate(uuids):
        seen = NOW - timedelta(days=DAYS * (addresses - n) / addresses)
        address = f"198.{18 + n // 65536}.{n // 256 % 256}.{n % 256}"
        yield "attacker", {"attacker_uuid": uuid, "ip": address, "first_seen": seen, "last_seen": NOW}
        yield "identity", {"identity_uuid": identity_id(uuid), "attacker_uuid": uuid, "merged_into": None}
    for n in range(sessions):
        uuid, at = uuids[n * 7919 % addresses], NOW - timedelta(days=DAYS * (sessions - n) / sessions)
        session = f"s{n:07}"
        yield "session", {
            "session_id": session, "attacker_uuid": uuid, "attacker_ip": "198.18.0.1", "decky_id": f"d{n % 5}",
            "service": "ssh", "protocol": "ssh", "started_at": at, "ended_at": at, "duration_s": 1.0, "command_count": 4,
            "tagged_at": at, "client": {"version": f"SSH-2.0-client_{n % 40}"},
        }  # fmt: skip
        yield "session_story", {
            "session_id": session, "attacker_uuid": uuid, "severity": "low", "rank": 3, "reason": "r", "line": "l",
            "playbook": f"pb-{n % 2_000}", "seen_at": at, "ended_at": at.timestamp(), "lines": 4,
        }  # fmt: skip
        for kind, value in (
            ("playbook", f"pb-{n % 2_000}"),
            ("hash", f"h{n % 7_000}"),
            ("host", f"h{n % 900}.example"),
        ):
            yield "session_thing", {"session_id": session, "kind": kind, "value": value, "seen_at": at}
        yield "credential", {
            "credential_id": f"c{n}", "attacker_uuid": uuid, "session_id": session, "service": "ssh", "username": "root",
            "secret_hmac": f"{n % 5_000:064x}", "secret_kind": "password", "success": True, "first_seen": at,
            "last_seen": at,
        }  # fmt: skip
        for k in range(tags_each):
            kind = (n * k * k + k) % TECHNIQUES if k % 3 else k
            if k == 9 and n >= sessions - 500:
                kind = TECHNIQUES  # one that was never seen before the last hours
            yield "ttp_tag", {
                "uuid": f"t{n:07}-{k}", "source_kind": "command", "source_id": f"{session}#cmd{k}", "attacker_uuid": uuid,
                "session_id": session, "tactic": "TA0002", "technique_id": f"T{1000 + kind}",
                "sub_technique_id": f"T{1000 + kind}.001" if kind % 2 else None, "confidence": 0.7,
                "rule_id": f"R{kind:04}", "rule_version": 1, "evidence": {"field": "command_text", "matched": "uname -a"},
                "attack_release": "18.1", "mitre_url": "u", "seen_at": at, "created_at": at,
            }  # fmt: skip


async def store(repo: BaseRepository, rows: Rows) -> None:
    """Writes rows, some thousands a statement."""
    waiting: dict[str, list[dict[str, Any]]] = {}
    for table, row in rows:
        some = waiting.setdefault(table, [])
        some.append(row)
        if len(some) == AT_ONCE:
            await _insert(repo, table, some)
            some.clear()
    for table, some in waiting.items():
        await _insert(repo, table, some)


async def _insert(repo: BaseRepository, table: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        async with repo.db.write() as session:
            await (await session.connection()).execute(table_of(table).insert(), rows)
