"""An alert that the test itself raised: two toolkits in turn on one address, with everything a session has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from decnet.attribution.worker import tick_multi_actor
from decnet.db.repository import BaseRepository
from decnet.ids import attacker_id, identity_id
from tests.rowkit import put

IP = "203.0.113.50"
WHO = attacker_id(IP)
PATTERN = "aabbabaabbabaabbabab"
BEGAN = datetime(2026, 3, 1, 3, 10, tzinfo=UTC).timestamp()
DAY, HOUR = 86_400.0, 3600.0
TOOLS: dict[str, dict[str, Any]] = {
    "a": {"version": "SSH-2.0-Go", "user": "root", "took": 2.0, "hour": 0.0, "lines": ["nproc", "uname -a", "cd /tmp; wget x"],
          "how": "pasted", "objective": "mine"},
    "b": {"version": "SSH-2.0-PuTTY_Release_0.78", "user": "oracle", "took": 63.0, "hour": 14 * HOUR,
          "lines": ["w", "id", "tar czf - /srv"], "how": "typed", "objective": "exfiltrate"},
}  # fmt: skip
STRAY = 5
"""A session that has the other side's playbook."""


def began(n: int) -> float:
    """When session ``n`` began: two on each day."""
    return BEGAN + (n // 2) * DAY + TOOLS[PATTERN[n]]["hour"] + (n % 2) * 60.0


async def two_in_turn(repo: BaseRepository, pattern: str = PATTERN) -> str:
    """Sessions of both toolkits, looked at; the id of the alert."""
    await repo.upsert_attackers([(WHO, IP, BEGAN)])
    await repo.form_identities([WHO])
    rows: list[Any] = []
    for n, who in enumerate(pattern):
        tool, name = TOOLS[who], f"s{n:02}"
        work = TOOLS["ab"["ab".index(who) ^ (n == STRAY)]]
        start = began(n)
        await repo.upsert_session({
            "session_id": name, "attacker_uuid": WHO, "attacker_ip": IP, "decky_id": "web-01", "service": "ssh", "protocol": "ssh",
            "started_at": start, "ended_at": start + tool["took"], "duration_s": tool["took"], "end_reason": "closed",
            "command_count": 3, "client": {"version": tool["version"], "hassh": None, "kex": []},
            "auth": {"fail_count": 0, "success": True, "usernames": [tool["user"]]},
        })  # fmt: skip
        lines = [
            {"id": f"{name}#{k}", "command_text": line, "ts": start + k}
            for k, line in enumerate(work["lines"])
        ]
        await repo.insert_commands(name, lines)
        await put(repo, "credential", {"credential_id": f"c{n}", "attacker_uuid": WHO, "session_id": name, "success": True,
                                       "username": tool["user"], "secret_hmac": f"{who}1b2" + "0" * 60, "secret": f"pw-{who}"})  # fmt: skip
        rows.append({
            "session_id": name, "attacker_uuid": WHO, "identity_uuid": identity_id(WHO), "started_at": start,
            "ended_at": start + tool["took"], "rank": "1", "client": {"session.client": f"ssh:{who}"},
            "credentials": {"session.account": who}, "playbook": {"session.playbook": work["objective"], "session.argv0": work["objective"]},
            "habit": {"operational.objective": work["objective"]}, "typing": {"motor.input_modality": tool["how"]},
        })  # fmt: skip
    await repo.upsert_session_features(rows)
    await tick_multi_actor(None, repo, {})
    (alert,) = await repo.list_alerts()
    return alert["alert_id"]
