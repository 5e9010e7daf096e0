"""Coverage on both databases: counts by technique, for one actor, within a span; the tags behind a cell."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from decnet.db.rows.ttp import TTPTag
from decnet.ids import attacker_id, identity_id
from tests.dbkit import KINDS, open_repo

A, B = attacker_id("203.0.113.1"), attacker_id("203.0.113.2")


def tag(
    source: str, attacker: str, session: str, technique: str = "T1053", sub: str | None = "T1053.003"
) -> TTPTag:
    return TTPTag(
        source_kind="command", source_id=source, attacker_uuid=attacker, session_id=session, tactic="TA0003",
        technique_id=technique, sub_technique_id=sub, confidence=0.8, rule_id="R1", rule_version=1, evidence={"matched": "x"},
        seen_at=datetime.fromtimestamp(1000.0 if session == "s0" else 2000.0, UTC),
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
async def test_counts_and_what_is_behind_them(kind: str, tmp_path: Path) -> None:
    async with open_repo(kind, tmp_path) as repo:
        for number, (attacker, ip) in enumerate([(A, "203.0.113.1"), (B, "203.0.113.2")]):
            await repo.upsert_attacker(attacker, ip, 1000.0)
            await repo.ensure_stub_identity_for_attacker(attacker)
            started = 1000.0 + 1000 * number
            payload = {
                "session_id": f"s{number}",
                "attacker_uuid": attacker,
                "attacker_ip": ip,
                "started_at": started,
            }
            await repo.upsert_session({**payload, "ended_at": started + 9})
        await repo.insert_commands("s0", [{"id": "c0", "command_text": "crontab -l", "ts": 1001.0}])
        await repo.insert_tags([tag("c0", A, "s0"), tag("c1", B, "s1"), tag("c2", B, "s1", "T1105", None)])

        everything = {row["technique_id"]: row for row in await repo.technique_counts()}
        assert (everything["T1053"]["tags"], everything["T1053"]["actors"]) == (2, 2)
        assert everything["T1053"]["last"].timestamp() == 2000.0
        assert [r["technique_id"] for r in await repo.technique_counts(names={"203.0.113.1"})] == ["T1053"]
        assert [r["tags"] for r in await repo.technique_counts(names={identity_id(A)})] == [1]
        assert {r["tags"] for r in await repo.technique_counts(since=1500.0)} == {1}
        assert await repo.technique_counts(names=set()) == []
        assert not any(row["new"] for row in everything.values()), "without a span nothing is new in it"
        late = {row["technique_id"]: row["new"] for row in await repo.technique_counts(since=1500.0)}
        assert late == {"T1053": False, "T1105": True}
        hers = {
            row["technique_id"]: row["new"] for row in await repo.technique_counts(1500.0, {"203.0.113.2"})
        }
        assert hers == late, "what somebody else had before is not new"
        assert [row["session_id"] for row in await repo.tags_behind("T1053", since=1000.0, until=2000.0)] == [
            "s0"
        ]
        day = await repo.technique_counts(since=1000.0, until=2000.0)
        assert [(row["technique_id"], row["tags"], row["new"]) for row in day] == [("T1053", 1, True)]

        rows = await repo.tags_behind("T1053.003", "TA0003")
        assert [(row["attacker_ip"], row["command_text"]) for row in rows] == [
            ("203.0.113.2", None),
            ("203.0.113.1", "crontab -l"),
        ]
        assert await repo.tags_behind("T1053", "TA0002") == []
        assert len(await repo.tags_behind("T1053", limit=1)) == 1
